"""Checks of settings: each returns the reason why a value is invalid, or "". Their docstrings state the bounds in the docs."""

import re
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from libs.server.config.error import ConfigError, shown

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_TARGET = re.compile(
    r"(dns:///)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}|(ipv4|ipv6):[0-9A-Fa-f:.,\[\]]+|unix:.+"
)
_DEPLOYMENT = re.compile(r"[a-z0-9._-]{1,255}")


def check_host(text: str) -> str:
    """An address or a name, or several separated by commas."""
    return check_hosts(tuple(part.strip() for part in text.split(",")))


def check_hosts(hosts: tuple[str, ...]) -> str:
    """Addresses or names, separated by commas."""
    wrong = next((each for each in hosts if not _HOST.fullmatch(each)), None)
    return "" if wrong is None else f"must be an address or a host's name without a port, not {shown(wrong)}"


def check_target(text: str) -> str:
    """A target of gRPC, as host:port behind dns:///."""
    return "" if _TARGET.fullmatch(text) else f"must be host:port, perhaps behind dns:///, not {shown(text)}"


def check_deployment(text: str) -> str:
    """Lower-case letters, digits, '.', '_' and '-', up to 255."""
    if _DEPLOYMENT.fullmatch(text):
        return ""
    return f"must be a SPIFFE trust domain: up to 255 lower-case letters, digits, '.', '_' and '-', not {shown(text)}"


def check_programs(path: Path) -> str:
    """A directory that has the program postgres."""
    return "" if (path / "postgres").exists() else f"names no directory with PostgreSQL's programs: {path}"


def check_file(path: Path) -> str:
    """A file that is there."""
    return "" if path.is_file() else f"names no file: {path}"


def check_existing_directory(path: Path) -> str:
    """A directory that is there."""
    return "" if path.is_dir() else f"names no directory: {path}"


def check_directory(path: Path) -> str:
    """A directory, there or still to be made."""
    try:
        return f"names a file, not a directory: {path}" if path.exists() and not path.is_dir() else ""
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"


def database_url(service: str, url_text: str, file: Path | None, ca: Path | None) -> str:
    """Return the URL of the service's own store, from its variable or its file, with the CA that it is verified by."""
    url, name = url_text, f"LUXOR_{service.upper()}_DATABASE_URL"
    if file is not None:
        if url:
            raise ConfigError(f"{name}_FILE", f"is set, and so is {name}; set one of them", "/run/secrets/store")
        try:
            url = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name}_FILE", f"cannot be read: {error}", "/run/secrets/store") from None
        name = f"{name}_FILE"
        if not url:
            raise ConfigError(name, "names an empty file", "/run/secrets/store")
    example = f"postgresql://luxor@db:5432/{service}"
    try:
        parts = urlsplit(url)
        for each in parts.netloc.rpartition("@")[2].split(","):  # several hosts: a primary and its standbys
            _ = urlsplit(f"//{each}").port
        is_valid = not url or parts.scheme in {"postgresql", "postgres"}
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigError(name, "is no URL of PostgreSQL", example)
    if ca is None or not url:
        return url
    query = parse_qs(parts.query)
    if query.get("sslmode", ["verify-full"]) != ["verify-full"] or "sslrootcert" in query:
        raise ConfigError(name, "has an sslmode or sslrootcert of its own beside LUXOR_DATABASE_CA", example)
    query.setdefault("sslmode", ["verify-full"])
    query["sslrootcert"] = [str(ca)]
    query_text = "&".join(f"{key}={quote(value, safe='')}" for key, values in query.items() for value in values)
    return urlunsplit(parts._replace(query=query_text))
