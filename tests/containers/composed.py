"""A whole system in Compose under a name, ports and subnets of its own, driven from outside; nothing of it stays."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from libs.cli.local.state import SERVICES, free_ports
from libs.client.client import Client
from libs.server.transport.tls import Party
from tests.containers.engine import ROOT, Images, run
from tests.containers.leftovers import noted

COMPOSE = ROOT / "deploy" / "compose"
STORES = tuple(f"{service}-store" for service in SERVICES)
READY_SECONDS = 90.0
LOOK_SECONDS = 0.1


class Composed:
    """The system; `client` gives a party outside, with a certificate that the documented command issued."""

    def __init__(
        self, engine: docker.DockerClient, images: Images, scratch: Path, overrides: Sequence[Path] = ()
    ) -> None:
        """Choose name, ports and subnets; nothing is started yet."""
        self.engine = engine
        self.images = images
        self.project = f"luxor-test-{secrets.token_hex(3)}"
        self.certificates = scratch / "certificates"
        self.ports = {service: each.main for service, each in free_ports(SERVICES).items()}
        self.endpoints = {service: f"dns:///localhost:{port}" for service, port in self.ports.items()}
        self.environ = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_PROFILES": "stores",
            "COMPOSE_FILE": os.pathsep.join(map(str, [COMPOSE / "compose.yaml", *overrides])),
            "COMPOSE_FILES": " ".join(map(str, [COMPOSE / "compose.yaml", *overrides])),
            "LUXOR_IMAGE": images.luxor,
            "LUXOR_POSTGRES_IMAGE": images.postgres,
            "LUXOR_SUBNET": _free_subnet(engine),
        }
        self.environ |= {f"LUXOR_{service.upper()}_PUBLISHED_PORT": str(port) for service, port in self.ports.items()}
        self._issued: set[tuple[str, str]] = set()

    def compose(self, *arguments: str, seconds: float = 300.0, profiles: str = "") -> str:
        """Run `docker compose` and give what it printed; raise RuntimeError where it fails."""
        environ = self.environ | ({"COMPOSE_PROFILES": profiles} if profiles else {})
        return run(
            ["docker", "compose", "--progress=quiet", *arguments], seconds=seconds, cwd=COMPOSE, env=environ
        ).stdout

    def container(self, name: str) -> Container:
        """The container of a service of Compose."""
        found = self.engine.containers.list(
            all=True,
            filters={"label": [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={name}"]},
        )
        running = [each for each in found if each.labels.get("com.docker.compose.oneoff") != "True"]
        assert len(running) == 1, f"{name} has {len(running)} containers"
        return running[0]

    def containers(self) -> dict[str, Container]:
        """All containers of the project, by service of Compose."""
        found = self.engine.containers.list(all=True, filters={"label": [f"com.docker.compose.project={self.project}"]})
        return {each.labels["com.docker.compose.service"]: each for each in found}

    def health(self, name: str) -> str:
        """What the engine thinks of a container: starting, healthy, unhealthy, or its state where it does not run."""
        state = self.container(name).attrs["State"]
        return str(state.get("Health", {}).get("Status") if state["Running"] else state["Status"])

    def is_ready(self, name: str) -> bool:
        """Ask the probe inside of a container, as the engine does."""
        container = self.container(name)
        if container.status != "running":
            return False
        probe = ["/opt/luxor/bin/python", "-I", "-S", "/opt/luxor/probe.py"]
        try:
            return int(container.exec_run(probe).exit_code) == 0
        except docker.errors.APIError:  # it ended in between
            return False

    def party(self, role: str, ident: str) -> Party:
        """A certificate from the deployment's authority, by the command that the guide tells."""
        if (role, ident) not in self._issued:
            self.certificates.mkdir(exist_ok=True)
            make = [
                "make",
                "--no-print-directory",
                "compose-certificate",
                f"CERTIFICATE={role} {ident}",
                f"TO={self.certificates}",
            ]
            run(make, cwd=ROOT, env=self.environ)
            self._issued.add((role, ident))
        return Party(self.certificates / role / ident, self.certificates / "ca.crt")

    def client(self, role: str, ident: str) -> Client:
        """A client outside of the containers, through the published ports."""
        return Client(self.endpoints, self.party(role, ident), timeout_seconds=30.0)

    def logs(self, name: str, lines: int = 40) -> str:
        """The last lines that a container wrote."""
        return str(self.container(name).logs(tail=lines).decode("utf-8", "replace"))

    def query(self, service: str, statement: str) -> str:
        """Ask a service's store, inside of its container, and give the answer's text."""
        bins = "PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV | head -1):$PATH"
        command = ["sh", "-c", f'{bins} psql -X -A -t -h /tmp -U luxor -d luxor_{service} -c "$1"', "sh", statement]
        done = self.container(f"{service}-store").exec_run(command)
        if done.exit_code != 0:
            raise RuntimeError(done.output.decode("utf-8", "replace"))
        return str(done.output.decode()).strip()

    async def until_ready(self, *names: str, seconds: float = READY_SECONDS) -> float:
        """Wait until services say that they are ready; give how many seconds that took."""
        began = time.monotonic()
        for name in names or SERVICES:
            await until(lambda n=name: asyncio.to_thread(self.is_ready, n), f"{name} is ready", seconds=seconds)
        return time.monotonic() - began

    def down(self) -> None:
        """Remove containers, networks and volumes, by the documented command; what resists is removed one by one."""
        try:
            run(["make", "--no-print-directory", "compose-down", "DATA=drop"], cwd=ROOT, env=self.environ, seconds=240)
        finally:
            label = {"label": f"com.docker.compose.project={self.project}"}
            for container in self.engine.containers.list(all=True, filters=label):
                container.remove(force=True, v=True)
            for network in self.engine.networks.list(filters=label):
                network.remove()
            for volume in self.engine.volumes.list(filters=label):
                volume.remove(force=True)


