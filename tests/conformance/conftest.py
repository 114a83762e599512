"""Stand-in phones and iPhones, for the drivers and runners that need one."""

import pytest

pytest.register_assert_rewrite("driver_conformance", "runner_conformance")

from iphone_fixtures import (  # noqa: E402
    iphone,
    iphone_lab,
    new_iphone,
    old_iphone,
    running_iphones,
)
from iphone_station import station  # noqa: E402
from phone_fixtures import phone, phone_programs, running_lab  # noqa: E402

__all__ = [
    "iphone",
    "iphone_lab",
    "new_iphone",
    "old_iphone",
    "phone",
    "phone_programs",
    "running_iphones",
    "running_lab",
    "station",
]
