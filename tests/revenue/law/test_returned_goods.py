"""Goods that come back: what their first MRN proves, the term to its last day, and the relief of each rulebook that has one."""

from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.customs.identifiers import mrn
from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import assess
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import Program
from services.revenue.law.program.returns import years_after
from services.revenue.law.text.explanation import explain
from services.revenue.store.law_files import law_files, program_of
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.edges import law, parcel
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Charged, Consignment, Item

DRESS, TOY = "620442", "950300"
REASONS = {name for name in Note.__members__ if name.startswith("RETURN_")}


def number(head: str) -> str:
    """Complete the first 17 characters of an MRN."""
    return f"{head}{mrn.check_digit(head)}"


def of_day(country: str, day: str, letter: str = "R") -> str:
    """Return an MRN in the form of Luxor's."""
    on = date.fromisoformat(day)
    return number(f"{on:%y}{country}07{on:%j}0000A1B{letter}")


EXPORT_OF_2024, BY_YEAR = number("24DE123456789012A"), number("24USABCDEFGHIJKLR")


def back(to: str, on: str, first_mrn: str, price: int = 10_000, currency: str = "EUR", **more: object) -> Consignment:
    told: dict[str, object] = {"nature": "return", "dispatch": "US", "code": DRESS} | more
    return parcel(to, on, price, currency, **told, first_mrn=first_mrn)  # type: ignore[arg-type]


def charged(filed: Consignment) -> dict[str, tuple[int, int]]:
    """Return what each charge is and what it would be, if it is not levied."""
    (result,) = assessed(law(), [filed])
    assert result.problem == "NONE"
    return {each.charge.split(".")[1]: (each.amount, each.forgone) for each in result.charges}


def reasons(filed: Consignment) -> set[str]:
    (result,) = assessed(law(), [filed])
    return result.notes & REASONS


# Union: 12 % of 100.00 are 12.00; 19 % of 112.00 are 21.28, of 100.00 where no duty is levied 19.00.
LEVIED = {"customs_duty": (1_200, 0), "vat": (2_128, 0)}
DUTY_FREE = {"customs_duty": (0, 1_200), "vat": (1_900, 0)}
FREE = {"customs_duty": (0, 1_200), "vat": (0, 1_900)}


def test_goods_exported_from_the_union_come_back_free_of_duty_and_of_tax_where_the_same_person_claims_it() -> None:
    plain, claimed = (
        back("DE", "2026-07-15", EXPORT_OF_2024),
        back("DE", "2026-07-15", EXPORT_OF_2024, procedures=("F05",)),
    )
    assert (charged(plain), reasons(plain)) == (DUTY_FREE, {"RETURN_RELIEVED", "RETURN_NOT_CLAIMED"})
    assert (charged(claimed), reasons(claimed)) == (FREE, {"RETURN_RELIEVED"})


def test_a_relief_that_is_claimed_for_an_item_is_of_that_item() -> None:
    items = [Item(10_000, "EUR", DRESS, procedures=("F05",)), Item(20_000, "EUR", TOY)]
    filed = Consignment("DE", date(2026, 7, 15), items, nature="return", dispatch="US", first_mrn=EXPORT_OF_2024)
    (result,) = assessed(law(), [filed])
    told = [(each.charge, each.item, each.amount, each.forgone) for each in result.charges]
    # Toys bear no duty; 19 % of 200.00 are 38.00.
    assert told == [
        ("EU.customs_duty", 0, 0, 1_200),
        ("EU.customs_duty", 1, 0, 0),
        ("EU.vat", 0, 0, 1_900),
        ("EU.vat", 1, 3_800, 0),
    ]


