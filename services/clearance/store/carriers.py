"""Bindings of carriers, and arrivals that were refused because their carrier was not bound."""

from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.carriage.binding import (
    PREFIX_CHARACTERS_MAX,
    PREFIX_CHARACTERS_MIN,
    Binding,
    BindingKind,
    Register,
    keys_of,
)
from services.clearance.consignment.state.transport_numbers import carriage

REFUSED_DAYS: Final = 90
"""Days for which refused arrivals are stored."""
REFUSED_MAX: Final = 1_000
"""Refused documents that are stored for one carrier and day; reports of further ones are counted together."""
UNLISTED: Final = ""
"""Replaces the number of a document: all others of a carrier and day."""

# A stored document is counted further. Others are stored while there is room, in the order of their numbers, and then counted in UNLISTED.
_NOTE_REFUSED: Final = f"""
    with reported as (select distinct w.document_number, w.carrier from unnest($2::text[], $3::text[]) as w(document_number, carrier)),
    listed as (
        select r.carrier, count(*) as documents from arrival_refused r
        where r.day = $1 and r.carrier = any($3::text[]) and r.document_number <> '{UNLISTED}' group by r.carrier
    ),
    known as (
        select w.document_number, w.carrier, coalesce(l.documents, 0) as documents, exists (
            select from arrival_refused r where r.day = $1 and r.carrier = w.carrier and r.document_number = w.document_number
        ) as known
        from reported w left join listed l on l.carrier = w.carrier
    ),
    ranked as (
        select k.*, row_number() over (partition by k.carrier, k.known order by k.document_number) as place from known k
    ),
    chosen as (
        select case when k.known or k.documents + k.place <= $6 then k.document_number else '{UNLISTED}' end as document_number, k.carrier
        from ranked k
    )
    insert into arrival_refused as t (day, document_number, carrier, recorded, times, refused_at)
    select $1, c.document_number, c.carrier, $4, count(*), $5 from chosen c
    group by c.document_number, c.carrier order by c.document_number, c.carrier
    on conflict (day, carrier, document_number) do update set times = t.times + excluded.times, refused_at = excluded.refused_at
"""  # noqa: S608  # a constant of our own


