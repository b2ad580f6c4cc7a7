"""Amendments and invalidations: versions of a filing, of its own filer alone, each once, whatever is repeated or comes at the same time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.client.filing.packing import pack
from libs.customs.identifiers import mrn as mrns
from libs.customs.partitions import PARTITIONS
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.payloads import Payloads
from libs.feed.types import BatchRef
from libs.store.database import Database
from luxor.consignment.v1 import consignment_pb2 as consignments
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.clearance.store import STATE_DAYS
from services.ingestion.__main__ import assemble
from services.ingestion.commands.submit import Submit
from services.ingestion.feeds import snapshot
from services.ingestion.feeds.snapshot import Days, Snapshot
from services.ingestion.filing.amendment import CHANGED_DAYS, NEVER_AMENDED
from tests.ingestion.amendments import (
    AMEND,
    INVALIDATE,
    amendment,
    announced,
    completed_versions,
    invalidation,
    reasons,
    version_of,
)
from tests.ingestion.consignments import clear, consignment, put
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.cutting_proxy import ANSWER, Cut, CuttingProxy
from tests.support.services import running

ACCEPTED, REFUSED = pb.SUBMISSION_STATUS_ACCEPTED, pb.SUBMISSION_STATUS_REFUSED
NEW = consignments.MESSAGE_FUNCTION_NEW


@asynccontextmanager
async def ingestion(url: str, count: int = 1) -> AsyncIterator[list[IngestionServiceStub]]:
    """Run replicas over one store; the filer is shop."""
    if count == 0:
        yield []
        return
    async with running("ingestion", assemble, url) as service, ingestion(url, count - 1) as others:
        yield [await stub_of(service), *others]


async def receipts(stub: IngestionServiceStub, *references: str) -> list[pb.Receipt]:
    keys = [pb.ReceiptKey(local_reference=each) for each in references]
    answer = await stub.GetReceipts(pb.GetReceiptsRequest(keys=keys), timeout=SECONDS)
    return [each.receipt for each in answer.results]


def least(row: Consignment) -> Consignment:
    """Return a filing with the minimum set."""
    for path in ("nature", "items[0].price", "items[0].commodity_code"):
        clear(row, path)
    return row


async def test_a_version_names_the_incomplete_ones_that_it_completes_whatever_clearance_refused_between(
    database_url: str,
) -> None:
    async with ingestion(database_url) as [stub]:
        # Of REF-1 versions 1 and 2 are incomplete and differ, 3 changes both; REF-2 is filed and completed in one call.
        await submit(stub, [least(consignment(1)), least(consignment(2)), amendment(2, 1), consignment(3)], "r1")
        for request, row in enumerate((least(amendment(1, 1, 5)), amendment(1, 2, 6), amendment(1, 3, 5))):
            assert [each.status for each in (await submit(stub, [row], f"a{request}")).results] == [ACCEPTED]
        await submit(stub, [amendment(1, 4), amendment(3, 1), invalidation(2, 2)], "r2")
        await submit(stub, [amendment(1, 5, 5)], "r3")
    assert await completed_versions(database_url) == {
        ("REF-1", 1): [],
        ("REF-1", 2): [],
        ("REF-1", 3): [],
        ("REF-1", 4): [2],
        ("REF-1", 5): [1],
        ("REF-1", 6): [2],
        ("REF-2", 1): [],
        ("REF-2", 2): [1],
        ("REF-2", 3): [],
        ("REF-3", 1): [],
        ("REF-3", 2): [],
    }


async def test_an_amendment_replaces_a_version_and_its_receipt_has_the_next_one(database_url: str) -> None:
    async with ingestion(database_url) as [stub]:
        first = (await submit(stub, [consignment(1), consignment(2)], "r1")).results
        mrn = first[0].receipt.mrn
        answer = await submit(stub, [amendment(1, 1, 5), amendment(2, 1, 6, mrn=first[1].receipt.mrn)], "r2")
        assert [each.status for each in answer.results] == [ACCEPTED, ACCEPTED]
        assert [each.receipt.version for each in answer.results] == [2, 2]
        assert [each.receipt.local_reference for each in answer.results] == ["REF-1", "REF-2"]
        assert answer.results[0].receipt.mrn == mrn
        # The first filing keeps its answer, and what is read again is the receipt of the newest version.
        assert (await submit(stub, [consignment(1)], "r3")).results[0] == first[0]
        assert await receipts(stub, "REF-1", "REF-2") == [each.receipt for each in answer.results]
        by_mrn = await stub.GetReceipts(pb.GetReceiptsRequest(keys=[pb.ReceiptKey(mrn=mrn)]), timeout=SECONDS)
        assert by_mrn.results[0].receipt == answer.results[0].receipt
    rows = await announced(database_url)
    assert [(row.local_reference, version_of(row)) for row in rows] == [
        ("REF-1", 1), ("REF-1", 2), ("REF-2", 1), ("REF-2", 2),
    ]  # fmt: skip
    assert [row.gross_mass_mg for row in rows] == [500_001, 500_006, 500_002, 500_008]
    assert [row.amended_mrn for row in rows if version_of(row) == 2] == [each.receipt.mrn for each in first]


async def test_the_same_change_gives_the_same_receipt_and_another_one_is_refused(database_url: str) -> None:
    async with ingestion(database_url, 2) as [one, other]:
        mrn = (await submit(one, [consignment(1)], "r1")).results[0].receipt.mrn
        first = await submit(one, [amendment(1, 1, 5)], "r2")
        # Under the same request or another one, by messages or columns, by the reference, the MRN or both.
        both = amendment(1, 1, 5)
        both.amended_mrn = mrn
        for request, stub in (("r2", other), ("r3", other), ("r3", one)):
            assert await submit(stub, [amendment(1, 1, 5)], request) == first
        for request, row in (("r4", amendment(1, 1, 5, mrn=mrn)), ("r5", both)):
            assert await submit(other, [row], request) == first
        columns = pb.SubmitConsignmentColumnsRequest(request_id="r6", consignments=pack([amendment(1, 1, 5)]))
        packed = await one.SubmitConsignmentColumns(columns, timeout=SECONDS)
        assert packed.SerializeToString() == first.SerializeToString()
        for request, row in (("r7", amendment(1, 1, 6)), ("r8", invalidation(1, 1))):
            answer = await submit(other, [row], request)
            assert reasons(answer) == [["VERSION_REPLACED"]]
            assert "version 2 is current" in answer.results[0].errors[0].message
        second = await submit(one, [invalidation(1, 2, "H-BACK")], "r9")
        assert second.results[0].receipt.version == 3
        assert await submit(other, [invalidation(1, 2, "H-BACK", mrn=mrn)], "r10") == second
        for request, row in (("r11", invalidation(1, 2, "H-OTHER")), ("r12", invalidation(1, 2))):
            assert reasons(await submit(one, [row], request)) == [["VERSION_REPLACED"]]
        # The first amendment has its answer still.
        assert await submit(one, [amendment(1, 1, 5)], "r13") == first
    assert [version_of(row) for row in await announced(database_url)] == [1, 2, 3]


async def test_an_invalidation_has_the_content_that_it_withdraws_and_the_document_of_goods_sent_back(
    database_url: str,
) -> None:
    async with ingestion(database_url) as [stub]:
        await submit(stub, [consignment(1), amendment(1, 1, 5)], "r1")
        await submit(stub, [invalidation(1, 2, "h-back")], "r2")
        # Clearance decides whether a withdrawn filing is changed, so that a refused withdrawal is no end.
        assert (await submit(stub, [amendment(1, 3, 9)], "r3")).results[0].receipt.version == 4
    _, amended, withdrawn, again = await announced(database_url)
    assert (withdrawn.function, withdrawn.amended_version, again.function) == (INVALIDATE, 2, AMEND)
    assert (withdrawn.return_document.number, withdrawn.return_document.type) == ("H-BACK", "N703")
    withdrawn.ClearField("return_document")
    withdrawn.function, withdrawn.amended_version = AMEND, 1
    withdrawn.export_time.seconds = 2
    assert withdrawn == amended


async def test_versions_of_one_batch_follow_each_other_and_a_new_filing_of_it(database_url: str) -> None:
    async with ingestion(database_url) as [stub]:
        rows = [
            amendment(1, 1, 5), consignment(1), amendment(1, 2, 6), amendment(1, 1, 5), amendment(1, 1, 7),
            invalidation(1, 3), invalidation(1, 3), invalidation(1, 5), amendment(2, 1),
        ]  # fmt: skip
        answer = await submit(stub, rows, "r1")
        assert reasons(answer) == [
            [], [], [], [], ["VERSION_REPLACED"], [], [], ["AMENDED_VERSION_UNKNOWN"], ["AMENDED_FILING_UNKNOWN"],
        ]  # fmt: skip
        versions = [each.receipt.version for each in answer.results]
        assert versions == [2, 1, 3, 2, 0, 4, 4, 0, 0]
        assert len({each.receipt.mrn for each in answer.results if each.status == ACCEPTED}) == 1
        assert await submit(stub, rows, "r1") == answer
        # What is accepted alone has no stored answer, and gets the same.
        good = [rows[0], rows[1], rows[2], rows[5]]
        again = await submit(stub, good, "r2")
        assert again.results[2] == answer.results[2]
        assert [each.receipt for each in again.results] == [answer.results[place].receipt for place in (0, 1, 2, 5)]
        assert await submit(stub, good, "r2") == again
    rows = await announced(database_url)
    assert [version_of(row) for row in rows] == [1, 2, 3, 4]
    assert rows[3].gross_mass_mg == rows[2].gross_mass_mg == 500_007


async def test_nobody_but_the_filer_learns_of_a_filing_or_changes_it(database_url: str) -> None:
    async with running("ingestion", assemble, database_url) as service:
        shop, thief = await stub_of(service), await stub_of(service, ident="thief")
        mrn = (await submit(shop, [consignment(1), consignment(2)], "r1")).results[0].receipt.mrn
        missing = mrns.parse(mrn)
        absent = f"{mrn[:9]}{mrns.serial_text(missing.sequence + 5)}{mrn[16]}"
        absent += str(mrns.check_digit(absent))
        foreign = "22ITZXBZYUTJFLJXK6"
        # A version that is there, one that is not: neither is answered in another way than what does not exist.
        for request, row in enumerate(
            make(1, version, **named)
            for make in (amendment, invalidation)
            for version in (1, 2, 9)
            for named in ({}, {"mrn": mrn}, {"mrn": absent}, {"mrn": foreign})
        ):
            answer = await submit(thief, [row], f"t{request}")
            assert reasons(answer) == [["AMENDED_FILING_UNKNOWN"]], row
            number = row.amended_mrn or row.local_reference
            assert number in answer.results[0].errors[0].message
        # Both names are of the filing, and only of it.
        for request, row in enumerate((amendment(2, 1), invalidation(2, 1))):
            row.amended_mrn = mrn
            assert reasons(await submit(shop, [row], f"s{request}")) == [["AMENDED_FILING_UNKNOWN"]]
        keys = [pb.ReceiptKey(mrn=mrn)]
        found = await thief.GetReceipts(pb.GetReceiptsRequest(keys=keys), timeout=SECONDS)
        assert found.results[0].error.reason == "RECEIPT_UNKNOWN"
    assert [version_of(row) for row in await announced(database_url)] == [1, 1]


async def test_each_row_of_columns_has_an_answer_whatever_function_it_states(database_url: str) -> None:
    async with ingestion(database_url) as [stub]:
        columns = pack([consignment(number) for number in range(6)])
        columns.function.values.extend([0, NEW, AMEND, INVALIDATE, 4, -1])
        request = pb.SubmitConsignmentColumnsRequest(request_id="r1", consignments=columns)
        answer = await stub.SubmitConsignmentColumns(request, timeout=SECONDS)
    assert [each.status for each in answer.results] == [ACCEPTED] * 2 + [REFUSED] * 4
    found = [[(error.path.partition("].")[2], error.reason) for error in each.errors] for each in answer.results[2:]]
    assert found == [[("amended_version", "ELEMENT_MISSING")]] * 2 + [[("function", "CHOICE_UNKNOWN")]] * 2
    assert [version_of(row) for row in await announced(database_url)] == [1, 1]


async def test_nothing_of_a_filing_is_read_for_another_filer_so_no_time_of_an_answer_depends_on_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[object] = []
    fetch = Payloads.fetch

    async def counting(self: Payloads, reader: Any, refs: Collection[BatchRef]) -> Any:
        fetched.extend(refs)
        return await fetch(self, reader, refs)

    async with running("ingestion", assemble, database_url) as service:
        shop, thief = await stub_of(service), await stub_of(service, ident="thief")
        officer = await stub_of(service, role="officer", ident="otto")
        mrn = (await submit(shop, [consignment(1)], "r1")).results[0].receipt.mrn
        await submit(shop, [amendment(1, 1, 5)], "r2")
        asked = pb.GetReceiptsRequest(keys=[pb.ReceiptKey(mrn=mrn)])
        monkeypatch.setattr(Payloads, "fetch", counting)
        await submit(thief, [amendment(1, 2, mrn=mrn), invalidation(1, 2, mrn=mrn)], "t1")
        await thief.GetReceipts(asked, timeout=SECONDS)
        assert fetched == []
        assert (await officer.GetReceipts(asked, timeout=SECONDS)).results[0].receipt.version == 2
        assert (await shop.GetReceipts(asked, timeout=SECONDS)).results[0].receipt.version == 2
        assert fetched


async def test_a_filing_is_changed_as_long_as_clearance_decides_on_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A change that clearance reads some days late still has its answer.
    assert CHANGED_DAYS + 7 < STATE_DAYS
    async with ingestion(database_url) as [stub]:
        mrn = (await submit(stub, [consignment(1)], "r1")).results[0].receipt.mrn
        day = mrns.parse(mrn).day
        monkeypatch.setattr(Submit, "today", lambda _: day + CHANGED_DAYS + 1)
        answer = await submit(stub, [amendment(1, 1, 5), invalidation(1, 1, mrn=mrn)], "r2")
        assert reasons(answer) == [["AMENDED_FILING_UNKNOWN"]] * 2
        monkeypatch.setattr(Submit, "today", lambda _: day + CHANGED_DAYS)
        answer = await submit(stub, [amendment(1, 1, 5), invalidation(1, 2, mrn=mrn)], "r3")
        assert [each.receipt.version for each in answer.results] == [2, 3]


async def test_the_feed_has_the_versions_of_a_batch_in_their_order(database_url: str) -> None:
    async with ingestion(database_url) as [stub]:
        await submit(stub, [consignment(1), consignment(2)], "r1")
        rows = [invalidation(1, 1), amendment(2, 1), amendment(1, 2), invalidation(2, 2), invalidation(1, 3)]
        assert reasons(await submit(stub, rows, "r2")) == [[]] * 5
    async with Database(database_url, name="test") as database, database.connection() as reader:
        outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
        table = (await Snapshot(outbox).page(reader, range(PARTITIONS), b"", 100)).table
    names, versions = table.strings("local_reference").tolist(), table.ints("version").values.tolist()
    functions = table.ints("function").values.tolist()
    found = list(zip(names, versions, functions, strict=True))
    for name, expected in (("REF-1", [NEW, INVALIDATE, AMEND, INVALIDATE]), ("REF-2", [NEW, AMEND, INVALIDATE])):
        own = [each[1:] for each in found if each[0] == name]
        assert own == list(enumerate(expected, 1))


CHANGES: dict[str, Callable[[Consignment], object]] = {
    "declarant_identifier": lambda row: put(row, "declarant.identifier", "DE1"),
    "representative_identifier": lambda row: put(row, "representative.identifier", "DE1"),
    "house_document_number": lambda row: put(row, "house_document.number", "H-OTHER"),
    "destination_country": lambda row: put(row, "destination_country", "FR"),
}
PATHS = {name: name.replace("_identifier", ".identifier").replace("_number", ".number") for name in NEVER_AMENDED}


@pytest.mark.parametrize("name", NEVER_AMENDED)
async def test_what_names_the_filing_and_answers_for_it_is_never_amended(name: str, database_url: str) -> None:
    row = consignment(1)
    put(put(row, "declarant.identifier", "DE9"), "declarant.name", "Broker")
    put(put(row, "representative.identifier", "DE9"), "representative.name", "Broker")
    row.destination_country = "DE"
    changed = Consignment.FromString(row.SerializeToString())
    changed.function, changed.amended_version = AMEND, 1
    CHANGES[name](changed)
    async with ingestion(database_url) as [stub]:
        await submit(stub, [row], "r1")
        answer = await submit(stub, [changed], "r2")
        assert reasons(answer) == [["ELEMENT_NEVER_AMENDED"]]
        error = answer.results[0].errors[0]
        assert (error.path, error.value) == (f"consignments[0].{PATHS[name]}", "")
        # What was absent is added, and the version that was refused is free.
        plain = consignment(2)
        await submit(stub, [plain], "r3")
        plain.function, plain.amended_version = AMEND, 1
        put(put(plain, "declarant.identifier", "DE9"), "declarant.name", "Broker")
        changed.CopyFrom(row)
        changed.function, changed.amended_version, changed.gross_mass_mg = AMEND, 1, 7_000_000
        assert reasons(await submit(stub, [plain, changed], "r4")) == [[], []]


async def test_a_row_that_is_refused_leaves_the_others_and_its_version_free(database_url: str) -> None:
    async with ingestion(database_url) as [stub]:
        await submit(stub, [consignment(1), consignment(2)], "r1")
        bad = amendment(1, 1)
        bad.gross_mass_mg = 0
        unnamed = invalidation(1, 1)
        unnamed.ClearField("local_reference")
        bare = amendment(1, 1)
        bare.ClearField("amended_version")
        answer = await submit(stub, [bad, amendment(2, 1, 1), unnamed, bare, invalidation(2, 0)], "r2")
        assert reasons(answer) == [
            ["NUMBER_TOO_SMALL"], [], ["ELEMENT_MISSING"], ["ELEMENT_MISSING"], ["NUMBER_TOO_SMALL"],
        ]  # fmt: skip
        assert [each.errors[0].path for each in (answer.results[2], answer.results[3])] == [
            "consignments[2].local_reference", "consignments[3].amended_version",
        ]  # fmt: skip
        assert (await submit(stub, [amendment(1, 1, 3)], "r3")).results[0].receipt.version == 2


async def test_of_replicas_that_replace_one_version_at_the_same_time_one_has_its_way(database_url: str) -> None:
    async with ingestion(database_url, 2) as stubs:
        for turn in range(4):
            numbers = range(turn * 20, turn * 20 + 20)
            await submit(stubs[0], [consignment(number) for number in numbers], f"new-{turn}")
            # In opposite orders, so that locks that are not taken in one order wait for each other.
            batches = [
                [amendment(number, 1, mass) for number in (numbers if mass % 2 else reversed(numbers))]
                for mass in range(1, 7)
            ]
            answers = await asyncio.gather(
                *(submit(stubs[place % 2], rows, f"{turn}-{place}") for place, rows in enumerate(batches))
            )
            won: dict[str, int] = {}
            for rows, answer in zip(batches, answers, strict=True):
                for row, result in zip(rows, answer.results, strict=True):
                    if result.status == ACCEPTED:
                        assert row.local_reference not in won
                        won[row.local_reference] = row.gross_mass_mg
                    else:
                        assert [each.reason for each in result.errors] == ["VERSION_REPLACED"]
            assert len(won) == 20
            rows = [row for row in await announced(database_url) if row.local_reference in won and version_of(row) == 2]
            assert {row.local_reference: row.gross_mass_mg for row in rows} == won


async def test_an_amendment_whose_commit_got_no_answer_is_filed_once(database_url: str) -> None:
    cuts = [Cut(sent=3), Cut(), Cut(answered=len(ANSWER) - 1), Cut(late_seconds=0.1)]
    async with (
        CuttingProxy(database_url, transaction_bytes_min=1_000, statement=b"insert into request_log") as proxy,
        ingestion(proxy.url) as [stub],
    ):
        for number, cut in enumerate(cuts):
            await submit(stub, [consignment(number)], f"new-{number}")
            for place, rows in enumerate([[amendment(number, 1, 5)], [invalidation(number, 2), amendment(number, 9)]]):
                done = proxy.done
                proxy.plan([cut])
                # The channel sends the call once more by itself.
                first = await submit(stub, rows, f"{number}-{place}")
                assert proxy.done == done + 1
                assert first.results[0].receipt.version == place + 2
                assert await submit(stub, rows, f"{number}-{place}") == first
                assert await submit(stub, rows, f"{number}-{place}-again") == first
    assert [version_of(row) for row in await announced(database_url)] == [1, 2, 3] * len(cuts)


async def keys_of_day(
    database: Database, day: int, partitions: Collection[int], rows_max: int
) -> list[list[tuple[str, int]]]:
    """Return reference and version of the filings of a day, page by page."""
    days = Days(database, Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name))
    pages, token = [], b""
    async with database.connection() as reader:
        while True:
            page = await days.page_of_day(reader, day, list(partitions), token, rows_max)
            names, versions = page.table.strings("local_reference").tolist(), page.table.ints("version").values.tolist()
            pages.append(list(zip(names, versions, strict=True)))
            token = page.next_token
            if not token:
                return pages


async def test_a_day_that_is_read_again_has_all_versions_of_its_filings(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the size of its pages: each version once, behind the one before it, and no page much larger than requested."""
    expected = []
    async with ingestion(database_url) as [stub]:
        answer = await submit(stub, [consignment(1), consignment(2)], "r1")
        await submit(stub, [amendment(1, 1, 5)], "r2")
        await submit(stub, [invalidation(1, 2)], "r3")
        await submit(stub, [consignment(3), consignment(4)], "r4")
        await submit(stub, [amendment(number, version, version) for version in (1, 2) for number in (3, 4)], "r5")
        for version in range(3, 9):
            await submit(stub, [amendment(4, version, version)], f"r{version + 3}")
        expected = [("REF-1", 3), ("REF-2", 1), ("REF-3", 3), ("REF-4", 9)]
    keys = [(name, version + 1) for name, versions in expected for version in range(versions)]
    day = mrns.parse(answer.results[0].receipt.mrn).day
    async with Database(database_url, name="test") as database:
        for seconds, size in itertools.product((snapshot.PAGE_SECONDS, 0.0), (1, 2, 3, 1_000)):
            monkeypatch.setattr(snapshot, "PAGE_SECONDS", seconds)
            pages = await keys_of_day(database, day, range(PARTITIONS), size)
            read = [key for page in pages for key in page]
            assert sorted(read) == keys, (seconds, size)
            for name, versions in expected:
                assert [version for each, version in read if each == name] == list(range(1, versions + 1))
            assert max(map(len, pages)) <= (len(keys) if size == 1_000 and seconds else size + 1)
        partition = mrns.parse(answer.results[1].receipt.mrn).partition
        assert ("REF-2", 1) in (await keys_of_day(database, day, [partition], 1_000))[0]
        # A filing counts once in the summary of its day, whatever its versions.
        async with database.connection() as reader:
            rows = await reader.raw.fetch("select partitions, counts from submission")
        assert sum(sum(row["counts"]) for row in rows) == 4


