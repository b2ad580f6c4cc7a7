"""Server reflection: in both versions, for identities that may call, and to each what it may use."""

from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from libs.server.errors import reason_of
from libs.server.process.reflection import SERVICES
from tests.server.conftest import SERVICE

Request = reflection_pb2.ServerReflectionRequest
LIST = Request(list_services="*")


async def ask(channel: Any, version: str, *requests: Any) -> list[Any]:
    """Ask without a deadline, as tools do."""
    call = channel.stream_stream(
        f"/{version}/ServerReflectionInfo",
        Request.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [answer async for answer in call(iter(requests))]


def names(answer: Any) -> list[str]:
    return [each.name for each in answer.list_services_response.service]


async def refused(channel: Any, version: str) -> tuple[grpc.StatusCode, str]:
    """Ask until the server's own status comes: where it is refused while it still writes, this client makes up one that has no reason."""
    for _ in range(10):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, version, LIST)
        if caught.value.code() is not grpc.StatusCode.INTERNAL or caught.value.trailing_metadata():
            break
    return caught.value.code(), reason_of(caught.value)


@pytest.mark.parametrize("version", SERVICES)
async def test_a_caller_sees_the_services_that_it_may_use_and_their_contracts(start: Any, version: str) -> None:
    running = await start()
    symbol = Request(file_containing_symbol="grpc.health.v1.Health")
    itself = Request(file_containing_symbol=version)
    listed, file, own, unknown = await ask(
        running.channel("filer", "acme"), version, LIST, symbol, itself, Request(file_by_filename="no/such.proto")
    )
    assert own.file_descriptor_response.file_descriptor_proto
    assert names(listed) == sorted([SERVICE, "grpc.health.v1.Health", *SERVICES])
    assert b"grpc.health.v1" in file.file_descriptor_response.file_descriptor_proto[0]
    assert unknown.error_response.error_code == 5


@pytest.mark.parametrize("version", SERVICES)
async def test_who_may_call_nothing_is_told_nothing(start: Any, version: str) -> None:
    running = await start()
    for role, ident in (("carrier", "fly"), ("service", "statistics"), ("service", "ingestion")):
        denied = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
        assert await refused(running.channel(role, ident), version) == denied, role
    malformed = (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MALFORMED")
    assert await refused(running.channel("king", "karl"), version) == malformed
    running.authority.deployment = "elsewhere"
    foreign = (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_FOREIGN")
    assert await refused(running.channel("filer", "stranger"), version) == foreign


async def test_it_can_be_switched_off(start: Any) -> None:
    running = await start(reflection="false")
    for version in SERVICES:
        code, _ = await refused(running.channel(), version)
        assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_what_is_too_large_for_a_question_is_not_repeated_in_the_answer(start: Any) -> None:
    running = await start()
    (answer,) = await ask(running.channel(), SERVICES[0], Request(file_by_filename="x" * 100_000))
    assert answer.error_response.error_code == 3
    assert answer.ByteSize() < 1_000


@pytest.mark.parametrize("version", SERVICES)
async def test_a_method_is_found_by_its_name_as_its_service_is(start: Any, version: str) -> None:
    running = await start()
    service, method, other = (
        Request(file_containing_symbol=f"grpc.health.v1.Health{end}") for end in ("", ".Check", ".Chek")
    )
    whole, found, missing = await ask(running.channel("filer", "acme"), version, service, method, other)
    assert found.file_descriptor_response == whole.file_descriptor_response
    assert found.original_request == method
    assert missing.error_response.error_code == 5
