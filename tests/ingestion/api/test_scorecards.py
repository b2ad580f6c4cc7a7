"""Scores in receipts, and scorecards: what is filed counts once, amendments change newest versions alone, and each filer sees its own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import grpc.aio
import pytest

from libs.store.database import Database
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import filers_pb2 as filers
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.ingestion.__main__ import assemble
from tests.ingestion.amendments import AMEND, amendment, invalidation
from tests.ingestion.consignments import consignment, put
from tests.ingestion.part_client import CARRIER, KEY, ingestion, part
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import Running, running

TERMS = ("timeliness", "accuracy", "completeness", "consistency")


def period(days: int = 1) -> dict[str, str]:
    """Return some days around now, since a test may run over midnight."""
    now = datetime.now(UTC)
    return {
        "from_day": (now - timedelta(days=days)).date().isoformat(),
        "to_day": (now + timedelta(days=days)).date().isoformat(),
    }


async def cards(service: Running, role: str = "filer", ident: str = "shop", **query: str) -> list[filers.Scorecard]:
    stub = FilerServiceStub(await service.channel(role, ident))
    found: list[filers.Scorecard] = []
    token = ""
    while True:
        request = filers.GetScorecardRequest(**{**period(), **query}, page_size=2, page_token=token)
        page = await stub.GetScorecard(request, timeout=SECONDS)
        found += page.scorecards
        token = page.next_page_token
        if not token:
            return found


async def receipts(stub: IngestionServiceStub, *mrns: str) -> list[pb.Receipt]:
    keys = [pb.ReceiptKey(mrn=each) for each in mrns]
    return [
        each.receipt for each in (await stub.GetReceipts(pb.GetReceiptsRequest(keys=keys), timeout=SECONDS)).results
    ]


def measure(some: Iterable[pb.Receipt]) -> filers.QualityMeasure:
    """Return the sums of the qualities of receipts."""
    made = filers.QualityMeasure()
    for name in ("score", *TERMS):
        getattr(made, name).SetInParent()
    for receipt in some:
        if not receipt.HasField("quality"):
            continue
        for name in ("score", *TERMS):
            if name == "score" or receipt.quality.HasField(name):
                getattr(made, name).judged += 1
                getattr(made, name).total += getattr(receipt.quality, name)
    return made


def total(some: Iterable[filers.Scorecard], name: str) -> filers.QualityMeasure:
    """Return the sum of a measure over scorecards."""
    made = measure([])
    for card in some:
        for term in ("score", *TERMS):
            own, other = getattr(made, term), getattr(getattr(card, name), term)
            own.judged, own.total = own.judged + other.judged, own.total + other.total
    return made


def vague(number: int) -> Consignment:
    return put(consignment(number), "items[0].description", "Gift")


async def test_a_receipt_has_the_quality_of_its_version_whenever_it_is_given(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        first = await submit(stub, [vague(1), consignment(2)], "r1")
        one, two = (each.receipt.quality for each in first.results)
        assert (one.accuracy, two.accuracy, one.consistency, one.HasField("timeliness")) == (70, 100, 100, False)
        assert one.score == (70 + one.completeness + 100) // 3
        for request_id in ("r1", "r2"):
            assert await submit(stub, [vague(1), consignment(2)], request_id) == first
        # A repeat beside a filing that is refused, whose answer is stored.
        beside = await submit(stub, [vague(1), consignment(1)], "r3")
        assert beside.results[0] == first.results[0]
        mrn = first.results[0].receipt.mrn
        by_reference = pb.GetReceiptsRequest(keys=[pb.ReceiptKey(local_reference="REF-1")])
        assert (await stub.GetReceipts(by_reference, timeout=SECONDS)).results[0].receipt == first.results[0].receipt
        assert await receipts(stub, mrn) == [first.results[0].receipt]
        second = await submit(stub, [amendment(1, 1)], "r4")
        assert second.results[0].receipt.quality.accuracy == 100
        assert await receipts(stub, mrn) == [second.results[0].receipt]
        assert await submit(stub, [amendment(1, 1, mrn=mrn)], "r5") == second
        assert await submit(stub, [vague(1)], "r6") == pb.SubmitConsignmentsResponse(results=first.results[:1])
        third = await submit(stub, [invalidation(1, 2)], "r7")
        assert not third.results[0].receipt.HasField("quality")
        assert await submit(stub, [invalidation(1, 2)], "r8") == third
        assert await receipts(stub, mrn) == [third.results[0].receipt]


async def test_a_scorecard_counts_first_filings_and_newest_versions(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        filed = await submit(stub, [vague(1), vague(2), vague(3), vague(4), vague(5), consignment(6)], "r1")
        bad = consignment(7)
        bad.items[0].commodity_code = "1"
        for request_id in ("r2", "r2", "r3"):
            await submit(stub, [vague(1), bad], request_id)
        (card,) = await cards(service)
        assert card.filer == "shop"
        assert card.refused == 2, "each refusal counts, and a repeated request is none"
        assert card.first == card.newest == measure(each.receipt for each in filed.results)
        (reason,) = card.reasons
        assert (reason.reason, reason.first, reason.newest, reason.term, reason.points) == (
            "DESCRIPTION_VAGUE", 5, 5, "accuracy", 30,
        )  # fmt: skip
        assert [(each.mrn, each.path, each.value) for each in reason.examples] == [
            (each.receipt.mrn, "items[0].description", "Gift") for each in filed.results[:3]
        ]
        amended = await submit(stub, [amendment(1, 1), invalidation(2, 1)], "r4")
        for request_id in ("r4", "r5"):
            assert await submit(stub, [amendment(1, 1), invalidation(2, 1)], request_id) == amended
        (card,) = await cards(service)
        newest = [amended.results[0].receipt, *(each.receipt for each in filed.results[2:])]
        assert card.first == measure(each.receipt for each in filed.results)
        assert card.newest == measure(newest)
        assert [(each.reason, each.first, each.newest) for each in card.reasons] == [("DESCRIPTION_VAGUE", 5, 3)]
        # An invalidated filing counts again with the version after it.
        again = await submit(stub, [amendment(2, 2)], "r6")
        (card,) = await cards(service)
        assert card.newest == measure([again.results[0].receipt, *newest])


async def test_a_scorecard_says_why_consignments_were_refused(database_url: str) -> None:
    def miscoded(number: int, *codes: str) -> Consignment:
        made = vague(number)
        made.consignee.address.country = "XX"
        for code in codes:
            made.items.add().CopyFrom(made.items[0])
            made.items[-1].commodity_code = code
        return made

    async with (
        running("ingestion", assemble, database_url) as one,
        running("ingestion", assemble, database_url) as other,
    ):
        stubs = [await stub_of(one), await stub_of(other)]
        await submit(stubs[0], [consignment(1)], "r0")
        assert [card.refusals for card in await cards(one)] == [[]]
        reused = put(consignment(1), "items[0].description", "Wooden toy train, red")
        beyond = invalidation(1, 7)
        for request_id in ("r1", "r1"):
            answer = await submit(stubs[0], [consignment(2), miscoded(3, "1", "2"), reused, beyond], request_id)
        errors = [[(each.reason, each.severity) for each in result.errors] for result in answer.results]
        (card,) = await cards(other)
        assert card.refused == 3
        expected = {
            reason: (1, reference)
            for row, reference in ((1, "REF-3"), (2, "REF-1"), (3, "REF-1"))
            for reason, severity in errors[row]
            if severity == errors_pb2.SEVERITY_ERROR
        }
        found = {each.reason: (each.consignments, each.examples[0].local_reference) for each in card.refusals}
        assert found == expected
        assert {"COUNTRY_UNKNOWN", "COMMODITY_CODE_MALFORMED", "REFERENCE_REUSED"} < set(found)
        examples = {each.reason: each.examples[0] for each in card.refusals}
        assert (examples["COMMODITY_CODE_MALFORMED"].path, examples["COMMODITY_CODE_MALFORMED"].value) == (
            "items[1].commodity_code",
            "1",
        )
        assert (examples["REFERENCE_REUSED"].path, examples["REFERENCE_REUSED"].value) == ("local_reference", "REF-1")
        # Further calls of both replicas, each in a shard of its own: the sum is of all, the examples are three.
        for number in range(10, 20):
            await submit(stubs[number % 2], [miscoded(number, "3")], f"r{number}")
        (card,) = await cards(one)
        assert [each.reason for each in card.refusals[:2]] == ["COMMODITY_CODE_MALFORMED", "COUNTRY_UNKNOWN"]
        assert [each.consignments for each in card.refusals] == [11, 11, 1, 1]
        assert {len(each.examples) for each in card.refusals} == {1, 3}
        assert card.refused == 13
        # What no bound of the contract holds for, in the reference as well; bytes that the store does not take are no failure.
        unprintable, unplaced = consignment(21), consignment(22)
        unprintable.local_reference, unplaced.goods_location = "\0" + "R" * 64, "\x1b[31m\0" + "n" * 70
        await submit(stubs[0], [unprintable, unplaced], "r21")
        (card,) = await cards(other)
        examples_of_all = [each for refusal in card.refusals for each in refusal.examples]
        shown = {(each.path, each.local_reference, each.value) for each in examples_of_all}
        reference = "?" + "R" * 62 + "…"
        assert ("local_reference", reference, reference) in shown
        assert ("goods_location", "REF-22", "?[31m?" + "n" * 57 + "…") in shown
        # What an unnamed person wrote is not shown.
        unreadable = consignment(20)
        unreadable.consignee.name = "Jane Doe" * 40
        await submit(stubs[0], [unreadable], "r20")
        (card,) = await cards(one)
        examples_of_all = [each for refusal in card.refusals for each in refusal.examples]
        assert [each.value for each in examples_of_all if each.path == "consignee.name"] == [""]


async def test_the_first_refusals_of_a_new_day_are_on_its_card(database_url: str) -> None:
    bad = put(consignment(1), "items[0].commodity_code", "1")
    seen: list[list[tuple[str, str, int]]] = []
    for seconds in ("0", "86400"):
        environ = {"LUXOR_INGESTION_CLOCK_SHIFT_SECONDS": seconds}
        async with running("ingestion", assemble, database_url, environ=environ) as service:
            await submit(await stub_of(service), [bad], f"r{seconds}")
            found = await cards(service, **period(days=2))
            seen.append([(card.day, each.reason, each.consignments) for card in found for each in card.refusals])
    today = datetime.fromisoformat(seen[0][0][0])
    tomorrow = (today + timedelta(days=1)).date().isoformat()
    assert seen == [
        [(today.date().isoformat(), "COMMODITY_CODE_MALFORMED", 1)],
        [(day, "COMMODITY_CODE_MALFORMED", 1) for day in (today.date().isoformat(), tomorrow)],
    ]


async def test_any_sequence_of_filings_and_changes_counts_what_the_receipts_say(database_url: str) -> None:
    draw = random.Random(14)
    first: dict[str, pb.Receipt] = {}
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        versions = Counter[int]()
        for turn in range(25):
            rows = []
            for _ in range(draw.randrange(1, 5)):
                number = draw.randrange(12)
                if not versions[number]:
                    rows.append(draw.choice((vague, consignment))(number))
                elif draw.random() < 0.3:
                    rows.append(invalidation(number, versions[number]))
                else:
                    row = draw.choice((vague, consignment))(number)
                    row.function, row.amended_version = AMEND, versions[number]
                    rows.append(row)
                versions[number] += 1
            for request_id in (f"r{turn}", f"s{turn}")[: draw.randrange(1, 3)]:
                answer = await submit(stub, rows, request_id)
                for result in answer.results:
                    assert result.status == pb.SUBMISSION_STATUS_ACCEPTED, result
                    if result.receipt.version == 1:
                        assert first.setdefault(result.receipt.mrn, result.receipt) == result.receipt
        found = await cards(service)
        assert total(found, "first") == measure(first.values())
        assert total(found, "newest") == measure(await receipts(stub, *first))
        assert 0 < sum(each.newest.score.judged for each in found) < len(first), "some are invalidated"


async def test_calls_at_the_same_time_count_every_filing(database_url: str) -> None:
    async with (
        running("ingestion", assemble, database_url) as one,
        running("ingestion", assemble, database_url) as other,
    ):
        stubs = [await stub_of(one), await stub_of(other)]
        first = await submit(stubs[0], [vague(number) for number in range(20)], "r")
        calls = [submit(stubs[n % 2], [vague(100 + n), amendment(n, 1)], f"r{n}") for n in range(20)]
        answers = await asyncio.gather(*calls)
        filed = [each.results[0].receipt for each in answers]
        found = await cards(other)
        assert total(found, "first") == measure([*(each.receipt for each in first.results), *filed])
        assert total(found, "newest") == measure([*filed, *(each.results[1].receipt for each in answers)])


async def test_each_filer_reads_its_own_scorecards_and_officers_and_analysts_read_all(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        names = [f"shop-{n}" for n in range(5)]
        for name in names:
            await submit(await stub_of(service, ident=name), [vague(1)], "r1")
        assert [each.filer for each in await cards(service, ident="shop-3")] == ["shop-3"]
        assert [each.filer for each in await cards(service, ident="shop-3", filer="shop-3")] == ["shop-3"]
        assert await cards(service, ident="shop-3", filer="shop-2") == []
        assert await cards(service, ident="shop") == []
        for role in ("officer", "analyst"):
            assert [each.filer for each in await cards(service, role)] == names
            assert [each.filer for each in await cards(service, role, filer="shop-2")] == ["shop-2"]
        yesterday = period(days=3)["from_day"]
        assert await cards(service, "officer", from_day=yesterday, to_day=yesterday) == []


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("", "2026-12-01", "DAY_MALFORMED"),
        ("2026-12-01", "x", "DAY_MALFORMED"),
        ("2026-12-02", "2026-12-01", "SCORECARD_DAYS_OUT_OF_BOUNDS"),
        ("2025-10-27", "2026-12-02", "SCORECARD_DAYS_OUT_OF_BOUNDS"),
        ("2025-10-28", "2026-12-02", ""),
        ("2026-12-01", "2026-12-01", ""),
    ],
)
async def test_days_that_cannot_be_read_are_refused(database_url: str, first: str, last: str, reason: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        if not reason:
            assert await cards(service, from_day=first, to_day=last) == []
            return
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await cards(service, from_day=first, to_day=last)
        assert reason.encode() in dict(raised.value.trailing_metadata())["grpc-status-details-bin"]


async def test_what_a_representative_amends_counts_for_who_filed_it_first(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        register = FilerServiceStub(await service.channel("officer", "olga"))
        entries = [
            filers.Filer(id="shop", name="Shop", identifiers=["DE1"], representatives=[{"id": "acme", "from_day": "2026-01-01"}]),
            filers.Filer(id="acme", name="Acme", identifiers=["DE2"]),
        ]  # fmt: skip
        await register.PutFilers(filers.PutFilersRequest(request_id="p", filers=entries), timeout=SECONDS)
        row = vague(1)
        row.declarant.identifier, row.declarant.name = "DE1", "Shop"
        mrn = (await submit(await stub_of(service), [row], "r1")).results[0].receipt.mrn
        change = amendment(1, 1, mrn=mrn)
        change.declarant.CopyFrom(row.declarant)
        amended = await submit(await stub_of(service, ident="acme"), [change], "r2")
        assert amended.results[0].receipt.version == 2
        (card,) = await cards(service, "officer")
        assert (card.filer, card.newest) == ("shop", measure([amended.results[0].receipt]))


async def test_filings_of_a_release_without_scores_have_none_and_count_nowhere(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        filed = await submit(stub, [vague(1), vague(2)], "r1")
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            await tx.raw.execute(
                "update submission set quality = null; truncate scorecard, scorecard_example, scorecard_refusal"
            )
        assert [each.HasField("quality") for each in await receipts(stub, filed.results[0].receipt.mrn)] == [False]
        assert not (await submit(stub, [vague(1)], "r2")).results[0].receipt.HasField("quality")
        for replaced in (1, 2):
            answer = await submit(stub, [amendment(1, replaced, replaced)], f"r{replaced + 2}")
            assert answer.results[0].receipt.quality.accuracy == 100, "the new version is scored"
            assert not answer.results[0].receipt.quality.HasField("timeliness")
        assert await cards(service) == []


async def test_a_version_of_a_release_without_scores_leaves_the_card_and_the_next_one_replaces_it(
    database_url: str,
) -> None:
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        await submit(stub, [vague(1), amendment(1, 1)], "r1")
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            await tx.raw.execute("update amendment set quality = null")
        (before,) = await cards(service)
        # As that release leaves it: the card has the first version.
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            await tx.raw.execute("update scorecard set newest = first")
        third = await submit(stub, [amendment(1, 2, 3)], "r2")
        (card,) = await cards(service)
        assert card.first == before.first
        assert card.newest == measure([third.results[0].receipt])


async def test_a_version_that_adds_parts_is_scored_and_replaces_the_one_before_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingestion(database_url, monkeypatch) as parties:
        stub = await stub_of(parties.service)
        filed = (await submit(stub, [vague(1)], "r1")).results[0].receipt
        content = Consignment(goods_location="DE004851")
        await parties.file_parts("wings", part("C-1", CARRIER, content, key=KEY))
        assert await parties.link("shop", filed.mrn) == ""
        assert (await parties.newest("REF-1"))[0] == 2
        (joined,) = await receipts(stub, filed.mrn)
        assert (joined.version, joined.quality.accuracy) == (2, 70)
        assert joined.quality.completeness == filed.quality.completeness + 5
        (card,) = await cards(parties.service)
        assert (card.first, card.newest) == (measure([filed]), measure([joined]))
        amended = (await submit(stub, [amendment(1, 2)], "r2")).results[0].receipt
        # The amendment does not state what the carrier did, and is joined with it again.
        await parties.settled()
        (newest,) = await receipts(stub, filed.mrn)
        (card,) = await cards(parties.service)
        assert (newest.version, newest.quality.accuracy) == (amended.version + 1, 100)
        assert (card.first, card.newest) == (measure([filed]), measure([newest]))
