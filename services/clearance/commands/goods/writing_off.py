"""Writes licences off for the filings of a page, in the transaction that decides on them.

All licences of the page are locked first, in the order of their keys, and behind the consignments. So what is left of them is known for the whole
page, and consignments of other pages and replicas come before or after all of them.
"""

from collections.abc import Sequence

from libs.columns import Table
from libs.store.database import Transaction
from services.clearance.goods_controls.requirements import goods_of
from services.clearance.licences.licence import Licence, allocated
from services.clearance.licences.need import Key, Need, column_of, has_needs, needs_of
from services.clearance.store import Store
from services.clearance.store.licences.register import Use
from services.clearance.store.rows import days_of


class WritingOff:
    """The licences of one page of filings, locked, and what is written off from them and restored."""

    def __init__(self, store: Store, tx: Transaction, at: int) -> None:
        """Write off in the caller's transaction, at an instant of the database's clock."""
        self._store, self._tx, self._at = store, tx, at
        self.register: dict[Key, Licence] = {}
        """The licences that the filings cite, as they stand after what was written off so far."""
        self._before: dict[str, list[Need]] = {}
        self._restored: list[tuple[str, Need]] = []
        self._added: list[Use] = []

    async def lock(self, tables: Sequence[Table], stored: Table) -> None:
        """Lock the licences that these filings cite, and those that the `stored` states of amended ones use."""
        needs = [need for table in tables if has_needs(table) for own in needs_of(table) for need in own if need.number]
        if has_needs(stored):
            used = ([each for each in own if each.is_used] for own in needs_of(stored))
            self._before = dict(zip(stored.strings("mrn").tolist(), used, strict=True))
            needs += [need for own in self._before.values() for need in own]
        self.register = await self._store.licences.find(self._tx, (each.key for each in needs), lock=True)

    def written_off(self, states: Table) -> Table:
        """Return states that are about to be stored, and whose needs are not decided yet, with their outcomes.

        First come, first served, by acceptance and MRN. What a former version of an amended filing used is restored first.
        """
        mrns = states.strings("mrn").tolist()
        if not has_needs(states) and not any(mrn in self._before for mrn in mrns):
            return states
        needs, goods = needs_of(states), goods_of(states)
        accepted = states.ints("accepted_at").values.tolist()
        days = days_of(mrns)
        versions = states.ints("version").values.tolist()
        for row in sorted(range(states.rows), key=lambda row: (accepted[row], mrns[row])):
            for need in self._before.pop(mrns[row], ()):
                self._restored.append((mrns[row], need))
                self._change(need, -1)
            if needs[row]:
                needs[row] = allocated(needs[row], goods[row], days[row], self.register)
                self._added += [Use(mrns[row], each, versions[row], self._at) for each in needs[row] if each.is_used]
        return states.with_columns({"licences": column_of(needs)})

    def _change(self, need: Need, sign: int) -> None:
        licence = self.register.get(need.key)
        if licence is not None:
            self.register[need.key] = licence.with_written_off(sign * (need.quantity_millionths or 0))

    async def finish(self) -> None:
        """Store what was restored and written off."""
        await self._store.licences.restore(self._tx, self._restored, self._at)
        await self._store.licences.add(self._tx, self._added)
