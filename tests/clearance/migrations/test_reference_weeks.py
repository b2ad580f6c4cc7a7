"""A store with references of former releases gets weeks: what is stored is found beside what is filed later, until it is purged."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.customs.partitions import partitions_of
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from services.clearance.commands.store_days import purge
from services.clearance.store import Store
from tests.clearance.desk import DAY, Desk, filings, neighbours_at_work
from tests.support.earlier_schema import migrate_to

OLD = DAY - 20


@pytest.fixture(scope="session")
def migrations_of() -> str:
    """An empty database: the tests migrate it in steps."""
    return ""


async def test_former_references_are_found_beside_those_of_weeks_until_they_are_purged(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.clearance", "0010", tmp_path, monkeypatch)
    # The last one was used again after its retention.
    stored = filings(["GREEN-1", "GREEN-2", "GREEN-3"], day=OLD)
    numbers, names = stored.strings("mrn").tolist(), stored.strings("local_reference").tolist()
    async with database.transaction() as tx:
        await tx.raw.executemany(
            "insert into local_reference (partition, filer, local_reference, mrn, day) values ($1, 'shop', $2, $3, $4)",
            [(int(partitions_of("shop", [name])[0]), name, mrn, OLD) for name, mrn in zip(names, numbers, strict=True)],
        )
        await tx.raw.executemany(
            "insert into house_document (document_number, mrn, day) values ($1, $2, $3)",
            [(f"H-{name}", mrn, OLD) for name, mrn in zip(names, numbers, strict=True)],
        )
    await migrate(database, "services.clearance")
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        again = filings(["GREEN-3", "GREEN-4"])
        await desk.consume(again)
    new = again.strings("mrn").tolist()
    store = Store(database)

    async def found() -> tuple[dict[int, str], dict[int, list[str]]]:
        asked = [*names, "GREEN-4", "GREEN-5"]
        async with database.connection() as reading:
            return (
                await store.references.by_local(reading, ["shop"] * 5, asked),
                await store.references.by_house_documents(reading, [f"H-{each}" for each in asked], [""] * 5, [9] * 5),
            )

    assert await found() == (
        {0: numbers[0], 1: numbers[1], 2: new[0], 3: new[1]},
        {0: numbers[:1], 1: numbers[1:2], 2: sorted([numbers[2], new[0]]), 3: new[1:]},
    )
    # An amendment stores the document of a former consignment again: it is named once.
    await store_document_again(store, numbers[0])
    assert (await found())[1][0] == numbers[:1]
    await purge(store, DAY)
    assert await found() == ({2: new[0], 3: new[1]}, {2: new[:1], 3: new[1:]})


async def store_document_again(store: Store, mrn: str) -> None:
    async with store.database.transaction() as tx:
        await store.references.add_days(tx, [OLD])
        await tx.raw.execute("insert into house_document values ('H-GREEN-1', $1, $2)", mrn, OLD)
