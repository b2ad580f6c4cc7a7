"""The register of licences, and what was written off.

Licences are locked behind the consignments that use them, always in the order of their keys, so that no deadlock can occur.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.licences.licence import Licence
from services.clearance.licences.need import Key, Need, NeedOutcome, needs_of, restorable, with_needs
from services.clearance.store.rows import days_of

EVERYBODY: Final = "*"
"""In place of an authority or a holder: all. No id has this form."""
_REGISTERED: Final = """
    select l.* from unnest((select $1::text[]), (select $2::text[]), (select $3::text[])) as w(authority, type, number)
    cross join lateral (
        select * from licence k where k.authority = w.authority and k.type = w.type and k.number = w.number {lock}
    ) l
"""
_RESTORE: Final = """
    update licence_use u set restored_at = $5
    from unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $6::text[]) as w(day, mrn, item, authority, type)
    where u.day = any(array[w.day]) and u.mrn = w.mrn and u.item = w.item and u.authority = w.authority and u.type = w.type
        and u.restored_at is null
    returning u.authority, u.type, u.number, u.quantity
"""
Place = tuple[int, int, str, int, int]
"""Time of use, day, MRN, item and version: the order of a licence's uses."""


@dataclass(frozen=True, slots=True)
class Use:
    """One item for which a licence was written off or checked; times are microseconds since 1970-01-01 UTC."""

    mrn: str
    need: Need
    version: int
    """Version of the consignment in which it was."""
    used_at: int
    restored_at: int | None = None


