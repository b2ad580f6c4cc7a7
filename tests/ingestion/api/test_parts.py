"""Parts of filings from several parties: who may add them, in which order they come, and who sees what of them."""

from __future__ import annotations

import asyncio
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from libs.store.database import Database
from libs.store.errors import StoreConflict
from libs.store.tables import schema
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_pb2 import IDENTIFIER_TYPE_EORI, NATURE_SALE, SCHEME_CBEC, Consignment
from luxor.errors.v1.errors_pb2 import SEVERITY_ERROR, SEVERITY_WARNING
from luxor.ingestion.v1 import filers_pb2 as filers
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion.commands.housekeeping import expire_parts
from services.ingestion.commands.parts.join import JoinParts
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.parts import PARTS_A_DAY_MAX, PARTS_OF_LINK_MAX, SPAN_DAYS, WAIT_DAYS
from tests.ingestion.amendments import INVALIDATE, amendment, completed_versions, invalidation
from tests.ingestion.consignments import clear, consignment, put
from tests.ingestion.part_client import CARRIER, KEY, PLATFORM, PROVIDER, ingestion, part, payment
from tests.ingestion.service_client import SECONDS


def named(number: int = 0) -> Consignment:
    """Return a consignment that names platform, order and payment provider."""
    return put(consignment(number), "payment.provider", "bank")


def sale() -> Consignment:
    content = Consignment()
    content.buyer.name, content.buyer.identifier = "Ada Example", "KR-1"
    return content


