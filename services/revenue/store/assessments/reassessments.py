"""Assessments after a change of a sum: which sums wait, whose shares they are, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Ints, Table
from libs.store.database import Database, Transaction
from libs.store.leases import hold_lease, release_lease, try_lease
from libs.store.schema import TODAY
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.assessment.aggregates import Others
from services.revenue.assessment.inputs import pack_others
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM
from services.revenue.store.assessments.aggregates import HolderState
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.debt_events import NewsStore, reassessed_news

LEASE: Final = "reassessment"
LEASE_SECONDS: Final = 30.0
DUE_MAX: Final = 64
"""Sums that one question gives at most."""
HOLDERS_MAX: Final = 500
"""Consignments of a sum that are looked at together."""
WRITE_MAX: Final = 100
"""Consignments announced in one transaction, which must not hold the feeds' horizon for long."""

_DUE: Final = f"""
select due.key, kept.changes from reassessment_due due left join share_sum kept on kept.key = due.key
where not due.key = any($1::bytea[]) order by due.noted_at, due.key limit {DUE_MAX}
"""  # noqa: S608  # a number of our own
# Of each consignment of the sum all sums that bundle it, as they stand now, so that its answer holds for all of them.
_HOLDERS: Final = """
with page as (
    select own.mrn, held.version, held.keys from share own
    join share_holder held on held.mrn = own.mrn and held.state <> $4
    where own.key = $1 and own.mrn > $2 order by own.mrn limit $3
)
select page.mrn, page.version, kept.limit_id, kept.total - mine.amount as others
from page cross join unnest(page.keys) as told(key)
join share_sum kept on kept.key = told.key and kept.bundled
join share mine on mine.key = told.key and mine.mrn = page.mrn
order by page.mrn
"""
_LOCK: Final = """
select mrn, version, state from share_holder where mrn = any($1::text[]) order by mrn for update
"""
_KEEP: Final = f"""
insert into reassessed (mrn, version, generation, day, reason, sums, payload)
select given.mrn, given.version, given.generation, {TODAY}, given.reason, given.sums, given.payload
from unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::bytea[], $6::bytea[])
    as given(mrn, version, generation, reason, sums, payload)
on conflict do nothing
"""  # noqa: S608  # an expression of our own
_GENERATIONS: Final = """
select given.mrn, max(kept.generation) as generation
from unnest($1::text[], $2::integer[]) as given(mrn, version)
join reassessed kept on kept.mrn = given.mrn and kept.version = given.version group by given.mrn
"""
_SETTLED: Final = """
with same as (select key from share_sum where key = $1 and changes = $2 for update)
delete from reassessment_due due where due.key = $1 and ($2::bigint is null or exists (select from same))
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A sum whose consignments may owe something else."""

    key: bytes
    changes: int | None
    """How often it had changed when it was read; None where the sum itself is kept no more."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the others make together with one consignment by now, by limit."""

    mrn: str
    version: int
    others: dict[str, int]


@dataclass(frozen=True, slots=True)
class Anew:
    """A consignment that owes something else."""

    mrn: str
    version: int
    reason: str
    others: Others
    """Of one row."""
    answer: Table
    """Of one row, without its generation."""


class ReassessedStore:
    """The part of revenue's database that assessing again works on."""

    def __init__(self, database: Database, news: NewsStore) -> None:
        """Work on a database and announce by its outbox."""
        self._database = database
        self._news = news
        self.inputs = Inputs(database)

    async def due(self, but: Collection[bytes] = ()) -> list[Due]:
        """The sums that wait longest, but for some."""
        async with self._database.connection() as reader:
            return [Due(row["key"], row["changes"]) for row in await reader.raw.fetch(_DUE, list(but))]

    async def left(self) -> int:
        """How many sums wait."""
        async with self._database.connection() as reader:
            return int(await reader.raw.fetchval("select count(*) from reassessment_due"))

    async def told(self, key: bytes, after: str) -> list[Told]:
        """The next consignments of a sum behind an MRN."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_HOLDERS, key, after, HOLDERS_MAX, HolderState.GIVEN_BACK)
        found: dict[str, Told] = {}
        for row in rows:
            told = found.setdefault(row["mrn"], Told(row["mrn"], row["version"], {}))
            told.others[row["limit_id"]] = min(max(int(row["others"]), 0), LARGEST_SUM)
        return list(found.values())

    async def lease(self, replica: str) -> int | None:
        """Take or renew the lease; None while another replica holds it."""
        async with self._database.transaction() as tx:
            return await try_lease(tx, LEASE, replica, LEASE_SECONDS)

    async def release(self, token: int) -> None:
        """Give the lease back."""
        async with self._database.transaction() as tx:
            await release_lease(tx, LEASE, token)

    async def write(self, token: int, anew: Sequence[Anew]) -> int:
        """Keep and announce new generations, WRITE_MAX at most, all or nothing; gives how many.

        What was amended or given back meanwhile is left out. Raises LeaseLost.
        """
        assert len(anew) <= WRITE_MAX
        async with self._database.transaction() as tx:
            await hold_lease(tx, LEASE, token)
            rows = await tx.raw.fetch(_LOCK, [each.mrn for each in anew])
            held = {row["mrn"]: row["version"] for row in rows if row["state"] != HolderState.GIVEN_BACK}
            anew = [each for each in anew if held.get(each.mrn) == each.version]
            if anew:
                await self._keep(tx, anew)
        return len(anew)

    async def _keep(self, tx: Transaction, anew: Sequence[Anew]) -> None:
        mrns, versions = [each.mrn for each in anew], [each.version for each in anew]
        before = {row["mrn"]: row["generation"] for row in await tx.raw.fetch(_GENERATIONS, mrns, versions)}
        generations = [before.get(mrn, 0) + 1 for mrn in mrns]
        answers = Table.concat([each.answer for each in anew]).with_columns({"generation": Ints.of(generations)})
        payloads = [
            answers.take(np.array([row])).encode(AssessmentColumns).SerializeToString() for row in range(len(anew))
        ]
        reasons = [each.reason for each in anew]
        sums = [pack_others(each.others) for each in anew]
        await tx.raw.execute(_KEEP, mrns, versions, generations, reasons, sums, payloads)
        await self._news.announce(tx, reassessed_news(mrns, versions, reasons, answers))

    async def settled(self, token: int, due: Due) -> bool:
        """Note that a sum is done; False where it has changed since it was read, so that it goes on waiting. Raises LeaseLost."""
        async with self._database.transaction() as tx:
            await hold_lease(tx, LEASE, token)
            done: str = await tx.raw.execute(_SETTLED, due.key, due.changes)
        return done != "DELETE 0"
