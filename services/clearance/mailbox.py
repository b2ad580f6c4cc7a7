"""Reading notices: the entries of a filer's or carrier's key after a cursor, with a long poll."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Table
from libs.feed.reading import NOTICE, Reader
from libs.feed.types import Cursor, StartAgain
from libs.feed.watch import Watch
from libs.server.errors import Refusal
from luxor.feed.v1 import feed_pb2
from services.clearance.store import Store

CURSOR_CHARACTERS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Post:
    """What a pull gave, and where it goes on."""

    tables: list[Table]
    next: str


class Mailbox:
    """Notices of this service."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader: Reader[str] = Reader(store.database, NOTICE)
        self._watch: Watch[str] = Watch(self._reader)

    async def pull(self, key: str, after: str, notices_max: int, seconds: float) -> Post:
        """Give the notices of `key` after a cursor (empty: from the first that is kept), waiting up to `seconds` for one.

        Raises Refusal NOTICE_CURSOR_MALFORMED, NOTICE_CURSOR_EXPIRED.
        """
        cursor = cursor_of(after)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        try:
            while True:
                async with self._store.database.connection() as reading:
                    if not after:
                        # From the first that is kept: what was dropped before it is no gap to a reader who begins.
                        state = await self._reader.refresh(reading.raw)
                        cursor = Cursor(state.floor[0], 0, state.floor[1], state.floor[2])
                        after = token_of(cursor)
                    page = await self._reader.page(reading.raw, {key: cursor}, notices_max)
                    if page.batches:
                        stored = await self._store.outbox.payloads.fetch(
                            reading.raw, [each.ref for each in page.batches]
                        )
                        tables = [
                            self._store.outbox.payloads.table(stored[each.ref]).take(np.concatenate(each.rows))
                            for each in page.batches
                        ]
                        return Post(tables, token_of(page.next[key]))
                cursor = page.next[key]
                if not page.more:
                    left = ends_at - clock()
                    if left <= 0 or not await self._watch.wait([key], page.horizon, left):
                        return Post([], token_of(cursor))
        except StartAgain as error:
            raise Refusal("NOTICE_CURSOR_EXPIRED", path="after") from error


def token_of(cursor: Cursor) -> str:
    """Write a cursor as an opaque text."""
    message = feed_pb2.Cursor(epoch=cursor.epoch, day=cursor.day, xid=cursor.xid, seq=cursor.seq)
    return "n" + urlsafe_b64encode(message.SerializeToString()).decode().rstrip("=")


def cursor_of(token: str) -> Cursor:
    """Read a cursor; raises Refusal NOTICE_CURSOR_MALFORMED."""
    if not token:
        return Cursor()
    try:
        if token[0] != "n" or len(token) > CURSOR_CHARACTERS_MAX:
            raise ValueError(token[0])
        body = token[1:].encode("ascii")
        message = feed_pb2.Cursor.FromString(urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
        if min(message.epoch, message.day, message.xid, message.seq) < 0:
            raise ValueError("negative")
    except Exception as error:
        raise Refusal("NOTICE_CURSOR_MALFORMED", path="after") from error
    return Cursor(message.epoch, message.day, message.xid, message.seq)