class LicenceTables:
    """The register and the uses."""

    async def find(self, tx: Transaction, keys: Iterable[Key], *, lock: bool = False) -> dict[Key, Licence]:
        """Return the registered ones of some licences; with `lock` they do not change until this transaction ends."""
        wanted = sorted(set(keys))
        if not wanted:
            return {}
        columns = ([key[place] for key in wanted] for place in range(3))
        # Rows of the list come in its order, so that the locks are taken in one order.
        records = await tx.raw.fetch(_REGISTERED.format(lock="for update" if lock else "limit 1"), *columns)
        return {licence.key: licence for licence in map(_licence, records)}

    async def add_new(self, tx: Transaction, licences: Sequence[Licence]) -> set[Key]:
        """Register licences; return those that were not registered before, also not by a transaction that ended meanwhile."""
        return await self._insert(tx, licences, "do nothing")

    async def put(self, tx: Transaction, licences: Sequence[Licence]) -> None:
        """Store licences that are locked."""
        changed = (
            "holder", "jurisdiction", "from_day", "to_day", "goods", "quantity", "unit", "version", "revoked_at", "revoked_reason", "changed_at",
            "changed_by", "next_at",
        )  # fmt: skip
        assignments = ", ".join(f"{name} = excluded.{name}" for name in changed)
        await self._insert(tx, licences, f"(authority, type, number) do update set {assignments}")

    async def _insert(self, tx: Transaction, licences: Sequence[Licence], on_conflict: str) -> set[Key]:
        records = await bulk.insert(
            tx,
            "licence",
            {
                **{
                    name: bulk.text([getattr(each, name) for each in licences])
                    for name in (
                        "authority",
                        "type",
                        "number",
                        "holder",
                        "jurisdiction",
                        "unit",
                        "revoked_reason",
                        "changed_by",
                    )
                },
                **{
                    name: bulk.int4([getattr(each, name) for each in licences])
                    for name in ("from_day", "to_day", "version")
                },
                "goods": bulk.text([",".join(each.goods) for each in licences]),
                "quantity": bulk.int8([each.quantity_millionths for each in licences]),
                "revoked_at": bulk.int8([each.revoked_at for each in licences]),
                "changed_at": bulk.int8([each.changed_at for each in licences]),
                "next_at": bulk.int8([each.next_at for each in licences]),
            },
            on_conflict=on_conflict,
            returning="authority, type, number",
            order_by=("authority", "type", "number"),
        )
        return {(each["authority"], each["type"], each["number"]) for each in records}

    async def due(self, tx: Transaction, until: int, limit: int) -> list[Key]:
        """Return licences of which a notice about the last day is due before an instant, or at it, the longest due first."""
        records = await tx.raw.fetch("select authority, type, number from licence_find($1, $2)", until, limit)
        return [(each["authority"], each["type"], each["number"]) for each in records]

    async def note_next(self, tx: Transaction, licences: Sequence[Licence]) -> None:
        """Store when the authorities of licences that are locked are next notified of the last day."""
        await tx.raw.execute(
            "update licence l set next_at = w.next_at "
            "from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as w(authority, type, number, next_at) "
            "where l.authority = any(array[w.authority]) and l.type = w.type and l.number = w.number",
            *([each.key[place] for each in licences] for place in range(3)),
            [each.next_at for each in licences],
        )

    async def used_by(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, list[Use]]:
        """Return the uses of consignments, also those that were restored."""
        records = await tx.raw.fetch(
            "select u.* from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn) cross join lateral ("
            "select * from licence_use k where k.day = w.day and k.mrn = w.mrn offset 0) u",
            days_of(mrns),
            list(mrns),
        )
        found: dict[str, list[Use]] = {}
        for record in records:
            found.setdefault(record["mrn"], []).append(_use(record))
        return found

    async def add(self, tx: Transaction, uses: Sequence[Use]) -> None:
        """Store new uses, whose licences are locked, and write their quantities off."""
        if not uses:
            return
        needs = [each.need for each in uses]
        await bulk.insert(
            tx,
            "licence_use",
            {
                "day": bulk.int4(days_of([each.mrn for each in uses])),
                "mrn": bulk.text([each.mrn for each in uses]),
                "item": bulk.int4([each.item_number for each in needs]),
                "version": bulk.int4([each.version for each in uses]),
                **{
                    name: bulk.text([getattr(each, name) for each in needs]) for name in ("authority", "type", "number")
                },
                "quantity": bulk.int8([each.quantity_millionths for each in needs]),
                "used_at": bulk.int8([each.used_at for each in uses]),
            },
        )
        await self._write_off(tx, _amounts((each.key, each.quantity_millionths) for each in needs))

    async def restore(self, tx: Transaction, uses: Sequence[tuple[str, Need]], at: int) -> None:
        """Restore uses of consignments that are locked, each once; their licences are locked here."""
        if not uses:
            return
        await self.find(tx, (need.key for _, need in uses), lock=True)
        records = await tx.raw.fetch(
            _RESTORE,
            days_of([mrn for mrn, _ in uses]),
            [mrn for mrn, _ in uses],
            [need.item_number for _, need in uses],
            [need.authority for _, need in uses],
            at,
            [need.type for _, need in uses],
        )
        restored = [((each["authority"], each["type"], each["number"]), each["quantity"]) for each in records]
        await self._write_off(tx, {key: -amount for key, amount in _amounts(restored).items()})

    async def restored(self, tx: Transaction, states: Table) -> Table:
        """Return the next states of consignments that are locked, with what their end restores; the register follows."""
        chosen = restorable(states)
        if not any(chosen):
            return states
        mrns = states.strings("mrn").tolist()
        ending = {(mrn, each.place) for mrn, own in zip(mrns, chosen, strict=True) for each in own}
        times = states.ints("changed_at").values
        for at in sorted({int(times[row]) for row, own in enumerate(chosen) if own}):
            uses = [(mrns[row], each) for row, own in enumerate(chosen) if times[row] == at for each in own]
            await self.restore(tx, uses, at)
        lists = [
            [_restored(each) if (mrn, each.place) in ending else each for each in own]
            for mrn, own in zip(mrns, needs_of(states), strict=True)
        ]
        return with_needs(states, lists)

    async def purge(self, tx: Transaction, before_day: int, limit: int) -> int:
        """Delete licences that ended before a day, once their uses are deleted; return how many rows there were, `limit` at most."""
        deleted = await tx.raw.execute(
            "delete from licence_use where ctid = any(array(select u.ctid from licence l join licence_use u using (authority, type, number) "
            "where l.to_day < $1 limit $2))",
            before_day,
            limit,
        )
        if deleted == "DELETE 0":
            deleted = await tx.raw.execute(
                "delete from licence where ctid = any(array(select ctid from licence where to_day < $1 limit $2))",
                before_day,
                limit,
            )
        return int(deleted.rpartition(" ")[2])

    async def page(self, tx: Transaction, authority: str, holder: str, after: Key, limit: int) -> list[Licence]:
        """Return licences of an authority and a holder, or of EVERYBODY, by authority, type and number after a key."""
        records = await tx.raw.fetch(
            "select * from licence where (authority, type, number) > ($1, $2, $3) and ($4 = '*' or authority = $4) "
            "and ($5 = '*' or holder = $5) order by authority, type, number limit $6",
            *after,
            authority,
            holder,
            limit,
        )
        return [_licence(record) for record in records]

    async def uses(self, tx: Transaction, key: Key, after: Place, limit: int) -> list[tuple[Place, Use]]:
        """Return the uses of a licence after a place, the first use first."""
        records = await tx.raw.fetch(
            "select * from licence_use where authority = $1 and type = $2 and number = $3 "
            "and (used_at, day, mrn, item, version) > ($4, $5, $6, $7, $8) order by used_at, day, mrn, item, version limit $9",
            *key,
            *after,
            limit,
        )
        return [
            ((each["used_at"], each["day"], each["mrn"], each["item"], each["version"]), _use(each)) for each in records
        ]

    async def totals(self, tx: Transaction, keys: Iterable[Key]) -> dict[Key, tuple[int, int]]:
        """Return of licences what the register states as written off, and the sum of their uses that were not restored."""
        wanted = sorted(set(keys))
        columns = ([key[place] for key in wanted] for place in range(3))
        records = await tx.raw.fetch(
            "select l.authority, l.type, l.number, l.written_off, s.used "
            "from unnest((select $1::text[]), (select $2::text[]), (select $3::text[])) as w(authority, type, number) "
            "cross join lateral (select * from licence k where k.authority = w.authority and k.type = w.type and k.number = w.number limit 1) l "
            "cross join lateral (select coalesce(sum(u.quantity), 0)::bigint as used from licence_use u where u.authority = w.authority "
            "and u.type = w.type and u.number = w.number and u.restored_at is null) s",
            *columns,
        )
        return {
            (each["authority"], each["type"], each["number"]): (each["written_off"], each["used"]) for each in records
        }

    async def unexplained(
        self, tx: Transaction, after: Key, limit: int, first_day: int
    ) -> tuple[list[tuple[Key, int, int]], Key | None]:
        """Return of the licences after a key what differs: key, what the register states as written off, and the sum of the uses not restored.

        Licences that are being deleted are left out, and those with uses of consignments since the first day, which lead to them. The second value
        is the key after which the next part begins; None after the last one.
        """
        records = await tx.raw.fetch(
            "select k.authority, k.type, k.number, k.written_off, s.used, k.to_day < $5 or s.day >= $5 as elsewhere "
            "from (select * from licence where (authority, type, number) > ($1, $2, $3) order by authority, type, number limit $4) k "
            "cross join lateral (select coalesce(sum(u.quantity) filter (where u.restored_at is null), 0)::bigint as used, "
            "coalesce(max(u.day), 0) as day from licence_use u "
            "where u.authority = k.authority and u.type = k.type and u.number = k.number) s order by k.authority, k.type, k.number",
            *after,
            limit,
            first_day,
        )
        keys = [(each["authority"], each["type"], each["number"]) for each in records]
        found = [
            (key, each["written_off"], each["used"])
            for key, each in zip(keys, records, strict=True)
            if each["written_off"] != each["used"] and not each["elsewhere"]
        ]
        return found, keys[-1] if len(keys) == limit else None

    async def _write_off(self, tx: Transaction, amounts: Mapping[Key, int]) -> None:
        """Change what is written off of licences that are locked."""
        changed = [(key, amount) for key, amount in sorted(amounts.items()) if amount]
        if not changed:
            return
        await tx.raw.execute(
            "update licence l set written_off = l.written_off + w.amount "
            "from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) as w(authority, type, number, amount) "
            "where l.authority = any(array[w.authority]) and l.type = w.type and l.number = w.number",
            *([key[place] for key, _ in changed] for place in range(3)),
            [amount for _, amount in changed],
        )


def _amounts(quantities: Iterable[tuple[Key, int | None]]) -> dict[Key, int]:
    """Return the sum of quantities by licence."""
    amounts: dict[Key, int] = {}
    for key, quantity in quantities:
        amounts[key] = amounts.get(key, 0) + (quantity or 0)
    return amounts


def _restored(need: Need) -> Need:
    return replace(need, outcome=int(NeedOutcome.RESTORED))


def _licence(record: asyncpg.Record) -> Licence:
    return Licence(
        **{
            name: record[name]
            for name in (
                "authority", "type", "number", "holder", "jurisdiction", "from_day", "to_day", "unit", "version", "revoked_at", "revoked_reason",
                "changed_at", "changed_by", "next_at",
            )
        },
        goods=tuple(record["goods"].split(",")),
        quantity_millionths=record["quantity"],
        written_off_millionths=record["written_off"],
    )  # fmt: skip


def _use(record: asyncpg.Record) -> Use:
    need = Need(
        item_number=record["item"],
        authority=record["authority"],
        type=record["type"],
        jurisdiction="",
        number=record["number"],
        quantity_millionths=record["quantity"],
    )
    return Use(record["mrn"], need, record["version"], record["used_at"], record["restored_at"])
