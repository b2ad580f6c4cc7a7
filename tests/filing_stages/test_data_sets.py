"""The included data sets are those of the field's table, and a file that cannot be applied is refused with its place and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.filing_stages.law import INCLUDED, DataSetError, Stage, included, read
from libs.release_law import law as release_law
from luxor.common.v1 import common_pb2
from luxor.ingestion.v1.parts_pb2 import PartyRole

TABLE = """
1 m m m m|2 m m m m|3 m m m m|4 m m m m|5 m m m m|6 c m o o|7 c c o o|8 o m o c|9 o m o c|10 c c - -|11 m m m m|12 m m m m|13 o c c m|14 o o c c
15 - - c o|16 - - c c|17 - - m m|18 - - c c|19 - - m m|20 o o m m|21 - c m m|22 m m m m|23 m m m m|24 m m m m|25 m m m m|26 o m m m|27 - - m m
28 o o c m|29 - o o m|30 o o c m|31 o o m m|32 - - m m|33 - - c c|34 - - o m|35 - - o c|36 - o c c|37 o o o o|38 - - c c
39 - - m m|40 - - c c|41 c c - -
"""
"""Data elements by stage: before loading, before arrival, simplified, full. Source: ICS2, H7, enhanced entry data of the US, CEB, ITMATT, CN 23."""
STRENGTH = "-ocm"


def test_the_strongest_column_of_each_data_element_has_the_status_of_the_table() -> None:
    found: dict[int, list[str]] = {}
    for element in included().elements:
        statuses = found.setdefault(element.number, ["-"] * len(Stage))
        for place, stage in enumerate(Stage):
            statuses[place] = max(statuses[place], element.status(stage), key=STRENGTH.index)
    # Product identifiers are mandatory in simplified declarations where a jurisdiction adds them: in the Union from November 2026.
    added = [each for one in included().jurisdictions for each in one.additions if "product_id" in each.element]
    assert {(each.start.isoformat(), each.stages) for each in added} == {("2026-11-01", ("simplified", "full"))}
    assert found[27] == ["-", "-", "o", "m"]
    found[27][2] = "m"
    wanted = {}
    for line in TABLE.strip().replace("\n", "|").split("|"):
        number, *letters = line.split()
        wanted[int(number)] = letters
    assert found == wanted


def test_the_minimum_set_is_seven_elements_and_the_house_document_with_what_identifies_the_filing() -> None:
    assert included().mandatory(Stage.PRE_LOADING) == (
        "local_reference", "transport_mode", "transport_service", "house_document_number",
        "consignor_name", "consignor_address_street|consignor_address_city", "consignor_address_country",
        "consignee_name", "consignee_address_street|consignee_address_city", "consignee_address_country",
        "packages.count|items.packages.count", "gross_mass_mg", "items.description",
    )  # fmt: skip


def test_stages_are_those_of_the_contract_and_union_countries_those_of_the_release_law() -> None:
    assert {f"FILING_STAGE_{each.name}": int(each) for each in Stage} == {
        name: number for name, number in common_pb2.FilingStage.items() if number
    }
    (union,) = [each for each in included().jurisdictions if each.jurisdiction == "EU"]
    assert {
        country for country, each in release_law.included().by_country.items() if each.law.jurisdiction == "EU"
    } == set(union.areas)


def _with(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(INCLUDED.read_text(encoding="utf-8"))
    return {**data, **changes}


ELEMENT = {"number": 1, "element": "local_reference", "stages": "m m m m"}
ADDITION = {"element": "nature", "stages": ["full"], "from": "2026-01-01", "condition": "sale", "reference": "schemes"}


def _adding(**changes: Any) -> dict[str, Any]:
    added = {key: value for key, value in {**ADDITION, **changes}.items() if value is not None}
    return _with(jurisdictions=[{"jurisdiction": "X", "areas": ["FR"], "additions": [added]}])


def _requiring(**changes: Any) -> dict[str, Any]:
    part = {"role": "CARRIER", "from": "2026-01-01", "condition": "sale", "reference": "schemes"} | changes
    return _with(jurisdictions=[{"jurisdiction": "X", "areas": ["FR"], "additions": [], "parts": [part]}])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (_with(format=2), "Invalid enum value 2"),
        (_with(elements=[{**ELEMENT, "element": "colour"}]), "'colour' is no element of a filing"),
        (_with(elements=[{**ELEMENT, "element": "items.colour"}]), "'items.colour' is no element of a filing"),
        (_with(elements=[{**ELEMENT, "element": "nature:EORI"}]), "'EORI' is no type of an identifier"),
        (_with(elements=[{**ELEMENT, "element": "buyer_identifier:X"}]), "'X' is no type of an identifier"),
        (_with(elements=[{**ELEMENT, "stages": "m m m"}]), "'m m m' is not four of m, c, o and -"),
        (_with(elements=[{**ELEMENT, "stages": "m m m x"}]), "'m m m x' is not four of m, c, o and -"),
        (_with(elements=[{**ELEMENT, "stages": "m m m c"}]), "'local_reference' is conditional, and nothing says when"),
        (_with(elements=[{**ELEMENT, "condition": "rain"}]), "'rain' is missing in conditions"),
        (_with(conditions={"x": {"text": "X.", "only": {"scheme": ["Y"]}}}), "'Y' is no scheme of the contract"),
        (_with(minimum_set_modes=["FOOT"]), "Invalid enum value 'FOOT'"),
        (_adding(condition="parties"), "'parties' has no `only` in conditions"),
        (_adding(condition="rain"), "'rain' has no `only` in conditions"),
        (_adding(reference="nobody"), "'nobody' is missing in references"),
        (_adding(to="2025-12-31"), "2025-12-31 is before 2026-01-01"),
        (_adding(stages=["sale"]), "Invalid enum value 'sale'"),
        (_with(parts={"BUYER": []}), "Invalid enum value 'BUYER'"),
        (_with(parts={"CARRIER": ["colour"]}), "parts.CARRIER: 'colour' is no field of a consignment"),
        (_with(parts={"CARRIER": ["house_document"]}), "parts.CARRIER: no part states 'house_document'"),
        (_requiring(role="BUYER"), "Invalid enum value 'BUYER'"),
        (_requiring(condition="parties"), "X.parts[0]: condition: 'parties' has no `only` in conditions"),
        (_requiring(reference="nobody"), "X.parts[0]: reference: 'nobody' is missing in references"),
        (_requiring(to="2025-12-31"), "X.parts[0]: to: 2025-12-31 is before 2026-01-01"),
        (_with(jurisdictions=[{"jurisdiction": "X", "areas": ["QQ"], "additions": []}]), "QQ is no country"),
        (
            _with(jurisdictions=[{"jurisdiction": each, "areas": ["FR"], "additions": []} for each in "XY"]),
            "FR is in X too",
        ),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_applied_is_refused_with_its_reason(tmp_path: Path, data: Any, error: str) -> None:
    file = tmp_path / "data_sets.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(DataSetError, match=r"data_sets\.yaml") as raised:
        read(file)
    assert error in str(raised.value)


def test_roles_of_parts_are_those_of_the_contract() -> None:
    assert {f"PARTY_ROLE_{each}" for each in included().parts} == set(PartyRole.keys()) - {"PARTY_ROLE_UNSPECIFIED"}
