"""Prints the structure of the code as its imports show it: the rooms of each service and lib, arrows, chains and cycles.

Usage: python -m tools.structure [--check] [PACKAGE...]

A room is what stands directly in a service: a module, or a package with all that is in it. An arrow leads from a room to a
room of the same service that it imports. A cycle is of files: each imports the next one, and the last one the first one. A
ring is the same of what stands in one package, at any depth: of files, and of packages with all that is in them. Imports
that only the type checker reads (`if TYPE_CHECKING`) count too.

With `--check` it prints only what is against the rules, and ends with 1 where there is anything: cycles in libs, services,
tools and tests, rings, packages of services and libs with too many files, transactions that a service begins in a room
other than commands and jobs, classes of one name in a service, test modules that others import, and private names of the code
that tests use (tools/private_names.py). Which room may import which: tools/walls.py.
"""

import argparse
import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grimp
from rich.console import Console
from rich.table import Table

from tools import private_names

ROOTS: Final = ("libs", "services", "tools", "tests")
ROOMED: Final = ("libs", "services")
"""What is divided into packages that have rooms."""
DOORS: Final = ("__main__",)
"""What puts a service together imports everything, so it is no room."""
FILES_MAX: Final = 12
"""Files of one package directory of a service or lib, beside its `__init__.py`: more are divided by subject."""
SERIES: Final = ("migrations",)
"""Packages whose files are steps of one series, which only grows."""

TRANSACTIONS: Final = ("commands", "jobs")
"""The rooms of a service that begin transactions: commands own theirs, and jobs take their leases in one."""
BEGINNERS: Final = (".transaction", "once", "store_answer")
"""What begins a transaction: the method of a Database, and the functions of libs.server.requests that do."""
SERVICES: Final = Path("services")
ROOT: Final = Path()
"""The checkout, for what is read as text."""

Arrows = Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class Structure:
    """One service, or one of the libs."""

    name: str
    rooms: Mapping[str, int]
    """Files of each room."""
    arrows: Arrows
    """The rooms that each room imports."""
    chain: list[str]
    """The longest way along the arrows, each room once."""
    cycles: list[list[str]]
    """Files of each cycle, in order of their names."""


def structures(graph: grimp.ImportGraph) -> list[Structure]:
    """Return the structure of every service and lib, by name."""
    imports = _imports(graph)
    cycles = _cycles(imports)
    files = [name for name in imports if name.split(".")[0] in ROOMED and name.count(".") >= 1]
    names = sorted({_package(name) for name in files})
    return [_structure(name, files, imports, cycles) for name in names]


