"""Plant one small fault after another and count how many of them the tests notice: `make mutation-test`.

Each area names modules and the tests that guard them; `tools.mutants` says which faults are planted. A mutant is written into a copy of the checkout,
and tests run until one fails: first the quickest of those that call the changed function, then the others that do (all of the area's where none
does). They run in children of a warm process (`tools.mutation_host`), on a PostgreSQL that is started once. Which test calls which function is
measured at the beginning, with all workers at work, and so is how long each takes: the limits of time follow from that. Every twentieth mutant, and
each one that runs into its limit, is followed by the same tests without a mutant: where these fail, the result does not count.

Areas share the time. The order of mutants is drawn by a seed, which is the date: each night tries others. Survivors are listed by file; those that
cannot be noticed by any test are in tests/mutation.yaml with the reason, and are not tried. An area reaches its target only where at least 60 mutants
were tried, or all.

With `--tests` some of the tests run: what is measured before the trial takes their time alone, and the share is a lower bound.

    python tools/mutation.py --area identity --seconds 600
    python tools/mutation.py --area feed --tests tests/feed/test_values.py
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from libs.store.embedded.server import EmbeddedPostgres  # noqa: E402  # a script finds the checkout only now
from tests.support.databases import SETTINGS, SHARED, enterable_directory  # noqa: E402
from tools.mutants import MODULE, Mutant, mutants_of, planted  # noqa: E402
from tools.mutation_areas import AREAS, TARGET  # noqa: E402
from tools.mutation_host import CRASHED  # noqa: E402

SECONDS: Final = 3_300
TRIED_MIN: Final = 60
CONTROL_EACH: Final = 20
EQUIVALENT: Final = ROOT / "tests" / "mutation.yaml"
_QUICK_SECONDS: Final = 2.0
"""How long the first tests of a mutant take together, at most: the quickest files among those that call the function."""
_SPARE_SECONDS: Final = 15.0
_BASELINE_SECONDS: Final = 900.0
_FAILED: Final = (1, 2, 3, 4)
"""Exit codes of pytest where a test fails, or a module or a conftest cannot be imported."""
_SCHEMAS: Final = ("libs/feed/schema.py", "libs/feed/epochs.py")
"""Modules whose mutants change how databases are made: their tests begin with a PostgreSQL of their own."""


def area_mutants(area: str, equivalent: Collection[str], seed: str) -> list[Mutant]:
    """Return the mutants of an area in the order in which they are tried."""
    pile = []
    for pattern in AREAS[area].modules:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            pile += list(mutants_of(area, name, path.read_text(encoding="utf-8")))
    random.Random(f"{seed} {area}").shuffle(pile)  # noqa: S311  # no secret
    return [each for each in pile if each.name not in equivalent]


@dataclass(frozen=True)
class Plan:
    """What was measured of an area's tests without a mutant."""

    seconds: Mapping[str, float]
    """By test, how long it takes."""
    callers: Mapping[str, frozenset[str]]
    """By file and function, the tests that call it."""
    warm: tuple[str, ...]
    """Modules that can be imported before a mutant is planted: they do not import a changed one."""

    def stages(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests of a mutant in the order in which they run: some quick ones, the others; all of the area where none calls it.

        A changed constant may be noticed by a test that calls nothing of its module: there the rest of the area follows.
        """
        reaching = self.callers.get(f"{mutant.path} {mutant.function}", frozenset())
        if not reaching or mutant.function == MODULE:
            reaching = frozenset().union(
                *(tests for name, tests in self.callers.items() if name.startswith(f"{mutant.path} "))
            )
        files: dict[str, list[str]] = {}
        for test in sorted(reaching, key=lambda each: self.seconds[each]):
            files.setdefault(test.partition("::")[0], []).append(test)
        quick: list[str] = []
        spent = 0.0
        for tests in sorted(files.values(), key=self.limit):
            some = tests[: max(1, sum(1 for _ in _within(tests, self.seconds, _QUICK_SECONDS - spent)))]
            quick += some
            spent += sum(self.seconds[each] for each in some)
            if spent >= _QUICK_SECONDS or len(quick) > len(reaching) // 2:
                break
        others = sorted(reaching - set(quick), key=lambda each: self.seconds[each])
        if not reaching:
            others = sorted(self.seconds, key=lambda each: self.seconds[each])
        rest = sorted(set(self.seconds) - reaching, key=lambda each: self.seconds[each]) if reaching else []
        return [each for each in (quick, others, rest if mutant.function == MODULE else []) if each]

    def limit(self, tests: Sequence[str]) -> float:
        """Return after how many seconds tests are ended."""
        return 3 * sum(self.seconds[each] for each in tests) + _SPARE_SECONDS


def _within(tests: Sequence[str], seconds: Mapping[str, float], budget: float) -> list[str]:
    found = []
    for each in tests:
        budget -= seconds[each]
        if budget < 0:
            break
        found.append(each)
    return found


class Worker:
    """A copy of the checkout with a warm process and a PostgreSQL, in which one mutant at a time is planted."""

    def __init__(self, tests: Sequence[str] = ()) -> None:
        """Copy what git tracks, and the generated modules; run these tests alone, if there are any, and not all of an area's."""
        self._tests = tests
        self.directory = Path(tempfile.mkdtemp(prefix="luxor-mutation-"))
        # As root, PostgreSQL runs under another account, which reads from here.
        self.directory.chmod(0o755)
        files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
        for name in (os.fsdecode(each) for each in files if each):
            target = self.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, target)
        shutil.copytree(ROOT / "luxor", self.directory / "luxor", dirs_exist_ok=True)
        self._host: subprocess.Popen[str] | None = None
        self._store: tuple[Path, EmbeddedPostgres] | None = None
        self._planted = 0

    def warm(self, modules: Sequence[str] = ()) -> None:
        """Start the warm process, in the place of the one before."""
        self._end_host()
        env = os.environ | {
            "PYTHONPATH": str(self.directory),
            "GRPC_ENABLE_FORK_SUPPORT": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self.directory / ".h"),
        }
        self._host = subprocess.Popen(
            [sys.executable, "-m", "tools.mutation_host"],
            cwd=self.directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._send(list(modules))

    def run(self, area: str, seconds: float, *, tests: Sequence[str] | None = None, **options: Any) -> int | None:
        """Run an area's tests, or some of them; return pytest's exit code, None where the time was over."""
        files = (
            (self._tests or AREAS[area].tests) if tests is None else sorted({each.partition("::")[0] for each in tests})
        )
        own_store = options.pop("own_store", False)
        environ = {} if "profile" in options else {"PYTHONDONTWRITEBYTECODE": "1"}
        if not own_store:
            environ[SHARED] = str(self._shared())
        request = {
            "files": [each for each in files if (self.directory / each).exists()],
            "seconds": seconds,
            "environ": environ,
            "log": str(self.directory / ".output"),
            **({} if tests is None else {"tests": list(tests)}),
            **options,
        }
        self._send(request)
        assert self._host is not None
        assert self._host.stdout is not None
        code: int | None = json.loads(self._host.stdout.readline())
        if code == CRASHED:
            raise SystemExit(self.output())
        if code is None:
            # What was ended in the middle may have left databases and sessions.
            self._end_store()
        return code

    def plan(self, area: str) -> Plan:
        """Measure an area's tests without a mutant; raise SystemExit where they fail."""
        self.warm()
        watched = _modules(area, self.directory)
        target = self.directory / ".profile"
        if self.run(area, _BASELINE_SECONDS, profile=str(target), watched=watched) != 0:
            print(self.output())
            raise SystemExit(f"The tests of {area} fail without any mutant: nothing can be measured.")
        found = json.loads(target.read_text(encoding="utf-8"))
        callers: dict[str, set[str]] = {}
        for test, functions in found["calls"].items():
            for function in functions:
                callers.setdefault(function, set()).add(test)
        warm = independent_modules(self.directory, found["modules"], watched)
        return Plan(found["seconds"], {name: frozenset(tests) for name, tests in callers.items()}, tuple(warm))

    def survives(self, mutant: Mutant, plan: Plan) -> tuple[bool, list[str] | None]:
        """Plant a mutant, run tests and remove it; return whether no test noticed it, and which tests ran into their limit."""
        path = self.directory / mutant.path
        before, times = path.read_bytes(), path.stat()
        self._planted += 1
        path.write_text(planted(before.decode("utf-8"), mutant), encoding="utf-8")
        # Compiled modules are found by time and size: no mutant has the time of another.
        os.utime(path, (times.st_mtime + self._planted,) * 2)
        try:
            for tests in plan.stages(mutant):
                own = mutant.path in _SCHEMAS
                code = self.run(mutant.area, plan.limit(tests), tests=tests, own_store=own)
                if code is None or code in _FAILED:
                    return False, tests if code is None else None
            return True, None
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def output(self) -> str:
        """Return the end of what the last tests wrote."""
        return (self.directory / ".output").read_text(encoding="utf-8", errors="replace")[-4000:]

    def close(self) -> None:
        """End processes and remove the copy."""
        self._end_host()
        self._end_store()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _send(self, content: object) -> None:
        assert self._host is not None
        assert self._host.stdin is not None
        self._host.stdin.write(json.dumps(content) + "\n")
        self._host.stdin.flush()

    def _shared(self) -> Path:
        if self._store is None:
            directory = enterable_directory()
            server = EmbeddedPostgres(directory, databases=(), settings={**SETTINGS, "fsync": "off"})
            server.start()
            self._store = directory, server
        return self._store[0]

    def _end_host(self) -> None:
        if self._host is not None:
            self._host.communicate()
            self._host = None

    def _end_store(self) -> None:
        if self._store is not None:
            self._store[1].destroy()
            shutil.rmtree(self._store[0], ignore_errors=True)
            self._store = None


def _modules(area: str, root: Path) -> list[str]:
    return [each.relative_to(root).as_posix() for glob in AREAS[area].modules for each in sorted(root.glob(glob))]


def independent_modules(root: Path, loaded: Sequence[str], changed: Sequence[str]) -> list[str]:
    """Return the loaded modules that import none of the changed ones, directly or through others; no tests."""
    sources = {}
    for name in loaded:
        base = root / name.replace(".", "/")
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                sources[name] = path
    imports = {name: _imported(name, path, sources) for name, path in sources.items()}
    left_out = {name for name, path in sources.items() if path.relative_to(root).as_posix() in changed}
    while importers := {name for name, found in imports.items() if found & left_out} - left_out:
        left_out |= importers
    left_out |= {name for name, path in sources.items() if "import pytest" in path.read_text(encoding="utf-8")}
    return [
        name for name in sources if name not in left_out and name.partition(".")[0] in {"libs", "services", "luxor"}
    ]


def _imported(module: str, path: Path, modules: Collection[str]) -> set[str]:
    found = {module.rpartition(".")[0]}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{each.name}" for each in node.names}
    whole = {".".join(each.split(".")[: count + 1]) for each in found for count in range(each.count(".") + 1)}
    return (whole & set(modules)) - {module}


@dataclass
class Tally:
    """The results of an area's mutants."""

    mutants: int = 0
    caught: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    controls: int = 0
    controls_failed: int = 0

    @property
    def tried(self) -> int:
        """How many were tried."""
        return self.caught + len(self.survivors)

    @property
    def share(self) -> float:
        """The share that was caught; 0 where none was tried."""
        return self.caught / self.tried if self.tried else 0.0

    def meets(self, target: float) -> bool:
        """Return whether a target is reached: enough were tried, and no test fails without a mutant."""
        return self.tried >= min(TRIED_MIN, self.mutants) > 0 and self.share >= target and not self.controls_failed


def run(
    areas: Sequence[str], seconds: float, workers: int, seed: str, name_part: str = "", tests: Sequence[str] = ()
) -> dict[str, Tally]:
    """Try mutants, or those with `name_part` in their name, until the time is over; raise SystemExit where an area's tests fail without any mutant.

    With `tests`, only these run.
    """
    ends_at = time.monotonic() + seconds
    known = {each["mutant"] for each in yaml.safe_load(EQUIVALENT.read_text(encoding="utf-8")) or ()}
    tallies = {}
    hired = [Worker(tests) for _ in range(workers)]
    try:
        with ThreadPoolExecutor(workers) as pool:
            for place, area in enumerate(areas):
                slice_ends_at = time.monotonic() + (ends_at - time.monotonic()) / (len(areas) - place)
                pile = [each for each in area_mutants(area, known, seed) if name_part in each.name]
                tallies[area] = _area(area, hired, pool, pile, slice_ends_at)
    finally:
        for each in hired:
            each.close()
    return tallies


def _area(area: str, hired: list[Worker], pool: ThreadPoolExecutor, pile: list[Mutant], ends_at: float) -> Tally:
    tally = Tally(mutants=len(pile))
    # All at once: what is measured and found green has the load of the trial.
    plans = list(pool.map(lambda each: each.plan(area), hired))
    seconds = {test: max(plan.seconds[test] for plan in plans) for test in plans[0].seconds}
    plan = Plan(seconds, plans[0].callers, plans[0].warm)
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for each in hired:
        each.warm(plan.warm)
        free.put(each)
    if pile and hired[0].run(area, _BASELINE_SECONDS, tests=plan.stages(pile[0])[0]) != 0:
        print(hired[0].output())
        raise SystemExit(f"The tests of {area} fail in the warm process without any mutant: nothing can be measured.")
    lock = threading.Lock()

    def one(numbered: tuple[int, Mutant]) -> None:
        number, mutant = numbered
        if time.monotonic() > ends_at:
            return
        worker = free.get()
        try:
            survived, ended = worker.survives(mutant, plan)
            control = ended or (plan.stages(mutant)[0] if number % CONTROL_EACH == 0 else None)
            failed = control is not None and worker.run(area, plan.limit(control), tests=control) != 0
        finally:
            free.put(worker)
        with lock:
            tally.controls += control is not None
            tally.controls_failed += failed
            if survived:
                tally.survivors.append(mutant)
                print(f"survived  {mutant.name}", flush=True)
            elif not failed:
                tally.caught += 1

    list(pool.map(one, enumerate(pile, 1)))
    print(f"{area}: {tally.tried} of {tally.mutants} tried, {tally.caught} caught", flush=True)
    return tally


def report(tallies: Mapping[str, Tally]) -> bool:
    """Print shares by area, survivors by file and the figure; return whether every target is met."""
    met = True
    print()
    for area, tally in tallies.items():
        good = tally.meets(AREAS[area].target)
        met &= good
        print(
            f"{area:<11} {tally.caught:>4} of {tally.tried:>4} caught: {tally.share:.3f} (target {AREAS[area].target:.2f}); "
            f"{tally.mutants - tally.tried} of {tally.mutants} not tried; controls {tally.controls}, failed {tally.controls_failed}"
            f"{'' if good else '  missed'}"
        )
    for path in sorted({each.path for tally in tallies.values() for each in tally.survivors}):
        print(f"\n{path}")
        for tally in tallies.values():
            for each in sorted((one for one in tally.survivors if one.path == path), key=lambda one: one.line):
                print(f"  {each.line}: {each.change_text}: {each.text}")
    tried, caught = (sum(getattr(each, name) for each in tallies.values()) for name in ("tried", "caught"))
    share = caught / tried if tried else 0.0
    print(
        json.dumps(
            {"figure": "mutants_caught", "value": round(share, 4), "unit": "share", "target": TARGET, "runs": tried}
        )
    )
    return met and share >= TARGET


def main() -> None:
    """Run from the command line; ends with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--area", action="append", choices=sorted(AREAS), help="only this area; may be given several times"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for how long mutants are tried (default: 3300)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="mutants at once (default: one for each core)"
    )
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    parser.add_argument("--seed", default=today, help="what draws the order of mutants (default: the date)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants with this text in their name")
    parser.add_argument(
        "--tests", action="append", metavar="FILE", help="only these tests, so that the share is a lower bound; may be given several times"
    )  # fmt: skip
    asked = parser.parse_args()
    for each in asked.tests or ():
        if not subprocess.run(["git", "ls-files", "--", each], cwd=ROOT, capture_output=True, check=True).stdout:
            # It would not be in the copy, and without any file pytest runs all that there are.
            parser.error(f"git does not track {each}: add it first")
    areas = asked.area or list(AREAS)
    print(f"seed {asked.seed}, {asked.workers} at once, {asked.seconds:.0f} seconds", flush=True)
    sys.exit(0 if report(run(areas, asked.seconds, asked.workers, asked.seed, asked.only, asked.tests or ())) else 1)


if __name__ == "__main__":
    main()
