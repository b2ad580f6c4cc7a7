"""Charges by hand: grossing up, shares, minima together, seasons, quantities; and the bounds of what can be computed."""

from datetime import date

import numpy as np
import pytest

from libs.columns import Strings
from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.arithmetic import LARGEST
from services.revenue.law.batch.reasons import Note
from services.revenue.law.batch.units import Measure
from services.revenue.law.program.expressions import Expressions, Scaling
from services.revenue.law.source.rates import parse_expression
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.law.text.explanation import explain
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.charge_law import ERIADOR, eriador
from tests.revenue.law.oracle_charges import Consignment, Item

PROGRAM = eriador()
SUMMER = date(2021, 7, 1)


def amounts(filed: Consignment) -> dict[str, int]:
    result = assessed(PROGRAM, [filed])[0]
    assert result.problem == "NONE"
    return {f"{line.charge.split('.')[1]}": line.amount for line in result.charges}


def test_a_tax_in_its_own_base_is_grossed_up_and_a_share_of_it_levied() -> None:
    # 70 % of 17 % of (60.00 + 12.5 % of 60.00) / (1 - 17 % - 7.7 %) = 67.50 / 0.753 * 0.119 = 10.667…
    assert amounts(Consignment("XC", SUMMER, [Item(6000, code="33")]))["sugar"] == 1067


def test_the_season_of_the_day_of_law_counts() -> None:
    # 70 % of 67.50 / (1 - 15 % - 7.7 %) * 15 % in summer, of 67.50 / (1 - 7.25 % - 7.7 %) * 7.25 % in winter.
    assert amounts(Consignment("XC", date(2021, 10, 31), [Item(6000, code="22")]))["sugar"] == 917
    assert amounts(Consignment("XC", date(2021, 11, 1), [Item(6000, code="22")]))["sugar"] == 403


def test_the_rate_of_a_season_has_the_reference_of_the_rate_that_it_is_a_part_of() -> None:
    goods = [Item(20_000, code="080510", net_mass_mg=1_000_000), Item(6000, code="22")]
    lines = assessed(PROGRAM, [Consignment("XC", SUMMER, goods)])[0].charges
    assert [(line.reference, line.rate) for line in lines if line.charge == "XY.duty" and not line.item] == [
        ("XY:xy/act", "free")
    ]
    written = "7.25 % from 01-11 to 30-04, reference: "
    doubted = eriador(ERIADOR.replace(f"{written}act", f"{written}doubt", 1))
    for law, reference in ((PROGRAM, "XY:act"), (doubted, "XY:doubt")):
        result = assessed(law, [Consignment("XC", SUMMER, [Item(6000, code="22")])])[0]
        assert result.charges[0].reference == reference
        assert ("UNVERIFIED_VALUE" in result.notes) == (law is doubted)


def test_only_what_is_beyond_the_limit_is_charged() -> None:
    # 20 % of 250.00 - 150.00, shared 4 to 1.
    done = assessed(PROGRAM, [Consignment("XC", SUMMER, [Item(20_000, code="99"), Item(5_000, code="99")])])[0]
    assert [(line.basis, line.amount) for line in done.charges if line.charge == "XY.simple"] == [
        (8000, 1600),
        (2000, 400),
    ]


def test_small_sums_are_waived_together_and_leave_later_bases() -> None:
    # Duty of 3.3 % on 90.00 is 2.97, rounded to 2.95; tax on 90.00 + 9.00 + 2.95 is 7.85: together not above 20.00.
    filed = Consignment("XC", SUMMER, [Item(9_000, code="85", quantity_milli=1000, unit="H87")])
    done = assessed(PROGRAM, [filed])[0]
    assert {line.charge: (line.amount, line.waived) for line in done.charges} == {
        "XY.duty": (0, True), "XY.vat": (0, True), "XY.late": (10, False),
    }  # fmt: skip


