"""Settings: frozen dataclasses read from the environment once, checked, printable and listed in one registry.

A variable is `LUXOR_<SERVICE>_<NAME>`; a setting marked `shared` may also be given for all services at once as
`LUXOR_<NAME>`, and the service's own variable wins. A service declares its extra variables in a frozen dataclass of its
own:

    @dataclass(frozen=True, kw_only=True)
    class RiskConfig(Settings, service="risk"):
        rules_dir: Path = setting("RULES_DIR", default=Path("rules"), example="/etc/luxor/rules")
        \"\"\"Where the rule files are.\"\"\"

    config = RiskConfig.from_environ("risk", os.environ)
"""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from libs.server.config.error import ConfigError, shown

REGISTRY: list[type["Settings"]] = []
"""Every Settings class that was imported, in the order of import."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known about one variable beside its type and its docstring."""

    variable: str
    example: str
    shared: bool
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    secret: bool
    derive: Callable[[str, Mapping[str, Any], Mapping[str, str]], Any] | None
    derived: str
    common: bool
    check: Callable[[Any], str] | None
    former: str


def setting(
    variable: str,
    *,
    example: str,
    default: Any = MISSING,
    derive: Callable[[str, Mapping[str, Any], Mapping[str, str]], Any] | None = None,
    derived: str = "",
    shared: bool = False,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    common: bool = False,
    check: Callable[[Any], str] | None = None,
    former: str = "",
) -> Any:
    """Declare a field that is read from a variable.

    `variable` is the name without its prefix ("RULES_DIR"). Without `default` and `derive` it must be given.
    `derive(service, values so far, environ)` makes a default from the fields above it and `derived` says how in words.
    `low` and `high` are inclusive. `common`: only as `LUXOR_<NAME>`, the same for all services. `check(value)` says why
    a value that was given is wrong, "" where it is good. `former` is a name of an earlier release, which is read where no other is given.
    """
    meta = Setting(variable, example, shared, low, high, choices, secret, derive, derived, common, check, former)
    if default is MISSING:
        return field(metadata={"setting": meta})
    return field(default=default, metadata={"setting": meta})


class Settings:
    """Base of every configuration: a frozen dataclass whose fields are made by `setting`."""

    service_name: typing.ClassVar[str] = ""

    def __init_subclass__(cls, service: str = "", **extra: Any) -> None:
        """Enter the class in the registry; `service` empty means that every service has these variables."""
        super().__init_subclass__(**extra)
        cls.service_name = service
        REGISTRY.append(cls)

    @classmethod
    def from_environ(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Read and check all variables; raise ConfigError naming the first wrong or missing, why, an example."""
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        for item in fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            meta = item.metadata.get("setting")
            if not isinstance(meta, Setting):
                continue
            names = names_of(service, meta)
            name = next((candidate for candidate in names if environ.get(candidate, "") != ""), names[0])
            text = environ.get(name, "")
            if text != "":
                value = values[item.name] = _parse(name, text, hints[item.name], meta)
                why = meta.check(value) if meta.check is not None else ""
                if why:
                    raise ConfigError(name, why, meta.example)
            elif meta.derive is not None:
                values[item.name] = meta.derive(service, values, environ)
            elif item.default is not MISSING:
                values[item.name] = item.default
            else:
                raise ConfigError(name, "is not set and has no default", meta.example)
        return cls(**values)

    def shown(self) -> dict[str, str]:
        """Return the fields as text, secrets masked: what a service prints at start."""
        out: dict[str, str] = {}
        for item in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            meta = item.metadata.get("setting")
            value = getattr(self, item.name)
            out[item.name] = mask(str(value)) if isinstance(meta, Setting) and meta.secret else str(value)
        return out

    def __str__(self) -> str:
        """Return `Class(field=value, …)` with secrets masked."""
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in self.shown().items())})"

    __repr__ = __str__


def mask(text: str) -> str:
    """Return a secret fit for a log: of a URL all but the password and the query, of anything else nothing."""
    if "://" not in text:
        return "***" if text else ""
    parts = urlsplit(text)
    if parts.password is not None:
        host = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username or ''}:***@{host}")
    # A query may carry a password too (?password=…, ?host=…); nothing in it is needed in a log.
    return urlunsplit(parts._replace(query="***" if parts.query else ""))


def names_of(service: str, meta: Setting) -> tuple[str, ...]:
    """Return the variable's names as a service reads them, the one that wins first."""
    own, common = f"LUXOR_{service.upper()}_{meta.variable}", f"LUXOR_{meta.variable}"
    names = (common,) if meta.common else (own, common) if meta.shared else (own,)
    return (*names, f"LUXOR_{service.upper()}_{meta.former}") if meta.former else names


def _parse(name: str, text: str, kind: Any, meta: Setting) -> Any:
    kind = given_kind(kind)
    value: Any
    if kind is bool:
        lowered = text.strip().lower()
        if lowered not in _TRUE | _FALSE:
            raise ConfigError(name, f"must be true or false, not {shown(text)}", meta.example)
        return lowered in _TRUE
    if kind is int or kind is float:
        try:
            value = kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(name, f"must be {what}, not {shown(text)}", meta.example) from None
        low, high = meta.low, meta.high
        if value != value or (low is not None and value < low) or (high is not None and value > high):
            raise ConfigError(name, f"must be {bounds_of(meta)}, not {shown(text)[1:-1]}", meta.example)
        return value
    if kind is Path:
        return Path(text).expanduser()
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if meta.choices and text not in meta.choices:
        raise ConfigError(name, f"must be one of {', '.join(meta.choices)}, not {shown(text)}", meta.example)
    return text


def given_kind(kind: Any) -> Any:
    """Return the X of `X | None`: a value that is given is an X."""
    if isinstance(kind, types.UnionType):
        return next(member for member in typing.get_args(kind) if member is not type(None))
    return kind


def bounds_of(meta: Setting) -> str:
    """Return the bounds in words: what is taken, where a check decides."""
    if meta.check is not None:
        return (meta.check.__doc__ or "").partition("\n")[0].rstrip(".").lower()
    if meta.choices:
        return "one of " + ", ".join(meta.choices)
    if meta.low is not None and meta.high is not None:
        return f"{_plain(meta.low)} to {_plain(meta.high)}"
    if meta.low is not None:
        return f"at least {_plain(meta.low)}"
    return f"at most {_plain(meta.high)}" if meta.high is not None else ""


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
