"""A filing with the minimum set is assessed before loading, is not complete for the declaration, and is released once an amendment completes it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.consignment.decision import CUSTOMS_CHECK, INCOMPLETE
from services.clearance.consignment.transitions import Debt
from services.clearance.jobs.waits import Waits
from services.clearance.pre_loading.stages import early_of
from tests.clearance.controls import (
    EXAMINATION,
    arrive,
    concluded,
    conclusion,
    hold,
    notices,
    order,
    ordered,
    release,
    state,
)
from tests.clearance.desk import ACCEPTED_AT, MASTER, completing, filings, mrns, revenue_answer, risk_answer
from tests.clearance.events import DAY_MICROS, Driver
from tests.clearance.goods import MEAT, goods, law
from tests.clearance.inspections import inspection, record, status
from tests.clearance.loading import INFORMATION, NONE, parameters, recommending
from tests.clearance.risk_answers import screening
from tests.clearance.screening_matches import hear
from tests.clearance.service_client import House, ask
from tests.ingestion.consignments import clear

COMPLETE, REFERRED = control_pb2.PRE_LOADING_COMPLETE, control_pb2.PRE_LOADING_REFERRED
MINUTE = 60_000_000
SIMPLIFIED, FULL = common_pb2.FILING_STAGE_SIMPLIFIED, common_pb2.FILING_STAGE_FULL


Change = Callable[[int, consignment_pb2.Consignment], None]


def early(_: int, row: consignment_pb2.Consignment) -> None:
    for path in ("nature", "items[0].price", "items[0].commodity_code"):
        clear(row, path)


def without_prices(table: Table) -> Table:
    """Answer as revenue does, which has no figures where no item has a price."""
    answer = revenue_answer(table)
    owners = table.ragged("items").owners()
    priced = np.bincount(owners[table.child("items").ints("price_minor").valid], minlength=table.rows) > 0
    figures = {
        name: Ints.of(answer.ints(name).values, priced)
        for name in ("intrinsic_value", "customs_value", "duty", "tax", "fee", "collected_by_customs")
    }
    unvalued = Strings.of(np.where(priced, "", "UNVALUED").tolist())
    return answer.with_columns({**figures, "reason": unvalued}).take(np.arange(table.rows))


async def file(house: House, references: list[str], recommended: int = NONE, change: Change = early) -> list[str]:
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.revenue = without_prices
    house.desk.neighbours.loading = recommending(lambda _, version: recommended if version == 1 else NONE, [])
    table = filings(references, change=change)
    await house.desk.consume(table)
    return mrns(table)


def gaps(seen: pb.ConsignmentStatus) -> dict[int, set[str]]:
    return {each.stage: set(each.missing_elements) for each in seen.incomplete_stages}


async def test_the_minimum_set_is_assessed_before_loading_and_the_status_names_what_it_lacks(house: House) -> None:
    (mrn,) = await file(house, ["GREEN-1"])
    for role, ident in (("officer", "olga"), ("filer", "shop")):
        seen = await status(house, mrn, role, ident)
        assert seen.pre_loading == COMPLETE, "the goods may be loaded"
        assert (seen.state, Debt(seen.debt.status)) == (pb.STATE_HELD, Debt.UNKNOWN)
        assert list(seen.decision.reasons) == [INCOMPLETE]
        assert {"nature", "items.commodity_code", "items.price_minor"} <= gaps(seen)[SIMPLIFIED] & gaps(seen)[FULL]
        assert common_pb2.FILING_STAGE_PRE_LOADING not in gaps(seen)
    carrier = await house.stub("carrier", "wings")
    (carried,) = await ask(carrier, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    assert not carried.consignments[0].incomplete_stages
    read = await notices(house)
    assert [list(each.reasons) for each in read if each.kind == pb.NOTICE_KIND_HELD] == [[INCOMPLETE]]


async def test_goods_are_released_on_arrival_if_an_amendment_completed_the_filing_before(house: House) -> None:
    numbers = await file(house, ["GREEN-1", "GREEN-2"])
    await house.desk.consume(filings(["GREEN-1"], version=2))
    awaiting = await status(house, numbers[0])
    assert (awaiting.state, gaps(awaiting)) == (pb.STATE_AWAITING_ARRIVAL, {})
    await arrive(house)
    complete, incomplete = [await status(house, mrn) for mrn in numbers]
    assert (complete.state, complete.filing.version, gaps(complete)) == (pb.STATE_RELEASED, 2, {})
    assert (incomplete.state, list(incomplete.decision.reasons)) == (pb.STATE_HELD, [INCOMPLETE])
    await house.desk.consume(filings(["GREEN-2"], version=2))
    late = await status(house, numbers[1])
    assert (late.state, list(late.decision.reasons), late.filing.version) == (pb.STATE_HELD, [INCOMPLETE], 1)
    refused = [each.mrn for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED]
    assert refused == [numbers[1]], "arrived goods count as presented, where presentation is no act of its own"


async def test_presented_goods_continue_with_a_version_that_completes_their_filing_and_changes_nothing(
    house: House,
) -> None:
    names = ["GREEN-1", "BARE-2", "RED-3"]
    free, owing, red = await file(house, names)
    await arrive(house)
    # A version that completes another one than that which clearance applied, or none, changes something of the filing.
    await house.desk.consume(filings(names, version=2), completing(filings(names, version=3), 2))
    assert [await state(house, mrn) for mrn in (free, owing, red)] == ["HELD"] * 3
    await house.desk.consume(completing(filings(names, version=4), 1, 2))
    seen = [await status(house, mrn) for mrn in (free, owing, red)]
    assert [each.state for each in seen] == [pb.STATE_RELEASED, pb.STATE_HELD, pb.STATE_HELD]
    assert [each.filing.version for each in seen] == [4, 4, 4]
    assert [gaps(each) for each in seen] == [{}, {}, {}]
    assert [list(each.decision.reasons) for each in seen] == [[], ["DEBT_OPEN"], ["VALUE_IMPLAUSIBLY_LOW"]]
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        kinds = [each.kind for each in await notices(house, role, ident) if each.mrn == free]
        assert kinds[-1] == pb.NOTICE_KIND_RELEASED
    refused = [each for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED]
    assert {(each.mrn, each.filing_version) for each in refused} == {
        (each, version) for each in (free, owing, red) for version in (2, 3)
    }
    assert len(refused) == 6
    # The declaration is complete: whatever adds to it comes too late now.
    await house.desk.consume(completing(filings(names[1:], version=5), 4))
    assert [(await status(house, mrn)).filing.version for mrn in (owing, red)] == [4, 4]


async def test_a_completion_takes_presented_goods_from_no_examination_and_yellow_goods_follow_risk(
    house: House,
) -> None:
    def answers(table: Table) -> Table:
        """Answer as risk does that selects none of the complete filings."""
        first = table.ints("version").values == 1
        names = zip(first.tolist(), table.strings("local_reference").tolist(), strict=True)
        return risk_answer(
            table.with_columns(
                {
                    "local_reference": Strings.of(
                        [name.replace("BARE", "RED") if one else "GREEN" for one, name in names]
                    )
                }
            )
        )

    house.desk.neighbours.risk = answers
    names = ["RED-1", "YELLOW-2", "BARE-4", "RED-3"]
    red, yellow, owing, moving = await file(house, names)
    # Before the presentation the assessment of the new version alone counts.
    await house.desk.consume(completing(filings(names[3:], version=2), 1))
    assert await state(house, moving) == "AWAITING_ARRIVAL"
    await arrive(house)
    await house.desk.consume(completing(filings(names[:3], version=2), 1))
    seen = await status(house, red)
    assert (seen.state, seen.decision.lane, list(seen.decision.reasons)) == (
        pb.STATE_HELD, common_pb2.LANE_RED, ["VALUE_IMPLAUSIBLY_LOW"],
    )  # fmt: skip
    assert (seen.filing.version, gaps(seen)) == (2, {})
    assert await state(house, yellow) == "RELEASED"
    # A payment releases nothing that the lane holds.
    assert list((await status(house, owing)).decision.reasons) == ["VALUE_IMPLAUSIBLY_LOW", "DEBT_OPEN"]
    await Driver(house.desk).debt(owing, Debt.PAID, 380)
    seen = await status(house, owing)
    assert (seen.state, list(seen.decision.reasons)) == (pb.STATE_HELD, ["VALUE_IMPLAUSIBLY_LOW"])
    await release(house, red)
    assert await state(house, red) == "RELEASED"


async def test_a_completion_lifts_no_hold_ends_no_control_and_changes_nothing_that_customs_examines(
    house: House,
) -> None:
    names = ["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4", "GREEN-5"]
    by_officer, asked, examined, inspected, given_up = await file(house, names)
    await arrive(house)
    await hold(house, by_officer)
    await ordered(house, order(asked), order(examined, EXAMINATION, reason="LOOK"))
    await record(house, inspection(inspected))
    await release(house, given_up)
    await house.desk.consume(completing(filings(names, version=2), 1))
    numbers = (by_officer, asked, examined, inspected, given_up)
    expected = ["HELD", "DOCUMENTS_REQUESTED", "EXAMINATION", "HELD", "RELEASED"]
    assert [await state(house, mrn) for mrn in numbers] == expected
    assert [(await status(house, mrn)).filing.version for mrn in numbers] == [2, 2, 1, 1, 1]
    refused = [each.mrn for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED]
    assert sorted(refused) == sorted(numbers[2:])
    assert INCOMPLETE not in (await status(house, by_officer)).decision.reasons
    await concluded(house, conclusion(asked))
    assert await state(house, asked) == "RELEASED", "nothing but the control held the complete filing"
    await release(house, by_officer, request_id="r2")
    assert await state(house, by_officer) == "RELEASED"


async def test_what_customs_released_is_completed_by_nobody_though_an_officer_holds_it_again(house: House) -> None:
    (mrn,) = await file(house, ["GREEN-1"])
    await arrive(house)
    await release(house, mrn)
    await hold(house, mrn)
    await house.desk.consume(completing(filings(["GREEN-1"], version=2), 1))
    seen = await status(house, mrn)
    assert (seen.state, seen.filing.version) == (pb.STATE_HELD, 1)
    refused = [each for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED]
    assert [(each.mrn, each.filing_version) for each in refused] == [(mrn, 2)]


async def test_a_completion_changes_nothing_of_the_time_in_temporary_storage(house: House) -> None:
    (mrn,) = await file(house, ["BARE-1"])
    await arrive(house)
    waits, now = Waits(house.desk.store, "r"), await house.desk.store.database.now()
    for version, days, kind in ((2, 80, pb.NOTICE_KIND_STORAGE_REMINDED), (3, 100, pb.NOTICE_KIND_STORAGE_ENDED)):
        await waits.step(at=now + days * DAY_MICROS)
        some = filings(["BARE-1"], version=version, change=early if version == 2 else None)
        await house.desk.consume(completing(some, version - 1))
        await waits.step(at=now + days * DAY_MICROS)
        assert (await status(house, mrn)).filing.version == version
        assert [each.kind for each in await notices(house)].count(kind) == 1


async def test_goods_that_controls_list_are_not_released_with_the_completion_before_these_are_ordered(
    house: House,
) -> None:
    house.desk.decide.goods = law()
    names = ["GREEN-1", "GREEN-2"]

    def bound(number: int, row: consignment_pb2.Consignment) -> None:
        row.destination_country, row.consignee.address.country = ("DE", "CH")[number], "CH"

    def unbound(number: int, row: consignment_pb2.Consignment) -> None:
        early(number, row)
        bound(1, row)
        row.ClearField("destination_country")

    listed, elsewhere = await file(house, names, change=unbound)
    await arrive(house)
    await house.desk.consume(completing(goods(names, MEAT, version=2, change=bound), 1))
    assert [await state(house, mrn) for mrn in (listed, elsewhere)] == ["EXAMINATION", "AWAITING_ARRIVAL"]
    await Waits(house.desk.store, "r").step(at=await house.desk.store.database.now() + MINUTE)
    assert [await state(house, mrn) for mrn in (listed, elsewhere)] == ["EXAMINATION", "RELEASED"]


async def test_a_referral_before_loading_and_the_completion_end_separately(house: House) -> None:
    (mrn,) = await file(house, ["GREEN-1"], INFORMATION)
    seen = await status(house, mrn)
    assert (seen.pre_loading, seen.decision.reasons[0]) == (REFERRED, INCOMPLETE)
    # The next version has the minimum set again: risk requests nothing more, and the declaration is still awaited.
    await house.desk.consume(filings(["GREEN-1"], version=2, change=early))
    seen = await status(house, mrn)
    assert (seen.pre_loading, INCOMPLETE in seen.decision.reasons) == (COMPLETE, True)
    await house.desk.consume(filings(["GREEN-1"], version=3))
    seen = await status(house, mrn)
    assert (seen.state, gaps(seen)) == (pb.STATE_AWAITING_ARRIVAL, {})


async def test_what_another_lane_holds_has_both_reasons(house: House) -> None:
    (mrn,) = await file(house, ["RED-1"])
    assert list((await status(house, mrn)).decision.reasons) == ["VALUE_IMPLAUSIBLY_LOW", INCOMPLETE]


async def test_what_a_match_holds_loses_the_reason_of_the_filing_with_its_completion_alone(house: House) -> None:
    numbers = await file(house, ["GREEN-1", "GREEN-2"])
    await hear(house.desk, screening(filings(["GREEN-1", "GREEN-2"])))
    assert [list((await status(house, mrn)).decision.reasons) for mrn in numbers] == [[INCOMPLETE, CUSTOMS_CHECK]] * 2
    await house.desk.consume(filings(["GREEN-1"], version=2))
    await house.desk.consume(filings(["GREEN-2"], version=2, change=early))
    complete, incomplete = [await status(house, mrn) for mrn in numbers]
    assert (complete.pre_loading, incomplete.pre_loading) == (REFERRED, REFERRED), "both are held"
    assert (list(complete.decision.reasons), gaps(complete)) == ([CUSTOMS_CHECK], {})
    assert list(incomplete.decision.reasons) == [INCOMPLETE, CUSTOMS_CHECK]
    assert gaps(incomplete)


def test_declarations_have_no_stages_and_states_no_column() -> None:
    declared = early_of(filings(["GREEN-1", "GREEN-2"]))
    assert (declared.columns, declared.rows.tolist()) == ({}, [False, False])
    assert declared.reasons(Strings.of(["NO_RULEBOOK", ""])).tolist() == ["NO_RULEBOOK", ""]
    mixed = early_of(filings(["GREEN-1", "GREEN-2"], change=lambda number, row: early(0, row) if number else None))
    assert mixed.rows.tolist() == [False, True]
    assert mixed.columns["incomplete_stages"].lengths.tolist() == [0, 3]  # type: ignore[union-attr]
    assert mixed.reasons(Strings.of(["NO_RULEBOOK", ""])).tolist() == ["NO_RULEBOOK", INCOMPLETE]


@pytest.mark.parametrize(("minutes", "late"), [(240, False), (239, True)])
async def test_the_status_says_that_a_filing_came_late_whatever_amends_it(
    house: House, minutes: int, late: bool
) -> None:
    """A flight of more than 4 hours is declared 4 hours before its arrival."""

    def flying(_: int, row: consignment_pb2.Consignment) -> None:
        row.transport.departure_time.FromMicroseconds(ACCEPTED_AT - 600 * MINUTE)
        row.transport.arrival_time.FromMicroseconds(ACCEPTED_AT + minutes * MINUTE)

    house.desk.neighbours.revenue = without_prices
    first = filings(["GREEN-1", "GREEN-2"], change=lambda number, row: None if number else flying(0, row))
    await house.desk.consume(first)
    (mrn, other), read = mrns(first), (("officer", "olga"), ("analyst", "ann"), ("filer", "shop"))
    assert [(await status(house, mrn, *each)).filing.late for each in read] == [late] * 3
    assert not (await status(house, other)).filing.late
    carrier = await house.stub("carrier", "wings")
    (carried,) = await ask(carrier, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    assert not any(each.filing.late for each in carried.consignments)
    # An amendment in time does not mend it, and one that comes late does not make a filing late that came in time.
    await house.desk.consume(filings(["GREEN-1"], version=2))
    await house.desk.consume(filings(["GREEN-2"], version=2, change=flying))
    assert [(await status(house, each)).filing.late for each in (mrn, other)] == [late, False]


@pytest.mark.parametrize(("minutes", "late"), [(240, False), (239, True)])
async def test_the_declaration_of_what_was_filed_before_it_has_a_deadline_of_its_own(
    house: House, minutes: int, late: bool
) -> None:
    """The deadline before loading is the departure; a flight of more than 4 hours is declared 4 hours before its arrival."""

    def flying(row: consignment_pb2.Consignment) -> None:
        row.transport.departure_time.FromMicroseconds(ACCEPTED_AT - 10 * MINUTE)
        row.transport.arrival_time.FromMicroseconds(ACCEPTED_AT + minutes * MINUTE)

    def before_loading(_: int, row: consignment_pb2.Consignment) -> None:
        early(0, row)
        row.transport.departure_time.FromMicroseconds(ACCEPTED_AT + MINUTE)

    house.desk.neighbours.revenue = without_prices
    first = filings(["GREEN-1", "GREEN-2"], change=before_loading)
    await house.desk.consume(first)
    declared, corrected = mrns(first)
    assert [(await status(house, each)).filing.late for each in (declared, corrected)] == [False, False]
    # A correction that is still no declaration has no deadline of its own.
    await house.desk.consume(filings(["GREEN-2"], version=2, change=lambda _, row: (early(0, row), flying(row))[0]))
    assert not (await status(house, corrected)).filing.late
    await house.desk.consume(filings(["GREEN-1"], version=2, change=lambda _, row: flying(row)))
    assert (await status(house, declared)).filing.late == late
    # Nothing mends it, and amendments of a declaration are not late.
    await house.desk.consume(filings(["GREEN-1"], version=3, change=lambda _, row: None))
    assert (await status(house, declared)).filing.late == late


@pytest.mark.parametrize("pages", ["one by one", "all at once", "the first alone"])
@pytest.mark.parametrize(
    ("stages", "late"),
    [
        # Of each version in order: whether it is a declaration, and whether it is after the deadline of its kind.
        ([("declaration", False), ("declaration", True)], False),
        ([("declaration", True), ("declaration", False)], True),
        ([("declaration", False), ("declaration", False), ("declaration", True)], False),
        ([("minimum", False), ("declaration", False), ("declaration", True)], False),
        ([("minimum", False), ("declaration", True), ("declaration", False)], True),
        ([("minimum", False), ("minimum", True), ("declaration", False)], False),
        ([("minimum", True), ("declaration", False), ("declaration", False)], True),
        ([("minimum", False), ("minimum", False), ("declaration", True)], True),
    ],
)
async def test_only_the_first_version_and_the_declaration_have_a_deadline_however_many_come_together(
    house: House, stages: list[tuple[str, bool]], *, late: bool, pages: str
) -> None:
    """docs/preloading.md, Deadlines: before loading it is the departure; a flight of more than 4 hours is declared 4 hours before its arrival."""

    def version(number: int, stage: str, *, missed: bool) -> Table:
        def change(_: int, row: consignment_pb2.Consignment) -> None:
            minutes = -1 if missed else 300
            if stage == "minimum":
                early(0, row)
                row.transport.departure_time.FromMicroseconds(ACCEPTED_AT + minutes * MINUTE)
                row.transport.arrival_time.FromMicroseconds(ACCEPTED_AT + 900 * MINUTE)
            else:
                row.transport.departure_time.FromMicroseconds(ACCEPTED_AT - 600 * MINUTE)
                row.transport.arrival_time.FromMicroseconds(ACCEPTED_AT + (240 + minutes) * MINUTE)

        return filings(
            ["GREEN-1", "GREEN-2"], version=number, change=lambda row, each: None if row else change(0, each)
        )

    house.desk.neighbours.revenue = without_prices
    versions = [version(number, stage, missed=missed) for number, (stage, missed) in enumerate(stages, start=1)]
    first = {"one by one": 1, "all at once": len(versions), "the first alone": 1}[pages]
    await house.desk.consume(*versions[:first])
    rest = versions[first:]
    for some in [[each] for each in rest] if pages == "one by one" else [rest] if rest else []:
        await house.desk.consume(*some)
    assert [(await status(house, each)).filing.late for each in mrns(versions[0])] == [late, False]
    assert (await status(house, mrns(versions[0])[0])).filing.version == len(stages)