@contextmanager
def composed(
    engine: docker.DockerClient,
    images: Images,
    *,
    profiles: str = "stores",
    overrides: Sequence[Path] = (),
    environ: dict[str, str] | None = None,
) -> Iterator[Composed]:
    """Start a system with the documented command and give it once all containers are well."""
    scratch = Path(tempfile.mkdtemp(prefix="luxor-composed-"))
    system = Composed(engine, images, scratch, overrides)
    system.environ |= {"COMPOSE_PROFILES": profiles} | (environ or {})
    with noted("project", system.project):
        try:
            started = subprocess.run(
                ["make", "--no-print-directory", "compose-up", f"PROFILES={profiles}"],
                cwd=ROOT, env=system.environ, capture_output=True, text=True, timeout=400, check=False,
            )  # fmt: skip
            if started.returncode != 0:
                told = "\n".join(
                    f"--- {name}\n{each.logs(tail=15).decode()}" for name, each in system.containers().items()
                )
                raise RuntimeError(f"make compose-up failed:\n{(started.stdout + started.stderr)[-3000:]}\n{told}")
            yield system
        finally:
            system.down()
            shutil.rmtree(scratch, ignore_errors=True)


async def until(condition: Callable[[], Awaitable[Any]], what: str, *, seconds: float = 60.0) -> Any:
    """Ask again and again until the answer is true, and give it; raise TimeoutError that says what was awaited."""
    ends_at = time.monotonic() + seconds
    while not (answer := await condition()):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"within {seconds:.0f} s it did not come to this: {what}")
        await asyncio.sleep(LOOK_SECONDS)
    return answer


def _free_subnet(engine: docker.DockerClient) -> str:
    """The first two numbers of subnets that no network of the engine and no interface of this machine uses."""
    used = {
        ".".join(config["Subnet"].split(".")[:2])
        for network in engine.networks.list()
        for config in (network.attrs["IPAM"]["Config"] or [])
        if "Subnet" in config
    }
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        number = int(line.split()[1], 16)
        used.add(".".join(map(str, number.to_bytes(4, "little")[:2])))
    free = [f"10.{second}" for second in range(200, 251) if f"10.{second}" not in used]
    if not free:
        raise RuntimeError("no subnet 10.200 to 10.250 is free")
    return random.choice(free)


def addresses(container: Container) -> dict[str, str]:
    """A container's addresses by the name of the network in compose.yaml."""
    container.reload()
    found = container.attrs["NetworkSettings"]["Networks"]
    project = container.labels["com.docker.compose.project"]
    return {name.removeprefix(f"{project}_"): each["IPAddress"] for name, each in found.items() if each["IPAddress"]}


def gateways(container: Container) -> dict[str, str]:
    """The host's address in each of a container's networks, whether the host has it or not, by the name in compose.yaml."""
    return {
        name: str(ipaddress.ip_network(f"{address}/26", strict=False).network_address + 1)
        for name, address in addresses(container).items()
    }


def reachable_from(system: Composed, container: Container, targets: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """Try TCP connections from inside of a container's own network, all at once; give those that were taken.

    The program runs in a container that shares the network of the other one, so that it works whatever is in there.
    """
    program = (
        "import asyncio, json, sys\n"
        "async def one(host, port):\n"
        "    try:\n"
        "        async with asyncio.timeout(1.5):\n"
        "            reader, writer = await asyncio.open_connection(host, port)\n"
        "    except (OSError, TimeoutError):\n"
        "        return False\n"
        "    writer.transport.abort()\n"
        "    return True\n"
        "async def main():\n"
        "    targets = json.loads(sys.argv[1])\n"
        "    print(json.dumps(await asyncio.gather(*(one(*each) for each in targets))))\n"
        "asyncio.run(main())\n"
    )
    out = system.engine.containers.run(
        system.images.luxor,
        ["-c", program, json.dumps(list(targets))],
        entrypoint=["/opt/luxor/bin/python"],
        network_mode=f"container:{container.id}",
        healthcheck={"test": ["NONE"]},
        remove=True,
    )
    return {target for target, taken in zip(targets, json.loads(out), strict=True) if taken}


def listens_outside(port: int, host: str) -> bool:
    """Tell whether somebody takes connections at an address of this machine."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
