"""The page of reasons says what the catalogue says, and `luxor explain` prints its entries without a running system."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libs.cli.main import luxor
from libs.server.catalogue import reasons
from tools import reason_table


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    return str(tmp_path / "no-system")


def explain(nowhere: str, *words: str) -> Result:
    return CliRunner().invoke(luxor, ["explain", *words, "--data-dir", nowhere], standalone_mode=False)


def test_the_page_of_reasons_is_up_to_date() -> None:
    assert reason_table.PAGE.read_text("utf-8") == reason_table.page(), f"run {reason_table.COMMAND}"


def test_each_area_of_the_catalogue_is_described() -> None:
    assert {entry.area for entry in reasons().values()} == set(reason_table.AREAS)


@pytest.mark.parametrize("spelling", ["ELEMENT_MISSING", "element_missing", "element-missing", " ELEMENT_MISSING "])
def test_a_reason_is_explained_however_it_is_spelt(nowhere: str, spelling: str) -> None:
    result = explain(nowhere, spelling)
    assert "ELEMENT_MISSING  ingestion, INVALID_ARGUMENT" in result.output
    assert "The element {path} is required and is missing." in result.output
    assert "→ Declare it" in result.output


def test_a_hint_for_the_command_line_comes_before_the_one_for_programs(nowhere: str) -> None:
    lines = explain(nowhere, "JOB_UNKNOWN").output.splitlines()
    assert lines[2].startswith("→ `luxor jobs list`")
    assert lines[3].startswith("→ in programs: ListJobs")


def test_programs_read_an_entry_with_its_facts(nowhere: str) -> None:
    found = json.loads(explain(nowhere, "REFERENCE_REUSED", "--json").output)
    entry = reasons()["REFERENCE_REUSED"]
    assert found == {
        "reason": "REFERENCE_REUSED", "area": "ingestion", "code": "ALREADY_EXISTS", "sentence": entry.sentence,
        "hint": entry.hint, "command": "", "path": "", "facts": ["mrn", "value"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("misspelt", "proposed"), [("ELEMENT_MISING", "Did you mean ELEMENT_MISSING?"), ("QQQQ", "docs/reasons.md")]
)
def test_a_reason_that_does_not_exist_is_refused_and_a_similar_one_is_proposed(
    nowhere: str, misspelt: str, proposed: str
) -> None:
    result = CliRunner().invoke(luxor, ["explain", misspelt, "--json", "--data-dir", nowhere])
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["reason"]) == (1, "REASON_UNKNOWN")
    assert misspelt in error["sentence"]
    assert proposed in error["hint"]
    assert ("Did you mean" in error["hint"]) == (misspelt != "QQQQ")


@pytest.mark.parametrize(
    ("text", "cell"),
    [("a <b> c", "a &lt;b> c"), ("`a <b>`", "`a <b>`"), ("a | b", "a \\| b"), ("2 * 3", "2 \\* 3"), ("a\n  b", "a b")],
)
def test_texts_do_not_break_the_table(text: str, cell: str) -> None:
    assert reason_table.cell(text) == cell
