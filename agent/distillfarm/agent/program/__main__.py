"""Runs the launch that the command line orders; every answer is a JSON line with an ``event``."""

import json
import os
import sys
from functools import partial

from distillfarm.agent.program import launch
from distillfarm.agent.program.order import Order


def main() -> None:
    """Run the order of the command line."""
    answers = _take_stdout()
    order = Order.from_arguments(sys.argv[1:])
    launch.answer(order, int(os.environ["DISTILLFARM_LAUNCH_NS"]), partial(_say, answers))


def _take_stdout() -> int:
    """Keep standard output for the answers; whatever a runtime prints goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _say(answers: int, **content: object) -> None:
    line = (json.dumps(content) + "\n").encode()
    while line:
        line = line[os.write(answers, line) :]


if __name__ == "__main__":
    main()
