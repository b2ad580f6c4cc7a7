"""No request, whatever its bytes, makes a service fail or gets a reason outside the catalogue: every RPC, as every role that may call it.

A service that fails answers INTERNAL and advises to send the request again, which fails again. The requests follow from
the descriptors (tests/support/hostile.py), so a new RPC or field is attacked without a line here.
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from libs.server.catalogue import reasons
from libs.server.errors import reason_of
from libs.server.identity import Role
from libs.server.interceptor.bounds import results_of
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.feed.v1 import feed_pb2
from luxor.statistics.v1 import statistics_pb2
from tests.support import hostile
from tests.support.databases import reused_database
from tests.support.services import Running, running

ROOT = Path(__file__).resolve().parents[2] / "protos"
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")
CALLERS = [(role, "acme") for role in Role if role is not Role.SERVICE] + [(Role.SERVICE, name) for name in SERVICES]
FAILED = {"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "CANCELLED", "ABORTED"}
ABSENT = "NEIGHBOUR_UNAVAILABLE"
"""No neighbour runs beside the service, so this answer is a true one."""
SHUT = {"ROLE_NOT_ALLOWED", "CONNECTION_NOT_ALLOWED"}
AT_ONCE = 6
BATCH = 200
REQUESTS_MAX = 200
"""Requests to one RPC: of messages with very many fields, such as columns, as many are drawn."""
HEAVY = {"AssessConsignments": 60, "CheckRulebook": 12, "StartWhatIf": 8, "QuoteConsignments": 20, "FileSales": 40}
"""Requests to RPCs that read whole law, or compute, before they answer."""
OTHERS = 6
"""Requests that each further role sends; the first that may call sends all."""


def methods() -> dict[str, MethodDescriptor]:
    """Return every RPC of the contracts by its full name."""
    found = {}
    for path in sorted(ROOT.rglob("*.proto")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for service in importlib.import_module(f"{name}_pb2").DESCRIPTOR.services_by_name.values():
            found.update({f"/{service.full_name}/{method.name}": method for method in service.methods})
    return found


@dataclass
class Attack:
    """The calls to one service and what came of them."""

    service: Running
    channels: Sequence[Any]
    """Of each caller one, for all RPCs."""
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def send(self, channel: Any, name: str, raw: bytes) -> tuple[str, bytes]:
        """Send bytes and return the reason, or OK, and the answer's bytes."""
        call = channel.unary_unary(name, request_serializer=None, response_deserializer=None)
        async with self.room:
            try:
                answer = await call(raw, timeout=20)
            except grpc.aio.AioRpcError as error:
                code, reason = error.code().name, reason_of(error)
                self.outcomes[code] += 1
                if (code in FAILED and reason != ABSENT) or reason not in reasons():
                    self.failures.append(f"{name}: {code} {reason} for {raw[:300]!r}")
                return reason, b""
        self.outcomes["OK"] += 1
        return "OK", answer

    async def attack(self, name: str, method: MethodDescriptor) -> None:
        """Send all hostile requests to one RPC, as every role that may call it."""
        allowed = []
        for channel in self.channels:
            reason, _ = await self.send(channel, name, hostile.orderly(method.input_type).SerializeToString())
            if reason not in SHUT:
                allowed.append(channel)
        assert allowed, f"nobody may call {name}"
        draw = random.Random(name)
        whole = list(requests(method))
        whole = draw.sample(whole, min(len(whole), HEAVY.get(method.name, REQUESTS_MAX))) + list(
            hostile.undecodable(method.input_type, draw)
        )
        # All of them or, of messages with very many fields, as many as are drawn of others.
        read = [each.SerializeToString() for each in hostile.read_by_handlers(method.input_type)]
        whole += draw.sample(read, min(len(read), HEAVY.get(method.name, REQUESTS_MAX)))
        await asyncio.gather(*(self._check(allowed[0], name, method, raw) for raw in whole))
        some = draw.sample(whole, 2 if method.name in HEAVY else min(len(whole), OTHERS))
        await asyncio.gather(*(self._check(each, name, method, raw) for each in allowed[1:] for raw in some))

    async def _check(self, channel: Any, name: str, method: MethodDescriptor, raw: bytes) -> None:
        reason, answer = await self.send(channel, name, raw)
        batch = hostile.batch_of(method.input_type)
        if reason == "OK" and batch is not None:
            request = GetMessageClass(method.input_type).FromString(raw)
            results = results_of(GetMessageClass(method.output_type).FromString(answer))
            if len(results) != len(getattr(request, batch.name)):
                self.failures.append(f"{name}: {len(results)} results of {len(getattr(request, batch.name))}")
            unknown = {each.reason for result in results for each in errors_of(result)} - reasons().keys()
            if unknown:
                self.failures.append(f"{name}: {unknown} are in no catalogue")
            if b"INTERNAL" in answer:
                self.failures.append(f"{name}: an entry failed in {raw[:300]!r}")


