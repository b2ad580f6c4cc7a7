"""What is installed from a wheel is whole: the generated modules, the data, the law and the migrations."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {".pyc", ".pyi"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a copy of the sources, without what was generated here."""
    tree = tmp_path_factory.mktemp("sources")
    for part in ("libs", "services", "protos", "tools"):
        shutil.copytree(ROOT / part, tree / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "map.yaml", tree / "deploy")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(tree / "out"), str(tree)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tree / "out").glob("luxor-*.whl")
    return file


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """The names of its files."""
    return set(zipfile.ZipFile(built).namelist())


def test_every_contract_has_its_generated_modules_in_the_wheel(wheel: set[str]) -> None:
    for proto in (ROOT / "protos").rglob("*.proto"):
        stem = proto.relative_to(ROOT / "protos").with_suffix("").as_posix()
        assert {f"{stem}_pb2.py", f"{stem}_pb2.pyi", f"{stem}_pb2_grpc.py"} <= wheel


def test_every_module_and_data_file_of_libs_and_services_is_in_the_wheel(wheel: set[str]) -> None:
    files = [path for part in ("libs", "services") for path in (ROOT / part).rglob("*") if path.is_file()]
    # While other processes import, what they compile has passing names.
    files = [path for path in files if path.suffix not in LEFT_OUT and "__pycache__" not in path.parts]
    wanted = {path.relative_to(ROOT).as_posix() for path in files}
    assert not wanted - wheel


def test_nothing_else_of_the_repository_is_in_the_wheel(wheel: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"libs", "luxor", "services"}


def test_the_map_in_the_wheel_is_that_of_the_deployment(built: Path) -> None:
    assert zipfile.ZipFile(built).read("libs/server/map.yaml") == (ROOT / "deploy" / "map.yaml").read_bytes()
