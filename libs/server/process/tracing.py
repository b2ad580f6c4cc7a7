"""Each service's own records of traces: written in the background, kept some days, and served as TraceService.

traces = Traces(start, store.trail)
...
return [traces.run, Housekeeping(start.database, start.replica, (*steps, *traces.steps)).run]
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from libs.customs.identifiers import mrn
from libs.customs.time import MICROS_PER_DAY
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.store.database import Database
from libs.store.tables.assessments import AssessmentLog
from libs.store.tables.housekeeping import Step, drop_days, make_days
from libs.store.tables.trace_records import SEARCH_SECONDS, TABLE, Recorded, TraceRecords, TraceSearch
from libs.telemetry.context import span_of, trace_of
from libs.telemetry.setup import TelemetryConfig
from luxor.trace.v1 import trace_pb2 as pb
from luxor.trace.v1.trace_pb2_grpc import TraceServiceServicer, add_TraceServiceServicer_to_server

if TYPE_CHECKING:
    from libs.server.process.launch import Start

SKEW_MICROS: Final = 900_000_000
"""Clocks of hosts may differ by minutes: so much earlier than a given instant spans are looked for."""
ATTRIBUTES_MAX: Final = 32
NAME_CHARACTERS_MAX: Final = 64
VALUE_CHARACTERS_MAX: Final = 300
FAILURE_CHARACTERS_MAX: Final = 100
_SHARE_OF_DEADLINE: Final = 0.6
"""What a search may take of the time that the caller gives, so that what was found is told in time."""
READERS: Final = {Role.OFFICER, Role.OPERATOR}
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")

Trail = Callable[[str], Awaitable[Sequence[pb.Fact]]]
"""Tells what a service noted of a consignment, by its MRN, which is well formed."""


def assessment_trail(database: Database) -> Trail:
    """Return the trail of a service that keeps an assessment log."""

    async def trail(number: str) -> Sequence[pb.Fact]:
        async with database.connection() as reader:
            noted = await AssessmentLog().trail(reader, number)
        return [pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=version, traceparent=trace) for version, trace in noted]

    return trail


class Traces:
    """What a service needs to keep and to tell its traces."""

    def __init__(self, start: "Start", trail: Trail) -> None:
        """Serve TraceService; `run` is to be among the background work, `steps` among the housekeeping."""
        days = TelemetryConfig.from_environ(start.service, start.environ).trace_days
        self._records = TraceRecords(start.database)
        start.database.before_close(self._records.finish)
        self.steps: tuple[Step, ...] = (make_days(TABLE), drop_days(TABLE, days))
        servicer = TraceServicer(start.service, self._records, trail)
        start.server.add(add_TraceServiceServicer_to_server, servicer, roles={"FindTraces": READERS})

    async def run(self, stop: asyncio.Event) -> None:
        """Write records until `stop`."""
        await self._records.run(stop)


class TraceServicer(TraceServiceServicer):
    """Answers from one service's records."""

    def __init__(self, service: str, records: TraceRecords, trail: Trail) -> None:
        self._service = service
        self._records = records
        self._trail = trail

    async def FindTraces(
        self, request: pb.FindTracesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.FindTracesResponse:
        """Return a consignment's facts, and the spans of its traces and of the named ones."""
        if not request.mrn and not request.trace_ids:
            raise Refusal("TRACE_NOT_NAMED", path="mrn")
        for place, each in enumerate(request.trace_ids):
            if _TRACE_ID.fullmatch(each) is None:
                raise Refusal("TRACE_ID_MALFORMED", path=f"trace_ids[{place}]", value=each)
        if request.mrn and not mrn.is_valid(request.mrn):
            raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
        facts = await self._trail(request.mrn) if request.mrn else ()
        remaining = context.time_remaining()
        found = await self._records.find(
            searched_traces(request, facts),
            first={span_of(fact.traceparent) for fact in facts if fact.traceparent},
            seconds=min(SEARCH_SECONDS, SEARCH_SECONDS if remaining is None else remaining * _SHARE_OF_DEADLINE),
        )
        return pb.FindTracesResponse(
            service=self._service,
            facts=facts,
            spans=[_span_message(each) for each in found.spans],
            spans_left_out=found.left_out,
            oldest_span_at_micros=found.oldest_span_at_micros,
            records_left_out=found.records_left_out,
            days_left_out=found.days_left_out,
        )


def searched_traces(request: pb.FindTracesRequest, facts: Sequence[pb.Fact]) -> list[TraceSearch]:
    """Return the searches, each with its earliest time, because there is no index and a search of all days is expensive."""
    since = request.since_micros if request.HasField("since_micros") else None
    begin = 0 if since is None else max(0, since - SKEW_MICROS)
    searches = [TraceSearch(each, begin, since) for each in request.trace_ids]
    accepted = _day_of(request.mrn)
    for fact in facts:
        if fact.traceparent:
            at = fact.happened_at_micros if fact.HasField("happened_at_micros") else accepted
            searches.append(
                TraceSearch(
                    trace_of(fact.traceparent), begin if at is None else max(begin, at - SKEW_MICROS), at or since
                )
            )
    return searches


def _day_of(number: str) -> int | None:
    """Return the instant at which the day of an MRN's acceptance began, or None if the MRN has no day."""
    try:
        return mrn.parse(number).day * MICROS_PER_DAY
    except mrn.MrnError:
        return None


def _span_message(each: Recorded) -> pb.Span:
    attributes = list(each.attributes.items())[:ATTRIBUTES_MAX]
    return pb.Span(
        name=each.name,
        trace_id=each.trace_id,
        span_id=each.span_id,
        parent_span_id=each.parent_id,
        kind=pb.SpanKind.ValueType(each.kind + 1),
        sampled=each.sampled,
        started_at_micros=each.start_nanos // 1000,
        ended_at_micros=each.end_nanos // 1000,
        failure=each.failure[:FAILURE_CHARACTERS_MAX],
        attributes=[pb.Attribute(name=name[:NAME_CHARACTERS_MAX], value=_text(value)) for name, value in attributes],
        links=each.links,
    )


def _text(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"
