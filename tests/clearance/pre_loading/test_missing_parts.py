"""Goods of which a part is missing that their jurisdiction requires are held until a version has all parts, or an officer releases them."""

from __future__ import annotations

from collections.abc import Sequence

from libs.columns import Ints, Ragged, Table
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER as CARRIER_ROLE
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_PLATFORM as PLATFORM
from services.clearance.consignment.decision import CUSTOMS_CHECK, OFFICER_HOLD, PARTS_MISSING
from services.clearance.jobs.expiry import Expiry
from services.clearance.pre_loading.stages import missing_parts
from tests.clearance.controls import arrive, concluded, conclusion, hold, notices, order, ordered, release, state
from tests.clearance.desk import DAY, MASTER, completing, filings, mrns
from tests.clearance.events import Driver
from tests.clearance.inspections import status
from tests.clearance.risk_answers import screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.service_client import House, ask

DAYS = 200
"""After which goods that never arrive expire."""


def lacking(table: Table, *roles: Sequence[int]) -> Table:
    """Return filings of which each lacks parts of some roles, as ingestion announces them."""
    numbers = [role for each in roles for role in each]
    return table.with_columns({"missing_roles": Ragged.of_lengths([len(each) for each in roles], Ints.of(numbers))})


async def test_the_goods_are_held_until_a_version_has_all_parts_and_the_status_names_the_roles(house: House) -> None:
    names = ["GREEN-1", "GREEN-2", "YELLOW-3"]
    table = lacking(filings(names), [PLATFORM, CARRIER_ROLE], [], [CARRIER_ROLE])
    await house.desk.consume(table)
    numbers = mrns(table)
    for role, ident in (("officer", "olga"), ("analyst", "ann"), ("filer", "shop")):
        seen = await status(house, numbers[0], role, ident)
        assert (seen.state, list(seen.decision.reasons)) == (pb.STATE_HELD, [PARTS_MISSING])
        assert list(seen.missing_roles) == [PLATFORM, CARRIER_ROLE]
    carrier = await house.stub("carrier", "wings")
    (carried,) = await ask(carrier, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    assert not any(each.missing_roles for each in carried.consignments)
    other, yellow = [await status(house, mrn) for mrn in numbers[1:]]
    assert (other.state, list(other.missing_roles)) == (pb.STATE_AWAITING_ARRIVAL, [])
    assert list(yellow.decision.reasons)[-1] == PARTS_MISSING
    states = await house.desk.states([numbers[2]])
    assert not states.ints("reroute_at").valid.any(), "no wait releases it"
    assert (await notices(house))[0].reasons == [PARTS_MISSING]

    # A further part is still missing, then none.
    await house.desk.consume(lacking(filings(names[:1], version=2), [CARRIER_ROLE]))
    seen = await status(house, numbers[0])
    assert (seen.state, list(seen.missing_roles)) == (pb.STATE_HELD, [CARRIER_ROLE])
    await house.desk.consume(filings(names[:1], version=3))
    seen = await status(house, numbers[0])
    assert (seen.state, list(seen.missing_roles)) == (pb.STATE_AWAITING_ARRIVAL, [])
    await arrive(house)
    assert (await status(house, numbers[0])).state == pb.STATE_RELEASED


async def test_an_officer_releases_what_a_part_is_missing_of_before_and_after_the_arrival(house: House) -> None:
    table = lacking(filings(["GREEN-1", "GREEN-2"]), [CARRIER_ROLE], [CARRIER_ROLE])
    await house.desk.consume(table)
    first, second = mrns(table)
    await release(house, first)
    assert (await status(house, first)).state == pb.STATE_AWAITING_ARRIVAL
    await arrive(house)
    released, held = await status(house, first), await status(house, second)
    assert (released.state, list(released.missing_roles)) == (pb.STATE_RELEASED, [CARRIER_ROLE])
    assert (held.state, list(held.decision.reasons)) == (pb.STATE_HELD, [PARTS_MISSING])
    # After the presentation a version comes too late.
    await house.desk.consume(filings(["GREEN-2"], version=2))
    assert (await status(house, second)).state == pb.STATE_HELD
    assert [each.mrn for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED] == [second]
    await release(house, second, request_id="r2")
    assert (await status(house, second)).state == pb.STATE_RELEASED


async def test_parts_that_come_after_the_presentation_complete_the_filing_one_after_the_other(house: House) -> None:
    names = ["GREEN-1", "GREEN-2"]
    table = lacking(filings(names), [PLATFORM, CARRIER_ROLE], [CARRIER_ROLE])
    await house.desk.consume(table)
    first, matched = mrns(table)
    await hear(house.desk, screening(filings(names[1:])))
    await arrive(house)
    await house.desk.consume(completing(lacking(filings(names, version=2), [CARRIER_ROLE], []), 1))
    seen = await status(house, first)
    assert (seen.state, list(seen.decision.reasons), seen.filing.version) == (pb.STATE_HELD, [PARTS_MISSING], 2)
    seen = await status(house, matched)
    assert (seen.state, list(seen.decision.reasons), seen.filing.version) == (pb.STATE_HELD, [CUSTOMS_CHECK], 2)
    await hear(house.desk, clearing(filings(names[1:]), version=2))
    await house.desk.consume(completing(filings(names[:1], version=3), 1, 2))
    assert [await state(house, mrn) for mrn in (first, matched)] == ["RELEASED", "RELEASED"]
    assert not [each for each in await notices(house) if each.kind == pb.NOTICE_KIND_AMENDMENT_REFUSED]
    # What is released is final, whatever else comes.
    await house.desk.consume(completing(filings(names[:1], version=4), 3))
    assert (await status(house, first)).filing.version == 3


async def test_what_is_held_by_an_officer_or_a_match_too_stays_held_for_both(house: House) -> None:
    names = ["GREEN-1", "GREEN-2", "GREEN-3"]
    table = lacking(filings(names), [CARRIER_ROLE], [CARRIER_ROLE], [])
    await house.desk.consume(table)
    by_match, by_officer, amended = mrns(table)
    await hold(house, by_officer)
    await hear(house.desk, screening(filings(["GREEN-1", "GREEN-3"])))
    assert list((await status(house, by_match)).decision.reasons) == [PARTS_MISSING, CUSTOMS_CHECK]
    await house.desk.consume(lacking(filings(["GREEN-3"], version=2), [CARRIER_ROLE]))
    assert list((await status(house, amended)).decision.reasons) == [CUSTOMS_CHECK, PARTS_MISSING]
    # The match is cleared: the missing part still holds the goods.
    await hear(house.desk, clearing(filings(["GREEN-1"])), clearing(filings(["GREEN-3"]), version=2))
    assert not (await house.desk.states([by_match, amended])).bools("screening_hold").values.any()
    for mrn in (by_match, amended):
        assert (await status(house, mrn)).state == pb.STATE_HELD
    await house.desk.consume(filings(names, version=3))
    states = [(await status(house, mrn)).state for mrn in (by_match, by_officer, amended)]
    assert states == [pb.STATE_AWAITING_ARRIVAL, pb.STATE_HELD, pb.STATE_AWAITING_ARRIVAL]
    assert OFFICER_HOLD in (await status(house, by_officer)).decision.reasons


def test_filings_that_lack_no_part_have_no_column() -> None:
    missing, columns = missing_parts(filings(["GREEN-1", "GREEN-2"]))
    assert (missing.any(), columns) == (False, {})
    missing, columns = missing_parts(lacking(filings(["GREEN-1", "GREEN-2"]), [], [PLATFORM]))
    assert (missing.tolist(), list(columns)) == ([False, True], ["missing_roles"])


async def test_a_match_of_goods_under_control_is_cleared_though_a_part_is_missing(house: House) -> None:
    names = ["GREEN-1", "GREEN-2"]
    table = lacking(filings(names), [CARRIER_ROLE], [])
    await house.desk.consume(table)
    numbers = mrns(table)
    await ordered(house, *map(order, numbers))
    await hear(house.desk, screening(filings(names)))
    await hear(house.desk, clearing(filings(names)))
    assert not (await house.desk.states(numbers)).bools("screening_hold").values.any()
    await concluded(house, *map(conclusion, numbers))
    assert [await state(house, mrn) for mrn in numbers] == ["HELD", "AWAITING_ARRIVAL"]
    await house.desk.consume(filings(names[:1], version=2))
    assert await state(house, numbers[0]) == "AWAITING_ARRIVAL"


async def test_what_an_officer_adjusted_stays_as_evidence_and_nothing_else_does_for_a_missing_part(
    house: House,
) -> None:
    table = lacking(filings(["GREEN-1", "GREEN-2", "GREEN-3"]), [CARRIER_ROLE], [CARRIER_ROLE], [])
    await house.desk.consume(table)
    adjusted, untouched, free = mrns(table)
    await Driver(house.desk).adjust(adjusted, 50_000)
    job = Expiry(house.desk.store, "r", arrival_days=DAYS, exit_days=DAYS)
    await job.step(at=(DAY + DAYS + 1) * MICROS_PER_DAY)
    assert [await state(house, mrn) for mrn in (adjusted, untouched, free)] == ["HELD", "EXPIRED", "EXPIRED"]
