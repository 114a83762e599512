"""The instrument that launches and ends processes, and passes on what they say."""

import signal
import time
from typing import Any

from pymobiledevice3.dtx import PInt32, dtx_on_invoke
from pymobiledevice3.dtx.ns_types import NSError
from pymobiledevice3.exceptions import ConnectionTerminatedError

from iphone_phone.device import LaunchRefused
from iphone_phone.instruments.instrument import Instrument
from iphone_phone.processes import Launch

# A client that publishes this wants to hear of ends.
_HEARS_OF_ENDS = "com.apple.instruments.client.processcontrol.capability.terminationCallback"
_OUTPUT = "outputReceived:fromProcess:atTime:"
_ENDED = "processWithPID:terminatedWithExitCode:orCrashingSignal:"
_ERRORS = "FBSOpenApplicationServiceErrorDomain"


class ProcessControl(Instrument):
    """processcontrol; it watches what it launches."""

    IDENTIFIER = "com.apple.instruments.server.services.processcontrol"

    async def said(self, pid: int, text: str) -> None:
        """Pass a line on to the client, if it is still there."""
        await self._tell(_OUTPUT, text, PInt32(pid), time.monotonic_ns())

    async def ended(self, pid: int, code: int) -> None:
        """Tell the client how a process ended, if it wants to know."""
        if _HEARS_OF_ENDS in (self._ctx["connection"].supported_identifiers or {}):
            exit_code, crashing = (code, None) if code >= 0 else (None, -code)
            await self._tell(_ENDED, pid, exit_code, crashing)

    @dtx_on_invoke(
        "launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:"
    )
    async def launch(
        self,
        path: str,
        bundle: str,
        environment: dict[str, Any] | None,
        arguments: list[Any] | None,
        options: dict[str, Any] | None,
    ) -> int | NSError:
        """Launch an app; its process."""
        chosen = options or {}
        asked = Launch(
            bundle,
            tuple(str(each) for each in arguments or ()),
            {name: str(value) for name, value in (environment or {}).items()},
            kill_existing=bool(chosen.get("KillExisting")),
            suspended=bool(chosen.get("StartSuspendedKey")),
        )
        try:
            return await self.device.launch(asked, self)
        except LaunchRefused as refused:
            return NSError(1, _ERRORS, {"NSLocalizedDescription": str(refused)})

    @dtx_on_invoke("sendSignal:toPid:")
    async def send_signal(self, number: int, pid: int) -> None:
        """Signal a process."""
        await self.device.send_signal(int(pid), int(number))

    @dtx_on_invoke("killPid:")
    async def kill(self, pid: int) -> None:
        """End a process."""
        await self.device.send_signal(int(pid), signal.SIGKILL)

    @dtx_on_invoke("suspendPid:")
    async def suspend(self, pid: int) -> None:
        """Have a process pause."""
        await self.device.send_signal(int(pid), signal.SIGSTOP)

    @dtx_on_invoke("resumePid:")
    async def resume(self, pid: int) -> None:
        """Have a process go on."""
        await self.device.send_signal(int(pid), signal.SIGCONT)

    @dtx_on_invoke("processIdentifierForBundleIdentifier:")
    async def pid_of(self, bundle: str) -> int:
        """An app's process, 0 for none."""
        return self.device.pid(bundle) or 0

    @dtx_on_invoke("requestDisableMemoryLimitsForPid:")
    async def lift_memory_limit(self, pid: int) -> bool:
        """Have jetsam spare a process."""
        return int(pid) in self.device.running

    @dtx_on_invoke("isPidDebuggable:")
    async def is_debuggable(self, pid: int) -> bool:
        """Whether it is an app signed for development."""
        return int(pid) in self.device.running

    @dtx_on_invoke("startObservingPid:")
    async def observe(self, pid: int) -> None:
        """What was launched here is observed anyway."""

    @dtx_on_invoke("stopObservingPid:")
    async def observe_no_more(self, pid: int) -> None:
        """See ``observe``."""

    async def _tell(self, selector: str, *arguments: Any) -> None:
        try:
            await self.invoke(selector, *arguments, expects_reply=False)
        except (ConnectionTerminatedError, ConnectionError):
            # The app outlives the client that launched it.
            return
