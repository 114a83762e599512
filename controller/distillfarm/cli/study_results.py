"""What a finished study says, as tables for people."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from distillfarm.cli import formats
from distillfarm.cli.console import harmless, row, table
from distillfarm.cli.pictures import spark
from distillfarm.controller import quality
from distillfarm.controller.accounts import spending
from distillfarm.controller.fates import is_emulated
from distillfarm.controller.front import front as pareto_ids
from distillfarm.domain.interval import Interval
from distillfarm.domain.measurement import Outcome
from distillfarm.domain.sla import format_bound
from distillfarm.domain.study import (
    Choice,
    MatrixCell,
    Metric,
    Score,
    Sla,
    Study,
    Trial,
    Verdict,
)
from distillfarm.domain.variant import Exported, Quality

VERDICT_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
}
_PERCENT = 100.0
_MS = ("cold ms", "warm p50 ms", "warm p90 ms")
_PASS_NUMBERS = ("size", "packed", "params", "selection", "s")
_CURVE_CELLS = 20
_ACCURACY = "accuracy"
_NUMBERS = ("drop pt", "size", *_MS, "peak memory")


def study_tables(study: Study, trials: Sequence[Trial], cells: Sequence[MatrixCell]) -> Group:
    """The Pareto front and the verdict for every chipset, and the compatibility matrix."""
    parts: list[RenderableType] = []
    for choice in study.choices:
        of_chipset = [trial for trial in trials if trial.chipset == choice.chipset]
        parts += [*_front(choice, of_chipset, study.spec.objective), Text()]
        parts += [*_verdict(choice), *_spent(choice), Text()]
        parts += _chosen(choice, of_chipset, study.spec.sla)
    parts.append(matrix_table(cells))
    return Group(*parts)


def matrix_table(cells: Iterable[MatrixCell]) -> RenderableType:
    """What ran where, and how well; one row a variant, target, chipset and system build."""
    made = table(
        "Compatibility matrix",
        "model",
        "variant",
        "target",
        "chipset",
        "system",
        "label",
        "size",
        "warm p90 ms",
        "quality %",
        "reason",
        right=("size", "warm p90 ms", "quality %"),
    )
    for cell in cells:
        row(
            made,
            cell.model_name,
            cell.recipe,
            str(cell.target),
            cell.chipset,
            cell.os_build,
            cell.label,
            formats.byte_count(cell.size_bytes) if cell.size_bytes else "",
            formats.with_interval(cell.score.warm_p90_ms) if cell.score else "",
            formats.with_interval(cell.score.quality, _PERCENT) if cell.score else "",
            cell.reason,
            style="" if cell.score else "dim",
        )
    return made


def best_trials(trials: Sequence[Trial]) -> list[Trial]:
    """One trial a candidate, the re-measurement where there is one, in order of p90 latency."""
    latest: dict[str, Trial] = {}
    for trial in trials:
        known = latest.get(str(trial.candidate))
        if known is None or trial.final or not known.final:
            latest[str(trial.candidate)] = trial
    scored = [(trial.score.warm_p90_ms.value, trial) for trial in latest.values() if trial.score]
    return [trial for _, trial in sorted(scored, key=lambda pair: pair[0])]


def _front(choice: Choice, trials: Sequence[Trial], objective: Metric) -> list[RenderableType]:
    measured = best_trials(trials)
    front = pareto_ids(measured, objective)
    # By candidates, for a final measurement that gave no number stands in the search's place here.
    chosen = {str(trial.candidate) for trial in trials if trial.trial_id == choice.trial_id}
    knee = {str(trial.candidate) for trial in trials if trial.trial_id == choice.knee_trial_id}
    # A column that could only repeat "not measured" is a line below the table instead.
    metered = any(trial.score.energy.method for trial in measured if trial.score)
    metric, factor = _metric(measured)
    numbers = (metric, *_NUMBERS, "energy") if metered else (metric, *_NUMBERS)
    made = table(f"Pareto front on {choice.chipset}", "", "variant", *numbers, right=numbers)
    for trial in measured:
        is_chosen = str(trial.candidate) in chosen
        if trial.score is None or not (trial.trial_id in front or trial.reference or is_chosen):
            continue
        name = f"{trial.candidate.recipe}{' (reference)' if trial.reference else ''}"
        unverified = trial.exported is not None and trial.exported.unverified
        row(
            made,
            _mark(chosen=is_chosen, knee=str(trial.candidate) in knee),
            (name, f"on {trial.candidate.target}{', unverified' if unverified else ''}"),
            *_cells(trial.score, factor)[: len(numbers)],
            style="bold" if is_chosen else "" if trial.trial_id in front else "dim",
        )
    lines = [_line(text) for text in (*_not_measured(measured), _others(trials, measured, front))]
    return [made, *lines]


def _mark(*, chosen: bool, knee: bool) -> str | tuple[str, str]:
    if chosen and knee:
        return "chosen", "knee"
    return "chosen" if chosen else "knee" if knee else ""


def _cells(score: Score, factor: float) -> tuple[str | tuple[str, ...], ...]:
    times = (score.cold_ms, score.warm_p50_ms, score.warm_p90_ms)
    return (
        _two_lines(score.quality, factor),
        _two_lines(score.quality_drop),
        formats.byte_count(score.size_bytes),
        *map(_two_lines, times),
        formats.byte_count(score.peak_memory_bytes.value),
        formats.energy(score.energy),
    )


def _metric(trials: Sequence[Trial]) -> tuple[str, float]:
    """What quality is called, and what its values are multiplied by: a user's are as they are."""
    exported = next((trial.exported for trial in trials if trial.exported), None)
    name = exported.test_quality.metric if exported else _ACCURACY
    return (f"{name} %", _PERCENT) if name in quality.SHARES else (name, 1.0)


