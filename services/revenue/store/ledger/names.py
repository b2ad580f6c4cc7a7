"""Names of accounts and charges, each stored once: whatever is booked has their numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np

from libs.store.database import Transaction
from services.revenue.ledger.division import NONE, PREFIX, Divisions, accounts_of
from services.revenue.ledger.entry import Int64

KNOWN_MAX: Final = 500_000
"""Names that a replica holds ready, some 150 bytes each; beyond it begins anew."""
_MAKE: Final = """
insert into ledger_name (name) select given.name from unnest($1::text[]) as given(name) order by given.name collate "C"
on conflict do nothing
"""
_IDS: Final = "select id, name from ledger_name where name = any($1::text[])"
_NAMES: Final = "select id, name from ledger_name where id = any($1::integer[])"


class Names:
    """Leads from names to numbers and back; what was found once is not asked for again."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def cached(self, names: Collection[str]) -> dict[str, int]:
        """Return the numbers of those names that were looked up before."""
        return {name: self._ids[name] for name in names if name in self._ids}

    async def add(self, tx: Transaction, names: Sequence[str]) -> None:
        """Number the names that have no number."""
        await tx.raw.execute(_MAKE, names)

    async def ids(self, reader: Transaction, names: Collection[str]) -> dict[str, int]:
        """Return the numbers of those names that have one."""
        found = self.cached(names)
        missing = [name for name in names if name not in found]
        return found | self._learn(await reader.raw.fetch(_IDS, missing)) if missing else found

    async def texts(self, reader: Transaction, ids: Iterable[int]) -> dict[int, str]:
        """Return the names of numbers; unused numbers are omitted."""
        distinct = set(ids)
        found = {number: self._names[number] for number in distinct if number in self._names}
        missing = [number for number in distinct if number not in found]
        if missing:
            found |= {number: name for name, number in self._learn(await reader.raw.fetch(_NAMES, missing)).items()}
        return found

    async def divisions(self, reader: Transaction, *numbers: Int64) -> Divisions:
        """Return the divisions of revenue among the names of lines' treasuries."""
        names = await self.texts(reader, np.unique(np.concatenate(numbers)).tolist())
        found = {number: name for number, name in names.items() if name.startswith(PREFIX)}
        return Divisions.from_names(found, await self.ids(reader, accounts_of(found.values()))) if found else NONE

    def _learn(self, rows: Iterable[tuple[int, str]]) -> dict[str, int]:
        learnt = {name: number for number, name in rows}
        if len(self._ids) > KNOWN_MAX:
            self._ids, self._names = {}, {}
        self._ids |= learnt
        self._names |= {number: name for name, number in learnt.items()}
        return learnt
