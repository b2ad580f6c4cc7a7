"""What the shipped law does at its edges: limits, days, schemes, missing values, amounts that do not fit."""

from datetime import date
from functools import cache

import pytest

from libs.columns import Strings
from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.assess.securities import EVERYONE
from services.revenue.law.program.program import Program
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.law.text.explanation import explain
from services.revenue.store.law_files import load_program
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.oracle_charges import Consignment, Item, Result

NOW = date(2026, 8, 3)
IOSS = [("ioss", "IM2760000014")]


@cache
def law() -> Program:
    return load_program()


def one(filed: Consignment) -> Result:
    return assessed(law(), [filed])[0]


def batch(*filed: Consignment) -> Assessment:
    return assess(law(), filings(filed))


def parcel(price: int = 5_000, destination: str = "DE", day: date = NOW, **more: object) -> Consignment:
    return Consignment(destination, day, [Item(price, code="620630")], **more)  # type: ignore[arg-type]


def charges(result: Result) -> list[tuple[str, int, str]]:
    return [(charge.charge, charge.amount, charge.collector) for charge in result.charges]


def test_the_flat_duty_begins_on_the_first_of_july_2026() -> None:
    before, since = one(parcel(day=date(2026, 6, 30))), one(parcel(day=date(2026, 7, 1)))
    assert charges(before) == [("EU.vat_low_value", 950, "customs")]
    assert charges(since) == [("EU.flat_duty", 300, "customs"), ("EU.vat_low_value", 1007, "customs")]


def test_under_the_import_scheme_the_vendor_collects_the_vat_and_the_declarant_owes_the_duty() -> None:
    result = one(parcel(schemes=IOSS))
    assert charges(result) == [("EU.flat_duty", 300, "customs"), ("EU.vat_at_sale", 1007, "vendor")]
    assert [charge.debtor for charge in result.charges] == ["declarant", "vendor"]


def test_tax_is_taken_out_of_a_price_by_the_rate_of_the_goods() -> None:
    book, shirt = Item(17_800, code="490199"), Item(11_900, code="620630")
    result = one(Consignment("DE", NOW, [book], includes_tax=True))
    assert result.intrinsic == 16_636
    assert one(Consignment("DE", NOW, [shirt], includes_tax=True)).intrinsic == 10_000
    assert one(Consignment("DE", NOW, [book, shirt], includes_tax=True)).intrinsic == 26_636
    filed = Item(17_800, code="490199", tax_rate_ppm=190_000)
    assert one(Consignment("DE", NOW, [filed], includes_tax=True)).intrinsic == 14_958


def test_delivery_holds_tax_where_prices_do_in_australia_and_nowhere_else() -> None:
    gst = [("gst_lvg", "12345678901")]
    goods = [Item(110_000, "AUD", "620630")]
    told = Consignment("AU", NOW, goods, freight=(550, "AUD"), insurance=(111, "AUD"), includes_tax=True, schemes=gst)
    assert (one(told).intrinsic, one(told).charges[0].basis) == (100_000, 100_601)
    by_amount = [Item(110_000, "AUD", "620630", tax_charged=10_000), Item(0, "AUD", "620630", tax_charged=0)]
    told = Consignment("AU", NOW, by_amount, freight=(550, "AUD"), includes_tax=True, schemes=gst)
    assert [charge.basis for charge in one(told).charges] == [100_500, 0]
    german = Consignment("DE", NOW, [Item(11_900, code="620630")], freight=(550, "EUR"), includes_tax=True)
    assert one(german).customs_value == 10_550


@pytest.mark.parametrize("procedures", [{"procedures": ("C07", "F15")}, {}])
def test_union_goods_from_the_canary_islands_bear_tax_and_no_duty(procedures: dict[str, tuple[str, ...]]) -> None:
    own = () if procedures else ("F15",)
    goods = [Item(40_000, code="620442", procedures=own), Item(10_000, code="620442")]
    result = one(Consignment("DE", NOW, goods, **procedures))  # type: ignore[arg-type]
    duties = [(charge.ppm, charge.amount) for charge in result.charges if charge.charge == "EU.customs_duty"]
    assert duties == [(0, 0), (0, 0) if procedures else (120_000, 1_200)]
    small = one(Consignment("DE", NOW, [Item(5_000, code="620442")], procedures=("F15",)))
    assert charges(small) == [("EU.flat_duty", 0, "customs"), ("EU.vat_low_value", 950, "customs")]


def test_the_same_parcel_owes_more_where_ten_digits_tell_its_lines_apart() -> None:
    goods = [Item(1_000, code="6206300010"), Item(1_000, code="6206300090")]
    by_scheme, without = assessed(law(), [Consignment("DE", NOW, goods, schemes=IOSS), Consignment("DE", NOW, goods)])
    assert sum(c.amount for c in by_scheme.charges if c.charge == "EU.flat_duty") == 300
    assert sum(c.amount for c in without.charges if c.charge == "EU.flat_duty") == 600