def test_a_quantity_that_is_not_told_is_a_problem_and_a_quantity_without_unit_is_noted() -> None:
    law = date(2023, 5, 1)
    assert assessed(PROGRAM, [Consignment("XC", law, [Item(10_000, code="24")])])[0].problem == "QUANTITY_MISSING"
    done = assess(PROGRAM, filings([Consignment("XC", law, [Item(40_000, code="24", quantity_milli=24_000)])]))
    line = next(line for line in explain(done, 0).lines if " duty of " in line)
    # 24 pieces at 0.50 EUR = 12.00 EUR, between 2.7 % and 4.6 % of 400.00 EUR.
    assert (
        "0.50 EUR per piece min 2.7 % max 4.6 % on 400.00 EUR and 24 pieces, the consignment's sum rounded to 0.05 EUR = 12.00 EUR"
        in line
    )
    assert Note(int(done.notes[0])) & Note.UNIT_ASSUMED


def test_a_code_without_a_rate_is_a_problem_where_the_tariff_has_no_default() -> None:
    assert (
        assessed(PROGRAM, [Consignment("XC", date(2023, 5, 1), [Item(10_000, code="99")])])[0].problem == "NO_DUTY_RATE"
    )


def test_an_answer_tells_rate_quantity_and_unit_of_each_charge() -> None:
    filed = Consignment("XC", SUMMER, [Item(40_000, code="0810", net_mass_mg=1_200_000)])
    nobody = Strings.of([""])
    charges = answer_of(assess(PROGRAM, filings([filed])), nobody, nobody).child("charges")
    told = list(
        zip(charges.strings("charge").tolist(), charges.strings("rate").tolist(), charges.strings("unit").tolist(),
            charges.ints("quantity").values.tolist(), charges.strings("sentence").tolist(), strict=True)
    )  # fmt: skip
    assert told[0] == ("XY.weight", "0.37 EUR per kilogram", "kilogram", 1_500_000, "by_expression")
    assert told[1] == ("XY.duty", "8 % + 30.00 EUR per 100 kg", "kilogram", 1_200_000, "by_expression")
    assert charges.ints("rate_ppm").valid.tolist() == [False, False, True, True]


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_what_int64_does_not_hold_is_computed_all_the_same_and_refused_over_the_bound(mode: int) -> None:
    expressions = Expressions()
    number = expressions.number(parse_expression("8 % + 30.00 EUR per 100 kg"))
    expressions.close()
    basis = np.array([LARGEST, LARGEST * 12, 1, LARGEST * 13], dtype=np.int64)
    mass = np.array([10**14, 0, 10**18, 10**18], dtype=np.int64)
    scale = np.full(4, 999_983, dtype=np.int64)
    refused = np.zeros(4, dtype=np.bool_)
    scaling = Scaling(base_multiplier=scale, base_divisor=scale, share_numerator=scale, share_denominator=scale)
    done = expressions.levied(
        np.full(4, number),
        basis,
        {Measure.NET_MASS: mass}.__getitem__,
        scaling,
        np.full(4, mode),
        np.ones(4, np.int64),
        refused,
    )
    by_mass = 10**18 * 3000 // 10**8
    assert done.tolist() == [LARGEST * 8 // 100 + 10**14 * 3000 // 10**8, LARGEST * 96 // 100, by_mass + (mode == 3), 0]
    assert refused.tolist() == [False, False, False, True]


def test_an_amount_over_the_bound_refuses_its_consignment_and_no_other() -> None:
    dear = ERIADOR.replace("rate: 0.37 EUR per kilogram", "rate: 99999.99 EUR per kilogram")
    batch = [
        Consignment("XC", SUMMER, [Item(100, code="08", net_mass_mg=10**14), Item(100, code="49")]),
        Consignment("XC", SUMMER, [Item(100, code="08", net_mass_mg=10**6)]),
    ]
    done = assessed(eriador(dear), batch)
    assert [each.problem for each in done] == ["NONE", "NONE"]
    assert done[0].charges[0].amount == 10**8 * 9_999_999
    dearer = eriador(dear.replace("99999.99", "999999.99"))
    assert [each.problem for each in assessed(dearer, batch)] == ["AMOUNT_OUT_OF_BOUNDS", "NONE"]