@pytest.mark.parametrize(
    ("first_mrn", "on", "expected"),
    [
        # Exported on some day of 2024: within three years of the first day of the year until 1 January 2027, of the last until the end of 2027.
        (EXPORT_OF_2024, "2024-01-01", "RELIEVED"),
        (EXPORT_OF_2024, "2027-01-01", "RELIEVED"),
        (EXPORT_OF_2024, "2027-01-02", "TERM_UNKNOWN"),
        (EXPORT_OF_2024, "2027-12-31", "TERM_UNKNOWN"),
        (EXPORT_OF_2024, "2028-01-01", "TERM_ENDED"),
        # Accepted abroad on 13 October 2023, so that the goods left between 15 July 2023 and 11 January 2024.
        (of_day("US", "2023-10-13"), "2026-07-15", "RELIEVED"),
        (of_day("US", "2023-10-13"), "2026-07-16", "TERM_UNKNOWN"),
        (of_day("US", "2023-10-13"), "2027-01-11", "TERM_UNKNOWN"),
        (of_day("US", "2023-10-13"), "2027-01-12", "TERM_ENDED"),
        # 90 days before 29 May 2024 is 29 February; three years later February has 28 days.
        (of_day("US", "2024-05-29"), "2027-02-28", "RELIEVED"),
        (of_day("US", "2024-05-29"), "2027-03-01", "TERM_UNKNOWN"),
        # Of 2024 by an administration that does not write the day: from 3 October 2023 to 31 March 2025.
        (BY_YEAR, "2026-10-03", "RELIEVED"),
        (BY_YEAR, "2026-10-04", "TERM_UNKNOWN"),
        (BY_YEAR, "2028-03-31", "TERM_UNKNOWN"),
        (BY_YEAR, "2028-04-01", "TERM_ENDED"),
    ],
)
def test_the_term_is_kept_up_to_its_last_day_and_only_where_that_is_certain(
    first_mrn: str, on: str, expected: str
) -> None:
    assert reasons(back("DE", on, first_mrn, 20_000, procedures=("F05",))) == {f"RETURN_{expected}"}


@pytest.mark.parametrize(
    ("day", "years", "last"),
    [
        ("2023-05-10", 3, "2026-05-10"), ("2024-02-29", 3, "2027-02-28"), ("2024-02-29", 4, "2028-02-29"),
        ("2023-02-28", 1, "2024-02-28"), ("2023-12-31", 2, "2025-12-31"), ("2096-02-29", 4, "2100-02-28"),
    ],
)  # fmt: skip
def test_a_term_of_years_ends_on_the_same_date(day: str, years: int, last: str) -> None:
    (found,) = years_after(np.array([day_of_date(date.fromisoformat(day))]), years).tolist()
    assert date(1970, 1, 1) + timedelta(found) == date.fromisoformat(last)


@pytest.mark.parametrize(
    "first_mrn",
    [
        "",
        number("24DE123456789012R"),  # an import into the Union
        of_day("FR", "2025-05-05"),  # one into another state of it
        of_day("CN", "2025-05-05"),  # one into a country from which the goods do not come back
        of_day("US", "2025-05-05", "T"),  # an entry summary
        number("24USABCDEFGHIJKLA"),  # an export of another country
        of_day("US", "2026-07-16"),  # of the day after the return was accepted, within the days of the way there
        number("27DE123456789012A"),  # an export of a year to come
        number("27USABCDEFGHIJKLR"),  # an import of a year to come, within the days of the way there at its end
        EXPORT_OF_2024[:17] + str((int(EXPORT_OF_2024[17]) + 1) % 10),  # a wrong check digit
    ],
)
def test_a_return_without_proof_is_charged_and_says_what_is_missing(first_mrn: str) -> None:
    filed = back("DE", "2026-07-15", first_mrn, procedures=("F05",))
    assert (charged(filed), reasons(filed)) == (LEVIED, {"RETURN_NOT_PROVEN"})


@pytest.mark.parametrize(
    ("first_mrn", "eve", "day"),
    [
        (of_day("US", "2026-10-10"), "2026-10-09", "2026-10-10"),
        (number("27USABCDEFGHIJKLR"), "2026-12-31", "2027-01-01"),
        (number("27DE123456789012A"), "2026-12-31", "2027-01-01"),
    ],
)
def test_a_first_mrn_proves_nothing_before_the_first_day_on_which_it_may_have_been_given(
    first_mrn: str, eve: str, day: str
) -> None:
    before, after = (back("DE", on, first_mrn, procedures=("F05",)) for on in (eve, day))
    assert (reasons(before), reasons(after)) == ({"RETURN_NOT_PROVEN"}, {"RETURN_RELIEVED"})
    scalar = Scalar(law())
    assert assessed(law(), [before, after]) == [scalar.assess(each) for each in (before, after)]


