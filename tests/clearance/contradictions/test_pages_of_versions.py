"""However the feed is cut into pages: which versions come too late, what they contradict, and that a contradiction alone decides nothing.

The oracle is the sequence with one version a page; the rules are in docs/parts.md, "What becomes of a contradiction".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from libs.columns import Ints, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.common.v1.common_pb2 import LANE_GREEN, LANE_RED
from luxor.consignment.v1 import consignment_pb2
from services.clearance.consignment.decision import INCOMPLETE
from services.clearance.consignment.screening import ALARM
from services.clearance.feeds import filings as intake
from tests.clearance.contradicting import listed, shown
from tests.clearance.controls import arrive, concluded, conclusion, hold, notices, order, ordered, release, state
from tests.clearance.desk import completing, filings, mrns, risk_answer
from tests.clearance.inspections import status
from tests.clearance.loading import INFORMATION, NONE, parameters, recommending
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.service_client import House
from tests.support.contradicting import BUYER, PAYER, contradicting

REFUSED = pb.NOTICE_KIND_AMENDMENT_REFUSED
NAME = "GREEN-1"
(MRN,) = mrns(filings([NAME]))


def filed(version: int) -> Table:
    """A version of the filer."""
    return filings([NAME], version=version)


def stated(version: int, since: int, *contradictions: object, name: str = NAME) -> Table:
    """A version of ingestion that changes no element since another one."""
    return contradicting(filings([name], version=version), list(contradictions), unchanged_since=since)  # type: ignore[arg-type]


def pages(count: int) -> list[tuple[int, ...]]:
    """Return all ways to cut a feed of `count` versions: where further pages begin."""
    return [cuts for size in range(count) for cuts in combinations(range(1, count), size)]


async def consume(house: House, versions: Sequence[Table], cuts: Sequence[int]) -> None:
    for begin, end in zip((0, *cuts), (*cuts, len(versions)), strict=True):
        await house.desk.consume(*versions[begin:end])


async def refused(house: House) -> list[int]:
    return [each.filing_version for each in await notices(house) if each.kind == REFUSED]


@pytest.mark.parametrize("cuts", pages(5))
async def test_each_version_of_the_filer_that_comes_too_late_is_refused_once(
    house: House, cuts: tuple[int, ...]
) -> None:
    await house.desk.consume(filed(1))
    await arrive(house)
    versions = [filed(2), stated(3, 2, PAYER), filed(4), filed(5), stated(6, 5, PAYER)]
    await consume(house, versions, cuts)
    assert await refused(house) == [2, 4, 5]
    assert (await state(house, MRN), (await status(house, MRN)).filing.version) == ("RELEASED", 1)
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize("cuts", pages(3))
async def test_a_contradiction_is_recorded_though_a_refused_version_follows_it(
    house: House, cuts: tuple[int, ...]
) -> None:
    (mrn,) = mrns(filings(["RED-1"]))
    await house.desk.consume(filings(["RED-1"]))
    await arrive(house)
    # The filer's third version agrees with the part, too late: the one that counts contradicts it.
    versions = [
        stated(2, 1, PAYER, name="RED-1"),
        filings(["RED-1"], version=3),
        stated(4, 3, name="RED-1"),
    ]
    await consume(house, versions, cuts)
    seen = await status(house, mrn)
    assert (list(seen.contradictions), seen.contradiction_count) == ([shown(PAYER, version=2)], 1)
    assert (seen.filing.version, seen.state) == (1, pb.STATE_HELD)
    assert [each.mrn for each in await listed(house)] == [mrn]
    assert await refused(house) == [3]
    assert await house.desk.inconsistencies() == []


async def test_the_parts_that_are_assessed_by_themselves_change_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of two filings come in one page, and each is assessed by a call of its own, the later ones first."""
    monkeypatch.setattr(intake, "ROWS_A_CALL", 1)
    names = [NAME, "RED-2"]
    await house.desk.consume(filings(names))
    await arrive(house)
    await house.desk.consume(
        stated(4, 3, name="RED-2"), filings(names, version=3), filed(2), stated(2, 1, PAYER, name="RED-2"), filed(2)
    )
    first, second = mrns(filings(names))
    seen = [await status(house, each) for each in (first, second)]
    assert [(each.filing.version, each.contradiction_count) for each in seen] == [(1, 0), (1, 1)]
    found = [(each.mrn, each.filing_version) for each in await notices(house) if each.kind == REFUSED]
    assert sorted(found) == sorted([(first, 2), (first, 3), (second, 3)])
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize("cuts", pages(2))
async def test_what_completes_the_filing_counts_though_a_refused_version_follows_it(
    house: House, cuts: tuple[int, ...]
) -> None:
    def early(_: int, row: consignment_pb2.Consignment) -> None:
        row.ClearField("nature")
        row.items[0].ClearField("price")
        row.items[0].ClearField("commodity_code")

    await house.desk.consume(filings([NAME], change=early))
    await arrive(house)
    assert list((await status(house, MRN)).decision.reasons) == [INCOMPLETE]
    await consume(house, [completing(filed(2), 1), filed(3)], cuts)
    seen = await status(house, MRN)
    assert (seen.state, seen.filing.version) == (pb.STATE_RELEASED, 2)
    assert await refused(house) == [3]
    assert [each.state for each in await notices(house) if each.kind == REFUSED] == [pb.STATE_RELEASED]
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize("cuts", pages(3))
async def test_the_alarms_of_all_refused_versions_hold_the_goods(house: House, cuts: tuple[int, ...]) -> None:
    plain = answering({})
    alarm = answering({NAME: ServiceSpan(cause=1, open=(ALARM,))})

    def second_alarms(table: Table) -> Table:
        rows = [np.array([row]) for row in range(table.rows)]
        some = [table.take(row) for row in rows]
        return Table.concat([alarm(each) if each.ints("version").values[0] == 2 else plain(each) for each in some])

    house.desk.neighbours.risk = second_alarms
    await house.desk.consume(filed(1))
    await arrive(house)
    await consume(house, [filed(2), filed(3), stated(4, 3, PAYER)], cuts)
    assert await state(house, MRN) == "HELD"
    assert (await house.desk.states([MRN])).child("findings").strings("reason").tolist() == [ALARM]
    assert await refused(house) == [2, 3]
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize("cuts", pages(2))
async def test_an_officers_release_stays_when_only_contradictions_change(house: House, cuts: tuple[int, ...]) -> None:
    (mrn,) = mrns(filings(["RED-1"]))
    await house.desk.consume(filings(["RED-1"]))
    await release(house, mrn)
    versions = [stated(2, 1, PAYER, name="RED-1"), stated(3, 1, PAYER, BUYER, name="RED-1")]
    await consume(house, versions, cuts)
    seen = await status(house, mrn)
    assert (seen.state, seen.filing.version, seen.decision.decided_by) == (pb.STATE_AWAITING_ARRIVAL, 3, "olga")
    assert list(seen.contradictions) == [shown(PAYER, version=3), shown(BUYER, version=3)]
    changes = [pb.Change.Name(each.change) for each in reversed(seen.history)]
    assert changes[:2] == ["CHANGE_DECIDED", "CHANGE_OFFICER_RELEASED"]
    assert set(changes[2:]) == {"CHANGE_CONTRADICTED"}
    await arrive(house)
    assert await state(house, mrn) == "RELEASED"
    assert await refused(house) == []
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize("cuts", pages(2))
async def test_an_element_that_changes_before_the_contradictions_is_decided_again(
    house: House, cuts: tuple[int, ...]
) -> None:
    (mrn,) = mrns(filings(["RED-1"]))
    await house.desk.consume(filings(["RED-1"]))
    await release(house, mrn)
    await consume(house, [filings(["RED-1"], version=2), stated(3, 2, PAYER, name="RED-1")], cuts)
    seen = await status(house, mrn)
    assert (seen.state, seen.filing.version, seen.contradiction_count) == (pb.STATE_HELD, 3, 1)
    assert await house.desk.inconsistencies() == []


