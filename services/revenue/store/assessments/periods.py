"""Which stored assessments of a period count: the newest version of each filing, and what was assessed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.stored import InputError, reading
from libs.store.database import TRANSACTION_MILLIS_MAX, Database, Transaction
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.inputs import unpack_aggregates
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM

ROWS_A_FETCH: Final = 10_000

_HORIZON: Final = """
select (select batch from assessed_input where day <= $1 order by day desc, batch desc limit 1) as batch,
    (extract(epoch from clock_timestamp()) * 1000000)::bigint as asked_at
"""
_AMENDED: Final = """
select mrn, max(version) as version from (
    select mrn, version from assessment
    where purpose = $1 and version > 1 and day between $2 and $3 and batch <= $4
    union all
    select entry.mrn, entry.version from assessment_page page cross join lateral unnest(page.mrn, page.version) as entry(mrn, version)
    where page.purpose = $1 and page.newest_version > 1 and page.day between $2 and $3 and page.batch <= $4 and entry.version > 1
) later group by mrn
"""
_REASSESSED: Final = """
select mrn, version, max(generation) as generation from reassessed
where day >= $1 and announced_at <= to_timestamp($2::double precision / 1000000) group by mrn, version
"""
_REASSESSED_OF: Final = """
select (given.place - 1)::integer as place, found.sums, found.payload
from unnest($1::text[], $2::integer[], $3::integer[]) with ordinality as given(mrn, version, generation, place)
cross join lateral (
    select * from reassessed k where k.mrn = given.mrn and k.version = given.version and k.generation = given.generation offset 0
) found
order by given.place
"""

_SHARE: Final = "select last_value from share_position"
_BUNDLES: Final = f"""
with held as materialized (
    select (given.place - 1)::integer as place, given.mrn, kept.key, kept.limit_id
    from unnest($1::text[], $2::integer[]) with ordinality as given(mrn, version, place)
    cross join lateral (select * from share_holder k where k.mrn = given.mrn and k.version = given.version offset 0) holder
    cross join unnest(holder.keys) as named(key) join share_sum kept on kept.key = named.key and kept.bundled
), made as (
    select key, sum(amount) as total from share
    where key in (select key from held) and position <= $3 group by key
)
select held.place, held.limit_id, least(made.total - own.amount, {LARGEST_SUM})::bigint as others
from held join made on made.key = held.key
cross join lateral (select * from share k where k.key = held.key and k.mrn = held.mrn and k.position <= $3 offset 0) own
order by held.place, held.limit_id
"""  # noqa: S608  # a number of our own


class Versions:
    """A number for each of some consignments: 30 bytes each, for there may be millions."""

    def __init__(self, mrns: Sequence[str], numbers: Sequence[int]) -> None:
        """Store a number for each MRN; each MRN occurs once."""
        # Python's hash of a text is as good as any within one process; what it finds is compared whole.
        hashes = _hashes(mrns)
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._mrns = np.array([mrn.encode() for mrn in mrns] or [b""], dtype=np.bytes_)[order if len(mrns) else [0]]
        self._numbers = np.array(numbers, np.int64)[order]

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, mrns: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the number of each of some MRNs; -1 if there is none."""
        result = np.full(len(mrns), -1, np.int64)
        if not len(self):
            return result
        wanted = _hashes(mrns)
        first = np.searchsorted(self._hashes, wanted, side="left")
        found = np.flatnonzero(self._hashes[np.minimum(first, len(self) - 1)] == wanted)
        for row in found.tolist():
            mrn, at = mrns[row].encode(), int(first[row])
            while at < len(self) and self._hashes[at] == wanted[row]:
                if self._mrns[at] == mrn:
                    result[row] = self._numbers[at]
                    break
                at += 1
        return result


@dataclass(frozen=True, slots=True)
class StoredReassessment:
    """What a filing owes by its newest assessment after another consignment changed its sums."""

    place: int
    """Which of those asked for."""
    aggregates: Aggregates
    """What others made then."""
    answer: Table
    """A table of AssessmentColumns with one row."""


class Periods:
    """What counts of a period."""

    def __init__(self, database: Database) -> None:
        """Read it of revenue's own database."""
        self._database = database

    async def horizon(self, to_day: int) -> tuple[int, int]:
        """Return the last batch written up to a day, and now: microseconds since 1970-01-01 UTC by the database's clock."""
        async with self._database.connection() as reader:
            row = await reader.raw.fetchrow(_HORIZON, to_day)
        return row["batch"] or 0, row["asked_at"]

    async def newest_share(self) -> int:
        """Return the position of the newest share of an aggregate."""
        async with self._database.connection() as reader:
            return int(await reader.raw.fetchval(_SHARE))

    async def bundles(
        self, mrns: Sequence[str], versions: Sequence[int], until_share: int
    ) -> list[tuple[int, str, int]]:
        """Return the amounts of the other members of each bundle up to a share's position: place of the consignment, limit, minor units.

        One that holds no share any more, or holds it in another version, is left out.
        """
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_BUNDLES, list(mrns), list(versions), until_share)
        return [(row["place"], row["limit_id"], row["others"]) for row in rows]

    async def amended(self, from_day: int, to_day: int, until_batch: int) -> Versions:
        """Return the newest version of each consignment that was assessed in the period in a version above the first."""
        mrns, versions = [], []
        async with self._database.connection(timeout_millis=TRANSACTION_MILLIS_MAX, snapshot=True) as tx:
            async for row in _rows(tx, _AMENDED, PURPOSE_CLEARANCE, from_day, to_day, until_batch):
                mrns.append(row["mrn"])
                versions.append(row["version"])
        return Versions(mrns, versions)

    async def reassessed(self, from_day: int, asked_at: int) -> Versions:
        """Return the newest generation of each version that was reassessed since a day and up to a moment.

        The key of a version is `key_of(mrn, version)`.
        """
        keys, generations = [], []
        async with self._database.connection(timeout_millis=TRANSACTION_MILLIS_MAX, snapshot=True) as tx:
            async for row in _rows(tx, _REASSESSED, from_day, asked_at):
                keys.append(key_of(row["mrn"], row["version"]))
                generations.append(row["generation"])
        return Versions(keys, generations)

    async def reassessments(
        self, mrns: Sequence[str], versions: Sequence[int], generations: Sequence[int]
    ) -> list[StoredReassessment]:
        """Return these reassessments in the order of the request; one that cannot be read is omitted."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_REASSESSED_OF, list(mrns), list(versions), list(generations))
        found = []
        for row in rows:
            try:
                found.append(_reassessment(row["place"], row["sums"], row["payload"]))
            except InputError:
                continue
        return found


def _reassessment(place: int, aggregates: bytes, payload: bytes) -> StoredReassessment:
    with reading("the newest assessment"):
        return StoredReassessment(place, unpack_aggregates(aggregates), Table.parse(AssessmentColumns, payload))


def key_of(mrn: str, version: int) -> str:
    """Return the key of a version of a filing as a text."""
    return f"{mrn}/{version}"


async def _rows(tx: Transaction, statement: str, *values: object) -> Any:
    async for row in tx.raw.cursor(statement, *values, prefetch=ROWS_A_FETCH):
        yield row


def _hashes(mrns: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, mrns), np.int64, len(mrns))
