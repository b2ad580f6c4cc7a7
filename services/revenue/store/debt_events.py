"""Revenue's own feed: what became of debts and what consignments owe anew, announced in the transaction that makes it true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table
from libs.feed.epochs import CURRENT_EPOCH
from libs.feed.publish.outbox import Outbox
from libs.store.database import Database, Transaction
from libs.store.tables.schema import TODAY
from libs.telemetry import counter
from luxor.revenue.v1.revenue_columns_pb2 import (
    DEBT_EVENT_OPENED,
    DEBT_EVENT_REASSESSED,
    DEBT_EVENT_REFUNDED,
    DEBT_EVENT_SETTLED,
    DebtEvent,
    RevenueColumns,
)
from services.revenue.ledger.account import partition_of_mrn

SCHEMA: Final = RevenueColumns.DESCRIPTOR.full_name
EVENTS_MAX: Final = 10_000
"""Consignments told of in one transaction."""
SLOTS: Final = ("debt", "refund", "reassessment")
"""Of each consignment the last debt event of each of these is stored for readers who begin later."""
_SLOT_OF: Final = {
    DEBT_EVENT_SETTLED: "debt",
    DEBT_EVENT_OPENED: "debt",
    DEBT_EVENT_REFUNDED: "refund",
    DEBT_EVENT_REASSESSED: "reassessment",
}

_published = counter("luxor_revenue_debt_events_total", "Debt events that revenue published, by kind", ("kind",))
for _each in (DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED, DEBT_EVENT_REFUNDED, DEBT_EVENT_REASSESSED):
    _published.labels(DebtEvent.Name(_each).removeprefix("DEBT_EVENT_").lower())

# Behind the start of the epoch, so that a restored store numbers nothing as it had before it was set back: readers go by the highest number.
# In the order of MRNs, so that two transactions that tell of the same consignments wait in one order.
_NUMBER: Final = f"""
insert into news as kept (mrn, partition, number, day)
select given.mrn, given.partition, $4::bigint + given.count, {TODAY}
from unnest($1::text[], $2::smallint[], $3::bigint[]) as given(mrn, partition, count) order by given.mrn collate "C"
on conflict (mrn) do update set number = greatest(kept.number, $4) + excluded.number - $4, day = excluded.day
returning mrn, number
"""  # noqa: S608  # an expression of our own
_STORE: Final = """
update news kept set debt = coalesce(given.debt, kept.debt), refund = coalesce(given.refund, kept.refund),
    reassessment = coalesce(given.reassessment, kept.reassessment)
from unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) as given(mrn, debt, refund, reassessment)
where kept.mrn = given.mrn
"""
# Partition by partition, each in the order of its MRNs: the token is the last one looked at.
_SCAN: Final = """
select mrn, partition, debt, refund, reassessment from news
where (partition, mrn) > ($1::smallint, $2::text) and partition = any($3::smallint[])
order by partition, mrn limit $4
"""


@dataclass(frozen=True, slots=True)
class DebtChange:
    """How a debt at the border stands now."""

    mrn: str
    filing_version: int
    events: int
    """DEBT_EVENT_SETTLED, DEBT_EVENT_OPENED or DEBT_EVENT_REFUNDED."""
    debt_status: int
    """luxor.clearance.v1.DebtStatus: paid, secured or open."""
    paid_minor: int
    refunded_minor: int
    currency: str
    account: str = ""
    reason: str = ""


def debt_event_columns(changes: Sequence[DebtChange]) -> Table:
    """Return changes of debts as a table of RevenueColumns, for `announce`."""
    rows = len(changes)
    return Table.of(
        RevenueColumns,
        rows,
        {
            "mrn": Strings.of([each.mrn for each in changes]),
            "filing_version": Ints.of([each.filing_version for each in changes]),
            "event": Ints.of([each.events for each in changes]),
            "debt_status": Ints.of([each.debt_status for each in changes]),
            "account": Strings.of([each.account for each in changes]),
            "paid_minor": Ints.of([each.paid_minor for each in changes]),
            "refunded_minor": Ints.of([each.refunded_minor for each in changes]),
            "currency": Strings.of([each.currency for each in changes]),
            "reason": Strings.of([each.reason for each in changes]),
        },
    )


def reassessment_columns(
    mrns: Sequence[str], filing_versions: Sequence[int], reasons: Sequence[str], assessments: Table
) -> Table:
    """Return reassessments as a table of RevenueColumns, for `announce`: one row of `assessments` (AssessmentColumns) for each."""
    rows = len(mrns)
    return Table.of(
        RevenueColumns,
        rows,
        {
            "mrn": Strings.of(list(mrns)),
            "filing_version": Ints.of(list(filing_versions)),
            "event": Ints.constant(DEBT_EVENT_REASSESSED, rows),
            "reason": Strings.of(list(reasons)),
            "assessments": Ragged.of_lengths(np.ones(rows, np.int64), assessments),
        },
    )


class DebtEvents:
    """Announces news, and tells what was told."""

    def __init__(self, database: Database) -> None:
        """Announce by the outbox of a database."""
        self.outbox = Outbox(database, SCHEMA)

    async def announce(self, tx: Transaction, events: Table) -> None:
        """Announce debt events (RevenueColumns without number and time) in the caller's transaction.

        Several rows of one consignment are numbered in their order. Transactions that tell of the same consignment
        wait for one another here, so this comes last in a transaction. Raises ValueError for more than NEWS_MAX rows.
        """
        if not events.rows:
            return
        if events.rows > EVENTS_MAX:
            raise ValueError(f"{events.rows} debt events in one transaction; at most {EVENTS_MAX} are announced")
        mrns = events.strings("mrn").tolist()
        counts: dict[str, int] = {}
        places = []
        for mrn in mrns:
            counts[mrn] = counts.get(mrn, 0) + 1
            places.append(counts[mrn])
        distinct = list(counts)
        behind = await tx.raw.fetchval(CURRENT_EPOCH) - 1
        rows = await tx.raw.fetch(
            _NUMBER, distinct, [partition_of_mrn(mrn) for mrn in distinct], [counts[mrn] for mrn in distinct], behind
        )
        last = {row["mrn"]: row["number"] for row in rows}
        numbers = [last[mrn] - counts[mrn] + place for mrn, place in zip(mrns, places, strict=True)]
        numbered = events.with_columns(
            {"number": Ints.of(numbers), "announced_at": Ints.constant(await tx.now(), events.rows)}
        )
        partitions = np.array([partition_of_mrn(mrn) for mrn in mrns], np.int64)
        await self.outbox.append(tx, numbered, RevenueColumns, partitions)
        await self._store(tx, numbered)
        kinds = numbered.ints("event").values.tolist()
        tx.after_commit(lambda: _count(kinds))

    async def _store(self, tx: Transaction, numbered: Table) -> None:
        """Store the last event of each slot, for consumers that begin later."""
        kept: dict[str, dict[str, bytes]] = {}
        for row, (mrn, kind) in enumerate(
            zip(numbered.strings("mrn").tolist(), numbered.ints("event").values.tolist(), strict=True)
        ):
            payload = numbered.take(np.array([row])).serialize(RevenueColumns)
            kept.setdefault(mrn, {})[_SLOT_OF[kind]] = payload
        columns = [[slots.get(slot) for slots in kept.values()] for slot in SLOTS]
        await tx.raw.execute(_STORE, list(kept), *columns)


def _count(kinds: Sequence[int]) -> None:
    names: dict[int, str] = {number: name for name, number in DebtEvent.items()}
    for kind in kinds:
        _published.labels(names[kind].removeprefix("DEBT_EVENT_").lower()).inc()


async def scan(
    tx: Transaction, partitions: Sequence[int], after: tuple[int, str], rows_max: int
) -> list[tuple[int, str, list[Table]]]:
    """Return the next consignments of partitions behind a partition and MRN: partition, MRN and the last debt event of each slot, in
    the order of their numbers.
    """
    found = []
    for row in await tx.raw.fetch(_SCAN, *after, list(partitions), rows_max):
        events = [Table.parse(RevenueColumns, row[slot]) for slot in SLOTS if row[slot] is not None]
        events.sort(key=lambda each: int(each.ints("number").values[0]))
        found.append((row["partition"], row["mrn"], events))
    return found
