"""com.apple.coredevice.appservice: launches apps and lists processes, in RemoteXPC."""

from pymobiledevice3.remote.xpc_message import XpcInt64Type

from iphone_phone.device import Device, LaunchRefused
from iphone_phone.processes import Launch
from iphone_phone.tunnel.remote_xpc import RemoteXpc
from iphone_phone.wire import Plist, Wire

_FEATURE = "com.apple.coredevice.feature."
_ERRORS = "com.apple.dt.CoreDeviceError"
_LAUNCH_REFUSED, _UNKNOWN_FEATURE = 10002, 1001


async def serve(device: Device, wire: Wire) -> None:
    """Answer until the client goes.

    Raises:
        asyncio.IncompleteReadError: it has gone.
    """
    connection = RemoteXpc(wire)
    async for message in connection.messages():
        feature = message.body.get("CoreDevice.featureIdentifier", "")
        given = message.body.get("CoreDevice.input", {})
        answer = await _answer(device, feature.removeprefix(_FEATURE), given)
        await connection.send(answer, message.number)


async def _answer(device: Device, feature: str, given: Plist) -> Plist:
    match feature:
        case "launchapplication":
            return await _launch(device, given)
        case "listprocesses":
            tokens = [
                {
                    "executableURL": {"relative": f"file://{each.app.path}/{each.app.name}"},
                    "processIdentifier": XpcInt64Type(pid),
                }
                for pid, each in device.running.items()
            ]
            return _output({"processTokens": tokens})
        case "sendsignaltoprocess":
            pid = int(given["process"]["processIdentifier"])
            await device.send_signal(pid, int(given["signal"]))
            return _output({"process": given["process"]})
        case _:
            return _error(_UNKNOWN_FEATURE, f"There is no feature {feature} here.")


async def _launch(device: Device, given: Plist) -> Plist:
    options = given["options"]
    asked = Launch(
        given["applicationSpecifier"]["bundleIdentifier"]["_0"],
        tuple(options["arguments"]),
        options["environmentVariables"],
        kill_existing=options["terminateExisting"],
        suspended=options["startStopped"],
    )
    try:
        pid = await device.launch(asked)
    except LaunchRefused as refused:
        return _error(_LAUNCH_REFUSED, str(refused))
    return _output({"processToken": {"auditToken": [], "processIdentifier": XpcInt64Type(pid)}})


def _output(output: Plist) -> Plist:
    return {"CoreDevice.output": output}


def _error(code: int, words: str) -> Plist:
    return {
        "CoreDevice.error": {
            "code": XpcInt64Type(code),
            "domain": _ERRORS,
            "userInfo": {"NSLocalizedDescription": words},
        }
    }
