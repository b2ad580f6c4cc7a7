"""Checks of what valid consignments say: they warn, and the rules that an administration may change."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.columns import Table
from libs.files.yaml_file import YamlError
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import check_rules, elements, validation
from services.ingestion.filing.check_rules import CheckRules
from tests.ingestion.consignments import consignment, put

DAY = 20_788
"""2026-12-01 in days since 1970-01-01."""
NOON = DAY * 86_400 + 43_200
YAML = yaml.safe_load(check_rules.INCLUDED.read_text(encoding="utf-8"))


NOT_ENTRUSTED = frozenset({"DE77"})
"""The identifiers of declarants that the filer does not represent."""


def check(*rows: Consignment, rules: CheckRules | None = None) -> validation.Checked:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    used = rules or check_rules.included()
    return validation.check(table, rules=used, day=DAY, now=NOON * 1_000_000, not_entrusted=NOT_ENTRUSTED)


def warned(*rows: Consignment, rules: CheckRules | None = None) -> list[tuple[str, str, str]]:
    """Return reason, path and value of each warning; nothing is refused."""
    checked = check(*rows, rules=rules)
    assert not checked.refused.any()
    found = [each for errors in checked.errors.values() for each in errors]
    assert all(each.warns for each in found)
    return [(each.reason, each.path, each.value) for each in found]


def described(*texts: str, number: int = 0) -> Consignment:
    made = consignment(number)
    made.items.extend([made.items[0]] * (len(texts) - 1))
    made.gross_mass_mg *= len(texts)
    for item, text in zip(made.items, texts, strict=True):
        item.description = text
    return made


def test_a_good_consignment_has_no_warning() -> None:
    assert warned(consignment(0), consignment(1)) == []


@pytest.mark.parametrize("origin", ["CN", " cn", "c n", "Cn\t"])
def test_codes_are_tidied_beside_others_that_are_tidy(origin: str) -> None:
    first, second = consignment(0), consignment(1)
    first.items[0].origin_country, second.items[0].origin_country = "DE", origin
    first.local_reference, second.local_reference = "A", " b "
    table = check(first, second).table
    assert table.child("items").strings("origin_country").tolist() == ["DE", "CN"]
    assert table.strings("local_reference").tolist() == ["A", "b"]


def test_each_description_that_names_no_goods_is_warned_of_with_its_place_and_cause() -> None:
    rows = [
        described("Leather belt", "Gift"),
        described("Leather belt", number=1),
        described("12", "black, l", number=2),
    ]
    assert warned(*rows) == [
        ("DESCRIPTION_VAGUE", "consignments[0].items[1].description", "Gift"),
        ("DESCRIPTION_VAGUE", "consignments[2].items[0].description", "12"),
        ("DESCRIPTION_VAGUE", "consignments[2].items[1].description", "black, l"),
    ]
    causes = [each.facts["cause"] for errors in check(*rows).errors.values() for each in errors]
    assert causes == [
        "it has only general words",
        "it has no word",
        "it has only a size, a colour, a count or an article number",
    ]


@pytest.mark.parametrize(("text", "reason"), [("", "ELEMENT_MISSING"), ("a\nb", "TEXT_UNPRINTABLE")])
def test_a_description_that_is_refused_is_not_called_vague(text: str, reason: str) -> None:
    assert [each.reason for each in check(described(text)).errors[0]] == [reason]


@pytest.mark.parametrize(("nature", "count"), [(pb.NATURE_DOCUMENT, 0), (pb.NATURE_SALE, 1), (pb.NATURE_GIFT, 1)])
def test_documents_may_be_described_as_such(nature: pb.Nature, count: int) -> None:
    made = described("documents")
    made.nature = nature
    assert len(warned(made, described("Leather belt", number=1))) == count


def test_a_consignment_without_items_is_refused_for_that_alone() -> None:
    made = consignment()
    made.ClearField("items")
    assert [each.reason for each in check(made).errors[0]] == ["ELEMENT_MISSING"]


def test_terms_of_the_administration_join_the_included_ones(tmp_path: Path) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("vague_terms: [gewoehnliche Ware, widget]", encoding="utf-8")
    rules = check_rules.read(file)
    rows = [described("Widget, gift"), described("Gewoehnliche Ware", number=1), described("Leather belt", number=2)]
    assert [path for _, path, _ in warned(*rows, rules=rules)] == [
        f"consignments[{row}].items[0].description" for row in (0, 1)
    ]
    assert warned(*rows) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vague_terms: [gift, '12']", ":1: the term '12' has no word"),
        ("vague_terms: ['']", "length >= 1"),
        (f"vague_terms: [{'x' * 101}]", "length <= 100"),
        ("vague_terms: gift", "Expected `array`"),
        ("vague_term: []", "vague_term"),
        ("levels: {PRICE_NOMINAL: refuse}", ":1: .*PRICE_NOMINAL"),
        ("levels: {PRICE_NOMIAL: warn}", "PRICE_NOMIAL"),
        ("bounds: {NET_MASS_ABOVE_GROSS: {warn: -1}}", "Expected `int` >= 0"),
        ("bounds: {NET_MASS_ABOVE_GROSS: {warn: 100001}}", "Expected `int` <= 100000"),
        ("bounds: {TIME_IN_FUTURE: {warn: {order_day: 1}}}", "order_day"),
        ("bounds: {TIME_IN_FUTURE: {warn: {order_time: 36501}}}", "Expected `int` <= 36500"),
        ("bounds: {PRICE_PER_KG_IMPLAUSIBLE: {reject: {XYZ: [1, 2]}}}", "XYZ is no currency"),
        (
            "bounds: {PRICE_PER_KG_IMPLAUSIBLE: {warn: {EUR: [3, 2]}}}",
            "the least price 3 is above the greatest price 2",
        ),
        ("postcodes: {ZZ: ['999']}", "ZZ is no country"),
        ("postcodes: {DE: ['99']}", "matching regex"),
        ("postcodes: {DE: ['9B99']}", "matching regex"),
        ("postcodes: {DE: []}", "length >= 1"),
        ("", "Expected `object`"),
        ("vague_terms: [", "not YAML"),
    ],
)
def test_a_file_of_checks_that_cannot_be_used_is_refused_with_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(YamlError, match=message):
        check_rules.read(file)


@pytest.mark.parametrize("excess", [0, 1])
def test_the_number_of_terms_is_bounded(tmp_path: Path, excess: int) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(f"vague_terms: [{', '.join(['term'] * (check_rules.TERMS_MAX + excess))}]", encoding="utf-8")
    if excess:
        with pytest.raises(YamlError, match="length <= 20000"):
            check_rules.read(file)
    else:
        check_rules.read(file)


CASES: list[tuple[str, str, Any, Any]] = [
    ("PRICE_NOMINAL", "items[0].price.minor", 0, 1),
    ("PRICE_NOMINAL", "items[0].price.minor", 100, 99),
    ("PRICE_NOMINAL", "items[0].price.minor", 100, 101),
    ("CONSIGNOR_IS_CONSIGNEE", "consignee.name", "MEADOW LANE-TRADING", "Meadow Lane Trading 2"),
    ("CONSIGNOR_IS_CONSIGNEE", "consignee.name", "Meadow  Lane Trading.", "Meadow Lane"),
    ("CONSIGNOR_IS_CONSIGNEE", "consignee.name", "meadow lane trading", "Weadow Lane Trading"),
    ("CONSIGNOR_IS_CONSIGNEE", "consignee.name", "(Meadow) Lane Trading", "(Meadow Lane"),
    ("ADDRESS_WITHOUT_LETTERS", "consignee.address.city", "12345", "A12345"),
    ("ADDRESS_WITHOUT_LETTERS", "consignee.address.city", "-", "Å"),
    ("ADDRESS_WITHOUT_LETTERS", "consignee.address.city", "??", "東京"),
    ("ADDRESS_WITHOUT_LETTERS", "consignor.address.street", "--", "1-2-3"),
    ("ADDRESS_WITHOUT_LETTERS", "importer.address.city", "1", "Oslo"),
    ("POSTCODE_MALFORMED", "consignee.address.postcode", "1096", "10969"),
    ("POSTCODE_MALFORMED", "consignee.address.postcode", "109699", "DE-10969"),
    ("POSTCODE_MALFORMED", "consignee.address.postcode", "1096A", "de 10 969"),
    ("POSTCODE_MALFORMED", "consignor.address.postcode", "10969", "200000"),
    ("LOCODE_MALFORMED", "transport.loading_place", "ZZHAM", "DEHAM"),
    ("LOCODE_MALFORMED", "transport.unloading_place", "DEHA1", "DEHA2"),
    ("LOCODE_MALFORMED", "direct_shipment_place", "12345", "CNSHA"),
    ("NET_MASS_ABOVE_GROSS", "gross_mass_mg", 399_999, 400_000),
    ("PRICE_PER_KG_IMPLAUSIBLE", "items[0].price.minor", 3, 4),  # 0.4 kg at 0.10 EUR a kilogram
    ("PRICE_PER_KG_IMPLAUSIBLE", "items[0].price.minor", 2_000_000_001, 2_000_000_000),
    ("TIME_IN_FUTURE", "order.time.seconds", (DAY + 2) * 86_400, (DAY + 2) * 86_400 - 1),
    ("TIME_IN_FUTURE", "export_time.seconds", (DAY + 61) * 86_400, (DAY + 61) * 86_400 - 1),
    ("TIME_IN_FUTURE", "transport.departure_time.seconds", (DAY + 181) * 86_400, (DAY + 181) * 86_400 - 1),
    ("TIME_IN_FUTURE", "transport.arrival_time.seconds", (DAY + 201) * 86_400, (DAY + 201) * 86_400 - 1),
    ("TIME_LONG_PAST", "order.time.seconds", (DAY - 1100) * 86_400 - 1, (DAY - 1100) * 86_400),
    ("TIME_LONG_PAST", "export_time.seconds", (DAY - 366) * 86_400 - 1, (DAY - 366) * 86_400),
    ("TIME_LONG_PAST", "transport.departure_time.seconds", (DAY - 366) * 86_400 - 1, (DAY - 366) * 86_400),
    ("TIME_LONG_PAST", "transport.arrival_time.seconds", (DAY - 366) * 86_400 - 1, (DAY - 366) * 86_400),
]
"""Reason, element, a value that is warned of and the nearest that is not."""
WHERE = {"NET_MASS_ABOVE_GROSS": "gross_mass_mg", "PRICE_PER_KG_IMPLAUSIBLE": "items[0].net_mass_mg"}
"""The path of rules whose element is another one than the changed one."""


@pytest.mark.parametrize(("reason", "path", "bad", "good"), CASES)
def test_each_rule_warns_on_one_side_of_its_bound_and_not_on_the_other(
    reason: str, path: str, bad: Any, good: Any
) -> None:
    rows = [put(consignment(0), path, good), put(consignment(1), path, bad), consignment(2)]
    place = WHERE.get(reason, path.removesuffix(".seconds"))
    # A price of one cent breaks another rule as well.
    assert [found[:2] for found in warned(*rows) if found[0] == reason] == [(reason, f"consignments[1].{place}")]


EORIS = {"DE1": True, "DE123456789012345": True, "XI123456789000": True, "GB123456789000": True, "DE": False, "ZZ123": False,
    "DE1234567890123456": False, "1DE23": False, "DE12-34": False, "EU123": False}  # fmt: skip


@pytest.mark.parametrize(("number", "good"), EORIS.items())
def test_an_eori_number_has_a_country_and_up_to_fifteen_letters_and_digits(number: str, good: bool) -> None:
    named, other = consignment(0), consignment(1)
    for made, kind in ((named, pb.IDENTIFIER_TYPE_EORI), (other, pb.IDENTIFIER_TYPE_VAT)):
        made.declarant.identifier, made.declarant.identifier_type = number, kind
    expected = [] if good else [("EORI_MALFORMED", "consignments[0].declarant.identifier", "")]
    assert warned(named, other) == expected, "the number of a party may be that of a person"


@pytest.mark.parametrize(
    ("country", "good", "bad"),
    [
        ("GB", ["SW1A 1AA", "M1 1AA", "B33 8TH", "CR2 6XH", "DN55 1PT", "W1A 0AX"], ["SW1A", "1AA SW1", "SW1A 1A1"]),
        ("IE", ["D02 X285", "A65 F4E2"], ["D2 X285", "0D2 X285"]),
        ("NL", ["1012 AB"], ["1012", "AB 1012"]),
        ("CA", ["K1A 0B1"], ["K1A 0B", "1K1 A0B"]),
        ("US", ["10001", "10001-1234"], ["1000", "10001-12"]),
        ("LU", ["1930", "L-1930", "lu 1930"], ["L1930", "19300", "LX-1930"]),
        ("DE", ["10115", "D-10115"], ["\u0661\u0660\u0661\u0661\u0665"]),
        ("HK", ["none", "999077"], []),
    ],
)
def test_postal_codes_have_the_forms_of_their_country(country: str, good: list[str], bad: list[str]) -> None:
    rows = []
    for number, code in enumerate([*good, *bad]):
        made = consignment(number)
        made.consignee.address.country, made.consignee.address.postcode = country, code
        rows.append(made)
    expected = [f"consignments[{len(good) + place}].consignee.address.postcode" for place in range(len(bad))]
    assert [path for _, path, _ in warned(*rows)] == expected


def test_what_names_a_person_is_not_repeated() -> None:
    made = consignment()
    made.consignee.name, made.consignee.address.city = made.consignor.name, "12345"
    assert {value for _, _, value in warned(made)} == {""}


def test_documents_may_cost_nothing() -> None:
    made = put(consignment(), "items[0].price.minor", 0)
    made.nature = pb.NATURE_DOCUMENT
    assert warned(made) == []


@pytest.mark.parametrize(
    ("currency", "minor", "count"), [("JPY", 1, 1), ("JPY", 100, 0), ("KWD", 1000, 1), ("KWD", 100, 0)]
)
def test_one_unit_of_a_currency_has_its_own_decimal_places(currency: str, minor: int, count: int) -> None:
    made = consignment()
    made.items[0].price.minor, made.items[0].price.currency = minor, currency
    assert [reason for reason, _, _ in warned(made) if reason == "PRICE_NOMINAL"] == ["PRICE_NOMINAL"] * count


def test_the_net_masses_of_all_items_count_together() -> None:
    made = consignment()
    made.items.append(made.items[0])
    made.gross_mass_mg = 800_000
    assert warned(made) == []
    made.gross_mass_mg = 799_999
    assert warned(made) == [("NET_MASS_ABOVE_GROSS", "consignments[0].gross_mass_mg", "799999")]


def test_a_time_beyond_the_bounds_of_the_contract_is_refused_for_that_alone() -> None:
    made = put(consignment(), "order.time.seconds", 1)
    assert [each.reason for each in check(made).errors[0]] == ["TIME_OUT_OF_BOUNDS"]


@pytest.mark.parametrize("part", ["consignee.address.city", "transport.loading_place", "declarant.identifier"])
def test_refused_characters_have_no_second_error(part: str) -> None:
    made = consignment()
    made.declarant.identifier_type = pb.IDENTIFIER_TYPE_EORI
    assert "WITHOUT_LETTERS" not in str([each.reason for each in check(put(made, part, "1\x07")).errors[0]])


def ruled(tmp_path: Path, text: str) -> CheckRules:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    return check_rules.read(file)


@pytest.mark.parametrize(
    ("text", "path", "warns", "refuses", "neither"),
    [
        ("NET_MASS_ABOVE_GROSS: {warn: 10, reject: 100}", "items[0].net_mass_mg", 550_001, 1_000_001, 550_000),
        ("NET_MASS_ABOVE_GROSS: {reject: 100}", "items[0].net_mass_mg", None, 1_000_001, 1_000_000),
        ("PRICE_PER_KG_IMPLAUSIBLE: {warn: {EUR: [100, 9000]}, reject: {EUR: [50, 10000]}}", "items[0].price.minor", 39, 19, 40),
        ("PRICE_PER_KG_IMPLAUSIBLE: {warn: {EUR: [9, 9000]}, reject: {EUR: [5, 10000]}}", "items[0].price.minor", 3601, 4001, 3600),
        ("TIME_IN_FUTURE: {warn: {order_time: 0}, reject: {order_time: 5}}", "order.time.seconds", NOON + 86_400, NOON + 6 * 86_400, NOON),
        ("TIME_LONG_PAST: {warn: {order_time: 10}, reject: {order_time: 20}}", "order.time.seconds", NOON - 11 * 86_400, NOON - 21 * 86_400,
         NOON - 10 * 86_400),
    ],
)  # fmt: skip
def test_each_rule_with_bounds_has_one_for_each_level(
    tmp_path: Path, text: str, path: str, warns: Any, refuses: Any, neither: Any
) -> None:
    rules, reason = ruled(tmp_path, f"bounds: {{{text}}}"), text.split(":")[0]
    for value, expected in ((warns, [True]), (refuses, [False]), (neither, [])):
        if value is not None:
            errors = check(put(consignment(), path, value), rules=rules).errors.get(0, [])
            assert [each.warns for each in errors if each.reason == reason] == expected


def test_a_file_states_only_what_differs_from_the_included_one(tmp_path: Path) -> None:
    rules, base = (
        ruled(tmp_path, "levels: {PRICE_NOMINAL: none}\npostcodes: {DE: ['9999'], HK: ['999']}"),
        check_rules.included(),
    )
    assert rules.levels == {**base.levels, "PRICE_NOMINAL": "none"}
    assert rules.bounds == base.bounds
    assert set(rules.postcodes) == {*base.postcodes, "HK"}
    assert rules.postcodes["DE"].pattern.fullmatch("1096")
    assert not rules.postcodes["DE"].pattern.fullmatch("10969")


def test_what_valid_consignments_say_is_not_refused_as_included() -> None:
    base = check_rules.included()
    plausibility = {*dict.fromkeys(reason for reason, *_ in CASES), "DESCRIPTION_VAGUE", "EORI_MALFORMED"}
    levels = {base.levels[reason] for reason in plausibility - set(YAML["bounds"])}
    assert levels == {"warn"}
    # Late filings are counted, and traffic that is filed again is late.
    assert base.levels["FILED_LATE"] == "none"
    assert base.bounds.net_mass_above_gross.reject is None
    for bounds in (base.bounds.price_per_kg_implausible, base.bounds.time_in_future, base.bounds.time_long_past):
        assert bounds.reject == {}


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("name", ["price_minor", "net_mass_mg"])
def test_numbers_beyond_the_bounds_of_the_contract_are_refused_for_that_alone(name: str, excess: int) -> None:
    element = elements.CHILDREN["items"][name]
    assert isinstance(element, elements.Number)
    made = put(consignment(), f"items[0].{name.replace('_minor', '.minor')}", element.bound.most + excess)
    reasons = [each.reason for each in check(made).errors[0]]
    assert ("NUMBER_TOO_LARGE" in reasons) == bool(excess)
    assert bool({"PRICE_PER_KG_IMPLAUSIBLE", "NET_MASS_ABOVE_GROSS"} & set(reasons)) != bool(excess)


def test_what_is_found_of_a_consignment_does_not_depend_on_its_neighbours() -> None:
    rows = [put(consignment(number), path, bad) for number, (_, path, bad, _) in enumerate(CASES)]
    for number, country in enumerate(("DE", "NL", "GB", "HK", "DE", "US"), len(rows)):
        made = consignment(number)
        made.consignee.address.country, made.consignee.address.postcode = country, "12345"
        rows.append(made)
    together = check(*rows)
    for place, row in enumerate(rows):
        alone = [(each.reason, each.path, dict(each.facts)) for each in check(row).errors.get(0, [])]
        found = [(each.reason, each.path, dict(each.facts)) for each in together.errors.get(place, [])]
        assert [
            (reason, path.replace(f"consignments[{place}]", "consignments[0]"), facts) for reason, path, facts in found
        ] == alone
