"""Turns blocks of draws into messages, with what many have in common serialised once."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from libs.customs.identifiers.s10 import make_s10s
from libs.simulator.catalogue import Catalogue
from libs.simulator.draws import SERVICES, Block, Mask
from libs.simulator.misbehaviour import LABEL_BIT, NEW_FRAUD_BIT
from libs.simulator.numbers import air_waybill, gtin13
from libs.simulator.scenario import Scenario
from libs.simulator.schemes import (
    EU_REFORM,
    GIFT,
    OVER_LIMIT,
    PLATFORM,
    POST,
    STANDARD,
    Schemes,
    collects_at_sale,
)
from libs.simulator.truth import TrueItem, Truth
from libs.simulator.world import Seller, World
from luxor.consignment.v1 import consignment_pb2 as pb

MAX_DAILY_VOLUME = 10_000_000
_FLIGHT_STRIDE = 513
_FILING_MICROS = 20 * 60_000_000
_KINDS = {
    "express": pb.TRANSPORT_SERVICE_EXPRESS,
    "cargo": pb.TRANSPORT_SERVICE_CARGO,
    "post": pb.TRANSPORT_SERVICE_POST,
}


class SimulatedConsignment(NamedTuple):
    """A consignment with what the simulator knows about it."""

    message: pb.Consignment
    filer: str
    """Id of the carrier that files it."""
    filed_at: int
    """When it is filed, microseconds since 1970-01-01 UTC."""
    day: int
    truth: Truth | None
    """None where everything about it is honest."""


class Builder:
    """Builds the messages of one seed, scenario, start and volume."""

    def __init__(
        self, world: World, scenario: Scenario, catalogue: Catalogue, seed: int, start: dt.date, volume: int
    ) -> None:
        if volume > MAX_DAILY_VOLUME:
            raise ValueError(f"a day has at most {MAX_DAILY_VOLUME} consignments; got {volume}")
        self._world, self._scenario, self._catalogue = world, scenario, catalogue
        # References bind for 200 days, so a run with other content must have other ones.
        digest = hashlib.sha256(f"{seed}|{scenario.name}|{start}|{volume}".encode()).digest()
        self._code = "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[byte % 32] for byte in digest[:6])
        self._serial = int.from_bytes(digest[6:12], "big")
        self._start = start
        self._schemes = Schemes(world, catalogue)
        goods = catalogue.goods
        self._item_base = np.concatenate([[0], np.cumsum(goods.variants)])
        self._item_fragments = [
            self._item_fragment(index, word)
            for index, good in enumerate(goods.goods)
            for word in range(len(good.words))
        ]
        self._skus = [f"{good.code[:4]}{index:04d}" for index, good in enumerate(goods.goods)]

    def _item_fragment(self, index: int, word: int) -> bytes:
        good = self._catalogue.goods.goods[index]
        item = pb.Item(description=good.words[word], commodity_code=good.code, quantity_unit="H87")
        item.manufacturer_product_id = f"MF{index * 37 % 911:03d}-{good.code}-{word + 1}"
        if index * 7 % 10 < 4:
            item.gtin = gtin13(index * 100_000 + word)
        item.un_number = good.dangerous
        return item.SerializeToString(deterministic=True)

    def build(
        self,
        block: Block,
        *,
        day: int,
        index: int,
        first_row: int,
        blocks: int,
        sellers: list[Seller],
        violates: Mask,
        watchlist_parties: dict[int, dict[str, Any]],
    ) -> Iterator[SimulatedConsignment]:
        """Yield the consignments of a block, those of a flight one after the other."""
        at_sale = self._collected_at_sale(block, sellers)
        columns = _Columns(block, self._scenario, self._catalogue, at_sale)
        reformed = self._start + dt.timedelta(days=day) >= EU_REFORM
        fragments = [self._flight_fragment(block, flight, day, blocks) for flight in range(len(block.flights.size))]
        references = self._references(block, day, first_row)
        catalogue, places = self._catalogue, self._catalogue.places
        vague = catalogue.wording["vague"]
        item_fragments, skus = self._item_fragments, self._skus
        item_ids = (self._item_base[block.good] + block.variant).tolist()
        goods, vagues, quantities = block.good.tolist(), block.vague.tolist(), block.quantity.tolist()
        lines, taxes, nets = columns.line_minor.tolist(), columns.tax_minor.tolist(), columns.net_mass.tolist()
        origins = [places[place].country for place in block.origin.tolist()]
        firsts = block.first.tolist()
        filed = self._filed(block)
        carriers = [self._world.carriers[carrier] for carrier in block.flights.carrier.tolist()]
        markets = list(self._scenario.markets)
        gateways = block.flights.gateway.tolist()
        departures = (block.flights.departure // 1_000_000).tolist()
        rows = zip(
            block.flight.tolist(), block.destination.tolist(), block.market.tolist(), block.seller.tolist(),
            block.household.tolist(), columns.scheme.tolist(), columns.currency, columns.gross_mass.tolist(),
            block.order_number.tolist(), block.order_age.tolist(), columns.freight_minor.tolist(),
            block.labels.tolist(), block.gift.tolist(), references, filed,
            strict=True,
        )  # fmt: skip
        for row, (
            flight, destination, market, seller_index, household, scheme, currency, gross, order_number, order_age,
            freight, labels, gift, (reference, house), filed_at,
        ) in enumerate(rows):  # fmt: skip
            seller, carrier, place = sellers[seller_index], carriers[flight], places[destination]
            common = self._schemes.fragment(scheme, markets[market], seller, carrier, gateways[flight], reformed)
            message = pb.Consignment.FromString(
                fragments[flight] + common if gift else fragments[flight] + seller.fragment + common
            )
            message.local_reference = reference
            message.house_document.number = house
            message.destination_country = place.country
            message.gross_mass_mg = gross
            if destination != gateways[flight]:
                message.transport.route_countries.append(place.country)
            consignee = message.consignee
            consignee.name = place.names[household % len(place.names)]
            consignee.person_type = pb.PERSON_TYPE_NATURAL
            address = consignee.address
            address.street = place.lines[(household >> 14) % len(place.lines)]
            address.postcode, address.city = place.towns[(household >> 27) % len(place.towns)]
            address.country = place.country
            if household & 3:
                consignee.phone = f"+{place.phone}{100_000_000 + (household >> 30) % 900_000_000}"
            if gift:
                self._private_sender(message, block, row, household)
            else:
                message.order.number = str(order_number)
                message.order.time.seconds = departures[flight] - order_age
            if freight:
                message.freight.minor, message.freight.currency = freight, currency
            taxed = scheme == PLATFORM
            prefix = seller.product_prefix
            for number, item_index in enumerate(range(firsts[row], firsts[row + 1]), start=1):
                item = message.items.add()
                item.MergeFromString(item_fragments[item_ids[item_index]])
                item.number = number
                item.merchant_product_id = f"{prefix}-{skus[goods[item_index]]}"
                item.quantity_milli = quantities[item_index] * 1000
                item.net_mass_mg = nets[item_index]
                item.origin_country = origins[item_index]
                price = item.price
                price.minor, price.currency = lines[item_index], currency
                if taxed:
                    item.tax_rate_ppm = place.vat_ppm
                    item.tax_charged.minor, item.tax_charged.currency = taxes[item_index], currency
                if vagues[item_index] >= 0:
                    item.description = vague[vagues[item_index]]
            truth = None
            if labels:
                self._alter_parties(message, block, row, labels, watchlist_parties.get(row))
                truth = self._truth(
                    block, columns, row, reference, seller, violates, watchlist_parties.get(row), f"{day}-{index}"
                )
            yield SimulatedConsignment(message, carrier.filer, filed_at, day, truth)

    def _collected_at_sale(self, block: Block, sellers: list[Seller]) -> Mask:
        union, elsewhere = (
            np.array([collects_at_sale(market, seller, self._world) for seller in sellers]) for market in ("EU", "GB")
        )
        in_union = np.array([name == "EU" for name in self._scenario.markets])[block.market]
        return np.where(in_union, union[block.seller], elsewhere[block.seller])

    def _filed(self, block: Block) -> list[int]:
        """Rows of a flight are filed one after the other within 20 minutes."""
        sizes = block.flights.size
        starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
        within = (np.arange(block.rows) - starts) * _FILING_MICROS // np.repeat(sizes, sizes)
        filed: list[int] = (block.flights.filed[block.flight] + within).tolist()
        return filed

    def _references(self, block: Block, day: int, first_row: int) -> list[tuple[str, str]]:
        """Local reference and house document of each row; S10 identifiers for what the post carries."""
        numbers = day * MAX_DAILY_VOLUME + first_row + np.arange(block.rows)
        service = block.flights.service[block.flight]
        serials = (self._serial + numbers) % 100_000_000
        letters = [f"L{chr(65 + number)}" for number in (numbers // 100_000_000 % 26).tolist()]
        countries = [self._catalogue.places[place].country for place in block.flights.origin[block.flight].tolist()]
        postal = make_s10s(letters, serials, countries)
        codes = [self._world.carriers[carrier].code for carrier in block.flights.carrier[block.flight].tolist()]
        post = (service == SERVICES.index("post")).tolist()
        code = self._code
        return [
            (f"{code}-{number:010d}", postal[row] if post[row] else f"{codes[row]}{code}{number:010d}")
            for row, number in enumerate(numbers.tolist())
        ]

    def _flight_fragment(self, block: Block, flight: int, day: int, blocks: int) -> bytes:
        flights, places = block.flights, self._catalogue.places
        carrier = self._world.carriers[int(flights.carrier[flight])]
        origin, gateway = places[int(flights.origin[flight])], places[int(flights.gateway[flight])]
        service, number = SERVICES[int(flights.service[flight])], int(flights.number[flight])
        serial = (self._serial + day * blocks * _FLIGHT_STRIDE + number) % 10_000_000
        message = pb.Consignment(function=pb.MESSAGE_FUNCTION_NEW)
        transport = message.transport
        transport.mode = pb.TRANSPORT_MODE_AIR
        transport.service = _KINDS[service]
        transport.conveyance_reference = f"{carrier.code}{100 + serial % 9000:04d}"
        transport.departure_time.FromMicroseconds(int(flights.departure[flight]))
        transport.arrival_time.FromMicroseconds(int(flights.arrival[flight]))
        transport.route_countries.extend(
            self._route(origin.country, gateway.country, bool(flights.fraud_route[flight]))
        )
        transport.first_entry_office = gateway.office
        transport.loading_place, transport.unloading_place = origin.gate, gateway.gate
        message.master_document.number, message.master_document.type = air_waybill(carrier.prefix, serial), "N741"
        message.house_document.type = "N750" if service == "post" else "N703"
        message.dispatch_country = origin.country
        message.export_time.FromMicroseconds(int(flights.departure[flight]))
        message.carrier_identifier = carrier.party.identifier
        message.packages.add(count=1, type="BG" if service == "post" else "CT")
        if service == "post":
            year = dt.datetime.fromtimestamp(int(flights.departure[flight]) / 1e6, dt.UTC).year % 10
            message.receptacles.append(f"{origin.gate}A{gateway.gate}AAUN{year}{serial % 10_000:04d}001110120")
        return message.SerializeToString(deterministic=True)

    def _route(self, origin: str, gateway: str, fraud_route: bool) -> list[str]:
        if fraud_route and self._scenario.new_fraud is not None:
            return [*self._scenario.new_fraud.via, origin, gateway]
        return [origin, *self._catalogue.traders["flights"][origin]["via"], gateway]

    def _private_sender(self, message: pb.Consignment, block: Block, row: int, household: int) -> None:
        place = self._catalogue.places[int(block.flights.origin[block.flight[row]])]
        sender = message.consignor
        sender.name = place.names[(household >> 5) % len(place.names)]
        sender.person_type = pb.PERSON_TYPE_NATURAL
        sender.address.street = place.lines[(household >> 9) % len(place.lines)]
        sender.address.postcode, sender.address.city = place.towns[(household >> 23) % len(place.towns)]
        sender.address.country = place.country

    def _alter_parties(
        self, message: pb.Consignment, block: Block, row: int, labels: int, party: dict[str, Any] | None
    ) -> None:
        if labels & LABEL_BIT["gift_misuse"]:
            message.ClearField("order")
            message.ClearField("seller")
            message.consignor.person_type = pb.PERSON_TYPE_NATURAL
            message.consignor.ClearField("identifier")
            message.consignor.ClearField("identifier_type")
        if row in block.consignor_names:
            message.consignor.name = block.consignor_names[row]
            if party is not None and party["kind"] == "person":
                message.consignor.person_type = pb.PERSON_TYPE_NATURAL
        if row in block.consignee_names:
            message.consignee.name = block.consignee_names[row]

    def _truth(
        self, block: Block, columns: "_Columns", row: int, reference: str, seller: Seller, violates: Mask,
        party: dict[str, Any] | None, place: str,
    ) -> Truth:  # fmt: skip
        items = range(int(block.first[row]), int(block.first[row + 1]))
        goods, labels = self._catalogue.goods.goods, int(block.labels[row])
        fraud = self._scenario.new_fraud
        new = (fraud.label,) if fraud is not None and labels & NEW_FRAUD_BIT else ()
        return Truth(
            local_reference=reference,
            labels=tuple(label for label, bit in LABEL_BIT.items() if labels & bit) + new,
            violation=bool(violates[items.start : items.stop].any()),
            offender=party["id"] if party else seller.identifier,
            currency=columns.currency[row],
            nature="NATURE_SALE",
            items=tuple(
                TrueItem(
                    number=number,
                    violation=bool(violates[item]),
                    commodity_code=goods[int(block.true_good[item])].code,
                    description=goods[int(block.true_good[item])].words[int(block.true_variant[item])],
                    price_minor=int(columns.true_minor[item]),
                )
                for number, item in enumerate(items, start=1)
            ),
            split_order=f"split-{place}-{block.splits[row]}" if row in block.splits else "",
            listed_party=party["id"] if party else "",
        )


class _Columns:
    """What follows from the draws of a block: currencies, amounts in minor units, masses, schemes."""

    def __init__(self, block: Block, scenario: Scenario, catalogue: Catalogue, at_sale: Mask) -> None:
        traders = catalogue.traders
        per_euro: dict[str, float] = traders["per_euro"]
        names = list(per_euro)
        rates = np.array(list(per_euro.values()))
        currency = np.zeros(block.rows, dtype=np.int64)
        limit = np.zeros(block.rows)
        for market, name in enumerate(scenario.markets):
            entry = traders["markets"][name]
            mask = block.market == market
            shares = np.cumsum(list(entry["currencies"].values())) / sum(entry["currencies"].values())
            choices = np.array([names.index(code) for code in entry["currencies"]])
            currency[mask] = choices[np.searchsorted(shares, block.currency_draw[mask])]
            limit[mask] = entry["limit_minor"] / per_euro[entry["limit_currency"]]
        factor = rates[currency]
        self.currency = [names[index] for index in currency.tolist()]
        self.line_minor = _minor(block.price * block.quantity * factor[block.row])
        self.true_minor = _minor(block.true_price * block.quantity * factor[block.row])
        vat = np.array([place.vat_ppm for place in catalogue.places])[block.destination][block.row]
        self.tax_minor = (self.line_minor * vat + 500_000) // 1_000_000
        self.net_mass = block.mass * block.quantity
        self.gross_mass = (np.add.reduceat(self.net_mass, block.first[:-1]) * (1.0 + block.packing) + 15_000).astype(
            np.int64
        )
        self.freight_minor = np.rint(block.freight * factor).astype(np.int64)
        total = np.add.reduceat(block.price * block.quantity, block.first[:-1])
        post = block.flights.service[block.flight] == SERVICES.index("post")
        scheme = np.where(post, POST, STANDARD)
        scheme = np.where(at_sale, PLATFORM, scheme)
        self.scheme = np.where(block.claims_gift, GIFT, np.where(total > limit, OVER_LIMIT, scheme))


def _minor(amounts: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    minor: np.ndarray[Any, np.dtype[np.int64]] = np.maximum(1, np.rint(amounts)).astype(np.int64)
    return minor
