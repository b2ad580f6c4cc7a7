"""Compare two builds on one machine: `make bench-compare BASE=<commit> AREA=e2e [PAIRS=3]`.

The commit is checked out beside the working tree and set up; the benchmarks of the area run alternately (base, this tree; this tree,
base; …), each build with its own benchmarks, so what the machine does meanwhile falls on both. For each figure that both print, the
ratio of this tree's value to the base's is printed pair by pair, as median, least and greatest. Ratios that scatter around 1 show
no difference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import figures
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
Figures = dict[str, float]


def parse(output: str) -> tuple[Figures, dict[str, str]]:
    """Return the values and the units of the figures in what a benchmark printed."""
    values: Figures = {}
    units: dict[str, str] = {}
    for line in output.splitlines():
        if line.startswith('{"figure"'):
            printed = json.loads(line)
            if printed["value"] is not None:
                values[printed["figure"]] = float(printed["value"])
                units[printed["figure"]] = str(printed["unit"])
    return values, units


def ratios(pairs: Sequence[tuple[Figures, Figures]]) -> dict[str, list[float]]:
    """Return for each figure the ratio of the second value to the first of each pair that has both."""
    found: dict[str, list[float]] = {}
    for base, tree in pairs:
        for name, value in tree.items():
            if base.get(name):
                found.setdefault(name, []).append(value / base[name])
    return found


def run(root: Path, area: str, *, quick: bool) -> tuple[Figures, dict[str, str]]:
    """Run the benchmarks of an area in a tree; raise ChildProcessError if one cannot measure."""
    command = [str(root / ".venv/bin/python"), "tests/bench/run.py", "--area", area, *(["--quick"] if quick else [])]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ChildProcessError(f"benchmarks of {area} in {root} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return parse(done.stdout)


def checked_out(commit: str, parent: Path) -> Path:
    """Check a commit out below a directory and set it up; raise ChildProcessError if that fails."""
    tree = parent / "base"
    for command in (["git", "worktree", "add", "--detach", str(tree), commit], ["make", "-C", str(tree), "setup"]):
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            raise ChildProcessError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return tree


def show(pairs: Sequence[tuple[Figures, Figures]], units: dict[str, str], area: str) -> None:
    """Print the medians of both builds, and the ratios: for people as a table, for programs as figures."""
    table = Table(title=f"This tree compared with the base, {len(pairs)} pairs")
    for column in ("figure", "unit", "base", "this tree", "ratio", "least", "greatest"):
        table.add_column(column, justify="left" if column in ("figure", "unit") else "right")
    found = ratios(pairs)
    for name, each in found.items():
        base, tree = (
            statistics.median(values[name] for values in side if name in values) for side in zip(*pairs, strict=True)
        )
        table.add_row(
            name, units[name], f"{base:,.4g}", f"{tree:,.4g}", f"{statistics.median(each):.3f}", f"{min(each):.3f}", f"{max(each):.3f}"
        )  # fmt: skip
    Console(width=120).print(table)
    for name, each in found.items():
        figures.figure(f"{name}_ratio", each, "this tree / base", area=area)
    alone = sorted({name for pair in pairs for name in pair[0].keys() ^ pair[1].keys()})
    if alone:
        print(f"not compared, since one build alone prints them: {', '.join(alone)}")


def main() -> int:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description="Compare the benchmarks of two builds, run alternately.")
    parser.add_argument("base", help="commit to compare the working tree with")
    parser.add_argument("area", help="area of benchmarks, such as e2e")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each build (default 3)")
    parser.add_argument("--quick", action="store_true", help="smoke runs; the values mean nothing")
    arguments = parser.parse_args()
    if arguments.pairs < 1:
        parser.error("--pairs must be at least 1")
    figures.machine({"base": arguments.base})
    pairs: list[tuple[Figures, Figures]] = []
    units: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="luxor-compare-") as name:
        Path(name).chmod(0o711)
        try:
            base = checked_out(arguments.base, Path(name))
            for number in range(arguments.pairs):
                found: dict[Path, Figures] = {}
                for tree in (base, ROOT) if number % 2 == 0 else (ROOT, base):
                    print(
                        f"pair {number + 1} of {arguments.pairs}: {'base' if tree == base else 'this tree'}", flush=True
                    )
                    found[tree], printed = run(tree, arguments.area, quick=arguments.quick)
                    units |= printed
                pairs.append((found[base], found[ROOT]))
        except ChildProcessError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(Path(name) / "base")],
                cwd=ROOT,
                check=False,
                stderr=subprocess.DEVNULL,
            )
    show(pairs, units, arguments.area)
    return 0


if __name__ == "__main__":
    sys.exit(main())
