"""Definitions of types, which the driver asks a server for.

On each new connection asyncpg asks for the definition of each type of array that a statement names. The first answer takes the server 12 ms of
CPU time with the planner settings of `libs.store.database`, each further one 5 ms; the connections of a clearance that starts ask eleven
times. The built-in types are the same in every server, so a process asks for each of them once.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import asyncpg

ASSIGNED_OID_MIN: Final = 10_000
"""Numbers from here on are assigned while a server or a database is made; those below are fixed (PostgreSQL, src/include/access/transam.h)."""
_ANSWERED: Final = SimpleNamespace(name="answered from memory")
"""In place of the statement that asked: it has a name, so the driver does not prepare its own unnamed statement once more."""
_definitions: Final[dict[int, Sequence[Any]]] = {}


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """asyncpg's connection, which asks for a built-in type only if no connection of this process has done so."""

    __slots__ = ()

    async def _introspect_types(self, typeoids: Sequence[int], timeout: float | None) -> Any:
        """Return the definitions of types and what they consist of, and the statement that asked for them last."""
        if any(oid >= ASSIGNED_OID_MIN for oid in typeoids):
            return await super()._introspect_types(typeoids, timeout)
        statement: Any = _ANSWERED
        for oid in typeoids:
            if oid not in _definitions:
                _definitions[oid], statement = await super()._introspect_types([oid], timeout)
        return [row for oid in typeoids for row in _definitions[oid]], statement
