"""One kind of failure between the agent and a phone: whose fault it is, and what helps."""

from dataclasses import dataclass

from distillfarm.domain.errors import Blame, DeviceOffline


@dataclass(frozen=True)
class Fault:
    """One kind of failure; ``remedy`` is one line for the operator."""

    name: str
    blame: Blame
    remedy: str


class PhoneFault(DeviceOffline):
    """A phone cannot be used now; ``fault`` says whose fault that is and what helps."""

    def __init__(self, serial: str, fault: Fault, words: str) -> None:
        super().__init__(f"{serial}: {fault.name}: {words.strip() or 'no word'}; {fault.remedy}")
        self.fault = fault
        self.blame = fault.blame
