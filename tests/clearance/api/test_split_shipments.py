"""Shares of a split shipment: one house document under two master documents, each share arrives and is released once and by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.consignment.transitions import State
from tests.clearance.desk import filings, mrns
from tests.clearance.desk_commands import check_versions
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals, ask

MASTERS = ("020-11111111", "020-22222222")
HOUSE = "HAWB-SPLIT"


def share(previous: str = "", *, split: bool = True) -> Callable[[int, Consignment], None]:
    def change(_: int, row: Consignment) -> None:
        row.house_document.number, row.previous_part_mrn = HOUSE, previous
        if split:
            row.split = True

    return change


async def file(
    house: House, reference: str, master: str, previous: str = "", version: int = 1, split: bool = True
) -> str:
    filed = filings([reference], master=master, version=version, change=share(previous, split=split))
    await house.desk.consume(filed)
    return mrns(filed)[0]


async def arrive(house: House, master: str) -> pb.ArrivalResult:
    stub = await house.stub("carrier", "wings")
    answer = await stub.RecordArrivals(arrivals(master, request_id=master), timeout=SECONDS)
    return answer.results[0]


async def states(house: House, *numbers: str) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


async def test_each_share_arrives_and_is_released_with_its_own_master_document_once(house: House) -> None:
    first = await file(house, "GREEN-1", MASTERS[0])
    later = await file(house, "GREEN-2", MASTERS[1], first)
    held = await file(house, "RED-3", MASTERS[1], later)
    assert (await arrive(house, MASTERS[0])).released == 1
    assert await states(house, first, later, held) == ["RELEASED", "AWAITING_ARRIVAL", "HELD"]
    answer = await arrive(house, MASTERS[1])
    assert (answer.consignments, answer.released, answer.held) == (2, 1, 1)
    assert await states(house, first, later, held) == ["RELEASED", "RELEASED", "HELD"]
    # Repeated arrivals of both documents change nothing.
    versions = (await house.desk.states([first, later, held])).ints("version").tolist()
    for master in MASTERS:
        await arrive(house, master)
    assert (await house.desk.states([first, later, held])).ints("version").tolist() == versions
    await check_versions(house.desk)


@pytest.mark.parametrize(
    ("role", "ident", "reads"), [("filer", "shop", True), ("officer", "olga", True), ("carrier", "wings", False)]
)
async def test_the_house_document_leads_to_all_shares_and_their_order(
    house: House, role: str, ident: str, reads: bool
) -> None:
    first = await file(house, "GREEN-1", MASTERS[0])
    later = await file(house, "GREEN-2", MASTERS[1], first, split=False)
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(house_document_number=HOUSE)])
    (under,) = await ask(await house.stub(role, ident), request)
    found = {each.mrn: (each.filing.split, each.filing.previous_part_mrn) for each in under.consignments}
    assert found == {first: (reads, ""), later: (reads, first if reads else "")}


async def test_another_filer_finds_no_share(house: House) -> None:
    await file(house, "GREEN-1", MASTERS[0])
    request = pb.GetStatusRequest(queries=[pb.StatusQuery(house_document_number=HOUSE)])
    (under,) = await ask(await house.stub("filer", "rival"), request)
    assert not under.consignments
    assert under.error.reason == "CONSIGNMENT_UNKNOWN"


async def test_an_amendment_makes_a_consignment_a_share_and_the_next_one_a_whole_again(house: House) -> None:
    number = await file(house, "GREEN-1", MASTERS[0], split=False)
    assert not (await house.desk.states([number])).may_have("split")
    for version, split in ((2, True), (3, False)):
        assert await file(house, "GREEN-1", MASTERS[0], version=version, split=split) == number
        assert (await status(house, number, "filer", "shop")).filing.split is split
    await arrive(house, MASTERS[0])
    assert await states(house, number) == ["RELEASED"]
