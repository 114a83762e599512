"""A lab behind the client's interface, for tests of the command line."""

# It has the signatures of the real client and touches tiny files only.
# ruff: noqa: ARG003, ASYNC240

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import farm_samples as samples
from farm_samples import DIGEST, LITERT, ONNX, launch, study_spec
from made_trials import exported_of, looked_into, make_trial
from typer.testing import Result

from distillfarm.client.comparing import Compared
from distillfarm.domain.errors import InvalidRequest, NotFound, Unavailable
from distillfarm.domain.hardware import Device, DeviceStatus, Target, matches
from distillfarm.domain.interval import Interval
from distillfarm.domain.job import Job, JobRequest, JobState, Lease, MeasureSpec
from distillfarm.domain.measurement import Comparison, Energy, Measurement, Outcome, Summary
from distillfarm.domain.model import ArtifactRef, ModelFormat
from distillfarm.domain.recipe import parse_recipe
from distillfarm.domain.study import (
    BoundVerdict,
    Choice,
    MatrixCell,
    Score,
    SlaVerdict,
    Study,
    StudyEvent,
    StudySpec,
    StudyState,
    Trial,
    Verdict,
)
from distillfarm.domain.variant import Candidate, Refusal

LEASE = Lease("job-1", "device-1", "agent-1", 1, 0.0)
OWN_NS = [1_000_000 + 3_000 * number for number in range(12)]
OTHER_NS = [2 * each for each in OWN_NS]

Run = Callable[..., Result]
"""Runs the command line with these arguments."""


def exactly(value: float) -> Interval:
    return Interval(value, value, value)


def score(p90_ms: float = 0.2) -> Score:
    return Score(
        quality=Interval(0.88, 0.87, 0.89),
        quality_drop=Interval(1.2, 0.5, 1.9),
        size_bytes=33_000,
        cold_ms=exactly(80.0),
        warm_p50_ms=exactly(0.1),
        warm_p90_ms=Interval(p90_ms, p90_ms * 0.9, p90_ms * 1.1),
        warm_p99_ms=exactly(0.3),
        peak_memory_bytes=exactly(61e6),
        energy=Energy(reason="no meter here"),
    )


def summary() -> Summary:
    one = exactly(1.0)
    return Summary(
        launches=3,
        iterations=30,
        cold_ms=exactly(30.0),
        load_ms=exactly(5.0),
        first_inference_ms=exactly(2.0),
        warm_p50_ms=one,
        warm_p90_ms=one,
        warm_p99_ms=one,
        warm_mad_ms=0.01,
        peak_memory_bytes=exactly(50e6),
        launch_cv=0.01,
        stable=True,
    )


