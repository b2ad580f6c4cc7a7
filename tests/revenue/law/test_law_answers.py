"""Answers and explanations as a whole: each column as the contract describes it, each sentence with figures that hold."""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from libs.columns import Bools, Ints, Ragged, Strings
from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import assess
from services.revenue.law.program.program import Program
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.law.text.explanation import explain
from tests.revenue.law import lawbooks
from tests.revenue.law.batches import filings
from tests.revenue.law.charge_law import eriador
from tests.revenue.law.lawbooks import utopia
from tests.revenue.law.oracle_charges import Consignment, Item

MAY, JULY = date(2022, 5, 5), date(2021, 7, 1)
UTOPIA, ERIADOR = utopia(), eriador()
OVER = Consignment(
    "XB", MAY, [Item(12_000, "USD", "61"), Item(8_000, "EUR", "")], freight=(100, "EUR"), mass_mg=1_234_567
)
BY_VENDOR = Consignment(
    "XA", MAY, [Item(5_000, "EUR", "611020"), Item(5_000, "EUR", "611020")], schemes=[("voec", "1234567")]
)
FRUIT = Consignment("XC", JULY, [Item(30_000, "EUR", "08", net_mass_mg=1_234_567), Item(9_000, "EUR", "6110", quantity_milli=2_500, unit="NPR"),
                                 Item(20_000, "EUR", "99")], mode="air", service="post")  # fmt: skip


def told(column: object) -> list[Any]:
    if isinstance(column, Strings):
        return column.tolist()
    if isinstance(column, Ints | Bools):
        return [
            value if there else None for value, there in zip(column.values.tolist(), column.valid.tolist(), strict=True)
        ]
    assert isinstance(column, Ragged)
    return [told(column.values)[slice(*column.span(row).indices(10**9)[:2])] for row in range(len(column.offsets) - 1)]


