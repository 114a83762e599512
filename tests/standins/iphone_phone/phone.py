"""A stand-in iPhone as a test has it: what it is, and everything that may happen to it."""

from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from iphone_phone import orders
from iphone_phone.condition import Condition, Thermal, Trust
from iphone_phone.identities import Identity
from iphone_phone.orders import Order
from iphone_phone.owned import NoPhone, Owned


class Changes(TypedDict, total=False):
    """The fields of ``Condition``."""

    trust: Trust
    locked: bool
    developer_mode: bool
    image_mounted: bool
    user_trusts_developer: bool
    thermal: Thermal
    low_power_mode: bool
    battery_percent: int
    battery_c: float
    charging: bool
    silent: frozenset[str]
    refused: frozenset[str]
    supervisor: str


class Phone:
    """The ``number``-th phone of its model in a lab, in a process of its own.

    Every method returns once it is so. Orders may come from any thread.
    """

    def __init__(self, identity: Identity, number: int, folder: Path, hub: Path) -> None:
        self.identity, self.number = identity, number
        self._folder = folder
        self._condition = Condition()
        folder.mkdir()
        self._process = Owned(
            "iphone_phone.device_main",
            (identity.name, str(number), folder, hub),
            folder / "errors",
        )

    @property
    def udid(self) -> str:
        """How every client names it."""
        return self.identity.udid(self.number)

    @property
    def condition(self) -> Condition:
        """What was set last; a restart and clients change the phone's image besides."""
        return self._condition

    @property
    def pid(self) -> int:
        """Its process here."""
        return self._process.pid

    @property
    def errors(self) -> str:
        """What went wrong inside it: empty, unless the stand-in has a mistake."""
        return self._process.words()

    def container(self, bundle: str) -> Path:
        """An installed app's home, as this computer sees it."""
        return self._folder / "apps" / "containers" / bundle

    def change(self, **changes: Unpack[Changes]) -> None:
        """Change fields of its condition; the others stay as they were set last."""
        self._condition = replace(self._condition, **changes)
        self._order(orders.Change(self._condition))

    def pull_cable(self) -> None:
        """Be listed no more, every connection reset."""
        self._order(orders.PullCable())

    def pull_cable_after(self, service: str, received_bytes: int = 0) -> None:
        """Pull the cable by itself once a service has received so much; 0: once it is reached."""
        self._order(orders.PullCableLater(service, received_bytes))

    def plug_in(self) -> None:
        """Be listed again soon, with another number."""
        self._order(orders.PlugIn())

    def cut_tunnel(self) -> None:
        """Reset the tunnel's connections; the phone stays listed."""
        self._order(orders.CutTunnel())

    def forget_hosts(self) -> None:
        """Trust no computer any more: the next one to pair is asked about anew."""
        self._order(orders.ForgetHosts())

    def restart(self) -> None:
        """Restart it: apps end, the developer image is gone, files stay."""
        self._order(orders.Restart())
        self._condition = replace(self._condition, image_mounted=False)

    def update(self, version: str, build: str) -> None:
        """Restart it with another iOS."""
        self._order(orders.Restart(version, build))
        self._condition = replace(self._condition, image_mounted=False)

    def jetsam(self, bundle: str) -> None:
        """Have the kernel kill a running app for its memory, and report it.

        Raises:
            NoPhone: it does not run.
        """
        self._order(orders.Jetsam(bundle))

    def heal(self) -> None:
        """Sound, plugged in, with the system that it came with and nothing on it."""
        self._condition = Condition()
        self._order(orders.Change(self._condition))
        self._order(orders.Erase())
        self._order(orders.PlugIn())

    def stop(self) -> None:
        """End it and all that runs on it; idempotent."""
        self._process.end()

    def kill(self) -> None:
        """End its process at once, as an empty battery does."""
        self._process.kill()

    def _order(self, order: Order) -> None:
        answer = orders.decode_answer(self._process.ask(orders.encode(order)))
        if answer.error is not None:
            raise NoPhone(f"{self.udid}: {answer.error}")
