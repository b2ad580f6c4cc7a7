"""Status and lists of consignments over real gRPC, TLS and PostgreSQL: by every reference, in pages, and to whom."""

from __future__ import annotations

from base64 import urlsafe_b64decode

import grpc
import grpc.aio
import pytest

from libs.customs.identifiers.mrn import parse
from libs.customs.time import day_text
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from tests.clearance.desk import MASTER, filings
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with


async def test_status_is_told_by_all_four_references_with_everything_known_and_why(house: House) -> None:
    (mrn, red) = await house.filed(["GREEN-1", "RED-1"])
    stub = await house.stub("officer", "olga")
    request = pb.GetStatusRequest(
        queries=[
            pb.StatusQuery(mrn=mrn),
            pb.StatusQuery(local_reference="GREEN-1", filer="shop"),
            pb.StatusQuery(house_document_number="H-GREEN-1"),
            pb.StatusQuery(master_document_number=MASTER),
        ]
    )
    by_mrn, by_reference, by_house, by_master = await ask(stub, request)
    assert by_mrn.consignments[0] == by_reference.consignments[0] == by_house.consignments[0]
    assert [each.mrn for each in by_master.consignments] == [mrn, red]
    status = by_mrn.consignments[0]
    assert (status.state, status.decision.lane, status.version) == (pb.STATE_AWAITING_ARRIVAL, common_pb2.LANE_GREEN, 1)
    assert (status.filing.house_document.number, status.filing.master_document.number) == ("H-GREEN-1", MASTER)
    assert (status.debt.payable_minor, status.debt.currency, status.debt.tax_minor) == (380, "EUR", 380)
    assert status.debt.charges[0].sentence == "19 % of 19.99 EUR = 3.80 EUR."
    assert status.debt.account == "deferred:DE123456789012345"
    held = by_master.consignments[1]
    assert (held.state, list(held.decision.reasons)) == (pb.STATE_HELD, ["VALUE_IMPLAUSIBLY_LOW"])
    finding = held.findings.risk[0]
    assert (finding.rule, finding.rule_version, finding.points) == ("PRICE_BELOW_FLOOR", 3, 400)
    assert finding.sentence.endswith("chapter.")


async def test_a_filer_sees_its_own_consignments_only_and_no_rules(house: House) -> None:
    (mine,) = await house.filed(["RED-1"])
    (theirs,) = await house.filed(["GREEN-2"], filer="rival")
    stub = await house.stub()
    request = pb.GetStatusRequest(
        queries=[
            pb.StatusQuery(mrn=mine),
            pb.StatusQuery(mrn=theirs),
            pb.StatusQuery(house_document_number="H-GREEN-2"),
            pb.StatusQuery(master_document_number=MASTER),
            pb.StatusQuery(local_reference="GREEN-2"),
            pb.StatusQuery(local_reference="GREEN-2", filer="rival"),
        ]
    )
    results = await ask(stub, request)
    assert [each.error.reason for each in results] == [
        "", "CONSIGNMENT_UNKNOWN", "CONSIGNMENT_UNKNOWN", "", "CONSIGNMENT_UNKNOWN", "FILER_FOREIGN",
    ]  # fmt: skip
    assert [each.mrn for each in results[3].consignments] == [mine]
    status = results[0].consignments[0]
    assert not status.decision.HasField("risk_score")
    assert (
        status.decision.rule_set_version,
        status.findings.risk[0].rule,
        status.findings.risk[0].HasField("points"),
    ) == (
        "",
        "",
        False,
    )
    assert status.findings.risk[0].reason == "VALUE_IMPLAUSIBLY_LOW"
    carrier = await house.stub("carrier", "wings")
    assert (await ask(carrier, asking(mrn=mine)))[0].error.reason == "QUERY_MALFORMED"
    assert len((await ask(carrier, asking(master_document_number=MASTER)))[0].consignments) == 2


