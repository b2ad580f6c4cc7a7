"""Entries as they were booked: of a consignment, of an account, and page by page for checking a partition's chain."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from libs.chain.hashing import START
from libs.chain.seals import Seal
from libs.store.database import Database, Transaction
from services.revenue.ledger.account import partition_of_mrn
from services.revenue.ledger.page import PageError
from services.revenue.store.ledger.balances import BEGINNING, LinePlace, lines_of
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.names import Names
from services.revenue.store.ledger.pages import StoredPage, pages_behind, pages_containing
from services.revenue.store.positions import positions
from services.revenue.store.proofs.day_balances import compare_day, compare_end
from services.revenue.store.proofs.seals import LATE_SECONDS, Seals
from services.revenue.store.proofs.stored_entry import StoredEntry, StoredPosting

ENTRIES_AT_ONCE: Final = 5_000
PAGES_AT_ONCE: Final = 50
"""Pages that are read in one statement."""
_COLUMNS: Final = (
    "day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, destination, hash"
)
_ENTRIES: Final = f"""
select {_COLUMNS} from unnest((select $2::integer[]), (select $3::smallint[]), (select $4::bigint[])) as given(wanted_day, of_partition, wanted)
cross join lateral (
    select * from ledger_entry
    where day = any($1::integer[]) and day = given.wanted_day and partition = given.of_partition and number = given.wanted offset 0
) found order by partition, number
"""  # noqa: S608  # our own names
_POSTINGS: Final = """
select found.* from unnest((select $2::integer[]), (select $3::smallint[]), (select $4::bigint[])) as given(wanted_day, of_partition, wanted)
cross join lateral (
    select partition, number, place, account, kind, amount from ledger_posting
    where day = any($1::integer[]) and day = given.wanted_day and partition = given.of_partition and number = given.wanted offset 0
) found order by partition, number, place
"""
_RANGE: Final = f"""
select {_COLUMNS} from ledger_entry
where day = $1 and partition = $2 and number > $3 and number <= $4 order by number limit $5
"""  # noqa: S608  # our own names
_RANGE_POSTINGS: Final = """
select number, place, account, kind, amount, currency, booked_at from ledger_posting
where day = $1 and partition = $2 and number > $3 and number <= $4 order by number, place
"""
# The day of a partition in which the entry behind a number stands.
_DAY: Final = """
select day, first_number, last_number from ledger_day where partition = $1 and last_number > $2 order by day limit 1
"""


@dataclass(slots=True)
class ChainCheck:
    """What checking a part of a chain found."""

    entries: int = 0
    postings: int = 0
    last: int = 0
    hash: bytes = START
    """Computed up to the last entry."""
    end: bool = False
    """Whether the chain ends here."""
    seals: int = 0
    """Seals that were compared."""
    newest: Seal | None = None
    """The newest seal; None where there is none."""
    discrepancies: list[str] = field(default_factory=list)
    """What is wrong, sentences; at most FAULTS_MAX."""
    mrns: set[str] = field(default_factory=set)
    """Consignments that the entries are about."""


DISCREPANCIES_MAX: Final = 20
_CHECK_MILLIS: Final = 120_000
"""What one part may take: as a day ends, all that was booked on it is summed once more."""


class Chain:
    """Reads entries and checks chains."""

    def __init__(self, database: Database, names: Names, *, late_seconds: float = LATE_SECONDS) -> None:
        """Read from a database. What no seal names `late_seconds` after it was booked is a fault."""
        self._database = database
        self._names = names
        self.late_seconds = late_seconds
        self._seals = Seals(database)

    async def of_mrn(self, mrn: str, *, after: int = 0, rows_max: int) -> list[StoredEntry]:
        """Return the entries of a consignment after a number, by number; they are all in one partition."""
        async with self._database.connection(snapshot=True) as reader:
            entries = (await positions.read(reader, [mrn])).entries
            places = sorted(place for place in entries.tolist() if place[0] > after)[:rows_max]
            partition = partition_of_mrn(mrn)
            return await self.read_entries(reader, [(day, partition, number) for number, day in places])

    async def of_account(
        self, account: int, currency: str, first_day: int, last_day: int, *, after: LinePlace = BEGINNING, rows_max: int
    ) -> tuple[list[StoredEntry], LinePlace]:
        """Return entries that post on an account in one currency, by time, and the place of the last line read.

        An entry comes once for all its adjacent lines; call again with the returned place until nothing comes.
        """
        async with self._database.connection(snapshot=True) as reader:
            lines = await lines_of(reader, account, currency, first_day, last_day, after=after, rows_max=rows_max)
            places = list(dict.fromkeys((line.at.booked_at, line.at.partition, line.at.number) for line in lines))
            if (after.booked_at, after.partition, after.number) in places:
                places.remove((after.booked_at, after.partition, after.number))
            read = await self.read_entries(
                reader, [(at // MICROS_A_DAY, partition, number) for at, partition, number in places]
            )
        order = {(partition, number): at for at, (_, partition, number) in enumerate(places)}
        read.sort(key=lambda entry: order[entry.partition, entry.number])
        return read, (lines[-1].at if lines else after)

    async def check(
        self,
        partition: int,
        *,
        after: int = 0,
        before: bytes = START,
        entries_max: int,
        outside: Seal | None = None,
    ) -> ChainCheck:
        """Compute a part of a partition's chain again: up to `entries_max` entries after a number, whose hash is `before`.

        Where a day of the partition ends, its balances and sums are compared with its postings; `outside` is a seal that was
        stored outside of the database. A discrepancy does not end the check: the stored hash replaces one that cannot be
        computed, so that each discrepancy is reported once.
        """
        checked = ChainCheck(last=after, hash=before)
        if outside is not None:
            checked.discrepancies += await self._seals.compare_outside(outside)
        while checked.entries < entries_max and not checked.end:
            await self._check_part(partition, checked, min(ENTRIES_AT_ONCE, entries_max - checked.entries))
        if checked.entries:
            compared = await self._seals.compare(partition, after, checked.last)
            checked.seals += compared.seals
            checked.discrepancies += compared.discrepancies
        checked.newest = await self._seals.newest()
        del checked.discrepancies[DISCREPANCIES_MAX:]
        return checked

    async def _check_part(self, partition: int, checked: ChainCheck, entries_max: int) -> None:
        async with self._database.connection(snapshot=True, timeout_millis=_CHECK_MILLIS) as reader:
            head = await reader.raw.fetchrow("select number, hash from ledger_head where partition = $1", partition)
            part = await self.check_entries(reader, partition, checked, entries_max)
            if part is None:
                await self._end(reader, partition, checked, head)
                return
            day, first, last = part
            if checked.last >= last:
                checked.discrepancies += await compare_day(
                    reader, self._names, partition, day, first, last, entries_max=DISCREPANCIES_MAX
                )
            if head is not None and checked.last == head["number"]:
                await self._end(reader, partition, checked, head)

    async def check_entries(
        self, reader: Transaction, partition: int, checked: ChainCheck, entries_max: int
    ) -> tuple[int, int, int] | None:
        """Compute up to `entries_max` entries of the day in which the chain goes on, and add what is found to `checked`.

        Returns that day with its first and last number, None behind the end of the chain.
        """
        found = await reader.raw.fetchrow(_DAY, partition, checked.last)
        if found is None:
            return None
        day, first, last = found
        # A day has rows, and behind them pages, if the first page was booked on it; of a day that is cut off, what is missing is a gap.
        rows = await reader.raw.fetch(_RANGE, day, partition, checked.last, last, entries_max)
        entries = [StoredEntry(**dict(row)) for row in rows]
        complete = len(entries) < entries_max
        if entries:
            until = max(entry.number for entry in entries)
            await self._check_rows(reader, partition, day, entries, checked, until if not complete else last)
        if complete:
            complete = await self.check_pages(reader, partition, day, checked, last, entries_max - len(entries))
        if complete and last > checked.last:
            checked.discrepancies.append(f"partition {partition}: entries {checked.last + 1} to {last} are missing")
            checked.last = last
        return day, first, last

    async def _check_rows(
        self,
        reader: Transaction,
        partition: int,
        day: int,
        entries: Sequence[StoredEntry],
        checked: ChainCheck,
        until: int,
    ) -> None:
        postings = await reader.raw.fetch(_RANGE_POSTINGS, day, partition, checked.last, until)
        names = await self._names.texts(reader, {row["account"] for row in postings})
        verify_entries(partition, day, entries, postings, names, checked)
        checked.mrns |= {entry.mrn for entry in entries if entry.mrn}

    async def check_pages(
        self, reader: Transaction, partition: int, day: int, checked: ChainCheck, last: int, entries_max: int
    ) -> bool:
        """Compute up to `entries_max` entries of a day's pages up to a number, and add what is found; return whether nothing is left of them."""
        after, left = checked.last, entries_max
        # A part may have ended within a page.
        while pages := await pages_behind(reader, day, partition, after, last, PAGES_AT_ONCE):
            names = await self._names.texts(reader, {account for each in pages for account in each.accounts})
            for each in pages:
                if left <= 0:
                    return False
                left -= _check_page(each, names, checked, left)
            if checked.last < pages[-1].page.last_number:
                return False
            after = checked.last
        return True

    async def _end(self, reader: Transaction, partition: int, checked: ChainCheck, head: Any) -> None:
        checked.end = True
        if head is None:
            checked.discrepancies.append(f"partition {partition}: the head of the chain is missing")
        elif head["number"] != checked.last or head["hash"] != checked.hash:
            checked.discrepancies.append(
                f"partition {partition}: the chain ends at entry {checked.last}, but its head has entry "
                f"{head['number']} or another hash"
            )
        checked.discrepancies += await self._seals.compare_end(reader, partition, checked.last, self.late_seconds)
        checked.discrepancies += await compare_end(reader, self._names, partition, entries_max=DISCREPANCIES_MAX)

    async def read_entries(self, reader: Transaction, places: Sequence[tuple[int, int, int]]) -> list[StoredEntry]:
        """Return the entries at these days, partitions and numbers, with their postings. Raises PageError for an altered page."""
        if not places:
            return []
        columns = [list(column) for column in zip(*places, strict=True)]
        days = sorted(set(columns[0]))
        entries = [StoredEntry(**dict(row)) for row in await reader.raw.fetch(_ENTRIES, days, *columns)]
        rows = await reader.raw.fetch(_POSTINGS, days, *columns) if entries else []
        pages = await pages_containing(reader, columns)
        accounts = {row["account"] for row in rows} | {account for each in pages for account in each.accounts}
        names = await self._names.texts(reader, accounts)
        own = {(entry.partition, entry.number): entry.postings for entry in entries}
        for row in rows:
            own[row["partition"], row["number"]].append(
                StoredPosting(names.get(row["account"], f"?{row['account']}"), row["amount"], row["kind"])
            )
        chosen = {(partition, number) for _, partition, number in places}
        # Thousands of entries may have to be hashed for those that are asked for.
        entries += await asyncio.to_thread(_chosen_entries, pages, names, chosen)
        return sorted(entries, key=lambda entry: (entry.partition, entry.number))


