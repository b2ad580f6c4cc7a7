"""Prefetch: the next page is fetched and prepared while the current one is committed."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from libs.feed.consume.preparation import PagePreparation
from libs.feed.types import Cursor, Page
from libs.tasks.stop import wait_for_end

Pull = Callable[[], Coroutine[Any, Any, Page]]
"""Fetches a page."""
Begin = Callable[[Page], PagePreparation | None]
"""Starts the handler's preparation of a page; None if it must wait for the commit of the previous page."""


@dataclass(slots=True)
class _Next:
    """The page after the current one."""

    after: Mapping[int, Cursor]
    task: asyncio.Task[Page]
    """Fetches and prepares it."""
    preparation: PagePreparation | None = None


class Prefetch:
    """The page after the current one, and the preparations of both."""

    def __init__(self, begin: Begin | None) -> None:
        """Fetch pages, and with `begin` prepare each of them."""
        self.begin = begin
        """Starts the handler's preparation of a page; None if pages are only fetched."""
        self._next: _Next | None = None
        self._preparation: PagePreparation | None = None

    def events(self) -> int:
        """Return how many events are fetched."""
        task = None if self._next is None else self._next.task
        if task is None or not task.done() or task.cancelled() or task.exception() is not None:
            return 0
        return task.result().events

    def fetch(self, page: Page, after: Mapping[int, Cursor], pull: Pull) -> None:
        """Start to fetch the page after the cursors `after` by `pull`, while `page` is processed."""
        if self.begin is not None:
            self._preparation = self._preparation or self.begin(page)
        fetching = pull() if self._preparation is None else self._begin_next(pull, self._preparation)
        self._next = _Next(after, asyncio.ensure_future(fetching))

    async def _begin_next(self, pull: Pull, before: PagePreparation) -> Page:
        # The handler prepares pages in their order. The later a page is fetched, the more events it has.
        await before.prepared.wait()
        page = await pull()
        # `take` awaits this task first.
        following = self._next
        if page.batches and following is not None and self.begin is not None and not _has_failed(before.task):
            following.preparation = self.begin(page)
        return page

    async def take(self) -> tuple[Page, Mapping[int, Cursor]] | None:
        """Return the fetched page and the cursors that it follows, and make it the current page. Raises the error of its request."""
        following = self._next
        if following is None:
            return None
        page = await following.task
        self._next, self._preparation = None, following.preparation
        return page, following.after

    def take_preparation(self) -> PagePreparation | None:
        """Return the preparation of the current page once; the caller commits or drops it."""
        preparation, self._preparation = self._preparation, None
        return preparation

    async def drop(self) -> None:
        """Drop fetched pages and preparations that are not being committed."""
        tasks: set[asyncio.Task[Any]] = set()
        following, self._next = self._next, None
        if following is not None:
            # The next page first, so that its preparation does not start.
            following.task.cancel()
            tasks.add(following.task)
        for preparation in (self.take_preparation(), None if following is None else following.preparation):
            if preparation is not None:
                tasks.add(preparation.end())
        await wait_for_end(tasks)


def _has_failed(task: asyncio.Task[None]) -> bool:
    return bool(task.cancelling()) or (task.done() and (task.cancelled() or task.exception() is not None))
