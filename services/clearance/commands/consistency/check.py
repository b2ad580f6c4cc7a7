"""Checks consignments: their versions against the table of transitions, and all that refers to them; then the register of licences.

It reads without locks and changes nothing. A consignment that changes while it is read is read again. So nothing that is reported was caused by work
in progress.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.columns import Table
from libs.customs.identifiers.mrn import MrnError
from libs.customs.time import MICROS_PER_DAY
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.arrivals.arrive import NOWHERE
from services.clearance.commands.consistency.inconsistencies import (
    Inconsistency,
    Kind,
    Versions,
    absent,
    chain_ends,
    current_state,
    first_of_each,
    foreign,
    licences,
    misplaced,
    reference,
    transitions,
    work_lists,
    written_off,
)
from services.clearance.consignment.columns import previous
from services.clearance.consignment.lifecycle.replay import unexplained
from services.clearance.consignment.state.transport_numbers import added_receptacles
from services.clearance.store import STATE_DAYS, Row, Store, day_of
from services.clearance.store.work import WORK_LISTS, Position

VERSIONS_MAX: Final = 10_000
"""Versions that one call reads. A page ends there, but has at least one consignment."""
_BATCHES_A_READ: Final = 8
_ROUNDS: Final = 5
_LAST: Final[Position] = (2**31 - 1, "")
_BETWEEN: Final = "\n"
"""Between the parts of the key of a licence in a position."""
_NAMED_BATCHES: Final = 64
_USES: Final = "licence_use"
"""The list of the uses of licences."""


@dataclass(slots=True)
class Checked:
    """The result of the check of one page."""

    consignments: int = 0
    versions: int = 0
    unsettled: int = 0
    """Consignments that changed each time while they were read, and were not checked."""
    inconsistencies: list[Inconsistency] = field(default_factory=list)
    following: Position | None = None
    """The position after which the next page begins; None after the last one."""


@dataclass(slots=True)
class _Chain:
    """What is known of one consignment's versions while they are read from the newest to the first."""

    row: Row
    filer: str
    master: str
    """The master document of the newest version."""
    house: str
    entry_batch: BatchRef
    """The batch of the earliest version in a row that is under the same master document."""
    local_reference: str = ""
    whole: bool = False
    """Whether the chain ended in version 1."""
    moved: bool = False
    """Whether an earlier version is under another master document."""
    receptacles: Sequence[str] = ()
    """The receptacles of the newest version, without one that is its master document."""


