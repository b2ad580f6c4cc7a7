"""Local references and house documents by weeks: found in whatever week they are, in order, and forgotten by whole weeks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables.schema import drop_day
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.commands.store_days import purge
from services.clearance.store.references import WEEK_DAYS
from tests.clearance.desk import DAY, Desk, filings
from tests.clearance.service_client import House, ask, asking

MONDAY = DAY - DAY % WEEK_DAYS - WEEK_DAYS
"""The first day of the last whole week."""


def mrn(filed: Table) -> str:
    (number,) = filed.strings("mrn").tolist()
    return number


def under(document: str) -> Callable[[int, Consignment], None]:
    def change(_: int, row: Consignment) -> None:
        row.house_document.number = document

    return change


async def local(desk: Desk, reference: str, filer: str = "shop") -> str | None:
    async with desk.store.database.connection() as reading:
        return (await desk.store.references.by_local(reading, [filer], [reference])).get(0)


async def houses(desk: Desk, document: str, after: str = "", limit: int = 100) -> list[str]:
    async with desk.store.database.connection() as reading:
        return (await desk.store.references.by_house_documents(reading, [document], [after], [limit])).get(0, [])


@pytest.mark.parametrize(
    ("earlier", "later"), [(MONDAY - 250, MONDAY), (MONDAY - 1, MONDAY), (MONDAY, MONDAY + 1), (MONDAY, MONDAY + 6)]
)
@pytest.mark.parametrize("in_order", [True, False])
async def test_a_reference_that_was_used_again_names_the_later_consignment(
    desk: Desk, earlier: int, later: int, in_order: bool
) -> None:
    first, second = filings(["GREEN-1"], day=earlier), filings(["GREEN-1"], day=later)
    for each in (first, second) if in_order else (second, first):
        await desk.consume(each)
    assert mrn(first) != mrn(second)
    assert await local(desk, "GREEN-1") == mrn(second)
    assert await local(desk, "GREEN-1", "rival") is None
    assert await local(desk, "GREEN-2") is None


async def test_consignments_of_one_house_document_are_listed_by_mrn_over_all_weeks_in_pages(desk: Desk) -> None:
    days = [MONDAY, MONDAY - 1, MONDAY + 6, MONDAY - 300, DAY]
    filed = [filings([f"GREEN-{place}"], day=day, change=under("H")) for place, day in enumerate(days)]
    await desk.consume(*filed, filings(["GREEN-9"], change=under("H-9")))
    expected = sorted(mrn(each) for each in filed)
    assert await houses(desk, "H") == expected
    pages: list[str] = []
    while page := await houses(desk, "H", after=pages[-1] if pages else "", limit=2):
        assert len(page) <= 2
        pages += page
    assert pages == expected
    assert await houses(desk, "H-8") == []


async def test_a_week_is_forgotten_when_its_last_day_is(desk: Desk) -> None:
    first, last = filings(["GREEN-1"], day=MONDAY), filings(["GREEN-2"], day=MONDAY + WEEK_DAYS - 1)
    await desk.consume(first, last)
    desk.consistent = False
    await purge(desk.store, MONDAY + WEEK_DAYS - 1)
    assert (await local(desk, "GREEN-1"), await local(desk, "GREEN-2")) == (mrn(first), mrn(last))
    assert (await houses(desk, "H-GREEN-1"), await houses(desk, "H-GREEN-2")) == ([mrn(first)], [mrn(last)])
    await purge(desk.store, MONDAY + WEEK_DAYS)
    assert (await local(desk, "GREEN-1"), await local(desk, "GREEN-2")) == (None, None)
    assert (await houses(desk, "H-GREEN-1"), await houses(desk, "H-GREEN-2")) == ([], [])


async def test_a_reference_whose_consignment_is_forgotten_before_its_week_is_unknown(house: House) -> None:
    await house.filed(["GREEN-1"])
    async with house.desk.store.database.transaction() as tx:
        assert await drop_day(tx, "consignment", DAY)
    stub = await house.stub("officer", "olga")
    for query in (asking(local_reference="GREEN-1", filer="shop"), asking(house_document_number="H-GREEN-1")):
        (result,) = await ask(stub, query)
        assert (result.error.reason, list(result.consignments)) == ("CONSIGNMENT_UNKNOWN", [])


async def test_a_reference_is_searched_for_from_the_newest_week_on_and_no_further_than_it_is_found(desk: Desk) -> None:
    old, new = filings(["GREEN-1"], day=MONDAY - 70), filings(["GREEN-2"], day=MONDAY)
    await desk.consume(old, new)

    async def scans(reading: Transaction) -> dict[int, int]:
        """How often each week's index was used and not yet reported."""
        rows = await reading.raw.fetch(
            "select substring(relname from 'local_reference_([0-9]+)$')::integer as week, idx_scan from pg_stat_xact_user_tables "
            "where relname ~ '^local_reference_[0-9]+$'"
        )
        return {row["week"]: row["idx_scan"] for row in rows}

    async def searched(reference: str) -> set[int]:
        async with desk.store.database.transaction() as reading:  # nothing is reported within one
            before = await scans(reading)
            await desk.store.references.by_local(reading, ["shop"], [reference])
            after = await scans(reading)
        return {week for week, count in after.items() if count > before[week]}

    every = await searched("GREEN-3")
    assert {MONDAY, MONDAY - 70} < every
    assert await searched("GREEN-2") == {week for week in every if week >= MONDAY}
    assert await searched("GREEN-1") == every
