"""What the chain knows about one RPC: its limits and rights, the bytes of its requests, and the span of a call."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from prometheus_client.core import CounterMetricFamily

from libs import telemetry
from libs.bounds import MessageBounds
from libs.server.admission.gates import Gates
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.telemetry import trace

_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes of errors of the service: they mark its span as failed; the others are errors of the caller."""
OWN_REASONS = frozenset({"STORE_FULL"})
"""Reasons that are errors of the service although their code is one of callers' errors."""


@dataclass(slots=True)
class Method:
    """What the chain knows about one RPC."""

    name: str
    roles: frozenset[Role]
    long_poll: bool
    message_class: type[Message]
    bounds: MessageBounds
    serialize: Callable[[Any], bytes]
    services: frozenset[str]
    """The ids with which the role `service` may call."""
    gates: Gates
    bytes_taken: int = 0
    attributes: dict[str, trace.AttributeValue] = field(default_factory=dict)


class BytesTaken:
    """Collector of the bytes of requests: an addition for each call costs less than a counter with labels."""

    def __init__(self) -> None:
        """Begin without methods."""
        self.methods: dict[str, Method] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Return the totals in the form of Prometheus' client."""
        family = CounterMetricFamily("luxor_request_bytes", "Bytes of received requests", labels=("method",))
        for name, method in list(self.methods.items()):
            family.add_metric((name,), method.bytes_taken)
        yield family


def begin_span(method: Method, header: str, caller: Identity | None) -> trace.Span | None:
    """Begin the span of a call: where it comes from outside of the system, its trace's head is here.

    A call is a span of its trace; a long poll is none, since it mostly waits; nor is a call for which there is no room.
    """
    outside = caller is None or caller.role is not Role.SERVICE
    if method.long_poll:
        telemetry.use_traceparent(header)
        if outside:
            trace.unsample_head()
        return None
    span = trace.server_span(method.name[1:], header).begin()
    span.set(**method.attributes)
    if caller is not None:
        span.set(**{"luxor.caller.role": caller.role.value})
    if outside:
        trace.sample_head(span)
    return span


def end_span(span: trace.Span | None, code: str, refusal: Refusal | None) -> None:
    """End the span of a call with its code, and mark it as failed where the fault is the service's own."""
    if span is None:
        return
    if code != "OK":
        span.set(**{"rpc.response.status_code": code, "error.type": code if refusal is None else refusal.reason})
        if code in _SERVER_ERRORS or (refusal is not None and refusal.reason in OWN_REASONS):
            span.fail(code if refusal is None else refusal.reason)
    span.end()
