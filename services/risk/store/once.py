"""Calls that change something once: a repeated request_id gets its first answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from libs.store.database import Database, Transaction
from libs.store.requests import RequestLog

_LOG: Final = RequestLog()


async def once(database: Database, key: tuple[str, str, bytes], work: Callable[[Transaction], Awaitable[Any]]) -> bytes:
    """Do the work of a call in one transaction, unless it was done under the same key (caller, request_id, digest of the content).

    `work` gives the answer as a message; gives its bytes, the first ones where the call is repeated. Raises RequestReused.
    """
    async with database.transaction() as tx:
        before = await _LOG.recall(tx, *key)
        if before is not None:
            return before
        answer: bytes = (await work(tx)).SerializeToString()
        await _LOG.remember(tx, *key, answer)
    return answer
