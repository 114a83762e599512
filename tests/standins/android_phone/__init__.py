"""A stand-in Android phone: AOSP's own adbd and arm64 tools in namespaces of this computer.

What it computes is right and 200 times too slow: it is for behaviour, never for a number. It calls
itself emulated (``ro.kernel.qemu``), so that production code needs no case for it.

By hand, as root: ``PYTHONPATH=tests/standins python -m android_phone --phones 3``.
"""

from android_phone.identities import IDENTITIES, Identity
from android_phone.lab import Lab, lab
from android_phone.needs import NoPhone
from android_phone.phone import Phone

__all__ = ["IDENTITIES", "Identity", "Lab", "NoPhone", "Phone", "lab"]
