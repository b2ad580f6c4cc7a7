"""What `luxor revenue account` and `accounts` tell of who may draw on an account, without a system."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli.commands.revenue import ledger
from libs.cli.main import luxor
from tests.cli.console_lines import lines_of


def account(name: str, *filers: str) -> dict[str, Any]:
    return {
        "name": name,
        "currency": "EUR",
        "limit_minor": 5_000,
        "holder": "H",
        "closed": False,
        "filers": list(filers),
    }


@pytest.mark.parametrize(
    ("told", "who"),
    [
        (account("deferred:importer", "b", "importer"), "filers: importer, b."),
        (account("deferred:importer"), "filers: importer."),
        (account("guarantee:G1", "b", "c"), "filers: b, c."),
        (account("guarantee:G1"), "no filer may draw on it yet: use --add-filer."),
    ],
)
def test_who_may_draw_on_an_account_is_told_as_it_is_changed(told: dict[str, Any], who: str) -> None:
    assert lines_of(lambda out: ledger.show_account(out, told)) == [f"{told['name']} is open up to 50.00 EUR; {who}"]


def test_a_list_of_accounts_names_some_filers_and_counts_the_rest() -> None:
    told = [account("guarantee:G1", *"abcde") | {"used_minor": 1}, account("guarantee:G2") | {"used_minor": 0}]
    lines = lines_of(lambda out: ledger.show_accounts(out, told))
    assert "guarantee:G1 50.00 EUR 0.01 EUR H a, b, c and 2 more open" in lines
    assert "guarantee:G2 50.00 EUR 0.00 EUR H open" in lines


def test_filers_are_told_or_taken_away_and_not_both(tmp_path: Path) -> None:
    words = ["revenue", "account", "guarantee:G1", "--filer", "a", "--no-filers", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(luxor, words)
    assert done.exit_code == 2
    assert "--filer and --no-filers exclude each other." in " ".join(done.output.split())