def errors_of(result: Message) -> Iterator[ItemError]:
    """Yield the errors of one entry of a batch."""
    for each, value in result.ListFields():
        if each.message_type is ItemError.DESCRIPTOR:
            yield from value if each.is_repeated else [value]


def requests(method: MethodDescriptor) -> Iterator[bytes]:
    """Yield the hostile requests of an RPC; the entries of a batch that are beyond their bounds share requests."""
    kind, batch = method.input_type, hostile.batch_of(method.input_type)
    if batch is None or batch.message_type is None:
        yield from (each.SerializeToString() for each in hostile.variants(kind))
    else:
        entries = hostile.variants(batch.message_type)
        while some := list(islice(entries, BATCH)):
            request = hostile.orderly(kind)
            hostile.put(request, batch, [*some, hostile.orderly(batch.message_type)])
            yield request.SerializeToString()
        for outer in kind.fields:
            if outer is not batch:
                for value in hostile.hostile_values(outer):
                    request = hostile.orderly(kind)
                    hostile.put(request, outer, [value] if outer.is_repeated else value)
                    yield request.SerializeToString()
        for count in (0, 1, hostile.LIST_ENTRIES):
            request = hostile.orderly(kind)
            hostile.put(request, batch, hostile.copies(hostile.orderly(batch.message_type), count))
            yield request.SerializeToString()


def test_what_handlers_read_by_themselves_is_attacked() -> None:
    found = {name: list(hostile.read_by_handlers(method.input_type)) for name, method in methods().items()}
    sources = {
        feed_pb2.SnapshotToken.FromString(each.token).source
        for each in found["/luxor.feed.v1.FeedService/ReadSnapshot"]
        if not each.HasField("day")
    }
    assert sources == set(hostile.PIECES)
    queries = found["/luxor.statistics.v1.StatisticsService/QueryStatistics"]
    filters = [each.filters[0] for each in queries if each.filters[0].values != ["a"]]
    days = {value for each in filters if each.dimension == statistics_pb2.DIMENSION_DAY for value in each.values}
    assert days == set(hostile.NUMBERS)
    assert len(queries) <= REQUESTS_MAX, "all of them are sent"


@pytest.fixture
async def attacked(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> AsyncIterator[Running]:
    """A real service over an empty store."""
    package = f"services.{request.param}"
    assemble = importlib.import_module(f"{package}.__main__").assemble
    with reused_database(postgres, package, partial(migrate, package=package)) as url:
        async with running(request.param, assemble, url) as service:
            yield service


@pytest.mark.timeout(600)
@pytest.mark.parametrize("attacked", SERVICES, indirect=True)
async def test_no_request_makes_a_service_fail(attacked: Running) -> None:
    attack = Attack(attacked, [await attacked.channel(role, ident) for role, ident in CALLERS])
    served = {name: method for name, method in methods().items() if name in attacked.service.server.chain.names}
    assert served
    for name, method in served.items():
        await attack.attack(name, method)
    assert not attack.failures, "\n".join([f"{len(attack.failures)} failures", *attack.failures[:40]])
    assert attack.outcomes["INVALID_ARGUMENT"] > 100
