"""Contracts of import-linter that its own types cannot say: what the rooms of a service may import, and who reaches stubs.

Named in pyproject.toml, [tool.importlinter]; `make check` runs them. A contract's fields are filled by import-linter
with what pyproject.toml says, which their declaration does not tell the type checker.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

EDGES: Final = ("api", "feeds", "jobs")
MAY_IMPORT: Final = dict.fromkeys(EDGES, ("commands", "store")) | {
    "commands": ("store",),
    "store": (),
    "migrations": (),
}
"""Which of the rooms that may do I/O each of them may import; subjects, settings and metrics are for all."""
MODULES: Final = ("__main__", "config", "metrics")
"""What may stand in a service beside its rooms."""


class RoomsContract(Contract):
    """Each room of a service imports what its name allows: edges call commands, those the store and subjects, and subjects are pure."""

    services: Any = fields.StringField()
    pure: Any = fields.SetField(subfield=fields.StringField())
    """What a subject does not import."""
    transport: Any = fields.SetField(subfield=fields.StringField())
    """What the store does not import; commands may call neighbours."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        services = sorted(graph.find_children(self.services))
        broken = [violation for service in services for violation in self._violations(graph, service)]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(check, "see the rooms in docs/architecture.md, and move what needs this import to where it may stand")

    def _violations(self, graph: ImportGraph, service: str) -> Iterator[str]:
        for child in sorted(graph.find_children(service)):
            name = child.rpartition(".")[2]
            if name not in (*MODULES, *MAY_IMPORT) and not graph.find_children(child):
                yield f"{child} is a file beside the rooms of its service: it belongs into one, or into a package named after its subject"
        # What the service's own package imports, all of its rooms could reach by it.
        yield from (_detail(graph, service, each) for each in sorted(graph.find_modules_directly_imported_by(service)))
        for module in sorted(graph.find_descendants(service)):
            room = module.split(".")[2]
            if room == "__main__":
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                if self._is_forbidden(room, imported, service):
                    yield _detail(graph, module, imported)

    def _is_forbidden(self, room: str, imported: str, service: str) -> bool:
        if imported == service or (imported.endswith("_pb2_grpc") and room not in (*EDGES, "commands")):
            return True
        if imported.startswith(f"{service}."):
            other = imported.split(".")[2]
            return other == "__main__" or (
                other in MAY_IMPORT and other != room and other not in MAY_IMPORT.get(room, ())
            )
        if room in (*EDGES, "commands", "migrations"):
            return False
        return _is_in(imported, self.transport if room == "store" else self.pure)


class StubsContract(Contract):
    """Only the named packages import the gRPC stubs of the services."""

    allowed: Any = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        broken = [
            _detail(graph, module, stub)
            for stub in sorted(name for name in graph.modules if name.endswith("_pb2_grpc"))
            for module in sorted(graph.find_modules_that_directly_import(stub))
            if not any(module == name or module.startswith(f"{name}.") for name in self.allowed)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(check, "the services are reached through libs.client: call it, or give it what it lacks")


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _detail(graph: ImportGraph, importer: str, imported: str) -> str:
    lines = {str(found["line_number"]) for found in graph.get_import_details(importer=importer, imported=imported)}
    return f"{importer} imports {imported} (line {', '.join(sorted(lines)) or 'unknown'})"


def _render(check: ContractCheck, hint: str) -> None:
    for line in check.metadata["broken"]:
        output.print_error(f"- {line}", bold=False)
    output.new_line()
    output.print_error(f"What to do: {hint}.", bold=False)
