"""Whether a target can work on a device, and if not, why."""

from distillfarm.domain.hardware import ComputeUnit, DeviceInfo, Platform, Runtime, Target
from distillfarm.profiles.catalog import Catalog, shipped

_APPLE_ONLY = frozenset({Runtime.COREML, Runtime.COREAI})
# https://developer.apple.com/documentation/coreai
_SINCE_IOS = {Runtime.COREAI: 27}


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
    if old := too_old(info, target):
        return old
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


def too_old(info: DeviceInfo, target: Target) -> str | None:
    """Why the device's system is too old for the target's runtime, or None when it is not."""
    since = _SINCE_IOS.get(target.runtime)
    if since is None or info.platform is not Platform.IOS:
        return None
    first = info.os_name.removeprefix("iOS ").partition(".")[0]
    if not first.isdigit() or int(first) >= since:
        return None
    return f"{target}: {target.runtime.value} needs iOS {since} or newer, this is {info.os_name}"
