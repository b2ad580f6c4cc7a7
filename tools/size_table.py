"""Write the tables of docs/operating/size.md that follow from what a consignment costs. `--check` only reports whether they are current."""

import math
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "operating" / "size.md"
COSTS: Final = ROOT / "docs" / "operating" / "consignment-cost.yaml"
CHART: Final = ROOT / "deploy" / "chart"
COMMAND: Final = "python tools/size_table.py"
DAY_SECONDS: Final = 86_400
MICROS: Final = 1_000_000
MIB: Final = 2**20

Costs = dict[str, Any]


def read_costs() -> Costs:
    """Read the measured costs and the sizes."""
    costs: Costs = yaml.safe_load(COSTS.read_text(encoding="utf-8"))
    return costs


def stored_bytes(costs: Costs, service: str, a_day: int) -> float:
    """Return the bytes of a service's database when every part of it is as old as it gets, and the ledger `ledger_days`."""
    stored = costs["stored"][service]
    parts = stored.get("parts", [])
    rest = costs["services"][service]["database_bytes"] - sum(part["bytes"] for part in parts)
    days = stored["rest_days"] or costs["ledger_days"]
    return float(a_day * (rest * days + sum(part["bytes"] * part["days"] for part in parts)))


def cores(costs: Costs, service: str, kind: str, rate_cps: float) -> float:
    """Return the cores that a service (`python_us`) or its store (`postgresql_us`) uses at a rate."""
    return float(costs["services"][service][kind] * rate_cps / MICROS)


def replicas(costs: Costs, service: str, rate_cps: float) -> int:
    """Return the replicas that use no more than `core_share` of a core each at a rate; one for each zone at least."""
    needed = cores(costs, service, "python_us", rate_cps) / float(costs["core_share"])
    return max(int(costs["zones"]), math.ceil(round(needed, 6)))


def volume_bytes(costs: Costs, service: str, a_day: int) -> float:
    """Return the size of a volume of which the share `free` stays free."""
    return stored_bytes(costs, service, a_day) / (1 - float(costs["free"]))


def memory_bytes(costs: Costs, service: str, size: Costs) -> float:
    """Return the memory of a replica: of its process, and in risk of its history."""
    history = size["risk_history_gb"] * 1e9 if service == "risk" else 0
    return float(costs["process_mib"]["loaded"] * MIB + history)


def tables() -> dict[str, list[str]]:
    """Return the lines of each table, by the name that the page marks it with."""
    costs = read_costs()
    made = {"cost": _cost(costs), "stored": _stored(costs), "traffic": _traffic(costs)}
    for name, size in costs["sizes"].items():
        if "values" in size:
            made |= {f"{name}, processes": _processes(costs, size), f"{name}, stores": _stores(costs, size)}
    return made


def _cost(costs: Costs) -> list[str]:
    services = costs["services"]
    lines = _head("a consignment, both versions", *services, "sum")
    for kind, title in (
        ("python_us", "CPU, the service, µs"),
        ("postgresql_us", "CPU, its PostgreSQL, µs"),
        ("database_bytes", "disk, its database, bytes"),
        ("log_bytes", "disk, write-ahead log, bytes"),
    ):
        values = [each[kind] for each in services.values()]
        whole = costs["log_bytes"] if kind == "log_bytes" else sum(values)
        lines.append(_row(title, *(f"{value:,}" for value in (*values, whole))))
    return lines


def _stored(costs: Costs) -> list[str]:
    daily = costs["sizes"]["country"]["a_day"]
    lines = _head("store", "part", "bytes", "days", "a country, a day")
    for service, stored in costs["stored"].items():
        parts = stored.get("parts", [])
        rest = costs["services"][service]["database_bytes"] - sum(part["bytes"] for part in parts)
        for part in [*parts, {"of": stored["rest"], "bytes": rest, "days": stored["rest_days"]}]:
            days = str(part["days"] or "never deleted")
            lines.append(_row(service, part["of"], f"{part['bytes']:,}", days, _gigabytes(part["bytes"] * daily)))
    return lines


