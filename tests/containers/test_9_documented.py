"""The commands of the operator's pages that need an engine are executed, in the order of their table."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest

from tests.containers.composed import COMPOSE, composed
from tests.containers.documented import DOCUMENTED
from tests.containers.engine import ROOT, Images

SECONDS = 400


@pytest.mark.timeout(1200)
def test_the_documented_commands_do_what_the_pages_say(
    engine: docker.DockerClient, images: Images, tmp_path: Path
) -> None:
    with composed(engine, images) as system:
        environ = system.environ | {"SCRATCH": str(tmp_path)}
        try:
            for each in DOCUMENTED:
                text = each.executed
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", text],
                    cwd=ROOT if "make " in text else COMPOSE, env=environ, stdin=subprocess.DEVNULL,
                    capture_output=True, text=True, timeout=SECONDS, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
                print(f"{text}\n{done.stdout[-400:]}")
        finally:
            for tag in (f"{images.luxor}-next",):
                if engine.images.list(tag):
                    engine.images.remove(tag)
    assert (tmp_path / "certificates" / "filer" / "acme" / "tls.key").exists()
