"""What a mark on a release list means, at both sides of each bound, and goods whose arrival clearance knows already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.customs.release_list import Entry, Header, Page
from libs.store.database import Transaction
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.release_lists.export import ListProgress, header_of, new_serial, next_page
from services.clearance.commands.release_lists.import_marks import ImportMarks, Reconciled
from services.clearance.consignment.transitions import State
from services.clearance.jobs.waits import Waits
from services.clearance.release_lists.reconciliation import Decision, Facts, Mark, MarkOutcome, compare, requires_hold
from services.clearance.store import Store
from tests.clearance.desk import MASTER, TRACE, Desk, filings
from tests.clearance.desk_commands import PRESENTATION, arrival, arrive
from tests.clearance.risk_answers import ServiceSpan, answering

MINUTE = 60_000_000
HOUR = 60 * MINUTE
MADE, ARRIVES, LEFT, UNTIL, NOW = (each * HOUR for each in (1, 3, 4, 8, 20))
CLOCK = 5 * MINUTE
"""By how much the clocks may differ."""
HEADER = Header("RL-1", "LX0188", MADE, ARRIVES, UNTIL, "olga", 1, bytes(32))
ENTRY = Entry(1, "H-1", "26DE07329000001XR8", 2, release=True)
FACTS = Facts(
    State.AWAITING_ARRIVAL, 2, released=False, released_at=2**62, releasable=True, held=False, not_before=0, decided_at=0
)  # fmt: skip
MARK = Mark(1, "H-1", Decision.RELEASED, LEFT, "dora")
HELD = replace(MARK, decision=Decision.HELD)


@pytest.mark.parametrize(
    ("at", "now", "not_before", "expected"),
    [
        (MADE - CLOCK, NOW, 0, MarkOutcome.RELEASED),
        (MADE - CLOCK - 1, NOW, 0, MarkOutcome.OUT_OF_TIME),
        (UNTIL + CLOCK, NOW, 0, MarkOutcome.RELEASED),
        (UNTIL + CLOCK + 1, NOW, 0, MarkOutcome.OUT_OF_TIME),
        (LEFT, LEFT - CLOCK, 0, MarkOutcome.RELEASED),
        (LEFT, LEFT - CLOCK - 1, 0, MarkOutcome.OUT_OF_TIME),
        (LEFT, NOW, LEFT + CLOCK, MarkOutcome.RELEASED),
        (LEFT, NOW, LEFT + CLOCK + 1, MarkOutcome.OUT_OF_TIME),
        # The time for an inspection is over by clearance's own clock.
        (LEFT, LEFT - 1, LEFT, MarkOutcome.OUT_OF_TIME),
        (LEFT, LEFT, LEFT, MarkOutcome.RELEASED),
    ],
)
def test_goods_leave_by_a_list_only_in_its_time(at: int, now: int, not_before: int, expected: MarkOutcome) -> None:
    facts = replace(FACTS, not_before=not_before)
    assert compare(HEADER, ENTRY, [replace(MARK, at=at)], facts, now) is expected


RELEASED_NOW = {"state": State.RELEASED, "released": True, "releasable": False, "version": 7}


@pytest.mark.parametrize(
    ("facts", "entry", "at", "expected"),
    [
        (None, {}, LEFT, MarkOutcome.UNKNOWN),
        ({"version": 1}, {}, LEFT, MarkOutcome.CHANGED),
        ({"version": 3}, {}, LEFT, MarkOutcome.CHANGED),
        ({"releasable": False}, {}, LEFT, MarkOutcome.CHANGED),
        # Goods that only arrived since, and then were not presented in time, are as listed.
        ({"version": 3, "arrivals": 1}, {}, LEFT, MarkOutcome.RELEASED),
        ({"version": 4, "arrivals": 1}, {}, LEFT, MarkOutcome.CHANGED),
        ({"version": 4, "arrivals": 2}, {}, LEFT, MarkOutcome.RELEASED),
        ({"version": 1, "arrivals": 2}, {}, LEFT, MarkOutcome.CHANGED),
        ({}, {"release": False}, LEFT, MarkOutcome.AGAINST_LIST),
        # The goods were released when they left, whatever the list says.
        (RELEASED_NOW | {"released_at": LEFT}, {"release": False}, LEFT, MarkOutcome.AGREES),
        # They left before they were released: that agrees only with a list that let them leave then.
        (RELEASED_NOW | {"released_at": LEFT + 1}, {"release": False}, LEFT, MarkOutcome.AGAINST_LIST),
        (RELEASED_NOW | {"released_at": LEFT + 1}, {}, LEFT, MarkOutcome.AGREES),
        (RELEASED_NOW | {"released_at": NOW}, {}, ARRIVES - CLOCK, MarkOutcome.AGREES),
        (RELEASED_NOW | {"released_at": NOW}, {}, ARRIVES - CLOCK - 1, MarkOutcome.OUT_OF_TIME),
        (RELEASED_NOW | {"released_at": NOW}, {}, UNTIL + CLOCK + 1, MarkOutcome.OUT_OF_TIME),
        # An unknown time of the release is not an early one.
        (RELEASED_NOW, {"release": False}, LEFT, MarkOutcome.AGAINST_LIST),
    ],
)
def test_only_goods_that_are_as_listed_are_released(
    facts: dict[str, Any] | None, entry: dict[str, Any], at: int, expected: MarkOutcome
) -> None:
    stored = None if facts is None else replace(FACTS, **facts)
    mark = replace(MARK, at=at)
    outcome = compare(HEADER, replace(ENTRY, **entry), [mark], stored, NOW)
    assert outcome is expected
    # What is released stays released, and so does what agrees.
    released = facts is not None and "released" in facts
    expects = stored is not None and not released and expected is not MarkOutcome.RELEASED
    assert requires_hold(outcome, [mark], stored) is expects


@pytest.mark.parametrize(
    ("facts", "expected", "held"),
    [
        ({}, MarkOutcome.HELD, True),
        ({"state": State.HELD}, MarkOutcome.HELD, True),
        ({"state": State.EXAMINATION}, MarkOutcome.HELD, True),
        ({"state": State.EXPIRED}, MarkOutcome.CHANGED, False),
        ({"state": State.HELD, "held": True}, MarkOutcome.AGREES, False),
        ({"state": State.HELD, "held": True, "decided_at": NOW}, MarkOutcome.AGREES, False),
        # Released by itself since: the mark is the officer's decision.
        (RELEASED_NOW | {"released_at": LEFT + 1}, MarkOutcome.HELD, True),
        (RELEASED_NOW | {"released_at": LEFT - 1}, MarkOutcome.HELD, True),
        # Released by an officer: the later decision counts.
        (RELEASED_NOW | {"released_at": LEFT, "decided_at": LEFT}, MarkOutcome.HELD, True),
        (RELEASED_NOW | {"released_at": NOW, "decided_at": LEFT + 1}, MarkOutcome.DECIDED_SINCE, False),
        ({"decided_at": LEFT + 1}, MarkOutcome.DECIDED_SINCE, False),
    ],
)
def test_goods_marked_as_held_are_held_unless_an_officer_decided_since(
    facts: dict[str, Any], expected: MarkOutcome, held: bool
) -> None:
    stored = replace(FACTS, **facts)
    outcome = compare(HEADER, ENTRY, [HELD], stored, NOW)
    assert (outcome, requires_hold(outcome, [HELD], stored)) == (expected, held)


@pytest.mark.parametrize(
    ("facts", "held"),
    [
        ({}, True),
        ({"decided_at": LEFT}, True),
        ({"decided_at": LEFT + 1}, False),
        ({"held": True, "state": State.SEIZED}, False),
        ({"state": State.DOCUMENTS_REQUESTED}, False),
        ({"state": State.EXAMINATION}, False),
        ({"state": State.INVALIDATED}, False),
    ],
)
def test_a_discrepancy_holds_what_no_officer_or_control_has_before_it(facts: dict[str, Any], held: bool) -> None:
    stored = replace(FACTS, **facts)
    against = compare(HEADER, replace(ENTRY, release=False), [MARK], stored, NOW)
    assert (against, requires_hold(against, [MARK], stored)) == (MarkOutcome.AGAINST_LIST, held)
    unlisted = compare(HEADER, None, [MARK], stored, NOW)
    assert (unlisted, requires_hold(unlisted, [MARK], stored)) == (MarkOutcome.UNLISTED, held)
    assert requires_hold(MarkOutcome.UNLISTED, [MARK], None) is False


@pytest.mark.parametrize(
    ("facts", "held"),
    [
        ({}, True),
        (RELEASED_NOW | {"released_at": LEFT}, True),
        ({"state": State.EXAMINATION}, True),
        # The later of both marks counts.
        ({"decided_at": LEFT + 1}, True),
        ({"decided_at": LEFT + 3}, False),
        ({"held": True}, False),
    ],
)
def test_marks_that_contradict_each_other_hold_what_no_officer_decided_since(facts: dict[str, Any], held: bool) -> None:
    stored, marks = replace(FACTS, **facts), [MARK, replace(HELD, at=LEFT + 2)]
    outcome = compare(HEADER, ENTRY, marks, stored, NOW)
    assert (outcome, requires_hold(outcome, marks, stored)) == (MarkOutcome.MARKED_DIFFERENTLY, held)


async def test_goods_that_arrived_and_were_not_presented_in_time_after_the_list_was_made_are_as_listed(
    desk: Desk,
) -> None:
    desk.decide.presentation = desk.arrive.law = PRESENTATION
    await desk.consume(filings([f"GREEN-{number}" for number in range(1, 5)]))
    at = await desk.store.database.now() // 1_000 * 1_000

    async def made() -> Page:
        progress = ListProgress(new_serial(at), at, at, at + HOUR, 1)
        header = header_of(progress, "LX0188", "olga", bytes(32))
        page, _ = await next_page(desk.store, Transport((MASTER,)), header, bytes(32), progress, 500)
        return page

    async def imported(page: Page, house: str) -> list[tuple[MarkOutcome, int]]:
        results: list[Reconciled] = []

        def encode(found: Sequence[Reconciled]) -> bytes:
            results.extend(found)
            return b"done"

        (line,) = [each.line for each in page.entries if each.house_document == house]
        request = Request("officer/otto", house, b"d", TRACE)
        mark = Mark(line, "", Decision.RELEASED, at, "dora")
        await ImportMarks(desk.store).run(page, [mark], officer="otto", request=request, encode=encode)
        return [(each.outcome, each.state) for each in results if each.mark is not None and not each.imported_before]

    released, changed = [(MarkOutcome.RELEASED, State.RELEASED)], [(MarkOutcome.CHANGED, State.HELD)]
    early = await made()
    await arrive(desk, arrival())
    late = await made()
    assert await imported(early, "H-GREEN-1") == released
    await desk.consume(filings(["GREEN-3"], version=2))
    assert await Waits(desk.store, "r").step(at=await desk.store.database.now()) == 3
    assert await imported(early, "H-GREEN-2") == released
    # It was amended between the list and the deadline.
    assert await imported(late, "H-GREEN-3") == changed
    assert await imported(late, "H-GREEN-4") == released
    assert await desk.inconsistencies() == []


class Later(Store):
    """A store whose clock is half an hour ahead, so that no test waits."""

    async def now(self, tx: Transaction) -> int:
        return await super().now(tx) + 30 * MINUTE


@pytest.mark.parametrize("presents", [False, True])
async def test_goods_that_arrived_and_waited_for_an_inspection_are_released_at_the_end_of_that_time(
    desk: Desk, presents: bool
) -> None:
    if presents:
        # The officer who marks the goods has them: the mark is their presentation.
        desk.arrive.law = PRESENTATION
    desk.neighbours.risk = answering(
        {"GREEN-1": ServiceSpan(delay_minutes=10), "GREEN-2": ServiceSpan(delay_minutes=10)}
    )
    await desk.consume(filings(["GREEN-1", "GREEN-2"]))
    await arrive(desk, arrival())
    store, seed = Later(desk.store.database), bytes(32)
    at = await desk.store.database.now() // 1_000 * 1_000
    progress = ListProgress(new_serial(at), at, at + 20 * MINUTE, at + 60 * MINUTE, 1)
    header = header_of(progress, "LX0188", "olga", seed)
    page, following = await next_page(store, Transport((MASTER,)), header, seed, progress, 500)
    assert following is None
    assert [each.release for each in page.entries] == [True, True]
    marks = [
        Mark(1, "", Decision.RELEASED, at + 20 * MINUTE, "dora"),
        Mark(2, "", Decision.RELEASED, at + 4 * MINUTE, "dora"),
    ]
    results: list[Reconciled] = []

    def encode(found: Sequence[Reconciled]) -> bytes:
        results.extend(found)
        return b"done"

    request = Request("officer/otto", "r1", b"d", TRACE)
    await ImportMarks(store).run(page, marks, officer="otto", request=request, encode=encode)
    assert [(each.outcome, each.state) for each in results] == [
        (MarkOutcome.RELEASED, State.RELEASED),
        (MarkOutcome.OUT_OF_TIME, State.HELD),
    ]
    states = await desk.states([each.mrn for each in page.entries])
    assert states.ints("presented_at").tolist() == [at + 20 * MINUTE if presents else None, None]
    assert await desk.inconsistencies() == []
