"""`luxor case` against the whole system, in 80 columns."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli.main import luxor
from libs.client.filing import files
from tests.cli.decisions import await_decided

pytestmark = pytest.mark.long


def filed(cli: Any, tmp_path: Path, reference: str) -> str:
    path = tmp_path / f"{reference}.csv"
    text = (
        files.template()
        .replace("SHOP-2026-0000123", reference)
        .replace("020-12345675", "020-CASES")
        .replace("HAWB-0000123", "HAWB-CASES")
    )
    path.write_text(text, encoding="utf-8")
    cli.run("file", str(path), "--as", "filer-1")
    return str(await_decided(cli, reference)["mrn"])


def narrow(cli: Any, *arguments: str) -> str:
    runner = CliRunner(env={"LUXOR_DATA_DIR": str(cli.data_dir), "COLUMNS": "80"})
    result = runner.invoke(luxor, list(arguments))
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.output.splitlines()), result.output
    return result.output


def test_an_officer_opens_fills_assigns_and_closes_a_case(cli: Any, tmp_path: Path) -> None:
    first, second = filed(cli, tmp_path, "CASE-1"), filed(cli, tmp_path, "CASE-2")
    opened = cli.json(
        "case", "open", "--title", "Boxes of one flight", "--transport", "020-CASES", "--office", "FRA", "--note", "Look inside.\nBoth."
    )  # fmt: skip
    number = str(opened["case"]["number"])
    assert (opened["case"]["state"], opened["case"]["version"]) == ("CASE_STATE_OPEN", 1)
    added = cli.json("case", "add", number, "--master", "020-CASES")
    assert sorted(each["mrn"] for each in added["results"]) == sorted([first, second])
    assert "2 of 2 consignments done" in cli.run("case", "add", number, first, second).output
    assert cli.json("case", "remove", number, second, "--reason", "NOT_RELATED")["case"]["version"] == 3
    assert cli.json("case", "note", number, "Invoice requested")["case"]["version"] == 4
    cli.run("case", "assign", number, "--to", "olga", code=2)
    invoice, scan = tmp_path / "invoice 17.pdf", tmp_path / "scan.png"
    invoice.write_bytes(b"%PDF-1.7\n" + bytes(1_500_000))
    scan.write_bytes(b"no image")
    assert cli.json("case", "attach", number, str(invoice), "--note", "from the seller")["case"]["version"] == 5
    assert cli.error("case", "attach", number, str(scan), code=1)["reason"] == "CONTENT_TYPE_UNFIT"
    cli.run("case", "attach", number, str(tmp_path / "scan.gif"), code=2)
    digest = sha256(invoice.read_bytes()).hexdigest()
    copy = tmp_path / "copy.pdf"
    assert "1,500,009 bytes" in cli.run("case", "download", number, digest, str(copy), "--as", "analyst").output
    assert copy.read_bytes() == invoice.read_bytes()
    assert cli.error("case", "download", number, digest, str(copy), code=1)["reason"] == "FILE_UNREADABLE", "it exists"
    assert cli.error("case", "download", number, "0" * 64, str(tmp_path / "x"), code=1)["reason"] == "CONTENT_UNKNOWN"
    assert [each["number"] for each in cli.json("case", "list", "--sha256", f"sha256:{digest}")] == [int(number)]
    stale = cli.run("case", "assign", number, "--to", "olga", "--if-version", "3", code=1).output
    assert "CASE_CHANGED" in stale
    cli.run("case", "assign", number, "--to", "olga", "--if-version", "5")
    assert cli.json("show", first)[0]["cases"] == [int(number)]
    assert "cases" not in cli.json("show", first, "--as", "filer/filer-1")[0]
    unknown = "no_irregularity, corrected, violation, referred, duplicate or not_clarified"
    assert unknown.split(", ")[0] in cli.run("case", "close", "--help").output
    cli.run("case", "close", number, "--outcome", "fine", "--reason", "PAID", "--if-version", "6", code=2)
    cli.run("case", "close", number, "--outcome", "corrected", "--reason", "PAID", "--if-version", "6", "--as", "olga")
    shown = narrow(cli, "case", "show", number, "--verified")
    for text in (
        "Boxes of one flight",
        "closed: corrected (PAID)",
        "transport 020-CASES",
        "Look inside.",
        first,
        "NOT_RELATED",
    ):
        assert text in shown, shown
    assert "Boxes" in narrow(cli, "case", "list", "--office", "FRA")
    assert [each["number"] for each in cli.json("case", "list", "--mrn", first, "--as", "analyst")] == [int(number)]
    assert cli.json("case", "list", "--mrn", second) == []
    assert cli.json("case", "reopen", number, "--reason", "NEW_EVIDENCE", "--if-version", "7")["case"]["version"] == 8
    assert cli.error("case", "show", "999999", code=1)["reason"] == "CASE_UNKNOWN"
    assert cli.error("case", "add", number, "--master", "020-NOTHING", code=1)["reason"] == "CONSIGNMENT_UNKNOWN"
    cli.run("case", "add", number, code=2)
    cli.run("case", "open", "--title", "x", "--party", "a", "--match", "b/c", code=2)
