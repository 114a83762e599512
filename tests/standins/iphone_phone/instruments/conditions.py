"""The instrument that has a phone believe that it is warm, for its developer's tests."""

from dataclasses import replace
from typing import Any

from pymobiledevice3.dtx import dtx_on_invoke
from pymobiledevice3.dtx.ns_types import NSError

from iphone_phone.condition import Thermal
from iphone_phone.instruments.instrument import Instrument

_GROUP = "ThermalCondition"
_PROFILES = {
    f"Thermal{each.value.capitalize()}": each
    for each in (Thermal.FAIR, Thermal.SERIOUS, Thermal.CRITICAL)
}


class Conditions(Instrument):
    """ConditionInducer; only the thermal state can be induced here."""

    IDENTIFIER = "com.apple.instruments.server.services.ConditionInducer"

    @dtx_on_invoke("availableConditionInducers")
    async def available(self) -> list[dict[str, Any]]:
        """Every group of conditions and what it offers."""
        warm = self.device.condition.thermal
        return [
            {
                "activeProfile": "" if warm is Thermal.NOMINAL else f"Thermal{warm.capitalize()}",
                "identifier": _GROUP,
                "isActive": warm is not Thermal.NOMINAL,
                "isDestructive": False,
                "isInternal": False,
                "name": "Thermal Condition",
                "profiles": [
                    {
                        "description": f"Thermal state {each.value}",
                        "identifier": name,
                        "name": each.value.capitalize(),
                    }
                    for name, each in _PROFILES.items()
                ],
                "profilesSorted": True,
            }
        ]

    @dtx_on_invoke("enableConditionWithIdentifier:profileIdentifier:")
    async def enable(self, group: str, profile: str) -> NSError | None:
        """Induce one."""
        if group != _GROUP or profile not in _PROFILES:
            words = f"No condition {profile} of {group}"
            return NSError(1, "DTXMessage", {"NSLocalizedDescription": words})
        self.device.change(replace(self.device.condition, thermal=_PROFILES[profile]))
        return None

    @dtx_on_invoke("disableActiveCondition")
    async def disable(self) -> None:
        """Induce none."""
        self.device.change(replace(self.device.condition, thermal=Thermal.NOMINAL))