@dataclass
class Filed:
    """What a filer filed under one reference, from the messages alone: the version at place i has the number i + 1."""

    versions: list[Consignment] = field(default_factory=list)
    receipts: list[pb.Receipt] = field(default_factory=list)


class Model:
    """The answers that a filer may expect."""

    def __init__(self) -> None:
        self.filed: dict[str, Filed] = {}

    def check(self, rows: Sequence[Consignment], answer: pb.SubmitConsignmentsResponse) -> None:
        results = list(zip(rows, answer.results, strict=True))
        # New filings of a batch come before its amendments.
        for row, result in sorted(results, key=lambda each: each[0].function != NEW):
            filed = self.filed.setdefault(row.local_reference, Filed())
            version = row.amended_version + 1 if row.function != NEW else 1
            if row.function != NEW and not filed.versions:
                expected = "AMENDED_FILING_UNKNOWN"
            elif version > len(filed.versions) + 1:
                expected = "AMENDED_VERSION_UNKNOWN"
            elif version == len(filed.versions) + 1:
                filed.versions.append(row)
                filed.receipts.append(result.receipt)
                expected = ""
            elif filed.versions[version - 1] != row:
                expected = "VERSION_REPLACED" if version > 1 else "REFERENCE_REUSED"
            else:
                expected = ""
            assert [each.reason for each in result.errors] == ([expected] if expected else []), (row, result)
            if not expected:
                assert result.receipt == filed.receipts[version - 1]
                assert result.receipt.version == version
                assert result.receipt.mrn == filed.receipts[0].mrn


