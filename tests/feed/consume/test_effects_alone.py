"""How a page takes effect, and how the rows that cannot are found; without a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.feed.consume.effects import LETTERS_A_ROUND, Applier, _units, ended, told
from libs.feed.consume.leases import Held, Leases, Move
from libs.feed.dead_letters.letters import UNEXPECTED, WAITING_BEHIND, Letter, Letters
from libs.feed.types import Clock, Cursor, EventError, FeedBatch, LeaseLost
from libs.telemetry import trace
from libs.telemetry.metrics import REGISTRY
from libs.telemetry.trace import Span
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.alone import START, Applied, Store, batch_of
from tests.feed.conftest import Event, events_of, mrns

NEXT, LATER = Cursor(1, 1, 20, 0), Cursor(1, 1, 30, 0)
BAD = EventError("NO_SUCH_THING", "it names nothing")


class Handler(Applied):
    """Also fails for rows that are together, or only at the commit; and says in which order it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.together: tuple[str, ...] = ()
        self.refuses: Callable[[list[Event]], Exception | None] = lambda events: None
        self.calls: list[str] = []

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        self.calls.append("prepare")
        names = {mrn for mrn, _, _ in events_of(batches)}
        if self.together and set(self.together) <= names:
            raise BAD
        return await super().prepare(batches)

    async def apply(self, tx: Any, prepared: list[FeedBatch]) -> None:
        self.calls.append("apply")
        assert tx.moves or self.is_trial, "the cursors move first"
        if (error := self.refuses(events_of(prepared))) is not None:
            raise error
        await super().apply(tx, prepared)

    is_trial = False


class Case:
    """An applier of partitions 3 to 5."""

    def __init__(self) -> None:
        self.store, self.handler = Store(), Handler()
        self.leases = Leases(self.store, "producer", "one")  # type: ignore[arg-type]
        self.leases.held = {each: Held(1, START, True, START) for each in (3, 4, 5)}
        self.letters = Letters("producer", ConsignmentColumns)
        self.applier = Applier(
            self.store, self.handler, mrns, self.leases, self.letters, name="follower", source="producer"  # type: ignore[arg-type]
        )  # fmt: skip

    def waits(self, partition: int, key: str) -> None:
        self.letters.remember([letter(key, partition)])

    async def isolate(self, *batches: FeedBatch, unexpected: bool = False, also: Sequence[int] = ()) -> None:
        self.handler.is_trial = True  # a trial moves nothing
        partitions = {each for batch in batches for each in batch.partitions.tolist()} | set(also)
        await self.applier.isolate(batches, dict.fromkeys(partitions, Move(1, LATER)), unexpected=unexpected)


def letter(key: str, partition: int = 3, number: int = 0) -> Letter:
    return Letter(partition, key, batch_of([(key, 1, partition)]), "X", "x", number)


def rows(*keys: str, partition: int = 3, xid: int = 11, **more: Any) -> FeedBatch:
    return batch_of([(key, 1, partition) for key in keys], xid, **more)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"consumer": "follower", "source": "producer"} | labels) or 0.0


# ------------------------------------------------------------------------------------------------- commit


async def test_a_page_is_applied_and_its_cursors_move_in_one_transaction() -> None:
    case = Case()
    before = sample("luxor_feed_events_total")
    await case.applier.commit(
        [rows("a", "b"), rows("c", partition=4, xid=12)], {3: Move(1, NEXT), 4: Move(1, LATER, ready=False)}
    )
    assert case.handler.calls == ["prepare", "apply"]
    assert [mrn for mrn, _, _ in case.handler.events] == ["a", "b", "c"]
    assert case.store.moves == [{3: (NEXT, True), 4: (LATER, False)}]
    assert case.leases.held[3] == Held(1, NEXT, True, NEXT)
    assert case.leases.held[4] == Held(1, LATER, False, LATER)
    assert sample("luxor_feed_events_total") == before + 3


async def test_cursors_move_without_a_call_of_the_handler_where_there_is_nothing_to_apply() -> None:
    case = Case()
    await case.applier.commit([rows()], {3: Move(1, NEXT)})
    assert (case.handler.calls, case.store.moves) == ([], [{3: (NEXT, True)}])


async def test_nothing_of_a_page_happens_whose_lease_was_lost() -> None:
    case = Case()
    del case.leases.held[3]
    with pytest.raises(LeaseLost):
        await case.applier.commit([rows("a")], {3: Move(1, NEXT)}, [letter("z", 4)])
    assert (case.handler.calls, case.handler.events, case.store.letters) == (["prepare"], [], [])
    assert not case.letters.any_waiting


