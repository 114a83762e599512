"""Who answers which question."""

from collections.abc import Awaitable, Callable
from typing import Any

from distillfarm.agent.drivers.ios import protocol as ask
from distillfarm.agent.drivers.ios.worker import crashes, image, lockdown, supervisor
from distillfarm.agent.drivers.ios.worker.container import Containers
from distillfarm.agent.drivers.ios.worker.instruments import Instruments


class Answers:
    """Answers for one iPhone; opens what a question needs, and keeps it where that pays."""

    def __init__(self, udid: str) -> None:
        containers, instruments = Containers(udid), Instruments(udid)
        self._containers, self._instruments = containers, instruments
        # Each takes the question of its key and gives what that one's ``answer`` says.
        self._answers: dict[type, Callable[[Any], Awaitable[object]]] = {
            ask.Identify: lambda _: lockdown.identify(udid),
            ask.Pair: lambda _: lockdown.pair(udid),
            ask.PairSupervised: lambda asked: supervisor.pair(udid, asked.supervisor),
            ask.DescribeSupervisor: _describe,
            ask.Supervision: lambda _: lockdown.supervision(udid),
            ask.Look: lambda _: lockdown.look(udid),
            ask.Profiles: lambda _: lockdown.profiles(udid),
            ask.FindApp: lambda asked: lockdown.find_app(udid, asked.bundle),
            ask.InstallApp: lambda asked: lockdown.install_app(udid, asked.path),
            ask.ImageMounted: lambda _: image.mounted(udid),
            ask.MountImage: lambda _: image.mount(udid, instruments.provider),
            ask.SendFile: containers.send,
            ask.FetchFile: containers.fetch,
            ask.ReadFile: containers.read,
            ask.WriteFile: containers.write,
            ask.FileSize: containers.size,
            ask.Folders: containers.folders,
            ask.RemoveFolder: containers.remove,
            ask.Begin: instruments.begin,
            ask.Cores: lambda _: instruments.cores(),
            ask.Follow: instruments.follow,
            ask.End: instruments.end,
            ask.Usages: instruments.usages,
            ask.ReportNames: lambda _: crashes.names(udid),
            ask.CrashReports: lambda asked: crashes.reports(udid, asked.process, asked.known),
            ask.HangUp: lambda _: self.close(),
        }

    async def to(self, question: ask.AnyQuestion) -> object:
        """The answer to one question; raises whatever the library does."""
        return await self._answers[type(question)](question)

    async def close(self) -> None:
        """End the tunnel and what was opened through it; idempotent."""
        await self._containers.close()
        await self._instruments.close()


async def _describe(asked: ask.DescribeSupervisor) -> ask.SupervisorTold:
    return supervisor.describe(asked.supervisor)
