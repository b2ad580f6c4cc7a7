"""Contradictions between a filing and parts of other parties: who sees which value, what lists them, and what ends them.

The definition is docs/parts.md, "What becomes of a contradiction".
"""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Ints, Ragged, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1.common_pb2 import LANE_GREEN, LANE_RED
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER
from services.clearance.api.work import service as work_service
from services.clearance.consignment.contradictions.contradiction import PARTS_CONTRADICT
from tests.clearance.contradicting import listed, shown
from tests.clearance.controls import SCAN, arrive, hold, notices, order, ordered, release, state
from tests.clearance.desk import MASTER, filings, mrns, risk_answer
from tests.clearance.disposals import DESTROYED, SEIZED, disposal, dispose
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals, ask
from tests.support.contradicting import BUYER, PAYER, contradicting

CONTRADICTED, REFUSED = pb.NOTICE_KIND_CONTRADICTED, pb.NOTICE_KIND_AMENDMENT_REFUSED


async def changes(house: House, mrn: str, role: str = "officer", ident: str = "olga") -> list[str]:
    """Return the changes of a consignment, the oldest first."""
    history = (await status(house, mrn, role, ident)).history
    return [pb.Change.Name(each.change).removeprefix("CHANGE_") for each in reversed(history)]


async def test_officers_see_both_values_and_the_filer_only_its_own(house: House) -> None:
    table = contradicting(filings(["GREEN-1", "GREEN-2"]), [PAYER, BUYER], [])
    await house.desk.consume(table)
    first, second = mrns(table)
    for role, ident in (("officer", "olga"), ("analyst", "ann")):
        seen = await status(house, first, role, ident)
        expected = [shown(PAYER, version=1), shown(BUYER, version=1)]
        assert (list(seen.contradictions), seen.contradiction_count) == (expected, 2)
    seen = await status(house, first, "filer", "shop")
    assert list(seen.contradictions) == [
        pb.Contradiction(
            path="payment.payer", consignment_value="Bob Example", part_filer="bank", part_role=PAYER.part_role,
            first_version=1, last_version=1,
        ),
        pb.Contradiction(
            path="buyer.name", part_filer="bazaar", part_role=BUYER.part_role, first_version=1, last_version=1
        ),
    ]  # fmt: skip
    assert seen.contradiction_count == 2
    for role, ident in (("officer", "olga"), ("filer", "shop")):
        other = await status(house, second, role, ident)
        assert (list(other.contradictions), other.contradiction_count) == ([], 0)


async def test_a_filer_reads_the_value_of_a_part_that_it_filed_itself(house: House) -> None:
    own = PAYER._replace(stated_by="bank", part_filer="shop")
    table = contradicting(filings(["GREEN-1"]), [own])
    await house.desk.consume(table)
    seen = await status(house, mrns(table)[0], "filer", "shop")
    assert [(each.consignment_value, each.part_value) for each in seen.contradictions] == [("", "Ada Example")]


async def test_carriers_and_agencies_read_nothing_of_contradictions(house: House) -> None:
    table = filings(["GREEN-1"])
    await house.desk.consume(table)
    await arrive(house)
    (mrn,) = mrns(table)
    await hold(house, mrn)
    await ordered(house, order(mrn, SCAN, authority="vet"))
    before = await notices(house, "carrier", "wings"), await notices(house, "agency", "vet")
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1))
    assert (await changes(house, mrn))[-1] == "CONTRADICTED"
    assert (await notices(house, "carrier", "wings"), await notices(house, "agency", "vet")) == before
    carrier = await house.stub("carrier", "wings")
    (found,) = await ask(carrier, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    (carried,) = found.consignments
    assert (list(carried.contradictions), carried.contradiction_count, carried.change) == ([], 0, pb.CHANGE_UNSPECIFIED)
    asked = await status(house, mrn, "agency", "vet")
    assert (list(asked.contradictions), asked.contradiction_count, asked.change) == ([], 0, pb.CHANGE_UNSPECIFIED)


async def test_the_filer_is_notified_when_contradictions_begin_change_and_end(house: House) -> None:
    table = filings(["GREEN-1"])
    (mrn,) = mrns(table)
    await house.desk.consume(table)
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1))
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=3), [PAYER, BUYER], unchanged_since=1))
    # A version of the filer states nothing about contradictions: they stay until its parts are joined with it.
    await house.desk.consume(filings(["GREEN-1"], version=4))
    assert (await status(house, mrn)).contradiction_count == 2
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=5), []))
    found = [each for each in await notices(house) if each.kind == CONTRADICTED]
    own, both = shown(PAYER, reader="shop"), shown(BUYER, reader="shop")
    for each in (own, both):
        each.last_version = 0
    read = []
    for each in found:
        for line in each.contradictions:
            line.last_version = 0
        read.append((list(each.contradictions), list(each.reasons)))
    assert read == [([own], [PARTS_CONTRADICT]), ([own, both], [PARTS_CONTRADICT]), ([], [])]
    # What changes no element is not decided again.
    expected = ["DECIDED", "CONTRADICTED", "CONTRADICTED", "AMENDED", "AMENDED", "CONTRADICTED"]
    assert await changes(house, mrn) == expected
    assert await changes(house, mrn, "filer", "shop") == expected
    seen = await status(house, mrn)
    assert (list(seen.contradictions), seen.contradiction_count) == ([], 0)


