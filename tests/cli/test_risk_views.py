"""Rule sets, what checking one told, and models' metrics are readable at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from libs.cli.commands.risk.rules import show_report, show_rule_sets
from libs.cli.views.model import show_metrics

VERSION = "a-land-with-a-long-name/2026-11-25.second+3f9a0c12d4e5"


def lines(show: Callable[[Console], None]) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, width=80, highlight=False))
    return out.getvalue().splitlines()


def test_a_version_is_whole_on_a_line_of_its_own_and_days_are_not_cut() -> None:
    kept = {
        "version": VERSION, "state": "RULE_SET_STATE_ACTIVE", "note": "Prices of toys.", "proposed_by": "analyst/anna",
        "proposed_at": "2026-11-25T10:11:12.345Z", "activated_by": "officer/olga", "activated_at": "2026-11-26T08:00:00Z",
    }  # fmt: skip
    assert lines(lambda out: show_rule_sets(out, {"rule_sets": [kept], "active_version": VERSION})) == [
        f"{VERSION}  active",
        "  proposed 2026-11-25 10:11:12Z by analyst/anna",
        "  activated 2026-11-26 08:00:00Z by officer/olga",
        "  Prices of toys.",
        f"Active: {VERSION}",
    ]


def report(**more: Any) -> dict[str, Any]:
    return {"errors": [], "warnings": [], "rules": [], "sample_consignments": 0, "version": VERSION, **more}


def warning(file: str, rule: str) -> dict[str, Any]:
    return {"file": file, "line": 7, "column": 3, "element": rule, "message": "its condition holds for none"}


def test_the_own_rules_come_first_and_those_of_the_base_are_one_line() -> None:
    base = [warning("shipped/first_light.yaml", f"rule OTHER_{place}") for place in range(18)]
    rules = [{"rule": f"OTHER_{place}", "judged": 300, "matched": place % 2} for place in range(18)]
    told = report(
        warnings=[*base, warning("own/land.yaml", "rule MINE")],
        rules=[*rules, {"rule": "MINE", "judged": 300}],
        own_rules=["MINE"],
        sample_consignments=300,
    )
    found = lines(lambda out: show_report(out, told, "own/land.yaml"))
    assert found[0] == "own/land.yaml:7:3: rule MINE: its condition holds for none"
    assert found[1] == "18 warnings about files that the profile builds on; --json lists them."
    assert "18 rules of the profiles that it builds on, of which 9 are true for some; --json lists them." in " ".join(
        found
    )
    assert not [line for line in found if "OTHER" in line]
    assert found[-1] == f"No errors, 19 warnings: {VERSION}"


def test_a_profile_without_a_base_tells_all_of_its_rules() -> None:
    told = report(rules=[{"rule": "MINE", "judged": 3}], own_rules=["MINE"], sample_consignments=3)
    found = lines(lambda out: show_report(out, told, "land.yaml"))
    assert [line for line in found if line.strip().startswith("MINE")]
    assert not [line for line in found if "builds on" in line]


def test_one_mistake_is_one() -> None:
    one = lines(lambda out: show_report(out, report(errors=[warning("a.yaml", "")]), "a.yaml"))
    two = lines(lambda out: show_report(out, report(errors=[warning("a.yaml", "")] * 2), "a.yaml"))
    assert one[-1] == "1 error; nothing was changed."
    assert two[-1] == "2 errors; nothing was changed."


def test_metrics_are_a_table_of_shares_with_what_they_were_measured_on() -> None:
    metrics = {
        "measured_consignments": 70.0,
        "precision_at_5": 1.0,
        "precision_at_0.5": None,
        "auc": 0.8934,
        "log_loss": 0.25,
    }
    found = lines(lambda out: show_metrics(out, metrics))
    assert found[0].strip() == "on 70 later consignments:"
    told = [line.split() for line in found[1:] if line.strip()]
    assert told == [["precision", "at", "5", "%", "100.0%"], ["AUC", "0.893"], ["log", "loss", "0.250"]]
    assert lines(lambda out: show_metrics(out, {"auc": None}))[0].strip() == "no measures on later data"
