"""What simulated traffic looks like: the same for the same seed, in form valid, in mix as the scenario says."""

import csv
import datetime as dt
import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest
from stdnum import ean

from libs.columns import Table
from libs.customs import countries, hs
from libs.customs.identifiers import ioss, s10
from libs.simulator import SimulatedConsignment, Simulator, load_scenario, scenario_names
from libs.simulator.catalogue import catalogue
from libs.simulator.numbers import AirWaybillError, air_waybill
from luxor.consignment.v1 import consignment_columns_pb2 as columns_pb
from luxor.consignment.v1 import consignment_pb2 as pb
from services.ingestion.filing import validation

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ROWS = 30_000
PER_EURO: dict[str, float] = catalogue().traders["per_euro"]


@pytest.fixture(scope="module")
def everyday() -> list[SimulatedConsignment]:
    return list(Simulator(11, "everyday").manifest(ROWS))


def _bytes(consignments: list[SimulatedConsignment]) -> list[bytes]:
    return [consignment.message.SerializeToString(deterministic=True) for consignment in consignments]


def _euros(message: pb.Consignment) -> float:
    return sum(item.price.minor / 100 / PER_EURO[item.price.currency] for item in message.items)


def test_the_same_seed_gives_the_same_bytes_and_the_same_truth() -> None:
    first, second = (list(Simulator(5, "new_fraud_60").day(30, volume=6000)) for _ in range(2))
    assert _bytes(first) == _bytes(second)
    assert [c.truth for c in first] == [c.truth for c in second]
    assert [(c.filer, c.filed_at) for c in first] == [(c.filer, c.filed_at) for c in second]


def test_another_seed_gives_other_consignments_under_other_references() -> None:
    first, second = (list(Simulator(seed, "everyday").manifest(3000)) for seed in (1, 2))
    assert not {c.message.local_reference for c in first} & {c.message.local_reference for c in second}
    assert not {c.message.house_document.number for c in first} & {c.message.house_document.number for c in second}


@pytest.mark.parametrize("size", [1, 7, 500, 100_000])
def test_the_size_of_batches_changes_nothing(size: int) -> None:
    simulator = Simulator(3, "everyday")
    whole = _bytes(list(simulator.manifest(5000)))
    batches = list(simulator.batches(5000, size))
    assert [m.SerializeToString(deterministic=True) for batch in batches for m in batch] == whole
    assert all(len(batch) == size for batch in batches[:-1])
    assert 0 < len(batches[-1]) <= size


def test_a_day_is_the_same_with_and_without_the_days_before_it() -> None:
    simulator = Simulator(3, "drift_60")
    running = [c for c in simulator.days(volume=200) if c.day == 40]
    assert _bytes(running) == _bytes(list(Simulator(3, "drift_60").day(40, volume=200)))


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_gives_its_days_traffic_inside_the_day(name: str) -> None:
    scenario = load_scenario(name)
    simulator = Simulator(8, scenario)
    day = scenario.days - 1
    midnight = dt.datetime.combine(scenario.start + dt.timedelta(days=day), dt.time(), dt.UTC).timestamp() * 1e6
    consignments = list(islice(simulator.day(day), 9000))
    assert len(consignments) == min(9000, scenario.daily_volume)
    assert all(midnight <= c.filed_at < midnight + 86_400_000_000 for c in consignments)
    for c in consignments:
        transport = c.message.transport
        assert c.filed_at < transport.departure_time.ToMicroseconds() < transport.arrival_time.ToMicroseconds()
        if c.message.nature == pb.NATURE_SALE:
            assert c.message.order.time.ToMicroseconds() < transport.departure_time.ToMicroseconds()


def test_the_first_day_can_be_moved() -> None:
    consignment = next(Simulator(1, "everyday", start=dt.date(2026, 6, 1)).manifest(10))
    assert dt.datetime.fromtimestamp(consignment.filed_at / 1e6, dt.UTC).date() == dt.date(2026, 6, 1)


