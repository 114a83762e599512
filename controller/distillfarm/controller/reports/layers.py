"""What of an analysis a page has room for: the costly layers, and those that mind most."""

from dataclasses import dataclass

from distillfarm.domain.model import Analysis, LayerCost, Sensitivity


@dataclass(frozen=True)
class Costly:
    """The costliest layers with their shares of all time, or of all multiply-accumulates."""

    share_of: str
    rows: tuple[tuple[LayerCost, float], ...]
    more: int


@dataclass(frozen=True)
class Minding:
    """Layers by techniques, those first that mind most; None where nothing was tried."""

    techniques: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Sensitivity | None, ...]], ...]
    more: int


def costly(analysis: Analysis | None, most: int) -> Costly | None:
    """The first ``most`` layers, None where none are known."""
    if analysis is None or not analysis.layers:
        return None
    timed = any(each.time_us is not None for each in analysis.layers)
    weights = [(each.time_us or 0.0) if timed else float(each.macs) for each in analysis.layers]
    total = sum(weights)
    shares = [each / total if total else 0.0 for each in weights]
    rows = tuple(zip(analysis.layers, shares, strict=True))
    return Costly("time" if timed else "MACs", rows[:most], len(rows[most:]))


def sensitivity(analysis: Analysis | None, most: int) -> Minding | None:
    """The ``most`` layers that lose most by any technique, None where none was tried."""
    if analysis is None or not analysis.sensitivity:
        return None
    techniques = tuple(dict.fromkeys(each.technique for each in analysis.sensitivity))
    layers: dict[str, dict[str, Sensitivity]] = {}
    for each in analysis.sensitivity:
        layers.setdefault(each.layer, {})[each.technique] = each
    worst = {
        name: max((each.drop_points, each.divergence) for each in found.values())
        for name, found in layers.items()
    }
    order = sorted(layers, key=lambda name: worst[name], reverse=True)
    rows = tuple((name, tuple(map(layers[name].get, techniques))) for name in order)
    return Minding(techniques, rows[:most], len(rows[most:]))
