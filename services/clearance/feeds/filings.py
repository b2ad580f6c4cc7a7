"""The consumer of ingestion's feed: has risk and revenue assess each batch at the same time, decides, and stores the decisions."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Strings, Table
from libs.columns.wire import MalformedColumns
from libs.customs.identifiers.mrn import MrnError
from libs.customs.time import MICROS_PER_DAY
from libs.feed.metrics import SKEW
from libs.feed.types import EventError, FeedBatch
from libs.release_law.law import ReleaseLaw, included
from libs.server.errors import Refusal, reason_of
from libs.store.database import Transaction
from libs.telemetry import batch_span, client_span, counter, gauge, loop_histogram
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1.risk_pb2_grpc import RiskServiceStub
from services.clearance.commands.decide import Decide, Tally
from services.clearance.commands.filings.versions import DecidedFilings
from services.clearance.commands.returns.withdraw import DecideAndWithdraw, Withdrawals
from services.clearance.commands.rights.current import CurrentApplications
from services.clearance.commands.store_days import ensure_days
from services.clearance.consignment.assessment import Misaligned, assessment_of, check, columns_of
from services.clearance.consignment.contradictions.contradiction import statements
from services.clearance.consignment.decision import decide, lane_names
from services.clearance.consignment.state.creation import new_states
from services.clearance.consignment.transitions import State
from services.clearance.goods_controls.requirements import cited_licences
from services.clearance.metrics import count_charges
from services.clearance.pre_loading.recommendation import recommendations
from services.clearance.pre_loading.scope import omitted, to_assess
from services.clearance.pre_loading.stages import early_of, missing_parts
from services.clearance.release_category.determination import categories_of
from services.clearance.rights.matching import Matcher
from services.clearance.store import STATE_DAYS, days_of

ROWS_A_CALL: Final = 2_000
"""Consignments in a call of AssessConsignments, as many as both services accept. The batches of a page are joined, since the cost of a call and of a
stored batch hardly depends on their size."""
ITEMS_A_CALL: Final = 10_000
"""Items of a part at most, so that no answer and no stored batch is too large for a message."""
CALLS_AT_ONCE: Final = 3
ASSESS_SECONDS: Final = 10.0

_decisions = counter("luxor_clearance_decisions_total", "Decisions by lane and resulting state", ("lane", "state"))
_events = counter("luxor_clearance_events_total", "Events of ingestion's feed that made no decision", ("outcome",))
_latency = loop_histogram(
    "luxor_clearance_decision_seconds",
    "From acceptance to decision by ingestion's clock; one observation for consignments that were accepted together",
)
_assessing = gauge("luxor_clearance_assessments_in_flight", "Batches that risk and revenue assess now")
_assessing_max = gauge("luxor_clearance_assessments_in_flight_max", "Batches that may be assessed at once")


_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class _Part:
    """Filings that are assessed by one pair of calls."""

    filings: Table
    sources: tuple[str, ...]
    """Traceparents of the work that announced them."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The decisions that `apply` stores, and the figures that it counts after the commit."""

    decided: list[DecidedFilings]
    withdrawals: list[Withdrawals]
    """Invalidations by filers, which nobody assesses."""
    expired: int
    """Filings that are ignored because of their age."""
    ahead_micros: int
    """How far clearance's clock is ahead of ingestion's."""


