"""The register of scheme numbers: over real gRPC and PostgreSQL, and what it does to assessments on all replicas."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from libs.client.errors import LuxorError
from libs.client.revenue.schemes import plain_number, read_numbers, scheme_of
from libs.columns import Table
from libs.customs.time import day_of_date
from libs.server import errors
from libs.store.database import Database
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import schemes_pb2 as pb
from luxor.revenue.v1.schemes_pb2_grpc import SchemeServiceStub
from services.revenue.assessment.batch import ActiveLaw, Batch, ReassessedBatch
from services.revenue.assessment.scheme_register import OPEN_END, SchemeEntry
from services.revenue.commands.assess import Assessments
from services.revenue.store.schemes import ActiveSchemes, SchemeStore
from tests.revenue.bundles import ALONE, DAY, Parcel, bundling, table_of
from tests.support.services import Running

SECONDS = 10.0
IOSS, CBEC = filing.SCHEME_IOSS, filing.Scheme.Value("SCHEME_CBEC")
PROGRAM = bundling()


async def stub(house: Running, role: str = "operator", ident: str = "ops") -> SchemeServiceStub:
    return SchemeServiceStub(await house.channel(role, ident))


def number(
    text: str, scheme: int = IOSS, *, first: str = "2021-07-01", to: str = "", holder: str = ""
) -> pb.SchemeNumber:
    return pb.SchemeNumber(scheme=scheme, number=text, holder=holder, from_day=first, to_day=to)  # type: ignore[arg-type]


def request(*numbers: pb.SchemeNumber, ident: str = "r1") -> pb.RegisterSchemeNumbersRequest:
    return pb.RegisterSchemeNumbersRequest(request_id=ident, numbers=numbers)


async def test_numbers_are_registered_changed_known_or_refused_each_by_itself(house: Running) -> None:
    schemes = await stub(house)
    good, second = number("IM2760000014", holder="Shop"), number("IM4420000019")
    answer = await schemes.RegisterSchemeNumbers(request(good, second), timeout=SECONDS)
    again = await schemes.RegisterSchemeNumbers(request(good, second), timeout=SECONDS)
    assert answer == again
    told = [pb.SchemeNumberOutcome.Name(each.outcome).rpartition("_")[2] for each in answer.results]
    assert told == ["REGISTERED", "REGISTERED"], answer
    changed = await schemes.RegisterSchemeNumbers(
        request(
            number("IM2760000014", holder="Shop", to="2026-06-30"), second, number("XX1"), number("IM4420000019"),
            number("1", scheme=0), number("IM2760000014", first="1st of May"), number("IM2760000014", to="2020-01-01"),
            number("IM2760000014", holder="x" * 71), number(""), ident="r2",
        ),
        timeout=SECONDS,
    )  # fmt: skip
    told = [
        each.error.reason or pb.SchemeNumberOutcome.Name(each.outcome).rpartition("_")[2] for each in changed.results
    ]
    assert told == [
        "CHANGED", "KNOWN", "SCHEME_NUMBER_MALFORMED", "SCHEME_NUMBER_REPEATED", "SCHEME_NOT_KNOWN", "SCHEME_DAY_WRONG",
        "SCHEME_DAYS_TURNED", "SCHEME_HOLDER_UNREADABLE", "SCHEME_NUMBER_UNREADABLE",
    ]  # fmt: skip
    assert changed.results[2].error.path == "numbers[2].number"
    assert all(each.error.hint for each in changed.results[2:])
    reader = await stub(house, "analyst", "ann")
    page = await reader.ListSchemeNumbers(pb.ListSchemeNumbersRequest(page_size=1), timeout=SECONDS)
    assert (
        len((await reader.ListSchemeNumbers(pb.ListSchemeNumbersRequest(page_size=9_999), timeout=SECONDS)).numbers) > 1
    )
    rest = await reader.ListSchemeNumbers(
        pb.ListSchemeNumbersRequest(page_size=1, page_token=page.next_page_token), timeout=SECONDS
    )
    assert [plain_number(each) for each in [*page.numbers, *rest.numbers]] == [
        {
            "scheme": "IOSS",
            "number": "IM2760000014",
            "holder": "Shop",
            "from_day": "2021-07-01",
            "to_day": "2026-06-30",
        },
        {"scheme": "IOSS", "number": "IM4420000019", "holder": "", "from_day": "2021-07-01"},
    ]
    assert rest.next_page_token == ""
    one = await reader.ListSchemeNumbers(
        pb.ListSchemeNumbersRequest(scheme=IOSS, number="IM4420000019"), timeout=SECONDS
    )
    assert len(one.numbers) == 1


async def test_the_register_is_read_by_changes_each_number_at_its_last_one(house: Running) -> None:
    schemes = await stub(house)
    for ident, numbers in (
        ("r1", [number("IM2760000014"), number("IM4420000019")]),
        ("r2", [number("2021234", filing.SCHEME_VOEC)]),
        ("r3", [number("IM2760000014", to="2026-06-30"), number("IM4420000019")]),
    ):
        await schemes.RegisterSchemeNumbers(request(*numbers, ident=ident), timeout=SECONDS)

    async def changes(after: int, size: int = 0, token: str = "", **filters: Any) -> pb.ListSchemeNumbersResponse:
        query = pb.ListSchemeNumbersRequest(changed_after=after, page_size=size, page_token=token, **filters)
        answer: pb.ListSchemeNumbersResponse = await schemes.ListSchemeNumbers(query, timeout=SECONDS)
        return answer

    whole = await changes(0)
    assert [each.number for each in whole.numbers] == ["IM4420000019", "2021234", "IM2760000014"]
    assert whole.numbers[2].to_day == "2026-06-30"
    assert whole.next_page_token == ""
    assert await changes(whole.last_change) == pb.ListSchemeNumbersResponse(last_change=whole.last_change)
    # By the token, or by a new request after the last change: the same pages.
    first = await changes(0, 2)
    assert list(first.numbers) == list(whole.numbers[:2])
    by_token, by_change = await changes(0, 2, first.next_page_token), await changes(first.last_change, 2)
    assert list(by_token.numbers) == list(by_change.numbers) == [whole.numbers[2]]
    assert by_token.last_change == by_change.last_change == whole.last_change
    assert [each.number for each in (await changes(0, scheme=filing.SCHEME_VOEC)).numbers] == ["2021234"]
    assert [each.number for each in (await changes(0, number="IM4420000019")).numbers] == ["IM4420000019"]
    plain = await schemes.ListSchemeNumbers(pb.ListSchemeNumbersRequest(page_size=1), timeout=SECONDS)
    assert (plain.last_change, [each.number for each in plain.numbers]) == (0, ["IM2760000014"])
    for query, reason in (
        (pb.ListSchemeNumbersRequest(changed_after=-1), "NUMBER_NEGATIVE"),
        (pb.ListSchemeNumbersRequest(changed_after=0, page_token=plain.next_page_token), "PAGE_TOKEN_MALFORMED"),
        (pb.ListSchemeNumbersRequest(changed_after=1, page_token=first.next_page_token), "PAGE_TOKEN_MALFORMED"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await schemes.ListSchemeNumbers(query, timeout=SECONDS)
        assert errors.reason_of(error.value) == reason


async def test_who_may_not_and_what_is_asked_wrongly_is_refused_with_a_reason(house: Running) -> None:
    schemes, analyst = await stub(house), await stub(house, "analyst", "ann")
    good = number("IM2760000014")
    await schemes.RegisterSchemeNumbers(request(good, ident="r9"), timeout=SECONDS)
    for call, reason in (
        (analyst.RegisterSchemeNumbers(request(good), timeout=SECONDS), "ROLE_NOT_ALLOWED"),
        (schemes.RegisterSchemeNumbers(request(ident="r3"), timeout=SECONDS), "BATCH_EMPTY"),
        (schemes.RegisterSchemeNumbers(request(*[good] * 1_001, ident="r4"), timeout=SECONDS), "BATCH_TOO_LARGE"),
        (schemes.RegisterSchemeNumbers(request(good, ident=""), timeout=SECONDS), "REQUEST_ID_MISSING"),
        (schemes.RegisterSchemeNumbers(request(good, good, ident="r9"), timeout=SECONDS), "REQUEST_REUSED"),
        (
            schemes.ListSchemeNumbers(pb.ListSchemeNumbersRequest(page_size=-1), timeout=SECONDS),
            "NUMBER_NEGATIVE",
        ),
        (
            schemes.ListSchemeNumbers(pb.ListSchemeNumbersRequest(page_token="?"), timeout=SECONDS),
            "PAGE_TOKEN_MALFORMED",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call
        assert errors.reason_of(error.value) == reason


@pytest_asyncio.fixture
async def revenue(database: Database) -> Database:
    return database


async def put(database: Database, *entries: SchemeEntry) -> None:
    async with database.transaction() as tx:
        await SchemeStore(database).put(tx, entries, "operator/ops")


async def test_unknown_and_expired_numbers_fall_back_to_the_border_and_say_so(revenue: Database) -> None:
    one, other = ActiveSchemes(SchemeStore(revenue)), ActiveSchemes(SchemeStore(revenue))
    store = Assessments(revenue)
    parcels = [
        Parcel(place, ALONE, 10_000, schemes=((CBEC, text),))
        for place, text in enumerate(("C100001", "C100002", "C100003"))
    ]

    async def assessed(schemes: ActiveSchemes, first: int) -> list[tuple[int | None, str, set[str]]]:
        table = table_of([Parcel(first + each.number, each.area, each.price, schemes=each.schemes) for each in parcels])
        batch = Batch(ActiveLaw(PROGRAM, schemes.register), table, table.encode(ConsignmentColumns))
        answer = Table.decode(await store.assess(batch))
        notes = answer.ragged("notes")
        accounts = answer.child("charges").strings("account").tolist()
        words = notes.values.tolist()
        schemes_said = [
            {each for each in words[notes.span(row)] if each.startswith("SCHEME")} for row in range(answer.rows)
        ]
        return list(zip(answer.ints("collected_by_vendor").tolist(), accounts, schemes_said, strict=True))

    # Nothing was ever registered: the form is enough, and the answer says that nobody looked.
    assert await assessed(one, 0) == [
        (500, f"vendor:C10000{place}", {"SCHEME_NUMBER_UNCHECKED"}) for place in (1, 2, 3)
    ]
    await put(
        revenue,
        SchemeEntry(CBEC, "C100001", "Shop", DAY - 10, OPEN_END),
        SchemeEntry(CBEC, "C100002", "", DAY - 10, DAY - 1),
    )
    for schemes in (one, other):
        await schemes.look()
    border = "declarant:shop"
    told = [
        (500, "vendor:C100001", set()),
        (0, border, {"SCHEME_NUMBER_EXPIRED"}),
        (0, border, {"SCHEME_NUMBER_UNKNOWN"}),
    ]
    assert await assessed(one, 10) == told
    assert await assessed(other, 20) == told
    # What is stored computes the same again, whatever the register says by now.
    await put(
        revenue,
        SchemeEntry(CBEC, "C100002", "", DAY - 10, OPEN_END),
        SchemeEntry(CBEC, "C100003", "", DAY - 10, OPEN_END),
    )
    await one.look()
    assert [each[0] for each in await assessed(one, 30)] == [500, 500, 500]
    found = await store.inputs.find([Parcel(10 + place, ALONE, 1).mrn for place in range(3)], [1] * 3)
    (part,) = found
    again = ReassessedBatch(
        ActiveLaw(PROGRAM, one.register), part.input.table, part.input.register, part.input.aggregates
    ).answer()
    assert again.ints("collected_by_vendor").tolist() == [500, 0, 0]


def test_a_table_of_numbers_is_read_and_its_mistakes_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(
        "scheme,number,holder,from,to\nIOSS,IM2760000014,Shop,2021-07-01,\nVOEC,2021234,,2024-01-01,2026-01-01\n"
    )
    read = read_numbers(path)
    assert [plain_number(each) for each in read] == [
        {"scheme": "IOSS", "number": "IM2760000014", "holder": "Shop", "from_day": "2021-07-01"},
        {"scheme": "VOEC", "number": "2021234", "holder": "", "from_day": "2024-01-01", "to_day": "2026-01-01"},
    ]
    for text, place in (
        ("scheme,number\nIOSS,1\n", "numbers.csv:1"),
        ("scheme,number,from,colour\nIOSS,1,2021-07-01,red\n", "numbers.csv:1"),
        ("scheme,number,from\nIOSS,1,2021-07-01\nNO_SCHEME,1,2021-07-01\n", "numbers.csv:3"),
        ("scheme,number,from\nIOSS,1\n", "numbers.csv:2"),
    ):
        path.write_text(text)
        with pytest.raises(LuxorError) as error:
            read_numbers(path)
        assert (error.value.reason, error.value.path.endswith(place)) == ("SCHEME_FILE_WRONG", True), error.value.path
    assert scheme_of("ioss") == IOSS
    assert scheme_of("nonsense") == -1
    assert day_of_date(date(2026, 8, 3)) == DAY
