"""Filing by columns over real gRPC, TLS and PostgreSQL: the same filing as by messages, and nothing of what is hostile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2

from libs.client.filing.packing import pack
from libs.columns import Table
from libs.server import errors
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.ingestion.__main__ import assemble
from tests.ingestion.consignments import consignment
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support import hostile
from tests.support.services import Running, running

METHOD = "/luxor.ingestion.v1.IngestionService/SubmitConsignmentColumns"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest_asyncio.fixture
async def ingestion(database_url: str) -> AsyncIterator[Running]:
    async with running("ingestion", assemble, database_url) as service:
        yield service


async def submit_columns(
    stub: IngestionServiceStub, columns: ConsignmentColumns, request_id: str
) -> pb.SubmitConsignmentColumnsResponse:
    request = pb.SubmitConsignmentColumnsRequest(request_id=request_id, consignments=columns)
    return await stub.SubmitConsignmentColumns(request, timeout=SECONDS)


async def refused_with(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Return code, reason and path of a refusal, whose sentence and hint have all their facts."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = errors.status_of(caught.value)
    assert status is not None
    assert "?" not in status.message
    request = errors.details_of(status, error_details_pb2.BadRequest)
    path = request.field_violations[0].field if request is not None else ""
    return caught.value.code(), errors.reason_of(caught.value), path


def same(columns: pb.SubmitConsignmentColumnsResponse, rows: pb.SubmitConsignmentsResponse) -> bool:
    return columns.SerializeToString() == rows.SerializeToString()


def spoilt(count: int) -> list[Consignment]:
    """Return so many consignments, most of which have one element beyond its bounds, and some twice."""
    variants = [each for each in hostile.variants(Consignment.DESCRIPTOR) if each.ByteSize() < 5_000]
    step = len(variants) // count
    rows = [*variants[::step][:count], *(consignment(number) for number in range(50_000, 50_040))]
    return [*rows, *rows[-3:]]


async def test_what_was_filed_by_messages_is_filed_for_columns_and_the_other_way_round(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = spoilt(300)
    first = await submit(stub, rows, "r1")
    assert 40 < sum(each.status == pb.SUBMISSION_STATUS_ACCEPTED for each in first.results) < 340
    # The same request, and another one with the same content.
    for request_id in ("r1", "r2"):
        assert same(await submit_columns(stub, pack(rows), request_id), first)
    fresh = [consignment(number) for number in range(60_000, 60_020)]
    fresh[3].gross_mass_mg = 0
    packed = await submit_columns(stub, pack(fresh), "r3")
    for request_id in ("r3", "r4"):
        assert same(packed, await submit(stub, fresh, request_id))
    other = [consignment(60_000)]
    other[0].items[0].description = "Something else"
    reused = await submit_columns(stub, pack(other), "r5")
    assert [each.reason for each in reused.results[0].errors] == ["REFERENCE_REUSED"]
    assert packed.results[0].receipt.mrn in reused.results[0].errors[0].message
    again = stub.SubmitConsignments(pb.SubmitConsignmentsRequest(request_id="r5", consignments=fresh), timeout=SECONDS)
    assert await refused_with(again) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED", "request_id")


async def test_the_same_consignments_are_stored_alike_by_messages_and_by_columns(ingestion: Running) -> None:
    rows = spoilt(300)
    by_rows = await submit(await stub_of(ingestion, ident="by-rows"), rows, "r1")
    by_columns = await submit_columns(await stub_of(ingestion, ident="by-columns"), pack(rows), "r1")
    for one, other in zip(by_rows.results, by_columns.results, strict=True):
        assert (one.status, one.errors, one.errors_left_out) == (other.status, other.errors, other.errors_left_out)
        assert one.receipt.local_reference == other.receipt.local_reference
    async with ingestion.service.database.connection() as reader:
        batches = await reader.raw.fetch("select payload from batch order by day, id")
        digests = await reader.raw.fetch(
            "select count(distinct digest) as digests, count(*) as filers from request_log"
        )
        references = await reader.raw.fetch(
            "select local_reference, count(distinct digest) as digests, count(*) as filers from reference group by 1"
        )
    stored = [Table.parse(ConsignmentColumns, each["payload"]).encode(ConsignmentColumns) for each in batches]
    assert len(stored) == 2
    assert [each.filer.dictionary[0] for each in stored] == ["by-rows", "by-columns"]
    for each in stored:
        for name in ("mrn", "filer", "accepted_at", "partition"):
            each.ClearField(name)
    assert stored[0] == stored[1]
    for found in (digests, references):
        assert {(each["digests"], each["filers"]) for each in found} == {(1, 2)}


async def test_a_batch_of_columns_has_the_bounds_of_a_batch_of_messages(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [consignment(number) for number in range(1_001)]

    def call(**fields: Any) -> Any:
        return stub.SubmitConsignmentColumns(pb.SubmitConsignmentColumnsRequest(**fields), timeout=SECONDS)

    assert await refused_with(call(request_id="r")) == (INVALID, "BATCH_EMPTY", "")
    assert await refused_with(call(request_id="r", consignments=pack(rows))) == (INVALID, "BATCH_TOO_LARGE", "")
    huge = ConsignmentColumns(rows=2**32 - 1)
    assert await refused_with(call(request_id="r", consignments=huge)) == (INVALID, "BATCH_TOO_LARGE", "")
    assert await refused_with(call(consignments=pack(rows[:1]))) == (INVALID, "REQUEST_ID_MISSING", "request_id")
    fat = [consignment(number) for number in range(11)]
    for row in fat:
        row.items.extend([row.items[0]] * 908)
    fat[0].items.append(fat[0].items[0])
    assert sum(len(row.items) for row in fat) == 10_000
    answer = await submit_columns(stub, pack(fat), "r1")
    assert {each.status for each in answer.results} == {pb.SUBMISSION_STATUS_ACCEPTED}
    fat[1].items.append(fat[1].items[0])
    too_many = call(request_id="r2", consignments=pack(fat))
    assert await refused_with(too_many) == (INVALID, "BATCH_ITEMS_TOO_MANY", "consignments")
    thousand = await submit_columns(stub, pack(rows[:1_000]), "r3")
    assert len(thousand.results) == 1_000
    officer = await stub_of(ingestion, "officer", "o1")
    denied = officer.SubmitConsignmentColumns(pb.SubmitConsignmentColumnsRequest(), timeout=SECONDS)
    assert (await refused_with(denied))[1] == "ROLE_NOT_ALLOWED"


async def test_inconsistent_columns_are_refused_as_a_whole_and_leave_their_references_free(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    rows = [consignment(number) for number in range(3)]

    async def refused(columns: ConsignmentColumns) -> tuple[grpc.StatusCode, str, str]:
        return await refused_with(submit_columns(stub, columns, "r1"))

    bad = pack(rows)
    bad.items.commodity_code.indices[1] = 7
    assert await refused(bad) == (INVALID, "COLUMN_INDEX_UNKNOWN", "consignments[1].items[0].commodity_code")
    bad = pack(rows)
    bad.filer.dictionary.append("other")
    bad.filer.indices.extend([0, 0, 0])
    assert await refused(bad) == (INVALID, "COLUMN_NOT_FILED", "consignments.filer")
    bad = pack(rows)
    bad.seller_email.dictionary.extend(["x" * 3_000_000])
    bad.seller_email.indices.extend([0, 0, 0])
    assert await refused(bad) == (INVALID, "BATCH_EXPANDED_TOO_LARGE", "consignments")
    answer = await submit_columns(stub, pack(rows), "r1")
    assert [each.status for each in answer.results] == [1, 1, 1]


def field(number: int, wire_type: int, content: bytes) -> bytes:
    """Return a field of less than 16 times 128 and of short content."""
    key = number << 3 | wire_type
    head = bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])
    return head + (bytes([len(content)]) if wire_type == 2 else b"") + content


UNKNOWN_FIELDS = [
    # A column of a later release; one in a table below; a part of a column; a column that is a number; one that has the form of another.
    (field(999, 2, b"\x0a\x01a"), "consignments", 999),
    (field(139, 2, field(999, 2, b"\x0a\x01a")), "consignments.items", 999),
    (field(16, 2, field(9, 0, b"\x01")), "consignments.local_reference", 9),
    (field(133, 0, b"\x05"), "consignments", 133),
    (field(138, 2, field(1, 1, b"\x00" * 8)), "consignments.gross_mass_mg", 1),
]


async def test_columns_that_are_unknown_or_of_another_type_are_refused(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    for raw, path, number in UNKNOWN_FIELDS:
        columns = pack([consignment(0)])
        columns.MergeFromString(raw)
        assert await refused_with(submit_columns(stub, columns, "r1")) == (INVALID, "COLUMN_FIELD_UNKNOWN", path), raw
        with pytest.raises(grpc.aio.AioRpcError, match=f"The message {path} has the field number {number}"):
            await submit_columns(stub, columns, "r1")
    request = pb.SubmitConsignmentColumnsRequest(request_id="r1", consignments=pack([consignment(0)]))
    request.MergeFromString(field(99, 0, b"\x01"))
    call = stub.SubmitConsignmentColumns(request, timeout=SECONDS)
    assert await refused_with(call) == (INVALID, "COLUMN_FIELD_UNKNOWN", "request")


async def test_texts_that_are_no_utf_8_and_numbers_in_the_place_of_texts_are_refused(ingestion: Running) -> None:
    send: Any = (await ingestion.channel("filer", "shop")).unary_unary(METHOD, None, None)
    good = pb.SubmitConsignmentColumnsRequest(request_id="r1", consignments=pack([consignment(0)]))
    latin = field(2, 2, field(133, 2, field(1, 2, b"\xe4") + field(2, 2, b"\x00")))
    assert await refused_with(send(good.SerializeToString() + latin, timeout=SECONDS)) == (INVALID, "UNDECODABLE", "")
    # The form of a column of numbers is for a column of texts one value and no index.
    numbers = field(2, 2, field(147, 2, field(1, 2, b"\x05")))
    answer = await refused_with(send(good.SerializeToString() + numbers, timeout=SECONDS))
    assert answer == (INVALID, "COLUMN_LENGTH_WRONG", "consignments.incoterm")
    assert len(await send(good.SerializeToString(), timeout=SECONDS)) > 20


async def test_an_element_of_a_row_is_refused_alone_with_its_path(ingestion: Running) -> None:
    stub = await stub_of(ingestion)
    columns = pack([consignment(number) for number in range(8)])
    columns.items.price_minor.values[1] = 10**12 + 1
    columns.items.price_minor.values[2] = -1
    columns.nature.values[3] = 77
    columns.transport_mode.values[4] = 2**40
    columns.consignee_name.dictionary.extend(["a\x00b", "x" * 71])
    columns.consignee_name.indices[5:7] = [1, 2]
    columns.order_time.values[7] = -(2**63)
    answer = await submit_columns(stub, columns, "r1")
    assert [[(each.reason, each.path) for each in result.errors] for result in answer.results] == [
        [],
        [("NUMBER_TOO_LARGE", "consignments[1].items[0].price.minor")],
        [("NUMBER_NEGATIVE", "consignments[2].items[0].price.minor")],
        [("CHOICE_UNKNOWN", "consignments[3].nature")],
        [("CHOICE_UNKNOWN", "consignments[4].transport.mode")],
        [("TEXT_UNPRINTABLE", "consignments[5].consignee.name")],
        [("TEXT_TOO_LONG", "consignments[6].consignee.name")],
        [("TIME_OUT_OF_BOUNDS", "consignments[7].order.time")],
    ]
    assert [each.status for each in answer.results] == [1, 2, 2, 2, 2, 2, 2, 2]


async def test_both_ways_of_filing_share_the_places_of_calls(ingestion: Running) -> None:
    chain = ingestion.service.server.chain
    # Whoever files both ways has no more places than others.
    assert len(chain.gates.by_kind["call"]) == 2
