"""Adjustments: an officer's corrections, which revenue assesses and clearance then makes active.

This command calls a neighbour, never inside a transaction. An adjustment is stored first, then assessed, then made active unless
the state changed meanwhile. After a crash, stored adjustments are completed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc
import numpy as np

from libs.columns import Table, row_digests
from libs.columns.wire import MalformedColumns
from libs.server.errors import Refusal, reason_of
from libs.store.database import Transaction
from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop
from libs.telemetry import counter, get_logger, span
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.clearance.commands.act import UNKNOWN, VERSION_CHANGED, Acted, Commands, ExpectedVersions, Request
from services.clearance.consignment.adjustment import (
    Correction,
    adjusting,
    corrected,
    correction,
    reassessment_request,
    unfit,
)
from services.clearance.store import PendingAdjustment, Row, Store

ITEMS_A_CALL: Final = 10_000
"""Approximate number of items in one call of AssessConsignments; a consignment is never divided."""
UNFINISHED_SECONDS: Final = 30
"""Age from which on a stored adjustment that is not active is completed, because its call must have died."""
INTERVAL_SECONDS: Final = 5.0
UNFINISHED_MAX: Final = 500

Assessed = tuple[Table, Table]
"""Corrected states, and what revenue assessed of each."""
PENDING: Final = "ADJUSTMENT_PENDING"
UNASSESSED: Final = "ADJUSTMENT_UNASSESSED"

_done = counter(
    "luxor_clearance_adjustments_total",
    "Adjustments by officers, by result: adjusted, moved (another change came first), unassessed (revenue cannot compute it)",
    ("outcome",),
)


class Adjusting:
    """Carries adjustments out."""

    def __init__(self, store: Store, revenue: grpc.aio.Channel, *, assess_seconds: float = 10.0) -> None:
        """Adjust consignments of a store by the revenue service behind a channel; one of its calls may take `assess_seconds`."""
        self._store = store
        self._commands = Commands(store)
        self._revenue: Any = RevenueServiceStub(revenue)
        self._assess_seconds = assess_seconds

    async def adjust(
        self,
        consignments: ExpectedVersions,
        adjustments: Mapping[str, pb.Adjustment],
        *,
        officer: str,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
    ) -> bytes:
        """Adjust consignments once for each request; return the result of `encode`, also when the request is repeated. Raises
        RequestReused.
        """
        corrections = {mrn: correction(each) for mrn, each in adjustments.items()}
        async with self._store.database.transaction() as tx:
            is_begun = await self._store.requests.is_begun(tx, request.caller, request.request_id)
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            results = await self._completed(tx, [mrn for mrn, _ in consignments], corrections) if is_begun else {}
            found = await self._commands.fit(
                tx,
                [each for each in consignments if each[0] not in results],
                lambda states: unfit(states, corrections),
                None,
                claimant=officer,
                # Another amount may free what only the debt holds.
                guarded=lambda states: states.bools("debt_hold").values,
            )
            payloads = {mrn: _payload(adjustments[mrn]) for mrn, _ in consignments}
            at = await self._store.now(tx)
            own = await self._store.adjustments.begin(tx, found.rows, payloads, officer, at) if found.rows else set()
        results |= found.results | {
            row.mrn: Acted(row.mrn, row.state, row.version, PENDING) for row in found.rows if row.mrn not in own
        }
        rows = [row for row in found.rows if row.mrn in own]
        chosen, assessed = found.states, None
        if rows:
            chosen = chosen.take(np.flatnonzero([row.mrn in own for row in found.rows]))
            assessed = await self._assess(chosen, corrections)
        # The answer is stored with the effect: a repeated request finds both or neither.
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            if assessed is not None:
                results |= await self._apply(tx, rows, chosen, assessed, [officer] * len(rows), request.trace)
            answer = encode([results.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in consignments])
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _completed(
        self, tx: Transaction, mrns: Sequence[str], corrections: Mapping[str, Correction]
    ) -> dict[str, Acted]:
        """Return the results of consignments that a request corrected whose call ended early: its adjustment was completed by `finish`."""
        locked = list((await self._store.lock(tx, mrns)).values())
        waiting = await self._store.adjustments.waiting(tx, locked)
        rows = [row for row in locked if row.mrn not in waiting]
        if not rows:
            return {}
        states = await self._store.states(tx, rows)
        are = zip(row_digests(states), row_digests(corrected(states, corrections)), strict=True)
        return {
            row.mrn: Acted(row.mrn, row.state, row.version, "")
            for row, (now, then) in zip(rows, are, strict=True)
            if now == then
        }

    async def _apply(
        self,
        tx: Transaction,
        rows: Sequence[Row],
        states: Table,
        assessed: Assessed,
        officers: Sequence[str],
        trace: str,
        generations: Sequence[int] | None = None,
    ) -> dict[str, Acted]:
        """Apply assessments of corrected states to the states that did not change meanwhile.

        `generations` are the numbers of the assessments that revenue announced, 0 for none: the answers contain their changes. An
        officer is "" if an assessment is only repeated.
        """
        current = np.array(generations or [0] * len(rows), np.int64)
        goods, answers = assessed
        known = ~answers.strings("reason").present
        locked = await self._store.lock(tx, [row.mrn for row in rows])
        stands = np.array([locked.get(row.mrn) == row for row in rows], np.bool_)
        # A state that changed meanwhile and needs another assessment is completed later, in its new form.
        ended = np.flatnonzero(stands | (current == 0)).tolist()
        await self._store.adjustments.end(
            tx, [rows[place] for place in ended], generations=[int(current[place]) for place in ended]
        )
        results = {
            row.mrn: Acted(row.mrn, now.state, now.version, UNASSESSED if stood else VERSION_CHANGED)
            for row, now, stood in zip(rows, (locked[row.mrn] for row in rows), stands.tolist(), strict=True)
        }
        places = np.flatnonzero(stands & known)
        if len(places):
            at = await self._store.now(tx)
            by = [officers[place] for place in places.tolist()]
            before, after = states.take(places), goods.take(places)
            table, details = adjusting(before, after, answers.take(places), by, current[places], at)
            chosen = [rows[place] for place in places.tolist()]
            results |= await self._commands.put(tx, table, details, chosen, trace)
        tx.after_commit(lambda: _count(len(places), int((~stands).sum()), int((stands & ~known).sum())))
        return results

    async def _assess(self, before: Table, corrections: Mapping[str, Correction]) -> Assessed:
        """Return corrected states and revenue's assessment of them; raise Refusal if it refuses the request as a whole."""
        states = corrected(before, corrections)
        parts = []
        offsets = states.ragged("items").offsets
        begin = 0
        while begin < states.rows:
            fit = int(np.searchsorted(offsets, offsets[begin] + ITEMS_A_CALL, side="right")) - 1
            end = max(begin + 1, fit)
            parts.append(await self._ask(states.take(np.arange(begin, end))))
            begin = end
        return states, Table.concat(parts)

    async def _ask(self, states: Table) -> Table:
        question, versions = reassessment_request(states)
        request = revenue_pb2.AssessConsignmentsRequest(
            purpose=revenue_pb2.PURPOSE_ADJUSTMENT, consignments=question.encode(ConsignmentColumns)
        )
        request.filing_versions.values.extend(versions.values.tolist())
        try:
            answer = await self._revenue.AssessConsignments(request, timeout=self._assess_seconds)
        except grpc.RpcError as error:
            code = getattr(error, "code", lambda: None)()
            if code in (
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.FAILED_PRECONDITION,
                grpc.StatusCode.NOT_FOUND,
            ):
                await self._give_up(states)
                raise Refusal("ADJUSTMENT_REFUSED", why=reason_of(error) or code.name) from error
            raise
        table = Table.decode(answer.assessments)
        try:
            silent = ~table.ints("duty").valid & ~table.strings("reason").present
        except MalformedColumns as error:
            raise Refusal("ASSESSMENT_MISALIGNED", why=str(error)) from error
        if table.rows != states.rows or silent.any():
            raise Refusal("ASSESSMENT_MISALIGNED", why="revenue's answer to adjustments lacks rows or figures")
        return table

    async def _give_up(self, states: Table) -> None:
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, states.strings("mrn").tolist())
            await self._store.adjustments.end(tx, list(locked.values()))

    # ------------------------------------------------------------------------------------------ after a crash
    async def run(self, stop: asyncio.Event) -> None:
        """Complete stored adjustments, every interval until `stop`; a failed one is tried again."""
        while not stop.is_set():
            try:
                await self.finish(await self._store.database.now() - UNFINISHED_SECONDS * 1_000_000)
            except (StoreError, grpc.RpcError) as error:
                get_logger().warning("ADJUSTMENTS_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one adjustment that cannot be carried out must not end the service
                get_logger().error("ADJUSTMENTS_FAILED", error)
            await wait_for_stop(stop, INTERVAL_SECONDS)

    async def finish(self, before: int) -> int:
        """Complete adjustments that were stored before an instant; return how many. If two replicas do it at the same time, it
        takes effect once, because the state changes for one of them.
        """
        async with self._store.database.connection() as reading:
            pending = await self._store.adjustments.unfinished(reading, before, UNFINISHED_MAX)
            found = await self._store.find(reading, [each.mrn for each in pending])
            live = [
                each
                for each in pending
                if each.mrn in found and (each.generation or found[each.mrn].version == each.version)
            ]
            rows = [found[each.mrn] for each in live]
            states = await self._store.states(reading, rows)
        stale = [found[each.mrn] for each in pending if each not in live and each.mrn in found]
        if stale:
            async with self._store.database.transaction() as tx:
                await self._store.lock(tx, [row.mrn for row in stale])
                await self._store.adjustments.end(tx, stale)
        if live:
            corrections = {each.mrn: _correction(each, row) for each, row in zip(live, rows, strict=True)}
            # A repeated assessment without the correction is not an officer's decision.
            officers = [
                each.officer if row.version == each.version else "" for each, row in zip(live, rows, strict=True)
            ]
            with span("clearance.adjustments", attributes={"luxor.rows": len(live)}) as current:
                assessed = await self._assess(states, corrections)
                generations = [each.generation for each in live]
                async with self._store.database.transaction() as tx:
                    await self._apply(tx, rows, states, assessed, officers, current.traceparent, generations)
        return len(live)


def _correction(pending: PendingAdjustment, row: Row) -> Correction:
    """Return the pending correction; an empty one if the state has changed since, so that revenue only repeats its assessment."""
    moved = row.version != pending.version
    return Correction() if moved else correction(pb.Adjustment.FromString(pending.payload))


def _payload(adjustment: pb.Adjustment) -> bytes:
    """Return the adjustment without the expected version, as it is stored."""
    payload = pb.Adjustment()
    payload.CopyFrom(adjustment)
    payload.consignment.ClearField("expected_version")
    return payload.SerializeToString(deterministic=True)


def _count(adjusted: int, moved: int, unassessed: int) -> None:
    _done.labels("adjusted").inc(adjusted)
    _done.labels("moved").inc(moved)
    _done.labels("unassessed").inc(unassessed)
