"""The door of the sandbox, with real sockets and TLS: failures, recordings, and who does not come in.

Behind it is a service that takes every call, so whatever is refused here was refused by the door.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from libs.client.client import Client
from libs.client.filing.packing import PackedClient
from libs.sandbox.conversations import Event
from libs.sandbox.environment import DEPLOYMENT
from libs.sandbox.proxy import STARTED_MAX, Proxy, serve_on
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.sandbox.script import ScriptFailed
from libs.server.errors import Refusal, reason_of, retry_after, status_of
from libs.server.transport.revocation_lists import revoke
from libs.server.transport.tls import LocalCA, certificate_of
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2
from tests.support.sandbox_door import START, SUBMIT, Door

PROTOS = Path(__file__).resolve().parents[2] / "protos"


def every_rpc() -> list[str]:
    """Return all RPCs of the contracts."""
    found = []
    for path in sorted(PROTOS.rglob("*.proto")):
        name = ".".join(path.relative_to(PROTOS).with_suffix("").parts)
        for service in importlib.import_module(f"{name}_pb2").DESCRIPTOR.services_by_name.values():
            found += [f"/{service.full_name}/{method.name}" for method in service.methods]
    return found


async def test_a_filing_is_forwarded_under_the_account_and_its_case_is_played_once(door: Door) -> None:
    for _ in range(2):
        answer = await door.file("HOLD.30-1", "SHOP-1")
        assert [each.receipt.mrn for each in answer.results] == ["MRN-HOLD.30-1", "MRN-SHOP-1"]
    assert door.script.played == [("HOLD", 30, "MRN-HOLD.30-1")]
    assert set(door.behind.callers) == {f"spiffe://{DEPLOYMENT}/filer/acme"}
    assert [(each.reference, each.mrn, each.code) for each in door.events[:2]] == [
        ("HOLD.30-1", "MRN-HOLD.30-1", "OK"), ("SHOP-1", "MRN-SHOP-1", "OK"),
    ]  # fmt: skip


async def test_the_same_reference_of_another_account_is_another_case(door: Door) -> None:
    await door.file("HOLD-1")
    request = ingestion_pb2.SubmitConsignmentsRequest(
        request_id="r", consignments=[Consignment(local_reference="HOLD-1")]
    )
    await door.call(SUBMIT, request.SerializeToString(), ident="shop")
    assert [each.account for each in door.events] == ["filer/acme", "filer/shop"]
    assert len(door.script.played) == 2


async def test_refused_consignments_and_changes_start_no_case(door: Door) -> None:
    await door.file("HOLD-1", nature=1)
    await door.file("HOLD-2", function=2)
    await door.file("DOWN-3", function=3)
    assert door.script.played == []
    assert [each.code for each in door.events] == ["REFUSED", "OK", "OK"]
    await door.file("HOLD-1")
    assert door.script.played == [("HOLD", 0, "MRN-HOLD-1")]


async def test_accounts_are_opened_for_the_declarants_of_cases_that_are_not_about_debts(door: Door) -> None:
    await door.file("HOLD-1", "DEBT-1", "SHOP-1")
    assert door.script.opened == [(["acme"], "acme")]
    await door.file("DEBT-2", "SHOP-2")
    assert len(door.script.opened) == 1


OF_THE_DOOR = [
    (each.value, "DEADLINE_EXCEEDED" if each is CallFailure.SLOW else FAILURES[each].reason)
    for each in CallFailure
    if FAILURES[each].call is None and not FAILURES[each].waits and each not in (CallFailure.LOST, CallFailure.USED)
]
"""Failures that the sandbox makes itself, once."""


@pytest.mark.parametrize(("case", "reason"), OF_THE_DOOR)
async def test_a_fault_refuses_the_first_call_files_nothing_and_then_passes(door: Door, case: str, reason: str) -> None:
    assert await door.refused(f"{case}-1") == reason
    assert door.behind.calls == []
    await door.file(f"{case}-1")
    assert len(door.behind.calls) == 1
    assert [each.failure for each in door.events] == [case, ""]
    assert bool(door.slept) == (case == "SLOW")


async def test_a_call_without_an_answer_ends_with_its_own_deadline(door: Door) -> None:
    async def wait(seconds: float) -> None:
        door.slept.append(seconds)
        await asyncio.Event().wait()

    door.sleep = wait  # type: ignore[method-assign]
    request = ingestion_pb2.SubmitConsignmentsRequest(
        request_id="r", consignments=[Consignment(local_reference="SLOW-1")]
    )
    async with opened_with(door) as port:
        door.port = port
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await door.call(SUBMIT, request.SerializeToString(), timeout=0.3)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reason_of(raised.value) == ""
    assert door.behind.calls == []
    (seconds,) = door.slept
    assert seconds > 1, "an answer at the deadline itself would race with the caller's own timer"


@pytest.mark.parametrize("timeout", [None, 3_600.0])
async def test_a_call_without_a_deadline_near_is_ended_after_a_minute(door: Door, timeout: float | None) -> None:
    assert await door.refused("SLOW-1", timeout=timeout) == "DEADLINE_EXCEEDED"
    assert door.slept == [60]


@asynccontextmanager
async def opened_with(door: Door) -> AsyncIterator[int]:
    """Serve a second door that waits as the first one says now."""
    proxy = Proxy({}, door.authority, door.script, door.events.append, sleep=door.sleep, clock=door.clock)
    server, port = serve_on(proxy, door.authority, "127.0.0.1", 0)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)
        await proxy.close()


@pytest.mark.parametrize("failure", [each for each in CallFailure if FAILURES[each].waits])
async def test_a_busy_sandbox_refuses_until_the_time_in_retry_info_and_not_after_it(
    door: Door, failure: CallFailure
) -> None:
    reference, reason = f"{failure}.5-1", FAILURES[failure].reason
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await door.file(reference)
    assert (reason_of(raised.value), retry_after(raised.value)) == (reason, 5.0)
    status = status_of(raised.value)
    assert status is not None
    assert "?" not in status.message, "the sentence has all its facts"
    door.now = START + 4.9
    assert await door.refused(reference) == reason
    assert door.behind.calls == []
    door.now = START + 5.0
    await door.file(reference)
    assert [(each.failure, each.retry_at) for each in door.events] == [
        (failure.value, START + 5),
        (failure.value, START + 5),
        ("", 0.0),
    ]


@pytest.mark.parametrize("failure", [each for each in CallFailure if FAILURES[each].call is not None])
async def test_a_call_that_a_service_refuses_is_sent_in_place_of_the_first_one(
    door: Door, failure: CallFailure
) -> None:
    sent = FAILURES[failure].call
    assert sent is not None
    # What the service answers reaches the account, whatever the case expects.
    door.behind.refusal = Refusal("CALLER_OVER_SHARE", in_flight=1)
    assert await door.refused(f"{failure}-1") == "CALLER_OVER_SHARE"
    assert door.behind.calls == [(SUBMIT, sent("r"))]
    door.behind.refusal = None
    await door.file(f"{failure}-1")
    assert [each.failure for each in door.events] == [failure.value, ""]


async def test_a_request_id_is_used_for_other_content_before_the_first_call(door: Door) -> None:
    assert await door.refused("USED-1", request_id="mine") == "REQUEST_REUSED"
    filed = [ingestion_pb2.SubmitConsignmentsRequest.FromString(raw) for _, raw in door.behind.calls]
    assert [each.request_id for each in filed] == ["mine", "mine"]
    assert [each.consignments[0].local_reference for each in filed] == ["", "USED-1"]
    await door.file("USED-1", request_id="new")
    assert len(door.behind.calls) == 3


async def test_a_lost_answer_is_lost_after_the_filing(door: Door) -> None:
    assert await door.refused("LOST-1") == "SHUTTING_DOWN"
    assert len(door.behind.calls) == 1
    assert door.script.played == [("LOST", 0, "MRN-LOST-1")]
    assert (await door.file("LOST-1")).results[0].receipt.mrn == "MRN-LOST-1"
    assert len(door.script.played) == 1
    assert [(each.failure, each.mrn) for each in door.events] == [("LOST", "MRN-LOST-1"), ("", "MRN-LOST-1")]


async def test_a_call_has_one_fault_at_a_time(door: Door) -> None:
    assert await door.refused("DOWN-1", "FAIL-1") == "SHUTTING_DOWN"
    assert await door.refused("DOWN-1", "FAIL-1") == "INTERNAL"
    await door.file("DOWN-1", "FAIL-1")


async def test_columns_select_cases_as_messages_do(door: Door) -> None:
    async with Client({"ingestion": f"127.0.0.1:{door.port}"}, door.authority.issue("filer", "acme")) as client:
        answer = ingestion_pb2.SubmitConsignmentColumnsResponse()
        answer.results.add().receipt.mrn = "M1"
        answer.results.add().receipt.mrn = "M2"
        door.behind.answer = answer.SerializeToString()
        rows = [Consignment(local_reference="SHOP-1"), Consignment(local_reference="HOLD-1")]
        rows[1].house_document.number = "H1"
        await PackedClient(client).submit(rows)
    assert door.script.played == [("HOLD", 0, "M2")]
    assert [(each.reference, each.house, each.mrn) for each in door.events] == [
        ("SHOP-1", "", "M1"),
        ("HOLD-1", "H1", "M2"),
    ]


@pytest.mark.parametrize("method", [SUBMIT, SUBMIT.replace("Consignments", "ConsignmentColumns")])
@pytest.mark.parametrize("raw", [b"\xff", b"", b"\x12\x02\x08\x05", b"\x12\x04\x08\x05\x82\x01"])
async def test_filings_that_cannot_be_read_are_the_service_s_to_refuse(door: Door, method: str, raw: bytes) -> None:
    door.behind.refusal = Refusal("BATCH_EMPTY", count_max=1000)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await door.call(method, raw)
    assert reason_of(raised.value) == "BATCH_EMPTY"
    assert door.behind.calls == [(method, raw)]


async def test_notices_and_answers_to_controls_are_recorded(door: Door) -> None:
    page = clearance_pb2.PullNoticesResponse()
    page.notices.add(mrn="M1", kind=clearance_pb2.NOTICE_KIND_HELD).time.FromSeconds(7)
    door.behind.answer = page.SerializeToString()
    await door.call("/luxor.clearance.v1.ClearanceService/PullNotices")
    assert door.events == [Event("noticed", "filer/acme", 7.0, mrn="M1", detail="HELD")]


async def test_a_script_that_fails_is_recorded(door: Door) -> None:
    door.script.fails = "step arrive: why"
    await door.file("HOLD-1")
    await asyncio.sleep(0)
    assert ("failed", "MRN-HOLD-1", "step arrive: why") in [(each.kind, each.mrn, each.detail) for each in door.events]


async def test_what_cannot_be_recorded_fails_no_call(door: Door) -> None:
    class Full(list[Event]):
        def append(self, event: Event) -> None:
            raise OSError(28, "No space left on device")

    proxy = Proxy({"ingestion": door.inner}, door.authority, door.script, Full().append, clock=door.clock)
    server, port = serve_on(proxy, door.authority, "127.0.0.1", 0)
    await server.start()
    door.port, former = port, door.port
    try:
        assert (await door.file("HOLD-1")).results[0].receipt.mrn == "MRN-HOLD-1"
    finally:
        door.port = former
        await server.stop(0)
        await proxy.close()


async def test_an_error_of_the_door_itself_has_a_reason_of_the_catalogue(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(door.script, "open_accounts", fail)
    assert await door.refused("HOLD-1") == "INTERNAL"


async def test_references_are_forgotten_in_the_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STARTED_MAX == 100_000
    monkeypatch.setattr("libs.sandbox.proxy.STARTED_MAX", 1)
    await door.refused("DOWN-1")
    await door.file("DOWN-1")
    await door.refused("DOWN-2")
    assert await door.refused("DOWN-1") == "SHUTTING_DOWN"


async def test_too_many_cases_at_one_time_are_refused_before_they_are_filed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.sandbox.proxy.SCRIPTS_MAX", 2)
    await door.file("HOLD-1", "HOLD-2")
    assert await door.refused("HOLD-3", "HOLD-4", "HOLD-5") == "OVERLOADED"
    assert len(door.behind.calls) == 1


async def test_a_deferral_that_fails_is_the_sandbox_s_and_recorded_for_the_goods_that_need_it(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ScriptFailed("deferred accounts of acme: why")

    monkeypatch.setattr(door.script, "open_accounts", fail)
    await door.file("RELEASE-1", "DEBT-1", "SHOP-1")
    failed = [(each.mrn, each.detail) for each in door.events if each.kind == "failed"]
    assert failed == [("MRN-RELEASE-1", "deferred accounts of acme: why")]


async def test_the_call_above_the_limit_is_refused_with_a_reason_and_a_time(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(seconds: float) -> None:
        begun.set()
        await ended.wait()

    monkeypatch.setattr("libs.sandbox.proxy.CALLS_MAX", 1)
    door.sleep = wait  # type: ignore[method-assign]
    async with opened_with(door) as port:
        door.port = port
        slow = asyncio.create_task(door.refused("SLOW-1"))
        await begun.wait()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await door.file("SHOP-1")
        assert (reason_of(raised.value), retry_after(raised.value)) == ("OVERLOADED", 1.0)
        ended.set()
        assert await slow == "DEADLINE_EXCEEDED"
        assert await door.refused("DOWN-1") == "SHUTTING_DOWN"


async def test_no_rpc_is_open_to_a_certificate_of_another_deployment(door: Door, tmp_path: Path) -> None:
    # The same authority, so that the handshake succeeds and the name alone decides.
    real = LocalCA(tmp_path / "other", "luxor")
    real.directory.mkdir()
    for name in ("ca.crt", "ca.key"):
        (real.directory / name).write_bytes((door.authority.directory / name).read_bytes())
    channel = door.channel(authority=real)
    for method in every_rpc():
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(method)(b"", timeout=20)
        assert reason_of(raised.value) == "IDENTITY_FOREIGN", method
    assert door.behind.calls == []


async def test_no_rpc_is_open_to_a_certificate_of_another_authority(door: Door, tmp_path: Path) -> None:
    channel = door.channel(authority=LocalCA(tmp_path / "other", DEPLOYMENT))
    for method in (SUBMIT, "/luxor.clearance.v1.ClearanceService/PullNotices"):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(method)(b"", timeout=20)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert door.behind.calls == []


@pytest.mark.parametrize("role", ["officer", "analyst", "agency", "gateway", "operator", "treasury", "service"])
async def test_no_rpc_is_open_to_the_roles_that_the_sandbox_plays_itself(door: Door, role: str) -> None:
    channel = door.channel(role=role)
    for method in every_rpc():
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(method)(b"", timeout=20)
        assert reason_of(raised.value) == "ROLE_NOT_ALLOWED", method
    assert door.behind.calls == []


async def test_a_revoked_certificate_does_not_come_in(door: Door) -> None:
    channel = door.channel()
    await channel.unary_unary("/luxor.risk.v1.RiskService/CheckGoods")(b"", timeout=20)
    serial = certificate_of(door.authority.issue("filer", "acme").directory / "tls.crt").serial_number
    revoke(door.authority, [serial])
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await channel.unary_unary("/luxor.risk.v1.RiskService/CheckGoods")(b"", timeout=20)
    assert reason_of(raised.value) == "CERTIFICATE_REVOKED"


@pytest.mark.parametrize("method", ["/luxor.weather.v1.Sun/Shine", "/other.ingestion.v1.X/Y"])
async def test_what_no_service_has_is_unknown(door: Door, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await door.call(method)
    assert reason_of(raised.value) == "METHOD_UNKNOWN"
