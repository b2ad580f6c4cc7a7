"""The JSON Schemas for editors: they are current, accept all shipped law, and mark what the format does not have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from tests.revenue.law.lawbooks import RATES, TARIFF, UTOPIA
from tools import law_schema

LAW = law_schema.ROOT / "services" / "revenue"
CASES = Path(__file__).parent / "cases"


class _Loader(yaml.CSafeLoader):
    """Reads days as texts, as editors do."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def schema(kind: str) -> Draft202012Validator:
    text = (law_schema.DIRECTORY / f"{kind}.schema.json").read_text("utf-8")
    read = json.loads(text)
    Draft202012Validator.check_schema(read)
    return Draft202012Validator(read, format_checker=FormatChecker(formats=["date"]))


def errors(kind: str, text: str) -> list[str]:
    data: Any = yaml.load(text, _Loader)
    return [f"{error.json_path}: {error.message}" for error in schema(kind).iter_errors(data)]


def shipped() -> Iterator[tuple[str, Path]]:
    for file in sorted(LAW.glob("rulebooks/*/*.yaml")):
        yield next(kind for kind in law_schema.KINDS if file.name.startswith(kind)), file
    for file in sorted(LAW.glob("rates/*.yaml")):
        yield "rates", file
    for file in sorted(CASES.glob("*.yaml")):
        yield "cases", file


def test_the_schemas_are_those_of_the_structs() -> None:
    assert law_schema.schemas() == {
        file.name: file.read_text("utf-8") for file in law_schema.DIRECTORY.glob("*.json")
    }, f"run: {law_schema.COMMAND}"


@pytest.mark.parametrize(
    ("kind", "file"), list(shipped()), ids=lambda each: each.name if isinstance(each, Path) else each
)
def test_shipped_law_fits_its_schema(kind: str, file: Path) -> None:
    assert errors(kind, file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("kind", "text", "good", "bad", "place"),
    [
        ("rulebook", UTOPIA, "rate: 7.7 %", "rate: 7.7", "$.charges"),
        ("rulebook", UTOPIA, "rate: 7.7 %", 'rate: "7.7"', "$.charges"),
        ("rulebook", UTOPIA, "amount: 100.00 EUR", "amount: 100", "$.limits.item_limit[0].amount"),
        ("rulebook", UTOPIA, "amount: 100.00 EUR", "amount: 100.00", "$.limits.item_limit[0].amount"),
        ("rulebook", UTOPIA, "    name: stamp", "    nmae: stamp", "$.charges"),
        ("rulebook", UTOPIA, "currency: EUR\n", "", "$"),
        ("rulebook", UTOPIA, "currency: EUR\n", "currency: euro\n", "$.currency"),
        ("rulebook", UTOPIA, "mode: up, unit", "mode: sideways, unit", "$.charges"),
        ("rulebook", UTOPIA, "{from: 2022-01-01, base", "{from: 2022-13-01, base", "$.customs_value[1].from"),
        ("tariff", TARIFF, '"611020": 2.5 %', '"611020": 2.5', "$.versions"),
        ("tariff", TARIFF, "default: 5 %", 'default: "5"', "$.versions"),
        ("rates", RATES, 'USD: "1.05"', "USD: 1.05", "$.periods[1].rates.USD"),
    ],
)
def test_a_mistake_is_marked_where_it_stands(kind: str, text: str, good: str, bad: str, place: str) -> None:
    assert errors(kind, text) == []
    assert good in text
    found = errors(kind, text.replace(good, bad, 1))
    assert found
    assert all(each.startswith(place) for each in found), found


def test_a_description_says_what_a_key_means() -> None:
    read = json.loads(law_schema.schemas()["rulebook.schema.json"])
    limit = read["$defs"]["Limit"]
    assert "`150.00 EUR`" in limit["properties"]["amount"]["description"]
    assert limit["description"].startswith("A limit of value")
