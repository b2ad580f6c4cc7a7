"""Alerts: promtool takes them, each fires when it should and stays silent when it should not, and leads to a runbook."""

import json
import os
import re
import subprocess
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import libs.feed.metrics
import libs.store.monitoring.gauges
import libs.store.tables.trace_records
import libs.telemetry.logs  # noqa: F401
import services.revenue.jobs.kinds
import services.risk.jobs.kinds  # noqa: F401
from libs.telemetry.metrics import REGISTRY
from tests.support.promql import PROMETHEUS, ROOT, known_series, names, promtool, run_promtool
from tools.metric_table import declared

pytestmark = pytest.mark.long

RULES = PROMETHEUS / "alerts.yaml"
TESTS = ("alerts_test.yaml", "alerts_minutes_test.yaml", "alerts_slow_test.yaml")
RUNBOOKS = ROOT / "docs" / "operating" / "runbooks"


@cache
def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


ALERTS = [each["alert"] for each in alerts()]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def alert(name: str) -> dict[str, Any]:
    return next(each for each in alerts() if each["alert"] == name)


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    for arguments in (("check", "config", PROMETHEUS / "prometheus.yml"), ("check", "rules", RULES)):
        done = run_promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def alerts_named(case: dict[str, Any]) -> tuple[str, ...]:
    """Return the alerts that a case asks for, each once."""
    asked = [re.search(r'alertname="(\w+)"', check["expr"]) for check in case["promql_expr_test"]]
    return tuple(sorted({found[1] for found in asked if found is not None}))


