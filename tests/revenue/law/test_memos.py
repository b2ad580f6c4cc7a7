"""Cases: deciding once for all goods that are charged alike gives what deciding each line of goods by itself gives."""

import gc
import random
import weakref
from datetime import date, timedelta

import numpy as np
import pytest

from services.revenue.law.batch import caches
from services.revenue.law.batch.caches import BoundedCache
from services.revenue.law.program.plans import PLANS, Plan, plan_of
from services.revenue.law.program.program import Program
from services.revenue.store.law_files import load_program
from tests.revenue.law.batches import assessed
from tests.revenue.law.oracle_charges import Consignment, Item

EVERYWHERE = ("DE", "FR", "NL", "FI", "GB", "CH", "NO", "US", "BR", "AU", "JP", "NZ")
UNION = EVERYWHERE[:4]
CODES = ("620630", "490199", "020110", "180632", "170490", "210690", "151710", "220421", "330300", "851713", "")
DAYS = (date(2024, 3, 1), date(2026, 6, 30), date(2026, 8, 3))


class EachAlone(BoundedCache[Plan]):
    """Plans under which each row and item is a case of its own, as where the answers have no room in a key."""

    def put(self, key: bytes, value: Plan) -> Plan:
        value.keyed = False
        return super().put(key, value)


@pytest.fixture(scope="module")
def law() -> Program:
    return load_program()


def parcels(seed: int, count: int, places: tuple[str, ...]) -> list[Consignment]:
    rng = random.Random(seed)

    def item() -> Item:
        price, currency = rng.choice((0, 900, 14_999, 40_000, 200_000)), rng.choice(("EUR", "USD"))
        origin, preference = rng.choice(("", "CN", "CH")), rng.choice(("", "", "300"))
        return Item(price, currency, rng.choice(CODES), preference=preference, origin=origin)

    return [
        Consignment(
            rng.choice(places),
            rng.choice(DAYS),
            [item() for _ in range(rng.randint(1, 3))],
            freight=rng.choice((None, (500, "EUR"))),
            nature=rng.choice(("", "sale", "gift")),
            consignor=rng.choice(("", "natural")),
            schemes=rng.choice(([], [("ioss", "IM2760000014")])),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("places", [UNION, EVERYWHERE], ids=["one rulebook", "many rulebooks"])
def test_cases_give_what_each_line_of_goods_alone_gives(
    law: Program, monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...]
) -> None:
    batches = [parcels(seed, 60, places) for seed in range(4)]
    # The later batches find cases of the earlier ones, and add some.
    together = [assessed(law, batch) for batch in batches]
    monkeypatch.setitem(PLANS, law, EachAlone(64))
    assert together == [assessed(law, batch) for batch in batches]
    assert any(each.charges for batch in together for each in batch)


def test_what_other_countries_ask_of_goods_is_no_answer_of_a_consignment(law: Program) -> None:
    """Rates of food are lists of codes in each member state: a key holds no more of them than one state asks for."""
    names = [read.rulebook.jurisdiction for read in law.books]
    both = [names.index("EU"), names.index("US")]
    plan = plan_of(law, np.flatnonzero(np.isin(law.regimes.jurisdiction, both)))
    assert len(plan.features.goods_conditions) > 20 > plan.features.goods_bits
    assert plan.keyed
    # Days of which each is a regime's own, so that no two rows are alike.
    days = [date(2021, 1, 1) + timedelta(days=70 * at) for at in range(27)]
    batch = [
        Consignment(to, day, [Item(900, code=code) for code in CODES]) for to, day in zip(UNION * 7, days, strict=False)
    ]
    assert assessed(law, batch) == [assessed(law, [each])[0] for each in batch]


def test_cases_that_are_forgotten_are_decided_again(law: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [parcels(seed, 40, UNION) for seed in range(4)]
    known = [assessed(law, batch) for batch in batches]
    monkeypatch.setitem(PLANS, law, BoundedCache[Plan](64))
    monkeypatch.setattr(caches, "CASES_MAX", 2)
    assert known == [assessed(law, batch) for batch in batches]


def test_plans_go_with_their_program() -> None:
    law = load_program()
    assessed(law, parcels(0, 4, UNION))
    assert law in PLANS
    gone = weakref.ref(law)
    del law
    gc.collect()
    assert gone() is None


def test_what_is_kept_is_bounded_and_the_first_goes_first() -> None:
    store = BoundedCache[int](2)
    for number in range(3):
        store.put(bytes([number]), number)
    assert [store.get(bytes([number])) for number in range(3)] == [None, 1, 2]
