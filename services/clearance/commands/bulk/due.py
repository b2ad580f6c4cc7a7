"""Carries out what is due of the consignments on a list, each as it stands now; all times are the database's."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.store.database import Transaction
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.store import Store


class DueList(Protocol):
    """A list of consignments with the time at which something is due of each."""

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of which something is due before an instant, the longest due first."""
        ...

    async def forget(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete consignments from the list."""
        ...

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store what these states have in the list."""
        ...


@dataclass(frozen=True, slots=True)
class Due:
    """What is due of n consignments, and what it changes."""

    chosen: NDArray[np.bool_]
    """Of which something is due, shape (n,)."""
    states: Table
    """The states of all of them before the event."""
    details: EventDetails
    """The event of those of which something is due."""
    count: Callable[[], None] = lambda: None
    """Counts them once they are committed."""


class DueCommand(ABC):
    """Carries out what is due of one list; a subclass states what that is."""

    chunk_rows: ClassVar[int]
    """Consignments of one transaction, which must not hold the feed's horizon for long."""
    effective: ClassVar[str]
    """Why the event always has an effect."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    @property
    @abstractmethod
    def due_list(self) -> DueList:
        """The list."""

    @abstractmethod
    def find(self, states: Table, now: int) -> Due:
        """Return what is due of consignments at an instant."""

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of consignments of which something is due before an instant, the longest due first."""
        return await self.due_list.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Carry out what is due of these consignments; return how many changed. `at` replaces the database's clock.

        One transaction: a second replica at the same rows waits for the locks and finds nothing due.
        """
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            await self.due_list.forget(tx, [mrn for mrn in mrns if mrn not in locked])
            rows = list(locked.values())
            states = await self._store.states(tx, rows)
            # A clock that was set back since the look-up must not leave what is due undone.
            found = self.find(states, at if at is not None else max(until, await self._store.now(tx)))
            others = np.flatnonzero(~found.chosen)
            if len(others):
                # The entries of an earlier release, which does not know the list, may be wrong.
                unchanged = [rows[place] for place in others.tolist()]
                await self.due_list.forget(tx, [row.mrn for row in unchanged])
                await self.due_list.note(
                    tx, states.take(others), [row.mrn for row in unchanged], [row.day for row in unchanged]
                )
            places = np.flatnonzero(found.chosen)
            if len(places):
                table, outcome = apply_event(found.states.take(places), found.details)
                assert bool(outcome.effective.all()), self.effective
                await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
                tx.after_commit(found.count)
        return len(places)
