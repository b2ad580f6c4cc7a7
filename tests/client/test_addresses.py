"""One name with several addresses: calls are spread over them, and none is lost when one of them dies."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from libs.cli.local.state import free_ports
from libs.client.client import Client
from libs.server.admission.gate import Place
from libs.server.identity import Identity
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from services.ingestion.__main__ import assemble
from tests.support.databases import enterable_directory
from tests.support.services import Running, running

NAME = "ingestion.test"
ADDRESSES = ("127.0.0.1", "127.0.0.2")


class _Names(asyncio.DatagramProtocol):
    """A name server that knows one name: RFC 1035, questions of type A; nothing else has an answer."""

    def connection_made(self, transport: Any) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5
        (kind,) = struct.unpack(">H", data[end - 4 : end - 2])
        found = ADDRESSES if kind == 1 else ()
        answer = data[:2] + struct.pack(">HHHHH", 0x8580, 1, len(found), 0, 0) + data[12:end]
        for each in found:
            answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + socket.inet_aton(each)
        self.transport.sendto(answer, address)


@asynccontextmanager
async def name_server() -> AsyncIterator[int]:
    """Serve names on a free port of the loopback."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Names, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def count_calls(replica: Running) -> list[int]:
    """Count the calls that a replica lets in, from now on."""
    calls = [0]
    for gate in (gate for gates in replica.service.server.chain.gates.by_kind.values() for gate in gates):

        def counted(identity: Identity, enter: Callable[[Identity], Place | None] = gate.enter) -> Place | None:
            calls[0] += 1
            return enter(identity)

        gate.enter = counted  # type: ignore[method-assign]
    return calls


async def test_calls_by_a_name_with_two_addresses_are_spread_and_none_is_lost_when_one_address_dies(
    database_url: str,
) -> None:
    home = enterable_directory()
    # From where the kernel takes none to give to whoever asks for any: it is bound at a second address later on.
    port = free_ports(["ingestion"])["ingestion"].main
    environ = {
        "LUXOR_INGESTION_PORT": str(port),
        "LUXOR_INGESTION_HEALTH_PORT": "0",
        "LUXOR_INGESTION_METRICS_PORT": "0",
        "LUXOR_TLS_HOSTS": NAME,
    }
    rows = list(next(iter(Simulator(20_260_831, "everyday").batches(200, size=200))))

    def replica(address: str) -> AbstractAsyncContextManager[Running]:
        return running(
            "ingestion", assemble, database_url, environ=environ | {"LUXOR_INGESTION_HOST": address}, data_dir=home
        )

    try:
        async with name_server() as names, replica(ADDRESSES[0]) as first:
            party = LocalCA(home / "tls").issue("filer", "spread")
            target = f"dns://127.0.0.1:{names}/{NAME}:{port}"
            async with Client({"ingestion": target}, party) as client:
                async with replica(ADDRESSES[1]) as second:
                    await client.wait_ready("ingestion")
                    at_first, at_second = count_calls(first), count_calls(second)

                    async def file(begin: int, end: int) -> list[str]:
                        answers = await asyncio.gather(*(client.submit([row]) for row in rows[begin:end]))
                        return [answer.results[0].receipt.mrn for answer in answers]

                    mrns = await file(0, 40)
                    while not (at_first[0] and at_second[0]):  # both connections are made by and by
                        mrns += await file(0, 40)
                    both = at_first[0], at_second[0]
                    assert min(both) > 0
                    dying = asyncio.create_task(file(40, 120))
                    await asyncio.sleep(0)
                mrns = [*mrns[:40], *await dying]
                alone = at_second[0]
                mrns += await file(120, 200)
                assert at_second[0] == alone
                assert all(mrns)
                assert len(set(mrns)) == 200
                found = await client.receipts(local_references=[row.local_reference for row in rows])
                assert [result.receipt.mrn for result in found.results] == mrns
    finally:
        shutil.rmtree(home, ignore_errors=True)
