"""Gates as tests use them: places that there have to be, calls that are served or wait, and a brake that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from libs.server.admission.gate import Gate, Place
from libs.server.admission.overload import Overload
from libs.server.identity import Identity, Role
from tests.support.virtual_loop import VirtualLoop


def who(name: str) -> Identity:
    return Identity(Role.FILER, name)


def entered(gate: Gate, name: str) -> Place:
    """Take a place that there has to be."""
    place = gate.enter(who(name))
    assert place is not None
    return place


def served(gate: Gate, name: str, size: int, seconds: float = 0.0) -> Place:
    """Serve a call of so many bytes."""
    place = entered(gate, name)
    gate.received(place, size)
    gate.leave(place, seconds)
    return place


class Brake:
    """A brake that the test sets, and that notes what it is asked."""

    reason = "DECISIONS_BEHIND"

    def __init__(self, room: int, spare: int = 0, seconds: float = 3.0) -> None:
        self.bytes, self.spare, self.wait_seconds = room, spare, seconds
        self.asked: list[tuple[int, bool]] = []

    def room(self, running: int, *, spare: bool) -> bool:
        self.asked.append((running, spare))
        return running < self.bytes + self.spare * spare

    def seconds(self) -> float:
        return self.wait_seconds

    def on_room(self, admit: Callable[[], None]) -> None:
        """The test admits itself."""


class Waiting:
    """A call that waits, and what became of it."""

    def __init__(self, gate: Gate, identity: Identity) -> None:
        self.gate, self.identity = gate, identity
        self.task = asyncio.ensure_future(self._wait())
        self.end = ""
        self.waited = 0.0
        self.place: Place | None = None

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            self.place = await self.gate.wait(self.identity)
            self.end = "place"
        except Overload as overload:
            self.end = overload.refused.reason
        self.waited = round(loop.time() - begun, 6)


async def waiting(gate: Gate, *names: str) -> list[Waiting]:
    """Begin to wait, in this order."""
    found = []
    for name in names:
        found.append(Waiting(gate, who(name)))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return found


def ends(calls: Sequence[Waiting]) -> list[str]:
    return [each.end for each in calls]


def gate_of(
    loop: VirtualLoop, places: int = 1, per_caller_max: int = 8, waiting_max: int = 8, **options: object
) -> Gate:
    return Gate(places, per_caller_max, waiting_max=waiting_max, clock=loop.time, **options)  # type: ignore[arg-type]
