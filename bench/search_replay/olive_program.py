"""Olive's search strategy behind a pipe, as a program that its own environment's Python runs.

It reads the space and the sampler, then writes a proposal and reads what came of it, in turns, each
a line of JSON. It imports nothing of distillfarm.
"""

import contextlib
import json
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any, TextIO

_PASS, _MODEL = "cell", "source"


def main() -> None:
    """One search after the other, until the other side ends."""
    answers = sys.stdout
    # Its logs would be taken for proposals.
    with contextlib.redirect_stdout(sys.stderr):
        while line := sys.stdin.readline():
            search(json.loads(line), answers)


def search(asked: dict[str, Any], answers: TextIO) -> None:
    """Until ``null`` is read in place of what came of a proposal."""
    strategy = begun(asked)
    for sample in strategy:
        parameters = sample.passes_configs[_PASS]["params"]
        print(json.dumps([parameters[name] for name in asked["space"]]), file=answers, flush=True)
        told = json.loads(sys.stdin.readline() or "null")
        if told is None:
            return
        signal = {name: SimpleNamespace(value=value) for name, value in told.items()}
        strategy.record_feedback_signal(sample.search_point.index, signal, [_MODEL])


def begun(asked: dict[str, Any]) -> Any:
    """A joint search over one pass; the bound is a goal, the objective comes first."""
    strategy = import_module("olive.search.search_strategy").SearchStrategy(
        {
            "execution_order": "joint",
            "sampler": asked["sampler"],
            "sampler_config": {"seed": asked["seed"]},
        }
    )
    categorical = import_module("olive.search.search_parameter").Categorical
    space = {name: categorical(each) for name, each in asked["space"].items()}
    objectives = {
        "objective": {"higher_is_better": False, "goal": None, "priority": 1},
        "excess": {"higher_is_better": False, "goal": 0.0, "priority": 2},
    }
    strategy.initialize({_PASS: [space]}, _MODEL, {_PASS: objectives})
    return strategy


if __name__ == "__main__":
    main()
