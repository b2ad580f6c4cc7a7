"""The contracts are in the shape that buf asks for, and everything in them is commented."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUF = Path(sys.executable).parent / "buf"


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUF), "lint"], cwd=tree, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_every_contract_is_clean() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("pattern", "told"),
    [(r"(?m)^//.*\n(?=message ItemError)", 'Message "ItemError"'), (r"(?m)^  //.*\n(?=  string path)", 'Field "path"')],
)
def test_a_message_or_field_without_a_comment_is_refused(copy: Path, pattern: str, told: str) -> None:
    file = copy / "protos/luxor/errors/v1/errors.proto"
    text, changed = re.subn(pattern, "", file.read_text(encoding="utf-8"))
    assert changed == 1
    file.write_text(text, encoding="utf-8")
    done = lint(copy)
    assert done.returncode != 0
    assert told in done.stdout
    assert "should have a non-empty comment" in done.stdout


def test_the_generated_modules_are_those_of_the_contracts() -> None:
    sources = {path.relative_to(ROOT / "protos").with_suffix("") for path in (ROOT / "protos").rglob("*.proto")}
    built = {path.relative_to(ROOT) for path in (ROOT / "luxor").rglob("*_pb2.py")}
    assert built == {source.with_name(f"{source.name}_pb2.py") for source in sources}
