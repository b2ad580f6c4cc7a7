"""The journal: the entries of all partitions that were posted on some days."""

from __future__ import annotations

from typing import Final, NamedTuple

from libs.store.database import Database
from services.revenue.ledger.page import PageError
from services.revenue.store.proofs.chain import Chain
from services.revenue.store.proofs.stored_entry import StoredEntry

# The next days and partitions with entries behind a place. Each has at least one entry, so a page needs no more of them than it has entries.
_DAYS: Final = """
select day, partition, first_number, last_number from ledger_day
where day >= $1 and day <= $4 and ((day, partition) > ($1, $2::smallint) or ((day, partition) = ($1, $2::smallint) and last_number > $3))
order by day, partition limit $5
"""


class JournalPlace(NamedTuple):
    """The place of an entry in the journal."""

    day: int
    """Days since 1970-01-01 UTC."""
    partition: int
    number: int


class Journal:
    """Reads entries by day, partition and number."""

    def __init__(self, database: Database, chain: Chain) -> None:
        """Read from a database, with the entries of its chains."""
        self._database = database
        self._chain = chain

    async def page(self, after: JournalPlace, last_day: int, *, rows_max: int) -> list[StoredEntry]:
        """Return up to `rows_max` entries after a place and up to a day, as of one instant.

        Raises PageError for an altered page, and where an entry is missing that the numbers of its day promise.
        """
        async with self._database.connection(snapshot=True) as reader:
            places: list[tuple[int, int, int]] = []
            for day, partition, first, last in await reader.raw.fetch(_DAYS, *after, last_day, rows_max):
                begin = after.number + 1 if (day, partition) == after[:2] else first
                end = min(last, begin + rows_max - len(places) - 1)
                places += [(day, partition, number) for number in range(begin, end + 1)]
                if len(places) == rows_max:
                    break
            found = {
                (entry.day, entry.partition, entry.number): entry
                for entry in await self._chain.read_entries(reader, places)
            }
        missing = [place for place in places if place not in found]
        if missing:
            _, partition, number = missing[0]
            raise PageError(f"partition {partition}, entry {number}: it is missing")
        return [found[place] for place in places]
