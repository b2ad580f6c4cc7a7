"""TraceService: who may ask, what is refused, what is told of a batch that a service worked on."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from libs.customs.identifiers import mrn
from libs.customs.time import MICROS_PER_DAY
from libs.server.errors import reason_of
from libs.server.process.launch import Start
from libs.server.process.tracing import SKEW_MICROS, VALUE_CHARACTERS_MAX, Traces, searched_traces
from libs.server.transport.channel import invoke
from libs.store.tables.trace_records import TraceSearch
from libs.telemetry import span
from luxor.trace.v1 import trace_pb2 as pb
from luxor.trace.v1.trace_pb2_grpc import TraceServiceStub
from tests.support.services import Running, running

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MRN = "26DE32329000033OR6"


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Running]:
    """Risk's records and schema, with a trail that knows one consignment."""

    async def trail(number: str) -> list[pb.Fact]:
        known = pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=HEADER)
        return [known, pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=2)] if number == MRN else []

    def assemble(start: Start) -> Any:
        return [Traces(start, trail).run]

    async with running("risk", assemble, database_url) as each:
        yield each


async def ask(service: Running, role: str = "operator", **what: Any) -> pb.FindTracesResponse:
    stub: Any = TraceServiceStub(await service.channel(role, "somebody"))
    answer: pb.FindTracesResponse = await invoke(stub.FindTraces, pb.FindTracesRequest(**what), timeout=10)
    return answer


async def refusal(service: Running, role: str = "operator", **what: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(service, role, **what)
    return reason_of(caught.value)


async def test_facts_and_spans_of_a_consignment_are_told(service: Running) -> None:
    with span("risk.assess", parent=HEADER, links=[HEADER], attributes={"luxor.rows": 500, "luxor.odd": True}) as root:
        with span("inside"):
            pass
        root.fail("STORE_UNAVAILABLE")
    answer = await ask(service, mrn=MRN)
    assert answer.service == "risk"
    assert [(fact.version, fact.traceparent) for fact in answer.facts] == [(1, HEADER), (2, "")]
    outer, inner = answer.spans
    assert (outer.name, outer.trace_id, outer.parent_span_id, outer.span_id) == (
        "risk.assess", HEADER[3:35], HEADER[36:52], root.span_id,
    )  # fmt: skip
    assert (outer.kind, outer.sampled, outer.failure, list(outer.links)) == (
        pb.SPAN_KIND_INTERNAL, True, "STORE_UNAVAILABLE", [HEADER],
    )  # fmt: skip
    assert {each.name: each.value for each in outer.attributes} == {"luxor.rows": "500", "luxor.odd": "true"}
    assert inner.parent_span_id == outer.span_id
    assert outer.started_at_micros <= inner.started_at_micros <= inner.ended_at_micros <= outer.ended_at_micros
    assert answer.oldest_span_at_micros > 0
    by_trace = await ask(service, role="officer", trace_ids=[HEADER[3:35]])
    assert [each.span_id for each in by_trace.spans] == [outer.span_id, inner.span_id]
    assert not by_trace.facts
    assert not (await ask(service, trace_ids=["f" * 32])).spans
    assert not (
        await ask(service, trace_ids=[HEADER[3:35]], since_micros=answer.oldest_span_at_micros + 3_600_000_000)
    ).spans


async def test_only_officers_and_operators_may_ask(service: Running) -> None:
    for role in ("filer", "carrier", "analyst", "service"):
        assert await refusal(service, role, mrn=MRN) == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({}, "TRACE_NOT_NAMED"),
        ({"mrn": "26DE"}, "MRN_MALFORMED"),
        ({"trace_ids": ["0" * 31]}, "TRACE_ID_MALFORMED"),
        ({"trace_ids": ["G" * 32]}, "TRACE_ID_MALFORMED"),
        ({"trace_ids": ["a" * 32] * 65}, "LIST_TOO_LONG"),
    ],
)
async def test_what_names_nothing_or_too_much_is_refused(service: Running, what: dict[str, Any], reason: str) -> None:
    assert await refusal(service, **what) == reason


