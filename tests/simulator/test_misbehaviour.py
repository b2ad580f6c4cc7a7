"""Labels: they come at the scenario's rates, each shows in the data, and drift and new fraud begin on their day."""

import hashlib
import math
import statistics
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from pathlib import Path

import msgspec
import pytest

from libs.simulator import LABELS, ScenarioError, SimulatedConsignment, Simulator, Truth, load_scenario
from libs.simulator.catalogue import catalogue
from libs.simulator.scenario import Scenario
from luxor.consignment.v1 import consignment_pb2 as pb

ROWS = 40_000
Labelled = list[tuple[pb.Consignment, Truth]]


@pytest.fixture(scope="module")
def everyday() -> list[SimulatedConsignment]:
    return list(Simulator(21, "everyday").manifest(ROWS))


@pytest.fixture(scope="module")
def labelled(everyday: list[SimulatedConsignment]) -> dict[str, Labelled]:
    found: dict[str, Labelled] = defaultdict(list)
    for c in everyday:
        for label in c.truth.labels if c.truth else ():
            assert c.truth is not None
            found[label].append((c.message, c.truth))
    return found


@pytest.mark.parametrize("label", LABELS)
def test_each_label_comes_at_its_rate(label: str, labelled: dict[str, Labelled]) -> None:
    rate = load_scenario("everyday").misbehaviour[label]
    deviation = math.sqrt(rate * ROWS)
    # Parts of a split order come together, and few orders are lost at the ends of flights: its spread is wider.
    tolerance = 4 * deviation * (1.8 if label == "splitting" else 1.0) + 0.04 * rate * ROWS
    assert abs(len(labelled[label]) - rate * ROWS) < tolerance, f"{len(labelled[label])} of {rate * ROWS}"


def test_a_truth_belongs_to_its_consignment(everyday: list[SimulatedConsignment]) -> None:
    for c in everyday:
        if c.truth is not None:
            assert c.truth.local_reference == c.message.local_reference
            assert len(c.truth.items) == len(c.message.items)
            assert c.truth.labels
            assert c.truth.offender
            assert c.truth.violation == any(item.violation for item in c.truth.items)


def test_undervalued_items_cost_more_in_truth(labelled: dict[str, Labelled]) -> None:
    for message, truth in labelled["undervaluation"]:
        assert truth.violation
        for item, true in zip(message.items, truth.items, strict=True):
            assert item.price.minor <= 0.62 * true.price_minor + 1, truth


def test_split_orders_are_over_the_limit_together_and_below_it_apart(labelled: dict[str, Labelled]) -> None:
    per_euro = catalogue().traders["per_euro"]
    orders: dict[str, list[pb.Consignment]] = defaultdict(list)
    for message, truth in labelled["splitting"]:
        orders[truth.split_order].append(message)
        assert truth.violation
    assert len(orders) > 20
    for parts in orders.values():
        values = [sum(i.price.minor / 100 / per_euro[i.price.currency] for i in part.items) for part in parts]
        assert 2 <= len(parts) <= 4
        assert max(values) <= 150 < sum(values)
        people = {(p.consignee.name, p.consignee.address.street, p.consignor.name) for p in parts}
        assert len(people) == 1
        assert len({p.master_document.number for p in parts}) == 1


def test_vague_descriptions_name_nothing_and_alone_are_no_violation(labelled: dict[str, Labelled]) -> None:
    vague = set(catalogue().wording["vague"])
    alone = 0
    for message, truth in labelled["vague_description"]:
        assert {item.description for item in message.items} <= vague
        assert not {item.description for item in truth.items} & vague
        if "undervaluation" not in truth.labels:
            alone += 1
            assert not truth.violation
    assert alone > 100


def test_honest_descriptions_are_never_vague(everyday: list[SimulatedConsignment]) -> None:
    vague = set(catalogue().wording["vague"])
    for c in everyday:
        if c.truth is None:
            assert not {item.description for item in c.message.items} & vague


def test_false_descriptions_hide_other_goods(labelled: dict[str, Labelled]) -> None:
    for message, truth in labelled["false_description"]:
        first, true = message.items[0], truth.items[0]
        assert true.violation
        assert first.commodity_code != true.commodity_code
        assert first.description != true.description


