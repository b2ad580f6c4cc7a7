"""Asks every call of every service in every role, on a running system, and says who was let in."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

import luxor as contracts
from libs.server import errors
from libs.server.identity import Role
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA

DEADLINE_SECONDS = 10.0
SHUT = frozenset({"ROLE_NOT_ALLOWED"})


def services() -> Iterator[ServiceDescriptor]:
    """Yield every service of the contracts."""
    for found in pkgutil.walk_packages(contracts.__path__, "luxor."):
        if found.name.endswith("_pb2"):
            yield from importlib.import_module(found.name).DESCRIPTOR.services_by_name.values()


async def who_may(endpoints: Mapping[str, str], tls: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Return by call (`Service/Method`) the roles that are let in and the services that serve it."""
    authority = LocalCA(tls)
    found: dict[str, tuple[set[str], set[str]]] = {}
    for service, target in endpoints.items():
        asked = [method for each in services() for method in each.methods]
        for role in Role:
            open_channel = channel(target, authority.issue(role.value, f"{role.value}-of-the-table"))
            answers = await asyncio.gather(*(_ask(open_channel, method) for method in asked))
            await open_channel.close()
            for method, reason in zip(asked, answers, strict=True):
                if reason is None:
                    continue
                roles, served = found.setdefault(f"{method.containing_service.name}/{method.name}", (set(), set()))
                served.add(service)
                if reason not in SHUT:
                    roles.add(role.value)
            # What a service does not serve it serves to nobody.
            asked = [method for method, reason in zip(asked, answers, strict=True) if reason is not None]
    return found


async def services_may(
    endpoints: Mapping[str, str], tls: Path, ids: Iterable[str]
) -> tuple[set[tuple[str, str, str]], set[tuple[str, str]]]:
    """Return who of these ids, as services, is let into what: (caller, service, path of the call).

    Beside it the calls that a service does not implement: (service, path).
    """
    authority = LocalCA(tls)
    found: set[tuple[str, str, str]] = set()
    absent: set[tuple[str, str]] = set()
    for service, target in endpoints.items():
        asked = [method for each in services() for method in each.methods]
        for ident in ids:
            open_channel = channel(target, authority.issue(Role.SERVICE.value, ident))
            answers = await asyncio.gather(*(_ask(open_channel, method) for method in asked))
            await open_channel.close()
            for method, reason in zip(asked, answers, strict=True):
                path = f"/{method.containing_service.full_name}/{method.name}"
                if reason is None:
                    absent.add((service, path))
                elif reason not in {"CONNECTION_NOT_ALLOWED"} | SHUT:
                    found.add((ident, service, path))
            asked = [method for method, reason in zip(asked, answers, strict=True) if reason is not None]
    return found, absent


async def _ask(through: grpc.aio.Channel, method: MethodDescriptor) -> str | None:
    """Call with an empty message; return the reason of the answer, "" for a good one, None where nobody serves it."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    call: Any = through.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    try:
        await call(GetMessageClass(method.input_type)(), timeout=DEADLINE_SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return None
        return errors.reason_of(error)
    return ""