@pytest.mark.parametrize("nature", ["", "sale", "gift", "sample", "other"])
def test_an_mrn_is_nothing_where_the_consignment_is_no_return(nature: str) -> None:
    told: dict[str, Any] = {"nature": nature, "procedures": ("F05",)}
    filed, bare = (back("DE", "2026-07-15", each, **told) for each in (EXPORT_OF_2024, ""))
    assert assessed(law(), [filed]) == assessed(law(), [bare])
    assert reasons(filed) == set()


SCHEMES = [
    ("DE", "EUR", ("ioss", "IM2760000014"), 10_000),
    ("GB", "GBP", ("uk_supply_vat", "GB123456789"), 10_000),
    ("NO", "NOK", ("voec", "1234567"), 10_000),
    ("AU", "AUD", ("gst_lvg", "12345678901"), 10_000),
    ("NZ", "NZD", ("gst_lvg", "12345678"), 10_000),
    ("SG", "SGD", ("ovr", "M12345678X"), 10_000),
    ("CH", "CHF", ("ch_mail_order", "CHE-123.456.789"), 10_000),
    ("BR", "BRL", ("prc", "12345678901234"), 10_000),
    ("CN", "CNY", ("cbec", "1234567890"), 10_000),
]


@pytest.mark.parametrize(("to", "currency", "scheme", "price"), SCHEMES)
def test_no_vendor_collects_anything_on_a_return(to: str, currency: str, scheme: tuple[str, str], price: int) -> None:
    told: dict[str, Any] = {"schemes": [scheme], "origin": "CN"}
    sale = parcel(to, "2026-07-15", price, currency, TOY, dispatch="US", nature="sale", mass_mg=500_000, **told)
    filed = back(to, "2026-07-15", "", price, currency, code=TOY, mass_mg=500_000, **told)
    (sold,), (returned,) = assessed(law(), [sale]), assessed(law(), [filed])
    assert any(each.scheme == scheme[0] for each in sold.charges)
    assert all(each.scheme == "none" and each.collector != "vendor" for each in returned.charges)
    assert "SCHEME_NOT_OPEN" in returned.notes


@pytest.mark.parametrize(
    ("filed", "expected", "notes"),
    [
        # United Kingdom: 12 % of 200.00 are 24.00, 20 % of 200.00 are 40.00.
        (back("GB", "2026-07-15", number("24GB123456789012A"), 20_000, "GBP", procedures=("F05",)),
         {"customs_duty": (0, 2_400), "import_vat": (0, 4_000)}, {"RETURN_RELIEVED"}),
        # Below 135.00 there is no duty, and import VAT in place of the supplier's.
        (back("GB", "2026-07-15", of_day("US", "2026-01-05"), 10_000, "GBP"), {"import_vat": (2_000, 0)}, {"RETURN_NOT_CLAIMED"}),
        (back("GB", "2026-07-15", of_day("US", "2026-01-05"), 10_000, "GBP", procedures=("F05",)),
         {"import_vat": (0, 2_000)}, {"RETURN_RELIEVED"}),
        # United States: 16 % of 100.00; its own products without a term, others within three years. The surcharge of 10 % is not covered.
        (back("US", "2026-07-30", of_day("CA", "2020-01-05"), 10_000, "USD", dispatch="CA", origin="US"),
         {"customs_duty": (0, 1_600)}, {"RETURN_RELIEVED"}),
        (back("US", "2026-07-30", of_day("CA", "2020-01-05"), 10_000, "USD", dispatch="CA", origin="VN"),
         {"customs_duty": (1_600, 0)}, {"RETURN_TERM_ENDED"}),
        (back("US", "2026-07-30", of_day("CA", "2026-01-05"), 10_000, "USD", dispatch="CA", origin="VN"),
         {"customs_duty": (0, 1_600)}, {"RETURN_RELIEVED"}),
        (back("US", "2026-03-02", of_day("CA", "2026-01-05"), 10_000, "USD", dispatch="CA", origin="VN"),
         {"customs_duty": (0, 1_600), "import_surcharge": (1_000, 0)}, {"RETURN_RELIEVED", "RETURN_NOT_COVERED"}),
        # Korea: two years; 13 % of 300,000 won are 39,000; the tax of 10 % is of the value with the duty that is levied.
        (back("KR", "2026-07-15", of_day("US", "2025-01-05"), 300_000, "KRW", code=DRESS),
         {"customs_duty": (0, 39_000), "vat": (30_000, 0)}, {"RETURN_RELIEVED", "RETURN_NOT_COVERED"}),
        (back("KR", "2026-07-15", of_day("US", "2023-01-05"), 300_000, "KRW", code=DRESS),
         {"customs_duty": (39_000, 0), "vat": (33_900, 0)}, {"RETURN_TERM_ENDED", "RETURN_NOT_COVERED"}),
    ],
)  # fmt: skip
def test_each_jurisdiction_relieves_what_its_law_relieves(
    filed: Consignment, expected: dict[str, tuple[int, int]], notes: set[str]
) -> None:
    assert (charged(filed), reasons(filed)) == (expected, notes)


