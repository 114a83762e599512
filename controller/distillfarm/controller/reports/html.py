"""Writes a study's report: one page that needs no network, for screens light and dark and paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup

from distillfarm.controller import front as fronts
from distillfarm.controller import quality
from distillfarm.controller.accounts import spending
from distillfarm.controller.fates import fate
from distillfarm.controller.quantities import (
    byte_count,
    energy_detail,
    moment,
    number,
    with_interval,
)
from distillfarm.controller.remarks import remarks
from distillfarm.controller.reports import layers, plots
from distillfarm.controller.reports.evidence import Evidence, Measured
from distillfarm.domain.interval import Interval
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import Choice, Trial

_LAYERS = 12


@dataclass(frozen=True)
class TrialRow:
    """A trial with all that a row shows of it."""

    trial: Trial
    measured: Measured | None
    label: str
    reason: str
    on_front: bool


@dataclass(frozen=True)
class ChipsetPart:
    """All that the page says of one chipset; the pictures are SVG of our own making."""

    choice: Choice
    chosen: TrialRow | None
    finals: tuple[TrialRow, ...]
    searched: tuple[TrialRow, ...]
    pareto: Markup
    launches: Markup
    numbered: tuple[Trial, ...]
    remarks: tuple[tuple[str, str], ...]
    facts: tuple[str, ...]
    parts: Markup
    series: tuple[Markup, ...]
    spending: tuple[str, ...]
    launched: int
    devices: tuple[str, ...]


def render(evidence: Evidence, signer: str, logs: Mapping[str, str]) -> str:
    """The page. Names from users' files are escaped; ``signer`` is the key's fingerprint.

    ``logs`` are the files of passes' logs by their digests, beside the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("distillfarm.controller.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        estimate=_estimate,
        bounds=_bounds,
        bytes=byte_count,
        energy_detail=energy_detail,
        bound=format_bound,
        when=moment,
        number=number,
        points=with_interval,
        of_kind=quality.parts,
        title=quality.title,
    )
    return environment.get_template("report.html.j2").render(
        study=evidence.study,
        parts=[_part(evidence, choice) for choice in evidence.study.choices],
        curves=_image(plots.curves(evidence.trials)),
        sensitivity=layers.sensitivity(evidence.study.analysis, _LAYERS),
        costly=layers.costly(evidence.study.analysis, _LAYERS),
        kinds=quality.PLURALS,
        shares=quality.SHARES,
        signer=signer,
        logs=logs,
    )


def _part(evidence: Evidence, choice: Choice) -> ChipsetPart:
    here = [each for each in evidence.trials if each.chipset == choice.chipset]
    # A finalist's search trial would show the same candidate twice.
    settled = {each.candidate for each in here if each.final}
    shown = [each for each in here if each.final or each.candidate not in settled]
    front = fronts.front(shown, evidence.study.spec.objective)
    rows = [_row(evidence, each, front) for each in here]
    finals = tuple(each for each in rows if each.trial.final)
    chosen = next((each for each in rows if each.trial.trial_id == choice.trial_id), None)
    exported = chosen.trial.exported if chosen else None
    sla = evidence.study.spec.sla
    own = evidence.by_device(chosen.trial) if chosen else ()
    return ChipsetPart(
        choice=choice,
        chosen=chosen,
        facts=quality.facts(exported, sla) if exported else (),
        parts=_image(plots.parts(exported, sla) if exported else ""),
        series=_series(chosen.measured if chosen else None),
        remarks=_remarks(chosen.measured if chosen else None),
        finals=finals,
        searched=tuple(each for each in rows if not each.trial.final),
        numbered=tuple(plots.numbered(shown, front)),
        pareto=_image(plots.pareto(shown, front, choice.trial_id, _knee(here, shown, choice))),
        spending=tuple(spending(choice.spent)) if choice.spent else (),
        launches=_image(plots.launches(_strips(evidence, [each.trial for each in finals]))),
        launched=sum(len(each.measurement.launches) for each in own),
        devices=tuple(dict.fromkeys(each.device.device_id for each in own)),
    )


def _knee(trials: Sequence[Trial], shown: Sequence[Trial], choice: Choice) -> str:
    """The knee among those that are shown: a final measurement may stand in the search's place."""
    knees = {each.candidate for each in trials if each.trial_id == choice.knee_trial_id}
    return next((each.trial_id for each in shown if each.candidate in knees), "")


def _strips(evidence: Evidence, finals: Sequence[Trial]) -> list[tuple[str, Measured]]:
    """The launches of each final trial, on each of its devices."""
    strips = []
    for trial in finals:
        by_device = evidence.by_device(trial)
        for each in by_device:
            on = f"\n{each.device.device_id}" if len(by_device) > 1 else ""
            strips.append((_short(str(trial.candidate)) + on, each))
    return strips


def _series(measured: Measured | None) -> tuple[Markup, ...]:
    if measured is None:
        return ()
    return tuple(_image(plots.series(each)) for each in measured.measurement.series if each.points)


def _remarks(measured: Measured | None) -> tuple[tuple[str, str], ...]:
    if measured is None or measured.measurement.emulated:
        return ()
    return tuple(remarks(measured.measurement, measured.summary))


def _row(evidence: Evidence, trial: Trial, front: frozenset[str]) -> TrialRow:
    label, reason = fate(trial)
    return TrialRow(trial, evidence.of(trial), label, reason, trial.trial_id in front)


def _estimate(value: Interval, scale: float = 1.0) -> str:
    return number(value.value / scale)


def _bounds(value: Interval, scale: float = 1.0) -> str:
    if not value.bounded:
        return "one launch: no interval"
    if value.low == value.high:
        return ""
    return f"[{number(value.low / scale)}, {number(value.high / scale)}]"


def _short(text: str) -> str:
    return text.replace(" on ", "\non ")


def _image(svg: str) -> Markup:
    # Matplotlib escapes every text that it writes; nothing else goes in unescaped.
    return Markup(svg)  # noqa: S704
