"""`luxor convert`, and `luxor file --check` of a declaration: files, reports, exit codes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from libs.cli.commands.filing.file import FORMATS
from libs.cli.main import luxor
from libs.client.filing import files
from libs.client.filing.formats import READERS
from tests.support.declarations import changed, converted

HOLDER = "<AuthorisationHolder><ID>GB1</ID></AuthorisationHolder>"
GOOD = changed(("<Declarant>", f"{HOLDER}<Declarant>"))
BAD = changed((">IMA<", ">EXZ<"), (">4</ModeCode>", ">9</ModeCode>"))


def run(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(luxor, [str(each) for each in arguments])


def totals(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = run(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def written(directory: Path, **contents: str) -> list[Path]:
    paths = [directory / f"{name}.xml" for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_text(content, encoding="utf-8")
    return paths


def report(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def read(path: Path, kind: str) -> list[Any]:
    with path.open("rb") as opened:
        found = files.read_csv(opened) if kind == "csv" else files.read_jsonl(opened)
        return [each.message for each in found if isinstance(each, files.Read)]


def test_declarations_become_one_file_to_complete_and_file(tmp_path: Path) -> None:
    paths = written(tmp_path, good=GOOD, bad=BAD)
    for kind in ("csv", "jsonl"):
        to = tmp_path / f"parcels.{kind}"
        code, found = totals("convert", *paths, "--to", to)
        assert (code, found["converted"], found["refused"], found["left_out"]) == (1, 1, 1, 1)
        assert found["reasons"] == {"ELEMENT_WITHOUT_COUNTERPART": 1}
        assert found["elements_left_out"] == {"Declaration/AuthorisationHolder": 1}
        assert read(to, kind) == [converted(GOOD).message]
        assert [(each["element"], each["reason"]) for each in report(Path(found["report"]))] == [
            ("good.xml: Declaration/AuthorisationHolder", "ELEMENT_NOT_CONVERTED"),
            ("bad.xml: Declaration/TypeCode", "ELEMENT_WITHOUT_COUNTERPART"),
            ("bad.xml: Declaration/BorderTransportMeans/ModeCode", "CHOICE_MISNAMED"),
        ]
    assert set(files.TEMPLATE) <= set((tmp_path / "parcels.csv").read_text(encoding="utf-8").splitlines()[0].split(","))


def test_one_file_format_becomes_the_other_and_back(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a.csv", tmp_path / "b.jsonl", tmp_path / "c.csv"
    first.write_text(files.template(), encoding="utf-8")
    for source, to in ((first, second), (second, third)):
        code, found = totals("convert", source, "--to", to)
        assert (code, found["converted"], found["report"]) == (0, 1, None)
    assert read(first, "csv") == read(second, "jsonl") == read(third, "csv")


def test_the_result_is_shown(tmp_path: Path) -> None:
    [good, bad] = written(tmp_path, good=GOOD, bad=BAD)
    shown = run("convert", good, bad, "--to", tmp_path / "parcels.csv").stdout
    assert "1 converted, 1 refused" in shown
    assert "1  Declaration/AuthorisationHolder" in shown
    assert "bad.xml: Declaration/BorderTransportMeans/ModeCode" in shown
    assert "parcels.csv.refused.csv" in shown


def test_a_file_is_neither_replaced_by_its_conversion_nor_written_as_xml(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text(files.template(), encoding="utf-8")
    assert run("convert", table, "--to", table).exit_code == 2
    assert table.read_text(encoding="utf-8") == files.template()
    assert run("convert", table, "--to", tmp_path / "a.xml").exit_code == 2
    assert not (tmp_path / "a.xml").exists()
    assert run("convert", table, "--to", tmp_path / "a.txt").exit_code != 0


def test_a_declaration_can_be_checked_before_it_is_filed(tmp_path: Path) -> None:
    [good, bad] = written(tmp_path, good=GOOD, bad=BAD)
    code, found = totals("file", good, "--check")
    assert (code, found["accepted"], found["warning_reasons"]) == (0, 1, {"ELEMENT_NOT_CONVERTED": 1})
    code, found = totals("file", bad, "--check")
    assert (code, found["refused"]) == (1, 1)
    assert len(report(Path(found["report"]))) == 2
    assert "Declaration/TypeCode" in run("file", bad, "--check").stdout
    for kind in ("dec", "h7", "itmatt"):
        assert run("file", "--template", "--format", kind).exit_code == 2


def test_the_table_of_the_guide_is_converted(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs" / "filing.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    ((?:12 09|SHOP-1,).*)$", guide, flags=re.MULTILINE)
    table, to = tmp_path / "h7.csv", tmp_path / "parcels.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    code, found = totals("convert", table, "--format", "h7", "--to", to)
    assert (code, found["converted"]) == (0, 1)
    [message] = read(to, "jsonl")
    assert (message.items[0].commodity_code, message.items[0].price.minor) == ("420330", 1250)


def test_the_postal_item_of_the_guide_is_converted_and_the_commands_offer_every_format(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs" / "filing.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    ((?:item_id,|LX1).*)$", guide, flags=re.MULTILINE)
    table, to = tmp_path / "items.csv", tmp_path / "items.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    code, found = totals("convert", table, "--format", "itmatt", "--to", to)
    assert (code, found["refused"], len(lines)) == (0, 0, 2)
    (item,) = map(json.loads, to.read_text(encoding="utf-8").splitlines())
    assert (item["local_reference"], item["nature"], item["packages"]) == (
        "LX123456785ES",
        "NATURE_GIFT",
        [{"count": 1}],
    )
    assert list(FORMATS.choices) == list(READERS)
