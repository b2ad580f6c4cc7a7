"""buf breaking against the last commit that changed the number of the contracts: it fails on a broken copy."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ERRORS = "protos/luxor/errors/v1/errors.proto"


def git(tree: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tree), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own with this tree's contracts, not yet committed."""
    tree = tmp_path / "checkout"
    tree.mkdir()
    shutil.copytree(ROOT / "protos", tree / "protos")
    for name in ("buf.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, tree)
    # Whatever the number is by now, here it is 1.
    settings = tree / "pyproject.toml"
    text, found = re.subn(
        r"^contracts = \d+$", "contracts = 1", settings.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert found == 1
    settings.write_text(text, encoding="utf-8")
    git(tree, "init", "--quiet")
    return tree


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "state")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def breaking(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "breaking.py"), "--root", str(tree)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("string reason = 1;", "string reason = 9;", "reason"),
        ("string reason = 1;", "bytes reason = 1;", "changed type"),
        ("SEVERITY_WARNING = 2;", "SEVERITY_NOTE = 2;", "SEVERITY_WARNING"),
        ("package luxor.errors.v1;", "package luxor.errors.v2;", "luxor.errors.v1"),
    ],
)
def test_a_change_that_breaks_users_is_refused(checkout: Path, old: str, new: str, told: str) -> None:
    commit(checkout)
    edit(checkout / ERRORS, old, new)
    done = breaking(checkout)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr
    assert "breaks those who use" in done.stderr


def test_a_field_may_be_added(checkout: Path) -> None:
    commit(checkout)
    edit(checkout / ERRORS, "string reason = 1;", "string reason = 1;\n  // Later.\n  string later = 90;")
    done = breaking(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing breaks" in done.stdout


def raise_number(tree: Path, number: int = 9) -> None:
    edit(tree / "pyproject.toml", "contracts = 1\n", f"contracts = {number}\n")


def test_neither_later_commits_nor_a_new_version_move_what_is_compared(checkout: Path) -> None:
    commit(checkout)
    edit(checkout / ERRORS, "string reason = 1;", "string reason = 9;")
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    edit(
        checkout / "pyproject.toml",
        next(line for line in text.splitlines() if line.startswith("version = ")),
        'version = "9.0.0"',
    )
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## [9.0.0] - Unreleased\n", encoding="utf-8")
    commit(checkout)
    assert breaking(checkout).returncode != 0


def test_a_break_is_declared_by_a_higher_number_of_the_contracts_and_compared_with_from_then_on(checkout: Path) -> None:
    commit(checkout)
    edit(checkout / ERRORS, "string reason = 1;", "string reason = 9;")
    raise_number(checkout)
    done = breaking(checkout)
    assert done.returncode == 0
    assert "reason" in done.stdout, "what breaks is listed"
    assert "as the new number of the contracts declares" in done.stdout
    commit(checkout)
    assert "nothing breaks" in breaking(checkout).stdout
    edit(checkout / ERRORS, "string reason = 9;", "string reason = 8;")
    assert breaking(checkout).returncode != 0


def test_a_lower_number_of_the_contracts_declares_nothing(checkout: Path) -> None:
    commit(checkout)
    edit(checkout / ERRORS, "string reason = 1;", "string reason = 9;")
    raise_number(checkout, 0)
    assert breaking(checkout).returncode != 0


def test_a_repository_without_a_commit_says_that_nothing_was_compared(checkout: Path) -> None:
    done = breaking(checkout)
    assert done.returncode == 0
    assert "not compared, since there is no commit yet" in done.stdout


def test_a_shallow_clone_says_that_its_history_ends_too_early(checkout: Path, tmp_path: Path) -> None:
    commit(checkout)
    edit(checkout / ERRORS, "string reason = 1;", "string reason = 9;")
    commit(checkout)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{checkout}", str(shallow))
    done = breaking(shallow)
    assert done.returncode == 0
    assert "not compared, since this clone is shallow" in done.stdout
