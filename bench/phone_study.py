"""Shows a study over this computer and three stand-in phones, one of which dies in mid-job.

Everything is real but the phones: AOSP's adb daemon with arm64 programs under an emulator, and
processes that speak an iPhone's protocols. Their times say nothing of a phone, and the matrix at
the end says so. Needs root and what the stand-ins name when it is missing; takes about ten minutes
on two cores.

    python bench/phone_study.py              # three Android phones
    python bench/phone_study.py --iphones    # one, and iPhones with iOS 16.7 and 17.5
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from distillfarm.cli.demo.dataset import PACKED

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "standins"))

import android_phone  # noqa: E402
import iphone_phone  # noqa: E402
from iphone_phone.reference_app import reference_app  # noqa: E402
from phone_programs import NoPrograms, ready_programs  # noqa: E402

ANDROID = ("xiaomi_12_pro", "redmi_k40_gaming", "pixel_8_pro")
IPHONES = ("iphone_11", "iphone_15_pro")
_NO_PHONE = (android_phone.NoPhone, iphone_phone.NoPhone)
SLA = "accuracy_drop<=5pt, warm_p90<=5ms"
_LISTED_S, _STUDY_S = 300.0, 1500.0
# A phone that is gone for this long does not come back: the show need not wait longer.
_LINK_PATIENCE_S, _PATIENCE_S = 20.0, 45.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shown:
    """What came of the study: its exit code, the devices and the matrix as the CLI gives them."""

    code: int
    output: str
    devices: list[dict[str, object]]
    cells: list[dict[str, object]]


class LateFarm(Exception):
    """The farm did not find its devices."""


@dataclass(frozen=True)
class Phones:
    """Stand-in phones that run, and the variables by which an agent finds them.

    ``doomed`` is the serial of the one that ``kill`` takes away.
    """

    count: int
    variables: dict[str, str]
    doomed: str
    kill: Callable[[], None]


@contextmanager
def android_phones() -> Iterator[Phones]:
    """Three Android phones of different makers."""
    with android_phone.lab(ANDROID) as started:
        doomed = started.phones[-1]
        # Its number stays taken, so that no other lab's phone answers in its place.
        yield Phones(len(ANDROID), _adb(started), doomed.address, doomed.stop_adbd)


@contextmanager
def mixed_phones() -> Iterator[Phones]:
    """One Android phone and two iPhones, without and with the tunnel."""
    with ExitStack() as stack:
        started = stack.enter_context(android_phone.lab(ANDROID[:1]))
        iphones = stack.enter_context(iphone_phone.lab(IPHONES))
        doomed = iphones.phones[-1]
        app = iphones.folder / "app.ipa"
        udids = [each.udid for each in iphones.phones]
        iphone_phone.write_package(app, reference_app(), udids)
        variables = _adb(started) | iphones.variables | {"DISTILLFARM_AGENT_IPHONE_APP": str(app)}
        yield Phones(1 + len(IPHONES), variables, doomed.udid, doomed.pull_cable)


def _adb(started: android_phone.Lab) -> dict[str, str]:
    return {
        "DISTILLFARM_AGENT_ADB_PORT": str(started.server_port),
        "DISTILLFARM_AGENT_ADB_START": "false",
        "DISTILLFARM_AGENT_RUNTIMES_DIR": str(ready_programs()),
    }


class Farm:
    """A farm of its own that finds the lab's phones."""

    def __init__(self, state_dir: Path, phones: Phones) -> None:
        self._state_dir = state_dir
        self._environment = (
            os.environ
            | phones.variables
            | {
                "DISTILLFARM_AGENT_LINK_PATIENCE_S": str(_LINK_PATIENCE_S),
                "DISTILLFARM_CONTROLLER_PATIENCE_S": str(_PATIENCE_S),
            }
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep it up for the duration of the block."""
        ports = ("--listen", "127.0.0.1:0", "--web-listen", "")
        process = subprocess.Popen(
            self._command("up", *ports),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command beside the farm, to its end."""
        return subprocess.run(
            self._command(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_STUDY_S,
        )

    def devices(self) -> list[dict[str, object]]:
        """What is listed; nothing while the farm starts."""
        told = self.run("devices", "list", "--json")
        found: list[dict[str, object]] = json.loads(told.stdout) if told.returncode == 0 else []
        return found

    def wait_for(self, count: int) -> None:
        """Until so many devices are idle.

        Raises:
            LateFarm: they do not come.
        """
        ends_s = time.monotonic() + _LISTED_S
        while sum(each["status"] == "idle" for each in self.devices()) < count:
            if time.monotonic() > ends_s:
                raise LateFarm(f"not {count} devices within {_LISTED_S:g} s: {self.devices()}")
            time.sleep(2.0)

    def _command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "distillfarm.cli", *arguments),
            *("--state-dir", str(self._state_dir)),
        ]


