"""What the scheduler knows: devices, waiting jobs, and who could run what.

No clock, no I/O: events come in as method calls, ``policy`` reads decisions out. Jobs that want
the same stand in one line, so that a change of one device costs as many steps as there are lines,
however many jobs wait. What a job has failed on is a part of what it wants, so that the few which
did so stand in lines of their own and hold up nobody.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace

from distillfarm.domain.hardware import Device, DeviceStatus, Target, matches
from distillfarm.domain.job import Job
from distillfarm.profiles.support import refusal

_PRESENT = (DeviceStatus.IDLE, DeviceStatus.BUSY)
_SPARE_LINES = 256


@dataclass(frozen=True)
class Need:
    """What jobs in one line have in common; ``failed_on`` are the devices where they failed."""

    selector: str
    target: Target
    failed_on: frozenset[str] = frozenset()


@dataclass(frozen=True, order=True)
class Place:
    """A job's place in its queue: priority first, then age."""

    negative_priority: int
    submitted_at_s: float
    arrival: int
    job_id: str = field(compare=False)


@dataclass
class Line:
    """Jobs with one need, and the devices that the need means.

    ``refusals`` has every known device that the selector means, with the reason why it cannot run
    the target, empty when it can. ``present`` are those that can and are connected, ``idle`` those
    of them that could start now, longest idle first. ``unserved_since_s`` is when the last present
    one left. ``queues`` are heaps by study, which may hold jobs that no longer wait; ``waiting``
    counts those that do.
    """

    need: Need
    unserved_since_s: float | None
    refusals: dict[str, str] = field(default_factory=dict)
    willing: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    idle: dict[str, None] = field(default_factory=dict)
    queues: dict[str, list[Place]] = field(default_factory=dict)
    waiting: int = 0

    @property
    def next_device(self) -> str | None:
        """The device that its next job gets, or None where there is none to give.

        Where its jobs have failed they are tried again only if no other device is there, be it
        idle or busy. Takes as many steps as there are such devices.
        """
        failed_on = self.need.failed_on
        other = next((each for each in self.idle if each not in failed_on), None)
        if other is not None:
            return other
        if len(self.present) > sum(each in self.present for each in failed_on):
            return None
        return next(iter(self.idle), None)

    @property
    def hopeless(self) -> bool:
        """Whether devices are meant and every one of them refuses."""
        return bool(self.refusals) and not self.willing


class FarmState:
    """The scheduler's view of the farm; see the module."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.waiting: dict[str, Job] = {}
        self.lines: dict[Need, Line] = {}
        self.running_by_study: Counter[str] = Counter()
        self._running: dict[str, str] = {}
        self._arrivals = 0

    def put_device(self, device: Device, now_s: float) -> None:
        """A device appeared or changed."""
        known = self.devices.get(device.device_id)
        self.devices[device.device_id] = device
        same = known is not None and replace(
            known, status=device.status, note=device.note, last_seen_s=device.last_seen_s
        )
        for line in self.lines.values():
            if same != device:
                _judge(line, device)
            _place(line, device, now_s)

    def put_job(self, job: Job, now_s: float) -> None:
        """A job waits, newly or again; one that waits already is left where it is."""
        self.end_job(job.job_id)
        if job.job_id in self.waiting:
            return
        request = job.request
        self._arrivals += 1
        self.waiting[job.job_id] = job
        line = self._line(_need(job), now_s)
        line.waiting += 1
        place = Place(-request.priority, job.submitted_at_s, self._arrivals, job.job_id)
        heapq.heappush(line.queues.setdefault(request.study_id, []), place)

    def start_job(self, job: Job) -> None:
        """A job holds a device: it waits no more and counts for its study."""
        self._unqueue(job.job_id)
        if job.job_id not in self._running:
            self._running[job.job_id] = job.request.study_id
            self.running_by_study[job.request.study_id] += 1

    def end_job(self, job_id: str) -> None:
        """A job holds no device any more."""
        study_id = self._running.pop(job_id, None)
        if study_id is not None:
            self.running_by_study[study_id] -= 1

    def forget_job(self, job_id: str) -> None:
        """A job is final or unknown: it neither waits nor runs."""
        self._unqueue(job_id)
        self.end_job(job_id)

    def take_device(self, device_id: str) -> None:
        """A device is about to be busy."""
        self.devices[device_id] = replace(self.devices[device_id], status=DeviceStatus.BUSY)
        for line in self.lines.values():
            line.idle.pop(device_id, None)

    def head(self, line: Line, study_id: str) -> Place | None:
        """The first place of a study's queue in a line whose job still waits."""
        queue = line.queues.get(study_id, [])
        while queue:
            if queue[0].job_id in self.waiting:
                return queue[0]
            heapq.heappop(queue)
        line.queues.pop(study_id, None)
        return None

    def jobs_in(self, line: Line) -> list[Job]:
        """Every job that waits in a line."""
        ids = dict.fromkeys(place.job_id for queue in line.queues.values() for place in queue)
        return [self.waiting[job_id] for job_id in ids if job_id in self.waiting]

    def line_of(self, job: Job) -> Line | None:
        """The line in which such a job stands, if there is one."""
        return self.lines.get(_need(job))

    def _unqueue(self, job_id: str) -> None:
        job = self.waiting.pop(job_id, None)
        if job is not None:
            self.lines[_need(job)].waiting -= 1

    def _line(self, need: Need, now_s: float) -> Line:
        if need in self.lines:
            return self.lines[need]
        if len(self.lines) >= _SPARE_LINES:
            for empty in [each for each in self.lines.values() if not each.waiting]:
                del self.lines[empty.need]
        line = self.lines[need] = Line(need, now_s)
        for device in self.devices.values():
            _judge(line, device)
            _place(line, device, now_s)
        return line


def _need(job: Job) -> Need:
    return Need(job.request.selector, job.request.target, frozenset(job.failed_on))


def _judge(line: Line, device: Device) -> None:
    line.refusals.pop(device.device_id, None)
    line.willing.discard(device.device_id)
    if matches(device, line.need.selector):
        reason = refusal(device.info, line.need.target) or ""
        line.refusals[device.device_id] = reason
        if not reason:
            line.willing.add(device.device_id)


def _place(line: Line, device: Device, now_s: float) -> None:
    willing = device.device_id in line.willing
    if willing and device.status in _PRESENT:
        line.present.add(device.device_id)
        line.unserved_since_s = None
    else:
        line.present.discard(device.device_id)
        if not line.present and line.unserved_since_s is None:
            line.unserved_since_s = now_s
    if willing and device.status is DeviceStatus.IDLE:
        line.idle.setdefault(device.device_id)
    else:
        line.idle.pop(device.device_id, None)
