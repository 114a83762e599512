"""What a launch is asked to do, by the mode of its measurement."""

from collections.abc import Mapping, Sequence

import pytest
from launches import GOLDEN, request

from distillfarm.agent.program.order import Order
from distillfarm.agent.protocols import AppRun, DeviceDriver, Prepared
from distillfarm.agent.runners.onnxruntime import OnnxRuntimeRunner
from distillfarm.domain.errors import DeviceOffline
from distillfarm.domain.job import MOST_KEPT, MOST_RAW, Mode

LONG = 10**9
"""More inferences than any launch here could make."""


async def ordered(
    driver: DeviceDriver, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> tuple[Order, float]:
    """The order of a launch, and how long it may take."""
    asked: list[tuple[Order, float]] = []

    async def launch(
        app: str, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> AppRun:
        asked.append((Order.from_arguments(arguments), timeout_s))
        raise DeviceOffline("enough was seen")

    monkeypatch.setattr(driver, "launch", launch)
    job, _ = request(GOLDEN / "cnn.onnx", "onnxruntime", None, None, **settings)
    with pytest.raises(DeviceOffline):
        await OnnxRuntimeRunner().launch(driver, job, Prepared("model.onnx"))
    (found,) = asked
    return found


async def test_a_burst_is_as_long_as_its_count_or_its_time(
    driver: DeviceDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, timeout_s = await ordered(driver, monkeypatch, iterations=200, max_sampling_s=2.0)
    assert (order.iterations, order.max_sampling_s, order.least) == (200, 2.0, 10)
    assert (order.kept, timeout_s) == (200, 60.0)


async def test_a_burst_of_millions_keeps_what_a_line_of_a_phones_holds(
    driver: DeviceDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, _ = await ordered(driver, monkeypatch, iterations=10**7)
    assert (order.iterations, order.kept) == (10**7, MOST_RAW)
    # Ten digits, a comma and a space each; the lines of a device are cut at 4 MiB.
    assert 12 * (MOST_RAW + 100_000) < 4 * 2**20


async def test_a_sustained_launch_goes_on_for_its_duration_besides_its_time_out(
    driver: DeviceDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, timeout_s = await ordered(
        driver, monkeypatch, mode=Mode.SUSTAINED, duration_s=900.0, iterations=20
    )
    assert (order.max_sampling_s, order.least, order.kept) == (900.0, 10, MOST_KEPT)
    assert order.iterations > LONG
    assert timeout_s == 960.0


@pytest.mark.parametrize(("duration_s", "lasts_s"), [(0.0, 60.0), (30.0, 60.0), (120.0, 120.0)])
async def test_a_single_stream_is_no_shorter_than_mlperfs(
    driver: DeviceDriver, monkeypatch: pytest.MonkeyPatch, duration_s: float, lasts_s: float
) -> None:
    order, timeout_s = await ordered(
        driver, monkeypatch, mode=Mode.SINGLE_STREAM, duration_s=duration_s
    )
    assert (order.max_sampling_s, order.least) == (lasts_s, 1024)
    assert order.iterations > LONG
    assert timeout_s == 60.0 + lasts_s
