"""Which store a server's database is, and how far its log is."""

from dataclasses import dataclass
from typing import Any, Final

import asyncpg

# Only the flushed part: nothing of the unflushed end was ever reported.
POSITION: Final = "select (pg_current_wal_flush_lsn() - '0/0')::bigint"
"""SQL: how far the log was written to the disk, bytes."""
_READ: Final = """
    select {system} as system_id, (select oid from pg_database where datname = current_database())::bigint as database,
        substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) as timeline, (pg_current_wal_flush_lsn() - '0/0')::bigint as position
    where not pg_is_in_recovery()
"""
_SYSTEM: Final = _READ.format(system="(select system_identifier from pg_control_system())")
_ANY_SYSTEM: Final = _READ.format(system="0::bigint")


@dataclass(frozen=True, slots=True)
class Identity:
    """A store at one moment."""

    system_id: int
    """The server's system identifier; 0 where the account may not read it."""
    database: int
    timeline: str
    position: int
    """How far the log was written to the disk, bytes."""

    def difference(self, later: "Identity") -> str:
        """Return why what was seen later is another store; empty where it is the same, further on."""
        if self.system_id != later.system_id:
            return f"another server: system identifier {self.system_id} became {later.system_id}"
        if self.database != later.database:
            return "another database of the server"
        if self.timeline != later.timeline:
            return f"a standby was promoted or an archive recovered: timeline {self.timeline} became {later.timeline}"
        if self.position > later.position:
            return f"an older copy: its log ends {self.position - later.position} bytes before what was seen"
        return ""


async def read_identity(raw: Any) -> Identity | None:
    """Read the identity over a driver's connection; None of a standby, which has no log of its own."""
    try:
        row = await raw.fetchrow(_SYSTEM)
    except asyncpg.InsufficientPrivilegeError:
        row = await raw.fetchrow(_ANY_SYSTEM)
    return None if row is None else Identity(**dict(row))