def violations(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Return what is against the rules: for each the package or directory, and a sentence that names it."""
    imports = _imports(graph)
    found = [(_package(cycle[0]), f"cycle of {len(cycle)} files: {', '.join(cycle)}") for cycle in _cycles(imports)]
    found += [
        (_package(ring[0]), f"ring of {len(ring)} packages: {', '.join(ring)}")
        for depth in range(2, max((name.count(".") for name in imports), default=0) + 1)
        for ring in _cycles(_arrows(imports, depth))
        if any(graph.find_children(each) for each in ring)
    ]
    found += [
        (_package(package), f"{package} has {count} files: divide it by subject into packages of {FILES_MAX} at most")
        for package, count in _sizes(graph).items()
        if count > FILES_MAX
    ]
    found += [
        (
            _package(name),
            f"{name} imports {each}: what tests share belongs in a module that is no test, or in tests.support",
        )
        for name, imported in imports.items()
        for each in sorted(imported)
        if _is_test(each)
    ]
    return found


def _is_test(name: str) -> bool:
    """Return whether a module is one of tests."""
    return name.split(".")[0] == "tests" and name.rpartition(".")[2].startswith("test_")


def transactions(services: Path) -> list[tuple[str, str]]:
    """Return what begins transactions in the rooms of services that begin none: for each the service, and a sentence."""
    found = []
    for path in sorted(services.glob("*/*/**/*.py")):
        service, room = path.relative_to(services).parts[:2]
        if room in TRANSACTIONS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in BEGINNERS:
                sentence = f"{path}:{node.lineno} begins a transaction in {room}: a command owns it, and calls the store with it"
                found.append((f"services.{service}", sentence))
    return found


def _name(called: ast.expr) -> str:
    """Return the name of what is called, of a method with its dot."""
    if isinstance(called, ast.Attribute):
        return f".{called.attr}"
    return called.id if isinstance(called, ast.Name) else ""


def repeated_classes(services: Path) -> list[tuple[str, str]]:
    """Return the names of public classes that a service defines more than once: for each the service, and a sentence."""
    defined: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(services.glob("*/**/*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[path.relative_to(services).parts[0], node.name].append(f"{path}:{node.lineno}")
    return [
        (f"services.{service}", f"{name} is the name of {len(places)} classes: {', '.join(places)}")
        for (service, name), places in defined.items()
        if len(places) > 1
    ]


def _imports(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """Return the files of ours that each of our files imports."""
    files = sorted(name for name in graph.modules if name.split(".")[0] in ROOTS)
    ours = set(files)
    return {name: graph.find_modules_directly_imported_by(name) & ours for name in files}


def _arrows(imports: Arrows, depth: int) -> dict[str, set[str]]:
    """Return the arrows between what stands in one package, `depth` packages deep: files, and packages with all that is in them."""
    arrows: dict[str, set[str]] = {}
    for name, imported in imports.items():
        if name.split(".")[0] not in ROOMED or name.count(".") < depth:
            continue
        own = name.split(".")[: depth + 1]
        others = {tuple(each.split(".")[: depth + 1]) for each in imported if each.split(".")[:depth] == own[:depth]}
        arrows.setdefault(".".join(own), set()).update(
            ".".join(each) for each in others if len(each) > depth and list(each) != own
        )
    return arrows


def _sizes(graph: grimp.ImportGraph) -> dict[str, int]:
    """Return the number of files that stand directly in each package of services and libs, without the package's own."""
    sizes: Counter[str] = Counter()
    for name in sorted(graph.modules):
        if (
            name.split(".")[0] in ROOMED
            and "." in name
            and not graph.find_children(name)
            and not set(SERIES) & set(name.split("."))
        ):
            sizes[name.rpartition(".")[0]] += 1
    return dict(sizes)


def _package(name: str) -> str:
    """Return the service or lib that a file belongs to."""
    return ".".join(name.split(".")[:2])


def _structure(name: str, files: Iterable[str], imports: Arrows, cycles: Iterable[list[str]]) -> Structure:
    rooms: dict[str, int] = defaultdict(int)
    arrows: dict[str, set[str]] = defaultdict(set)
    for file in files:
        room = _room(file, name)
        if room is None:
            continue
        rooms[room] += 1
        others = {_room(each, name) for each in imports[file]}
        arrows[room] |= {other for other in others if other is not None and other != room}
    own = [cycle for cycle in cycles if _package(cycle[0]) == name]
    return Structure(name, dict(rooms), dict(arrows), _longest(arrows), own)


def _room(file: str, name: str) -> str | None:
    """Return the room of `name` that a file stands in; None of what is none."""
    if not file.startswith(f"{name}."):
        return None
    room = file.split(".")[2]
    return None if room in DOORS else room


def _cycles(arrows: Arrows) -> list[list[str]]:
    """Return the sets of nodes that can all reach one another, by Tarjan's algorithm without recursion; those of one node are none."""
    found: list[list[str]] = []
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    for start in sorted(arrows):
        if start in number:
            continue
        work = [(start, iter(sorted(arrows[start])))]
        number[start] = lowest[start] = len(number)
        path.append(start)
        on_path.add(start)
        while work:
            node, following = work[-1]
            for each in following:
                if each not in number:
                    number[each] = lowest[each] = len(number)
                    path.append(each)
                    on_path.add(each)
                    work.append((each, iter(sorted(arrows.get(each, ())))))
                    break
                if each in on_path:
                    lowest[node] = min(lowest[node], number[each])
            else:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    members = path[path.index(node) :]
                    del path[path.index(node) :]
                    on_path -= set(members)
                    if len(members) > 1:
                        found.append(sorted(members))
    return sorted(found)


def _longest(arrows: Arrows) -> list[str]:
    """Return the longest way along arrows between groups of rooms that do not import one another in a ring."""
    group = {room: place for place, members in enumerate(_cycles(arrows)) for room in members}
    best: dict[str, list[str]] = {}

    def way(room: str) -> list[str]:
        if room not in best:
            own = group.get(room, room)
            ways = [way(each) for each in sorted(arrows.get(room, ())) if group.get(each, each) != own]
            best[room] = [room, *max(ways, key=len, default=[])]
        return best[room]

    return max((way(room) for room in sorted(arrows)), key=len, default=[])


def overview(packages: Iterable[Structure]) -> Table:
    """Return one line for each service and lib."""
    lines = Table(title="Structure by imports")
    for column in ("package", "rooms", "files", "most in one", "arrows", "longest chain", "cycles of files"):
        lines.add_column(column, justify="left" if column in ("package", "longest chain") else "right")
    for each in packages:
        lines.add_row(
            each.name, f"{len(each.rooms)}", f"{sum(each.rooms.values())}", f"{max(each.rooms.values(), default=0)}",
            f"{sum(map(len, each.arrows.values()))}", " > ".join(each.chain), f"{len(each.cycles)}",
        )  # fmt: skip
    return lines


def rooms(each: Structure) -> Table:
    """Return one line for each room of a service or lib: how many files it has, and which rooms it imports."""
    lines = Table()
    for column in ("room", "files", "imports"):
        lines.add_column(column, justify="right" if column == "files" else "left")
    for room, count in sorted(each.rooms.items()):
        lines.add_row(room, f"{count}", ", ".join(sorted(each.arrows[room])) or "-")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print what the imports show; return 1 where only what is against the rules was asked for and there is any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help="services.clearance, libs.feed; all by default, services in full"
    )
    parser.add_argument(
        "--check", action="store_true", help="print what is against the rules alone, and fail where there is any"
    )
    options = parser.parse_args(arguments)
    console = Console(width=160, highlight=False)
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    found = structures(graph)
    unknown = set(options.packages) - {each.name for each in found}
    if unknown:
        parser.error(f"no such package: {', '.join(sorted(unknown))}")
    all_against = [*violations(graph), *transactions(SERVICES), *repeated_classes(SERVICES), *private_names.uses(ROOT)]
    against = [each for each in all_against if not options.packages or each[0] in options.packages]
    if not options.check:
        chosen = [each for each in found if not options.packages or each.name in options.packages]
        console.print(overview(chosen))
        for each in chosen:
            if options.packages or each.name.startswith("services."):
                console.print(f"\n{each.name}: longest chain {' > '.join(each.chain) or '-'}")
                console.print(rooms(each))
    for _, sentence in against:
        console.print(sentence)
    return 1 if options.check and against else 0


if __name__ == "__main__":
    sys.exit(main())
