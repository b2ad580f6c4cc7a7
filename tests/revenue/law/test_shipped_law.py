"""The law that is shipped: it loads, its page is current, its references are whole, and both evaluators agree on it."""

import re
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.customs.time import day_of_date
from services.revenue.config import RULEBOOKS
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.program.program import SCHEMES, Program
from services.revenue.law.source.rates import parse_amount
from services.revenue.law.source.rulebook import AGGREGATE_TESTS, Reference, Rulebook
from services.revenue.store.law_files import law_files
from tests.revenue.law.batches import assessed
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.published import shipped_law
from tools import jurisdiction_table

pytestmark = pytest.mark.long
JURISDICTIONS = sorted(each.name.upper() for each in RULEBOOKS.iterdir() if each.is_dir())
"""Those of the directories: the law itself is compiled by the worker that runs these tests, not by each that collects them."""


@pytest.fixture(scope="module")
def law() -> Program:
    return shipped_law()


def test_the_page_of_jurisdictions_is_what_the_rulebooks_say() -> None:
    assert jurisdiction_table.PAGE.read_text("utf-8") == jurisdiction_table.page(), f"run: {jurisdiction_table.COMMAND}"


def references(law: Program) -> list[tuple[str, str, Reference]]:
    return [(read.file, name, each) for read in law.books for name, each in read.rulebook.references.items()]


def test_each_directory_has_the_law_of_the_jurisdiction_that_it_names(law: Program) -> None:
    assert sorted(read.rulebook.jurisdiction for read in law.books) == JURISDICTIONS


def test_every_reference_names_an_act_and_an_address(law: Program) -> None:
    wrong = [
        f"{file}: {name}"
        for file, name, each in references(law)
        if not re.fullmatch(r"https?://[\w.-]+\.[a-z]+(/\S*)?", each.address) or len(each.law) < 5
    ]
    assert not wrong


def test_a_reference_that_nobody_checked_says_where_it_was_read_or_that_it_is_known(law: Program) -> None:
    silent = [
        f"{file}: {name}"
        for file, name, each in references(law)
        if not each.verified and not (each.note or each.article)
    ]
    assert not silent


def test_every_reference_is_used(law: Program) -> None:
    files = law_files()
    unused = [
        f"{file}: {name}"
        for file, name, _ in references(law)
        if not re.search(rf"reference: {re.escape(name)}(?![\w-])", files[file])
    ]
    assert not unused


NUMBERS = {
    "ioss": ["IM2760000014", "IM0400000017", "IM2760000015"],
    "special_arrangements": ["DE1234"],
    "voec": ["2021234", "x"],
    "ovr": ["M12345678X", "201912345M", "201912345M1"],
    "gst_lvg": ["12345678901", "123456789", "300012345678"],
    "uk_supply_vat": ["GB123456789"],
    "prc": ["12345678000195"],
    "ch_mail_order": ["CHE-123.456.788 MWST"],
    "import_vat": ["DE123456789"],
    "cbec": ["3101234567", "1234567890"],
    "qualified_party": ["QP123456", "123456789"],
    "clvs": ["CLVS1234", "1234"],
}

HELD = (date(2000, 1, 1), date(2025, 12, 31))
REGISTERED = {name: dict.fromkeys(numbers[::2], HELD) for name, numbers in NUMBERS.items()}
"""Of each scheme some numbers stand in the register, until the end of 2025."""
REGISTER = Register(
    {
        (SCHEMES.index(name), number): (day_of_date(HELD[0]), day_of_date(HELD[1]))
        for name, numbers in REGISTERED.items()
        for number in numbers
    }
)


def day_strategy(book: Rulebook) -> st.SearchStrategy[date]:
    """Any day of the rulebook's time, the days on which something begins twice as likely as chance would have it."""
    last = min(book.period.to or date(2027, 12, 31), date(2027, 12, 31))
    edges = [charge.start for charge in book.charges]
    edges += [limit.start for limits in book.limits.values() for limit in limits]
    near = {day + timedelta(days=by) for day in edges for by in (-1, 0) if book.period.start < day <= last}
    anywhere = st.dates(book.period.start, last)
    return st.one_of(anywhere, st.sampled_from(sorted(near))) if near else anywhere


