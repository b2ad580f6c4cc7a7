"""Midnight, and the moment at which a limit ends: the last microsecond is before it and the next one after it, however late the timer is.

All days are days of UTC by the clock of the store. Time is given, never waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from libs.columns import Ints, Table
from libs.customs.time import MICROS_PER_DAY
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from luxor.clearance.v1 import control_pb2
from services.clearance.commands.act import Acted, Request
from services.clearance.commands.transit.move import Move, TransitProgress
from services.clearance.consignment.controls.control import controls_of
from services.clearance.consignment.proposals.proposal import ProposalOutcome, proposals_of
from services.clearance.consignment.transitions import State
from services.clearance.jobs.waits import Waits
from services.clearance.licences.need import NeedOutcome
from services.clearance.store import Store
from services.clearance.transit.movement import TransitStart
from tests.clearance.desk import CARRIER, DAY, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION, arrival, arrive, check_versions
from tests.clearance.events import STEPS, Driver
from tests.clearance.goods import TEXT, goods, law, licence, needs, register, used
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.second_person import of_two
from tests.clearance.transits import RULES

MIDNIGHT: Final = (DAY + 3) * MICROS_PER_DAY
"""The first microsecond of a day to come, for which no partition was made."""
LAST, FIRST = MIDNIGHT - 1, MIDNIGHT
MOMENTS: Final = pytest.mark.parametrize("moment", [LAST, FIRST], ids=["last microsecond", "first microsecond"])


class Clock:
    """The clock of a store, where a test sets it."""

    def __init__(self) -> None:
        self.at: int | None = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the clock by which acts are dated; without a time it is that of the database."""
    made, now = Clock(), Store.now

    async def at(store: Store, tx: Transaction) -> int:
        return await now(store, tx) if made.at is None else made.at

    monkeypatch.setattr(Store, "now", at)
    return made


def end_of(day: int, days: int) -> int:
    """Return the first microsecond after a limit of whole days after a day, by the calendar of the Union."""
    last = datetime.fromtimestamp(day * 86_400, UTC) + timedelta(days=days)
    while last.isoweekday() > 5:
        last += timedelta(days=1)
    return int((last + timedelta(days=1)).timestamp()) * 1_000_000


async def times(desk: Desk, mrn: str, *names: str) -> list[int | None]:
    """Return times of a state."""
    states = await desk.states([mrn])
    return [states.ints(name)[0] for name in names]


async def start(desk: Desk, mrn: str) -> str:
    """Begin a movement as the carrier; return why it is refused."""
    acted: list[Acted] = []

    def encode(_: TransitProgress, results: Sequence[Acted]) -> bytes:
        acted.extend(results)
        return b"-"

    step = TransitStart(
        officer="", destination="FR000001", limit_days=0, seal="", document="", guarantee="", note="", rules=RULES
    )
    caller = Identity(Role.CARRIER, CARRIER)
    request = Request(str(caller), "s", b"s", TRACE)
    await Move(desk.store, step).named([(mrn, None)], caller=caller, request=request, encode=encode)
    return acted[0].refusal


@MOMENTS
async def test_the_day_on_which_goods_move_arrive_and_are_presented_is_that_of_the_moment(
    desk: Desk, clock: Clock, moment: int
) -> None:
    desk.decide.presentation = desk.arrive.law = PRESENTATION
    driver, names = Driver(desk), ["BARE-1", "RED-2"]
    moved, presented = mrns(filings(names))
    await desk.consume(filings(names))
    await arrive(desk, replace(arrival(), arrived_at=moment - 60_000_000))
    # It is due in the first hour of the next day, where the goods arrived in the last one of a day.
    due = moment - 60_000_000 + 3_600 * 10**6
    assert await times(desk, moved, "presentation_due_at") == [due]
    clock.at = moment
    await driver.present([moved, presented])
    day = moment // MICROS_PER_DAY
    for mrn in (moved, presented):
        async with desk.store.database.connection() as reading:
            assert (await desk.store.storage.entries(reading, [mrn]))[mrn] == (
                end_of(day, 90),
                end_of(day, 90) - 14 * MICROS_PER_DAY,
            )
    await STEPS["transit"](driver, "BARE-1")
    assert await times(desk, moved, "transit_due_at") == [end_of(day, 8)]
    await STEPS["transit arrives"](driver, "BARE-1")
    async with desk.store.database.connection() as reading:
        assert (await desk.store.storage.entries(reading, [moved]))[moved][0] == end_of(day, 90)
    assert await Waits(desk.store, "r").step(at=end_of(day, 90) - 1) == 2, "the reminders"
    assert await Waits(desk.store, "r").step(at=end_of(day, 90)) == 2, "the ends"
    await check_versions(desk)


