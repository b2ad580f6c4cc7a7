"""The tables of representations: whose declarations are entrusted to which filer, as ingestion's register of filers stated it last."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from libs.columns import Table
from libs.columns.arrays import BoolArray
from libs.customs.representation import Mandate
from libs.store.database import Database, Transaction
from libs.store.tables import bulk

AGE_MICROS_MAX: Final = 600_000_000
"""How long a reading of the register counts: after that nothing is entrusted to anybody until the register is read again."""


class Representation(NamedTuple):
    """What a representation entitles one of its two filers to."""

    caller: str
    owner: str
    """The other filer, whose declarations are entrusted to the caller."""
    is_represented: bool
    """Whether the caller is the one that is represented."""
    declarants: str
    """The identifiers of the represented filer, rising, one a line."""
    representatives: str
    """Those of its representative."""


@dataclass(frozen=True, slots=True)
class Entrusted:
    """What is entrusted to a caller."""

    mandates: Mapping[str, list[Mandate]] = field(default_factory=dict)
    """By the filer of the declarations."""
    since: int = 0
    """No declaration that was accepted before is entrusted: its state does not say whom it names as representative. Microseconds since 1970."""

    def covers(self, states: Table) -> BoolArray:
        """Return which states are those of declarations that are entrusted, shape (n,)."""
        found = np.zeros(states.rows, np.bool_)
        if not self.mandates:
            return found
        late = states.ints("accepted_at").values >= self.since
        filers, declarants = states.strings("filer").tolist(), states.strings("declarant_identifier").tolist()
        representatives = states.strings("representative_identifier").tolist()
        for row in np.flatnonzero(late & states.strings("filer").isin(set(self.mandates))).tolist():
            mandates = self.mandates[filers[row]]
            found[row] = any(each.covers(declarants[row], representatives[row]) for each in mandates)
        return found


class RepresentationTables:
    """The representations that are valid today."""

    async def entrusted_to(self, reading: Transaction, caller: str, now: int) -> Entrusted:
        """Return what is entrusted to a filer. It is one statement, whatever there is."""
        rows = await reading.raw.fetch("select * from representation_find($1, $2)", caller, now - AGE_MICROS_MAX)
        mandates: dict[str, list[Mandate]] = {}
        for row in rows:
            declarants, representatives = (
                frozenset(row[name].splitlines()) for name in ("declarants", "representatives")
            )
            mandates.setdefault(row["owner"], []).append(Mandate(declarants, representatives))
        return Entrusted(mandates, rows[0]["since"] if rows else 0)

    async def replace(self, tx: Transaction, representations: Collection[Representation], now: int) -> bool:
        """Store what the register states at an instant; return whether it differs from what was stored."""
        names = Representation._fields
        stored = {Representation(*row) for row in await tx.raw.fetch(f"select {', '.join(names)} from representation")}  # noqa: S608  # our own names
        differs = stored != set(representations)
        if differs:
            await tx.raw.execute("delete from representation")
            values = sorted(representations)
            columns = {
                name: bulk.text([getattr(each, name) for each in values]) for name in names if name != "is_represented"
            }
            columns["is_represented"] = bulk.boolean([each.is_represented for each in values])
            await bulk.insert(tx, "representation", columns)
        await tx.raw.execute("update representation_reading set read_at = $1", now)
        return differs


async def read_at(database: Database) -> int:
    """Return when the register was last read, microseconds since 1970-01-01 UTC; 0 where it never was."""
    async with database.connection() as reading:
        return int(await reading.raw.fetchval("select read_at from representation_reading"))
