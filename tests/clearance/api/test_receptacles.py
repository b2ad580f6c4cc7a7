"""Receptacles that filings name beside their master document: status, arrivals, bulk calls and amendments by them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from luxor.clearance.v1 import bulk_release_pb2 as bulk
from luxor.clearance.v1 import carriers_pb2 as carriers
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.consignment.transitions import State
from tests.clearance.bulk_releases import release_all
from tests.clearance.carriers import DOCUMENT, PREFIX, bind, refusals
from tests.clearance.controls import notices
from tests.clearance.desk import ACCEPTED_AT, MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION, arrival, check_versions
from tests.clearance.desk_commands import arrive as arrive_at_desk
from tests.clearance.dying import Died, DyingDatabase
from tests.clearance.inspections import status
from tests.clearance.loading import NONE, parameters, recommending
from tests.clearance.release_lists import made
from tests.clearance.returns import bulk_return, counted
from tests.clearance.service_client import SECONDS, House, arrivals, ask

ARRIVED_ON = time.strftime("%Y-%m-%d", time.gmtime((ACCEPTED_AT - 10**9) / 10**6))
LATEST = 2**60
BAGS = ("CNSHAADEFRAAAUN10001001000010", "CNSHAADEFRAAAUN10001002000010", "CNSHAADEFRAAAUN10001003110010")


def within(*bags: str) -> Callable[[int, Consignment], None]:
    def change(_: int, row: Consignment) -> None:
        row.receptacles[:] = bags

    return change


async def file(house: House, reference: str, *bags: str, master: str = MASTER, version: int = 1) -> str:
    filed = filings([reference], master=master, version=version, change=within(*bags))
    await house.desk.consume(filed)
    return mrns(filed)[0]


async def arrive(house: House, number: str, carrier: str = "wings", request_id: str = "") -> pb.ArrivalResult:
    stub = await house.stub("carrier", carrier)
    answer = await stub.RecordArrivals(
        arrivals(number, request_id=request_id or f"{carrier}-{number}"), timeout=SECONDS
    )
    return answer.results[0]


async def reverse(house: House, number: str) -> carriers.ReversalResult:
    request = carriers.ReverseArrivalsRequest(request_id=f"r-{number}")
    request.arrivals.add(master_document_number=number)
    stub = CarrierServiceStub(await house.service.channel("carrier", "wings"))
    return (await stub.ReverseArrivals(request, timeout=SECONDS)).results[0]


async def reverse_at_desk(house: House, number: str) -> None:
    reversal = Reversal(house.desk.store, law=PRESENTATION)
    await reversal.begin(number, "wings", "officer/otto")
    await reversal.reverse(number, "wings", trace=TRACE, by="officer/otto")


async def states(house: House, numbers: Sequence[str]) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


async def found(house: House, bag: str, role: str = "officer", ident: str = "olga") -> list[str]:
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=bag)])
    (result,) = await ask(await house.stub(role, ident), request)
    assert bool(result.consignments) is not result.HasField("error")
    return [each.mrn for each in result.consignments]


async def check(house: House) -> None:
    await check_versions(house.desk)
    assert await house.desk.inconsistencies() == []


@pytest.mark.parametrize(
    ("role", "ident", "reads"),
    [
        ("officer", "olga", True),
        ("analyst", "ann", True),
        ("filer", "shop", True),
        ("filer", "rival", False),
        ("carrier", "wings", True),
        ("carrier", "boats", False),
        ("agency", "vets", False),
    ],
)
async def test_those_who_may_read_goods_find_them_by_each_of_their_receptacles(
    house: House, role: str, ident: str, reads: bool
) -> None:
    one, two = await file(house, "GREEN-1", BAGS[0]), await file(house, "GREEN-2", *BAGS[:2])
    await file(house, "GREEN-3", BAGS[2])
    await file(house, "GREEN-4")
    assert await found(house, BAGS[0], role, ident) == ([one, two] if reads else [])
    assert await found(house, BAGS[1], role, ident) == ([two] if reads else [])
    if reads:
        (result,) = await ask(
            await house.stub(role, ident), pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=BAGS[1])])
        )
        assert list(result.consignments[0].filing.receptacles) == list(BAGS[:2])


async def test_the_first_nine_receptacles_of_goods_lead_to_them(house: House) -> None:
    bags = [f"CNSHAADEFRAAAUN100010{number:02d}000010" for number in range(10)]
    number = await file(house, "GREEN-1", *bags)
    assert (await found(house, bags[8]), await found(house, bags[9])) == ([number], [])
    assert list((await status(house, number)).filing.receptacles) == bags
    await file(house, "GREEN-1", *bags[::-1], version=2)
    assert (await found(house, bags[9]), await found(house, bags[1])) == ([number], [number])
    await check(house)


@pytest.mark.parametrize(("prefix", "reads"), [("CNSHA", True), ("DEFRA", False), ("160", False)])
async def test_a_carrier_finds_goods_by_a_receptacle_with_its_prefix(house: House, prefix: str, reads: bool) -> None:
    def unnamed(_: int, row: Consignment) -> None:
        row.ClearField("carrier_identifier")

    filed = filings(["GREEN-1"], change=unnamed)
    await house.desk.consume(filed)
    assert await found(house, BAGS[0], "carrier", "boats") == []
    await bind(house, PREFIX, prefix, "boats", "p1")
    assert await found(house, BAGS[0], "carrier", "boats") == (mrns(filed) if reads else [])


async def test_a_receptacle_is_the_same_whether_it_is_named_or_filed_as_master_document(house: House) -> None:
    named = await file(house, "GREEN-1", BAGS[0])
    filed = await file(house, "GREEN-2", BAGS[0], master=BAGS[0])
    assert await found(house, BAGS[0]) == [named, filed]
    request = pb.StatusQuery(master_document_number=BAGS[0], with_summary=True, page_size=1)
    (result,) = await ask(await house.stub("officer", "olga"), pb.GetStatusRequest(queries=[request]))
    assert (result.summary.consignments, result.summary.awaiting_arrival) == (2, 2)
    request.page_token = result.next_page_token
    (result,) = await ask(await house.stub("officer", "olga"), pb.GetStatusRequest(queries=[request]))
    assert ([each.mrn for each in result.consignments], result.next_page_token) == ([filed], "")
    assert (await arrive(house, BAGS[0])).released == 2
    await check(house)


async def test_an_arrival_by_receptacle_is_that_of_goods_in_it_alone(house: House) -> None:
    numbers = [
        await file(house, "GREEN-1", BAGS[0]),
        await file(house, "GREEN-2", *BAGS[:2]),
        await file(house, "GREEN-3", BAGS[1]),
        await file(house, "GREEN-4"),
        await file(house, "RED-5", BAGS[0], BAGS[0]),
        await file(house, "RED-7", *BAGS),
    ]
    answer = await arrive(house, BAGS[0])
    assert (answer.outcome, answer.consignments) == (pb.ARRIVAL_OUTCOME_RECORDED, 4)
    assert (answer.released, answer.held, answer.waiting, answer.not_arrived) == (1, 1, 0, 2)
    waiting = "AWAITING_ARRIVAL"
    assert await states(house, numbers) == ["RELEASED", waiting, waiting, waiting, "HELD", "HELD"]
    assert (await status(house, numbers[4])).movement.HasField("arrived_at")
    # Of GREEN-2 and RED-7 only a part came.
    assert await refusals(house) == [(BAGS[0], "wings", True, 1)]
    # What is filed later arrives as well.
    later = await file(house, "GREEN-6", BAGS[0])
    assert await states(house, [later]) == ["RELEASED"]
    assert (await arrive(house, BAGS[0], request_id="again")).outcome == pb.ARRIVAL_OUTCOME_ALREADY_RECORDED
    # The master document brings the rest.
    answer = await arrive(house, MASTER)
    assert (answer.released, answer.held, answer.waiting, answer.not_arrived) == (5, 2, 0, 0)
    assert await states(house, numbers) == ["RELEASED"] * 4 + ["HELD"] * 2
    assert (await arrive(house, BAGS[1])).not_arrived == 0
    await check(house)


async def test_the_list_of_the_master_document_lets_no_other_carrier_report_a_receptacle(house: House) -> None:
    await bind(house, DOCUMENT, MASTER, "boats", "d1")
    number = await file(house, "GREEN-1", BAGS[0])
    answer = await arrive(house, BAGS[0])
    assert (answer.outcome, answer.consignments) == (pb.ARRIVAL_OUTCOME_RECORDED, 0)
    assert await states(house, [number]) == ["AWAITING_ARRIVAL"]
    assert await refusals(house) == [(BAGS[0], "wings", True, 1)]
    assert (await arrive(house, BAGS[0], "boats")).outcome == pb.ARRIVAL_OUTCOME_REFUSED
    # An entry of the receptacle itself decides before.
    await bind(house, DOCUMENT, BAGS[0], "boats", "d2")
    assert (await arrive(house, BAGS[0], "boats", "b2")).released == 1


async def test_a_reversal_undoes_the_arrivals_of_its_number_alone(house: House) -> None:
    by_bag, by_master = await file(house, "RED-1", BAGS[0]), await file(house, "RED-2", BAGS[1])
    await arrive(house, BAGS[0])
    await arrive(house, MASTER)
    assert (await reverse(house, BAGS[0])).consignments == 1
    # It arrived by the master document as well.
    now = await house.desk.states([by_bag, by_master])
    assert now.ints("arrived_at").valid.tolist() == [True, True]
    assert now.bools("arrived_by_receptacle").values.tolist() == [False, False]
    assert now.ints("version").tolist()[0] == 4
    assert (await reverse(house, MASTER)).consignments == 2
    assert not (await house.desk.states([by_bag, by_master])).ints("arrived_at").valid.any()
    await check(house)


async def test_a_reversed_master_document_leaves_goods_that_arrived_by_receptacle(house: House) -> None:
    number = await file(house, "RED-1", BAGS[0])
    await arrive(house, MASTER)
    await arrive(house, BAGS[0])
    assert not (await house.desk.states([number])).bools("arrived_by_receptacle").values.any()
    await reverse(house, MASTER)
    now = await house.desk.states([number])
    assert (now.ints("arrived_at").valid.tolist(), now.bools("arrived_by_receptacle").values.tolist()) == (
        [True],
        [True],
    )
    await check(house)


async def test_who_names_a_receptacle_of_others_reads_and_moves_its_own_goods_alone(house: House) -> None:
    def named(number: int, row: Consignment) -> None:
        row.carrier_identifier = "boats"
        within(*BAGS[:1])(number, row)

    others = await file(house, "GREEN-1", BAGS[0])
    filed = filings(["GREEN-2"], filer="rival", change=named)
    (own,) = mrns(filed)
    await house.desk.consume(filed)
    for role, ident in (("filer", "rival"), ("carrier", "boats")):
        assert await found(house, BAGS[0], role, ident) == [own]
    answer = await arrive(house, BAGS[0], "boats")
    assert (answer.consignments, answer.released) == (1, 1)
    assert await states(house, [others, own]) == ["AWAITING_ARRIVAL", "RELEASED"]
    stub = CarrierServiceStub(await house.service.channel("carrier", "boats"))
    request = carriers.PresentConsignmentsRequest(request_id="p1", master_document_number=BAGS[0])
    assert (await stub.PresentConsignments(request, timeout=SECONDS)).consignments == 1
    returned = await bulk_return(house, master_document_number=BAGS[0], role="filer", ident="rival")
    assert counted(returned) == {"consignments": 1, "returned": 1}
    await arrive(house, BAGS[0])
    assert await states(house, [others, own]) == ["RELEASED", "RE_EXPORTED"]
    returned = await bulk_return(house, master_document_number=BAGS[0], role="carrier", ident="boats", request_id="r2")
    assert counted(returned) == {"consignments": 1, "final_before": 1}
    assert await states(house, [others]) == ["RELEASED"]
    await check(house)


async def test_an_amendment_moves_goods_to_another_receptacle(house: House) -> None:
    number = await file(house, "GREEN-1", BAGS[0])
    assert await file(house, "GREEN-1", BAGS[1], BAGS[2], version=2) == number
    assert await found(house, BAGS[1]) == await found(house, BAGS[2]) == [number]
    assert (await arrive(house, BAGS[0])).released == 0
    await arrive(house, BAGS[2])
    assert await states(house, [number]) == ["AWAITING_ARRIVAL"]
    # It is in one alone now, whose arrival came before: the marked arrival is applied by the job.
    await file(house, "GREEN-1", BAGS[2], version=3)
    await Arrive(house.desk.store).finish(0, 100)
    assert await states(house, [number]) == ["RELEASED"]
    await check(house)


async def test_goods_that_are_in_their_master_document_and_one_other_receptacle_arrive_by_this_once_it_is_the_only_one(
    house: House,
) -> None:
    number = await file(house, "GREEN-1", *BAGS[:2], master=BAGS[1])
    assert (await arrive(house, BAGS[0])).released == 0
    # No number leads to the goods that did not before, but the arrival is that of all of them now.
    await file(house, "GREEN-1", BAGS[0], master=BAGS[1], version=2)
    await Arrive(house.desk.store).finish(0, 100)
    assert await states(house, [number]) == ["RELEASED"]
    await check(house)


@pytest.mark.parametrize(("number", "released"), [(BAGS[0], 2), (MASTER, 3)])
async def test_a_bulk_release_by_receptacle_releases_what_is_in_it(house: House, number: str, released: int) -> None:
    numbers = [
        await file(house, "RED-1", BAGS[0]),
        await file(house, "RED-2", *BAGS[:2]),
        await file(house, "RED-3", BAGS[1]),
    ]
    await arrive(house, MASTER)
    answer = await release_all(house, number)
    assert (answer.consignments, answer.released) == (released, released)
    assert (await states(house, numbers)).count("RELEASED") == released
    await check(house)


@pytest.mark.parametrize("order", [(BAGS[0], MASTER), (MASTER, BAGS[0])])
async def test_goods_that_arrived_by_document_and_receptacle_are_on_the_flight_once(
    house: House, order: tuple[str, str]
) -> None:
    await file(house, "RED-1", BAGS[0])
    for number in order:
        await arrive(house, number)
    flight = bulk.Conveyance(conveyance_reference="LX0188", arrived_on=ARRIVED_ON)
    answer = await release_all(house, conveyance=flight)
    assert (answer.consignments, answer.released) == (1, 1)


async def test_goods_that_arrived_by_their_receptacle_stay_in_it_where_they_can_be_amended_until_the_presentation(
    house: House,
) -> None:
    house.desk.decide.presentation = house.desk.arrive.law = PRESENTATION
    by_bag, by_master = await file(house, "RED-1", BAGS[0]), await file(house, "RED-2", BAGS[1])
    assert await file(house, "RED-1", BAGS[1], version=2) == by_bag
    assert await found(house, BAGS[1]) == [by_master, by_bag]
    await arrive_at_desk(house.desk, arrival(MASTER), "a1")
    await reverse_at_desk(house, MASTER)
    await file(house, "RED-2", BAGS[2], version=2)
    await arrive_at_desk(house.desk, arrival(BAGS[1]), "a2")
    await arrive_at_desk(house.desk, arrival(MASTER), "a3")
    for bags, version in (((BAGS[2],), 3), (BAGS[1:], 4), ((), 5)):
        await file(house, "RED-1", *bags, version=version)
        assert (await status(house, by_bag)).filing.receptacles == [BAGS[1]]
    await file(house, "RED-1", BAGS[1], BAGS[1], version=6)
    await file(house, "RED-2", BAGS[0], version=3)
    now = await house.desk.states([by_bag, by_master])
    assert now.ints("filing_version").tolist() == [6, 3]
    assert now.bools("arrived_by_receptacle").values.tolist() == [True, False]
    assert now.ints("arrived_at").valid.tolist() == [True, True]
    await check(house)


async def test_goods_arrive_by_their_other_number_though_the_reversal_ended_early(house: House) -> None:
    number = await file(house, "RED-1", BAGS[0])
    await arrive(house, BAGS[0])
    await arrive(house, MASTER)
    database = DyingDatabase(house.desk.store.database)
    dying = Reversal(Desk(database.as_database, house.desk.neighbours, house.desk.channel).store)
    await dying.begin(BAGS[0], "wings", "carrier/wings")
    database.commits = 1
    with pytest.raises(Died):
        await dying.reverse(BAGS[0], "wings", trace=TRACE, by="carrier/wings")
    assert not (await house.desk.states([number])).ints("arrived_at").valid.any()
    assert await Reversal(house.desk.store).finish(LATEST, 100) == 1
    now = await house.desk.states([number])
    assert now.ints("arrived_at").valid.all()
    assert not now.bools("arrived_by_receptacle").values.any()
    await check(house)


async def test_a_corrected_list_of_the_master_document_lets_the_arrival_of_the_receptacle_take_effect(
    house: House,
) -> None:
    await bind(house, DOCUMENT, MASTER, "boats", "d1")
    first, moved = await file(house, "GREEN-1", BAGS[0]), await file(house, "GREEN-2", BAGS[1])
    await file(house, "GREEN-2", BAGS[0], version=2)
    other = await file(house, "GREEN-3", BAGS[2], master="16000000009")
    await bind(house, DOCUMENT, "16000000009", "boats", "d2")
    for bag in (BAGS[0], BAGS[2]):
        await arrive(house, bag)
    assert await states(house, [first, moved, other]) == ["AWAITING_ARRIVAL"] * 3
    await bind(house, DOCUMENT, MASTER, "wings", "d3")
    # The list of another document does not concern the arrival.
    assert await Arrive(house.desk.store).finish(0, 100) == 1
    assert await states(house, [first, moved, other]) == ["RELEASED", "RELEASED", "AWAITING_ARRIVAL"]
    await check(house)


async def test_a_carrier_that_a_receptacle_is_bound_to_reads_what_may_be_loaded(house: House) -> None:
    def unnamed(number: int, row: Consignment) -> None:
        row.ClearField("carrier_identifier")
        row.receptacles[:] = (BAGS[:1], BAGS[1:2], BAGS[:2], ())[number]

    await bind(house, DOCUMENT, BAGS[0], "boats", "d1")
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: NONE, [])
    filed = filings([f"GREEN-{number}" for number in range(4)], change=unnamed)
    await house.desk.consume(filed)
    heard = await notices(house, "carrier", "boats")
    assert [each.mrn for each in heard] == mrns(filed)[:1]
    assert await notices(house, "carrier", "wings") == []


async def test_a_release_list_of_a_flight_and_its_receptacles_has_each_of_the_goods_once(
    house: House, tmp_path: Path
) -> None:
    await file(house, "RED-1", BAGS[0])
    await file(house, "RED-2", *BAGS[:2])
    await file(house, "RED-3")
    await file(house, "RED-4", BAGS[1], master="16000000009")
    listed = await made(house, tmp_path / "first.csv", BAGS[1], MASTER, BAGS[0], page_size=1)
    assert sorted(each.house_document for each in listed.entries) == [f"H-RED-{number}" for number in (1, 2, 3, 4)]
    listed = await made(house, tmp_path / "second.csv", BAGS[1])
    assert sorted(each.house_document for each in listed.entries) == ["H-RED-2", "H-RED-4"]