def _chosen_entries(
    pages: Sequence[StoredPage], names: Mapping[int, str], chosen: Collection[tuple[int, int]]
) -> list[StoredEntry]:
    found = []
    for each in pages:
        page = each.page
        own = [
            number for number in range(page.first_number, page.last_number + 1) if (page.partition, number) in chosen
        ]
        numbers = set(own)
        try:
            found += [entry for entry in StoredEntry.of_page(each, names, own[-1]) if entry.number in numbers]
        except PageError as error:
            raise PageError(
                f"partition {page.partition}, entries {page.first_number} to {page.last_number}: {error}"
            ) from error
    return found


def _check_page(stored: StoredPage, names: Mapping[int, str], checked: ChainCheck, entries_max: int) -> int:
    """Check up to `entries_max` entries of a page behind the last checked one; return how many."""
    page = stored.page
    place = f"partition {page.partition}, entries {page.first_number} to {page.last_number}"
    if stored.booked_at // MICROS_A_DAY != stored.day:
        checked.discrepancies.append(
            f"{place}: their page stands in day {stored.day}, but was booked on day {stored.booked_at // MICROS_A_DAY}"
        )
    begins = checked.last < page.first_number
    if begins and page.first_number > checked.last + 1:
        checked.discrepancies.append(
            f"partition {page.partition}: entries {checked.last + 1} to {page.first_number - 1} are missing"
        )
    if begins and page.hash_before != checked.hash:
        checked.discrepancies.append(
            f"{place}: their page was altered; it begins with another hash than that of the entry before"
        )
    try:
        entries = StoredEntry.of_page(stored, names)
    except PageError as error:
        checked.discrepancies.append(f"{place}: their page was altered; {error}")
        checked.last, checked.hash = page.last_number, page.hash
        return 1
    own = [entry for entry in entries if entry.number > checked.last][:entries_max]
    for entry in own:
        _check_sum(entry, checked)
        digest = entry.hash if begins else entry.hashed(checked.hash)
        if entry.number == page.last_number and digest != page.hash:
            checked.discrepancies.append(
                f"{place}: their content or what stands before it was altered; the stored hash does not follow"
            )
            digest = page.hash
        checked.entries += 1
        checked.postings += len(entry.postings)
        checked.last, checked.hash = entry.number, digest
        if entry.mrn:
            checked.mrns.add(entry.mrn)
    return len(own)