@pytest.mark.parametrize(
    ("number", "note"),
    [("", "SCHEME_NUMBER_MISSING"), ("IM12", "SCHEME_NUMBER_MALFORMED"), ("GB123456789", "SCHEME_NUMBER_MALFORMED")],
)
def test_a_scheme_number_that_does_not_count_falls_back_to_the_border_and_says_so(number: str, note: str) -> None:
    done = batch(parcel(schemes=[("ioss", number)]))
    answer = answer_of(done, Strings.absent(1), Strings.of(["shop"]), EVERYONE)
    assert answer.ints("collected_by_vendor")[0] == 0
    assert answer.strings("deferred_account")[0] == "deferred:shop"
    notes = answer.ragged("notes")
    assert isinstance(notes.values, Strings)
    assert note in notes.values.tolist()
    assert any("the scheme was not applied" in sentence for sentence in explain(done, 0).results)


def test_the_deferred_account_is_the_declarants_and_stands_only_where_something_is_owed() -> None:
    done = batch(parcel(day=date(2026, 6, 1)), parcel(day=date(2026, 6, 1), schemes=IOSS), parcel(destination="AQ"))
    answer = answer_of(done, Strings.of(["broker-7"] * 3), Strings.of(["shop"] * 3), EVERYONE)
    assert answer.strings("deferred_account").tolist() == ["deferred:broker-7", "", ""]


def test_the_limit_is_kept_at_the_limit_and_exceeded_one_cent_above() -> None:
    at, above = one(parcel(15_000)), one(parcel(15_001))
    assert charges(at)[0] == ("EU.flat_duty", 300, "customs")
    assert charges(above) == [("EU.customs_duty", 1800, "customs"), ("EU.vat", 3192, "customs")]


def test_freight_counts_for_the_tax_and_not_for_the_limit() -> None:
    result = one(parcel(15_000, freight=(1_000, "EUR"), day=date(2026, 6, 1)))
    assert (result.intrinsic, result.customs_value) == (15_000, 16_000)
    assert charges(result) == [("EU.vat_low_value", 3_040, "customs")]


def test_the_netherlands_round_down_and_france_to_the_euro_at_the_border() -> None:
    june = date(2026, 2, 1)
    dutch, french, german = (one(parcel(1_234, place, june)) for place in ("NL", "FR", "DE"))
    assert charges(dutch) == [("EU.vat_low_value", 259, "customs")]  # 259.14
    assert charges(german) == [("EU.vat_low_value", 234, "customs")]  # 234.46
    assert charges(french) == [("EU.vat_low_value", 200, "customs")]  # 20 % of 12 EUR = 2.40
    assert one(parcel(1_234, "FR", june, schemes=IOSS)).charges[0].amount == 247  # the return is in cents


def test_national_fees_are_levied_where_and_when_they_hold() -> None:
    def fees(destination: str, day: date) -> list[tuple[str, int, str]]:
        return [each for each in charges(one(parcel(destination=destination, day=day))) if ".fee_" in each[0]]

    assert fees("FR", date(2026, 2, 28)) == []
    assert fees("FR", date(2026, 3, 1)) == [("EU.fee_fr", 200, "customs")]
    assert fees("IT", date(2026, 6, 30)) == []
    assert fees("IT", date(2026, 7, 1)) == [("EU.fee_it", 200, "customs")]
    assert fees("RO", date(2026, 7, 1)) == [("EU.fee_ro", 491, "customs")]  # 25 RON at 5.09, an example rate


@pytest.mark.parametrize(
    ("destination", "day", "percent"),
    [
        ("EE", date(2023, 12, 31), 20), ("EE", date(2024, 1, 1), 22), ("EE", date(2025, 7, 1), 24),
        ("SK", date(2024, 12, 31), 20), ("SK", date(2025, 1, 1), 23), ("FI", date(2024, 8, 31), 24),
        ("FI", date(2024, 9, 1), 25.5), ("RO", date(2025, 7, 31), 19), ("RO", date(2025, 8, 1), 21),
        ("LU", date(2023, 6, 1), 16), ("LU", date(2024, 1, 1), 17),
    ],
)  # fmt: skip
def test_rates_of_vat_change_on_their_day(destination: str, day: date, percent: float) -> None:
    (tax,) = [charge for charge in one(parcel(destination=destination, day=day)).charges if ".vat" in charge.charge]
    assert tax.ppm == percent * 10_000


def test_every_member_state_has_its_rate_on_every_day() -> None:
    book = next(read.rulebook for read in law().books if read.rulebook.jurisdiction == "EU")
    assert len(book.areas) == 27
    for day in (date(2021, 7, 1), date(2023, 7, 1), date(2026, 12, 31)):
        results = assessed(law(), [parcel(destination=area, day=day) for area in book.areas])
        assert all(any(charge.charge == "EU.vat_low_value" and charge.ppm >= 160_000 for charge in result.charges)
                   for result in results)  # fmt: skip


