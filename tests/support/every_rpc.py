"""Every RPC of a package of the contract, called by its descriptor, and why an answer refuses."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Final

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from libs.server import errors

SECONDS: Final = 30.0


def methods_of(package: ModuleType) -> Iterator[MethodDescriptor]:
    """Yield each RPC of a package, such as luxor.clearance.v1."""
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                yield from service.methods


def name_of(method: MethodDescriptor) -> str:
    """Return service and method, such as "CaseService/GetCase"."""
    return f"{method.containing_service.name}/{method.name}"


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, request: Message) -> Message | str:
    """Return the answer, or the reason of the refusal."""
    made = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        return await made(request, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        return errors.reason_of(error) or str(error)


def reasons(message: Message, beside: Collection[str] = ()) -> Iterator[str]:
    """Yield why items were refused, wherever in an answer but in the fields `beside`."""
    if message.DESCRIPTOR.full_name == "luxor.errors.v1.ItemError":
        yield message.reason  # type: ignore[attr-defined]
        return
    for field, value in message.ListFields():
        if field.message_type is not None and field.name not in beside:
            for each in value if field.is_repeated else [value]:
                yield from reasons(each, beside)
