"""Which iPhones there are, by public sources.

ProductType, board and chip: https://theapplewiki.com/wiki/Models and its pages of each board.
Builds: https://theapplewiki.com/wiki/Firmware/iPhone. Memory, battery and cores:
https://en.wikipedia.org/wiki/IPhone_11, IPhone_15_Pro and IPhone_16.
"""

from dataclasses import dataclass

_GB = 10**9
_GIB = 2**30
# From here on developer services are reached through a tunnel that lockdown hands out.
_TUNNEL_SINCE = (17, 4)
_PERSONALIZED_SINCE = (17,)


@dataclass(frozen=True)
class System:
    """A version of iOS and its build."""

    version: str
    build: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version's parts."""
        return tuple(int(each) for each in self.version.split("."))

    @property
    def has_tunnel(self) -> bool:
        """Whether CoreDeviceProxy is there."""
        return self.numbers >= _TUNNEL_SINCE

    @property
    def personalizes(self) -> bool:
        """Whether its developer image is the phone's own, and its services are in the tunnel."""
        return self.numbers >= _PERSONALIZED_SINCE


@dataclass(frozen=True)
class Identity:
    """A model of iPhone as it left the shop, and the system that it runs."""

    name: str
    marketing_name: str
    product_type: str
    board: str
    board_id: int
    chip_id: int
    chip_name: str
    cores: int
    memory_bytes: int
    storage_bytes: int
    battery_mah: int
    system: System

    @property
    def platform(self) -> str:
        """The chip as lockdown names it."""
        return f"t{self.chip_id:04x}"

    def unique_chip_id(self, number: int) -> int:
        """The ECID of the ``number``-th phone of this model in a lab."""
        return 0x0010_0000_0000_001E + (self.chip_id << 24) + (number << 8)

    def udid(self, number: int) -> str:
        """Its UDID, in the form that chips since the A12 have."""
        return f"{self.chip_id:08X}-{self.unique_chip_id(number):016X}"


_IPHONE_11 = Identity(
    name="iphone_11",
    marketing_name="iPhone 11",
    product_type="iPhone12,1",
    board="N104AP",
    board_id=0x04,
    chip_id=0x8030,
    chip_name="A13 Bionic",
    cores=6,
    memory_bytes=4 * _GIB,
    storage_bytes=64 * _GB,
    battery_mah=3110,
    # The last 16 for phones that can have 17.
    system=System("16.7.2", "20H115"),
)
_IPHONE_15_PRO = Identity(
    name="iphone_15_pro",
    marketing_name="iPhone 15 Pro",
    product_type="iPhone16,1",
    board="D83AP",
    board_id=0x04,
    chip_id=0x8130,
    chip_name="A17 Pro",
    cores=6,
    memory_bytes=8 * _GIB,
    storage_bytes=128 * _GB,
    battery_mah=3274,
    system=System("17.5.1", "21F90"),
)
_IPHONE_16 = Identity(
    name="iphone_16",
    marketing_name="iPhone 16",
    product_type="iPhone17,3",
    board="D47AP",
    board_id=0x08,
    chip_id=0x8140,
    chip_name="A18",
    cores=6,
    memory_bytes=8 * _GIB,
    storage_bytes=128 * _GB,
    battery_mah=3561,
    system=System("18.5", "22F76"),
)

IDENTITIES = {each.name: each for each in (_IPHONE_11, _IPHONE_15_PRO, _IPHONE_16)}
