"""Reassessments: which aggregates wait for them, the consignments that have shares, and the answers of later generations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Ints, Table
from libs.store.database import Transaction
from libs.store.tables.schema import TODAY
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.inputs import pack_aggregates
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM
from services.revenue.store.assessments.aggregates import HolderState

DUE_MAX: Final = 64
"""Sums that one question gives at most."""
HOLDERS_MAX: Final = 500
"""Consignments of a sum that are looked at together."""
_DUE: Final = f"""
select due.key, kept.changes from reassessment_due due left join share_sum kept on kept.key = due.key
where not due.key = any($1::bytea[]) order by due.noted_at, due.key limit {DUE_MAX}
"""  # noqa: S608  # a number of our own
# Of each consignment of the sum all sums that bundle it, as they stand now, so that its answer holds for all of them.
_HOLDERS: Final = """
with page as (
    select own.mrn, held.version, held.keys from share own
    cross join lateral (select * from share_holder k where k.mrn = own.mrn and k.state <> $4 offset 0) held
    where own.key = $1 and own.mrn > $2 order by own.mrn limit $3
)
select page.mrn, page.version, kept.limit_id, kept.total - mine.amount as others
from page cross join unnest(page.keys) as told(key)
cross join lateral (select * from share_sum k where k.key = told.key and k.bundled offset 0) kept
cross join lateral (select * from share k where k.key = told.key and k.mrn = page.mrn offset 0) mine
order by page.mrn
"""
_LOCK: Final = """
select mrn, version, state from share_holder where mrn = any($1::text[]) order by mrn for update
"""
_ADD: Final = f"""
insert into reassessed (mrn, version, generation, day, reason, sums, payload)
select given.mrn, given.version, given.generation, {TODAY}, given.reason, given.sums, given.payload
from unnest($1::text[], $2::integer[], $3::integer[], $4::text[], $5::bytea[], $6::bytea[])
    as given(mrn, version, generation, reason, sums, payload)
on conflict do nothing
"""  # noqa: S608  # an expression of our own
_GENERATIONS: Final = """
select given.mrn, max(kept.generation) as generation
from unnest($1::text[], $2::integer[]) as given(mrn, version)
cross join lateral (select * from reassessed k where k.mrn = given.mrn and k.version = given.version offset 0) kept group by given.mrn
"""
_COMPLETE: Final = """
with same as (select key from share_sum where key = $1 and changes = $2 for update)
delete from reassessment_due due where due.key = $1 and ($2::bigint is null or exists (select from same))
"""


@dataclass(frozen=True, slots=True)
class DueAggregate:
    """An aggregate whose consignments may owe something else."""

    key: bytes
    changes: int | None
    """How often it had changed when it was read; None where the sum itself is kept no more."""


@dataclass(frozen=True, slots=True)
class Shareholder:
    """A consignment that has a share of an aggregate, and what others make together with it by now, by limit."""

    mrn: str
    version: int
    amounts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Reassessed:
    """A consignment that owes something else."""

    mrn: str
    version: int
    reason: str
    aggregates: Aggregates
    """Of one row."""
    answer: Table
    """Of one row, without its generation."""


async def due(reader: Transaction, except_keys: Collection[bytes] = ()) -> list[DueAggregate]:
    """Return the aggregates that wait longest, but for some."""
    return [DueAggregate(row["key"], row["changes"]) for row in await reader.raw.fetch(_DUE, list(except_keys))]


async def count_due(reader: Transaction) -> int:
    """Return how many aggregates wait."""
    return int(await reader.raw.fetchval("select count(*) from reassessment_due"))


async def shareholders(reader: Transaction, key: bytes, after: str) -> list[Shareholder]:
    """Return the next consignments of an aggregate behind an MRN, HOLDERS_MAX at most."""
    found: dict[str, Shareholder] = {}
    for row in await reader.raw.fetch(_HOLDERS, key, after, HOLDERS_MAX, HolderState.GIVEN_BACK):
        each = found.setdefault(row["mrn"], Shareholder(row["mrn"], row["version"], {}))
        each.amounts[row["limit_id"]] = min(max(int(row["others"]), 0), LARGEST_SUM)
    return list(found.values())


async def lock_versions(tx: Transaction, mrns: Sequence[str]) -> dict[str, int]:
    """Return the versions of consignments that have shares still, and lock them."""
    rows = await tx.raw.fetch(_LOCK, list(mrns))
    return {row["mrn"]: row["version"] for row in rows if row["state"] != HolderState.GIVEN_BACK}


async def add(tx: Transaction, changes: Sequence[Reassessed]) -> Table:
    """Store new generations of answers; return the answers (AssessmentColumns) with the numbers of their generations."""
    mrns, versions = [each.mrn for each in changes], [each.version for each in changes]
    before = {row["mrn"]: row["generation"] for row in await tx.raw.fetch(_GENERATIONS, mrns, versions)}
    generations = [before.get(mrn, 0) + 1 for mrn in mrns]
    answers = Table.concat([each.answer for each in changes]).with_columns({"generation": Ints.of(generations)})
    payloads = [answers.take(np.array([row])).serialize(AssessmentColumns) for row in range(len(changes))]
    reasons = [each.reason for each in changes]
    sums = [pack_aggregates(each.aggregates) for each in changes]
    await tx.raw.execute(_ADD, mrns, versions, generations, reasons, sums, payloads)
    return answers


async def complete(tx: Transaction, aggregate: DueAggregate) -> bool:
    """Store that an aggregate waits no more; False where it has changed since it was read, so that it goes on waiting."""
    done: str = await tx.raw.execute(_COMPLETE, aggregate.key, aggregate.changes)
    return done != "DELETE 0"
