"""An invented jurisdiction that uses every feature of the format, so that the evaluator is tested beyond today's books."""

from typing import Any

import yaml

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.store.law_files import load_program

UTOPIA_HEAD = """\
format: 1
jurisdiction: XX
name: Utopia
version: "1"
currency: EUR
areas: [XA]
period: {from: 2020-01-01}
law_date: acceptance
law_date_reference: act
exchange: {table: utopia, date: acceptance, mode: half_up, unit: 0.01 EUR, reference: act}
"""
"""How rulebooks of Utopia begin; their references and charges follow."""


def reviewed(text: str) -> str:
    """Give a law file in which each value and reference that says nothing of it says that it is verified."""
    written = yaml.safe_load(text)
    _state(written)
    return yaml.safe_dump(written, sort_keys=False, allow_unicode=True)


def _state(part: Any) -> None:
    if isinstance(part, list):
        for each in part:
            _state(each)
    if not isinstance(part, dict):
        return
    for each in part.values():
        _state(each)
    for reference in part.get("references", {}).values():
        reference.setdefault("verified", True)
    # Values of the law have days and a reference, preferences rates and a reference.
    if "reference" in part and ({"from", "rates", "lines"} & set(part)):
        part.setdefault("verified", True)


UTOPIA = """\
format: 1
jurisdiction: XX
name: Utopia, an invented country
version: "1"
currency: EUR
areas: [XA, XB]
period: {from: 2020-01-01}
law_date: acceptance
law_date_reference: act
exchange: {table: utopia, date: export, mode: half_even, unit: 0.05 EUR, reference: act}
prices_with_tax: {parts: [goods, insurance], reference: act}
references:
  act: {law: Act of Utopia, article: section 1, address: "https://law.example/1", verified: false}
customs_value:
  - {from: 2020-01-01, to: 2021-12-31, base: [goods], reference: act}
  - {from: 2022-01-01, base: [goods, freight], reference: act}
limits:
  item_limit:
    - {from: 2020-01-01, amount: 100.00 EUR, test: item, measure: [goods], at_the_limit: over, reference: act}
  import_limit:
    - {from: 2020-01-01, to: 2022-12-31, amount: 300.00 EUR, measure: [customs_value, insurance], reference: act}
    - {from: 2023-01-01, amount: none, reference: act}
schemes:
  voec: {number: '\\d{7}', name: VOEC, reference: act}
  ovr: {number: 'M\\d{8}[A-Z]', name: OVR, reference: act}
charges:
  - id: levy
    kind: fee
    name: levy by weight
    from: 2021-01-01
    areas: [XB]
    mass_unit_grams: 100
    rates: [{from: 2021-01-01, rate: 1.28 EUR per kilogram, reference: act}]
    rounding: [{from: 2021-01-01, mode: up, unit: 0.01 EUR, reference: act}]
    collection: &plain
      - {from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}
  - id: stamp
    kind: fee
    name: stamp
    from: 2020-01-01
    when: {limit: import_limit, position: within}
    rates:
      - {from: 2020-01-01, rate: 7.00 USD per consignment, reference: act}
      - {from: 2020-01-01, areas: [XA], rate: 1.11 EUR per consignment, reference: act}
    collection: *plain
  - id: duty
    kind: duty
    name: duty
    from: 2020-01-01
    when: {limit: item_limit, position: over}
    unless: {preference: ["2", "3"], without_scheme: voec, reference: act}
    base: [customs_value]
    tariff: xx
    rates: [{from: 2020-01-01, rate: tariff, reference: act}]
    rounding:
      - {from: 2020-01-01, mode: half_even, unit: 0.01 EUR, reference: act}
      - {from: 2020-01-01, areas: [XB], mode: down, unit: 0.10 EUR, base_unit: 1.00 EUR, reference: act}
    minimum:
      - {from: 2020-01-01, amount: 5.00 EUR, collected: above, reference: act}
    collection: *plain
  - id: flat
    kind: duty
    name: flat duty
    from: 2022-01-01
    when: {limit: item_limit, position: within}
    also_when_unless_of: duty
    tariff_line: {digits: 8, digits_under: {voec: 4}, reference: act}
    rates: [{from: 2022-01-01, rate: 3.00 EUR per tariff_line, reference: act}]
    minimum:
      - {from: 2022-01-01, amount: 6.00 EUR, collected: from, reference: act}
    collection:
      - {from: 2022-01-01, scheme: voec, collector: customs, debtor: carrier, reference: act}
      - {from: 2022-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}
  - id: piece
    kind: fee
    name: fee per item
    from: 2020-06-01
    rates: [{from: 2020-06-01, rate: 0.33 EUR per item, reference: act}]
    collection: *plain
  - id: vat
    kind: tax
    name: tax
    from: 2020-01-01
    base: [customs_value, insurance, duty, fee]
    rates:
      - {from: 2020-01-01, rate: 7.7 %, reference: act}
      - {from: 2020-01-01, to: 2023-12-31, areas: [XB], rate: 25.5 %, reference: act}
    rounding:
      - {from: 2020-01-01, mode: up, unit: 0.01 EUR, reference: act}
      - {from: 2020-01-01, schemes: [ovr], mode: half_even, unit: 0.05 EUR, reference: act}
    collection:
      - from: 2020-01-01
        scheme: voec
        collector: vendor
        debtor: vendor
        when: {limit: item_limit, position: within}
        reference: act
      - from: 2020-01-01
        scheme: ovr
        collector: postal_operator
        debtor: consignee
        when: {limit: import_limit, position: within}
        reference: act
      - {from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}
"""
TARIFF = """\
format: 1
tariff: xx
name: Tariff of Utopia
references:
  act: {law: Act of Utopia, article: schedule, address: "https://law.example/2", verified: false}
versions:
  - {from: 2020-01-01, to: 2021-06-30, reference: act, default: 3.3333 %, rates: {"61": 12 %, "6110": 0 %}}
  - {from: 2021-07-01, reference: act, default: 5 %, rates: {"61": 10 %, "611020": 2.5 %, "85": 0 %}}
"""
RATES = """\
format: 1
table: utopia
name: Rates of Utopia
currency: EUR
references:
  act: {law: Act of Utopia, article: rates, address: "https://law.example/3", verified: false}
periods:
  - {from: 2020-01-01, to: 2021-12-31, reference: act, rates: {USD: "1.18", JPY: "129.97", KWD: 35771/100000}}
  - {from: 2022-03-01, to: 2026-12-31, reference: act, rates: {USD: "1.05", JPY: "151.31", KWD: "0.3333"}}
"""

