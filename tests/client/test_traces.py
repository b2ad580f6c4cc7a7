"""Asking all services for a consignment's traces: from when on, how many, and what is told as left out."""

import io
from typing import Any, cast

from rich.console import Console

from libs.cli.views.trace import show
from libs.client.client import Client
from libs.client.traces import SERVICES, TRACES_MAX, Story, find_story
from libs.customs.identifiers import mrn
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1.clearance_pb2 import STATE_HELD
from luxor.trace.v1 import trace_pb2 as pb

MRN = "26DE32329000033OR6"
DAY = mrn.parse(MRN).day * MICROS_PER_DAY
ACCEPTED = DAY + 3_600_000_000


def header(number: int) -> str:
    return f"00-{number:032x}-{number:016x}-00"


class Services:
    """Stands for the client: each service knows the facts it is given here."""

    def __init__(self, facts: dict[str, list[pb.Fact]]) -> None:
        self.facts = facts
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def find_traces(self, service: str, *, timeout_seconds: float, **what: Any) -> pb.FindTracesResponse:
        self.asked.append((service, what))
        return pb.FindTracesResponse(
            service=service,
            facts=self.facts.get(service, []) if what.get("mrn") else [],
            spans_left_out=1,
            records_left_out=10,
            days_left_out=100,
        )

    async def story(self) -> Story:
        return await find_story(cast(Client, self), mrn=MRN)


async def test_the_traces_named_are_asked_for_from_the_first_fact_s_time_on() -> None:
    services = Services(
        {
            "ingestion": [
                pb.Fact(kind=pb.FACT_KIND_ACCEPTED, version=1, happened_at_micros=ACCEPTED, traceparent=header(1))
            ],
            "clearance": [
                pb.Fact(kind=pb.FACT_KIND_CHANGED, version=1, happened_at_micros=ACCEPTED + 5, traceparent=header(2))
            ],
            "risk": [pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=header(1))],
        }
    )
    story = await services.story()
    first, second = services.asked[: len(SERVICES)], services.asked[len(SERVICES) :]
    assert all("since" not in what for _, what in first), "the service itself knows best"
    assert [service for service, _ in second] == list(SERVICES)
    for _, what in second:
        assert what == {"trace_ids": [header(1)[3:35], header(2)[3:35]], "since": ACCEPTED}
    assert (story.left_out, story.records_left_out, story.days_left_out) == (10, 100, 1000)
    assert story.oldest_span_at_micros == dict.fromkeys(SERVICES)


async def test_where_no_fact_tells_its_time_the_mrn_s_day_does() -> None:
    services = Services({"risk": [pb.Fact(kind=pb.FACT_KIND_ASSESSED, version=1, traceparent=header(1))]})
    await services.story()
    assert {what["since"] for _, what in services.asked[len(SERVICES) :]} == {DAY}


async def test_more_traces_than_may_be_asked_for_are_told_with_all_that_is_left_out() -> None:
    facts = [
        pb.Fact(
            kind=pb.FACT_KIND_CHANGED,
            version=number,
            happened_at_micros=ACCEPTED,
            traceparent=header(number),
            state=STATE_HELD,
        )
        for number in range(1, TRACES_MAX + 4)
    ]
    services = Services({"clearance": facts})
    story = await services.story()
    assert {len(what["trace_ids"]) for _, what in services.asked[len(SERVICES) :]} == {TRACES_MAX}
    assert story.traces_left_out == 3
    out = Console(file=io.StringIO(), width=200)
    show(out, MRN, story, everything=False, slow_micros=1_000_000)
    drawn = cast(io.StringIO, out.file).getvalue()
    assert "changed it to held (version 1" in drawn
    assert "this service stores none, or has not written any yet" in drawn
    for line in (
        "10 more spans were found and are left out",
        "100 more records name these traces and were not read",
        "1,000 days of records were not searched",
        "3 more traces were named and not searched",
    ):
        assert line in drawn