async def test_a_rule_on_contradictions_holds_what_no_officer_released_and_lowers_no_lane(house: House) -> None:
    def selecting(table: Table) -> Table:
        count = table.ints("contradiction_count").filled(0)
        answer = risk_answer(table)
        lane = np.where(count > 1, LANE_RED, np.where(count > 0, LANE_GREEN, answer.ints("lane").values))
        return answer.with_columns({"lane": Ints.of(lane)})

    house.desk.neighbours.risk = selecting
    names = ["GREEN-1", "RED-2", "RED-3"]
    await house.desk.consume(filings(names))
    free, by_officer, by_risk = mrns(filings(names))
    await release(house, by_officer)
    await house.desk.consume(contradicting(filings(names, version=2), *([PAYER] for _ in names), unchanged_since=1))
    numbers = (free, by_officer, by_risk)
    assert [await state(house, each) for each in numbers] == ["AWAITING_ARRIVAL", "AWAITING_ARRIVAL", "HELD"]
    both = ([PAYER, BUYER] for _ in names)
    await house.desk.consume(contradicting(filings(names, version=3), *both, unchanged_since=1))
    assert [await state(house, each) for each in numbers] == ["HELD", "AWAITING_ARRIVAL", "HELD"]
    assert [(await status(house, each)).filing.version for each in numbers] == [3, 3, 3]
    assert await house.desk.inconsistencies() == []


