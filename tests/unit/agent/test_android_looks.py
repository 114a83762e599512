"""Looks at a phone are shared by those who may, and never older than asked for."""

import asyncio
from collections.abc import Callable
from typing import cast

from distillfarm.agent.drivers.android.line import PhoneLine
from distillfarm.agent.drivers.android.looks import Looks
from distillfarm.agent.drivers.android.shell import ShellResult


class SlowLine:
    """A phone that takes its time for an answer."""

    before = None

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, work: Callable[..., object], *rest: object, **named: object) -> ShellResult:
        self.asked += 1
        await asyncio.sleep(0.05)
        return ShellResult(0, b"", b"")


def looking() -> tuple[SlowLine, Looks]:
    line = SlowLine()
    return line, Looks(cast(PhoneLine, line))


async def test_who_may_have_an_older_look_shares_the_one_under_way() -> None:
    line, looks = looking()
    found = await asyncio.gather(*(looks.look(1.0) for _ in range(5)))
    assert line.asked == 1
    assert all(each is found[0] for each in found)
    assert await looks.look(1.0) is found[0]
    assert line.asked == 1


async def test_a_look_that_began_before_the_question_is_no_fresh_one() -> None:
    line, looks = looking()
    first = asyncio.create_task(looks.look())
    await asyncio.sleep(0.02)
    second = await looks.look()
    assert line.asked == 2
    assert second is not await first


async def test_a_look_that_failed_is_not_taken_for_one() -> None:
    line, looks = looking()
    first = asyncio.create_task(looks.look(1.0))
    await asyncio.sleep(0)
    first.cancel()
    await looks.look(1.0)
    assert line.asked == 2
    assert len(looks.since(0.0)) == 1