async def test_a_query_that_cannot_be_asked_does_not_hurt_its_neighbours(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "olga")
    request = pb.GetStatusRequest(
        queries=[
            pb.StatusQuery(mrn="26DE00"),
            pb.StatusQuery(),
            pb.StatusQuery(local_reference="GREEN-1"),
            pb.StatusQuery(house_document_number="\0"),
            pb.StatusQuery(master_document_number=MASTER, page_token="x"),
            pb.StatusQuery(master_document_number=MASTER, page_size=-1),
            pb.StatusQuery(mrn=mrn),
        ]
    )
    results = await ask(stub, request)
    assert [each.error.reason for each in results] == [
        "MRN_MALFORMED", "QUERY_MALFORMED", "FILER_MISSING", "REFERENCE_MALFORMED", "PAGE_TOKEN_MALFORMED", "NUMBER_NEGATIVE", "",
    ]  # fmt: skip
    assert results[0].error.path == "queries[0].mrn"
    assert await refused_with(stub.GetStatus(pb.GetStatusRequest(), timeout=SECONDS)) == (
        grpc.StatusCode.INVALID_ARGUMENT, "BATCH_EMPTY",
    )  # fmt: skip
    many = pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=mrn)] * 1_001)
    assert (await refused_with(stub.GetStatus(many, timeout=SECONDS)))[1] == "BATCH_TOO_LARGE"


async def test_a_bulk_of_a_thousand_queries_is_answered_in_order(house: House) -> None:
    numbers = await house.filed([f"GREEN-{number:04d}" for number in range(1_000)])
    stub = await house.stub()
    results = await ask(stub, pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=number) for number in numbers]))
    assert [each.consignments[0].mrn for each in results] == numbers