class CarrierTables:
    """The carriers that may report the arrival of master documents."""

    async def register(self, tx: Transaction, documents: Iterable[str], names: Iterable[str]) -> Register:
        """Return the bindings that may concern these documents and carriers named by filings."""
        keys = keys_of(documents, names)
        records = await tx.raw.fetch(
            "select * from carrier_binding_find($1, $2)", [kind for kind, _ in keys], [value for _, value in keys]
        )
        return Register(map(_binding, records))

    async def register_of(self, tx: Transaction, table: Table) -> Register:
        """Return the bindings that may concern these consignments."""
        masters, names, receptacles = carriage(table)
        return await self.register(tx, {*masters.dictionary, *receptacles.dictionary}, names.dictionary)

    async def identifiers_of(self, tx: Transaction, carrier: str) -> list[str]:
        """Return the names that the register binds to a carrier."""
        records = await tx.raw.fetch(
            "select value from carrier_binding where carrier = $1 and kind = $2", carrier, int(BindingKind.IDENTIFIER)
        )
        return [record["value"] for record in records]

    async def binding_revision(self, tx: Transaction, *, lock: bool = False) -> int:
        """Return the revision of the bindings; with `lock` they do not change until this transaction ends."""
        statement = "select revision from binding_revision"
        found: int = await tx.raw.fetchval(f"{statement} for share" if lock else statement)
        return found

    async def put_bindings(self, tx: Transaction, bindings: Sequence[Binding], by: str) -> None:
        """Add bindings or change their days, and mark the arrivals for repetition that they concern and that had no effect on some filings."""
        # First, and locked until the end: a transaction with older bindings marks its arrivals before this one, or sees that they changed.
        await tx.raw.execute("update binding_revision set revision = revision + 1")
        kinds, values = [int(each.kind) for each in bindings], [each.value for each in bindings]
        known = await tx.raw.fetch("select * from carrier_binding_find($1, $2)", kinds, values)
        changed = set(bindings) - set(map(_binding, known))
        await bulk.insert(
            tx,
            "carrier_binding",
            {
                "kind": bulk.int2([each.kind for each in bindings]),
                "value": bulk.text([each.value for each in bindings]),
                "carrier": bulk.text([each.carrier for each in bindings]),
                "from_day": bulk.int4([each.from_day for each in bindings]),
                "to_day": bulk.int4([each.to_day for each in bindings]),
                "changed_by": bulk.text([by] * len(bindings)),
            },
            on_conflict="(kind, value, carrier) do update set from_day = excluded.from_day, to_day = excluded.to_day, "
            "changed_by = excluded.changed_by",
            order_by=("kind", "value", "carrier"),
        )
        await self._carry_out_concerned(tx, changed)

    async def _carry_out_concerned(self, tx: Transaction, bindings: Iterable[Binding]) -> None:
        """Mark arrivals without effect on some filings whose document, prefix or named carrier is one of some bindings."""
        by_kind: dict[BindingKind, list[Binding]] = {kind: [] for kind in BindingKind}
        for each in bindings:
            by_kind[each.kind].append(each)
        named = by_kind[BindingKind.IDENTIFIER]
        # The list of a document concerns the receptacles of the goods under it; an identifier concerns its carrier, and the carrier with this id,
        # under documents of filings that name it.
        await tx.raw.execute(
            """
            update arrival a set again = true, revision = a.revision + 1 from (
                select o.document_number, o.carrier from arrival o where o.unbound and o.reversed_at is null and (
                    o.document_number = any($1)
                    or (cardinality($1::text[]) > 0 and o.document_number in (
                        select r.document_number from arrival p join master_document r on r.document_number = p.document_number, unnest(r.mrns) g(mrn)
                        where p.unbound and p.reversed_at is null and g.mrn in (
                            select unnest(m.mrns) from master_document m where m.document_number = any($1)
                        )
                    ))
                    or (cardinality($2::text[]) > 0 and exists (
                        select from generate_series($3::integer, $4::integer) as n where left(o.document_number, n) = any($2)
                    ))
                    or ((o.carrier = any($6) or upper(o.carrier) = any($7)) and exists (
                        select from master_document m, unnest($5::text[], $6::text[], $7::text[]) as w(value, carrier, id)
                        where m.document_number = o.document_number and w.value = any(m.names)
                            and (w.carrier = o.carrier or w.id = upper(o.carrier))
                    ))
                ) order by o.document_number, o.carrier for update
            ) c where a.document_number = c.document_number and a.carrier = c.carrier
            """,
            [each.value for each in by_kind[BindingKind.DOCUMENT]],
            [each.value for each in by_kind[BindingKind.PREFIX]],
            PREFIX_CHARACTERS_MIN,
            PREFIX_CHARACTERS_MAX,
            [each.value for each in named],
            [each.carrier for each in named],
            [each.value.upper() for each in named],
        )

    async def bindings(
        self, tx: Transaction, after: tuple[int, str, str], carrier: str, limit: int
    ) -> list[tuple[Binding, str]]:
        """Return bindings after a position, by kind, value and carrier, each with the caller that last changed it."""
        records = await tx.raw.fetch(
            "select * from carrier_binding where (kind, value, carrier) > ($1, $2, $3) and ($4 = '' or carrier = $4) "
            "order by kind, value, carrier limit $5",
            *after,
            carrier,
            limit,
        )
        return [(_binding(record), record["changed_by"]) for record in records]

    async def note_refused(
        self, tx: Transaction, refused: Iterable[tuple[str, str]], at: int, *, recorded: bool
    ) -> None:
        """Record documents and the carriers whose arrivals of them were refused, or `recorded` and without effect on some filings.

        A carrier's first REFUSED_MAX documents of a day are listed, each with its number of reports; the row UNLISTED counts the other reports.
        """
        rows = sorted(set(refused))
        await tx.raw.execute(
            _NOTE_REFUSED,
            at // MICROS_PER_DAY,
            [document for document, _ in rows],
            [carrier for _, carrier in rows],
            recorded,
            at,
            REFUSED_MAX,
        )

    async def refused(
        self, tx: Transaction, before: tuple[int, str, str], carrier: str, limit: int
    ) -> list[asyncpg.Record]:
        """Return refused arrivals, the latest day first, after a position (day, carrier, document)."""
        found: list[asyncpg.Record] = await tx.raw.fetch(
            "select * from arrival_refused where (day, carrier, document_number) < ($1, $2, $3) and ($4 = '' or carrier = $4) "
            "order by day desc, carrier desc, document_number desc limit $5",
            *before,
            carrier,
            limit,
        )
        return found

    async def forget_refused(self, tx: Transaction, before_day: int) -> None:
        """Delete refused arrivals of days before a day."""
        await tx.raw.execute("delete from arrival_refused where day < $1", before_day)


def _binding(record: asyncpg.Record) -> Binding:
    return Binding(
        BindingKind(record["kind"]), record["value"], record["carrier"], record["from_day"], record["to_day"]
    )
