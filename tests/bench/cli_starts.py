"""How long each command takes from its start to its end where no system runs: Python, its imports, its arguments.

Every command of the tree is started with its required arguments, as a process, a few times; its least time counts, as the machine's other work
only adds. Commands that start a system or make traffic up do more than start, and are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures

from libs.cli.main import luxor
from tests.support.command_starts import arguments_of, leaves

TARGET_SECONDS = 0.3
WORKERS = frozenset({"demo", "up", "down", "migrate", "simulate", "load", "prepare"})
QUICK = 4


def seconds_of(arguments: list[str], runs: int) -> float:
    """Return the least seconds that a command took."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LUXOR_")}
    program = str(Path(sys.executable).with_name("luxor"))
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([program, *arguments], capture_output=True, check=False, timeout=60, env=env)
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=5)
    figures.machine()
    directory = Path(tempfile.mkdtemp(prefix="luxor-starts-"))
    try:
        commands = [each for each in leaves(luxor, []) if each[0][0] not in WORKERS][: QUICK if given.quick else None]
        found = {
            " ".join(words): seconds_of(arguments_of(words, command, directory), given.runs)
            for words, command in commands
        }
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for name, seconds in sorted(found.items(), key=lambda each: -each[1])[:10]:
        print(f"{seconds * 1000:6.0f} ms  luxor {name}")
    figures.figure(
        "command_start_s", [max(found.values())], "s", target=TARGET_SECONDS, commands=len(found),
        above=sum(seconds >= TARGET_SECONDS for seconds in found.values()), slowest=max(found, key=found.__getitem__),
    )  # fmt: skip


if __name__ == "__main__":
    main()
