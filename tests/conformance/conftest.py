"""Stand-in phones, for the drivers and runners that need one."""

from phone_fixtures import phone, phone_programs, running_lab

__all__ = ["phone", "phone_programs", "running_lab"]
