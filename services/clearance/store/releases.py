"""How far bulk releases have come that are not complete, by request, and the marks of release lists that were imported."""

from collections.abc import Sequence
from typing import NamedTuple

from libs.store.database import Transaction
from libs.store.tables import bulk
from libs.store.tables.schema import TODAY, today


class BulkReleases:
    """The table of bulk releases under way."""

    async def progress(self, tx: Transaction, caller: str, request_id: str) -> bytes:
        """Return what the last transaction of a request stored; empty if there is none."""
        stored: bytes | None = await tx.raw.fetchval(
            "select progress from bulk_release where caller = $1 and request_id = $2", caller, request_id
        )
        return stored or b""

    async def store(self, tx: Transaction, caller: str, request_id: str, progress: bytes) -> None:
        """Store how far a request has come."""
        await tx.raw.execute(
            f"insert into bulk_release (caller, request_id, day, progress) values ($1, $2, {TODAY}, $3) "  # noqa: S608  # an expression of our own
            "on conflict (caller, request_id) do update set progress = excluded.progress",
            caller,
            request_id,
            progress,
        )

    async def delete(self, tx: Transaction, caller: str, request_id: str) -> None:
        """Delete what is stored of a request that is complete."""
        await tx.raw.execute("delete from bulk_release where caller = $1 and request_id = $2", caller, request_id)


class StoredMark(NamedTuple):
    """A mark and the result of its import."""

    line: int
    house_document: str
    """Only of goods that are not on the list."""
    decision: int
    marked_at: int
    marked_by: str
    mrn: str
    """Of the line; of goods that are not on the list as marked, perhaps empty."""
    outcome: int
    state: int
    version: int


class ReleaseLists:
    """The table of imported marks."""

    async def marks(self, tx: Transaction, serial: str, goods: Sequence[tuple[int, str, str]]) -> list[StoredMark]:
        """Return the imported marks of lines of a list, and of house documents and MRNs that are not on it (line 0)."""
        if not goods:
            return []
        records = await tx.raw.fetch(
            "select m.line, m.house_document, m.decision, m.marked_at, m.marked_by, m.mrn, m.outcome, m.state, m.version "
            "from unnest((select $2::integer[]), (select $3::text[]), (select $4::text[])) as w(line, house, mrn) "
            "cross join lateral (select * from release_list_mark r where r.serial = $1 and r.line = w.line and r.house_document = w.house "
            "and (w.line > 0 or r.mrn = w.mrn) offset 0) m",
            serial,
            *(list(each) for each in zip(*goods, strict=True)),
        )
        return [StoredMark(*record) for record in records]

    async def add(self, tx: Transaction, serial: str, marks: Sequence[StoredMark], by: str) -> None:
        """Store imported marks; of two imports at the same time the first one counts."""
        if not marks:
            return
        count, day = len(marks), await today(tx)
        columns = {name: [mark[place] for mark in marks] for place, name in enumerate(StoredMark._fields)}
        await bulk.insert(
            tx,
            "release_list_mark",
            {
                "serial": bulk.text([serial] * count),
                "line": bulk.int4(columns["line"]),
                "house_document": bulk.text(columns["house_document"]),
                "decision": bulk.int2(columns["decision"]),
                "marked_at": bulk.int8(columns["marked_at"]),
                "marked_by": bulk.text(columns["marked_by"]),
                "mrn": bulk.text(columns["mrn"]),
                "outcome": bulk.int2(columns["outcome"]),
                "state": bulk.int2(columns["state"]),
                "version": bulk.int4(columns["version"]),
                "imported_by": bulk.text([by] * count),
                "day": bulk.int4([day] * count),
            },
            on_conflict="do nothing",
        )
