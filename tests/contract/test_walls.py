"""The walls between the parts: the lint of imports passes on this tree and fails on each broken copy of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = Path(sys.executable).parent / "lint-imports"
PARTS = ("libs", "services", "luxor", "tools")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the tree that import-linter looks at."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    # The copy comes first on the path, so that not this checkout's modules are read but the copy's.
    environ = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"}
    return subprocess.run(
        [str(LINT), "--no-cache"], cwd=tree, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


def append(file: Path, line: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    existing = file.read_text(encoding="utf-8") if file.exists() else ""
    file.write_text(f"{existing}\n{line}\n", encoding="utf-8")


def test_the_tree_keeps_every_wall(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "wall", "told"),
    [
        (
            "services/risk/rules/rule_set.py",
            "import services.revenue",
            "No service imports another",
            "services.risk.rules.rule_set",
        ),
        (
            "services/clearance/api/service.py",
            "import services.risk",
            "No service imports another",
            "services.clearance",
        ),
        ("services/risk/pricing.py", "import json", "Rooms import", "services.risk.pricing is a file beside the rooms"),
        ("services/risk/rules/pricing.py", "import grpc", "Rooms import", "services.risk.rules.pricing imports grpc"),
        (
            "services/ingestion/codes.py",
            "import json",
            "Rooms import",
            "services.ingestion.codes is a file beside the rooms",
        ),
        ("services/statistics/__init__.py", "import json", "Rooms import", "services.statistics imports json"),
        *(
            (f"services/statistics/{room}/extra.py", f"import {imported}", "Rooms import", f"extra imports {imported}")
            for room, imported in (
                ("counting", "grpc"),
                ("counting", "asyncpg"),
                ("counting", "libs.feed"),
                ("counting", "services.statistics"),
                ("counting", "luxor.statistics.v1.statistics_pb2_grpc"),
                ("store", "luxor.statistics.v1.statistics_pb2_grpc"),
                ("counting", "services.statistics.store.cells"),
                ("counting", "services.statistics.commands.count"),
                ("counting", "services.statistics.api.service"),
                ("store", "services.statistics.commands.count"),
                ("store", "services.statistics.feeds.clearance_states"),
                ("store", "grpc"),
                ("commands", "services.statistics.api.service"),
                ("commands", "services.statistics.feeds.clearance_states"),
                ("api", "services.statistics.feeds.clearance_states"),
                ("feeds", "services.statistics.api.service"),
                ("jobs", "services.statistics.api.service"),
                ("api", "services.statistics.__main__"),
                ("migrations", "services.statistics.store.cells"),
            )
        ),
        ("libs/columns/extra.py", "import services.risk", "Libs import no service", "libs.columns.extra"),
        (
            "libs/cli/extra.py",
            "from luxor.ingestion.v1 import ingestion_pb2_grpc",
            "reach the stubs",
            "libs.cli.extra imports luxor.ingestion.v1.ingestion_pb2_grpc",
        ),
        *(
            (
                f"services/revenue/law/{package}/extra.py",
                f"import services.revenue.law.{imported}",
                "The packages of the law import in one direction",
                f"services.revenue.law.{package}.extra",
            )
            for package, imported in (
                ("batch", "source.rulebook"),
                ("source", "program.conditions"),
                ("program", "assess.valuation.values"),
                ("assess", "text.explanation"),
            )
        ),
        ("libs/customs/extra.py", "import libs.store", "The vocabulary is pure", "libs.customs.extra"),
        ("libs/customs/extra.py", "import asyncio", "The vocabulary is pure", "libs.customs.extra"),
    ],
)
def test_a_broken_copy_fails_and_the_import_is_named(copy: Path, file: str, line: str, wall: str, told: str) -> None:
    for imported in ("services/revenue", "services/risk"):
        append(copy / imported / "__init__.py", "")
    append(copy / "services/risk/store/__init__.py", "")
    append((copy / file).parent / "__init__.py", "")
    append(copy / file, line)
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    broken = [found for found in done.stdout.splitlines() if found.endswith("BROKEN")]
    assert len(broken) == 1
    assert wall in broken[0]
    assert told in done.stdout.replace("\n", " ")


def test_the_rooms_may_import_what_they_are_for(copy: Path) -> None:
    service = "services.statistics"
    for room, imported in (
        ("api", "grpc"),
        ("api", "luxor.statistics.v1.statistics_pb2_grpc"),
        ("api", f"{service}.commands.count"),
        ("api", f"{service}.store.cells"),
        ("feeds", "libs.feed"),
        ("feeds", f"{service}.commands.count"),
        ("commands", "libs.store"),
        ("commands", "grpc"),
        ("commands", "luxor.statistics.v1.statistics_pb2_grpc"),
        ("commands", f"{service}.store.cells"),
        ("commands", f"{service}.counting.cells"),
        ("store", "asyncpg"),
        ("store", f"{service}.counting.cells"),
        ("counting", "numpy"),
    ):
        append(copy / f"services/statistics/{room}/extra.py", f"import {imported}")
    append(copy / "services/statistics/metrics.py", "import json")
    done = lint(copy)
    assert done.returncode == 0, done.stdout


def test_no_module_escapes_the_lint() -> None:
    # import-linter passes over directories without an __init__.py; migrations are scripts that Alembic runs by path.
    places = {module.parent for part in ("libs", "services") for module in (ROOT / part).rglob("*.py")}
    unseen = [place for place in places if not (place / "__init__.py").exists() and "migrations" not in place.parts]
    assert not unseen
