"""The register of scheme numbers as it is stored, and the picture of it that each replica assesses by."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from libs.server.process.following import repeat
from libs.store.database import Database, Transaction
from libs.telemetry import gauge, get_logger
from services.revenue.assessment.scheme_register import OPEN_END, SchemeEntry
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register

SECONDS: Final = 1.0
"""Between two looks for what has changed."""
READ_MAX: Final = 10_000

# Who changes numbers stands in a queue, so that `changed` rises in the order of commits and no reader misses one.
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('scheme_number'))"
# What holds now, and beside it each version that was told, for ever.
_PUT: Final = """
with put as (
insert into scheme_number as kept (scheme, number, holder, first_day, last_day, changed, put_by)
select given.scheme, given.number, given.holder, given.first_day, given.last_day, nextval('scheme_number_changed'), $6
from unnest($1::smallint[], $2::text[], $3::text[], $4::integer[], $5::integer[])
    as given(scheme, number, holder, first_day, last_day)
on conflict (scheme, number) do update set holder = excluded.holder, first_day = excluded.first_day,
    last_day = excluded.last_day, changed = excluded.changed, put_by = excluded.put_by, put_at = clock_timestamp()
where (kept.holder, kept.first_day, kept.last_day) is distinct from (excluded.holder, excluded.first_day, excluded.last_day)
returning scheme, number, holder, first_day, last_day, changed, put_by, put_at, xmax = 0 as fresh
), noted as (
    insert into scheme_number_version (scheme, number, holder, first_day, last_day, changed, put_by, put_at)
    select scheme, number, holder, first_day, last_day, changed, put_by, put_at from put
)
select scheme, number, fresh from put
"""
_PAGE: Final = """
select scheme, number, holder, first_day, last_day from scheme_number
where (scheme, number) > ($1::smallint, $2::text) and ($3::smallint = 0 or scheme = $3) and ($4::text = '' or number = $4)
order by scheme, number limit $5
"""
_CHANGED: Final = """
select scheme, number, holder, first_day, last_day, changed from scheme_number
where changed > $1 and ($3::smallint = 0 or scheme = $3) and ($4::text = '' or number = $4) order by changed limit $2
"""

_numbers = gauge("luxor_revenue_scheme_numbers", "Scheme numbers in the register that this replica assesses by")
_log = get_logger()


class SchemeStore:
    """The table scheme_number."""

    def __init__(self, database: Database) -> None:
        """Store it in a database."""
        self.database = database

    async def put(
        self, tx: Transaction, entries: Sequence[SchemeEntry], changed_by: str
    ) -> dict[tuple[int, str], bool]:
        """Register numbers or change them, each once; return for each number that is new or changed whether it is new."""
        await tx.raw.execute(_LOCK)
        rows = await tx.raw.fetch(
            _PUT,
            [each.scheme for each in entries],
            [each.number for each in entries],
            [each.holder for each in entries],
            [each.first_day for each in entries],
            [None if each.last_day == OPEN_END else each.last_day for each in entries],
            changed_by,
        )
        return {(row["scheme"], row["number"]): row["fresh"] for row in rows}

    async def page(self, after: tuple[int, str], scheme: int, number: str, limit: int) -> list[SchemeEntry]:
        """Return the next numbers after one, by scheme and number; of one scheme (0: all), or one number ("": all)."""
        async with self.database.connection() as reader:
            return [_entry(row) for row in await reader.raw.fetch(_PAGE, *after, scheme, number, limit)]

    async def changed(self, since: int) -> tuple[list[SchemeEntry], int]:
        """Return the changes after a number of changes, READ_MAX at most, and the new number."""
        entries, changes = await self.page_of_changes(since, 0, "", READ_MAX)
        return entries, changes[-1] if changes else since

    async def page_of_changes(
        self, since: int, scheme: int, number: str, limit: int
    ) -> tuple[list[SchemeEntry], list[int]]:
        """Return the next numbers after a number of changes, in the order of their last changes, each with its own; filters as in `page`."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_CHANGED, since, limit, scheme, number)
        return [_entry(row) for row in rows], [row["changed"] for row in rows]


class ActiveSchemes:
    """The register that this replica assesses by: read whole at start, then what changes, every second."""

    def __init__(self, store: SchemeStore) -> None:
        """Follow a store."""
        self.store = store
        self._since = 0
        self._register = EMPTY
        self._looking = asyncio.Lock()

    @property
    def register(self) -> Register:
        """Return the register; a batch takes it once."""
        return self._register

    async def look(self) -> None:
        """Read the changes."""
        async with self._looking:
            told: list[SchemeEntry] = []
            while True:
                entries, since = await self.store.changed(self._since)
                told += entries
                self._since = since
                if len(entries) < READ_MAX:
                    break
            if told:
                spans = {**self._register.spans, **{each.key: (each.first_day, each.last_day) for each in told}}
                self._register = Register(spans)
                _log.info("SCHEME_NUMBERS_IN_FORCE", numbers=len(spans), changed=len(told))
            _numbers.set(len(self._register.spans))

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Look every so many seconds until `stop`. What fails is logged and tried again."""
        await repeat(self.look, lambda error: _log.error("SCHEME_NUMBERS_NOT_LOOKED_AT", error), stop, seconds)


def _entry(row: Any) -> SchemeEntry:
    last = row["last_day"]
    return SchemeEntry(
        row["scheme"], row["number"], row["holder"], row["first_day"], OPEN_END if last is None else last
    )
