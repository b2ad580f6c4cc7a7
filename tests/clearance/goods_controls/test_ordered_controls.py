"""Controls of goods that are ordered with the decision, and the file that states them. The definition is docs/licences.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from libs.columns import Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.config import ClearanceConfig
from services.clearance.consignment.controls.control import ControlResult, controls_of
from services.clearance.consignment.transitions import Event, State
from services.clearance.goods_controls.law import GoodsLawError, included, read
from services.clearance.goods_controls.requirements import cited_licences, rows_with_controls
from tests.clearance.controls import concluded, conclusion, notices, state, words
from tests.clearance.controls import listed as open_controls
from tests.clearance.desk import MASTER, Desk, filings, mrns
from tests.clearance.disposals import outcomes
from tests.clearance.events import Driver
from tests.clearance.goods import MEAT, MEDICINE, OTHERS, PLANTS, TEXT, TOYS, goods, law
from tests.clearance.inspections import status
from tests.clearance.loading import FORBIDDEN, NONE, SCREENING, parameters, recommending
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking

DAY_MICROS: Final = 86_400_000_000
EXAMINATION, DOCUMENTS = control_pb2.CONTROL_FORM_EXAMINATION, control_pb2.CONTROL_FORM_DOCUMENTS


def elsewhere(country: str, dispatch: str = "CN") -> Any:
    """Return a change of filings: bound for another country, sent from another one."""

    def change(_: int, row: consignment_pb2.Consignment) -> None:
        row.destination_country, row.dispatch_country = country, dispatch

    return change


async def decided(desk: Desk, table: Table) -> list[tuple[str, list[tuple[str, int, str, str]]]]:
    """Decide on filings; return of each the state and its controls: authority, form, reason and text."""
    await desk.consume(table)
    states = await desk.states(mrns(table))
    return [
        (State(number).name, [(each.authority, each.form, each.reason, each.text) for each in controls])
        for number, controls in zip(states.ints("state").values.tolist(), controls_of(states), strict=True)
    ]


async def test_what_the_file_lists_is_ordered_with_the_decision_by_goods_direction_area_and_day(desk: Desk) -> None:
    desk.decide.goods = law()
    examined = ("food", EXAMINATION, "FOOD_EXAMINED", f"Item 1 ({MEAT}).")
    requested = ("food", DOCUMENTS, "MEDICINE", f"Send the authorisation. Item 1 ({MEDICINE}).")
    uncited = ("", DOCUMENTS, "LICENCE_NOT_CITED", "Item 1: licence C402 is not cited.")

    def plants(code: str) -> list[tuple[str, int, str, str]]:
        unknown = "Item 1: licence N851 P1 is not registered for the importer."
        return [
            ("food", EXAMINATION, "FOOD_EXAMINED", f"Item 1 ({code})."),
            ("plants", DOCUMENTS, "LICENCE_UNKNOWN", unknown),
        ]

    cases: list[tuple[Table, str, list[tuple[str, int, str, str]]]] = [
        (goods(["GREEN-1"], MEAT), "EXAMINATION", [examined]),
        (goods(["BLUE-1"], MEAT), "EXAMINATION", [examined]),
        (goods(["YELLOW-1"], MEAT), "EXAMINATION", [examined]),
        (goods(["RED-1"], MEAT), "EXAMINATION", [examined]),
        (goods(["BARE-1"], MEAT), "EXAMINATION", [examined]),
        (goods(["GREEN-2"], MEAT, change=elsewhere("FR")), "EXAMINATION", [examined]),
        (goods(["GREEN-3"], MEAT, change=elsewhere("CH")), "AWAITING_ARRIVAL", []),
        # Where goods come from exempts them from nothing.
        (goods(["GREEN-4"], MEAT, change=elsewhere("DE", "FR")), "EXAMINATION", [examined]),
        (goods(["GREEN-5"], "0301"), "AWAITING_ARRIVAL", []),
        (goods(["GREEN-6"], MEDICINE), "DOCUMENTS_REQUESTED", [requested]),
        (goods(["GREEN-7"], "970121", change=elsewhere("CH", "DE")), "DOCUMENTS_REQUESTED", [uncited]),
        (goods(["GREEN-8"], "970121", change=elsewhere("FR", "DE")), "AWAITING_ARRIVAL", []),
        (goods(["GREEN-9"], "970121"), "AWAITING_ARRIVAL", []),
        # A code that is shorter than what the control lists may be of these goods.
        (goods(["GREEN-11"], "06", cites=[("N851", "P1")]), "EXAMINATION", plants("06")),
        (goods(["GREEN-12"], "0603", cites=[("N851", "P1")]), "AWAITING_ARRIVAL", []),
    ]
    for table, expected_state, controls in cases:
        assert await decided(desk, table) == [(expected_state, controls)], table.strings("local_reference").tolist()
    states = await desk.states(mrns(cases[0][0]))
    ((control,),) = controls_of(states)
    assert control.due_at == control.ordered_at + 3 * DAY_MICROS
    assert (control.ordered_by, states.ints("version").tolist()) == ("automatic", [2])
    # Data of another time order nothing.
    desk.decide.goods = law(TEXT.replace("from: 2026-01-01", "from: 2024-01-01, to: 2025-12-31"))
    assert await decided(desk, goods(["GREEN-10"], MEAT)) == [("AWAITING_ARRIVAL", [])]


async def test_items_of_one_authority_share_a_control_of_each_form(desk: Desk) -> None:
    def more(_: int, row: consignment_pb2.Consignment) -> None:
        for code in (PLANTS, OTHERS, TOYS, TOYS):
            row.items.append(row.items[0])
            row.items[-1].commodity_code = code

    desk.decide.goods = law()
    ((found, controls),) = await decided(desk, goods(["GREEN-1"], MEAT, cites=(), change=more))
    assert found == "EXAMINATION"
    assert controls == [
        ("food", EXAMINATION, "FOOD_EXAMINED", f"Item 1 ({MEAT}); item 2 ({PLANTS})."),
        ("plants", DOCUMENTS, "LICENCE_NOT_CITED", "Item 2: licence N851 is not cited."),
        (
            "toys",
            DOCUMENTS,
            "LICENCE_NOT_CITED",
            "Item 4: licence C400 is not cited. Item 5: licence C400 is not cited.",
        ),
    ]


async def test_many_items_fit_into_one_request_and_none_is_released_silently(desk: Desk) -> None:
    def more(_: int, row: consignment_pb2.Consignment) -> None:
        for _ in range(99):
            row.items.append(row.items[0])

    desk.decide.goods = law()
    ((found, controls),) = await decided(desk, goods(["GREEN-1"], cites=(), change=more))
    assert (found, len(controls), len(controls[0][3])) == ("DOCUMENTS_REQUESTED", 1, 512)


async def test_goods_that_arrived_before_the_decision_are_held_for_their_control_and_no_version_is_a_release(
    desk: Desk,
) -> None:
    desk.decide.goods = law()
    driver = Driver(desk)
    await driver.arrive(MASTER)
    table = Table.concat([goods(["GREEN-1", "VENDOR-1"], MEAT), goods(["GREEN-2"], OTHERS)])
    assert [each for each, _ in await decided(desk, table)] == ["EXAMINATION", "EXAMINATION", "RELEASED"]
    controlled = mrns(table)[:2]
    states = await desk.states(controlled)
    assert states.ints("arrived_at").valid.all()
    assert states.strings("arrival_carrier").tolist() == ["wings"] * 2
    for announced in await desk.events():
        own = announced.strings("mrn").isin(set(controlled))
        assert State.RELEASED not in announced.ints("state").values[own]
    for mrn in controlled:
        await driver.officer(mrn, Event.OFFICER_RELEASED)
        await driver.conclude(mrn, ControlResult.WITHDRAWN)
    assert (await desk.states(controlled)).ints("state").values.tolist() == [State.RELEASED] * 2


async def test_referrals_before_loading_and_controls_of_goods_stand_beside_each_other(desk: Desk) -> None:
    desk.decide.goods, desk.decide.parameters = law(), parameters()
    wanted = {"GREEN-1": SCREENING, "GREEN-2": NONE, "GREEN-3": FORBIDDEN}
    desk.neighbours.loading = recommending(lambda reference, _: wanted[reference], [])
    table = goods(list(wanted), MEAT)
    forms = [[form for _, form, _, _ in controls] for _, controls in await decided(desk, table)]
    assert forms == [
        [EXAMINATION, control_pb2.CONTROL_FORM_SCREENING], [EXAMINATION], [EXAMINATION, control_pb2.CONTROL_FORM_DO_NOT_LOAD],
    ]  # fmt: skip
    # Goods that arrived although they should not have been loaded are held for an officer beside their control.
    await Driver(desk).arrive("16012345699")
    late = goods(["GREEN-3"], MEAT, master="16012345699", filer="rival")
    assert [[form for _, form, _, _ in controls] for _, controls in await decided(desk, late)] == [[EXAMINATION]]
    await Driver(desk, calls=50).conclude(mrns(late)[0], ControlResult.WITHDRAWN)
    assert (await desk.states(mrns(late))).ints("state").values.tolist() == [State.HELD]


async def test_amended_goods_are_controlled_once_and_other_goods_anew(desk: Desk) -> None:
    desk.decide.goods = law()
    text = f"Send the authorisation. Item 1 ({MEDICINE})."
    steps = [(OTHERS, []), (MEDICINE, [text]), (MEDICINE, [text]), ("300410", [text]), (OTHERS, [text])]
    for version, (code, texts) in enumerate(steps, 1):
        ((found, controls),) = await decided(desk, goods(["GREEN-1"], code, version=version))
        assert [each[3] for each in controls] == texts, version
        assert (found == "DOCUMENTS_REQUESTED") == bool(texts)
    (mrn,) = mrns(goods(["GREEN-1"]))
    await Driver(desk).conclude(mrn, ControlResult.WITHDRAWN)
    ((found, controls),) = await decided(desk, goods(["GREEN-1"], MEDICINE, version=6))
    assert (found, len(controls)) == ("AWAITING_ARRIVAL", 1), "the same goods were controlled"
    ((found, controls),) = await decided(desk, goods(["GREEN-1"], "300410", version=7))
    assert (found, len(controls)) == ("DOCUMENTS_REQUESTED", 2)


async def test_the_agency_sees_what_it_controls_within_its_deadline_and_its_conclusion_releases(house: House) -> None:
    house.desk.decide.goods = law()
    table = Table.concat([goods(["GREEN-1"], MEAT), goods(["GREEN-2"], OTHERS)])
    first, second = mrns(table)
    await house.desk.consume(table)
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    (control,) = await open_controls(house, "agency", "food")
    assert (control.mrn, control.control.reason) == (first, "FOOD_EXAMINED")
    assert control.control.HasField("due_at")
    assert await open_controls(house, "agency", "toys") == []
    assert (await status(house, first, "agency", "food")).items[0].commodity_code == MEAT
    for agency, mrn in (("food", second), ("toys", first)):
        (hidden,) = await ask(await house.stub("agency", agency), asking(mrn=mrn))
        assert hidden.error.reason == "CONSIGNMENT_UNKNOWN"
    assert (await state(house, first), await state(house, second)) == ("EXAMINATION", "RELEASED")
    assert ("CONTROL_ORDERED", "EXAMINATION") in words(await notices(house))
    (refused,) = await concluded(house, conclusion(first))
    (done,) = await concluded(house, conclusion(first), role="agency", by="food", request_id="c2")
    assert refused.error.reason == "CONTROL_OF_AGENCY"
    assert outcomes([done]) == [("RELEASED", "")]
    assert pb.State.Name((await status(house, first)).state) == "STATE_RELEASED"


def test_the_included_file_controls_nothing_and_filings_then_get_no_column() -> None:
    assert (included().jurisdictions, included().prefixes) == ((), ())
    assert read(ClearanceConfig.from_environ("clearance", {}).goods_controls) == included()
    table = filings(["GREEN-1"])
    assert cited_licences(table, included()) == {} == cited_licences(table, law())
    assert rows_with_controls(goods(["A-1", "A-2", "A-3"], MEAT), law()).tolist() == [0, 1, 2]


REFUSED: Final = {
    "an area twice": ("areas: [DE, FR]", "areas: [DE, DE]", "DE is an area of EU too"),
    "an end before the begin": ("days: 5, from: 2026-01-01", "days: 5, from: 2026-01-01, to: 2025-12-31", "is before"),
    "neither licence nor control": (", licence: {type: C400}", "", "either a licence or a control"),
    "both": (
        "licence: {type: C400}",
        "licence: {type: C400}, control: {form: examination}",
        "either a licence or a control",
    ),
    "the name of customs": ("authority: toys", "authority: Customs", "that of customs has no name"),
    "a request without a text": ("form: documents, text: Send the authorisation.", "form: documents", "has a text"),
    "a code of one digit": ('"95"', '"9"', "Expected `str` matching regex"),
    "no source": ("law: &law an example for tests", "address: &law an example", "missing required field `law`"),
    "a word that is not known": ("days: 5", "weeks: 5", "weeks"),
    "the reason of a request for licences": (
        "reason: MEDICINE",
        "reason: LICENCE_USED_UP",
        "are of requests for licences",
    ),
    "too many authorities": (
        "    controls:\n",
        "    controls:\n"
        + "".join(
            f'      - {{goods: ["01"], authority: a{number}, reason: X, control: {{form: examination}}, from: 2026-01-01, law: a very long text}}\n'
            for number in range(9)
        ),
        "more than 8 authorities",
    ),
    "a deadline of none": ("days: 5", "days: 0", "Expected `int` >= 1"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_file_that_cannot_be_applied_is_refused_with_its_place(name: str) -> None:
    before, after, message = REFUSED[name]
    assert before in TEXT
    with pytest.raises(GoodsLawError, match=r"tests\.yaml") as caught:
        read(Path("tests.yaml"), TEXT.replace(before, after))
    assert message in str(caught.value)