async def test_the_same_statement_again_is_no_event(house: House) -> None:
    (mrn,) = mrns(filings(["GREEN-1"]))
    stated = contradicting(filings(["GREEN-1"], version=2), [PAYER])
    await house.desk.consume(filings(["GREEN-1"]))
    for table in (stated, stated, contradicting(filings(["GREEN-1"], version=3), [PAYER])):
        await house.desk.consume(table)
    assert await changes(house, mrn) == ["DECIDED", "AMENDED", "CONTRADICTED", "AMENDED"]
    assert list((await status(house, mrn)).contradictions) == [shown(PAYER, version=3)]
    # The earlier version again, after the one that replaced it.
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=4), []))
    await house.desk.consume(stated)
    assert (await status(house, mrn)).contradiction_count == 0


@pytest.mark.parametrize("together", [False, True])
async def test_versions_that_come_together_lead_to_the_same_contradictions(house: House, together: bool) -> None:
    versions = [
        filings(["GREEN-1"]),
        contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1),
        filings(["GREEN-1"], version=3),
        contradicting(filings(["GREEN-1"], version=4), [BUYER._replace(first_version=3)]),
    ]
    if together:
        await house.desk.consume(*versions)
    else:
        for table in versions:
            await house.desk.consume(table)
    (mrn,) = mrns(versions[0])
    seen = await status(house, mrn)
    assert list(seen.contradictions) == [shown(BUYER._replace(first_version=3), version=4)]
    assert (seen.filing.version, seen.state) == (4, pb.STATE_AWAITING_ARRIVAL)


async def test_a_contradiction_of_released_goods_is_shown_and_listed_and_undoes_no_state(house: House) -> None:
    table = filings(["GREEN-1", "RED-2"])
    await house.desk.consume(table)
    released, held = mrns(table)
    await arrive(house)
    assert [await state(house, each) for each in (released, held)] == ["RELEASED", "HELD"]
    late = contradicting(filings(["GREEN-1", "RED-2"], version=2), [PAYER], [BUYER], unchanged_since=1)
    await house.desk.consume(late)
    assert [await state(house, each) for each in (released, held)] == ["RELEASED", "HELD"]
    for mrn, each in ((released, PAYER), (held, BUYER)):
        seen = await status(house, mrn)
        assert (list(seen.contradictions), seen.filing.version) == ([shown(each, version=2)], 1)
        assert (await changes(house, mrn))[-1] == "CONTRADICTED"
    # Released goods are at the disposal of their owner: their status shows it, and no officer is to decide anything.
    assert {each.mrn for each in await listed(house)} == {held}
    # Nobody amended anything, so nothing of an amendment is refused.
    assert [each.kind for each in await notices(house)][-2:] == [CONTRADICTED, CONTRADICTED]
    assert not [each for each in await notices(house) if each.kind == REFUSED]


