"""Who trades and carries: sellers that stay, sellers that are thrown away, platforms, carriers. Drawn from the seed alone."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from libs.simulator.catalogue import Catalogue, Place
from libs.simulator.numbers import ioss_number
from libs.simulator.scenario import Scenario
from luxor.consignment.v1 import consignment_pb2 as pb

THROW_AWAY_DAYS = 3
"""A throw-away seller is used for so many days, then never again."""
THROW_AWAY_PARCELS = 12
"""About so many consignments go out under one throw-away name."""
_OPERATORS = 9
_STREAMS = {"sellers": 1, "identity": 2, "throw-away": 3, "traffic": 4, "misbehaviour": 5}
_IDENTIFYING_STATES = ("528", "276", "372", "250", "442")


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller as it shows on consignments."""

    identifier: str
    """What the truth calls it; never in the manifest."""
    name: str
    country: str
    price_factor: float
    platform: int
    """Index of its platform, -1 where it has a shop of its own."""
    fragment: bytes
    """A serialised Consignment with consignor, seller and platform of the order."""
    product_prefix: str
    ioss: str
    """Its own IOSS number, "" where it has none."""
    person: str
    """Name of the person behind it, under which it sends what it calls gifts."""


@dataclass(frozen=True)
class Carrier:
    """A carrier, which also files for what it carries."""

    filer: str
    name: str
    service: str
    prefix: str
    code: str
    share: float
    party: pb.Party


@dataclass(frozen=True)
class Platform:
    """A platform; number is its IOSS number, "" where it has none."""

    name: str
    domain: str
    number: str
    party: pb.Party