def test_false_gifts_come_from_sellers_in_a_persons_name(labelled: dict[str, Labelled]) -> None:
    for message, truth in labelled["gift_misuse"]:
        assert message.nature == pb.NATURE_GIFT
        assert truth.nature == "NATURE_SALE"
        assert message.consignor.person_type == pb.PERSON_TYPE_NATURAL
        assert not message.HasField("order")
        assert not message.fiscal_references


def test_honest_gifts_come_from_persons_by_post(everyday: list[SimulatedConsignment]) -> None:
    gifts = [c.message for c in everyday if c.truth is None and c.message.nature == pb.NATURE_GIFT]
    assert len(gifts) > 200
    assert all(m.transport.service == pb.TRANSPORT_SERVICE_POST for m in gifts)
    assert all(m.consignor.person_type == pb.PERSON_TYPE_NATURAL for m in gifts)


def test_repeat_offenders_are_few_and_come_again(labelled: dict[str, Labelled]) -> None:
    scenario = load_scenario("everyday")
    offenders = Counter(truth.offender for _, truth in labelled["repeat_offender"])
    assert len(offenders) < 0.15 * scenario.sellers
    assert statistics.mean(offenders.values()) > 5
    others = Counter(t.offender for _, t in labelled["undervaluation"] if "repeat_offender" not in t.labels)
    assert not {name for name in offenders if name in others}


def test_prohibited_goods_are_inside_whatever_is_declared(labelled: dict[str, Labelled]) -> None:
    data = catalogue()
    codes = {data.goods.goods[index].code for index in data.goods.prohibited.tolist()}
    opened = 0
    for message, truth in labelled["prohibited_goods"]:
        assert truth.items[0].violation
        assert truth.items[0].commodity_code in codes
        opened += message.items[0].description == truth.items[0].description
    assert 0 < opened < len(labelled["prohibited_goods"])


def test_listed_parties_send_or_receive_under_names_like_theirs(labelled: dict[str, Labelled]) -> None:
    listed = {party["id"]: party for party in catalogue().watchlist}
    sides = Counter[str]()
    for message, truth in labelled["listed_party"]:
        party = listed[truth.listed_party]
        names = [party["name"], *party["aliases"]]
        likeness = {
            side: max(
                SequenceMatcher(None, " ".join(sorted(name.split())), " ".join(sorted(known.split()))).ratio()
                for known in names
            )
            for side, name in (("consignor", message.consignor.name), ("consignee", message.consignee.name))
        }
        assert max(likeness.values()) > 0.8, (names, message.consignor.name, message.consignee.name)
        sides[max(likeness, key=lambda side: likeness[side])] += 1
    assert len(sides) == 2


def test_throw_away_sellers_vanish_and_their_address_comes_back() -> None:
    simulator = Simulator(2, "drift_60")
    names: dict[int, set[str]] = defaultdict(set)
    streets: dict[int, set[str]] = defaultdict(set)
    operators: dict[int, set[str]] = defaultdict(set)
    for day in (0, 1, 6):
        for c in simulator.day(day):
            if c.truth and "throw_away_seller" in c.truth.labels:
                sender = c.message.seller if c.message.HasField("seller") else c.message.consignor
                names[day].add(sender.name)
                streets[day].add(sender.address.street)
                operators[day].add(c.truth.offender)
    assert names[0] & names[1]
    assert not names[0] & names[6]
    assert streets[0] & streets[6]
    assert operators[0] & operators[6]


def test_offenders_are_never_told_in_the_consignment(everyday: list[SimulatedConsignment]) -> None:
    words = (*LABELS, "operator-", "seller-", "split-", "LP-")
    for c in everyday:
        if c.truth is not None:
            wire = c.message.SerializeToString()
            assert not [word for word in words if word.encode() in wire]
            listed = c.truth.listed_party
            assert not listed or listed.encode() not in wire


def test_labelled_and_honest_consignments_fill_the_same_fields(everyday: list[SimulatedConsignment]) -> None:
    """No element of the data is there only because the simulator knows the truth."""

    def fields(honest: bool) -> set[str]:
        chosen = (c.message for c in everyday if (c.truth is None) == honest)
        return {field.name for message in chosen for field, _ in message.ListFields()}

    assert fields(honest=True) == fields(honest=False)


def _log_prices(consignments: list[SimulatedConsignment]) -> dict[str, float]:
    per_euro = catalogue().traders["per_euro"]
    found: dict[str, list[float]] = defaultdict(list)
    for c in consignments:
        for item in c.message.items if c.truth is None else ():
            unit = item.price.minor / per_euro[item.price.currency] / (item.quantity_milli / 1000)
            if unit < 9000:
                found[item.commodity_code].append(math.log(unit))
    return {code: statistics.mean(values) for code, values in found.items() if len(values) >= 30}


