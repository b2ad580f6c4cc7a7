"""The one interceptor: an ordered list of steps around every call.

Outermost first, and why each stands where it does:

1. request id and trace   everything after it, the refusals too, is told under them
2. metrics                count what the client saw, so they stand around the mapping of errors
3. error mapping          every step below may refuse; nothing but our error model passes
4. identity               before anything is spent on a stranger
5. authorisation          needs the identity alone; a role that may not call takes no place from those who may
6. admission              before time and memory are spent; needs the identity to be fair
7. deadline               a call that waits in no queue has its whole time from here on
8. validation             costs the most of all steps (it parses), so it comes last and under the deadline

The list is compiled into each method's handler when it is registered, since stacked aio interceptors cost 8 to 15 % of
the throughput.
"""

import asyncio
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError, Message
from prometheus_client.core import CounterMetricFamily

from libs import telemetry
from libs.server import identity
from libs.server.admission import Gate
from libs.server.call import Call, enter
from libs.server.config import ServerConfig
from libs.server.errors import STATUS_KEY, Refusal, refusal_of
from libs.server.findings import drop_unknown
from libs.server.identity import Identity, Role
from libs.telemetry import trace

OPEN_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""What every holder of a certificate of this CA may call; outside of the list, since it must answer under any load."""

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_log = telemetry.get_logger()
_seconds = telemetry.LoopHistogram("luxor_call_seconds", "Time of a call as served", ("method", "code"), of_spans=True)
_unknown = telemetry.counter("luxor_unknown_fields_total", "Unknown protobuf fields found in requests", ("method",))
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are the service's own trouble: they mark its span as failed; the others are the caller's."""
_OWN_REASONS = frozenset({"STORE_FULL"})
"""Reasons that are the service's own trouble although their code is the caller's."""
_store_full = telemetry.counter(
    "luxor_calls_store_full_total",
    "Calls refused since the own store's disk is full: the service's own fault under a code that is else the caller's",
)
_in_flight = telemetry.gauge("luxor_calls_in_flight", "Calls running now", ("kind",))


@dataclass(slots=True)
class Method:
    """What the chain knows about one RPC."""

    name: str
    roles: frozenset[Role]
    long_poll: bool
    message_class: type[Message]
    serialize: Callable[[Any], bytes]
    bytes_taken: int = 0
    attributes: dict[str, trace.AttributeValue] = field(default_factory=dict)


class BytesTaken:
    """Tells the bytes of requests at each scrape: an addition a call costs less than a counter with labels."""

    def __init__(self) -> None:
        """Tell of no method yet."""
        self.methods: dict[str, Method] = {}

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the totals, as Prometheus' client asks for them."""
        family = CounterMetricFamily("luxor_request_bytes", "Bytes of requests taken", labels=("method",))
        for name, method in list(self.methods.items()):
            family.add_metric((name,), method.bytes_taken)
        yield family


_taken = BytesTaken()
telemetry.metrics.REGISTRY.register(_taken)


