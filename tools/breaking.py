"""Refuses a change of the contracts that breaks those who use the released ones.

Released is what protos/ held at the last commit that changed the version in pyproject.toml. While the changelog calls
that version unreleased and it is a new minor or major one, a break is declared by it: it is listed and not refused. Run as
`python tools/breaking.py [--root DIR]`; it says so where there is nothing to compare with, and exits 0.
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
_VERSION = re.compile(r'^version = "(.+)"$', re.MULTILINE)
BUF = Path(sys.executable).parent / "buf"


class NoBaselineError(Exception):
    """There is no released state to compare with; the message says why."""


def baseline(root: Path) -> str:
    """Return the last commit that changed the version. Raises NoBaselineError where the history does not tell it."""
    if _git(root, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise NoBaselineError("there is no commit yet (or this is no git checkout)")
    found = _git(root, "log", "-1", "--format=%H", "-G", r"^version = ", "--", "pyproject.toml")
    commit = found.stdout.decode().strip()
    if not commit:
        raise NoBaselineError("no commit has a version in pyproject.toml yet")
    shallow = _git(root, "rev-parse", "--git-path", "shallow").stdout.decode().strip()
    boundary = root / shallow
    if boundary.exists() and commit in boundary.read_text():
        raise NoBaselineError(
            "this clone is shallow and ends before the version's commit; `git fetch --unshallow` gets it"
        )
    if not _git(root, "ls-tree", "--name-only", commit, "protos/").stdout.strip():
        raise NoBaselineError(f"the version's commit {commit[:12]} has no protos/")
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
    elif version := declared(root):
        print(f"contracts: the above breaks those of {commit[:12]}, as the unreleased version {version} may")
        return 0
    else:
        print(
            f"contracts: the above breaks those who use the contracts of {commit[:12]}, the last change of version. "
            "Add a field or a package v2 beside the old one, or, before 1.0, raise the version in the same commit.",
            file=sys.stderr,
        )
    return done.returncode


def declared(root: Path) -> str:
    """Return the version under development where it may break contracts, else ""."""
    version = _VERSION.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    changelog = root / "CHANGELOG.md"
    if version is None or not changelog.exists() or not version[1].endswith(".0"):
        return ""
    heading = f"## [{version[1]}] - Unreleased"
    return version[1] if heading in changelog.read_text(encoding="utf-8").splitlines() else ""


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
