"""Every command of the operator's pages runs, prints what the page shows, and no command can be added that nobody runs.

Commands of Luxor run against a system of this test, kubectl and helm (the real ones) against a small API server that keeps what the chart
installs; `page_runner.STAND_INS` lists what is executed in place of a command and why. Commands that need a container engine are run by
`make compose-test`, from the table in tests/containers/documented.py; here it is seen that the table has them all.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from libs.cli.lazy import LazyGroup
from libs.cli.main import luxor
from libs.store.embedded.server import EmbeddedPostgres
from tests.containers.documented import DOCUMENTED
from tests.deploy import documents
from tests.deploy.documents import ROOT, Command
from tests.deploy.doors import services, services_may, who_may
from tests.deploy.page_runner import ALSO_HERE, LAST, Runner, takes
from tests.support.promql import RULES_RECORDED, check_expressions, known_series, names
from tools import deployment_map

pytestmark = pytest.mark.long

PAGES = [documents.name(each) for each in documents.pages()]
INSTALL = "docs/operating/install.md"
NAMED_ONLY = {
    # The job of a hook that succeeded is gone; what it is called is seen in the chart's own tests.
    "kubectl --namespace customs logs job/luxor-clearance-migration",
}
"""Commands of running text that cannot be tried."""
RUN = [INSTALL, *(each for each in PAGES if each != INSTALL and documents.commands(ROOT / each))]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    for program in ("bash", "jq", "openssl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; the pages need it")
    started = Runner(tmp_path_factory.mktemp("pages"))
    try:
        yield started
    finally:
        started.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_a_page_runs_and_prints_what_the_page_shows(page: str, runner: Runner) -> None:
    if page != INSTALL:
        runner.start()
    directory = runner.page(page)
    here = [each for each in documents.commands(ROOT / page) if takes(each) == "here" or each.text in ALSO_HERE]
    wrong = [_wrong(runner, each, directory) for each in here if each.text not in LAST]
    assert not any(wrong), "\n".join(wrong)


def _wrong(runner: Runner, command: Command, directory: Path) -> str:
    """Run a command; say what is wrong with what came of it."""
    if command.text.startswith("promtool") and shutil.which("promtool") is None:
        return ""
    done = runner.run(command, directory)
    missing = documents.not_shown(command.shown, runner.like_the_page(done.out + done.err))
    if not done.code and not missing:
        return ""
    said = f"{command}\n  code {done.code}\n  out {done.out[-1500:]}\n  err {done.err[-1500:]}"
    return said + "".join(f"\n  shown and not printed: {each}" for each in missing)


def test_there_is_nobody_that_a_command_could_be_hidden_from() -> None:
    orphans = [str(each) for page in PAGES for each in documents.commands(ROOT / page) if not takes(each)]
    assert not orphans, "no runner takes these commands; see tests/deploy/page_runner.py"


def test_a_command_that_no_runner_takes_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```console\n$ luxor status\nready\n$ systemctl restart \\\n    luxor\n```\n\n```sh\nA=b rsync x y\n```\n"
    )
    found = documents.commands(page)
    assert [each.text for each in found] == ["luxor status", "systemctl restart \\\n    luxor", "A=b rsync x y"]
    assert found[0].shown == ("ready",)
    assert [takes(each) for each in found] == ["here", "", ""]


def test_a_command_that_fails_or_prints_something_else_would_be_found(runner: Runner, tmp_path: Path) -> None:
    runner.start()
    assert runner.run(Command("page", 1, "luxor stats --by planet"), tmp_path).code == 2
    assert runner.run(Command("page", 1, "kubectl --namespace customs get deployment luxor-risks"), tmp_path).code == 1
    assert runner.run(Command("page", 1, "kubectl --namespace customs get certificats"), tmp_path).code == 1
    assert (
        runner.run(Command("page", 1, "kubectl --namespace customs exec luxor-risk-store-9 -- df"), tmp_path).code == 1
    )
    assert runner.run(Command("page", 1, "helm upgrade luxor deploy/chart --set no.such=value"), tmp_path).code == 1
    assert runner.run(Command("page", 1, "luxor status | tail -1"), tmp_path).code == 0
    assert documents.not_shown(("all is well", "…"), "all is unwell") == ["all is well"]


def test_commands_for_containers_are_those_that_the_test_in_containers_runs() -> None:
    told = {each.text for page in PAGES for each in documents.commands(ROOT / page) if takes(each) == "containers"}
    listed = {each.text for each in DOCUMENTED}
    assert told - listed == set(), "add these to tests/containers/documented.py, so that `make compose-test` runs them"
    assert listed - told == set(), "no page has these any more; take them out of tests/containers/documented.py"


def test_targets_of_make_that_pages_name_are_there() -> None:
    every = [each for page in PAGES for each in documents.commands(ROOT / page) + documents.spans(ROOT / page)]
    asked = {each.text.split("make ", 1)[1].split()[0] for each in every if each.text.startswith("make ")}
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", *sorted(asked), "VALUES=laptop"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"up", "compose-up"} <= asked


def test_commands_that_running_text_names_are_there(runner: Runner, tmp_path: Path) -> None:
    runner.start()
    compose = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text("utf-8"))
    named = [each for page in PAGES for each in documents.spans(ROOT / page) if each.text not in NAMED_ONLY]
    for each in named:
        program, *words = each.text.split()
        if program == "luxor":
            found = luxor.get_command(click.Context(luxor), words[0])
            assert found is not None, str(each)
            if isinstance(found, LazyGroup) and words[1:]:
                # Its commands are imported when they are wanted.
                found = found.get_command(click.Context(found), words[1])
                assert found is not None, str(each)
            options = {option for parameter in _parameters(found) for option in parameter.opts}
            assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, str(each)
        elif program == "kubectl":
            text = each.text if "--namespace" in words else f"kubectl --namespace customs {' '.join(words)}"
            done = runner.sh(text, tmp_path)
            assert done.code == 0, f"{each}\n{done.err}"
        elif program == "docker" and words[0] == "compose":
            services = {word for word in words[2:] if not word.startswith("-") and not word[0].isdigit()}
            assert services <= compose["services"].keys(), str(each)
        elif program == "python":
            file = words[1].replace(".", "/") + ".py" if words[0] == "-m" else words[0]
            assert (ROOT / file).exists(), str(each)
    assert {each.text.split()[0] for each in named} >= {"luxor", "kubectl", "docker", "python", "make"}


def _parameters(command: click.Command) -> list[click.Parameter]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(each for one in below for each in one.params)]


def test_queries_of_the_pages_parse_and_name_metrics_that_there_are(tmp_path: Path) -> None:
    found = [each for page in PAGES for each in documents.queries(ROOT / page)]
    assert found
    for each in found:
        assert names(each.text) <= known_series() | RULES_RECORDED, str(each)
    check_expressions([each.text for each in found], tmp_path)


@pytest.mark.parametrize(
    "page", [*PAGES, "README.md", "deploy/chart/README.md", "docs/command-line.md", "docs/performance.md"]
)
def test_links_lead_to_files_and_headings(page: str) -> None:
    assert documents.broken_links(ROOT / page) == []


def test_a_link_that_leads_nowhere_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`, three\n\n[a](page.md#one-two-three) [b](page.md#four) [c](gone.md)\n[d](https://x.example)\n"
    )
    assert documents.broken_links(page) == [
        "page.md: page.md#four leads to no heading",
        "page.md: gone.md leads to no file",
    ]


# ---------------------------------------------------------------------------------------------- tables of secure.md
SECURE = ROOT / "docs" / "operating" / "secure.md"


def _rows(heading: str) -> list[list[str]]:
    section = SECURE.read_text("utf-8").split(f"# {heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


async def test_the_table_of_roles_is_what_the_services_do(runner: Runner) -> None:
    runner.start()
    endpoints = {service: f"dns:///localhost:{ports.main}" for service, ports in runner.ports.items()}
    found = await who_may(endpoints, runner.data_dir / "tls")
    told = {}
    for call, roles, served in _rows("Who may do what"):
        places = set(endpoints) if served == "all" else set(served.split(", "))
        told[call.strip("`")] = (set(filter(None, roles.split(", "))), places)
    assert told == found


async def test_each_service_may_call_what_the_map_draws_and_nothing_else(runner: Runner) -> None:
    runner.start()
    endpoints = {service: f"dns:///localhost:{ports.main}" for service, ports in runner.ports.items()}
    found, absent = await services_may(endpoints, runner.data_dir / "tls", [*endpoints, "load", "made-up"])
    wanted = {
        (source, each["to"], f"/{method.containing_service.full_name}/{method.name}")
        for each in yaml.safe_load((ROOT / "deploy" / "map.yaml").read_text("utf-8"))["connections"]
        for rpc in each.get("rpcs", ())
        for served in services()
        for method in served.methods
        if rpc in {served.full_name, f"{served.full_name}/{method.name}"}
        for source in each["from"]
    }
    assert {caller for caller, _, _ in wanted} == set(endpoints)
    assert found == {each for each in wanted if each[1:] not in absent}


def test_the_table_of_ports_is_the_map() -> None:
    drawn = deployment_map.read()
    told = {(part, port): set(who.split(", ")) for part, port, who, _ in _rows("What listens where")}
    nobody = {"the machine or container that it runs on"}
    assert told == {
        (part.name, f"{number} {port}"): {
            source for each in drawn.connections if (each.to, each.port) == (part.name, port) for source in each.sources
        }
        or nobody
        for part in drawn.parts.values()
        for port, number in part.ports.items()
    }


def test_the_table_of_what_kubernetes_needs_is_the_map() -> None:
    lines = yaml.safe_load((ROOT / "deploy" / "map.yaml").read_text("utf-8"))["kubernetes"]
    drawn = [
        [
            each["to"],
            f"`{each['ports']}`" if isinstance(each["ports"], str) else ", ".join(map(str, each["ports"])),
            ", ".join(each["from"]),
            each["for"],
        ]
        for each in lines
    ]
    assert _rows("Additional connections in Kubernetes") == drawn


_BYTES = (
    "select string_agg(format('select encode(%I, ''hex'') from %I', a.attname, c.relname), ' union all ') from pg_attribute a"
    " join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public'"
    " and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0 and a.atttypid = 'bytea'::regtype"
)


def test_personal_data_are_where_the_page_says(runner: Runner, tmp_path: Path) -> None:
    runner.start()
    filed = [json.loads(line) for line in (runner.scratch / "traffic.jsonl").read_text("utf-8").splitlines()]
    persons = [each["consignee"] for each in filed]
    persons += [each["consignor"] for each in filed]
    named = {each[key] for each in persons for key in ("name", "phone") if each.get(key)}
    named |= {each["address"]["street"] for each in persons if each.get("address", {}).get("street")}
    identified = {each["declarant"]["identifier"] for each in filed}
    assert len(named) > 300
    found = {}
    for service in runner.ports:
        ask = f"psql '{EmbeddedPostgres(runner.data_dir).url(f'luxor_{service}')}' -Atc"
        query = runner.sh(f'{ask} "{_BYTES}"', tmp_path).out.strip()
        kept = b"\n".join(bytes.fromhex(line) for line in runner.sh(f'{ask} "{query}"', tmp_path).out.split())
        assert kept, service
        found[service] = [any(each.encode() in kept for each in chosen) for chosen in (named, identified)]
    said = {where.split("'")[0]: [each == "yes" for each in cells] for where, *cells, _ in _rows("Personal data")}
    assert said == found


def test_each_service_of_a_running_system_is_in_its_store_with_its_own_account(runner: Runner, tmp_path: Path) -> None:
    runner.start()
    ask = f"psql '{EmbeddedPostgres(runner.data_dir).url('postgres')}' -Atc"
    sessions = "select distinct datname || ' ' || usename from pg_stat_activity where application_name like 'luxor %' order by 1"
    assert runner.sh(f'{ask} "{sessions}"', tmp_path).out.split("\n")[:-1] == [
        f"luxor_{service} luxor_{service}" for service in sorted(runner.ports)
    ]


def test_what_the_pages_say_to_stop_the_system_stops_it(runner: Runner, tmp_path: Path) -> None:
    runner.start()
    last = [each for page in RUN for each in documents.commands(ROOT / page) if each.text in LAST]
    assert [_wrong(runner, each, tmp_path) for each in last] == [""] * len(last)
    assert not runner.up
