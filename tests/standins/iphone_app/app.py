"""One launch of the app: reads its job, checks the model, runs it, writes what happened."""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

from distillfarm.agent.drivers.ios import job_files
from distillfarm.agent.drivers.ios.job_files import JobFile
from distillfarm.agent.program import launch, page_cache
from distillfarm.agent.program.order import Order
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.job import ColdStart
from iphone_app.answers import Answers

_MISUSED = 2


def main(began_ns: int) -> None:
    """Run the job of the command line; ``began_ns`` is when Python began, by its own clock.

    A job that cannot be understood has no nonce to answer with: that is told on standard error,
    with exit code 2, and no file is written.
    """
    arguments = argparse.ArgumentParser(prog="iphone_app")
    arguments.add_argument("--container", type=Path, required=True)
    arguments.add_argument("--job", required=True)
    told = arguments.parse_args()
    documents = told.container / "Documents"
    folder = documents / "jobs" / told.job
    try:
        job = job_files.decode_job((folder / job_files.JOB).read_bytes())
        if job.job != told.job:
            raise InvalidRequest(f"{job_files.JOB} of {told.job} is of job {job.job}")
    except (OSError, InvalidRequest) as error:
        sys.stderr.write(f"iphone_app: {error}\n")
        sys.exit(_MISUSED)
    run(job, told.container, began_ns)


def run(job: JobFile, container: Path, began_ns: int) -> None:
    """Answer ``job`` from inside ``container``."""
    documents = container / "Documents"
    checking_ns = time.perf_counter_ns()
    answers = Answers(job, documents / "jobs" / job.job)
    found = _sha256(documents / job.model)
    if found == job.model_sha256:
        if job.cold is ColdStart.FIRST_EVER:
            page_cache.empty(str(container / "Library" / "Caches"))
        started_ns = began_ns - _startup_ns(began_ns)
        # Looking the model over is the measuring's work, not the launch's.
        launched_ns = started_ns + time.perf_counter_ns() - checking_ns
        launch.answer(_order(job, documents), launched_ns, answers.say)
    answers.finish(found)


def _order(job: JobFile, documents: Path) -> Order:
    """What the launch program is asked for; no page is dropped, for no iPhone could."""
    return Order(
        runtime=job.runtime.value,
        delegate=job.delegate,
        model=str(documents / job.model),
        inputs=str(documents / job.inputs) if job.inputs else "",
        expected=str(documents / job.expected) if job.expected else "",
        threads=job.threads,
        max_warmup=job.max_warmup,
        iterations=job.iterations,
        max_sampling_s=job.max_sampling_s,
        least=job.least,
        kept=job.kept,
    )


def _sha256(path: Path) -> str:
    """The file's digest; that of nothing where it is not there or no file."""
    digest = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _startup_ns(began_ns: int) -> int:
    """From the start of the process to ``began_ns``, as exact as the kernel tells it (10 ms)."""
    stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    started_ns = started_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    alive_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - started_ns
    return max(0, alive_ns - (time.perf_counter_ns() - began_ns))
