"""A reference or a request id that is used again: the same content gets the first answer, other content is refused, whatever was stored."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from hashlib import sha256
from typing import Any, Protocol

import grpc
import grpc.aio
import pytest

from libs.client.filing.packing import pack
from libs.columns import Table, digests
from libs.feed.publish.retention import Retention
from libs.server import errors
from libs.store.database import NOW_MICROS, Database
from libs.store.tables.migrate import migrate
from luxor.consignment.v1 import consignment_pb2 as consignments
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.ingestion.__main__ import assemble
from services.ingestion.commands import submit as command
from services.ingestion.config import IngestionConfig
from services.ingestion.store import filings
from tests.ingestion.consignments import consignment, put
from tests.ingestion.service_client import SECONDS, stub_of
from tests.support.cutting_proxy import ANSWER, Cut, CuttingProxy
from tests.support.services import running

ACCEPTED, REFUSED = pb.SUBMISSION_STATUS_ACCEPTED, pb.SUBMISSION_STATUS_REFUSED


class File(Protocol):
    """Files consignments under a request id, by columns or by messages."""

    async def __call__(
        self, rows: Sequence[Consignment], request_id: str, by_columns: bool, ident: str = "shop"
    ) -> pb.SubmitConsignmentsResponse: ...


WEEK_MICROS = 7 * 86_400_000_000


@asynccontextmanager
async def filer(url: str, *, stores_digests: bool = False) -> AsyncIterator[File]:
    """Run ingestion; with `stores_digests` as while the release before may run beside it: it stores what that release stored."""
    async with Database(url, name="test") as database, database.transaction() as tx:
        await tx.raw.execute(
            "update digest_upgrade set until_micros = extract(epoch from clock_timestamp()) * 1000000 + $1",
            WEEK_MICROS if stores_digests else -1,
        )
    async with running("ingestion", assemble, url) as service:
        stubs: dict[str, IngestionServiceStub] = {}

        async def file(
            rows: Sequence[Consignment], request_id: str, by_columns: bool, ident: str = "shop"
        ) -> pb.SubmitConsignmentsResponse:
            if ident not in stubs:
                stubs[ident] = await stub_of(service, ident=ident)
            stub = stubs[ident]
            if by_columns:
                columns = pb.SubmitConsignmentColumnsRequest(request_id=request_id, consignments=pack(rows))
                answer = await stub.SubmitConsignmentColumns(columns, timeout=SECONDS)
                return pb.SubmitConsignmentsResponse.FromString(answer.SerializeToString())
            request = pb.SubmitConsignmentsRequest(request_id=request_id, consignments=rows)
            return await stub.SubmitConsignments(request, timeout=SECONDS)

        # The first request reads until when digests are stored.
        await file([consignment(999_999)], "first", False)
        yield file


@asynccontextmanager
async def filers(url: str) -> AsyncIterator[tuple[File, File]]:
    """Run ingestion twice over one store: one does not store digests, the other does."""
    async with filer(url) as one, filer(url, stores_digests=True) as other:
        yield one, other


async def reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return errors.reason_of(caught.value)


async def stored(url: str, statement: str) -> list[Any]:
    async with Database(url, name="test") as database, database.connection() as reader:
        found: list[Any] = await reader.raw.fetch(statement)
    return found


def rich(number: int) -> Consignment:
    """Return a good consignment with lists, lists in items, and elements of every kind."""
    row = consignment(number)
    row.receptacles.append("CNSHAADEFRAAAUN10001001000028")
    row.split = True
    put(row, "freight.minor", 300)
    row.packages.add(count=2, type="BX")
    row.items.append(row.items[0])
    row.gross_mass_mg *= 10  # room for further items
    row.items[1].description = "Ceramic cup"
    row.items[0].imeis.extend(["490154203237518", "356938035643809"])
    row.items[0].supporting_documents.add(type="N380", reference="I-1")
    row.items[1].supporting_documents.add(type="N380", reference="I-2")
    return row


def swap(values: Any) -> None:
    first, second = type(values[0]).FromString(values[0].SerializeToString()), values[1]
    values[0].CopyFrom(second)
    values[1].CopyFrom(first)


def move(row: Consignment) -> None:
    """Give the second item an IMEI of the first: the IMEIs of the consignment, one after the other, stay the same."""
    row.items[1].imeis.append(row.items[0].imeis.pop())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a text": lambda row: setattr(row.consignee, "name", "Ada  Example"),
    "two texts": lambda row: put(
        put(row, "consignee.address.street", "Lindenstrasse 1"), "consignee.address.city", "2 Berlin"
    ),
    "a text that was absent": lambda row: setattr(row.seller, "name", "Meadow"),
    "a text that is absent now": lambda row: row.consignor.address.ClearField("postcode"),
    "a code": lambda row: setattr(row.transport, "conveyance_reference", "LX0189"),
    "a country": lambda row: setattr(row, "dispatch_country", "HK"),
    "a destination": lambda row: setattr(row, "destination_country", "FR"),
    "a number": lambda row: setattr(row, "gross_mass_mg", row.gross_mass_mg + 1),
    "an amount": lambda row: setattr(row.freight, "minor", 301),
    "a currency": lambda row: setattr(row.freight, "currency", "USD"),
    "an amount of zero": lambda row: put(row, "insurance.minor", 0),
    "a time": lambda row: setattr(row.order.time, "nanos", 1_000),
    "a choice": lambda row: setattr(row, "nature", consignments.NATURE_GIFT),
    "a truth value": lambda row: setattr(row, "split", False),
    "a truth value that is absent now": lambda row: row.ClearField("split"),
    "a list's order": lambda row: row.receptacles.reverse(),
    "a list's length": lambda row: row.receptacles.pop(),
    "a list's entry": lambda row: row.transport.route_countries.insert(1, "AE"),
    "an entry of a table": lambda row: setattr(row.packages[1], "count", 3),
    "a table's order": lambda row: swap(row.packages),
    "a table's length": lambda row: row.fiscal_references.pop(),
    "a text of an item": lambda row: setattr(row.items[1], "description", "Ceramic cups"),
    "a number of an item": lambda row: setattr(row.items[0], "quantity_milli", 2_000),
    "an amount of an item": lambda row: setattr(row.items[0].price, "minor", 2_000),
    "a truth value of an item": lambda row: setattr(row.items[0], "gift", False),
    "an item less": lambda row: row.items.pop(),
    "an item more": lambda row: row.items.append(row.items[0]),
    "the order of items": lambda row: swap(row.items),
    "the order of a list of an item": lambda row: row.items[0].imeis.reverse(),
    "the item of an entry": move,
    "a document of an item": lambda row: setattr(row.items[1].supporting_documents[0], "reference", "I-3"),
    "the item of a document": lambda row: row.items[0].supporting_documents.append(
        row.items[1].supporting_documents.pop()
    ),
}


def changed(row: Consignment, change: str) -> Consignment:
    other = Consignment.FromString(row.SerializeToString())
    CHANGES[change](other)
    assert other != row, change
    return other


def in_other_letters(row: Consignment) -> Consignment:
    """Return the same filing with other letters, with blanks around its texts, and with what follows from other elements."""
    other = Consignment.FromString(row.SerializeToString())
    other.consignee.name = f"  {row.consignee.name} "
    other.transport.conveyance_reference = row.transport.conveyance_reference.lower()
    other.receptacles[0] = row.receptacles[0].lower()
    other.items[0].origin_country = "cn "
    other.destination_country = "de"
    for number, item in enumerate(other.items, 1):
        item.number = number
    other.function = consignments.MESSAGE_FUNCTION_NEW
    return other


async def test_the_same_content_is_the_same_filing_and_one_changed_element_is_another(database_url: str) -> None:
    rows = [rich(number) for number in range(len(CHANGES))]
    same = [in_other_letters(row) for row in rows]
    others = [changed(row, change) for row, change in zip(rows, CHANGES, strict=True)]
    # What was changed is a good filing under another reference.
    under_others = [Consignment.FromString(row.SerializeToString()) for row in others]
    for number, row in enumerate(under_others):
        row.local_reference = f"OTHER-{number}"

    async def check(file: File, ident: str, first: pb.SubmitConsignmentsResponse, by_columns: bool, step: int) -> None:
        for content in (rows, same):
            assert await file(content, "r", by_columns, ident) == first
            assert await file(content, f"same {content is rows}", by_columns, ident) == first
        refused = await file(others, "changed", by_columns, ident)
        for number, (result, accepted) in enumerate(zip(refused.results, first.results, strict=True)):
            assert [(each.reason, each.path) for each in result.errors] == [
                ("REFERENCE_REUSED", f"consignments[{number}].local_reference")
            ]
            assert accepted.receipt.mrn in result.errors[0].message
        assert await file(others, "changed", not by_columns, ident) == refused
        for number in range(0, len(rows), step):
            one = [*rows[:number], others[number], *rows[number + 1 :]]
            assert await reason(file(one, "r", by_columns, ident)) == "REQUEST_REUSED", list(CHANGES)[number]
        for content in (rows[:-1], rows[::-1], [*rows, rows[0]]):
            assert await reason(file(content, "r", by_columns, ident)) == "REQUEST_REUSED"
        answer = await file(under_others, "others", by_columns, ident)
        assert {each.status for each in answer.results} == {ACCEPTED}

    # Each case has a filer of its own; digests are stored or not when he files, and when he files again.
    cases = {f"shop-{number}": case for number, case in enumerate(itertools.product((False, True), repeat=4))}
    firsts = {}
    async with filers(database_url) as files:
        for ident, (before, _, first_by_columns, _) in cases.items():
            firsts[ident] = await files[before](rows, "r", first_by_columns, ident)
            assert {each.status for each in firsts[ident].results} == {ACCEPTED}
    async with filers(database_url) as files:
        for ident, (_, after, first_by_columns, by_columns) in cases.items():
            # What is stored of both RPCs is the same, or its repetition by the other would be refused.
            every_change = by_columns and not first_by_columns
            await check(files[after], ident, firsts[ident], by_columns, 1 if every_change else 7)


async def test_a_repeat_has_its_receipt_behind_other_content_of_its_reference(database_url: str) -> None:
    """In one batch: what is stored decides, not what stands first; without anything stored the first row does."""
    async with filer(database_url) as file:
        first = (await file([rich(0)], "r1", False)).results[0]
        rows = [
            changed(rich(0), "a text"),
            rich(0),
            changed(rich(0), "a number"),
            rich(0),
            rich(1),
            changed(rich(1), "a text"),
            rich(1),
        ]
        answer = await file(rows, "r2", False)
        assert [each.errors[0].reason if each.errors else "" for each in answer.results] == [
            "REFERENCE_REUSED", "", "REFERENCE_REUSED", "", "", "REFERENCE_REUSED", "",
        ]  # fmt: skip
        assert answer.results[1] == answer.results[3] == first
        assert answer.results[4] == answer.results[6]
        assert await file(rows, "r2", False) == answer


async def test_a_request_that_differs_in_a_refused_row_alone_is_another_request(database_url: str) -> None:
    bad = rich(1)
    bad.gross_mass_mg = 0
    good = rich(1)
    good.gross_mass_mg = 1
    rows = [rich(0), bad, rich(2)]

    async def check(
        file: File, ident: str, first: pb.SubmitConsignmentsResponse, only_bad: pb.SubmitConsignmentsResponse
    ) -> None:
        for by_columns in (False, True):
            for change in CHANGES:
                if change != "a number":
                    other = [rows[0], changed(bad, change), rows[2]]
                    assert await reason(file(other, "r", by_columns, ident)) == "REQUEST_REUSED", change
            assert await reason(file([changed(bad, "a text")], "bad", by_columns, ident)) == "REQUEST_REUSED"
            assert await file(rows, "r", by_columns, ident) == first
            assert await file([bad], "bad", by_columns, ident) == only_bad
        assert [each.status for each in (await file([good], "good", True, ident)).results] == [ACCEPTED]

    cases = {"shop-0": (False, False), "shop-1": (True, False), "shop-2": (False, True)}
    firsts = {}
    async with filers(database_url) as files:
        for ident, (before, _) in cases.items():
            first = await files[before](rows, "r", False, ident)
            assert [each.status for each in first.results] == [ACCEPTED, REFUSED, ACCEPTED]
            firsts[ident] = first, await files[before]([bad], "bad", True, ident)
    async with filers(database_url) as files:
        for ident, (_, after) in cases.items():
            await check(files[after], ident, *firsts[ident])


async def test_digests_are_stored_for_the_release_before_and_no_longer(database_url: str) -> None:
    rows = [rich(number) for number in range(20)]
    kept = (
        "select digest from reference where local_reference like 'REF-_' or local_reference like 'REF-1_' order by mrn"
    )
    async with filer(database_url) as file:
        await file(rows, "r", False)
    assert {each["digest"] for each in await stored(database_url, kept)} == {b""}
    rows = [rich(number) for number in range(20, 40)]
    async with filer(database_url, stores_digests=True) as file:
        await file(rows, "r2", True)
    # As the release before computes them, from the columns as they are stored.
    for row in rows:
        row.destination_country = "DE"
        row.function = consignments.MESSAGE_FUNCTION_NEW
        for number, item in enumerate(row.items, 1):
            item.number = number
    own = digests(Table.from_messages(rows, ConsignmentColumns, Consignment))
    found = await stored(
        database_url,
        "select digest from reference where length(digest) = 32 and local_reference <> 'REF-999999' order by local_reference",
    )
    assert [each["digest"] for each in found] == own
    request = await stored(database_url, "select digest from request_log where request_id = 'r2'")
    assert request[0]["digest"] == sha256(b"".join(own)).digest()


async def test_without_a_conflict_no_digest_of_a_consignment_is_computed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    def counted(table: Table, exclude: Any = ()) -> list[bytes]:
        computed.append(table.rows)
        return digests(table, exclude)

    monkeypatch.setattr(command, "digests", counted)
    async with filer(database_url) as file:
        rows = [rich(number) for number in range(50)]
        await file(rows, "r", False)
        assert not computed
        fresh = [rich(number) for number in range(100, 150)]
        await file([*fresh, rows[7]], "r2", True)
        assert computed == [1, 1], "the new one and the stored one"


async def test_references_of_many_batches_and_of_an_earlier_generation_are_compared(database_url: str) -> None:
    rows = [rich(number) for number in range(3 * filings.BATCHES_AT_ONCE)]
    async with filer(database_url) as file:
        first = [(await file([row, rich(1_000 + at)], f"r{at}", at % 2 == 0)).results[0] for at, row in enumerate(rows)]
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            newest = await tx.raw.fetchval("select max(generation) from reference")
            await tx.raw.execute(
                f"create table reference_g{newest - 1} partition of reference for values in ({newest - 1})"
            )
            await tx.raw.execute(
                "update reference set generation = generation - 1 where right(local_reference, 1) in ('1', '4', '7')"
            )
        mixed = [changed(row, "a list's order") if at % 3 == 0 else row for at, row in enumerate(rows)]
        for by_columns in (True, False):
            answer = await file([*mixed, rich(5_000)], f"all {by_columns}", by_columns)
            for at, result in enumerate(answer.results[:-1]):
                assert [each.reason for each in result.errors] == (["REFERENCE_REUSED"] if at % 3 == 0 else [])
                assert result.receipt.mrn == ("" if at % 3 == 0 else first[at].receipt.mrn)
            assert answer.results[-1].status == ACCEPTED
    found = await stored(database_url, "select local_reference from reference group by 1 having count(*) > 1")
    assert not found


async def test_content_is_stored_longer_than_its_reference_counts() -> None:
    # A reference of the oldest generation that counts, filed on its first day, asked for on the last day of the newest.
    days = filings.GENERATIONS_STORED * filings.GENERATION_DAYS
    shift = next(each for each in fields(IngestionConfig) if each.name == "clock_shift_seconds").metadata["setting"]
    days += (shift.high - shift.low) // 86_400 + 1
    assert days < filings.SUBMISSION_DAYS < Retention().payload_days


async def test_a_consignment_that_is_lost_from_the_store_is_equal_to_none(database_url: str) -> None:
    async with filer(database_url) as file:
        first = await file([rich(0)], "r", False)
        async with Database(database_url, name="test") as database, database.transaction() as tx:
            await tx.raw.execute("delete from submission")
        answer = await file([rich(0), rich(1)], "r2", False)
        assert [each.reason for each in answer.results[0].errors] == ["REFERENCE_REUSED"]
        assert first.results[0].receipt.mrn in answer.results[0].errors[0].message
        assert answer.results[1].status == ACCEPTED


@pytest.mark.parametrize("stores_digests", [False, True])
async def test_a_filing_whose_commit_got_no_answer_is_filed_once(database_url: str, stores_digests: bool) -> None:
    bad = rich(1)
    bad.gross_mass_mg = 0
    requests = [rich(0), rich(2), rich(3)], [rich(4), bad], [rich(0), changed(rich(2), "a time")]
    cuts = [Cut(sent=3), Cut(), Cut(answered=len(ANSWER) - 1), Cut(late_seconds=0.1)]

    async def check(proxy: CuttingProxy, file: File, ident: str, cut: Cut) -> None:
        for number, rows in enumerate(requests):
            done = proxy.done
            proxy.plan([cut])
            # The channel sends the call once more by itself.
            first = await file(rows, f"r{number}", False, ident)
            assert proxy.done == done + 1
            for by_columns in (True, False):
                assert await file(rows, f"r{number}", by_columns, ident) == first
            assert await file(rows, f"s{number}", True, ident) == first
            other = [changed(rows[0], "a time"), *rows[1:]]
            assert await reason(file(other, f"r{number}", True, ident)) == "REQUEST_REUSED"

    async with (
        CuttingProxy(database_url, transaction_bytes_min=1_000, statement=b"insert into request_log") as proxy,
        filer(proxy.url, stores_digests=stores_digests) as file,
    ):
        for number, cut in enumerate(cuts):
            await check(proxy, file, f"shop-{number}", cut)
    found = await stored(
        database_url, "select filer, local_reference, count(*) from reference group by 1, 2 order by 1, 2"
    )
    filed = [(f"shop-{number}", f"REF-{n}", 1) for number in range(len(cuts)) for n in (0, 2, 3, 4)]
    assert [tuple(each) for each in found] == [("shop", "REF-999999", 1), *filed]
    rows_stored = await stored(database_url, "select sum(row_count) as rows from batch")
    assert rows_stored[0]["rows"] == len(found)
    # Each refusal counts once for each of the two requests, although answers were lost after the COMMIT and the calls came again.
    refused = await stored(
        database_url,
        "select filer, reason, sum(consignments)::integer as times from scorecard_refusal group by 1, 2 order by 1, 2",
    )
    assert [tuple(each) for each in refused if each["filer"] != "shop"] == [
        (f"shop-{number}", reason_of_refusal, 2)
        for number in range(len(cuts))
        for reason_of_refusal in ("NUMBER_TOO_SMALL", "REFERENCE_REUSED")
    ]


class Register:
    """What a filer may expect, from the messages themselves: who filed what under which reference, and each request with its answer."""

    def __init__(self) -> None:
        self.filed: dict[str, tuple[Consignment, pb.Receipt]] = {}
        self.requests: dict[str, tuple[list[Consignment], pb.SubmitConsignmentsResponse]] = {}

    def is_reused(self, request_id: str, rows: list[Consignment]) -> bool:
        return request_id in self.requests and self.requests[request_id][0] != rows

    def check(self, request_id: str, rows: list[Consignment], answer: pb.SubmitConsignmentsResponse) -> None:
        if request_id in self.requests:
            assert answer == self.requests[request_id][1]
            return
        self.requests[request_id] = rows, answer
        for row, result in zip(rows, answer.results, strict=True):
            if not row.gross_mass_mg:
                assert [each.reason for each in result.errors] == ["NUMBER_TOO_SMALL"]
            elif row.local_reference not in self.filed:
                assert result.status == ACCEPTED
                assert result.receipt.local_reference == row.local_reference
                self.filed[row.local_reference] = row, result.receipt
            else:
                content, receipt = self.filed[row.local_reference]
                if row == content:
                    assert (result.status, result.receipt) == (ACCEPTED, receipt)
                else:
                    assert [each.reason for each in result.errors] == ["REFERENCE_REUSED"]
                    assert receipt.mrn in result.errors[0].message


async def test_any_sequence_of_filings_is_answered_as_the_messages_say(database_url: str) -> None:
    async with filers(database_url) as files:
        for seed in range(4):
            await check_any_sequence(files, seed)


async def check_any_sequence(files: Sequence[File], seed: int) -> None:
    draw = random.Random(seed)
    register = Register()
    recent: list[tuple[str, list[Consignment]]] = []

    def one() -> Consignment:
        row = rich(draw.randrange(12))
        for change in draw.sample(sorted(CHANGES), draw.choice([0, 0, 0, 1, 2])):
            # After another change a list may be empty.
            if change in {"the order of items", "a document of an item", "the item of an entry"}:
                row = rich(int(row.local_reference.partition("-")[2]))
            if not change.startswith("the item of") or len(row.items) > 1:
                CHANGES[change](row)
        if draw.random() < 0.1:
            row.gross_mass_mg = 0
        return row

    for turn in range(60):
        rows = [one() for _ in range(draw.randrange(1, 6))]
        request_id = f"r{turn}"
        if recent and draw.random() < 0.5:
            request_id, rows = draw.choice(recent[-8:])
            if draw.random() < 0.4:
                rows = [Consignment.FromString(row.SerializeToString()) for row in rows]
                rows[draw.randrange(len(rows))] = one()
            if draw.random() < 0.3:
                request_id = f"r{turn}"
        call = draw.choice(files)(rows, request_id, draw.random() < 0.5, f"shop-{seed}")
        if register.is_reused(request_id, rows):
            assert await reason(call) == "REQUEST_REUSED"
        else:
            register.check(request_id, rows, await call)
            recent.append((request_id, rows))
    assert len(register.filed) == 12


async def test_a_store_that_is_upgraded_stores_digests_for_a_week_and_a_new_one_never(database: Database) -> None:
    left = f"select until_micros - {NOW_MICROS} from digest_upgrade"
    async with database.transaction() as tx:
        assert await tx.raw.fetchval("select until_micros from digest_upgrade") == 0
        # As the release before leaves it.
        await tx.raw.execute(
            "drop table digest_upgrade, amendment, filer, page_key, part, part_count, part_link, part_join, part_due; "
            "drop table scorecard, scorecard_example, scorecard_refusal; "
            "drop sequence part_number; "
            "alter table submission drop column quality; delete from schema_history where position >= 5"
        )
        await tx.raw.execute("update schema_version set version_num = '0004'")
    try:
        assert await migrate(database, "services.ingestion") == ["0005", "0006", "0007", "0008", "0009", "0010", "0011"]
        async with database.connection() as reader:
            assert WEEK_MICROS - 60_000_000 < await reader.raw.fetchval(left) <= WEEK_MICROS
    finally:
        async with database.transaction() as tx:
            await tx.raw.execute("drop schema if exists pristine cascade")
