"""How the rows of a page that cannot take effect are found; without a store."""

from __future__ import annotations

from typing import Any

import pytest

from libs.feed.dead_letters.letters import UNEXPECTED, WAITING_BEHIND
from libs.feed.types import Cursor, FeedBatch
from tests.feed.conftest import Event
from tests.feed.consume.effect_cases import BAD, LATER, Case, rows


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
async def test_rows_that_fail_are_set_aside_wherever_they_stand_and_all_others_applied(count: int) -> None:
    keys = [f"m{each}" for each in range(count)]
    for bad in [{key} for key in keys] + [set(keys), set(keys[::2]), set(keys[:2])]:
        case = Case()
        case.handler.bad = dict.fromkeys(bad, BAD)
        await case.isolate(rows(*keys))
        assert [mrn for mrn, _, _ in case.handler.events] == [key for key in keys if key not in bad]
        assert case.store.letters == [(key, "NO_SUCH_THING") for key in keys if key in bad]
        assert case.store.moves == [{3: (LATER, True)}]


async def test_later_rows_of_a_key_that_fails_wait_and_so_do_those_that_waited_before() -> None:
    case = Case()
    case.handler.bad = {"a": BAD}
    case.waits(3, "w")
    await case.isolate(rows("a", "b", "w", "a", "c"))
    assert [mrn for mrn, _, _ in case.handler.events] == ["b", "c"]
    assert case.store.letters == [("a", "NO_SUCH_THING"), ("w", WAITING_BEHIND), ("a", WAITING_BEHIND)]


async def test_a_page_is_halved_so_that_a_good_half_is_applied_at_once() -> None:
    case = Case()
    batches = [rows(f"m{each}", xid=11 + each) for each in range(16)]
    case.handler.bad = {"m9": BAD}
    await case.isolate(*batches)
    assert case.store.letters == [("m9", "NO_SUCH_THING")]
    assert [mrn for mrn, _, _ in case.handler.events] == [f"m{each}" for each in range(16) if each != 9]
    # 16, 8, 8, 4, 2, 1 (a trial and its commit without rows), 1, 2, 4: and no unit by itself that is good with others.
    assert case.handler.prepared <= 11


async def test_cursors_move_with_what_was_applied_up_to_where_the_page_ends() -> None:
    case = Case()
    case.handler.bad = {"b": BAD}
    await case.isolate(rows("a"), rows("b", xid=12), rows("c", xid=13), also=(4,))
    assert [each[3] for each in case.store.moves if 3 in each] == [
        (Cursor(1, 1, 11, 1), True),
        (Cursor(1, 1, 12, 1), True),
        (LATER, True),
    ]
    assert case.store.moves[-1] == {4: (LATER, True)}, "a partition without events moves too"
    alone = Case()
    await alone.isolate(rows("a"))
    assert len(alone.store.moves) == 1


async def test_an_error_that_nobody_expected_stops_the_isolation_unless_it_counts_as_the_events_own() -> None:
    for unexpected in (False, True):
        case = Case()
        case.handler.bad = {"a": BAD, "b": KeyError("Jane Doe")}
        if unexpected:
            await case.isolate(rows("a"), rows("b", xid=12), unexpected=True)
            assert [reason for _, reason in case.store.letters] == ["NO_SUCH_THING", UNEXPECTED]
        else:
            with pytest.raises(KeyError):
                await case.isolate(rows("a"), rows("b", xid=12))
            assert [reason for _, reason in case.store.letters] == ["NO_SUCH_THING"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("unexpected", [True, False])
async def test_what_passes_by_itself_stops_the_isolation_and_what_was_applied_stays(
    *, unexpected: bool, together: bool
) -> None:
    case = Case()
    case.handler.bad = {"b": TimeoutError()}
    batches = [rows("a", "b")] if together else [rows("a"), rows("b", xid=12)]
    with pytest.raises(TimeoutError):
        await case.isolate(*batches, unexpected=unexpected)
    assert case.store.letters == []
    # Two units are tried together first, and that passes by itself: nothing is halved.
    assert case.handler.events == []


async def test_rows_that_fail_only_together_are_applied_up_to_the_one_that_makes_them_fail() -> None:
    case = Case()
    case.handler.together = ("a", "d")
    await case.isolate(rows("a", "b", "c", "d", "e"))
    assert [mrn for mrn, _, _ in case.handler.events] == ["a", "b", "c", "e"]
    assert case.store.letters == [("d", "NO_SUCH_THING")]


async def test_rows_that_fail_only_with_their_cursors_are_all_set_aside_after_both_turns() -> None:
    case = Case()
    tries: list[int] = []

    def refuses(events: list[Event]) -> Exception | None:
        # A trial applies the same rows: what a commit does more is not seen by it.
        tries.append(len(events))
        return BAD if case.committing else None

    case.committing = False  # type: ignore[attr-defined]
    case.handler.refuses = refuses
    move = case.leases.move

    async def committing(tx: Any, moves: Any) -> None:
        case.committing = True  # type: ignore[attr-defined]
        await move(tx, moves)

    search = case.applier.attempt

    async def trial(batch: FeedBatch, unexpected: bool) -> Exception | None:
        case.committing = False  # type: ignore[attr-defined]
        return await search(batch, unexpected)

    case.leases.move, case.applier.attempt = committing, trial  # type: ignore[method-assign]
    await case.isolate(rows("a", "b"))
    assert tries == [2, 2, 1, 2, 2], "a trial and a commit; then one by one, and a commit"
    assert case.store.letters == [("a", "NO_SUCH_THING"), ("b", "NO_SUCH_THING")]
    assert (case.handler.events, case.store.moves[-1]) == ([], {3: (LATER, True)})


@pytest.mark.parametrize(
    ("error", "unexpected"), [(TimeoutError(), True), (TimeoutError(), False), (KeyError(), False)]
)
async def test_a_commit_of_rows_that_fails_by_what_is_not_theirs_sets_nothing_aside(
    error: Exception, *, unexpected: bool
) -> None:
    case = Case()
    failing = [None, error]
    case.handler.refuses = lambda events: failing.pop(0) if failing else None
    with pytest.raises(type(error)):
        await case.isolate(rows("a", "b"), unexpected=unexpected)
    assert (case.store.letters, case.handler.events) == ([], [])
