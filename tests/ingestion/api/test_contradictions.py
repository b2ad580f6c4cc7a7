"""Which contradictions with parts each announced version of a consignment states: those that risk and clearance read.

The definition is docs/parts.md, "What becomes of a contradiction".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.ingestion.amendments import amendment, announced_table, invalidation
from tests.ingestion.consignments import consignment
from tests.ingestion.part_client import KEY, PLATFORM, PROVIDER, Ingestion, ingestion, part, payment


class Stated(NamedTuple):
    """What a version states: the number of contradictions, None where it says nothing, and each of those that it names."""

    count: int | None
    entries: list[tuple[Any, ...]]
    unchanged_since: int | None


TEXTS = ("path", "consignment_value", "stated_by", "part_value", "part_filer")
NUMBERS = ("part_role", "first_version", "last_version")
SILENT = Stated(None, [], None)
PAYER = ("payment.payer", "Bob Example", "shop", "Ada Example", "bank", PROVIDER)


async def stated(service: Ingestion, reference: str = "REF-0") -> dict[int, Stated]:
    """Return by version what is announced of a consignment."""
    await service.settled()
    table = await announced_table(service.url)
    lines, owners = table.child("contradictions"), table.ragged("contradictions")
    columns = [lines.strings(name).tolist() for name in TEXTS] + [lines.ints(name).tolist() for name in NUMBERS]
    entries = list(zip(*columns, strict=True))
    counts, since = table.ints("contradiction_count").tolist(), table.ints("unchanged_since").tolist()
    versions = table.ints("version").tolist()
    return {
        int(versions[row] or 0): Stated(counts[row], entries[owners.span(row)], since[row])
        for row, name in enumerate(table.strings("local_reference").tolist())
        if name == reference
    }


def paid_by(payer: str, row: Consignment | None = None) -> Consignment:
    """Return a consignment of the shop that names its payment provider, and who paid."""
    row = row or consignment(0)
    row.payment.provider = "bank"
    if payer:
        row.payment.payer = payer
    return row


def other_payment(payer: str) -> Consignment:
    content = Consignment()
    content.payment.payer = payer
    return content


async def test_a_part_that_only_contradicts_makes_a_version_that_states_both_values(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(paid_by("Bob Example"), paid_by("", consignment(1)))
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.file_parts("bank", part("B-1", PROVIDER, payment(), order="O-1"))
        assert await stated(service) == {1: SILENT, 2: Stated(1, [(*PAYER, 1, 2)], 1)}
        # The part of the other consignment agrees with it, and costs nothing.
        assert await stated(service, "REF-1") == {1: SILENT, 2: SILENT}
        versions = await service.versions()
        assert versions[0].payment == versions[1].payment


async def test_a_repeated_decision_and_a_part_that_agrees_state_nothing_new(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(paid_by("Bob Example"))
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        first = await stated(service)
        assert await service.link("shop", mrn) == ""
        await service.file_parts("helper", part("H-0", PROVIDER, other_payment("BOB  example"), key=KEY))
        assert await stated(service) == first
        # A second party contradicts the same element: both stand.
        await service.file_parts("helper", part("H-1", PROVIDER, other_payment("Cem Example"), key=KEY))
        found = (await stated(service))[3]
        second = ("payment.payer", "Bob Example", "shop", "Cem Example", "helper", PROVIDER)
        assert found == Stated(2, [(*PAYER, 1, 3), (*second, 1, 3)], 1)


async def test_the_order_of_parts_and_consignment_changes_nothing_of_the_contradictions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        bank, platform = part("B-0", PROVIDER, payment(), order="O-0"), Consignment()
        platform.buyer.name = "Eve Example"
        await service.file_parts("bank", bank)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, platform, order="O-0"))
        row = paid_by("Bob Example")
        row.buyer.name = "Ada Example"
        await service.submit(row)
        found = (await stated(service))[2]
        buyer = ("buyer.name", "Ada Example", "shop", "Eve Example", "bazaar.example", PLATFORM)
        assert found == Stated(2, [(*PAYER, 1, 2), (*buyer, 1, 2)], 1)


@pytest.mark.parametrize("place", range(4))
async def test_wherever_the_consignment_comes_between_its_parts_it_has_the_same_contradictions(
    database_url: str, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    row, platform = paid_by("Bob Example"), Consignment()
    row.buyer.name, platform.buyer.name = "Ada Example", "Eve Example"
    steps = [
        ("bank", part("B-0", PROVIDER, payment(), order="O-0")),
        ("bazaar.example", part("P-0", PLATFORM, platform, order="O-0")),
        ("bank", part("B-1", PROVIDER, other_payment("Cem Example"), order="O-0")),
    ]
    async with ingestion(database_url, monkeypatch) as service:
        for number, (ident, filed) in enumerate(steps):
            if number == place:
                await service.submit(row)
            (result,) = await service.file_parts(ident, filed)
            assert result.receipt.reference, result
            await service.settled()
        if place == len(steps):
            await service.submit(row)
        found = list((await stated(service)).values())[-1]
        buyer = ("buyer.name", "Ada Example", "shop", "Eve Example", "bazaar.example", PLATFORM)
        second = ("payment.payer", "Bob Example", "shop", "Cem Example", "bank", PROVIDER)
        assert [each[:-2] for each in found.entries] == [PAYER, buyer, second]
        assert (found.count, {each[-2] for each in found.entries}, found.unchanged_since) == (3, {1}, 1)


async def test_two_parts_contradict_each_other_where_the_filer_states_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(paid_by(""))
        await service.link("shop", mrn)
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        await service.file_parts("helper", part("H-0", PROVIDER, other_payment("Cem Example"), key=KEY))
        entry = ("payment.payer", "Ada Example", "bank", "Cem Example", "helper", PROVIDER)
        assert (await stated(service))[3] == Stated(1, [(*entry, 1, 3)], 2)


async def test_a_contradiction_stays_through_an_amendment_and_ends_when_the_filing_agrees(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(paid_by("Bob Example"))
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        # The filer's version is compared with the parts once they are joined with it.
        await service.submit(paid_by("Bob Example", amendment(0, 2, 5)))
        found = await stated(service)
        assert (found[3], found[4]) == (SILENT, Stated(1, [(*PAYER, 1, 4)], 3))
        await service.submit(paid_by("Cem Example", amendment(0, 4, 5)))
        found = await stated(service)
        changed = ("payment.payer", "Cem Example", "shop", "Ada Example", "bank", PROVIDER)
        assert found[6] == Stated(1, [(*changed, 5, 6)], 5)
        await service.submit(paid_by("Ada Example", amendment(0, 6, 5)))
        found = await stated(service)
        # The part now adds its reference, so that elements change.
        assert (found[7], found[8]) == (SILENT, Stated(0, [], None))
        await service.submit(paid_by("Ada Example", amendment(0, 8, 6)))
        found = await stated(service)
        assert (found[9], found[10]) == (SILENT, SILENT)


async def test_a_contradiction_ends_without_any_other_change(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(paid_by("Bob Example"))
        await service.file_parts("bank", part("B-0", PROVIDER, other_payment("Ada Example"), order="O-0"))
        await service.settled()
        await service.submit(paid_by("Ada Example", amendment(0, 2, 5)))
        found = await stated(service)
        assert (found[3], found[4]) == (SILENT, Stated(0, [], 3))


async def test_a_withdrawn_declaration_states_no_contradictions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(paid_by("Bob Example"))
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        await service.submit(invalidation(0, 2))
        assert (await stated(service))[3] == SILENT


async def test_a_version_names_twenty_contradictions_and_counts_all(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, other = paid_by(""), Consignment()
    item = row.items[0]
    del row.items[:]
    for number in range(1, 61):
        row.items.add().CopyFrom(item)
        row.items[-1].number = number
        added = other.items.add()
        added.description = f"Wooden chair number {number}"
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(row)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, other, order="O-0"))
        found = (await stated(service))[2]
        paths = [entry[0] for entry in found.entries]
        assert (found.count, paths) == (60, [f"items[{place}].description" for place in range(20)])