async def test_a_part_that_was_accepted_before_a_level_was_raised_has_its_receipt_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the rule of idempotency alone: not other content, and not what a fixed check refuses beside it."""

    def goods(gtin: str = "12", **values: Any) -> Consignment:
        content = Consignment()
        content.items.add(gtin=gtin, **values)
        return content

    files = {level: tmp_path / f"{level}.yaml" for level in ("warn", "reject")}
    for level, file in files.items():
        file.write_text(f"levels: {{GTIN_MALFORMED: {level}}}", encoding="utf-8")
    environ = {level: {"LUXOR_INGESTION_FILING_CHECKS": str(file)} for level, file in files.items()}
    filed, other = part("P-0", PLATFORM, goods(), order="O-0"), part("P-1", PLATFORM, goods("13"), order="O-0")
    both = part("P-0", PLATFORM, goods(origin_country="ZZ"), order="O-0")
    async with ingestion(database_url, monkeypatch, environ=environ["warn"]) as service:
        await service.register("bazaar.example", PLATFORM)
        (first,) = await service.file_parts("bazaar.example", filed, request_id="r1")
        assert first.receipt.reference == "P-0"
        assert [(each.reason, each.severity) for each in first.errors] == [("GTIN_MALFORMED", SEVERITY_WARNING)]
    async with ingestion(database_url, monkeypatch, environ=environ["reject"]) as service:
        again, new, wrong = await service.file_parts("bazaar.example", filed, other, both, request_id="r2")
        assert (again.receipt, list(again.errors)) == (first.receipt, [])
        assert not new.HasField("receipt")
        assert [(each.reason, each.path, each.severity) for each in new.errors] == [
            ("GTIN_MALFORMED", "parts[1].consignment.items[0].gtin", SEVERITY_ERROR)
        ]
        assert not wrong.HasField("receipt")
        assert {each.reason for each in wrong.errors} == {"GTIN_MALFORMED", "COUNTRY_UNKNOWN"}


async def test_a_part_is_joined_whether_it_comes_before_the_consignment_or_after_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (before,) = await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale(), order="O-0"))
        assert (before.receipt.reference, list(before.errors)) == ("P-0", [])
        await service.submit(consignment(0), consignment(1))
        (after,) = await service.file_parts("bazaar.example", part("P-1", PLATFORM, sale(), order="O-1"))
        for number in (0, 1):
            version, row = await service.newest(f"REF-{number}")
            expected = consignment(number)
            expected.buyer.CopyFrom(sale().buyer)
            assert version == 2
            assert (row.buyer, row.order, row.items[0].price) == (
                expected.buyer,
                expected.order,
                expected.items[0].price,
            )
        listed = await service.parts_of("bazaar.example")
        assert [(each.receipt, each.state) for each in listed.parts] == [
            (before.receipt, pb.PART_STATE_JOINED),
            (after.receipt, pb.PART_STATE_JOINED),
        ]
        assert [list(each.consignments[0].added_elements) for each in listed.parts] == [
            ["buyer.name", "buyer.identifier"]
        ] * 2


async def test_parts_of_several_parties_make_the_same_consignment_in_any_order_and_at_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = Consignment()
    transport.screenings.add(method="XRY")
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("air", CARRIER, identifiers=["AIR-1"])
        for turn, order in enumerate(permutations(range(4))):
            row = put(named(turn), "carrier_identifier", "AIR-1")
            calls = [
                service.submit(row),
                service.file_parts("bazaar.example", part(f"S-{turn}", PLATFORM, sale(), order=f"O-{turn}")),
                service.file_parts("bank", part(f"B-{turn}", PROVIDER, payment(), order=f"O-{turn}")),
                service.file_parts(
                    "air",
                    part(
                        f"A-{turn}",
                        CARRIER,
                        transport,
                        house_document=pb.HouseDocumentLink(carrier_identifier="AIR-1", number=f"H{turn:09d}"),
                    ),
                ),
            ]
            if turn % 2:
                await asyncio.gather(*(calls[place] for place in order))
            else:
                for place in order:
                    await calls[place]
        for turn in range(24):
            _, row = await service.newest(f"REF-{turn}")
            assert (row.buyer.identifier, row.payment.reference, row.screenings[0].method) == (
                "KR-1",
                "PAY-1",
                "XRY",
            ), turn


async def test_a_stranger_who_guesses_an_order_or_a_document_changes_and_sees_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("stranger", PLATFORM, PROVIDER, CARRIER, identifiers=["X-1"])
        (mrn,) = await service.submit(put(named(), "carrier_identifier", "AIR-1"))
        document = pb.HouseDocumentLink(carrier_identifier="AIR-1", number="H000000000")
        results = await service.file_parts(
            "stranger",
            part("G-1", PLATFORM, sale(), order="O-0"),
            part("G-2", PROVIDER, payment(), order="O-0"),
            part("G-3", CARRIER, Consignment(gross_mass_mg=1), house_document=document),
            part("G-4", PLATFORM, sale(), order="O-none"),
            part("G-5", PLATFORM, sale(), key="x" * 22),
        )
        assert [(bool(each.receipt.reference), list(each.errors)) for each in results] == [(True, [])] * 5
        assert len({each.receipt.last_day for each in results}) == 1
        assert (await service.newest())[0] == 1
        listed = await service.parts_of("stranger")
        assert {(each.state, len(each.consignments)) for each in listed.parts} == {(pb.PART_STATE_WAITING, 0)}
        seen = await service.parts_of("stranger", mrn)
        assert seen == pb.ListPartsResponse()
        assert await service.link("stranger", mrn) == "RECEIPT_UNKNOWN"
        assert await service.link("stranger", "26DE07329000001XR8") in ("RECEIPT_UNKNOWN", "MRN_MALFORMED")


async def test_a_party_that_names_a_filer_adds_to_no_consignment_of_another_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(consignment(), ident="thief")
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale(), order="O-0", consignment_filer="shop"))
        await service.settled()
        assert not (await service.parts_of("bazaar.example")).parts[0].consignments
        (mrn,) = await service.submit(consignment())
        await service.settled()
        (joined,) = (await service.parts_of("bazaar.example")).parts[0].consignments
        assert joined.mrn == mrn


async def test_whoever_has_the_linking_key_adds_a_part_and_nobody_else(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (other,) = await service.file_parts("pay", part("B-0", PROVIDER, payment(), key=KEY))
        mrn, second = await service.submit(consignment(0), consignment(1))
        await service.file_parts("guess", part("B-0", PROVIDER, payment(1), key="k" * 23))
        assert (await service.newest())[0] == 1
        assert await service.link("shop", mrn) == ""
        assert (await service.newest())[0] == 2
        assert await service.link("shop", mrn) == ""
        assert await service.link("shop", second) == "LINKING_KEY_REUSED"
        assert await service.link("shop", second, "k" * 21) == "LINKING_KEY_MALFORMED"
        assert await service.link("shop", second, "k" * 64) == ""
        version, row = await service.newest()
        assert (version, row.payment.reference) == (2, "PAY-1")
        assert (await service.parts_of("pay")).parts[0].receipt == other.receipt
        assert not (await service.parts_of("guess")).parts[0].consignments


async def test_the_same_part_has_its_first_receipt_and_other_content_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        first = part("P-0", PLATFORM, sale(), order="O-0")
        (receipt,) = await service.file_parts("bazaar.example", first, request_id="same")
        changed = part("P-0", PLATFORM, put(sale(), "buyer.name", "Bob Example"), order="O-0")
        elsewhere = part("P-0", PLATFORM, sale(), order="O-1")
        again = await service.file_parts("bazaar.example", first, changed, elsewhere)
        assert again[0] == receipt
        assert [[each.reason for each in result.errors] for result in again[1:]] == [["PART_REFERENCE_REUSED"]] * 2
        assert await service.file_parts("bazaar.example", first, request_id="same") == [receipt]
        (others,) = await service.file_parts("bank", part("P-0", PROVIDER, payment(), order="O-0"))
        assert not others.errors


async def test_an_amendment_keeps_what_parts_add_and_may_contradict_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(named())
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        assert (await service.newest())[0] == 2
        change = amendment(0, 1, 5)
        change.payment.provider = "bank"
        assert await service.submit(change) == ["VERSION_REPLACED"]
        change.amended_version = 2
        await service.submit(change)
        version, row = await service.newest()
        assert (version, row.gross_mass_mg, row.payment.reference) == (4, 500_005, "PAY-1")
        differing = amendment(0, 4, 5)
        differing.payment.provider, differing.payment.payer = "bank", "Bob Example"
        await service.submit(differing)
        version, row = await service.newest()
        # Ingestion's own version states the contradiction.
        assert (version, row.payment.payer, row.payment.reference) == (6, "Bob Example", "")
        (joined,) = (await service.parts_of("bank")).parts[0].consignments
        assert [each.path for each in joined.contradictions] == ["payment.payer"]
        await service.submit(invalidation(0, 6))
        assert (await service.newest())[0] == 7
        assert not (await service.parts_of("bank")).parts[0].consignments
        await service.file_parts("bank", part("B-1", PROVIDER, payment(), order="O-0"))
        assert (await service.newest())[0] == 7
        assert not (await service.parts_of("otto", mrn, "officer")).parts


async def test_officers_see_both_values_of_a_contradiction_and_parties_their_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        row = put(named(), "payment.payer", "Bob Example")
        (mrn,) = await service.submit(row)
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        seen = {}
        for ident, role in (("otto", "officer"), ("bank", "filer"), ("shop", "filer")):
            (listed,) = (await service.parts_of(ident, mrn, role)).parts
            (found,) = listed.consignments[0].contradictions
            seen[ident] = (
                found.path,
                found.consignment_value,
                found.part_value,
                found.stated_by,
                listed.receipt.reference,
            )
        assert seen == {
            "otto": ("payment.payer", "Bob Example", "Ada Example", "shop", "B-0"),
            "bank": ("payment.payer", "", "Ada Example", "", "B-0"),
            "shop": ("payment.payer", "Bob Example", "", "", ""),
        }
        assert not (await service.parts_of("bazaar.example", mrn)).parts


async def test_a_part_with_which_the_filing_would_be_refused_waits_for_what_is_lacking(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = consignment()
    for path in ("nature", "items[0].price", "items[0].commodity_code", "fiscal_references"):
        clear(early, path)
    content = Consignment()
    item = content.items.add(commodity_code="620630")
    item.price.minor, item.price.currency = 1999, "EUR"
    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(early)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, content, order="O-0"))
        assert (await service.newest())[0] == 1
        (joined,) = (await service.parts_of("bazaar.example")).parts[0].consignments
        assert [(each.reason, each.path) for each in joined.not_added] == [("ELEMENT_MISSING", "nature")]
        assert joined.filing_version == 0
        await service.file_parts("post", part("A-0", pb.PARTY_ROLE_POST, Consignment(nature=NATURE_SALE), key=KEY))
        (mrn,) = await service.submit(early)
        await service.link("shop", mrn)
        version, row = await service.newest()
        assert (version, row.nature, row.items[0].price.minor) == (2, NATURE_SALE, 1999)


async def test_parts_that_declare_a_minimum_set_after_its_deadline_are_counted_as_late(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("luxor_ingestion_late_total") or 0.0

    early, content = consignment(), Consignment()
    for path in ("nature", "items[0].price", "items[0].commodity_code", "fiscal_references"):
        clear(early, path)
    early.transport.departure_time.GetCurrentTime()
    early.transport.arrival_time.seconds = early.transport.departure_time.seconds + 600
    early.transport.departure_time.seconds -= 600
    item = content.items.add(commodity_code="620630")
    item.price.minor, item.price.currency = 1999, "EUR"
    before = counted()
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(early)
        assert counted() - before == 1, "the filing before loading came after the departure"
        await service.file_parts("post", part("A-0", pb.PARTY_ROLE_POST, Consignment(nature=NATURE_SALE), key=KEY))
        await service.link("shop", mrn)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, content, order="O-0"))
        assert (await service.newest())[1].items[0].price.minor == 1999
        assert counted() - before == 2, "and so did the declaration, which the parts made of it"


async def test_what_a_part_added_stays_where_a_rule_would_refuse_it_now(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    strict = tmp_path / "checks.yaml"
    strict.write_text("levels: {EORI_MALFORMED: reject}", encoding="utf-8")
    malformed = put(Consignment(), "buyer.identifier", "?")
    malformed.buyer.identifier_type = IDENTIFIER_TYPE_EORI
    async with ingestion(database_url, monkeypatch, data_dir=tmp_path) as service:
        await service.submit(named(0), named(1))
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, malformed, order="O-0"))
        assert (await service.newest())[1].buyer.identifier == "?"
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(strict)}
    async with ingestion(database_url, monkeypatch, data_dir=tmp_path, environ=environ) as service:
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        version, row = await service.newest()
        assert (version, row.buyer.identifier, row.payment.reference) == (3, "?", "PAY-1")
        # What was never joined is refused as on any day.
        await service.file_parts("bazaar.example", part("P-1", PLATFORM, malformed, order="O-1"))
        assert (await service.newest("REF-1"))[0] == 1


async def test_a_part_states_whose_consignments_it_means_unless_it_has_the_secret_of_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = pb.HouseDocumentLink(carrier_identifier="AIR-1", number="H000000000")
    async with ingestion(database_url, monkeypatch) as service:
        by_order, by_document, by_key = await service.file_parts(
            "bazaar.example",
            part("P-0", PLATFORM, sale(), order="O-0", consignment_filer=""),
            part("P-1", PLATFORM, sale(), house_document=document, consignment_filer=""),
            part("P-2", PLATFORM, sale(), key=KEY, consignment_filer=""),
        )
        for result in (by_order, by_document):
            (error,) = result.errors
            assert (error.reason, error.path.partition(".")[2]) == ("ELEMENT_MISSING", "consignment_filer")
        assert not by_key.errors
        (mrn,) = await service.submit(consignment())
        assert (await service.newest())[0] == 1
        assert await service.link("shop", mrn) == ""
        assert (await service.newest())[0] == 2


async def test_the_parts_that_a_jurisdiction_requires_are_missing_until_they_are_joined(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = named()
    row.destination_country, row.fiscal_references[0].scheme = "CN", SCHEME_CBEC
    row.buyer.identifier, row.buyer.name = "110101", "Ada Example"
    async with ingestion(database_url, monkeypatch) as service:
        mrn, other = await service.submit(row, named(1))
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PLATFORM, PROVIDER, CARRIER]
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PLATFORM, CARRIER]
        assert list((await service.parts_of("otto", mrn, "officer")).missing_roles) == [PLATFORM, CARRIER]
        assert not (await service.parts_of("bank", mrn)).missing_roles
        # The filer of the consignment has the linking key, but is registered as neither: it cannot match its documents with themselves.
        await service.link("shop", mrn)
        await service.file_parts("shop", part("S-0", PLATFORM, Consignment(incoterm="DDP"), key=KEY))
        await service.settled()
        assert [len(each.consignments) for each in (await service.parts_of("shop", mrn)).parts] == [1, 1]
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PLATFORM, CARRIER]
        assert not (await service.parts_of("shop", other)).missing_roles
        # Nor does a registered party match them that the filer does not name, though it has the key.
        await service.register("stranger.example", PLATFORM, PROVIDER, CARRIER)
        await service.file_parts("stranger.example", part("X-0", PLATFORM, Consignment(incoterm="DDP"), key=KEY))
        await service.settled()
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PLATFORM, CARRIER]
        # The platform repeats what the filer stated: nothing is added, and its part is no longer missing.
        version, before = await service.newest()
        await service.file_parts(
            "bazaar.example", part("P-0", PLATFORM, Consignment(incoterm=before.incoterm), order="O-0")
        )
        await service.settled()
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [CARRIER]
        assert (await service.newest())[0] == version + 1
    completed = await completed_versions(database_url)
    assert version == 3
    assert [completed["REF-0", each] for each in (1, 2, 3, 4)] == [[], [1], [1, 2], [1, 2, 3]]


async def test_a_required_part_that_was_joined_is_not_missing_once_its_party_is_suspended(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = named()
    row.destination_country, row.fiscal_references[0].scheme = "CN", SCHEME_CBEC
    row.buyer.identifier, row.buyer.name = "110101", "Ada Example"
    again = amendment(0, 3, 5)
    again.destination_country, again.payment.provider = "CN", "bank"
    again.fiscal_references[0].scheme = SCHEME_CBEC
    again.buyer.CopyFrom(row.buyer)
    agent = filers.Representative(id="agent", from_day="2020-01-01")
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("bazaar.example", PLATFORM, version=1, representatives=[agent])
        (mrn,) = await service.submit(row)
        await service.file_parts("agent", part("P-0", PLATFORM, Consignment(incoterm="DDP"), order="O-0"))
        await service.settled()
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [PROVIDER, CARRIER]
        await service.register(
            "bazaar.example", PLATFORM, version=2, representatives=[agent], suspension_reason="Under investigation."
        )
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [CARRIER]
        await service.register("bank", PROVIDER, version=1, suspension_reason="Under investigation.")
        await service.submit(again)
        version, stated = await service.newest()
        assert (version, stated.incoterm, stated.payment.reference) == (5, "DDP", "PAY-1")
        assert list((await service.parts_of("shop", mrn)).missing_roles) == [CARRIER]


async def test_a_consignment_that_the_store_refuses_delays_no_other_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        first, _ = await service.submit(named(), named(1))
        await service.settled()
        join, joined = JoinParts.join, asyncio.Event()

        async def refusing(self: JoinParts, number: str, *more: Any) -> None:
            if number == first:
                raise StoreConflict("refused")
            await join(self, number, *more)
            joined.set()

        monkeypatch.setattr(JoinParts, "join", refusing)
        for place in range(2):
            await service.file_parts("bank", part(f"B-{place}", PROVIDER, payment(), order=f"O-{place}"))
        await asyncio.wait_for(joined.wait(), SECONDS)
        monkeypatch.setattr(JoinParts, "join", join)
        assert [(await service.newest(f"REF-{place}"))[0] for place in range(2)] == [2, 2]


async def test_parts_that_are_not_of_their_role_or_link_are_refused_with_their_path(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = Consignment()
    house.house_document.number = "H1"
    async with ingestion(database_url, monkeypatch) as service:
        refused = {
            "role": part("R-1", PROVIDER, payment(), order="O-0"),
            "consignment.payment": part("R-2", PLATFORM, payment(), order="O-0"),
            "consignment.house_document": part("R-3", PLATFORM, house, order="O-0"),
            "consignment": part("R-4", PLATFORM, Consignment(), order="O-0"),
            "link": part("R-5", PLATFORM, sale()),
            "order.number": part("R-6", PLATFORM, sale(), order=" "),
            "linking_key": part("R-7", PLATFORM, sale(), key="k" * 21),
            "reference": part(" ", PLATFORM, sale(), order="O-0"),
            "consignment.buyer.address.country": part(
                "R-8", PLATFORM, put(sale(), "buyer.address.country", "XX"), order="O-0"
            ),
        }
        results = await service.file_parts("bazaar.example", *refused.values())
        for place, (path, result) in enumerate(zip(refused, results, strict=True)):
            assert not result.receipt.reference, path
            assert [each.path for each in result.errors] == [f"parts[{place}].{path}"], path
        strange = part("U-1", PLATFORM, sale(), order="O-0")
        # Field 999, a varint.
        strange.consignment.MergeFromString(bytes([0xB8, 0x3E, 0x01]))
        _, (noted,) = [each.errors for each in await service.file_parts("bazaar.example", refused["link"], strange)]
        assert (noted.reason, noted.path, noted.severity) == ("UNKNOWN_FIELD", "parts[1].consignment", 2)
        many = [part(f"M-{number}", PLATFORM, sale(), order="O-0") for number in range(PARTS_OF_LINK_MAX + 1)]
        results = await service.file_parts("bazaar.example", *many[1:])
        assert [[each.reason for each in result.errors] for result in results[-2:]] == [[], ["PARTS_OF_LINK_TOO_MANY"]]


async def test_a_suspended_party_files_no_parts_and_its_earlier_ones_are_not_joined(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.register("bank", PROVIDER, version=1, suspension_reason="Under investigation.")
        (result,) = await service.file_parts("bank", part("B-1", PROVIDER, payment(), order="O-0"))
        assert [each.reason for each in result.errors][:1] == ["FILER_SUSPENDED"]
        await service.submit(named())
        assert (await service.newest())[0] == 1
        await service.register("bank", PROVIDER, version=2)
        await service.submit(named(1))
        await service.file_parts("bank", part("B-2", PROVIDER, payment(), order="O-1"))
        assert (await service.newest("REF-1"))[0] == 2
        await service.register("bank", PROVIDER, version=3, suspension_reason="Under investigation.")
        change = amendment(1, 2, 5)
        change.payment.provider = "bank"
        await service.submit(change)
        version, row = await service.newest("REF-1")
        assert (version, row.payment.reference) == (4, "PAY-1")


async def test_a_part_that_was_filed_has_its_receipt_again_whatever_would_refuse_it_now(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filed = part("B-0", PROVIDER, payment(), order="O-0")
    async with ingestion(database_url, monkeypatch) as service:
        (first,) = await service.file_parts("bank", filed)
        other, changed = part("B-1", PROVIDER, payment(), order="O-0"), part("B-0", PROVIDER, payment(7), order="O-0")
        for version, denied, values in (
            (1, "FILER_SUSPENDED", {"suspension_reason": "Under investigation."}),
            (2, "PARTY_ROLE_NOT_REGISTERED", {}),
        ):
            roles = [PLATFORM] if denied == "PARTY_ROLE_NOT_REGISTERED" else [PROVIDER]
            await service.register("bank", *roles, version=version, **values)
            again, new, replaced = await service.file_parts("bank", filed, other, changed)
            assert again == first
            assert not new.HasField("receipt")
            assert new.errors[0].reason == denied
            assert not replaced.HasField("receipt")
            assert (replaced.errors[0].reason, replaced.errors[-1].reason) == (denied, "PART_REFERENCE_REUSED")


async def test_a_representative_of_the_platform_files_its_parts(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        agent = filers.Representative(id="agent", from_day="2026-01-01")
        await service.register("bazaar.example", PLATFORM, PROVIDER, version=1, representatives=[agent])
        await service.submit(consignment())
        (result,) = await service.file_parts("agent", part("B-0", PROVIDER, payment(), order="O-0"))
        assert not result.errors
        version, row = await service.newest()
        assert (version, row.payment.reference) == (2, "PAY-1")


@pytest.mark.parametrize("row", [invalidation(0, 1), amendment(0, 1, 5)], ids=["invalidation", "amendment"])
async def test_a_change_by_the_filer_while_parts_are_joined_is_not_replaced(
    row: Consignment, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Amendments.filings
    changes = [row]

    async def changed_meanwhile(self: Amendments, filer: str | None, requested: Any) -> Any:
        if filer is None and changes:
            assert (await service.submit(changes.pop()))[0] not in ("VERSION_REPLACED", "")
        return await read(self, filer, requested)

    async with ingestion(database_url, monkeypatch) as service:
        await service.submit(consignment())
        await service.settled()
        monkeypatch.setattr(Amendments, "filings", changed_meanwhile)
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale(), order="O-0"))
        versions = await service.versions()
        masses = [each.gross_mass_mg for each in versions]
        assert not changes
        if row.function == INVALIDATE:
            assert [each.function == INVALIDATE for each in versions] == [False, True]
        else:
            assert masses == [500_000, 500_005, 500_005]
            assert [each.buyer.name for each in versions] == ["", "", "Ada Example"]


async def test_what_is_due_again_makes_no_further_version(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        (mrn,) = await service.submit(named())
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.settled()
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            await tx.raw.execute("insert into part_due (mrn) values ($1), ($1)", mrn)
            await tx.raw.execute("insert into part_due (key) select key from part_link")
        assert len(await service.versions()) == 2


@pytest.mark.parametrize(("days", "joined"), [(WAIT_DAYS, True), (WAIT_DAYS + 1, False)])
async def test_a_part_waits_until_its_last_day_and_then_expires(
    days: int, joined: bool, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale(), order="O-0"))
        await service.settled()
        before = REGISTRY.get_sample_value("luxor_ingestion_parts_total", {"outcome": "expired"}) or 0.0
        async with Database(database_url, name="test") as database:
            async with database.transaction() as tx:
                day = await schema.today(tx) - days
                await schema.ensure_day_partitions(tx, "part", [day], span=SPAN_DAYS)
                await tx.raw.execute("update part set day = $1, filed_at = $2", day, day * 86_400_000_000)
            await expire_parts(database)
            await expire_parts(database)
        after = REGISTRY.get_sample_value("luxor_ingestion_parts_total", {"outcome": "expired"})
        (waiting,) = (await service.parts_of("bazaar.example")).parts
        assert after == before + (0 if joined else 1)
        assert waiting.state == (pb.PART_STATE_WAITING if joined else pb.PART_STATE_EXPIRED)
        await service.submit(consignment())
        assert (await service.newest())[0] == 1 + joined


async def test_parts_of_a_filer_on_a_day_are_bounded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            day = await schema.today(tx)
            await tx.raw.execute("insert into part_count values ('bazaar.example', $1, $2)", day, PARTS_A_DAY_MAX - 1)
        results = await service.file_parts(
            "bazaar.example", *(part(f"P-{number}", PLATFORM, sale(), order=f"O-{number}") for number in range(2))
        )
        assert [[each.reason for each in result.errors] for result in results] == [[], ["PARTS_TOO_MANY"]]
        (other,) = await service.file_parts("bank", part("P-0", PROVIDER, payment(), order="O-0"))
        assert not other.errors


async def test_a_declaration_that_is_old_loses_nothing_when_somebody_files_a_part_for_its_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("stranger", PLATFORM)
        (mrn,) = await service.submit(consignment())
        sale = Consignment()
        sale.buyer.name = "Ada Example"
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale, order="O-0"))
        assert (await service.newest())[0] == 2
        monkeypatch.setattr("services.ingestion.commands.parts.join.CHANGED_DAYS", 0)
        await service.file_parts("stranger", part("P-1", PLATFORM, sale, order="O-0"))
        assert (await service.newest())[0] == 2
        monkeypatch.setattr("services.ingestion.commands.parts.join.CHANGED_DAYS", -1)
        await service.file_parts("stranger", part("P-2", PLATFORM, sale, order="O-0"))
        version, row = await service.newest()
        assert (version, row.buyer.name) == (2, "Ada Example")
        assert len((await service.parts_of("otto", mrn, "officer")).parts) == 1


async def test_what_waits_of_a_suspended_representative_or_holder_of_a_key_is_not_joined(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        agent = filers.Representative(id="agent", from_day="2026-01-01")
        await service.register("bazaar.example", PLATFORM, PROVIDER, version=1, representatives=[agent])
        await service.register("agent")
        await service.file_parts("agent", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.file_parts("agent", part("B-1", PROVIDER, payment(), key=KEY))
        await service.register("agent", version=1, suspension_reason="Under investigation.")
        (mrn,) = await service.submit(consignment())
        await service.link("shop", mrn)
        assert (await service.newest())[0] == 1
        await service.register("agent", version=2)
        await service.submit(amendment(0, 1, 5))
        version, row = await service.newest()
        assert (version, row.payment.reference) == (3, "PAY-1")
        await service.register("agent", version=3, suspension_reason="Under investigation.")
        await service.submit(amendment(0, 3, 6))
        version, row = await service.newest()
        assert (version, row.payment.reference) == (5, "PAY-1")


async def test_a_consignment_that_was_filed_during_a_suspension_gets_the_parts_that_come_after_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = put(put(consignment(), "order.platform", "other.example"), "payment.provider", "bank")
    paid = part("B-0", PROVIDER, payment())
    paid.order.platform, paid.order.number = "other.example", "O-0"
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("bank", PROVIDER, version=1, suspension_reason="Under investigation.")
        await service.submit(row)
        await service.register("bank", PROVIDER, version=2)
        await service.file_parts("bank", paid)
        version, joined = await service.newest()
        assert (version, joined.payment.reference) == (2, "PAY-1")


async def test_linking_keys_of_one_request_belong_to_one_consignment_each(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as service:
        first, second = await service.submit(consignment(0), consignment(1))
        links = [(first, "a"), (second, "a"), (first, "a"), (first, "b"), ("26DE07329000001XR8", "c"), (second, "c")]
        request = pb.LinkConsignmentsRequest(
            request_id="links", links=[pb.ConsignmentLink(mrn=mrn, linking_key=key * 22) for mrn, key in links]
        )
        stub = await service.parts("filer", "shop")
        results = (await stub.LinkConsignments(request, timeout=SECONDS)).results
        found = [each.error.reason for each in results]
        assert found[:4] == ["", "LINKING_KEY_REUSED", "", ""]
        assert found[4] in ("RECEIPT_UNKNOWN", "MRN_MALFORMED")
        assert found[5] == ""


async def test_a_version_was_filed_by_the_party_of_the_last_part_that_it_has(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing = put(Consignment(), "incoterm", "DAP")
    async with ingestion(database_url, monkeypatch) as service:
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, differing, order="O-0"))
        await service.submit(put(named(), "incoterm", "DDP"))
        assert (await service.newest())[0] == 2
        async with Database(database_url, name="test") as database, database.connection() as reader:
            assert await reader.raw.fetchval("select changed_by from amendment") == "bank"


@pytest.mark.parametrize(("parts_max", "bytes_more", "joined"), [(1, 0, 1), (0, 0, 0), (2, 0, 1), (2, -1, 0)])
async def test_parts_of_one_consignment_are_bounded_by_number_and_bytes(
    parts_max: int, bytes_more: int, joined: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingestion.commands.parts.join.PARTS_MAX", parts_max)
    monkeypatch.setattr("services.ingestion.commands.parts.join.PARTS_BYTES_MAX", payment().ByteSize() + bytes_more)
    async with ingestion(database_url, monkeypatch) as service:
        await service.file_parts("bank", part("B-0", PROVIDER, payment(), order="O-0"))
        await service.file_parts("bazaar.example", part("P-0", PLATFORM, sale(), order="O-0"))
        await service.submit(named())
        version, row = await service.newest()
        assert (version, row.payment.reference, row.buyer.name) == (1 + joined, "PAY-1" if joined else "", "")
