"""The one interceptor: an ordered list of steps around every call.

Outermost first, and why each stands where it does:

1. request id and trace   everything after it, the refusals too, is told under them
2. metrics                count what the client saw, so they stand around the mapping of errors
3. error mapping          every step below may refuse; nothing but our error model passes
4. identity               before anything is spent on a stranger, or on a certificate that was revoked
5. authorisation          needs the identity alone; who may not call takes no place from those who may: a role, and of
                          services those whose connection is not in the map
6. admission              before time and memory are spent; needs the identity to be fair, and to give services places of
                          their own. Only then is the request received: until its call is admitted, the transport buffers
                          no more than one window of it
7. deadline               a call that waits in no queue has its whole time from here on; one that came without a
                          deadline has the longest that there is
8. validation             costs the most of all steps (it parses, and compares the request with the bounds of its contract), so
                          it comes last and under the deadline

The list is compiled into each method's handler when it is registered, since stacked aio interceptors cost 8 to 15 % of
the throughput.
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError, Message

from libs import telemetry
from libs.bounds import bounds_of
from libs.server import identity
from libs.server.admission.gate import Gate, Place
from libs.server.admission.gates import ServerGates
from libs.server.admission.overload import Brake, Overload, Refused
from libs.server.admission.receiving import OPEN_PREFIXES, REQUEST_ID, REQUEST_ID_KEY, OpenCalls, receive
from libs.server.call import Call, enter
from libs.server.config.deployment_map import Map
from libs.server.config.server_config import ServerConfig
from libs.server.errors import STATUS_KEY, Refusal, refusal_of, request_info
from libs.server.identity import Identity, Role
from libs.server.interceptor import bounds
from libs.server.interceptor.findings import drop_unknown
from libs.server.interceptor.methods import OWN_REASONS, BytesTaken, Method, begin_span, end_span
from libs.server.transport.revocations import Revocations
from libs.telemetry import trace

log = telemetry.get_logger()
call_seconds = telemetry.LoopHistogram(
    "luxor_call_seconds", "Duration of a call in the server", ("method", "code"), of_spans=True
)
_unknown = telemetry.counter("luxor_unknown_fields_total", "Unknown protobuf fields found in requests", ("method",))
_store_full = telemetry.counter(
    "luxor_calls_store_full_total",
    "Calls refused because the disk of the service's store is full: errors of the service, although the code usually stands for errors of callers",
)
_in_flight = telemetry.gauge("luxor_calls_in_flight", "Calls running now", ("kind",))
_waiting = telemetry.gauge("luxor_calls_waiting", "Calls waiting for a place")
_overload = telemetry.counter("luxor_calls_overload_total", "Calls refused because of a limit, by reason", ("reason",))


_taken = BytesTaken()
telemetry.metrics.REGISTRY.register(_taken)


class Chain(grpc.aio.ServerInterceptor):
    """Serves registered methods through the list above."""

    def __init__(self, config: ServerConfig, connections: Map) -> None:
        """Take limits and the deployment from the configuration, and from the map which services may call."""
        self._config = config
        self._connections = connections
        self._deployment = config.deployment
        self._compiled: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._methods: list[Method] = []
        self.missing: list[str] | None = ["not started"]
        """What the service still waits for; None once calls may come in."""
        self.drain = asyncio.Event()
        """Set once no new calls come in."""
        self.gates = ServerGates(config)
        self.revocations = Revocations(config.tls_dir)
        self.open_calls = OpenCalls(config.deployment, self.revocations)
        self._answer_bytes_max = 2 * config.message_bytes_max
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6)
        for kind, gates in self.gates.by_kind.items():
            _in_flight.labels(kind).set_function(partial(_running, gates))
        _waiting.set_function(lambda: sum(gate.waiting for each in self.gates.by_kind.values() for gate in each))

    def register(
        self,
        name: str,
        handler: "grpc.RpcMethodHandler[Any, Any]",
        roles: frozenset[Role],
        *,
        long_poll: bool,
        brake: Brake | None = None,
    ) -> None:
        """Compile the list into one method's handler.

        `name` is /package.Service/Method. Raise TypeError for a method that streams and for a handler that is no coroutine
        function. With a `brake`, the method's calls have a gate of their own.
        """
        message_class = getattr(handler.request_deserializer, "__self__", None)
        if not (isinstance(message_class, type) and issubclass(message_class, Message)):
            raise TypeError(f"{name} has no protobuf request")
        assert handler.response_serializer is not None
        gates = self.gates.long_polls if long_poll else self.gates.calls
        if brake is not None:
            gates = self.gates.with_brake(brake)
        services, checks = self.services_calling(name), bounds_of(message_class)
        method = Method(name, roles, long_poll, message_class, checks, handler.response_serializer, services, gates)
        service, _, rpc = name[1:].rpartition("/")
        method.attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": rpc}
        _taken.methods[name] = method
        self._methods.append(method)
        if not asyncio.iscoroutinefunction(handler.unary_unary):
            raise TypeError(f"{name} must be a coroutine function that takes one request and returns one answer")
        self._compiled[name] = _raw(grpc.stream_unary_rpc_method_handler, self._unary(method, handler.unary_unary))

    def services_calling(self, name: str) -> frozenset[str]:
        """Return the ids of the services that the map lets call an RPC, /package.Service/Method, of this service."""
        return self._connections.services_calling(self._config.service, name)

    def services_open_to(self, caller: Identity) -> list[str]:
        """Return the gRPC services of which an identity may call something; raise Refusal where there is none."""
        may = [each for each in self._methods if _allows(each, caller)]
        if not may:
            roles = sorted(frozenset[str]().union(*(each.roles for each in self._methods)) - {Role.SERVICE})
            raise Refusal(
                "ROLE_NOT_ALLOWED", role=caller.role, method="any method of this server", roles=", ".join(roles)
            )
        return sorted({each.name[1:].rpartition("/")[0] for each in may})

    @property
    def names(self) -> frozenset[str]:
        """The RPCs that are registered, as /package.Service/Method."""
        return frozenset(self._compiled)

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
            return self.open_calls.guard(await continuation(handler_call_details))
        return _raw(grpc.stream_unary_rpc_method_handler, self._unknown(handler_call_details.method))

    def _unary(self, method: Method, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[bytes]]:
        gates = method.gates

        async def serve(_messages: Any, context: Any) -> bytes:
            begun = monotonic()
            gate = gates.outside
            request_id, header = self._incoming(context)
            span: trace.Span | None = None
            place: Place | None = None
            overload: Refused | None = None
            code = "CANCELLED"
            refusal: Refusal | None = None
            limit: asyncio.Timeout | None = None
            ends_at = float("inf")
            raw, request = b"", None
            try:
                caller = self._caller(method, context, header)
                gate = gates.gate_for(caller)
                place = gate.enter(caller) or await gate.wait(caller)
                span = begin_span(method, header, caller)
                seconds, is_cut = self._time(method, context)
                ends_at = begun + seconds
                call = Call(caller, method.name, request_id, telemetry.traceparent(), ends_at, drain=self.drain)
                enter(call)
                raw = await receive(context, gate, place)
                call.size = len(raw)
                if not gate.received(place, len(raw)):
                    waiting, place = place, None
                    place = await gate.decode(waiting, caller)
                request, refused = self._parse(method, raw, call)
                raw = b""
                if is_cut:
                    async with asyncio.timeout(seconds) as limit:
                        message = await behaviour(request, context)
                else:
                    # gRPC's core cancels the task when the client's own deadline passes, also if the client has disconnected.
                    message = await behaviour(request, context)
                if refused:
                    bounds.put(message, refused)
                if method.long_poll:
                    # It may have waited since before the certificate was revoked.
                    self.revocations.check(context.auth_context())
                answer: bytes = method.serialize(message)
                if len(answer) > self._answer_bytes_max:
                    raise Refusal("ANSWER_TOO_LARGE", bytes=len(answer), bytes_max=self._answer_bytes_max)
                code = "OK"
                return answer
            except Overload as error:
                overload, code = error.refused, error.refused.code
            except Exception as error:
                # A timeout of the handler's own (a store's, a neighbour's) is an error like others: only ours is the
                # deadline.
                late = isinstance(error, TimeoutError) and limit is not None and limit.expired()
                refusal = self._refusal(error, method, request_id, late, monotonic() - begun)
                code = refusal.code.name
                raw, request = b"", None
                _drop_frames(error)
            finally:
                # Also when the client went away, which is a cancellation and passes.
                now = monotonic()
                seconds = now - begun
                if code == "CANCELLED" and now >= ends_at:
                    code = "DEADLINE_EXCEEDED"
                if place is not None:
                    gate.leave(place, seconds)
                call_seconds.observe(seconds, method.name, code)
                end_span(span, code, refusal)
            if overload is not None:
                await _abort_overload(context, overload, request_id)
            assert refusal is not None
            await _abort(context, refusal, request_id)

        return serve

    def _unknown(self, name: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(_messages: Any, context: Any) -> bytes:
            request_id, _ = self._incoming(context)
            # Not under its name: callers may make names up without end.
            call_seconds.observe(0.0, "unknown", "UNIMPLEMENTED")
            await _abort(context, Refusal("METHOD_UNKNOWN", method=name), request_id)

        return serve

    def _incoming(self, context: Any) -> tuple[str, str]:
        """Step 1: the client's request id if it is well formed, else a new one, and its traceparent."""
        request_id, header = "", ""
        for key, value in context.invocation_metadata() or ():
            if key == "traceparent":
                header = value
            elif key == REQUEST_ID_KEY and REQUEST_ID.fullmatch(value):
                request_id = value
        return request_id or f"{self._id_prefix}-{next(self._ids)}", header

    def _caller(self, method: Method, context: Any, header: str) -> Identity:
        """Steps 4 and 5: who calls, and whether the role and the service may."""
        caller: Identity | None = None
        try:
            auth_context = context.auth_context()
            caller = identity.from_auth_context(auth_context, self._deployment)
            self.revocations.check(auth_context)
            if caller.role not in method.roles:
                roles = ", ".join(sorted(method.roles))
                raise Refusal("ROLE_NOT_ALLOWED", role=caller.role, method=method.name, roles=roles)
            if caller.role is Role.SERVICE and caller.id not in method.services:
                raise Refusal(
                    "CONNECTION_NOT_ALLOWED", caller=caller.id, method=method.name, service=self._config.service
                )
            if self.missing is not None:
                raise Refusal("NOT_READY", missing="; ".join(self.missing), retry_after_seconds=0.5)
        except Refusal as refusal:
            end_span(begin_span(method, header, caller), refusal.code.name, refusal)
            raise
        return caller

    def _time(self, method: Method, context: Any) -> tuple[float, bool]:
        """Step 7: the seconds that the call has, and whether they are fewer than the client gave."""
        longest = self._config.long_poll_seconds_max if method.long_poll else self._config.deadline_seconds_max
        remaining: float | None = context.time_remaining()
        return (longest, True) if remaining is None or remaining > longest else (remaining, False)

    def _parse(self, method: Method, raw: bytes, call: Call) -> tuple[Message, bounds.Refused]:
        """Step 8: the documented size, bytes that are a message, fields that are known, values within their bounds."""
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
            # The party is not named here: it reads the finding in its own response.
            role = call.identity.role.value
            log.warning("UNKNOWN_FIELD", role=role, method=method.name, path=path, field_number=number)
        return request, bounds.refuse(request, method.bounds)

    def _refusal(self, error: Exception, method: Method, request_id: str, late: bool, seconds: float) -> Refusal:
        """Step 3: return the refusal for the client, and log it."""
        refusal = Refusal("DEADLINE_EXCEEDED", seconds=f"{seconds:.3g}") if late else refusal_of(error)
        if refusal.reason in OWN_REASONS:
            _store_full.inc()
        if refusal.reason == "INTERNAL":
            log.error("INTERNAL", error, method=method.name, request_id=request_id, **refusal.facts)
        else:
            cause = "" if error is refusal or late else type(error).__name__
            log.info(refusal.reason, method=method.name, request_id=request_id, path=refusal.path, cause=cause)
        return refusal


