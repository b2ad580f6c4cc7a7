"""A Docker engine to test with, base images where no registry can be reached, and the image of this checkout.

Installs and starts what is missing where it may (root on Debian), ends what it started, and says why where it may not.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import docker

from tests.containers.leftovers import noted

ROOT = Path(__file__).resolve().parents[2]
PYTHON_OFFICIAL, POSTGRES_OFFICIAL = "python:3.13-slim", "postgres:17-bookworm"
DEBIAN_LOCAL, PYTHON_LOCAL, POSTGRES_LOCAL = "luxor-base/debian:1", "luxor-base/python:2", "luxor-base/postgres:1"
"""Tags of what is made here; they stay for the next run."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
START_SECONDS = 60.0
MINUTES = 60


class NoEngine(Exception):
    """There is no engine and none may be had; says why."""


@dataclass(frozen=True)
class Images:
    """What the system runs from."""

    luxor: str
    python: str
    postgres: str


def run(command: Sequence[str], *, seconds: float = 5 * MINUTES, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; raise RuntimeError with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, **more)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done  # type: ignore[no-any-return]


@contextlib.contextmanager
def engine(*, install: bool = True) -> Iterator[docker.DockerClient]:
    """Give a client of a running engine with Compose; what was started for it is ended again.

    With `install` what is missing is installed and started where that may be done. Raise NoEngine where there is none.
    """
    if install:
        _install()
    client = _client()
    if client is not None:
        yield client
        return
    if not install:
        raise NoEngine("no Docker engine answers")
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngine("no Docker engine answers, and only root may start one here")
    log = tempfile.NamedTemporaryFile(prefix="dockerd-", suffix=".log", delete=False)  # noqa: SIM115
    daemon = subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with noted("engine", str(daemon.pid)):
        try:
            ends_at = time.monotonic() + START_SECONDS
            while (client := _client()) is None:
                if daemon.poll() is not None or time.monotonic() > ends_at:
                    raise NoEngine(f"dockerd does not start here: {Path(log.name).read_text()[-800:]}")
                time.sleep(0.2)
            print(f"\nengine: started for this run, process {daemon.pid}")
            yield client
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(60)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            os.unlink(log.name)


def _install() -> None:
    """Install the engine, Compose, the builder and debootstrap where they are missing and this machine takes Debian's packages."""
    if shutil.which("docker") and all(
        subprocess.run(["docker", part, "version"], capture_output=True, check=False).returncode == 0
        for part in ("compose", "buildx")
    ):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngine(
            "Docker with Compose and buildx is not installed, and only root on Debian or Ubuntu may install it here"
        )
    packages = ["docker.io", "docker-compose", "docker-cli", "docker-buildx", "debootstrap"]
    try:
        run(["apt-get", "update", "-qq"])
        known = [
            name
            for name in packages
            if subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode == 0
        ]
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *known],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
        run(["docker", "compose", "version"])
        if "docker-buildx" in known:  # older releases build by themselves
            run(["docker", "buildx", "version"])
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise NoEngine(f"Docker with Compose and buildx could not be installed: {error}") from None


def _client() -> docker.DockerClient | None:
    if not _listens():
        return None
    with contextlib.suppress(docker.errors.DockerException):
        client = docker.from_env(timeout=120)
        client.ping()
        return client
    return None


def _listens() -> bool:
    """Tell whether somebody listens where the engine would: the client leaves a socket open where nobody does."""
    told = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not told.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(told.removeprefix("unix://")) == 0


def images(client: docker.DockerClient, tag: str) -> Images:
    """Build the image of this checkout under `tag`, from official base images or from such as are made here."""
    python = _base(client, PYTHON_OFFICIAL, PYTHON_LOCAL, ["python3", "python3-venv", "libgomp1"])
    postgres = _base(client, POSTGRES_OFFICIAL, POSTGRES_LOCAL, ["postgresql-17"])
    build(tag, python)
    return Images(tag, python, postgres)


def build(tag: str, python: str) -> None:
    """Build from the Dockerfile as it is. How this machine reaches its package index goes in as secrets."""
    with tempfile.TemporaryDirectory(prefix="luxor-build-") as scratch:
        command = ["docker", "build", "--network=host", "--build-arg", f"PYTHON_IMAGE={python}"]
        command += ["--file", str(ROOT / "deploy" / "image" / "Dockerfile"), "--tag", tag]
        settings, authority = pip_settings()
        if authority is not None:
            command += ["--secret", f"id=ca,src={authority}"]
        (Path(scratch) / "pip.conf").write_text(settings)
        command += ["--secret", f"id=pip,src={scratch}/pip.conf"]
        for name in PROXIES:
            command += ["--build-arg", name] if name in os.environ else []
        run([*command, str(ROOT)], seconds=10 * MINUTES, env=os.environ | {"DOCKER_BUILDKIT": "1"})


def pip_settings() -> tuple[str, Path | None]:
    """Return a pip.conf that says where this machine's pip finds packages, and the file of authorities that it trusts."""
    told = run([str(ROOT / ".venv" / "bin" / "python"), "-m", "pip", "config", "list"]).stdout
    kept: dict[str, str] = {}
    authority = None
    for line in told.splitlines():
        name, _, value = line.partition("=")
        key, text = name.rpartition(".")[2], value.strip("'\"")
        if key in {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}:
            kept[key.removeprefix("default-")] = text.replace("\\n", "\n")
        if key == "cert" and Path(text).is_file():
            authority = Path(text)
            kept["cert"] = "/run/secrets/ca"
    parser = configparser.RawConfigParser()
    parser["global"] = kept
    with tempfile.TemporaryFile("w+") as file:
        parser.write(file)
        file.seek(0)
        return file.read(), authority


def _base(client: docker.DockerClient, official: str, local: str, packages: list[str]) -> str:
    """Return an image: the official one where it is there or can be had, else one that is made from Debian's packages."""
    for name in (official, local):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.get(name)
            return name
    with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
        run(["docker", "pull", "--quiet", official], seconds=5 * MINUTES if _registry(client) else 5)
        return official
    _debian(client)
    recipe = (
        f"FROM {DEBIAN_LOCAL}\nENV DEBIAN_FRONTEND=noninteractive\n"
        f"RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(packages)} "
        "&& rm -rf /var/lib/apt/lists/* /var/lib/postgresql /etc/postgresql\n"
    )
    proxies = [word for name in PROXIES if name in os.environ for word in ("--build-arg", name)]
    run(
        ["docker", "build", "--network=host", "--quiet", *proxies, "--tag", local, "-"],
        input=recipe,
        seconds=10 * MINUTES,
    )
    return local


def _registry(client: docker.DockerClient) -> bool:
    """Tell whether the engine's registry can be reached, without waiting for one that is not there."""
    host = urlsplit(str(client.info().get("IndexServerAddress", ""))).hostname
    if host is None:
        return False
    try:
        socket.create_connection((host, 443), 3).close()
    except OSError:
        return False
    return True


def _debian(client: docker.DockerClient) -> None:
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(DEBIAN_LOCAL)
        return
    if shutil.which("debootstrap") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        run(["apt-get", "install", "-y", "-qq", "debootstrap"], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NoEngine("no registry can be reached, and base images can only be made by root with debootstrap")
    with tempfile.TemporaryDirectory(prefix="luxor-debian-") as scratch:
        tree = f"{scratch}/tree"
        run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie", tree], seconds=10 * MINUTES)
        with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as packed:
            run(["docker", "import", "-", DEBIAN_LOCAL], stdin=packed.stdout)
