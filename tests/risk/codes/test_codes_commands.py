"""`luxor learn codes` and `luxor codes suggest`: a file of declarations becomes a model file, which suggests codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from libs.cli.main import luxor
from services.risk.codes import __main__ as codes
from services.risk.codes.text_files import TextFileRefused, read_pairs, reference_terms, texts_of

GOODS = {"3304.10.00": "lipstick", "62046300": "trousers", "851830": "headphones", "9503002100": "doll"}
ROWS = [(f"{word} q{'abcdefghijklmnopqrst'[row]}z", code) for code, word in GOODS.items() for row in range(20)]


def write(path: Path, rows: list[tuple[str, str]], header: str = "description,commodity_code") -> Path:
    path.write_text("\n".join([header, *(f"{text},{code}" for text, code in rows)]) + "\n")
    return path


@pytest.fixture(autouse=True)
def few_reference_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on few references: the included ones take seconds."""
    monkeypatch.setattr(codes, "reference_terms", lambda: [("wax crayons", "960910")])


def learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    declarations = write(tmp_path / "own.csv", [*ROWS, ("", "330410"), ("scarf", "6117"), ("12 ?", "")])
    model = tmp_path / "codes.json"
    assert codes.main(["learn", "--declarations", str(declarations), "--out", str(model)]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert (trained["declarations"], trained["references"], trained["left_out"]) == (80, 1, 3)
    assert (trained["codes"], trained["top1"], trained["top5"]) == (5, 1, 1)
    return model


def test_declarations_become_a_model_whose_suggestions_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = learnt(tmp_path, capsys)
    done = CliRunner().invoke(
        luxor, ["codes", "suggest", "--json", "--model", str(model), "--declared", "3304", "red lipstick", "?"]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.output)
    assert result["model"].startswith("codes:declarations/")
    lipstick, nothing = result["descriptions"]
    assert lipstick["suggestions"][0]["code"] == "330410"
    assert lipstick["declared"] == lipstick["suggestions"][0]["probability"] > 0.5
    assert (nothing["suggestions"], nothing["declared"], nothing["warning"]) == ([], None, "")


def test_the_suggestions_are_shown_with_the_declared_code_and_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = learnt(tmp_path, capsys)
    shown = CliRunner().invoke(luxor, ["codes", "suggest", "--model", str(model), "--declared", "01", "doll", "?"])
    assert shown.exit_code == 0, shown.output
    assert "950300" in shown.output
    assert "declared 01: unknown, the model has no such code" in shown.output
    assert "no code: the description has no word" in shown.output
    assert "by codes:declarations/" in shown.output


def test_learning_is_shown_with_what_was_measured(tmp_path: Path) -> None:
    declarations = write(tmp_path / "own.csv", ROWS[:20])
    refused = CliRunner().invoke(
        luxor, ["learn", "codes", "--declarations", str(declarations), "--out", str(tmp_path / "codes.json")]
    )
    assert refused.exit_code == 1
    assert "there are 20 declarations with a description and a code; at least 50, of two codes" in " ".join(
        refused.output.split()
    )
    assert not (tmp_path / "codes.json").exists()


@pytest.mark.parametrize("declared", ["3", "330", "33041", "33041000000", "33o4", "３３"])
def test_a_malformed_declared_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], declared: str
) -> None:
    model = learnt(tmp_path, capsys)
    assert codes.main(["suggest", "--model", str(model), "--declared", declared, "doll"]) == 1
    assert "give 2, 4, 6, 8 or 10 digits" in capsys.readouterr().err


def test_a_name_that_no_model_may_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declarations = write(tmp_path / "own.csv", ROWS)
    arguments = ["learn", "--declarations", str(declarations), "--out", str(tmp_path / "codes.json"), "--name", "A B"]
    assert codes.main(arguments) == 1
    assert "the name of the model is refused" in capsys.readouterr().err


def test_a_file_that_is_absent_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert codes.main(["suggest", "--model", str(tmp_path / "none.json"), "doll"]) == 1
    assert "none.json: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"text,commodity_code\n", "there is no column 'description'"),
        (b"", "there is no column 'description'"),
        (b"description,commodity_code\n\xff,330410\n", "byte 27: it is not UTF-8"),
        (b'description,commodity_code\n"a"b,330410\n', "line 2: "),
    ],
)
def test_a_file_without_its_columns_or_its_form_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(TextFileRefused, match=r"own\.csv") as refusal:
        read_pairs(path, "description", "commodity_code")
    assert why in str(refusal.value)


def test_declarations_of_a_single_code_are_refused_and_fifty_of_two_are_not() -> None:
    rows = [("lipstick", "330410")] * 50
    with pytest.raises(TextFileRefused, match="of two codes"):
        texts_of(rows, [])
    texts = texts_of([*rows[1:], ("doll", "950300")], [("crayons", "960910")])
    assert (len(texts.codes), texts.weights[0], texts.weights[-1]) == (51, 1, 0.3)


def test_the_included_reference_terms_have_words_and_codes_of_chapters_that_exist() -> None:
    terms = reference_terms()
    assert len(terms) > 3_000
    assert all(len(code) == 6 and code.isdigit() and 1 <= int(code[:2]) <= 97 and code[:2] != "77" for _, code in terms)
    assert all(text.strip() == text != "" for text, _ in terms)
