"""Values of law files replaced by their paths, for drafts and for cases of law."""

from datetime import date
from decimal import Decimal

import pytest
import yaml

from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.yaml_source import LawFileError

FILES = {
    "eu/rulebook.yaml": """\
currency: EUR # of the Union
period: {from: 2021-07-01, to: 2028-06-30}
charges:
  - id: duty
    rates: &shared
      - {from: 2021-07-01, rate: 19 %}
  - id: vat
    rates: *shared
""",
    "eu/tariff.yaml": 'versions: [{from: 2021-07-01, rates: {"01": 0 %}}]\n',
}


def changed(*changes: tuple[str, object]) -> dict[str, object]:
    return {name: yaml.safe_load(text) for name, text in overlay(FILES, changes).items()}


def test_a_value_is_replaced_by_its_path_and_nothing_else() -> None:
    files = changed(("eu/rulebook.yaml: currency", "SEK"), ("eu/tariff.yaml: versions[0].rates.01", "2.5 %"))
    before = {name: yaml.safe_load(text) for name, text in FILES.items()}
    assert files["eu/rulebook.yaml"] == before["eu/rulebook.yaml"] | {"currency": "SEK"}
    assert files["eu/tariff.yaml"]["versions"][0]["rates"] == {"01": "2.5 %"}  # type: ignore[index]


def test_an_entry_goes_by_its_id_and_what_is_shared_changes_wherever_it_is_used() -> None:
    book = changed(("eu/rulebook.yaml: charges[vat].rates[0].rate", "21 %"))["eu/rulebook.yaml"]
    assert [charge["rates"][0]["rate"] for charge in book["charges"]] == ["21 %", "21 %"]  # type: ignore[index]


def test_entries_and_keys_are_added_and_taken_out() -> None:
    files = changed(
        ("eu/rulebook.yaml: charges[duty].rates[+]", {"from": date(2027, 1, 1), "rate": Decimal("3.5")}),
        ("eu/rulebook.yaml: period.to", None),
        ("eu/tariff.yaml: versions[0].rates.6109", "12 %"),
    )
    book = files["eu/rulebook.yaml"]
    assert book["charges"][0]["rates"][1] == {"from": date(2027, 1, 1), "rate": 3.5}  # type: ignore[index]
    assert book["period"] == {"from": date(2021, 7, 1)}  # type: ignore[index]
    assert files["eu/tariff.yaml"]["versions"][0]["rates"] == {"01": "0 %", "6109": "12 %"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("currency", "no path of a law file"),
        ("xx/rulebook.yaml: currency", "not one of the law files"),
        ("eu/rulebook.yaml: charges[no].rates", "'no' is not there"),
        ("eu/rulebook.yaml: charges[7]", "'7' is not there"),
        ("eu/rulebook.yaml: charges[vat]..rates", "no place in a law file"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_with_its_file(path: str, told: str) -> None:
    with pytest.raises(LawFileError, match=told):
        overlay(FILES, [(path, "1 %")])


def test_what_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(LawFileError, match="cannot be taken out"):
        overlay(FILES, [("eu/rulebook.yaml: period.until", None)])
