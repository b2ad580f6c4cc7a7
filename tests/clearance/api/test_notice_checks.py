"""The buyer's check of a notice over real gRPC, TLS and PostgreSQL: what is genuine, what it shows, and what nobody learns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from libs.customs.identifiers.mrn import check_digit
from libs.server import errors
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role
from libs.server.page_tokens import KEY_DAYS, KEY_RETENTION_DAYS, PageTokens, rotate_page_keys
from libs.store.database import Database
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1 import notice_checks_pb2 as pb
from luxor.clearance.v1.notice_checks_pb2_grpc import NoticeCheckServiceStub
from luxor.common.v1 import common_pb2
from services.clearance.__main__ import assemble
from services.clearance.api.notice_checks import SAME_AT_ONCE, CheckCodes, NoticeCheckService
from services.clearance.notices.check_code import ALPHABET, read_code
from services.clearance.store import Store
from services.clearance.store.rows import STATE_DAYS
from tests.clearance import debt_events
from tests.clearance.debt_events import REFUNDED, debt
from tests.clearance.desk import MASTER, Desk, neighbours_at_work
from tests.clearance.disposals import CONFISCATED, DESTROYED, INVALIDATED, SEIZED, disposal, dispose
from tests.clearance.service_client import NOBODY, SECONDS, House, arrivals, ask, asking, refused_with
from tests.support.services import running

NOT_GENUINE = pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NOT_GENUINE)
NOT_CHECKABLE = pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NOT_CHECKABLE)
PER_SECOND = 5


@pytest_asyncio.fixture
async def limited(database_url: str) -> AsyncIterator[House]:
    """A clearance of which a caller may check five notices a second."""
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
    environ["LUXOR_CLEARANCE_CHECKS_PER_SECOND"] = str(PER_SECOND)
    async with (
        running("clearance", assemble, database_url, environ=environ) as service,
        neighbours_at_work() as (neighbours, channel),
    ):
        yield House(service, Desk(service.service.database, neighbours, channel))


async def checker(house: House, role: str = "gateway", ident: str = "web") -> NoticeCheckServiceStub:
    return NoticeCheckServiceStub(await house.service.channel(role, ident))


async def code_of(house: House, mrn: str, filer: str = "shop") -> str:
    (found,) = await ask(await house.stub("filer", filer), asking(mrn=mrn))
    return found.consignments[0].check_code


async def check(house: House, code: str, mrn: str, role: str = "gateway") -> pb.CheckNoticeResponse:
    stub = await checker(house, role)
    return await stub.CheckNotice(pb.CheckNoticeRequest(code=code, mrn=mrn), timeout=SECONDS)


async def age_keys(house: House, days: int) -> None:
    """Let the keys become older, as time does, and let every process read them again."""
    async with house.service.service.database.transaction() as tx:
        await tx.raw.execute("update page_key set made_on = made_on - $1::integer", days)
    await rotate_page_keys(house.service.service.database)


def sums(found: pb.CheckNoticeResponse) -> list[tuple[int, ...]]:
    return [(each.kind, each.collector, each.debtor, each.scheme, each.amount_minor) for each in found.charges]


async def test_a_genuine_code_shows_state_and_money_and_nothing_else(house: House) -> None:
    (mrn,) = await house.filed(["BARE-1"])
    code = await code_of(house, mrn)
    (known,) = (await ask(await house.stub(), asking(mrn=mrn)))[0].consignments
    found = await check(house, code, mrn)
    assert found.outcome == pb.CHECK_OUTCOME_GENUINE
    assert (found.state, found.released, found.currency) == (clearance.STATE_HELD, False, "EUR")
    assert found.debt_status == common_pb2.DEBT_STATUS_OPEN
    assert found.payable_minor == 380
    assert found.changed_day == known.changed_at.ToJsonString()[:10]
    # Revenue announced nothing yet: that nothing was paid is not known.
    assert (found.HasField("paid_minor"), found.HasField("refunded_minor")) == (False, False)
    # The sums of the charges by kind, collector, debtor and scheme, from the status.
    expected: dict[tuple[int, ...], int] = {}
    for each in known.debt.charges:
        key = (each.kind, each.collector, each.debtor, each.scheme)
        expected[key] = expected.get(key, 0) + each.amount_minor
    assert sums(found) == sorted((*key, amount) for key, amount in expected.items())
    assert sum(each.amount_minor for each in found.charges) == known.debt.duty_minor + known.debt.tax_minor
    secret = [known.filing.filer, known.filing.local_reference, known.filing.house_document.number, MASTER]
    secret += [known.filing.declarant_identifier, known.debt.rulebook_version, mrn, code]
    assert all(secret)
    assert not [text for text in secret if text.encode() in found.SerializeToString()]


async def test_what_was_paid_and_refunded_is_shown_once_revenue_announces_it(house: House) -> None:
    (mrn,) = await house.filed(["BARE-1"])
    code = await code_of(house, mrn)
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await debt_events.hear(house.desk, debt([mrn], 1, paid=380))
    found = await check(house, code, mrn)
    assert (found.state, found.released) == (clearance.STATE_RELEASED, True)
    assert (found.debt_status, found.paid_minor, found.refunded_minor) == (common_pb2.DEBT_STATUS_PAID, 380, 0)
    assert found.HasField("refunded_minor"), "revenue announced that nothing was refunded"
    await debt_events.hear(house.desk, debt([mrn], 2, kind=REFUNDED, paid=380, refunded=80))
    assert (await check(house, code, mrn)).refunded_minor == 80


async def test_a_buyer_is_asked_for_nothing_that_nobody_owes_any_more(house: House) -> None:
    """Goods that were never released owe nothing after their end, and after a confiscation all but the duty (decisions/disposals.md)."""
    mrns = await house.filed(["BARE-1", "BARE-2", "BARE-3"])
    codes = [await code_of(house, mrn) for mrn in mrns]
    (known,) = (await ask(await house.stub(), asking(mrn=mrns[2])))[0].consignments
    assert (known.debt.payable_minor, known.debt.duty_minor) == (380, 0), "all is tax"
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    ends = [disposal(mrns[0], INVALIDATED), disposal(mrns[1], DESTROYED), disposal(mrns[2], SEIZED)]
    await dispose(house, *ends)
    await dispose(house, disposal(mrns[2], CONFISCATED), request_id="d2")
    found = [await check(house, code, mrn) for code, mrn in zip(codes, mrns, strict=True)]
    assert [each.payable_minor for each in found] == [0, 0, 380]
    assert all(each.HasField("payable_minor") for each in found)
    none, owed = common_pb2.DEBT_STATUS_NONE, common_pb2.DEBT_STATUS_OPEN
    assert [each.debt_status for each in found] == [none, none, owed]
    assert not any(each.lower_bound for each in found[:2])
    # The notices of refunds after the end ask for the same.
    await debt_events.hear(house.desk, debt(mrns, 1, kind=REFUNDED, paid=380, refunded=380))
    await house.desk.told()
    page = await (await house.stub()).PullNotices(clearance.PullNoticesRequest(), timeout=SECONDS)
    assert [page.notices[-3 + row].payable_minor for row in range(3)] == [0, 0, 380]


async def test_goods_that_are_held_again_are_not_released_and_returned_ones_were(house: House) -> None:
    (held, returned) = await house.filed(["GREEN-1", "GREEN-2"])
    codes = [await code_of(house, mrn) for mrn in (held, returned)]
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert [(await check(house, code, mrn)).released for code, mrn in zip(codes, (held, returned), strict=True)] == [
        True
    ] * 2
    hold = clearance.HoldConsignmentsRequest(request_id="h1", reason="TIP")
    hold.consignments.add(mrn=held)
    await (await house.stub("officer", "olga")).HoldConsignments(hold, timeout=SECONDS)
    back = clearance.RecordReturnsRequest(request_id="r1")
    each = back.returns.add(reason=clearance.RETURN_REASON_WITHDRAWN, transport_document_number="RET-1")
    each.consignment.mrn = returned
    await (await house.stub()).RecordReturns(back, timeout=SECONDS)
    first, second = [await check(house, code, mrn) for code, mrn in zip(codes, (held, returned), strict=True)]
    assert (first.state, first.released) == (clearance.STATE_HELD, False)
    assert (second.state, second.released) == (clearance.STATE_RE_EXPORTED, True)


async def test_what_the_vendor_collected_and_what_nobody_could_compute(house: House) -> None:
    vendor, unknown = await house.filed(["VENDOR-1", "NORULEBOOK-1"])
    found = await check(house, await code_of(house, vendor), vendor)
    assert found.debt_status == common_pb2.DEBT_STATUS_VENDOR_COLLECTED
    assert (found.vendor_collected_minor, found.payable_minor) == (380, 0)
    assert {each.collector for each in found.charges} == {common_pb2.COLLECTOR_VENDOR}
    found = await check(house, await code_of(house, unknown), unknown)
    assert found.debt_status == common_pb2.DEBT_STATUS_UNSPECIFIED
    assert (found.outcome, list(found.charges)) == (pb.CHECK_OUTCOME_GENUINE, [])
    assert not [name for name in ("vendor_collected_minor", "payable_minor", "paid_minor") if found.HasField(name)]


async def test_a_wrong_code_a_foreign_one_and_an_unknown_consignment_have_the_same_answer(house: House) -> None:
    (mrn, other) = await house.filed(["GREEN-1", "GREEN-2"])
    (foreign,) = await house.filed(["GREEN-3"], filer="rival")
    code = await code_of(house, mrn)
    unfiled = f"{mrn[:9]}0000099R"
    unfiled += str(check_digit(unfiled))
    elsewhere = "22ITZXBZYUTJFLJXK6"
    for key in ("0", code[0]):
        # Of the right form, and made without the key.
        for wrong in (_with_check(f"{key}{'7' * 13}"), _with_check(key + code.replace("-", "")[1:13] + "0")):
            if wrong != code.replace("-", ""):
                assert await check(house, wrong, mrn) == (NOT_GENUINE if key == code[0] else NOT_CHECKABLE)
    for number in (other, foreign, unfiled, elsewhere):
        assert await check(house, code, number) == NOT_GENUINE
        assert await check(house, code, number, "officer") == NOT_GENUINE
    assert (await check(house, code, mrn)).outcome == pb.CHECK_OUTCOME_GENUINE


def _with_check(body: str) -> str:
    """End a code with its check character: the one of 32 that is read."""
    (code,) = [body + digit for digit in ALPHABET if read_code(body + digit) is not None]
    return code


MISTYPED = [
    ({"code": ""}, "NOTICE_CODE_MALFORMED"),
    ({"code": "0" * 16}, "NOTICE_CODE_MALFORMED"),
    ({"code": "0" * 33}, "NOTICE_CODE_MALFORMED"),
    ({"code": "00000-00000-00001"}, "NOTICE_CODE_MALFORMED"),
    ({"mrn": ""}, "MRN_MALFORMED"),
    ({"mrn": "26DE07329000001XR9"}, "MRN_MALFORMED"),
    ({"mrn": "26DE07329000001XR88"}, "MRN_MALFORMED"),
]


async def test_what_is_mistyped_is_refused(house: House) -> None:
    stub = await checker(house)
    for change, reason in MISTYPED:
        request = pb.CheckNoticeRequest(**{"code": "0" * 15, "mrn": "26DE07329000001XR8"} | change)
        refused = await refused_with(stub.CheckNotice(request, timeout=SECONDS))
        assert refused == (grpc.StatusCode.INVALID_ARGUMENT, reason), change


async def test_only_gateways_and_officers_check(house: House) -> None:
    for role in ("filer", "carrier", "analyst", "agency", "operator", "service", "treasury"):
        stub = await checker(house, role)
        code, _ = await refused_with(stub.CheckNotice(pb.CheckNoticeRequest(), timeout=SECONDS))
        assert code == grpc.StatusCode.PERMISSION_DENIED, role


async def test_filers_and_officers_receive_the_code_and_carriers_do_not(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    code = await code_of(house, mrn)
    (found,) = (await ask(await house.stub("officer", "olga"), asking(mrn=mrn)))[0].consignments
    assert found.check_code == code
    (found,) = (await ask(await house.stub("carrier", "wings"), asking(master_document_number=MASTER)))[0].consignments
    assert (found.mrn, found.check_code) == (mrn, "")


async def test_the_code_of_a_former_key_is_genuine_for_as_long_as_the_consignment_is_stored(house: House) -> None:
    # A key is used for the last time on the day after its successor is made, and a consignment is stored for STATE_DAYS.
    assert KEY_DAYS + 1 + STATE_DAYS <= KEY_RETENTION_DAYS
    (mrn,) = await house.filed(["GREEN-1"])
    await code_of(house, mrn)
    await age_keys(house, KEY_DAYS)
    last = await fresh_code(house, mrn)
    assert last == await code_of(house, mrn), "the new key is not used yet"
    await age_keys(house, KEY_RETENTION_DAYS - 2 * KEY_DAYS)
    newer = await fresh_code(house, mrn)
    assert newer[0] != last[0]
    await age_keys(house, KEY_DAYS)
    for code in (last, newer):
        assert (await fresh_check(house, code, mrn)).outcome == pb.CHECK_OUTCOME_GENUINE
    # One day more, and housekeeping makes the next key and deletes those that are too old.
    await age_keys(house, 1)
    await age_keys(house, KEY_DAYS)
    # A true code whose key is gone, as after a restore, is not called false.
    assert await fresh_check(house, last, mrn) == NOT_CHECKABLE
    assert (await fresh_check(house, await fresh_code(house, mrn), mrn)).outcome == pb.CHECK_OUTCOME_GENUINE


async def fresh_code(house: House, mrn: str) -> str:
    """Return the code that a replica issues that starts now."""
    (code,) = await CheckCodes(PageTokens(house.service.service.database)).codes([mrn])
    return code


async def fresh_check(house: House, code: str, mrn: str) -> pb.CheckNoticeResponse:
    """Check by a replica that starts now, and by its servicer alone."""
    enter(Call(Identity(Role.GATEWAY, "web"), "", "", "", 0.0))
    servicer = NoticeCheckService(Store(house.service.service.database), checks_per_second=50.0)
    context: Any = None
    return await servicer.CheckNotice(pb.CheckNoticeRequest(code=code, mrn=mrn), context)


async def test_a_key_that_another_replica_made_is_read_when_its_first_code_comes(house: House) -> None:
    mrn = "26DE07329000001XR8"
    pages = PageTokens(house.service.service.database)
    codes = CheckCodes(pages)
    (code,) = await codes.codes([mrn])
    await age_keys(house, KEY_DAYS)
    await age_keys(house, 1)
    newer = await fresh_code(house, mrn)
    assert newer[0] != code[0]
    pages.read_at = float("-inf")
    for text in (code, newer):
        read = read_code(text)
        assert read is not None
        assert await codes.is_genuine(read, mrn)
        assert not await codes.is_genuine(read, "26DE07329000002XR0")


async def test_a_consignment_that_is_no_longer_stored_is_named_so(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    code = await code_of(house, mrn)
    async with house.service.service.database.transaction() as tx:
        await tx.raw.execute("delete from consignment")
    assert await check(house, code, mrn) == pb.CheckNoticeResponse(outcome=pb.CHECK_OUTCOME_NO_LONGER_STORED)


async def test_a_hold_by_a_confidential_check_reads_as_to_its_filer(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    code = await code_of(house, mrn)
    before = await check(house, code, mrn)
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    officer = await house.stub("officer", "olga")
    request = clearance.RecordInspectionsRequest(request_id="i1")
    inspection = request.inspections.add(method=clearance.INSPECTION_METHOD_SCAN)
    inspection.consignment.mrn = mrn
    inspection.result = clearance.INSPECTION_RESULT_CONFORM
    await officer.RecordInspections(request, timeout=SECONDS)
    (seen,) = (await ask(await house.stub(), asking(mrn=mrn)))[0].consignments
    after = await check(house, code, mrn)
    assert (after.state, after.changed_day) == (before.state, seen.changed_at.ToJsonString()[:10])


async def test_a_caller_has_its_checks_a_second_and_another_caller_has_its_own(limited: House) -> None:
    (mrn,) = await limited.filed(["GREEN-1"])
    code = await code_of(limited, mrn)
    one, other = await checker(limited, ident="one"), await checker(limited, ident="other")
    numbers = [_numbered(mrn, number) for number in range(2 * PER_SECOND + 20)]
    answers, refused = [], []
    for number in numbers:
        try:
            answers.append(await one.CheckNotice(pb.CheckNoticeRequest(code=code, mrn=number), timeout=SECONDS))
        except grpc.aio.AioRpcError as error:
            refused.append(error)
    # Two seconds' worth at once; while they run, time passes and gives further ones.
    assert len(answers) >= 2 * PER_SECOND
    assert all(answer == NOT_GENUINE for answer in answers)
    assert refused, "thirty checks take less than four seconds"
    assert {errors.reason_of(error) for error in refused} == {"NOTICE_CHECKS_TOO_MANY"}
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    waits = [errors.retry_after(error) for error in refused]
    assert all(wait is not None and 0 < wait <= 1 / PER_SECOND for wait in waits), waits
    found = await other.CheckNotice(pb.CheckNoticeRequest(code=code, mrn=mrn), timeout=SECONDS)
    assert found.outcome == pb.CHECK_OUTCOME_GENUINE


def _numbered(mrn: str, number: int) -> str:
    body = f"{mrn[:9]}{number:07d}R"
    return f"{body}{check_digit(body)}"


async def test_the_same_check_is_limited_and_other_codes_do_not_use_it_up(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    code = await code_of(house, mrn)
    stub = await checker(house)
    wrong = _with_check(f"{code[0]}{'7' * 13}")
    for _ in range(SAME_AT_ONCE):
        assert await check(house, wrong, mrn) == NOT_GENUINE
    outcomes = [(await check(house, code, mrn)).outcome for _ in range(SAME_AT_ONCE)]
    assert outcomes == [pb.CHECK_OUTCOME_GENUINE] * SAME_AT_ONCE
    # A wrong code, and the same code written differently, have the same limit as the genuine one.
    for text in (wrong, code, code.lower().replace("-", " ")):
        call = stub.CheckNotice(pb.CheckNoticeRequest(code=text, mrn=mrn), timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert errors.reason_of(caught.value) == "NOTICE_CHECKS_TOO_MANY"
        assert 0 < (errors.retry_after(caught.value) or 0) <= 60
    assert (await check(house, code, mrn, "officer")).outcome == pb.CHECK_OUTCOME_GENUINE


async def test_checks_are_counted_by_outcome(house: House) -> None:
    names = ("genuine", "not_genuine", "no_longer_stored", "malformed", "limited")

    def counts() -> dict[str, float]:
        return {
            name: REGISTRY.get_sample_value("luxor_clearance_notice_checks_total", {"outcome": name}) or 0.0
            for name in names
        }

    before = counts()
    (mrn,) = await house.filed(["GREEN-1"])
    code = await code_of(house, mrn)
    await check(house, code, mrn)
    await check(house, _with_check(f"{code[0]}{'7' * 13}"), mrn)
    await refused_with((await checker(house)).CheckNotice(pb.CheckNoticeRequest(code="1", mrn=mrn), timeout=SECONDS))
    after = counts()
    assert {name: after[name] - before[name] for name in names} == {
        "genuine": 1, "not_genuine": 1, "no_longer_stored": 0, "malformed": 1, "limited": 0,
    }  # fmt: skip


async def test_a_wrong_code_is_answered_without_a_look_into_the_store(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    code = await code_of(house, mrn)
    wrong = _with_check(f"{code[0]}{'7' * 13}")
    enter(Call(Identity(Role.GATEWAY, "web"), "", "", "", 0.0))
    servicer = NoticeCheckService(Store(house.service.service.database), checks_per_second=50.0)
    context: Any = None

    async def checked(text: str, number: str) -> pb.CheckNoticeResponse:
        return await servicer.CheckNotice(pb.CheckNoticeRequest(code=text, mrn=number), context)

    await checked(wrong, mrn)  # which reads the keys
    looks: list[Any] = []
    connection = Database.connection

    def watched(database: Database) -> Any:
        looks.append(asyncio.current_task())
        return connection(database)

    monkeypatch.setattr(Database, "connection", watched)
    for number in (mrn, _numbered(mrn, 5), "22ITZXBZYUTJFLJXK6"):
        assert await checked(wrong, number) == NOT_GENUINE
    # The jobs of the service have tasks of their own.
    assert asyncio.current_task() not in looks
    assert (await checked(code, mrn)).outcome == pb.CHECK_OUTCOME_GENUINE
    assert asyncio.current_task() in looks