def verify_entries(
    partition: int,
    day: int,
    entries: Sequence[StoredEntry],
    rows: Sequence[Any],
    names: dict[int, str],
    checked: ChainCheck,
) -> None:
    """Check entries of a day in their order, each with its postings."""
    own: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        own[row["number"]].append(row)
    for entry in entries:
        place = f"partition {partition}, entry {entry.number}"
        for row in own.pop(entry.number, ()):
            name = names.get(row["account"], f"?{row['account']}")
            entry.postings.append(StoredPosting(name, row["amount"], row["kind"]))
            if row["currency"] != entry.currency or row["booked_at"] != entry.booked_at:
                checked.discrepancies.append(
                    f"{place}: its posting {row['place']} has another currency or time than the entry"
                )
        if entry.booked_at // MICROS_A_DAY != day:
            checked.discrepancies.append(
                f"{place}: it stands in day {day}, but was booked on day {entry.booked_at // MICROS_A_DAY}"
            )
        _check_entry(entry, checked)
    if own:
        checked.discrepancies.append(
            f"partition {partition}: {sum(map(len, own.values()))} postings of day {day} belong to no entry"
        )


def _check_entry(entry: StoredEntry, checked: ChainCheck) -> None:
    place = f"partition {entry.partition}, entry {entry.number}"
    if entry.number != checked.last + 1:
        checked.discrepancies.append(
            f"partition {entry.partition}: entries {checked.last + 1} to {entry.number - 1} are missing"
        )
    _check_sum(entry, checked)
    try:
        follows = entry.hashed(checked.hash) == entry.hash
    except struct.error:  # a number that no entry has
        follows = False
    if not follows:
        checked.discrepancies.append(
            f"{place}: its content or what stands before it was altered; the stored hash does not follow"
        )
    checked.entries += 1
    checked.postings += len(entry.postings)
    checked.last, checked.hash = entry.number, entry.hash


def _check_sum(entry: StoredEntry, checked: ChainCheck) -> None:
    total = sum(each.amount for each in entry.postings)
    if total or len(entry.postings) < 2:
        checked.discrepancies.append(
            f"partition {entry.partition}, entry {entry.number}: its {len(entry.postings)} postings sum to {total} minor units, "
            "not to nothing"
        )
