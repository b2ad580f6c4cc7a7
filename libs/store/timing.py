"""Spans of transactions: how long a connection was waited for, what the statements and the commit took, which were slow.

Statements are timed where the driver is called, COPY included: two clock readings and an addition each, some 0.5 µs.
Nothing is measured outside of a trace. A statement's text goes into a span only where it was slow, without parameters
(they never are in the text) and without literals.
"""

import re
import time
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.store import builtin_types
from libs.store.errors import StoreError, StoreUnavailable
from libs.telemetry.trace import CLIENT, AttributeValue, Span, current_span, span

STATEMENT_SLOW_MILLIS: Final = 20
"""Duration from which on a statement has a span of its own."""
SLOW_STATEMENTS_MAX: Final = 10
"""Largest number of slow statements with spans in one transaction: the first ones."""
TEXT_CHARACTERS_MAX: Final = 300

_SLOW_SECONDS: Final = STATEMENT_SLOW_MILLIS / 1000
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'|(?<![\w$.])-?\d+(?:\.\d+)?\b")
_CHANGED: Final = re.compile(r"(?i)\b(insert into|update|delete from) ([a-z_]\w*)")
_TARGET: Final = re.compile(r"(?i)(?:^(select) (?=[a-z_]\w*\()|\b(?:into|from|update|copy) )([a-z_]\w*)")
_BLANK: Final = re.compile(r"\s+")


class Tally:
    """What the statements of one transaction took."""

    __slots__ = ("seconds", "slow", "statements")

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0
        self.slow: list[tuple[str, float, float]] = []
        """Text, begin and end (seconds of the monotonic clock)."""

    def note(self, text: str, began: float) -> None:
        """Count a statement that has just ended."""
        ended = time.monotonic()
        self.statements += 1
        self.seconds += ended - began
        if ended - began >= _SLOW_SECONDS and len(self.slow) < SLOW_STATEMENTS_MAX:
            self.slow.append((text, began, ended))


class Connection(builtin_types.Connection):
    """asyncpg's connection, timing statements while a tally is set."""

    __slots__ = ("tally",)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tally: Tally | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().execute(query, *args, timeout=timeout)
        finally:
            if tally is not None:
                tally.note(query, began)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().fetch(query, *args, **options)
        finally:
            if tally is not None:
                tally.note(query, began)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().fetchrow(query, *args, **options)
        finally:
            if tally is not None:
                tally.note(query, began)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().fetchval(query, *args, **options)
        finally:
            if tally is not None:
                tally.note(query, began)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().copy_records_to_table(table_name, **options)
        finally:
            if tally is not None:
                tally.note(f"copy {table_name} from stdin", began)

    async def copy_to_table(self, table_name: str, **options: Any) -> Any:
        """See asyncpg."""
        tally, began = self.tally, time.monotonic()
        try:
            return await super().copy_to_table(table_name, **options)
        finally:
            if tally is not None:
                tally.note(f"copy {table_name} from stdin", began)


def time_core(engine: AsyncEngine) -> None:
    """Count the statements of SQLAlchemy's Core too, which calls the driver in its own way."""

    def before(connection: Any, _cursor: Any, _text: str, _parameters: Any, context: Any, _many: bool) -> None:
        if context is not None:
            context._luxor_began = time.monotonic()

    def after(connection: Any, _cursor: Any, text: str, _parameters: Any, context: Any, _many: bool) -> None:
        tally = getattr(connection.connection.driver_connection, "tally", None)
        began = getattr(context, "_luxor_began", None)
        if tally is not None and began is not None:
            tally.note(text, began)

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)


class StoreSpan:
    """The span of one transaction or read; `open_span` gives None where nothing is traced."""

    __slots__ = ("_waited", "span", "tally")

    def __init__(self, opened: Span) -> None:
        self.span = opened.begin()
        self.tally = Tally()
        self._waited = time.monotonic()

    def connected(self, raw: Any) -> None:
        """Note the time that a connection was waited for, and time what it is asked from now on."""
        self.span.attributes["luxor.db.wait_us"] = _micros(time.monotonic() - self._waited)
        raw.tally = self.tally

    def committed(self, seconds: float) -> None:
        """Note what the commit took: the root has written something."""
        self.span.attributes["luxor.db.commit_us"] = _micros(seconds)
        (self.span.root or self.span).wrote = True

    def end(self, error: BaseException | None) -> None:
        """End, with the slow statements as spans inside."""
        told, tally = self.span, self.tally
        told.attributes["luxor.db.statements"] = tally.statements
        told.attributes["luxor.db.statements_us"] = _micros(tally.seconds)
        if tally.slow:
            # Statements are timed by the monotonic clock, spans by the wall's.
            shift = time.time_ns() - int(time.monotonic() * 1e9)
            for text, began, ended in tally.slow:
                attributes: dict[str, AttributeValue] = {
                    "db.system.name": "postgresql",
                    "db.query.text": normalised(text),
                }
                inner = span(title(text), attributes=attributes, kind=CLIENT)
                inner.was(int(began * 1e9) + shift, int(ended * 1e9) + shift)
        if isinstance(error, StoreError):
            told.fail(error.reason if isinstance(error, StoreUnavailable) else type(error).__name__)
        elif error is not None:
            # Whoever uses the transaction changed its mind; whether that is a failure is for the spans around to say.
            told.attributes["luxor.db.undone_by"] = type(error).__name__
        told.end()


def open_span(name: str, namespace: str) -> StoreSpan | None:
    """Open the span of a transaction inside of the work that is going on; None outside of any."""
    if current_span() is None:
        return None
    opened = span(name, kind=CLIENT)
    opened.attributes["db.system.name"] = "postgresql"
    opened.attributes["db.namespace"] = namespace
    return StoreSpan(opened)


def namespace_of(url: str) -> str:
    """Return the name of the database that a URL leads to."""
    return unquote(urlsplit(url).path.lstrip("/")) or "postgres"


@lru_cache(maxsize=512)
def normalised(text: str) -> str:
    """Return a statement's text in one line, without literals, at most 300 characters long."""
    line = _BLANK.sub(" ", _LITERAL.sub("?", text)).strip()
    return line if len(line) <= TEXT_CHARACTERS_MAX else line[: TEXT_CHARACTERS_MAX - 1] + "…"


@lru_cache(maxsize=512)
def title(text: str) -> str:
    """Return what a statement does and to what, in two words: `insert reference`."""
    line = _BLANK.sub(" ", text).strip()
    verb = line.partition(" ")[0].lower().rstrip(";")
    changed = _CHANGED.search(line) if verb == "with" else None
    if changed is not None:
        return f"{changed[1].split()[0].lower()} {changed[2]}"
    found = _TARGET.search(line)
    return verb if found is None else f"{verb} {found[2]}"


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
