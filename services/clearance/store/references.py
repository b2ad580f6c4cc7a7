"""The consignments of local references, house documents, and master documents with receptacles.

Local references and house documents are stored by weeks of acceptance, so that a new one costs the same however many are stored; a look-up
asks each week. Those of earlier releases are in tables of their own (`former_…`) until they are purged.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table
from libs.customs.partitions import partitions_of
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from libs.store.tables import bulk
from libs.store.tables.schema import ensure_day_partitions
from services.clearance.consignment.columns import values_in_rows
from services.clearance.consignment.state.transport_numbers import added_receptacles

WEEKLY: Final = ("local_reference", "house_document")
"""Tables with a partition for each week."""
WEEK_DAYS: Final = 7

_MASTERS: Final = """
    select w.number, w.day, w.id, m.mrns
    from unnest((select $1::text[]), (select $2::integer[]), (select $3::bigint[])) as w(number, day, id)
    cross join lateral (
        select d.mrns from master_document d
        where d.document_number = w.number and d.batch_day = w.day and d.batch_id = w.id offset 0
    ) m
"""


class ReferenceTables:
    """The references of consignments, in addition to their MRN."""

    async def add_days(self, tx: Transaction, days: Iterable[int]) -> None:
        """Create the missing partitions of days of acceptance."""
        for table in WEEKLY:
            await ensure_day_partitions(tx, table, list(days), span=WEEK_DAYS)

    async def add_local(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store the local references."""
        await bulk.insert(
            tx,
            "local_reference",
            {
                "filer": bulk.text(table.strings("filer").tolist()),
                "local_reference": bulk.text(table.strings("local_reference").tolist()),
                "mrn": bulk.text(mrns),
                "day": bulk.int4(days),
            },
            # After its retention a reference may be used again, on a later day; then it names the later consignment.
            on_conflict="(filer, local_reference, day) do update set mrn = excluded.mrn",
        )

    async def add_documents(
        self,
        tx: Transaction,
        table: Table,
        ref: BatchRef,
        mrns: list[str],
        days: list[int],
        moved: NDArray[np.bool_] | None = None,
        packed: Sequence[tuple[str, int]] | None = None,
    ) -> None:
        """Store the documents and receptacles of consignments.

        A master document is stored only where `moved`, and a receptacle (by number, with the row) only if it is one of `packed`: otherwise they
        would name consignments twice.
        """
        houses = table.strings("house_document_number").tolist()
        there = [place for place, number in enumerate(houses) if number]
        await bulk.insert(
            tx,
            "house_document",
            {
                "document_number": bulk.text([houses[place] for place in there]),
                "mrn": bulk.text([mrns[place] for place in there]),
                "day": bulk.int4([days[place] for place in there]),
            },
            on_conflict="do nothing",
        )
        numbers = table.strings("master_document_number")
        numbers = numbers if moved is None else values_in_rows(numbers, moved)
        masters = _grouped(numbers, mrns)
        parties = [table.strings(each) for each in ("filer", "carrier_identifier")]
        filers, names = (_distinct(numbers, each) for each in parties)
        for number, row in added_receptacles(table) if packed is None else packed:
            masters.setdefault(number, []).append(mrns[row])
            for values, column in zip((filers, names), parties, strict=True):
                if column[row] not in values.setdefault(number, []):
                    values[number].append(column[row])
        await bulk.copy(
            tx,
            "master_document",
            {
                "document_number": bulk.text(list(masters)),
                "batch_day": bulk.int4([ref.day] * len(masters)),
                "batch_id": bulk.int8([ref.id] * len(masters)),
                "mrns": bulk.Column("text[]", list(masters.values())),
                "day": bulk.int4([ref.day] * len(masters)),
                "filers": bulk.Column("text[]", [filers[number] for number in masters]),
                "names": bulk.Column("text[]", [names[number] for number in masters]),
            },
        )

    async def add_names(
        self, tx: Transaction, documents: Sequence[str], mrns: Sequence[str], names: Sequence[str]
    ) -> None:
        """Store the carriers that newer filings name; those of the former filings remain."""
        await tx.raw.execute(
            "update master_document m set amended = true, names = array(select distinct unnest(coalesce(m.names, array['']) || w.names)) from "
            "(select d.document_number, array_agg(d.mrn) as mrns, array_agg(distinct d.name) as names "
            "from unnest($1::text[], $2::text[], $3::text[]) as d(document_number, mrn, name) group by 1) as w "
            "where m.document_number = w.document_number and m.mrns && w.mrns",
            documents,
            mrns,
            names,
        )

    async def note_moved(self, tx: Transaction, documents: Sequence[str], mrns: Sequence[str]) -> None:
        """Record that consignments no longer travel under the documents of their first filing."""
        await tx.raw.execute(
            "update master_document m set amended = true where m.document_number = any($1) and m.mrns && $2 and not m.amended",
            sorted({document for document in documents if document}),
            mrns,
        )

    async def under_master(
        self,
        tx: Transaction,
        document: str,
        after: BatchRef,
        batches: int,
        *,
        filers: Sequence[str] = (),
        names: Sequence[str] | None = None,
    ) -> list[tuple[BatchRef, list[str]]]:
        """Return the MRNs under a master document or in a receptacle, by the batches in which they were filed, after a batch.

        Batches in which no consignment is that of one of `filers`, or none names a carrier of `names` (in capitals; "": nobody), are left out.
        """
        place = (document, after.day, after.id, batches)
        if filers:
            records = await tx.raw.fetch("select * from master_document_filed($1, $2, $3, $4, $5)", *place, filers)
        else:
            records = await tx.raw.fetch("select * from master_document_seek($1, $2, $3, $4, '', $5)", *place, names)
        return [(BatchRef(record["batch_day"], record["batch_id"]), record["mrns"]) for record in records]

    async def filed_under(self, tx: Transaction, documents: Iterable[str]) -> set[str]:
        """Return those of the master documents under which consignments are filed, or were before an amendment moved them."""
        records = await tx.raw.fetch(
            "select w.number from unnest((select $1::text[])) as w(number) "
            "cross join lateral (select from master_document_seek(w.number, 0, 0, 1, '', null)) m",
            sorted(set(documents)),
        )
        return {record["number"] for record in records}

    async def masters(
        self, tx: Transaction, places: Collection[tuple[str, BatchRef]]
    ) -> dict[tuple[str, BatchRef], frozenset[str]]:
        """Return the MRNs that are stored under master documents, each by the batch that brought consignments under it."""
        asked = list(places)
        records = await tx.raw.fetch(
            _MASTERS, [number for number, _ in asked], [ref.day for _, ref in asked], [ref.id for _, ref in asked]
        )
        return {
            (record["number"], BatchRef(record["day"], record["id"])): frozenset(record["mrns"]) for record in records
        }

    async def by_local(self, tx: Transaction, filers: Sequence[str], references: Sequence[str]) -> dict[int, str]:
        """Return the MRN of each local reference that is known, by place."""
        partitions = partitions_of(filers, references).tolist()
        records = await tx.raw.fetch("select * from local_reference_find($1, $2, $3)", partitions, filers, references)
        return {record["place"] - 1: record["mrn"] for record in records}

    async def by_house_documents(
        self, tx: Transaction, numbers: Sequence[str], after: Sequence[str], limits: Sequence[int]
    ) -> dict[int, list[str]]:
        """Return the MRNs under each house document after an MRN, ascending, by place."""
        found: dict[int, list[str]] = {}
        for record in await tx.raw.fetch("select * from house_document_find($1, $2, $3)", numbers, after, limits):
            found.setdefault(record["place"] - 1, []).append(record["mrn"])
        return found


def _distinct(numbers: Strings, values: Strings) -> dict[str, list[str]]:
    """Return the distinct values of the rows of each number."""
    width = len(values.dictionary)
    found: dict[str, list[str]] = {}
    for pair in np.unique(numbers.indices.astype(np.int64) * width + values.indices).tolist():
        found.setdefault(numbers.dictionary[pair // width], []).append(values.dictionary[pair % width])
    return found


def _grouped(numbers: Strings, mrns: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for number, mrn in zip(numbers.tolist(), mrns, strict=True):
        if number:
            groups.setdefault(number, []).append(mrn)
    return groups
