"""What the repository holds runs anywhere: no file names a package registry's host or a path of one machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not name what it looks for.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "artifact" + "ory", "proxy." + "golang.org"]
HOSTS += ["docker" + ".io/", "registry-1." + "docker"]
SETTINGS = ["index-" + "url", "trusted" + "-host"]
PATHS = ["/" + "work/", "/" + "root/", "/" + r"home/[a-z]", "/" + "Users/", r"/tmp/" + "[a-z]"]
HOST = re.compile("|".join([*map(re.escape, HOSTS), *(rf"{name}\s*=?\s*\w+[:.]" for name in SETTINGS)]))
PATH = re.compile("|".join(rf"(?<![\w.}}/-]){path}" for path in PATHS))
# Their paths are those inside of containers, the same on every machine.
IN_CONTAINERS = ("deploy/image/", "deploy/compose/", "tests/containers/")


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
        name = str(path.relative_to(ROOT))
        text = path.read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if match := HOST.search(line) or (not name.startswith(IN_CONTAINERS) and PATH.search(line)):
                found.append(f"{name}:{number}: {match.group()}")
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
