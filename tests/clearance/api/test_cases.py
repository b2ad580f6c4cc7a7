"""Cases of officers: opened, changed by two at once, read by roles, and their history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from libs.customs.time import MICROS_PER_DAY
from libs.store.errors import StoreError
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub
from services.clearance.cases.case import CaseError, replay
from services.clearance.commands import store_days
from services.clearance.commands.cases.purge import purge_cases
from services.clearance.store.cases.files import CaseFilter
from tests.clearance import screening_matches
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.risk_answers import LIST, screening
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with

OPEN, CLOSED = pb.CASE_STATE_OPEN, pb.CASE_STATE_CLOSED
CALLS: dict[str, dict[str, Any]] = {
    "OpenCase": {"title": "t", "relation": pb.CASE_RELATION_SELECTION},
    "AddCaseConsignments": {},
    "RemoveCaseConsignments": {"reason": "NOT_RELATED"},
    "NoteCases": {"note": "a note"},
    "AssignCases": {"officer": "otto"},
    "CloseCases": {"outcome": pb.CASE_OUTCOME_CORRECTED, "reason": "PAID"},
    "ReopenCases": {"reason": "NEW_EVIDENCE"},
}
READ = (
    "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::bigint from pg_stat_xact_user_tables "
    "where relname like 'case_%'"
)
"""Rows that the current transaction has read of the tables of cases."""
TABLES = ("case_file", "case_event", "case_consignment")
READS = ("GetCase", "ListCases", "ListCaseConsignments", "ListCaseEvents")


async def stub(house: House, by: str = "olga", role: str = "officer") -> CaseServiceStub:
    return CaseServiceStub(await house.service.channel(role, by))


def refs(mrns: Sequence[str]) -> list[clearance_pb2.ConsignmentRef]:
    return [clearance_pb2.ConsignmentRef(mrn=mrn) for mrn in mrns]


def ref(number: int, version: int | None = None) -> pb.CaseRef:
    return pb.CaseRef(number=number, expected_version=version)


async def call(house: House, method: str, by: str = "olga", role: str = "officer", **fields: Any) -> Any:
    """Call a method with what it needs beside `fields`."""
    request = getattr(pb, f"{method}Request")(**{**CALLS.get(method, {}), **fields})
    return await getattr(await stub(house, by, role), method)(request, timeout=SECONDS)


async def opened(house: House, mrns: Sequence[str] = (), request_id: str = "o1", **fields: Any) -> int:
    answer = await call(house, "OpenCase", request_id=request_id, consignments=refs(mrns), **fields)
    assert [each.error.reason for each in answer.results] == [""] * len(mrns)
    return int(answer.case.number)


async def case_of(house: House, number: int) -> pb.Case:
    found: pb.Case = (await call(house, "GetCase", number=number)).case
    return found


async def events(house: House, number: int, page_size: int = 0) -> list[pb.CaseEvent]:
    found: list[pb.CaseEvent] = []
    token = ""
    while True:
        page = await call(house, "ListCaseEvents", number=number, page_size=page_size, page_token=token)
        found += page.events
        token = page.next_page_token
        if not token:
            return found


async def consignments(house: House, number: int, page_size: int = 0) -> list[pb.CaseConsignment]:
    found: list[pb.CaseConsignment] = []
    token = ""
    while True:
        page = await call(house, "ListCaseConsignments", number=number, page_size=page_size, page_token=token)
        found += page.consignments
        token = page.next_page_token
        if not token:
            return found


async def listed(house: House, **fields: Any) -> list[int]:
    found: list[int] = []
    token = ""
    while True:
        page = await call(house, "ListCases", page_token=token, **fields)
        found += [each.number for each in page.cases]
        token = page.next_page_token
        if not token:
            return found


async def trail(house: House) -> list[str]:
    """What the records of the audit trail are about, in their order."""
    async with house.desk.store.database.connection() as reading:
        rows = await reading.raw.fetch(
            "select at, about from audit_record where about <> '' union all select at, about from audit_pending where about <> '' order by at"
        )
    return [row["about"] for row in rows]


def results(answer: Any) -> list[tuple[int, str]]:
    return [(each.version, each.error.reason) for each in answer.results]


async def test_a_case_goes_from_opening_to_outcome_and_its_history_shows_each_step(house: House) -> None:
    first, second, third = await house.filed(["RED-1", "RED-2", "GREEN-1"])
    number = await opened(
        house, [first, second], title="Two boxes", office="FRA", officer="olga", note="They look alike.\nBoth from X."
    )
    await call(house, "AddCaseConsignments", request_id="a1", case=ref(number), consignments=refs([second, third]))
    await call(house, "RemoveCaseConsignments", request_id="d1", case=ref(number, 2), consignments=refs([first]))
    assert results(await call(house, "NoteCases", request_id="n1", cases=[ref(number)])) == [(4, "")]
    assert results(await call(house, "AssignCases", request_id="s1", cases=[ref(number, 4)])) == [(5, "")]
    assigned = await case_of(house, number)
    assert (assigned.officer, assigned.office) == ("otto", "FRA"), "the office stays"
    assert results(
        await call(house, "AssignCases", request_id="s2", cases=[ref(number, 5)], officer="anna", office="MUC")
    ) == [(6, "")]
    await call(house, "CloseCases", by="anna", request_id="c1", cases=[ref(number, 6)], note="All paid")
    closed = await case_of(house, number)
    assert (closed.state, closed.version, closed.outcome, closed.outcome_reason, closed.closed_by) == (
        CLOSED, 7, pb.CASE_OUTCOME_CORRECTED, "PAID", "anna",
    )  # fmt: skip
    assert (closed.title, closed.office, closed.officer, closed.consignments) == ("Two boxes", "MUC", "anna", 2)
    assert [each.mrn for each in await consignments(house, number, 1)] == sorted([second, third])
    history = await events(house, number, 2)
    assert [(each.version, pb.CaseChange.Name(each.change)[12:], each.by) for each in history] == [
        (1, "OPENED", "olga"), (2, "CONSIGNMENTS_ADDED", "olga"), (3, "CONSIGNMENTS_REMOVED", "olga"), (4, "NOTED", "olga"),
        (5, "ASSIGNED", "olga"), (6, "ASSIGNED", "olga"), (7, "CLOSED", "anna"),
    ]  # fmt: skip
    assert [list(each.mrns) for each in history[:3]] == [[first, second], [third], [first]]
    assert [history[0].note, history[2].reason, history[3].note] == [
        "They look alike.\nBoth from X.", "NOT_RELATED", "a note",
    ]  # fmt: skip
    for method in ("NoteCases", "AssignCases", "CloseCases"):
        answer = await call(house, method, request_id=f"x{method}", cases=[ref(number, 7)])
        assert results(answer) == [(7, "CASE_CLOSED")]
    change = call(house, "AddCaseConsignments", request_id="a2", case=ref(number), consignments=refs([first]))
    assert await refused_with(change) == (grpc.StatusCode.FAILED_PRECONDITION, "CASE_CLOSED")
    assert results(await call(house, "ReopenCases", request_id="r1", cases=[ref(number, 7)])) == [(8, "")]
    again = await case_of(house, number)
    assert (again.state, again.outcome, again.outcome_reason, again.HasField("closed_at")) == (OPEN, 0, "", False)
    assert results(await call(house, "ReopenCases", request_id="r2", cases=[ref(number, 8)])) == [(8, "CASE_OPEN")]


async def test_of_two_officers_one_closes_a_case_and_the_other_reads_that_it_changed(house: House) -> None:
    number = await opened(house)
    answers = await asyncio.gather(
        *(call(house, "AssignCases", by=by, request_id="s", cases=[ref(number, 1)], officer=by) for by in "abcd")
    )
    found = sorted(results(answer)[0] for answer in answers)
    assert found == [(2, ""), *[(2, "CASE_CHANGED")] * 3]
    (winner,) = [by for by, answer in zip("abcd", answers, strict=True) if results(answer) == [(2, "")]]
    assert (await case_of(house, number)).officer == winner
    answer = await call(house, "CloseCases", request_id="c1", cases=[ref(number, 1)])
    assert results(answer) == [(2, "CASE_CHANGED")]
    for method in ("AssignCases", "CloseCases", "ReopenCases"):
        answer = await call(house, method, request_id=f"v{method}", cases=[ref(number)])
        assert results(answer) == [(0, "CASE_VERSION_MISSING")], method
    # Notes replace nothing: all of them are written, each with its own version.
    notes = await asyncio.gather(
        *(call(house, "NoteCases", by=by, request_id="n", cases=[ref(number)]) for by in "abcd")
    )
    assert sorted(results(each)[0] for each in notes) == [(version, "") for version in (3, 4, 5, 6)]


async def test_a_repeated_request_has_its_first_answer_and_no_second_effect(house: House) -> None:
    """So a caller whose answer was lost after the COMMIT sends the request again."""
    (mrn,) = await house.filed(["RED-1"])
    number = await opened(house, [mrn])
    assert await opened(house, [mrn]) == number
    assert await listed(house) == [number]
    fields: dict[str, dict[str, Any]] = {
        "RemoveCaseConsignments": {"case": ref(number), "consignments": refs([mrn])},
        "AddCaseConsignments": {"case": ref(number), "consignments": refs([mrn])},
        "NoteCases": {"cases": [ref(number)]},
        "AssignCases": {"cases": [ref(number, 4)]},
        "CloseCases": {"cases": [ref(number, 5)]},
        "ReopenCases": {"cases": [ref(number, 6)]},
    }
    for version, (method, each) in enumerate(fields.items(), 2):
        answers = [await call(house, method, request_id="same" + method, **each) for _ in range(2)]
        assert answers[0] == answers[1]
        assert (await case_of(house, number)).version == version, method
        other = call(house, method, request_id="same" + method, **{**each, "note": "another"})
        assert (await refused_with(other))[1] == "REQUEST_REUSED"
    at_once = await asyncio.gather(*(call(house, "NoteCases", request_id="n9", cases=[ref(number)]) for _ in range(3)))
    assert [results(each) for each in at_once] == [[(8, "")]] * 3


async def test_what_a_batch_names_is_answered_one_by_one(house: House) -> None:
    first, second = await house.filed(["RED-1", "RED-2"])
    stranger = "26DE32329000033OR6"
    number = await opened(house, [first])
    answer = await call(
        house, "AddCaseConsignments", request_id="a1", case=ref(number), consignments=refs([second, second, stranger, "26DE", first])
    )  # fmt: skip
    assert [each.error.reason for each in answer.results] == [
        "",
        "CONSIGNMENT_REPEATED",
        "CONSIGNMENT_UNKNOWN",
        "MRN_MALFORMED",
        "",
    ]
    assert (answer.case.version, answer.results[0].state, answer.results[0].version) == (2, clearance_pb2.STATE_HELD, 1)
    answer = await call(
        house, "RemoveCaseConsignments", request_id="d1", case=ref(number),
        consignments=[clearance_pb2.ConsignmentRef(mrn=first, expected_version=7), *refs([stranger, second])],
    )  # fmt: skip
    assert [each.error.reason for each in answer.results] == ["VERSION_CHANGED", "CASE_CONSIGNMENT_MISSING", ""]
    unchanged = await call(
        house, "AddCaseConsignments", request_id="a2", case=ref(number), consignments=refs([first, stranger])
    )
    assert unchanged.case.version == 3, "a request without effect is no event"
    answer = await call(house, "NoteCases", request_id="n1", cases=[ref(number), ref(number), ref(999), ref(0)])
    assert results(answer) == [(4, ""), (0, "CASE_REPEATED"), (0, "CASE_UNKNOWN"), (0, "CASE_UNKNOWN")]
    for method in ("AddCaseConsignments", "RemoveCaseConsignments"):
        change = call(house, method, request_id=f"u{method}", case=ref(999), consignments=refs([first]))
        assert await refused_with(change) == (grpc.StatusCode.NOT_FOUND, "CASE_UNKNOWN")
    for method in ("GetCase", "ListCaseConsignments", "ListCaseEvents"):
        assert await refused_with(call(house, method, number=999)) == (grpc.StatusCode.NOT_FOUND, "CASE_UNKNOWN")


BEYOND: list[tuple[str, dict[str, Any], str]] = [
    ("OpenCase", {"title": " "}, "CASE_TITLE_MALFORMED"),
    ("OpenCase", {"title": "t" * 141}, "CASE_TITLE_MALFORMED"),
    ("OpenCase", {"title": "a\nb"}, "CASE_TITLE_MALFORMED"),
    ("OpenCase", {"note": "n" * 4001}, "CASE_NOTE_MALFORMED"),
    ("OpenCase", {"note": "n\x00"}, "CASE_NOTE_MALFORMED"),
    ("OpenCase", {"office": "o" * 9}, "OFFICE_MALFORMED"),
    ("OpenCase", {"officer": "no one"}, "OFFICER_MALFORMED"),
    ("OpenCase", {"relation": 0}, "CASE_RELATION_UNCLEAR"),
    ("OpenCase", {"relation_key": "x"}, "CASE_RELATION_UNCLEAR"),
    ("OpenCase", {"relation": pb.CASE_RELATION_PARTY}, "CASE_RELATION_UNCLEAR"),
    ("OpenCase", {"relation": pb.CASE_RELATION_PARTY, "relation_key": "x" * 141}, "CASE_RELATION_UNCLEAR"),
    ("OpenCase", {"consignments": refs(["26DE"] * 1001)}, "BATCH_TOO_LARGE"),
    ("OpenCase", {"request_id": ""}, "REQUEST_ID_MISSING"),
    ("AddCaseConsignments", {}, "BATCH_EMPTY"),
    ("RemoveCaseConsignments", {"consignments": refs(["26DE"]), "reason": "no"}, "REASON_MALFORMED"),
    ("NoteCases", {}, "BATCH_EMPTY"),
    ("NoteCases", {"cases": [ref(n) for n in range(101)]}, "BATCH_TOO_LARGE"),
    ("NoteCases", {"cases": [ref(1)], "note": " \n"}, "CASE_NOTE_MALFORMED"),
    ("AssignCases", {"cases": [ref(1, 1)], "officer": "a/b"}, "OFFICER_MALFORMED"),
    ("CloseCases", {"cases": [ref(1, 1)], "outcome": 0}, "CASE_OUTCOME_MISSING"),
    ("CloseCases", {"cases": [ref(1, 1)], "reason": ""}, "REASON_MALFORMED"),
    ("ListCases", {"mrn": "26DE"}, "MRN_MALFORMED"),
    ("ListCases", {"relation_key": "x"}, "CASE_RELATION_UNCLEAR"),
]
WITHIN: dict[str, Any] = {
    "title": "t" * 140,
    "note": "n" * 3_999 + "\n",
    "office": "o" * 8,
    "officer": "o" * 64,
    "relation": pb.CASE_RELATION_PARTY,
    "relation_key": "x" * 140,
}


async def test_requests_beyond_their_bounds_are_refused_and_those_at_them_are_served(house: House) -> None:
    for method, fields, reason in BEYOND:
        required = {} if method.startswith("List") else {"request_id": "b1"}
        assert (await refused_with(call(house, method, **{**required, **fields})))[1] == reason, (method, fields)
    number = await opened(house, **WITHIN)
    case = await case_of(house, number)
    assert {name: getattr(case, name) for name in WITHIN if name != "note"} == {
        name: value for name, value in WITHIN.items() if name != "note"
    }
    many = await call(house, "NoteCases", request_id="n1", cases=[ref(n) for n in range(number, number + 100)])
    assert results(many)[0] == (2, "")


async def test_cases_are_listed_by_office_officer_state_relation_and_consignment(house: House) -> None:
    first, second = await house.filed(["RED-1", "RED-2"])
    party = {"relation": pb.CASE_RELATION_PARTY}
    a = await opened(house, [first], "o1", office="FRA", officer="olga", relation_key="X", **party)
    b = await opened(house, [first, second], "o2", office="FRA", officer="otto", relation_key="Y", **party)
    c = await opened(house, [second], "o3", office="MUC", officer="otto")
    d = await opened(house, [], "o4")
    await call(house, "CloseCases", request_id="c1", cases=[ref(a, 1)])
    for size in (1, 2, 100):
        assert await listed(house, page_size=size) == [b, c, d, a], "open ones first, then the oldest first"
    assert await listed(house, office="FRA", page_size=1) == [b, a]
    assert await listed(house, office="FRA", state=OPEN) == [b]
    assert await listed(house, office="") == [d]
    assert await listed(house, officer="otto") == [b, c]
    assert await listed(house, officer="otto", office="MUC") == [c]
    assert await listed(house, officer="") == [d]
    assert await listed(house, state=CLOSED) == [a]
    assert await listed(house, mrn=first, page_size=1) == [b, a]
    assert await listed(house, mrn=second, office="MUC") == [c]
    assert await listed(house, mrn="26DE32329000033OR6") == []
    assert await listed(house, **party) == [b, a]
    assert await listed(house, relation_key="Y", **party) == [b]
    assert await listed(house, relation=pb.CASE_RELATION_TRANSPORT) == []
    # An officer who looks at a parcel sees its cases.
    for role, by, found in (("officer", "anna", [a, b]), ("analyst", "ana", [a, b]), ("filer", "shop", [])):
        status = (await ask(await house.stub(role, by), asking(mrn=first)))[0].consignments[0]
        assert list(status.cases) == found, role


async def test_a_transport_and_a_screening_match_take_what_belongs_to_them(house: House) -> None:
    filed = filings(["GREEN-1", "GREEN-2"])
    await house.desk.consume(filed)
    one, two = mrns(filed)
    (other,) = await house.filed(["GREEN-3"], master="160-99999999")
    everything = refs([one, two, other])

    async def unfit(request_id: str, **fields: Any) -> list[str]:
        answer = await call(house, "OpenCase", request_id=request_id, consignments=everything, **fields)
        same = await call(
            house, "AddCaseConsignments", request_id="a" + request_id, case=ref(answer.case.number), consignments=everything
        )  # fmt: skip
        reasons = [each.error.reason for each in answer.results]
        assert [each.error.reason for each in same.results] == reasons
        assert len(await consignments(house, answer.case.number)) == reasons.count("")
        return reasons

    transport = pb.CASE_RELATION_TRANSPORT
    assert await unfit("o1", relation=transport, relation_key=MASTER) == ["", "", "CASE_UNRELATED"]
    assert await unfit("o2", relation=transport, relation_key="LX0188") == ["CASE_UNRELATED"] * 3, "nothing has arrived"
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert await unfit("o3", relation=transport, relation_key="LX0188") == ["", "", "CASE_UNRELATED"]
    await screening_matches.hear(house.desk, screening(filed, ("6908555",)))
    name = LIST.partition(":")[0]
    match = pb.CASE_RELATION_SCREENING_MATCH
    assert await unfit("o4", relation=match, relation_key=f"{name}/6908555") == ["", "", "CASE_UNRELATED"]
    assert await unfit("o5", relation=match, relation_key=f"{name}/69") == ["CASE_UNRELATED"] * 3
    assert await unfit("o6", relation=pb.CASE_RELATION_PARTY, relation_key="Any Ltd") == [""] * 3


async def test_a_full_case_takes_nothing_but_its_end(house: House) -> None:
    first, second, third = await house.filed(["RED-1", "RED-2", "RED-3"])
    goods, history = await opened(house), await opened(house, [], "o2")
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update case_file set consignments = 9999 where number = $1", goods)
        await tx.raw.execute("update case_file set version = 9999 where number = $1", history)
    two = call(house, "AddCaseConsignments", request_id="a1", case=ref(goods), consignments=refs([first, second]))
    assert await refused_with(two) == (grpc.StatusCode.FAILED_PRECONDITION, "CASE_FULL")
    added = await call(house, "AddCaseConsignments", request_id="a2", case=ref(goods), consignments=refs([third]))
    assert results(added) == [(1, "")]
    same = await call(house, "AddCaseConsignments", request_id="a3", case=ref(goods), consignments=refs([third]))
    assert results(same) == [(1, "")], "it is in the case"
    one = call(house, "AddCaseConsignments", request_id="a4", case=ref(goods), consignments=refs([first]))
    assert (await refused_with(one))[1] == "CASE_FULL"
    notes = [await call(house, "NoteCases", request_id=f"n{each}", cases=[ref(history)]) for each in range(2)]
    assert [results(each) for each in notes] == [[(10_000, "")], [(10_000, "CASE_FULL")]]
    assert results(await call(house, "CloseCases", request_id="c1", cases=[ref(history, 10_000)])) == [(10_001, "")]
    again = await call(house, "ReopenCases", request_id="r1", cases=[ref(history, 10_001)])
    assert results(again) == [(10_001, "CASE_FULL")]


async def test_pages_of_a_history_and_of_many_cases_read_little(house: House) -> None:
    """A page of events names at most 1,000 consignments; pages of lists read their rows, also before statistics are there."""
    house.desk.consistent = False
    filed = filings([f"GREEN-{each}" for each in range(600)])
    await house.desk.consume(filed)
    number = await opened(house, mrns(filed))
    for each in range(2):
        await call(
            house,
            "RemoveCaseConsignments",
            request_id=f"d{each}",
            case=ref(number),
            consignments=refs(mrns(filed)[each * 300 :][:300]),
        )
    pages = []
    token = ""
    while True:
        page = await call(house, "ListCaseEvents", number=number, page_token=token)
        pages.append([len(event.mrns) for event in page.events])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[600, 300], [300]]
    store = house.desk.store
    async with store.database.transaction(timeout_millis=60_000) as tx:
        await tx.raw.execute(
            "insert into case_file select 100000 + i, 1, 1 + (i % 10 > 0)::int, 't', 'FRA', 'otto', 2, 'k' || i % 1000, "
            "1, 'x', 1, 1, 0, '', null, '', '' from generate_series(1, 20000) i"
        )
        await tx.raw.execute(
            "insert into case_consignment select 100000 + i, 'M' || i % 2000, 1, 'x' from generate_series(1, 20000) i"
        )
        for chosen, count in (
            (CaseFilter(mrn="M7"), 10),
            (CaseFilter(office="FRA"), 101),
            (CaseFilter(officer="otto", state=OPEN), 101),
            (CaseFilter(relation=2, relation_key="k7"), 20),
        ):
            before = await tx.raw.fetchval(READ)
            found = await store.cases.page(tx, chosen, (0, 0), 101)
            assert len(found) == count, chosen
            read = await tx.raw.fetchval(READ) - before
            assert read <= 3 * count, (chosen, read)
        await tx.raw.execute("insert into case_consignment select i, 'FULL', 1, 'x' from generate_series(1, 150) i")
        before = await tx.raw.fetchval(READ)
        cases = await store.cases.of_consignments(tx, ["M7", "none", "FULL"])
        assert cases == {"M7": list(range(100_007, 120_001, 2_000)), "FULL": list(range(1, 101))}
        assert await tx.raw.fetchval(READ) - before <= 3 * 160
    # The records of one page name each case in full.
    page = await call(house, "ListCases", office="FRA")
    texts = [about for about in await trail(house) if "case 10" in about]
    assert all(len(about) <= 1_000 for about in texts)
    assert sorted(",".join(texts).split(",")) == sorted(f"case {each.number}" for each in page.cases)


async def test_nobody_but_officers_and_analysts_learns_of_cases(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    number = await opened(house, [mrn], title="Secret title", note="Secret note")
    arguments: dict[str, dict[str, Any]] = {each: {"number": number} for each in READS if each != "ListCases"}
    for role, by in (
        ("filer", "shop"),
        ("carrier", "wings"),
        ("agency", "food"),
        ("operator", "ops"),
        ("gateway", "g"),
    ):
        for method in (*CALLS, *READS):
            code, reason = await refused_with(call(house, method, by, role, **arguments.get(method, {})))
            assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"), (role, method)
    for method in CALLS:
        code, _ = await refused_with(call(house, method, "ana", "analyst", request_id="x"))
        assert code == grpc.StatusCode.PERMISSION_DENIED, method
    for method in READS:
        await call(house, method, "ana", "analyst", **arguments.get(method, {}))
    async with house.desk.store.database.connection() as reading:
        # What leaves for filers, carriers and other services is in these tables, and reasons in the trail are shown with evidence.
        assert await reading.raw.fetchval("select count(*) from batch") == 1
        assert await reading.raw.fetchval("select count(*) from notice") == 1
        rows = await reading.raw.fetch(
            "select reason, about from audit_pending union select reason, about from audit_record"
        )
    assert not any("Secret" in text for row in rows for text in row.values())


async def test_a_case_keeps_the_numbers_of_goods_that_are_not_stored_any_more(house: House) -> None:
    first, second = await house.filed(["RED-1", "RED-2"])
    number = await opened(house, [first, second])
    house.desk.consistent = False
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from consignment where mrn = $1", first)
    await store_days.purge(house.desk.store, 10**5)
    states = {each.mrn: (each.state, each.version) for each in await consignments(house, number)}
    assert states == {first: (0, 0), second: (clearance_pb2.STATE_HELD, 1)}
    assert await listed(house, mrn=first) == [number]
    answer = await call(house, "AddCaseConsignments", request_id="a1", case=ref(number), consignments=refs([first]))
    assert results(answer) == [(0, "")], "it is in the case"
    assert answer.case.version == 1
    again: dict[str, Any] = {"case": ref(number), "consignments": refs([first])}
    answer = await call(house, "AddCaseConsignments", request_id="a3", note="urgent", **again)
    noted = [(each.change, each.note, list(each.mrns), each.reason) for each in await events(house, number)][1:]
    assert (answer.case.version, noted) == (2, [(pb.CASE_CHANGE_NOTED, "urgent", [], "")])
    removal = await call(house, "RemoveCaseConsignments", request_id="d1", case=ref(number), consignments=refs([first]))
    assert results(removal) == [(0, "")]
    answer = await call(house, "AddCaseConsignments", request_id="a2", case=ref(number), consignments=refs([first]))
    assert results(answer) == [(0, "CONSIGNMENT_UNKNOWN")]


async def test_closed_cases_are_deleted_after_their_retention_and_open_ones_never(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    store = house.desk.store
    old, recent, reopened, still = [await opened(house, [mrn], f"o{n}") for n in range(4)]
    for number in (old, recent, reopened):
        await call(house, "CloseCases", request_id=f"c{number}", cases=[ref(number, 1)])
    await call(house, "ReopenCases", request_id="r1", cases=[ref(reopened, 2)])
    async with store.database.transaction() as tx:
        now = await store.now(tx)
        # A minute on either side of the limit.
        for number, age in ((old, 30 * MICROS_PER_DAY + 60_000_000), (recent, 30 * MICROS_PER_DAY - 60_000_000)):
            await tx.raw.execute("update case_file set closed_at = $1 where number = $2", now - age, number)
        await tx.raw.execute("update case_file set opened_at = 1, changed_at = 1 where number = $1", still)
    assert await purge_cases(store, 30) == 1
    assert await listed(house, mrn=mrn) == [reopened, still, recent]
    assert (await refused_with(call(house, "GetCase", number=old)))[1] == "CASE_UNKNOWN"
    async with store.database.connection() as reading:
        for table in ("case_event", "case_consignment"):
            assert await reading.raw.fetchval(f"select count(*) from {table} where number = $1", old) == 0
    assert [each for each in await trail(house) if "DELETED" in each] == [f"case {old} DELETED"]


async def test_a_large_case_is_deleted_in_steps_during_which_nobody_finds_it_and_stops_no_other_one(
    house: House,
) -> None:
    store = house.desk.store
    (mrn,) = await house.filed(["RED-1"])
    large, small = await opened(house, [mrn]), await opened(house, request_id="o2")
    for number in (large, small):
        await call(house, "CloseCases", request_id=f"c{number}", cases=[ref(number, 1)])
    async with store.database.transaction() as tx:
        await tx.raw.execute("update case_file set closed_at = number")
        await tx.raw.execute("insert into case_event select $1, 100 + i, '' from generate_series(1, 1200) i", large)
        await tx.raw.execute("create table reader (number bigint references case_file)")
        await tx.raw.execute("insert into reader values ($1)", large)
    with pytest.raises(StoreError, match="reader"):
        await purge_cases(store, 30)
    assert [each for each in await trail(house) if "DELETED" in each] == [f"case {small} DELETED"]
    async with store.database.connection() as reading:
        left = await reading.raw.fetchval("select count(*) from case_event where number = $1", large)
    assert 0 < left < 1_000, "what was deleted before the failure stays deleted"
    assert await listed(house) == await listed(house, mrn=mrn) == []
    assert (await refused_with(call(house, "GetCase", number=large)))[1] == "CASE_UNKNOWN"
    assert results(await call(house, "ReopenCases", request_id="r1", cases=[ref(large, 2)])) == [(0, "CASE_UNKNOWN")]
    async with store.database.transaction() as tx:
        await tx.raw.execute("drop table reader")
    assert await purge_cases(store, 20_000) == 1, "whatever the retention is then"
    async with store.database.connection() as reading:
        for table in ("case_event", "case_consignment", "case_file"):
            assert await reading.raw.fetchval(f"select count(*) from {table}") == 0


async def test_random_changes_leave_what_a_plain_model_and_the_replay_of_the_events_say(house: House) -> None:
    """The model is written from docs/clearance.md, Cases: a dictionary, and a rule for each change."""
    numbers = await house.filed([f"GREEN-{each}" for each in range(6)])
    draw = random.Random(20_261_130)
    number = await opened(house)
    model: dict[str, Any] = {"state": OPEN, "officer": "", "version": 1, "outcome": 0}
    inside: set[str] = set()
    for step in range(80):
        method = draw.choice(list(CALLS)[1:])
        chosen = draw.sample(numbers, draw.randint(1, 3))
        stale = draw.random() < 0.2
        seen = ref(number, model["version"] - 1 if stale else model["version"])
        officer = draw.choice(["", "anna", "otto"])
        fields: dict[str, Any] = {"case": seen, "consignments": refs(chosen)}
        if method.endswith("Cases"):
            fields = {"cases": [seen], **({"officer": officer} if method == "AssignCases" else {})}
        allowed = (CLOSED if method == "ReopenCases" else OPEN) == model["state"] and not stale
        try:
            answer = await call(house, method, request_id=f"s{step}", **fields)
            done = method.endswith("Consignments") or not answer.results[0].HasField("error")
        except grpc.aio.AioRpcError:
            done = False
        assert done == allowed, (step, method, model)
        if not allowed:
            continue
        before = set(inside)
        match method:
            case "AddCaseConsignments":
                inside |= set(chosen)
            case "RemoveCaseConsignments":
                inside -= set(chosen)
            case "AssignCases":
                model["officer"] = officer
            case "CloseCases":
                model |= {"state": CLOSED, "outcome": pb.CASE_OUTCOME_CORRECTED}
            case "ReopenCases":
                model |= {"state": OPEN, "outcome": 0}
        model["version"] += not method.endswith("Consignments") or inside != before
    case = await case_of(house, number)
    assert {name: getattr(case, name) for name in model} == model
    assert [each.mrn for each in await consignments(house, number)] == sorted(inside)
    history = await events(house, number)
    found = replay(number, history)
    replayed = found.case
    assert set(found.members) == inside
    async with house.desk.store.database.connection() as reading:
        assert (await house.desk.store.cases.find(reading, [number]))[number] == replayed
    about = [each for each in await trail(house) if " version " in each]
    assert about[-1].endswith(replayed.hash.hex()), "the trail seals the history up to its last event"
    assert len(about) == model["version"]
    with pytest.raises(CaseError):
        replay(number, [*history[:3], *history[4:]])
    history[3].note += "."
    assert replay(number, history).case.hash != replayed.hash

    for change in ("update case_event set version = 0", "update case_event set payload = ''"):
        with pytest.raises(StoreError, match="23001"):
            async with house.desk.store.database.transaction() as tx:
                await tx.raw.execute(change)
    assert (await call(house, "GetCase", number=number, verified=True)).case == case
    # Whatever is changed all the same is found, one change at a time.
    for change in (
        "update case_file set officer = 'eve'",
        "update case_file set hash = sha256('')",
        "delete from case_event where version = (select max(version) from case_event)",
        "delete from case_event where version = 2",
        "update case_event set payload = (select payload from case_event where version = 3) where version = 2",
        "update case_event set payload = overlay(payload placing '\\x07' from 2) where version = 5",
        "insert into case_consignment select number, 'M', 1, 'eve' from case_file",
        "update case_consignment set added_by = 'eve' where mrn = (select min(mrn) from case_consignment)",
        "update case_consignment set added_at = 1 where mrn = (select min(mrn) from case_consignment)",
        "delete from case_consignment where mrn = (select min(mrn) from case_consignment)",
    ):
        async with house.desk.store.database.transaction() as tx:
            await tx.raw.execute("alter table case_event disable trigger final")
            for table in TABLES:
                await tx.raw.execute(f"create table copy_{table} as select * from {table}")
            await tx.raw.execute(change)
        assert (await refused_with(call(house, "GetCase", number=number, verified=True)))[1] == "CASE_INCONSISTENT", (
            change
        )
        async with house.desk.store.database.transaction() as tx:
            for table in TABLES:
                await tx.raw.execute(f"delete from {table}")
                await tx.raw.execute(f"insert into {table} select * from copy_{table}")
                await tx.raw.execute(f"drop table copy_{table}")
    assert (await call(house, "GetCase", number=number, verified=True)).case == case
