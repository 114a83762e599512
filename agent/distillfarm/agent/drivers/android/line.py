"""A driver's way to its phone: blocking calls in threads, tried again when the link came back.

adb's failures are told apart by asking (``link.diagnose``), never by the state that it lists.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from adbutils import AdbClient, AdbDevice

from distillfarm.agent.drivers.android import link
from distillfarm.agent.drivers.android.link import Baseline
from distillfarm.agent.drivers.fault import Fault, PhoneFault
from distillfarm.domain.errors import Blame, DeviceOffline, DeviceTimeout, FarmError

# Longer than a restart of adb's server or a glitch of the network, shorter than a lease's worth.
PATIENCE_S = 60.0
_PAUSE_S, _CONNECT_S = 1.0, 5.0
_THREADS = 3
# A phone that answers, but not to this command, does not answer to it the third time either.
_MOST_TIMEOUTS = 2
# A link that comes back and fails the same thing again and again is not what ails it.
_MOST_FAULTS = 5

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


class PhoneLine:
    """The line to one phone.

    ``address`` is ``HOST:PORT`` of a phone on the network, which is connected anew when it is
    lost; empty for USB, where only waiting helps. ``revive`` may bring back a phone that stays
    away, such as by its port of a switchable hub; it blocks and is asked once for each loss.
    """

    def __init__(
        self,
        client: AdbClient,
        serial: str,
        *,
        address: str = "",
        patience_s: float = PATIENCE_S,
        revive: Callable[[], None] | None = None,
    ) -> None:
        self.serial = serial
        self.before: Baseline | None = None
        self._client = client
        self._device = client.device(serial)
        self._address = address
        self._patience_s = patience_s
        self._revive = revive
        self._lost: PhoneFault | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=serial)

    @property
    def lost(self) -> Fault | None:
        """For what the phone was given up; nothing is asked of it until ``settle``."""
        return self._lost.fault if self._lost else None

    async def ask(
        self,
        work: Callable[Concatenate[AdbDevice, _P], _T],
        *arguments: _P.args,
        **named: _P.kwargs,
    ) -> _T:
        """``work(device, *arguments)`` in a thread, again after the link came back.

        ``work`` must bear being repeated: nobody knows how far a lost one came. Cancelling waits
        for the thread, whose every wait has an end of its own.

        Raises:
            PhoneFault: the phone did not come back, restarted meanwhile, or needs a person; at once
                where that was found before, until ``settle``. Also what failed again and again
                although the phone answers.
            DeviceTimeout: the phone answers, but did not finish this in time, repeatedly.
        """
        faults_seen = timeouts = 0
        while True:
            if self._lost is not None:
                raise self._lost
            try:
                return await self._thread(lambda: work(self._device, *arguments, **named))
            except PhoneFault as error:
                faults_seen += 1
                if error.blame is Blame.PHONE or faults_seen >= _MOST_FAULTS:
                    raise
                await self._wait_for_it(error)
            except DeviceTimeout as error:
                timeouts += 1
                if timeouts >= _MOST_TIMEOUTS:
                    raise
                await self._wait_for_it(error)

    async def settle(self) -> None:
        """Wait until the phone answers, and take its present state as the one to keep.

        Raises:
            PhoneFault: it does not answer within the patience.
            DeviceTimeout: it answers, but does not tell its build.
        """
        self.before, self._lost = None, None
        self.before = await self.ask(link.baseline)

    async def same_phone(self) -> None:
        """Check that the phone has neither restarted nor changed its build since ``settle``.

        Raises:
            PhoneFault: it has; or it does not answer within the patience.
        """
        await self._wait_for_it(None)

    async def _wait_for_it(self, lost: FarmError | None) -> None:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        revived, told = False, None
        while (fault := await self._diagnose()) is not None:
            if fault is not told:
                told = fault
                _log.warning("the phone is away", device=self.serial, fault=fault.name)
            away_s = clock() - began_s
            if fault.blame is Blame.PHONE or away_s >= self._patience_s:
                words = str(lost) if lost else f"away for {away_s:.0f} s"
                self._lost = PhoneFault(self.serial, fault, words)
                raise self._lost from lost
            if self._revive is not None and not revived and away_s >= self._patience_s / 2:
                _log.warning("reviving the phone", device=self.serial, fault=fault.name)
                await self._thread(self._revive)
                revived = True
            if self._address:
                await self._connect_again()
            await asyncio.sleep(_PAUSE_S)
        if lost is not None:
            _log.info(
                "the phone answers again",
                device=self.serial,
                away_s=round(clock() - began_s, 1),
                lost=str(lost),
            )

    async def _diagnose(self) -> Fault | None:
        return await self._thread(lambda: link.diagnose(self._client, self.serial, self.before))

    async def _connect_again(self) -> None:
        try:
            await self._thread(lambda: link.reconnect(self._client, self._address, _CONNECT_S))
        except (DeviceOffline, DeviceTimeout) as error:
            _log.debug("still away", device=self.serial, reason=str(error))

    async def _thread(self, work: Callable[[], _T]) -> _T:
        return await uncancelled(asyncio.get_running_loop().run_in_executor(self._threads, work))


async def uncancelled(work: "asyncio.Future[_T]") -> _T:
    """Wait for ``work`` to its end even when cancelled, then deliver the cancellation."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        # What became of it is nobody's any more.
        _ = work.cancelled() or work.exception()
        raise
