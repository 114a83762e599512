"""What an iPhone is: who it says it is, and what the profile of its ProductType adds.

The chip's own number does not decide: 0x8140 and 0x8150 are two chips each.
"""

from dataclasses import replace

from distillfarm.agent.drivers.ios.protocol import Identity
from distillfarm.domain.hardware import Chipset, DeviceInfo, Platform
from distillfarm.profiles.catalog import Catalog

_GIB = 2**30


def device_info(identity: Identity, cores: int, catalog: Catalog) -> DeviceInfo | None:
    """The phone as the farm knows it, before anything was tried on it.

    None where no profile tells its chip and memory, which it does not tell itself.
    """
    told = DeviceInfo(
        serial=identity.udid,
        platform=Platform.IOS,
        model=identity.product,
        chipset=Chipset("", ""),
        os_name=f"iOS {identity.version}",
        os_build=identity.build,
        cores=cores,
        memory_bytes=0,
        emulated=identity.virtual,
        codename=identity.board,
        board=identity.platform,
        firmware="; baseband ".join(filter(None, (identity.firmware, identity.baseband))),
    )
    phone, chipset = catalog.phone(told), catalog.chipset(told)
    if phone is None or chipset is None or not phone.memory_gb:
        return None
    return replace(
        told,
        chipset=Chipset(chipset.vendor, chipset.model),
        memory_bytes=max(phone.memory_gb) * _GIB,
    )
