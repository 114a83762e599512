"""The crash reports that lie on a phone."""

import posixpath

from pymobiledevice3.exceptions import AfcFileNotFoundError
from pymobiledevice3.services.crash_reports import CrashReportsManager

from distillfarm.agent.drivers.ios.protocol import Report
from distillfarm.agent.drivers.ios.worker.lockdown import trusted

# What iOS names the report of memory that ran short.
_JETSAM = "JetsamEvent"
_MOST_BYTES, _MOST_REPORTS = 4 * 2**20, 8


async def names(udid: str) -> tuple[str, ...]:
    """See ``protocol.ReportNames``."""
    async with trusted(udid) as client, CrashReportsManager(client) as manager:
        return tuple(posixpath.basename(each) for each in await manager.ls())


async def reports(udid: str, process: str, known: tuple[str, ...]) -> tuple[Report, ...]:
    """See ``protocol.CrashReports``."""
    async with trusted(udid) as client:
        # What crashed just now still lies elsewhere.
        async with CrashReportsManager(client) as manager:
            await manager.flush()
        async with CrashReportsManager(client) as manager:
            found = []
            for path in await manager.ls():
                name = posixpath.basename(path)
                if name in known or not name.startswith((process, _JETSAM)):
                    continue
                try:
                    if int((await manager.afc.stat(path))["st_size"]) > _MOST_BYTES:
                        continue
                    content = await manager.afc.get_file_contents(path)
                except AfcFileNotFoundError:
                    continue
                found.append(Report(name, content.decode(errors="replace")))
    return tuple(found[-_MOST_REPORTS:])