def test_what_cannot_be_assessed_has_a_reason_and_fails_no_neighbour() -> None:
    results = assessed(
        law(),
        [
            parcel(destination="AQ"),
            parcel(day=date(2020, 12, 31)),
            Consignment("DE", NOW, [Item(None)]),
            Consignment("DE", NOW, []),
            Consignment("DE", NOW, [Item(100, "XOF")]),
            Consignment("DE", NOW, [Item(100, "nonsense")]),
            Consignment("DE", date(2028, 1, 1), [Item(100, "USD")]),
            parcel(-1),
            parcel(10**12 + 1),
            parcel(),
        ],
    )
    assert [result.problem for result in results] == [
        "NO_RULEBOOK", "NO_RULEBOOK", "UNVALUED", "UNVALUED", "NO_EXCHANGE_RATE", "NO_EXCHANGE_RATE", "NO_EXCHANGE_RATE",
        "AMOUNT_OUT_OF_BOUNDS", "AMOUNT_OUT_OF_BOUNDS", "NONE",
    ]  # fmt: skip
    assert [bool(result.charges) for result in results] == [False] * 9 + [True]


def test_an_amount_that_would_overflow_is_refused_and_never_wrapped() -> None:
    # 999 items of 10^12 pounds in pence are 1.15 * 10^15 cents: over what an assessment holds.
    many = Consignment("DE", NOW, [Item(10**12, "GBP", "620630")] * 999)
    few = Consignment("DE", NOW, [Item(10**12, "GBP", "620630")] * 3, freight=(10**12, "GBP"))
    too_many = Consignment("DE", NOW, [Item(1, "EUR", "620630")] * 1_000)
    refused, exact, crowded = assessed(law(), [many, few, too_many])
    assert (refused.problem, crowded.problem) == ("AMOUNT_OUT_OF_BOUNDS", "AMOUNT_OUT_OF_BOUNDS")
    assert exact.problem == "NONE"
    assert exact.intrinsic == 3 * 1_152_073_732_719  # 10^12 / 0.868, half a cent upwards
    assert exact.customs_value == 4 * 1_152_073_732_719
    assert all(charge.amount > 0 for charge in exact.charges)


def test_freight_is_shared_by_value_and_nothing_of_it_is_lost() -> None:
    result = one(
        Consignment(
            "DE",
            date(2026, 6, 1),
            [Item(100, code="61"), Item(100, code="62"), Item(100, code="63")],
            freight=(100, "EUR"),
        )
    )
    assert [charge.basis for charge in result.charges] == [133, 133, 134]


def test_a_preference_of_which_no_rate_is_loaded_keeps_the_flat_duty_and_says_so() -> None:
    goods = [Item(5_000, code="620630", preference="300")]
    for each in assessed(law(), [Consignment("DE", NOW, goods), Consignment("DE", NOW, goods, schemes=IOSS)]):
        assert charges(each)[0] == ("EU.flat_duty", 300, "customs")
    told = explain(batch(Consignment("DE", NOW, goods)), 0)
    assert any("no preferential rate is loaded" in sentence for sentence in told.results)


def test_an_australian_value_is_converted_at_the_day_of_export() -> None:
    done = batch(
        Consignment("AU", date(2026, 1, 5), [Item(10_000, "USD")], exported=date(2025, 12, 30)),
        Consignment("AU", date(2026, 1, 5), [Item(10_000, "USD")]),
    )
    assert done.intrinsic.tolist() == [15_398, 15_107]  # at 0.64943 and at 0.66193, example rates
    assert any("day of acceptance was used" in sentence for sentence in explain(done, 1).assumed)


def test_every_charge_is_explained_in_a_sentence_with_its_figures() -> None:
    told = explain(batch(parcel(schemes=IOSS, freight=(500, "USD"))), 0)
    assert told.lines == [
        "Item 1: customs duty, flat rate per tariff line of 3.00 EUR, once for each tariff classification in the "
        "consignment, = 3.00 EUR, owed by the declarant to customs.",
        "Item 1: value added tax at the sale of 19 % on 57.29 EUR = 10.89 EUR, collected by the seller or platform at the sale under "
        'the scheme "import one stop shop".',
    ]
    assert told.results == [
        "The goods are worth 50.00 EUR without transport and tax.",
        "That is within the limit of 150.00 EUR for a consignment in the European Union (EU:flat-duty, EU:ioss).",
        "Converted at 1 EUR = 1.165 USD of 2026-08-03, an unverified example rate.",
        "Revenue of duty: 25 % to DE, the rest to EU (EU:own-resources).",
    ]
    assert "EU:own-resources" in told.references
    assert told.assumed == [
        "No insurance declared: it is assumed to be included in the price.",
        "No register of the scheme is loaded: only the form of its number was checked.",
    ]
