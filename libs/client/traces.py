"""Finds the spans of one consignment, or of traces, in the records of all services."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.customs.identifiers import mrn as mrns
from libs.customs.time import MICROS_PER_DAY
from libs.telemetry.context import trace_of
from luxor.trace.v1 import trace_pb2

SERVICES: Final = ("ingestion", "clearance", "risk", "revenue", "statistics")
"""In the order in which a consignment meets them."""
ASK_SECONDS: Final = 5.0
TRACES_MAX: Final = 64
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ServiceSpan:
    """A span, and the service that recorded it."""

    service: str
    span: trace_pb2.Span


@dataclass(slots=True)
class Story:
    """The facts and spans of all services."""

    facts: list[tuple[str, trace_pb2.Fact]] = field(default_factory=list)
    """Service and fact, in the order of services and versions."""
    spans: dict[str, ServiceSpan] = field(default_factory=dict)
    """By span id."""
    silent: dict[str, LuxorError] = field(default_factory=dict)
    """Services that did not answer."""
    oldest_span_at_micros: dict[str, int | None] = field(default_factory=dict)
    """Time of the oldest stored span of a service, microseconds; None if it stores none."""
    left_out: int = 0
    """Spans that were found and are not in the answer."""
    records_left_out: int = 0
    """Records that name the traces and were not read."""
    days_left_out: int = 0
    """Days that were not searched, summed over the services."""
    traces_left_out: int = 0
    """Traces that were named and not asked for."""

    @property
    def is_known(self) -> bool:
        """Whether there is a fact or a span."""
        return bool(self.facts or self.spans)


def is_trace_id(text: str) -> bool:
    """Return whether a text is a trace id and not an MRN."""
    return _TRACE_ID.fullmatch(text) is not None


async def find_story(client: Client, *, mrn: str = "", trace_ids: Sequence[str] = ()) -> Story:
    """Return the spans of a consignment or of traces from all services, with those of the traces that other services named.

    A service that does not answer is named in the story; raise LuxorError where none does, or where the request itself is
    refused.
    """
    story = Story()

    async def ask(service: str, **criteria: object) -> trace_pb2.FindTracesResponse | None:
        try:
            return await client.find_traces(service, timeout_seconds=ASK_SECONDS, **criteria)  # type: ignore[arg-type]
        except LuxorError as error:
            story.silent[service] = error
            return None

    first = await _all(lambda service: ask(service, mrn=mrn, trace_ids=trace_ids), SERVICES)
    if not any(first):
        raise next(iter(story.silent.values()))
    _take(story, first)
    for service, answer in zip(SERVICES, first, strict=True):
        if answer is not None:
            story.facts.extend((service, fact) for fact in answer.facts)
    named = dict.fromkeys(trace_of(fact.traceparent) for _, fact in story.facts if fact.traceparent)
    further = [each for each in named if each not in trace_ids]
    if further:
        story.traces_left_out = max(0, len(further) - TRACES_MAX)
        # By the clock of the service that noted it; the others look from some minutes before it on.
        since = min(
            (fact.happened_at_micros for _, fact in story.facts if fact.HasField("happened_at_micros")),
            default=_day_of(mrn),
        )
        answering = [service for service in SERVICES if service not in story.silent]
        _take(
            story,
            await _all(lambda service: ask(service, trace_ids=further[:TRACES_MAX], since=since), answering),
        )
    return story


def _day_of(number: str) -> int | None:
    """Return the instant at which the day of an MRN's acceptance began, or None if the MRN has none."""
    try:
        return mrns.parse(number).day * MICROS_PER_DAY
    except mrns.MrnError:
        return None


async def _all(
    ask: Callable[[str], Awaitable[trace_pb2.FindTracesResponse | None]], services: Sequence[str]
) -> list[trace_pb2.FindTracesResponse | None]:
    return list(await asyncio.gather(*(ask(service) for service in services)))


def _take(story: Story, answers: Iterable[trace_pb2.FindTracesResponse | None]) -> None:
    for answer in answers:
        if answer is None:
            continue
        story.oldest_span_at_micros[answer.service] = (
            answer.oldest_span_at_micros if answer.HasField("oldest_span_at_micros") else None
        )
        story.left_out += answer.spans_left_out
        story.records_left_out += answer.records_left_out
        story.days_left_out += answer.days_left_out
        for each in answer.spans:
            story.spans.setdefault(each.span_id, ServiceSpan(answer.service, each))
