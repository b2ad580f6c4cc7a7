"""An invented law of charges: every form of rate, base and minimum, so that columns and scalar law can be compared on all."""

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from tests.revenue.law.lawbooks import reviewed

ERIADOR = """\
format: 1
jurisdiction: XY
name: Eriador, an invented country
version: "1"
currency: EUR
areas: [XC, XD]
period: {from: 2020-01-01}
law_date: acceptance
law_date_reference: act
exchange: {table: eriador, date: acceptance, mode: half_up, unit: 0.01 EUR, reference: act}
references:
  act: {law: Act of Eriador, article: section 1, address: "https://law.example/1"}
  doubt: {law: Act of Eriador, article: section 2, address: "https://law.example/2", verified: false}
customs_value:
  - {from: 2020-01-01, base: [goods, freight], reference: act}
limits:
  low: [{from: 2020-01-01, amount: 150.00 EUR, reference: act}]
  high: [{from: 2020-01-01, amount: 3000.00 EUR, measure: [customs_value], reference: act}]
  dear: [{from: 2020-01-01, amount: 80.00 EUR, test: item, reference: act}]
reliefs:
  gift:
    - {from: 2020-01-01, amount: 45.00 EUR, only: {nature: [gift]}, excluded: ["24"], reference: act}
charges:
  - id: stamp
    kind: fee
    name: stamp duty
    from: 2020-01-01
    when: [{limit: low, position: over}, {limit: high, position: within}]
    only: {mode: [air, sea]}
    rates:
      - {from: 2020-01-01, only: {service: [post]}, rate: 1.50 EUR per consignment, reference: act}
      - {from: 2020-01-01, areas: [XD], rate: 2.50 USD per consignment, reference: act}
      - {from: 2020-01-01, rate: 4.00 EUR per consignment, reference: act}
    minimum: [{from: 2020-01-01, amount: 2.00 USD, collected: from, reference: act}]
    collection: &plain
      - {from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}
  - id: weight
    kind: fee
    name: levy by net weight
    from: 2020-01-01
    only: {goods: ["08"]}
    mass: net
    mass_unit_grams: 500
    rates: [{from: 2020-01-01, rate: 0.37 EUR per kilogram, reference: act}]
    rounding: [{from: 2020-01-01, mode: up, unit: 0.01 EUR, reference: act}]
    collection: *plain
  - id: duty
    kind: duty
    name: duty
    from: 2020-01-01
    when: {limit: dear, position: over}
    relieved_by: [gift]
    base: [customs_value]
    tariff: xy
    rates:
      - {from: 2020-01-01, only: {origin: [CN], goods: ["61"]}, rate: 25 %, reference: doubt}
      - {from: 2020-01-01, only: {origin: [CN]}, rate: 9 % + 1.20 USD per kg max 30 %, reference: act}
      - {from: 2020-01-01, rate: tariff, reference: act}
    rounding:
      - {from: 2020-01-01, mode: half_even, unit: 0.01 EUR, total_unit: 0.05 EUR, reference: act}
    collection: *plain
  - id: sugar
    kind: tax
    name: excise in its own base
    from: 2020-01-01
    only: {goods: ["22", "33"]}
    base: [customs_value, duty]
    uplift: {percent: 12.5 %, of: [customs_value, fee], reference: act}
    inside: [sugar, vat]
    share: 70 %
    rates:
      - {from: 2020-01-01, only: {goods: ["22"]}, rate: 15 % from 01-05 to 31-10; 7.25 % from 01-11 to 30-04, reference: act}
      - {from: 2020-01-01, rate: 17 %, reference: act}
    rounding: [{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act}]
    collection: *plain
  - id: simple
    kind: duty
    name: simplified duty
    from: 2020-01-01
    when: {limit: low, position: over}
    base: [customs_value, fee]
    over_only: low
    rates:
      - {from: 2020-01-01, only: {mode: [sea]}, rate: 60 %, less: 20.00 USD, reference: act}
      - {from: 2020-01-01, rate: 20 %, reference: act}
    rounding:
      - {from: 2020-01-01, mode: down, unit: 0.01 EUR, reference: act}
      - {from: 2020-01-01, areas: [XD], mode: half_up, unit: 0.10 EUR, base_unit: 1.00 EUR, base_of: sum, total_unit: 1.00 EUR, reference: act}
    collection: *plain
  - id: vat
    kind: tax
    name: tax
    from: 2020-01-01
    base: [customs_value, duty, fee]
    uplift: {percent: 10 %, of: [customs_value], reference: act}
    rates:
      - {from: 2020-01-01, only: {goods: ["49"]}, rate: free, reference: act}
      - {from: 2020-01-01, rate: 7.7 %, reference: act}
    rounding: [{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act}]
    minimum:
      - {from: 2020-01-01, amount: 20.00 EUR, together_with: [stamp, duty, simple], collected: above, reference: act}
    collection: *plain
  - id: late
    kind: fee
    name: fee on what remains
    from: 2020-01-01
    base: [duty, tax, fee]
    rates: [{from: 2020-01-01, rate: 1 % min 0.10 EUR per piece, reference: act}]
    rounding: [{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act}]
    only: {goods: ["85"]}
    collection: *plain
"""
TARIFF = """\
format: 1
tariff: xy
name: Tariff of Eriador
references:
  act: {law: Act of Eriador, article: schedule, address: "https://law.example/3"}
  treaty: {law: Treaty of Eriador, address: "https://law.example/4", verified: false}
origin_groups: {south: [KE, TZ], north: ["NO"]}
versions:
  - from: 2020-01-01
    to: 2022-12-31
    reference: act
    default: 3.3 %
    rates:
      "61": 12 %
      "6110": 12 % min 2.00 EUR per pair max 5.00 EUR per pair
      "08": 8 % + 30.00 EUR per 100 kg
      "0805": 10 % from 01-11 to 28-02 and 01-04 to 30-04; 2 % + 1.00 EUR per 100 kg from 01-03 to 31-03; free from 01-05 to 31-10
      "22": 0.5 GBP per % vol per hl + 2.60 GBP per hl
      "24": 18.4 % min 22.00 EUR per 100 kg max 18 % + 5.00 EUR per 100 kg
    preferences:
      - {origins: [south], preference: ["2"], reference: treaty, rates: {"61": 4 %, "08": suspended}}
      - {origins: [north, CH], reference: treaty, rates: {"6110": 1 %}}
      - {preference: ["30"], reference: treaty, verified: false, rates: {"2": 2 %}}
  - from: 2023-01-01
    reference: act
    lines: tariff_lines.csv
    defaults: {"90": 5 %, "9004": 6 %, "8517": 7 %}
    default_reference: treaty
    preferences:
      - {id: P, origins: [south], preference: ["20", P], reference: treaty}
      - {id: PA, origins: [south, "NO"], preference: ["2", PA], reference: act}
      - {id: CH, origins: [CH], reference: act}
""".replace('{"2": 2 %}', '{"22": 2 %}')
LINES = """\
# Invented lines of Eriador
code,rate,from,to,reference,preferences
61,11 %,,,,
61,4 %,,,act,P
61,5 %,,2024-06-30,,PA CH
2203,1 %,,,,PA
0805,9 % + 0.011 EUR per kg,,2024-06-30,,
0805,8 % + 0.011 EUR per kg,2024-07-01,,treaty,
2203001000,7.25 USD per hl,,,,
24,0.50 EUR per piece min 2.7 % max 4.6 %,,,,
85,free,,,treaty,
"""
RATES = """\
format: 1
table: eriador
name: Rates of Eriador
currency: EUR
references:
  act: {law: Act of Eriador, article: rates, address: "https://law.example/5"}
periods:
  - {from: 2020-01-01, to: 2026-12-31, reference: act, rates: {USD: "1.0834", GBP: "0.8571", JPY: "161.27", IDR: "17345.5"}}
"""


def eriador(law: str = ERIADOR, tariff: str = TARIFF, *, as_written: bool = False) -> Program:
    """Compile the invented law as a reviewed one, or as it is written, with its lines."""
    if as_written:
        law_text, tariff_text = law, tariff
    else:
        law_text, tariff_text = reviewed(law), reviewed(tariff)
    lines = {"tariff_lines.csv": LINES}
    return compile_program(
        [read_rulebook("xy/rulebook.yaml", law_text)],
        [read_tariff("xy/tariff.yaml", tariff_text, lines.get)],
        ExchangeTables(read_exchange("rates/eriador.yaml", reviewed(RATES))),
    )
