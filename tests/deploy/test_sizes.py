"""docs/operating/size.md has what a consignment costs; all that the page computes follows from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE = (ROOT / "docs" / "operating" / "size.md").read_text(encoding="utf-8")
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")
A_DAY = 1_600_000
"""Consignments of a country."""


def row_of(name: str) -> str:
    """Return the second cell of a row of the page's tables."""
    (row,) = [line for line in SIZE.splitlines() if line.startswith(f"| {name} |")]
    return row.split("|")[2].strip()


def of_services(cell: str) -> dict[str, int]:
    """Return the number that stands behind, or where it must, before the name of each service."""
    return {
        service: int(found[1].replace(",", ""))
        for service in SERVICES
        if (found := re.search(rf"{service} ([0-9,]+)", cell))
    }


def cpu(name: str) -> tuple[int, dict[str, int]]:
    """Return microseconds a consignment: in all, and by service."""
    cell = row_of(name)
    whole = re.match(r"([0-9]+) µs", cell)
    assert whole, cell
    return int(whole[1]), of_services(cell)


def disk() -> dict[str, int]:
    """Return bytes a consignment by service."""
    return of_services(row_of("disk, databases"))


def traffic(name: str) -> list[str]:
    (row,) = [line for line in SIZE.splitlines() if line.startswith(f"| {name}")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


def test_the_parts_of_a_consignment_add_up() -> None:
    services, parts = cpu("CPU, services")
    assert set(parts) == set(SERVICES)
    assert 0 <= services - sum(parts.values()) <= 40, "what is left is the filer's own"
    stores, parts = cpu("CPU, PostgreSQL")
    assert abs(stores - sum(parts.values())) <= 5
    assert set(disk()) == set(SERVICES)
    assert number(row_of("disk, databases").partition("kB")[0]) * 1000 == pytest.approx(sum(disk().values()), abs=50)


@pytest.mark.parametrize(("name", "a_day"), [("a region", 100_000), ("a country", A_DAY), ("a union", 12_600_000)])
def test_traffic_becomes_machines_by_what_a_consignment_costs(name: str, a_day: int) -> None:
    day, mean, busiest, share, databases, log = traffic(name)
    assert number(day) * (1_000_000 if "million" in day else 1) == a_day
    assert number(mean) == pytest.approx(a_day / 86_400, rel=0.05)
    assert number(busiest) == pytest.approx(3 * a_day / 86_400, rel=0.05)
    spent = 3 * a_day / 86_400 * (cpu("CPU, services")[0] + cpu("CPU, PostgreSQL")[0]) / 1_000_000
    assert number(share) / 100 == pytest.approx(spent, rel=0.1)
    assert number(databases) == pytest.approx(a_day * sum(disk().values()) / 1e9, rel=0.05)
    assert number(log) == pytest.approx(
        a_day * number(row_of("disk, write-ahead log").partition("kB")[0]) * 1000 / 1e9, rel=0.05
    )


def test_what_a_consignment_costs_stands_on_one_page_alone() -> None:
    """A figure that stands twice is wrong once after the next measurement."""
    for path in sorted((ROOT / "deploy" / "chart").glob("values*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"µs|[0-9] bytes a consignment|kB a consignment", text), path.name
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert not re.search(r"kB of write-ahead log", performance)
