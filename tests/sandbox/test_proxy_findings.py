"""What the door of the sandbox changes in the calls of accounts, with real sockets and TLS, so that a service finds what their references select."""

from __future__ import annotations

import grpc
import pytest

from libs.client.client import Client
from libs.client.filing.packing import PackedClient
from libs.columns import Table
from libs.sandbox.responses.calls import CALLS, Call
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.server.errors import Refusal, item_error, reason_of, status_of
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment, Item
from luxor.ingestion.v1 import ingestion_pb2
from luxor.revenue.v1 import sales_pb2
from tests.support.sandbox_door import Door


async def test_a_refusal_is_that_of_the_service_for_the_first_request_id_of_a_reference(door: Door) -> None:
    described = {"items": [Item(description="Belt"), Item(description="Boot")]}
    for request_id, place, expected in (("r", 0, ""), ("r", 1, ""), ("new", 2, "Belt")):
        await door.file("SHOP-1", "REFUSED-1", request_id=request_id, **described)
        whole, changed = ingestion_pb2.SubmitConsignmentsRequest.FromString(door.behind.calls[place][1]).consignments
        assert [item.description for item in whole.items] == ["Belt", "Boot"]
        assert [item.description for item in changed.items] == [expected, "Boot"]


async def test_findings_are_made_in_columns_as_in_messages(door: Door) -> None:
    async with Client({"ingestion": f"127.0.0.1:{door.port}"}, door.authority.issue("filer", "acme")) as client:
        answer = ingestion_pb2.SubmitConsignmentColumnsResponse(results=[ingestion_pb2.SubmissionResult()] * 2)
        door.behind.answer = answer.SerializeToString()
        rows = [
            Consignment(local_reference="SHOP-1", incoterm="DAP"),
            Consignment(local_reference="FORM-1", incoterm="DAP"),
        ]
        for request_id in ("r", "r", "new"):
            await PackedClient(client).submit(rows, request_id=request_id)
    forwarded = [
        ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw).consignments for _, raw in door.behind.calls
    ]
    found = [[row.incoterm for row in Table.decode(each).to_messages(Consignment)] for each in forwarded]
    assert found == [["DAP", "D"], ["DAP", "D"], ["DAP", "DAP"]]


async def test_a_warning_belongs_to_every_call_and_a_new_filing_is_not_an_amendment(door: Door) -> None:
    async def sent(reference: str, request_id: str, function: int = 1) -> Consignment:
        await door.file(reference, request_id=request_id, function=function, amended_version=1)
        return ingestion_pb2.SubmitConsignmentsRequest.FromString(door.behind.calls[-1][1]).consignments[0]

    for request_id in ("r", "new"):
        assert (await sent("LOCODE-1", request_id)).transport.loading_place == "CN111"
    assert (await sent("LOCODE-1", "amend", 2)).transport.loading_place == ""
    assert (await sent("VERSION-1", "r")).amended_version == 1
    assert [(await sent("VERSION-1", each, 2)).amended_version for each in ("a", "a", "b")] == [99, 99, 1]


async def test_other_content_is_filed_before_a_reference_that_was_used(door: Door) -> None:
    for _ in range(2):
        await door.file("SHOP-1", "REUSED-1", items=[Item(description="Belt")])
    filed = [ingestion_pb2.SubmitConsignmentsRequest.FromString(raw) for _, raw in door.behind.calls]
    prior, own, again, repeated = filed
    assert prior == again, "the same call prepares the same content"
    assert own == repeated
    assert (prior.request_id == own.request_id, len(prior.request_id) <= 64) == (False, True)
    assert [each.local_reference for each in prior.consignments] == ["REUSED-1"]
    assert prior.consignments[0].items[0].description != "Belt"
    assert [each.items[0].description for each in own.consignments] == ["Belt", "Belt"]


