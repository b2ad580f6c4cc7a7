"""Runbooks: every command and query in them exists, every SQL runs, and what they name is there."""

import contextlib
import re
import shlex
from functools import cache, partial
from pathlib import Path

import asyncpg
import click
import pytest
import yaml
from click.testing import CliRunner

from libs.cli.main import luxor
from libs.server import catalogue
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from tests.deploy.runbooks import BLOCK, PAGES, RUNBOOKS, blocks
from tests.support.charts import of, rendered
from tests.support.databases import reused_database
from tests.support.promql import ROOT, RULES_RECORDED, check_expressions, known_series, names
from tools import chart

INLINE = re.compile(r"`([^`\n]+)`")


def inline(page: Path) -> list[str]:
    return INLINE.findall(BLOCK.sub("", page.read_text("utf-8")))


def commands(program: str) -> list[list[str]]:
    """Give the commands of a program, from blocks and from within sentences."""
    lines = [line for _, code in blocks("sh") for line in code.splitlines()]
    lines += [text for page in PAGES for text in inline(page)]
    return [shlex.split(line) for line in lines if line.startswith(f"{program} ")]


def test_blocks_are_of_the_kinds_that_are_tested() -> None:
    kinds = {kind for page in PAGES for kind, _ in BLOCK.findall(page.read_text("utf-8"))}
    assert kinds == {"promql", "sh", "sql"}
    for _, code in blocks("sh"):
        assert all(line.startswith(("luxor ", "docker compose ")) for line in code.splitlines()), code


def test_every_query_parses_and_names_metrics_that_exist(tmp_path: Path) -> None:
    queries = blocks("promql")
    for page, query in queries:
        assert not names(query) - known_series() - RULES_RECORDED, (page, query)
    check_expressions([query for _, query in queries], tmp_path)


def test_every_luxor_command_exists_with_its_options() -> None:
    found = [words for words in commands("luxor") if words[1] not in {"command", "up"}]
    assert len(found) > 8
    for words in found:
        command: click.Command = luxor
        context = click.Context(luxor, info_name="luxor")
        rest = words[1:]
        while isinstance(command, click.Group) and rest:
            following = command.get_command(context, rest[0])
            assert following is not None, f"{shlex.join(words)}: there is no command {rest[0]}"
            command, context, rest = following, click.Context(following, context, rest[0]), rest[1:]
        told = CliRunner().invoke(luxor, [*words[1 : len(words) - len(rest)], "--help"])
        assert told.exit_code == 0, told.output
        known = {option for parameter in command.params for option in parameter.opts}
        unknown = [word for word in rest if word.startswith("--") and word not in known]
        assert not unknown, f"{shlex.join(words)}: unknown {unknown}"


def test_a_restart_in_kubernetes_replaces_one_replica_after_the_other() -> None:
    found = commands("kubectl")
    deployments = {f"deployment/{chart.RELEASE}-{name}" for name in of(rendered("laptop"), "Deployment")}
    restarts = 0
    for words in found:
        assert words[1:3] == ["--namespace", chart.NAMESPACE], f"{shlex.join(words)} asks the wrong namespace"
        assert words[3] in {"get", "logs", "describe", "rollout"}, f"{shlex.join(words)}: may end every replica at once"
        if words[3] == "rollout":
            assert words[4] == "restart"
            assert words[5] in deployments
            restarts += 1
    assert restarts


@cache
def compose_services() -> set[str]:
    described = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text("utf-8"))
    return set(described["services"])


TAKES_SERVICES = {"logs", "restart", "up", "exec", "run"}
HAS_VALUE = {"--since", "--tail"}


def test_every_compose_command_names_services_that_exist() -> None:
    found = commands("docker")
    assert len(found) > 20
    for words in found:
        assert words[:2] == ["docker", "compose"]
        action, rest = words[2], words[3:]
        assert action in TAKES_SERVICES | {"ps"}, shlex.join(words)
        places = [
            word for place, word in enumerate(rest) if not word.startswith("-") and rest[place - 1] not in HAS_VALUE
        ]
        if action in {"exec", "run"}:
            places = places[:1]
        assert set(places) <= compose_services(), f"{shlex.join(words)}: Compose knows {sorted(compose_services())}"


async def test_every_sql_runs(postgres: EmbeddedPostgres) -> None:
    """Each runs in the store of one of the services at least, as their migrations leave it."""
    found = blocks("sql")
    assert len(found) >= 4
    left = dict.fromkeys(found)
    for service in ("clearance", "revenue", "risk", "ingestion", "statistics"):
        if not left:
            break
        package = f"services.{service}"
        with reused_database(postgres, package, partial(migrate, package=package)) as url:
            async with Database(url, name=service) as database, database.connection() as reading:
                for each in list(left):
                    with contextlib.suppress(asyncpg.UndefinedTableError):
                        await reading.raw.fetch(each[1])
                        del left[each]
    assert not left, "these name tables that no service has"


@cache
def told_by_the_code() -> str:
    places = [
        *(ROOT / "libs").rglob("*.py"),
        *(ROOT / "services").rglob("*.py"),
        *(ROOT / "deploy" / "compose").iterdir(),
    ]
    return "\n".join(path.read_text("utf-8") for path in places if path.is_file())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_reasons_variables_metrics_and_pages_that_are_named_exist(page: Path) -> None:
    variables = (ROOT / "docs" / "operating" / "configuration.md").read_text("utf-8")
    for word in inline(page):
        if word.startswith("LUXOR_"):
            assert re.search(rf"\b{word}\b", variables) or word == "LUXOR_RISK_TARGET", f"nobody reads {word}"
        elif re.fullmatch(r"[A-Z]+(_[A-Z]+)+|ENDED|INTERNAL|UNCAUGHT|READY|OVERLOADED", word) and not word.startswith(
            "OTEL"
        ):
            assert f'"{word}"' in told_by_the_code() or word in catalogue.reasons(), f"nobody logs {word}"
        elif re.fullmatch(r"luxor_\w+", word):
            assert word in known_series(), f"nobody tells {word}"
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), f"{link} leads nowhere"
    for path in re.findall(r"\b(?:docs|deploy)/[\w./-]+\w", page.read_text("utf-8")):
        assert (ROOT / path).exists() or path == "deploy/compose", f"{path} is not there"


def test_the_list_of_runbooks_is_whole() -> None:
    listed = re.findall(r"\| \[(\w+)\]\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text("utf-8"))
    assert all(name == file for name, file in listed)
    assert {name for name, _ in listed} == {page.stem for page in PAGES} - {"README"}