def columns(
    law: Program, batch: Sequence[Consignment], declarants: Sequence[str]
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Give what an answer says of consignments, and of their charges."""
    answer = answer_of(assess(law, filings(batch)), Strings.of(list(declarants)), Strings.of(["shop"] * len(batch)))
    of_rows = {name: told(column) for name, column in answer.columns.items() if name != "charges"}
    of_rows["charges"] = answer.ragged("charges").offsets.tolist()
    return of_rows, {name: told(column) for name, column in answer.child("charges").columns.items()}


def test_an_answer_holds_every_column_of_consignments_and_charges() -> None:
    rows, charges = columns(UTOPIA, [OVER, Consignment("XX", MAY, [Item(1)]), BY_VENDOR], ["broker", "", "x"])
    version = f"XX/1/{hashlib.sha256(lawbooks.UTOPIA.encode()).hexdigest()[:8]}"
    # 120.00 USD at 1.05 are 114.285…, half-even to 0.05; freight of 1.00 is shared 11430 to 8000.
    assert rows == {
        "reason": ["", "NO_RULEBOOK", ""], "currency": ["EUR", "", "EUR"], "intrinsic_value": [19_430, None, 10_000],
        "customs_value": [19_530, None, 10_000], "duty": [1_140, None, 0], "tax": [5_501, None, 784], "fee": [898, None, 177],
        "collected_by_customs": [7_539, None, 177], "collected_by_vendor": [0, None, 784], "collected_by_carrier": [0, None, 0],
        "collected_by_postal_operator": [0, None, 0], "deferred_account": ["", "", ""], "rulebook_version": [version, "", version],
        "exchange_day": [day_of_date(MAY), None, day_of_date(MAY)],
        "notes": [["OVER_LIMIT", "INSURANCE_NOT_DECLARED", "UNVERIFIED_VALUE", "DATE_NOT_DECLARED", "BELOW_MINIMUM"], [],
                  ["WITHIN_LIMIT", "FREIGHT_NOT_DECLARED", "INSURANCE_NOT_DECLARED", "UNVERIFIED_VALUE", "DATE_NOT_DECLARED", "BELOW_MINIMUM"]],
        "generation": [0, None, 0], "reviewed": [0, None, 0], "item_customs_values": [[11_488, 8_042], [], [5_000, 5_000]], "charges": [0, 8, 8, 14],
    }  # fmt: skip
    act, up, vendor = "XX:act", 4, "vendor:1234567"
    assert charges == {
        "item_number": [None, None, 1, 2, 1, 2, 1, 2, None, 1, 1, 2, 1, 2],
        "charge": [f"XX.{name}" for name in ("levy", "stamp", "duty", "flat", "piece", "piece", "vat", "vat", "stamp", "flat", "piece",
            "piece", "vat", "vat")],
        "kind": [3, 3, 1, 1, 3, 3, 2, 2, 3, 1, 3, 3, 2, 2],
        # The mass rounded up to 100 g; the duty's base rounded down to 1.00; customs value, duty and fees bear tax.
        "basis": [1_300_000, None, 11_400, None, None, None, 13_150, 8_418, None, None, None, None, 5_088, 5_089],
        "rate_ppm": [None, None, 100_000, None, None, None, 255_000, 255_000, None, None, None, None, 77_000, 77_000],
        # 7.00 USD are 6.666… EUR, half-even to 0.05.
        "specific_minor": [128, 665, None, 300, 33, 33, None, None, 111, 300, 33, 33, None, None],
        "amount": [167, 665, 1_140, 0, 33, 33, 3_354, 2_147, 111, 0, 33, 33, 392, 392],
        "currency": ["EUR"] * 14,
        "collector": [1] * 12 + [2, 2],
        "debtor": [1, 1, 1, 1, 1, 1, 4, 4, 1, 3, 1, 1, 2, 2],
        "scheme": [0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 3, 3],
        "reference": [act, act, "XX:xx/act", *[act] * 11],
        "collection_reference": [act] * 14,
        "rounding": [up, 0, 1, 0, 0, 0, up, up, 0, 0, 0, 0, up, up],
        "rounding_unit": [1, None, 10, None, None, None, 1, 1, None, None, None, None, 1, 1],
        "rounding_reference": [act, "", act, "", "", "", act, act, "", "", "", "", act, act],
        "sentence": ["per_kilogram", "per_consignment", "percent_by_tariff", "per_tariff_line_waived", "per_item", "per_item", "percent", "percent",
                     "per_consignment", "per_tariff_line_waived", "per_item", "per_item", "percent", "percent"],
        "account": [*["declarant:broker"] * 6, "border:XB", "border:XB", *["declarant:x"] * 4, vendor, vendor],
        "rate": ["1.28 EUR per kilogram", "7.00 USD per consignment", "10 %", "3.00 EUR per tariff_line", *["0.33 EUR per item"] * 2,
            "25.5 %", "25.5 %",
                 "1.11 EUR per consignment", "3.00 EUR per tariff_line", *["0.33 EUR per item"] * 2, "7.7 %", "7.7 %"],
        "quantity": [1_300_000, *[None] * 13], "unit": ["kilogram", *[""] * 13], "unverified": [True] * 14,
        "forgone": [None, None, None, 300, None, None, None, None, None, 300, None, None, None, None],
    }  # fmt: skip


def test_rates_of_several_parts_are_told_with_their_quantities_and_the_whole_is_reviewed() -> None:
    rows, charges = columns(ERIADOR, [FRUIT], [""])
    assert rows["notes"] == [
        ["OVER_LIMIT", "FREIGHT_NOT_DECLARED", "INSURANCE_NOT_DECLARED", "DEFAULT_DUTY_RATE", "BELOW_MINIMUM"]
    ]
    assert rows["reviewed"] == [rows["duty"][0] + rows["tax"][0] + rows["fee"][0]] == [19_043]
    assert {name: values[:5] for name, values in charges.items()} == {
        "item_number": [None, 1, 1, 2, 3], "charge": ["XY.stamp", "XY.weight", "XY.duty", "XY.duty", "XY.duty"], "kind": [3, 3, 1, 1, 1],
        # 0.37 EUR on 1.5 kg; 8 % of 300.00 and 30.00 EUR on 1.234567 hundredths of 100 kg; 12 % of 90.00 within 5.00 to 12.50; 3.3 % of 200.00;
        # the duties of 24.37, 10.80 and 6.60 sum to 41.77, rounded to 41.75.
        "basis": [None, 0, 30_000, 9_000, 20_000], "rate_ppm": [None, None, None, None, 33_000], "specific_minor": [150, None, None, None, None],
        "amount": [0, 56, 2_435, 1_080, 660], "currency": ["EUR"] * 5, "collector": [1] * 5, "debtor": [1] * 5, "scheme": [0] * 5,
        "reference": ["XY:act", "XY:act", *["XY:xy/act"] * 3], "collection_reference": ["XY:act"] * 5, "rounding": [0, 4, 3, 3, 3],
        "rounding_unit": [None, 1, 1, 1, 1], "rounding_reference": ["", *["XY:act"] * 4],
        "sentence": ["per_consignment_waived", "by_expression", "by_expression", "by_expression", "percent_by_default"],
            "account": ["declarant:shop"] * 5,
        "rate": ["1.50 EUR per consignment", "0.37 EUR per kilogram", "8 % + 30.00 EUR per 100 kg",
            "12 % min 2.00 EUR per pair max 5.00 EUR per pair", "3.3 %"],
        "quantity": [None, 1_500_000, 1_234_567, 2_500, None], "unit": ["", "kilogram", "kilogram", "pair", ""], "unverified": [False] * 5,
        "forgone": [150, None, None, None, None],
    }  # fmt: skip


CUSTOMS = "owed by the declarant to customs."
UTOPIAN, ERIADORIAN = "in Utopia, an invented country (XX:act).", "in Eriador, an invented country (XY:act)."
NO_FREIGHT, NO_INSURANCE = (
    "No freight declared: it is assumed to be included in the price.",
    "No insurance declared: it is assumed to be included in the price.",
)
NO_DATE = "The date that the law names is not declared: the day of acceptance was used."
WAIVED = "Amounts below the minimum of the law were waived."
FLAT = "Item 1: flat duty of 3.00 EUR, once for each tariff classification in the consignment, would be 3.00 EUR (not levied: the sum is too small),"
EXPLAINED: list[tuple[Program, Consignment, list[str], list[str], list[str]]] = [
    (UTOPIA, OVER, [
        f"Consignment: levy by weight of 1.28 EUR per kilogram on 1.3 kg = 1.67 EUR, {CUSTOMS}",
        f"Consignment: stamp of 6.65 EUR per consignment = 6.65 EUR, {CUSTOMS}",
        f"Item 1: duty of 10 % on 114.00 EUR, by the tariff's rate for the commodity code, the base rounded to 1.00 EUR, = 11.40 EUR, {CUSTOMS}",
        f"{FLAT.replace('Item 1', 'Item 2')} {CUSTOMS}",
        f"Item 1: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        f"Item 2: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        "Item 1: tax of 25.5 % on 131.50 EUR = 33.54 EUR, owed by the consignee to customs.",
        "Item 2: tax of 25.5 % on 84.18 EUR = 21.47 EUR, owed by the consignee to customs.",
    ], [
        "The goods are worth 194.30 EUR without transport and tax.",
        f"That is over the limit of 100.00 EUR for an item {UTOPIAN}",
        f"That is within the limit of 300.00 EUR for a consignment {UTOPIAN}",
        "Converted at 1 EUR = 1.05 USD of 2022-05-05, an unverified example rate.",
        WAIVED,
    ], [NO_INSURANCE, NO_DATE]),
    (UTOPIA, BY_VENDOR, [
        f"Consignment: stamp of 1.11 EUR per consignment = 1.11 EUR, {CUSTOMS}",
        f"{FLAT} owed by the carrier to customs.",
        f"Item 1: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        f"Item 2: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        'Item 1: tax of 7.7 % on 50.88 EUR = 3.92 EUR, collected by the seller or platform at the sale under the scheme "VOEC".',
        'Item 2: tax of 7.7 % on 50.89 EUR = 3.92 EUR, collected by the seller or platform at the sale under the scheme "VOEC".',
    ], [
        "The goods are worth 100.00 EUR without transport and tax.",
        f"That is within the limit of 100.00 EUR for an item {UTOPIAN}",
        f"That is within the limit of 300.00 EUR for a consignment {UTOPIAN}",
        WAIVED,
    ], [NO_FREIGHT, NO_INSURANCE, NO_DATE]),
    (UTOPIA, Consignment("XA", MAY, [Item(60_000, "JPY", "85")], insurance=(5, "KWD"), clearance_fee=(0, "USD"), includes_tax=True), [
        # 600 yen hold 7.7 %: 557.10, of which 557.10 / 1.5131 are 368.18…; insurance of 0.005 KWD is 0.00.
        f"Item 1: duty of 0 % on 368.20 EUR, by the tariff's rate for the commodity code, = 0.00 EUR, {CUSTOMS}",
        f"Item 1: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        "Item 1: tax of 7.7 % on 368.53 EUR = 28.38 EUR, owed by the consignee to customs.",
    ], [
        "The goods are worth 368.20 EUR without transport and tax.",
        f"That is over the limit of 100.00 EUR for an item {UTOPIAN}",
        "Converted at 1 EUR = 151.31 JPY of 2022-05-05, an unverified example rate.",
        "Converted at 1 EUR = 0.3333 KWD of 2022-05-05, an unverified example rate.",
        "The prices include the tax charged at the sale; it was taken out before the value was tested.",
    ], [NO_FREIGHT, NO_DATE]),
    (UTOPIA, Consignment("XA", MAY, [Item(5_000, "EUR", "611020")], schemes=[("ovr", "M12345678X")]), [
        f"Consignment: stamp of 1.11 EUR per consignment = 1.11 EUR, {CUSTOMS}",
        f"{FLAT} {CUSTOMS}",
        f"Item 1: fee per item of 0.33 EUR per item = 0.33 EUR, {CUSTOMS}",
        'Item 1: tax of 7.7 % on 51.44 EUR = 3.95 EUR, collected by the postal operator from the consignee under the scheme "OVR".',
    ], [
        "The goods are worth 50.00 EUR without transport and tax.",
        f"That is within the limit of 100.00 EUR for an item {UTOPIAN}",
        f"That is within the limit of 300.00 EUR for a consignment {UTOPIAN}",
        WAIVED,
    ], [NO_FREIGHT, NO_INSURANCE, NO_DATE]),
    (ERIADOR, Consignment("XD", JULY, [Item(20_000, "EUR", "33"), Item(5_000, "GBP", "99")], mode="sea", freight=(700, "GBP")), [
        f"Consignment: stamp duty of 2.31 EUR per consignment = 2.31 EUR, {CUSTOMS}",
        "Item 1: duty of 3.3 % on 206.32 EUR, the rate assumed because the loaded tariff has none, the consignment's sum rounded to 0.05 EUR, "
        f"= 6.80 EUR, {CUSTOMS}",
        # 70 % of 17 % of (206.32 + 6.80 + 12.5 % of it and of the stamp duty) / (1 - 17 % - 7.7 %).
        f"Item 1: excise in its own base of 17 % on 317.57 EUR, 70 % of it = 37.79 EUR, {CUSTOMS}",
        # 60 % of 114.00 less 18.46 are 49.94, together 50.00.
        "Item 1: simplified duty of 60 % on 88.23 EUR, the value above 150.00 EUR, the base of all items at this rate rounded to 1.00 EUR, "
        f"less 20.00 USD for the consignment, the consignment's sum rounded to 1.00 EUR = 38.69 EUR, {CUSTOMS}",
        "Item 2: simplified duty of 60 % on 25.77 EUR, the value above 150.00 EUR, the base of all items at this rate rounded to 1.00 EUR, "
        f"less 20.00 USD for the consignment, the consignment's sum rounded to 1.00 EUR = 11.31 EUR, {CUSTOMS}",
        f"Item 1: tax of 7.7 % on 274.22 EUR = 21.12 EUR, {CUSTOMS}",
        f"Item 2: tax of 7.7 % on 78.05 EUR = 6.01 EUR, {CUSTOMS}",
    ], [
        "The goods are worth 258.34 EUR without transport and tax.",
        f"That is over the limit of 150.00 EUR for a consignment {ERIADORIAN}",
        f"That is within the limit of 3,000.00 EUR for a consignment {ERIADORIAN}",
        f"That is over the limit of 80.00 EUR for an item {ERIADORIAN}",
        "Converted at 1 EUR = 0.8571 GBP of 2021-07-01.",
    ], [NO_INSURANCE, "The loaded tariff has no rate for a commodity code: its default was assumed."]),
    (ERIADOR, Consignment("XC", JULY, FRUIT.items[:2], mode="air", service="post"), [
        f"Consignment: stamp duty of 1.50 EUR per consignment would be 1.50 EUR (not levied: the sum is too small), {CUSTOMS}",
        f"Item 1: levy by net weight of 0.37 EUR per kilogram on 1.5 kilogram = 0.56 EUR, {CUSTOMS}",
        f"Item 1: duty of 8 % + 30.00 EUR per 100 kg on 300.00 EUR and 1.234567 kilogram, the consignment's sum rounded to 0.05 EUR = 24.35 "
        f"EUR, {CUSTOMS}",
        "Item 2: duty of 12 % min 2.00 EUR per pair max 5.00 EUR per pair on 90.00 EUR and 2.5 pairs, the consignment's sum rounded to 0.05 EUR "
        f"= 10.80 EUR, {CUSTOMS}",
        f"Item 1: simplified duty of 20 % on 185.17 EUR, the value above 150.00 EUR = 37.03 EUR, {CUSTOMS}",
        f"Item 2: simplified duty of 20 % on 55.39 EUR, the value above 150.00 EUR = 11.07 EUR, {CUSTOMS}",
        f"Item 1: tax of 7.7 % on 391.94 EUR = 30.18 EUR, {CUSTOMS}",
        f"Item 2: tax of 7.7 % on 120.87 EUR = 9.31 EUR, {CUSTOMS}",
    ], [
        "The goods are worth 390.00 EUR without transport and tax.",
        f"That is over the limit of 150.00 EUR for a consignment {ERIADORIAN}",
        f"That is within the limit of 3,000.00 EUR for a consignment {ERIADORIAN}",
        f"That is over the limit of 80.00 EUR for an item {ERIADORIAN}",
        WAIVED,
    ], [NO_FREIGHT, NO_INSURANCE]),
    (ERIADOR, Consignment("XC", date(2023, 5, 5), [Item(9_000, "EUR", "85", quantity_milli=1_000, unit="H87")]), [
        "Item 1: duty of free on 90.00 EUR, by the tariff's rate for the commodity code, the consignment's sum rounded to 0.05 EUR, would "
        f"be 0.00 EUR "
        f"(not levied: the sum is too small), {CUSTOMS}",
        f"Item 1: tax of 7.7 % on 99.00 EUR would be 7.62 EUR (not levied: the sum is too small), {CUSTOMS}",
        f"Item 1: fee on what remains of 1 % min 0.10 EUR per piece on 1 piece = 0.10 EUR, {CUSTOMS}",
    ], [
        "The goods are worth 90.00 EUR without transport and tax.",
        f"That is within the limit of 150.00 EUR for a consignment {ERIADORIAN}",
        f"That is over the limit of 80.00 EUR for an item {ERIADORIAN}",
        WAIVED,
    ], [NO_FREIGHT, NO_INSURANCE]),
    (ERIADOR, Consignment("XC", date(2023, 5, 5), [Item(4_500, "EUR", "99"), Item(9_000, "EUR", "61")], nature="gift", freight=(0, "EUR"),
    insurance=(0, "EUR")), [
        # 11 % of 90.00; tax on 45.00 and 90.00 with 10 % of each and the duty: together 22.10, over 20.00.
        "Item 2: duty of 11 % on 90.00 EUR, by the tariff's rate for the commodity code, the consignment's sum rounded to 0.05 EUR, "
        f"= 9.90 EUR, {CUSTOMS}",
        f"Item 1: tax of 7.7 % on 49.50 EUR = 3.81 EUR, {CUSTOMS}",
        f"Item 2: tax of 7.7 % on 108.90 EUR = 8.39 EUR, {CUSTOMS}",
    ], [
        "The goods are worth 135.00 EUR without transport and tax.",
        f"That is within the limit of 150.00 EUR for a consignment {ERIADORIAN}",
        f"That is over the limit of 80.00 EUR for an item {ERIADORIAN}",
        "Items are relieved, up to the amount that the law relieves (XY:act).",
    ], []),
]  # fmt: skip


@pytest.mark.parametrize(("law", "filed", "lines", "found", "assumed"), EXPLAINED, ids=range(len(EXPLAINED)))
def test_an_assessment_is_explained_in_sentences_whose_arithmetic_holds(
    law: Program, filed: Consignment, lines: list[str], found: list[str], assumed: list[str]
) -> None:
    # Behind another consignment, so that the row is not the first.
    explained = explain(
        assess(
            law, filings([Consignment(filed.destination, filed.accepted, [Item(1, code="61")] * 3, mass_mg=1), filed])
        ),
        1,
    )
    assert (explained.lines, explained.results, explained.assumed) == (lines, found, assumed)
    assert explained.references == ["XX:act" if law is UTOPIA else "XY:act"]


@pytest.mark.parametrize(
    ("filed", "reason"),
    [
        (Consignment("XX", MAY, [Item(1)]), "No law is loaded for this destination and day."),
        (Consignment("XA", MAY, []), "An item has no price with a currency, or the consignment has no items."),
        (Consignment("XA", MAY, [Item(1, "GBP")]), "No exchange rate is loaded for a currency and the day of the law."),
        (Consignment("XA", MAY, [Item(-1)]), "An amount is negative, or larger than the largest that can be assessed."),
        (Consignment("XB", MAY, [Item(1)]), "A charge is by weight, and the consignment has no gross mass."),
    ],
)
def test_what_cannot_be_assessed_is_explained_by_its_reason_alone(filed: Consignment, reason: str) -> None:
    explained = explain(assess(UTOPIA, filings([filed])), 0)
    assert (explained.lines, explained.results, explained.assumed, explained.references) == ([], [reason], [], [])