@pytest.mark.parametrize("fails", ["", "it did not happen within 10 s"])
async def test_the_decision_on_an_amendment_of_the_sandbox_is_awaited_before_the_one_of_the_account(
    door: Door, fails: str
) -> None:
    door.script.fails = fails
    await door.file("REPLACED-1", function=2, amended_version=1, items=[Item(description="Belt")])
    filed = [ingestion_pb2.SubmitConsignmentsRequest.FromString(raw).consignments[0] for _, raw in door.behind.calls]
    assert [each.items[0].description == "Belt" for each in filed] == [False, True]
    assert [each.amended_version for each in filed] == [1, 1]
    assert door.script.awaited == [("MRN-REPLACED-1", 0)]


async def test_a_reason_that_no_filing_provokes_is_written_into_the_answer_of_a_refused_one(door: Door) -> None:
    answer = await door.file("SUSPEND-1", "SHOP-1", nature=1)
    (error,) = answer.results[0].errors
    assert (error.reason, error.path, error.value) == ("FILER_SUSPENDED", "consignments[0]", "acme")
    assert "?" not in error.message
    assert [each.reason for each in answer.results[1].errors] == ["ELEMENT_MISSING"]
    accepted = await door.file("SUSPEND-2")  # the service behind the door accepts it
    assert not accepted.results[0].errors, "what a service accepts is not refused in its answer"


SALES = "/luxor.revenue.v1.SaleService/FileSales"
ARRIVALS = "/luxor.clearance.v1.ClearanceService/RecordArrivals"


async def test_a_reference_of_another_call_selects_a_case_of_that_call(door: Door) -> None:
    refused = sales_pb2.SaleResult(error=item_error("UNVALUED", "sales[0]"))
    accepted = sales_pb2.SaleResult(status=sales_pb2.SALE_STATUS_ACCEPTED)
    for request_id, results in (("r", [refused, accepted]), ("r", [refused, accepted]), ("new", [accepted, accepted])):
        door.behind.answer = sales_pb2.FileSalesResponse(results=results).SerializeToString()
        request = sales_pb2.FileSalesRequest(request_id=request_id)
        request.sales.add(order_number="NOPRICE-1").items.add().price.minor = 5
        request.sales.add(order_number="HOLD-1").items.add().price.minor = 5
        assert await door.call(SALES, request.SerializeToString()) == door.behind.answer
    forwarded = [sales_pb2.FileSalesRequest.FromString(raw).sales for _, raw in door.behind.calls]
    assert [[sale.items[0].HasField("price") for sale in each] for each in forwarded] == [[False, True]] * 2 + [
        [True, True]
    ]
    assert [(each.kind, each.reference, each.code, each.request_id, each.detail) for each in door.events] == [
        ("sent", "NOPRICE-1", "REFUSED", "r", "sale"),
        ("sent", "NOPRICE-1", "REFUSED", "r", "sale"),
        ("sent", "NOPRICE-1", "OK", "new", "sale"),
    ]


OF_ANY_CALL = [each for each in CallFailure if not FAILURES[each].is_of_filings]


def test_only_calls_that_file_consignments_have_failures_of_filings() -> None:
    of_filings = {"BEHIND", "EMPTY", "LARGE", "ITEMS", "NOID", "LONGID", "GARBLED", "BYTES", "USED"}
    assert {each.value for each in CallFailure} - {each.value for each in OF_ANY_CALL} == of_filings