class Intake:
    """The handler of ingestion's feed of filings."""

    def __init__(
        self,
        decide: Decide,
        risk: grpc.aio.Channel,
        revenue: grpc.aio.Channel,
        *,
        assess_seconds: float = ASSESS_SECONDS,
        calls_at_once: int = CALLS_AT_ONCE,
        state_days: int = STATE_DAYS,
        release_law: ReleaseLaw | None = None,
    ) -> None:
        """Decide by the answers of the services behind the channels; each call may take `assess_seconds`.

        Filings accepted more than `state_days` ago are ignored. `release_law` is by default that of this release. Raises ReleaseLawError.
        """
        self._release_law = release_law or included()
        self.applications = CurrentApplications(decide.store)
        """The applications of rights holders that filings are matched with."""
        self._state_days = state_days
        self._decide_filings = decide
        self._withdraw = DecideAndWithdraw(decide)
        self._risk: Any = RiskServiceStub(risk)
        self._revenue: Any = RevenueServiceStub(revenue)
        self._assess_seconds = assess_seconds
        self._slots = asyncio.Semaphore(calls_at_once)
        _assessing_max.set(calls_at_once)

    async def prepare(self, batches: list[FeedBatch]) -> Prepared:
        """Assess and decide. Raises EventError if an event is invalid, and the error of the transport if a neighbour is absent."""
        now = await self._decide_filings.store.database.now()
        recent, expired = self._without_expired(batches, now)
        clock = batches[-1].clock if batches else None
        ahead_micros = 0 if clock is None else now - clock.now()
        recent, withdrawn = _without_withdrawals(recent)
        if withdrawn:
            recent += await self._lost(recent, withdrawn)
        parts = parts_of(recent)
        for part in parts:
            try:
                await ensure_days(self._decide_filings.store, part.filings.strings("mrn").tolist())
            except (MrnError, MalformedColumns) as error:
                raise EventError("EVENT_MALFORMED", f"The filing's columns cannot be read: {error}") from error
        matcher = await self.applications.matcher()
        decided = await wait_for_all([self._decide(part, matcher) for part in parts])
        withdrawals = [Withdrawals(batch.table, batch.trace) for batch in withdrawn]
        return Prepared(decided, withdrawals, expired, ahead_micros)

    async def _lost(self, filings: Sequence[FeedBatch], withdrawn: Sequence[FeedBatch]) -> list[FeedBatch]:
        """Return the versions before invalidations of filings that never came here, which have the content of the version before them.

        Such filings are decided and then ended, as if they had come: nobody is to repair what its filer has ended.
        """
        first: dict[str, int] = {}
        for batch in filings:
            for mrn, version in _keys(batch):
                first[mrn] = min(first.get(mrn, version), version)
        store = self._decide_filings.store
        async with store.database.connection() as reading:
            stored = await store.find(reading, [mrn for batch in withdrawn for mrn, _ in _keys(batch)])
        lost: list[FeedBatch] = []
        for batch in withdrawn:
            keys = enumerate(_keys(batch))
            rows = [row for row, (mrn, version) in keys if mrn not in stored and first.get(mrn, version) >= version]
            if rows:
                former = batch.take(np.array(rows, np.int64))
                columns: dict[str, Column] = {
                    "version": Ints.of(former.table.ints("version").values - 1),
                    "function": Ints.constant(MESSAGE_FUNCTION_AMEND, len(rows)),
                    "return_document_number": Strings.absent(len(rows)),
                }
                lost.append(replace(former, table=former.table.with_columns(columns)))
        return lost

    def _without_expired(self, batches: Sequence[FeedBatch], now: int) -> tuple[list[FeedBatch], int]:
        """Return the batches without the filings whose states are deleted, and the number of these.

        A snapshot contains such filings, and they would look like new ones.
        """
        oldest = now // MICROS_PER_DAY - self._state_days
        recent: list[FeedBatch] = []
        expired = 0
        for batch in batches:
            try:
                young = np.array(days_of(batch.table.strings("mrn").tolist())) >= oldest
            except (MrnError, MalformedColumns) as error:
                raise EventError("EVENT_MALFORMED", f"The filing's columns cannot be read: {error}") from error
            if young.all():
                recent.append(batch)
                continue
            expired += int((~young).sum())
            if young.any():
                recent.append(batch.take(np.flatnonzero(young)))
        return recent, expired

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Store the decisions, and end what filers invalidated."""
        page: Prepared = prepared
        tally = await self._withdraw.run(tx, page.decided, page.withdrawals)
        # Only after the commit: a transaction may be rolled back, and the page then comes again.
        tx.after_commit(lambda: _count(tally, page))

    async def _decide(self, part: _Part, matcher: Matcher) -> DecidedFilings:
        with batch_span("clearance.decide", part.sources, {"luxor.rows": part.filings.rows}) as span:
            table, release = await self._assessed(part, matcher)
            completes = part.filings.may_have("completed_versions")
            completed = part.filings.ragged("completed_versions") if completes else None
            return DecidedFilings(table, release, span.traceparent, completed, statements(part.filings))

    async def _assessed(self, part: _Part, matcher: Matcher) -> tuple[Table, NDArray[np.bool_]]:
        async with self._slots:
            try:
                # A batch that is assessed alone passes on as ingestion announced it.
                filings = part.filings.payload(ConsignmentColumns)
            except (MalformedColumns, ValueError) as error:
                raise EventError("EVENT_MALFORMED", f"The filing's columns cannot be read: {error}") from error
            before_loading = to_assess(part.filings, self._decide_filings.parameters)
            filed = risk_pb2.AssessConsignmentsRequest(purpose=risk_pb2.PURPOSE_CLEARANCE)
            owed = revenue_pb2.AssessConsignmentsRequest(purpose=revenue_pb2.PURPOSE_CLEARANCE)
            for request in (filed, owed):
                # Read into its place: a message that is given to another is copied.
                request.consignments.MergeFromString(filings)
            with _assessing.track_inprogress():
                risk_answer, revenue_answer = await ask_both(
                    self._risk.AssessConsignments,
                    filed,
                    self._revenue.AssessConsignments,
                    owed,
                    timeout=self._assess_seconds,
                )
                loading = None
                if len(before_loading):
                    # One after the other: risk counts a consignment in its history with its first assessment alone.
                    loading = await self._ask_before_loading(part.filings.take(before_loading))
        risk, revenue = Table.decode(risk_answer.assessments), Table.decode(revenue_answer.assessments)
        try:
            check(part.filings, risk, revenue)
            columns = columns_of(part.filings, risk, revenue)
            categories = categories_of(part.filings, columns, self._release_law)
            early = early_of(part.filings)
            answers = assessment_of(risk, revenue)
            unvalued = early.reasons(answers.unvalued)
            missing, roles = missing_parts(part.filings)
            verdict = decide(
                replace(answers, without_debt=categories.without_debt, unvalued=unvalued, parts_missing=missing)
            )
            unjudged = None
            if loading is not None:
                columns |= recommendations(part.filings.rows, before_loading, loading)
                # Where risk has no parameters of selection, nothing is assessed, and nobody judges it instead.
                unjudged = np.zeros(part.filings.rows, np.int64)
                unjudged[before_loading] = np.where(
                    loading.ints("referral").valid, loading.ints("unjudged").filled(0), 0
                )
            columns |= cited_licences(part.filings, self._decide_filings.goods)
            columns |= omitted(part.filings, self._decide_filings.parameters, unjudged)
            columns |= matcher.matches(part.filings)
            table = new_states(part.filings, {**columns, **categories.columns, **early.columns, **roles}, verdict)
        except (Misaligned, MalformedColumns) as error:
            raise Refusal("ASSESSMENT_MISALIGNED", why=str(error)) from error
        return table, verdict.release

    async def _ask_before_loading(self, filings: Table) -> Table:
        """Return what risk recommends for filings before their goods are loaded."""
        request = risk_pb2.AssessConsignmentsRequest(purpose=risk_pb2.PURPOSE_PRE_LOADING)
        filings.write(request.consignments)
        answer = await _answer("risk", self._risk.AssessConsignments, request, self._assess_seconds)
        return Table.decode(answer.assessments)


async def ask_both(risk: Any, filed: Any, revenue: Any, owed: Any, *, timeout: float) -> tuple[Any, Any]:
    """Call both services at the same time and return both answers; if one call fails, the other is cancelled."""
    first, second = await wait_for_all(
        [_answer("risk", risk, filed, timeout), _answer("revenue", revenue, owed, timeout)]
    )
    return first, second


async def wait_for_all(works: Sequence[Coroutine[Any, Any, _Done]]) -> list[_Done]:
    """Run all at the same time and return their results; if one fails, the others are cancelled. All of them have ended at the return."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(neighbour: str, assess: Any, request: Any, timeout: float) -> Any:
    service = f"luxor.{neighbour}.v1.{neighbour.capitalize()}Service"
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": "AssessConsignments"}
    with client_span(f"{service}/AssessConsignments", attributes) as span:
        try:
            return await assess(request, timeout=timeout)
        except grpc.RpcError as error:
            code = getattr(error, "code", lambda: None)()
            reason = reason_of(error) or getattr(code, "name", "UNKNOWN")
            span.fail(reason)
            # Only an invalid batch is an error of the events; the consumer waits for an absent or overloaded service.
            # A batch with too large an answer is divided, like every page that cannot be applied as a whole.
            if code is grpc.StatusCode.INVALID_ARGUMENT or reason == "ANSWER_TOO_LARGE":
                raise EventError(
                    "ASSESSMENT_REFUSED", f"The {neighbour} service refuses to assess it: {reason}."
                ) from error
            raise


