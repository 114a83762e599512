"""What the agent makes of everything that may happen to an iPhone, and in how many seconds.

Production's whole path runs on stand-in iPhones on both sides of the tunnel: the driver with its
worker, a job's execution, the judgement that the controller is sent. Each fault of
``iphone_fault_table`` strikes around a job. Noticed is when the agent's first question fails, told
is when the controller gets the error or outcome, both from the strike. Recovered is when a launch
takes its first sample again, of the same job or of the next, from the end of the fault. A stand-in
answers as an iPhone does, but not as fast or as slowly: what is shown is the agent's part. Ends
with 1 when a job ends otherwise than the table says, something went wrong inside a phone, or a
row's limit is passed.
"""

import argparse
import asyncio
import importlib.util
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

import structlog
from iphone_fault_table import FAULTS, Fault
from iphone_phone import Lab, NoPhone, Phone, lab
from iphone_scenarios import PATIENCE_S, Observed, Scene
from iphone_station import keep_images
from job_endings import Ending
from rich.console import Console
from rich.table import Table

from distillfarm.domain.errors import FarmError

# The first has developer services in lockdown, the second in the tunnel.
IPHONES = ("iphone_11", "iphone_15_pro")
CONSOLE = Console(width=150)


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    options = parser.parse_args()
    chosen = [each for each in FAULTS if options.only in each.name]
    if importlib.util.find_spec("pymobiledevice3") is None:
        CONSOLE.print("left out: no pymobiledevice3; pip install 'distillfarm\\[ios]'")
        return 0
    table = Table(title=f"faults on stand-in iPhones; a phone may be away for {PATIENCE_S:g} s")
    for column in ("fault", "iOS", "how the job ended"):
        table.add_column(column)
    for column in ("noticed s", "told s", "limit", "recovered s", "limit"):
        table.add_column(column, justify="right")
    table.add_column("as it has to be")
    # What the agent says of each fault is no news here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    began_s = time.monotonic()
    try:
        with lab(IPHONES) as phones:
            os.environ.update(phones.variables)
            keep_images(phones.home)
            sound = [asyncio.run(_all(phones, each, chosen, table)) for each in phones.phones]
    except NoPhone as error:
        CONSOLE.print(f"left out, for there are no stand-in phones here: {error}")
        return 0
    CONSOLE.print(table)
    CONSOLE.print(f"{table.row_count} faults in {time.monotonic() - began_s:.0f} s")
    return int(not all(sound))


async def _all(phones: Lab, phone: Phone, chosen: list[Fault], table: Table) -> bool:
    """Every fault that this phone can have, a row each; whether all is as it has to be."""
    system, sound = phone.identity.system, True
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(phones, phone, Path(folder))
        try:
            for fault in chosen:
                if fault.in_tunnel and not system.has_tunnel:
                    continue
                CONSOLE.print(f"iOS {system.version}: {fault.name}", style="dim")
                wrong = await _row(scene, fault, system.version, table)
                sound = sound and not wrong
        finally:
            await scene.close()
    if phone.errors:
        CONSOLE.print(f"iOS {system.version}: inside the stand-in: {phone.errors}", style="red")
    return sound and not phone.errors


async def _row(scene: Scene, fault: Fault, version: str, table: Table) -> list[str]:
    """Add the fault's row; what is not as it has to be."""
    try:
        seen = await scene.observe(fault)
    except (FarmError, NoPhone, TimeoutError) as error:
        wrong = [f"NO, {type(error).__name__}: {error}"]
        table.add_row(fault.name, version, *["-"] * 6, wrong[0])
        return wrong
    wrong = complaints(fault, seen)
    table.add_row(
        fault.name,
        version,
        f"{Ending.of(seen.result)}{_name(fault) if fault.says in seen.words else ''}",
        "-" if seen.noticed_s is None else f"{seen.noticed_s:.2f}",
        "outlived" if seen.told_s is None else f"{seen.told_s:.1f}",
        f"{fault.detect_s:g}",
        f"{seen.recovered_s:.1f}",
        f"{fault.recover_s:g}",
        "; ".join(wrong) or "yes",
    )
    return wrong


def complaints(fault: Fault, seen: Observed) -> list[str]:
    """What is not as it has to be."""
    found = []
    if Ending.of(seen.result) != fault.ending or fault.says not in seen.words:
        found.append(f"NO, has to end by {fault.ending}{_name(fault)}: {seen.words[:200]}")
    if max(seen.noticed_s or 0.0, seen.told_s or 0.0) > fault.detect_s:
        found.append("NO, told late")
    if seen.recovered_s > fault.recover_s:
        found.append("NO, back late")
    return found


def _name(fault: Fault) -> str:
    words = fault.says.strip(": ")
    return f" ({words})" if words else ""


if __name__ == "__main__":
    sys.exit(main())
