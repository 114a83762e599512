"""What Prometheus can ask of a controller."""

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, make_asgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from distillfarm.controller.scheduling.state import FarmState
from distillfarm.domain.hardware import DeviceStatus
from distillfarm.domain.job import JobState

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
        self.registry.register(self)

    def watch(self, state: FarmState) -> None:
        """Count this farm's devices and jobs at every collection."""
        self._state = state

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

    def app(self) -> AsgiApp:
        """An ASGI application that answers with the metrics, to be mounted by the web pages."""
        return make_asgi_app(registry=self.registry)