@pytest.mark.parametrize("file", TESTS)
def test_each_alert_fires_when_it_should_and_is_silent_when_it_should_not(file: str, tmp_path: Path) -> None:
    """No alert asks for another one, so a case is judged with the recorded rules and its own alert: a fifth of the CPU time."""
    assert not any("ALERTS" in rule["expr"] for rule in rules())
    described = yaml.safe_load((PROMETHEUS / file).read_text("utf-8"))
    assert described["rule_files"] == [RULES.name]
    cases = defaultdict(list)
    for case in described["tests"]:
        cases[alerts_named(case)].append(case)
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for number, (own, tests) in enumerate(cases.items()):
        judged = [
            group | {"rules": [rule for rule in group["rules"] if "record" in rule or rule["alert"] in own]}
            for group in groups
        ]
        (tmp_path / f"{number}.rules").write_text(json.dumps({"groups": judged}), "utf-8")  # JSON is YAML
        own_file = described | {"rule_files": [f"{number}.rules"], "tests": tests}
        (tmp_path / f"{number}.yaml").write_text(json.dumps(own_file), "utf-8")
    # Each case is a small store of its own; a third of the time would go into collecting its garbage.
    environ = os.environ | {"GOGC": "800"}
    done = subprocess.run(
        [promtool(), "test", "rules", *(f"{number}.yaml" for number in range(len(cases)))],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(cases), done.stdout


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for file in TESTS:
        described = yaml.safe_load((PROMETHEUS / file).read_text("utf-8"))
        groups = [group["name"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]]
        assert described["group_eval_order"] == groups, "what records record has to be there before alerts are judged"
        for case in described["tests"]:
            for check in case["promql_expr_test"]:
                found = re.fullmatch(r'count\(ALERTS\{alertname="(\w+)",alertstate="firing"\}\)', check["expr"])
                assert found is not None, check["expr"]
                counts = [sample["value"] for sample in check["exp_samples"]]
                (fires if counts and counts[0] >= 1 else silent).add(found[1])
    assert fires == set(ALERTS)
    assert silent == set(ALERTS)


def test_every_metric_that_a_rule_names_is_declared_by_the_code() -> None:
    for rule in rules():
        unknown = names(rule["expr"]) - known_series() - recorded()
        assert not unknown, f"{rule.get('alert') or rule['record']} names {unknown}, which nobody tells"


FROM_THE_START = {
    "luxor_clearance_arrivals_unbound_total": [{"outcome": outcome} for outcome in ("refused", "without_effect")],
    "luxor_clock_skew_total": [{"where": where} for where in ("feed", "wait", "decision")],
    "luxor_log_lines_lost_total": [{"cause": cause} for cause in ("left_out", "unwritten")],
    "luxor_revenue_job_attempts_total": [{"kind": "what_if", "outcome": "failed"}],
    "luxor_risk_job_attempts_total": [{"kind": kind, "outcome": "failed"} for kind in ("backtest", "training")],
    "luxor_spans_dropped_total": [{"sink": sink} for sink in ("records", "root")],
}
BY_THEIR_OWN_TESTS = {
    "luxor_feed_days_dropped_total": "tests/feed/publish/test_retention.py",
    "luxor_feed_epochs_ended_total": "tests/feed/test_store_set_back.py",
    "luxor_store_unavailable_total": "tests/telemetry/test_signals.py",
    "luxor_store_transactions_total": "tests/telemetry/test_signals.py",
}
SHARES = {"luxor_call_seconds_count"}
"""Many labels, so no zero for each: alerts ask for a share over minutes and more than a few, and their cases begin with none."""


def test_a_counter_with_labels_that_an_alert_asks_the_rise_of_is_told_from_the_start() -> None:
    labelled = {series for each in declared() if each.kind != "gauge" and each.labels for series in each.series}
    asked = {
        name
        for rule in alerts()
        for name in re.findall(r"\b(?:rate|increase)\((\w+)", rule["expr"])
        if name in labelled
    }
    assert asked == {*FROM_THE_START, *BY_THEIR_OWN_TESTS, *SHARES}, "say where a new one is told as zero at the start"
    for name, children in FROM_THE_START.items():
        for labels in children:
            assert REGISTRY.get_sample_value(name, labels) is not None, f"the first of {name} {labels} would be missed"


def test_releases_under_one_prometheus_are_told_apart() -> None:
    for rule in rules():
        for groups in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert not groups or groups.split(", ")[0] == "namespace", (
                f"{rule.get('alert') or rule['record']}: {groups}"
            )
        assert not re.search(r"\b(sum|max|min|count)\s*\(", rule["expr"]), rule


def test_a_query_that_names_what_nobody_tells_would_be_found() -> None:
    assert names('sum by (service) (rate(luxor_gone_total{a="up"}[5m])) > 0 and on (x) up offset 1d') == {
        "luxor_gone_total",
        "up",
    }
    assert "luxor_gone_total" not in known_series()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_means_to_users_and_where_its_runbook_is(name: str) -> None:
    rule = alert(name)
    assert rule["labels"]["severity"] in {"page", "ticket"}
    told = rule["annotations"]
    assert set(told) == {"summary", "description", "runbook_url"}
    assert len(told["summary"]) <= 140
    assert len(told["description"]) >= 80
    assert told["runbook_url"] == f"docs/operating/runbooks/{name}.md"
    text = (ROOT / told["runbook_url"]).read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    for part in ("What it means", "What users notice", "How to look", "Likely causes", "What to do", "When it is over"):
        assert f"\n## {part}\n" in text, f"{name}: the part {part!r} is missing"


def test_labels_in_texts_are_labels_that_the_query_keeps() -> None:
    for rule in alerts():
        texts = " ".join(rule["annotations"].values())
        for label in set(re.findall(r"\$labels\.(\w+)", texts)):
            dropped = re.search(r"^\s*(sum|max|min|count)\s*(by \(([^)]*)\))?\s*\(", rule["expr"])
            if dropped is not None:
                assert label in (dropped[3] or ""), f"{rule['alert']} tells {label}, which its query leaves out"


def test_no_runbook_is_about_an_alert_that_is_gone() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Luxor*.md")} == set(ALERTS)
