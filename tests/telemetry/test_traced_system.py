"""A whole system that exports to a real OTLP receiver: one trace from the filer's call to the statistics, nothing personal in it."""

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message

from libs.telemetry import trace
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.support.flow import local_system
from tests.telemetry.receiver import Receiver, attributes, receiving
from tests.telemetry.traced_filing import BATCH, consignments, counted, environment, filing

pytestmark = pytest.mark.long

SERVICES = {f"luxor-{name}" for name in ("ingestion", "clearance", "risk", "revenue", "statistics")}
SUBMIT = "luxor.ingestion.v1.IngestionService/SubmitConsignments"
ASSESS_RISK = "luxor.risk.v1.RiskService/AssessConsignments"
INTERNAL, SERVER, CLIENT, CONSUMER = 1, 2, 3, 5
CHARACTERS_MIN = 5
"""Shorter texts (codes of countries, currencies, kinds) stand in bytes by chance, and are no one's."""


def texts(message: Message) -> Iterator[str]:
    """Give every text in a message, however deep."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if field.message_type is not None:
                yield from texts(each)
            elif isinstance(each, str):
                yield each


@pytest.fixture(scope="module", autouse=True)
def _nothing_set_up_before() -> None:
    """Callers of these systems ask for no sampling, whatever tests before set up in this process."""
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


async def until(receiver: Receiver, condition: Any, what: str) -> list[tuple[str, Any]]:
    """Wait until what has arrived meets a condition: spans are sent once a second."""
    ends_at = time.monotonic() + 60
    while not condition(spans := receiver.spans):
        assert time.monotonic() < ends_at, (what, sorted({(service, span.name) for service, span in spans}))
        await asyncio.sleep(0.05)
    return spans


def failures(spans: list[tuple[str, Any]], name: str) -> set[bytes]:
    """Give the traces in which a span of this name failed."""
    return {span.trace_id for _, span in spans if span.name == name and span.status.code == 2}


class Graph:
    """Exported spans, by what leads from one to the other."""

    def __init__(self, spans: list[tuple[str, Any]]) -> None:
        self.spans = spans
        self.by_id = {span.span_id: (service, span) for service, span in spans}

    def named(self, name: str, service: str = "") -> list[Any]:
        return [span for whose, span in self.spans if span.name == name and service in ("", whose)]

    def parent(self, span: Any) -> Any:
        found = self.by_id.get(span.parent_span_id)
        return None if found is None else found[1]

    def service(self, span: Any) -> str:
        return self.by_id[span.span_id][0]


@dataclass
class Traced:
    """What was filed, first batch by batch and then while clearance was away, and the spans of each part."""

    batches: list[list[Consignment]]
    receiver: Receiver
    one_by_one: Graph
    mixed: Graph


@pytest.fixture(scope="module")
def traced(_nothing_set_up_before: None) -> Traced:
    return asyncio.run(filings())


async def filings() -> Traced:
    """File batches one by one, then some while clearance is away, so that it takes up many at once."""
    batches = consignments(9 * BATCH, 20_261_125)
    apart, together = batches[:4], batches[4:]
    with receiving() as receiver:
        async with (
            local_system(env=environment(receiver.endpoint, LUXOR_TRACE_RATIO="1")) as system,
            filing(system) as flow,
        ):
            # One after the other, so that each is decided apart from the others, whatever the machine's speed.
            for place, batch in enumerate(apart):
                await flow.submit(batch, f"traced-{place}")
                await counted(flow)
            for place, batch in enumerate(apart):
                await flow.arrive(batch, name=f"traced-arrival-{place}")
            await flow.settled(len(flow.filed.accepted))
            await until(
                receiver,
                lambda found: sum(span.name == "statistics.consume" for _, span in found) > len(apart),
                "counting",
            )
            begins = time.time_ns()
            system.kill("clearance", signal.SIGSTOP)
            for place, batch in enumerate(together):
                await flow.submit(batch, f"mixed-{place}")
            system.kill("clearance", signal.SIGCONT)
            for place, batch in enumerate(together):
                await flow.arrive(batch, name=f"mixed-arrival-{place}")
            await flow.settled(len(flow.filed.accepted))
    before = [each for each in receiver.spans if each[1].start_time_unix_nano < begins]
    after = [each for each in receiver.spans if each[1].start_time_unix_nano >= begins]
    return Traced(batches, receiver, Graph(before), Graph(after))


@pytest.mark.timeout(300)
def test_one_trace_leads_from_the_filer_s_call_to_the_statistics_with_nothing_personal_in_it(traced: Traced) -> None:
    graph = traced.one_by_one
    assert {service for service, _ in graph.spans} == SERVICES
    calls = sorted(graph.named(SUBMIT), key=lambda span: int(span.start_time_unix_nano))
    assert len({call.trace_id for call in calls}) == 4, "each call of the client is a trace"
    # A consumer that is new reads the present state, which tells no trace, so the first batch may have been cut.
    for call in calls[1:]:
        check_one_call(graph, call)

    for part in (graph, traced.mixed):
        for name in ("luxor.feed.v1.FeedService/PullEvents", "grpc.health.v1.Health/Check"):
            assert not part.named(name), "long polls and health are no spans"
    check_transactions(graph)
    check_resources(traced.receiver)

    raw = b"".join(request.SerializeToString() for request in traced.receiver.requests)
    private = {
        text for batch in traced.batches for each in batch for text in texts(each) if len(text) >= CHARACTERS_MIN
    }
    assert len(private) > 500
    leaked = sorted(text for text in private if text.encode() in raw)
    assert leaked == []
    assert b"flow-filer" not in raw, "not even who filed"


def check_one_call(graph: Graph, call: Any) -> None:
    """Follow one filing down to statistics, by parents and links."""
    told = attributes(call)
    assert (call.kind, call.flags & 1) == (SERVER, 1)
    assert (told["rpc.system"], told["rpc.method"], told["luxor.rows"], told["luxor.caller.role"]) == (
        "grpc", "SubmitConsignments", BATCH, "filer",
    )  # fmt: skip
    of_trace = [span for _, span in graph.spans if span.trace_id == call.trace_id]

    def only(name: str, service: str) -> Any:
        (found,) = [span for span in of_trace if span.name == name and graph.service(span) == service]
        return found

    consume = only("clearance.consume", "luxor-clearance")
    assert consume.kind == CONSUMER
    assert graph.parent(consume) is call, "all of the batch is of one trace, so it is worked on in that trace"
    (link,) = consume.links
    assert (link.trace_id, link.span_id, link.flags & 1) == (call.trace_id, call.span_id, 1)
    assert attributes(consume)["messaging.destination.name"] == "ingestion"

    decide = only("clearance.decide", "luxor-clearance")
    assert graph.parent(decide) is consume
    assert attributes(decide)["luxor.rows"] == BATCH
    for neighbour in ("risk", "revenue"):
        name = f"luxor.{neighbour}.v1.{neighbour.capitalize()}Service/AssessConsignments"
        asking, serving = only(name, "luxor-clearance"), only(name, f"luxor-{neighbour}")
        assert (asking.kind, serving.kind) == (CLIENT, SERVER)
        assert graph.parent(asking) is decide
        assert graph.parent(serving) is asking
        assert attributes(serving)["luxor.caller.role"] == "service"
        work = only(f"{neighbour}.assess", f"luxor-{neighbour}")
        assert (work.kind, graph.parent(work)) == (INTERNAL, serving)
        # Both clocks are this machine's, so a child is inside of its parent.
        assert asking.start_time_unix_nano <= serving.start_time_unix_nano
        assert serving.end_time_unix_nano <= asking.end_time_unix_nano

    counting = only("statistics.consume", "luxor-statistics")
    assert graph.parent(counting) is decide
    assert [link.span_id for link in counting.links] == [decide.span_id]
    assert attributes(counting)["messaging.destination.name"] == "clearance"


def check_transactions(graph: Graph) -> None:
    """See that each service's transactions are told inside of its own work."""
    for service in SERVICES:
        short = service.removeprefix("luxor-")
        found = graph.named(f"{short} transaction", service)
        assert found, service
        for span in found:
            told = attributes(span)
            assert (span.kind, told["db.system.name"], told["db.namespace"]) == (CLIENT, "postgresql", f"luxor_{short}")
            assert told["luxor.db.statements"] >= 3
            assert told["luxor.db.commit_us"] >= 0
            above = graph.parent(span)
            assert above is not None
            assert graph.service(above) == service