def codes_of(program: Program, book: Rulebook) -> list[str]:
    """Codes that the law names, and some that it does not."""
    named = {""}
    for charge in book.charges:
        for rate in charge.rates:
            named |= set(rate.condition.goods) if rate.condition else set()
    for limits in book.limits.values():
        named |= {head for limit in limits for head in limit.excluded}
    tariffs = {charge.tariff for charge in book.charges}
    for table in program.tariffs:
        if table.tariff in tariffs:
            named |= set(sorted(table.prefixes)[:: max(1, len(table.prefixes) // 12)])
    return [*sorted(code.ljust(6, "0") if code else "" for code in named), "6109100010", "999999", "62"]


def parcels(program: Program, book: Rulebook) -> st.SearchStrategy[Consignment]:
    """Consignments to the rulebook's areas: near its limits, with its goods, numbers and conditions."""
    currencies = [book.currency, book.currency, "USD", "EUR", "JPY"]
    limits = [
        parse_amount(limit.amount)[0]
        for each in book.limits.values()
        for limit in each
        if limit.amount not in ("none", "all")
    ]
    edges = sorted({max(0, amount + by) for amount in limits for by in (-1, 0, 1)} | {0, 1, 99, 10_000})
    prices = st.one_of(st.sampled_from(edges), st.integers(0, 50_000), st.integers(0, 10_000_000))
    goods = st.builds(
        Item,
        price=prices,
        currency=st.sampled_from(currencies),
        code=st.sampled_from(codes_of(program, book)),
        preference=st.sampled_from(["", "", "100", "300", "400"]),
        origin=st.sampled_from(["", "CN", "US", "MX", "DE", "GB", "AU", "KR", "TR"]),
        gift=st.sampled_from([None, None, True, False]),
        tax_rate_ppm=st.sampled_from([None, None, 0, 100_000]),
        net_mass_mg=st.one_of(st.none(), st.integers(1, 5_000_000)),
        quantity_milli=st.sampled_from([None, 1_000, 3_000]),
        unit=st.sampled_from(["", "H87"]),
    )
    money = st.one_of(st.none(), st.tuples(st.integers(0, 9_000), st.sampled_from(currencies)))
    schemes = [(name, number) for name in book.schemes for number in NUMBERS[name]]
    days = day_strategy(book)
    # Only the law's own day changes what is owed; the others are there to be passed over.
    told = {"sale": "sold", "export": "exported", "direct_shipment": "shipped"}
    law_days = {
        told[which]: st.one_of(days, st.none()) for which in (book.law_date, book.exchange.date) if which in told
    }
    other_days = {name: st.just(date(2016, 5, 4)) for name in told.values() if name not in law_days}
    return st.builds(
        Consignment,
        destination=st.sampled_from(book.areas),
        accepted=days,
        **law_days,
        **other_days,
        items=st.lists(goods, min_size=1, max_size=5),
        freight=money,
        insurance=money,
        clearance_fee=money,
        includes_tax=st.sampled_from([None, None, True]),
        mass_mg=st.integers(1, 30_000_000),
        schemes=st.lists(st.sampled_from(schemes), max_size=1) if schemes else st.just([]),
        dispatch=st.sampled_from(["", "CN", "US", "MX", "GB"]),
        mode=st.sampled_from(["", "air", "sea", "post", "road"]),
        service=st.sampled_from(["", "post", "express", "cargo"]),
        nature=st.sampled_from(["", "sale", "gift", "gift"]),
        consignor=st.sampled_from(["", "natural", "legal"]),
        consignee=st.sampled_from(["", "natural", "natural", "legal"]),
        region=st.sampled_from(["", "SP", "MG", "ON", "AB"]),
        procedures=st.sampled_from([(), (), (), ("F15",)]),
    )


def sums_of(book: Rulebook) -> st.SearchStrategy[dict[str, tuple[int, bool]]]:
    """What others count by limit that sums several consignments, and whether the filing does not name by what; near it."""
    strategies = {}
    for name, entries in book.limits.items():
        amounts = [
            parse_amount(each.amount)[0]
            for each in entries
            if each.amount not in ("none", "all") and each.test in AGGREGATE_TESTS
        ]
        if amounts:
            near = [0, 0, 1, *(amount // 2 for amount in amounts), *amounts]
            strategies[name] = st.tuples(st.sampled_from(near), st.sampled_from([False, False, True]))
    return st.fixed_dictionaries(strategies)


@pytest.mark.parametrize("name", JURISDICTIONS)
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_columns_equal_the_scalar_law_for_parcels_to_every_jurisdiction(name: str, data: st.DataObject) -> None:
    law = shipped_law()
    book = next(read.rulebook for read in law.books if read.rulebook.jurisdiction == name)
    batch = data.draw(st.lists(parcels(law, book), min_size=1, max_size=6))
    others = [data.draw(sums_of(book)) for _ in batch]
    register, registered = data.draw(st.sampled_from([(None, {}), (REGISTER, REGISTERED)]))
    scalar = Scalar(law, registered)
    columns_of = assessed(law, batch, summed(law, book, others), register)
    for filed, other, columns in zip(batch, others, columns_of, strict=True):
        alone = scalar.assess(
            filed,
            {name: amount for name, (amount, _) in other.items()},
            frozenset(name for name, (_, unnamed) in other.items() if unnamed),
        )
        assert columns.problem == alone.problem or "NONE" not in (columns.problem, alone.problem), (
            filed,
            columns,
            alone,
        )
        if alone.problem == "NONE":
            assert columns == alone, filed


def summed(law: Program, book: Rulebook, others: list[dict[str, tuple[int, bool]]]) -> LimitAggregates:
    """What others count as the columns take it: [row, limit]."""
    names = list(book.limits)
    amounts = np.zeros((len(others), len(law.limit_entries)), dtype=np.int64)
    unnamed = np.zeros(amounts.shape, dtype=np.bool_)
    for row, told in enumerate(others):
        for name, (amount, nameless) in told.items():
            amounts[row, names.index(name)], unnamed[row, names.index(name)] = amount, nameless
    return LimitAggregates(amounts, unnamed)


@pytest.mark.parametrize("name", JURISDICTIONS)
@given(data=st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_parcel_of_any_jurisdiction_is_charged_less_than_nothing_or_more_than_its_worth_tenfold(
    name: str, data: st.DataObject
) -> None:
    law = shipped_law()
    book = next(read.rulebook for read in law.books if read.rulebook.jurisdiction == name)
    batch = data.draw(st.lists(parcels(law, book), min_size=1, max_size=6))
    for filed, columns in zip(batch, assessed(law, batch), strict=True):
        if columns.problem != "NONE":
            continue
        assert all(line.amount >= 0 for line in columns.charges), filed
        rates = [line for line in columns.charges if line.ppm]
        assert sum(line.amount for line in rates) <= 10 * (sum(line.basis for line in rates) + 100), filed