async def test_rows_behind_a_letter_of_their_key_and_partition_are_set_aside_and_no_others() -> None:
    case = Case()
    case.waits(3, "a")
    before = sample("luxor_feed_dead_letters_total", reason=WAITING_BEHIND)
    await case.applier.commit(
        [rows("b", "a", "c"), rows("a", partition=4), rows("a", xid=12), rows()], {3: Move(1, NEXT), 4: Move(1, NEXT)}
    )
    assert case.handler.events == [("b", 1, 3), ("c", 1, 3), ("a", 1, 4)]
    assert case.store.letters == [("a", WAITING_BEHIND)] * 2
    assert sample("luxor_feed_dead_letters_total", reason=WAITING_BEHIND) == before + 2


async def test_letters_that_come_with_a_page_are_stored_and_wait_from_then_on() -> None:
    case = Case()
    await case.applier.commit([rows("b")], {3: Move(1, NEXT)}, [letter("a")])
    assert case.store.letters == [("a", "X")]
    assert case.letters.waits(3, "a")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_page_that_was_begun_is_prepared_anew_only_where_a_key_waits_by_now(*, waits: bool) -> None:
    case = Case()
    batches = [rows("a", "b")]
    begun = case.applier.begin(batches)
    await begun.prepared.wait()
    if waits:
        case.waits(3, "a")
    await case.applier.commit(batches, {3: Move(1, NEXT)}, begun=begun)
    assert case.handler.prepared == 1 + waits
    assert [mrn for mrn, _, _ in case.handler.events] == (["b"] if waits else ["a", "b"])
    assert begun.task.cancelled() is waits


async def test_a_page_that_was_not_begun_is_prepared_although_keys_wait() -> None:
    case = Case()
    case.waits(4, "z")
    await case.applier.commit([rows("a")], {3: Move(1, NEXT)})
    assert case.handler.events == [("a", 1, 3)]


async def test_what_fails_is_prepared_all_the_same_so_that_nobody_waits_for_it() -> None:
    case = Case()
    case.handler.bad = {"a": BAD}
    begun = case.applier.begin([rows("a")])
    async with asyncio.timeout(5):
        await begun.prepared.wait()
    with pytest.raises(EventError):
        await begun.task


async def test_tasks_that_ended_are_waited_for_and_their_errors_looked_at() -> None:
    async def fails() -> None:
        raise KeyError

    async def lasts() -> None:
        await asyncio.Event().wait()

    await ended(set())
    tasks = {asyncio.ensure_future(fails()), asyncio.ensure_future(lasts())}
    await asyncio.sleep(0)
    for each in tasks:
        each.cancel()
    await ended(tasks)
    assert all(each.done() for each in tasks)


@pytest.mark.parametrize(("waited", "shown", "skew"), [(7, 7, 0), (0, 0, 0), (-7, 0, 1)])
async def test_how_long_the_oldest_event_waited_is_shown_and_never_below_nothing(
    waited: int, shown: int, skew: int
) -> None:
    ended_spans: list[Span] = []
    trace.configure(ratio=1.0, slow_seconds=3600.0, export=ended_spans.extend)
    before = REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0

    class Shown(Clock):
        def now(self) -> int:
            return self.read_at

    oldest = replace(rows("a"), committed_at=1_000, clock=Shown(1_000 + waited, 0.0))
    try:
        await Case().applier.commit([replace(oldest, committed_at=2_000), oldest], {3: Move(1, NEXT)})
        await Case().applier.commit([rows("a", "b")], {3: Move(1, NEXT)})
    finally:
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
    first, second = (each.attributes for each in ended_spans if each.name == "follower.consume")
    assert (first["luxor.feed.waited_us"], first["luxor.rows"], first["luxor.batches"]) == (shown, 2, 2)
    assert "luxor.feed.waited_us" not in second, "a producer that tells no time is not compared with this host's"
    assert (REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0) - before == skew


# ------------------------------------------------------------------------------------------------ isolate


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

    search = case.applier._trial

    async def trial(batch: FeedBatch, unexpected: bool) -> Exception | None:
        case.committing = False  # type: ignore[attr-defined]
        return await search(batch, unexpected)

    case.leases.move, case.applier._trial = committing, trial  # type: ignore[method-assign]
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


def test_a_page_is_cut_by_partition_in_the_order_of_cursors() -> None:
    first = batch_of([("a", 1, 4), ("b", 1, 3), ("c", 1, 4)])
    second = batch_of([("d", 1, 3)], 12)
    units = _units([first, second], {3: Move(7, LATER), 4: Move(8, NEXT, ready=False)})
    assert [(each.partition, mrns(each.batch.table), each.move) for each in units] == [
        (3, ["b"], Move(7, Cursor(1, 1, 11, 1))), (4, ["a", "c"], Move(8, NEXT, ready=False)), (3, ["d"], Move(7, LATER)),
    ]  # fmt: skip
    snapshot = [replace(first, snapshot=True), replace(second, snapshot=True)]
    still = Move(7, START, ready=False)
    assert {each.move for each in _units(snapshot, {3: still, 4: still})} == {still}, (
        "its start is reached behind its last page"
    )


# ------------------------------------------------------------------------------------------------- replay


