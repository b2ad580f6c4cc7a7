"""Keeps in force here what the store says is: looks which versions those are, reads what is new in a thread, and swaps.

What cannot be read changes nothing: the one before stays in force, it is told once, and not read again until another version is
told or the one in force is told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from libs.tasks.stop import wait_for_stop

T = TypeVar("T")


class Following(Generic[T]):
    """Follows one or several things by their names."""

    def __init__(
        self,
        versions: Callable[[], Awaitable[Mapping[str, str | None]]],
        load: Callable[[str, str], Awaitable[Callable[[], T] | None]],
        swap: Callable[[str, str, T | None], None],
        refused: Callable[[str, str, Exception | None], None],
    ) -> None:
        """Follow `versions`: by name the version that is to be in force, "" for none, None where what is there stays.

        `load(name, version)` fetches one and gives what reads it, which is called in a thread; None: it is not kept any more.
        `swap(name, version, value)` puts it in force, and `refused(name, version, error)` tells one that could not be read, or
        with None that the right one is in force.
        """
        self._versions = versions
        self._load = load
        self._swap = swap
        self._refused = refused
        #: By name the version in force.
        self.taken: dict[str, str] = {}
        self._refusals: dict[str, tuple[str, Exception]] = {}
        # Two looks at once could put an older version in the place of a newer one.
        self._looking = asyncio.Lock()

    async def look(self) -> Mapping[str, Exception]:
        """Take what has changed since the last look; gives by name why something is refused."""
        async with self._looking:
            for name, version in (await self._versions()).items():
                await self._look(name, version)
            return {name: error for name, (_, error) in self._refusals.items()}

    async def _look(self, name: str, version: str | None) -> None:
        if version is None or version == self.taken.get(name, ""):
            self._settle(name, version or "")
            return
        refusal = self._refusals.get(name)
        if refusal is not None and refusal[0] == version:
            return
        value = None
        if version:
            read = await self._load(name, version)
            if read is None:
                # It was replaced and removed between the two questions; the next look tells more.
                return
            try:
                value = await asyncio.to_thread(read)
            except Exception as error:  # a fault of ours is no reason to work by nothing, and has to be seen
                self._refusals[name] = version, error
                self._refused(name, version, error)
                return
        self.taken[name] = version
        self._settle(name, version)
        self._swap(name, version, value)

    def _settle(self, name: str, version: str) -> None:
        self._refusals.pop(name, None)
        self._refused(name, version, None)


async def repeat(
    work: Callable[[], Awaitable[object]], failed: Callable[[Exception], None], stop: asyncio.Event, seconds: float
) -> None:
    """Do some work every so many seconds until `stop`; what fails is told and tried again."""
    while not stop.is_set():
        try:
            await work()
        except Exception as error:  # whatever the store or a file does, what is in force stays and the watch goes on
            failed(error)
        await wait_for_stop(stop, seconds)
