"""Draws of one block of traffic, all consignments at once: flights, rows and items as numpy columns."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libs.simulator.catalogue import Catalogue
from libs.simulator.numbers import mix
from libs.simulator.scenario import Scenario
from libs.simulator.world import World

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK_ROWS = 4096
DAY_MICROS = 86_400_000_000
SERVICES = ("express", "cargo", "post")
_ROUTE_ROWS = 16
_FLIGHT_ROWS = {"express": 90.0, "cargo": 220.0, "post": 40.0}
_ITEM_SHARES = (0.60, 0.24, 0.11, 0.05)
_QUANTITY_SHARES = (0.80, 0.12, 0.04, 0.025, 0.015)
_MINUTE = 60_000_000


@dataclass
class Flights:
    """Flights (and with them master documents) of a block; equal length, times in microseconds since 1970."""

    origin: Ints
    market: Ints
    gateway: Ints
    service: Ints
    carrier: Ints
    size: Ints
    filed: Ints
    departure: Ints
    arrival: Ints
    number: Ints
    fraud_route: Mask


@dataclass
class Block:
    """Consignments of a block as columns; items are flat, those of row i stand from first[i] to first[i + 1].

    What is declared stands beside what is true; before misbehaviour is added they are equal. Prices are unit prices
    in EUR cents, masses milligrams of one piece.
    """

    flights: Flights
    flight: Ints
    destination: Ints
    market: Ints
    seller: Ints
    household: NDArray[np.uint64]
    dear: Mask
    gift: Mask
    first: Ints
    row: Ints
    good: Ints
    variant: Ints
    quantity: Ints
    price: Floats
    mass: Ints
    origin: Ints
    order_number: Ints
    order_age: Ints
    packing: Floats
    currency_draw: Floats
    freight: Ints
    true_good: Ints
    true_variant: Ints
    true_price: Floats
    labels: Ints
    """Bit i is set where the consignment carries label i."""
    claims_gift: Mask
    vague: Ints
    """Index of the item's vague description, -1 where it is described."""
    consignor_names: dict[int, str] = field(default_factory=dict)
    consignee_names: dict[int, str] = field(default_factory=dict)
    splits: dict[int, int] = field(default_factory=dict)
    """Row to the number of its split order."""

    @property
    def rows(self) -> int:
        """How many consignments there are."""
        return len(self.flight)


