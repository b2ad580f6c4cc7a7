"""Applications of rights holders: what they match, the examination that follows, and who reads of it. The definition is docs/licences.md."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
import pytest

from libs.columns import Table
from luxor.clearance.v1 import clearance_pb2 as pb_status
from luxor.clearance.v1 import control_pb2
from luxor.clearance.v1 import rights_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.clearance.v1.rights_pb2_grpc import RightsServiceStub
from luxor.consignment.v1 import consignment_pb2
from services.clearance.commands.rights.current import CurrentApplications
from services.clearance.consignment.controls.control import ControlResult, controls_of
from services.clearance.consignment.transitions import State
from services.clearance.rights.matching import MATCHES_MAX, Application, Matcher
from tests.clearance.controls import arrive, concluded, conclusion, notices, state, words
from tests.clearance.desk import DAY, Desk, mrns
from tests.clearance.disposals import outcomes
from tests.clearance.events import Driver
from tests.clearance.goods import application_message, goods
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, ask, asking, refused_with

TEXT: Final = "Customs examines item 1 because of an application of a rights holder."


def application(**fields: Any) -> Application:
    """Make an application for clothes of a brand."""
    usual: dict[str, Any] = {
        "number": "EU-17", "holder": "Hare Clothing", "rights": "Trade mark 1", "countries": ("DE",), "from_day": DAY, "to_day": DAY,
        "goods": ("62",), "words": ("Swift Hare",),
    }  # fmt: skip
    return Application(**usual | fields)


def clothes(reference: str, description: str = "Blouse", brand: str = "", code: str = "620630", **fields: Any) -> Table:
    """Make a filing of one item with a description and a brand."""

    def change(_: int, row: consignment_pb2.Consignment) -> None:
        row.items[0].description, row.items[0].brand = description, brand
        for name, value in fields.get("row", {}).items():
            setattr(row, name, value)

    return goods([reference], code, cites=(), change=change, version=fields.get("version", 1))


MATCHED: Final[dict[str, tuple[Application, dict[str, Any], bool]]] = {
    "the brand": (application(), {"brand": "Swift Hare"}, True),
    "in any case": (application(), {"brand": "SWIFT hare"}, True),
    "in a description": (application(), {"description": "Blouse, Swift-Hare, white"}, True),
    "with accents": (application(words=("Été",)), {"brand": "ete"}, True),
    "one of its words": (application(words=("Fox", "Swift Hare")), {"brand": "fox"}, True),
    "not a part of a word": (application(words=("Hare",)), {"description": "Shared blouse, hares"}, False),
    "not in another order": (application(), {"description": "Hare swift"}, False),
    "not words apart": (application(), {"description": "Swift white hare"}, False),
    "not other goods": (application(), {"brand": "Swift Hare", "code": "640411"}, False),
    "not another country": (application(countries=("FR",)), {"brand": "Swift Hare"}, False),
    "not before its first day": (application(from_day=DAY + 1, to_day=DAY + 9), {"brand": "Swift Hare"}, False),
    "not after its last day": (application(from_day=DAY - 9, to_day=DAY - 1), {"brand": "Swift Hare"}, False),
    "not once it is revoked": (application(revoked=True), {"brand": "Swift Hare"}, False),
}


def matches_of(found: dict[str, Any]) -> list[tuple[int, str]]:
    """Return the matches of the only filing."""
    lines = Table.of(ClearanceColumns, 1, found).child("rights_matches")
    return [(each.item_number, each.application) for each in lines.to_messages(pb_status.RightsMatch)]


@pytest.mark.parametrize("name", list(MATCHED))
def test_whole_words_of_brand_or_description_match_goods_of_country_and_day(name: str) -> None:
    registered, filed, matches = MATCHED[name]
    matcher = Matcher([application(number="other", goods=("95",)), registered])
    assert matches_of(matcher.matches(clothes("GREEN-1", **filed))) == ([(1, "EU-17")] if matches else [])


def test_nothing_registered_costs_no_column_and_many_matches_are_bounded() -> None:
    filed = clothes("GREEN-1", brand="Swift Hare")
    assert Matcher().matches(filed) == {} == Matcher([application(words=("Fox",))]).matches(filed)
    many = [application(number=f"EU-{number}") for number in range(MATCHES_MAX + 5)]
    assert len(matches_of(Matcher(many).matches(filed))) == MATCHES_MAX


async def put(house: House, *applications: pb.RightsApplication, request_id: str = "p1") -> list[tuple[int, str]]:
    """Register applications; return version and refusal of each."""
    stub = RightsServiceStub(await house.service.channel("officer", "olga"))
    request = pb.PutApplicationsRequest(request_id=request_id, applications=applications)
    answer = await stub.PutApplications(request, timeout=SECONDS)
    return [(each.version, each.error.reason) for each in answer.results]


def looking_always(desk: Desk) -> Desk:
    """Let the desk look for changed applications before each page."""
    desk.intake.applications = CurrentApplications(desk.store, look_seconds=0)
    return desk


async def test_matching_goods_are_examined_by_customs_and_the_notice_claims_nothing(house: House) -> None:
    looking_always(house.desk)
    await put(house, application_message())
    (held,), (free,) = (mrns(each) for each in (clothes("GREEN-1", brand="Swift Hare"), clothes("GREEN-2")))
    await house.desk.consume(clothes("GREEN-1", brand="Swift Hare"), clothes("GREEN-2"))
    await arrive(house)
    assert (await state(house, held), await state(house, free)) == ("EXAMINATION", "RELEASED")
    seen = await status(house, held)
    assert [(each.item_number, each.application) for each in seen.rights_matches] == [(1, "EU-17")]
    (control,) = seen.controls
    assert (control.form, control.authority, control.reason, control.text) == (
        control_pb2.CONTROL_FORM_EXAMINATION, "", "RIGHTS_APPLICATION", TEXT,
    )  # fmt: skip
    filers = await status(house, held, "filer", "shop")
    assert (list(filers.rights_matches), filers.controls[0].text) == ([], TEXT)
    (carried,) = await ask(await house.stub("carrier", "wings"), asking(house_document_number="H-GREEN-1"))
    assert not carried.consignments[0].rights_matches
    assert ("CONTROL_ORDERED", "EXAMINATION") in words(await notices(house))
    # Goods are released once customs found them in order; a hold follows otherwise.
    assert outcomes(await concluded(house, conclusion(held))) == [("RELEASED", "")]
    # A revoked application, and one that was changed, take effect with the next page.
    assert await put(house, application_message(revoked=True, version=1), request_id="p2") == [(2, "")]
    await house.desk.consume(clothes("GREEN-3", brand="Swift Hare"))
    assert await state(house, mrns(clothes("GREEN-3"))[0]) == "RELEASED"


async def test_amended_goods_are_examined_once_and_only_if_they_match(desk: Desk) -> None:
    async with desk.store.database.transaction() as tx:
        await desk.store.rights.begin_change(tx)
        await desk.store.rights.put(tx, [application(version=1, changed_by="officer/olga")])
    looking_always(desk)
    steps = (("Blouse", 0, State.AWAITING_ARRIVAL), ("Swift Hare", 1, State.EXAMINATION))
    for version, (brand, count, expected) in enumerate(steps, 1):
        table = clothes("GREEN-1", brand=brand, version=version)
        await desk.consume(table)
        states = await desk.states(mrns(table))
        assert ([len(each) for each in controls_of(states)], states.ints("state").values.tolist()) == (
            [count],
            [expected],
        )
    await Driver(desk).conclude(mrns(clothes("GREEN-1"))[0], ControlResult.WITHDRAWN)
    await desk.consume(clothes("GREEN-1", brand="Swift Hare", version=3))
    states = await desk.states(mrns(clothes("GREEN-1")))
    assert [len(each) for each in controls_of(states)] == [1], "the same items were examined"


async def test_applications_are_changed_by_version_once_and_only_by_officers(house: House) -> None:
    assert await put(house, application_message(), application_message("EU-18"), application_message()) == [
        (1, ""),
        (1, ""),
        (0, "APPLICATION_REPEATED"),
    ]
    assert await put(house, application_message(), request_id="p2") == [(1, "")]
    assert await put(house, application_message(words=["Fox"]), request_id="p3") == [(1, "APPLICATION_VERSION_CHANGED")]
    assert await put(house, application_message("EU-19", version=1), request_id="p4") == [
        (0, "APPLICATION_VERSION_CHANGED")
    ]
    assert (await refused_with(put(house, application_message("EU-20"))))[1] == "REQUEST_REUSED"
    race = await asyncio.gather(
        *(put(house, application_message(words=[each], version=1), request_id=each) for each in "abc")
    )
    assert sorted(each[0] for each in race) == [(2, ""), *[(2, "APPLICATION_VERSION_CHANGED")] * 2]
    malformed: list[dict[str, Any]] = [
        {"holder": ""}, {"rights": ""}, {"countries": ["de"]}, {"countries": []}, {"goods": ["6"]}, {"words": []}, {"words": ["-!"]},
        {"words": ["a\nb"]},
    ]  # fmt: skip
    entries = [application_message(f"M{place}", **fields) for place, fields in enumerate(malformed)]
    refused = await put(house, *entries, application_message("D", to_day="2025-12-31"), request_id="p5")
    assert refused == [*[(0, "APPLICATION_MALFORMED")] * len(malformed), (0, "APPLICATION_DAYS_MALFORMED")]
    stub = RightsServiceStub(await house.service.channel("officer", "olga"))
    request, numbers = pb.ListApplicationsRequest(page_size=1), []
    while True:
        page = await stub.ListApplications(request, timeout=SECONDS)
        numbers += [(each.number, each.version) for each in page.applications]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert numbers == [("EU-17", 2), ("EU-18", 1)]
    for caller in (("agency", "toys"), ("filer", "shop"), ("carrier", "wings"), ("analyst", "anna")):
        called = RightsServiceStub(await house.service.channel(*caller))
        for call in (
            called.PutApplications(pb.PutApplicationsRequest(request_id="1"), timeout=SECONDS),
            called.ListApplications(pb.ListApplicationsRequest(), timeout=SECONDS),
        ):
            assert await refused_with(call) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
