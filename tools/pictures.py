"""Draws the pictures of the docs: from deploy/map.yaml, from the table of transitions and from recorded output of the command line.

Usage: python -m tools.pictures [--check | --record]

The flow shows the connections of the map and the path of one consignment through them, as `luxor trace` reports it. The other
picture is what `luxor show` prints for that consignment. The output of both commands is in docs/pictures/recording.json.
`--record` starts a system, files the parcel of the template as the README does, and writes that file. The third one shows
the states of a consignment. `--check` ends with 1 where the pictures are not those of the map, the table, the recording and the code that draws them.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from libs.server.config.deployment_map import read
from tools.picture_flow import Step, draw_flow, steps_of
from tools.picture_lifecycle import draw_lifecycle
from tools.picture_terminal import draw_consignment

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"
RECORDING: Final = PICTURES / "recording.json"
LUXOR: Final = Path(sys.executable).parent / "luxor"
REFERENCE: Final = "SHOP-2026-0000123"
MASTER: Final = "020-12345675"
ACCOUNT: Final = ("revenue", "account", "deferred:DE123456789012345", "--currency", "EUR", "--add-filer", "filer-1")
STATE_SECONDS_MAX: Final = 60
SPANS_SECONDS: Final = 5


def draw(recording: dict[str, Any]) -> dict[str, str]:
    """Return the pictures by the names of their files."""
    path = recording["path"]
    steps = [Step(**step) for step in path["steps"]]
    return {
        "flow.svg": draw_flow(read().connections, path["reference"], steps),
        "consignment.svg": draw_consignment(recording["show"]),
        "lifecycle.svg": draw_lifecycle(),
    }


def record() -> dict[str, Any]:
    """Take the parcel of the template through a new system, and return what the command line prints of it."""
    # PostgreSQL may run as another account, which has to reach its data.
    with TemporaryDirectory(prefix="luxor-pictures-") as directory:
        Path(directory).chmod(0o711)
        parcels = Path(directory) / "parcels.csv"
        parcels.write_text(_luxor("file", "--template").decode(), "utf-8")
        _luxor("up", "--data-dir", directory, "--ports", "free")
        try:
            _luxor(*ACCOUNT, "--data-dir", directory)
            _luxor("file", str(parcels), "--data-dir", directory)
            _await_state(directory, "STATE_AWAITING_ARRIVAL")
            _luxor("arrive", MASTER, "--data-dir", directory)
            show = _await_state(directory, "STATE_RELEASED")
            # The last spans are written a moment after the work.
            time.sleep(SPANS_SECONDS)
            trace = json.loads(_luxor("trace", show["mrn"], "--json", "--data-dir", directory))
        finally:
            _luxor("down", "--data-dir", directory)
    # The path between services is drawn; what happens inside of each would be most of the file.
    steps = [asdict(step) for step in steps_of(trace["spans"])]
    return {"show": show, "path": {"reference": trace["reference"], "steps": steps}}


def _await_state(directory: str, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + STATE_SECONDS_MAX
    while True:
        (shown,) = json.loads(_luxor("show", REFERENCE, "--json", "--data-dir", directory))
        if shown["state"] == state:
            return dict(shown)
        if time.monotonic() > deadline:
            raise TimeoutError(f"{REFERENCE} is {shown['state']} and not {state} after {STATE_SECONDS_MAX} s")
        time.sleep(0.5)


def _luxor(*arguments: str) -> bytes:
    return subprocess.run([LUXOR, *arguments], stdout=subprocess.PIPE, check=True, timeout=300).stdout


def main(arguments: list[str] | None = None) -> int:
    """Draw, check or record."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description="Draw the pictures of the README.")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="report pictures that are not current")
    action.add_argument("--record", action="store_true", help="run a system and record its output first")
    options = parser.parse_args(arguments)
    if options.record:
        RECORDING.write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    pictures = draw(json.loads(RECORDING.read_text("utf-8")))
    stale = [name for name, text in pictures.items() if _read(PICTURES / name) != text]
    if options.check:
        for name in stale:
            print(f"docs/pictures/{name} is not current; run `make pictures`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (PICTURES / name).write_text(pictures[name], "utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
