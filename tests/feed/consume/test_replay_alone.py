"""How dead letters are replayed; without a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from libs.feed.consume.effects import LETTERS_A_ROUND, reason_and_message
from libs.feed.consume.leases import LeasedPartition
from libs.feed.dead_letters.letters import UNEXPECTED, Letter
from tests.feed.alone import START
from tests.feed.consume.effect_cases import BAD, NEXT, Case, letter, rows


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
    case.leases.by_partition[5].ready = False
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


@pytest.mark.parametrize("held", [{}, {3: LeasedPartition(1, START, False, START)}])
async def test_nothing_is_replayed_where_nothing_follows_the_feed(held: dict[int, LeasedPartition]) -> None:
    case = Case()
    case.leases.by_partition = held
    assert asked(case, [letter("a")]) == []
    assert await case.applier.replay() == 0
    assert case.handler.calls == []


async def test_cursors_that_stay_are_where_the_database_has_them() -> None:
    case = Case()
    case.leases.by_partition[3] = LeasedPartition(1, NEXT, True, START)
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
    assert case.failed == [("b", *reason_and_message(error))]  # type: ignore[attr-defined]


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
    together = case.applier.replay_together

    async def alone(letters: Sequence[Letter]) -> int:
        if len(letters) == 1:
            raise TimeoutError
        return await together(letters)

    case.applier.replay_together = alone  # type: ignore[method-assign]
    asked(case, [letter("a"), letter("b")])
    with pytest.raises(TimeoutError):
        await case.applier.replay()
    assert case.failed == []  # type: ignore[attr-defined]


async def test_a_letter_that_went_away_takes_no_effect_and_is_looked_at_again() -> None:
    case = Case()
    asked(case, [letter("went away")])
    with pytest.raises(TimeoutError, match="was deleted"):
        await case.applier.replay()
    assert case.handler.events == []


def test_the_reason_of_a_letter_is_the_events_own_and_of_another_error_shows_no_data() -> None:
    assert reason_and_message(BAD) == ("NO_SUCH_THING", "it names nothing")
    reason, message = reason_and_message(KeyError("Jane Doe"))
    assert reason == UNEXPECTED
    assert message.startswith("KeyError")
    assert "Jane" not in message


async def test_an_event_that_is_set_aside_is_logged_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case()
    case.handler.bad = {"a": BAD}
    await case.isolate(rows("a"))
    told_of = capsys.readouterr().err
    for part in (
        "FEED_EVENT_DEAD_LETTERED",
        '"consumer":"follower"',
        '"source":"producer"',
        '"partition":3',
        '"cause":"NO_SUCH_THING"',
    ):
        assert part in told_of
