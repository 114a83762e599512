"""Several phones behind an adb server of their own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adbutils import AdbClient, AdbDevice

from android_phone import needs
from android_phone.identities import IDENTITIES
from android_phone.needs import NoPhone
from android_phone.phone import Phone
from android_phone.root import ready_root

_START_S = 40.0
_POLL_S = 0.05
# The server hangs on a pipe of ours: it ends when we do, however that happens.
_SERVER = 'adb -P "$1" nodaemon server >/dev/null 2>&1 & read -r _; kill -9 $!; wait'


class Lab:
    """Phones and their adb server; see ``lab``."""

    def __init__(self, phones: Sequence[Phone], home: Path) -> None:
        self.phones = tuple(phones)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.server_port: int = free.getsockname()[1]
        self._home = home
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def adb(self) -> AdbClient:
        """A client of the server."""
        return AdbClient(host="127.0.0.1", port=self.server_port, socket_timeout=_START_S)

    @property
    def environment(self) -> dict[str, str]:
        """What has the adb program use this server and no other."""
        return os.environ | {
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            "ADB_VENDOR_KEYS": str(self._home),
            "ANDROID_ADB_SERVER_PORT": str(self.server_port),
        }

    def device(self, phone: Phone) -> AdbDevice:
        """The phone as adbutils has it."""
        return self.adb.device(phone.address)

    def start_server(self) -> None:
        """Start the adb server; it knows no phone yet.

        Raises:
            NoPhone: it does not come up.
        """
        self._server = subprocess.Popen(
            ["sh", "-c", _SERVER, "sh", str(self.server_port)],
            stdin=subprocess.PIPE,
            env=self.environment,
        )
        ends_s = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > ends_s:
                raise NoPhone(f"the adb server on port {self.server_port} does not come up")
            time.sleep(_POLL_S)

    def kill_server(self) -> None:
        """End the adb server, which forgets every phone; idempotent."""
        # Whoever asked in between had one started that is not ours.
        subprocess.run(
            ["adb", "kill-server"], env=self.environment, capture_output=True, check=False
        )
        if self._server is not None:
            self._server.communicate()
            self._server = None

    def connect(self, *phones: Phone) -> None:
        """Connect these phones, or every one, to the server anew.

        Raises:
            NoPhone: one does not answer.
        """
        for phone in phones or self.phones:
            self.adb.disconnect(phone.address)
            words = self.adb.connect(phone.address, timeout=_START_S)
            if "connected to" not in words:
                raise NoPhone(f"{phone.name} at {phone.address}: {words}")
            self.adb.wait_for(phone.address, state="device", timeout=_START_S)

    def heal(self, *phones: Phone, kept: str = "") -> None:
        """Undo every fault of these phones, or of every one and the server; connect them anew.

        What is ``kept`` stays on them, see ``Phone.heal``.

        Raises:
            NoPhone: one does not come back.
        """
        if self._server is None:
            self.start_server()
        for phone in phones or self.phones:
            phone.heal(kept)
        # A server that was killed has forgotten the others, too.
        known = {each.serial for each in self.adb.list() if each.state == "device"}
        forgotten = [each for each in self.phones if each.address not in known]
        self.connect(*dict.fromkeys([*(phones or self.phones), *forgotten]))

    def _answers(self) -> bool:
        """Whether the server speaks; adbutils would start one of its own where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.server_port), timeout=1.0) as asking:
                asking.sendall(b"000chost:version")
                return asking.recv(4) == b"OKAY"
        except OSError:
            return False


@contextmanager
def lab(identities: Sequence[str], data_bytes: int = 512 * 2**20) -> Iterator[Lab]:
    """Phones of these identities behind a server of their own, connected; all end with it.

    Raises:
        NoPhone: something is missing here, or one does not come up.
    """
    needs.check()
    if unknown := set(identities) - set(IDENTITIES):
        raise NoPhone(f"no phone {', '.join(sorted(unknown))}; there are {', '.join(IDENTITIES)}")
    root = ready_root()
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="adb-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        phones = [
            stack.enter_context(Phone(name, IDENTITIES[name], None, root, data_bytes))
            for name in identities
        ]
        started = Lab(phones, home)
        stack.callback(started.kill_server)
        started.start_server()
        started.connect()
        yield started
