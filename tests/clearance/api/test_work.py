"""Work lists of offices, claims of officers and hand-overs."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from luxor.common.v1 import common_pb2
from services.clearance.commands import store_days
from services.clearance.consignment.transitions import Debt
from tests.clearance import controls, debt_events
from tests.clearance.bulk_releases import counted, release_all
from tests.clearance.debt_events import debt
from tests.clearance.desk import MASTER
from tests.clearance.disposals import DESTROYED, SEIZED, disposal, dispose, outcomes
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with

GREEN, YELLOW, RED = common_pb2.LANE_GREEN, common_pb2.LANE_YELLOW, common_pb2.LANE_RED


async def stub(house: House, role: str = "officer", ident: str = "olga") -> WorkServiceStub:
    return WorkServiceStub(await house.service.channel(role, ident))


def refs(*mrns: str) -> list[pb.ConsignmentRef]:
    return [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]


async def claim(
    house: House, *mrns: str, by: str = "olga", request_id: str = "k1", note: str = ""
) -> list[tuple[str, str]]:
    request = work_pb2.ClaimConsignmentsRequest(request_id=request_id, consignments=refs(*mrns), note=note)
    return outcomes(list((await (await stub(house, ident=by)).ClaimConsignments(request, timeout=SECONDS)).results))


async def hand_over(
    house: House, *mrns: str, to: str = "", by: str = "olga", request_id: str = "h1", note: str = ""
) -> list[tuple[str, str]]:
    request = work_pb2.HandOverConsignmentsRequest(
        request_id=request_id, consignments=refs(*mrns), officer=to, note=note
    )
    return outcomes(list((await (await stub(house, ident=by)).HandOverConsignments(request, timeout=SECONDS)).results))


async def work(house: House, by: str = "olga", role: str = "officer", **fields: Any) -> list[work_pb2.WorkItem]:
    request = work_pb2.ListWorkRequest(**fields)
    found: list[work_pb2.WorkItem] = []
    caller = await stub(house, role, by)
    while True:
        page = await caller.ListWork(request, timeout=SECONDS)
        found += page.items
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def release(house: House, *mrns: str, by: str = "olga", request_id: str = "r1") -> list[tuple[str, str]]:
    request = pb.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs(*mrns), reason="IN_ORDER")
    officer = await house.stub("officer", by)
    return outcomes(list((await officer.ReleaseConsignments(request, timeout=SECONDS)).results))


async def arrive(house: House) -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)


async def test_the_list_of_an_office_has_the_highest_lane_first_and_then_the_oldest(house: House) -> None:
    mrns = await house.filed(["YELLOW-1", "RED-1", "GREEN-1", "YELLOW-2", "RED-2"])
    by_lane = [*sorted([mrns[1], mrns[4]]), *sorted([mrns[0], mrns[3]])]
    for size in (1, 2, 3, 100):
        assert [each.mrn for each in await work(house, page_size=size)] == by_lane, size
    assert [each.lane for each in await work(house)] == [RED, RED, YELLOW, YELLOW]
    assert [each.mrn for each in await work(house, lane=YELLOW)] == by_lane[2:]
    assert await work(house, lane=GREEN) == []
    assert await work(house, office="FRA") == []
    first = (await work(house))[0]
    assert (first.cause, first.claimed_by, list(first.reasons)) == (
        pb.HOLD_CAUSE_DECISION,
        "",
        ["VALUE_IMPLAUSIBLY_LOW"],
    )
    assert not first.HasField("arrived_at")
    await arrive(house)
    assert all(each.HasField("arrived_at") for each in await work(house))
    assert len(await work(house, role="analyst", by="ana")) == 4


async def test_a_page_of_an_office_reads_its_rows_and_no_others(house: House) -> None:
    house.desk.consistent = False
    async with house.desk.store.database.transaction(timeout_millis=60_000) as tx:
        await tx.raw.execute(
            "insert into held (day, mrn, lane, office) select 20000 + i / 2000, lpad(i::text, 18, '0'), 3 + i / 15000, 'FRA' "
            "from generate_series(1, 20000) i"
        )
        places = {(4, 0, ""): 101, (4, 20009, f"{19_950:018}"): 101, (3, 20007, f"{14_950:018}"): 49, (2, 0, ""): 0}
        for place, rows in places.items():
            plan = await tx.raw.fetchval(
                "explain (analyze, buffers, format json) select * from work_find('FRA', 0, $1, $2, $3, 101)", *place
            )
            (read,) = plan
            assert read["Plan"]["Actual Rows"] == rows, place
            buffers = read["Plan"]["Shared Hit Blocks"] + read["Plan"]["Shared Read Blocks"]
            # A row, the way to it in the index, and the catalogue that the first plans read.
            assert buffers < 2 * rows + 400, (place, buffers)
        lane = await tx.raw.fetch("select distinct lane from work_find('FRA', 3, 3, 0, '', 20000)")
        assert [each["lane"] for each in lane] == [3]


async def test_goods_are_listed_under_their_office_and_move_with_it(house: House) -> None:
    mrn, other = await house.filed(["RED-1", "RED-2"])
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update held set office = 'FRA' where mrn = $1", mrn)
    assert [each.mrn for each in await work(house, office="FRA")] == [mrn]
    assert [each.mrn for each in await work(house)] == [other]
    # A change writes the office of the state.
    await arrive(house)
    assert await work(house, office="FRA") == []


async def test_claimed_goods_are_released_and_disposed_of_by_their_officer_alone(house: House) -> None:
    first, second, third = await house.filed(["RED-1", "RED-2", "RED-3"])
    await arrive(house)
    assert await claim(house, first, second, note="I look at these") == [("HELD", "")] * 2
    (item,) = [each for each in await work(house) if each.mrn == first]
    assert (item.claimed_by, item.handed_by, item.claim_note) == ("olga", "olga", "I look at these")
    assert await claim(house, first, third, by="otto", request_id="k2") == [("HELD", "CLAIMED"), ("HELD", "")]
    assert await release(house, first, third, by="anna") == [("HELD", "CLAIMED")] * 2
    refused = await dispose(house, disposal(first, DESTROYED), by="otto")
    assert outcomes(refused) == [("HELD", "CLAIMED")]
    assert await release(house, first, request_id="r2") == [("RELEASED", "")]
    assert outcomes(await dispose(house, disposal(second, DESTROYED), by="olga", request_id="d2")) == [
        ("DESTROYED", "")
    ]
    assert [each.mrn for each in await work(house, claim=work_pb2.CLAIM_FILTER_CLAIMED)] == [third]
    assert [each.mrn for each in await work(house, by="otto", claim=work_pb2.CLAIM_FILTER_OWN)] == [third]
    assert await work(house, claim=work_pb2.CLAIM_FILTER_OWN) == []
    assert await work(house, claim=work_pb2.CLAIM_FILTER_UNCLAIMED) == []


async def test_all_officers_hold_and_inspect_claimed_goods(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await claim(house, mrn)
    officer = await house.stub("officer", "otto")
    request = pb.HoldConsignmentsRequest(request_id="x1", consignments=refs(mrn), reason="TIP")
    assert outcomes(list((await officer.HoldConsignments(request, timeout=SECONDS)).results)) == [("HELD", "")]


async def test_a_claim_ends_with_the_hold_whatever_ends_it(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await debt_events.hear(house.desk, debt([mrn], 1, Debt.OPEN, kind=debt_events.OPENED))
    await claim(house, mrn)
    await debt_events.hear(house.desk, debt([mrn], 2, Debt.PAID, kind=debt_events.SETTLED))
    await debt_events.hear(house.desk, debt([mrn], 3, Debt.OPEN, kind=debt_events.OPENED))
    (item,) = await work(house)
    assert item.claimed_by == "", "held again, it is claimed by nobody"
    assert item.cause == pb.HOLD_CAUSE_DEBT_OPEN


async def test_own_claims_of_all_offices_are_listed_and_shown_whatever_holds_the_goods(house: House) -> None:
    held, controlled, seized, moved = await house.filed(["RED-1", "GREEN-1", "RED-2", "RED-3"])
    await controls.ordered(house, controls.order(controlled))
    await arrive(house)
    await claim(house, held, controlled, seized, moved, by="anna", note="mine")
    assert outcomes(await dispose(house, disposal(seized, SEIZED), by="anna")) == [("SEIZED", "")]
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update held set office = 'FRA' where mrn = $1", moved)
    house.desk.consistent = False
    own = work_pb2.CLAIM_FILTER_OWN
    for size in (1, 3, 100):
        items = await work(house, by="anna", claim=own, page_size=size)
        assert [each.mrn for each in items] == sorted([held, controlled, seized, moved]), size
    states = {each.mrn: (each.state, each.cause) for each in items}
    assert states[controlled] == (pb.STATE_DOCUMENTS_REQUESTED, pb.HOLD_CAUSE_CONTROL)
    assert states[seized] == (pb.STATE_SEIZED, pb.HOLD_CAUSE_SEIZURE)
    assert await work(house, by="olga", claim=own) == []
    assert [each.mrn for each in await work(house, by="anna", claim=own, lane=GREEN)] == [controlled]
    for mrn in (held, controlled, seized):
        shown = (await status(house, mrn)).claim
        assert (shown.officer, shown.handed_by, shown.note) == ("anna", "anna", "mine")
        assert shown.HasField("claimed_at")
        assert not (await status(house, mrn, "filer", "shop")).HasField("claim")
    assert [each.claimed_by for each in await controls.listed(house)] == ["anna"]


async def test_no_colleague_concludes_the_last_control_or_adjusts_what_only_the_debt_holds(house: House) -> None:
    free, held, owing = await house.filed(["GREEN-1", "RED-1", "BARE-1"])
    for number, mrn in enumerate((free, free, held)):
        await controls.ordered(house, controls.order(mrn), request_id=f"o{number}")
    await arrive(house)
    await claim(house, free, held, owing, by="anna")

    async def conclude(mrn: str, number: int, by: str, **fields: Any) -> list[tuple[str, str]]:
        request_id = f"{mrn} {number} {by} {len(fields)}"
        return outcomes(
            await controls.concluded(house, controls.conclusion(mrn, number, **fields), by=by, request_id=request_id)
        )

    assert await conclude(free, 1, "otto") == [("DOCUMENTS_REQUESTED", "")], "another one is open"
    assert await conclude(free, 2, "otto") == [("DOCUMENTS_REQUESTED", "CLAIMED")]
    # What stays held is not released by the conclusion.
    assert await conclude(held, 1, "otto") == [("HELD", "")]
    assert await conclude(free, 2, "anna") == [("RELEASED", "")]
    request = pb.AdjustConsignmentsRequest(request_id="j1")
    request.adjustments.add().consignment.mrn = owing
    request.adjustments[0].items.add(number=1, origin_country="TR")
    otto, anna = [await house.stub("officer", each) for each in ("otto", "anna")]
    assert outcomes(list((await otto.AdjustConsignments(request, timeout=SECONDS)).results)) == [("HELD", "CLAIMED")]
    code, _ = await refused_with(anna.AdjustConsignments(request, timeout=SECONDS))
    assert code == grpc.StatusCode.UNAVAILABLE, "it is for revenue to assess"


async def test_an_ended_claim_and_its_note_stay_in_the_audit_trail(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await claim(house, mrn, by="otto")
    assert await hand_over(house, mrn, by="olga", note="otto is ill") == [("HELD", "")]
    async with house.desk.store.database.connection() as reading:
        rows = await reading.raw.fetch(
            "select at, actor, reason, about, subjects from audit_record where method = 'HandOverConsignments' union all "
            "select at, actor, reason, about, subjects from audit_pending where method = 'HandOverConsignments' order by at"
        )
    assert [tuple(row)[1:] for row in rows] == [
        ("officer/olga", "otto is ill", "claim of otto to nobody", [mrn]),
        ("officer/olga", "otto is ill", "", [mrn]),
    ]


async def test_a_claim_that_an_earlier_hold_left_binds_nobody(house: House) -> None:
    """A replica of a release before claims ends holds and leaves the claims."""
    green, other = await house.filed(["GREEN-1", "GREEN-2"])
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("insert into claim select day, mrn, 'ghost', 1, 'ghost', '' from consignment")
    request = pb.HoldConsignmentsRequest(request_id="x1", consignments=refs(green), reason="TIP")
    await (await house.stub("officer", "otto")).HoldConsignments(request, timeout=SECONDS)
    assert await release(house, green) == [("AWAITING_ARRIVAL", "")]
    await store_days.purge(house.desk.store, 0)
    async with house.desk.store.database.connection() as reading:
        assert await house.desk.store.claims.find(reading, [green, other]) == {}


async def test_a_claim_stays_while_the_goods_are_seized(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    await claim(house, mrn)
    assert outcomes(await dispose(house, disposal(mrn, SEIZED), by="olga")) == [("SEIZED", "")]
    assert outcomes(await dispose(house, disposal(mrn, DESTROYED), by="otto", request_id="d2")) == [
        ("SEIZED", "CLAIMED")
    ]


async def test_claims_are_handed_over_given_back_and_taken_over_with_a_note(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    assert await hand_over(house, mrn) == [("HELD", "NOT_CLAIMED")]
    assert await hand_over(house, mrn, to="otto", request_id="h2") == [("HELD", "")], "unclaimed work is assigned"
    assert await hand_over(house, mrn, to="olga", request_id="h3") == [("HELD", "HAND_OVER_UNEXPLAINED")]
    assert await hand_over(house, mrn, to="olga", request_id="h4", note=" ") == [("HELD", "HAND_OVER_UNEXPLAINED")]
    assert await hand_over(house, mrn, to="olga", request_id="h5", note="otto is ill") == [("HELD", "")]
    (item,) = await work(house, claim=work_pb2.CLAIM_FILTER_OWN)
    assert (item.claimed_by, item.handed_by, item.claim_note) == ("olga", "olga", "otto is ill")
    assert await hand_over(house, mrn, request_id="h6") == [("HELD", "")]
    assert (await work(house))[0].claimed_by == ""


async def test_a_claim_that_is_repeated_keeps_its_time_and_a_request_has_one_effect(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await claim(house, mrn, note="first")
    since = (await work(house))[0].claimed_at.ToMicroseconds()
    assert await claim(house, mrn, request_id="k2", note="second") == [("HELD", "")]
    item = (await work(house))[0]
    assert (item.claimed_at.ToMicroseconds(), item.claim_note) == (since, "first")
    await hand_over(house, mrn)
    assert await claim(house, mrn, note="first") == [("HELD", "")], "the answer of before"
    assert (await work(house))[0].claimed_by == ""
    request = work_pb2.ClaimConsignmentsRequest(request_id="k1", consignments=refs(mrn), note="other")
    assert await refused_with((await stub(house)).ClaimConsignments(request, timeout=SECONDS)) == (
        grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED",
    )  # fmt: skip


async def test_a_claim_is_of_a_person_whatever_the_capitals_of_the_id(house: House) -> None:
    first, second, third = sorted(await house.filed(["YELLOW-1", "YELLOW-2", "YELLOW-3"]))
    await arrive(house)
    await claim(house, first, second, third, by="Anna", note="first")
    since = (await work(house))[0].claimed_at.ToMicroseconds()
    assert await claim(house, first, by="anna", request_id="k2", note="second") == [("HELD", "")]
    for by, listed in (("anna", [first, second, third]), ("ANNA", [first, second, third]), ("hanna", [])):
        items = await work(house, by=by, claim=work_pb2.CLAIM_FILTER_OWN)
        assert [each.mrn for each in items] == listed, by
        assert {(each.claimed_by, each.claim_note, each.claimed_at.ToMicroseconds()) for each in items} <= {
            ("Anna", "first", since)
        }
    for by, released, handed in (("hanna", "CLAIMED", "HAND_OVER_UNEXPLAINED"), ("anna", "", "")):
        assert [refusal for _, refusal in await release(house, first, by=by, request_id=by)] == [released], by
        assert [refusal for _, refusal in await hand_over(house, second, by=by, request_id=f"h{by}")] == [handed], by
    assert counted(await release_all(house, by="hanna")) == {
        "consignments": 3, "released": 1, "released_before": 1, "DECISION": 1,
    }  # fmt: skip
    assert counted(await release_all(house, by="aNNa")) == {"consignments": 3, "released": 1, "released_before": 2}


async def test_of_two_officers_who_claim_at_once_one_has_it(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    told = await asyncio.gather(
        claim(house, mrn, by="anna", request_id="k1"), claim(house, mrn, by="otto", request_id="k2")
    )
    assert sorted(refusal for ((_, refusal),) in told) == ["", "CLAIMED"]
    winner = "anna" if told[0][0][1] == "" else "otto"
    assert (await work(house))[0].claimed_by == winner


async def test_a_bulk_release_passes_over_what_a_colleague_claims(house: House) -> None:
    first, second, third = await house.filed(["YELLOW-1", "YELLOW-2", "YELLOW-3"])
    await arrive(house)
    await claim(house, first)
    await claim(house, second, by="otto", request_id="k2")
    assert counted(await release_all(house)) == {"consignments": 3, "released": 2, "DECISION": 1}
    assert [each.mrn for each in await work(house)] == [first]
    assert third not in [each.mrn for each in await work(house)]


async def test_released_unknown_and_changed_goods_are_not_claimed(house: House) -> None:
    green, red = await house.filed(["GREEN-1", "RED-1"])
    await arrive(house)
    assert await claim(house, green, "26DE07329000001XR8", red) == [
        ("RELEASED", "NOT_HELD"), ("UNSPECIFIED", "CONSIGNMENT_UNKNOWN"), ("HELD", ""),
    ]  # fmt: skip
    ref = pb.ConsignmentRef(mrn=red, expected_version=1)
    request = work_pb2.ClaimConsignmentsRequest(request_id="k9", consignments=[ref])
    result = (await (await stub(house)).ClaimConsignments(request, timeout=SECONDS)).results[0]
    assert result.error.reason == "VERSION_CHANGED"


async def test_many_claims_of_others_are_passed_over_page_by_page(house: House) -> None:
    mrns = sorted(await house.filed([f"RED-{number}" for number in range(12)]))
    await claim(house, *mrns[:11])
    free = work_pb2.CLAIM_FILTER_UNCLAIMED
    for size in (1, 2, 100):
        assert [each.mrn for each in await work(house, claim=free, page_size=size)] == mrns[11:]
        own = await work(house, claim=work_pb2.CLAIM_FILTER_OWN, page_size=size)
        assert [each.mrn for each in own] == mrns[:11]


@pytest.mark.parametrize(
    ("request_", "method", "reason"),
    [
        (work_pb2.ListWorkRequest(office="NINECHARS"), "ListWork", "OFFICE_MALFORMED"),
        (work_pb2.ListWorkRequest(office="A\x07"), "ListWork", "OFFICE_MALFORMED"),
        (work_pb2.ClaimConsignmentsRequest(request_id="k"), "ClaimConsignments", "BATCH_EMPTY"),
        (
            work_pb2.ClaimConsignmentsRequest(request_id="k", consignments=refs("X"), note="x" * 513),
            "ClaimConsignments", "NOTE_TOO_LONG",
        ),
        (
            work_pb2.HandOverConsignmentsRequest(request_id="k", consignments=refs("X"), officer="a b"),
            "HandOverConsignments", "OFFICER_MALFORMED",
        ),
    ],
)  # fmt: skip
async def test_malformed_requests_are_refused(house: House, request_: Any, method: str, reason: str) -> None:
    assert (await refused_with(getattr(await stub(house), method)(request_, timeout=SECONDS)))[1] == reason


@pytest.mark.parametrize("method", ["ListWork", "ClaimConsignments", "HandOverConsignments"])
async def test_work_is_for_officers_and_lists_for_analysts(house: House, method: str) -> None:
    request = getattr(work_pb2, f"{method}Request")()
    for role in ("filer", "carrier", "agency", "analyst", "operator", "gateway"):
        if role == "analyst" and method == "ListWork":
            continue
        caller = await stub(house, role, "somebody")
        assert (await refused_with(getattr(caller, method)(request, timeout=SECONDS)))[1] == "ROLE_NOT_ALLOWED"