async def test_what_is_stated_again_of_a_further_version_counts_of_that_version(house: House) -> None:
    """The filer's second version contradicts the part, too; a third one agrees, and comes too late."""
    (mrn,) = mrns(filings(["RED-1"]))
    await house.desk.consume(contradicting(filings(["RED-1"]), [PAYER]))
    await house.desk.consume(filings(["RED-1"], version=2))
    await release(house, mrn)
    await house.desk.consume(stated(3, 2, PAYER, name="RED-1"))
    await arrive(house)
    assert await state(house, mrn) == "RELEASED"
    await house.desk.consume(filings(["RED-1"], version=4))
    await house.desk.consume(stated(5, 4, name="RED-1"))
    assert list((await status(house, mrn)).contradictions) == [shown(PAYER, version=3)]


async def test_what_an_officer_found_in_order_stays_so_for_a_version_that_changes_no_element(house: House) -> None:
    (mrn,) = mrns(filings(["RED-1"]))
    await house.desk.consume(filings(["RED-1"]))
    await ordered(house, order(mrn))
    await concluded(house, conclusion(mrn))
    await house.desk.consume(stated(2, 1, PAYER, name="RED-1"))
    states = await house.desk.states([mrn])
    versions = states.child("controls").ints("filing_version").tolist()
    assert (states.ints("filing_version").tolist(), versions) == ([2], [2])
    # A version of the filer may change it.
    await house.desk.consume(filings(["RED-1"], version=3))
    states = await house.desk.states([mrn])
    versions = states.child("controls").ints("filing_version").tolist()
    assert (states.ints("filing_version").tolist(), versions) == ([3], [2])


async def test_a_rule_on_contradictions_refers_goods_before_they_are_loaded(house: House) -> None:
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda _, version: INFORMATION if version == 2 else NONE, [])
    await house.desk.consume(filed(1))
    assert (await status(house, MRN)).pre_loading == control_pb2.PRE_LOADING_COMPLETE
    await house.desk.consume(stated(2, 1, PAYER))
    assert (await status(house, MRN)).pre_loading == control_pb2.PRE_LOADING_REFERRED


async def test_goods_leave_the_list_with_their_release_and_return_to_it_when_an_officer_holds_them(
    house: House,
) -> None:
    await house.desk.consume(contradicting(filed(1), [PAYER]))
    assert [each.mrn for each in await listed(house)] == [MRN]
    await arrive(house)
    assert (await state(house, MRN), await listed(house)) == ("RELEASED", [])
    assert (await status(house, MRN)).contradiction_count == 1
    assert await house.desk.inconsistencies() == []
    await hold(house, MRN)
    assert [each.mrn for each in await listed(house)] == [MRN]


async def test_what_a_replica_of_the_release_before_leaves_in_the_list_is_removed_when_officers_read_it(
    house: House,
) -> None:
    await house.desk.consume(contradicting(filings([NAME, "RED-2"]), [PAYER], [PAYER]))
    replaced, stays = mrns(filings([NAME, "RED-2"]))
    async with house.desk.store.database.transaction() as tx:
        rows = [(await house.desk.store.lock(tx, [replaced]))[replaced]]
        states = await house.desk.store.states(tx, rows)
        # Such a replica writes a state without the columns that it does not have.
        columns = {name: each for name, each in states.columns.items() if not name.startswith("contradiction")}
        former = Table(states.schema, 1, columns | {"version": Ints.of(states.ints("version").values + 1)})
        await house.desk.store.succeed(tx, former, rows, trace="")
    assert [each.mrn for each in await listed(house)] == [stays]
    async with house.desk.store.database.connection() as reading:
        left = await reading.raw.fetch("select mrn from contradicted")
    assert [each["mrn"] for each in left] == [stays]
    assert await house.desk.inconsistencies() == []
