"""Outcomes of inspections in the store, and where what was inspected stands among the stored batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from libs.columns import Table
from libs.store.database import Database, Transaction
from libs.store.tables.assessment_pages import references
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.elements.stored_inputs import unpack_input
from services.risk.inspections.outcomes import Outcome

Filing: TypeAlias = tuple[str, int]
"""A consignment's MRN and the version of its filing."""

OUTCOME_DAYS: Final = 400
"""Days for which an outcome is kept after its inspection: as long as the answer that it is about, and as far as a training may reach back."""

_COLUMNS: Final = "mrn, filing_version, state_version, inspected_at, method, result, items, epoch, inclusion_ppm"

_PUT: Final = f"""
insert into outcome as kept ({_COLUMNS}, day, assessed_day, assessed_batch, assessed_row)
select * from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::smallint[], $6::smallint[], $7::bytea[],
    $8::bigint[], $9::integer[], $10::integer[], $11::integer[], $12::bigint[], $13::integer[])
on conflict (mrn) do update set filing_version = excluded.filing_version, state_version = excluded.state_version,
    inspected_at = excluded.inspected_at, method = excluded.method, result = excluded.result, items = excluded.items, epoch = excluded.epoch,
    inclusion_ppm = excluded.inclusion_ppm, day = excluded.day, assessed_day = excluded.assessed_day, assessed_batch = excluded.assessed_batch,
    assessed_row = excluded.assessed_row
where case when kept.epoch in (0, excluded.epoch) then kept.state_version < excluded.state_version else kept.epoch < excluded.epoch end
"""  # noqa: S608  # names of our own


@dataclass(frozen=True, slots=True)
class AssessedPlace:
    """Where the answer for a filing stands: its batch and its row in the batch's answers."""

    day: int
    batch: int
    row: int


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """What an inspection found of a consignment, by where its answer stands."""

    day: int
    batch: int
    row: int
    """Row of the batch's answers."""
    result: int
    items: bytes


class OutcomeStore:
    """The table `outcome`."""

    def __init__(self, database: Database) -> None:
        """Use risk's own database."""
        self._database = database

    async def places(self, filings: Sequence[Filing]) -> dict[Filing, AssessedPlace]:
        """Where filings were assessed for clearance; those that never were, or long ago, are missing."""
        async with self._database.connection() as reader:
            stored = await references(reader, [mrn for mrn, _ in filings], PURPOSE_CLEARANCE)
        places = {(each.mrn, each.version): AssessedPlace(each.day, each.batch, each.row) for each in stored}
        return {filing: places[filing] for filing in filings if filing in places}

    async def filings(self, places: Mapping[Filing, AssessedPlace]) -> tuple[list[Filing], Table | None]:
        """The filings as they were assessed, a row each (ConsignmentColumns); those that are kept no more are left out.

        Raises InputError where a stored batch cannot be read.
        """
        by_batch: dict[tuple[int, int], list[Filing]] = {}
        for filing, place in places.items():
            by_batch.setdefault((place.day, place.batch), []).append(filing)
        found: list[Filing] = []
        tables: list[Table] = []
        for (day, batch), asked in by_batch.items():
            async with self._database.connection() as reader:
                row = await reader.raw.fetchrow(
                    "select columns, history from assessed_input where day = $1 and batch = $2", day, batch
                )
            if row is None:
                continue
            stored = unpack_input(row["columns"], row["history"])
            where = {answer: place for place, answer in enumerate(stored.rows.tolist())}
            kept = [filing for filing in asked if places[filing].row in where]
            if kept:
                found += kept
                tables.append(stored.table.take(np.array([where[places[filing].row] for filing in kept])))
        return found, Table.concat(tables) if tables else None

    async def stored(self, mrns: Sequence[str], tx: Transaction | None = None) -> dict[str, Outcome]:
        """The outcomes that are kept of consignments; in a transaction they are held until its end."""
        statement = f"select {_COLUMNS} from outcome where mrn = any($1::text[])"  # noqa: S608  # names of our own
        if tx is not None:
            rows = await tx.raw.fetch(f"{statement} order by mrn for update", list(mrns))
        else:
            async with self._database.connection() as reader:
                rows = await reader.raw.fetch(statement, list(mrns))
        return {row["mrn"]: Outcome(**dict(row)) for row in rows}

    async def put(self, tx: Transaction, outcomes: Sequence[Outcome], places: Mapping[Filing, AssessedPlace]) -> None:
        """Keep outcomes, each where its state is newer than what is kept."""
        # In the order of the key, so that two transactions wait for one another in one order.
        rows = sorted(outcomes, key=lambda each: each.mrn)
        at = [places.get((each.mrn, each.filing_version)) for each in rows]
        await tx.raw.execute(
            _PUT,
            [each.mrn for each in rows],
            [each.filing_version for each in rows],
            [each.state_version for each in rows],
            [each.inspected_at for each in rows],
            [each.method for each in rows],
            [each.result for each in rows],
            [each.items for each in rows],
            [each.epoch for each in rows],
            [each.inclusion_ppm for each in rows],
            [each.day for each in rows],
            [None if place is None else place.day for place in at],
            [None if place is None else place.batch for place in at],
            [None if place is None else place.row for place in at],
        )

    async def of_batches(self, first: tuple[int, int], last: tuple[int, int]) -> list[StoredOutcome]:
        """Outcomes of what stands in the stored batches from one (day, number) to another."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(
                "select assessed_day, assessed_batch, assessed_row, result, items from outcome where assessed_batch is not null "
                "and (assessed_day, assessed_batch) >= ($1, $2) and (assessed_day, assessed_batch) <= ($3, $4) "
                "order by assessed_day, assessed_batch, assessed_row",
                *first,
                *last,
            )
        return [StoredOutcome(*row) for row in rows]
