"""What docs/operating/size.md computes follows from the measured costs, and the chart's sizes have room for it.

The arithmetic is done here once more, from the definitions on the page, and not with tools/size_table.py, which writes the tables.
"""

from __future__ import annotations

import re
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.clearance.store.rows import STATE_DAYS
from services.ingestion.store.filings import SUBMISSION_DAYS
from services.revenue.store.assessments.inputs import ASSESSMENT_DAYS as REVENUE_DAYS
from services.risk.config import RiskConfig
from services.risk.store.assessment_log import ASSESSMENT_DAYS as RISK_DAYS
from services.risk.store.assessment_log import LOG_DAYS
from services.statistics.__main__ import COUNTED_DAYS
from tests.support.charts import of, rendered
from tools import size_table

ROOT = Path(__file__).resolve().parents[2]
SIZE = (ROOT / "docs" / "operating" / "size.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
COSTS: dict[str, Any] = yaml.safe_load(
    (ROOT / "docs" / "operating" / "consignment-cost.yaml").read_text(encoding="utf-8")
)
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")
PYTHON, POSTGRESQL, DATABASE, LOG = (
    {name: COSTS["services"][name][kind] for name in SERVICES}
    for kind in ("python_us", "postgresql_us", "database_bytes", "log_bytes")
)
SIZES = ("country", "union")
MIB, GIB = 2**20, 2**30


def block(name: str) -> dict[str, list[str]]:
    """Return the rows of a table of the page, by their first cell."""
    (text,) = re.findall(rf"<!-- python tools/size_table.py: {name} -->\n(.*?)<!-- end -->", SIZE, re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {f"{row[0]}, {row[1]}" if name == "stored" else row[0]: row[1:] for row in rows}


def number(cell: str) -> float:
    return float(re.sub(r"[^0-9.]", "", cell))


def near(cell: str, value: float) -> bool:
    """Whether a cell has a value, rounded to two digits or to whole numbers."""
    return number(cell) == pytest.approx(value, rel=0.051)


def a_day(size: str) -> int:
    count: int = COSTS["sizes"][size]["a_day"]
    return count


def stored(service: str, size: str) -> float:
    """Return the bytes of a store whose parts are as old as they get, and of revenue's ledger those of a year."""
    log, inputs = (part["bytes"] for part in COSTS["stored"]["risk"]["parts"])
    (answers,) = (part["bytes"] for part in COSTS["stored"]["revenue"]["parts"])
    a_consignment_a_day = {
        "ingestion": DATABASE["ingestion"] * 398,
        "risk": (DATABASE["risk"] - log - inputs) * 400 + log * 33 + inputs * 60,
        "revenue": answers * 400 + (DATABASE["revenue"] - answers) * 365,
        "clearance": DATABASE["clearance"] * 390,
        "statistics": DATABASE["statistics"] * 400,
    }
    return float(a_consignment_a_day[service] * a_day(size))


def memory_needed(size: str, service: str) -> float:
    """Return the bytes that a replica uses at full load, in risk with its history."""
    history = COSTS["sizes"][size]["risk_history_gb"] * 1e9 if service == "risk" else 0
    return float(COSTS["process_mib"]["loaded"] * MIB + history)


def container(size: str, service: str) -> dict[str, Any]:
    """Return the container of a service in the chart of a size."""
    (found,) = of(rendered(size), "Deployment")[service]["spec"]["template"]["spec"]["containers"]
    made: dict[str, Any] = found
    return made


def gib(text: str) -> float:
    assert text.endswith("Gi"), text
    return float(text.removesuffix("Gi")) * GIB


def test_the_page_is_what_its_tool_writes() -> None:
    assert size_table.page(SIZE) == SIZE
    with pytest.raises(ValueError, match="no place for the table country, stores"):
        size_table.page(SIZE.replace("size_table.py: country, stores", "size_table.py: county, stores"))


def test_the_costs_are_complete_and_their_sums_are_on_the_page() -> None:
    assert set(COSTS["services"]) == set(COSTS["stored"]) == set(SERVICES)
    table = block("cost")
    assert table["a consignment, both versions"] == [*SERVICES, "sum"]
    for title, values in (
        ("CPU, the service, µs", PYTHON),
        ("CPU, its PostgreSQL, µs", POSTGRESQL),
        ("disk, its database, bytes", DATABASE),
    ):
        assert [number(cell) for cell in table[title]] == [*values.values(), sum(values.values())]
    log = [number(cell) for cell in table["disk, write-ahead log, bytes"]]
    assert log == [*LOG.values(), COSTS["log_bytes"]]
    assert 0 <= COSTS["log_bytes"] - sum(LOG.values()) <= 0.05 * COSTS["log_bytes"], "the rest belongs to no statement"


def test_the_figures_of_performance_are_the_same() -> None:
    for title, values, whole in (
        ("Python, microseconds of CPU", PYTHON, sum(PYTHON.values())),
        ("PostgreSQL, microseconds of CPU", POSTGRESQL, sum(POSTGRESQL.values())),
        ("database, bytes", DATABASE, sum(DATABASE.values())),
        ("write-ahead log, bytes", LOG, COSTS["log_bytes"]),
    ):
        (line,) = [line for line in PERFORMANCE.splitlines() if line.startswith(f"| {title} |")]
        cells = [number(cell) for cell in line.strip("|").split("|")[1:7]]
        assert cells == [*values.values(), whole]
    assert f"| {COSTS['rate_cps']:,} |" in PERFORMANCE
    memory, *_ = re.findall(r"\| memory of the five services at the end \| ([0-9,]+) MiB \|", PERFORMANCE)
    assert COSTS["process_mib"]["loaded"] == pytest.approx(number(memory) / 5, abs=1)


def test_the_text_of_the_page_has_the_figures_that_it_names() -> None:
    text = " ".join(SIZE.split())
    for figure in (
        f"up to {COSTS['process_mib']['started']} MiB after its start and {COSTS['process_mib']['loaded']} MiB on average",
        f"{COSTS['rate_cps']:,} consignments a second were decided",
        f"a country's whole day in {round(a_day('country') / COSTS['rate_cps'] / 60)} minutes",
        f"{COSTS['sizes']['country']['risk_history_gb']} GB for a country and {COSTS['sizes']['union']['risk_history_gb']} GB for a union",
        f"one run of {COSTS['measured']['seconds']} s",
    ):
        assert figure in text
    assert COSTS["measured"]["runs"] == 1


def test_a_part_of_a_store_is_stored_as_long_as_the_code_says() -> None:
    input_days = RiskConfig.from_environ("risk", {}).input_days
    days = {name: each["rest_days"] for name, each in COSTS["stored"].items()}
    assert days == {
        "ingestion": SUBMISSION_DAYS, "risk": RISK_DAYS, "revenue": 0, "clearance": STATE_DAYS, "statistics": COUNTED_DAYS,
    }  # fmt: skip
    assert [part["days"] for part in COSTS["stored"]["risk"]["parts"]] == [LOG_DAYS, input_days]
    assert [part["days"] for part in COSTS["stored"]["revenue"]["parts"]] == [REVENUE_DAYS]


def test_the_parts_of_the_stores_add_up_to_what_was_measured() -> None:
    table = block("stored")
    del table["store, part"], table["---, ---"]
    found: dict[str, float] = {}
    for name, (_, size, days, daily) in table.items():
        service = name.partition(",")[0]
        found[service] = found.get(service, 0) + number(size)
        assert near(daily, number(size) * a_day("country") / 1e9)
        assert (days == "never deleted") == ("the ledger" in name)
    assert found == DATABASE


@pytest.mark.parametrize("name", ["region", *SIZES])
def test_traffic_becomes_machines_by_what_a_consignment_costs(name: str) -> None:
    day, mean, busiest, cores, peak, peak_cores, databases, log = block("traffic")[f"a {name}"]
    assert number(day) == a_day(name)
    assert near(mean, a_day(name) / 86_400)
    assert near(busiest, 3 * a_day(name) / 86_400)
    rate = COSTS["sizes"][name]["peak_cps"]
    assert number(peak) == rate
    for cell, cps in ((cores, 3 * a_day(name) / 86_400), (peak_cores, rate)):
        services, stores = cell.split(", ")
        assert near(services, cps * sum(PYTHON.values()) / 1e6)
        assert near(stores, cps * sum(POSTGRESQL.values()) / 1e6)
    assert near(databases, a_day(name) * sum(DATABASE.values()) / 1e9)
    assert near(log, a_day(name) * COSTS["log_bytes"] / 1e9)
    seconds = 3600 * 3 * a_day(name) / 86_400 / rate
    assert 70 <= seconds <= 85, "an hour's backlog is filed within about 80 seconds"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_the_row_of_a_service_is_computed_from_its_costs_and_shows_what_the_chart_gives(
    size: str, service: str
) -> None:
    rate = COSTS["sizes"][size]["peak_cps"]
    cores, needed, replicas, chart_cores, memory, chart_memory = block(f"{size}, processes")[service]
    assert float(cores) == pytest.approx(PYTHON[service] * rate / 1e6, abs=0.0051)
    assert int(needed) == max(3, ceil(PYTHON[service] * rate / 1e6 / 0.6))
    scaled = of(rendered(size), "ScaledObject")[service]["spec"]
    assert replicas == f"{scaled['minReplicaCount']} to {scaled['maxReplicaCount']}"
    requests = container(size, service)["resources"]["requests"]
    assert float(chart_cores) == size_table.quantity(requests["cpu"])
    assert number(memory) == pytest.approx(memory_needed(size, service) / MIB, abs=0.5)
    assert number(chart_memory) == size_table.quantity(requests["memory"]) / MIB

    cores, chart_cores, kept, volume, chart_volume, log, chart_log = block(f"{size}, stores")[service]
    assert float(cores) == pytest.approx(POSTGRESQL[service] * rate / 1e6, abs=0.0051)
    assert near(kept, stored(service, size) / 1e9)
    assert near(volume, stored(service, size) / 0.8 / 1e9)
    assert near(log, LOG[service] * a_day(size) / 1e9)
    spec = of(rendered(size), "Cluster")[f"{service}-store"]["spec"]
    assert near(chart_volume, gib(spec["storage"]["size"]) / 1e9)
    assert near(chart_log, gib(spec["walStorage"]["size"]) / 1e9)
    assert float(chart_cores) == size_table.quantity(spec["resources"]["requests"]["cpu"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_the_chart_has_the_processes_that_the_peak_needs_and_survives_a_zone(size: str, service: str) -> None:
    needed = PYTHON[service] * COSTS["sizes"][size]["peak_cps"] / 1e6
    scaled = of(rendered(size), "ScaledObject")[service]["spec"]
    least, most = scaled["minReplicaCount"], scaled["maxReplicaCount"]
    assert least >= max(3, ceil(needed / 0.6))
    assert needed / (least * 2 // 3) <= 1, "with a zone away each of the others computes on one core at most"
    assert most >= 1.5 * ceil(needed / 0.6)
    assert least <= scaled["fallback"]["replicas"] <= most
    requests = container(size, service)["resources"]["requests"]
    assert least * size_table.quantity(requests["cpu"]) >= needed
    assert size_table.quantity(requests["memory"]) >= memory_needed(size, service)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_the_chart_has_the_stores_that_the_peak_and_the_days_need(size: str, service: str) -> None:
    spec = of(rendered(size), "Cluster")[f"{service}-store"]["spec"]
    cores = POSTGRESQL[service] * COSTS["sizes"][size]["peak_cps"] / 1e6
    assert size_table.quantity(spec["resources"]["requests"]["cpu"]) >= cores
    given, needed = gib(spec["storage"]["size"]), stored(service, size)
    assert 1.25 * needed <= given <= 2 * needed, f"{given / 1e9:,.0f} GB for {needed / 1e9:,.0f} GB"
    limit = size_table.quantity(spec["postgresql"]["parameters"]["max_wal_size"])
    assert gib(spec["walStorage"]["size"]) >= limit + LOG[service] * a_day(size) / 3


def test_a_laptop_has_room_for_the_consignments_and_the_processes_of_the_page() -> None:
    count = COSTS["laptop"]["consignments"]
    assert f"{count:,} consignments" in SIZE
    for name, each in of(rendered("laptop"), "Cluster").items():
        assert gib(each["spec"]["storage"]["size"]) >= 1.25 * count * DATABASE[name.removesuffix("-store")], name
    for service in SERVICES:
        resources = container("laptop", service)["resources"]
        request, limit = (size_table.quantity(resources[kind]["memory"]) for kind in ("requests", "limits"))
        assert request >= COSTS["process_mib"]["started"] * MIB, service
        assert limit >= 2 * COSTS["process_mib"]["loaded"] * MIB, service


@pytest.mark.parametrize(
    ("text", "value"),
    [("50Gi", 50 * 2**30), ("512Mi", 512 * 2**20), ("8GB", 8 * 2**30), ("500m", 0.5), ("4", 4), ("1.5", 1.5)],
)
def test_quantities_are_those_of_kubernetes_and_of_postgresql(text: str, value: float) -> None:
    assert size_table.quantity(text) == value


def test_what_a_consignment_costs_stands_in_one_file_alone() -> None:
    """A figure that stands twice is wrong once after the next measurement."""
    for path in sorted((ROOT / "deploy" / "chart").glob("values*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"µs|[0-9] bytes a consignment|kB a consignment", text), path.name
    assert not re.search(r"kB of write-ahead log", PERFORMANCE)
