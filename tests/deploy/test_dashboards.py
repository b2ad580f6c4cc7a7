"""Dashboards: made by the tool, every query parses and names metrics that exist, every panel says what it tells."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.dashboards import FILES, GRAFANA, load, panels
from tests.support.promql import ROOT, RULES_RECORDED, check_expressions, known_series, names, plain
from tools import dashboards

UNITS = {"ops", "reqps", "s", "short", "percentunit", "bytes", "Bps", "none"}


def test_the_files_are_what_the_tool_makes() -> None:
    made = dashboards.files()
    assert set(made) == set(FILES)
    for path, text in made.items():
        assert path.read_text("utf-8") == text, f"{path.name} is not current; run {dashboards.COMMAND}"


def test_every_query_parses(tmp_path: Path) -> None:
    queries = [plain(target["expr"]) for _, panel in panels() for target in panel["targets"]]
    queries += [plain(each["expr"]) for path in FILES for each in load(path)["annotations"]["list"]]
    assert len(queries) > 60
    assert not [query for query in queries if "$" in query], "a variable that nobody fills in"
    check_expressions(queries, tmp_path)


def test_every_query_names_metrics_that_exist() -> None:
    for file, panel in panels():
        for target in panel["targets"]:
            unknown = names(plain(target["expr"])) - known_series() - RULES_RECORDED
            assert not unknown, f"{file}, {panel['title']}: nobody tells {unknown}"


def test_every_panel_has_a_description_a_unit_and_a_legend() -> None:
    for file, panel in panels():
        assert len(panel["description"]) > 20, (file, panel["title"])
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, (file, panel["title"])
        assert all(target["legendFormat"] for target in panel["targets"]), (file, panel["title"])
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_labels_in_legends_are_labels_that_the_query_keeps() -> None:
    for file, panel in panels():
        for target in panel["targets"]:
            kept = re.search(r"^(?:sum|max|min|time\(\) - min) by \(([^)]*)\)", target["expr"])
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                if kept is not None:
                    assert label in kept[1], (file, panel["title"], label)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ids_are_unique_and_panels_do_not_overlap(path: Path) -> None:
    found = load(path)
    assert found["uid"] == path.stem
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= dashboards.COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
    assert next(variable["name"] for variable in found["templating"]["list"]) == "datasource"


def test_dashboards_have_ids_and_titles_of_their_own() -> None:
    found = [load(path) for path in FILES]
    assert len({each["uid"] for each in found}) == len({each["title"] for each in found}) == len(found) == 3


def test_latencies_show_exemplars() -> None:
    shown = [panel["title"] for _, panel in panels() if any(target["exemplar"] for target in panel["targets"])]
    assert {"From acceptance to decision", "Duration", "Time of a transaction"} <= set(shown)


def test_grafana_is_told_of_the_data_sources_that_the_map_draws() -> None:
    parts = yaml.safe_load((ROOT / "deploy" / "map.yaml").read_text("utf-8"))["parts"]
    described = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "luxor.yaml").read_text("utf-8"))
    urls = {each["type"]: each["url"] for each in described["datasources"]}
    assert urls == {
        "prometheus": f"http://prometheus:{parts['prometheus']['ports']['web']}",
        "jaeger": f"http://jaeger:{parts['jaeger']['ports']['web']}",
    }
    prometheus, jaeger = described["datasources"]
    (leads_to,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert leads_to["name"] == "trace_id"
    assert leads_to["datasourceUid"] == jaeger["uid"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "luxor.yaml").read_text("utf-8"))[
        "providers"
    ]
    assert provider["options"]["path"].endswith("/dashboards")
