"""What parties other than the filer are notified of: the parts that a consignment awaits of them, once each, and nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.customs.time import day_text
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1 import consignment_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1.parts_pb2 import (
    PARTY_ROLE_CARRIER,
    PARTY_ROLE_PAYMENT_PROVIDER,
    PARTY_ROLE_PLATFORM,
    HouseDocumentLink,
    OrderLink,
)
from services.clearance.consignment.state.awaited_parts import NOTIFIED_MAX
from services.clearance.consignment.state.expiry import ARRIVAL_DAYS
from services.clearance.store.parties.representations import Representation
from tests.clearance.controls import arrive, notices, release
from tests.clearance.desk import CARRIER, DAY, filings, mrns
from tests.clearance.service_client import SECONDS, House

PLATFORM, PROVIDER, CARRIER_ROLE = PARTY_ROLE_PLATFORM, PARTY_ROLE_PAYMENT_PROVIDER, PARTY_ROLE_CARRIER
Awaited = Sequence[tuple[int, str]]
BAZAAR: Final = (PLATFORM, "bazaar")
BANK: Final = (PROVIDER, "bank")
AIR: Final = (CARRIER_ROLE, "air")


def awaiting(
    references: list[str], *parties: Awaited, version: int = 1, order: str = "O", filer: str = "shop"
) -> Table:
    """Return filings of which each awaits parts of some parties, as ingestion announces them."""

    def change(number: int, row: consignment_pb2.Consignment) -> None:
        row.order.platform, row.order.number = "bazaar.example", f"{order}-{references[number]}"

    table = filings(references, version=version, change=change, filer=filer)
    roles = [list(dict.fromkeys(role for role, _ in some)) for some in parties]
    missing = Ragged.of_lengths([len(each) for each in roles], Ints.of([role for each in roles for role in each]))
    flat = [each for some in parties for each in some]
    columns: dict[str, Column] = {
        "role": Ints.of([role for role, _ in flat]),
        "party": Strings.of([party for _, party in flat]),
    }
    lines = Table(schema_of(ConsignmentColumns).children["awaited_parts"], len(flat), columns)
    awaited_parts = Ragged.of_lengths([len(some) for some in parties], lines)
    return table.with_columns({"missing_roles": missing, "awaited_parts": awaited_parts})


def awaited(party: tuple[int, str], reference: str, order: str = "O", filer: str = "shop") -> pb.AwaitedPart:
    """Return what a notice says of a part."""
    role = party[0]
    part = pb.AwaitedPart(role=role, consignment_filer=filer, last_day=day_text(DAY + ARRIVAL_DAYS))  # type: ignore[arg-type]
    if role == CARRIER_ROLE:
        part.house_document.CopyFrom(HouseDocumentLink(carrier_identifier=CARRIER, number=f"H-{reference}"))
    else:
        part.order.CopyFrom(OrderLink(platform="bazaar.example", number=f"{order}-{reference}"))
    return part


async def parts(house: House, party: str) -> list[pb.AwaitedPart]:
    """Return the parts that a party is notified of, from its first notice on; it reads no notices of other kinds."""
    found = await notices(house, ident=party)
    assert {each.kind for each in found} <= {pb.NOTICE_KIND_PART_MISSING}
    return [each.awaited_part for each in found]


async def test_each_party_reads_what_it_needs_to_file_its_part_and_nothing_else(house: House) -> None:
    await house.desk.consume(awaiting(["GREEN-1", "GREEN-2"], [BAZAAR, BANK, AIR], []))
    for party in (BAZAAR, BANK, AIR):
        (found,) = await notices(house, ident=party[1])
        expected = pb.Notice(kind=pb.NOTICE_KIND_PART_MISSING, awaited_part=awaited(party, "GREEN-1"))
        expected.time.CopyFrom(found.time)
        assert found == expected
        assert found.time.seconds
    own = await notices(house)
    assert [each.kind for each in own] == [pb.NOTICE_KIND_HELD, pb.NOTICE_KIND_DECIDED]
    assert not any(each.HasField("awaited_part") for each in own)
    assert await notices(house, ident="stranger") == await notices(house, "carrier", "air") == []
    assert await notices(house, "agency", "bank") == []


async def test_the_text_names_the_part_and_has_no_code_of_the_consignment(house: House) -> None:
    await house.desk.consume(awaiting(["GREEN-1"], [AIR]))
    await house.desk.told()
    stub = await house.stub("filer", "air")
    (found,) = (await stub.PullNotices(pb.PullNoticesRequest(language="en"), timeout=SECONDS)).notices
    assert (found.check_code, found.mrn, found.title) == ("", "", "Part of a filing missing")
    assert f"for {CARRIER} H-GREEN-1, consignment filer shop." in found.text


async def test_a_party_is_notified_once_of_each_role_and_link(house: House) -> None:
    table = awaiting(["GREEN-1"], [BAZAAR, BANK])
    await house.desk.consume(table)
    await house.desk.consume(table)
    # The part of the bank is joined; then the filer amends, and both are missing for a moment; then a further party is registered.
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR], version=2))
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, BANK], version=3))
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, AIR], version=4))
    assert await parts(house, "bazaar") == [awaited(BAZAAR, "GREEN-1")]
    assert await parts(house, "bank") == [awaited(BANK, "GREEN-1")]
    assert await parts(house, "air") == [awaited(AIR, "GREEN-1")]
    # Whoever has two roles reads a notice of each; another order is another link, the house document stays.
    both = (PROVIDER, "bazaar")
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, both], version=5))
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, both, AIR], version=6, order="Q"))
    assert await parts(house, "bazaar") == [
        awaited(BAZAAR, "GREEN-1"),
        awaited(both, "GREEN-1"),
        awaited(BAZAAR, "GREEN-1", "Q"),
        awaited(both, "GREEN-1", "Q"),
    ]
    assert await parts(house, "air") == [awaited(AIR, "GREEN-1")]


async def test_a_filer_that_amends_the_order_time_and_again_notifies_parties_of_the_first_links_alone(
    house: House,
) -> None:
    versions = range(1, NOTIFIED_MAX // 2 + 2)
    for version in versions:
        await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, BANK], version=version, order=f"O{version}"))
    assert await parts(house, "bazaar") == [awaited(BAZAAR, "GREEN-1", f"O{version}") for version in versions[:-1]]
    assert len(await parts(house, "bank")) == NOTIFIED_MAX // 2
    (entries,) = (await house.desk.states(mrns(awaiting(["GREEN-1"], [])))).ragged("awaited_parts").lengths
    assert entries == NOTIFIED_MAX


async def test_what_happens_to_the_goods_and_versions_that_come_too_late_notify_no_party(house: House) -> None:
    numbers = mrns(awaiting(["GREEN-1"], [BAZAAR]))
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR]))
    await arrive(house)
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, BANK], version=2))
    await release(house, numbers[0])
    assert pb.NOTICE_KIND_AMENDMENT_REFUSED in {each.kind for each in await notices(house)}
    assert await parts(house, "bazaar") == [awaited(BAZAAR, "GREEN-1")]
    assert await parts(house, "bank") == []


async def test_of_several_versions_at_once_the_newest_says_who_is_notified(house: House) -> None:
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR, BANK]), awaiting(["GREEN-1"], [BANK], version=2))
    assert await parts(house, "bazaar") == []
    assert await parts(house, "bank") == [awaited(BANK, "GREEN-1")]


async def test_a_party_that_files_consignments_itself_reads_both_kinds_in_one_order(house: House) -> None:
    references = ["GREEN-1", "GREEN-2", "GREEN-3"]
    table = awaiting(references, [BAZAAR], [(PLATFORM, "shop")], [BAZAAR, (PROVIDER, "rival")])
    filers = Strings.of(["shop", "shop", "bazaar"])
    await house.desk.consume(table.with_columns({"filer": filers}))
    found = await notices(house, ident="bazaar")
    # Of its own consignment the filer reads that it is held, as of each; it knows which part is awaited.
    assert [each.kind for each in found] == [pb.NOTICE_KIND_PART_MISSING, pb.NOTICE_KIND_HELD]
    assert [each.mrn for each in found] == ["", mrns(table)[2]]
    assert [each.kind for each in await notices(house)] == [pb.NOTICE_KIND_HELD] * 2
    assert await parts(house, "rival") == [awaited((PROVIDER, "rival"), "GREEN-3", filer="bazaar")]


async def test_what_a_party_is_notified_of_is_not_entrusted_with_its_own_declarations(house: House) -> None:
    # The agent acts for the party and for the filer: it reads the notices of each in full, and of none what concerns the other.
    store = house.desk.store
    async with store.database.transaction() as tx:
        entrusted = [
            Representation("agent", owner, False, "DE123456789012345", "DE999") for owner in ("shop", "bazaar")
        ]
        await store.representations.replace(tx, entrusted, await store.now(tx))
        await tx.raw.execute("update representation_reading set since = 0")
    await house.desk.consume(awaiting(["GREEN-1"], [BAZAAR]))
    await house.desk.told()
    stub = await house.stub("filer", "agent")
    found = {
        owner: (await stub.PullNotices(pb.PullNoticesRequest(filer=owner), timeout=SECONDS)).notices
        for owner in ("shop", "bazaar")
    }
    assert [each.kind for each in found["shop"]] == [pb.NOTICE_KIND_HELD]
    assert list(found["bazaar"]) == []
    assert await notices(house, ident="agent") == []