@pytest.mark.parametrize(("to", "currency"), [("CA", "CAD"), ("JP", "JPY")])
def test_duty_is_relieved_and_tax_says_that_its_relief_is_not_covered(to: str, currency: str) -> None:
    items = [Item(500_000, currency, DRESS, net_mass_mg=10**9)]
    first = of_day("US", "2026-01-05")
    filed, bare = (
        Consignment(
            to, date(2026, 7, 15), items, nature="return", first_mrn=each, dispatch="US", mass_mg=10**9, region="AB"
        )
        for each in (first, "")
    )
    now, before = charged(filed), charged(bare)
    duty, forgone = now["customs_duty"]
    assert (duty, forgone) == (0, before["customs_duty"][0])
    taxes = {name: amount for name, (amount, _) in now.items() if name != "customs_duty"}
    assert all(amount <= before[name][0] for name, amount in taxes.items())
    assert any(taxes.values())
    assert "RETURN_NOT_COVERED" in reasons(filed)


@pytest.mark.parametrize("to", ["AU", "NZ", "NO", "SG", "CH", "CN", "BR", "ID", "ZA"])
def test_a_rulebook_without_a_relief_says_so_and_charges_the_return_as_other_goods(to: str) -> None:
    book = next(read.rulebook for read in law().books if to in read.rulebook.areas)
    first = of_day("US", "2026-01-05")
    price = 10_000_000 if book.currency == "IDR" else 300_000
    filed, bare = (back(to, "2026-07-15", each, price, book.currency, mass_mg=500_000) for each in (first, ""))
    assert charged(filed) == charged(bare)
    assert reasons(filed) == {"RETURN_NOT_COVERED"}


def test_what_is_relieved_is_explained_with_its_reference() -> None:
    told = explain(assess(law(), filings([back("DE", "2026-07-15", EXPORT_OF_2024)])), 0)
    assert told.lines[0].startswith(
        "Item 1: customs duty of 12 % on 100.00 EUR, by the tariff's rate for the commodity code, would be 12.00 EUR"
    )
    assert " (not levied: the goods come back), owed by the declarant to customs." in told.lines[0]
    assert "Goods that come back are relieved (EU:returned-goods)." in told.results
    assert any(
        each.startswith("A relief of returned goods depends on more than the cited MRN") for each in told.results
    )
    assert "EU:returned-goods" in told.references


def test_nothing_of_the_new_law_counts_as_reviewed() -> None:
    done = assess(law(), filings([back("DE", "2026-07-15", each) for each in (EXPORT_OF_2024, "")]))
    assert done.reviewed.tolist() == [0, 0]
    for read in law().books:
        entries = [each for name, of in read.rulebook.reliefs.items() if name.startswith("returned") for each in of]
        assert not any(each.verified or read.rulebook.references[each.reference].verified for each in entries)


