"""Reading notices: the entries of a filer's, carrier's or agency's key after a cursor, with a long poll."""

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Table
from libs.feed.publish.reader import NOTICE, Reader
from libs.feed.publish.watch import Watch
from libs.feed.types import Cursor, CursorInvalid
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from luxor.clearance.v1 import clearance_pb2
from luxor.feed.v1 import feed_pb2
from services.clearance.api.notice_checks import CheckCodes
from services.clearance.notices.rendering import render
from services.clearance.notices.texts import FILER, Texts, is_language_tag
from services.clearance.store import Store

CURSOR_CHARACTERS_MAX: Final = 512
_FORMER: Final = "n"
"""What the cursors of release 0.2 begin with; a token of libs.server.page_tokens begins with "A"."""
_NOTICES_A_BREATH: Final = 250
"""Notices that get texts before other calls get a turn."""
_READER: Final = clearance_pb2.PullNoticesRequest()
"""A cursor belongs to a reader and not to a query: it stays good when the size of pages changes."""


@dataclass(frozen=True, slots=True)
class Post:
    """The states of a page of notices, and the next cursor."""

    tables: list[Table]
    next: str


class NoticeReader:
    """Reads the notices of this service."""

    def __init__(self, store: Store, pages: PageTokens) -> None:
        self._store = store
        self._pages = pages
        self._reader: Reader[str] = Reader(store.database, NOTICE)
        self._watch: Watch[str] = Watch(self._reader)
        store.outbox.listeners.append(self._watch.nudge)

    async def pull(self, key: str, after: str, notices_max: int, seconds: float) -> Post:
        """Return the notices of `key` after a cursor (empty: from the first that is stored), waiting up to `seconds` for one.

        Raises Refusal NOTICE_CURSOR_MALFORMED, NOTICE_CURSOR_EXPIRED.
        """
        cursor = await self._cursor_of(after)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        tables: list[Table] = []
        try:
            while True:
                async with self._store.database.connection() as reading:
                    if not after:
                        # From the first that is stored: to a new reader, what was dropped before is no gap.
                        state = await self._reader.refresh(reading.raw)
                        cursor = Cursor(state.floor[0], 0, state.floor[1], state.floor[2])
                        after = "first"
                    page = await self._reader.page(reading.raw, {key: cursor}, notices_max)
                    if page.batches:
                        stored = await self._store.outbox.payloads.fetch(
                            reading.raw, [each.ref for each in page.batches]
                        )
                        tables = [
                            self._store.outbox.payloads.table(stored[each.ref]).take(np.concatenate(each.rows))
                            for each in page.batches
                        ]
                        break
                cursor = page.next[key]
                if not page.has_more:
                    left = ends_at - clock()
                    if left <= 0 or not await self._watch.wait([key], page.horizon, left):
                        break
        except CursorInvalid as error:
            raise Refusal("NOTICE_CURSOR_EXPIRED", path="cursor") from error
        return Post(tables, await self._token_of(page.next[key]))

    async def _token_of(self, cursor: Cursor) -> str:
        return await self._pages.token(_READER, cursor.epoch, cursor.day, cursor.xid, cursor.seq)

    async def _cursor_of(self, token: str) -> Cursor:
        """Read a cursor; raises Refusal NOTICE_CURSOR_MALFORMED."""
        if not token:
            return Cursor()
        if token.startswith(_FORMER):
            return _former_cursor(token)
        try:
            return Cursor(*await self._pages.opened(_READER, token, (0, 0, 0, 0)))
        except Refusal:
            raise Refusal("NOTICE_CURSOR_MALFORMED", path="cursor") from None


class NoticeWriter:
    """Writes texts and check codes into notices, for callers that name a language."""

    def __init__(self, texts: Texts, codes: CheckCodes) -> None:
        """Take the texts of all languages."""
        self._texts = texts
        self._codes = codes

    async def write(self, notices: Sequence[clearance_pb2.Notice], language_tag: str, *, reader: str) -> None:
        """Set title, text and language and, for filers of the consignments, the check code."""
        language = self._texts.choose(language_tag)
        for begin in range(0, len(notices), _NOTICES_A_BREATH):
            part = notices[begin : begin + _NOTICES_A_BREATH]
            codes = await self._codes.codes([notice.mrn for notice in part]) if reader == FILER else [""] * len(part)
            for notice, code in zip(part, codes, strict=True):
                # Whoever is notified as a party reads no MRN, and so no code of it.
                notice.check_code = code if notice.mrn else ""
                render(notice, self._texts, language, reader=reader)
            await asyncio.sleep(0)


def check_language(tag: str) -> None:
    """Raise Refusal LANGUAGE_MALFORMED unless a text is a language tag."""
    if not is_language_tag(tag):
        raise Refusal("LANGUAGE_MALFORMED", path="language", value=tag)


def _former_cursor(token: str) -> Cursor:
    """Read a cursor that release 0.2 gave, which anybody can write.

    It leads nowhere but into the caller's own notices; one beyond what is stored is refused (NOTICE_CURSOR_EXPIRED) and begins no epoch.
    Raises Refusal NOTICE_CURSOR_MALFORMED.
    """
    try:
        if len(token) > CURSOR_CHARACTERS_MAX:
            raise ValueError(len(token))
        body = token[1:].encode("ascii")
        raw = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        message = feed_pb2.Cursor.FromString(raw)
        if min(message.epoch, message.day, message.xid, message.seq) < 0 or message.SerializeToString() != raw:
            raise ValueError("not as it was written")
    except Exception as error:
        raise Refusal("NOTICE_CURSOR_MALFORMED", path="cursor") from error
    return Cursor(message.epoch, message.day, message.xid, message.seq)