@pytest.mark.parametrize(("early", "refusal"), [(1, ""), (0, "TRANSIT_NOT_PROVIDED")])
async def test_no_carrier_moves_goods_after_the_end_of_their_storage_though_the_timer_is_late(
    desk: Desk, clock: Clock, early: int, refusal: str
) -> None:
    await desk.consume(filings(["BARE-1"]))
    await arrive(desk, arrival())
    (mrn,) = mrns(filings(["BARE-1"]))
    clock.at = end_of(DAY, 90) - early
    assert await start(desk, mrn) == refusal


@MOMENTS
async def test_what_holds_until_a_day_holds_for_its_last_filing_and_not_for_the_first_of_the_next(
    desk: Desk, moment: int
) -> None:
    """Both are in one page, of which one day has no partition yet, and the licence covers one of them."""
    today, tomorrow = LAST // MICROS_PER_DAY, FIRST // MICROS_PER_DAY
    last = datetime.fromtimestamp(LAST // 1_000_000, UTC).date().isoformat()
    desk.decide.goods = law(TEXT.replace("days: 3, from: 2026-01-01", f"days: 3, from: 2026-01-01, to: {last}"))
    await register(desk.store, licence(grams=1_000, to_day=today), licence("L2", grams=1_000, from_day=tomorrow))
    cites = [("C400", "L1"), ("C400", "L2")]
    tables: list[Table] = []
    for reference, code, at in (
        ("GREEN-b", "950300", LAST), ("GREEN-a", "950300", FIRST), ("GREEN-d", "020110", LAST), ("GREEN-c", "020110", FIRST),
    ):  # fmt: skip
        made = goods([reference], code, cites=cites, day=at // MICROS_PER_DAY)
        tables.append(made.with_columns({"accepted_at": Ints.constant(at, 1)}))
    await desk.consume(*(tables if moment == LAST else reversed(tables)))
    (first,), (second,) = await needs(desk, tables[0]), await needs(desk, tables[1])
    assert [(each.number, each.outcome) for each in (first[0], second[0])] == [
        ("L1", NeedOutcome.WRITTEN_OFF), ("L2", NeedOutcome.WRITTEN_OFF),
    ]  # fmt: skip
    assert [await used(desk.store, number) for number in ("L1", "L2")] == [(1_000, 1_000, 1)] * 2
    states = await desk.states([mrn for table in tables for mrn in mrns(table)])
    assert [State(each).name for each in states.ints("state").values.tolist()] == [
        "AWAITING_ARRIVAL", "AWAITING_ARRIVAL", "EXAMINATION", "AWAITING_ARRIVAL",
    ]  # fmt: skip
    # An amendment on the next day is that of a filing of the day before.
    amended = goods(["GREEN-b"], cites=cites, version=2, day=today)
    await desk.consume(amended.with_columns({"accepted_at": Ints.constant(FIRST, 1)}))
    assert [each.number for each in (await needs(desk, amended))[0]] == ["L1"]
    assert await used(desk.store) == (1_000, 1_000, 2)


async def test_replicas_that_decide_the_first_filings_of_a_day_at_once_make_its_partition_once(desk: Desk) -> None:
    day = FIRST // MICROS_PER_DAY
    replicas = [desk, *(Desk(desk.store.database, desk.neighbours, desk.channel) for _ in range(3))]
    pages = [filings([f"RED-{place}{row}" for row in range(5)], day=day, master=f"9{place}") for place in range(4)]
    await desk.consume(filings(["RED-held"]))
    driver = Driver(desk)

    async def acts() -> None:
        for name in ("hold", "release", "seized"):
            await STEPS[name](driver, "RED-held")

    await asyncio.gather(acts(), *(each.consume(page) for each, page in zip(replicas, pages, strict=True)))
    # The same page again, by another replica: nothing is decided twice.
    await replicas[1].consume(pages[0])
    states = await desk.states([mrn for page in pages for mrn in mrns(page)])
    assert states.ints("version").values.tolist() == [1] * 20
    await check_versions(desk)


async def test_what_is_done_at_the_moment_of_its_limit_comes_before_or_after_the_timer_and_both_count_once(
    desk: Desk, clock: Clock
) -> None:
    desk.decide.presentation = desk.arrive.law = PRESENTATION
    desk.neighbours.risk = lambda table: of_two(table, answering({"RED-two": ServiceSpan(open=("VALUE_DOUBTED",))}))
    driver, there = Driver(desk), ["RED-two", "BARE-moves", "RED-dock"]
    await desk.consume(filings(there), filings(["GREEN-asked"], master="9"))
    await arrive(desk, arrival())
    await driver.present(mrns(filings(there[:2])))
    await STEPS["release"](driver, "RED-two")
    await STEPS["transit"](driver, "BARE-moves")
    await STEPS["screening by a deadline"](driver, "GREEN-asked")
    two, moves, dock = mrns(filings(there))
    (asked,) = mrns(filings(["GREEN-asked"]))
    (proposal,) = proposals_of(await desk.states([two]))
    (controls,) = controls_of(await desk.states([asked]))
    assert proposal is not None
    due = [
        proposal.due_at,
        *await times(desk, moves, "transit_due_at"),
        *await times(desk, dock, "presentation_due_at"),
        controls[0].due_at,
    ]
    acts: list[Callable[[], Awaitable[None]]] = [
        lambda: STEPS["confirm"](driver, "RED-two"),
        lambda: STEPS["transit arrives"](driver, "BARE-moves"),
        lambda: driver.present([dock]),
        lambda: STEPS["answer"](driver, "GREEN-asked"),
    ]
    for at, act in sorted(zip(due, acts, strict=True), key=lambda pair: pair[0] or 0):
        assert at is not None
        assert await Waits(desk.store, "a").step(at=at - 1) == 0
        clock.at = at
        await asyncio.gather(act(), *(Waits(desk.store, replica).step(at=at) for replica in "ab"))
        await act()
        for replica in "ab":
            await Waits(desk.store, replica).step(at=at)
    # Nobody confirmed what was due to lapse.
    states = await desk.states([two, moves, dock])
    (proposal, *_), lapsed = proposals_of(states), states.ints("state")[0]
    assert proposal is not None
    assert (lapsed, proposal.outcome) == (State.HELD, ProposalOutcome.LAPSED)
    assert states.ints("transit_ended_at")[1] == due[1]
    assert states.ints("transit_overdue_at")[1] in (None, due[1])
    assert states.ints("presented_at")[2] == due[2]
    assert states.ints("presentation_overdue_at")[2] in (None, due[2])
    # Either the answer was recorded and nothing follows from the deadline, or nobody may load the goods.
    (controls,) = controls_of(await desk.states([asked]))
    forbidden = [each for each in controls if each.form == control_pb2.CONTROL_FORM_DO_NOT_LOAD]
    assert (controls[0].answered_at is None) == bool(forbidden)
    assert len(controls) <= 2
    await check_versions(desk)
