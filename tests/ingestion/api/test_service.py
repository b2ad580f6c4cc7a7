"""Filing over real gRPC, TLS and PostgreSQL."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from libs.customs.identifiers import mrn
from libs.server import errors
from luxor.ingestion.v1 import ingestion_pb2 as pb
from services.ingestion.__main__ import assemble
from tests.ingestion.consignments import consignment
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import Running, running


@pytest_asyncio.fixture
async def ingestion(database_url: str) -> AsyncIterator[Running]:
    async with running("ingestion", assemble, database_url) as service:
        yield service


def reasons(result: pb.SubmissionResult) -> list[tuple[str, str]]:
    return [(each.reason, each.path) for each in result.errors]


async def refused_with(call: grpc.aio.UnaryUnaryCall) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), errors.reason_of(caught.value)


async def test_good_consignments_are_accepted_and_bad_neighbours_refused_each_with_its_reasons(
    ingestion: Running,
) -> None:
    stub = await stub_of(ingestion)
    bad = consignment(1)
    bad.items[0].commodity_code = "999999"
    bad.consignee.name = ""
    answer = await submit(stub, [consignment(0), bad, consignment(2)], "r1")
    assert [each.status for each in answer.results] == [1, 2, 1]
    assert sorted(reasons(answer.results[1])) == [
        ("COMMODITY_CODE_UNKNOWN", "consignments[1].items[0].commodity_code"),
        ("ELEMENT_MISSING", "consignments[1].consignee.name"),
    ]
    assert all(each.message and each.hint for each in answer.results[1].errors)
    receipt = answer.results[0].receipt
    number = mrn.parse(receipt.mrn)
    assert (number.country, receipt.version, receipt.local_reference) == ("DE", 1, "REF-0")


async def test_the_same_batch_again_gets_the_same_answer_under_any_request_id(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [consignment(place) for place in range(50)]
    first = await submit(stub, rows, "r1")
    assert await submit(stub, rows, "r1") == first
    assert await submit(stub, rows, "r2") == first
    assert await submit(stub, rows[::-1], "r3") == pb.SubmitConsignmentsResponse(results=list(first.results)[::-1])


async def test_the_same_batch_across_midnight_gets_the_same_answer(database_url: str) -> None:
    rows = [consignment(place) for place in range(20)]
    async with running("ingestion", assemble, database_url) as today:
        first = await submit(await stub_of(today), rows, "r1")
    environ = {"LUXOR_INGESTION_CLOCK_SHIFT_SECONDS": str(26 * 3600)}
    async with running("ingestion", assemble, database_url, environ=environ) as tomorrow:
        stub = await stub_of(tomorrow)
        assert await submit(stub, rows, "r2") == first
        fresh = await submit(stub, [consignment(99)], "r3")
        day = mrn.parse(fresh.results[0].receipt.mrn).day
        assert day > mrn.parse(first.results[0].receipt.mrn).day


async def test_errors_that_an_answer_has_no_room_for_are_counted(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    row = consignment(0)
    row.items.extend([row.items[0]] * 59)
    row.gross_mass_mg *= 60
    for item in row.items[:55]:
        item.imeis.append("1")
    first = (await submit(stub, [row], "r1")).results[0]
    assert (first.status, len(first.errors), first.errors_left_out) == (pb.SUBMISSION_STATUS_ACCEPTED, 50, 5)
    for item in row.items:
        item.brand = "a\x00b"
    row.incoterm = "DAP"
    second = (await submit(stub, [row], "r2")).results[0]
    assert {each.reason for each in second.errors} == {"TEXT_UNPRINTABLE"}
    assert (second.status, len(second.errors), second.errors_left_out) == (pb.SUBMISSION_STATUS_REFUSED, 50, 65)
    row.ClearField("items")
    row.items.extend([consignment(0).items[0]] * 55)
    for item in row.items:
        item.imeis.append("1")
    third = (await submit(stub, [row], "r3")).results[0]
    assert (third.errors[0].reason, len(third.errors), third.errors_left_out) == ("REFERENCE_REUSED", 50, 6)


async def test_a_reused_reference_with_other_content_is_refused_and_names_the_mrn(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    first = await submit(stub, [consignment(0)], "r1")
    other = consignment(0)
    other.items[0].description = "Something else"
    answer = await submit(stub, [other, consignment(1)], "r2")
    assert [each.status for each in answer.results] == [2, 1]
    assert reasons(answer.results[0]) == [("REFERENCE_REUSED", "consignments[0].local_reference")]
    assert first.results[0].receipt.mrn in answer.results[0].errors[0].message


async def test_a_reference_twice_in_one_batch_is_one_filing_or_a_refusal(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    other = consignment(0)
    other.gross_mass_mg += 1
    answer = await submit(stub, [consignment(0), consignment(0), other], "r1")
    assert [each.status for each in answer.results] == [1, 1, 2]
    assert answer.results[0].receipt == answer.results[1].receipt


async def test_a_refused_item_leaves_its_reference_free(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    bad = consignment(0)
    bad.gross_mass_mg = 0
    assert (await submit(stub, [bad], "r1")).results[0].status == pb.SUBMISSION_STATUS_REFUSED
    assert (await submit(stub, [consignment(0)], "r2")).results[0].status == pb.SUBMISSION_STATUS_ACCEPTED
    # The first request again is still told what it was told.
    assert (await submit(stub, [bad], "r1")).results[0].status == pb.SUBMISSION_STATUS_REFUSED


async def test_two_filers_may_use_one_reference(ingestion: Running) -> None:
    one, two = await stub_of(ingestion), await stub_of(ingestion, ident="other")
    a, b = await submit(one, [consignment(0)], "r1"), await submit(two, [consignment(0)], "r1")
    assert a.results[0].receipt.mrn != b.results[0].receipt.mrn


async def test_calls_at_once_with_the_same_references_agree(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [consignment(place) for place in range(200)]
    answers = await asyncio.gather(*(submit(stub, rows if n % 2 else rows[::-1], f"r{n}") for n in range(8)))
    receipts = [{each.receipt.local_reference: each.receipt.mrn for each in answer.results} for answer in answers]
    assert all(each == receipts[0] for each in receipts)
    assert len(set(receipts[0].values())) == 200


async def test_receipts_come_back_by_mrn_and_by_reference_to_their_filer_only(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    receipt = (await submit(stub, [consignment(0)], "r1")).results[0].receipt
    keys = [
        pb.ReceiptKey(mrn=receipt.mrn),
        pb.ReceiptKey(local_reference="REF-0"),
        pb.ReceiptKey(local_reference="unknown"),
        pb.ReceiptKey(mrn="22ITZXBZYUTJFLJXK6"),
        pb.ReceiptKey(mrn="26DE07329000001XX4"),
        pb.ReceiptKey(),
    ]
    answer = await stub.GetReceipts(pb.GetReceiptsRequest(keys=keys), timeout=SECONDS)
    assert [each.receipt for each in answer.results[:2]] == [receipt, receipt]
    assert [each.error.reason for each in answer.results[2:]] == [
        "RECEIPT_UNKNOWN", "RECEIPT_UNKNOWN", "MRN_MALFORMED", "RECEIPT_KEY_MISSING",
    ]  # fmt: skip
    for role, ident, seen in (("filer", "other", False), ("officer", "o1", True)):
        other = await stub_of(ingestion, role, ident)
        found = await other.GetReceipts(pb.GetReceiptsRequest(keys=keys[:1]), timeout=SECONDS)
        assert found.results[0].HasField("receipt") is seen


async def test_what_is_wrong_with_a_whole_call_is_told_as_a_status(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [consignment(place) for place in range(1001)]

    def call(**fields: object) -> grpc.aio.UnaryUnaryCall:
        return stub.SubmitConsignments(pb.SubmitConsignmentsRequest(**fields), timeout=SECONDS)  # type: ignore[arg-type]

    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert await refused_with(call(request_id="r")) == (invalid, "BATCH_EMPTY")
    assert await refused_with(call(request_id="r", consignments=rows)) == (invalid, "BATCH_TOO_LARGE")
    fat = [copy.deepcopy(row) for row in rows[:11]]
    for row in fat:
        row.items.extend([row.items[0]] * 998)
    assert await refused_with(call(request_id="r", consignments=fat)) == (invalid, "BATCH_ITEMS_TOO_MANY")
    assert await refused_with(call(consignments=rows[:1])) == (invalid, "REQUEST_ID_MISSING")
    assert await refused_with(call(request_id="a\nb", consignments=rows[:1])) == (invalid, "REQUEST_ID_MALFORMED")
    await submit(stub, rows[:1], "r")
    reused = await refused_with(call(request_id="r", consignments=rows[1:2]))
    assert reused == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED")
    officer = await stub_of(ingestion, "officer", "o1")
    denied = officer.SubmitConsignments(pb.SubmitConsignmentsRequest(), timeout=SECONDS)
    assert (await refused_with(denied))[0] == grpc.StatusCode.PERMISSION_DENIED


async def test_an_unknown_field_is_taken_and_noted_with_its_path_and_number(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    strange = consignment(0)
    # Field 999 of the first item, a varint.
    raw = strange.items[0].SerializeToString() + bytes([0xB8, 0x3E, 0x01])
    strange.items[0].ParseFromString(raw)
    answer = await submit(stub, [consignment(1), strange], "r1")
    assert [each.status for each in answer.results] == [1, 1]
    noted = answer.results[1].errors[0]
    assert (noted.reason, noted.path, noted.severity) == ("UNKNOWN_FIELD", "consignments[1].items[0]", 2)
    assert "999" in noted.message


async def test_a_field_of_another_type_is_unknown_and_its_neighbours_stay_with_their_rows(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [copy.deepcopy(consignment(place)) for place in range(4)]
    for row in rows[1:3]:
        row.ClearField("nature")
    # As a list of two numbers, which are no value of an element that has one.
    rows[1].MergeFromString(bytes([0xCA, 0x01, 0x02, 0x02, 0x03]))
    answer = await submit(stub, rows, "r1")
    assert [reasons(each) for each in answer.results] == [
        [],
        [("ELEMENT_MISSING", "consignments[1].nature"), ("UNKNOWN_FIELD", "consignments[1]")],
        [("ELEMENT_MISSING", "consignments[2].nature")],
        [],
    ]


async def test_amounts_negative_or_huge_are_refused_with_their_bounds(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [copy.deepcopy(consignment(place)) for place in range(3)]
    rows[0].items[0].price.minor = -1
    rows[1].items[0].price.minor = 10**12 + 1
    rows[2].freight.minor = 2**62
    rows[2].freight.currency = "EUR"
    answer = await submit(stub, rows, "r1")
    assert [reasons(each)[0] for each in answer.results] == [
        ("NUMBER_NEGATIVE", "consignments[0].items[0].price.minor"),
        ("NUMBER_TOO_LARGE", "consignments[1].items[0].price.minor"),
        ("NUMBER_TOO_LARGE", "consignments[2].freight.minor"),
    ]


async def test_an_item_that_no_store_can_hold_is_refused_and_its_neighbours_are_accepted(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [copy.deepcopy(consignment(place)) for place in range(5)]
    rows[1].order.time.seconds = 2**62
    rows[2].transport.arrival_time.nanos = -1
    rows[3].items[0].description = "a\x00b"
    answer = await submit(stub, rows, "r1")
    assert [each.status for each in answer.results] == [1, 2, 2, 2, 1]
    assert [reasons(each) for each in answer.results[1:4]] == [
        [("TIME_OUT_OF_BOUNDS", "consignments[1].order.time")],
        [("TIME_OUT_OF_BOUNDS", "consignments[2].transport.arrival_time")],
        [("TEXT_UNPRINTABLE", "consignments[3].items[0].description")],
    ]


async def test_a_key_of_no_receipt_is_refused_and_its_neighbours_are_answered(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    await submit(stub, [consignment(0)], "r1")
    keys = [pb.ReceiptKey(local_reference=each) for each in ("a\x00b", "REF-0", "x" * 23, "x" * 22)]
    keys.append(pb.ReceiptKey(mrn="\x00" * 18))
    answer = await stub.GetReceipts(pb.GetReceiptsRequest(keys=keys), timeout=SECONDS)
    assert answer.results[1].receipt.local_reference == "REF-0"
    assert [(each.error.reason, each.error.path) for each in answer.results if each.HasField("error")] == [
        ("TEXT_UNPRINTABLE", "keys[0].local_reference"),
        ("TEXT_TOO_LONG", "keys[2].local_reference"),
        ("RECEIPT_UNKNOWN", "keys[3].local_reference"),
        ("MRN_MALFORMED", "keys[4].mrn"),
    ]


async def test_a_request_id_belongs_to_its_caller_alone(ingestion: Running) -> None:
    first, second = await stub_of(ingestion), await stub_of(ingestion, ident="other-shop")
    # The refused row has its answer stored under the id; nobody else may be given it.
    bad = consignment(1)
    bad.consignee.name = ""
    own = await submit(first, [consignment(0), bad], "r1")
    others = await submit(second, [consignment(0), bad], "r1")
    assert [each.status for each in others.results] == [each.status for each in own.results] == [1, 2]
    assert others.results[0].receipt.mrn != own.results[0].receipt.mrn
    assert (await submit(second, [consignment(2)], "r2")).results[0].status == 1
    assert (await submit(first, [consignment(0), bad], "r1")) == own
