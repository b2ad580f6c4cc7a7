"""Links of consignments to parts: those that follow from what a batch names, and linking keys that the filers of consignments choose."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.server.errors import item_error
from libs.server.requests import once
from libs.store.database import Transaction
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion.filing.stages import missing_roles, with_awaited_parts
from services.ingestion.parts.parties import Parties, keys_of, linking_key
from services.ingestion.store.filers import Filers
from services.ingestion.store.filings import Store
from services.ingestion.store.parts import PartStore

Errors: TypeAlias = Mapping[int, ItemError]
"""Why entries of a request are refused, by their places."""
AGE_SECONDS_MAX: Final = 2.0
"""How long the parties that were read count."""


class CurrentParties:
    """The parties of the register, read at most every two seconds."""

    def __init__(self, filers: Filers, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the register; `clock` returns seconds."""
        self._filers = filers
        self._clock = clock
        self._until = float("-inf")
        self._parties = Parties((), 0)

    async def read(self) -> Parties:
        """Return the parties."""
        now = self._clock()
        if now >= self._until:
            day, entries = await self._filers.parties()
            self._parties = Parties(entries, day)
            self._until = now + AGE_SECONDS_MAX
        return self._parties


class Linking:
    """Links the consignments of a batch in its transaction."""

    def __init__(self, parties: CurrentParties, store: PartStore) -> None:
        """Link consignments that name parties of the register."""
        self._parties = parties
        self._store = store
        self.due = asyncio.Event()
        """Set when something may be due to be joined."""

    async def keys(self, consignments: Table) -> Mapping[int, Sequence[bytes]]:
        """Return by row the keys of the consignments of a batch that name a party; without any in the register nothing is looked at."""
        parties = await self._parties.read()
        return keys_of(consignments, parties.naming(consignments)) if parties else {}

    async def with_awaited_parts(self, consignments: Table, filers: Mapping[int, str]) -> Table:
        """Return a batch with the parties of which a required part is missing and was not filed before it; without any, the batch itself.

        `filers`: by row, of which consignments, and who filed their first versions.
        """
        if not consignments.may_have("missing_roles") or not (parties := await self._parties.read()):
            return consignments
        lacking = np.flatnonzero(consignments.ragged("missing_roles").lengths).tolist()
        rows = [row for row in lacking if row in filers]
        awaited = {row: parties.awaited(consignments, row, missing_roles(consignments, row)) for row in rows}
        named = [row for row in rows if awaited[row]]
        if not named:
            return consignments
        keys = keys_of(consignments, named)
        filed = await self._store.filed({(filers[row], key) for row in named for key in keys[row]})
        for row in named:
            parts = {part for key in keys[row] for part in filed.get((filers[row], key), ())}
            there = {role for by, role in parts if parties.may_add(by, role, consignments, row)}
            awaited[row] = [each for each in awaited[row] if each[0] not in there]
        return with_awaited_parts(consignments, awaited) if any(awaited.values()) else consignments

    async def add(self, tx: Transaction, keys: Mapping[str, Sequence[bytes]], amended: Sequence[str]) -> None:
        """Store the keys of consignments by MRN, and mark these and amended ones that have links as due."""
        if amended:
            await self._store.mark_amended(tx, amended)
        if keys:
            await self._store.link(tx, keys, is_secret=False)
        if keys or amended:
            tx.after_commit(self.due.set)

    async def make_days(self, days: Collection[int]) -> None:
        """Make the partitions of days of MRNs that are missing."""
        await make_days(self._store, days)


async def make_days(store: PartStore, days: Collection[int]) -> None:
    """Make the partitions of days of MRNs that are missing; a process looks once at each day."""
    if missing := store.missing_days(days):
        async with store.database.transaction() as tx:
            await store.add_days(tx, missing)


class LinkConsignments:
    """Stores the linking keys that filers choose for their consignments."""

    def __init__(self, store: Store, parts: PartStore, due: asyncio.Event) -> None:
        """Read filings from `store`; `due` is set after a change."""
        self._store = store
        self._parts = parts
        self._due = due

    async def run(
        self, request: pb.LinkConsignmentsRequest, filer: str, links: Mapping[int, tuple[str, str]], errors: Errors
    ) -> pb.LinkConsignmentsResponse:
        """Store linking keys, once per request: MRN and key by place in the request. `errors` are those of the others."""
        own: set[str] = set()
        async for batch in self._store.stored(sorted({number for number, _ in links.values()}), filer):
            own |= batch.rows.keys()
        await make_days(self._parts, {mrn.parse(number).day for number in own})

        async def work(tx: Transaction) -> pb.LinkConsignmentsResponse:
            await self._parts.begin(tx, filer)
            refused = dict(errors)
            added: dict[str, set[bytes]] = {}
            keys = {place: linking_key(text) for place, (_, text) in links.items()}
            linked = await self._parts.consignments_of(tx, set(keys.values()))
            for place, (number, _) in links.items():
                key, path = keys[place], f"links[{place}]"
                if number not in own:
                    refused[place] = item_error("RECEIPT_UNKNOWN", f"{path}.mrn", number)
                elif linked.setdefault(key, {number}) - {number}:
                    refused[place] = item_error("LINKING_KEY_REUSED", f"{path}.linking_key")
                else:
                    added.setdefault(number, set()).add(key)
            await self._parts.link(tx, {number: sorted(some) for number, some in added.items()}, is_secret=True)
            tx.after_commit(self._due.set)
            results = [pb.LinkResult(error=refused.get(place)) for place in range(len(request.links))]
            return pb.LinkConsignmentsResponse(results=results)

        return await once(self._store.database, pb.LinkConsignmentsResponse, request, work)
