"""Contracts of import-linter that its own types cannot say: what a subject module may import, and who reaches stubs.

Named in pyproject.toml, [tool.importlinter]; `make check` runs them. A contract's fields are filled by import-linter
with what pyproject.toml says, which their declaration does not tell the type checker.
"""

from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class SubjectContract(Contract):
    """A subject module of a service (every module outside the edge rooms) imports none of the forbidden packages."""

    services: Any = fields.StringField()
    edges: Any = fields.SetField(subfield=fields.StringField())
    forbidden: Any = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        broken: list[str] = []
        for module in sorted(graph.modules):
            path = module.split(".")
            # services.<name>.<room>[...]; the service's own package is its door and has no rules of the field.
            if len(path) < 3 or path[0] != self.services or path[2] in self.edges:
                continue
            broken += [
                _detail(graph, module, imported)
                for imported in sorted(graph.find_modules_directly_imported_by(module))
                if self._is_forbidden(imported)
            ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(check, "a subject module is pure: move what needs this import to service.py or store.py")

    def _is_forbidden(self, imported: str) -> bool:
        path = imported.split(".")
        own_edge: bool = len(path) >= 3 and path[0] == self.services and path[2] in self.edges
        return own_edge or any(imported == name or imported.startswith(f"{name}.") for name in self.forbidden)


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


def _detail(graph: ImportGraph, importer: str, imported: str) -> str:
    lines = {str(found["line_number"]) for found in graph.get_import_details(importer=importer, imported=imported)}
    return f"{importer} imports {imported} (line {', '.join(sorted(lines)) or 'unknown'})"


def _render(check: ContractCheck, hint: str) -> None:
    for line in check.metadata["broken"]:
        output.print_error(f"- {line}", bold=False)
    output.new_line()
    output.print_error(f"What to do: {hint}.", bold=False)
