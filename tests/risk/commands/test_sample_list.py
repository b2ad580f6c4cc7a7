"""The shipped list of invented names: whoever runs on it is warned at start, by a metric and at the command line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from libs.cli.commands.operations import system
from libs.cli.local.state import Ports, State
from libs.telemetry.metrics import REGISTRY
from services.risk.commands.load_lists import ListLoader
from tests.risk.screening.list_files import write

SHIPPED = Path(__file__).parents[3] / "services" / "risk" / "profiles" / "lists"


def sample() -> float | None:
    return REGISTRY.get_sample_value("luxor_risk_sample_list")


def test_the_shipped_list_warns_at_start_and_until_it_is_withdrawn(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ListLoader(SHIPPED)
    assert sample() == 1
    assert "SAMPLE_LIST_ACTIVE" in capsys.readouterr().err
    ListLoader(directory)
    assert sample() == 0, "an administration's own list is no sample"
    assert "SAMPLE_LIST_ACTIVE" not in capsys.readouterr().err
    # A copy of the sample beside it warns, and its withdrawal ends that.
    (directory / "stop_list.yaml").write_bytes((SHIPPED / "stop_list.yaml").read_bytes())
    own = "  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n"
    write(
        directory / "lists.yaml",
        text=f"format: 1\nlists:\n{own}  - {{name: STOP, kind: own, files: [stop_list.yaml]}}\n",
    )
    lists = ListLoader(directory)
    assert sample() == 1
    write(
        directory / "lists.yaml",
        text=f"format: 1\nlists:\n{own}  - {{name: STOP, withdrawn: true, reason: replaced by our own list}}\n",
    )
    lists.look()
    assert sample() == 0


@pytest.mark.parametrize("active", [True, False])
def test_the_status_of_the_system_says_so_in_red(active: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = f"luxor_risk_sample_list {float(active)}\nprocess_resident_memory_bytes 1048576.0\n"
    monkeypatch.setattr(system.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(answer.encode()))
    found = system.metrics_of(1)
    assert found["memory_bytes"] == 1_048_576.0
    assert bool(found["warnings"]) == active
    state: Any = State.__new__(State)
    object.__setattr__(state, "ports", {"risk": Ports(1, 2, 3)})
    assert system.warnings_of(state) == found["warnings"]
    out = io.StringIO()
    told = {"processes": [], "started": "now", "data_dir": "here", "warnings": found["warnings"]}
    system.show_status(Console(file=out, force_terminal=True, width=200), told)
    assert ("\x1b[1;31mWARNING" in out.getvalue()) == active
    assert ("INVENTED" in out.getvalue()) == active