@pytest.mark.parametrize("call", CALLS, ids=lambda each: each.name)
@pytest.mark.parametrize("failure", OF_ANY_CALL)
async def test_references_of_other_calls_select_failures_of_these_calls(
    door: Door, call: Call, failure: CallFailure
) -> None:
    def request(*references: str) -> bytes:
        made = call.request_class(request_id="r")
        for each in references:
            setattr(getattr(made, call.rows).add(), call.reference, each)
        return bytes(made.SerializeToString())

    async def send(*references: str) -> str:
        try:
            await door.call(call.method, request(*references), role=call.role)
        except grpc.aio.AioRpcError as error:
            status = status_of(error)
            assert status is not None
            assert "?" not in status.message, "the sentence has all its facts"
            return reason_of(error)
        return ""

    def answered(count: int) -> None:
        response = call.response_class()
        for _ in range(count):
            response.results.add()
        door.behind.answer = response.SerializeToString()

    how = FAILURES[failure]
    reason = "DEADLINE_EXCEEDED" if failure is CallFailure.SLOW else how.reason
    reference = f"{failure}.5-1"
    answered(2)
    assert await send("SHOP-1", reference) == reason
    assert len(door.behind.calls) == (failure is CallFailure.LOST), "only a lost answer is one to a call that was made"
    assert bool(door.slept) == (failure is CallFailure.SLOW)
    if how.waits:
        door.now += 4.9
        assert await send("SHOP-1", reference) == reason
        door.now += 0.1
    assert await send("SHOP-1", reference) == ""
    answered(1)
    # The failure is of the reference in this call, and a filing with the same one has its own.
    assert await send("SHOP-2") == ""
    if call.role == "filer":
        assert await door.refused(reference) == reason


@pytest.mark.parametrize("reference", ["BEHIND-1", "USED-1", "EMPTY-1"])
async def test_failures_of_filings_are_none_of_other_calls(door: Door, reference: str) -> None:
    door.behind.answer = sales_pb2.FileSalesResponse(results=[sales_pb2.SaleResult()]).SerializeToString()
    request = sales_pb2.FileSalesRequest(request_id="r")
    request.sales.add(order_number=reference)
    assert await door.call(SALES, request.SerializeToString()) == door.behind.answer


async def test_documents_of_cases_are_bound_to_the_carrier_that_reports_them_and_no_others(door: Door) -> None:
    result = clearance_pb2.ArrivalResult(outcome=clearance_pb2.ARRIVAL_OUTCOME_REFUSED)
    result.errors.append(item_error("ARRIVAL_CARRIER_UNBOUND", "arrivals[0]", carrier="swift"))
    door.behind.answer = clearance_pb2.RecordArrivalsResponse(results=[result] * 3).SerializeToString()
    names = ("UNDOING-1", "020-12345675", "NOARRIVE-1")
    request = clearance_pb2.RecordArrivalsRequest(
        request_id="r", arrivals=[clearance_pb2.Arrival(master_document_number=each) for each in names]
    )
    answer = clearance_pb2.RecordArrivalsResponse.FromString(
        await door.call(ARRIVALS, request.SerializeToString(), role="carrier", ident="swift")
    )
    assert door.script.bound == [("swift", ["UNDOING-1", "NOARRIVE-1"])]
    assert [each.errors[0].reason for each in answer.results] == [
        "ARRIVAL_BEING_REVERSED", "ARRIVAL_CARRIER_UNBOUND", "ARRIVAL_CARRIER_UNBOUND",
    ]  # fmt: skip


async def test_a_binding_that_fails_fails_no_call(door: Door) -> None:
    door.script.fails = "bindings of swift: why"
    door.behind.answer = clearance_pb2.RecordArrivalsResponse(
        results=[clearance_pb2.ArrivalResult()]
    ).SerializeToString()
    request = clearance_pb2.RecordArrivalsRequest(arrivals=[clearance_pb2.Arrival(master_document_number="PLACE-1")])
    assert await door.call(ARRIVALS, request.SerializeToString(), role="carrier") == door.behind.answer


@pytest.mark.parametrize("role", ["filer", "carrier"])
@pytest.mark.parametrize("call", CALLS, ids=lambda each: each.subject.name)
async def test_calls_that_cannot_be_read_and_those_of_another_role_are_forwarded(
    door: Door, call: Call, role: str
) -> None:
    door.behind.refusal = Refusal("UNDECODABLE", message="x")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await door.call(call.method, b"\xff", role=role)
    assert reason_of(raised.value) == "UNDECODABLE"
    assert door.behind.calls == [(call.method, b"\xff")]