class World:
    """Sellers, platforms and carriers of one seed and scenario."""

    def __init__(self, seed: int, scenario: Scenario, catalogue: Catalogue) -> None:
        if seed < 0:
            raise ValueError(f"a seed is a whole number from 0; got {seed}")
        self._catalogue = catalogue
        self._scenario = scenario
        # The name is part of the entropy: two scenarios of one seed share no parties by accident.
        name = int.from_bytes(hashlib.sha256(scenario.name.encode()).digest()[:8], "big")
        self._entropy = [seed, name]
        self.platforms = tuple(self._platform(index) for index in range(len(catalogue.traders["platforms"])))
        self.carriers = tuple(self._carrier(index) for index in range(len(catalogue.traders["carriers"])))
        self._draw_slots()
        self.identity = lru_cache(maxsize=200_000)(self._identity)
        self.throw_away = lru_cache(maxsize=50_000)(self._throw_away)

    def stream(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Return the generator of a purpose (traffic, misbehaviour ...) and of numbers such as day and block."""
        sequence = np.random.SeedSequence([*self._entropy, _STREAMS[purpose], *numbers])
        return np.random.Generator(np.random.PCG64(sequence))

    def _draw_slots(self) -> None:
        """A slot is a place in the market that one seller after the other fills; without turnover always the same one."""
        scenario, rng = self._scenario, self.stream("sellers")
        origins = [origin for origin, share in scenario.origins.items() if share > 0]
        shares = np.array([scenario.origins[origin] for origin in origins])
        counts = np.maximum(6, np.round(scenario.sellers * shares / shares.sum())).astype(np.int64)
        total = int(counts.sum())
        goods, platforms = self._catalogue.goods, self._catalogue.traders["platforms"]
        weights = np.add.reduceat(goods.weight, goods.group_bounds[:-1])
        platform_shares = np.array([float(platform["share"]) for platform in platforms])
        self.slot_country = np.repeat([self._catalogue.place_of[origin] for origin in origins], counts)
        self.slot_group = rng.choice(len(goods.groups), size=total, p=weights / weights.sum())
        self.slot_platform = rng.choice(len(platforms), size=total, p=platform_shares / platform_shares.sum())
        self.slot_platform[rng.random(total) < 0.14] = -1
        self.slot_phase = rng.random(total)
        self.slot_popularity = rng.pareto(1.1, total) + 0.2
        self.slot_offends = np.zeros(total, dtype=np.bool_)
        self.slots_of: dict[int, NDArray[np.int64]] = {}
        self.offenders_of: dict[int, NDArray[np.int64]] = {}
        for place in np.unique(self.slot_country):
            slots = np.flatnonzero(self.slot_country == place)
            offenders = rng.permutation(slots)[: max(2, round(len(slots) * scenario.offender_seller_share))]
            self.slot_offends[offenders] = True
            self.slots_of[int(place)] = slots
            self.offenders_of[int(place)] = np.sort(offenders)

    def sellers(self, day: int) -> list[Seller]:
        """Return the seller that fills each slot on a day."""
        drift = self._scenario.drift
        if drift is None or drift.seller_turnover_per_day == 0:
            generations = [0] * len(self.slot_phase)
        else:
            passed = self._scenario.drift_days(day) * drift.seller_turnover_per_day
            generations = np.floor(np.where(passed > 0, passed + self.slot_phase, 0)).astype(np.int64).tolist()
        return [self.identity(slot, generation) for slot, generation in enumerate(generations)]

    def _identity(self, slot: int, generation: int) -> Seller:
        place = self._catalogue.places[int(self.slot_country[slot])]
        rng = self.stream("identity", slot, generation)
        return self._seller(
            f"seller-{slot}-{generation}", place, int(self.slot_platform[slot]), rng, self._address(place, rng)
        )

    def _throw_away(self, window: int, index: int, place_index: int) -> Seller:
        """The names change, the few operators behind them and their addresses do not."""
        place = self._catalogue.places[place_index]
        rng = self.stream("throw-away", window, index, place_index)
        operator = int(rng.integers(_OPERATORS))
        address = self._address(place, self.stream("throw-away", 1 << 31, operator, place_index))
        return self._seller(f"operator-{place.country}-{operator}", place, int(rng.integers(-1, 3)), rng, address)

    def _seller(
        self, identifier: str, place: Place, platform: int, rng: np.random.Generator, address: pb.Address
    ) -> Seller:
        name = self._firm(place, rng)
        party = pb.Party(name=name, person_type=pb.PERSON_TYPE_LEGAL, address=address)
        party.phone = f"+{place.phone}{int(rng.integers(10**9, 10**10))}"
        if rng.random() < 0.6:
            party.identifier = f"{place.country}{int(rng.integers(10**11, 10**12))}"
            party.identifier_type = pb.IDENTIFIER_TYPE_NATIONAL_BUSINESS
        message = pb.Consignment()
        fulfilment = self._catalogue.traders["fulfilment"]
        if place.country in ("CN", "HK") and rng.random() < 0.25:
            hub = fulfilment[int(rng.integers(len(fulfilment)))]
            message.consignor.CopyFrom(self._firm_party(hub, len(hub["name"])))
            message.seller.CopyFrom(party)
        else:
            message.consignor.CopyFrom(party)
        handle = name.split(" ")[0].lower()
        message.order.platform = self.platforms[platform].domain if platform >= 0 else f"{handle}.shop.example"
        own_scheme = platform < 0 and rng.random() < 0.4
        return Seller(
            identifier=identifier,
            name=name,
            country=place.country,
            price_factor=float(rng.lognormal(0.0, 0.15)),
            platform=platform,
            fragment=message.SerializeToString(deterministic=True),
            product_prefix=f"{handle[:4].upper()}{int(rng.integers(100, 1000))}",
            ioss=self._ioss(rng) if own_scheme else "",
            person=place.names[int(rng.integers(len(place.names)))],
        )

    @staticmethod
    def _ioss(rng: np.random.Generator) -> str:
        state = _IDENTIFYING_STATES[int(rng.integers(len(_IDENTIFYING_STATES)))]
        return ioss_number(state, int(rng.integers(10**6, 10**7)))

    def _firm(self, place: Place, rng: np.random.Generator) -> str:
        traders = self._catalogue.traders
        parts = [traders["syllables"][i] for i in rng.integers(0, len(traders["syllables"]), int(rng.integers(2, 4)))]
        business = traders["business"][int(rng.integers(len(traders["business"])))]
        forms = traders["forms"][place.country]
        town = place.towns[int(rng.integers(len(place.towns)))][1]
        city = f"{town} " if rng.random() < 0.4 else ""
        return f"{city}{''.join(parts).capitalize()} {business} {forms[int(rng.integers(len(forms)))]}"[:70]

    @staticmethod
    def _address(place: Place, rng: np.random.Generator) -> pb.Address:
        postcode, city = place.towns[int(rng.integers(len(place.towns)))]
        line = place.lines[int(rng.integers(len(place.lines)))]
        return pb.Address(street=line, postcode=postcode, city=city, country=place.country)

    def _firm_party(self, entry: dict[str, str], number: int) -> pb.Party:
        """A firm of the data files, at an address that depends on nothing but a number."""
        place = self._catalogue.places[self._catalogue.place_of[entry["country"]]]
        postcode, city = next(town for town in place.towns if town[1] == entry["city"])
        address = pb.Address(
            street=place.lines[number % len(place.lines)], postcode=postcode, city=city, country=place.country
        )
        return pb.Party(name=entry["name"], person_type=pb.PERSON_TYPE_LEGAL, address=address)

    def _platform(self, index: int) -> Platform:
        entry = self._catalogue.traders["platforms"][index]
        number = ioss_number(entry["ioss"], 1000007 + 31 * index) if "ioss" in entry else ""
        return Platform(entry["name"], entry["domain"], number, self._registered(entry, 100 + index))

    def _carrier(self, index: int) -> Carrier:
        entry = self._catalogue.traders["carriers"][index]
        party = self._registered(entry, 200 + index)
        return Carrier(
            entry["filer"], entry["name"], entry["service"], entry["prefix"], entry["code"], entry["share"], party
        )

    def _registered(self, entry: dict[str, str], number: int) -> pb.Party:
        party = self._firm_party(entry, number)
        eu = entry["country"] not in ("US", "HK", "TR")
        party.identifier = f"{entry['country']}{4170000000 + 7919 * number}"
        party.identifier_type = pb.IDENTIFIER_TYPE_EORI if eu else pb.IDENTIFIER_TYPE_NATIONAL_BUSINESS
        return party