def check_resources(receiver: Receiver) -> None:
    """See that each process says which it is."""
    instances = {each["service.name"]: each["service.instance.id"] for each in receiver.resources}
    assert len(set(instances.values())) == len(SERVICES)
    assert {each["deployment.environment.name"] for each in receiver.resources} == {"luxor"}


@pytest.mark.timeout(300)
def test_a_mixed_batch_links_every_call_that_it_was_made_of(traced: Traced) -> None:
    graph = traced.mixed
    calls = {call.span_id: call for call in graph.named(SUBMIT)}
    assert len(calls) == 5
    consumed = [span for span in graph.named("clearance.consume") if len(span.links) > 1]
    assert consumed, "nothing was taken up together"
    linked: set[bytes] = set()
    for span in consumed:
        assert span.parent_span_id == b""
        assert span.trace_id not in {call.trace_id for call in calls.values()}
        assert span.flags & 1, "a batch is sampled where one of its sources is"
        assert all(link.flags & 1 for link in span.links)
        linked |= {link.span_id for link in span.links}
        (decide,) = [each for each in graph.named("clearance.decide") if graph.parent(each) is span]
        assert {link.span_id for link in decide.links} == {link.span_id for link in span.links}
        assert any(
            decide.span_id in {link.span_id for link in counting.links}
            for counting in graph.named("statistics.consume")
        )
    assert linked <= set(calls)


