"""The dashboards and their panels, as tests read them."""

import json
from pathlib import Path
from typing import Any

from tests.support.promql import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(path.stem, panel) for path in FILES for panel in load(path)["panels"] if panel["type"] != "row"]
