"""A stand-in iPhone: usbmuxd, lockdown and the services behind it, as unmodified clients have them.

A launched app is a process of this computer: what it computes is this computer's, and no number of
an iPhone. It needs no root.

By hand: ``PYTHONPATH=tests/standins python -m iphone_phone --phones 2``.
"""

from iphone_phone.condition import Condition, Thermal, Trust
from iphone_phone.identities import IDENTITIES, Identity, System
from iphone_phone.lab import Lab, lab
from iphone_phone.owned import NoPhone
from iphone_phone.packages import App, write_package
from iphone_phone.phone import Phone

__all__ = [
    "IDENTITIES",
    "App",
    "Condition",
    "Identity",
    "Lab",
    "NoPhone",
    "Phone",
    "System",
    "Thermal",
    "Trust",
    "lab",
    "write_package",
]