async def test_any_sequence_of_filings_and_changes_is_answered_as_the_messages_say(database_url: str) -> None:
    async with ingestion(database_url, 2) as stubs:
        draw, model = random.Random(14), Model()

        def one() -> Consignment:
            number, replaced = draw.randrange(8), draw.choice([1, 1, 1, 2, 2, 3, 4])
            kind = draw.randrange(4)
            if kind == 0:
                row = consignment(number)
                row.function = NEW
                row.gross_mass_mg += draw.choice([0, 0, 1])
                return row
            if kind == 1:
                return invalidation(number, replaced, draw.choice(["", "BACK"]))
            return amendment(number, replaced, draw.choice([0, 0, 1]))

        requests: list[tuple[str, list[Consignment], Any]] = []
        for turn in range(80):
            rows = [one() for _ in range(draw.randrange(1, 8))]
            answer = await submit(draw.choice(stubs), rows, f"r{turn}")
            model.check(rows, answer)
            requests.append((f"r{turn}", rows, answer))
            request_id, rows, answer = draw.choice(requests)
            assert await submit(draw.choice(stubs), rows, request_id) == answer
        assert max(len(each.versions) for each in model.filed.values()) >= 4
    rows = await announced(database_url)
    expected = {key: len(each.versions) for key, each in model.filed.items() if each.versions}
    found: dict[str, int] = {}
    for row in rows:
        found[row.local_reference] = version_of(row)
    assert found == expected
    assert len(rows) == sum(expected.values())


async def test_batches_without_amendments_have_the_statements_that_they_had(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.ingestion.store.amendments import Amendments

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a batch of new filings reads and writes nothing about amendments")

    for name in ("versions", "filings", "add_days", "add"):
        monkeypatch.setattr(Amendments, name, refuse)
    async with ingestion(database_url) as [stub]:
        answer = await submit(stub, [consignment(1), consignment(2)], "r1")
        assert [each.status for each in answer.results] == [ACCEPTED, ACCEPTED]
        assert await submit(stub, [consignment(1), consignment(2)], "r2") == answer
