"""What the agent makes of everything that may happen to a phone, and in how many seconds.

Production's whole path runs against AOSP's adbd on a stand-in phone: the source of phones, the
driver, a job's execution with our native runner. Each fault of ``phone_fault_table`` strikes around
a job. Detected is when the agent first says so, from the strike; where the model itself is the
fault, from the begin of its launch. Recovered is when the phone is of use again after the fault was
mended: to the same job, or prepared for the next. Everything on an emulated phone takes many times
as long as on a real one. Ends with 1 when a job ends otherwise than the table says, something is
left on the phone, or a limit is passed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

from job_endings import Ending
from phone_fault_table import FAULTS, Fault
from phone_scenarios import Observed, observe
from phone_station import LINK_PATIENCE_S, Station
from rich.console import Console
from rich.table import Table
from standin_phones import phone_lab

CONSOLE = Console(width=120)


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--detect-s", type=float, default=20.0, help="limit until it is noticed")
    parser.add_argument("--recover-s", type=float, default=15.0, help="limit after the mending")
    options = parser.parse_args()
    chosen = [each for each in FAULTS if options.only in each.name]
    table = Table(title=f"faults on a stand-in phone; link patience {LINK_PATIENCE_S:g} s")
    for column in ("fault", "how the job ended", "detected s", "recovered s", "within the limits"):
        table.add_column(column, justify="right" if column.endswith(" s") else "left")
    broken = 0
    began_s = time.monotonic()
    with phone_lab() as (started, programs):
        for number, fault in enumerate(chosen, 1):
            CONSOLE.print(f"{number}/{len(chosen)} {fault.name}", style="dim")
            with tempfile.TemporaryDirectory() as folder:
                station = Station(started, started.phones[0], programs, Path(folder))
                seen = asyncio.run(observe(station, fault))
            wrong = complaints(fault, seen, options.detect_s, options.recover_s)
            broken += bool(wrong)
            table.add_row(
                fault.name,
                str(Ending.of(seen.result)),
                "outlived" if seen.detected_s is None else f"{seen.detected_s:.1f}",
                f"{seen.recovered_s:.1f}",
                "; ".join(wrong) or "yes",
            )
    CONSOLE.print(table)
    CONSOLE.print(
        f"limits: detected {options.detect_s:g} s, recovered {options.recover_s:g} s; "
        f"{len(chosen)} faults in {time.monotonic() - began_s:.0f} s"
    )
    return int(broken > 0)


def complaints(fault: Fault, seen: Observed, detect_s: float, recover_s: float) -> list[str]:
    """What is not as it has to be."""
    found = []
    if Ending.of(seen.result) != fault.ending or fault.says not in seen.words:
        found.append(f"NO, has to end by {fault.ending}: {seen.words[:200]}")
    if seen.left:
        found.append(f"NO, left behind: {', '.join(seen.left)}")
    if not seen.settings_kept:
        found.append("NO, settings are not as before")
    if seen.detected_s is not None and seen.detected_s > detect_s:
        found.append("NO, noticed late")
    if seen.recovered_s > recover_s:
        found.append("NO, back late")
    return found


if __name__ == "__main__":
    sys.exit(main())
