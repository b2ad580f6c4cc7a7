"""A vendor's return against the statement of its scheme number, difference by difference.

The oracle is the form of the monthly return of the import scheme (Directive 2006/112/EC, article 369t): for each Member State of consumption and
rate the taxable amount, the rate and the tax.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libs.client.errors import LuxorError
from libs.client.revenue.accounting.vendor_return import compare, read_return

HEAD = "number,period,country,rate,taxable,currency,tax\n"
DE = "IM2760000014,2026-11,DE,19,1000.00,EUR,190.00\n"


def returned(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "return.csv"
    path.write_text(HEAD + "".join(lines))
    return path


def total(country: str, minor: int, consignments: int = 1, kind: str = "CHARGE_KIND_TAX") -> dict[str, Any]:
    return {"destination": country, "kind": kind, "consignments": consignments, "amount_minor": minor}


def differences(tmp_path: Path, lines: list[str], totals: list[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    found = compare(read_return(returned(tmp_path, *lines)), totals)
    assert all(each["difference_minor"] == each["return_minor"] - each["expected_minor"] for each in found)
    return [(each["reason"], each["country"], each["return_minor"], each["expected_minor"]) for each in found]


def test_a_return_with_the_sums_of_the_statement_has_no_difference(tmp_path: Path) -> None:
    lines = [DE, "IM2760000014,2026-11,DE,7,100.00,EUR,7.00\n", "IM2760000014,2026-11,FR,5.5,100.00,EUR,5.50\n"]
    totals = [
        total("DE", 19_700),
        total("FR", 550),
        total("DE", 300, kind="CHARGE_KIND_DUTY"),
        total("", -19_700, kind=""),
    ]
    assert differences(tmp_path, lines, totals) == []


def test_each_kind_of_difference_is_named_with_both_sides(tmp_path: Path) -> None:
    lines = [
        DE,
        "IM2760000014,2026-11,FR,20,100.00,EUR,20.00\n",
        "IM2760000014,2026-11,IT,22,100.00,EUR,20.00\n",
    ]
    totals = [total("DE", 18_999), total("IT", 2_000), total("NL", 2_100)]
    assert differences(tmp_path, lines, totals) == [
        ("AMOUNT_DIFFERS", "DE", 19_000, 18_999),
        ("EXTRA", "FR", 2_000, 0),
        ("RATE_DIFFERS", "IT", 2_000, 2_200),
        ("MISSING", "NL", 0, 2_100),
    ]


@pytest.mark.parametrize(
    ("tax", "consignments", "differs"),
    [
        ("190.00", 1, False),
        ("190.01", 1, True),
        ("190.01", 2, False),
        ("190.02", 2, True),
        ("189.99", 2, False),
        ("189.98", 3, True),
    ],
)
def test_rounding_of_half_a_unit_for_each_consignment_is_no_difference(
    tmp_path: Path, tax: str, consignments: int, differs: bool
) -> None:
    minor = int(tax.replace(".", ""))
    found = differences(tmp_path, [DE.replace("190.00", tax)], [total("DE", minor, consignments)])
    assert found == ([("RATE_DIFFERS", "DE", minor, 19_000)] if differs else [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (DE.replace("2026-11", "2026-13"), "'2026-13', which is no month"),
        (DE.replace("2026-11", "11-2026"), "'11-2026', which is no month"),
        (DE.replace("IM2760000014", ""), "has no scheme number"),
        (DE.replace("DE,", "XX,"), "'XX', which is no code"),
        (DE.replace(",19,", ",100.1,"), "'100.1', which is no percentage"),
        (DE.replace(",19,", ",-1,"), "'-1', which is no percentage"),
        (DE.replace(",19,", ",NaN,"), "'NaN', which is no percentage"),
        (DE.replace(",19,", ",19%,"), "'19%', which is no percentage"),
        (DE.replace("1000.00", "1.000,00"), "cells"),
        (DE.replace("1000.00", "many"), "taxable amount that is none"),
        (DE.replace("190.00", "1e3"), "amount that is none"),
        (DE.replace("EUR", "EUX"), "amount that is none"),
        (DE + DE, "DE at 19 % for the second time"),
        (
            DE + DE.replace("2026-11", "2026-10").replace("DE,", "FR,"),
            "the period '2026-10', and the first line '2026-11'",
        ),
        (DE + DE.replace("EUR", "USD").replace("DE,", "FR,"), "the currency 'USD', and the first line 'EUR'"),
        (DE + DE.replace("IM2760000014", "IM1").replace("DE,", "FR,"), "the number 'IM1'"),
        ("", "has no lines"),
    ],
)
def test_a_file_that_is_no_return_is_refused_with_line_value_and_reason(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(LuxorError) as error:
        read_return(returned(tmp_path, line))
    assert error.value.reason == "RETURN_FILE_WRONG"
    assert why in error.value.sentence
    place = f"return.csv:{1 + line.count(chr(10))}" if line else "return.csv"
    assert place in error.value.sentence
