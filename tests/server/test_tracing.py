"""TraceService: who may ask, what is refused, what is told of a batch that a service worked on."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from libs.server.channel import invoke
from libs.server.errors import reason_of
from libs.server.launch import Start
from libs.server.testing import Running, running
from libs.server.tracing import Traces
from libs.telemetry import span
from luxor.trace.v1 import trace_pb2 as pb
from luxor.trace.v1.trace_pb2_grpc import TraceServiceStub

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


async def ask(service: Running, role: str = "operator", **what: Any) -> pb.FindResponse:
    stub: Any = TraceServiceStub(await service.channel(role, "somebody"))
    answer: pb.FindResponse = await invoke(stub.Find, pb.FindRequest(**what), timeout=10)
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
    assert outer.started_at <= inner.started_at <= inner.ended_at <= outer.ended_at
    assert answer.kept_since > 0
    by_trace = await ask(service, role="officer", trace_ids=[HEADER[3:35]])
    assert [each.span_id for each in by_trace.spans] == [outer.span_id, inner.span_id]
    assert not by_trace.facts
    assert not (await ask(service, trace_ids=["f" * 32])).spans
    assert not (await ask(service, trace_ids=[HEADER[3:35]], since=answer.kept_since + 3_600_000_000)).spans


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
        ({"trace_ids": ["a" * 32] * 65}, "TRACES_TOO_MANY"),
    ],
)
async def test_what_names_nothing_or_too_much_is_refused(service: Running, what: dict[str, Any], reason: str) -> None:
    assert await refusal(service, **what) == reason
