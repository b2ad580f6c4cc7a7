"""Adds misbehaviour to a block of honest traffic: what is declared changes, what is true stays beside it."""

from typing import Any

import numpy as np

from libs.simulator.catalogue import Catalogue
from libs.simulator.draws import Block, Ints, Mask
from libs.simulator.scenario import (
    LABELS,
    THROW_AWAY_UNDERVALUED,
    VAGUE_UNDERVALUED,
    NewFraud,
    Scenario,
    induced_undervaluation,
)
from libs.simulator.world import THROW_AWAY_DAYS, THROW_AWAY_PARCELS, Seller, World

LABEL_BIT = {label: 1 << index for index, label in enumerate(LABELS)}
NEW_FRAUD_BIT = 1 << len(LABELS)

_PRIMARY = (
    "undervaluation",
    "vague_description",
    "false_description",
    "gift_misuse",
    "throw_away_seller",
    "prohibited_goods",
    "listed_party",
)
_REPEATED = ("undervaluation", "vague_description", "false_description", "gift_misuse", "prohibited_goods")
_SPLIT_SIZES = (2, 3, 4)
_GIFT_LIMIT_CENTS = 4400.0


class Misbehaviour:
    """What goes wrong on one day of a scenario."""

    def __init__(
        self, world: World, scenario: Scenario, catalogue: Catalogue, day: int, volume: int, sellers: list[Seller]
    ) -> None:
        self._world, self._scenario, self._catalogue, self._day = world, scenario, catalogue, day
        self._sellers = sellers
        self._rates = scenario.rates(day)
        thrown = self._rates["throw_away_seller"] * volume * THROW_AWAY_DAYS / THROW_AWAY_PARCELS
        self._throw_aways = max(2, round(thrown))

    def add(self, block: Block, index: int) -> tuple[Mask, list[Seller], dict[int, dict[str, Any]]]:
        """Change a block in place.

        Returns the mask of items in which an inspection would find a violation, the throw-away sellers (their seller
        index is the number of slots plus their place in the list), and the listed party of each row that has one.
        """
        rng = self._world.stream("misbehaviour", self._day, index)
        violates = np.zeros(len(block.row), dtype=np.bool_)
        free = ~block.gift
        if self._scenario.new_fraud is not None:
            free &= ~self._new_fraud(rng, block, violates, self._scenario.new_fraud)
        free &= ~self._split(rng, block, violates, free)
        masks = self._choose(rng, block, free)
        stand_ins = self._throw_away(rng, block, masks["throw_away_seller"])
        self._repeat(rng, block, masks)
        self._vague(rng, block, masks["vague_description"])
        self._false_description(rng, block, masks["false_description"], violates)
        self._gift(rng, block, masks["gift_misuse"], violates)
        self._prohibited(rng, block, masks["prohibited_goods"], violates)
        watchlist_parties = self._use_watchlist(rng, block, masks["listed_party"], violates)
        thrown = masks["throw_away_seller"] & (rng.random(block.rows) < THROW_AWAY_UNDERVALUED)
        vague = masks["vague_description"] & (rng.random(block.rows) < VAGUE_UNDERVALUED)
        self._undervalue(rng, block, masks["undervaluation"] | thrown | vague, violates)
        return violates, stand_ins, watchlist_parties

    def _choose(self, rng: np.random.Generator, block: Block, free: Mask) -> dict[str, Mask]:
        """At most one first thing is wrong with a row; rates are lifted by the share of rows that is not free."""
        rates = dict(self._rates)
        rates["undervaluation"] -= induced_undervaluation(rates)
        scenario = self._scenario
        expected = 1.0 - scenario.gift_share * scenario.services["post"] - rates["splitting"]
        edges = np.cumsum([rates[label] for label in _PRIMARY]) / expected
        choice = np.where(free, np.searchsorted(edges, rng.random(block.rows), side="right"), len(_PRIMARY))
        masks = {label: choice == place for place, label in enumerate(_PRIMARY)}
        for label, mask in masks.items():
            block.labels[mask] |= LABEL_BIT[label]
        return masks

    def _repeat(self, rng: np.random.Generator, block: Block, masks: dict[str, Mask]) -> None:
        """Part of the violations is the work of few sellers."""
        candidates = np.logical_or.reduce([masks[label] for label in _REPEATED])
        wanted = self._rates["repeat_offender"] / sum(self._own_rate(label) for label in _REPEATED)
        known = np.isin(block.seller, np.flatnonzero(self._world.slot_offends))
        already = float(known.mean())
        chosen = candidates & ~known & (rng.random(block.rows) < max(0.0, (wanted - already) / (1.0 - already)))
        draw = rng.random(block.rows)
        for place, offenders in self._world.offenders_of.items():
            mask = chosen & (block.flights.origin[block.flight] == place)
            block.seller[mask] = offenders[(draw[mask] * len(offenders)).astype(np.int64)]
        block.labels[candidates & (known | chosen)] |= LABEL_BIT["repeat_offender"]

    def _own_rate(self, label: str) -> float:
        induced = induced_undervaluation(self._rates) if label == "undervaluation" else 0.0
        return self._rates[label] - induced

    def _throw_away(self, rng: np.random.Generator, block: Block, mask: Mask) -> list[Seller]:
        sellers: list[Seller] = []
        window = self._day // THROW_AWAY_DAYS
        for row in np.flatnonzero(mask).tolist():
            place = int(block.flights.origin[block.flight[row]])
            number = int(rng.integers(self._throw_aways))
            block.seller[row] = len(self._sellers) + len(sellers)
            sellers.append(self._world.throw_away(window, number, place))
        return sellers

    def _undervalue(self, rng: np.random.Generator, block: Block, mask: Mask, violates: Mask) -> None:
        """Cheap goods lose 55 to 92 % of their price or are said to cost 1; dear ones sink under the limit."""
        block.labels[mask] |= LABEL_BIT["undervaluation"]
        factor = rng.uniform(0.08, 0.45, block.rows)
        one = rng.random(block.rows) < 0.12
        target = rng.uniform(2000.0, 14000.0, block.rows)
        items = mask[block.row]
        cheap = np.where(one[block.row], 100.0 / block.quantity, block.price * factor[block.row])
        # Never above what a line costs in truth: a thing of 60 cents declared at 1 EUR is not undervalued.
        cheap = np.minimum(cheap, block.price * 0.6)
        dear = np.minimum(target[block.row] / block.quantity, block.price * 0.6)
        block.price[items] = np.where(block.dear[block.row], dear, cheap)[items]
        violates |= items

    def _vague(self, rng: np.random.Generator, block: Block, mask: Mask) -> None:
        words = self._catalogue.wording["vague"]
        items = mask[block.row]
        block.vague[items] = rng.integers(0, len(words), int(items.sum()))

    def _cover(self, rng: np.random.Generator, block: Block, items: Ints, covers: Ints) -> None:
        """Declare items as something else; masses stay those of what is really inside."""
        cover = covers[rng.integers(0, len(covers), len(items))]
        goods = self._catalogue.goods
        same = cover == block.true_good[items]
        cover[same] = covers[(np.searchsorted(covers, cover[same]) + 1) % len(covers)]
        block.good[items] = cover
        block.variant[items] = (rng.random(len(items)) * goods.variants[cover]).astype(np.int64)
        noise = np.exp(goods.spread[cover] * rng.standard_normal(len(items)))
        block.price[items] = np.maximum(50.0, goods.price[cover] * self._scenario.price_level * noise)

    def _put_inside(self, rng: np.random.Generator, block: Block, items: Ints, good: Ints) -> None:
        """Make items really be other goods, declared as what they are; a cover may follow."""
        goods = self._catalogue.goods
        block.true_good[items] = block.good[items] = good
        variant = (rng.random(len(items)) * goods.variants[good]).astype(np.int64)
        block.true_variant[items] = block.variant[items] = variant
        price = goods.price[good] * np.exp(goods.spread[good] * rng.standard_normal(len(items)))
        block.true_price[items] = block.price[items] = price
        grams = goods.lightest[good] + rng.random(len(items)) * (goods.heaviest - goods.lightest)[good]
        block.mass[items] = (grams * 1000).astype(np.int64)

    def _false_description(self, rng: np.random.Generator, block: Block, mask: Mask, violates: Mask) -> None:
        rows = np.flatnonzero(mask)
        items = block.first[rows]
        goods = self._catalogue.goods
        better = ~block.dear[rows] & (rng.random(len(rows)) < 0.7)
        inside = goods.middling[rng.integers(0, len(goods.middling), int(better.sum()))]
        self._put_inside(rng, block, items[better], inside)
        self._cover(rng, block, items, np.sort(goods.covers))
        violates[items] = True

    def _gift(self, rng: np.random.Generator, block: Block, mask: Mask, violates: Mask) -> None:
        """A seller sends goods in a person's name, as a gift worth less than the limit of gifts."""
        block.claims_gift |= mask
        everybody = self._sellers
        for row in np.flatnonzero(mask).tolist():
            block.consignor_names[row] = everybody[int(block.seller[row])].person
            items = slice(int(block.first[row]), int(block.first[row + 1]))
            total = float((block.price[items] * block.quantity[items]).sum())
            if total > _GIFT_LIMIT_CENTS:
                block.price[items] *= rng.uniform(1500.0, _GIFT_LIMIT_CENTS) / total
        violates |= mask[block.row]

    def _prohibited(self, rng: np.random.Generator, block: Block, mask: Mask, violates: Mask) -> None:
        goods = self._catalogue.goods
        rows = np.flatnonzero(mask)
        items = block.first[rows]
        good = goods.prohibited[rng.integers(0, len(goods.prohibited), len(rows))]
        self._put_inside(rng, block, items, good)
        open_share = np.array([goods.goods[index].open_share for index in good.tolist()])
        self._cover(rng, block, items[rng.random(len(rows)) >= open_share], np.sort(goods.covers))
        violates[items] = True

    def _use_watchlist(
        self, rng: np.random.Generator, block: Block, mask: Mask, violates: Mask
    ) -> dict[int, dict[str, Any]]:
        watchlist = self._catalogue.watchlist
        persons = [party for party in watchlist if party["kind"] == "person"]
        found: dict[int, dict[str, Any]] = {}
        for row in np.flatnonzero(mask).tolist():
            receives = rng.random() < 0.5
            choices = persons if receives else watchlist
            party = choices[int(rng.integers(len(choices)))]
            names = block.consignee_names if receives else block.consignor_names
            names[row] = _written(party, rng)
            found[row] = party
        violates |= mask[block.row]
        return found

    def _split(self, rng: np.random.Generator, block: Block, violates: Mask, free: Mask) -> Mask:
        """Orders over the limit go out as two to four parcels of one flight, each below it."""
        mean = sum(_SPLIT_SIZES) / len(_SPLIT_SIZES)
        starts = np.flatnonzero(rng.random(block.rows) < self._rates["splitting"] / mean)
        ends = np.cumsum(block.flights.size)
        taken = np.zeros(block.rows, dtype=np.bool_)
        for number, start in enumerate(starts.tolist()):
            size = int(rng.choice(_SPLIT_SIZES))
            first = min(start, int(ends[block.flight[start]]) - size)
            rows = slice(first, first + size)
            if first < 0 or block.flight[first] != block.flight[start] or taken[rows].any() or not free[rows].all():
                continue
            taken[rows] = True
            self._split_order(rng, block, number, first, size)
        block.labels[taken] |= LABEL_BIT["splitting"]
        violates |= taken[block.row]
        return taken

    def _split_order(self, rng: np.random.Generator, block: Block, number: int, first: int, size: int) -> None:
        goods = self._catalogue.goods
        one_order = rng.random() < 0.4
        for row in range(first, first + size):
            block.splits[row] = number
            block.seller[row], block.household[row] = block.seller[first], block.household[first]
            block.destination[row], block.order_age[row] = (
                block.destination[first],
                block.order_age[first] + row - first,
            )
            block.currency_draw[row] = block.currency_draw[first]
            block.dear[row] = False
            if one_order:
                block.order_number[row] = block.order_number[first]
            items = np.arange(block.first[row], block.first[row + 1])
            self._put_inside(rng, block, items, goods.middling[rng.integers(0, len(goods.middling), len(items))])
            value = rng.uniform(7800.0, 14200.0) / len(items) / block.quantity[items]
            block.price[items] = block.true_price[items] = value

    def _new_fraud(self, rng: np.random.Generator, block: Block, violates: Mask, fraud: NewFraud) -> Mask:
        """On the fraud's own route most rows carry other goods than they say, of another origin than they say."""
        goods = self._catalogue.goods
        draw = rng.random(block.rows) >= fraud.honest_share
        mask: Mask = block.flights.fraud_route[block.flight] & ~block.gift & draw
        items = np.flatnonzero(mask[block.row])
        inside = goods.with_code(fraud.true_codes)
        self._put_inside(rng, block, items, inside[rng.integers(0, len(inside), len(items))])
        self._cover(rng, block, items, np.sort(goods.with_code(fraud.cover_codes)))
        block.origin[items] = self._catalogue.place_of[fraud.origin]
        block.dear[mask] = False
        block.labels[mask] |= NEW_FRAUD_BIT
        violates[items] = True
        return mask


def _written(party: dict[str, Any], rng: np.random.Generator) -> str:
    """Return a listed party's name as it is written: often as listed, else an alias, turned round or mistyped."""
    name, draw = str(party["name"]), rng.random()
    if draw < 0.4:
        return name
    if draw < 0.55 and party["aliases"]:
        return str(party["aliases"][int(rng.integers(len(party["aliases"])))])
    if draw < 0.75 and party["kind"] == "person":
        return " ".join(reversed(name.split(" ")))
    # Two letters change places inside a word: a blank that moves would make other words.
    places = [place for place in range(len(name) - 1) if name[place : place + 2].isalpha()]
    place = places[int(rng.integers(len(places)))]
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]