def test_relief_codes_follow_the_reform_of_july_2026() -> None:
    before = Simulator(1, "everyday", start=dt.date(2026, 6, 30)).manifest(3000)
    after = Simulator(1, "everyday", start=dt.date(2026, 7, 1)).manifest(3000)
    codes_before = {tuple(c.message.additional_procedures) for c in before}
    codes_after = {tuple(c.message.additional_procedures) for c in after}
    assert codes_before == {(), ("C07",), ("C07", "F48"), ("C07", "F49"), ("C08",)}
    assert codes_after == {(), ("F48",), ("F49",), ("F53",), ("C08",)}


def test_references_and_documents_are_unique(everyday: list[SimulatedConsignment]) -> None:
    assert len({c.message.local_reference for c in everyday}) == ROWS
    assert len({c.message.house_document.number for c in everyday}) == ROWS
    assert max(len(c.message.local_reference) for c in everyday) <= 22


def test_a_master_document_is_one_flight_of_one_filer_and_stands_together(everyday: list[SimulatedConsignment]) -> None:
    order = [c.message.master_document.number for c in everyday]
    changes = sum(a != b for a, b in pairwise(order)) + 1
    assert changes == len(set(order))
    flights = {}
    for c in everyday:
        transport = c.message.transport
        flight = (c.filer, transport.conveyance_reference, transport.arrival_time.seconds, transport.service)
        assert flights.setdefault(c.message.master_document.number, flight) == flight
    assert 40 < ROWS / len(flights) < 400


EORI = re.compile(rf"(?:GB|XI)[0-9]{{12}}(?:[0-9]{{3}})?|(?:{'|'.join(countries.EU_MEMBERS)})[A-Z0-9]{{1,15}}")
"""The number of an economic operator, as far as the issuers publish its form: an..17 in the EU customs data model, and what HMRC checks."""


def is_air_waybill(number: str) -> bool:
    """Say whether the text is 11 digits of which the last is the serial's remainder by 7 (IATA Resolution 600a)."""
    return bool(re.fullmatch("[0-9]{11}", number)) and int(number[3:10]) % 7 == int(number[10])


def test_check_digits_of_documents_and_numbers_are_valid(everyday: list[SimulatedConsignment]) -> None:
    posted = 0
    for c in everyday:
        message = c.message
        assert is_air_waybill(message.master_document.number)
        if message.transport.service == pb.TRANSPORT_SERVICE_POST:
            posted += 1
            assert s10.parse(message.house_document.number).country == message.dispatch_country
            assert len(message.receptacles[0]) == 29
        for reference in message.fiscal_references:
            if reference.scheme == pb.SCHEME_IOSS:
                ioss.check(reference.number)
        for party in (message.declarant, message.representative):
            if party.identifier_type == pb.IDENTIFIER_TYPE_EORI:
                assert EORI.fullmatch(party.identifier)
        for item in message.items:
            assert not item.gtin or ean.is_valid(item.gtin)
    assert 0.1 < posted / ROWS < 0.2


def test_a_wrong_air_waybill_is_told_by_its_check_digit() -> None:
    number = air_waybill("961", 1_234_567)
    assert number == "96112345675"
    assert is_air_waybill(number)
    assert not any(map(is_air_waybill, ("96112345674", "9611234567", "9611234567A")))
    with pytest.raises(AirWaybillError):
        air_waybill("961", 10_000_000)


def test_all_goods_are_of_the_harmonized_system_and_described() -> None:
    goods = catalogue().goods.goods
    ordinary = [good for good in goods if good.group != "prohibited"]
    assert len(ordinary) >= 300
    assert len({good.code for good in ordinary}) >= 300
    for good in goods:
        assert hs.status(good.code) is hs.HsStatus.CURRENT, good
        assert 1 <= len(good.words) <= 5
        assert 0 < good.lightest < good.heaviest
        assert good.price > 0
    assert all(len(good.words) >= 2 for good in ordinary)