class Check:
    """Checks the consignments of a store in pages, by day of acceptance and MRN."""

    def __init__(self, store: Store) -> None:
        """Read a store."""
        self._store = store

    async def page(self, after: Position, limit: int) -> Checked:
        """Check up to `limit` consignments after a position.

        Days that are about to be deleted are not checked, since their parts are deleted one after the other.
        """
        result = Checked()
        async with self._store.database.connection() as reading:
            first = await self._store.now(reading) // MICROS_PER_DAY - STATE_DAYS + 1
            if after[0] == _LAST[0]:
                result.following = await self._register(reading, after, limit, first, result)
                return result
            after = max(after, (first, ""))
            rows = await self._store.work.scan(reading, after, limit)
            last = (rows[-1].day, rows[-1].mrn) if len(rows) == limit else _LAST
            total = np.cumsum([max(1, row.version) for row in rows])
            if len(rows) > 1 and total[-1] > VERSIONS_MAX:
                end = rows[max(0, int(np.searchsorted(total, VERSIONS_MAX, "right")) - 1)]
                last = (end.day, end.mrn)
            entries: dict[str, list[Position]] = {}
            for name in (*WORK_LISTS, _USES):
                entries[name] = await self._store.work.entries(reading, name, after, last, limit + 1)
                if len(entries[name]) > limit:
                    last = min(last, entries[name][limit - 1])
        result.following = None if last == _LAST else last
        places = [(row.day, row.mrn) for row in rows if (row.day, row.mrn) <= last]
        result.inconsistencies += [misplaced(mrn) for day, mrn in places if _day(mrn) != day]
        for name, found in entries.items():
            entries[name] = [each for each in found if each <= last]
            result.inconsistencies += [foreign(name, mrn) for day, mrn in entries[name] if _day(mrn) != day]
        everything = dict.fromkeys([*places, *(each for found in entries.values() for each in found)])
        mrns = [mrn for day, mrn in everything if _day(mrn) == day]
        for _ in range(_ROUNDS):
            mrns = await self._round(mrns, result)
            if not mrns:
                break
        result.unsettled = len(mrns)
        result.inconsistencies = first_of_each(result.inconsistencies)
        if result.following is None:
            async with self._store.database.connection() as reading:
                result.following = await self._register(reading, _LAST, limit, first, result)
        return result

    async def _register(
        self, reading: Transaction, after: Position, limit: int, first_day: int, result: Checked
    ) -> Position | None:
        """Check the licences behind all consignments, by key, and return the position after which the next page of them begins."""
        key = tuple(after[1].split(_BETWEEN)) if after[1] else ("", "", "")
        found, following = await self._store.licences.unexplained(reading, (key[0], key[1], key[2]), limit, first_day)
        result.inconsistencies += [written_off(*each) for each in found]
        return None if following is None else (_LAST[0], _BETWEEN.join(following))

    async def _round(self, mrns: Sequence[str], result: Checked) -> list[str]:
        """Check consignments, and return those that changed meanwhile."""
        async with self._store.database.connection() as reading:
            before = await self._store.find(reading, mrns)
            lists = {name: await self._store.work.stated(reading, name, mrns) for name in WORK_LISTS}
            uses = await self._store.licences.used_by(reading, mrns)
            lists[_USES] = dict.fromkeys(uses)
            totals = await self._store.licences.totals(reading, {use.need.key for own in uses.values() for use in own})
        found: list[Inconsistency] = []
        newest = await self._read({mrn: (row.ref, row.row) for mrn, row in before.items()})
        found += [
            Inconsistency(Kind.CHAIN, mrn, before[mrn].version, "The table of states names a state that is not stored.")
            for mrn in sorted(before.keys() - set(newest.mrns))
        ]
        found += current_state(newest, before)
        found += work_lists(newest, before, lists) + licences(newest, before, uses, totals)
        chains = await self._chains(newest, before, found, result)
        found += await self._references(chains)
        async with self._store.database.connection() as reading:
            after = await self._store.find(reading, mrns)
        changed = {mrn for mrn in mrns if before.get(mrn) != after.get(mrn)}
        for mrn in mrns:
            if mrn not in before and mrn not in changed:
                found += absent(mrn, [name for name in lists if mrn in lists[name]])
        result.inconsistencies += [each for each in found if each.mrn not in changed]
        result.consignments += len(before) - len(changed & before.keys())
        return [mrn for mrn in mrns if mrn in changed]

    # ------------------------------------------------------------------------------------------ versions
    async def _chains(
        self, newest: Versions, rows: Mapping[str, Row], inconsistencies: list[Inconsistency], result: Checked
    ) -> dict[str, _Chain]:
        """Read the versions of consignments from the newest to the first, and check each against the one before it."""
        texts = (
            newest.states.strings(name).tolist()
            for name in ("filer", "master_document_number", "house_document_number")
        )
        chains = {
            mrn: _Chain(rows[mrn], filer, master, house, ref)
            for mrn, (ref, _), filer, master, house in zip(newest.mrns, newest.places, *texts, strict=True)
        }
        for number, row in added_receptacles(newest.states):
            chain = chains[newest.mrns[row]]
            chain.receptacles = [*chain.receptacles, number]
        now = newest
        while now.mrns:
            result.versions += len(now.mrns)
            texts = (now.states.strings(name).tolist() for name in ("master_document_number", "local_reference"))
            for mrn, (ref, _), master, local in zip(now.mrns, now.places, *texts, strict=True):
                chain = chains[mrn]
                chain.local_reference = local
                chain.moved |= master != chain.master
                if not chain.moved:
                    chain.entry_batch = ref
            earlier = previous(now.states)
            firsts = now.take([row for row, place in enumerate(earlier) if place is None])
            inconsistencies += chain_ends(firsts.states)
            for mrn, version in zip(firsts.mrns, firsts.states.ints("version").tolist(), strict=True):
                chains[mrn].whole = version == 1
            now = await self._before(now, earlier, inconsistencies)
        return chains

    async def _before(
        self, after: Versions, earlier: Sequence[tuple[int, int, int] | None], inconsistencies: list[Inconsistency]
    ) -> Versions:
        """Check versions against the versions before them, and return those of these that can be followed."""
        places = {
            mrn: (BatchRef(place[0], place[1]), place[2])
            for mrn, place in zip(after.mrns, earlier, strict=True)
            if place is not None
        }
        before = await self._read(places)
        rows = {mrn: row for row, mrn in enumerate(after.mrns)}
        numbers = after.states.ints("version").filled(0).tolist()
        inconsistencies += [
            Inconsistency(Kind.CHAIN, mrn, numbers[rows[mrn]], "The version before it is not stored.")
            for mrn in sorted(places.keys() - set(before.mrns))
        ]
        states = after.states.take(np.array([rows[mrn] for mrn in before.mrns], np.int64))
        inconsistencies += transitions(before.states, states, unexplained(before.states, states))
        following = []
        for row, (mrn, version) in enumerate(
            zip(before.mrns, before.states.ints("version").filled(0).tolist(), strict=True)
        ):
            number = numbers[rows[mrn]]
            if version != number - 1:
                detail = f"The version before it is {version}, not {number - 1}."
                inconsistencies.append(Inconsistency(Kind.VERSION, mrn, number, detail))
            if version < number:
                # Otherwise the chain may lead back to itself.
                following.append(row)
        return before.take(following)

    async def _read(self, places: Mapping[str, tuple[BatchRef, int]]) -> Versions:
        """Return the states of consignments at places; those that are not there are missing."""
        by_batch: dict[BatchRef, list[str]] = {}
        for mrn, (ref, _) in places.items():
            by_batch.setdefault(ref, []).append(mrn)
        refs, parts = sorted(by_batch), [Table.of(ClearanceColumns, 0, {})]
        found: list[str] = []
        for begin in range(0, len(refs), _BATCHES_A_READ):
            async with self._store.database.connection() as reading:
                batches = await self._batches(reading, refs[begin : begin + _BATCHES_A_READ])
            for ref, batch in batches.items():
                numbers = batch.strings("mrn").tolist()
                there = [
                    mrn for mrn in by_batch[ref] if 0 <= places[mrn][1] < batch.rows and numbers[places[mrn][1]] == mrn
                ]
                parts.append(batch.take(np.array([places[mrn][1] for mrn in there], np.int64)))
                found += there
            await asyncio.sleep(0)
        return Versions(Table.concat(parts), found, [places[mrn] for mrn in found])

    async def _batches(self, reading: Transaction, refs: Sequence[BatchRef]) -> dict[BatchRef, Table]:
        """Return the tables of those of some batches that are stored."""
        payloads = self._store.outbox.payloads
        try:
            stored = await payloads.fetch(reading.raw, refs)
        except LookupError:
            stored = {}
            for ref in refs:
                try:
                    stored |= await payloads.fetch(reading.raw, [ref])
                except LookupError:
                    continue
        return {ref: payloads.table(each) for ref, each in stored.items()}

    # ------------------------------------------------------------------------------------------ references
    async def _references(self, chains: Mapping[str, _Chain]) -> list[Inconsistency]:
        """Return the references of consignments that do not lead to them."""
        found: list[Inconsistency] = []
        known = [chain for chain in chains.values() if chain.whole]
        mrns = [chain.row.mrn for chain in known]
        houses = [chain.house for chain in known]
        places = {(number, each.entry_batch) for each in known for number in (each.master, *each.receptacles) if number}
        async with self._store.database.connection() as reading:
            filers = [chain.filer for chain in known]
            local = await self._store.references.by_local(reading, filers, [each.local_reference for each in known])
            # A shorter text is before all that begin with it.
            before = [mrn[:-1] for mrn in mrns]
            under_house = await self._store.references.by_house_documents(reading, houses, before, [2] * len(mrns))
            entries = await self._store.references.masters(reading, places)
            for number, (mrn, chain) in enumerate(zip(mrns, known, strict=True)):
                leads_to = local.get(number, "")
                # After its retention a reference may name a later consignment.
                if leads_to != mrn and (not leads_to or day_of(leads_to) <= chain.row.day):
                    found.append(reference(mrn, "local reference", chain.local_reference, leads_to))
                if houses[number] and mrn not in under_house.get(number, ()):
                    found.append(reference(mrn, "house document", houses[number]))
                found += [
                    reference(mrn, "receptacle", each)
                    for each in chain.receptacles
                    if mrn not in entries.get((each, chain.entry_batch), ())
                    and not await self._under(reading, each, mrn)
                ]
                if not chain.master or mrn in entries.get((chain.master, chain.entry_batch), ()):
                    continue
                if not await self._under(reading, chain.master, mrn):
                    found.append(reference(mrn, "master document", chain.master))
        return found

    async def _under(self, reading: Transaction, document: str, mrn: str) -> bool:
        """Return whether any entry of a master document has a consignment."""
        after = NOWHERE
        while True:
            batches = await self._store.references.under_master(reading, document, after, _NAMED_BATCHES)
            if any(mrn in mrns for _, mrns in batches):
                return True
            if len(batches) < _NAMED_BATCHES:
                return False
            after = batches[-1][0]


def _day(mrn: str) -> int:
    try:
        return day_of(mrn)
    except (MrnError, ValueError):
        return -1
