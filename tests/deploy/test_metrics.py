"""Metrics: the page is what the code declares, names and labels keep their form, and Prometheus scrapes what the map draws."""

import re

import pytest
import yaml

from tests.support.promql import PROMETHEUS, ROOT
from tools import metric_table

CLOSED = {
    "cause", "code", "consumer", "currency", "feed", "forced", "kind", "lane", "level", "list", "method", "neighbour", "outcome", "reason",
    "sink", "source", "state", "where",
}  # fmt: skip
"""Labels whose values come from the code, the contracts, the loaded law, the list of currencies, or the configured lists of parties."""


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
