"""`buf generate` as it is in the checkout: Go's messages and stubs, formatted, and built where Go's packages are at hand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).parent / "buf"
PROGRAMS = ("protoc-gen-go", "protoc-gen-go-grpc", "gofmt", "go")
PACKAGES = Path("/usr/share/gocode")
"""Where Debian puts Go's packages (golang-google-grpc-dev): they need no network."""


def run(*command: str, cwd: Path, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `buf generate` writes in a copy of the checkout."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: golang-go protoc-gen-go protoc-gen-go-grpc)")
    tree = tmp_path_factory.mktemp("go") / "checkout"
    shutil.copytree(ROOT / "protos", tree / "protos")
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(ROOT / name, tree)
    run(str(BUF), "generate", cwd=tree)
    return tree / "gen" / "go"


def test_every_contract_becomes_a_go_file_in_the_form_of_gofmt(generated: Path) -> None:
    written = {str(file.relative_to(generated)) for file in generated.rglob("*.pb.go")}
    protos = [file.relative_to(ROOT / "protos" / "luxor") for file in (ROOT / "protos").rglob("*.proto")]
    assert {str(file.with_suffix(".pb.go")) for file in protos} <= written
    assert run("gofmt", "-l", str(generated), cwd=generated) == ""


def test_the_packages_build(generated: Path) -> None:
    if not (PACKAGES / "src" / "google.golang.org" / "grpc").is_dir():
        pytest.skip("Go's grpc package is not on this machine (Debian: golang-google-grpc-dev)")
    place = generated.parent / "path" / "src" / "luxor.example"
    place.mkdir(parents=True)
    (place / "luxor").symlink_to(generated)
    path = f"{generated.parent / 'path'}:{PACKAGES}"
    run(
        "go",
        "build",
        "./...",
        cwd=place / "luxor",
        GO111MODULE="off",
        GOPATH=path,
        GOFLAGS="",
        PWD=str(place / "luxor"),
    )
