"""Runs every benchmark of tests/bench, or those of one area: `python tests/bench/run.py [--area AREA] [--quick]`.

A benchmark is a script `<area>_<what>.py`. Each runs in a process of its own; all run, whatever fails.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A smoke run that takes longer is no smoke run.
QUICK_SECONDS = 120


def scripts(area: str | None) -> list[Path]:
    """Return the benchmarks, all or those of one area, in the order of their names."""
    return sorted(path for path in HERE.glob("[a-z]*_*.py") if area is None or path.stem.split("_")[0] == area)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--area", help="only those of one area, such as e2e")
    parser.add_argument("--quick", action="store_true", help="smoke run; the values mean nothing")
    arguments = parser.parse_args()
    found = scripts(arguments.area)
    if not found:
        areas = ", ".join(sorted({path.stem.split("_")[0] for path in scripts(None)})) or "none"
        print(f"no benchmark of the area {arguments.area!r}; there are: {areas}", file=sys.stderr)
        return 2
    failed = []
    for script in found:
        print(f"\n=== {script.stem}", flush=True)
        started = time.monotonic()
        if not _run(script, arguments.quick):
            failed.append(script.stem)
        print(f"=== {script.stem}: {time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print(f"\ncould not measure: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(script: Path, quick: bool) -> bool:
    command = [sys.executable, str(script), *(["--quick"] if quick else [])]
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=QUICK_SECONDS if quick else None).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{script.stem} did not end within {QUICK_SECONDS} s", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(main())
