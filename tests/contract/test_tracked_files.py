"""What the repository holds runs anywhere: no file names a package registry's host or a path of one machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not name what it looks for.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "artifact" + "ory", "proxy." + "golang.org"]
HOSTS += ["index-" + "url", "extra-index" + "-url", "trusted" + "-host", "docker" + ".io/"]
PATHS = ["/" + "work/", "/" + "root/", "/" + r"home/[a-z]", "/" + "Users/", r"/tmp/" + "[a-z]"]
PATTERN = re.compile("|".join([*(re.escape(host) for host in HOSTS), *(rf"(?<![\w.}}/-]){path}" for path in PATHS)]))


def tracked() -> list[Path]:
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no git checkout, so what is tracked is not known")
    names = [name for name in done.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_tracked_file_names_a_registry_or_a_local_path() -> None:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if match := PATTERN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_no_generated_file_is_tracked() -> None:
    generated = [path for path in tracked() if "_pb2" in path.name or path.suffix == ".pyc"]
    assert not generated


def test_the_pinned_environment_is_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line)]
    assert not odd
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names))