class DayDraws:
    """Tables that hold for one day of a scenario, and the draws from them."""

    def __init__(self, world: World, scenario: Scenario, catalogue: Catalogue, day: int, start_micros: int) -> None:
        self._world, self._scenario, self._catalogue, self._day = world, scenario, catalogue, day
        self._midnight = start_micros + day * DAY_MICROS
        since = scenario.drift_days(day)
        drift = scenario.drift
        groups = {} if drift is None else drift.groups_per_day
        goods = catalogue.goods
        growth = np.array([groups.get(group, 0.0) for group in goods.groups] + [0.0])
        weights = goods.weight * np.exp(growth[goods.group_of] * since)
        self._cumulated = np.concatenate([[0.0], np.cumsum(weights)])
        self._price = (
            goods.price * scenario.price_level * (1.0 if drift is None else np.exp(drift.price_per_day * since))
        )
        self._markets = list(scenario.markets)
        self._routes(since)
        countries = [catalogue.place_of[country] for country in scenario.union]
        self._union = np.array(countries)
        self._union_cumulated = np.cumsum(list(scenario.union.values())) / sum(scenario.union.values())
        self._market_place = np.array(
            [-1 if market == "EU" else catalogue.place_of[market] for market in self._markets]
        )
        # Sellers keep to their own group, so that the mix moves only when the orders move from seller to seller.
        popularity = world.slot_popularity * np.exp(growth[world.slot_group] * since)
        self._popularity = {
            place: np.cumsum(popularity[slots]) / popularity[slots].sum() for place, slots in world.slots_of.items()
        }
        gateways = catalogue.traders["gateways"]
        self._gateways = {
            service: (
                np.array([catalogue.place_of[country] for country in gateways[service]]),
                np.cumsum(list(gateways[service].values())) / sum(gateways[service].values()),
            )
            for service in ("express", "cargo")
        }
        self._carriers = {
            service: [index for index, carrier in enumerate(world.carriers) if carrier.service == service]
            for service in SERVICES
        }

    def _routes(self, since: int) -> None:
        """Kinds of flights (origin, market, service, fraud route) and how many fly, so that rows keep their shares."""
        scenario, drift = self._scenario, self._scenario.drift
        change = {} if drift is None else drift.origins_per_day
        kinds: list[tuple[int, int, int, bool]] = []
        weights: list[float] = []
        total = sum(share * np.exp(change.get(origin, 0.0) * since) for origin, share in scenario.origins.items())
        for origin, share in scenario.origins.items():
            rows = share * np.exp(change.get(origin, 0.0) * since) / total
            for market, (name, market_share) in enumerate(scenario.markets.items()):
                if name == origin:
                    continue
                for service, kind in enumerate(SERVICES):
                    kinds.append((self._catalogue.place_of[origin], market, service, False))
                    weights.append(rows * market_share * scenario.services[kind] / _FLIGHT_ROWS[kind])
        self._kinds = np.array(kinds, dtype=np.int64)
        self._kind_cumulated = np.cumsum(weights) / np.sum(weights)

        fraud = scenario.new_fraud
        self._route = 0.0 if fraud is None else fraud.share_on(self._day) / (1.0 - fraud.honest_share)
        if fraud is not None:
            place, market, service = fraud.origin, self._markets.index("EU"), SERVICES.index(fraud.service)
            self._route_kind = np.array([self._catalogue.place_of[place], market, service, 1])

    def _draw_route(self, rng: np.random.Generator, rows: int) -> Ints:
        """Sizes of the flights of the new fraud's route; their number hardly varies, so that it begins on its day."""
        if self._route == 0.0:
            return np.zeros(0, dtype=np.int64)
        count = int(self._route * rows / _ROUTE_ROWS + rng.random())
        size: Ints = rng.integers(_ROUTE_ROWS // 2, _ROUTE_ROWS * 3 // 2 + 1, count)
        return size if int(size.sum()) < rows else size[:0]

    def block(self, index: int, blocks: int, rows: int) -> Block:
        """Draw the honest traffic of one block of a day. The block's number says which part of the day it fills."""
        rng = self._world.stream("traffic", self._day, index)
        flights = self._draw_flights(rng, index, blocks, rows)
        flight = np.repeat(np.arange(len(flights.size)), flights.size)
        market = flights.market[flight]
        destination = self._draw_destinations(rng, flights, flight)
        seller = self._draw_sellers(rng, flights.origin[flight])
        post = flights.service[flight] == SERVICES.index("post")
        gift = post & (rng.random(rows) < self._scenario.gift_share)
        dear = ~gift & (rng.random(rows) < self._scenario.over_limit_share)
        counts = 1 + np.searchsorted(np.cumsum(_ITEM_SHARES)[:-1], rng.random(rows))
        counts[dear] = 1
        first = np.concatenate([[0], np.cumsum(counts)])
        row = np.repeat(np.arange(rows), counts)
        good = self._draw_goods(rng, seller[row], dear[row])
        goods, items = self._catalogue.goods, len(row)
        variant = (rng.random(items) * goods.variants[good]).astype(np.int64)
        quantity = 1 + np.searchsorted(np.cumsum(_QUANTITY_SHARES)[:-1], rng.random(items))
        quantity[dear[row]] = 1
        price = self._draw_prices(rng, good, dear[row])
        mass = (goods.lightest[good] + rng.random(items) * (goods.heaviest - goods.lightest)[good]) * 1000
        lanes = goods.origin_allowed[good, self._world.slot_country[seller[row]]]
        origin = np.where(lanes, self._world.slot_country[seller[row]], goods.first_origin[good])
        people = rng.integers(0, self._scenario.households, rows).astype(np.uint64)
        freight = np.where(rng.random(rows) < 0.35, rng.integers(9, 80, rows) * 10, 0)
        return Block(
            flights=flights, flight=flight, destination=destination, market=market, seller=seller,
            household=mix(people + (destination.astype(np.uint64) << np.uint64(40)), 0), dear=dear, gift=gift,
            first=first, row=row, good=good, variant=variant, quantity=quantity, price=price,
            mass=mass.astype(np.int64), origin=origin, order_number=rng.integers(10**11, 10**12, rows),
            order_age=rng.integers(6 * 3600, 12 * 86400, rows), packing=0.02 + 0.12 * rng.random(rows),
            currency_draw=rng.random(rows), freight=freight, true_good=good.copy(), true_variant=variant.copy(),
            true_price=price.copy(), labels=np.zeros(rows, dtype=np.int64), claims_gift=gift.copy(),
            vague=np.full(items, -1, dtype=np.int64),
        )  # fmt: skip

    def _draw_flights(self, rng: np.random.Generator, index: int, blocks: int, rows: int) -> Flights:
        route_size = self._draw_route(rng, rows)
        rest = rows - int(route_size.sum())
        # Enough flights for any block: the smallest hold 8 rows, so rows / 8 always fill it.
        count = rest // 8 + 1
        draw = np.searchsorted(self._kind_cumulated, rng.random(count), side="right")
        kind = self._kinds[draw.clip(0, len(self._kinds) - 1)]
        mean = np.array([_FLIGHT_ROWS[service] for service in SERVICES])[kind[:, 2]]
        size = np.maximum(8, mean * rng.lognormal(-0.125, 0.5, count)).astype(np.int64)
        used = int(np.searchsorted(np.cumsum(size), rest)) + 1
        kind, size = kind[:used], size[:used]
        size[-1] -= int(size.sum()) - rest
        if len(route_size):
            kind = np.concatenate([np.tile(self._route_kind, (len(route_size), 1)), kind])
            size = np.concatenate([route_size, size])
            used = len(size)
            order = rng.permutation(used)
            kind, size = kind[order], size[order]
        part = DAY_MICROS // blocks
        # A flight's own rows are filed within 20 minutes after `filed`, which must not run over midnight.
        filed = self._midnight + index * part + np.sort(rng.random(used) * max(1, part - 21 * _MINUTE)).astype(np.int64)
        departure = (filed // _MINUTE + 60 + rng.integers(0, 600, used)) * _MINUTE
        hours = self._hours(kind)
        arrival = departure + ((hours + rng.normal(0.0, 0.3, used)).clip(0.5) * 60).astype(np.int64) * _MINUTE
        gateway = self._draw_gateways(rng, kind)
        carrier = self._draw_carriers(rng, kind[:, 2])
        return Flights(
            origin=kind[:, 0], market=kind[:, 1], gateway=gateway, service=kind[:, 2], carrier=carrier, size=size,
            filed=filed, departure=departure, arrival=arrival, number=index * (BLOCK_ROWS // 8 + 1) + np.arange(used),
            fraud_route=kind[:, 3].astype(np.bool_),
        )  # fmt: skip

    def _hours(self, kind: Ints) -> Floats:
        flights = self._catalogue.traders["flights"]
        oceania = {self._markets.index(market) for market in ("AU", "NZ") if market in self._markets}
        rows = [
            flights[self._catalogue.places[origin].country]["oceania" if market in oceania else "europe"]
            for origin, market in kind[:, :2].tolist()
        ]
        return np.array(rows, dtype=np.float64)

    def _draw_gateways(self, rng: np.random.Generator, kind: Ints) -> Ints:
        """The Union is entered by service; post flies to the country it is for; other markets have one gateway."""
        draw = rng.random(len(kind))
        gateway = self._market_place[kind[:, 1]]
        union = gateway < 0
        for service, (places, cumulated) in self._gateways.items():
            mask = union & (kind[:, 2] == SERVICES.index(service))
            gateway[mask] = places[np.searchsorted(cumulated, draw[mask])]
        post = union & (kind[:, 2] == SERVICES.index("post"))
        gateway[post] = self._union[np.searchsorted(self._union_cumulated, draw[post])]
        if self._scenario.new_fraud is not None:
            gateway[kind[:, 3] == 1] = self._catalogue.place_of[self._scenario.new_fraud.gateway]
        return gateway

    def _draw_carriers(self, rng: np.random.Generator, service: Ints) -> Ints:
        draw, carrier = rng.random(len(service)), np.zeros(len(service), dtype=np.int64)
        for index, kind in enumerate(SERVICES):
            members = self._carriers[kind]
            shares = np.array([self._world.carriers[member].share for member in members])
            mask = service == index
            carrier[mask] = np.array(members)[np.searchsorted(np.cumsum(shares) / shares.sum(), draw[mask])]
        return carrier

    def _draw_destinations(self, rng: np.random.Generator, flights: Flights, flight: Ints) -> Ints:
        draw = rng.random(len(flight))
        own = self._union[np.searchsorted(self._union_cumulated, draw)]
        by_gateway = (self._market_place[flights.market] >= 0) | (flights.service == SERVICES.index("post"))
        return np.where(by_gateway[flight], flights.gateway[flight], own)

    def _draw_sellers(self, rng: np.random.Generator, origin: Ints) -> Ints:
        draw, seller = rng.random(len(origin)), np.zeros(len(origin), dtype=np.int64)
        for place in np.unique(origin):
            mask = origin == place
            slots = self._world.slots_of[int(place)]
            seller[mask] = slots[np.searchsorted(self._popularity[int(place)], draw[mask]).clip(0, len(slots) - 1)]
        return seller

    def _draw_goods(self, rng: np.random.Generator, seller: Ints, dear: Mask) -> Ints:
        """Two thirds of what a seller sells is of its own group, the rest of any; dear goods are drawn apart."""
        goods = self._catalogue.goods
        own = rng.random(len(seller)) < 0.67
        group = self._world.slot_group[seller]
        low = np.where(own, self._cumulated[goods.group_bounds[group]], 0.0)
        high = np.where(own, self._cumulated[goods.group_bounds[group + 1]], self._cumulated[-1])
        draw = rng.random(len(seller))
        good = np.searchsorted(self._cumulated, low + draw * (high - low), side="right") - 1
        return np.where(dear, goods.dear[(draw * len(goods.dear)).astype(np.int64)], good)

    def _draw_prices(self, rng: np.random.Generator, good: Ints, dear: Mask) -> Floats:
        goods, items = self._catalogue.goods, len(good)
        noise = np.exp(goods.spread[good] * rng.standard_normal(items))
        promoted = np.where(rng.random(items) < 0.03, 0.5, 1.0)
        price = np.maximum(30.0, self._price[good] * noise * promoted)
        above = 15500.0 + 9000.0 * rng.standard_exponential(items)
        # A dear thing costs what it costs, but never so little that the consignment would be of low value.
        return np.where(dear, np.maximum(goods.price[good] * noise, above), price)
