"""Parameters of selection: each field at both sides of its bounds, and each clause that refuses a file by itself."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from services.risk.selection import Lane, ParameterError, Parameters, load_parameters
from services.risk.selection import parameters as module
from tests.risk.selection.selection_batches import FILE, NONE

PPM = 1_000_000
PATH = Path("selection.yaml")
TEXT = FILE.format(**(NONE | {"days": 10, "hits": ""}))
RED, YELLOW, BLUE = (f"offices.0.lanes.{lane}" for lane in ("red", "yellow", "blue"))
TRUSTED = {"identifier": "DE1", "authorisation": "AEO 1", "valid_from": date(2026, 2, 1)}


def load(changes: dict[str, Any]) -> Parameters:
    data = yaml.safe_load(TEXT)
    for place, value in changes.items():
        *before, last = place.split(".")
        part = data
        for name in before:
            part = part[int(name) if isinstance(part, list) else name]
        if isinstance(part, list) and last == "+":
            part.append(value)
        elif value is ...:
            del part[int(last) if isinstance(part, list) else last]
        else:
            part[int(last) if isinstance(part, list) else last] = value
    return load_parameters(PATH, yaml.safe_dump(data, sort_keys=False).encode())


def office(name: str) -> dict[str, Any]:
    text: dict[str, Any] = yaml.safe_load(TEXT)["offices"][0]
    return text | {"office": name}


def trusted(**more: Any) -> dict[str, Any]:
    return {"trusted": [TRUSTED | more]}


READ: list[dict[str, Any]] = [
    {"name": "ab"}, {"name": "a" + "b" * 39}, {"name": "a-1"}, {"version": "1"}, {"version": "1.0-rc.A" + "0" * 22},
    {"source": "8 signs."}, {"source": "s" * 300}, {"offices.+": office("ABCD")}, {"offices.+": office("ABCD1234")},
    {"offices.0.trusted_discount_ppm": 0}, {"offices.0.trusted_discount_ppm": PPM},
    {"offices.0.score": {"red": 1_000, "yellow": 2, "blue": 1}}, {"offices.0.score": ...},
    {"pre_loading.screening_from_score": 1}, {"pre_loading.screening_from_score": 1_000}, {"pre_loading.screening_from_score": None},
    {"offices.0.yellow_to_blue_days": 1}, {"offices.0.yellow_to_blue_days": 365}, {"offices.0.yellow_to_blue_days": ...},
    {"offices.0.green_delay_minutes": 0}, {"offices.0.green_delay_minutes": 10_080},
    {"offices.0.hits_without_selection": {"ABC": 1}}, {"offices.0.hits_without_selection": {"A" * 63: 1_000_000}},
    {"offices.0.hits_without_selection": {"A_1": 1}},
    trusted(), trusted(identifier="D" * 2), trusted(identifier="D" * 35), trusted(authorisation="A" * 3), trusted(authorisation="A" * 70),
    trusted(roles=["filer"]), trusted(valid_until=date(2026, 2, 1)), trusted(valid_until=None),
    {f"{RED}.minimum_random_ppm": 5, f"{RED}.expected_ppm": 5}, {f"{RED}.expected_ppm": PPM},
    {f"{RED}.expected_ppm": 400_000, f"{YELLOW}.expected_ppm": 300_000, f"{BLUE}.expected_ppm": 300_000},
    {f"{RED}.by_model_ppm": 600_000, f"{RED}.by_uncertainty_ppm": 400_000}, {f"{YELLOW}.by_model_ppm": PPM}, {f"{YELLOW}.by_uncertainty_ppm": PPM},
    {f"{BLUE}.by_model_ppm": 0},
]  # fmt: skip
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "Invalid"), ({"format": ...}, "format"), ({"name": "a"}, "name"), ({"name": "a" + "b" * 40}, "name"),
    ({"name": "A1"}, "name"), ({"name": "1a"}, "name"),
    ({"version": ""}, "version"), ({"version": "1" * 31}, "version"), ({"version": "1 0"}, "version"),
    ({"source": "7 signs"}, "source"), ({"source": "s" * 301}, "source"), ({"offices": []}, "offices"), ({"pre_loading": ...}, "pre_loading"),
    ({"offices.+": office("ABC")}, "office"), ({"offices.+": office("ABCD12345")}, "office"), ({"offices.+": office("abcd")}, "office"),
    ({"offices.+": office("**")}, "office"),
    ({"offices.0.trusted_discount_ppm": -1}, "trusted_discount_ppm"), ({"offices.0.trusted_discount_ppm": PPM + 1}, "trusted_discount_ppm"),
    ({"offices.0.score.blue": 0}, "score"), ({"offices.0.score.red": 1_001}, "score"),
    ({"pre_loading.screening_from_score": 0}, "screening_from_score"), ({"pre_loading.screening_from_score": 1_001}, "screening_from_score"),
    ({"offices.0.yellow_to_blue_days": 0}, "yellow_to_blue_days"), ({"offices.0.yellow_to_blue_days": 366}, "yellow_to_blue_days"),
    ({"offices.0.green_delay_minutes": -1}, "green_delay_minutes"), ({"offices.0.green_delay_minutes": 10_081}, "green_delay_minutes"),
    ({"offices.0.hits_without_selection": {"ABC": 0}}, "hits_without_selection"),
    ({"offices.0.hits_without_selection": {"ABC": 1_000_001}}, "hits_without_selection"),
    ({"offices.0.hits_without_selection": {"AB": 1}}, "hits_without_selection"),
    ({"offices.0.hits_without_selection": {"A" * 64: 1}}, "hits_without_selection"),
    ({"offices.0.hits_without_selection": {"1BC": 1}}, "hits_without_selection"),
    ({"offices.0.hits_without_selection": {"ABc": 1}}, "hits_without_selection"),
    (trusted(identifier="D"), "identifier"), (trusted(identifier="D" * 36), "identifier"), (trusted(authorisation="AE"), "authorisation"),
    (trusted(authorisation="A" * 71), "authorisation"), (trusted(roles=[]), "roles"), (trusted(roles=["importer"]), "roles"),
    (trusted(valid_until=date(2026, 1, 31)), "DE1 is trusted until 2026-01-31, before it begins on 2026-02-01"),
    ({f"{RED}.expected_ppm": -1}, "expected_ppm"), ({f"{RED}.expected_ppm": PPM + 1}, "expected_ppm"),
    ({f"{RED}.minimum_random_ppm": ...}, "minimum_random_ppm"),
    ({f"{RED}.by_model_ppm": -1}, "by_model_ppm"), ({f"{RED}.by_uncertainty_ppm": -1}, "by_uncertainty_ppm"),
    ({"offices.0.lanes.blue": ...}, "blue"), ({"offices.0.lanes.green": {}}, "green"), ({f"{RED}.least": 1}, "least"),
    ({"offices.0.score.green": 1}, "green"),
    ({"offices.0.queue": 1}, "queue"), (trusted(name="x"), "name"), ({"pre_loading.delay": []}, "delay"),
    ({"offices.0.direction": "transit"}, "transit"),
    ({f"{RED}.minimum_random_ppm": 6, f"{RED}.expected_ppm": 5}, "* import: the minimum of red, 6, is above what is expected, 5"),
    ({f"{YELLOW}.minimum_random_ppm": 1}, "* import: the minimum of yellow, 1, is above what is expected, 0"),
    ({f"{BLUE}.minimum_random_ppm": 1}, "* import: the minimum of blue, 1, is above what is expected, 0"),
    ({f"{RED}.by_model_ppm": 600_000, f"{RED}.by_uncertainty_ppm": 400_001}, "the model's parts of red are together above 1000000"),
    ({f"{YELLOW}.by_model_ppm": 1, f"{YELLOW}.by_uncertainty_ppm": PPM}, "the model's parts of yellow are together above 1000000"),
    ({f"{BLUE}.by_model_ppm": 1}, "blue is drawn at random alone"), ({f"{BLUE}.by_uncertainty_ppm": 1}, "blue is drawn at random alone"),
    ({f"{RED}.expected_ppm": 400_000, f"{YELLOW}.expected_ppm": 300_000, f"{BLUE}.expected_ppm": 300_001},
    "the expected shares are together above 1000000"),
    ({f"{RED}.expected_ppm": PPM, f"{YELLOW}.expected_ppm": 1}, "the expected shares are together above 1000000"),
    ({f"{RED}.expected_ppm": PPM, f"{BLUE}.expected_ppm": 1}, "the expected shares are together above 1000000"),
    ({"offices.0.score": {"red": 500, "yellow": 500, "blue": 250}}, "the scores must fall from red over yellow to blue"),
    ({"offices.0.score": {"red": 501, "yellow": 500, "blue": 500}}, "the scores must fall from red over yellow to blue"),
    ({"offices.0.score": {"red": 400, "yellow": 500, "blue": 250}}, "the scores must fall from red over yellow to blue"),
    ({"offices.0": ...}, "there are no parameters of any office ('*') for import"),
    ({"offices.1": ...}, "there are no parameters of any office ('*') for export"),
    ({"offices.+": office("*")}, "* has parameters for import already; keep one of the two"),
    ({"pre_loading.screening": ["BOMB"]}, "BOMB stands under do_not_load as well"),
    ({"pre_loading.information": ["BOMB"]}, "BOMB stands under do_not_load as well"),
    ({"pre_loading.information": ["DANGEROUS"]}, "DANGEROUS stands under screening as well"),
    ({"pre_loading.information": ["VAGUE", "VAGUE"]}, "VAGUE stands under information as well"),
    ({"pre_loading.information": ["vague"]}, "information"),
]  # fmt: skip


@pytest.mark.parametrize("changes", READ, ids=range(len(READ)))
def test_a_value_at_its_bound_is_read(changes: dict[str, Any]) -> None:
    assert load(changes).version.startswith(f"{changes.get('name', 'trial')}/{changes.get('version', '1')}+")


@pytest.mark.parametrize(("changes", "why"), REFUSED, ids=range(len(REFUSED)))
def test_each_clause_refuses_a_file_by_itself(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ParameterError) as refused:
        load(changes)
    (mistake,) = refused.value.errors
    assert why in mistake
    assert mistake.startswith("selection.yaml:")
    assert str(refused.value) == f"the selection's parameters are refused:\n  {mistake}"


def test_all_mistakes_of_a_file_are_told_together() -> None:
    with pytest.raises(ParameterError) as refused:
        load(
            {
                f"{RED}.minimum_random_ppm": 1,
                "offices.1": ...,
                "pre_loading.information": ["BOMB"],
                **trusted(valid_until=date(2026, 1, 1)),
            }
        )
    assert ["above what is expected" in refused.value.errors[0], "for export" in refused.value.errors[1], "BOMB" in refused.value.errors[2],
            "DE1" in refused.value.errors[3], len(refused.value.errors)] == [True] * 4 + [4]  # fmt: skip


def test_a_file_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"selection\.yaml"):
        load_parameters(PATH, b"format: [")


def test_the_version_has_twelve_digits_of_what_the_file_says() -> None:
    version = load({}).version
    assert len(version) == len("trial/1+") + 12
    assert int(version.removeprefix("trial/1+"), 16) >= 0
    # Remarks and order say nothing, values do.
    assert load_parameters(PATH, b"# a remark\n" + TEXT.encode()).version == version
    assert load({"source": "Invented for the test!"}).version != version


def test_an_office_without_parameters_of_its_own_has_those_of_any_office() -> None:
    given = load({"offices.+": office("ABCD") | {"green_delay_minutes": 7}})
    assert given.for_office("ABCD", "import").green_delay_minutes == 7
    assert given.for_office("ABCE", "import") is given.offices["*", "import"]
    assert given.for_office("ABCD", "export") is given.offices["*", "export"]


@pytest.mark.parametrize(("lane", "draws"), [("red", True), ("yellow", True), ("blue", True), (None, False)])
def test_an_office_draws_where_anything_is_expected_in_any_lane(lane: str | None, draws: bool) -> None:
    given = load({f"offices.0.lanes.{lane}.expected_ppm": 1} if lane else {})
    assert given.for_office("ABCD", "import").draws is draws
    assert not given.for_office("ABCD", "export").draws
    assert given.draws is draws


def test_trusted_operators_of_earlier_releases_are_read_and_only_their_place_remains() -> None:
    assert load({}).trusted_place is None
    place = load({"trusted": [TRUSTED]}).trusted_place
    assert place is not None
    assert place[0].endswith(PATH.name)
    assert place[1] > 1


@pytest.mark.parametrize(
    "struct",
    [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)],
    ids=lambda each: each.__name__,
)
def test_parameters_that_were_read_never_change(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen
    assert struct.__struct_config__.forbid_unknown_fields


def test_lanes_have_the_numbers_of_the_contract() -> None:
    assert [(lane.name, int(lane)) for lane in Lane] == [("GREEN", 1), ("BLUE", 2), ("YELLOW", 3), ("RED", 4)]
