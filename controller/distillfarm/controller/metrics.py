"""What Prometheus can ask of a controller."""

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, make_asgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from distillfarm.controller.health import Vitals
from distillfarm.controller.scheduling.state import FarmState
from distillfarm.domain.hardware import Device, DeviceHealth, DeviceStatus
from distillfarm.domain.job import JobState

_VITALS: tuple[tuple[str, str, Callable[[DeviceHealth], float | None]], ...] = (
    ("battery_percent", "Charge of the battery.", lambda health: health.battery_percent),
    ("temperature_celsius", "Temperature of the body.", lambda health: health.temperature_c),
    ("throttling", "From 0, none, to 6, shutting down.", lambda health: health.throttling),
)

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


class FarmMetrics(Collector):
    """One controller's metrics, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue_wait_s = Histogram(
            "distillfarm_queue_wait_seconds",
            "Time from a job's submission to its first lease.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200),
            registry=self.registry,
        )
        self.finished = Counter(
            "distillfarm_jobs_finished",
            "Jobs that reached a final state, by that state.",
            ["state"],
            registry=self.registry,
        )
        self._state = FarmState()
        self._vitals = Vitals()
        self.registry.register(self)

    def watch(self, state: FarmState, vitals: Vitals) -> None:
        """Count this farm's devices and jobs, and tell how devices fare, at every collection."""
        self._state, self._vitals = state, vitals

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See ``prometheus_client.registry.Collector``."""
        devices = GaugeMetricFamily("distillfarm_devices", "Devices by status.", labels=["status"])
        statuses = Tally(device.status for device in self._state.devices.values())
        for status in DeviceStatus:
            devices.add_metric([status.value], statuses[status])
        yield devices
        jobs = GaugeMetricFamily("distillfarm_jobs", "Unfinished jobs by state.", labels=["state"])
        jobs.add_metric([JobState.QUEUED.value], len(self._state.waiting))
        jobs.add_metric([JobState.RUNNING.value], self._state.running_by_study.total())
        yield jobs
        yield from self._fare(list(self._state.devices.values()))

    def _fare(self, devices: Sequence[Device]) -> Iterator[GaugeMetricFamily]:
        """What connected devices tell of themselves; an absent one's last word is no reading."""
        present = [each for each in devices if each.status is not DeviceStatus.OFFLINE]
        for quantity, text, read in _VITALS:
            gauge = GaugeMetricFamily(
                f"distillfarm_device_{quantity}", text, labels=["device", "name"]
            )
            for device in present:
                health = self._vitals.of(device.device_id)
                value = None if health is None else read(health)
                if value is not None:
                    gauge.add_metric([device.device_id, device.name], value)
            yield gauge

    def app(self) -> AsgiApp:
        """An ASGI application that answers with the metrics, to be mounted by the web pages."""
        return make_asgi_app(registry=self.registry)