def _traffic(costs: Costs) -> list[str]:
    lines = _head(
        "",
        "a day",
        "mean a second",
        f"busiest hour, {costs['busiest_hour']} × mean",
        "cores at that hour: services, stores",
        "peak a second",
        "cores at the peak: services, stores",
        "disk a day, databases",
        "log a day",
    )
    for name, size in costs["sizes"].items():
        mean = size["a_day"] / DAY_SECONDS
        busiest = mean * costs["busiest_hour"]
        a_day = sum(each["database_bytes"] for each in costs["services"].values()) * size["a_day"]
        lines.append(
            _row(
                f"a {name}",
                f"{size['a_day']:,}",
                _short(mean),
                _short(busiest),
                _both(costs, busiest),
                f"{size['peak_cps']:,}",
                _both(costs, size["peak_cps"]),
                _gigabytes(a_day),
                _gigabytes(costs["log_bytes"] * size["a_day"]),
            )
        )
    return lines


def _processes(costs: Costs, size: Costs) -> list[str]:
    given = values(size["values"])
    lines = _head(
        "service", "cores at the peak", "replicas needed", "chart's replicas", "chart's cores, a replica",
        "memory needed, a replica", "chart's memory, a replica",
    )  # fmt: skip
    for service in costs["services"]:
        own, rate = given["services"][service], size["peak_cps"]
        requests = own["resources"]["requests"]
        lines.append(
            _row(
                service,
                f"{cores(costs, service, 'python_us', rate):.2f}",
                str(replicas(costs, service, rate)),
                f"{own['replicas']['min']} to {own['replicas']['max']}",
                f"{quantity(requests['cpu']):g}",
                f"{memory_bytes(costs, service, size) / MIB:,.0f} MiB",
                f"{quantity(requests['memory']) / MIB:,.0f} MiB",
            )
        )
    return lines


def _stores(costs: Costs, size: Costs) -> list[str]:
    given = values(size["values"])
    lines = _head(
        "store", "cores at the peak", "chart's cores", "stored", "volume needed", "chart's volume", "log a day", "chart's volume for the log"
    )  # fmt: skip
    for service in costs["services"]:
        store = given["services"][service]["store"]
        lines.append(
            _row(
                service,
                f"{cores(costs, service, 'postgresql_us', size['peak_cps']):.2f}",
                f"{quantity(store['resources']['requests']['cpu']):g}",
                _gigabytes(stored_bytes(costs, service, size["a_day"])),
                _gigabytes(volume_bytes(costs, service, size["a_day"])),
                _gigabytes(quantity(store["storage"])),
                _gigabytes(costs["services"][service]["log_bytes"] * size["a_day"]),
                _gigabytes(quantity(store["walStorage"])),
            )
        )
    return lines


def values(size: str) -> Any:
    """Return the values of the chart of a size: its file over the defaults, as Helm merges them."""
    read = [
        yaml.safe_load((CHART / name).read_text(encoding="utf-8")) for name in ("values.yaml", f"values-{size}.yaml")
    ]
    return _merged(*read)


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _merged(below[key], value) if key in below else value for key, value in above.items()}


def quantity(text: str) -> float:
    """Return the bytes or the cores of a Kubernetes quantity: 50Gi, 512Mi, 8GB, 500m, 4."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]  # the schema of the chart checks them
    factor = {"": 1.0, "m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "MB": 2.0**20, "GB": 2.0**30}[unit]
    return float(number) * factor


def _both(costs: Costs, rate_cps: float) -> str:
    return ", ".join(
        _short(sum(cores(costs, service, kind, rate_cps) for service in costs["services"]))
        for kind in ("python_us", "postgresql_us")
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _gigabytes(value: float) -> str:
    return f"{_short(value / 1e9)} GB"


def _head(*titles: str) -> list[str]:
    return [_row(*titles), _row(*("---" for _ in titles))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def page(text: str) -> str:
    """Return the page with its tables made again. Raises ValueError where it lacks the place of one."""
    for name, lines in tables().items():
        begin, end = f"<!-- {COMMAND}: {name} -->\n", "<!-- end -->"
        head, marker, rest = text.partition(begin)
        if not marker or end not in rest:
            raise ValueError(f"{PAGE.name} has no place for the table {name}: {begin.strip()} and {end}")
        text = head + begin + "\n".join(lines) + "\n" + rest[rest.index(end) :]
    return text


def main() -> int:
    """Write the page, or with `--check` report whether it is current."""
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if "--check" in sys.argv[1:]:
        if after != before:
            print(f"{PAGE.relative_to(ROOT)} is not current; run `{COMMAND}`")
        return int(after != before)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
