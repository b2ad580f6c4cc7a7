"""`luxor licence` and `luxor rights` against the whole system, in 80 columns."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli.main import luxor

pytestmark = pytest.mark.long
TERMS = (
    "--holder", "DE123456789012345", "--jurisdiction", "EU", "--from-day", "2026-01-01", "--to-day", "2026-12-31", "--goods", "9503",
    "--as", "agency/toys",
)  # fmt: skip


def narrow(cli: Any, *arguments: str) -> str:
    runner = CliRunner(env={"LUXOR_DATA_DIR": str(cli.data_dir), "COLUMNS": "80"})
    result = runner.invoke(luxor, list(arguments))
    assert result.exit_code == 0, result.output
    assert all(len(line) <= 80 for line in result.output.splitlines()), result.output
    return result.output


def test_an_agency_registers_changes_lists_and_revokes_a_licence(cli: Any) -> None:
    put = ("licence", "put", "C400")
    assert cli.json(*put, "IMP-17", "--quantity", "2.5", "--unit", "KGM", *TERMS)["version"] == 1
    assert "at version 1" in narrow(cli, *put, "IMP-18", *TERMS)
    assert "LICENCE_VERSION_CHANGED" in cli.run(*put, "IMP-18", *TERMS, "--goods", "9504", code=1).output
    cli.run(*put, "IMP-19", "--quantity", "2.5", *TERMS, code=2)
    cli.run(*put, "IMP-19", "--quantity", "0.0000001", "--unit", "KGM", *TERMS, code=2)
    shown = cli.run("licence", "list", "--as", "agency/toys").output
    assert "2.5 KGM" in shown
    assert "not limited" in shown
    narrow(cli, "licence", "list", "--as", "agency/toys")
    listed = cli.json("licence", "list", "--authority", "toys", "--as", "officer/olga")
    assert [(each["number"], each.get("quantity_millionths")) for each in listed] == [
        ("IMP-17", 2_500_000), ("IMP-18", None),
    ]  # fmt: skip
    assert cli.json("licence", "uses", "C400", "IMP-17", "--as", "agency/toys") == []
    narrow(cli, "licence", "uses", "C400", "IMP-17", "--authority", "toys")
    revoke = ("licence", "revoke", "C400", "IMP-17", "--reason", "FRAUD", "--as", "agency/toys", "--if-version")
    assert "LICENCE_VERSION_CHANGED" in cli.run(*revoke, "2", code=1).output
    assert cli.json(*revoke, "1")["version"] == 2
    named = ("licence", "write-off", "26DE32329000033OR6", "1", "C400", "IMP-18", "--as", "agency/toys")
    assert "CONSIGNMENT_UNKNOWN" in cli.run(*named, code=1).output


def test_an_officer_registers_revokes_and_lists_an_application_of_a_rights_holder(cli: Any) -> None:
    put = (
        "rights", "put", "EU-17", "--holder", "Hare Clothing", "--rights", "Trade mark 1", "--country", "DE", "--from-day", "2026-01-01",
        "--to-day", "2026-12-31", "--goods", "62", "--word", "Swift Hare",
    )  # fmt: skip
    assert "at version 1" in narrow(cli, *put)
    assert "APPLICATION_VERSION_CHANGED" in cli.run(*put, "--revoke", code=1).output
    assert cli.json(*put, "--revoke", "--if-version", "1")["version"] == 2
    (listed,) = cli.json("rights", "list")
    assert (listed["number"], listed["words"], listed["revoked"]) == ("EU-17", ["Swift Hare"], True)
    assert "(revoked)" in cli.run("rights", "list").output
    narrow(cli, "rights", "list")