def asked(case: Case, *rounds: list[Letter]) -> list[tuple[set[int], int]]:
    """Have letters asked for be these, round by round; returns for which partitions they are looked for."""
    waiting, looked = list(rounds), []

    async def heads(tx: Any, partitions: Any, limit: int) -> list[Letter]:
        looked.append((set(partitions), limit))
        return waiting.pop(0) if waiting else []

    async def delete(tx: Any, letters: Sequence[Letter]) -> bool:
        tx.after_commit(lambda: case.gone.extend(each.key for each in letters))  # type: ignore[attr-defined]
        return all(each.key != "went away" for each in letters)

    async def failed(tx: Any, each: Letter, reason: str, message: str) -> None:
        tx.after_commit(lambda: case.failed.append((each.key, reason, message)))  # type: ignore[attr-defined]

    case.gone, case.failed = [], []  # type: ignore[attr-defined]
    case.letters.heads, case.letters.delete, case.letters.failed = heads, delete, failed  # type: ignore[method-assign]
    return looked


async def test_letters_are_replayed_round_by_round_until_there_are_none() -> None:
    case = Case()
    case.leases.held[5].ready = False
    looked = asked(case, [letter("a"), letter("b", 4)], [letter("c")])
    case.waits(3, "a")
    case.waits(4, "z")
    assert await case.applier.replay() == 3
    assert looked == [({3, 4}, LETTERS_A_ROUND)] * 3, "of partitions that follow the feed"
    assert case.gone == ["a", "b", "c"]  # type: ignore[attr-defined]
    assert [mrn for mrn, _, _ in case.handler.events] == ["a", "b", "c"]
    assert case.store.moves[0] == {3: (START, True), 4: (START, True)}, "the cursors stay, under their lock"
    assert not case.letters.waits(3, "a")
    assert case.letters.waits(4, "z")


@pytest.mark.parametrize("held", [{}, {3: Held(1, START, False, START)}])
async def test_nothing_is_replayed_where_nothing_follows_the_feed(held: dict[int, Held]) -> None:
    case = Case()
    case.leases.held = held
    assert asked(case, [letter("a")]) == []
    assert await case.applier.replay() == 0
    assert case.handler.calls == []


async def test_cursors_that_stay_are_where_the_database_has_them() -> None:
    case = Case()
    case.leases.held[3] = Held(1, NEXT, True, START)
    asked(case, [letter("a")])
    await case.applier.replay()
    assert case.store.moves == [{3: (START, True)}]


@pytest.mark.parametrize("error", [BAD, KeyError()])
async def test_a_letter_that_fails_again_is_noted_and_the_others_are_replayed(error: Exception) -> None:
    case = Case()
    case.handler.bad = {"b": error}
    asked(case, [letter("a"), letter("b"), letter("c")])
    assert await case.applier.replay() == 2
    assert case.gone == ["a", "c"]  # type: ignore[attr-defined]
    assert case.failed == [("b", *told(error))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("places", [[0], [0, 1]])
async def test_what_passes_by_itself_ends_the_replay_and_is_noted_of_no_letter(places: list[int]) -> None:
    case = Case()
    case.handler.bad = {"a": TimeoutError()}
    asked(case, [letter(key) for key in ("a", "b")[: len(places)]])
    with pytest.raises(TimeoutError):
        await case.applier.replay()
    assert case.failed == []  # type: ignore[attr-defined]
    assert case.handler.events == []


async def test_what_passes_by_itself_of_one_letter_ends_the_replay_and_is_not_noted() -> None:
    case = Case()
    case.handler.bad = {"b": BAD}
    together = case.applier._replayed

    async def alone(letters: Sequence[Letter]) -> int:
        if len(letters) == 1:
            raise TimeoutError
        return await together(letters)

    case.applier._replayed = alone  # type: ignore[method-assign]
    asked(case, [letter("a"), letter("b")])
    with pytest.raises(TimeoutError):
        await case.applier.replay()
    assert case.failed == []  # type: ignore[attr-defined]


async def test_a_letter_that_went_away_takes_no_effect_and_is_looked_at_again() -> None:
    case = Case()
    asked(case, [letter("went away")])
    with pytest.raises(TimeoutError, match="went away"):
        await case.applier.replay()
    assert case.handler.events == []


def test_the_reason_of_a_letter_is_the_events_own_and_of_another_error_shows_no_data() -> None:
    assert told(BAD) == ("NO_SUCH_THING", "it names nothing")
    reason, message = told(KeyError("Jane Doe"))
    assert reason == UNEXPECTED
    assert message.startswith("KeyError")
    assert "Jane" not in message


async def test_an_event_that_is_set_aside_is_logged_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case()
    case.handler.bad = {"a": BAD}
    await case.isolate(rows("a"))
    told_of = capsys.readouterr().err
    for part in (
        "FEED_EVENT_SET_ASIDE",
        '"consumer":"follower"',
        '"source":"producer"',
        '"partition":3',
        '"cause":"NO_SUCH_THING"',
    ):
        assert part in told_of