def parts_of(batches: Sequence[FeedBatch]) -> list[_Part]:
    """Return the batches as parts: small batches joined, large ones divided, by rows and by items."""
    parts: list[_Part] = []
    waiting: list[FeedBatch] = []
    rows = items = 0

    def close() -> None:
        nonlocal rows, items
        if waiting:
            parts.append(_join(waiting))
        waiting.clear()
        rows = items = 0

    for batch in batches:
        goods = int(batch.table.ragged("items").offsets[-1])
        if rows + batch.table.rows > ROWS_A_CALL or items + goods > ITEMS_A_CALL:
            close()
        if batch.table.rows > ROWS_A_CALL or goods > ITEMS_A_CALL:
            parts.extend(_cut(batch))
            continue
        waiting.append(batch)
        rows, items = rows + batch.table.rows, items + goods
    close()
    return parts


def _keys(batch: FeedBatch) -> list[tuple[str, int]]:
    """Return MRN and version of each row."""
    return list(zip(batch.table.strings("mrn").tolist(), batch.table.ints("version").values.tolist(), strict=True))


def _without_withdrawals(batches: Sequence[FeedBatch]) -> tuple[list[FeedBatch], list[FeedBatch]]:
    """Return the batches without the invalidations in them, and these."""
    filings: list[FeedBatch] = []
    ending: list[FeedBatch] = []
    for batch in batches:
        withdrawn = batch.table.ints("function").values == MESSAGE_FUNCTION_INVALIDATE
        if not withdrawn.any():
            filings.append(batch)
            continue
        ending.append(batch.take(np.flatnonzero(withdrawn)))
        if not withdrawn.all():
            filings.append(batch.take(np.flatnonzero(~withdrawn)))
    return filings, ending


