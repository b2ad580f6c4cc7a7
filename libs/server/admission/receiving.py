"""How requests are received: after admission, under a limit of time; and the calls that every certificate may make.

The server reads every request as a stream of one message. So a handler decides before the message is received: until then
the transport buffers one window of it and no more, however large it is and however many there are.
"""

import asyncio
import re
from typing import Any, Final, NoReturn, cast

import grpc
from google.protobuf.message import DecodeError

from libs.server import identity
from libs.server.admission.gate import Gate, Place
from libs.server.admission.overload import Overload
from libs.server.errors import STATUS_KEY, Refusal, request_info
from libs.server.identity import Identity, Role
from libs.server.transport.revocations import Revocations

OPEN_PREFIXES: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""What every holder of a certificate of this CA may call; outside of the chain, since it must answer under any load."""

REQUEST_ID_KEY: Final = "x-request-id"
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""The form of a client's id of a request; any other is none."""

RECEIVE_SECONDS_MAX: Final = 10.0
"""Longest time in which a request has to come, once its call is admitted."""
SLOW_SECONDS: Final = 0.5
"""A request that takes longer to come has its place taken away until it is there."""

OPEN_READS_MAX: Final = 16
OPEN_READS_PER_CALLER_MAX: Final = 2
OPEN_READ_SECONDS: Final = 2.0
WATCHES_MAX: Final = 128
WATCHES_PER_CALLER_MAX: Final = 8


async def receive(context: Any, gate: Gate, place: Place) -> bytes:
    """Return the request's bytes; raise Refusal where they do not come in time or the client sends none."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(RECEIVE_SECONDS_MAX) as limit:

            def end() -> None:
                limit.reschedule(loop.time())

            timer = loop.call_later(SLOW_SECONDS, gate.slow, place, end)
            try:
                raw = await context.read()
            finally:
                timer.cancel()
    except TimeoutError:
        raise Refusal("REQUEST_NOT_RECEIVED", seconds=f"{loop.time() - begun:.2g}") from None
    if raw is grpc.aio.EOF:
        raise Refusal("REQUEST_EMPTY")
    return cast(bytes, raw)


class OpenCalls:
    """Bounds calls that need no role: their requests are received a few at a time, and watches are counted by caller."""

    def __init__(self, deployment: str, revocations: Revocations) -> None:
        """Take the deployment whose identities are counted apart; all others count as one. Revoked certificates are refused."""
        self._deployment = deployment
        self._revocations = revocations
        self.reads = Gate(OPEN_READS_MAX, OPEN_READS_PER_CALLER_MAX, waiting_max=2 * OPEN_READS_MAX)
        self.watches = Gate(WATCHES_MAX, WATCHES_PER_CALLER_MAX, "TOO_MANY_LONG_POLLS")

    def guard(self, handler: Any) -> Any:
        """Return a handler that does what this one does, within the bounds."""
        if handler is None:
            return None
        if handler.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(
                self._unary(handler.unary_unary, handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.stream_stream_rpc_method_handler(
                self._watch(handler.unary_stream, handler.request_deserializer),
                response_serializer=handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            self._stream(handler.stream_stream),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, behaviour: Any, deserialize: Any) -> Any:
        async def serve(_messages: Any, context: Any) -> Any:
            return await behaviour(await self._read(context, deserialize), context)

        return serve

    def _watch(self, behaviour: Any, deserialize: Any) -> Any:
        async def serve(_messages: Any, context: Any) -> None:
            place = await self._count(context)
            try:
                await behaviour(await self._read(context, deserialize), context)
            finally:
                self.watches.leave(place, 0.0)

        return serve

    def _stream(self, behaviour: Any) -> Any:
        async def serve(messages: Any, context: Any) -> Any:
            place = await self._count(context)
            try:
                async for answer in behaviour(messages, context):
                    yield answer
            finally:
                self.watches.leave(place, 0.0)

        return serve

    async def _count(self, context: Any) -> Place:
        try:
            self._revocations.check(context.auth_context())
            place = self.watches.enter(self._caller(context))
        except (Overload, Refusal) as error:
            await _refuse(context, error)
        assert place is not None
        return place

    async def _read(self, context: Any, deserialize: Any) -> Any:
        caller = self._caller(context)
        try:
            self._revocations.check(context.auth_context())
            place = self.reads.enter(caller) or await self.reads.wait(caller)
            try:
                async with asyncio.timeout(OPEN_READ_SECONDS):
                    raw = await context.read()
            except TimeoutError:
                raise Refusal("REQUEST_NOT_RECEIVED", seconds=f"{OPEN_READ_SECONDS:g}") from None
            finally:
                self.reads.leave(place, 0.0)
            if raw is grpc.aio.EOF:
                raise Refusal("REQUEST_EMPTY")
            try:
                return deserialize(raw)
            except DecodeError:
                raw = b""
                raise Refusal("UNDECODABLE", message=deserialize.__self__.DESCRIPTOR.full_name) from None
        except (Overload, Refusal) as error:
            await _refuse(context, error)

    def _caller(self, context: Any) -> Identity:
        try:
            return identity.from_auth_context(context.auth_context(), self._deployment)
        except Refusal:
            return Identity(Role.SERVICE, "")


async def _refuse(context: Any, error: Overload | Refusal) -> NoReturn:
    """End a call with the details that every refusal has; the request's id where the client gave one."""
    metadata = dict(context.invocation_metadata() or ())
    request_id = str(metadata.get(REQUEST_ID_KEY, ""))
    request_id = request_id if REQUEST_ID.fullmatch(request_id) else ""
    if isinstance(error, Overload):
        refused = error.refused
        trailers = ((STATUS_KEY, refused.status + (request_info(request_id) if request_id else b"")),)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refused.message, trailers)
    else:
        status = error.status(request_id)
        await context.abort(error.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
    raise AssertionError("abort raises")
