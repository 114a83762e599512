"""Whether a target can work on a device, and if not, why."""

from distillfarm.domain.hardware import ComputeUnit, DeviceInfo, Platform, Runtime, Target
from distillfarm.profiles.catalog import Catalog, shipped

_APPLE_ONLY = frozenset({Runtime.COREML})


def refusal(info: DeviceInfo, target: Target, catalog: Catalog | None = None) -> str | None:
    """Why ``target`` cannot work on the device, or None when nothing speaks against it.

    What the device itself answered to a probe of this very target decides; only without such an
    answer is the profile asked. ``catalog`` is the shipped one by default.
    """
    for support in info.runtimes:
        if support.target == target:
            return support.refusal or None
    if target.runtime in _APPLE_ONLY and info.platform is not Platform.IOS:
        return f"{target}: {target.runtime.value} runs on Apple devices only, not on {info.model}"
    if target.unit is ComputeUnit.CPU:
        return None
    profile = (catalog or shipped()).chipset(info)
    if profile is None or target in profile.targets:
        return None
    known = ", ".join(sorted(map(str, profile.targets))) or "none"
    return (
        f"{target}: no way known to reach a {target.unit.value} of {profile} by it "
        f"(known: {known}); if it works, add it to the chipset's profile"
    )
