"""The contracts are in the shape that buf asks for, and everything in them is commented."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luxor.clearance.v1 import clearance_columns_pb2, clearance_pb2
from luxor.risk.v1 import models_pb2

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


def proto_files() -> list[Path]:
    return sorted((ROOT / "protos").rglob("*.proto"))


@pytest.mark.parametrize("file", proto_files(), ids=lambda file: file.stem)
def test_every_contract_has_the_options_of_go_java_and_csharp_that_follow_from_its_package(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    area = file.parent.parent.name
    assert re.findall(r"(?m)^package (.+);$", text) == [f"luxor.{area}.v1"]
    assert dict(re.findall(r'(?m)^option (\w+) = "?([^"]+?)"?;$', text)) == {
        "csharp_namespace": f"Luxor.{area.capitalize()}.V1",
        "go_package": f"luxor.example/luxor/{area}/v1;{area}v1",
        "java_multiple_files": "true",
        "java_package": f"org.luxor.{area}.v1",
    }


def test_what_clearance_tells_everybody_is_in_its_public_file_which_needs_no_internal_columns() -> None:
    public = clearance_pb2.DESCRIPTOR
    assert {"State", "Change", "NoticeKind", "Violation"} <= set(public.enum_types_by_name)
    assert not clearance_columns_pb2.DESCRIPTOR.enum_types_by_name
    assert clearance_columns_pb2.DESCRIPTOR.name not in {each.name for each in public.dependencies}


def test_an_answer_on_a_model_that_version_0_2_stored_is_read_without_its_instants() -> None:
    # Version 0.2 wrote instants as numbers of microseconds: field 10, wire type 0. A repeated request is answered from what it stored.
    stored = models_pb2.Model(version="items+1", proposed_by="analyst/anna").SerializeToString() + b"\x50\x80\x80\x01"
    model = models_pb2.Model.FromString(stored)
    assert (model.version, model.proposed_by, model.HasField("proposed_at")) == ("items+1", "analyst/anna", False)
