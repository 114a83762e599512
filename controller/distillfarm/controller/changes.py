"""Wakes those who wait for news of one thing, from any thread."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Changes:
    """News by topic, such as a job's or a study's id; belongs to one event loop.

    It carries no content: whoever is woken looks for himself, so nothing is missed or repeated
    however many changes come at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._listeners: dict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, topic: str) -> None:
        """Wake the topic's listeners; only in the loop's own thread."""
        for event in self._listeners.get(topic, ()):
            event.set()

    def tell_from_thread(self, topic: str) -> None:
        """Like ``tell``, from any thread; without effect once the loop is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.tell, topic)

    @contextmanager
    def listen(self, topics: Iterable[str]) -> Iterator[asyncio.Event]:
        """An event that is set at every change of a topic, until the listener clears it."""
        event, listened = asyncio.Event(), list(topics)
        for topic in listened:
            self._listeners[topic].add(event)
        try:
            yield event
        finally:
            for topic in listened:
                self._listeners[topic].discard(event)
                if not self._listeners[topic]:
                    del self._listeners[topic]


async def wait(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until ``event`` is set, but no longer than that; clear it."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