async def test_a_refused_amendment_neither_ends_nor_adds_a_contradiction_of_the_version_that_counts(
    house: House,
) -> None:
    (mrn,) = mrns(filings(["GREEN-1"]))
    await house.desk.consume(filings(["GREEN-1"]))
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1))
    await arrive(house)
    # The filer amends its value so that it agrees, too late: the version that counts still contradicts the part.
    await house.desk.consume(filings(["GREEN-1"], version=3))
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=4), [], unchanged_since=3))
    assert list((await status(house, mrn)).contradictions) == [shown(PAYER, version=2)]
    # An element that only the refused version has is none of it; one that was there before is added.
    late = BUYER._replace(first_version=5)
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=6), [late], unchanged_since=5))
    assert list((await status(house, mrn)).contradictions) == [shown(PAYER, version=2)]
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=7), [BUYER], unchanged_since=5))
    seen = await status(house, mrn)
    assert (list(seen.contradictions), seen.contradiction_count) == (
        [shown(PAYER, version=2), shown(BUYER, version=7)],
        2,
    )
    assert len([each for each in await notices(house) if each.kind == REFUSED]) == 1, (
        "of the version that the filer filed, and of none that only states contradictions"
    )


async def test_a_contradiction_between_an_amendment_and_its_parts_ends_with_the_values_that_count(house: House) -> None:
    """The filer's version applies and agrees, the goods arrive, and only then ingestion states that nothing contradicts."""
    (mrn,) = mrns(filings(["GREEN-1"]))
    await house.desk.consume(filings(["GREEN-1"]))
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1))
    await house.desk.consume(filings(["GREEN-1"], version=3))
    await arrive(house)
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=4), []))
    seen = await status(house, mrn)
    assert (list(seen.contradictions), seen.state, seen.filing.version) == ([], pb.STATE_RELEASED, 3)


async def test_the_event_is_recorded_in_every_state_that_is_not_final(house: House) -> None:
    names = ["GREEN-1", "RED-2", "RED-3", "RED-4", "RED-5"]
    table = filings(names)
    await house.desk.consume(table)
    await arrive(house)
    _, held, documents, seized, destroyed = mrns(table)
    await ordered(house, order(documents))
    await dispose(house, disposal(seized, SEIZED))
    await dispose(house, disposal(destroyed, DESTROYED), request_id="d2")
    states = ["RELEASED", "HELD", "DOCUMENTS_REQUESTED", "SEIZED", "DESTROYED"]
    assert [await state(house, each) for each in mrns(table)] == states
    await house.desk.consume(contradicting(filings(names, version=2), *([PAYER] for _ in names), unchanged_since=1))
    assert [await state(house, each) for each in mrns(table)] == states
    # What is final stays as it is; ingestion still shows its contradictions.
    counts = [(await status(house, each)).contradiction_count for each in mrns(table)]
    assert counts == [1, 1, 1, 1, 0]
    assert {each.mrn for each in await listed(house)} == {held, documents, seized}
    assert (await changes(house, destroyed))[-1] == "DISPOSED"


async def test_the_list_has_the_oldest_first_by_office_until_the_last_contradiction_ends(house: House) -> None:
    names = [f"GREEN-{number}" for number in range(1, 5)]
    table = contradicting(filings(names), *([PAYER] for _ in names))
    accepted = table.ints("accepted_at").values
    table = table.with_columns({"accepted_at": Ints.of(accepted - [0, 2_000_000, 1_000_000, 0])})
    await house.desk.consume(table)
    numbers = mrns(table)
    ties = sorted([numbers[0], numbers[3]])
    order_of_list = [numbers[1], numbers[2], *ties]
    for role, size in (("officer", 0), ("analyst", 1), ("officer", 3)):
        assert [each.mrn for each in await listed(house, role, page_size=size)] == order_of_list
    assert await listed(house, office="NONE") == []
    found = (await listed(house))[0]
    assert (list(found.contradictions), found.contradiction_count) == ([shown(PAYER, version=1)], 1)
    assert found.state == pb.STATE_AWAITING_ARRIVAL
    await house.desk.consume(contradicting(filings([names[1]], version=2), []))
    assert [each.mrn for each in await listed(house)] == order_of_list[1:]
    assert await house.desk.inconsistencies() == []


