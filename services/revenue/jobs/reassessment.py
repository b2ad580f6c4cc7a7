"""Assesses again what a later consignment of the same sum changed, and announces what is owed now.

One replica at a time works. What is new of a consignment and the news of it are one transaction, and only an answer that differs
from the last one is new: so nothing is told twice, whatever dies in between, and a sum that changes meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from libs.columns import Ragged, Table, digests
from libs.columns.stored import InputError
from libs.columns.wire import MalformedColumns
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.gauges import Look
from libs.store.leases import LeaseLost
from libs.telemetry import counter, gauge, get_logger
from services.revenue.assessment.batch import Again, InForce
from services.revenue.store.assessments.inputs import Found
from services.revenue.store.assessments.reassessments import WRITE_MAX, Anew, Due, ReassessedStore, Told

BUNDLED: Final = "BUNDLED"
"""Why a consignment is assessed again: others are bundled with it, or are so no more."""
_OWED: Final = (
    "reason", "currency", "intrinsic_value", "customs_value", "duty", "tax", "fee", "collected_by_customs",
    "collected_by_vendor", "collected_by_carrier", "collected_by_postal_operator",
)  # fmt: skip
_CHARGED: Final = (
    "item_number", "charge", "basis", "rate_ppm", "specific_minor", "amount", "collector", "debtor", "scheme",
)  # fmt: skip

_left = gauge(
    "luxor_revenue_reassessment_sums_left",
    "Sums over several consignments that changed, and whose earlier consignments wait to be assessed again",
)
_again = counter(
    "luxor_revenue_reassessed_total",
    "Consignments of a changed sum that were assessed again, by what came of it: new, the same, or missing (it is kept no more what they "
    "were assessed on)",
    ("outcome",),
)
for _each in ("new", "same", "missing"):
    _again.labels(_each)
_log = get_logger()


class Reassessment:
    """The work of one replica."""

    def __init__(
        self,
        store: ReassessedStore,
        replica: str,
        in_force: Callable[[], InForce],
        *,
        pause_seconds: float = 1.0,
    ) -> None:
        """Assess by what `in_force` tells."""
        self._store = store
        self._replica = replica
        self._in_force = in_force
        self._pause_seconds = pause_seconds
        self._token: int | None = None
        self._broken: set[bytes] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                more = True
                while more and not stop.is_set():
                    more = await self.step()
            except LeaseLost as error:
                self._token = None
                _log.info("REASSESSMENT_TAKEN", why=str(error))
            except StoreError as error:
                _log.warning("REASSESSMENT_POSTPONED", why=str(error))
            except Exception as error:  # unexpected: it must not end the service; the gauge tells what is left
                _log.error("REASSESSMENT_FAILED", error)
            try:
                async with asyncio.timeout(self._pause_seconds):
                    await stop.wait()
            except TimeoutError:
                continue
        await self._end()

    async def step(self) -> bool:
        """Look at the sums that wait; whether there may be more of them. Raises what the store raises."""
        # What cannot be read is left out of the question, or it would stand in front of all others for ever.
        due = await self._store.due(self._broken)
        if not due:
            await self._end()
            return False
        done = 0
        for each in due:
            if not await self._held():
                return False
            try:
                done += await self._sum(each)
            except (InputError, MalformedColumns) as error:
                # What cannot be read is left and told of; other sums go on.
                self._broken.add(each.key)
                _log.error("REASSESSMENT_UNREADABLE", error, key=each.key.hex())
        # Sums that go on changing are looked at again after a pause, not at once and all the time.
        return done > 0

    async def _held(self) -> bool:
        """Take or renew the lease; False while another replica has it."""
        self._token = await self._store.lease(self._replica)
        return self._token is not None

    async def _sum(self, due: Due) -> bool:
        """Assess a sum's consignments again; whether it is done. The lease is renewed for each part of them."""
        after = ""
        while told := await self._store.told(due.key, after):
            if not await self._held():
                return False
            assert self._token is not None
            anew = await self._anew(told)
            for start in range(0, len(anew), WRITE_MAX):
                _again.labels("new").inc(await self._store.write(self._token, anew[start : start + WRITE_MAX]))
            after = told[-1].mrn
        return self._token is not None and await self._store.settled(self._token, due)

    async def _anew(self, told: Sequence[Told]) -> list[Anew]:
        """Assess consignments with what others make by now; gives those that owe something else."""
        mrns, versions = [each.mrn for each in told], [each.version for each in told]
        found = await self._store.inputs.find(mrns, versions, answers=True)
        anew: list[Anew] = []
        for part in found:
            anew += await asyncio.to_thread(compared, part, told, self._in_force())
        seen = sum(len(part.asked) for part in found if part.answers is not None)
        _again.labels("same").inc(seen - len(anew))
        missing = len(told) - seen
        _again.labels("missing").inc(missing)
        if missing:
            _log.warning("REASSESSMENT_MISSING", consignments=missing, first=told[0].mrn, last=told[-1].mrn)
        return anew

    async def _end(self) -> None:
        """Give the lease back, once there is nothing left or the service stops."""
        token, self._token = self._token, None
        if token is None:
            return
        try:
            await self._store.release(token)
        except StoreError as error:
            _log.warning("REASSESSMENT_POSTPONED", why=str(error))


def compared(part: Found, told: Sequence[Told], in_force: InForce) -> list[Anew]:
    """Assess filings with what others make by now; gives those whose answer is not the last one."""
    if part.answers is None:
        return []
    given = part.input
    now = {}
    for row, number in enumerate(part.asked):
        own = given.others.take(np.array([row]))
        for limit, amount in told[number].others.items():
            own = own.with_other(limit, amount)
        now[row] = own
    others = given.others.with_rows(now)
    answers = Again(in_force, given.table, given.register, others).answer()
    before, after = digests(owed(part.answers)), digests(owed(answers))
    return [
        Anew(told[number].mrn, told[number].version, BUNDLED, now[row], answers.take(np.array([row])))
        for row, number in enumerate(part.asked)
        if before[row] != after[row]
    ]


def owed(answers: Table) -> Table:
    """What is owed of answers, without what only explains it: notes, accounts, versions of rulebooks, generations."""
    charges = answers.ragged("charges")
    child = answers.child("charges")
    kept = Table(child.schema, child.rows, {name: child.column(name) for name in _CHARGED})
    columns = {name: answers.column(name) for name in _OWED}
    return Table(answers.schema, answers.rows, {**columns, "charges": Ragged(charges.offsets, kept)})


def sums_left(store: ReassessedStore) -> Look:
    """A look at how many sums wait."""

    async def look(_: Database) -> None:
        _left.set(await store.left())

    return look
