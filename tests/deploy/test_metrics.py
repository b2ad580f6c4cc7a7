"""Metrics: the page is what the code declares, names and labels keep their form, and Prometheus scrapes what the map draws."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from tests.support.promql import PROMETHEUS, ROOT
from tools import metric_table

CLOSED = {
    "act", "cause", "code", "consumer", "currency", "feed", "forced", "kind", "lane", "language", "level", "list", "method", "neighbour",
    "outcome", "reason", "role", "rule",
    "sink", "source", "state", "version", "what", "where",
}  # fmt: skip
"""Labels whose values come from the code, the contracts, the loaded law and rule set, the list of currencies, or the configured lists of parties
and languages."""


def test_the_page_is_what_the_code_declares() -> None:
    assert metric_table.PAGE.read_text("utf-8") == metric_table.page(), f"run {metric_table.COMMAND}"


@pytest.mark.parametrize("each", metric_table.declared(), ids=lambda each: each.name)
def test_a_metric_has_a_form_a_meaning_and_labels_of_closed_sets(each: metric_table.Declared) -> None:
    assert re.fullmatch(r"luxor_[a-z0-9]+(_[a-z0-9]+)+|luxor_ready", each.name)
    assert len(each.meaning) > 10
    assert set(each.labels) <= CLOSED, f"{each.name}: a label that may grow with traffic"
    if each.kind == "counter":
        assert each.name.endswith("_total")
    if each.kind == "histogram":
        assert each.name.endswith("_seconds")
    assert each.where, "where is it declared?"


def queries() -> Iterator[tuple[str, str]]:
    """Give every query of rules, dashboards and the operator's pages, with where it stands."""
    for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.stem}, {panel['title']}", target["expr"]
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for number, query in enumerate(re.findall(r"```promql\n(.*?)```", path.read_text("utf-8"), re.DOTALL)):
            yield f"{path.name}, query {number + 1}", query


def test_what_queries_take_the_rate_of_is_a_counter_and_nothing_else() -> None:
    kinds = {name: each.kind for each in (*metric_table.declared(), *metric_table.runtime()) for name in each.series}
    found = 0
    for where, query in queries():
        for function, name in re.findall(r"\b(rate|irate|increase)\(\s*([a-zA-Z_:][\w:]*)", query):
            found += 1
            assert kinds[name] in {"counter", "histogram"}, f"{where}: {function} of {name}, which is a {kinds[name]}"
        for name in re.findall(r"\b(?:delta|deriv|idelta)\(\s*([a-zA-Z_:][\w:]*)", query):
            assert kinds[name] == "gauge", f"{where}: {name} is a {kinds[name]}"
    assert found > 40


def test_no_gauge_is_a_running_total() -> None:
    for each in metric_table.declared():
        if each.kind == "gauge":
            assert not re.search(r"since the start|in all\b|so far", each.meaning), (
                f"{each.name} is a counter by its meaning"
            )


def test_what_is_scraped_is_what_the_map_draws() -> None:
    parts = yaml.safe_load((ROOT / "deploy" / "map.yaml").read_text("utf-8"))["parts"]
    drawn = {name: part["ports"]["metrics"] for name, part in parts.items() if "metrics" in part.get("ports", {})}
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    (job,) = [each for each in config["scrape_configs"] if each["job_name"] == "luxor"]
    scraped = {name: each["port"] for each in job["dns_sd_configs"] for name in each["names"]}
    assert scraped == drawn
    (service,) = job["relabel_configs"]
    assert service["target_label"] == "service"
    assert job["sample_limit"] > metric_table.SERIES_MAX
