"""deploy/image: what the Dockerfile says, and the probe and the entry that it puts in."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from libs.cli.entry import SERVICES
from libs.server.config.server_config import PORTS

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy" / "image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
PROBE = [sys.executable, "-I", "-S", str(IMAGE / "probe.py")]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    beside = Path(sysconfig.get_path("scripts")) / "hadolint"
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    assert hadolint, "hadolint comes with the development packages: run `make setup`"
    done = subprocess.run(
        [hadolint, str(IMAGE / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hadolint ignore" not in DOCKERFILE


def test_the_dockerfile_builds_from_a_pinned_debian_in_stages_and_ends_as_a_user() -> None:
    lines = [line.strip() for line in DOCKERFILE.splitlines()]
    assert "ARG PYTHON_IMAGE=python:3.13-slim" in lines
    assert [line for line in lines if line.startswith("FROM ")] == [
        "FROM ${PYTHON_IMAGE} AS build",
        "FROM ${PYTHON_IMAGE}",
    ]
    assert "alpine" not in DOCKERFILE.lower()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert "STOPSIGNAL SIGTERM" in lines
    assert 'ENTRYPOINT ["/opt/luxor/bin/python", "-m", "libs.cli.entry"]' in lines
    assert DOCKERFILE.count("--constraint constraints.txt") == 2


def test_how_a_machine_reaches_its_package_index_is_no_part_of_the_dockerfile() -> None:
    for word in ("index-url", "PIP_CERT", "trusted-host", "http://", "https://"):
        assert word not in DOCKERFILE
    assert "type=secret" in DOCKERFILE


def test_the_builder_is_sent_what_the_dockerfile_copies_and_nothing_else() -> None:
    ignore = (IMAGE / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {line[1:] for line in rules if line.startswith("!")}
    copied = {
        word
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    }
    assert sent == copied
    assert not [each for each in sent if each.split("/")[0] in {"tests", "docs", ".git", ".venv"}]


def test_the_probe_can_be_read_whatever_the_umask_of_the_checkout() -> None:
    assert "COPY --chmod=0644 deploy/image/probe.py /opt/luxor/probe.py\n" in DOCKERFILE


def test_every_service_has_its_places_for_data_and_secrets() -> None:
    assert set(SERVICES) == set(PORTS)
    assert f"for part in {' '.join(PORTS)}; do" in DOCKERFILE


@pytest.fixture
def served() -> Iterator[tuple[str, health.HealthServicer]]:
    """A gRPC server with health alone, as a service's plaintext port is."""
    servicer = health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield str(port), servicer
    server.stop(0).wait()


def ask(port: str, *more: str) -> subprocess.CompletedProcess[str]:
    environ = {"LUXOR_RISK_HEALTH_PORT": port, "PATH": os.defpath}
    return subprocess.run([*PROBE, "risk", *more], env=environ, capture_output=True, text=True, check=False, timeout=30)


def test_the_probe_tells_by_its_exit_code_whether_the_service_is_ready(
    served: tuple[str, health.HealthServicer],
) -> None:
    port, servicer = served
    servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    servicer.set("alive", health_pb2.HealthCheckResponse.SERVING)
    done = ask(port)
    assert (done.returncode, done.stdout.strip()) == (1, f"risk at 127.0.0.1:{port} says NOT_SERVING")
    assert ask(port, "alive").returncode == 0
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    done = ask(port)
    assert (done.returncode, done.stdout) == (0, "")
    assert ask(port, "unheard-of").returncode == 1


def test_the_probe_says_where_nobody_answers() -> None:
    done = ask("1")
    assert done.returncode == 1
    assert "risk does not answer at 127.0.0.1:1" in done.stdout


def test_a_service_that_is_told_to_stop_while_it_is_imported_ends_at_once() -> None:
    program = (
        "import signal, sys, threading, runpy\n"
        "def stuck(*_, **__):\n"
        "    print('importing', flush=True)\n"
        "    threading.Event().wait()\n"
        "runpy.run_module = stuck\n"
        "sys.argv = ['luxor', 'risk']\n"
        "from libs.cli.entry import main\n"
        "main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    killer = threading.Timer(30, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_service_takes_no_arguments() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "libs.cli.entry", "risk", "--port", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "takes no arguments" in done.stderr
