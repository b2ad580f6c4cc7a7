"""The officers' list of goods that risk could not judge before loading: who is in it, in which order, and what ends it.

The definition is docs/preloading.md, "What risk could not judge".
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.time import MICROS_PER_DAY
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import carriers_pb2, control_pb2, work_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from luxor.consignment.v1 import consignment_pb2
from services.clearance.jobs.expiry import Expiry
from services.clearance.jobs.waits import Waits
from services.clearance.pre_loading.parameters import included
from services.clearance.store import gauges
from tests.clearance.controls import (
    CONFORM,
    NOT_CONFORM,
    SCAN,
    WITHDRAWN,
    answer,
    answered,
    arrive,
    concluded,
    conclusion,
    order,
    ordered,
)
from tests.clearance.desk import DAY, MASTER, filings, mrns, risk_answer
from tests.clearance.disposals import INVALIDATED, LIFTED, SEIZED, disposal, dispose
from tests.clearance.inspections import status
from tests.clearance.loading import NONE, SCREENING, parameters, recommending
from tests.clearance.service_client import SECONDS, House, arrivals

ABOUT: Final = control_pb2.CONTROL_FORM_INFORMATION
GAUGE: Final = "luxor_clearance_unjudged_seconds"
NOW: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"


def judging(house: House, unjudged: int, recommended: int = NONE) -> None:
    """Let risk answer before loading with this number of rules without a result."""
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: recommended, [], unjudged=unjudged)


async def filed(house: House, *references: str, unjudged: int = 1, **fields: Any) -> list[str]:
    judging(house, unjudged, fields.pop("recommended", NONE))
    table = filings(list(references), **fields)
    await house.desk.consume(table)
    return mrns(table)


async def listed(house: House, role: str = "officer", **fields: Any) -> list[work_pb2.WorkItem]:
    """Return all pages of the list."""
    request, found = work_pb2.ListUnjudgedRequest(**fields), list[work_pb2.WorkItem]()
    caller = WorkServiceStub(await house.service.channel(role, "olga"))
    while True:
        page = await caller.ListUnjudged(request, timeout=SECONDS)
        assert len(page.items) <= (request.page_size or 100)
        found += page.items
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def names(house: House, **fields: Any) -> list[str]:
    return [each.mrn for each in await listed(house, **fields)]


async def oldest(house: House) -> float:
    await gauges.look(house.desk.store.database)
    age = REGISTRY.get_sample_value(GAUGE)
    assert age is not None
    return age


async def reverse(house: House) -> None:
    request = carriers_pb2.ReverseArrivalsRequest(request_id="v1")
    request.arrivals.add(master_document_number=MASTER)
    await CarrierServiceStub(await house.service.channel("carrier", "wings")).ReverseArrivals(request, timeout=SECONDS)


async def test_the_list_has_the_oldest_first_and_nothing_that_risk_judged(house: House) -> None:
    await filed(house, "GREEN-0", unjudged=0)
    later = await filed(house, "GREEN-1", "GREEN-2", unjudged=3)
    (earlier,) = await filed(house, "RED-3", day=DAY - 1, unjudged=1)
    expected = [earlier, *sorted(later)]
    for size in (1, 2, 3, 100):
        assert await names(house, page_size=size) == expected, size
    items = await listed(house, role="analyst")
    assert [each.mrn for each in items] == expected
    assert [each.unjudged_rules for each in items] == [1, 3, 3]
    assert [each.state for each in items] == [pb.STATE_HELD, *[pb.STATE_AWAITING_ARRIVAL] * 2]
    assert [each.cause for each in items] == [pb.HOLD_CAUSE_DECISION, 0, 0]
    assert [each.accepted_at.ToMicroseconds() // 86_400_000_000 for each in items] == [DAY - 1, DAY, DAY]


async def test_an_office_reads_its_own_goods(house: House) -> None:
    def of_office(table: Table) -> Table:
        return risk_answer(table).with_columns({"office": Strings.constant("DE004851", table.rows)})

    (without,) = await filed(house, "GREEN-1")
    house.desk.neighbours.risk = of_office
    (own,) = await filed(house, "GREEN-2")
    assert await names(house, office="DE004851") == [own]
    assert await names(house, office="DE003302") == []
    assert await names(house) == sorted([without, own])
    (item,) = await listed(house, office="DE004851")
    assert item.office == "DE004851"


@pytest.mark.parametrize(("result", "stays"), [(CONFORM, False), (WITHDRAWN, True), (NOT_CONFORM, True)])
async def test_an_open_request_is_in_the_list_of_controls_and_ends_it_as_conform_alone(
    house: House, result: int, stays: bool
) -> None:
    (mrn,) = await filed(house, "GREEN-1")
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"))
    assert await names(house) == []
    await answered(house, answer(mrn))
    assert await names(house) == []
    await concluded(house, conclusion(mrn, 1, result))
    assert await names(house) == ([mrn] if stays else [])


async def test_the_end_of_another_referral_or_control_judges_no_data(house: House) -> None:
    (mrn,) = await filed(house, "GREEN-1", recommended=SCREENING)
    assert await names(house) == []
    clear = consignment_pb2.SCREENING_RESULT_CLEAR
    await answered(house, answer(mrn, screening_result=clear), role="carrier", by="wings")
    assert await names(house) == [mrn]
    await ordered(house, order(mrn, SCAN), request_id="o2")
    (item,) = await listed(house)
    assert item.state == pb.STATE_EXAMINATION
    await concluded(house, conclusion(mrn, 2), request_id="c2")
    assert await names(house) == [mrn]


async def test_goods_leave_the_list_with_their_arrival_and_return_with_its_reversal(house: House) -> None:
    (mrn,) = await filed(house, "RED-1")
    await arrive(house)
    assert await names(house) == []
    await reverse(house)
    assert await names(house) == [mrn]


async def test_goods_that_arrived_before_their_filing_are_not_listed(house: House) -> None:
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await filed(house, "RED-1")
    assert await names(house) == []


async def test_goods_leave_the_list_with_their_declaration(house: House) -> None:
    mrn, other = await filed(house, "RED-1", "RED-2")
    (result,) = await dispose(house, disposal(mrn, INVALIDATED))
    assert not result.HasField("error")
    assert await names(house) == [other]
    now = await house.desk.store.database.now()
    assert await Expiry(house.desk.store, "r", arrival_days=200).step(at=now + 210 * MICROS_PER_DAY) == 1
    assert await names(house) == []


async def test_a_request_that_a_deadline_ends_lists_the_goods_again(house: House) -> None:
    (mrn,) = await filed(house, "GREEN-1")
    due = await house.desk.store.database.now() + MICROS_PER_DAY
    ends = {"due_at": due, "when_overdue": control_pb2.CONTROL_OVERDUE_CONCLUDE}
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?", **ends))
    assert await names(house) == []
    assert await Waits(house.desk.store, "r").step(at=due) == 1
    (item,) = await listed(house)
    assert (item.mrn, item.state) == (mrn, pb.STATE_HELD)


async def test_no_officer_judged_a_version_of_the_filing_that_was_decided_later(house: House) -> None:
    (mrn,) = await filed(house, "GREEN-1")
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"))
    await concluded(house, conclusion(mrn, 1, CONFORM))
    assert await names(house) == []
    # It was accepted before the conclusion, and comes to clearance after it.
    await filed(house, "GREEN-1", version=2)
    assert await names(house) == [mrn]
    # A request for the former version that is concluded now is about the new one.
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"), request_id="o2")
    await filed(house, "GREEN-1", version=3)
    await concluded(house, conclusion(mrn, 2, CONFORM), request_id="c2")
    assert await names(house) == []


@pytest.mark.parametrize(("result", "stays"), [(CONFORM, False), (WITHDRAWN, True)])
async def test_goods_whose_request_ended_with_their_seizure_leave_the_list_once_they_are_judged(
    house: House, result: int, stays: bool
) -> None:
    (mrn,) = await filed(house, "RED-1")
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"))
    await arrive(house)
    for number, kind in enumerate((SEIZED, LIFTED)):
        await dispose(house, disposal(mrn, kind), request_id=f"d{number}")
    await reverse(house)
    assert await names(house) == [mrn]
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"), request_id="o2")
    await concluded(house, conclusion(mrn, 2, result), request_id="c2")
    assert await names(house) == ([mrn] if stays else [])
    # The request that ended with the goods was never judged.
    seen = (await status(house, mrn)).pre_loading
    assert seen == (control_pb2.PRE_LOADING_UNJUDGED if stays else control_pb2.PRE_LOADING_UNSPECIFIED)


@pytest.mark.parametrize("unjudged", [0, 5])
async def test_a_new_version_of_the_filing_counts_in_place_of_the_former_one(house: House, unjudged: int) -> None:
    (mrn,) = await filed(house, "GREEN-1", unjudged=2)
    await filed(house, "GREEN-1", unjudged=unjudged, version=2)
    assert [(each.mrn, each.unjudged_rules) for each in await listed(house)] == [(mrn, 5)] * bool(unjudged)


async def test_goods_leave_the_list_with_a_version_that_nobody_asks_to_assess(house: House) -> None:
    await filed(house, "GREEN-1")
    house.desk.decide.parameters = included()
    await house.desk.consume(filings(["GREEN-1"], version=2))
    assert await names(house) == []


async def test_goods_of_an_unknown_number_of_rules_are_listed_without_one(house: House) -> None:
    """States that were stored before the column have none."""
    (mrn,) = await filed(house, "GREEN-1")
    async with house.desk.store.database.transaction() as tx:
        rows = list((await house.desk.store.lock(tx, [mrn])).values())
        states = await house.desk.store.states(tx, rows)
        after = states.with_columns(
            {"pre_loading_unjudged": Ints.absent(1), "version": Ints.of(states.ints("version").values + 1)}
        )
        await house.desk.store.succeed(tx, after, rows, trace="")
    house.desk.consistent = False
    (item,) = await listed(house)
    assert not item.HasField("unjudged_rules")


async def test_the_gauge_is_the_age_of_the_oldest_and_0_without_one(house: House) -> None:
    assert await oldest(house) == 0
    mrn, _ = await filed(house, "GREEN-1", "GREEN-2")
    house.desk.consistent = False
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute(f"update unjudged set accepted_at = {NOW} - 3600000000")
        await tx.raw.execute(f"update unjudged set accepted_at = {NOW} - 7200000000 where mrn = $1", mrn)
    assert 7_200 <= await oldest(house) < 7_200 + SECONDS
    await arrive(house)
    assert await oldest(house) == 0


async def test_the_check_of_the_store_finds_goods_that_the_list_lacks_or_has_wrongly(house: House) -> None:
    lacking, moved = await filed(house, "GREEN-1", "GREEN-2")
    (judged,) = await filed(house, "GREEN-3", unjudged=0)
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("insert into unjudged select day, $1, '', accepted_at from unjudged limit 1", judged)
        await tx.raw.execute("delete from unjudged where mrn = $1", lacking)
        await tx.raw.execute("update unjudged set office = 'FRA' where mrn = $1", moved)
    found = {each.mrn: each.detail for each in await house.desk.inconsistencies()}
    assert set(found) == {lacking, moved, judged}
    assert found[lacking] == "The list `unjudged` lacks it."
    assert "FRA" in found[moved]
    assert found[judged].startswith("The list `unjudged` has it")
    # What should not be there is shown to nobody.
    assert await names(house) == [moved]
    house.desk.consistent = False


async def test_goods_that_risk_judged_cost_no_statement(house: House) -> None:
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("drop table unjudged")
    (mrn, _) = await filed(house, "GREEN-1", "RED-1", unjudged=0)
    await filed(house, "GREEN-1", version=2, unjudged=0)
    # Without the number of packages, the minimum set is incomplete.
    incomplete = filings(["GREEN-2"], change=lambda _, row: row.ClearField("packages"))
    await house.desk.consume(incomplete)
    await ordered(house, order(mrn, ABOUT, addressee=1, text="Which fabric?"))
    await concluded(house, conclusion(mrn, 1, CONFORM))
    await arrive(house)
    house.desk.consistent = False


async def test_a_page_reads_its_rows_and_no_others(house: House) -> None:
    house.desk.consistent = False
    async with house.desk.store.database.transaction(timeout_millis=60_000) as tx:
        await tx.raw.execute(
            "insert into unjudged select 20000 + i / 2000, lpad(i::text, 18, '0'), case when i % 2 = 0 then 'FRA' else 'MUC' end, i "
            "from generate_series(1, 20000) i"
        )
        before = 0
        for office, step in (("FRA", 2), ("", 1)):
            for after in (0, 10_000, 19_990):
                places = await house.desk.store.unjudged.page(tx, office, (after, 99_999, ""), 101)
                expected = [each for each in range(after + 1, 20_001) if each % step == 0]
                assert [each[0] for each in places] == expected[:101], (office, after)
                scanned, fetched = await tx.raw.fetchrow(
                    "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'unjudged'"
                )
                assert (scanned, fetched - before) == (0, len(places)), (office, after)
                before = fetched
