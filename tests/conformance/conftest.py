"""Stand-in phones, for the drivers and runners that need one."""

import pytest

pytest.register_assert_rewrite("driver_conformance", "runner_conformance")

from phone_fixtures import phone, phone_programs, running_lab  # noqa: E402

__all__ = ["phone", "phone_programs", "running_lab"]
