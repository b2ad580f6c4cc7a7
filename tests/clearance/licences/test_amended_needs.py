"""What an amendment, a conclusion and another agency change in requests for licences, and by whose terms a licence is compared.

The definition is docs/licences.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from libs.columns import Ints, Ragged, Table
from libs.server.identity import Identity, Role
from luxor.consignment.v1 import consignment_pb2
from services.clearance.commands.act import Request
from services.clearance.commands.goods.write_off_named import Named, WriteOffNamed
from services.clearance.consignment.controls import steps
from services.clearance.consignment.controls.control import Control, ControlResult, controls_of
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import State
from services.clearance.goods_controls.law import may_begin
from services.clearance.licences.licence import ItemGoods
from services.clearance.licences.need import NeedOutcome
from services.clearance.licences.views import agency_needs
from tests.clearance.desk import DAY, MASTER, Desk, mrns
from tests.clearance.events import Driver
from tests.clearance.goods import MEAT, TEXT, TOYS, goods, law, licence, needs, register, used

Change = Callable[[int, consignment_pb2.Consignment], None]
DAY_MICROS: Final = 86_400_000_000


def items(count: int) -> Change:
    """Return a change that gives a filing so many items, all alike."""

    def change(_: int, row: consignment_pb2.Consignment) -> None:
        for _ in range(count - 1):
            row.items.append(row.items[0])

    return change


async def state(desk: Desk, table: Table) -> tuple[str, list[Control]]:
    """Return the state of a filing and its controls."""
    states = await desk.states(mrns(table))
    (controls,) = controls_of(states)
    return State(states.ints("state").values[0]).name, controls


async def decided(desk: Desk, table: Table) -> tuple[str, list[Control]]:
    """Decide on a filing; return its state and its controls."""
    await desk.consume(table)
    return await state(desk, table)


async def conclude(desk: Desk, table: Table, agency: str, calls: int) -> None:
    """Let an agency find its open control in order."""
    await Driver(desk, calls=calls).conclude(mrns(table)[0], ControlResult.CONFORM, agency)


async def answer(desk: Desk, table: Table, number: int, calls: int) -> None:
    """Let the filer answer a request."""
    (mrn,) = mrns(table)
    answers = {mrn: steps.Answer(number, "Here it is.", ("N380 F2",), 0)}

    def answering(states: Table, at: int) -> tuple[Table, EventDetails]:
        after, events = steps.answering(states, at, answers)
        return after, EventDetails(event=events, at=at, by="shop")

    await Driver(desk, calls=calls).act(mrn, answering, lambda states: steps.unfit_to_answer(states, answers, 1))


async def write_off(desk: Desk, table: Table, agency: str, named: Named, key: str) -> bytes:
    """Let an agency name a licence."""
    (mrn,) = mrns(table)
    return await WriteOffNamed(desk.store).run(
        [(mrn, None)],
        {mrn: named},
        identity=Identity(Role.AGENCY, agency),
        request=Request(f"agency/{agency}", key, key.encode(), ""),
        encode=lambda results: results[0].refusal.encode(),
    )


async def test_goods_that_lost_their_licence_by_an_amendment_are_requested_although_they_were_before(
    desk: Desk,
) -> None:
    desk.decide.goods = law()
    await register(desk.store, licence())
    found = []
    for version, cites in enumerate([[], [("C400", "L1")], []], 1):
        table = goods(["GREEN-1"], version=version, cites=cites)
        found.append((await decided(desk, table))[0])
    assert found == ["DOCUMENTS_REQUESTED", "AWAITING_ARRIVAL", "DOCUMENTS_REQUESTED"]
    await Driver(desk).arrive(MASTER)
    assert (await state(desk, table))[0] == "DOCUMENTS_REQUESTED"
    assert await desk.inconsistencies() == []


OTHER_FACTS: Final[dict[str, tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "a ton after a gram": ("toys", {"cites": (), "grams": 1}, {"cites": (), "grams": 1_000_000}),
    "more items than the text has room for": ("toys", {"cites": (), "change": items(21)}, {"cites": (), "change": items(61)}),
    "another code of the same length": ("toys", {"cites": ()}, {"cites": (), "code": "950301"}),
    "another quantity of examined goods": ("food", {"code": MEAT}, {"code": MEAT, "grams": 2_000}),
}  # fmt: skip
"""Who concludes, the goods that were seen, and those that were not."""


async def test_what_an_authority_concluded_covers_the_same_facts_and_no_others(desk: Desk) -> None:
    desk.decide.goods = law()
    for place, (name, (agency, seen, unseen)) in enumerate(OTHER_FACTS.items()):
        table = goods([f"GREEN-{place}"], **seen)
        assert (await decided(desk, table))[0] != "AWAITING_ARRIVAL", name
        await conclude(desk, table, agency, 100 * place)
        assert (await decided(desk, goods([f"GREEN-{place}"], version=2, **seen)))[0] == "AWAITING_ARRIVAL", name
        waits, controls = await decided(desk, goods([f"GREEN-{place}"], version=3, **unseen))
        assert (waits, [each.is_open for each in controls]) == (
            "EXAMINATION" if agency == "food" else "DOCUMENTS_REQUESTED",
            [False, True],
        ), name


async def test_what_other_goods_use_of_a_licence_reopens_no_request_that_was_concluded(desk: Desk) -> None:
    desk.decide.goods = law()
    await register(desk.store, licence(grams=5_000))
    table = goods(["GREEN-1"], grams=6_000)
    await desk.consume(table)
    await conclude(desk, table, "toys", 100)
    assert await write_off(desk, table, "toys", Named(1, "C400", "L1"), "k1") == b"LICENCE_NOT_NEEDED"
    await desk.consume(goods(["GREEN-2"], grams=1_000))
    found, controls = await decided(desk, goods(["GREEN-1"], grams=6_000, version=2))
    assert (found, len(controls)) == ("AWAITING_ARRIVAL", 1)


async def test_other_figures_give_no_new_deadline_and_orders_beyond_the_limit_lose_no_conclusion_of_an_authority(
    desk: Desk,
) -> None:
    desk.decide.goods = law()
    await register(desk.store, licence(grams=1_000))
    _, (first,) = await decided(desk, goods(["GREEN-1"], grams=5_000))
    _, (second,) = await decided(desk, goods(["GREEN-1"], grams=5_001, version=2))
    assert (second.due_at, second.text != first.text) == (first.due_at, True)
    await conclude(desk, goods(["GREEN-1"]), "toys", 100)
    _, (concluded,) = await state(desk, goods(["GREEN-1"]))
    for version in range(3, 84):
        grams = 2_000 + version if version % 2 else 900
        found, controls = await decided(desk, goods(["GREEN-1"], grams=grams, version=version))
        assert (found == "DOCUMENTS_REQUESTED") == bool(version % 2), version
    assert (len(controls), controls[0]) == (40, concluded)
    assert [each.number for each in controls] == list(range(1, 41))


async def test_an_agency_that_names_a_licence_changes_no_request_of_another_and_loses_no_answer(desk: Desk) -> None:
    extra = '      - {goods: ["95"], authority: food, reason: X, licence: {type: C410}, days: 9, from: 2026-01-01, law: *law}\n'
    desk.decide.goods = law(TEXT + extra)
    await register(desk.store, licence(), licence("F1", 500, authority="food", type="C410"))
    table = goods(["GREEN-1"], cites=[("C410", "F1")], change=items(2))
    _, before = await decided(desk, table)
    for control in before:
        await answer(desk, table, control.number, 10 * control.number)
    _, before = await state(desk, table)
    assert await write_off(desk, table, "toys", Named(1, "C400", "L1"), "k1") == b""
    _, after = await state(desk, table)
    assert [each.authority for each in before] == ["toys", "food"]
    assert after[1] == before[1]
    read = agency_needs(await desk.states(mrns(table)), "food")["licences"]
    assert isinstance(read, Ragged)
    assert isinstance(read.values, Table)
    assert read.values.strings("authority").tolist() == ["food", "food"]
    assert after[0] == replace(before[0], text="Item 2: licence C400 is not cited.", facts=after[0].facts)
    # What the other one concluded by its own decision stays concluded.
    await conclude(desk, table, "food", 100)
    assert await write_off(desk, table, "toys", Named(2, "C400", "L1"), "k2") == b""
    found, ended = await state(desk, table)
    assert (found, [each.result for each in ended]) == ("AWAITING_ARRIVAL", [ControlResult.CONFORM] * 2)
    assert (await used(desk.store))[:2] == (2_000, 2_000)


@pytest.mark.parametrize("first", [True, False])
async def test_of_two_controls_of_the_same_goods_the_stricter_terms_count(desk: Desk, first: bool) -> None:
    terms = "authority: toys, reason: X, licence: {type: C400, write_off: false}, from: 2026-01-01"
    line = f'      - {{goods: ["9503"], {terms}, law: an example for tests}}\n'
    place = '      - {goods: ["95"]'
    desk.decide.goods = law(TEXT.replace(place, line + place) if first else TEXT + line)
    await register(desk.store, licence(grams=1_000))
    table = goods(["GREEN-1"])
    await desk.consume(table, goods(["GREEN-2"]))
    found = [(await needs(desk, each))[0][0].outcome for each in (table, goods(["GREEN-2"]))]
    assert sorted(found) == [NeedOutcome.WRITTEN_OFF, NeedOutcome.USED_UP]
    assert await used(desk.store) == (1_000, 1_000, 1)


async def test_exports_need_a_licence_of_the_consignor_or_declarant_whatever_importer_is_stated(desk: Desk) -> None:
    desk.decide.goods = law()
    art: dict[str, Any] = {"authority": "", "type": "C402", "goods": ("97",)}
    await register(
        desk.store, licence("D1", **art), licence("E1", holder="DE7", **art), licence("I1", holder="CH8", **art)
    )
    cases = [
        ("", "D1", NeedOutcome.WRITTEN_OFF),
        ("DE7", "E1", NeedOutcome.WRITTEN_OFF),
        ("DE7", "D1", NeedOutcome.UNKNOWN),
        ("", "I1", NeedOutcome.UNKNOWN),
    ]
    for place, (consignor, number, outcome) in enumerate(cases):

        def change(_: int, row: consignment_pb2.Consignment, consignor: str = consignor) -> None:
            row.destination_country, row.dispatch_country = "CH", "DE"
            row.importer.identifier, row.consignor.identifier = "CH8", consignor

        table = goods([f"GREEN-{place}"], "970121", cites=[("C402", number)], change=change)
        await desk.consume(table)
        assert (await needs(desk, table))[0][0].outcome == outcome, place


async def test_an_amendment_after_the_last_day_of_a_licence_is_compared_on_the_day_of_the_first_acceptance(
    desk: Desk,
) -> None:
    desk.decide.goods = law()
    await register(desk.store, licence(to_day=DAY))
    for version in (1, 2):
        table = goods(["GREEN-1"], version=version)
        day = DAY + version - 1
        table = table.with_columns({"accepted_at": Ints.constant(day * DAY_MICROS + 1, 1)})
        await desk.consume(table)
        assert (await needs(desk, table))[0][0].outcome == NeedOutcome.WRITTEN_OFF, version


QUANTITIES: Final[dict[str, tuple[tuple[int | None, int | None, str], str, int | None]]] = {
    "net mass": ((5, None, ""), "KGM", 5),
    "no net mass": ((None, 5, "KGM"), "KGM", 5_000),
    "both, the same": ((5_000, 5, "KGM"), "KGM", 5_000),
    "both, and they differ": ((5_001, 5, "KGM"), "KGM", None),
    "net mass, and pieces": ((5, 7, "H87"), "KGM", 5),
    "pieces": ((5, 7, "H87"), "H87", 7_000),
    "pieces of a licence in litres": ((5, 7, "H87"), "LTR", None),
    "neither": ((None, None, ""), "KGM", None),
}


@pytest.mark.parametrize("name", list(QUANTITIES))
def test_the_quantity_is_the_net_mass_or_the_stated_one_and_unknown_where_they_differ(name: str) -> None:
    stated, unit, expected = QUANTITIES[name]
    assert ItemGoods(TOYS, *stated).millionths(unit) == expected


def test_a_code_that_is_too_short_to_tell_may_be_listed() -> None:
    assert [may_begin(code, ("95030041", "06")) for code in ("950300", "9503004100", "", "0602", "950301", "07")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
    assert not may_begin("", ())
