"""The SLA language reads what people write and says what is wrong with the rest."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.sla import format_bound, parse_sla
from distillfarm.domain.study import Bound, Metric, Sla


def test_the_sla_of_the_readme_is_read_in_base_units() -> None:
    sla = parse_sla("accuracy_drop<=2pt, warm_p90<=10ms, peak_memory<=100MB")
    assert sla == Sla(
        (
            Bound(Metric.ACCURACY_DROP, 2.0),
            Bound(Metric.WARM_P90, 10.0),
            Bound(Metric.PEAK_MEMORY, 100e6),
        )
    )


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("cold<=1.5s", Bound(Metric.COLD, 1500.0)),
        ("warm_p50 <= 250us", Bound(Metric.WARM_P50, 0.25)),
        ("warm_p99<.5ms", Bound(Metric.WARM_P99, 0.5)),
        ("size<=4MiB", Bound(Metric.SIZE, 4 * 2**20)),
        ("energy<=2J", Bound(Metric.ENERGY, 2000.0)),
        ("accuracy_drop<=0.5%", Bound(Metric.ACCURACY_DROP, 0.5)),
    ],
)
def test_units_become_base_units(text: str, bound: Bound) -> None:
    (read,) = parse_sla(text).bounds
    assert read.metric is bound.metric
    assert read.limit == pytest.approx(bound.limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warm_p90>=10ms", "is no bound; write for example"),
        ("warm_p90<=10", "needs a unit; warm_p90 takes us, ms, s"),
        ("warm_p90<=10MB", "needs a unit"),
        ("size<=10mb", "takes B, KB, MB"),
        ("speed<=10ms", "unknown metric 'speed'; use one of accuracy_drop"),
        ("size<=1MB, size<=2MB", "size is bounded twice"),
        ("warm_p90<=-1ms", "is no bound"),
        ("warm_p90<=1e3ms", "is no bound|needs a unit"),
    ],
)
def test_what_is_no_sla_is_refused_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_sla(text)


def test_nothing_is_the_sla_without_bounds() -> None:
    assert parse_sla(" ,, ") == Sla(())


@given(st.sampled_from(list(Metric)), st.integers(1, 999_999))
def test_a_bound_survives_being_written_and_read(metric: Metric, thousandths: int) -> None:
    scale = 1e6 if metric in (Metric.SIZE, Metric.PEAK_MEMORY) else 1.0
    bound = Bound(metric, thousandths / 1000 * scale)
    (read,) = parse_sla(format_bound(bound)).bounds
    assert read.metric is metric
    assert read.limit == pytest.approx(bound.limit, rel=1e-5)


@given(st.text())
def test_any_text_is_read_or_refused_but_never_crashes(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_sla(text)
