"""The look that all pictures share, readable on light and on dark paper."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by all kinds of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#7c8594"
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
def figure(width_in: float, height_in: float) -> Iterator[tuple[Figure, Axes]]:
    """An empty picture in the pages' style."""
    # The object interface: pyplot keeps global state and is not thread-safe.
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        FigureCanvasSVG(made)
        yield made, made.add_subplot()


def svg(made: Figure) -> str:
    """The picture as an ``<svg>`` element; matplotlib escapes every text in it."""
    text = io.StringIO()
    made.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
