"""Refuses a change of the contracts that breaks those who use them.

The number `contracts` under [tool.luxor] in pyproject.toml counts the breaks. protos/ is compared with the last commit that changed that number, so
no later change may break it, whether a version was released since or not. Whoever must break raises the number in the same commit, and writes
into the changelog what breaks. Run as `python tools/breaking.py [--root DIR]`; it says so where there is nothing to compare with, and exits 0.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NUMBER = re.compile(r"^contracts = (\d+)$", re.MULTILINE)
BUF = Path(sys.executable).parent / "buf"


class NoBaselineError(Exception):
    """There is no released state to compare with; the message says why."""


def baseline(root: Path) -> str:
    """Return the last commit that changed the number of the contracts. Raises NoBaselineError where the history does not have it."""
    if _git(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise NoBaselineError("there is no commit yet (or this is no git checkout)")
    found = _git(root, "log", "-1", "--format=%H", "-G", r"^contracts = ", "--", "pyproject.toml")
    commit = found.stdout.decode().strip()
    if not commit:
        raise NoBaselineError("no commit has a number of the contracts in pyproject.toml yet")
    shallow = _git(root, "rev-parse", "--git-path", "shallow").stdout.decode().strip()
    boundary = root / shallow
    if boundary.exists() and commit in boundary.read_text():
        raise NoBaselineError(
            "this clone is shallow and ends before the commit of the contracts' number; `git fetch --unshallow` gets it"
        )
    if not _git(root, "ls-tree", "--name-only", commit, "protos/").stdout.strip():
        raise NoBaselineError(f"the commit {commit[:12]} of the contracts' number has no protos/")
    return commit


def check(root: Path) -> int:
    """Compare protos/ under `root` with its released state, print what breaks, and return buf's exit code."""
    try:
        commit = baseline(root)
    except NoBaselineError as reason:
        print(f"contracts: not compared, since {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="luxor-breaking-") as place:
        archive = _git(root, "archive", "--format=tar", commit, "protos", "buf.yaml").stdout
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(place, filter="data")
        done = subprocess.run([str(BUF), "breaking", "--against", place], cwd=root, check=False)
    if done.returncode == 0:
        print(f"contracts: nothing breaks those of {commit[:12]}")
        return 0
    before = _git(root, "show", f"{commit}:pyproject.toml").stdout.decode()
    if _number((root / "pyproject.toml").read_text(encoding="utf-8")) > _number(before):
        print(f"contracts: the above breaks those of {commit[:12]}, as the new number of the contracts declares")
        return 0
    print(
        f"contracts: the above breaks those who use the contracts of {commit[:12]}. Add a field, or a package v2 beside the old one. "
        "If a break cannot be avoided, raise `contracts` in pyproject.toml in the same commit and describe it in the changelog.",
        file=sys.stderr,
    )
    return done.returncode


def _number(pyproject: str) -> int:
    found = _NUMBER.search(pyproject)
    return int(found[1]) if found else 0


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # A checkout may belong to another account, as in a container's mount; reading it is harmless.
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, b"", b"git was not found")


def main() -> int:
    parser = argparse.ArgumentParser(description="Refuse a breaking change of the contracts.")
    parser.add_argument("--root", type=Path, default=ROOT, help="checkout to look at (default: this one)")
    return check(parser.parse_args().root.resolve())


if __name__ == "__main__":
    sys.exit(main())
