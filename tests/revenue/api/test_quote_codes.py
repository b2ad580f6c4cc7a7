"""Quotes refuse codes that do not exist with the reasons that filings with them are refused by; each consignment for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from libs.columns import Ragged, Strings, Table
from libs.server.errors import Refusal
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.revenue.v1 import revenue_pb2 as pb
from services.ingestion.filing.validation import check
from services.revenue.api.assessment import RevenueService
from services.revenue.api.quote_codes import errors_of, normalised
from tests.revenue.law.published import shipped_law

TODAY = date(2026, 8, 3)


def parcel(**more: Any) -> Consignment:
    message = Consignment(destination_country="DE", dispatch_country="CN", **more)
    for code in ("61091000", "620630"):
        item = message.items.add(commodity_code=code, origin_country="CN")
        item.price.minor, item.price.currency = 1_000, "EUR"
    return message


async def quotes(*parcels: Consignment, on: date = TODAY) -> list[pb.LandedCost]:
    request = pb.QuoteConsignmentsRequest(consignments=parcels)
    request.as_of.FromDatetime(datetime(on.year, on.month, on.day, 12, tzinfo=UTC))
    service: Any = RevenueService(None, shipped_law)  # type: ignore[arg-type]  # a quote keeps nothing
    return list((await service.QuoteConsignments(request, None)).quotes)


WRONG: list[tuple[Callable[[Consignment], object], str, str]] = [
    (lambda each: setattr(each, "destination_country", "QX"), "COUNTRY_UNKNOWN", "destination_country"),
    (lambda each: setattr(each, "dispatch_country", "EU"), "COUNTRY_UNKNOWN", "dispatch_country"),
    (lambda each: setattr(each.consignee.address, "country", "ZZ"), "COUNTRY_UNKNOWN", "consignee.address.country"),
    (lambda each: setattr(each.items[1], "origin_country", "QQ"), "COUNTRY_UNKNOWN", "items[1].origin_country"),
    (lambda each: setattr(each.items[1].price, "currency", "EUX"), "CURRENCY_UNKNOWN", "items[1].price.currency"),
    (lambda each: each.freight.MergeFrom(type(each.freight)(minor=5, currency="DEM")), "CURRENCY_UNKNOWN", "freight.currency"),
    (lambda each: setattr(each.items[0], "commodity_code", "6109"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
    (lambda each: setattr(each.items[0], "commodity_code", "61091O00"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
    (lambda each: setattr(each.items[0], "commodity_code", "610998"), "COMMODITY_CODE_UNKNOWN", "items[0].commodity_code"),
    (lambda each: setattr(each.items[0], "commodity_code", "851712"), "COMMODITY_CODE_WITHDRAWN", "items[0].commodity_code"),
    (lambda each: setattr(each, "nature", 99), "CHOICE_UNKNOWN", "nature"),
    (lambda each: setattr(each, "declarant_role", 99), "CHOICE_UNKNOWN", "declarant_role"),
    (lambda each: each.fiscal_references.add(scheme=99, number="X"), "CHOICE_UNKNOWN", "fiscal_references[0].scheme"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "path"), WRONG, ids=[f"{reason} {path}" for _, reason, path in WRONG])
async def test_a_code_that_does_not_exist_is_refused_by_name_and_alone(
    spoil: Callable[[Consignment], object], reason: str, path: str
) -> None:
    wrong = parcel()
    spoil(wrong)
    good, bad, other = await quotes(parcel(), wrong, parcel())
    assert (bad.reason, len(bad.lines), bad.HasField("landed_cost_minor")) == (reason, 0, False)
    assert path in bad.explanation[0]
    assert bad.hint
    assert good == other
    assert (good.reason, good.landed_cost_minor > 2_000) == ("", True)
    # Filed, it is refused by the same reason.
    filed = check(Table.from_messages([wrong], ConsignmentColumns, Consignment))
    assert (reason, f"consignments[0].{path}") in {(each.reason, each.path) for each in filed.errors[0]}


@pytest.mark.parametrize(
    ("lengthen", "path"),
    [
        (lambda each, text: setattr(each.consignee.address, "region", text), "consignee.address.region"),
        (lambda each, text: setattr(each.declarant, "identifier", text), "declarant.identifier"),
        (lambda each, text: each.additional_procedures.append(text), "additional_procedures"),
        (lambda each, text: each.items[1].additional_procedures.append(text), "items[1].additional_procedures"),
        (lambda each, text: setattr(each.items[1], "quantity_unit", text), "items[1].quantity_unit"),
        (lambda each, text: each.fiscal_references.add(number=text), "fiscal_references[0].number"),
    ],
)
async def test_a_text_longer_than_any_of_a_filing_is_refused_and_not_remembered(
    lengthen: Callable[[Consignment, str], object], path: str
) -> None:
    longest, longer = parcel(), parcel()
    lengthen(longest, "x" * 512)
    lengthen(longer, "x" * 513)
    fits, wrong = await quotes(longest, longer)
    assert fits.reason != wrong.reason == "TEXT_TOO_LONG"
    assert wrong.explanation[0] == f"The element {path} has 513 characters, more than 512."


async def test_codes_are_read_as_filings_are_and_may_be_left_out() -> None:
    untidy = parcel()
    untidy.destination_country = " de"
    untidy.items[0].commodity_code = "6109 1000"
    untidy.items[0].price.currency = "eur"
    bare = Consignment(destination_country="DE")
    bare.items.add().price.MergeFrom(type(bare.freight)(minor=1_000, currency="EUR"))
    plain, same, short = await quotes(parcel(), untidy, bare)
    assert plain == same
    assert (short.reason, short.price_minor) == ("", 1_000)


async def test_a_code_that_was_withdrawn_since_was_one_under_the_law_of_its_day() -> None:
    old = parcel()
    old.items[0].commodity_code = "851712"
    assert [(await quotes(old, on=day))[0].reason for day in (date(2021, 12, 31), date(2022, 1, 1))] == [
        "",
        "COMMODITY_CODE_WITHDRAWN",
    ]


async def test_where_nothing_can_be_quoted_each_says_why() -> None:
    one, two = parcel(), parcel()
    one.destination_country, two.items[0].price.currency = "QX", "QQQ"
    assert [each.reason for each in await quotes(one, two)] == ["COUNTRY_UNKNOWN", "CURRENCY_UNKNOWN"]


def test_a_country_that_law_is_loaded_for_is_one() -> None:
    table = normalised(Table.from_messages([Consignment(destination_country="QX")], ConsignmentColumns, Consignment))
    assert errors_of(table, 20_000, {"QX"}) == {}
    assert errors_of(table, 20_000, {"DE"})[0].reason == "COUNTRY_UNKNOWN"


async def test_of_many_faults_the_first_item_is_named_and_a_long_value_is_cut() -> None:
    wrong = parcel()
    wrong.items[0].commodity_code, wrong.items[1].commodity_code = "y" * 5_000, "6109"
    (told,) = await quotes(wrong)
    assert "items[0].commodity_code" in told.explanation[0]
    assert "YYY" in told.explanation[0]
    assert len(told.explanation[0]) < 300


def test_goods_that_are_all_wrong_in_another_way_are_looked_at_once() -> None:
    count = 100_000
    codes = Strings([f"X{number}" for number in range(count)], np.arange(count, dtype=np.int32))
    table = Table.of(ConsignmentColumns, 2, {})
    items = Table(table.child("items").schema, count, {"commodity_code": codes})
    table = table.with_columns({"items": Ragged.of_lengths([1, count - 1], items)})
    began = time.process_time()
    found = errors_of(table, 20_000, {"DE"})
    assert time.process_time() - began < 1.0  # a comparison of each with each takes some seconds
    assert {row: (fault.path, fault.value) for row, fault in found.items()} == {
        0: ("items[0].commodity_code", "X0"),
        1: ("items[0].commodity_code", "X1"),
    }


async def test_more_goods_than_can_be_filed_at_once_are_refused_before_they_are_looked_at() -> None:
    large = parcel()
    large.items.extend([large.items[0]] * 997)
    with pytest.raises(Refusal, match="10989 items together; at most 10000 are accepted"):
        await quotes(*[large] * 11)
    (told,) = await quotes(large)
    assert (told.reason, len(told.lines) >= 999) == ("", True)


async def test_one_quote_does_not_wait_for_a_thousand_that_were_asked_before() -> None:
    ended = []

    async def ask(count: int) -> None:
        assert [each.reason for each in await quotes(*[parcel()] * count)] == [""] * count
        ended.append(count)

    await asyncio.gather(ask(300), ask(1))
    assert ended == [1, 300]
