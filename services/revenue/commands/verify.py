"""The proof of the ledger, part by part: what was booked since the mark, and from the beginning again in a slow round.

A part reads as of one instant and then moves the mark in a short transaction, unless another replica moved it meanwhile. So
memory and transactions are bounded whatever the ledger's age, and a proof that is cut off loses a part at most.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from libs.columns.stored import InputError
from libs.customs.partitions import PARTITIONS
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError
from libs.telemetry import get_logger
from services.revenue.commands.reconcile import Reconciliation
from services.revenue.ledger.reconciliation import NOT_ASSESSED
from services.revenue.store.assessments.inputs import next_assessed_day
from services.revenue.store.ledger.balances import SETTLE_MICROS
from services.revenue.store.ledger.names import Names
from services.revenue.store.positions import days
from services.revenue.store.proofs import marks as store
from services.revenue.store.proofs.chain import DISCREPANCIES_MAX, Chain
from services.revenue.store.proofs.chain import ChainCheck as Part
from services.revenue.store.proofs.day_balances import compare_day
from services.revenue.store.proofs.marks import ALTERED, Discrepancy, Mark, ProofPart, ProofState
from services.revenue.store.proofs.seals import Seals, sealed_at

ENTRIES_MAX: Final = 4_000
"""Entries of one part."""
ENTRIES_AN_END: Final = 250
"""Entries that are proven in the time in which the end of a chain is compared, roughly."""
CONSIGNMENTS_AT_ONCE: Final = 1_000
SEALS_MAX: Final = 50
DAYS_MAX: Final = 4
"""Days of a partition whose balances one part compares."""
BATCHES_MAX: Final = 8
"""Batches of assessments whose consignments one part looks for."""
LOGGED_MAX: Final = 1_000
"""Faults that are remembered as logged; what is found again is not logged again."""
READ_MILLIS: Final = 60_000
COMPLETE_MICROS: Final = 600_000_000
"""Where nothing is booked, it is stored so often that all is proven: an idle service writes next to nothing."""
ROUND_SECONDS: Final = 86_400.0
"""The periodic proof begins a round so long after it began the last one, or as soon as that has ended."""
_log = get_logger()


@dataclass(frozen=True, slots=True)
class ProofReport:
    """What is proven, and what is left."""

    state: ProofState
    left: int
    """Entries that are booked and not proven."""
    unproven_since: int
    """When the oldest of them was booked, microseconds since 1970-01-01 UTC; 0 where there is none."""
    now: int
    """When this was so, microseconds since 1970-01-01 UTC."""
    sealed_at: int
    """When the newest seal that is covered was made; 0 where none is."""
    discrepancies: int
    differences: list[Discrepancy] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """A part of the proof as it is made."""

    state: ProofState
    marks: dict[int, Mark] = field(default_factory=dict)
    ranges: list[tuple[int, int, int]] = field(default_factory=list)
    mrns: set[str] = field(default_factory=set)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    heads: dict[int, int] = field(default_factory=dict)
    positions: bytes = b""
    read_at: int = 0

    def behind(self, partition: int) -> bool:
        """Return whether entries of a partition are booked and not proven."""
        return self.heads[partition] != self.marks[partition].number

    def altered(self, partition: int, number: int, sentences: list[str]) -> None:
        """Add the discrepancies of a part of a chain."""
        self.discrepancies += [Discrepancy(partition, number, "", ALTERED, each) for each in sentences]


@dataclass(frozen=True, slots=True)
class _Part:
    """How far a part of the proof came."""

    worked: bool
    """Whether it proved anything, or is to be repeated."""
    overdue: bool = False
    """Whether days that are over, or seals, may need more."""
    marks: Mapping[int, int] | None = None
    """Last proven entry of each partition that can be proven further or to its end; None where the part is to be repeated."""

    def reached(self, until: Sequence[int]) -> bool:
        """Return whether all entries up to these numbers, one a partition, are proven as far as they can be."""
        if self.marks is None or self.overdue:
            return False
        return all(number >= until[place] for place, number in self.marks.items() if place < len(until))


class Verification:
    """Proves the ledger part by part."""

    def __init__(self, database: Database, names: Names) -> None:
        """Prove the ledger of a database."""
        self._database = database
        self._names = names
        self.chain = Chain(database, names)
        self._seals = Seals(database)
        self._reconciling = Reconciliation(database, names)
        self._logged: set[str] = set()

    async def report(self, discrepancies_max: int) -> ProofReport:
        """Return what is proven by now."""
        async with self._database.connection(snapshot=True, timeout_millis=READ_MILLIS) as reader:
            state = await store.read_state(reader)
            count, found = await store.discrepancies(reader, discrepancies_max)
            left, since = await store.entries_left(reader), await store.oldest_unproven(reader)
            sealed = await sealed_at(reader, state.seal)
            now = await reader.now()
        return ProofReport(state, left, since or 0, now, sealed, count, found)

    async def heads(self) -> list[int]:
        """Return the number of the last entry of each partition."""
        async with self._database.connection() as reader:
            heads = await store.heads(reader)
        return [heads[place].number if place in heads else 0 for place in range(PARTITIONS)]

    async def prove(self, until: Sequence[int], seconds: float) -> bool:
        """Prove what is left for about so many seconds; True as soon as the entries up to the numbers `until`, one a partition, and what
        days that are over need are proven, whatever is booked meanwhile, or where nothing is left that can be proven now.
        """
        ends_at = time.monotonic() + seconds
        while True:
            part = await self._part(ENTRIES_MAX)
            if not part.worked or part.reached(until):
                return True
            if time.monotonic() >= ends_at:
                return False

    async def advance(self, entries_max: int = ENTRIES_MAX) -> bool:
        """Prove the next part behind the mark; False where nothing is left that can be proven now."""
        return (await self._part(entries_max)).worked

    async def _part(self, entries_max: int) -> _Part:
        async with self._database.connection(snapshot=True, timeout_millis=READ_MILLIS) as reader:
            step = await self._new_step(reader)
            await self._entries(reader, step, entries_max)
            before = step.state
            await self._follow_seals(reader, step)
            seals = step.state.seal - before.seal
            days = await self._closed_days(reader, step)
        await self.compare_consignments(step)
        days |= await self._assessed(step)
        worked = bool(step.ranges) or seals > 0 or days
        state = step.state
        complete = not any(map(step.behind, step.marks))
        if (
            not worked
            and not step.discrepancies
            and not (complete and step.read_at - state.complete_at > COMPLETE_MICROS)
        ):
            return _Part(worked=False)
        if complete:
            step.state = replace(state, complete_at=step.read_at, positions=step.positions)
        # Where another replica has moved the mark meanwhile, this part is repeated from there.
        if not await self._store(step):
            return _Part(worked=True)
        # A partition of which nothing more can be read is at its end, as far as it can be proven.
        went_on = {place for place, _, _ in step.ranges}
        marks = {place: mark.number for place, mark in step.marks.items() if place in went_on or not step.behind(place)}
        return _Part(worked, overdue=days or seals >= SEALS_MAX, marks=marks)

    async def _new_step(self, reader: Transaction) -> _Step:
        step = _Step(await store.read_state(reader))
        step.marks = await store.read_marks(reader)
        step.read_at = await reader.now()
        step.positions = json.dumps(await store.feed_positions(reader)).encode()
        return step

    async def _entries(self, reader: Transaction, step: _Step, entries_max: int) -> None:
        heads = await store.heads(reader)
        step.heads = {place: heads[place].number if place in heads else -1 for place in range(PARTITIONS)}
        behind = [place for place in step.marks if step.behind(place)]
        # All partitions go on together, so that their entries are of about the same time, and their answers in the same batches.
        share = max(20, entries_max // max(1, len(behind)))
        entries = postings = 0
        for place in behind:
            mark = step.marks[place]
            part = Part(last=mark.number, hash=mark.hash)
            while part.entries < share:
                if await self.chain.check_entries(reader, place, part, share - part.entries) is None:
                    break
            discrepancies = part.discrepancies
            head = heads.get(place)
            if part.last == mark.number:
                discrepancies.append(
                    f"partition {place}: the chain ends before entry {mark.number}, up to which it was proven"
                )
            elif head is not None and head.number == part.last and head.hash != part.hash:
                discrepancies.append(
                    f"partition {place}: the head of the chain has another hash than entry {part.last}"
                )
            step.altered(place, part.last, discrepancies[:DISCREPANCIES_MAX])
            step.mrns |= part.mrns
            if part.last > mark.number:
                step.ranges.append((place, mark.number, part.last))
                step.marks[place] = replace(mark, number=part.last, hash=part.hash)
            entries, postings = entries + part.entries, postings + part.postings
        state = step.state
        step.state = replace(state, entries=state.entries + entries, postings=state.postings + postings)

    async def _follow_seals(self, reader: Transaction, step: _Step) -> None:
        state = step.state
        proven = {place: mark.number for place, mark in step.marks.items()}
        before = state.seal_hash or bytes(32)
        seal, digest, discrepancies = await self._seals.follow(reader, state.seal, before, proven, SEALS_MAX)
        step.altered(0, proven[0], discrepancies[:DISCREPANCIES_MAX])
        step.state = replace(state, seal=seal, seal_hash=digest if seal else b"")

    async def _closed_days(self, reader: Transaction, step: _Step) -> bool:
        """Compare balances, sums and money of days that are over with what was booked on them."""
        over = (step.read_at - SETTLE_MICROS) // MICROS_PER_DAY
        rows = await store.closed_days(reader, over, DAYS_MAX)
        for row in rows:
            place, day, last = row["partition"], row["day"], row["last_number"]
            found = await compare_day(
                reader, self._names, place, day, row["first_number"], last, entries_max=DISCREPANCIES_MAX
            )
            step.altered(place, last, found)
            step.marks[place] = replace(step.marks[place], day=day)
        return bool(rows)

    async def compare_consignments(self, step: _Step) -> None:
        """Compare the consignments that the entries are about with what they were assessed at."""
        mrns = sorted(step.mrns)
        for start in range(0, len(mrns), CONSIGNMENTS_AT_ONCE):
            step.discrepancies += await self._compare(mrns[start : start + CONSIGNMENTS_AT_ONCE])
        step.state = replace(step.state, comparisons=step.state.comparisons + len(mrns))

    async def _compare(self, mrns: list[str]) -> list[Discrepancy]:
        """Return what does not agree of consignments; an answer that cannot be read is a fault of its own consignment alone."""
        try:
            page = await self._reconciling.of_mrns(mrns)
        except InputError as error:
            if len(mrns) == 1:
                return [Discrepancy(-1, 0, mrns[0], NOT_ASSESSED, f"What it was assessed at cannot be read: {error}")]
            middle = len(mrns) // 2
            return await self._compare(mrns[:middle]) + await self._compare(mrns[middle:])
        return [Discrepancy.from_difference(each) for each in page.differences]

    async def _assessed(self, step: _Step) -> bool:
        """Look in the ledger for what was assessed on days that are over."""
        over = (step.read_at - SETTLE_MICROS) // MICROS_PER_DAY
        day, batch = step.state.assessed_day, step.state.assessed_batch
        worked = False
        for _ in range(BATCHES_MAX):
            page = await self._reconciling.assessed(day, batch) if 0 < day < over else None
            if page is not None and page.after:
                batch, worked = int(page.after), True
                step.discrepancies += map(Discrepancy.from_difference, page.differences)
                step.mrns |= {each.mrn for each in page.differences}
                continue
            async with self._database.connection() as reader:
                following = await next_assessed_day(reader, day if day < over else over)
            if following is None or following >= over:
                break
            day, batch, worked = following, 0, True
        step.state = replace(step.state, assessed_day=day, assessed_batch=batch)
        return worked

    async def advance_full(self, entries_max: int = ENTRIES_MAX) -> bool:
        """Prove the next part of the periodic proof, which begins at the first entry in every round; return False between two rounds."""
        async with self._database.connection() as reader:
            state, now = await store.read_state(reader), await reader.now()
        over = state.full_ended_at >= state.full_began_at
        if over and state.full_began_at and now - state.full_began_at < ROUND_SECONDS * 1e6:
            return False
        step = _Step(state.restarted(now) if over else state, read_at=now)
        if step.state.full_partition == PARTITIONS:
            await self._repeat_days(step)
        else:
            await self._repeat_chains(step, entries_max)
        return await self._store(step)

    async def _repeat_chains(self, step: _Step, entries_max: int) -> None:
        left = entries_max
        try:
            while left > 0 and step.state.full_partition < PARTITIONS:
                left -= await self._repeat_chain(step, left)
        except (StoreError, InputError):
            # What was proven before is stored; the chain that fails begins the next part, which raises.
            if not step.ranges:
                raise

    async def _repeat_chain(self, step: _Step, entries_max: int) -> int:
        """Prove a part of a chain again; return how many entries it was, and its end for as many as that costs."""
        state = step.state
        place, after = state.full_partition, state.full_number
        part = await self.chain.check(place, after=after, before=state.full_hash, entries_max=entries_max)
        # A part that begins a chain or ends it without an entry covers what was found at its place before.
        step.ranges.append((place, after if part.entries and after else after - 1, part.last))
        step.altered(place, part.last, part.discrepancies)
        if part.end or part.last == after:
            step.state = replace(state, full_partition=place + 1, full_number=0, full_hash=bytes(32))
            return part.entries + ENTRIES_AN_END
        step.state = replace(state, full_number=part.last, full_hash=part.hash)
        return part.entries

    async def _repeat_days(self, step: _Step) -> None:
        state = step.state
        day = state.full_day
        if not state.full_after:
            async with self._database.connection() as reader:
                following = await days.next_day(reader, day)
            if following is None:
                step.state = replace(state, full_ended_at=step.read_at)
                return
            day = following
        page = await self._reconciling.page(day, state.full_after, CONSIGNMENTS_AT_ONCE)
        # Who was compared and agrees is not named by the page, so that faults of the day's consignments go as its pages do.
        step.mrns |= page.mrns
        step.discrepancies += map(Discrepancy.from_difference, page.differences)
        step.state = replace(state, full_day=day if page.after else day + 1, full_after=page.after)

    async def _store(self, step: _Step) -> bool:
        checked = ProofPart(step.ranges, step.mrns, step.discrepancies)
        async with self._database.transaction() as tx:
            moved = await store.move(tx, step.state, step.marks, checked)
        if moved:
            for each in step.discrepancies:
                if each.sentence in self._logged:
                    continue
                self._logged.add(each.sentence)
                _log.error("LEDGER_FAULT", cause=each.reason, mrn=each.mrn, sentence=each.sentence)
            if len(self._logged) > LOGGED_MAX:
                self._logged.clear()
        return moved


def covered(state: ProofState) -> list[Mapping[str, Any]]:
    """Return the feed positions that a state covers: partition, epoch, day, xid and seq each."""
    names = ("partition", "epoch", "day", "xid", "seq")
    return [dict(zip(names, row, strict=True)) for row in json.loads(state.positions or b"[]")]
