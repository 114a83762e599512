"""No test may be skipped where the run has to be complete: with ``DISTILLFARM_NO_SKIPS=1``.

A skip then fails its test by name, unless the test is marked ``hardware``. ``.ci/run`` installs
what the tests need and sets the variable, so that a missing tool cannot hide a test.
"""

import os
from collections.abc import Generator

import pytest

# No test's agent looks for the phones of who runs the tests, or starts an adb server that stays:
# those with phones name the port of a server of their own.
os.environ.setdefault("DISTILLFARM_AGENT_ADB_PORT", "1")
os.environ.setdefault("DISTILLFARM_AGENT_ADB_START", "false")

NO_SKIPS = os.environ.get("DISTILLFARM_NO_SKIPS") == "1"


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped where every test must run: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's skip into a failure."""
    report = yield
    if NO_SKIPS and item.get_closest_marker("hardware") is None:
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure."""
    report = yield
    if NO_SKIPS and collector.get_closest_marker("hardware") is None:
        _forbid_skip(report)
    return report
