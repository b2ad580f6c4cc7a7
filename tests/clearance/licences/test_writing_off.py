"""Licences are written off once for each item, never beyond their quantity, and restored once. The definition is docs/licences.md."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.columns import Ints, Ragged, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.commands.consistency.inconsistencies import Kind
from services.clearance.commands.store_days import purge
from services.clearance.consignment.controls.control import ControlResult, controls_of
from services.clearance.consignment.transitions import Debt, Event, State
from services.clearance.licences.need import NeedOutcome
from tests.clearance import scalar
from tests.clearance.desk import DAY, MASTER, Desk, mrns
from tests.clearance.events import Driver
from tests.clearance.goods import ARMS, OTHERS, PLANTS, TOYS, goods, law, licence, needs, register, used
from tests.clearance.put_back import put_back

SLOW: Final = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def arriving(driver: Driver, _: str) -> None:
    """Report the arrival of the goods."""
    await driver.arrive(driver.master)


async def releasing(driver: Driver, mrn: str) -> None:
    """Release goods as an officer."""
    await driver.officer(mrn, Event.OFFICER_RELEASED)


async def holding(driver: Driver, mrn: str) -> None:
    """Hold goods as an officer."""
    await driver.officer(mrn, Event.OFFICER_HELD)


async def seizing(driver: Driver, mrn: str) -> None:
    """Seize goods."""
    await driver.dispose(mrn, pb.DISPOSAL_KIND_SEIZED)


def at_work(desk: Desk) -> Desk:
    """Give the desk the controls of goods of these tests."""
    desk.decide.goods = law()
    return desk


async def outcomes(desk: Desk, table: Table) -> list[tuple[str, NeedOutcome | None]]:
    """Return the state and the outcome of the first need of filings."""
    states = (await desk.states(mrns(table))).ints("state").values.tolist()
    return [
        (State(state).name, NeedOutcome(own[0].outcome) if own else None)
        for state, own in zip(states, await needs(desk, table), strict=True)
    ]


async def test_in_a_batch_the_first_accepted_come_first_and_what_does_not_fit_is_held_with_the_figures(
    desk: Desk,
) -> None:
    await register(at_work(desk).store, licence(grams=10_000))
    table = goods([f"GREEN-{number}" for number in range(5)], grams=[4_000, 5_000, 2_000, 500, 600])
    order = sorted(range(5), key=lambda row: mrns(table)[row])
    left, expected = 10_000, {}
    for row in order:
        grams = [4_000, 5_000, 2_000, 500, 600][row]
        fits = grams <= left
        left -= grams if fits else 0
        expected[row] = (
            ("AWAITING_ARRIVAL", NeedOutcome.WRITTEN_OFF) if fits else ("DOCUMENTS_REQUESTED", NeedOutcome.USED_UP)
        )
    await desk.consume(table)
    assert await outcomes(desk, table) == [expected[row] for row in range(5)]
    assert await used(desk.store) == (
        10_000 - left,
        10_000 - left,
        sum(state[0] == "AWAITING_ARRIVAL" for state in expected.values()),
    )
    await desk.consume(table)
    assert (await used(desk.store))[0] == 10_000 - left, "a repeated page writes nothing off"


UNKNOWN: Final = "is not registered for the importer."
INVALID: Final = "is not valid on the day of acceptance."
FAILURES: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "another number": ({"number": "other"}, "LICENCE_UNKNOWN", UNKNOWN),
    "another holder": ({"holder": "FR1"}, "LICENCE_UNKNOWN", UNKNOWN),
    "another agency": ({"authority": "food"}, "LICENCE_UNKNOWN", UNKNOWN),
    "another type": ({"type": "C401"}, "LICENCE_UNKNOWN", UNKNOWN),
    "another jurisdiction": ({"jurisdiction": "UK"}, "LICENCE_UNKNOWN", UNKNOWN),
    "from the next day": ({"from_day": DAY + 1}, "LICENCE_NOT_VALID", INVALID),
    "to the day before": ({"to_day": DAY - 1}, "LICENCE_NOT_VALID", INVALID),
    "revoked": ({"revoked_at": 5}, "LICENCE_NOT_VALID", INVALID),
    "other goods": ({"goods": ("9504", "95030041")}, "LICENCE_OTHER_GOODS", "is for other goods."),
    "another unit": ({"unit": "LTR"}, "LICENCE_QUANTITY_UNKNOWN", "needs the quantity in LTR."),
    "a gram less": ({"grams": 999}, "LICENCE_USED_UP", "1 KGM needed, less is left."),
}
"""How the register differs from what an item of 1 kg needs; reason and end of the text of the request that holds the goods."""
SUFFICIENT: Final[dict[str, tuple[dict[str, Any], int]]] = {
    "exactly enough": ({"grams": 1_000}, 1_000),
    "not limited": ({"grams": None}, 0),
    "its only day": ({"from_day": DAY, "to_day": DAY}, 1_000),
    "in pieces": ({"unit": "H87", "quantity_millionths": 1_000_000}, 1_000),
    "the whole code": ({"goods": ("01", TOYS)}, 1_000),
}
"""Licences that suffice for one piece of 1 kg, and what is written off: thousandths of the unit."""


async def test_goods_whose_licence_does_not_fit_are_held_for_its_agency_and_no_version_was_a_release(
    desk: Desk,
) -> None:
    await Driver(at_work(desk)).arrive(MASTER)
    await register(desk.store, *(licence(**{"number": name} | each) for name, (each, _, _) in FAILURES.items()))
    tables = {
        name: goods([f"GREEN-{place}"], cites=[("C400", name), ("N380", "I")])
        for place, name in enumerate([*FAILURES, "none"])
    }
    tables["none"] = goods(["BARE-1"], cites=[("N380", "L1")])
    await desk.consume(*tables.values())
    expected = {
        name: (reason, f"Item 1: licence C400 {name}{':' if 'left' in text else ''} {text}")
        for name, (_, reason, text) in FAILURES.items()
    }
    expected["none"] = ("LICENCE_NOT_CITED", "Item 1: licence C400 is not cited.")
    for name, (reason, text) in expected.items():
        mrn = mrns(tables[name])[0]
        states = await desk.states([mrn])
        ((request,),) = controls_of(states)
        assert (request.authority, request.form) == ("toys", control_pb2.CONTROL_FORM_DOCUMENTS), name
        assert (request.reason, request.text, request.is_open) == (reason, text, True), name
        assert request.due_at == request.ordered_at + 5 * 86_400_000_000, name
        assert states.ints("arrived_at").valid.all(), name
        await Driver(desk, calls=100 + len(mrn)).officer(mrn, Event.OFFICER_RELEASED)
        assert (await outcomes(desk, tables[name]))[0][0] == "DOCUMENTS_REQUESTED", "no officer releases it"
    assert all(State.RELEASED not in each.ints("state").values for each in await desk.events())
    async with desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from licence_use") == 0
        assert await reading.raw.fetchval("select sum(written_off) from licence") == 0


async def test_goods_whose_licence_fits_are_released_as_others_are(desk: Desk) -> None:
    await Driver(at_work(desk)).arrive(MASTER)
    await register(desk.store, *(licence(**{"number": name} | each) for name, (each, _) in SUFFICIENT.items()))
    for place, (name, (_, thousandths)) in enumerate(SUFFICIENT.items()):
        # The first of the cited licences that fits counts.
        table = goods([f"GREEN-{place}"], cites=[("C400", "missing"), ("C400", name)])
        await desk.consume(table, goods([f"GREEN-X{place}"], OTHERS))
        assert await outcomes(desk, table) == [("RELEASED", NeedOutcome.WRITTEN_OFF)], name
        states = await desk.states(mrns(table))
        assert (states.ints("version").tolist(), controls_of(states)) == ([2], [[]]), "decided, then arrived"
        assert await used(desk.store, name) == (thousandths, thousandths, 1), name


ENDS: Final[dict[str, tuple[list[Callable[[Driver, str], Awaitable[None]]], bool]]] = {
    "invalidated": ([lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_INVALIDATED)], True),
    "expired": ([lambda driver, _: driver.expire()], True),
    "seized": ([arriving, seizing], False),
    "confiscated": ([arriving, seizing, lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_CONFISCATED)], True),
    "destroyed": ([arriving, lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_DESTROYED)], True),
    "re-exported": ([arriving, lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_RE_EXPORTED)], True),
    "abandoned": ([arriving, lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_ABANDONED)], True),
    "released": ([arriving, releasing], False),
    "returned": ([arriving, releasing, lambda driver, mrn: driver.give_back(mrn, frozenset())], False),
    "released, held and destroyed": (
        [arriving, releasing, holding, lambda driver, mrn: driver.dispose(mrn, pb.DISPOSAL_KIND_DESTROYED)],
        False,
    ),
}
"""The ends of goods that the lane holds, and whether the quantity is restored: of goods that were never released, in the end."""


async def test_each_end_without_a_release_restores_the_quantity_once(desk: Desk) -> None:
    await register(at_work(desk).store, licence(grams=1_000_000))
    driver, total = Driver(desk), 0
    for place, (name, (steps, restores)) in enumerate(ENDS.items()):
        driver.master = f"1601234{place:04d}"
        table = goods([f"RED-{place}"], grams=1_000, master=driver.master)
        await desk.consume(table)
        assert await outcomes(desk, table) == [("HELD", NeedOutcome.WRITTEN_OFF)]
        before = await used(desk.store)
        assert before[:2] == (total + 1_000, total + 1_000)
        for step in steps:
            await step(driver, mrns(table)[0])
        total += 0 if restores else 1_000
        assert (await used(desk.store))[:2] == (total, total), name
        assert (await needs(desk, table))[0][0].outcome == (
            NeedOutcome.RESTORED if restores else NeedOutcome.WRITTEN_OFF
        ), name
        # What comes after the end restores nothing a second time.
        await driver.debt(mrns(table)[0], Debt.PAID, 380)
        await driver.reassess(mrns(table)[0], 500, "")
        await desk.consume(table)
        assert (await used(desk.store))[:2] == (total, total), name
    assert (await used(desk.store))[2] == len(ENDS), "the list of uses loses nothing"


async def test_returned_items_are_restored_where_the_control_says_so_each_once(desk: Desk) -> None:
    at_work(desk)
    await register(desk.store, licence(authority="", type="C401", goods=("93",)))

    def two(_: int, row: consignment_pb2.Consignment) -> None:
        row.items.append(row.items[0])
        row.items[1].net_mass_mg = 2_000_000

    table = goods(["GREEN-1"], ARMS, cites=[("C401", "L1")], change=two)
    await desk.consume(table)
    driver = Driver(desk)
    await driver.arrive(MASTER)
    sums = []
    for items in (frozenset({2}), frozenset({2}), frozenset[int]()):
        await driver.give_back(mrns(table)[0], items)
        sums.append((await used(desk.store, authority="", kind="C401"))[:2])
    assert sums == [(1_000, 1_000), (1_000, 1_000), (0, 0)]


async def test_a_certificate_is_checked_and_not_written_off_and_its_use_is_listed(desk: Desk) -> None:
    at_work(desk)
    await register(desk.store, licence("P1", 10, authority="plants", type="N851", goods=("06",)))
    table = goods(["GREEN-1", "GREEN-2"], PLANTS, cites=[("N851", "P1")])
    await desk.consume(table)
    assert await outcomes(desk, table) == [("EXAMINATION", NeedOutcome.CHECKED)] * 2, "it is examined by another agency"
    assert await used(desk.store, "P1", "plants", "N851") == (0, 0, 2)


async def test_an_amendment_moves_what_is_written_off_and_ends_the_request_that_it_meets(desk: Desk) -> None:
    await register(at_work(desk).store, licence("L1", 1_000), licence("L2", 5_000))
    steps: list[tuple[dict[str, Any], str, tuple[int, int], list[int]]] = [
        ({"grams": 2_000}, "DOCUMENTS_REQUESTED", (0, 0), [0]),
        ({"grams": 1_000}, "AWAITING_ARRIVAL", (1_000, 0), [ControlResult.CONFORM]),
        ({"grams": 900}, "AWAITING_ARRIVAL", (900, 0), [ControlResult.CONFORM]),
        ({"grams": 3_000, "cites": [("C400", "L2")]}, "AWAITING_ARRIVAL", (0, 3_000), [ControlResult.CONFORM]),
        ({"grams": 6_000, "cites": [("C400", "L2")]}, "DOCUMENTS_REQUESTED", (0, 0), [ControlResult.CONFORM, 0]),
        ({"code": OTHERS}, "AWAITING_ARRIVAL", (0, 0), [ControlResult.CONFORM, ControlResult.CONFORM]),
        ({"grams": 1_000}, "AWAITING_ARRIVAL", (1_000, 0), [ControlResult.CONFORM, ControlResult.CONFORM]),
    ]
    for version, (filed, state, sums, results) in enumerate(steps, 1):
        table = goods(["GREEN-1"], version=version, **filed)
        await desk.consume(table)
        await desk.consume(table)
        assert (await outcomes(desk, table))[0][0] == state, version
        assert ((await used(desk.store, "L1"))[0], (await used(desk.store, "L2"))[0]) == sums, version
        (controls,) = controls_of(await desk.states(mrns(table)))
        assert [each.result for each in controls] == results, version


async def test_an_amendment_that_comes_too_late_moves_nothing(desk: Desk) -> None:
    await register(at_work(desk).store, licence("L1", 1_000))
    await desk.consume(goods(["RED-1"]))
    await Driver(desk).arrive(MASTER)
    await desk.consume(goods(["RED-1"], version=2, grams=500))
    assert await used(desk.store) == (1_000, 1_000, 1)


async def test_a_transaction_that_fails_or_whose_commit_is_repeated_writes_off_once(desk: Desk) -> None:
    await register(at_work(desk).store, licence(grams=1_500))
    table = goods(["GREEN-1", "GREEN-2"])
    prepared = await desk.prepare(table)

    async def failing() -> None:
        async with desk.store.database.transaction() as tx:
            await desk.intake.apply(tx, prepared)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await used(desk.store) == (0, 0, 0)
    # The answer to the commit was lost: the same page comes a second time, on this replica and on another one.
    for replica in (desk, at_work(Desk(desk.store.database, desk.neighbours, desk.channel))):
        async with desk.store.database.transaction() as tx:
            await replica.intake.apply(tx, prepared)
    assert await used(desk.store) == (1_000, 1_000, 1)


@SLOW
@given(
    pages=st.lists(
        st.lists(st.integers(1, 9).map(lambda units: units * 400), min_size=1, max_size=4), min_size=2, max_size=4
    ),
    limit=st.integers(1, 30).map(lambda units: units * 400),
    ends=st.lists(st.sampled_from(["dispose", "release", "amend", "repeat"]), min_size=2, max_size=6),
    seed=st.randoms(use_true_random=False),
)
async def test_two_replicas_in_a_race_never_write_off_more_than_there_is(
    desk: Desk, pages: list[list[int]], limit: int, ends: list[str], seed: Random
) -> None:
    """Pages with two licences each are decided at once, and then repeated, amended, ended and released at once."""
    run = str(next(RUNS))
    await register(at_work(desk).store, *(licence(f"{each}{run}", limit) for each in "AB"))
    replicas = [desk, at_work(Desk(desk.store.database, desk.neighbours, desk.channel))]
    tables = [
        Table.concat(
            [
                goods([f"RED-{run}{place}{row}"], grams=grams, cites=[("C400", f"{'AB'[(place + row) % 2]}{run}")])
                for row, grams in enumerate(page)
            ]
        )
        for place, page in enumerate(pages)
    ]
    prepared = [await replicas[place % 2].prepare(table) for place, table in enumerate(tables)]

    async def decide(place: int) -> None:
        replica = replicas[(place + seed.randint(0, 1)) % 2]
        async with replica.store.database.transaction() as tx:
            await replica.intake.apply(tx, prepared[place])

    # A page is decided by the replica that has leased its partition, one page after the other; different pages at once.
    order = list(range(len(tables)))
    seed.shuffle(order)
    await asyncio.gather(*map(decide, order))
    await check(replicas, tables, run, limit)
    filed = [mrn for table in tables for mrn in mrns(table)]
    driver = Driver(desk, calls=1_000 * int(run))
    acts = []
    for end, mrn in zip(ends, seed.sample(filed, min(len(filed), len(ends))), strict=False):
        place = next(place for place, table in enumerate(tables) if mrn in mrns(table))
        if end == "dispose":
            acts += [driver.dispose(mrn, pb.DISPOSAL_KIND_INVALIDATED) for _ in range(2)]
        elif end == "release":
            acts.append(driver.officer(mrn, Event.OFFICER_RELEASED))
        elif end == "repeat":
            acts.append(decide(place))
        else:
            row = mrns(tables[place]).index(mrn)
            grams = 400 * seed.randint(1, 9)
            again = tables[place].take(np.array([row]))
            items = again.ragged("items")
            mass = again.child("items").with_columns({"net_mass_mg": Ints.constant(1_000 * grams, 1)})
            again = again.with_columns({"items": Ragged(items.offsets, mass), "version": Ints.constant(2, 1)})
            acts.append(replicas[1].consume(again))
    await asyncio.gather(*acts)
    await check(replicas, tables, run, limit)


RUNS: Final = itertools.count(1)


async def check(replicas: Sequence[Desk], tables: Sequence[Table], run: str, limit: int) -> None:
    """Compare the register with the states: what did not end without a release is written off, and no more than there is."""
    sums = {f"A{run}": 0, f"B{run}": 0}
    for table in tables:
        states = await replicas[0].states(mrns(table))
        for (need,), state, controls in zip(
            await needs(replicas[0], table), states.ints("state").values.tolist(), controls_of(states), strict=True
        ):
            if need.outcome == NeedOutcome.WRITTEN_OFF:
                assert state not in scalar.ENDS
                sums[need.number] += (need.quantity_millionths or 0) // 1_000
            elif state not in scalar.ENDS:
                assert state == State.DOCUMENTS_REQUESTED
                assert any(each.is_open and each.authority == "toys" for each in controls)
            else:
                assert need.outcome in (NeedOutcome.RESTORED, NeedOutcome.USED_UP)
    for number, total in sums.items():
        assert (await used(replicas[0].store, number))[:2] == (total, total)
        assert total <= limit
    assert await replicas[0].inconsistencies() == []


async def test_licences_are_deleted_with_their_uses_once_no_consignment_of_theirs_is_stored(desk: Desk) -> None:
    await register(at_work(desk).store, licence(to_day=DAY), licence("L2"))
    await desk.consume(goods(["GREEN-1"]), goods(["GREEN-2"], cites=[("C400", "L2")]))
    await purge(desk.store, DAY)
    assert (await used(desk.store), await used(desk.store, "L2")) == ((1_000, 1_000, 1), (1_000, 1_000, 1))
    desk.consistent = False
    await purge(desk.store, DAY + 1)
    async with desk.store.database.connection() as reading:
        left = await reading.raw.fetch("select number from licence union all select number from licence_use")
    assert [each["number"] for each in left] == ["L2", "L2"]


TAMPERED: Final = {
    "what the register states": ("update licence set written_off = written_off - 1 where number = 'L1'", 2),
    "what the register states of a licence without uses": ("update licence set written_off = 7 where number = 'L9'", 1),
    "a quantity": ("update licence_use set quantity = quantity + 1 where mrn = $1", 3),
    "a use that is missing": ("delete from licence_use where mrn = $1", 2),
    "a use that was restored": ("update licence_use set restored_at = 5 where mrn = $1", 3),
    "a use of goods that need none": (
        "insert into licence_use select day, $1, item, authority, type, 1, number, 0, 1 from licence_use limit 1", 1,
    ),
    "a use of nothing": (
        "insert into licence_use select day, left($1, 9) || 'ZZZZZZZ' || right($1, 2), item, authority, type, 1, number, 0, 1 "
        "from licence_use limit 1",
        1,
    ),
}  # fmt: skip
"""A statement about one of two consignments that use a licence, and how many inconsistencies are found: of a sum in each of its uses."""


async def test_the_check_of_the_store_finds_each_use_that_no_state_explains_and_each_sum_that_is_wrong(
    desk: Desk,
) -> None:
    await register(at_work(desk).store, licence())
    await register(desk.store, licence("L9"), *(licence(f"M{number}") for number in range(3)))
    table = goods(["GREEN-1", "GREEN-2"])
    await desk.consume(table, goods(["GREEN-3"], OTHERS))
    async for name in put_back(desk.store.database, ("licence", "licence_use"), TAMPERED):
        statement, count = TAMPERED[name]
        mrn = mrns(goods(["GREEN-3"]))[0] if "need none" in name else mrns(table)[0]
        async with desk.store.database.transaction() as tx:
            await tx.raw.execute(statement, *([mrn] if "$1" in statement else []))
        found = await desk.inconsistencies()
        assert len(await desk.inconsistencies(2)) == len(found), "in pages of two"
        assert {each.kind for each in found} <= {Kind.LICENCE, Kind.WORK_LIST}, name
        assert len(found) == count, (name, found)
    assert await desk.inconsistencies() == []
