"""Several phones behind a usbmuxd of their own."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from iphone_phone import muxclient
from iphone_phone.identities import IDENTITIES
from iphone_phone.owned import NoPhone, Owned
from iphone_phone.phone import Phone

_LISTED_S = 10.0
_POLL_S = 0.02


class Lab:
    """Phones and their usbmuxd; see ``lab``."""

    def __init__(self, folder: Path, phones: Sequence[Phone]) -> None:
        self.folder, self.phones = folder, tuple(phones)
        self.home = folder / "home"
        self._muxd: Owned | None = None

    @property
    def socket(self) -> Path:
        """Where usbmuxd listens."""
        return self.folder / "usbmuxd"

    @property
    def environment(self) -> dict[str, str]:
        """What has pymobiledevice3 use this usbmuxd, and keep pair records nowhere else."""
        return os.environ | self.variables

    @property
    def variables(self) -> dict[str, str]:
        """Those of ``environment`` that are the lab's."""
        return {"HOME": str(self.home), "USBMUXD_SOCKET_ADDRESS": str(self.socket)}

    def start_muxd(self) -> None:
        """Start usbmuxd, which finds the phones on their cables; idempotent.

        Raises:
            NoPhone: it does not come up.
        """
        if self._muxd is None:
            for left in (self.socket, self.folder / "hub"):
                left.unlink(missing_ok=True)
            self._muxd = Owned(
                "iphone_phone.muxd",
                (self.socket, self.folder / "hub", self.folder / "records"),
                self.folder / "errors",
            )

    def kill_muxd(self) -> None:
        """End usbmuxd: nobody answers, every connection is reset; idempotent."""
        if self._muxd is not None:
            self._muxd.kill()
            self._muxd.end()
            self._muxd = None

    def restart_muxd(self) -> None:
        """Start usbmuxd anew; every phone gets another number."""
        self.kill_muxd()
        self.start_muxd()

    def listed(self) -> frozenset[str]:
        """The UDIDs that usbmuxd lists; none where it does not answer."""
        try:
            return muxclient.listed(self.socket)
        except OSError:
            return frozenset()

    def wait_listed(self) -> None:
        """Wait until every phone is listed.

        Raises:
            NoPhone: one is not in time.
        """
        ends_s = time.monotonic() + _LISTED_S
        while missing := {phone.udid for phone in self.phones} - self.listed():
            if time.monotonic() > ends_s:
                raise NoPhone(f"usbmuxd does not list {', '.join(sorted(missing))}")
            time.sleep(_POLL_S)

    def forget_records(self) -> None:
        """Have this computer forget whom it is paired with."""
        for folder in (self.folder / "records", self.home):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()

    def heal(self) -> None:
        """Undo every fault of the phones and of usbmuxd."""
        self.start_muxd()
        for phone in self.phones:
            phone.heal()
        self.wait_listed()


@contextmanager
def lab(identities: Sequence[str]) -> Iterator[Lab]:
    """Phones of these identities behind a usbmuxd of their own, plugged in; all end with it.

    Raises:
        NoPhone: there is no such phone, or one does not come up.
    """
    if unknown := set(identities) - set(IDENTITIES):
        raise NoPhone(f"no phone {', '.join(sorted(unknown))}; there are {', '.join(IDENTITIES)}")
    with ExitStack() as stack:
        # A short path: a socket's name holds 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="iphones-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for each in ("home", "records"):
            (folder / each).mkdir()
        phones = []
        for index, name in enumerate(identities):
            number = identities[:index].count(name) + 1
            phone = Phone(IDENTITIES[name], number, folder / str(index), folder / "hub")
            stack.callback(phone.stop)
            phones.append(phone)
        started = Lab(folder, phones)
        stack.callback(started.kill_muxd)
        started.start_muxd()
        started.wait_listed()
        yield started
