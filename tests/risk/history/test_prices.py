"""Where a price lies among those of its kind."""

from __future__ import annotations

import numpy as np
import pytest

from services.risk.history import Record
from services.risk.history.tables.prices import PRICES_MIN, Prices
from tests.risk.history.oracle import DAY, START, Plain, record

GOODS = 610910 * 1_024 + 65


def filled(count: int, seed: int = 1) -> tuple[Prices, np.ndarray]:
    random = np.random.default_rng(seed)
    drawn = np.maximum(1, random.lognormal(7, 0.8, count).astype(np.int64))
    prices = Prices(1_024, 4_096)
    prices.add(np.full(count, GOODS), drawn, START)
    return prices, drawn


def test_a_rank_is_near_the_exact_one() -> None:
    prices, drawn = filled(5_000)
    asked = np.quantile(drawn, [0.005, 0.01, 0.05, 0.25, 0.5, 0.9, 0.99]).astype(np.int64)
    rank, known = prices.rank(np.full(len(asked), GOODS), asked, START + 60)
    exact = np.array([(drawn < price).mean() * 1_000 for price in asked])
    assert known.tolist() == [5_000] * len(asked)
    # A step of 26 % holds at most an eighth of such prices, and within it they are taken as even.
    assert np.abs(rank - exact).max() < 15
    assert np.abs(rank - exact)[:3].max() < 4


def test_prices_count_from_the_next_hour_on() -> None:
    prices, drawn = filled(100)
    goods = np.array([GOODS])
    assert prices.rank(goods, drawn[:1], START + 59)[1].tolist() == [0]
    assert prices.rank(goods, drawn[:1], START + 60)[1].tolist() == [100]


def test_prices_of_an_hour_that_ended_count_though_they_come_late() -> None:
    prices, drawn = filled(100)
    goods = np.array([GOODS])
    prices.add(goods, np.array([5_000]), START + 60)
    prices.add(goods, np.array([5_000]), START + 59)
    assert prices.rank(goods, drawn[:1], START + 61)[1].tolist() == [101]
    assert prices.rank(goods, drawn[:1], START + 120)[1].tolist() == [102]


def test_the_end_of_an_hour_costs_no_more_than_any_other_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    prices, random = Prices(1_024, 1 << 14), np.random.default_rng(2)
    sizes: list[int] = []
    place, find = prices.table.place, prices.table.find
    monkeypatch.setattr(prices.table, "place", lambda keys, oldest: (sizes.append(len(keys)), place(keys, oldest))[1])
    monkeypatch.setattr(prices.table, "find", lambda keys: (sizes.append(len(keys)), find(keys))[1])
    for number in range(60):
        prices.add(random.integers(0, 5_000, 600), random.integers(1, 5_000, 600), START + number)
    prices.rank(random.integers(0, 5_000, 600), random.integers(1, 5_000, 600), START + 60)
    prices.add(random.integers(0, 5_000, 600), random.integers(1, 5_000, 600), START + 60)
    assert max(sizes) <= 600, "prices are looked up by the batch, never by the hour"


def test_few_prices_say_nothing() -> None:
    prices, drawn = filled(PRICES_MIN - 1)
    rank, known = prices.rank(np.array([GOODS]), drawn[:1], START + 60)
    assert (rank.tolist(), known.tolist()) == ([-1], [PRICES_MIN - 1])


@pytest.mark.parametrize(("goods", "price"), [(-1, 100), (GOODS, 0)])
def test_goods_or_prices_that_are_not_told_have_no_rank(goods: int, price: int) -> None:
    prices, _ = filled(100)
    assert prices.rank(np.array([goods]), np.array([price]), START + 60)[0].tolist() == [-1]


def test_prices_leave_after_two_periods() -> None:
    plain, prices = Plain(), Prices(1_024, 4_096)
    random = np.random.default_rng(3)
    for day in range(0, 130, 3):
        one = record(random, 40, START + day * DAY, first_position=day * 40)
        rank, known = prices.rank(one.goods, one.price, one.minute)
        for place in range(one.rows):
            if one.goods[place] >= 0 and one.price[place] > 0:
                count, share = plain.rank(one.minute, int(one.goods[place]), int(one.price[place]))
                assert known[place] == count - _unpriced(plain, one, place)
                assert (rank[place] >= 0) == (known[place] >= PRICES_MIN)
                if share is not None and known[place] > 100:
                    assert abs(rank[place] / 1_000 - share) < 0.1
        plain.assess(one)
        prices.add(one.goods, one.price, one.minute)


def _unpriced(plain: Plain, one: Record, place: int) -> int:
    saved, plain.prices = plain.prices, [each for each in plain.prices if each[2] == 0]
    count = plain.rank(one.minute, int(one.goods[place]), 1)[0]
    plain.prices = saved
    return count


def test_a_full_table_forgets_the_pairs_of_long_ago() -> None:
    prices = Prices(1_024, 1_024)
    goods = np.arange(600)
    prices.add(goods, np.full(600, 100), START)
    prices.rank(goods, np.full(600, 100), START + 60)
    later = 16 * DAY
    prices.add(goods + 10_000, np.full(600, 100), START + later)
    assert prices.rank(goods + 10_000, np.full(600, 100), START + later + 60)[1].sum() > 0
    assert prices.table.evicted > 0
    assert prices.table.capacity == 1_024