_MRNS = [
    "", EXPORT_OF_2024, BY_YEAR, of_day("US", "2023-10-13"), of_day("CA", "2026-01-05"), of_day("GB", "2024-05-29"),
    number("23GB123456789012B"), number("25CHABCDEFGHIJKLA"), of_day("DE", "2025-06-01"), of_day("US", "2027-10-10"),
    number("27DE123456789012A"), number("28USABCDEFGHIJKLR"),
]  # fmt: skip
_HOMES = ["DE", "FR", "NL", "GB", "CH", "US", "CA", "KR", "JP", "AU", "NO"]


def _consignments(nature: st.SearchStrategy[str]) -> st.SearchStrategy[Consignment]:
    items = st.builds(
        Item,
        price=st.integers(0, 10**6),
        currency=st.sampled_from(["EUR", "USD", "GBP"]),
        code=st.sampled_from([DRESS, TOY, "640299", "490199"]),
        origin=st.sampled_from(["US", "CN", "DE"]),
        net_mass_mg=st.just(10**8),
        procedures=st.sampled_from([(), ("F05",)]),
    )
    return st.builds(
        Consignment,
        destination=st.sampled_from(_HOMES),
        accepted=st.dates(date(2026, 1, 1), date(2028, 12, 31)),
        items=st.lists(items, min_size=1, max_size=4),
        dispatch=st.sampled_from(["US", "CA", "GB", "DE"]),
        mass_mg=st.just(10**9),
        nature=nature,
        first_mrn=st.sampled_from(_MRNS),
        schemes=st.sampled_from([[], [("ioss", "IM2760000014")]]),
    )


@given(st.lists(_consignments(st.sampled_from(["return", "return", "sale"])), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_columns_relieve_as_the_scalar_law_does(batch: list[Consignment]) -> None:
    scalar = Scalar(law())
    assert assessed(law(), batch) == [scalar.assess(each) for each in batch]


@given(st.lists(_consignments(st.sampled_from(["", "sale", "gift", "sample"])), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_no_consignment_but_a_return_is_changed_by_a_first_mrn_or_by_a_return_beside_it(
    batch: list[Consignment], data: st.DataObject
) -> None:
    bare = [Consignment(**{**vars(each), "first_mrn": ""}) for each in batch]
    returns = data.draw(st.lists(_consignments(st.just("return")), max_size=3))
    assert assessed(law(), [*batch, *returns])[: len(batch)] == assessed(law(), bare)


@cache
def law_without_returns() -> Program:
    """The shipped law without its reliefs of returned goods and without what it says of returns under schemes."""
    files = law_files()
    for name, text in files.items():
        if not name.endswith("/rulebook.yaml"):
            continue
        book = yaml.safe_load(text)
        reliefs = {
            each: entries for each, entries in book.pop("reliefs", {}).items() if not each.startswith("returned")
        }
        book |= {"reliefs": reliefs} if reliefs else {}
        for charge in book["charges"]:
            named = [each for each in charge.pop("relieved_by", ()) if each in reliefs]
            charge |= {"relieved_by": named} if named else {}
        for scheme in book.get("schemes", {}).values():
            scheme.pop("of_sales", None)
        if book["jurisdiction"] == "UK":
            supply = book["limits"]["supply"]
            supply[:] = [each for each in supply if each.get("only") != {"nature": ["return"]}]
        files[name] = yaml.safe_dump(book, sort_keys=False)
    return program_of(files)


@given(st.lists(_consignments(st.sampled_from(["", "sale", "gift", "sample"])), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_no_consignment_but_a_return_owes_anything_else_than_before_the_reliefs(batch: list[Consignment]) -> None:
    assert assessed(law(), batch) == assessed(law_without_returns(), batch)


def levied(charges: list[Charged]) -> int:
    return sum(each.amount for each in charges)


@given(_consignments(st.just("return")))
@settings(max_examples=60, deadline=None)
def test_a_relief_never_raises_what_is_owed(filed: Consignment) -> None:
    bare = Consignment(**{**vars(filed), "first_mrn": ""})
    (now,), (before,) = assessed(law(), [filed]), assessed(law(), [bare])
    assert levied(now.charges) <= levied(before.charges)
