"""The look that all pictures share, readable on light and on dark paper.

Matplotlib is loaded by the first picture: it would take a second of every start.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by all kinds of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#7c8594"
_DECADE = 10.0
# Matplotlib's stubs want every key as a literal type.
_STYLE: Any = {
    "svg.fonttype": "none",
    # Without a salt every run would give other ids, and so another file, for the same study.
    "svg.hashsalt": "distillfarm",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    # Names come from users' files and are never to be read as formulas.
    "text.parse_math": False,
}


@contextmanager
def figure(width_in: float, height_in: float) -> "Iterator[tuple[Figure, Axes]]":
    """An empty picture in the pages' style."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    # The object interface: pyplot keeps global state and is not thread-safe.
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(made)
        yield made, made.add_subplot()


def log_axis(axes: "Axes") -> None:
    """A logarithmic axis whose ticks are plain numbers, few enough to read."""
    from matplotlib.ticker import (  # noqa: PLC0415
        FixedLocator,
        LogLocator,
        MaxNLocator,
        NullLocator,
    )

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high > _DECADE * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        ticks = MaxNLocator(6).tick_values(low, high)
        axes.xaxis.set_major_locator(FixedLocator([each for each in ticks if low <= each <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def whole_numbers(axes: "Axes") -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_above(axes: "Axes") -> None:
    """Name what is drawn, above it."""
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)


def svg(made: "Figure") -> str:
    """The picture as an ``<svg>`` element; matplotlib escapes every text in it."""
    text = io.StringIO()
    made.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