def _price_shift(simulator: Simulator, day: int) -> float:
    start, later = (_log_prices(list(simulator.day(d, volume=12_000))) for d in (0, day))
    return statistics.mean(later[code] - start[code] for code in start.keys() & later.keys())


def _sellers(simulator: Simulator, day: int) -> set[str]:
    return {c.message.consignor.name for c in simulator.day(day) if c.truth is None and c.message.order.number}


def test_prices_drift_only_after_their_day() -> None:
    simulator = Simulator(6, "drift_60")
    assert abs(_price_shift(simulator, 14)) < 0.03
    assert _price_shift(simulator, 59) == pytest.approx(0.006 * 45, abs=0.05)


def test_sellers_drift_only_after_their_day() -> None:
    simulator = Simulator(6, "drift_60")
    first, before, after = (_sellers(simulator, day) for day in (0, 14, 59))
    assert len(first & before) > 0.6 * len(before)
    assert len(first & after) < 0.25 * len(after)


def test_rates_of_misbehaviour_and_the_mix_drift_after_their_day() -> None:
    scenario = load_scenario("drift_60")
    assert scenario.rates(14) == scenario.rates(0)
    assert scenario.rates(59)["undervaluation"] == pytest.approx(0.06 * math.exp(0.008 * 45))
    simulator = Simulator(6, scenario)
    start, end = (
        Counter(item.commodity_code[:2] for c in simulator.day(day, volume=12_000) for item in c.message.items)
        for day in (0, 59)
    )
    assert end["33"] / start["33"] > 1.5
    assert end["61"] / start["61"] < 0.8


def _with_new_fraud(scenario: Scenario, simulator: Simulator, day: int) -> Labelled:
    assert scenario.new_fraud is not None
    label = scenario.new_fraud.label
    return [(c.message, c.truth) for c in simulator.day(day) if c.truth and label in c.truth.labels]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_new_fraud_begins_on_its_day(seed: int) -> None:
    scenario = load_scenario("new_fraud_60")
    fraud = scenario.new_fraud
    assert fraud is not None
    simulator = Simulator(seed, scenario)
    assert not _with_new_fraud(scenario, simulator, fraud.from_day - 1)
    assert _with_new_fraud(scenario, simulator, fraud.from_day)
    later = sum(len(_with_new_fraud(scenario, simulator, day)) for day in range(40, 44))
    assert later / (4 * scenario.daily_volume) == pytest.approx(fraud.share, rel=0.25)


def test_the_new_fraud_shows_in_route_and_goods() -> None:
    scenario = load_scenario("new_fraud_60")
    fraud = scenario.new_fraud
    assert fraud is not None
    found = _with_new_fraud(scenario, Simulator(4, scenario), 45)
    assert found
    for message, truth in found:
        assert list(message.transport.route_countries)[:3] == ["CN", "AE", "HU"]
        for item, true in zip(message.items, truth.items, strict=True):
            assert true.violation
            assert item.origin_country == "AE"
            assert item.commodity_code in fraud.cover_codes
            assert true.commodity_code in fraud.true_codes


@pytest.mark.parametrize(
    ("name", "digest"),
    [("drift_60", "2057073183ef20b3"), ("new_fraud_60", "14be3078793dabf6")],
)
def test_scenarios_that_results_are_compared_over_never_change(name: str, digest: str) -> None:
    """Make a new scenario instead: what was measured before could not be compared with what is measured after."""
    scenario = msgspec.structs.replace(load_scenario(name), about="")
    assert hashlib.sha256(msgspec.json.encode(scenario, order="sorted")).hexdigest()[:16] == digest


def test_a_scenario_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    cases = {
        "extends: everyday\nvolume: 3": "volume",
        "extends: everyday\ndays: 0": "at least 1",
        "extends: everyday\nmisbehaviour: {undervaluation: 0.1}": "needs a rate for each",
        "about: alone": "missing required field",
        "extends: nowhere": "there is no scenario 'nowhere'",
        "- 1": "no mapping",
    }
    for number, (text, message) in enumerate(cases.items()):
        path = tmp_path / f"case{number}.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ScenarioError, match=message):
            load_scenario(path)
    with pytest.raises(ScenarioError, match="choose one of drift_60, everyday"):
        load_scenario("yesterday")
