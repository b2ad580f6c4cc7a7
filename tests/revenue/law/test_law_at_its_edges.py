"""The law at its edges: batches of nothing, figures beyond all bounds, days without a rate."""

from datetime import date

import numpy as np
import pytest

from libs.columns import Strings
from services.revenue.law.assess.assessment import assess
from services.revenue.law.assess.securities import AccountNames, Opened, Room, Securities, secured_by
from services.revenue.law.batch.arithmetic import LARGEST
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import COLLECTORS
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.law.text.assessment_columns import answer_of
from tests.revenue.law import lawbooks
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.charge_law import eriador
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item

DAY = date(2023, 5, 5)
SUMMED = """\
  - id: summed
    kind: fee
    name: fee on what all items sum to
    from: 2020-01-01
    base: [goods]
    uplift: {percent: 10.0001 %, of: [goods], reference: act}
    rates: [{from: 2020-01-01, rate: 7.7 %, reference: act}]
    rounding: [{from: 2020-01-01, mode: down, unit: 0.01 EUR, base_unit: 1.00 EUR, base_of: sum, reference: act}]
    collection: *plain
"""


def parcel(*prices: int, **more: object) -> Consignment:
    return Consignment("XA", DAY, [Item(price) for price in prices], **more)  # type: ignore[arg-type]


def test_a_batch_of_nothing_is_answered_with_nothing() -> None:
    done = assess(lawbooks.utopia(), filings([]))
    assert answer_of(done, Strings.absent(0), Strings.absent(0)).rows == 0


@pytest.mark.parametrize("mass", [LARGEST + 1, 2**63 - 1, -1])
def test_a_mass_that_no_consignment_can_have_is_refused(mass: int) -> None:
    def levied(told: int) -> str:
        filed = Consignment("XB", DAY, [Item(1000)], mass_mg=told)
        (columns,) = assessed(lawbooks.utopia(), [filed])
        return columns.problem

    assert levied(mass) == "AMOUNT_OUT_OF_BOUNDS"
    assert levied(LARGEST) == "NONE"


@pytest.mark.parametrize("items", [3, 20, 900, 999])
def test_bases_that_are_summed_are_exact_however_many_lines_they_have(items: int) -> None:
    law = compile_program(
        [read_rulebook("xx/rulebook.yaml", lawbooks.UTOPIA + SUMMED)],
        [read_tariff("xx/tariff.yaml", lawbooks.TARIFF)],
        ExchangeTables(read_exchange("rates/utopia.yaml", lawbooks.RATES)),
    )
    filed = parcel(*[10**12] * items)
    (columns,) = assessed(law, [filed])
    assert columns == Scalar(law).assess(filed)


def test_a_minimum_in_another_currency_asks_for_its_rate_only_where_the_charge_is_levied() -> None:
    # The stamp duty's minimum is in dollars, of which nobody knows the rate in 2027; it is not levied on post.
    law, duty = eriador(), [Item(20_000, "EUR", "61")]
    posted = Consignment("XC", date(2027, 8, 16), duty, mode="post")
    flown = Consignment("XC", date(2026, 8, 16), duty, mode="air")
    assert assessed(law, [posted, flown]) == assessed(law, [posted]) + assessed(law, [flown])


IN_DOLLARS = (
    lawbooks.UTOPIA.replace("amount: 300.00 EUR, measure", "amount: 305.00 USD, measure")
    .replace("amount: 100.00 EUR, test: item", "amount: 100.00 USD, test: item")
    .replace("id: levy\n", "id: levy\n    when: {limit: import_limit, position: within}\n")
    .replace("id: piece\n", "id: piece\n    when: {limit: item_limit, position: within}\n")
)


@pytest.mark.parametrize(
    ("filed", "within", "items"),
    [
        # 305.00 USD at 1.05 for 1 EUR are 290.476 EUR, which are converted to 290.50; so are their parts.
        (Consignment("XB", date(2022, 5, 5), [Item(30_500, "USD")], mass_mg=1_000_000), True, 0),
        (Consignment("XB", date(2022, 5, 5), [Item(30_501, "USD")], mass_mg=1_000_000), False, 0),
        (Consignment("XB", date(2022, 5, 5), [Item(20_000, "USD"), Item(10_000, "USD")], freight=(500, "USD"), mass_mg=1), True, 0),
        (Consignment("XB", date(2022, 5, 5), [Item(20_000, "USD"), Item(10_000, "USD")], freight=(501, "USD"), mass_mg=1), False, 0),
        # What is told in several currencies has only what conversion makes of it.
        (Consignment("XB", date(2022, 5, 5), [Item(30_000, "USD")], freight=(478, "EUR"), mass_mg=1), False, 0),
        (Consignment("XB", date(2022, 5, 5), [Item(30_000, "USD")], freight=(477, "EUR"), mass_mg=1), True, 0),
        # Less than 100.00 USD are 99.99, which are converted to 95.25 EUR where 100.00 are 95.238.
        (Consignment("XB", date(2022, 5, 5), [Item(9_999, "USD"), Item(10_000, "USD")], mass_mg=1), True, 1),
    ],
)  # fmt: skip
def test_what_is_told_in_the_currency_of_a_limit_keeps_it_by_what_is_told_whatever_conversion_rounds(
    filed: Consignment, within: bool, items: int
) -> None:
    law = compile_program(
        [read_rulebook("xx/rulebook.yaml", IN_DOLLARS)],
        [read_tariff("xx/tariff.yaml", lawbooks.TARIFF)],
        ExchangeTables(read_exchange("rates/utopia.yaml", lawbooks.RATES)),
    )
    (columns,) = assessed(law, [filed])
    charges = [charge.charge for charge in columns.charges]
    assert ("XX.stamp" in charges, charges.count("XX.piece")) == (within, items)
    assert columns == Scalar(law).assess(filed)


def test_debts_that_together_are_beyond_all_numbers_do_not_fit_a_limit() -> None:
    done = assess(lawbooks.utopia(), filings([parcel(5000)] * 1000))
    done.by_collector[COLLECTORS.index("customs")][:] = 10**16
    importer = Strings.constant("importer", 1000)
    room = Room("EUR", 5 * 10**16)
    securities = Securities(False, {"deferred:importer": Opened(frozenset({"importer"}), room=room)})
    secured = secured_by(done, importer, importer, securities, AccountNames())
    assert np.flatnonzero(secured.account).tolist() == [0, 1, 2, 3, 4]