@pytest.mark.timeout(300)
async def test_without_sampling_what_failed_and_what_was_slow_is_exported_and_nothing_else() -> None:
    batches = consignments(2 * BATCH, 20_261_127)
    with receiving() as receiver:
        more = {
            "LUXOR_TRACE_RATIO": "0",
            "LUXOR_SLOW_MILLIS": "3600000",
            "LUXOR_REVENUE_SLOW_MILLIS": "1",
            "LUXOR_CLEARANCE_ASSESS_SECONDS": "3",
        }
        async with local_system(env=environment(receiver.endpoint, **more)) as system, filing(system) as flow:
            await flow.submit(batches[0], "fine")
            await counted(flow)
            await until(receiver, lambda found: any("Revenue" in span.name for _, span in found), "slow ones")
            system.kill("risk", signal.SIGSTOP)
            await flow.submit(batches[1], "without risk")
            await until(
                receiver,
                lambda found: bool(failures(found, "clearance.consume") & failures(found, ASSESS_RISK)),
                "failed ones",
            )
            system.kill("risk", signal.SIGCONT)
            await counted(flow)
        graph = Graph(receiver.spans)
        assert all(span.flags & 1 == 0 for _, span in receiver.spans), "none was sampled at its head"
        failed, inside = failures(receiver.spans, "clearance.consume"), failures(receiver.spans, ASSESS_RISK)
        assert failed & inside, "the call that failed is told with the batch"
        # Every batch of revenue takes over a millisecond, so all of its spans count as slow; nobody else's do.
        in_vain = {span.trace_id for _, span in receiver.spans if span.status.code == 2}
        assert {service for service, span in receiver.spans if span.trace_id not in in_vain} == {"luxor-revenue"}
        assert not graph.named(SUBMIT), "what went well and fast stays at home"
