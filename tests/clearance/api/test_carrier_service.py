"""A carrier reaches what its master documents are bound to, and nothing else: the attack itself, over gRPC, TLS and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from libs.columns import Strings
from libs.customs.time import MICROS_PER_DAY, day_text
from luxor.clearance.v1 import carriers_pb2 as carriers
from luxor.clearance.v1 import clearance_pb2 as columns
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.common.v1 import common_pb2
from services.clearance.carriage.binding import FOREVER, Binding
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.consignment.transitions import Debt
from services.clearance.store import carrier_key
from tests.clearance import controls
from tests.clearance.carriers import (
    AWAITING,
    DOCUMENT,
    IDENTIFIER,
    PREFIX,
    RECORDED,
    REFUSED,
    arrive,
    bind,
    desk_of,
    file,
    refusals,
    states,
)
from tests.clearance.debt_events import OPENED, debt, hear
from tests.clearance.desk import MASTER, TRACE, filings, mrns
from tests.clearance.disposals import SEIZED, disposal, dispose
from tests.clearance.service_client import SECONDS, House, ask, asking

UNBOUND = "ARRIVAL_CARRIER_UNBOUND"
SEEN = {
    "": {"mrn", "version", "changed_at", "state", "change", "filing", "decision", "movement", "history"},
    "filing": {
        "house_document",
        "master_document",
        "transport_mode",
        "transport_service",
        "gross_mass_mg",
        "direction",
        "receptacles",
    },
    "decision": {"lane"},
    "movement": {"arrived_at", "released_at", "conveyance_reference", "place", "storage_limit", "storage_ends_at"},
}
"""All that a carrier is told of a consignment."""


async def reverse(house: House, role: str, ident: str, request_id: str, carrier: str = "") -> carriers.ReversalResult:
    request = carriers.ReverseArrivalsRequest(request_id=request_id)
    request.arrivals.add(master_document_number=MASTER, carrier=carrier)
    (result,) = (await (await desk_of(house, role, ident)).ReverseArrivals(request, timeout=SECONDS)).results
    return result


def returning(mrn: str, request_id: str) -> pb.RecordReturnsRequest:
    request = pb.RecordReturnsRequest(request_id=request_id)
    request.returns.add(reason=columns.RETURN_REASON_DESTROYED).consignment.mrn = mrn
    return request


async def notices(stub: ClearanceServiceStub) -> list[pb.Notice]:
    return list((await stub.PullNotices(pb.PullNoticesRequest(page_size=1_000), timeout=SECONDS)).notices)


async def test_a_guessed_master_document_gives_another_carrier_nothing(house: House) -> None:
    numbers = await file(house, ["GREEN-1", "GREEN-2", "RED-1"], "wings")
    thief, wings = await house.stub("carrier", "thief"), await house.stub("carrier", "wings")
    for document in ({"master_document_number": MASTER}, {"house_document_number": "H-GREEN-1"}):
        (result,) = await ask(thief, asking(**document))
        assert (result.error.reason, len(result.consignments), result.next_page_token) == ("CONSIGNMENT_UNKNOWN", 0, "")
    for number in range(2):
        refused = await arrive(house, "thief", f"t{number}")
        assert (refused.outcome, refused.consignments, [each.reason for each in refused.errors]) == (
            REFUSED,
            0,
            [UNBOUND],
        )
    assert await states(house, numbers) == [columns.STATE_AWAITING_ARRIVAL] * 2 + [columns.STATE_HELD]
    assert await refusals(house) == [(MASTER, "thief", False, 2)]
    true = await arrive(house, "wings", "w1")
    assert (true.outcome, true.consignments, true.released, true.held) == (RECORDED, 3, 2, 1)
    (result,) = (await thief.RecordReturns(returning(numbers[0], "r1"), timeout=SECONDS)).results
    assert result.error.reason == "CONSIGNMENT_UNKNOWN"
    await house.desk.told()
    assert await notices(thief) == []
    assert {each.mrn for each in await notices(wings)} == set(numbers)
    (result,) = (await wings.RecordReturns(returning(numbers[0], "r2"), timeout=SECONDS)).results
    assert (result.error.reason, result.state) == ("", columns.STATE_DESTROYED)
    # A carrier that is bound no more reaches nothing of it either: by the list, that decides before the filing.
    await bind(house, DOCUMENT, MASTER, "heir", "b1")
    (result,) = (await wings.RecordReturns(returning(numbers[1], "r3"), timeout=SECONDS)).results
    assert result.error.reason == "CONSIGNMENT_UNKNOWN"
    assert await notices(wings) == []
    (result,) = await ask(wings, asking(master_document_number=MASTER))
    assert result.error.reason == "CONSIGNMENT_UNKNOWN"
    (result,) = await ask(await house.stub("carrier", "heir"), asking(master_document_number=MASTER))
    assert [each.mrn for each in result.consignments] == numbers


async def test_an_arrival_that_is_recorded_before_the_filings_takes_effect_for_its_own_carrier_alone(
    house: House,
) -> None:
    first = await arrive(house, "thief", "t1")
    assert (first.outcome, first.consignments) == (AWAITING, 0)
    numbers = [*await file(house, ["GREEN-1"], "wings"), *await file(house, ["GREEN-2"], "")]
    assert await states(house, numbers) == [columns.STATE_AWAITING_ARRIVAL] * 2
    assert await refusals(house) == [(MASTER, "thief", True, 2)]
    assert (await arrive(house, "wings", "w1")).released == 1
    assert await states(house, numbers) == [columns.STATE_RELEASED, columns.STATE_AWAITING_ARRIVAL]
    # A filing that names the first carrier is its own to bring; each sees its own.
    (theirs,) = await file(house, ["GREEN-3"], "thief")
    assert await states(house, [theirs]) == [columns.STATE_RELEASED]
    for carrier, own in (("thief", [theirs]), ("wings", numbers[:1])):
        query = pb.StatusQuery(master_document_number=MASTER, page_size=1)
        (result,) = await ask(await house.stub("carrier", carrier), pb.GetStatusRequest(queries=[query]))
        assert ([each.mrn for each in result.consignments], result.next_page_token) == (own, "")


async def test_what_nothing_binds_waits_until_an_officer_binds_it(house: House) -> None:
    numbers = await file(house, ["GREEN-1", "RED-1"], "")
    assert (await arrive(house, "wings", "w1")).outcome == REFUSED
    await bind(house, PREFIX, "160", "wings", "b1", to_day="2024-10-04")
    assert (await arrive(house, "wings", "w2")).outcome == REFUSED
    await bind(house, PREFIX, "160", "wings", "b2")
    assert (await arrive(house, "wings", "w3")).released == 1
    assert (await arrive(house, "thief", "t1")).outcome == REFUSED
    listed = await (await desk_of(house)).ListBindings(carriers.ListBindingsRequest(), timeout=SECONDS)
    assert [(each.kind, each.value, each.carrier, each.to_day, each.changed_by) for each in listed.bindings] == [
        (PREFIX, "160", "wings", "", "officer/olga")
    ]
    assert await states(house, numbers) == [columns.STATE_RELEASED, columns.STATE_HELD]


async def test_an_arrival_without_effect_is_carried_out_once_a_binding_or_an_amendment_binds_it(house: House) -> None:
    assert (await arrive(house, "wings", "w1")).outcome == AWAITING
    numbers = [*await file(house, ["GREEN-1"], "EORI1"), *await file(house, ["GREEN-2"], "other")]
    assert await states(house, numbers) == [columns.STATE_AWAITING_ARRIVAL] * 2
    await bind(house, IDENTIFIER, "EORI1", "wings", "b1")
    arrivals_command = Arrive(house.desk.store)
    await arrivals_command.finish(2**60, 10)
    assert await states(house, numbers) == [columns.STATE_RELEASED, columns.STATE_AWAITING_ARRIVAL]
    await file(house, ["GREEN-2"], "wings", version=2)
    await arrivals_command.finish(2**60, 10)
    assert await states(house, numbers) == [columns.STATE_RELEASED] * 2


async def test_a_carrier_is_told_where_its_goods_stand_and_nothing_of_who_trades_and_what_it_is_worth(
    house: House,
) -> None:
    await file(house, ["GREEN-1", "RED-1", "VENDOR-1"], "wings")
    await arrive(house, "wings", "w1")
    wings = await house.stub("carrier", "wings")
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)], with_history=True)
    (result,) = await ask(wings, request)
    assert len(result.consignments) == 3
    for each in result.consignments:
        for group, seen in SEEN.items():
            part = getattr(each, group) if group else each
            assert {field.name for field, _ in part.ListFields()} <= seen
        for entry in each.history:
            assert {field.name for field, _ in entry.ListFields()} <= {
                "version",
                "change",
                "changed_at",
                "state",
                "lane",
            }
    assert (result.consignments[1].state, result.consignments[1].decision.lane) == (
        columns.STATE_HELD,
        common_pb2.LANE_RED,
    )
    await house.desk.told()
    for notice in await notices(wings):
        assert {field.name for field, _ in notice.ListFields()} <= {
            "mrn", "house_document_number", "master_document_number", "kind", "version", "state", "lane", "time", "direction",
        }  # fmt: skip


async def test_a_carrier_reads_nothing_of_debts_and_of_what_others_answer(house: House) -> None:
    (mrn,) = await file(house, ["BARE-1"], "wings")
    await arrive(house, "wings", "w1")
    wings = await house.stub("carrier", "wings")
    key = carrier_key("wings")

    async def entries() -> int:
        async with house.desk.store.database.connection() as reading:
            return int(await reading.raw.fetchval("select count(*) from notice where key = $1", key))

    before = await entries()
    await hear(house.desk, debt([mrn], 1, Debt.OPEN, kind=OPENED, paid=100))
    await controls.ordered(house, controls.order(mrn))
    await controls.answered(house, controls.answer(mrn))
    await hear(house.desk, debt([mrn], 2, Debt.OPEN, kind=OPENED, paid=0))
    # Nothing that it does not read ends its long poll: it is notified of the control alone.
    assert await entries() == before + 1
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)], with_history=True)
    (result,) = await ask(wings, request)
    (seen,) = result.consignments
    neutral = columns.CHANGE_UNSPECIFIED
    assert [each.change for each in seen.history] == [
        neutral, neutral, columns.CHANGE_CONTROL_ORDERED, neutral, columns.CHANGE_ARRIVED, columns.CHANGE_DECIDED,
    ]  # fmt: skip
    assert seen.change == neutral


async def test_a_binding_that_ends_later_takes_no_notices_of_goods_that_arrived_under_it(house: House) -> None:
    """The day on which the arrival was recorded counts: whoever has the goods learns what customs decides on them."""
    red, other = await file(house, ["RED-1", "RED-2"], "wings")
    await arrive(house, "wings", "w1")
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute(f"update arrival set day = day - 1, recorded_at = recorded_at - {MICROS_PER_DAY}")
        today = await house.desk.store.now(tx) // MICROS_PER_DAY
    await bind(house, DOCUMENT, MASTER, "heir", "b1", from_day=day_text(today))
    await dispose(house, disposal(red, SEIZED))
    await house.desk.told()
    wings = await house.stub("carrier", "wings")
    assert (await notices(wings))[-1].kind == pb.NOTICE_KIND_SEIZED
    (result,) = await ask(wings, asking(master_document_number=MASTER))
    assert {each.mrn for each in result.consignments} == {red, other}
    (result,) = (await wings.RecordReturns(returning(other, "r1"), timeout=SECONDS)).results
    assert result.error.reason == "NOT_RELEASED", "it reaches the goods, which are held"


async def test_an_arrival_by_mistake_is_reversed_until_it_has_released_something(house: House) -> None:
    numbers = await file(house, ["RED-1", "RED-2"], "wings")
    assert (await arrive(house, "wings", "w1")).held == 2
    assert (await reverse(house, "carrier", "thief", "t1")).error.reason == "ARRIVAL_UNKNOWN"
    assert (await reverse(house, "carrier", "thief", "t2", "wings")).error.reason == "ARRIVAL_UNKNOWN"
    done = await reverse(house, "carrier", "wings", "v1")
    assert (done.consignments, done.released, done.HasField("error")) == (2, 0, False)
    assert await reverse(house, "carrier", "wings", "v1") == done
    assert (await reverse(house, "carrier", "wings", "v2")).error.reason == "ARRIVAL_UNKNOWN"
    after = await house.desk.states(numbers)
    assert not after.ints("arrived_at").valid.any()
    assert after.strings("arrival_carrier").tolist() == after.strings("arrival_place").tolist() == ["", ""]
    assert after.ints("change").values.tolist() == [columns.CHANGE_ARRIVAL_REVERSED] * 2
    # What is filed or let go now has not arrived; what the filer amends is amended.
    stub = await house.stub("officer", "olga")
    release = pb.ReleaseConsignmentsRequest(request_id="o1", reason="IN_ORDER")
    release.consignments.add(mrn=numbers[0])
    (let_go,) = (await stub.ReleaseConsignments(release, timeout=SECONDS)).results
    assert let_go.state == columns.STATE_AWAITING_ARRIVAL
    (later,) = await file(house, ["GREEN-1"], "wings")
    assert await states(house, [later]) == [columns.STATE_AWAITING_ARRIVAL]
    await file(house, ["RED-2"], "wings", version=2)
    assert (await house.desk.states(numbers)).ints("filing_version").values.tolist() == [1, 2]
    # The true arrival releases; from then on it stays, also for what an officer holds again.
    assert (await arrive(house, "wings", "w2")).released == 2
    hold = pb.HoldConsignmentsRequest(request_id="o2", reason="TIP")
    for mrn in (numbers[0], later):
        hold.consignments.add(mrn=mrn)
    await stub.HoldConsignments(hold, timeout=SECONDS)
    for role, ident, carrier in (("carrier", "wings", ""), ("officer", "olga", "wings")):
        refused = await reverse(house, role, ident, "v3", carrier)
        assert refused.error.reason == "ARRIVAL_HAS_RELEASED"
        assert "Released consignments: 2" in refused.error.message
    desk = await desk_of(house)
    (known,) = (
        await desk.ListArrivals(carriers.ListArrivalsRequest(master_document_number=MASTER), timeout=SECONDS)
    ).arrivals
    assert (known.carrier, known.consignments, known.released, known.held) == ("wings", 3, 2, 3)
    request = carriers.ListReleasedConsignmentsRequest(master_document_number=MASTER, carrier="wings", page_size=1)
    listed: list[str] = []
    while True:
        page = await desk.ListReleasedConsignments(request, timeout=SECONDS)
        listed += [each.mrn for each in page.consignments]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert sorted(listed) == sorted([numbers[0], later])


async def test_a_reversal_whose_call_died_is_finished_and_the_next_carriers_arrival_takes_effect(house: House) -> None:
    await bind(house, DOCUMENT, MASTER, "wings", "b1")
    await bind(house, DOCUMENT, MASTER, "partner", "b2")
    numbers = await file(house, ["RED-1"], "")
    await arrive(house, "wings", "w1")
    assert (await arrive(house, "partner", "p1")).outcome == RECORDED
    store = house.desk.store
    async with store.database.transaction() as tx:
        at = await store.now(tx)
        await store.arrivals.reverse(tx, MASTER, "wings", "carrier/wings", at)
    assert (await house.desk.states(numbers)).strings("arrival_carrier").tolist() == ["wings"]
    # Until it is finished, its carrier cannot report the arrival again, and what is filed is not bound by it.
    (again,) = (await arrive(house, "wings", "w2")).errors
    assert again.reason == "ARRIVAL_BEING_REVERSED"
    assert await Reversal(store).finish(at, 10) == 0
    assert await Reversal(store).finish(at + 1, 10) == 1
    assert (await house.desk.states(numbers)).strings("arrival_carrier").tolist() == ["partner"]
    assert await Reversal(store).finish(at + 1, 10) == 0
    assert (await Arrive(store).run([MASTER], trace=TRACE)) is not None
    assert (await house.desk.states(numbers)).ints("version").values.tolist() == [4]


@pytest.mark.parametrize(
    ("binding", "reason"),
    [
        ({"kind": DOCUMENT, "value": "1" * 70, "carrier": "c" * 64}, ""),
        ({"kind": 0, "value": "160", "carrier": "wings"}, "BINDING_KIND_MISSING"),
        ({"kind": 9, "value": "160", "carrier": "wings"}, "BINDING_KIND_MISSING"),
        ({"kind": DOCUMENT, "value": "", "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": DOCUMENT, "value": "1" * 71, "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": IDENTIFIER, "value": "1" * 18, "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": PREFIX, "value": "1", "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": PREFIX, "value": "1" * 18, "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": PREFIX, "value": "16\n", "carrier": "wings"}, "BINDING_VALUE_MALFORMED"),
        ({"kind": PREFIX, "value": "160", "carrier": ""}, "BINDING_CARRIER_MALFORMED"),
        ({"kind": PREFIX, "value": "160", "carrier": "c" * 65}, "BINDING_CARRIER_MALFORMED"),
        (
            {"kind": PREFIX, "value": "160", "carrier": "w", "from_day": "2026-11-02", "to_day": "2026-11-01"},
            "BINDING_DAYS_MALFORMED",
        ),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "from_day": "2026-11-02", "to_day": "2026-11-02"}, ""),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "from_day": "1969-12-31"}, "BINDING_DAYS_MALFORMED"),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "from_day": "2026-02-30"}, "BINDING_DAYS_MALFORMED"),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "to_day": "20261101"}, "BINDING_DAYS_MALFORMED"),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "to_day": "1969-12-31"}, "BINDING_DAYS_MALFORMED"),
        (
            {"kind": PREFIX, "value": "160", "carrier": "w", "from_day": "2026-11-01", "to_day": "1970-01-01"},
            "BINDING_DAYS_MALFORMED",
        ),
        ({"kind": PREFIX, "value": "160", "carrier": "w", "to_day": "1970-01-01"}, ""),
    ],
)
def test_a_binding_that_is_none_is_refused_and_its_neighbours_are_not(binding: dict[str, Any], reason: str) -> None:
    from luxor.errors.v1.errors_pb2 import ItemError
    from services.clearance.api.carrier_service import read_binding

    read = read_binding(carriers.Binding(**binding), "bindings[0]")
    assert (read.reason if isinstance(read, ItemError) else "") == reason


async def test_the_days_of_a_binding_are_those_on_which_it_is_recorded(house: House) -> None:
    async with house.desk.store.database.connection() as reading:
        today = await house.desk.store.now(reading) // MICROS_PER_DAY
    await bind(house, PREFIX, "160", "early", "b1", from_day=day_text(today + 1))
    await bind(house, DOCUMENT, MASTER, "now", "b2", from_day=day_text(today), to_day=day_text(today))
    await file(house, ["GREEN-1"], "")
    assert (await arrive(house, "early", "e1")).outcome == REFUSED
    assert (await arrive(house, "now", "n1")).released == 1


async def test_ids_that_differ_in_capitals_are_two_carriers(house: House) -> None:
    """Filings as ingestion stores them: the code in capitals, and the id as filed."""
    told = filings(
        ["GREEN-1", "GREEN-2"], master=MASTER, change=lambda _, row: setattr(row, "carrier_identifier", "WINGS")
    )
    told = told.with_columns({"carrier_id": Strings.constant("wings", told.rows)})
    await house.desk.consume(told)
    for thief in ("Wings", "WINGS"):
        refused = await arrive(house, thief, "t1")
        assert (refused.outcome, [each.reason for each in refused.errors]) == (REFUSED, [UNBOUND])
        (result,) = await ask(await house.stub("carrier", thief), asking(master_document_number=MASTER))
        assert result.error.reason == "CONSIGNMENT_UNKNOWN"
    assert await states(house, mrns(told)) == [columns.STATE_AWAITING_ARRIVAL] * 2
    (result,) = await ask(await house.stub("carrier", "wings"), asking(master_document_number=MASTER))
    assert [each.mrn for each in result.consignments] == mrns(told)
    true = await arrive(house, "wings", "w1")
    assert (true.outcome, true.released) == (RECORDED, 2)


async def test_a_registered_name_binds_in_whatever_letters_it_is_filed(house: House) -> None:
    told = filings(["GREEN-1"], master=MASTER, change=lambda _, row: setattr(row, "carrier_identifier", "DE123"))
    told = told.with_columns({"carrier_id": Strings.constant("de123", 1)})
    await house.desk.consume(told)
    await bind(house, IDENTIFIER, "De123", "wings", "b1")
    (result,) = await ask(await house.stub("carrier", "wings"), asking(master_document_number=MASTER))
    assert [each.mrn for each in result.consignments] == mrns(told)
    assert (await arrive(house, "wings", "w1")).outcome == RECORDED


def test_the_first_day_of_the_calendar_is_a_last_day_and_the_wrong_day_is_named() -> None:
    from services.clearance.api.carrier_service import read_binding

    binding = {"kind": PREFIX, "value": "160", "carrier": "w"}
    ended = read_binding(carriers.Binding(**binding, to_day="1970-01-01"), "bindings[0]")
    assert isinstance(ended, Binding)
    assert (ended.from_day, ended.to_day) == (0, 0), "ended, and not without end"
    endless = read_binding(carriers.Binding(**binding), "bindings[0]")
    assert isinstance(endless, Binding)
    assert endless.to_day == FOREVER
    wrong = read_binding(carriers.Binding(**binding, from_day="2026-02-30"), "bindings[0]")
    assert not isinstance(wrong, Binding)
    assert (wrong.path, wrong.value) == ("bindings[0].from_day", "2026-02-30")
