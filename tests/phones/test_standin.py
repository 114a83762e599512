"""What a stand-in phone promises: identities, facts that change, faults that pass, no trace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from adbutils import AdbClient, AdbDevice
from android_phone import IDENTITIES, Lab, Phone, network

from distillfarm.agent.drivers.android import facts, faults, link, readings, shell, state
from distillfarm.agent.drivers.fault import PhoneFault
from distillfarm.domain.errors import DeviceTimeout
from distillfarm.domain.hardware import Chipset, Cluster, Gpu

STANDINS = Path(__file__).parents[1] / "standins"


@dataclass(frozen=True)
class Expected:
    """What production reads from a phone."""

    model: str
    chipset: Chipset
    clusters: tuple[Cluster, ...]
    gpu: Gpu | None
    npu_libraries: tuple[str, ...]
    memory_gib: int
    percent: float
    battery_c: float
    thermal_status: int | None
    sensors: dict[str, float]
    zones: dict[str, float]


EXPECTED = {
    "xiaomi_12_pro": Expected(
        model="2201122G",
        chipset=Chipset("Qualcomm", "Snapdragon 8 Gen 1"),
        clusters=(
            Cluster(1800000, (0, 1, 2, 3)),
            Cluster(2500000, (4, 5, 6)),
            Cluster(3000000, (7,)),
        ),
        gpu=Gpu(
            "Qualcomm",
            "Adreno (TM) 730",
            "OpenGL ES 3.2 V@0615.73 (GIT@8f5499ec14, Ie6ef1a0a80, 1689341690) (Date:07/14/23)",
        ),
        npu_libraries=("libQnnHtp.so", "libQnnSystem.so", "libcdsprpc.so"),
        memory_gib=12,
        percent=77,
        battery_c=29.4,
        thermal_status=0,
        sensors={"CPU": 57.9, "SKIN": 34.351},
        zones={"cpu-0-0": 38.1, "skin-msm-therm": 33.4},
    ),
    "redmi_k40_gaming": Expected(
        model="M2101K9C",
        chipset=Chipset("", "MT6893"),
        clusters=(
            Cluster(2000000, (0, 1, 2, 3)),
            Cluster(2600000, (4, 5, 6)),
            Cluster(3000000, (7,)),
        ),
        gpu=None,
        npu_libraries=("libneuron_adapter.so",),
        memory_gib=8,
        percent=77,
        battery_c=29.4,
        thermal_status=None,
        sensors={},
        zones={"mtktscpu": 37.0, "mtktsbattery": 29.4, "mtktsAP": 34.0},
    ),
    "galaxy_s24": Expected(
        model="SM-S921B",
        chipset=Chipset("", "exynos2400"),
        clusters=(
            Cluster(2000000, (0, 1, 2, 3)),
            Cluster(2600000, (4, 5, 6)),
            Cluster(2900000, (7, 8)),
            Cluster(3200000, (9,)),
        ),
        gpu=None,
        npu_libraries=("libenn_user.samsung_slsi.so",),
        memory_gib=8,
        percent=100,
        battery_c=30.9,
        thermal_status=2,
        sensors={"AP": 40.1, "SKIN": 35.2, "BAT": 33.3, "PATHM": 38.4},
        zones={"BIG": 40.1, "G3D": 36.0, "battery": 30.9},
    ),
    "pixel_8_pro": Expected(
        model="Pixel 8 Pro",
        chipset=Chipset("Google", "Tensor G3"),
        clusters=(
            Cluster(1700000, (0, 1, 2, 3)),
            Cluster(2370000, (4, 5, 6, 7)),
            Cluster(2910000, (8,)),
        ),
        gpu=Gpu(
            "ARM",
            "Mali-G715",
            "OpenGL ES 3.2 v1.r44p0-01eac0.d0969c01d66270848df0f1eaaba55820",
        ),
        npu_libraries=("libedgetpu_util.so",),
        memory_gib=12,
        percent=77,
        battery_c=29.4,
        thermal_status=0,
        sensors={
            "TPU": 25.000002,
            "G3D": 26.000002,
            "BIG": 26.000002,
            "LITTLE": 27.000002,
            "MID": 27.000002,
            "neutral_therm": 22.912,
            "cellular-emergency": 24.83324,
            "VIRTUAL-SKIN": 24.83324,
            "battery": 22.1,
        },
        zones={"BIG": 26.0, "VIRTUAL-SKIN": 24.8},
    ),
}


@pytest.fixture(params=IDENTITIES)
def each(request: pytest.FixtureRequest, running_lab: Lab) -> Phone:
    """Every phone in turn, as it was recorded: an agent wakes whatever phone it finds."""
    found = next(phone for phone in running_lab.phones if phone.name == request.param)
    running_lab.heal(found)
    return found


def asked(adb: AdbClient, phone: Phone, command: str) -> str:
    return shell.run(adb.device(phone.address), command).text


def seen(adb: AdbClient, phone: Phone) -> state.State:
    return state.parse(asked(adb, phone, state.COMMAND))


def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    ends_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.05)


def test_production_knows_every_phone_by_its_facts(adb: AdbClient, each: Phone) -> None:
    expected = EXPECTED[each.name]
    told = facts.identity(facts.properties(asked(adb, each, facts.PROPERTIES_COMMAND)))
    assert (told.model, told.chipset) == (expected.model, expected.chipset)
    assert told.emulated
    assert told.abis == ("arm64-v8a",)
    assert told.fingerprint
    assert facts.clusters(asked(adb, each, facts.CLUSTERS_COMMAND)) == expected.clusters
    cores = sum(len(cluster.cores) for cluster in expected.clusters)
    assert facts.cores(asked(adb, each, facts.CORES_COMMAND)) == cores
    assert facts.gpu(asked(adb, each, facts.GPU_COMMAND)) == expected.gpu
    assert facts.npu_libraries(asked(adb, each, facts.NPU_COMMAND)) == expected.npu_libraries
    assert facts.memory_bytes(asked(adb, each, facts.MEMORY_COMMAND)) == expected.memory_gib * 2**30
    assert asked(adb, each, "grep -c ^processor /proc/cpuinfo") == f"{cores}\n"


def test_production_reads_every_phones_recorded_state(adb: AdbClient, each: Phone) -> None:
    expected, now = EXPECTED[each.name], seen(adb, each)
    assert now.battery is not None
    assert now.battery.percent == expected.percent
    assert now.battery.temperature_c == expected.battery_c
    assert now.throttling == expected.thermal_status
    read = {sensor.name: sensor.celsius for sensor in now.sensors}
    assert read == (expected.sensors or expected.zones)
    zones = readings.zones(asked(adb, each, readings.ZONES_COMMAND))
    assert {zone.name: zone.celsius for zone in zones} == expected.zones
    assert now.awake is False
    assert now.radios == "radios on, Wi-Fi on"
    assert now.busy_cores == 0
    assert now.boot_id is not None


def test_what_a_test_changes_is_read_while_the_phone_runs(
    adb: AdbClient, each: Phone, phone_lab: Lab
) -> None:
    each.state.set_temperature(43)
    each.state.set_battery(12)
    each.state.plug()
    each.state.set_screen(awake=True)
    with each.busy(2.5):
        now = seen(adb, each)
    assert now.body_c == 43
    assert {sensor.celsius for sensor in now.sensors} == {43}
    assert now.battery is not None
    assert (now.battery.percent, now.battery.temperature_c) == (12, 43)
    assert (now.battery.sources, now.battery.status) == (("usb",), "charging")
    assert now.awake is True
    # The two looks are further apart than meant: every command takes its time here.
    assert now.busy_cores is not None
    assert now.busy_cores > 2
    each.state.unplug()
    now = seen(adb, each)
    assert now.battery is not None
    assert (now.battery.sources, now.battery.status) == ((), "discharging")
    assert now.busy_cores == 0


def test_a_throttled_phone_says_so(adb: AdbClient, phone: Phone) -> None:
    phone.state.set_throttling(3)
    assert seen(adb, phone).throttling == 3


def test_commands_of_android_change_what_android_tells(device: AdbDevice, phone: Phone) -> None:
    def told(command: str) -> str:
        return shell.run(device, command).text.strip()

    assert told("settings get system screen_off_timeout") == "60000"
    assert told("settings get global never_set") == "null"
    told("settings put system screen_off_timeout 5; svc power stayon true")
    assert phone.state.setting("system", "screen_off_timeout") == "5"
    assert phone.state.setting("global", "stay_on_while_plugged_in") == "7"
    assert told("settings delete system screen_off_timeout") == "Deleted 1 rows"
    assert told("settings get system screen_off_timeout") == "null"
    assert told("dumpsys deviceidle disable; dumpsys deviceidle enabled").endswith("\n0")
    assert (
        told("cmd connectivity airplane-mode enable; settings get global airplane_mode_on") == "1"
    )
    assert told("cmd connectivity airplane-mode") == "enabled"
    assert told("input keyevent KEYCODE_WAKEUP; dumpsys power").endswith("mWakefulness=Awake")
    assert told("cmd battery get -f current_now") == "-412000"
    assert told("cmd battery get level") == "77"


def test_androids_tools_are_there(device: AdbDevice) -> None:
    tools = "awk cut dd df du expr flock grep ps sed setsid sha256sum stat tail timeout tr xargs"
    found = shell.run(device, f"for each in {tools}; do command -v $each; done").text
    assert found.split() == [f"/system/bin/{tool}" for tool in tools.split()]
    assert shell.run(device, "echo a-b | tr -d - | awk '{print $1}'").text == "ab\n"


def test_a_mask_of_the_phones_cores_is_taken_and_another_is_not(device: AdbDevice) -> None:
    assert shell.run(device, "taskset f0 echo big").text == "big\n"
    assert shell.run(device, "taskset f00 echo none").code == 1


def test_a_battery_set_by_hand_is_told_as_simulated(device: AdbDevice) -> None:
    def battery() -> readings.Battery:
        found = readings.battery(shell.run(device, readings.BATTERY_COMMAND).text)
        assert found is not None
        return found

    shell.run(device, "cmd battery set level 5")
    assert (battery().percent, battery().simulated) == (5, True)
    shell.run(device, "cmd battery reset")
    assert (battery().percent, battery().simulated) == (77, False)


def test_phones_are_apart(adb: AdbClient, phone_lab: Lab) -> None:
    first, second = phone_lab.phones[:2]
    assert seen(adb, first).boot_id != seen(adb, second).boot_id
    asked(adb, first, "echo mine > /data/local/tmp/file; settings put global mine 1")
    assert asked(adb, second, "cat /data/local/tmp/file; settings get global mine") == "null\n"
    assert shell.run(adb.device(second.address), "touch /system/bin/mine").code != 0


def test_files_and_exit_codes_pass(device: AdbDevice, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(3_000_000))
    device.sync.push(str(sent), "/data/local/tmp/sent")
    device.sync.pull("/data/local/tmp/sent", back)
    assert back.read_bytes() == sent.read_bytes()
    result = shell.run(device, "echo out; echo err >&2; exit 7")
    assert (result.code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")
    assert shell.run(device, "id -u").text == "2000\n"


def test_a_restart_keeps_files_and_settings_and_nothing_that_ran(
    adb: AdbClient, device: AdbDevice, phone: Phone
) -> None:
    before = link.baseline(adb.device(phone.address))
    shell.run(device, "echo kept > /data/local/tmp/file; settings put global kept 1")
    shell.run(device, "setsid sleep 98765 </dev/null >/dev/null 2>&1 &")
    assert "98765" in shell.run(device, "ps -A -o ARGS").text
    phone.reboot()
    link.reconnect(adb, phone.address)
    after = link.baseline(adb.device(phone.address))
    assert after.boot_id != before.boot_id
    assert link.diagnose(adb, phone.address, before) is faults.REBOOTED
    kept = shell.run(device, "cat /data/local/tmp/file; settings get global kept; ps -A -o ARGS")
    assert kept.text.startswith("kept\n1\n")
    assert "98765" not in kept.text
    # Its clock began anew.
    assert float(shell.run(device, "cat /proc/uptime").text.split()[0]) < 60
    assert shell.run(device, "stat -c %u /data/local/tmp/file").text == "2000\n"


def test_an_update_changes_the_build(adb: AdbClient, phone: Phone) -> None:
    before = link.baseline(adb.device(phone.address))
    phone.os_update("maker/name/device:15/NEW/2:user/release-keys")
    link.reconnect(adb, phone.address)
    assert link.diagnose(adb, phone.address, before) is faults.UPDATED


def test_a_cut_link_is_silent_until_it_is_restored(
    adb: AdbClient, device: AdbDevice, phone: Phone
) -> None:
    phone.cut_link()
    with pytest.raises(DeviceTimeout):
        shell.run(device, "echo x", 1.5)
    # The server believes that the phone is there.
    assert link.states(adb)[phone.address] == "device"
    phone.restore_link()
    until(lambda: link.diagnose(adb, phone.address) is None)


def test_a_frozen_daemon_takes_and_answers_nothing_until_it_thaws(
    adb: AdbClient, device: AdbDevice, phone: Phone
) -> None:
    phone.freeze()
    with pytest.raises(DeviceTimeout):
        shell.run(device, "echo x", 1.5)
    assert link.states(adb)[phone.address] == "device"
    phone.thaw()
    until(lambda: link.diagnose(adb, phone.address) is None)


def test_a_killed_daemon_comes_back_by_itself_and_a_stopped_one_does_not(
    adb: AdbClient, device: AdbDevice, phone: Phone
) -> None:
    before = link.baseline(adb.device(phone.address))
    shell.run(device, "setsid sleep 98765 </dev/null >/dev/null 2>&1 &")
    phone.kill_adbd()
    until(lambda: link.diagnose(adb, phone.address) is not None)
    until(lambda: network.answer(phone.index) == 0)
    link.reconnect(adb, phone.address)
    # The daemon alone died.
    assert link.baseline(adb.device(phone.address)) == before
    assert "98765" in shell.run(device, "ps -A -o ARGS").text
    phone.stop_adbd()
    time.sleep(2)
    with pytest.raises(PhoneFault):
        link.reconnect(adb, phone.address, 3.0)
    phone.start_adbd()
    link.reconnect(adb, phone.address)


def test_a_full_disk_takes_nothing_until_it_is_freed(device: AdbDevice, phone: Phone) -> None:
    write = "head -c 1000000 /dev/zero > /data/local/tmp/file"
    phone.fill_disk(left_bytes=100_000)
    told = readings.disk(shell.run(device, "df -k /data/local/tmp").text)
    assert told is not None
    assert told.available_bytes <= 100_000
    refused = shell.run(device, write)
    assert refused.code != 0
    assert b"No space left" in refused.stderr
    phone.free_disk()
    assert shell.run(device, write).code == 0


def test_a_killed_server_forgets_its_phones(adb: AdbClient, phone_lab: Lab) -> None:
    phone_lab.kill_server()
    phone_lab.start_server()
    assert link.states(adb) == {}
    phone_lab.connect()
    assert len(link.states(adb)) == len(phone_lab.phones)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_of_a_lab_however_it_ends(running_lab: Lab, end: signal.Signals) -> None:
    lab = subprocess.Popen(
        [sys.executable, "-m", "android_phone", "--phones", "2"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(STANDINS)},
        text=True,
    )
    assert lab.stdout is not None
    port = lab.stdout.readline().strip().rpartition("=")[2]
    addresses = [lab.stdout.readline().split()[0] for _ in range(2)]
    assert lab.stdout.readline().startswith("until")
    listed = subprocess.check_output(["adb", "-P", port, "devices"], text=True)
    assert [f"{address}\tdevice" in listed for address in addresses] == [True, True]
    processes = psutil.Process(lab.pid).children(recursive=True)
    namespaces = {network_of(process) for process in processes} - {network_of(psutil.Process())}
    assert len(namespaces) == 2
    lab.send_signal(end)
    lab.communicate(timeout=30)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []
    in_use = {network_of(process) for process in psutil.process_iter()}
    assert in_use.isdisjoint(namespaces)
    numbers = [int(address.split(".")[2]) for address in addresses]
    until(lambda: {f"dfphone{number}" for number in numbers}.isdisjoint(psutil.net_if_addrs()))
    assert "distillfarm-phones" not in Path("/proc/self/mounts").read_text()
    with Phone("next", IDENTITIES["pixel_8_pro"], numbers[0]) as phone:
        assert phone.address == addresses[0]


def network_of(process: psutil.Process) -> str:
    try:
        return os.readlink(f"/proc/{process.pid}/ns/net")  # noqa: PTH115 - not a file's path
    except OSError:
        return ""
