"""The chain over real sockets and TLS: what each step refuses, and what it lets through."""

import asyncio
import json
import signal
import sys
import time
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from libs.server import call, errors
from libs.server.errors import Refusal, details_of, reason_of, retry_after, status_of
from libs.server.identity import Identity, Role
from libs.telemetry.metrics import REGISTRY
from tests.server.conftest import SERVICE


async def refused(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


def metadata(error: grpc.aio.AioRpcError) -> dict[str, str]:
    info = details_of(status_of(error), error_details_pb2.ErrorInfo)
    assert info is not None, error
    assert info.domain == "luxor"
    return dict(info.metadata)


async def test_a_handler_sees_who_calls_and_how_much_time_is_left(start: Any, message: Any) -> None:
    running = await start()
    seen: list[call.Call] = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current())
        # Of the five seconds is left what did not go by since, however long the way here took.
        assert 5 - (time.monotonic() - began) <= call.current().deadline <= 5
        return request

    running.servicer.behaviour = look
    began = time.monotonic()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await running.method("Echo")(message(), timeout=5, metadata=(("x-request-id", "abc-1"), ("traceparent", trace)))
    assert seen[0].identity == Identity(Role.FILER, "acme")
    assert (seen[0].request_id, seen[0].findings) == ("abc-1", [])
    # The call is a span of the caller's trace, and what follows from it hangs under that.
    assert (seen[0].trace[:36], seen[0].trace[52:]) == (trace[:36], trace[52:])
    assert seen[0].trace != trace


async def test_a_request_id_that_is_malformed_is_replaced(start: Any, message: Any) -> None:
    running = await start()
    seen: list[str] = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current().request_id)
        return request

    running.servicer.behaviour = look
    await running.method("Echo")(message(), timeout=5, metadata=(("x-request-id", "x" * 65),))
    assert 10 < len(seen[0]) < 40


async def test_a_role_that_may_not_call_is_told_which_may(start: Any, message: Any) -> None:
    running = await start()
    error = await refused(running.method("Echo", running.channel("carrier", "fly"))(message(), timeout=5))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(error) == "ROLE_NOT_ALLOWED"
    assert metadata(error)["roles"] == "filer"


