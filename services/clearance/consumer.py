"""Clearance's side of ingestion's feed: have each batch assessed by risk and revenue at once, decide, and put the decisions into force.

An edge like service.py: it calls neighbours, and holds no rule of the field.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np

from libs.columns import Table
from libs.columns.wire import MalformedColumns
from libs.customs.mrn import MrnError
from libs.feed.types import EventError, FeedBatch
from libs.server.errors import Refusal, reason_of
from libs.store.database import Transaction
from libs.telemetry import LATENCY_BUCKETS, counter, histogram
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1.risk_pb2_grpc import RiskServiceStub
from services.clearance.assessments import Misaligned, assessment_of, check, columns_of
from services.clearance.decision import decide, lane_names
from services.clearance.lifecycle import State
from services.clearance.office import Decided, Office
from services.clearance.states import accepted

ROWS_A_CALL: Final = 1_000
"""Consignments a call of Assess; both neighbours take twice as many."""
ROWS_JOINED: Final = 500
"""Small batches are joined until they have so many rows: a call and a stored batch cost about the same whatever is in them."""
CALLS_AT_ONCE: Final = 3
ASSESS_SECONDS: Final = 10.0

_decisions = counter("luxor_clearance_decisions_total", "Decisions by lane and what they led to", ("lane", "state"))
_events = counter("luxor_clearance_events_total", "Events of ingestion's feed that made no decision", ("outcome",))
_latency = histogram(
    "luxor_clearance_decision_seconds",
    "From acceptance to decision, both by their database's clock; one observation for what was accepted at once",
    (),
    LATENCY_BUCKETS,
)


@dataclass(frozen=True, slots=True)
class _Part:
    """Filings that are assessed by one pair of calls."""

    filings: Table
    trace: str


class Intake:
    """The handler of ingestion's feed."""

    def __init__(
        self,
        office: Office,
        risk: grpc.aio.Channel,
        revenue: grpc.aio.Channel,
        *,
        assess_seconds: float = ASSESS_SECONDS,
        calls_at_once: int = CALLS_AT_ONCE,
    ) -> None:
        """Decide in `office` on what the services behind the channels answer; each call may take `assess_seconds`."""
        self._office = office
        self._risk: Any = RiskServiceStub(risk)
        self._revenue: Any = RevenueServiceStub(revenue)
        self._assess_seconds = assess_seconds
        self._slots = asyncio.Semaphore(calls_at_once)

    async def prepare(self, batches: list[FeedBatch]) -> list[Decided]:
        """Assess and decide. Raises EventError where the events themselves are at fault, and what the transport raises while a neighbour is away."""
        parts = _parts(batches)
        for part in parts:
            try:
                await self._office.store.ensure_days(part.filings.strings("mrn").tolist())
            except (MrnError, MalformedColumns) as error:
                raise EventError("EVENT_MALFORMED", f"The filing's columns cannot be read: {error}") from error
        tasks = [asyncio.ensure_future(self._decide(part)) for part in parts]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Put the decisions into force."""
        decided: list[Decided] = prepared
        tally = await self._office.decide(tx, decided)
        for table in tally.decided:
            _count(table, tally.at)
        _events.labels("replayed").inc(tally.replayed)
        _events.labels("amendment_too_late").inc(tally.too_late)

    async def _decide(self, part: _Part) -> Decided:
        async with self._slots:
            try:
                filings = part.filings.encode(ConsignmentColumns)
            except (MalformedColumns, ValueError) as error:
                raise EventError("EVENT_MALFORMED", f"The filing's columns cannot be read: {error}") from error
            risk_answer, revenue_answer = await _both(
                self._risk.Assess(
                    risk_pb2.AssessRequest(purpose=risk_pb2.PURPOSE_CLEARANCE, consignments=filings),
                    timeout=self._assess_seconds,
                ),
                self._revenue.Assess(
                    revenue_pb2.AssessRequest(purpose=revenue_pb2.PURPOSE_CLEARANCE, consignments=filings),
                    timeout=self._assess_seconds,
                ),
            )
        risk, revenue = Table.decode(risk_answer.assessments), Table.decode(revenue_answer.assessments)
        try:
            check(part.filings, risk, revenue)
            verdict = decide(assessment_of(risk, revenue))
            table = accepted(part.filings, columns_of(part.filings, risk, revenue), verdict)
        except (Misaligned, MalformedColumns) as error:
            raise Refusal("ASSESSMENT_MISALIGNED", why=str(error)) from error
        return Decided(table, verdict.release, part.trace)


async def _both(risk: Any, revenue: Any) -> tuple[Any, Any]:
    """Await both answers; where one fails, the other is called off."""
    tasks = [asyncio.ensure_future(_answer("risk", risk)), asyncio.ensure_future(_answer("revenue", revenue))]
    try:
        first, second = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return first, second


async def _answer(neighbour: str, answering: Any) -> Any:
    try:
        return await answering
    except grpc.RpcError as error:
        # Only what is wrong with the batch itself is the events' fault; an absent or overloaded neighbour is waited for.
        if getattr(error, "code", lambda: None)() is grpc.StatusCode.INVALID_ARGUMENT:
            reason = reason_of(error) or "INVALID_ARGUMENT"
            raise EventError(
                "ASSESSMENT_REFUSED", f"The {neighbour} service refuses to assess it: {reason}."
            ) from error
        raise


def _parts(batches: Sequence[FeedBatch]) -> list[_Part]:
    """Join small batches and cut large ones; the trace is that of the first batch of each part."""
    parts: list[_Part] = []
    waiting: list[FeedBatch] = []
    rows = 0
    for batch in batches:
        if rows and rows + batch.table.rows > ROWS_A_CALL:
            parts.append(_join(waiting))
            waiting, rows = [], 0
        if batch.table.rows > ROWS_A_CALL:
            for begin in range(0, batch.table.rows, ROWS_A_CALL):
                chosen = np.arange(begin, min(begin + ROWS_A_CALL, batch.table.rows))
                parts.append(_Part(batch.table.take(chosen), batch.trace))
            continue
        waiting.append(batch)
        rows += batch.table.rows
        if rows >= ROWS_JOINED:
            parts.append(_join(waiting))
            waiting, rows = [], 0
    if waiting:
        parts.append(_join(waiting))
    return parts


def _join(batches: Sequence[FeedBatch]) -> _Part:
    return _Part(Table.concat([batch.table for batch in batches]), batches[0].trace)


def _count(table: Table, at: int) -> None:
    lanes, states = table.ints("lane").values, table.ints("state").values
    for lane, name in enumerate(lane_names()):
        chosen = lanes == lane
        if chosen.any():
            for state in (State.AWAITING_ARRIVAL, State.HELD, State.RELEASED):
                _decisions.labels(name.lower(), state.name.lower()).inc(int((chosen & (states == state)).sum()))
    for micros in (at - np.unique(table.ints("accepted_at").values)).tolist():
        _latency.observe(max(0, micros) / 1_000_000)
