"""Clearance over real gRPC, TLS and PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode

import asyncpg
import grpc
import grpc.aio
import pytest

from libs.server import errors
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from luxor.feed.v1 import feed_pb2
from services.clearance.commands.office import Office
from tests.clearance.desk import MASTER, filings
from tests.clearance.risk_answers import Told, answering
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
            pb.StatusQuery(master_document_number=MASTER, page_size=1_001),
            pb.StatusQuery(mrn=mrn),
        ]
    )
    results = await ask(stub, request)
    assert [each.error.reason for each in results] == [
        "MRN_MALFORMED", "QUERY_MALFORMED", "FILER_MISSING", "REFERENCE_MALFORMED", "PAGE_TOKEN_MALFORMED", "PAGE_SIZE_TOO_LARGE", "",
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


async def test_arrivals_are_answered_each_and_the_same_request_gets_the_same_answer(house: House) -> None:
    await house.filed(["GREEN-1", "RED-1", "GREEN-2"])
    stub = await house.stub("carrier", "wings")
    request = arrivals(MASTER, "99999999999", MASTER)
    request.arrivals.add(master_document_number="", place="X")
    answer = await stub.RecordArrivals(request, timeout=SECONDS)
    told = [(each.outcome, each.consignments, each.released, each.held) for each in answer.results]
    recorded, known, refused = (
        pb.ARRIVAL_OUTCOME_RECORDED,
        pb.ARRIVAL_OUTCOME_ALREADY_RECORDED,
        pb.ARRIVAL_OUTCOME_REFUSED,
    )
    awaiting = pb.ARRIVAL_OUTCOME_AWAITING_FILINGS
    assert told == [(recorded, 3, 2, 1), (awaiting, 0, 0, 0), (known, 3, 2, 1), (refused, 0, 0, 0)]
    assert [each.reason for each in answer.results[3].errors] == [
        "MASTER_DOCUMENT_MALFORMED", "ARRIVAL_PLACE_MALFORMED", "ARRIVAL_TIME_MISSING",
    ]  # fmt: skip
    assert await stub.RecordArrivals(request, timeout=SECONDS) == answer
    other = arrivals("77777777777")
    assert (await refused_with(stub.RecordArrivals(other, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    again = await stub.RecordArrivals(arrivals(MASTER, request_id="a2"), timeout=SECONDS)
    assert (again.results[0].outcome, again.results[0].released) == (known, 2)
    late = await house.filed(["GREEN-7"], master="99999999999")
    status = (await ask(await house.stub(), asking(mrn=late[0])))[0].consignments[0]
    assert (status.state, status.version) == (pb.STATE_RELEASED, 1)


async def test_an_arrival_whose_call_died_is_carried_out_by_the_same_request_again(house: House) -> None:
    await house.filed(["GREEN-1"])
    stub = await house.stub("carrier", "wings")
    office = house.service.service.database
    async with office.transaction() as tx:
        # As RecordArrivals leaves it when it dies behind its first transaction.
        from services.clearance.api.requests import arrivals as read
        from services.clearance.api.requests import digest

        request = arrivals(MASTER)
        now = await tx.now()
        told, _ = read(request.arrivals, "wings", now)
        key = ("carrier/wings", request.request_id, digest("RecordArrivals", request))
        assert await house.desk.store.requests.recall(tx, *key) is None
        await house.desk.store.lock_documents(tx, [MASTER])
        await house.desk.store.record_arrivals(tx, [each for each in told if each], request_id="a1", at=now)
    answer = await stub.RecordArrivals(request, timeout=SECONDS)
    assert (answer.results[0].outcome, answer.results[0].released) == (pb.ARRIVAL_OUTCOME_RECORDED, 1)


async def test_arrivals_that_a_full_disk_stops_halfway_are_kept_and_carried_out_by_the_same_request_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.filed(["GREEN-1"])
    stub = await house.stub("carrier", "wings")
    arrive_now = Office._arrive_now

    async def full(office: Office, *_arguments: object) -> object:
        async with office.store.database.transaction():
            raise asyncpg.DiskFullError("could not extend file")

    monkeypatch.setattr(Office, "_arrive_now", full)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert errors.reason_of(caught.value) == "STORE_FULL"
    assert "kept" not in (caught.value.details() or ""), "the record was, the rest was not"
    async with house.desk.store.database.connection() as reading:
        assert await house.desk.store.pending_arrivals(reading, 2**62, 10) == [MASTER]
    monkeypatch.setattr(Office, "_arrive_now", arrive_now)
    answer = await stub.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert (answer.results[0].outcome, answer.results[0].released) == (pb.ARRIVAL_OUTCOME_RECORDED, 1)


async def test_an_officer_releases_with_a_reason_once_a_request(house: House) -> None:
    (green, red) = await house.filed(["GREEN-1", "RED-1"])
    stub = await house.stub("officer", "olga")
    request = pb.ReleaseConsignmentsRequest(request_id="o1", reason="DOCUMENTS_IN_ORDER", note="invoice seen")
    for number in (red, green, red, "26DE00"):
        request.consignments.add(mrn=number)
    answer = await stub.ReleaseConsignments(request, timeout=SECONDS)
    assert [(each.error.reason, each.version) for each in answer.results] == [
        ("", 2), ("NOT_HELD", 1), ("CONSIGNMENT_REPEATED", 0), ("MRN_MALFORMED", 0),
    ]  # fmt: skip
    assert await stub.ReleaseConsignments(request, timeout=SECONDS) == answer
    request.note = "another"
    assert (await refused_with(stub.ReleaseConsignments(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    status = (await ask(stub, pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=red)], with_history=True)))[
        0
    ].consignments[0]
    assert (status.decision.decided_by, status.note, list(status.decision.reasons)) == (
        "olga",
        "invoice seen",
        ["DOCUMENTS_IN_ORDER"],
    )
    assert [(each.version, each.change) for each in status.history] == [
        (2, pb.CHANGE_OFFICER_RELEASED), (1, pb.CHANGE_DECIDED),
    ]  # fmt: skip
    mine = (await ask(await house.stub(), pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=red)], with_history=True)))[0]
    assert (mine.consignments[0].decision.decided_by, mine.consignments[0].note) == ("officer", "")
    assert [each.decided_by for each in mine.consignments[0].history] == ["officer", "automatic"]


async def test_an_officer_who_saw_an_older_version_is_told_of_the_newer(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "olga")
    request = pb.HoldConsignmentsRequest(request_id="o1", reason="TIP")
    request.consignments.add(mrn=mrn, expected_version=1)
    assert (await stub.HoldConsignments(request, timeout=SECONDS)).results[0].version == 2
    request.request_id = "o2"
    error = (await stub.HoldConsignments(request, timeout=SECONDS)).results[0].error
    assert error.reason == "VERSION_CHANGED"
    assert "version 2" in error.message
    request.request_id, request.reason = "o3", "because I say so"
    assert (await refused_with(stub.HoldConsignments(request, timeout=SECONDS)))[1] == "REASON_MALFORMED"


async def test_the_list_of_work_holds_what_is_held_and_pages(house: House) -> None:
    numbers = await house.filed([*(f"RED-{n}" for n in range(5)), *(f"YELLOW-{n}" for n in range(5)), "GREEN-1"])
    stub = await house.stub("officer", "olga")

    async def listed(**choice: int) -> list[str]:
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


async def test_an_arrival_tells_what_waits_for_an_officers_look(house: House) -> None:
    house.desk.neighbours.risk = answering({"GREEN-1": Told(delay_minutes=60), "GREEN-2": Told(delay_minutes=60)})
    await house.filed(["GREEN-1", "GREEN-2", "GREEN-3", "RED-1"])
    carrier = await house.stub("carrier", "wings")
    (told,) = (await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)).results
    assert (told.consignments, told.released, told.held, told.waiting) == (4, 1, 1, 2)


async def test_notices_can_be_read_again_from_any_cursor(house: House) -> None:
    (green, red) = await house.filed(["GREEN-1", "RED-1"])
    await house.filed(["GREEN-9"], filer="rival")
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    officer = await house.stub("officer", "olga")
    act = pb.ReleaseConsignmentsRequest(request_id="o1", reason="FINE", consignments=[pb.ConsignmentRef(mrn=red)])
    await officer.ReleaseConsignments(act, timeout=SECONDS)
    stub = await house.stub()
    expected = [
        (green, pb.NOTICE_KIND_DECIDED, 1),
        (red, pb.NOTICE_KIND_HELD, 1),
        (green, pb.NOTICE_KIND_RELEASED, 2),
        (red, pb.NOTICE_KIND_ARRIVED, 2),
        (red, pb.NOTICE_KIND_RELEASED, 3),
    ]

    async def read(after: str, size: int) -> list[tuple[list[tuple[str, int, int]], str]]:
        pages = []
        while True:
            request = pb.PullNoticesRequest(cursor=after, max_notices=size)
            answer = await stub.PullNotices(request, timeout=SECONDS)
            if not answer.notices:
                return pages
            after = answer.next_cursor
            pages.append(([(each.mrn, each.kind, each.version) for each in answer.notices], after))

    await house.desk.told()
    pages = await read("", 1)
    assert [each for page, _ in pages for each in page] == expected
    assert [each for page, _ in await read("", 1_000) for each in page] == expected
    for place, (_, cursor) in enumerate(pages):
        rest = [each for page, _ in pages[place + 1 :] for each in page]
        assert [each for page, _ in await read(cursor, 1) for each in page] == rest
    first = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices[0]
    assert (first.local_reference, first.payable_minor, first.debt_account) == (
        "GREEN-1", 380, "deferred:DE123456789012345",
    )  # fmt: skip
    carrier = await house.stub("carrier", "wings")
    told = (await carrier.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
    assert {each.kind for each in told} == {pb.NOTICE_KIND_RELEASED, pb.NOTICE_KIND_ARRIVED}
    assert [(each.local_reference, each.debt_account) for each in told] == [("", "")] * 4
    assert (await refused_with(stub.PullNotices(pb.PullNoticesRequest(cursor="nope"), timeout=SECONDS)))[1] == (
        "NOTICE_CURSOR_MALFORMED"
    )


def cursor_of_0_2(epoch: int, day: int, xid: int, seq: int = 0) -> str:
    """Write a cursor as release 0.2 gave it; anybody can."""
    raw = feed_pb2.Cursor(epoch=epoch, day=day, xid=xid, seq=seq).SerializeToString()
    return "n" + urlsafe_b64encode(raw).decode().rstrip("=")


async def test_a_cursor_that_release_0_2_gave_leads_on_and_one_made_up_changes_no_feed(house: House) -> None:
    first = await house.filed(["GREEN-1"])
    await house.desk.told()
    database = house.service.service.database

    async def asked(statement: str) -> list[tuple[int, ...]]:
        async with database.connection() as reading:
            return [tuple(row) for row in await reading.raw.fetch(statement)]

    places = await asked("select epoch, day, xid, seq from notice where key like '%shop%' order by xid, seq")
    second = await house.filed(["GREEN-2"])
    await house.desk.told()
    epochs = await asked("select epoch, end_xid from feed_epoch order by epoch")
    stub = await house.stub()

    async def after(cursor: str) -> list[str]:
        return [
            each.mrn for each in (await stub.PullNotices(pb.PullNoticesRequest(cursor=cursor), timeout=SECONDS)).notices
        ]

    assert await after("") == [*first, *second]
    epoch, day, xid, seq = places[-1]
    assert await after(cursor_of_0_2(epoch, day - 1, xid, seq)) == second
    newest = epochs[-1][0]
    for made_up in (
        cursor_of_0_2(int(time.time() * 1000) + 1_000, 1, 1),
        cursor_of_0_2(newest + 1, 1, 1),
        cursor_of_0_2(newest, day, 2**40),
        cursor_of_0_2(2**63 - 1, 2**31 - 1, 2**63 - 1, 2**63 - 1),
    ):
        for role, ident in (("filer", "shop"), ("filer", "nobody"), ("carrier", "wings")):
            other = await house.stub(role, ident)
            call = other.PullNotices(pb.PullNoticesRequest(cursor=made_up), timeout=SECONDS)
            assert (await refused_with(call))[1] == "NOTICE_CURSOR_EXPIRED"
    assert await asked("select epoch, end_xid from feed_epoch order by epoch") == epochs
    assert await after("") == [*first, *second]


async def test_who_waits_for_notices_is_told_as_soon_as_there_is_one(house: House) -> None:
    stub = await house.stub()
    begin = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).next_cursor
    waiting = asyncio.ensure_future(
        stub.PullNotices(pb.PullNoticesRequest(cursor=begin, wait_millis=20_000), timeout=25)
    )
    (mrn,) = await house.filed(["GREEN-1"])
    assert [each.mrn for each in (await waiting).notices] == [mrn]


@pytest.mark.parametrize(
    ("role", "method", "request_class"),
    [
        ("filer", "RecordArrivals", pb.RecordArrivalsRequest),
        ("filer", "ReleaseConsignments", pb.ReleaseConsignmentsRequest),
        ("carrier", "HoldConsignments", pb.HoldConsignmentsRequest),
        ("filer", "ListConsignments", pb.ListConsignmentsRequest),
        ("officer", "PullNotices", pb.PullNoticesRequest),
        ("operator", "GetStatus", pb.GetStatusRequest),
    ],
)
async def test_a_role_that_may_not_call_is_refused(house: House, role: str, method: str, request_class: type) -> None:
    stub = await house.stub(role, "somebody")
    assert await refused_with(getattr(stub, method)(request_class(), timeout=SECONDS)) == (
        grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
    )  # fmt: skip


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