OTHER = HEADER.replace("0af7", "1bf7")
ACCEPTED = mrn.parse(MRN).day * MICROS_PER_DAY


def test_a_trace_of_a_fact_is_looked_for_from_the_fact_s_time_or_the_mrn_s_day_on() -> None:
    at = ACCEPTED + 5 * MICROS_PER_DAY
    facts = [
        pb.Fact(kind=pb.FACT_KIND_CHANGED, version=2, happened_at_micros=at, traceparent=HEADER),
        pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=OTHER),
        pb.Fact(kind=pb.FACT_KIND_COUNTED, version=1),
    ]
    assert searched_traces(pb.FindTracesRequest(mrn=MRN), facts) == [
        TraceSearch(HEADER[3:35], at - SKEW_MICROS, at),
        TraceSearch(OTHER[3:35], ACCEPTED - SKEW_MICROS, ACCEPTED),
    ]


def test_an_instant_that_is_given_bounds_all_and_clocks_may_differ_by_minutes() -> None:
    since = ACCEPTED + 3 * MICROS_PER_DAY
    facts = [pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=HEADER)]
    asked = pb.FindTracesRequest(mrn=MRN, trace_ids=[OTHER[3:35]], since_micros=since)
    assert searched_traces(asked, facts) == [
        TraceSearch(OTHER[3:35], since - SKEW_MICROS, since),
        TraceSearch(HEADER[3:35], since - SKEW_MICROS, ACCEPTED),
    ]
    assert searched_traces(pb.FindTracesRequest(trace_ids=["a" * 32]), []) == [TraceSearch("a" * 32, 0, None)]
    for instant in (0, -5):
        assert searched_traces(pb.FindTracesRequest(trace_ids=["a" * 32], since_micros=instant), []) == [
            TraceSearch("a" * 32, 0, instant)
        ]


def test_an_mrn_of_another_administration_tells_no_day() -> None:
    facts = [pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=HEADER)]
    assert searched_traces(pb.FindTracesRequest(mrn="22ITZXBZYUTJFLJXK6"), facts) == [
        TraceSearch(HEADER[3:35], 0, None)
    ]


async def test_spans_from_before_the_fact_are_not_searched_and_an_instant_has_a_margin(service: Running) -> None:
    with span("risk.assess", parent=HEADER) as root:
        root.wrote = True
    answer = await ask(service, trace_ids=[HEADER[3:35]])
    kept = answer.oldest_span_at_micros
    assert answer.HasField("oldest_span_at_micros")
    assert (await ask(service, trace_ids=[HEADER[3:35]], since_micros=kept + SKEW_MICROS - 1_000_000)).spans
    assert not (await ask(service, trace_ids=[HEADER[3:35]], since_micros=kept + SKEW_MICROS + 1_000_000)).spans
    assert (answer.records_left_out, answer.days_left_out, answer.spans_left_out) == (0, 0, 0)


async def test_without_records_there_is_no_instant_since_when_they_are_kept(service: Running) -> None:
    answer = await ask(service, trace_ids=["f" * 32])
    assert not answer.HasField("oldest_span_at_micros")


async def test_what_is_told_of_a_span_is_bounded(service: Running) -> None:
    more = {f"luxor.number_{number:02d}": number for number in range(40)}
    with span("risk.assess", parent=HEADER, attributes={"luxor.long": "ä" * 1000, "n" * 100: 1, **more}) as root:
        root.fail("E" * 500)
    (told,) = (await ask(service, trace_ids=[HEADER[3:35]])).spans
    assert len(told.failure) == 100
    assert len(told.attributes) == 32
    assert told.attributes[0].value == "ä" * (VALUE_CHARACTERS_MAX - 1) + "…"
    assert told.attributes[1].name == "n" * 64
