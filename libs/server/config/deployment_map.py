"""The map of the deployment (deploy/map.yaml): which parts run, who dials which port, and which RPCs a service uses.

The same file makes Compose's networks and the chart's network policies. Here it decides whether a service may call
another: a certificate of the role `service` is not sufficient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from libs.files.yaml_file import YamlError, YamlFile

MAP: Final = Path(__file__).parents[1] / "map.yaml"
"""The map of this release; in a checkout a link to deploy/map.yaml."""

OUTSIDE: Final = "outside"
SERVICE: Final = "service"
GRPC: Final = "grpc"
KINDS: Final = frozenset({SERVICE, "store", "observer", "caller"})


class MapError(Exception):
    """The map cannot be read or contradicts itself; the text says where and how."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs."""

    name: str
    kind: str
    """service, store, observer or caller."""
    ports: Mapping[str, int]
    """Port numbers by what they are for."""


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may dial what."""

    sources: tuple[str, ...] = msgspec.field(name="from")
    """Names of parts, and `outside`."""
    to: str
    port: str
    purpose: str = msgspec.field(name="for")
    rpcs: tuple[str, ...] = ()
    """What a service calls of another: `package.Service` or `package.Service/Method`."""

    def includes(self, method: str) -> bool:
        """Return whether the connection is for this RPC, /package.Service/Method."""
        return method[1:] in self.rpcs or method[1:].rpartition("/")[0] in self.rpcs


@dataclass(frozen=True, slots=True)
class Map:
    """All parts and connections."""

    parts: Mapping[str, Part]
    connections: tuple[Connection, ...]

    def allowed(self, source: str, to: str, port: str) -> bool:
        """Return whether the map draws that connection."""
        return any(source in each.sources and (to, port) == (each.to, each.port) for each in self.connections)

    def services_calling(self, service: str, method: str) -> frozenset[str]:
        """Return the ids of the services that may call an RPC, /package.Service/Method, of a service."""
        return frozenset(
            source
            for each in self.connections
            if (each.to, each.port) == (service, GRPC) and each.includes(method)
            for source in each.sources
        )


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    ports: dict[str, int] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    parts: dict[str, _Part]
    connections: tuple[Connection, ...]
    kubernetes: Any = None


def read(path: Path | None = None) -> Map:
    """Read and check a map, by default that of this release.

    Raise MapError where it is missing or no map, names what is not there, or draws twice what should be once.
    """
    path = path or MAP
    try:
        written = YamlFile(path, path.read_bytes()).convert(_File)
    except OSError as error:
        raise MapError(f"{path}: the map of the connections cannot be read ({error.strerror}).") from None
    except YamlError as error:
        raise MapError(f"{path}: this is no map of the connections: line {error.line}: {error.message}") from None
    parts = {name: Part(name, each.kind, each.ports) for name, each in written.parts.items()}
    for part in parts.values():
        if part.kind not in KINDS:
            raise MapError(f"{path}: {part.name} is of the kind {part.kind!r}; there are {', '.join(sorted(KINDS))}.")
    seen: set[tuple[str, str, str]] = set()
    for each in written.connections:
        _check(path, parts, each)
        for source in each.sources:
            key = (source, each.to, each.port)
            if key in seen:
                raise MapError(f"{path}: {source} dials {each.to}:{each.port} twice.")
            seen.add(key)
    return Map(parts, written.connections)


def _check(path: Path, parts: Mapping[str, Part], each: Connection) -> None:
    if each.to not in parts or each.port not in parts[each.to].ports:
        raise MapError(f"{path}: a connection leads to {each.to}:{each.port}, which no part has.")
    for source in each.sources:
        if source not in parts and source != OUTSIDE:
            raise MapError(f"{path}: {source} dials {each.to}, but is no part.")
    calling = [source for source in each.sources if source in parts and parts[source].kind == SERVICE]
    if (bool(calling) and parts[each.to].kind == SERVICE and each.port == GRPC) != bool(each.rpcs):
        raise MapError(
            f"{path}: the connection of {', '.join(each.sources)} to {each.to}:{each.port} must list `rpcs` if it is "
            "from service to service, and must not otherwise."
        )
    if each.rpcs and len(calling) != len(each.sources):
        raise MapError(f"{path}: {each.to}:{each.port}: a connection that lists `rpcs` is dialled by services alone.")
