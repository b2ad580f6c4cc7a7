"""The handler of a consumer, and the preparation of a page, which may run while the page before is committed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from libs.columns import Table
from libs.feed.consume.leases import Move
from libs.feed.dead_letters.letters import Letter
from libs.feed.types import FeedBatch
from libs.store.database import Transaction
from libs.tasks.stop import wait_for_end


class Handler(Protocol):
    """A consumer's processing of events. Both methods may be called again for the same events, together with others or alone."""

    async def prepare(self, batches: list[FeedBatch]) -> Any:
        """Compute, and call other services, outside of transactions. Raises EventError for an event that cannot be applied.

        If the consumer prepares ahead, the page before may not be committed yet: then it must not read what `apply` writes.
        """
        ...

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Write the effects; the cursors move in the same transaction. Raises EventError as above."""
        ...


Key = Callable[[Table], Sequence[str] | NDArray[Any]]


class PagePreparation:
    """The preparation of a page by the handler; it is committed or dropped."""

    def __init__(self, flowing: list[FeedBatch], letters: list[Letter]) -> None:
        self.flowing = flowing
        """Batches to apply."""
        self.letters = letters
        """Events that wait for a dead letter."""
        self.prepared = asyncio.Event()
        """Set after the handler prepared the page, or failed."""
        self.moves: asyncio.Future[tuple[Mapping[int, Move], Sequence[Letter]]] = asyncio.Future()
        """Cursors and letters that are committed with it, after the pages before it."""
        self.task: asyncio.Task[None]

    def end(self) -> asyncio.Task[None]:
        """Cancel it; return its task."""
        self.prepared.set()
        self.task.cancel()
        return self.task

    async def drop(self) -> None:
        """Cancel it and wait for its end."""
        await wait_for_end({self.end()})
