"""What containers need before their first start: certificates, passwords and the places for data, a directory for each of them.

    <directory>/authority/                 the CAs with their keys, passwords and secrets; mounted by this job alone
    <directory>/<service>/                 tls/ (ca.crt, service/<service>/), database-url, store-ca.crt; risk's: secret
    <directory>/<service>-store/           tls/ (tls.crt, tls.key), password-<service>: what PostgreSQL reads
    <directory>/store/                     the same for one server with all five databases
    <directory>/command-line/, load/       tls/ of those who call
    <directory>/grafana/                   admin-password

Everything is closed to all but the account that this runs as; Grafana's directory is open to its group as well, since Grafana
runs as an account of its own. The names that the world calls the services by are kept with the authority: a renewal months later
needs them again, and whoever starts it may not know them. What is there already stays, certificates that end within a
month are made anew, and services take them up by themselves; so it may be run at any time.

Stores have a CA of their own: what a store holds opens no service's door.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from libs.cli.common import IDS
from libs.cli.local.state import SERVICES
from libs.server.transport.tls import LocalCA, Party, TlsError, replace_file
from libs.telemetry.logs import get_logger

CALLERS: Final = {
    "command-line": ("filer", "carrier", "officer", "analyst", "operator"),
    "load": ("filer", "carrier", "analyst"),
}
"""Roles of those who call, by directory."""

RETRY_SECONDS: Final = 600.0
SECRET_BYTES: Final = 32

_log = get_logger()


@dataclass
class Prepared:
    """What was done."""

    written: list[str] = field(default_factory=list)
    """Files that are new or other than before, below the directory."""
    kept: int = 0
    """Files that were as they should be."""


def prepare(directory: Path, *, deployment: str = "luxor", public_hosts: Sequence[str] = ()) -> Prepared:
    """Bring every directory up to date; `public_hosts` are what the world calls the published ports' host.

    Without any, those of the last run that was given some count. Two runs at once wait for each other. Raise TlsError or OSError
    where something cannot be read or written.
    """
    work = _Work(directory, deployment)
    with work.alone():
        work.remember(public_hosts)
        return _all(work)


def keep_prepared(
    directory: Path,
    *,
    deployment: str,
    public_hosts: Sequence[str],
    hours: float,
    mark: Path | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Prepare again every `hours`, for ever; touch `mark` after each run that did its work.

    A run that fails is told and tried again within ten minutes: the certificates last another month.
    """
    while True:
        seconds = hours * 3600
        try:
            done = prepare(directory, deployment=deployment, public_hosts=public_hosts)
        except (TlsError, OSError) as error:
            _log.error("CERTIFICATE_NOT_RENEWED", error)
            seconds = min(seconds, RETRY_SECONDS)
        else:
            if done.written:
                _log.info("CERTIFICATE_RENEWED", files=len(done.written), kept=done.kept)
            if mark is not None:
                mark.touch()
        pause(seconds)


def _all(work: "_Work") -> Prepared:
    for service in SERVICES:
        work.service(service)
        work.store(f"{service}-store", [service])
        work.directory_of(f"{service}-data")
    work.secret("risk")
    work.store("store", list(SERVICES))
    work.directory_of("data")
    for name, roles in CALLERS.items():
        work.caller(name, roles)
    work.grafana()
    return work.done


class _Work:
    def __init__(self, directory: Path, deployment: str) -> None:
        self.base = directory
        self.public_hosts: tuple[str, ...] = ()
        self.done = Prepared()
        self.authority = self.directory_of("authority")
        self.people = LocalCA(self.authority / "luxor", deployment)
        self.stores = LocalCA(self.authority / "stores", f"{deployment}-stores")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the directory against other runs."""
        descriptor = os.open(self.authority / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def remember(self, public_hosts: Sequence[str]) -> None:
        """Keep the public names that are given, or take those that were kept."""
        path = self.authority / "public-hosts"
        if public_hosts:
            self._write(path, "".join(f"{each}\n" for each in public_hosts).encode())
        self.public_hosts = tuple(path.read_text().split()) if path.exists() else ()

    def service(self, service: str) -> None:
        """Certificate of a service, how it reaches its store, and what it knows the store by."""
        place = self.directory_of(service)
        hosts = ["localhost", "127.0.0.1", "::1", service, f"{service}-grpc", f"{service}-outside", *self.public_hosts]
        self._party(place / "tls", self.people.issue("service", service, hosts))
        self._write(place / "store-ca.crt", self.stores.ensure())
        password = quote(self.password(service), safe="")
        url = f"postgresql://luxor_{service}:{password}@{service}-store-postgres:5432/luxor_{service}\n"
        self._write(place / "database-url", url.encode())

    def store(self, store: str, services: Sequence[str]) -> None:
        """Certificate of a store, which names every network's name for it, and the passwords of its users."""
        place = self.directory_of(store)
        party = self.stores.issue("store", store, ["localhost", *(f"{each}-store-postgres" for each in services)])
        for name in ("tls.key", "tls.crt"):  # the key first, as the CA does
            self._write(place / "tls" / name, (party.directory / name).read_bytes())
        for service in services:
            self._write(place / f"password-{service}", f"{self.password(service)}\n".encode())

    def secret(self, service: str) -> None:
        """The random bytes that a service makes keys of persons from, as a line of hex, made at the first call."""
        path = self.authority / "secrets" / service
        if not path.exists():
            self._write(path, f"{secrets.token_hex(SECRET_BYTES)}\n".encode())
        self._write(self.directory_of(service) / "secret", path.read_bytes())

    def caller(self, name: str, roles: Sequence[str]) -> None:
        """Certificates of who calls, one for each role."""
        place = self.directory_of(name)
        for role in roles:
            self._party(
                place / "tls", self.people.issue(role, IDS[role] if name == "command-line" else f"{name}-{role}")
            )

    def grafana(self) -> None:
        """The password of Grafana's administrator, which Grafana reads as a member of this account's group."""
        place = self.directory_of("grafana", mode=0o750)
        self._write(place / "admin-password", self.password("grafana").encode())
        (place / "admin-password").chmod(0o640)

    def password(self, service: str) -> str:
        """The password of a service's user at its store, or of Grafana's administrator, made at the first call."""
        path = self.authority / "passwords" / service
        if not path.exists():
            self._write(path, secrets.token_urlsafe(24).encode())
        return path.read_text()

    def directory_of(self, name: str, mode: int = 0o700) -> Path:
        """A directory that only this account may enter, unless `mode` says otherwise."""
        path = self.base / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)
        return path

    def _party(self, tls: Path, party: Party) -> None:
        own = tls / party.directory.parent.name / party.directory.name
        self._write(own / "tls.key", (party.directory / "tls.key").read_bytes())
        self._write(own / "tls.crt", (party.directory / "tls.crt").read_bytes())
        self._write(tls / "ca.crt", party.roots.read_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        """Replace a file in one step where its content is another one."""
        if path.exists() and path.read_bytes() == content:
            self.done.kept += 1
            return
        for parent in reversed(path.relative_to(self.base).parents):
            (self.base / parent).mkdir(mode=0o700, exist_ok=True)
        replace_file(path, content)
        self.done.written.append(str(path.relative_to(self.base)))
