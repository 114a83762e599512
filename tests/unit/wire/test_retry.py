"""What can succeed the next time is tried again, and nothing else."""

import pytest

from distillfarm.domain.errors import FarmError, InvalidRequest, Unavailable
from distillfarm.wire.retry import pauses, retrying, retrying_blocking


class Flaky:
    """Fails as told, then succeeds."""

    def __init__(self, *failures: FarmError) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    async def later(self) -> str:
        """The same, as a coroutine."""
        return self()


async def test_a_retryable_error_is_tried_again() -> None:
    flaky = Flaky(Unavailable("a"), Unavailable("b"))
    assert await retrying(flaky.later, patience_s=5.0) == "done"
    assert flaky.calls == 3


def test_threads_retry_in_the_same_way() -> None:
    flaky = Flaky(Unavailable("a"), Unavailable("b"))
    assert retrying_blocking(flaky, patience_s=5.0) == "done"
    assert flaky.calls == 3


async def test_the_users_mistake_is_not_tried_again() -> None:
    flaky = Flaky(InvalidRequest("no"))
    with pytest.raises(InvalidRequest):
        await retrying(flaky.later)
    with pytest.raises(InvalidRequest):
        retrying_blocking(Flaky(InvalidRequest("no")))
    assert flaky.calls == 1


async def test_the_last_error_is_raised_when_patience_ends() -> None:
    flaky = Flaky(*(Unavailable(str(number)) for number in range(1000)))
    with pytest.raises(Unavailable):
        await retrying(flaky.later, patience_s=0.2)
    assert 2 < flaky.calls < 10
    with pytest.raises(Unavailable):
        retrying_blocking(flaky, patience_s=0.2)


def test_no_patience_means_one_attempt() -> None:
    flaky = Flaky(Unavailable("a"))
    with pytest.raises(Unavailable):
        retrying_blocking(flaky, patience_s=0.0)
    assert flaky.calls == 1


def test_pauses_grow_to_five_seconds_and_add_up_to_the_patience() -> None:
    given = list(pauses(120.0))
    assert sum(given) == pytest.approx(120.0)
    assert 0.05 <= given[0] <= 0.1
    assert max(given) <= 5.0
    assert all(pause >= 2.5 for pause in given[7:-1])
