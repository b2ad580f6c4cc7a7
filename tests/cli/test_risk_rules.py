"""`luxor risk rules` against a whole running system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

PROFILE = Path(__file__).parents[2] / "services" / "risk" / "profiles" / "first_light.yaml"
OWN = """\
base: {base}
name: land
version: "{version}"
rules:
  - id: GIFT_TRIED
    version: 1
    judges: consignment
    condition: {condition}
    weight: 100
    lane: none
    reason: GIFT_IS_COMMERCIAL
    sentence: A gift is looked at for a trial.
    legal_basis: Regulation (EC) No 1186/2009, article 25.
    owner: relief desk
    valid_from: 2026-01-01
    life: shadow
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile that builds on the shipped one, whose files lie elsewhere."""
    return write(tmp_path)


def write(directory: Path, condition: str = "consignment.nature == Nature.NATURE_GIFT", version: str = "1") -> Path:
    path = directory / "land.yaml"
    path.write_text(OWN.format(base=PROFILE, condition=condition, version=version), encoding="utf-8")
    return path


def relative(directory: Path, condition: str = "consignment.nature == Nature.NATURE_GIFT", version: str = "1") -> Path:
    """The same beside a copy of the shipped profile, as a country would keep it."""
    shipped = directory / "shipped"
    for each in PROFILE.parent.rglob("*.yaml"):
        place = shipped / each.relative_to(PROFILE.parent)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(each.read_bytes())
    own = directory / "own"
    own.mkdir(exist_ok=True)
    path = own / "land.yaml"
    text = OWN.format(base="../shipped/first_light.yaml", condition=condition, version=version)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_set_goes_from_a_file_into_force_by_two_people_and_back_to_files(cli: Any, tmp_path: Path) -> None:
    path = relative(tmp_path)
    report = cli.json("risk", "rules", "check", str(path))
    assert report["errors"] == []
    assert report["version"].startswith("land/1+")
    assert "GIFT_TRIED" in [each["rule"] for each in report["rules"]]
    draft = cli.json("risk", "rules", "propose", str(path), "--note", "A trial.", "--as", "anna")
    assert (draft["state"], draft["proposed_by"], draft["version"]) == (
        "RULE_SET_STATE_DRAFT",
        "analyst/anna",
        report["version"],
    )
    refused = cli.error("risk", "rules", "activate", draft["version"], "--as", "anna", code=1)
    assert refused["reason"] == "RULE_SET_OWN"
    drawn = cli.run("risk", "rules", "activate", draft["version"], "--as", "olga").output
    assert "is active" in drawn
    told = cli.json("risk", "rules", "list")
    assert told["active_version"] == draft["version"]
    assert [(each["version"], each["activated_by"]) for each in told["rule_sets"]] == [
        (draft["version"], "analyst/olga")
    ]
    assert "A trial." in cli.run("risk", "rules", "list").output
    shown = cli.json("risk", "rules", "show", draft["version"], "--to", str(tmp_path / "written"))
    assert shown["profile"] == "own/land.yaml"
    written = tmp_path / "written" / shown["profile"]
    assert written.read_bytes() == path.read_bytes()
    assert cli.json("risk", "rules", "check", str(written))["version"] == draft["version"]
    assert "analyst/anna" in cli.run("risk", "rules", "show", draft["version"]).output
    cli.run("risk", "rules", "show", draft["version"], "--to", str(tmp_path / "written"), code=2)


def test_mistakes_are_printed_with_file_line_and_column_and_nothing_is_kept(cli: Any, tmp_path: Path) -> None:
    path = relative(tmp_path, "consignment.natur == 1", "2")
    before = cli.json("risk", "rules", "list")
    for command in ("check", "propose"):
        drawn = cli.run("risk", "rules", command, str(path), code=1).output
        assert "land.yaml:8:27: rule GIFT_TRIED: condition: undefined field 'natur'" in drawn.replace("\n", "")
        told = cli.json("risk", "rules", command, str(path), code=1)
        (mistake,) = (told if command == "check" else told["report"])["errors"]
        assert Path(mistake["file"]).resolve() == path.resolve()
        assert (mistake["line"], mistake["column"], mistake["element"]) == (8, 27, "rule GIFT_TRIED")
    assert cli.json("risk", "rules", "list") == before


def test_a_base_that_is_named_by_an_absolute_path_is_told_and_not_followed(cli: Any, profile: Path) -> None:
    (mistake,) = cli.json("risk", "rules", "check", str(profile), code=1)["errors"]
    assert (mistake["line"], mistake["column"]) == (1, 7)
    assert "is not among the" in mistake["message"]


def test_a_draft_is_withdrawn(cli: Any, tmp_path: Path) -> None:
    version = cli.json("risk", "rules", "propose", str(relative(tmp_path, version="3")))["version"]
    assert cli.json("risk", "rules", "retire", version)["state"] == "RULE_SET_STATE_RETIRED"
    assert cli.error("risk", "rules", "activate", version, "--as", "olga", code=1)["reason"] == "RULE_SET_STATE_WRONG"


def test_files_that_cannot_be_read_and_versions_that_nobody_keeps_are_told(cli: Any, tmp_path: Path) -> None:
    assert cli.error("risk", "rules", "check", str(tmp_path / "nowhere.yaml"), code=1)["reason"] == "FILE_UNREADABLE"
    assert cli.error("risk", "rules", "show", "land/9+0", code=1)["reason"] == "RULE_SET_UNKNOWN"
    (tmp_path / "text.yaml").write_text("- [", encoding="utf-8")
    told = cli.json("risk", "rules", "check", str(tmp_path / "text.yaml"), code=1)
    assert "this is not YAML" in json.dumps(told)


def test_the_shipped_profile_is_come_back_to_as_docs_say(cli: Any) -> None:
    version = cli.json("risk", "rules", "propose", str(PROFILE), "--as", "anna")["version"]
    assert version.startswith("first-light/")
    assert cli.json("risk", "rules", "activate", version, "--as", "olga")["version"] == version
    assert cli.json("risk", "rules", "list")["active_version"] == version
    listed = " ".join(cli.run("risk", "rules", "list").output.split())
    assert f"{version} active proposed" in listed
