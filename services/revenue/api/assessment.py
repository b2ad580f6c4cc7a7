"""The gRPC edge of revenue: translate, call, answer."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio
import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from libs.columns import Ints, Table
from libs.columns.wire import MalformedColumns, read_ints
from libs.customs.time import day_of, parse_instant, stamp_text
from libs.server import catalogue
from libs.server.errors import Refusal
from libs.server.requests import check_identified
from libs.telemetry import counter, span
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.revenue.v1 import revenue_pb2 as pb
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceServicer
from services.revenue.api.batch_size import check_batch_size
from services.revenue.api.quote_codes import errors_of, normalised
from services.revenue.api.quotes import landed_costs, quote_batch, references_of, review_of, rulebooks_of
from services.revenue.assessment.batch import ActiveLaw, Batch, ReassessedBatch
from services.revenue.assessment.correction import apply_corrections, placed_answers
from services.revenue.commands.assess import Assessments
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from services.revenue.law.assess.securities import NOBODY, Securities
from services.revenue.law.batch.reasons import Reason
from services.revenue.law.program.program import Program

ROWS_MAX: Final = 2_000
QUOTES_MAX: Final = 1_000
QUOTED_ITEMS_MAX: Final = 10_000
"""As many as can be filed at once."""
LINES_AT_ONCE: Final = 100
"""After so many lines are explained other calls have their turn: some milliseconds."""
_FIRST: Final = parse_instant("2000-01-01T00:00:00Z")
_LAST: Final = parse_instant("2100-01-01T00:00:00Z")

_assessed = counter(
    "luxor_revenue_assessed_total",
    "Consignments in requests for assessment, by reason of failure (none if assessed)",
    ("reason",),
)
_quoted = counter(
    "luxor_revenue_quoted_total",
    "Consignments in requests for a quote, by reason of failure (none if quoted)",
    ("reason",),
)


class RevenueService(RevenueServiceServicer):
    """Assesses batches by the law of their day and quotes what a purchase would cost landed."""

    def __init__(
        self,
        store: Assessments,
        program: Callable[[], Program],
        *,
        register: Callable[[], Register] = lambda: EMPTY,
        securities: Callable[[], Securities] = lambda: NOBODY,
    ) -> None:
        """Serve from a store; the law, the register and the securities in force are taken once a batch."""
        self._store = store
        self._program = program
        self._register = register
        self._securities = securities

    async def AssessConsignments(
        self, request: pb.AssessConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AssessConsignmentsResponse:
        """Assess a batch; what was assessed before keeps its first answer."""
        if request.purpose not in (pb.PURPOSE_CLEARANCE, pb.PURPOSE_ADJUSTMENT):
            raise Refusal("ASSESSMENT_PURPOSE_UNKNOWN", path="purpose", value=request.purpose)
        rows = request.consignments.rows
        check_batch_size(rows, ROWS_MAX)
        consignments = Table.decode(request.consignments)
        response = pb.AssessConsignmentsResponse()
        with span("revenue.assess", attributes={"luxor.rows": rows}):
            try:
                check_identified(consignments)
                if request.purpose == pb.PURPOSE_ADJUSTMENT:
                    (await self._adjust(request, consignments)).write(response.assessments)
                else:
                    await self._assess(request, consignments, response.assessments)
            except MalformedColumns as error:
                raise Refusal("CONSIGNMENT_COLUMNS_MALFORMED", why=str(error)) from None
        return response

    async def _assess(
        self, request: pb.AssessConsignmentsRequest, consignments: Table, answer: pb.AssessmentColumns
    ) -> None:
        """Assess filings for clearance, into the empty message `answer`."""
        batch = Batch(self.active_law(), consignments, request.consignments)
        await self._store.assess(batch, answer)
        assert batch.reason is not None
        _count(_assessed, batch.reason)

    async def _adjust(self, request: pb.AssessConsignmentsRequest, consignments: Table) -> Table:
        """Assess corrected filings by the law of their day, with the register and the sums that they were assessed with last.

        The same correction asked for again has its first answer.
        """
        filed = read_ints(request.filing_versions, consignments.rows, "filing_versions")
        wrong = ~filed.valid | (filed.values < 1) | (filed.values > 2**31 - 1)
        if wrong.any():
            raise Refusal("CONSIGNMENT_UNIDENTIFIED", path=f"filing_versions[{int(wrong.argmax())}]")
        mrns, versions = consignments.strings("mrn"), consignments.ints("version").values
        answers: list[tuple[list[int], Table]] = []
        active = self.active_law()
        for found in await self._store.inputs.find(mrns.tolist(), filed.values.tolist()):
            asked = np.array(found.places)
            table = apply_corrections(found.input.table, consignments.take(asked), versions[asked])
            again = ReassessedBatch(active, table, found.input.register, found.input.aggregates)
            answer = again.answer()
            # What has no figures comes into force nowhere, so it is not kept: a correction of it is assessed under the same version.
            figures = np.flatnonzero(~answer.strings("reason").present)
            if len(figures) < answer.rows:
                bare = np.flatnonzero(answer.strings("reason").present)
                answers.append((asked[bare].tolist(), answer.take(bare)))
            if len(figures):
                settled = await self._store.adjust(again.take(figures), answer.take(figures))
                answers.append((asked[figures].tolist(), Table.decode(settled)))
        return placed_answers(answers, consignments.rows)

    def active_law(self) -> ActiveLaw:
        """Return the law, register and securities by which batches are assessed now."""
        return ActiveLaw(self._program(), self._register(), self._securities())

    async def QuoteConsignments(
        self, request: pb.QuoteConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.QuoteConsignmentsResponse:
        """Quote consignments that nobody filed yet, as if nothing else came; nothing is kept."""
        rows = len(request.consignments)
        check_batch_size(rows, QUOTES_MAX)
        items = sum(len(each.items) for each in request.consignments)
        if items > QUOTED_ITEMS_MAX:
            raise Refusal("BATCH_ITEMS_TOO_MANY", path="consignments", count=items, count_max=QUOTED_ITEMS_MAX)
        as_of = _as_of(request)
        table = normalised(Table.from_messages(request.consignments, ConsignmentColumns, Consignment))
        program = self._program()
        errors = errors_of(table, day_of(as_of), program.areas)
        quotes = {row: error.message() for row, error in errors.items()}
        for error in errors.values():
            _quoted.labels(error.reason.lower()).inc()
        asked = np.array([row for row in range(rows) if row not in errors], np.int64)
        if not len(asked):
            return pb.QuoteConsignmentsResponse(quotes=[quotes[row] for row in range(rows)])
        # What cannot be quoted does not count for the others.
        table = table.take(asked) if errors else table
        done = quote_batch(program, self._register(), table, Ints.constant(as_of, len(asked)))
        costs, lines = [], 0
        for quote in landed_costs(done.assessment, done.summed):
            if quote.reason:
                quote.hint = catalogue.reason(quote.reason).hint
            costs.append(quote)
            lines += 1 + len(quote.lines)
            if lines > LINES_AT_ONCE:
                lines = 0
                await asyncio.sleep(0)
        _count(_quoted, done.assessment.reason)
        quotes |= zip(asked.tolist(), costs, strict=True)
        references = references_of(done.assessment, costs)
        return pb.QuoteConsignmentsResponse(
            quotes=[quotes[row] for row in range(rows)],
            references=references,
            review=review_of(costs, references),
        )

    async def ListRulebooks(
        self, request: pb.ListRulebooksRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRulebooksResponse:
        """Return the loaded law."""
        return pb.ListRulebooksResponse(rulebooks=rulebooks_of(self._program()))


def _as_of(request: pb.QuoteConsignmentsRequest) -> int:
    if not request.HasField("as_of"):
        raise Refusal("AS_OF_MISSING", path="as_of")
    stamp: Timestamp = request.as_of
    micros = stamp.seconds * 1_000_000 + stamp.nanos // 1_000
    if not _FIRST <= micros < _LAST:
        raise Refusal("AS_OF_OUT_OF_BOUNDS", path="as_of", value=stamp_text(stamp.seconds))
    return micros


def _count(metric: Any, reasons: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    counts = np.bincount(reasons)
    for reason in np.flatnonzero(counts).tolist():
        metric.labels(Reason(reason).name.lower()).inc(int(counts[reason]))