async def test_a_page_of_the_list_ends_with_a_number_of_contradictions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_service, "CONTRADICTIONS_A_PAGE", 3)
    names = [f"GREEN-{number}" for number in range(1, 6)]
    table = contradicting(filings(names), *([PAYER, BUYER] for _ in names), count=40)
    await house.desk.consume(table)
    assert sorted(each.mrn for each in await listed(house)) == sorted(mrns(table))
    assert {each.contradiction_count for each in await listed(house)} == {40}


async def test_goods_leave_the_list_with_a_final_state(house: House) -> None:
    table = contradicting(filings(["RED-1"]), [PAYER])
    await house.desk.consume(table)
    await arrive(house)
    (mrn,) = mrns(table)
    assert [each.mrn for each in await listed(house)] == [mrn]
    await dispose(house, disposal(mrn, DESTROYED))
    assert await listed(house) == []
    assert (await status(house, mrn)).contradiction_count == 1
    assert await house.desk.inconsistencies() == []


async def test_a_version_that_completes_the_filing_of_presented_goods_states_its_contradictions_too(
    house: House,
) -> None:
    def lacking(table: Table, *roles: int) -> Table:
        return table.with_columns({"missing_roles": Ragged.of_lengths([len(roles)], Ints.of(list(roles)))})

    await house.desk.consume(lacking(filings(["GREEN-1"]), PARTY_ROLE_CARRIER))
    await arrive(house)
    (mrn,) = mrns(filings(["GREEN-1"]))
    late = filings(["GREEN-1"], version=2)
    late = late.with_columns({"completed_versions": Ragged.of_lengths([1], Ints.of([1]))})
    await house.desk.consume(contradicting(late, [PAYER]))
    seen = await status(house, mrn)
    assert (seen.state, seen.filing.version, list(seen.contradictions)) == (
        pb.STATE_RELEASED,
        2,
        [shown(PAYER, version=2)],
    )


async def test_risk_reads_the_contradictions_with_the_version_that_states_them(house: House) -> None:
    """A rule that selects by them holds goods that are not there yet, and undoes no release."""

    def selecting(table: Table) -> Table:
        lane = np.where(table.ints("contradiction_count").filled(0) > 0, LANE_RED, LANE_GREEN)
        return risk_answer(table).with_columns({"lane": Ints.of(lane)})

    house.desk.neighbours.risk = selecting
    coming, there = filings(["GREEN-1"]), filings(["GREEN-2"], master="16000000001")
    await house.desk.consume(coming, there)
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals("16000000001"), timeout=SECONDS)
    (first,), (second,) = mrns(coming), mrns(there)
    assert [await state(house, each) for each in (first, second)] == ["AWAITING_ARRIVAL", "RELEASED"]
    await house.desk.consume(
        contradicting(filings(["GREEN-1"], version=2), [PAYER], unchanged_since=1),
        contradicting(filings(["GREEN-2"], master="16000000001", version=2), [PAYER], unchanged_since=1),
    )
    assert [await state(house, each) for each in (first, second)] == ["HELD", "RELEASED"]
    assert [(await status(house, each)).contradiction_count for each in (first, second)] == [1, 1]


async def test_an_officer_may_release_what_is_contradicted(house: House) -> None:
    table = contradicting(filings(["RED-1"]), [PAYER])
    await house.desk.consume(table)
    (mrn,) = mrns(table)
    await release(house, mrn)
    assert (await state(house, mrn), (await status(house, mrn)).contradiction_count) == ("AWAITING_ARRIVAL", 1)


async def test_the_text_of_the_notice_names_the_elements_and_only_the_values_of_the_filer(house: House) -> None:
    await house.desk.consume(contradicting(filings(["GREEN-1"]), [PAYER, BUYER]))
    await house.desk.consume(contradicting(filings(["GREEN-1"], version=2), []))
    await house.desk.told()
    stub = await house.stub("filer", "shop")
    found = (await stub.PullNotices(pb.PullNoticesRequest(language="en"), timeout=SECONDS)).notices
    first, last = [each for each in found if each.kind == CONTRADICTED]
    assert (first.title, last.title) == ("Parts contradict the filing", "Parts agree with the filing")
    assert "Elements: payment.payer (Bob Example); buyer.name. An officer" in first.text
    assert "Ada Example" not in first.text
    assert "Eve Example" not in first.text
