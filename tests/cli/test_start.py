"""Commands start without what they do not need, and report where the services are not all named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from libs.cli.common import caller_of
from libs.cli.main import luxor

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "sqlalchemy", "asyncpg", "numpy", "alembic", "lightgbm", "scipy", "rapidfuzz", "pyarrow", "pandas", "prometheus_client", "services",
)  # fmt: skip
"""What no command needs that only calls a service: their imports take longer than all the rest."""
CALLING = (
    "grpc",
    "google.protobuf",
    "cryptography",
    "rich",
    "yaml",
    "iso4217",
    "libs.client",
    "libs.columns",
    "libs.simulator",
)
"""What a command needs once it does something, and its help does not."""
WORKERS = {
    "demo": "starts the whole system", "up": "starts the whole system", "down": "stops a system", "migrate": "opens a database itself",
    "simulate": "generates traffic itself", "load": "generates traffic itself", "prepare": "writes files of containers",
    "sandbox": "starts a system, or reads its files", "conformance": "calls the address that is named",
}  # fmt: skip
"""Commands that do not only call a service, and what they do."""
CPU_SECONDS_MAX = 0.6
"""A command starts in less than 0.3 s of CPU time on a quiet machine; a busy one takes up to twice that."""


@dataclass(frozen=True)
class Start:
    """What a command did until it found that no system runs."""

    words: tuple[str, ...]
    help_modules: list[str]
    modules: list[str]
    cpu_seconds: float
    said: str


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> list[Start]:
    """Every command of the tree, started once with its required arguments in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.command_starts", str(tmp_path_factory.mktemp("starts")), *WORKERS],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("LUXOR_")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Start(**{**line, "words": tuple(line["words"])}) for line in map(json.loads, done.stdout.splitlines())]


def among(modules: list[str], names: Iterable[str]) -> list[str]:
    return [name for name in names if name in modules]


def test_the_whole_tree_of_commands_is_started(starts: list[Start]) -> None:
    words = {" ".join(each.words) for each in starts}
    assert {
        "show",
        "risk seeds",
        "risk seeds verify",
        "risk rules list",
        "jobs list",
        "simulate",
        "demo",
    } <= words
    assert set(WORKERS) <= {each.words[0] for each in starts}


def test_the_help_of_a_command_imports_nothing_that_it_does_not_show(starts: list[Start]) -> None:
    wrong = {each.words: among(each.help_modules, (*HEAVY, *CALLING)) for each in starts}
    assert {words: names for words, names in wrong.items() if names} == {}


def test_a_command_that_calls_a_service_imports_neither_a_database_nor_numpy_nor_metrics(starts: list[Start]) -> None:
    wrong = {each.words: among(each.modules, HEAVY) for each in starts if each.words[0] not in WORKERS}
    assert {words: names for words, names in wrong.items() if names} == {}
    reached = [each for each in starts if "No system runs with the data directory" in each.said]
    assert len(reached) > len(starts) / 2, "the others find fault with their arguments first"


def test_a_command_starts_in_little_cpu_time(starts: list[Start]) -> None:
    slow = {each.words: each.cpu_seconds for each in starts if each.cpu_seconds > CPU_SECONDS_MAX}
    assert slow == {}


@pytest.mark.parametrize("count", [1, 4])
def test_a_target_without_the_others_is_reported_and_no_other_system_stands_in(count: int, tmp_path: Path) -> None:
    names = [f"LUXOR_{name}_TARGET" for name in ("INGESTION", "RISK", "REVENUE", "CLEARANCE", "STATISTICS")]
    env = dict.fromkeys(names[:count], "dns:///127.0.0.1:1") | dict.fromkeys(names[count:], "")
    result = CliRunner(env=env).invoke(luxor, ["show", "X", "--json", "--data-dir", str(tmp_path)])
    error = json.loads(result.stderr)["error"]
    assert error["reason"] == "TARGETS_INCOMPLETE"
    assert all((name in error["sentence"]) == (name in names[count:]) for name in names)


@pytest.mark.parametrize(
    ("text", "roles", "expected"),
    [
        ("acme", ("filer",), ("filer", "acme")),
        ("filer/acme", ("filer",), ("filer", "acme")),
        ("acme", ("filer", "carrier"), ("filer", "acme")),
        ("carrier", ("filer", "carrier"), ("carrier", "")),
        ("carrier/c1", ("filer", "carrier"), ("carrier", "c1")),
        ("filer", ("filer",), ("filer", "filer")),
    ],
)
def test_who_calls_is_an_id_or_a_role_with_one(text: str, roles: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert caller_of(text, roles) == expected


@pytest.mark.parametrize(
    ("text", "roles"),
    [("carrier/acme", ("filer",)), ("operator", ("filer", "carrier")), ("king/x", ("filer", "carrier"))],
)
def test_a_role_that_may_not_call_is_refused(text: str, roles: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match="none of"):
        caller_of(text, roles)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("revenue open deferred:D1", "There is no command open. Did you mean open-items?"),
        ("risk model-show", "There is no command model-show. Did you mean models show?"),
        ("risk model-activate m+1", "There is no command model-activate. Did you mean models activate?"),
        ("open", "There is no command open."),
        ("release X --seen 3", "There is no option --seen: since version 0.3 it is --if-version."),
        ("prepare data --every 24 --mark beat", "There is no option --mark: since version 0.3 it is --heartbeat."),
        ("goods --paper C640", "There is no option --paper: since version 0.3 it is --document."),
        ("show X --surprise", "No such option '--surprise'."),
    ],
)
def test_a_command_or_option_of_0_2_is_refused_with_its_present_name(line: str, message: str) -> None:
    result = CliRunner().invoke(luxor, line.split())
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == f"Error: {message}"