def show(folder: Path, say: Say, phones: Phones, recipes: Sequence[str]) -> Shown:
    """Run the study in ``folder``.

    Raises:
        LateFarm: not every device was found.
    """
    say("training a small classifier of pieces of clothing")
    write_model(folder / "clothes.onnx")
    write_data(folder / "data.npz")
    farm = Farm(folder / "state", phones)
    say("starting a farm")
    with farm.running():
        farm.wait_for(1 + phones.count)
        say(farm.run("devices", "list").stdout)
        killing = threading.Thread(target=_kill_in_mid_job, args=(farm, phones, say))
        killing.start()
        study = farm.run(
            *("study", "run", "--model", str(folder / "clothes.onnx")),
            *("--data", str(folder / "data.npz"), "--sla", SLA),
            *("--target", "onnxruntime", "--out", str(folder / "out")),
            *(word for recipe in recipes for word in ("--recipe", recipe)),
        )
        killing.join()
        say(study.stdout + study.stderr)
        say(farm.run("matrix").stdout)
        say(farm.run("devices", "list").stdout)
        cells = json.loads(farm.run("matrix", "--format", "json").stdout)
        return Shown(study.returncode, study.stdout + study.stderr, farm.devices(), cells)


def write_model(path: Path) -> None:
    """A network with one hidden layer, trained for a few seconds; input float32 [n, 1, 28, 28]."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = _images("train")
    module = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    optimiser = torch.optim.Adam(module.parameters(), 2e-3)
    for _ in range(3):
        for start in range(0, len(images), 64):
            batch = slice(start, start + 64)
            loss = torch.nn.functional.cross_entropy(
                module(torch.from_numpy(images[batch])), torch.from_numpy(labels[batch])
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    torch.onnx.export(
        module.eval(),
        (torch.zeros(1, 1, 28, 28),),
        path,
        input_names=["image"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )


def write_data(path: Path) -> None:
    """``image``: float32 [4000, 1, 28, 28] in 0..1 and ``label``: int64 [4000]."""
    images, labels = _images("test")
    np.savez(path, image=images[:4000], label=labels[:4000])


def _images(part: str) -> "tuple[np.ndarray, np.ndarray]":
    with PACKED.open("rb") as file, np.load(file) as packed:
        images, labels = packed[f"{part}_image"], packed[f"{part}_label"]
    return images[:, np.newaxis].astype(np.float32) / np.float32(255), labels.astype(np.int64)


def _kill_in_mid_job(farm: Farm, phones: Phones, say: Say) -> None:
    """Take away one phone once a job runs on it."""
    ends_s = time.monotonic() + _STUDY_S
    while time.monotonic() < ends_s:
        busy = [each for each in farm.devices() if each["status"] == "busy"]
        if any(_serial(each) == phones.doomed for each in busy):
            time.sleep(3.0)
            phones.kill()
            say(f"{phones.doomed} died in mid-job")
            return
        time.sleep(1.0)


def _serial(device: dict[str, object]) -> str:
    info = device["info"]
    return str(info["serial"]) if isinstance(info, dict) else ""


def main() -> int:
    """Show it; 0 when this computer was measured, well or unstably, and nothing emulated was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iphones", action="store_true", help="one Android phone, two iPhones")
    parser.add_argument("--recipe", action="append", help="candidates; repeatable")
    chosen = parser.parse_args()
    recipes = chosen.recipe or ["fp16", "int8_dynamic"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phone-study-")))
        try:
            phones = stack.enter_context(mixed_phones() if chosen.iphones else android_phones())
        except (*_NO_PHONE, NoPrograms) as error:
            print(f"cannot be shown here: {error}", file=sys.stderr)
            return 0
        shown = show(folder, lambda text: print(text, flush=True), phones, recipes)
    labels = {(str(each["chipset"]), str(each["label"])) for each in shown.cells}
    for chipset, label in sorted(labels):
        print(f"{chipset:40s} {label}")
    emulated = {
        str(info["chipset"]["model"])
        for each in shown.devices
        if isinstance(info := each["info"], dict) and info["emulated"]
    }
    measured = {chipset for chipset, label in labels if label in ("OK", "UNSTABLE")}
    wrong = [each for each in measured if any(name in each for name in emulated)]
    if wrong:
        print(f"emulated, and shown as measured: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong or not measured else 0


if __name__ == "__main__":
    sys.exit(main())
