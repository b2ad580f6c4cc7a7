"""Prints the structure of the code as its imports show it: the rooms of each service and lib, arrows, chains and cycles.

Usage: python -m tools.structure [--cycles] [PACKAGE...]

A room is what stands directly in a service: a module, or a package with all that is in it. An arrow leads from a room to a
room of the same service that it imports. A cycle is of files: each imports the next one, and the last one the first one.
Imports that only the type checker reads (`if TYPE_CHECKING`) count too. With `--cycles` it prints cycles alone and ends
with 1 where there are any.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grimp
from rich.console import Console
from rich.table import Table

ROOTS = ("libs", "services")
DOORS = ("__main__",)
"""What puts a service together imports everything, so it is no room."""

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
    files = sorted(name for name in graph.modules if name.split(".")[0] in ROOTS and name.count(".") >= 1)
    imports = {name: graph.find_modules_directly_imported_by(name) & set(files) for name in files}
    cycles = _cycles(imports)
    names = sorted({".".join(name.split(".")[:2]) for name in files})
    return [_structure(name, files, imports, cycles) for name in names]


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
    own = [cycle for cycle in cycles if ".".join(cycle[0].split(".")[:2]) == name]
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


def table(found: Iterable[Structure]) -> Table:
    """Return one line for each service and lib."""
    lines = Table(title="Structure by imports")
    for column in ("package", "rooms", "files", "most in one", "arrows", "longest chain", "cycles of files"):
        lines.add_column(column, justify="left" if column in ("package", "longest chain") else "right")
    for each in found:
        lines.add_row(
            each.name, f"{len(each.rooms)}", f"{sum(each.rooms.values())}", f"{max(each.rooms.values(), default=0)}",
            f"{sum(map(len, each.arrows.values()))}", " > ".join(each.chain), f"{len(each.cycles)}",
        )  # fmt: skip
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print what the imports show; return 1 where there are cycles and only they were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="services.clearance, libs.feed; all by default")
    parser.add_argument(
        "--cycles", action="store_true", help="print cycles of files alone, and fail where there are any"
    )
    given = parser.parse_args(arguments)
    found = [
        each
        for each in structures(grimp.build_graph(*ROOTS, cache_dir=None))
        if not given.packages or each.name in given.packages
    ]
    unknown = set(given.packages) - {each.name for each in found}
    if unknown:
        parser.error(f"no such package: {', '.join(sorted(unknown))}")
    console = Console(width=160)
    if not given.cycles:
        console.print(table(found))
        for each in found if given.packages else ():
            for room, imported in sorted(each.arrows.items()):
                console.print(f"  {each.name}.{room} ({each.rooms[room]}) > {', '.join(sorted(imported)) or '-'}")
    cycles = [cycle for each in found for cycle in each.cycles]
    for cycle in cycles:
        console.print(f"cycle of {len(cycle)}: {', '.join(cycle)}", highlight=False)
    return 1 if given.cycles and cycles else 0


if __name__ == "__main__":
    sys.exit(main())
