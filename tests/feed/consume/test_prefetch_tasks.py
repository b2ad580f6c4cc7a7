"""Which page is begun behind which, and that nothing of what is dropped runs on; no store and no consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from libs.feed.consume.prefetch import Prefetch
from libs.feed.consume.preparation import PagePreparation
from libs.feed.types import BEGINNING, Cursor, Page

AFTER = {3: Cursor(1, 0, 7, 0)}


def page_of(events: int = 1, batches: Sequence[Any] = ("a batch",)) -> Page:
    return Page(batches, {}, BEGINNING, events)


class Preparing:
    """Begins pages as a handler would that prepares each until it is allowed to end."""

    def __init__(self) -> None:
        self.take_preparation: list[tuple[Page, PagePreparation]] = []
        self.may_end = asyncio.Event()
        self.refuses: set[int] = set()
        """Places of calls at which nothing may be begun."""
        self.fails: BaseException | None = None
        self.calls = 0

    def begin(self, page: Page) -> PagePreparation | None:
        self.calls += 1
        if self.calls in self.refuses:
            return None
        made = PagePreparation([], [])
        made.task = asyncio.ensure_future(self._work(made))
        self.take_preparation.append((page, made))
        return made

    async def _work(self, made: PagePreparation) -> None:
        try:
            await self.may_end.wait()
            if self.fails is not None:
                raise self.fails
        finally:
            made.prepared.set()
        await made.moves

    @property
    def pages(self) -> list[Page]:
        return [page for page, _ in self.take_preparation]


class Pulling:
    """Gives a page once it is there."""

    def __init__(self, page: Page | BaseException, *, waits: bool = False) -> None:
        self.page = page
        self.there = asyncio.Event()
        self.ended = False
        if not waits:
            self.there.set()

    async def __call__(self) -> Page:
        try:
            await self.there.wait()
        finally:
            self.ended = True
        if isinstance(self.page, BaseException):
            raise self.page
        return self.page


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {each for each in asyncio.all_tasks() if each is not current}


async def test_a_page_is_fetched_behind_cursors_and_given_once() -> None:
    ahead, following = Prefetch(None), page_of(5)
    assert await ahead.take() is None
    ahead.fetch(page_of(), AFTER, Pulling(following))
    assert await ahead.take() == (following, AFTER)
    assert await ahead.take() is None
    assert ahead.take_preparation() is None


async def test_events_are_counted_once_they_are_fetched_and_until_they_are_taken() -> None:
    ahead, pulling = Prefetch(None), Pulling(page_of(5), waits=True)
    assert ahead.events() == 0
    ahead.fetch(page_of(), AFTER, pulling)
    await turns()
    assert ahead.events() == 0
    pulling.there.set()
    await turns()
    assert ahead.events() == 5
    await ahead.take()
    assert ahead.events() == 0


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_a_page_that_could_not_be_fetched_has_no_events_and_its_error_is_raised(how: str) -> None:
    ahead, error = Prefetch(None), ConnectionError("away") if how == "failed" else asyncio.CancelledError()
    ahead.fetch(page_of(), AFTER, Pulling(error))
    await turns()
    assert ahead.events() == 0
    with pytest.raises(type(error)):
        await ahead.take()
    await ahead.drop()
    assert others() == set()
    assert await ahead.take() is None


async def test_a_page_is_begun_when_it_is_worked_on_and_the_next_one_once_it_is_prepared() -> None:
    preparing = Preparing()
    ahead, first, second, third = Prefetch(preparing.begin), page_of(1), page_of(2), page_of(3)
    ahead.fetch(first, AFTER, Pulling(second))
    await turns()
    assert preparing.pages == [first], "the handler prepares one page at a time"
    preparing.may_end.set()
    await turns()
    assert preparing.pages == [first, second]
    preparation = ahead.take_preparation()
    assert preparation is preparing.take_preparation[0][1]
    assert ahead.take_preparation() is None, "once: who takes it commits it"
    preparation.moves.set_result(({}, []))
    await preparation.task
    assert await ahead.take() == (second, AFTER)
    ahead.fetch(second, AFTER, Pulling(third))
    await turns()
    assert preparing.pages == [first, second, third], "what was begun is not begun again"
    assert ahead.take_preparation() is preparing.take_preparation[1][1]
    await preparing.take_preparation[1][1].drop()
    await ahead.drop()
    assert others() == set()


async def test_no_page_without_events_is_begun_and_one_that_comes_after_the_commit_is() -> None:
    preparing = Preparing()
    preparing.may_end.set()
    ahead = Prefetch(preparing.begin)
    ahead.fetch(page_of(), AFTER, Pulling(page_of(0, ())))
    await turns()
    assert len(preparing.take_preparation) == 1
    assert await ahead.take() is not None
    assert ahead.take_preparation() is None
    late = Pulling(page_of(), waits=True)
    ahead.fetch(page_of(), AFTER, late)
    await turns()
    preparation = ahead.take_preparation()
    assert preparation is not None
    preparation.moves.set_result(({}, []))
    await preparation.task
    late.there.set()
    assert await ahead.take() is not None
    assert len(preparing.take_preparation) == 3
    await preparing.take_preparation[0][1].drop()


async def test_where_the_page_must_not_be_begun_the_one_behind_it_is_not_either() -> None:
    preparing = Preparing()
    preparing.refuses = {1}
    preparing.may_end.set()
    ahead, following = Prefetch(preparing.begin), page_of(2)
    ahead.fetch(page_of(), AFTER, Pulling(following))
    await turns()
    assert (preparing.calls, ahead.take_preparation()) == (1, None)
    assert ahead.events() == 2
    assert await ahead.take() == (following, AFTER)


async def test_nothing_is_begun_behind_a_page_that_is_ending() -> None:
    preparing = Preparing()
    ahead = Prefetch(preparing.begin)
    ahead.fetch(page_of(), AFTER, Pulling(page_of()))
    await turns()
    preparation = ahead.take_preparation()
    assert preparation is not None
    preparation.end()
    await turns()
    assert preparing.calls == 1
    await ahead.drop()
    assert others() == set()


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 10])
async def test_what_is_dropped_ends_at_whatever_step_it_is(
    *, steps: int, fetched: bool, prepared: bool, taken: bool
) -> None:
    preparing, pulling = Preparing(), Pulling(page_of(), waits=not fetched)
    if prepared:
        preparing.may_end.set()
    ahead = Prefetch(preparing.begin)
    ahead.fetch(page_of(), AFTER, pulling)
    await turns(steps)
    preparation = ahead.take_preparation() if taken else None
    calls = preparing.calls
    await ahead.drop()
    await turns()
    assert preparing.calls == calls, "nothing is begun behind what is dropped"
    assert others() == (set() if preparation is None else {preparation.task}), "what was taken is for who took it"
    assert not preparing.take_preparation[0][1].moves.cancelled() or not taken
    assert (await ahead.take(), ahead.take_preparation(), ahead.events()) == (None, None, 0)
    if preparation is not None:
        await preparation.drop()


async def test_a_page_that_failed_before_its_turn_leaves_no_pull_behind() -> None:
    preparing = Preparing()
    ahead, endless = Prefetch(preparing.begin), Pulling(page_of(), waits=True)
    ahead.fetch(page_of(1), AFTER, Pulling(page_of(2)))
    preparing.may_end.set()
    await turns()
    first = ahead.take_preparation()
    assert first is not None
    first.moves.set_result(({}, []))
    await first.task
    await ahead.take()
    failed = preparing.take_preparation[1][1]
    failed.moves.set_exception(ConnectionError("away"))
    await asyncio.wait({failed.task})
    ahead.fetch(page_of(2), AFTER, endless)
    preparation = ahead.take_preparation()
    assert preparation is failed
    with pytest.raises(ConnectionError):
        await preparation.task
    await ahead.drop()
    assert others() == set()


async def test_what_was_begun_ends_by_itself_where_the_drop_is_cancelled() -> None:
    preparing = Preparing()
    ahead = Prefetch(preparing.begin)
    ahead.fetch(page_of(), AFTER, Pulling(page_of(), waits=True))
    await turns()
    dropping = asyncio.ensure_future(ahead.drop())
    await asyncio.sleep(0)
    dropping.cancel()
    await asyncio.wait({dropping})
    await turns()
    assert others() == set()
