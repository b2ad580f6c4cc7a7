"""The other shape: one server with five databases; the load generator of staging; and what the stores' entrypoint refuses."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from libs.cli.local.state import SERVICES
from libs.simulator import Simulator
from tests.containers.composed import COMPOSE, Composed, composed, gateways, listens_outside, reachable_from
from tests.containers.engine import ROOT, Images, run
from tests.fault import checks
from tests.support.flow import Flow

pytestmark = pytest.mark.timeout(400)
ROWS = 1_000


async def test_one_server_with_five_databases_serves_all_and_the_load_generator_files_into_it(
    engine: docker.DockerClient, images: Images
) -> None:
    # Published on every address of this host, as an installation that others reach is.
    with composed(engine, images, profiles="one-store", environ={"LUXOR_PUBLISH": "0.0.0.0"}) as system:
        names = {name for name, each in system.containers().items() if each.status == "running"}
        assert names == {*SERVICES, "store", "renew"}
        _assert_the_host_is_closed_by_its_firewall(system)
        async with Flow(system, filer="one-store-filer") as flow:
            await flow.run(Simulator(4, "everyday").batches(ROWS, size=250), name="one-store")
            await flow.settled(ROWS)
            statuses = await checks.histories(flow, list(flow.filed.accepted.values()))
            checks.assert_decided_once(statuses)
            await checks.assert_statistics_agree(flow, statuses)
            told = json.loads(
                system.compose(
                    "run",
                    "--rm",
                    "--no-deps",
                    "-T",
                    "load",
                    "load",
                    "--rate",
                    "200",
                    "--seconds",
                    "3",
                    "--batch",
                    "100",
                    "--json",
                    profiles="one-store,staging",
                )
            )
            assert (told["refused"], told["failed"]) == (0, 0)
            assert 0 < told["accepted"] == told["filed"] <= 600
            await flow.settled(ROWS + told["accepted"])
            told = json.loads(
                system.compose(
                    "run",
                    "--rm",
                    "--no-deps",
                    "-T",
                    "command-line",
                    "stats",
                    "--json",
                    profiles="one-store,command-line",
                )
            )
            assert told


def _assert_the_host_is_closed_by_its_firewall(system: Composed) -> None:
    """What is published on every address is reached from outside, and from no container by way of the host."""

    def firewall(rules: str) -> None:
        run(["make", "--no-print-directory", "compose-firewall", f"RULES={rules}"], cwd=ROOT, env=system.environ)

    def reached() -> dict[str, set[tuple[str, int]]]:
        found = {}
        for name in (*SERVICES, "store"):
            container = system.container(name)
            targets = [(host, port) for host in gateways(container).values() for port in system.ports.values()]
            found[name] = reachable_from(system, container, targets)
        return found

    before = reached()
    print(f"\npublished on 0.0.0.0, reached from containers without the firewall: {before}")
    assert before["store"] == set()
    try:
        firewall("add")
        assert reached() == {name: set() for name in (*SERVICES, "store")}
        for port in system.ports.values():
            assert listens_outside(port, "127.0.0.1")
    finally:
        firewall("remove")


@pytest.fixture
def places() -> Iterator[Path]:
    """Directories for data and secrets that belong to the stores' user."""
    with tempfile.TemporaryDirectory(prefix="luxor-store-") as scratch:
        os.chmod(scratch, 0o755)
        for name in ("data", "secrets", "secrets/tls"):
            (Path(scratch) / name).mkdir()
        for name in ("secrets/tls/tls.crt", "secrets/tls/tls.key", "secrets/password-risk"):
            (Path(scratch) / name).write_text("x")
        for path in [*Path(scratch).rglob("*")]:
            os.chown(path, 10001, 10001)
        yield Path(scratch)


def refusal(engine: docker.DockerClient, image: str, places: Path, user: str = "10001:10001") -> dict[str, str]:
    """Start a store alone and give what it says as it ends."""
    binds = {
        str(COMPOSE / "store.sh"): {"bind": "/luxor/store.sh", "mode": "ro"},
        str(COMPOSE / "store-passwd"): {"bind": "/etc/passwd", "mode": "ro"},
        str(places / "data"): {"bind": "/luxor/data", "mode": "rw"},
        str(places / "secrets"): {"bind": "/run/luxor", "mode": "ro"},
    }
    container = engine.containers.run(
        image, ["/luxor/store.sh"], entrypoint=["/bin/sh"], user=user, volumes=binds, network_mode="none", detach=True,
        environment={"STORE_SERVICES": "risk", "STORE_LISTEN": "localhost"}, tmpfs={"/tmp": ""},
    )  # fmt: skip
    try:
        assert container.wait(timeout=60)["StatusCode"] == 78, container.logs()
        said: dict[str, str] = json.loads(container.logs().decode().splitlines()[-1])
        return said
    finally:
        container.remove(force=True, v=True)


def test_data_of_another_major_version_are_refused_with_what_to_do(
    engine: docker.DockerClient, images: Images, places: Path
) -> None:
    (places / "data" / "cluster").mkdir()
    (places / "data" / "cluster" / "PG_VERSION").write_text("14\n")
    said = refusal(engine, images.postgres, places)
    assert said["reason"] == "OTHER_MAJOR_VERSION"
    assert "PostgreSQL 14" in said["message"]
    assert "LUXOR_POSTGRES_IMAGE" in said["message"]
    assert (places / "data" / "cluster" / "PG_VERSION").read_text() == "14\n"


def test_a_store_as_root_without_secrets_or_without_postgresql_says_so(
    engine: docker.DockerClient, images: Images, places: Path
) -> None:
    assert refusal(engine, images.postgres, places, user="0:0")["reason"] == "IS_ROOT"
    assert refusal(engine, images.python, places)["reason"] == "NO_POSTGRESQL"
    (places / "secrets" / "tls" / "tls.key").unlink()
    assert refusal(engine, images.postgres, places)["reason"] == "NO_SECRETS"
    os.chown(places / "data", 0, 0)
    assert refusal(engine, images.postgres, places)["reason"] == "NO_DATA_VOLUME"
