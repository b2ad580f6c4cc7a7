"""The table of all variables, and what is known of those that nobody reads."""

import ast
import difflib
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from pathlib import Path

from libs.server.config.error import ConfigError
from libs.server.config.server_config import PORTS, REGISTRY, Setting, bounds_of, given_kind, names_of

SIMILARITY_MIN = 0.8
"""How much alike a misspelt name and the one that was meant must be, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the table: names, where it counts, type, unit, default, bounds, an example and the meaning."""

    names: tuple[str, ...]
    service: str
    type: str
    unit: str
    default: str
    bounds: str
    example: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A variable that no Settings class reads: OpenTelemetry's, and what is read before there is a service."""

    name: str
    type: str
    unit: str
    default: str
    bounds: str
    example: str
    meaning: str
    is_invalid: Callable[[str], bool] = lambda _text: False
    """Whether a value is invalid."""


def _no_endpoint(text: str) -> bool:
    return re.fullmatch(r"(https?://)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?", text) is None


_ENDPOINT = "http://collector:4317"
_HTTP = "http:// or https:// with host and port"
FOREIGN: tuple[Foreign, ...] = (
    Foreign(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "str", "", "", _HTTP, _ENDPOINT,
        "Address of a collector that receives spans by OTLP over gRPC. Empty: no spans are exported.", _no_endpoint,
    ),
    Foreign(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "str", "", "OTEL_EXPORTER_OTLP_ENDPOINT", _HTTP, _ENDPOINT,
        "The same, for spans only. It takes precedence over OTEL_EXPORTER_OTLP_ENDPOINT.", _no_endpoint,
    ),
    Foreign(
        "OTEL_EXPORTER_OTLP_INSECURE", "bool", "", "true for http://, else false", "true or false", "true",
        "Connect to the collector without TLS. An endpoint with https:// uses TLS in any case.",
        lambda text: text.lower() not in {"true", "false"},
    ),
    Foreign(
        "OTEL_EXPORTER_OTLP_CERTIFICATE", "Path", "", "the system's CAs", "a file that is there", "/etc/luxor/collector-ca.crt",
        "File of the CA that signed the collector's certificate, for an endpoint with https://.",
        lambda text: not Path(text).is_file(),
    ),
    Foreign(
        "OTEL_EXPORTER_OTLP_HEADERS", "str", "", "", "list of name=value, separated by commas", "x-tenant=luxor",
        "Headers that the collector requires. They may contain a secret and are never logged.",
        lambda text: any("=" not in part for part in text.split(",")),
    ),
    Foreign(
        "OTEL_EXPORTER_OTLP_TIMEOUT", "float", "seconds", "10", "number of at least 0", "5",
        "Longest duration of one export; spans that are not sent by then are dropped and counted.",
        lambda text: re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) is None,
    ),
)  # fmt: skip

_UNITS = {
    "SECONDS": "seconds",
    "MILLIS": "milliseconds",
    "MINUTES": "minutes",
    "DAYS": "days",
    "BYTES": "bytes",
    "RATIO": "share, 0 to 1",
    "PORT": "port",
}


def unit_of(variable: str) -> str:
    """Return the unit that a variable's name tells, "" where it is a plain number or no number."""
    words = [word for word in variable.split("_") if word not in {"MAX", "MIN"}]
    return _UNITS.get(words[-1], "") if words else ""


def variables() -> list[Variable]:
    """Return every known variable of the imported Settings classes, then those of others."""
    rows: list[Variable] = []
    for cls in REGISTRY:
        hints, meanings = typing.get_type_hints(cls), _docstrings(cls)
        for item in fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            meta = item.metadata.get("setting")
            if not isinstance(meta, Setting):
                continue
            if meta.derived:
                default = meta.derived
            elif item.default is MISSING:
                default = "required"
            else:
                default = _shown(item.default)
            kind = given_kind(hints[item.name])
            rows.append(
                Variable(
                    names_of(cls.service_name or "<SERVICE>", meta),
                    cls.service_name or "every",
                    kind.__name__ if isinstance(kind, type) else str(kind),
                    unit_of(meta.variable),
                    default,
                    bounds_of(meta),
                    meta.example,
                    meanings.get(item.name, ""),
                )
            )
    rows += [
        Variable((each.name,), "every", each.type, each.unit, each.default, each.bounds, each.example, each.meaning)
        for each in FOREIGN
    ]
    return rows


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def known_variables(service: str, *, own: bool = False) -> set[str]:
    """Return the names that somebody reads in a process of `service`; with `own`, only what the service itself reads there."""
    known = {each.name for each in FOREIGN}
    for cls in REGISTRY:
        if own and cls.service_name not in {"", service}:
            continue
        for item in fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            meta = item.metadata.get("setting")
            if isinstance(meta, Setting):
                known.update(names_of(cls.service_name or service, meta))
    return known


def unknown_variables(service: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the LUXOR_ variables that nobody reads, each with the known name that was meant most likely, or "".

    What begins with another service's name is that service's to judge and stays out, unless it is a near miss of a
    name that this service reads, such as a neighbour's target: the other one may run elsewhere and never see it.
    """
    known, own = known_variables(service), known_variables(service, own=True)
    others = {f"LUXOR_{other.upper()}_": other for other in PORTS if other != service}
    unknown: dict[str, str] = {}
    for key in sorted(key for key in environ if key.startswith("LUXOR_") and key not in known):
        prefix = next((each for each in others if key.startswith(each)), "")
        # Compared without the prefix that all of them share, which makes everything alike.
        read = {name.removeprefix(prefix): name for name in sorted(own) if name.startswith(prefix)}
        found = difflib.get_close_matches(key.removeprefix(prefix), list(read), 1, SIMILARITY_MIN)
        if not prefix or (found and key not in known_variables(others[prefix])):
            unknown[key] = read[found[0]] if found else ""
    return unknown


def check_foreign(environ: Mapping[str, str]) -> None:
    """Raise ConfigError for a variable of others whose value cannot be taken."""
    for each in FOREIGN:
        text = environ.get(each.name, "")
        if text and each.is_invalid(text):
            raise ConfigError(each.name, f"must be {each.bounds}", each.example)


def _docstrings(cls: type) -> dict[str, str]:
    """Return the docstring under each field, read from the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    out: dict[str, str] = {}
    for above, below in pairwise(body):
        if not (
            isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name) and isinstance(below, ast.Expr)
        ):
            continue
        if isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            out[above.target.id] = inspect.cleandoc(below.value.value)
    return out
