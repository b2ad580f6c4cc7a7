"""The table filer: each version of each entry of the register, for ever. The newest one of a filer is in force."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import asyncpg

from libs.customs.representation import Mandate
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.tables import bulk
from libs.store.tables.schema import TODAY
from services.ingestion.filers.register import (
    Filer,
    FilerCertificate,
    Representative,
    TrustedStatus,
    mandates,
)

_COLUMNS: Final = "id, version, name, identifiers, certificates, representatives, suspension_reason, trusted, party_roles, changed_at, changed_by"
_NEWEST: Final = "not exists (select from filer newer where newer.id = f.id and newer.version > f.version)"
_OF_IDS: Final = f"select {_COLUMNS}, {TODAY} as today from filer f where id = any($1::text[]) and {_NEWEST}"  # noqa: S608  # our own statement
_PARTIES: Final = f"select {_COLUMNS}, {TODAY} as today from filer f where party_roles <> '' and {_NEWEST}"  # noqa: S608  # our own statement
_ALL: Final = f"select {_COLUMNS} from filer f where {_NEWEST}"  # noqa: S608  # our own statement
_PAGE: Final = f"""
    select {_COLUMNS} from filer f where id > $1 and ($2::text = '' or id = $2) and {_NEWEST} order by id limit $3
"""  # noqa: S608  # our own statement
_IN_REPRESENTATIONS: Final = f"""
    with named as (
        select distinct split_part(line, ' ', 1) as id from filer f, unnest(string_to_array(f.representatives, E'\n')) as line
        where f.representatives <> '' and {_NEWEST}
    )
    select {_COLUMNS} from filer f
    where id > $1 and ($2::text = '' or id = $2) and {_NEWEST} and (f.representatives <> '' or exists (select from named n where n.id = f.id))
    order by id limit $3
"""  # noqa: S608  # our own statement
_VERSIONS: Final = f"select {_COLUMNS} from filer where id = $1 and version < $2 order by version desc limit $3"  # noqa: S608  # our own statement
# Who changes entries stands in a queue, so that no two changes begin from the same version.
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('luxor filer register', 0))"


class Filers:
    """The register of filers."""

    def __init__(self, database: Database) -> None:
        """Store it in a database."""
        self.database = database

    async def begin_change(self, tx: Transaction) -> int:
        """Lock the register until this transaction ends; return the time, microseconds since 1970-01-01 UTC."""
        await tx.raw.execute(_LOCK)
        return int(await tx.raw.fetchval(f"select {NOW_MICROS}"))

    async def current(self, reader: Transaction, ids: Collection[str]) -> dict[str, Filer]:
        """Return the entries in force of these filers; filers that are not registered are left out."""
        return {row["id"]: filer_of(row) for row in await reader.raw.fetch(_OF_IDS, sorted(ids))}

    async def mandates(self, caller: str, owners: Collection[str]) -> Mapping[str, list[Mandate]]:
        """Return by owner the representations between it and the caller that are valid today, by the database's clock.

        It is one statement for any owners, also for none: the time of an answer does not depend on whether there are owners.
        """
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_OF_IDS, sorted({caller, *owners}))
        own = next((filer_of(row) for row in rows if row["id"] == caller), None)
        if own is None:
            return {}
        # Entries may be long, and the caller chooses how many owners it asks for: those that have nothing to do with it are not read.
        agents, line = {each.id for each in own.representatives}, f"\n{caller} "
        found = [filer_of(row) for row in rows if row["id"] in agents or line in "\n" + row["representatives"]]
        return mandates(own, found, rows[0]["today"])

    async def parties(self) -> tuple[int, list[Filer]]:
        """Return the entries in force that have roles of parties, and today's day, since 1970-01-01 UTC; 0 where there are none."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_PARTIES)
        return (rows[0]["today"] if rows else 0), [filer_of(row) for row in rows]

    async def revision(self) -> tuple[int, int]:
        """Return the number of versions of all entries, and when the last one was stored, microseconds since 1970-01-01 UTC.

        A store that was set back to a copy may reach the same number again, but not at the same time.
        """
        async with self.database.connection() as reader:
            row = await reader.raw.fetchrow("select count(*), coalesce(max(changed_at), 0) from filer")
        return row[0], row[1]

    async def all(self) -> list[Filer]:
        """Return all entries in force."""
        async with self.database.connection() as reader:
            return [filer_of(row) for row in await reader.raw.fetch(_ALL)]

    async def page(self, after: str, ident: str, limit: int, *, in_representations: bool = False) -> list[Filer]:
        """Return the next entries in force after an id, of one filer or of all (""), or those `in_representations`."""
        statement = _IN_REPRESENTATIONS if in_representations else _PAGE
        async with self.database.connection() as reader:
            return [filer_of(row) for row in await reader.raw.fetch(statement, after, ident, limit)]

    async def versions(self, ident: str, before: int, limit: int) -> list[Filer]:
        """Return the versions of a filer's entry before one, newest first."""
        async with self.database.connection() as reader:
            return [filer_of(row) for row in await reader.raw.fetch(_VERSIONS, ident, before, limit)]

    async def add(self, tx: Transaction, filers: Sequence[Filer]) -> None:
        """Add versions of entries, while the register is locked."""
        texts = ("id", "name", "suspension_reason", "changed_by")
        columns = {name: bulk.text([getattr(each, name) for each in filers]) for name in texts}
        columns |= {
            "version": bulk.int4([each.version for each in filers]),
            "changed_at": bulk.int8([each.changed_at for each in filers]),
            "identifiers": bulk.text(["\n".join(each.identifiers) for each in filers]),
            "certificates": bulk.text(
                [_lines((e.serial_number, e.from_day, e.to_day) for e in each.certificates) for each in filers]
            ),
            "representatives": bulk.text(
                [_lines((e.id, e.from_day, e.to_day) for e in each.representatives) for each in filers]
            ),
            "trusted": bulk.text([_trusted_text(each.trusted) for each in filers]),
            "party_roles": bulk.text([" ".join(map(str, each.party_roles)) for each in filers]),
        }
        await bulk.insert(tx, "filer", columns)


def _lines(entries: Iterable[tuple[str, int, int]]) -> str:
    return "\n".join(f"{name} {first} {last}" for name, first, last in entries)


def _trusted_text(status: TrustedStatus | None) -> str:
    return "" if status is None else f"{status.from_day} {status.to_day} {status.authorisation}"


def _trusted(text: str) -> TrustedStatus | None:
    if not text:
        return None
    first, last, authorisation = text.split(" ", 2)
    return TrustedStatus(authorisation, int(first), int(last))


def filer_of(row: asyncpg.Record) -> Filer:
    """Return the entry of a stored row."""
    return Filer(
        id=row["id"],
        name=row["name"],
        identifiers=tuple(row["identifiers"].splitlines()),
        certificates=tuple(FilerCertificate(*each) for each in _entries(row["certificates"])),
        representatives=tuple(Representative(*each) for each in _entries(row["representatives"])),
        suspension_reason=row["suspension_reason"],
        trusted=_trusted(row["trusted"]),
        party_roles=tuple(map(int, row["party_roles"].split())),
        version=row["version"],
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


def _entries(text: str) -> list[tuple[str, int, int]]:
    return [(name, int(first), int(last)) for name, first, last in (line.split(" ") for line in text.splitlines())]
