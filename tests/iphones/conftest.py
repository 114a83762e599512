"""Stand-in iPhones behind a usbmuxd of their own."""

from pathlib import Path

import pytest
from go_ios import NoGoIos, ready_go_ios
from iphone_fixtures import (
    iphone,
    iphone_lab,
    new_iphone,
    old_iphone,
    probe,
    running_iphones,
)

__all__ = ["iphone", "iphone_lab", "new_iphone", "old_iphone", "probe", "running_iphones"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a phone."""
    for item in items:
        if "/tests/iphones/" in item.path.as_posix():
            item.add_marker("phones")


@pytest.fixture(scope="session")
def go_ios() -> Path:
    """go-ios's program; skips by the name of what is missing."""
    try:
        return ready_go_ios()
    except NoGoIos as error:
        pytest.skip(str(error))
