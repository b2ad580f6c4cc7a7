"""Limits, conditions, reliefs, sums and schemes at their edges: the columns judge as the scalar law does, and as a count by hand."""

from datetime import date
from itertools import product

import numpy as np
import pytest

from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import assess, measures_of, prepare
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.program.plans import plan_of
from services.revenue.law.source.rulebook import AGGREGATE_TESTS
from tests.revenue.law.batches import filings, results
from tests.revenue.law.limit_law import DAY, LIMITS, REGISTER, REGISTERED, law
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item


def priced(*prices: int, currency: str = "EUR", **more: object) -> Consignment:
    return Consignment("XA", DAY, [Item(price, currency, "61") for price in prices], **more)  # type: ignore[arg-type]


def batch() -> list[Consignment]:
    found = [priced(price, day_more) for price, day_more in product((14_999, 15_000, 15_001), (0, 1))]
    found += [Consignment("XB", date(2022, 5, day), [Item(15_000 + more)]) for day in (4, 5, 6) for more in (-1, 0, 1)]
    # 100.00 USD are 95.238 EUR by the rulebook's table and 80.00 EUR by the other, which has no USD after 2023 and no KWD.
    for price, currency, day in product(
        (7_999, 8_000, 8_001, 9_523, 9_524, 9_525, 9_999, 10_000, 10_001),
        ("EUR", "USD", "KWD"),
        (DAY, date(2024, 5, 5)),
    ):
        found.append(Consignment("XA", day, [Item(price, currency, "61")], mode="air" if price % 2 else "sea"))
    for freight, insurance in product(
        (None, (0, "JPY"), (1, "USD"), (500, "USD"), (5, "EUR")),
        (None, (1, "USD"), (499, "USD"), (500, "USD"), (1, "JPY")),
    ):
        found.append(
            Consignment("XA", DAY, [Item(9_000, "USD"), Item(500, "USD")], freight=freight, insurance=insurance)
        )
        found.append(
            Consignment(
                "XB",
                DAY,
                [Item(9_000, "USD"), Item(500, "EUR")],
                freight=freight,
                insurance=insurance,
                includes_tax=True,
            )
        )
        found.append(
            Consignment("XB", DAY, [Item(52_500, "USD")], freight=freight, clearance_fee=insurance, consignee="natural")
        )
    # 90.00 AUD at 1.05 are 85.71 EUR, whose number is the first of the table's and the first of its days.
    for price, currency, day in product(
        (8_571, 8_572, 8_999, 9_000, 9_001), ("AUD", "EUR", "USD"), (DAY, date(2021, 5, 5), date(2022, 2, 1))
    ):
        insurance = (1, "AUD") if price % 2 else None
        found.append(Consignment("XA", day, [Item(price, currency, "61")], insurance=insurance))
        found.append(
            Consignment("XB", day, [Item(price // 2, currency, "61")] * 2, nature="sample", consignor="natural")
        )
    # A relief of 47.25 AUD, 45.00 EUR, is the first of the first law.
    for worth, day in product((4_499, 4_500, 4_501, 4_725, 4_726), (DAY, date(2021, 5, 5))):
        found.append(Consignment("XA", day, [Item(worth, "EUR", "61"), Item(1, "EUR", "22")], nature="gift"))
    for worth, day in product((1_903, 1_904, 1_905, 2_000, 2_001), (DAY, date(2021, 5, 5))):
        found.append(
            Consignment("XB", day, [Item(worth, "EUR", "61", origin="CN")], nature="sample", consignor="natural")
        )
    for fee_minor in (4_999, 5_000, 5_001):
        found.append(priced(100, clearance_fee=(fee_minor, "EUR")))
    for codes in (("61", "22"), ("24", "61"), ("2403", "61"), ("2402", "22"), ("61", "61"), ("", "2")):
        for price, dispatch, mode, nature in product(
            (7_999, 8_000, 8_001, 9_999, 10_000, 10_001), ("CN", "US"), ("air", "sea"), ("gift", "sale")
        ):
            items = [Item(price, "EUR", codes[0]), Item(price, "EUR", codes[1])]
            found.append(Consignment("XA", DAY, items, dispatch=dispatch, mode=mode, nature=nature))
        found.append(Consignment("XA", DAY, [Item(8_400, "USD", code) for code in codes], mode="rail"))
        found.append(
            Consignment("XA", DAY, [Item(7_999 + place, "USD", code) for place, code in enumerate(codes)], mode="rail")
        )
    # Gifts of 45.00 EUR, samples of 20.00 USD (19.05 EUR): whole items in their order.
    for nature, consignor, origin in product(("gift", "sample", "return"), ("natural", "legal", ""), ("CN", "DE")):
        for worth in ((4_500,), (4_501,), (4_000, 600, 500), (1_904, 1), (1_905,), (1_906, 1_000), (0, 0)):
            found.append(
                Consignment(
                    "XA",
                    DAY,
                    [Item(price, "EUR", "61", origin=origin) for price in worth],
                    nature=nature,
                    consignor=consignor,
                )
            )
            found.append(
                Consignment(
                    "XA",
                    DAY,
                    [
                        Item(price, "USD", code, origin="US")
                        for price, code in zip(worth, ("22", "24", "61"), strict=False)
                    ],
                    nature=nature,
                )
            )
    # Conditions.
    for mode, service, place in product(
        ("", "air", "post", "sea", "rail"), ("", "express", "post"), ("", "CNSHA", "USNYC")
    ):
        found.append(priced(500, mode=mode, service=service, direct_shipment_place=place, dispatch="DE"))
    for region in ("", "ON", "on", "CA-ON", " ca - on ", "minas  gerais", "br-MG", "MG", "Ontario"):
        found.append(priced(500, region=region))
    for consignor, consignee in product(("", "natural", "legal"), repeat=2):
        found.append(priced(500, consignor=consignor, consignee=consignee))
    for nature, milli, unit in product(("document", "sale"), (None, 1, 1_000, 1_001, 2_000), ("", "H87", "KGM", "DZN")):
        found.append(Consignment("XB", DAY, [Item(500, "EUR", "61", quantity_milli=milli, unit=unit)], nature=nature))
    for code, origin, preference in product(
        ("", "61", "6109", "610", "2203", "99"), ("", "CN", "US", "DE"), ("", "2", "20", "3", "30", "301", "1")
    ):
        found.append(
            Consignment(
                "XB",
                DAY,
                [Item(500, "EUR", code, preference, origin=origin), Item(1, gift=True, code=code)],
                mode="air" if origin else "sea",
            )
        )
    for own, whole in product(((), ("F15",), ("C08", "C07")), ((), ("F15",), ("A00",))):
        found.append(Consignment("XB", DAY, [Item(500, procedures=own), Item(500)], procedures=whole))
    for preference, schemes in product(
        ("", "2", "200", "3", "40", "9", "5"), ([], [("voec", "1234567")], [("ioss", "IM2760000014")], [("voec", "1")])
    ):
        items = [Item(500, "EUR", "61", preference), Item(500, "EUR", "6109")]
        found += [
            Consignment("XA", DAY, items, schemes=schemes),
            Consignment("XB", DAY, [Item(30_000, "EUR", "61", preference)], schemes=schemes),
        ]
    # Schemes, of several numbers the best; registered from the first to the last of May.
    numbers = [("ioss", "IM2760000014"), ("ioss", "IM2760000014-EU1"), ("ioss", "IM2760000015"), ("ioss", "IM2500000017"), ("ioss", ""),
    ("voec", "1234567"), ("voec", "1"),
               ("gst_lvg", "12345678901"), ("gst_lvg", "1")]  # fmt: skip
    for one, other, day in product(
        numbers, [*numbers, None], (date(2022, 4, 30), date(2022, 5, 1), date(2022, 5, 31), date(2022, 6, 1))
    ):
        told = [one, other] if other else [one]
        found.append(
            Consignment(
                "XA",
                day,
                [Item(15_000)],
                schemes=told,
                mode="air" if other else "road",
                service="post" if day.day > 1 else "",
            )
        )
    for day in (date(2022, 5, 5), date(2022, 5, 6)):
        for origin, mode in product(("CN", "US", "", "DE"), ("sea", "air")):
            found.append(
                Consignment(
                    "XA", day, [Item(30_000, "EUR", "22", origin=origin), Item(1, "EUR", "61", origin="US")], mode=mode
                )
            )
            found.append(Consignment("XB", day, [Item(1_000, "EUR", "22", origin=origin)], mode=mode))
    return found


@pytest.mark.parametrize("more_conditions", [0, 30])
def test_every_edge_of_the_limits_is_that_of_the_scalar_law(more_conditions: int) -> None:
    program, filed = law(more_conditions), batch()
    assert plan_of(program, np.arange(len(program.regimes.jurisdiction))).keyed is not bool(more_conditions)
    scalar = Scalar(program, REGISTERED)
    alone = [scalar.assess(consignment) for consignment in filed]
    for place, columns in enumerate(results(assess(program, filings(filed), register=REGISTER))):
        assert columns == alone[place], filed[place]
    # A few at a time they come out alike.
    for first in range(0, len(filed), 89):
        part = slice(first, first + 4)
        assert results(assess(program, filings(filed[part]), register=REGISTER)) == alone[part]


def test_of_consignments_of_one_day_each_is_tested_by_its_own_table_and_its_own_rates() -> None:
    # 80.00 EUR are 11,200 yen by the one table and 12,105 by the other.
    codes = ("33", "85", "95", "6404", "61", "")
    filed = [
        Consignment("XA", DAY, [Item(price, "JPY", code) for code in codes], mode=mode)
        for price, mode in product((1_866, 1_867, 1_868, 2_017, 2_018), ("sea", "air", "sea", "road"))
    ]
    filed += [
        Consignment("XA", DAY, [Item(8_500, "EUR", code)], mode=mode) for code, mode in product(codes, ("sea", "air"))
    ]
    scalar = Scalar(law(), REGISTERED)
    for consignment, columns in zip(filed, results(assess(law(), filings(filed), register=REGISTER)), strict=True):
        assert columns == scalar.assess(consignment), consignment


@pytest.mark.parametrize("worth", [10_000, 29_999, 30_000])
def test_what_others_count_is_added_to_the_limits_of_sums_alone(worth: int) -> None:
    names, scalar = list(LIMITS), Scalar(law(), REGISTERED)
    consignment = Consignment("XA", DAY, [Item(worth, code="61")], consignee="natural", clearance_fee=(2_000, "EUR"))
    cases = [dict.fromkeys(names, amount) for amount in (0, 1, 2_999, 3_000, 3_001, 20_000, 20_001, 2**61, 2**62)]
    cases += [{name: 40_000} for name in names]
    filed = [consignment] * len(cases)
    others = np.array([[case.get(name, 0) for name in names] for case in cases], dtype=np.int64)
    unnamed = np.array([[bool(place % 2)] * len(names) for place in range(len(cases))])
    done = assess(law(), filings(filed), LimitAggregates(others, unnamed), REGISTER)
    for place, (case, columns) in enumerate(zip(cases, results(done), strict=True)):
        assert columns == scalar.assess(consignment, case, frozenset(names) if place % 2 else frozenset()), case
    below = np.full((1, len(names)), -5, dtype=np.int64)
    assert results(assess(law(), filings([consignment]), LimitAggregates(below), REGISTER)) == [
        scalar.assess(consignment)
    ]


def test_what_a_consignment_counts_towards_sums_is_told_by_limit_and_row() -> None:
    filed = [
        Consignment("XA", DAY, [Item(1_000), Item(500)], freight=(30, "EUR"), clearance_fee=(7, "EUR"), consignee="natural"),
        Consignment("XX", DAY, [Item(1)]),
        Consignment("XB", date(2022, 6, 1), [Item(210, "USD")], clearance_fee=(9, "EUR")),
    ]  # fmt: skip
    measures = measures_of(law(), prepare(law(), filings(filed), REGISTER))
    told = [
        (int(measures.row[at]), measures.limit_name(law(), at), AGGREGATE_TESTS[int(measures.test[at])], int(measures.amount[at]),
        int(measures.most[at]), int(measures.day[at]))
        for at in range(len(measures.row))
    ]  # fmt: skip
    first, last = day_of_date(DAY), day_of_date(date(2022, 6, 1))
    # 2.10 USD at 1.05 are 2.00 EUR; 500.00 USD are 476.19 EUR.
    assert told == [
        (0, "order", "order", 1_500, 30_000, first), (2, "order", "order", 200, 30_000, last),
        (0, "year", "person_year", 1_530, 47_619, first),
        (0, "craft", "importer_craft", 7, 5_000, first), (2, "craft", "importer_craft", 9, 5_000, last),
    ]  # fmt: skip
