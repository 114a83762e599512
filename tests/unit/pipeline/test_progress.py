"""How far a study is."""

import pytest

from distillfarm.controller.progress import UNKNOWN_S, Progress


def test_time_left_is_unknown_until_every_long_stage_was_seen() -> None:
    progress = Progress({"compress": 4, "measure": 10, "bundle": 1})
    progress.finish("compress", 2, 20.0)
    assert progress.left_s() == UNKNOWN_S
    progress.finish("measure", 5, 10.0)
    assert progress.left_s() == pytest.approx(2 * 10.0 + 5 * 2.0 + 3.0)


def test_what_is_under_way_shortens_the_time_left() -> None:
    progress = Progress({"measure": 10})
    progress.finish("measure", 5, 10.0)
    assert progress.left_s("measure", 2.5) == pytest.approx(5.0)


def test_more_than_planned_never_passes_the_total() -> None:
    progress = Progress({"compress": 1})
    progress.finish("compress", 3, 1.0)
    assert (progress.done, progress.total, progress.left_s()) == (3, 3, 0.0)


def test_settling_drops_what_the_search_did_not_need() -> None:
    progress = Progress({"compress": 8, "measure": 24})
    progress.finish("compress", 4, 4.0)
    progress.finish("measure", 12, 12.0)
    progress.settle("compress", 0)
    progress.settle("measure", 14)
    assert (progress.done, progress.total) == (16, 30)
    assert progress.left_s() == pytest.approx(14.0)


def test_what_is_begun_is_planned_whatever_was_expected() -> None:
    progress = Progress({"measure": 4})
    progress.finish("measure", 4, 4.0)
    progress.begin("measure", 6)
    assert (progress.done, progress.total) == (4, 10)
    progress.begin("measure", 2)
    assert progress.total == 10


def test_what_is_under_way_never_passes_what_is_planned() -> None:
    progress = Progress({"measure": 10})
    progress.finish("measure", 4, 4.0)
    assert progress.done_with("measure", 2.9) == 6
    assert progress.done_with("measure", 99.0) == 10
    assert progress.done_with("compress", 99.0) == 4
