"""The walls between the parts: the lint of imports passes on this tree and fails on each broken copy of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = """
import os, sys
from importlinter.cli import lint_imports
for file in sys.stdin:
    if not (process := os.fork()):
        os.dup2(os.open(file.rstrip(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
        code = lint_imports(cache_dir="cache")
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
"""Does what the command lint-imports does, once for each line, which names the file for what it prints: a start of it takes half of its time."""
PARTS = ("libs", "services", "luxor", "tools")


class Tree:
    """A copy of the tree that import-linter looks at; what a test appends is taken back after it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: dict[Path, bytes | None] = {}
        # The copy comes first on the path, so that not this checkout's modules are read but the copy's.
        environ = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
        self.linter = subprocess.Popen(
            [sys.executable, "-c", LINT],
            cwd=root, env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def lint(self) -> tuple[int, str]:
        """Return the exit code of lint-imports, and what it prints."""
        assert self.linter.stdin is not None
        assert self.linter.stdout is not None
        self.linter.stdin.write("printed\n")
        self.linter.stdin.flush()
        code = int(self.linter.stdout.readline())
        return code, (self.root / "printed").read_text("utf-8")

    def append(self, file: str, line: str = "") -> None:
        """Append a line to a file, which is made where it is not there."""
        path = self.root / file
        path.parent.mkdir(exist_ok=True)
        existing = path.read_bytes() if path.exists() else None
        self._before.setdefault(path, existing)
        path.write_bytes((existing or b"") + f"\n{line}\n".encode())

    def restore(self) -> None:
        """Take back what was appended."""
        while self._before:
            path, existing = self._before.popitem()
            path.unlink() if existing is None else path.write_bytes(existing)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    root = tmp_path_factory.mktemp("tree")
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    made = Tree(root)
    yield made
    made.linter.communicate()


@pytest.fixture
def copy(tree: Tree) -> Iterator[Tree]:
    yield tree
    tree.restore()


def test_the_tree_keeps_every_wall(copy: Tree) -> None:
    code, printed = copy.lint()
    assert code == 0, printed
    assert "0 broken" in printed


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
def test_a_broken_copy_fails_and_the_import_is_named(copy: Tree, file: str, line: str, wall: str, told: str) -> None:
    for imported in ("services/revenue", "services/risk"):
        copy.append(f"{imported}/__init__.py")
    copy.append("services/risk/store/__init__.py")
    copy.append(str(Path(file).parent / "__init__.py"))
    copy.append(file, line)
    code, printed = copy.lint()
    assert code == 1, printed
    broken = [found for found in printed.splitlines() if found.endswith("BROKEN")]
    assert len(broken) == 1
    assert wall in broken[0]
    assert told in printed.replace("\n", " ")


def test_the_rooms_may_import_what_they_are_for(copy: Tree) -> None:
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
        copy.append(f"services/statistics/{room}/extra.py", f"import {imported}")
    copy.append("services/statistics/metrics.py", "import json")
    code, printed = copy.lint()
    assert code == 0, printed


def test_no_module_escapes_the_lint() -> None:
    # import-linter passes over directories without an __init__.py; migrations are scripts that Alembic runs by path.
    places = {module.parent for part in ("libs", "services") for module in (ROOT / part).rglob("*.py")}
    unseen = [place for place in places if not (place / "__init__.py").exists() and "migrations" not in place.parts]
    assert not unseen
