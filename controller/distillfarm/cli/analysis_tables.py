"""An analysis as tables and bars that fit a terminal: layers by cost, and what each minds."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from distillfarm.cli import formats
from distillfarm.cli.console import row, table
from distillfarm.domain.model import Analysis, LayerCost, Sensitivity

_BAR_CELLS = 12
_NAME_CHARACTERS = 26
_OPERATOR_CHARACTERS = 12
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SHADES = ((0.25, ""), (1.0, "yellow"))
_MANY = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def layer_table(analysis: Analysis, most: int) -> Table:
    """The costliest layers, with a bar of their share of time, else of multiply-accumulates."""
    timed = any(each.time_us is not None for each in analysis.layers)
    share = "share of time" if timed else "share of MACs"
    right = ("MACs", "params", "moved", "us")
    columns = ("layer", "operator", *right, "", share) if timed else (
        "layer", "operator", *right[:3], "", share
    )  # fmt: skip
    made = table("Layers, the costliest first", *columns, right=(*right, ""))
    total = sum(_weight(each, timed=timed) for each in analysis.layers)
    for each in analysis.layers[:most]:
        part = _weight(each, timed=timed) / total if total else 0.0
        cells = [
            _short(each.name, _NAME_CHARACTERS),
            _short(each.operator, _OPERATOR_CHARACTERS),
            _many(each.macs),
            _many(each.parameters),
            formats.byte_count(each.weight_bytes + each.activation_bytes),
        ]
        if timed:
            cells.append("" if each.time_us is None else f"{each.time_us:.1f}")
        row(made, *cells, f"{part:.0%}" if part else "", bar(part))
    if hidden := analysis.layers[most:]:
        part = sum(_weight(each, timed=timed) for each in hidden) / total if total else 0.0
        blank = [""] * (len(columns) - 3)
        row(made, f"{len(hidden)} layers more", *blank, f"{part:.0%}", bar(part), style="dim")
    return made


def sensitivity_table(found: Sequence[Sensitivity], most: int) -> Table:
    """Points of quality that a technique costs on a layer alone, and a bar of the worst."""
    techniques = tuple(dict.fromkeys(each.technique for each in found))
    made = table(
        "Points lost by treating one layer alone (below: divergence)",
        "layer", *techniques, "worst", right=techniques,
    )  # fmt: skip
    layers: dict[str, dict[str, Sensitivity]] = {}
    for each in found:
        layers.setdefault(each.layer, {})[each.technique] = each
    order = sorted(layers, key=lambda name: -_worst(layers[name].values()))
    top = _worst(found)
    for name in order[:most]:
        cells = [
            (f"{one.drop_points:+.2f}", f"{one.divergence:.1e}")
            if (one := layers[name].get(technique))
            else ("-", "")
            for technique in techniques
        ]
        worst = _worst(layers[name].values())
        style = next((shade for limit, shade in _SHADES if worst < limit), "red")
        row(
            made,
            _short(name, _NAME_CHARACTERS),
            *cells,
            bar(worst / top if top > 0 else 0.0),
            style=style,
        )
    if len(order) > most:
        row(made, f"{len(order) - most} layers more", *[""] * (len(techniques) + 1), style="dim")
    return made


def bar(part: float) -> str:
    """A share of 0..1 as a bar of blocks, to an eighth of a cell."""
    eighths = round(min(max(part, 0.0), 1.0) * _BAR_CELLS * 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def _weight(layer: LayerCost, *, timed: bool) -> float:
    return (layer.time_us or 0.0) if timed else float(layer.macs)


def _worst(found: Iterable[Sensitivity]) -> float:
    return max((each.drop_points for each in found), default=0.0)


def _short(name: str, most: int) -> str:
    """The end of a name tells layers of one model apart, its beginning does not."""
    return name if len(name) <= most else f"…{name[-most + 1 :]}"


def _many(count: int) -> str:
    for size, unit in _MANY:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count) if count else ""
