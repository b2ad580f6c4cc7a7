"""Which parties each announced version of a consignment awaits a part of: those that clearance notifies."""

from __future__ import annotations

from typing import Any

import pytest

from libs.columns import Table
from luxor.consignment.v1.consignment_pb2 import SCHEME_CBEC, Consignment
from luxor.ingestion.v1 import parts_pb2 as pb
from luxor.ingestion.v1.filers_pb2 import Representative
from tests.ingestion.amendments import amendment, announced_table, invalidation
from tests.ingestion.consignments import clear, consignment
from tests.ingestion.part_client import CARRIER, KEY, PLATFORM, PROVIDER, Ingestion, ingestion, part, payment

BAZAAR, BANK, AIR = (PLATFORM, "bazaar.example"), (PROVIDER, "bank"), (CARRIER, "air")


def required(row: Consignment, **names: Any) -> Consignment:
    """Return a consignment of which China requires three documents, and that names the parties of all three."""
    row.destination_country, row.fiscal_references[0].scheme = "CN", SCHEME_CBEC
    row.buyer.identifier, row.buyer.name = "110101", "Ada Example"
    row.payment.provider, row.carrier_identifier = names.get("provider", "bank"), "AIR-1"
    return row


def awaited_of(table: Table) -> dict[tuple[str, int], list[tuple[int, str]]]:
    """Return by reference and version the parties of which parts are awaited."""
    lines, owners = table.child("awaited_parts"), table.ragged("awaited_parts")
    parties = list(zip(lines.ints("role").values.tolist(), lines.strings("party").tolist(), strict=True))
    keys = zip(table.strings("local_reference").tolist(), table.ints("version").values.tolist(), strict=True)
    return {key: parties[owners.span(row)] for row, key in enumerate(keys)}


async def awaited(service: Ingestion) -> dict[tuple[str, int], list[tuple[int, str]]]:
    await service.settled()
    return awaited_of(await announced_table(service.url))


async def test_a_version_states_the_named_and_registered_parties_whose_required_part_was_not_filed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = pb.HouseDocumentLink(carrier_identifier="AIR-1", number="H000000000")
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(required(consignment(0)))
        # The carrier is not registered yet, and the other consignment needs no part.
        await service.submit(consignment(9))
        assert await awaited(service) == {("REF-0", 1): [BAZAAR, BANK], ("REF-9", 1): []}
        await service.register("air", CARRIER, identifiers=["AIR-1"])
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        assert (await awaited(service))["REF-0", 2] == [BAZAAR, AIR]
        await service.file_parts("air", part("A-0", CARRIER, Consignment(gross_mass_mg=1), house_document=document))
        assert (await awaited(service))["REF-0", 3] == [BAZAAR]
        await service.submit(invalidation(0, 3))
        found = await awaited(service)
        assert found["REF-0", max(version for name, version in found if name == "REF-0")] == []
        assert list((await service.parts_of("shop", mrn)).missing_roles) == []


async def test_a_party_that_filed_its_part_before_the_consignment_is_not_awaited(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("other-bank", PROVIDER)
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        # Neither a part for another filer's consignment nor one of a stranger is the awaited one.
        await service.file_parts("bank", part("B-1", PROVIDER, payment(), order="O-1", consignment_filer="rival"))
        await service.file_parts("other-bank", part("B-2", PROVIDER, payment(), order="O-2"))
        await service.submit(*(required(consignment(number)) for number in range(3)))
        found = await awaited(service)
        assert [found[f"REF-{number}", 1] for number in range(3)] == [[BAZAAR], [BAZAAR, BANK], [BAZAAR, BANK]]
        # The amendment lacks the part until it is joined again, and its party is not awaited meanwhile.
        await service.submit(required(amendment(0, 2, 5)))
        found = await awaited(service)
        assert (found["REF-0", 3], found["REF-0", 4]) == ([BAZAAR], [BAZAAR])


async def test_a_part_lets_in_nobody_and_a_suspended_party_is_not_awaited(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = Consignment()
    named.payment.provider = "bank"
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(required(consignment(0), provider=""))
        await service.link("shop", mrn)
        await service.file_parts("helper", part("P-0", PROVIDER, named, key=KEY))
        found = await awaited(service)
        assert (await service.newest())[1].payment.provider == "bank"
        assert (found["REF-0", 1], found["REF-0", 2]) == ([BAZAAR], [BAZAAR])
        await service.register("bank", PROVIDER, version=1, suspension_reason="Under investigation.")
        await service.submit(required(consignment(1)))
        assert (await awaited(service))["REF-1", 1] == [BAZAAR]


async def test_the_parts_of_a_consignment_are_those_for_its_filer_whoever_amends_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = Representative(id="agent", from_day="2020-01-01")
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("shop", identifiers=["DE123456789012345"], representatives=[since])
        await service.register("agent", identifiers=["DE999999999999999"])
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        # A part for the agent's own consignments under the order of the shop is none for those of the shop.
        agents = part("P-1", PLATFORM, Consignment(gross_mass_mg=1), order="O-0", consignment_filer="agent")
        await service.file_parts("bazaar.example", agents)
        row = required(consignment(0))
        row.declarant.identifier = "DE123456789012345"
        (mrn,) = await service.submit(row)
        assert [each for _, each in (await awaited(service)).items()] == [[BAZAAR], [BAZAAR]]
        changed = required(amendment(0, 2, 5, mrn=mrn))
        changed.declarant.identifier, changed.representative.identifier = "DE123456789012345", "DE999999999999999"
        assert await service.submit(changed, ident="agent") == [mrn]
        found = await awaited(service)
        assert (found["REF-0", 3], found["REF-0", 4]) == ([BAZAAR], [BAZAAR])


async def test_a_party_whose_part_cannot_be_added_yet_is_not_awaited(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, priced = required(consignment(0)), Consignment()
    for path in ("nature", "items[0].price", "items[0].commodity_code"):
        clear(row, path)
    # With a price it is a declaration, which needs the nature of the transaction.
    item = priced.items.add(commodity_code="620630")
    item.price.minor, item.price.currency = 1999, "EUR"
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("air", CARRIER, identifiers=["AIR-1"])
        (mrn,) = await service.submit(row)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, priced, order="O-0"))
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        found = await awaited(service)
        assert (found["REF-0", 1], found["REF-0", 2]) == ([BAZAAR, BANK, AIR], [AIR])
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PLATFORM, CARRIER]
