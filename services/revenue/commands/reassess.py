"""Reassess consignments when a later consignment of the same aggregate changed what they owe, and announce it.

One replica at a time works. A new generation of an answer and its debt event are one transaction, and only an answer that differs
from the last one is new: so nothing is announced twice, whatever fails in between, and an aggregate that changes meanwhile is looked
at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from libs.columns import Ragged, Table, row_digests
from libs.columns.stored import InputError
from libs.columns.wire import MalformedColumns
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, require_lease, try_lease
from libs.telemetry import counter, get_logger
from services.revenue.assessment.batch import ActiveLaw, ReassessedBatch
from services.revenue.store.assessments import reassessments
from services.revenue.store.assessments.inputs import Inputs, StoredFilings
from services.revenue.store.assessments.reassessments import DueAggregate, Reassessed, Shareholder
from services.revenue.store.debt_events import DebtEvents, reassessment_columns

LEASE: Final = "reassessment"
LEASE_SECONDS: Final = 30.0
WRITE_MAX: Final = 100
"""Consignments announced in one transaction, which must not hold the feeds' horizon for long."""

BUNDLED: Final = "BUNDLED"
"""Why a consignment is assessed again: others are bundled with it, or are so no more."""
_OWED: Final = (
    "reason", "currency", "intrinsic_value", "customs_value", "duty", "tax", "fee", "collected_by_customs",
    "collected_by_vendor", "collected_by_carrier", "collected_by_postal_operator",
)  # fmt: skip
_CHARGED: Final = (
    "item_number", "charge", "basis", "rate_ppm", "specific_minor", "amount", "collector", "debtor", "scheme",
)  # fmt: skip

_reassessed = counter(
    "luxor_revenue_reassessed_total",
    "Consignments of a changed aggregate that were assessed again, by result: new, the same, or missing (their inputs are no longer stored)",
    ("outcome",),
)
for _each in ("new", "same", "missing"):
    _reassessed.labels(_each)
_log = get_logger()


class Reassessment:
    """Reassesses the consignments of aggregates that changed; of all replicas one at a time."""

    def __init__(
        self, database: Database, debt_events: DebtEvents, replica: str, active: Callable[[], ActiveLaw]
    ) -> None:
        """Work on a database, announce by its outbox, and assess by what is active."""
        self._database = database
        self._debt_events = debt_events
        self._inputs = Inputs(database)
        self._replica = replica
        self._active = active
        self._token: int | None = None
        self._unreadable: set[bytes] = set()

    async def step(self) -> bool:
        """Reassess for the aggregates that wait; whether there may be more of them. Raises what the store raises."""
        # What cannot be read is left out of the question, or it would stand in front of all others for ever.
        async with self._database.connection() as reader:
            due = await reassessments.due(reader, self._unreadable)
        if not due:
            await self.end()
            return False
        done = 0
        for each in due:
            if not await self._lease():
                return False
            try:
                done += await self._aggregate(each)
            except (InputError, MalformedColumns) as error:
                # What cannot be read is left and logged; other aggregates go on.
                self._unreadable.add(each.key)
                _log.error("REASSESSMENT_UNREADABLE", error, key=each.key.hex())
        # Aggregates that go on changing are looked at again after a pause, not at once and all the time.
        return done > 0

    async def _lease(self) -> bool:
        """Acquire or renew the lease; return False while another replica has it."""
        async with self._database.transaction() as tx:
            self._token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        return self._token is not None

    async def _aggregate(self, due: DueAggregate) -> bool:
        """Reassess an aggregate's consignments; whether it is done. The lease is renewed for each part of them."""
        after = ""
        while part := await self._shareholders(due.key, after):
            if not await self._lease():
                return False
            assert self._token is not None
            changes = await self._changes(part)
            for start in range(0, len(changes), WRITE_MAX):
                _reassessed.labels("new").inc(await self._write(self._token, changes[start : start + WRITE_MAX]))
            after = part[-1].mrn
        return self._token is not None and await self.complete(self._token, due)

    async def _shareholders(self, key: bytes, after: str) -> list[Shareholder]:
        async with self._database.connection() as reader:
            return await reassessments.shareholders(reader, key, after)

    async def _changes(self, part: Sequence[Shareholder]) -> list[Reassessed]:
        """Assess consignments with what others make by now; return those that owe something else."""
        mrns, versions = [each.mrn for each in part], [each.version for each in part]
        stored = await self._inputs.find(mrns, versions, answers=True)
        changes: list[Reassessed] = []
        for each in stored:
            changes += await asyncio.to_thread(compared, each, part, self._active())
        assessed = sum(len(each.places) for each in stored if each.answers is not None)
        _reassessed.labels("same").inc(assessed - len(changes))
        missing = len(part) - assessed
        _reassessed.labels("missing").inc(missing)
        if missing:
            _log.warning("REASSESSMENT_MISSING", consignments=missing, first=part[0].mrn, last=part[-1].mrn)
        return changes

    async def _write(self, token: int, changes: Sequence[Reassessed]) -> int:
        """Store and announce new generations, WRITE_MAX at most, all or nothing; return how many.

        What was amended or given back meanwhile is left out. Raises LeaseLost.
        """
        assert len(changes) <= WRITE_MAX
        async with self._database.transaction() as tx:
            await require_lease(tx, LEASE, token)
            current = await reassessments.lock_versions(tx, [each.mrn for each in changes])
            changes = [each for each in changes if current.get(each.mrn) == each.version]
            if changes:
                answers = await reassessments.add(tx, changes)
                mrns, versions = [each.mrn for each in changes], [each.version for each in changes]
                reasons = [each.reason for each in changes]
                await self._debt_events.announce(tx, reassessment_columns(mrns, versions, reasons, answers))
        return len(changes)

    async def complete(self, token: int, due: DueAggregate) -> bool:
        """Store that an aggregate is done; False where it has changed since it was read. Raises LeaseLost."""
        async with self._database.transaction() as tx:
            await require_lease(tx, LEASE, token)
            return await reassessments.complete(tx, due)

    async def end(self) -> None:
        """Release the lease when no aggregate waits or the service stops."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            _log.warning("REASSESSMENT_POSTPONED", why=str(error))

    def lease_lost(self) -> None:
        """Continue without the lease, because another replica has it."""
        self._token = None


def compared(part: StoredFilings, shareholders: Sequence[Shareholder], active: ActiveLaw) -> list[Reassessed]:
    """Assess filings with what others make by now; return those whose answer is not the last one."""
    if part.answers is None:
        return []
    given = part.input
    now = {}
    for row, number in enumerate(part.places):
        own = given.aggregates.take(np.array([row]))
        for limit, amount in shareholders[number].amounts.items():
            own = own.with_amount(limit, amount)
        now[row] = own
    others = given.aggregates.with_rows(now)
    answers = ReassessedBatch(active, given.table, given.register, others).answer()
    before, after = row_digests(owed(part.answers)), row_digests(owed(answers))
    return [
        Reassessed(
            shareholders[number].mrn, shareholders[number].version, BUNDLED, now[row], answers.take(np.array([row]))
        )
        for row, number in enumerate(part.places)
        if before[row] != after[row]
    ]


def owed(answers: Table) -> Table:
    """Return the amounts of answers, without their explanation: notes, accounts, versions of rulebooks, generations."""
    charges = answers.ragged("charges")
    child = answers.child("charges")
    kept = Table(child.schema, child.rows, {name: child.column(name) for name in _CHARGED})
    columns = {name: answers.column(name) for name in _OWED}
    return Table(answers.schema, answers.rows, {**columns, "charges": Ragged(charges.offsets, kept)})