def trial(number: int, recipe: str, target: Target = ONNX, **changes: object) -> Trial:
    made = Trial(
        f"trial-{number}",
        "study-1",
        "Google Tensor G2",
        Candidate(parse_recipe(recipe), target),
        outcome=Outcome.OK,
        score=score(0.1 * number),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def done_study(verdict: Verdict, spec: StudySpec | None = None) -> Study:
    spec = spec or study_spec()
    judged = BoundVerdict(spec.sla.bounds[0], verdict, exactly(0.2), "0.2 ms: judged")
    return Study(
        "study-1",
        spec,
        StudyState.DONE,
        1.7e9,
        1.7e9 + 60,
        choices=(Choice("Google Tensor G2", "trial-2", SlaVerdict(verdict, (judged,)), "because"),),
        bundle=ArtifactRef(DIGEST, 1, ModelFormat.BUNDLE, "bundle.tar"),
    )


@dataclass
class Lab:
    """What the stand-in controller holds; a test changes it before it runs a command."""

    devices: list[Device] = field(default_factory=list)
    study: Study | None = None
    events: list[StudyEvent] = field(default_factory=list)
    outcome: Outcome = Outcome.OK
    reason: str = ""
    keys: list[str] = field(default_factory=list)
    specs: list[StudySpec] = field(default_factory=list)
    measured: list[tuple[Target, str, MeasureSpec]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    released: DeviceStatus = DeviceStatus.IDLE
    fellings: dict[str, int] = field(default_factory=dict)
    more: dict[str, object] = field(default_factory=dict)
    summary: dict[str, object] = field(default_factory=dict)
    compared: list[tuple[Any, ...]] = field(default_factory=list)
    found: tuple[Comparison, ...] = ()


class StandinClient:
    """Speaks the client's interface from a ``Lab``."""

    lab: ClassVar[Lab]

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: str, token: str = "", ca: Path | None = None
    ) -> AsyncIterator[Self]:
        if address == "127.0.0.1:9":
            raise Unavailable(f"{address} does not answer")
        yield cls()

    async def devices(self, selector: str = "*") -> list[Device]:
        return [device for device in self.lab.devices if matches(device, selector)]

    async def device(self, device_id: str) -> Device:
        for device in self.lab.devices:
            if device.device_id == device_id:
                return device
        raise NotFound(f"no device {device_id}")

    async def drain(self, device_id: str, note: str = "") -> Device:
        self.lab.notes.append(note)
        return replace(await self.device(device_id), status=DeviceStatus.DRAINED, note=note)

    async def undrain(self, device_id: str) -> Device:
        device = await self.device(device_id)
        held = device.status is DeviceStatus.QUARANTINED
        return device if held else replace(device, status=DeviceStatus.IDLE)

    async def quarantine(self, device_id: str, reason: str) -> Device:
        return self._keep(device_id, status=DeviceStatus.QUARANTINED, note=reason)

    async def release(self, device_id: str) -> Device:
        return self._keep(device_id, status=self.lab.released, note="")

    async def name_device(self, device_id: str, name: str) -> Device:
        return self._keep(device_id, name=name)

    async def label_device(self, device_id: str, labels: list[str]) -> Device:
        return self._keep(device_id, labels=tuple(labels))

    async def forgive(self, artifact_digest: str) -> int:
        return self.lab.fellings.pop(artifact_digest, 0)

    def _keep(self, device_id: str, **changes: object) -> Device:
        (device,) = self.lab.devices
        if device_id not in (device.device_id, device.name):
            raise NotFound(f"no device {device_id}")
        self.lab.devices = [replace(device, **changes)]  # type: ignore[arg-type]
        return self.lab.devices[0]

    async def upload(self, path: Path) -> tuple[str, int]:
        return DIGEST, path.stat().st_size

    async def measure(
        self,
        path: Path,
        target: Target,
        selector: str,
        spec: MeasureSpec,
        on_progress: Callable[[Job], None],
    ) -> tuple[Measurement, Summary | None]:
        self.lab.measured.append((target, selector, spec))
        artifact = ArtifactRef(DIGEST, 1, ModelFormat.ONNX, path.name)
        request = JobRequest("key", artifact, target, selector, spec)
        on_progress(Job("job-1", request, JobState.RUNNING, 0.0, progress="launch 1 of 3"))
        good = self.lab.outcome is Outcome.OK
        launches = (launch(), launch(), launch()) if good else ()
        measurement = Measurement(
            "measurement-1", "job-1", "device-1", DIGEST, target, spec, self.lab.outcome,
            self.lab.reason, launches, Energy(reason="no meter here"), (), 0.0, 1.0,
        )  # fmt: skip
        measurement = replace(measurement, **self.lab.more)  # type: ignore[arg-type]
        numbers = good and not measurement.emulated and bool(measurement.launches)
        changed = replace(summary(), **self.lab.summary)  # type: ignore[arg-type]
        return measurement, changed if numbers else None

    async def compare(
        self,
        first: Path | str,
        second: Path | str,
        target: Target,
        selector: str,
        spec: MeasureSpec,
        *,
        second_target: Target,
        on_progress: Callable[[Job], None],
    ) -> Compared:
        self.lab.compared.append((first, second, target, second_target, selector, spec))
        raced = replace(samples.raced(LEASE, OWN_NS, OTHER_NS), **self.lab.more)  # type: ignore[arg-type]
        return Compared(raced, summary(), None, summary(), self.lab.found)

    async def compare_measurements(self, first_id: str, second_id: str) -> Compared:
        if not self.lab.found:
            raise InvalidRequest(f"{first_id} and {second_id} cannot be compared: other chipset")
        self.lab.compared.append((first_id, second_id))
        taken = samples.measurement(LEASE)
        return Compared(taken, summary(), taken, summary(), self.lab.found)

    async def create_study(self, spec: StudySpec, idempotency_key: str) -> Study:
        self.lab.keys.append(idempotency_key)
        self.lab.specs.append(spec)
        if self.lab.study is None:
            raise NotFound("this lab holds no study")
        return replace(self.lab.study, spec=spec)

    async def study(self, study_id: str) -> Study:
        if self.lab.study is None or self.lab.study.study_id != study_id:
            raise NotFound(f"no study {study_id}")
        return self.lab.study

    async def studies(self) -> list[Study]:
        return [self.lab.study] if self.lab.study else []

    async def cancel_study(self, study_id: str) -> Study:
        return replace(await self.study(study_id), state=StudyState.CANCELLED)

    async def watch_study(
        self, study_id: str, after_sequence: int = 0
    ) -> AsyncIterator[StudyEvent]:
        for event in self.lab.events:
            if event.sequence > after_sequence:
                yield event

    async def trials(self, study_id: str) -> list[Trial]:
        return [
            trial(4, "original", reference=True),
            trial(2, "int8_static", exported=looked_into(exported_of(make_trial()))),
            trial(3, "fp16", LITERT),
            trial(
                5,
                "prune(ratio=0.9)",
                score=None,
                outcome=None,
                refusal=Refusal("prune", "no", DIGEST),
            ),
        ]

    async def matrix(
        self, study_id: str = "", chipset: str = "", model_name: str = ""
    ) -> list[MatrixCell]:
        cell = MatrixCell(
            "study-1", "digits", "int8_static", ONNX, "Google Tensor G2", "Pixel 7", "build-1",
            "ok", "", 1.7e9, 33_000, score(), "measurement-1",
        )  # fmt: skip
        broken = replace(cell, recipe="=evil()", label="crashed", reason="signal 11", score=None)
        return [each for each in (cell, broken) if chipset in ("", each.chipset)]

    async def download(self, digest: str, path: Path) -> None:
        path.write_bytes(b"not a tar")