def test_all_goods_stand_in_the_published_list_of_hs_2022() -> None:
    path = SHARED / "hs" / "hs2022.csv"
    if not path.is_file():
        pytest.skip("the list of HS 2022 is not here")
    with path.open(encoding="utf-8") as lines:
        codes = {row["hscode"] for row in csv.DictReader(lines)}
    assert {good.code for good in catalogue().goods.goods} <= codes


def test_the_mix_is_mostly_cheap_and_mostly_for_the_union(everyday: list[SimulatedConsignment]) -> None:
    scenario = load_scenario("everyday")
    destinations = Counter(c.message.destination_country for c in everyday)
    union = sum(destinations[country] for country in scenario.union)
    assert union / ROWS == pytest.approx(0.86, abs=0.04)
    assert destinations["GB"] > 1000
    assert destinations["AU"] > 300
    assert destinations["NO"] > 20
    low = [c.message for c in everyday if c.message.destination_country in scenario.union and _euros(c.message) <= 150]
    assert len(low) / union == pytest.approx(0.97, abs=0.01)
    prices = [item.price.minor / 100 / PER_EURO[item.price.currency] for m in low for item in m.items]
    assert 7 < sum(prices) / len(prices) < 9
    sizes = Counter(len(c.message.items) for c in everyday)
    assert set(sizes) == {1, 2, 3, 4}
    assert sizes[1] > sizes[2] > sizes[3] > sizes[4] > 0
    assert sum(c.message.dispatch_country == "CN" for c in everyday) / ROWS == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize(("name", "day"), [("everyday", 0), ("new_fraud_60", 45)])
def test_ingestion_finds_nothing_to_refuse_or_to_warn_of(name: str, day: int) -> None:
    messages = [c.message for c in Simulator(5, name).day(day, volume=5000)]
    checked = validation.check(Table.from_messages(messages, columns_pb.ConsignmentColumns, pb.Consignment))
    assert not list(checked.errors)


def test_postcodes_have_the_form_of_their_country(everyday: list[SimulatedConsignment]) -> None:
    forms = {"DE": r"\d{5}", "NL": r"\d{4} [A-Z]{2}", "PL": r"\d{2}-\d{3}", "PT": r"\d{4}-\d{3}", "AU": r"\d{4}"}
    for c in everyday:
        address = c.message.consignee.address
        if address.country in forms:
            assert re.fullmatch(forms[address.country], address.postcode), address
        assert address.city
        assert address.street
        assert c.message.consignee.name


def test_nothing_is_missing_that_a_full_declaration_needs(everyday: list[SimulatedConsignment]) -> None:
    for c in everyday[:5000]:
        m = c.message
        assert m.consignor.name
        assert m.consignor.address.country
        assert m.declarant.name
        assert m.gross_mass_mg > sum(item.net_mass_mg for item in m.items)
        assert m.transport.route_countries[0] == m.dispatch_country
        assert m.destination_country in m.transport.route_countries
        for number, item in enumerate(m.items, start=1):
            assert item.number == number
            assert item.description
            assert item.merchant_product_id
            assert item.manufacturer_product_id
            assert item.origin_country
            assert item.price.minor > 0
            assert item.quantity_milli >= 1000


def test_taking_four_times_as_many_needs_no_more_memory() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            for _ in Simulator(4, "load").manifest(count):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    few, many = peak(5_000), peak(20_000)
    assert many < 1.5 * few, f"{few} bytes for 5,000, {many} bytes for 20,000"


def test_the_speed_of_generation_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    simulator = Simulator(9, "load")
    started = time.perf_counter()
    count = sum(len(batch) for batch in simulator.batches(20_000))
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n  simulator: {count / seconds:,.0f} consignments/s on one core")
    assert count == 20_000


@pytest.mark.parametrize(
    "call",
    [
        lambda: Simulator(-1, "everyday"),
        lambda: list(Simulator(1, "everyday").day(-1)),
        lambda: list(Simulator(1, "everyday").manifest(-1)),
        lambda: list(Simulator(1, "everyday").batches(10, 0)),
        lambda: list(Simulator(1, "everyday").day(0, volume=20_000_000)),
    ],
)
def test_numbers_out_of_bounds_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        call()