@pytest.mark.parametrize("size", [1, 7, 50, 120])
async def test_pages_of_a_master_document_tell_each_consignment_once(house: House, size: int) -> None:
    filed: list[str] = []
    for part in range(3):
        filed += await house.filed([f"GREEN-{part}{number:03d}" for number in range(20)])
    stub = await house.stub()
    seen: list[str] = []
    token = ""
    while True:
        query = pb.StatusQuery(master_document_number=MASTER, page_size=size, page_token=token)
        (result,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
        seen += [each.mrn for each in result.consignments]
        token = result.next_page_token
        if not token:
            break
    assert seen == filed


async def test_a_house_document_of_several_consignments_is_paged(house: House) -> None:
    both = [*await house.filed(["GREEN-1"], filer="shop"), *await house.filed(["GREEN-1"], filer="rival")]
    stub = await house.stub("officer", "olga")
    query = pb.StatusQuery(house_document_number="H-GREEN-1", page_size=1)
    (first,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
    query.page_token = first.next_page_token
    (second,) = await ask(stub, pb.GetStatusRequest(queries=[query]))
    assert sorted([first.consignments[0].mrn, second.consignments[0].mrn]) == sorted(both)
    assert second.next_page_token == ""


@pytest.mark.parametrize("document", [{"house_document_number": "H-GREEN-1"}, {"master_document_number": MASTER}])
async def test_paging_through_another_partys_documents_gives_neither_rows_nor_tokens(
    house: House, document: dict[str, str]
) -> None:
    for filer in ("rival-a", "rival-b", "rival-c", "rival-d"):
        await house.filed(["GREEN-1"], filer=filer)
    thief = await house.stub("filer", "thief")
    query = pb.StatusQuery(page_size=1, **document)  # type: ignore[arg-type]
    (result,) = await ask(thief, pb.GetStatusRequest(queries=[query]))
    assert (result.error.reason, result.next_page_token) == ("CONSIGNMENT_UNKNOWN", "")
    # One of its own among them: a page of it and no sign of the others, wherever it stands.
    (own,) = await house.filed(["GREEN-1"], filer="thief")
    await house.filed(["GREEN-1"], filer="rival-e")
    (result,) = await ask(thief, pb.GetStatusRequest(queries=[query]))
    assert ([each.mrn for each in result.consignments], result.next_page_token) == ([own], "")
    # Nor does the token of a rival's page open it, or tell an MRN.
    officer = await house.stub("officer", "olga")
    (first,) = await ask(officer, pb.GetStatusRequest(queries=[query]))
    raw = urlsafe_b64decode(first.next_page_token + "=" * (-len(first.next_page_token) % 4))
    assert first.consignments[0].mrn.encode() not in raw
    query.page_token = first.next_page_token
    (result,) = await ask(thief, pb.GetStatusRequest(queries=[query]))
    assert (result.error.reason, result.error.path) == ("PAGE_TOKEN_MALFORMED", "queries[0].page_token")


async def test_the_list_of_work_holds_what_is_held_and_pages(house: House) -> None:
    numbers = await house.filed([*(f"RED-{n}" for n in range(5)), *(f"YELLOW-{n}" for n in range(5)), "GREEN-1"])
    stub = await house.stub("officer", "olga")

    async def listed(**choice: int | str) -> list[str]:
        seen, token = [], ""
        while True:
            request = pb.ListConsignmentsRequest(page_size=3, page_token=token, **choice)  # type: ignore[arg-type]
            answer = await stub.ListConsignments(request, timeout=SECONDS)
            seen += [each.mrn for each in answer.consignments]
            token = answer.next_page_token
            if not token:
                return seen

    assert await listed() == sorted(numbers[:10])
    assert await listed(lane=common_pb2.LANE_RED) == sorted(numbers[:5])
    assert await listed(state=pb.STATE_AWAITING_ARRIVAL) == numbers[10:]
    request = pb.ReleaseConsignmentsRequest(
        request_id="o1", reason="FINE", consignments=[pb.ConsignmentRef(mrn=numbers[0])]
    )
    await stub.ReleaseConsignments(request, timeout=SECONDS)
    assert await listed() == sorted(numbers[1:10])
    accepted = parse(numbers[1]).day
    assert await listed(accepted_from_day=day_text(accepted)) == sorted(numbers[1:10])
    assert await listed(accepted_from_day="1969-12-31") == sorted(numbers[1:10])
    assert await listed(accepted_from_day=day_text(accepted + 1)) == []
    for text in ("2026-02-30", "20261125", str(accepted)):
        wrong = pb.ListConsignmentsRequest(accepted_from_day=text)
        assert (await refused_with(stub.ListConsignments(wrong, timeout=SECONDS)))[1] == "DAY_MALFORMED"
    wrong = pb.ListConsignmentsRequest(page_token="x", audit=True)
    assert (await refused_with(stub.ListConsignments(wrong, timeout=SECONDS)))[1] == "PAGE_TOKEN_MALFORMED"
    wrong = pb.ListConsignmentsRequest(page_token="x")
    assert (await refused_with(stub.ListConsignments(wrong, timeout=SECONDS)))[1] == "PAGE_TOKEN_MALFORMED"


async def test_what_is_to_be_audited_is_listed_until_it_was_inspected(house: House) -> None:
    numbers = await house.filed(["GREEN-1", *(f"BLUE-{n}" for n in range(5)), "GREEN-2", "RED-1"])
    stub = await house.stub("officer", "olga")

    async def listed(*, audit: bool, **choice: int) -> list[str]:
        seen, token = [], ""
        while True:
            request = pb.ListConsignmentsRequest(audit=audit, page_size=2, page_token=token, **choice)  # type: ignore[arg-type]
            answer = await stub.ListConsignments(request, timeout=SECONDS)
            assert len(answer.consignments) <= 2
            seen += [each.mrn for each in answer.consignments]
            token = answer.next_page_token
            if not token:
                return seen

    assert await listed(audit=True) == []
    assert await listed(audit=True, state=pb.STATE_AWAITING_ARRIVAL) == sorted(numbers[1:6])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert await listed(audit=True) == sorted(numbers[1:6])
    assert await listed(audit=False) == numbers[7:]
    assert await listed(audit=False, state=pb.STATE_RELEASED) == sorted([numbers[0], numbers[6]])
    request = pb.RecordInspectionsRequest(request_id="i1")
    request.inspections.add(
        consignment=pb.ConsignmentRef(mrn=numbers[2]),
        method=pb.INSPECTION_METHOD_DOCUMENTS,
        result=pb.INSPECTION_RESULT_CONFORM,
    )
    await stub.RecordInspections(request, timeout=SECONDS)
    assert await listed(audit=True) == sorted([numbers[1], *numbers[3:6]])


async def test_an_amended_consignment_stands_once_under_its_master_document_and_under_the_one_it_moved_to(
    house: House,
) -> None:
    (mrn,) = await house.filed(["M-1"])
    other = "020-87654321"
    carrier = await house.stub("carrier", "wings")
    for version, master, under in ((2, MASTER, MASTER), (3, other, other)):
        await house.desk.consume(filings(["M-1"], version=version, master=master))
        told = await ask(carrier, asking(master_document_number=under))
        assert [each.mrn for each in told[0].consignments] == [mrn]
