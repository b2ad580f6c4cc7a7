"""Reading PromQL well enough to say which metrics a query names, and having promtool read it properly."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import yaml

from tools.metric_table import declared, runtime

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"

OF_PROMETHEUS = frozenset({"up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"})
"""What Prometheus itself writes for each target and alert."""

_WORDS = frozenset(
    "and or unless by on ignoring without group_left group_right offset bool inf nan".split()  # noqa: SIM905
)
_GRAFANA = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m", "$service": "risk"}


def promtool() -> str:
    """Give the program, or skip the test where it is not installed."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian package prometheus)")
    return found


def run_promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool and give what it said."""
    command = [promtool(), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


@cache
def known_series() -> frozenset[str]:
    """Give every name that can be asked for, but for those that rules record."""
    return OF_PROMETHEUS | {name for each in (*declared(), *runtime()) for name in each.series}


def plain(expression: str) -> str:
    """Give a dashboard's query with Grafana's variables filled in."""
    for variable, value in _GRAFANA.items():
        expression = expression.replace(variable, value)
    return expression


def names(expression: str) -> set[str]:
    """Give the metrics that a query names."""
    text = re.sub(r"\"[^\"]*\"|'[^']*'", '""', expression)
    text = re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", " ", text)
    text = re.sub(r"\b(by|on|ignoring|without|group_left|group_right)\s*\([^()]*\)", " ", text)
    found = set()
    for match in re.finditer(r"(?<![\w.:])[a-zA-Z_:][\w:]*", text):
        is_function = text[match.end() :].lstrip().startswith("(")
        is_duration = re.search(r"\boffset\s+$", text[: match.start()]) is not None
        if not is_function and not is_duration and match[0].lower() not in _WORDS:
            found.add(match[0])
    return found


def check_expressions(expressions: Iterable[str], directory: Path) -> None:
    """Fail where promtool cannot parse a query."""
    rules = [{"record": f"test:query{place}", "expr": text} for place, text in enumerate(expressions)]
    file = directory / "queries.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}), "utf-8")  # JSON is YAML
    done = run_promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def _recorded() -> frozenset[str]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text("utf-8"))["groups"]
    return frozenset(rule["record"] for group in groups for rule in group["rules"] if "record" in rule)


RULES_RECORDED = _recorded()
"""What the rules record."""
