"""No container may more than it needs, holds what is another's, or reaches what deploy/map.yaml does not draw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from docker.models.containers import Container

from libs.cli.local.state import SERVICES
from tests.containers.beyond import Beyond, listeners
from tests.containers.composed import STORES, Composed, addresses, gateways, listens_outside, reachable_from, until
from tests.containers.conftest import Whole
from tests.containers.engine import ROOT, run
from tools import deployment_map

RUNNING = (*SERVICES, *STORES)
CALLERS = ("command-line", "load")


@pytest.fixture(scope="module")
def system(whole: Whole) -> Composed:
    """The system alone."""
    return whole.system


@pytest.fixture(scope="module")
def callers(system: Composed) -> Iterator[dict[str, Container]]:
    """Containers of those who call, kept there without doing anything."""
    found = {}
    for name in CALLERS:
        own = f"{system.project}-{name}"
        idle = ["--entrypoint", "/opt/luxor/bin/python", "--name", own]
        system.compose(
            "run", "--detach", "--no-deps", *idle, name, "-c", "import time; time.sleep(3600)",
            profiles="stores,command-line,staging",
        )  # fmt: skip
        found[name] = system.engine.containers.get(own)
    yield found
    for container in found.values():
        container.remove(force=True)


def test_no_container_runs_as_root_or_may_become_it(system: Composed) -> None:
    found = system.containers()
    assert {*RUNNING, "prepare"} <= set(found)
    for name, container in found.items():
        user = container.attrs["Config"]["User"].partition(":")[0]
        assert user.isdigit(), name
        assert int(user) > 0, name
        host = container.attrs["HostConfig"]
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert not host["Privileged"], name
        if container.status == "running":
            processes = container.top(ps_args="-eo uid,pid,args")["Processes"]
            assert processes, name
            assert all(int(row[0]) > 0 for row in processes), (name, processes)


def test_every_container_is_read_only_and_bounded(system: Composed) -> None:
    for name, container in system.containers().items():
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["LogConfig"]["Config"]["max-size"], name
        if name in {*RUNNING, "renew"}:
            assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        if name in RUNNING:
            assert container.exec_run(["touch", "/run/luxor/x"]).exit_code != 0, name
            assert container.exec_run(["touch", "/etc/x"]).exit_code != 0, name


def test_secrets_are_each_in_a_volume_that_one_container_mounts_and_its_user_alone_can_read(system: Composed) -> None:
    mounted: dict[str, list[str]] = {}
    for name, container in system.containers().items():
        for mount in container.attrs["Mounts"]:
            if mount["Type"] == "volume":
                mounted.setdefault(mount["Name"].removeprefix(f"{system.project}_"), []).append(name)
    assert sorted(mounted["authority"]) == ["prepare", "renew"]
    for name in RUNNING:
        assert sorted(mounted[name]) == sorted([name, "prepare", "renew"])
    program = "find /run/luxor -mindepth 0 -printf '%m %U %y %p\\n'"
    for name in RUNNING:
        lines = system.container(name).exec_run(["sh", "-c", program]).output.decode().splitlines()
        assert len(lines) >= 4, name
        for line in lines:
            mode, user, kind, path = line.split(" ", 3)
            assert (mode, user) == ("700" if kind == "d" else "600", "10001"), (name, line)
            assert not path.endswith("ca.key"), name


def test_each_part_reaches_what_the_map_draws_and_nothing_else(system: Composed, callers: dict[str, Container]) -> None:
    drawn = deployment_map.read()
    where = {name: addresses(system.container(name)) for name in RUNNING}
    targets = [
        (place, port, name, purpose)
        for name in RUNNING
        for place in [*where[name].values(), *(f"{name}-{purpose}" for purpose in drawn.parts[name].ports)]
        for purpose, port in drawn.parts[name].ports.items()
    ]
    tried = 0
    sources = {name: system.container(name) for name in RUNNING} | callers
    for source, container in sources.items():
        others = [each for each in targets if each[2] != source]
        taken = reachable_from(system, container, [(place, port) for place, port, _, _ in others])
        reached = {(name, purpose) for place, port, name, purpose in others if (place, port) in taken}
        wanted = {
            (name, purpose)
            for name in RUNNING
            for purpose in drawn.parts[name].ports
            if drawn.allowed(source, name, purpose)
        }
        assert reached == wanted, source
        tried += len(others)
    print(f"\n{tried} connections tried from inside of {len(sources)} containers")


@pytest.fixture
def beyond() -> Iterator[Beyond]:
    """Listeners on this host and on a network beyond it that knows the way back to containers."""
    with listeners() as found:
        yield found


def test_the_host_and_what_is_beyond_it_are_reached_as_the_guide_says(
    system: Composed, callers: dict[str, Container], beyond: Beyond
) -> None:
    """Inner networks lead nowhere; those of published ports lead to the host, until its firewall says no."""
    published = {
        (each["HostIp"], int(each["HostPort"]))
        for name in SERVICES
        for bound in system.container(name).attrs["NetworkSettings"]["Ports"].values()
        for each in bound or []
    }
    assert len(published) == len(SERVICES)
    sources = {name: system.container(name) for name in RUNNING} | callers

    def reached() -> dict[str, set[tuple[str, int]]]:
        found = {}
        for name, container in sources.items():
            hosts = {*gateways(container).values(), *beyond.host}
            targets = [(host, port) for host in sorted(hosts) for port in (beyond.port, *(p for _, p in published))]
            found[name] = reachable_from(system, container, [*targets, (beyond.outside, beyond.port)])
        return found

    def firewall(rules: str) -> None:
        run(["make", "--no-print-directory", "compose-firewall", f"RULES={rules}"], cwd=ROOT, env=system.environ)

    firewall("remove")
    open_ = reached()
    for name in (*STORES, *callers):
        assert open_[name] == set(), name
    for name in SERVICES:
        own = gateways(system.container(name))[f"{name}-outside"]
        # The guide says so, and tells the rules: a listener of the host on all addresses is reached over this network alone.
        assert (own, beyond.port) in open_[name]
        inner = {host for network, host in gateways(system.container(name)).items() if network != f"{name}-outside"}
        assert not [each for each in open_[name] if each[0] in inner], name
        # Services that are published on 127.0.0.1 are not reached by way of the host.
        assert {port for _, port in open_[name]} == {beyond.port}, (name, open_[name])
    try:
        firewall("add")
        assert reached() == {name: set() for name in sources}
        for host, port in published:
            assert listens_outside(port, host)
        for name in SERVICES:
            assert system.is_ready(name), name
    finally:
        firewall("remove")
    print(f"\nwithout the firewall: {open_}")


def test_from_outside_the_services_ports_are_open_on_this_host_alone_and_nothing_else_is(system: Composed) -> None:
    published = {}
    for name in RUNNING:
        for port, bound in system.container(name).attrs["NetworkSettings"]["Ports"].items():
            for each in bound or []:
                published[name, port] = (each["HostIp"], int(each["HostPort"]))
    drawn = deployment_map.read()
    wanted = {
        name for name in RUNNING for purpose in drawn.parts[name].ports if drawn.allowed("outside", name, purpose)
    }
    assert {name for name, _ in published} == wanted
    for host, port in published.values():
        assert host == "127.0.0.1"
        assert listens_outside(port, "127.0.0.1")
        assert not listens_outside(port, "127.0.0.2")


async def test_a_store_takes_a_renewed_certificate_up_while_it_serves_and_nobody_has_to_do_anything(
    system: Composed,
) -> None:
    def loaded() -> str:
        return system.query("risk", "select pg_conf_load_time(), pg_postmaster_start_time()")

    before, started = (await asyncio.to_thread(loaded)).split("|")
    forget = "rm -r /volumes/authority/stores/store/risk-store"
    system.compose("run", "--rm", "-T", "--entrypoint", "/bin/sh", "certificate", "-c", forget)
    # What the container does once a day, it does as it starts.
    await asyncio.to_thread(system.container("renew").restart)

    async def taken_up() -> bool:
        return (await asyncio.to_thread(loaded)).split("|")[0] != before

    await until(taken_up, "the store has read its certificate again", seconds=90.0)
    assert '"reason":"CERTIFICATE_RENEWED"' in system.logs("risk-store", 20)
    assert '"reason":"CERTIFICATE_RENEWED"' in system.logs("renew", 20)
    assert (await asyncio.to_thread(loaded)).split("|")[1] == started
    assert await asyncio.to_thread(system.is_ready, "risk")


def test_the_stores_take_users_over_tls_with_a_password_only(system: Composed) -> None:
    for service in SERVICES:
        rules = json.loads(
            system.query(service, "select json_agg(row(type, auth_method)) from pg_hba_file_rules where error is null")
        )
        assert [tuple(each.values()) for each in rules] == [("local", "trust"), ("hostssl", "scram-sha-256")]
        sessions = system.query(
            service,
            "select count(*), count(*) filter (where ssl.ssl) from pg_stat_activity as one join pg_stat_ssl as ssl using (pid) "
            f"where usename = 'luxor_{service}'",
        )
        whole, encrypted = sessions.split("|")
        assert int(whole) == int(encrypted) > 0
        durable = "select string_agg(setting, ',' order by name) from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')"
        assert system.query(service, durable) == "on,on,on"
        assert system.query(service, "show max_locks_per_transaction") == "2048"
        assert system.query(service, "show max_prepared_transactions") == "0"
