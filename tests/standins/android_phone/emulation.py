"""Makes this computer's kernel run arm64 programs, by an emulator that need not be in the phone."""

import os
import platform
from pathlib import Path

from android_phone import needs
from android_phone.needs import NoPhone
from android_phone.root import Root

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
# The head of every 64-bit arm program, little-endian, and which of its bits count.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def enable(root: Root) -> None:
    """Have arm64 programs run by the root's emulator; stays until the computer restarts.

    Raises:
        NoPhone: the kernel cannot do that.
    """
    if platform.machine() == "aarch64":
        return
    if not (_BINFMT / "register").exists():
        try:
            needs.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT])
        except NoPhone as error:
            raise NoPhone(
                f"no binfmt_misc in this kernel, which runs foreign programs: {error}"
            ) from error
    name = f"distillfarm-phone-{root.emulator.parent.name}"
    if (_BINFMT / name).exists():
        return
    # F opens the emulator now, so that it is found from within a phone; the newest entry wins.
    entry = f":{name}:M::{_MAGIC}:{_MASK}:{root.emulator}:PF"
    descriptor = os.open(_BINFMT / "register", os.O_WRONLY)
    try:
        os.write(descriptor, entry.encode())
    except FileExistsError:
        pass  # Another process was quicker.
    except OSError as error:
        raise NoPhone(f"binfmt_misc takes no entry for qemu-aarch64: {error}") from error
    finally:
        os.close(descriptor)
