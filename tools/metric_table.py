"""Write docs/operating/metrics.md: every metric, as the code declares it. `--check` only reports whether the page is current."""

import importlib
import pkgutil
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

import libs
import services
from libs.store.monitoring.gauges import watched_database
from libs.telemetry import metrics

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operating" / "metrics.md"
COMMAND = "python tools/metric_table.py"

_UNITS = (
    ("_timestamp_seconds", "seconds since 1970-01-01 UTC"), ("_seconds", "seconds"), ("_bytes", "bytes"),
    ("_minor_total", "minor units"), ("_seconds_total", "seconds"), ("_total", "count"),
)  # fmt: skip
_FLAGS = {"luxor_ready", "luxor_neighbour_up", "luxor_store_full", "luxor_store_writable"}

_HEAD = f"""# Metrics

Every service serves its metrics over HTTP at `/metrics` on its metrics port (7601 to 7605), in Prometheus' text format, or in OpenMetrics
if the scraper requests it. Only OpenMetrics carries exemplars: the trace id of the last sampled call in each bucket of a latency.

The values of labels are closed sets. No filer, consignment or trace is a label, so the number of series does not grow with traffic: a service has
fewer than {{series}} series, whatever is sent to it.

Made from the code by `{COMMAND}`. What to do with them: [dashboards and alerts](../../deploy/), [runbooks](runbooks/).
"""


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric as it is scraped."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    where: str

    @property
    def unit(self) -> str:
        """What it is counted in."""
        if self.name in _FLAGS:
            return "0 or 1"
        return next((unit for ending, unit in _UNITS if self.name.endswith(ending)), "count")

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which it can be asked for."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


SERIES_MAX = 2_000
"""Largest number of series of one process; a test checks it."""


def load() -> None:
    """Import all of the product, so that every metric is declared."""
    for package in (libs, services):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("__main__", ".main")) and ".migrations" not in found.name:
                importlib.import_module(found.name)
    for service in pkgutil.iter_modules(services.__path__):
        importlib.import_module(f"services.{service.name}.__main__")
    watched_database("postgresql:///", name="none")


def declared() -> list[Declared]:
    """Return every metric that the code declares, by name."""
    load()
    sources = _sources()
    found = [_declared(family, sources) for family in metrics.REGISTRY.collect() if family.name.startswith("luxor_")]
    return sorted((each for each in found if each.where), key=lambda each: each.name)


def runtime() -> list[Declared]:
    """Return the metrics of the process that the Prometheus client adds."""
    families = (*ProcessCollector(registry=None).collect(), *GCCollector(registry=CollectorRegistry()).collect())
    return sorted((_declared(family, {}) for family in families), key=lambda each: each.name)


def _declared(family: Metric, sources: dict[str, str]) -> Declared:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    known = metrics.declared_labels(name)
    labels = known if known is not None else tuple(getattr(family, "_labelnames", ()))
    meaning = family.documentation.rstrip(".")
    where = next((place for text, place in sources.items() if f'"{name}"' in text or f'"{family.name}"' in text), "")
    return Declared(name, family.type, tuple(labels), meaning, where)


def _sources() -> dict[str, str]:
    """Return the text of every module that declares metrics, with the services that have them: one, all, or those with a feed."""
    found = {}
    for path in sorted([*(ROOT / "libs").rglob("*.py"), *(ROOT / "services").rglob("*.py")]):
        text = path.read_text("utf-8")
        place = path.relative_to(ROOT).parts
        if place[1] != "cli" and re.search(r'"luxor_\w+"', text):
            found[text] = place[1] if place[0] == "services" else _concern(place[1])
    return found


def _concern(lib: str) -> str:
    return {"feed": "those with a feed"}.get(lib, "all")


def page() -> str:
    """Return the whole page."""
    lines = [
        _HEAD.format(series=f"{SERIES_MAX:,}"),
        "| metric | type | labels | unit | of | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in declared():
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.unit} | {each.where} | {each.meaning} |")
    lines += ["", "## Of the process", "", "From the Prometheus client itself, the same for every service.", ""]
    lines += ["| metric | type | unit | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| `{each.name}` | {each.kind} | {each.unit} | {each.meaning} |" for each in runtime()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or report with --check whether it is current."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text("utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is not what the code declares; run: {COMMAND}", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