class Chain(grpc.aio.ServerInterceptor):
    """Serves registered methods through the list above."""

    def __init__(self, config: ServerConfig) -> None:
        """Take limits and the deployment from the configuration."""
        self._config = config
        self._deployment = config.deployment
        self._compiled: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self.missing: list[str] | None = ["not started"]
        """What the service still waits for; None once calls may come in."""
        self.gate = Gate(config.in_flight_max, config.in_flight_per_caller_max)
        self.long_polls = Gate(config.long_polls_max, config.long_polls_per_caller_max, "TOO_MANY_LONG_POLLS")
        self._answer_bytes_max = 2 * config.message_bytes_max
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6)
        _in_flight.labels("call").set_function(lambda: self.gate.in_flight)
        _in_flight.labels("long_poll").set_function(lambda: self.long_polls.in_flight)

    def register(
        self, name: str, handler: "grpc.RpcMethodHandler[Any, Any]", roles: frozenset[Role], *, long_poll: bool
    ) -> None:
        """Compile the list into one method's handler.

        `name` is /package.Service/Method. Unary and server-streaming methods are taken; raise TypeError for others and
        for handlers that are no coroutine functions.
        """
        message_class = getattr(handler.request_deserializer, "__self__", None)
        if not (isinstance(message_class, type) and issubclass(message_class, Message)):
            raise TypeError(f"{name} has no protobuf request")
        assert handler.response_serializer is not None
        method = Method(name, roles, long_poll, message_class, handler.response_serializer)
        service, _, rpc = name[1:].rpartition("/")
        method.attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc}
        _taken.methods[name] = method
        if handler.unary_unary is not None and asyncio.iscoroutinefunction(handler.unary_unary):
            served = _raw(grpc.unary_unary_rpc_method_handler, self._unary(method, handler.unary_unary))
        elif handler.unary_stream is not None:
            served = _raw(grpc.unary_stream_rpc_method_handler, self._stream(method, cast(Any, handler.unary_stream)))
        else:
            raise TypeError(f"{name} must be a coroutine function (unary) or an async generator (server streaming)")
        self._compiled[name] = served

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the compiled handler; health and reflection pass; of unknown methods say so in our error model."""
        found = self._compiled.get(handler_call_details.method)
        if found is not None:
            return found
        if handler_call_details.method.startswith(OPEN_PREFIXES):
            return await continuation(handler_call_details)
        return _raw(grpc.unary_unary_rpc_method_handler, self._unknown(handler_call_details.method))

    def _unary(self, method: Method, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[bytes]]:
        gate = self.long_polls if method.long_poll else self.gate

        async def serve(raw: bytes, context: Any) -> bytes:
            begun = monotonic()
            request_id, span = self._context(method, context)
            caller: Identity | None = None
            code = "CANCELLED"
            refusal: Refusal | None = None
            limit: asyncio.Timeout | None = None
            ends_at = float("inf")
            try:
                who = self._admit(method, gate, context, span)
                caller = who
                seconds, is_cut = self._time(method, context)
                ends_at = begun + seconds
                call = Call(who, method.name, request_id, telemetry.traceparent(), ends_at)
                enter(call)
                request = self._parse(method, raw, call)
                if is_cut:
                    async with asyncio.timeout(seconds) as limit:
                        answer: bytes = method.serialize(await behaviour(request, context))
                else:
                    # gRPC's core cancels the task when the client's own deadline passes, also where the client is gone.
                    answer = method.serialize(await behaviour(request, context))
                if len(answer) > self._answer_bytes_max:
                    raise Refusal("ANSWER_TOO_LARGE", bytes=len(answer), bytes_max=self._answer_bytes_max)
                code = "OK"
                return answer
            except Exception as error:
                # A timeout of the handler's own (a store's, a neighbour's) is an error like others: only ours is the
                # deadline.
                late = isinstance(error, TimeoutError) and limit is not None and limit.expired()
                refusal = self._refusal(error, method, request_id, late, monotonic() - begun)
                code = refusal.code.name
            finally:
                # Also when the client went away, which is a cancellation and passes.
                now = monotonic()
                seconds = now - begun
                if code == "CANCELLED" and now >= ends_at:
                    code = "DEADLINE_EXCEEDED"
                if caller is not None:
                    gate.leave(caller, seconds)
                _seconds.observe(seconds, method.name, code)
                _end(span, code, refusal)
            assert refusal is not None
            await _abort(context, refusal, request_id)

        return serve

    def _stream(
        self, method: Method, behaviour: Callable[..., AsyncIterator[Any]]
    ) -> Callable[..., AsyncIterator[bytes]]:
        gate = self.long_polls if method.long_poll else self.gate

        async def serve(raw: bytes, context: Any) -> AsyncIterator[bytes]:
            begun = monotonic()
            request_id, span = self._context(method, context)
            caller: Identity | None = None
            code = "CANCELLED"
            refusal: Refusal | None = None
            limit: asyncio.Timeout | None = None
            ends_at = float("inf")
            answers: AsyncIterator[Any] | None = None
            try:
                who = self._admit(method, gate, context, span)
                caller = who
                seconds, _ = self._time(method, context)
                ends_at = begun + seconds
                call = Call(who, method.name, request_id, telemetry.traceparent(), ends_at)
                enter(call)
                answers = behaviour(self._parse(method, raw, call), context)
                while True:
                    # The limit is around each answer, not around the yield: this generator may be left waiting there.
                    try:
                        async with asyncio.timeout(call.deadline) as limit:
                            answer = method.serialize(await anext(answers))
                    except StopAsyncIteration:
                        break
                    if len(answer) > self._answer_bytes_max:
                        raise Refusal("ANSWER_TOO_LARGE", bytes=len(answer), bytes_max=self._answer_bytes_max)
                    yield answer
                code = "OK"
                return
            except Exception as error:
                late = isinstance(error, TimeoutError) and limit is not None and limit.expired()
                refusal = self._refusal(error, method, request_id, late, monotonic() - begun)
                code = refusal.code.name
            finally:
                now = monotonic()
                seconds = now - begun
                if code == "CANCELLED" and now >= ends_at:
                    code = "DEADLINE_EXCEEDED"
                if caller is not None:
                    gate.leave(caller, seconds)
                _seconds.observe(seconds, method.name, code)
                _end(span, code, refusal)
                close = getattr(answers, "aclose", None)
                if close is not None:
                    await close()
            assert refusal is not None
            await _abort(context, refusal, request_id)

        return serve

    def _unknown(self, name: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(_raw: bytes, context: Any) -> bytes:
            request_id, _ = self._context(None, context)
            # Not under its name: callers may make names up without end.
            _seconds.observe(0.0, "unknown", "UNIMPLEMENTED")
            await _abort(context, Refusal("METHOD_UNKNOWN", method=name), request_id)

        return serve

    def _context(self, method: Method | None, context: Any) -> tuple[str, trace.Span | None]:
        """Step 1: the client's request id and trace if they are well formed, else new ones.

        A call is a span of its trace; a long poll is none, since it mostly waits.
        """
        request_id, header = "", ""
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                header = value
            elif key == REQUEST_ID_KEY and _REQUEST_ID.fullmatch(value):
                request_id = value
        request_id = request_id or f"{self._id_prefix}-{next(self._ids)}"
        if method is None or method.long_poll:
            telemetry.use_traceparent(header)
            return request_id, None
        span = trace.server_span(method.name[1:], header).begin()
        span.set(**method.attributes)
        return request_id, span

    def _admit(self, method: Method, gate: Gate, context: Any, span: trace.Span | None) -> Identity:
        """Steps 4 to 6: who calls, whether the role may, and whether there is room now."""
        who: Identity | None = None
        try:
            who = identity.of(context.auth_context(), self._deployment)
        finally:
            _head(span, who)
        if who.role not in method.roles:
            raise Refusal("ROLE_NOT_ALLOWED", role=who.role, method=method.name, roles=", ".join(sorted(method.roles)))
        if self.missing is not None:
            raise Refusal("NOT_READY", missing="; ".join(self.missing), retry_after_seconds=0.5)
        gate.enter(who)
        return who

    def _time(self, method: Method, context: Any) -> tuple[float, bool]:
        """Step 7: the seconds that the call has, and whether they are fewer than the client gave."""
        longest = self._config.long_poll_seconds_max if method.long_poll else self._config.deadline_seconds_max
        remaining: float | None = context.time_remaining()
        if remaining is None:
            raise Refusal("DEADLINE_REQUIRED", seconds_max=f"{longest:g}")
        return (longest, True) if remaining > longest else (remaining, False)

    def _parse(self, method: Method, raw: bytes, call: Call) -> Message:
        """Step 8: the documented size, bytes that are a message, fields that are known."""
        size = len(raw)
        if size > self._config.message_bytes_max:
            raise Refusal("MESSAGE_TOO_LARGE", bytes=size, bytes_max=self._config.message_bytes_max)
        try:
            request = method.message_class.FromString(raw)
        except DecodeError:
            raise Refusal("UNDECODABLE", message=method.message_class.DESCRIPTOR.full_name) from None
        method.bytes_taken += size
        found = drop_unknown(request, raw)
        if found:
            call.findings.extend(found)
            _unknown.labels(method.name).inc(len(found))
            path, number = found[0]
            # Which party it is, is nobody's matter here: it reads the finding in its own answer.
            role = call.identity.role.value
            _log.warning("UNKNOWN_FIELD", role=role, method=method.name, path=path, field_number=number)
        return request

    def _refusal(self, error: Exception, method: Method, request_id: str, late: bool, seconds: float) -> Refusal:
        """Step 3: what the client is told, and what the log is told beside."""
        refusal = Refusal("DEADLINE_EXCEEDED", seconds=f"{seconds:.3g}") if late else refusal_of(error)
        if refusal.reason in _OWN_REASONS:
            _store_full.inc()
        if refusal.reason == "INTERNAL":
            _log.error("INTERNAL", error, method=method.name, request_id=request_id, **refusal.facts)
        else:
            cause = "" if error is refusal or late else type(error).__name__
            _log.info(refusal.reason, method=method.name, request_id=request_id, path=refusal.path, cause=cause)
        return refusal


def _head(span: trace.Span | None, who: Identity | None) -> None:
    """Note the caller's role; where the call comes from outside of the system, its trace's head is here."""
    if span is not None and who is not None:
        span.set(**{"luxor.caller.role": who.role.value})
    if who is not None and who.role is Role.SERVICE:
        return
    if span is None:
        trace.unsample_head()
    else:
        trace.sample_head(span)


def _end(span: trace.Span | None, code: str, refusal: Refusal | None) -> None:
    if span is None:
        return
    if code != "OK":
        span.set(**{"rpc.response.status_code": code, "error.type": code if refusal is None else refusal.reason})
        if code in _FAULTS or (refusal is not None and refusal.reason in _OWN_REASONS):
            span.fail(code if refusal is None else refusal.reason)
    span.end()


def _raw(make: Callable[..., Any], behaviour: Callable[..., Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler of bytes: parsing and serialising happen inside of the chain, where errors are mapped."""
    return cast("grpc.RpcMethodHandler[Any, Any]", make(behaviour))


async def _abort(context: Any, refusal: Refusal, request_id: str) -> NoReturn:
    status = refusal.status(request_id)
    await context.abort(refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    raise AssertionError("abort raises")


def roles_of(service: str, methods: Mapping[str, Any], roles: Mapping[str, set[Role]]) -> dict[str, frozenset[Role]]:
    """Return the roles by method; raise ValueError where methods and roles differ: nothing is open by mistake."""
    without, unknown = sorted(set(methods) - set(roles)), sorted(set(roles) - set(methods))
    if without or unknown:
        raise ValueError(f"{service}: methods without roles {without}, roles for unknown methods {unknown}")
    return {name: frozenset(roles[name]) for name in methods}