async def test_a_certificate_of_another_deployment_is_refused(start: Any, message: Any) -> None:
    running = await start()
    running.authority.deployment = "elsewhere"
    error = await refused(running.method("Echo", running.channel("filer", "stranger"))(message(), timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_FOREIGN")


async def test_a_role_that_does_not_exist_is_refused(start: Any, message: Any) -> None:
    running = await start()
    error = await refused(running.method("Echo", running.channel("king", "karl"))(message(), timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MALFORMED")


async def test_a_call_without_a_deadline_gets_the_longest_of_its_kind(start: Any, message: Any) -> None:
    running = await start(deadline_seconds_max="0.3", long_poll_seconds_max="1")
    left: list[float] = []

    async def wait(_request: Any, _context: Any) -> Any:
        left.append(call.current().deadline)
        await asyncio.Event().wait()

    running.servicer.behaviour = wait
    batch = message(field_violations=[{"field": "a"}])
    error = await refused(running.method("Echo")(batch))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert all(0.2 < each <= 0.3 for each in left)
    began = time.monotonic()
    assert reason_of(await refused(running.method("Poll")(batch))) == "DEADLINE_EXCEEDED"
    assert time.monotonic() - began >= 1
    assert running.server.chain.gates.calls.outside.in_flight == 0


async def test_too_long_a_deadline_is_cut_and_the_handler_is_cancelled(start: Any, message: Any) -> None:
    running = await start(deadline_seconds_max="0.1")
    cancelled = asyncio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    running.servicer.behaviour = wait
    error = await refused(running.method("Echo")(message(), timeout=60))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert cancelled.is_set()
    assert running.server.chain.gates.calls.outside.in_flight == 0


async def test_a_client_that_goes_away_cancels_its_call_and_frees_its_place(start: Any, message: Any) -> None:
    running = await start()
    cancelled = asyncio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        running.servicer.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    running.servicer.behaviour = wait
    pending = running.method("Echo")(message(), timeout=60)
    await running.servicer.entered.wait()
    pending.cancel()
    await asyncio.wait_for(cancelled.wait(), 5)
    await running.until(lambda: running.server.chain.gates.calls.outside.in_flight == 0)


STOPPED_CLIENT = """
import sys, pathlib, grpc
from libs.server.transport.tls import LocalCA
material = LocalCA(pathlib.Path(sys.argv[1])).issue("filer", "acme").load()
with grpc.secure_channel(sys.argv[2], material.channel_credentials()) as channel:
    grpc.channel_ready_future(channel).result(60)
    channel.unary_unary("/luxor.test.v1.TestService/Echo")(b"", timeout=3)
"""


async def test_the_deadline_holds_when_the_client_can_no_longer_say_so(start: Any) -> None:
    running = await start()
    cancelled = asyncio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        running.servicer.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    running.servicer.behaviour = wait
    command = ["-c", STOPPED_CLIENT, str(running.authority.directory), f"localhost:{running.server.port}"]
    client = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.DEVNULL)
    try:
        await asyncio.wait_for(running.servicer.entered.wait(), 60)
        client.send_signal(signal.SIGSTOP)
        await asyncio.wait_for(cancelled.wait(), 10)
    finally:
        client.send_signal(signal.SIGCONT)
        client.kill()
        await client.wait()


async def test_a_timeout_inside_the_handler_is_not_taken_for_the_deadline(start: Any, message: Any) -> None:
    running = await start()

    async def late(_request: Any, _context: Any) -> Any:
        raise TimeoutError

    running.servicer.behaviour = late
    error = await refused(running.method("Echo")(message(), timeout=5))
    assert reason_of(error) == "INTERNAL"


def sized(message: Any, size: int) -> Any:
    made = message()
    made.field_violations.add(description="x" * size)
    return made


async def test_a_message_over_the_documented_limit_is_refused_by_us(start: Any, message: Any) -> None:
    running = await start(message_bytes_max="4096")
    echo = running.method("Echo")
    assert (await echo(sized(message, 4000), timeout=5)).field_violations[0].description == "x" * 4000
    error = await refused(echo(sized(message, 6000), timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_TOO_LARGE")
    assert metadata(error)["bytes_max"] == "4096"
    assert "Split the batch" in (error.details() or "")


async def test_a_message_over_twice_the_limit_is_refused_by_the_transport(start: Any, message: Any) -> None:
    running = await start(message_bytes_max="4096")
    error = await refused(running.method("Echo")(sized(message, 9000), timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == ""


async def test_an_answer_over_the_limit_is_refused_with_a_reason(start: Any, message: Any) -> None:
    running = await start(message_bytes_max="4096")

    async def much(_request: Any, _context: Any) -> Any:
        return sized(message, 9000)

    running.servicer.behaviour = much
    error = await refused(running.method("Echo")(message(), timeout=5))
    assert reason_of(error) == "ANSWER_TOO_LARGE"


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x03\x0a\x01\xff"])
async def test_bytes_that_are_no_message_get_our_error(start: Any, raw: bytes) -> None:
    running = await start()
    error = await refused(running.method("Echo", raw=True)(raw, timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNDECODABLE")
    assert metadata(error)["message"] == "google.rpc.BadRequest"


async def test_an_unknown_field_is_a_finding_with_its_path_and_the_call_goes_on(
    start: Any, message: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()
    found: list[call.Finding] = []

    async def look(request: Any, _context: Any) -> Any:
        found.extend(call.current().findings)
        return request

    running.servicer.behaviour = look
    batch = message()
    for name in ("a", "b"):
        batch.field_violations.add(field=name).localized_message.locale = "en"
    # Appending bytes to a serialised message adds fields to it: number 77 at the top, 88 in the second of two.
    inner = batch.field_violations[1].SerializeToString() + bytes([88 << 3 & 0x7F | 0x80, 88 >> 4, 1])
    raw = message(field_violations=[batch.field_violations[0]]).SerializeToString()
    raw += bytes([0x0A, len(inner)]) + inner + bytes([77 << 3 & 0x7F | 0x80, 77 >> 4, 1])
    capsys.readouterr()
    answer = await running.method("Echo", raw=True)(raw, timeout=5)
    assert found == [call.Finding("", 77), call.Finding("field_violations[1]", 88)]
    assert answer == batch
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines() if "UNKNOWN_FIELD" in text]
    assert (line["role"], line["field_number"]) == ("filer", 77)
    assert "acme" not in json.dumps(line), "who it was is not told"


async def test_bytes_of_requests_are_a_counter(start: Any, message: Any) -> None:
    running = await start()
    request = message(field_violations=[{"field": "x" * 1_000}])

    def taken() -> float:
        return REGISTRY.get_sample_value("luxor_request_bytes_total", {"method": f"/{SERVICE}/Echo"}) or 0.0

    before = taken()
    for _ in range(3):
        await running.method("Echo")(request, timeout=5)
    assert taken() - before == 3 * request.ByteSize()
    kinds = {family.name: family.type for family in REGISTRY.collect()}
    assert kinds["luxor_request_bytes"] == "counter"


async def test_a_full_store_counts_as_the_services_own_fault_and_a_caller_over_its_share_does_not(
    start: Any, message: Any
) -> None:
    running = await start()
    refusals = [Refusal("STORE_FULL", store="risk", retry_after_seconds=2.0), Refusal("OVERLOADED", in_flight=64)]

    async def refuse(_request: Any, _context: Any) -> Any:
        raise refusals.pop(0)

    running.servicer.behaviour = refuse
    before = REGISTRY.get_sample_value("luxor_calls_store_full_total")
    assert before is not None, "told from the start: a rate needs a zero to rise from"
    for _ in range(2):
        error = await refused(running.method("Echo")(message(), timeout=5))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert REGISTRY.get_sample_value("luxor_calls_store_full_total") == before + 1


async def test_an_unexpected_exception_tells_an_error_id_and_nothing_else(
    start: Any, message: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    running = await start()

    async def fail(_request: Any, _context: Any) -> Any:
        raise RuntimeError("password=hunter2 of 'Erika Mustermann'")

    running.servicer.behaviour = fail
    error = await refused(running.method("Echo")(message(), timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    status = status_of(error)
    assert status is not None
    told = f"{error.details()} {error.debug_error_string()} {status}"
    for secret in ("hunter2", "Mustermann", "RuntimeError", "test_chain"):
        assert secret not in told
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logged = next(line for line in lines if line["reason"] == "INTERNAL")
    assert logged["error_id"] == metadata(error)["error_id"]
    assert logged["error_type"] == "RuntimeError"
    assert "Mustermann" not in json.dumps(logged)


async def test_a_refusal_arrives_with_its_reason_path_value_and_hint(start: Any, message: Any) -> None:
    running = await start()

    async def refuse(_request: Any, _context: Any) -> Any:
        raise Refusal("REQUEST_REUSED", path="request_id", value="r" * 100)

    running.servicer.behaviour = refuse
    error = await refused(running.method("Echo")(message(), timeout=5, metadata=(("x-request-id", "abc"),)))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert metadata(error)["value"] == "r" * 63 + "…"
    violations = details_of(status_of(error), error_details_pb2.BadRequest)
    assert violations is not None
    assert violations.field_violations[0].field == "request_id"
    request = details_of(status_of(error), error_details_pb2.RequestInfo)
    assert request is not None
    assert request.request_id == "abc"


async def test_a_thousand_violations_still_reach_the_client(start: Any, message: Any) -> None:
    running = await start()

    async def refuse(_request: Any, _context: Any) -> Any:
        each = [errors.Violation(f"items[{index}].code", "UNDECODABLE", "Nothing to be read.") for index in range(1000)]
        raise Refusal("UNDECODABLE", violations=each, message="x")

    running.servicer.behaviour = refuse
    error = await refused(running.method("Echo")(message(), timeout=5))
    violations = details_of(status_of(error), error_details_pb2.BadRequest)
    assert violations is not None
    assert len(violations.field_violations) + int(metadata(error)["violations_left_out"]) == 1000


async def test_an_unknown_method_gets_our_error(start: Any, message: Any) -> None:
    running = await start()
    missing = running.channel().unary_unary("/luxor.test.v1.TestService/Nothing", lambda data: data)
    error = await refused(missing(b"", timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_a_full_server_refuses_with_the_time_to_come_back(start: Any, message: Any) -> None:
    running = await start(in_flight_max="2", in_flight_per_caller_max="1")
    calls = [running.channel("filer", f"f{number}") for number in range(3)]
    held = [asyncio.ensure_future(running.method("Hold", each)(message(), timeout=60)) for each in calls[:2]]
    await running.until(lambda: running.server.chain.gates.calls.outside.in_flight == 2)
    error = await refused(running.method("Echo", calls[2])(message(), timeout=5))
    assert (error.code(), reason_of(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert 0 < (retry_after(error) or 0) <= 2
    running.servicer.leave.set()
    await asyncio.gather(*held)
    await running.method("Echo", calls[2])(message(), timeout=5)


async def test_waiting_long_polls_take_no_place_from_other_calls(start: Any, message: Any) -> None:
    running = await start(in_flight_max="2", long_polls_max="12", long_polls_per_caller_max="3")
    open_channel = running.channel()
    polls = [asyncio.ensure_future(running.method("Poll", open_channel)(message(), timeout=60)) for _ in range(3)]
    await running.until(lambda: running.server.chain.gates.long_polls.outside.in_flight == 3)
    await running.method("Echo", open_channel)(message(), timeout=5)
    error = await refused(running.method("Poll", open_channel)(message(), timeout=5))
    assert reason_of(error) == "TOO_MANY_LONG_POLLS"
    running.servicer.leave.set()
    await asyncio.gather(*polls)