def _running(gates: list[Gate]) -> int:
    return sum(gate.in_flight for gate in gates)


def _allows(method: Method, caller: Identity) -> bool:
    return caller.role in method.roles and (caller.role is not Role.SERVICE or caller.id in method.services)


def _drop_frames(error: BaseException | None) -> None:
    """Cut an error off from the frames it passed: they hold the request, and in a ring until the collector comes by."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _raw(make: Callable[..., Any], behaviour: Callable[..., Any]) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler of bytes: parsing and serialising happen inside of the chain, where errors are mapped."""
    return cast("grpc.RpcMethodHandler[Any, Any]", make(behaviour))


async def _abort(context: Any, refusal: Refusal, request_id: str) -> NoReturn:
    status = refusal.status(request_id)
    await context.abort(refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    raise AssertionError("abort raises")


async def _abort_overload(context: Any, refused: Refused, request_id: str) -> NoReturn:
    """Refuse for lack of room, at next to no cost: neither a span nor a line of the log, and bytes that are made already."""
    _overload.labels(refused.reason).inc()
    # Fields of a message may be written one after the other, so the request's id joins the status at its end.
    trailers = ((STATUS_KEY, refused.status + request_info(request_id)),)
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refused.message, trailers)
    raise AssertionError("abort raises")


def roles_of(service: str, methods: Mapping[str, Any], roles: Mapping[str, set[Role]]) -> dict[str, frozenset[Role]]:
    """Return the roles by method; raise ValueError where methods and roles differ: nothing is open by mistake."""
    without, unknown = sorted(set(methods) - set(roles)), sorted(set(roles) - set(methods))
    if without or unknown:
        raise ValueError(f"{service}: methods without roles {without}, roles for unknown methods {unknown}")
    return {name: frozenset(roles[name]) for name in methods}
