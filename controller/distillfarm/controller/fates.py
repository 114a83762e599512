"""What became of a trial in a word, the same in every display."""

from distillfarm.domain.study import Trial

EMULATED, UNSTABLE = "EMULATED", "UNSTABLE"
"""How a trial's reason begins whose outcome alone would say too much."""


def fate(trial: Trial) -> tuple[str, str]:
    """What became of a trial in a word, and why."""
    if trial.refusal is not None:
        return "refused", str(trial.refusal)
    if trial.outcome is None and trial.skipped:
        return "skipped", trial.skipped
    if trial.outcome is None:
        return "not measured", trial.outcome_reason
    for mark in (EMULATED, UNSTABLE):
        if trial.outcome_reason.startswith(mark):
            return mark.lower(), trial.outcome_reason
    return trial.outcome.value, trial.outcome_reason


def is_emulated(trial: Trial) -> bool:
    """Whether an emulated device ran it, so that it has an outcome and no numbers."""
    return trial.outcome is not None and trial.outcome_reason.startswith(EMULATED)
