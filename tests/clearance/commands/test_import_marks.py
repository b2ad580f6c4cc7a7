"""What a mark on a release list means, at both sides of each bound, and goods whose arrival clearance knows already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.customs.release_list import Entry, Header
from libs.store.database import Transaction
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.release_lists.export import ListProgress, header_of, new_serial, next_page
from services.clearance.commands.release_lists.import_marks import ImportMarks, Reconciled
from services.clearance.consignment.transitions import State
from services.clearance.release_lists.reconciliation import Decision, Facts, Mark, MarkOutcome, compare
from services.clearance.store import Store
from tests.clearance.desk import MASTER, TRACE, Desk, filings
from tests.clearance.desk_commands import arrival, arrive
from tests.clearance.risk_answers import ServiceSpan, answering

MINUTE = 60_000_000
HEADER = Header("RL-1", "LX0188", 1_000, 2_000, 3_000, "olga", 1, bytes(32))
ENTRY = Entry(1, "H-1", "26DE07329000001XR8", 2, release=True)
FACTS = Facts(State.AWAITING_ARRIVAL, 2, released=False, releasable=True, not_before=0)
MARK = Mark(1, "H-1", Decision.RELEASED, 2_500, "dora")


@pytest.mark.parametrize(
    ("at", "now", "not_before", "expected"),
    [
        (1_000, 5_000, 0, MarkOutcome.RELEASED),
        (999, 5_000, 0, MarkOutcome.OUT_OF_TIME),
        (3_000, 5_000, 0, MarkOutcome.RELEASED),
        (3_001, 5_000, 0, MarkOutcome.OUT_OF_TIME),
        (2_500, 2_500, 0, MarkOutcome.RELEASED),
        (2_500, 2_499, 0, MarkOutcome.OUT_OF_TIME),
        (2_500, 5_000, 2_500, MarkOutcome.RELEASED),
        (2_500, 5_000, 2_501, MarkOutcome.OUT_OF_TIME),
    ],
)
def test_goods_leave_by_a_list_only_in_its_time(at: int, now: int, not_before: int, expected: MarkOutcome) -> None:
    facts = replace(FACTS, not_before=not_before)
    assert compare(HEADER, ENTRY, [replace(MARK, at=at)], facts, now) is expected


@pytest.mark.parametrize(
    ("facts", "entry", "expected"),
    [
        (None, {}, MarkOutcome.UNKNOWN),
        ({"version": 1}, {}, MarkOutcome.CHANGED),
        ({"version": 3}, {}, MarkOutcome.CHANGED),
        ({"releasable": False}, {}, MarkOutcome.CHANGED),
        ({}, {"release": False}, MarkOutcome.AGAINST_LIST),
        ({"released": True, "version": 7}, {"release": False}, MarkOutcome.AGREES),
    ],
)
def test_only_goods_that_are_as_listed_are_released(
    facts: dict[str, Any] | None, entry: dict[str, Any], expected: MarkOutcome
) -> None:
    stored = None if facts is None else replace(FACTS, **facts)
    assert compare(HEADER, replace(ENTRY, **entry), [MARK], stored, 5_000) is expected


class Later(Store):
    """A store whose clock is half an hour ahead, so that no test waits."""

    async def now(self, tx: Transaction) -> int:
        return await super().now(tx) + 30 * MINUTE


async def test_goods_that_arrived_and_waited_for_an_inspection_are_released_at_the_end_of_that_time(desk: Desk) -> None:
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
        Mark(2, "", Decision.RELEASED, at + 5 * MINUTE, "dora"),
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
    assert await desk.inconsistencies() == []