def _cut(batch: FeedBatch) -> list[_Part]:
    """Divide a batch into parts within the bounds of rows and items; one row is never divided."""
    offsets = batch.table.ragged("items").offsets
    parts, begin = [], 0
    while begin < batch.table.rows:
        fit = int(np.searchsorted(offsets, offsets[begin] + ITEMS_A_CALL, side="right")) - 1
        end = max(begin + 1, min(begin + ROWS_A_CALL, fit))
        parts.append(_Part(batch.table.take(np.arange(begin, end)), (batch.trace,)))
        begin = end
    return parts


def _join(batches: Sequence[FeedBatch]) -> _Part:
    return _Part(Table.concat([batch.table for batch in batches]), tuple(batch.trace for batch in batches))


def _count(tally: Tally, page: Prepared) -> None:
    """Count the results of a page."""
    for table in tally.decided:
        _count_decided(table, tally.at - page.ahead_micros)
    _events.labels("replayed").inc(tally.replayed)
    _events.labels("amendment_too_late").inc(tally.too_late)
    _events.labels("withdrawn").inc(tally.withdrawn)
    _events.labels("forgotten").inc(page.expired)


def _count_decided(table: Table, at: int) -> None:
    """Count decisions that were made `at` an instant of ingestion's clock."""
    lanes, states = table.ints("lane").values, table.ints("state").values
    for lane, name in enumerate(lane_names()):
        chosen = lanes == lane
        if chosen.any():
            for state in (State.AWAITING_ARRIVAL, State.HELD, State.DOCUMENTS_REQUESTED, State.RELEASED):
                _decisions.labels(name.lower(), state.name.lower()).inc(int((chosen & (states == state)).sum()))
    count_charges(table)
    for micros in (at - np.unique(table.ints("accepted_at").values)).tolist():
        if micros < 0:
            SKEW.labels("decision").inc()
        _latency.observe(max(0, micros) / 1_000_000)
