"""Corrections by officers refuse codes that do not exist with the reasons that filings with them are refused by."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.customs.identifiers.mrn_columns import make_mrns
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.api.corrections import adjustments

(MRN,) = make_mrns(["DE"], [3], 20_668, 1)


def correcting() -> pb.Adjustment:
    told = pb.Adjustment(consignment=pb.ConsignmentRef(mrn=MRN))
    item = told.items.add(number=1, commodity_code="61091000", origin_country="EU")
    item.price.minor, item.price.currency = 1_000, "EUR"
    return told


@pytest.mark.parametrize(
    ("spoil", "reason", "path"),
    [
        (lambda each: setattr(each.items[0], "commodity_code", "6109"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
        (lambda each: setattr(each.items[0], "commodity_code", "61091000000"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
        (lambda each: setattr(each.items[0], "commodity_code", "610998"), "COMMODITY_CODE_UNKNOWN", "items[0].commodity_code"),
        (lambda each: setattr(each.items[0], "commodity_code", "851712"), "COMMODITY_CODE_WITHDRAWN", "items[0].commodity_code"),
        (lambda each: setattr(each.items[0], "origin_country", "ZZ"), "COUNTRY_UNKNOWN", "items[0].origin_country"),
        (lambda each: setattr(each.items[0].price, "currency", "DEM"), "CURRENCY_UNKNOWN", "items[0].price.currency"),
        (lambda each: setattr(each.items[0].price, "currency", ""), "CURRENCY_MISSING", "items[0].price.currency"),
        (lambda each: each.freight.MergeFrom(type(each.freight)(minor=5, currency="QQQ")), "CURRENCY_UNKNOWN", "freight.currency"),
        (lambda each: setattr(each.items[0], "quantity_unit", "QQQ"), "ADJUSTMENT_VALUE_MALFORMED", "items[0].quantity_unit"),
    ],
)  # fmt: skip
def test_a_code_that_does_not_exist_is_refused_by_name(
    spoil: Callable[[pb.Adjustment], object], reason: str, path: str
) -> None:
    good, errors = adjustments([correcting()])
    assert (list(good), errors) == ([MRN], {})
    wrong = correcting()
    spoil(wrong)
    good, errors = adjustments([wrong])
    assert good == {}
    assert (errors[0].reason, errors[0].path) == (reason, f"adjustments[0].{path}")
    assert errors[0].hint
