"""Invented jurisdictions whose limits count several consignments, and streams of consignments for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.consignment.v1 import consignment_columns_pb2, consignment_pb2
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.lawbooks import RATES

DAY = day_of_date(date(2026, 8, 3))
LIMIT = 15_000
"""Minor units: what the consignments may make together."""
AREA_OF = {"order": "QA", "person_year": "QB", "person_day": "QC", "recipient_day": "QD", "importer_craft": "QE"}
ALONE = "QF"
"""Limits of this one count each consignment alone, and the shares of one that was split together."""

BOOK = """\
format: 1
jurisdiction: {area}
name: {area}, an invented country
version: "1"
currency: EUR
areas: [{area}]
period: {{from: 2020-01-01}}
law_date: acceptance
law_date_reference: act
exchange: {{table: utopia, date: acceptance, mode: half_even, unit: 0.01 EUR, reference: act}}
references:
  act: {{law: Act of {area}, article: section 1, address: "https://law.example/{area}", verified: false}}
customs_value:
  - {{from: 2020-01-01, base: [goods], reference: act}}
limits:
  small:
    - {{from: 2020-01-01, amount: 150.00 EUR, test: {test}, measure: [goods], reference: act}}
schemes:
  cbec: {{number: 'C\\d{{6}}', name: CBEC, registered: true, reference: act}}
charges:
  - id: duty
    kind: duty
    name: duty
    from: 2020-01-01
    when: {{limit: small, position: over}}
    base: [customs_value]
    rates: [{{from: 2020-01-01, rate: 10 %, reference: act}}]
    rounding: [{{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}}]
    collection:
      - {{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}}
  - id: tax
    kind: tax
    name: tax
    from: 2020-01-01
    base: [customs_value, duty]
    rates: [{{from: 2020-01-01, rate: 5 %, reference: act}}]
    rounding: [{{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}}]
    collection:
      - {{from: 2020-01-01, scheme: cbec, collector: vendor, debtor: vendor, reference: act}}
      - {{from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}}
"""


def bundling() -> Program:
    """Compile a jurisdiction for each way of summing up, and one without."""
    books = [
        read_rulebook(f"{area.lower()}/rulebook.yaml", BOOK.format(area=area, test=test))
        for test, area in (*AREA_OF.items(), ("consignment", ALONE))
    ]
    return compile_program(books, [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES)))


@dataclass(frozen=True)
class Parcel:
    """A consignment of a stream."""

    number: int
    area: str
    price: int
    person: str = ""
    carrier: str = "carrier-1"
    order: str = ""
    craft: str = ""
    day: int = DAY
    """Of arrival."""
    version: int = 1
    name: str = ""
    """The consignee's, where nobody has a number."""
    schemes: Sequence[tuple[int, str]] = field(default_factory=tuple)
    accepted: int = DAY
    currency: str = "EUR"
    house: str = ""
    split: bool = False
    previous: str = ""
    """MRN of the share before."""

    @property
    def mrn(self) -> str:
        """Its MRN."""
        return make_mrns([self.area], [3], DAY, self.number)[0]


def table_of(parcels: Sequence[Parcel]) -> Table:
    """Write parcels as ingestion accepted them."""
    messages = []
    for each in parcels:
        message = consignment_pb2.Consignment(destination_country=each.area, carrier_identifier=each.carrier)
        if each.person:
            message.buyer.identifier = each.person
            message.buyer.identifier_type = consignment_pb2.IDENTIFIER_TYPE_PERSONAL_CUSTOMS_CODE
            message.importer.identifier = each.person
        message.house_document.number, message.previous_part_mrn = each.house, each.previous
        if each.split:
            message.split = True
        message.consignee.name = each.name
        message.consignee.address.city = "Anywhere" if each.name else ""
        message.order.number, message.order.platform = each.order, "shop" if each.order else ""
        message.transport.conveyance_reference = each.craft
        message.transport.arrival_time.FromSeconds(each.day * 86_400 + 3_600)
        for scheme, number in each.schemes:
            message.fiscal_references.add(scheme=scheme, number=number)  # type: ignore[arg-type]
        goods = message.items.add(commodity_code="620630")
        goods.price.minor, goods.price.currency = each.price, each.currency
        messages.append(message)
    table = Table.from_messages(messages, consignment_columns_pb2.ConsignmentColumns, consignment_pb2.Consignment)
    count = len(parcels)
    return table.with_columns(
        {
            "mrn": Strings.of([each.mrn for each in parcels]),
            "version": Ints.of([each.version for each in parcels]),
            "filer": Strings.constant("shop", count),
            "accepted_at": Ints.of([each.accepted * MICROS_PER_DAY for each in parcels]),
        }
    )


def stream(seed: int, count: int) -> list[Parcel]:
    """Draw a stream with few persons, orders, crafts and days, so that much is bundled; some are amended on the way."""
    draw = random.Random(seed)
    found: list[Parcel] = []
    for number in range(count):
        if found and draw.random() < 0.15:
            old = draw.choice(found)
            newest = max(each.version for each in found if each.number == old.number)
            found.append(replace(old, version=newest + 1, price=draw.choice((4_000, 9_000, 20_000))))
            continue
        found.append(
            Parcel(
                number,
                draw.choice([*AREA_OF.values(), ALONE]),
                draw.choice((4_000, 7_000, 9_000, 20_000)),
                person=draw.choice(("P100", "P200", "P300", "")),
                carrier=draw.choice(("carrier-1", "carrier-2")),
                order=draw.choice(("O1", "O2")),
                craft=draw.choice(("LX 1", "LX 2")),
                day=DAY + draw.choice((0, 0, 1)),
                name=draw.choice(("", "Ann Example")),
                house=draw.choice(("H-1", "H 1", "H2", "")),
                split=draw.random() < 0.5,
                previous=draw.choice(("", "", "26DE07329000001XR8")),
            )
        )
    return found


TEST_OF = {area: test for test, area in AREA_OF.items()}


def who(test: str, parcel: Parcel) -> tuple[object, ...] | None:
    person = parcel.person or parcel.name
    parts: tuple[object, ...] = {
        "order": (parcel.order,),
        "person_year": (person,),
        "person_day": (person, parcel.day),
        "recipient_day": (person, parcel.carrier, parcel.day),
        "importer_craft": (person, parcel.craft, parcel.day),
        "consignment": (bool(parcel.split or parcel.previous), parcel.house.replace("-", "").replace(" ", ""), person),
    }[test]
    return parts if all(parts) else None
