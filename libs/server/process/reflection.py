"""Server reflection, v1 and v1alpha, for callers whose certificate may call: each sees the services that it may use.

Tools that know no contract (buf curl, grpcurl) ask for it first. Its two versions have the same messages.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from libs.server import identity
from libs.server.errors import STATUS_KEY, Refusal
from libs.server.identity import Identity

SERVICES: Final = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
REQUEST_BYTES_MAX: Final = 4096
SECONDS_MAX: Final = 30.0
"""How long a stream may stay open; a tool that asks again opens another."""
_ALWAYS: Final = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, *SERVICES)


def _describe_v1() -> None:
    """Add the contract of v1 to the known ones, from that of v1alpha: grpcio-reflection has none, and tools ask for it."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(SERVICES[0])
    except KeyError:
        pool.Add(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()))


_describe_v1()


class _Servicer(ReflectionServicer):  # type: ignore[misc]  # the library has no types
    """The library's, which finds no method by its name: tools ask for <package>.<service>.<method> to describe one."""

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        try:
            method = self._pool.FindMethodByName(fully_qualified_name)
        except KeyError:
            return super()._file_containing_symbol(request, fully_qualified_name)
        return super()._file_containing_symbol(request, method.containing_service.full_name)


OpenTo = Callable[[Identity], Iterable[str]]
"""Returns the services of which an identity may call something; raises Refusal where there is none."""


def add_reflection(server: Any, deployment: str, open_to: OpenTo) -> None:
    """Serve both versions of reflection."""

    async def serve(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        try:
            names = open_to(identity.from_auth_context(context.auth_context(), deployment))
        except Refusal as refusal:
            status = refusal.status()
            await context.abort(refusal.code, status.message, ((STATUS_KEY, status.SerializeToString()),))
            return
        answers = _Servicer([*names, *_ALWAYS]).ServerReflectionInfo(_bounded(requests), context)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                async for answer in answers:
                    yield answer
        except TimeoutError:
            status = Refusal("REFLECTION_ENDED", seconds=f"{SECONDS_MAX:g}").status()
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, status.message, ((STATUS_KEY, status.SerializeToString()),)
            )

    handler = grpc.stream_stream_rpc_method_handler(
        serve,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in SERVICES:
        handlers = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


async def _bounded(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Pass requests on; one that is too large to be a question is answered as one that asks nothing."""
    async for request in requests:
        yield request if request.ByteSize() <= REQUEST_BYTES_MAX else reflection_pb2.ServerReflectionRequest()