def _two_lines(interval: Interval, factor: float = 1.0) -> tuple[str, str]:
    return formats.number(interval.value * factor), formats.bounds(interval, factor)


def _not_measured(trials: Sequence[Trial]) -> list[str]:
    reasons = {
        trial.score.energy.reason or "no meter"
        for trial in trials
        if trial.score and not trial.score.energy.method
    }
    return [f"energy not measured: {reason}" for reason in sorted(reasons)]


def _others(trials: Sequence[Trial], measured: Sequence[Trial], front: frozenset[str]) -> str:
    refused = sum(trial.refusal is not None for trial in trials)
    broken = sum(
        trial.outcome not in (None, Outcome.OK) and not is_emulated(trial) for trial in trials
    )
    dominated = len(measured) - len(front)
    emulated = sum(is_emulated(trial) for trial in trials)
    unasked = sum(bool(trial.skipped) for trial in trials)
    skipped = f"{unasked} skipped before a device was asked, " if unasked else ""
    aside = f", {emulated} ran on emulated devices only and have no numbers" if emulated else ""
    return (
        f"{len(measured)} variants measured, {dominated} of them dominated; {refused} refused, "
        f"{skipped}{broken} failed on the device (the report tells why){aside}; [] is the 95 %"
        " interval"
    )


def _verdict(choice: Choice) -> list[RenderableType]:
    verdict = choice.verdict.verdict
    head = Text(f"SLA on {harmless(choice.chipset)}: ")
    head.append(verdict.value.upper(), style=f"bold {VERDICT_STYLES[verdict]}")
    head.append(f". {harmless(choice.why)}")
    made = table("", "bound", "verdict", "reason")
    for each in choice.verdict.bounds:
        row(
            made,
            format_bound(each.bound),
            each.verdict.value,
            each.reason,
            style=VERDICT_STYLES[each.verdict],
        )
    parts: list[RenderableType] = [head, made] if choice.verdict.bounds else [head]
    return [*parts, *_phones(choice)]


def _phones(choice: Choice) -> list[RenderableType]:
    """How each device judged, where several did."""
    if len(choice.phones) <= 1:
        return []
    made = table("", "judged on", "verdict", "launches", right=("launches",))
    for each in choice.phones:
        verdict = each.verdict.verdict
        style = VERDICT_STYLES[verdict]
        row(made, each.device_id, verdict.value, str(each.launches), style=style)
    return [made]


def _spent(choice: Choice) -> list[RenderableType]:
    return [_line(each) for each in spending(choice.spent)] if choice.spent else []


def _chosen(choice: Choice, trials: Sequence[Trial], sla: Sla) -> list[RenderableType]:
    """What is to be said of the variant's quality, and what each pass did to it."""
    chosen = next((each for each in trials if each.trial_id == choice.trial_id), None)
    if chosen is None or chosen.exported is None:
        return []
    parts: list[RenderableType] = [
        Text(f"- {harmless(fact)}") for fact in quality.facts(chosen.exported, sla)
    ]
    if chosen.exported.reports:
        parts += [Text(), _passes(chosen.exported)]
    return [*parts, Text()] if parts else []


def _passes(exported: Exported) -> RenderableType:
    made = table(
        f"What each pass did to {exported.candidate.recipe}",
        "pass", *_PASS_NUMBERS, "learning curve", right=_PASS_NUMBERS,
    )  # fmt: skip
    for report in exported.reports:
        row(
            made,
            str(report.spec),
            formats.byte_count(report.size_after_bytes),
            formats.byte_count(report.packed_after_bytes) if report.packed_after_bytes else "",
            f"{report.parameters_after:,}",
            _selected(report.quality),
            formats.number(report.seconds),
            spark([point.quality for point in report.curve], _CURVE_CELLS),
        )
    notes = [
        _line(f"{report.spec.name}: {note}")
        for report in exported.reports
        for note in (report.reason, *report.notes)
        if note
    ]
    return Group(made, *notes)


def _selected(judged: Quality | None) -> str:
    if judged is None:
        return ""
    share = judged.metric in quality.SHARES
    return f"{formats.number(judged.value * _PERCENT)} %" if share else formats.number(judged.value)


def _line(text: str) -> Text:
    return Text(harmless(text), style="dim")