LIMITED = """\
format: 1
jurisdiction: XX
name: Utopia
version: "1"
currency: EUR
areas: [XA]
period: {from: 2020-01-01}
law_date: acceptance
law_date_reference: act
exchange: {table: utopia, date: acceptance, mode: down, unit: 0.01 EUR, reference: act}
references: {act: {law: Act, address: "https://law.example"}}
customs_value: [{from: 2020-01-01, base: [goods], reference: act}]
limits:
  value:
    - {from: 2020-01-01, to: 2021-12-31, amount: 200.00 USD, only: {dispatch: [US]}, reference: act}
    - {from: 2020-01-01, amount: 100.00 EUR, only: {scheme: [voec]}, excluded: ["22", "24"], reference: act}
    - {from: 2020-01-01, amount: 150.00 EUR, reference: act}
reliefs:
  gifts:
    - {from: 2020-01-01, amount: 45.00 EUR, only: {nature: [gift], goods_except: ["22"]}, reference: act}
refunds:
  - {from: 2020-01-01, charges: [tax], because: [withdrawn, faulty], share: 100 %, within_days: 90, reference: act}
  - {from: 2020-01-01, charges: [tax], because: [destroyed], share: 50 %, reference: act}
schemes:
  voec: {number: '\\d{7}', name: VOEC, registered: true, reference: act}
charges:
  - id: tax
    kind: tax
    name: tax
    from: 2020-01-01
    when: {limit: value, position: within}
    relieved_by: [gifts]
    base: [goods]
    rates: [{from: 2020-01-01, rate: 10 %, reference: act}]
    rounding: [{from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}]
    collection: [{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}]
"""
"""A small rulebook with limits, reliefs, refunds and a scheme."""


def shipped() -> Program:
    """Compile the rulebooks that Luxor ships."""
    return load_program()


def utopia() -> Program:
    """Compile the invented jurisdiction alone."""
    return compile_program(
        [read_rulebook("xx/rulebook.yaml", UTOPIA)],
        [read_tariff("xx/tariff.yaml", TARIFF)],
        ExchangeTables(read_exchange("rates/utopia.yaml", RATES)),
    )
