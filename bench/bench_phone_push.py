"""How fast a file gets onto a phone, whole and by its digest, against plain ``adb push``.

The peer, interleaved in the same run: adb's own push of the same file to the same phone, which
checks nothing. Ours asks whether the file is there, makes room, sends under a temporary name, takes
the SHA-256 on the phone and renames: three commands and the transfer. Commands and digest are run
by an emulated processor here, many times slower than a phone's, so their seconds stand apart, and
the limit is on the transfer itself. Ends with 1 where the transfer of a file of 16 MiB or more is
slower than the limit allows, a push takes another number of commands, or a second push sends the
file again.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "standins"))

from android_phone import Lab
from rich.console import Console
from rich.table import Table
from standin_phones import phone_lab

from distillfarm.agent.drivers.android import shell, transfer
from distillfarm.agent.drivers.android.files import Cache

CONSOLE = Console(width=120)
MIB = 2**20
SIZES_MIB = (1, 16, 64)
# Smaller ones are over before a speed can be told.
LEAST_MIB = 16
COMMANDS = 3
PLAIN = "/data/local/tmp/plain"
DIGEST = "sha256sum /data/local/tmp/distillfarm/*/model"


@dataclass
class Seconds:
    """What the pushes of one size took, round by round.

    ``whole`` is all of ours, ``transfer`` and ``commands`` are its parts, ``digest`` is what one of
    the commands spends on the SHA-256, ``again`` is a second push.
    """

    plain: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    transfer: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    digest: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--min-ratio", type=float, default=0.5, help="of plain push's speed")
    options = parser.parse_args()
    table = Table(title=f"push to a stand-in phone, {options.rounds} rounds, medians")
    for column in (
        "size",
        "adb push MiB/s",
        "our transfer MiB/s",
        "ratio",
        f"at least {options.min_ratio:g}",
        f"{COMMANDS} commands s",
        "of which digest s",
        "whole push s",
        "again, cached s",
    ):
        table.add_column(column, justify="right")
    broken = False
    with phone_lab() as (started, _), tempfile.TemporaryDirectory() as folder:
        for size_mib in SIZES_MIB:
            seconds = measure(started, Path(folder) / "file", size_mib, options.rounds)
            # Pairs, so that a slow moment of this computer is in both.
            ratio = statistics.median(
                plain_s / own_s
                for plain_s, own_s in zip(seconds.plain, seconds.transfer, strict=True)
            )
            ok = size_mib < LEAST_MIB or ratio >= options.min_ratio
            broken |= not ok
            table.add_row(
                f"{size_mib} MiB",
                f"{size_mib / statistics.median(seconds.plain):.0f}",
                f"{size_mib / statistics.median(seconds.transfer):.0f}",
                f"{ratio:.2f}",
                "yes" if ok else "NO",
                *(
                    f"{statistics.median(each):.2f}"
                    for each in (seconds.commands, seconds.digest, seconds.whole, seconds.again)
                ),
            )
    CONSOLE.print(table)
    return int(broken)


def measure(started: Lab, file: Path, size_mib: int, rounds: int) -> Seconds:
    """Push new content of one size, in turns by adb and by us."""
    phone = started.phones[0]
    device = shell.adb_client(port=started.server_port).device(phone.address)
    cache = Cache(reserve_bytes=0)
    seconds = Seconds()

    def plain() -> None:
        subprocess.run(
            ["adb", "-s", phone.address, "push", file, PLAIN],
            env=started.environment,
            check=True,
            capture_output=True,
        )

    for number in range(rounds):
        file.write_bytes(os.urandom(size_mib * MIB))
        # The side that begins changes.
        for side in ("plain", "ours") if number % 2 else ("ours", "plain"):
            if side == "plain":
                seconds.plain.append(taken_s(plain))
                continue
            with timed() as (transfers_s, commands_s):
                seconds.whole.append(taken_s(lambda: cache.push(device, file, "model")))
            if len(commands_s) != COMMANDS:
                raise SystemExit(f"a push took {len(commands_s)} commands, not {COMMANDS}")
            seconds.transfer.append(sum(transfers_s))
            seconds.commands.append(sum(commands_s))
            (there,) = phone.data.glob("distillfarm/*/model")
            kept = there.stat().st_ino
            seconds.again.append(taken_s(lambda: cache.push(device, file, "model")))
            if there.stat().st_ino != kept:
                raise SystemExit(f"{size_mib} MiB were sent again although they were there")
            seconds.digest.append(taken_s(lambda: shell.run(device, DIGEST, 120.0)))
            shell.run(device, f"rm -rf {cache.folder}")
        shell.run(device, f"rm {PLAIN}")
    return seconds


def taken_s(act: Callable[[], object]) -> float:
    """Seconds of it."""
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


@contextmanager
def timed() -> Iterator[tuple[list[float], list[float]]]:
    """The seconds of every transfer and of every command to a phone."""
    transfers_s: list[float] = []
    commands_s: list[float] = []

    def with_clock(act: Callable[..., Any], taken: list[float]) -> Callable[..., Any]:
        def acting(*arguments: Any, **named: Any) -> Any:
            began_s = time.perf_counter()
            try:
                return act(*arguments, **named)
            finally:
                taken.append(time.perf_counter() - began_s)

        return acting

    with (
        mock.patch.object(transfer, "send", with_clock(transfer.send, transfers_s)),
        mock.patch.object(shell, "run", with_clock(shell.run, commands_s)),
    ):
        yield transfers_s, commands_s


if __name__ == "__main__":
    sys.exit(main())
