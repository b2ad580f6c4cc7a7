"""Files that containers need before their first start: certificates, passwords and data directories, in a directory for each container.

    <directory>/authority/                 the CAs with their keys, passwords and secrets; mounted only by this job
    <directory>/<service>/                 tls/ (ca.crt, ca.crl, service/<service>/), database-url, store-ca.crt; risk's: secret
    <directory>/<service>-store/           tls/ (tls.crt, tls.key), password-<service>: read by PostgreSQL
    <directory>/store/                     the same for one server with all five databases
    <directory>/command-line/, load/       tls/ of the callers
    <directory>/grafana/                   admin-password

Only the account that this runs as can read the files; Grafana's directory is open to its group too, because Grafana runs as another
account. The public names of the services are stored with the authority, because a renewal months later needs them again. Existing files
stay, certificates that end within a month are replaced, and services load them automatically; so it may be run at any time.

Stores have a CA of their own, so a store's certificate gives no access to a service.
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
from libs.server.transport.revocation_lists import LIST_NAME
from libs.server.transport.tls import LocalCA, Party, TlsError, replace_file
from libs.telemetry.logs import get_logger

CALLERS: Final = {
    "command-line": ("filer", "carrier", "officer", "analyst", "operator"),
    "load": ("filer", "carrier", "analyst"),
}
"""Roles of callers, by directory."""

RETRY_SECONDS: Final = 600.0
SECRET_BYTES: Final = 32

_log = get_logger()


@dataclass
class Prepared:
    """Result of a run."""

    written: list[str] = field(default_factory=list)
    """New or changed files, below the directory."""
    unchanged: int = 0
    """Number of files that did not change."""


def prepare(directory: Path, *, deployment: str = "luxor", public_hosts: Sequence[str] = ()) -> Prepared:
    """Update every directory; `public_hosts` are the public names of the host of the published ports.

    Without any, the stored names of an earlier run are used. Two runs at once wait for each other. Raises TlsError or OSError if a file
    cannot be read or written.
    """
    work = _Work(directory, deployment)
    with work.locked():
        work.remember(public_hosts)
        return _all(work)


def prepare_regularly(
    directory: Path,
    *,
    deployment: str,
    public_hosts: Sequence[str],
    hours: float,
    heartbeat: Path | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Prepare again every `hours`, without end; update `heartbeat` after each successful run.

    A failure is logged, and the run is repeated within ten minutes; the certificates are valid for another month.
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
                _log.info("CERTIFICATE_RENEWED", files=len(done.written), kept=done.unchanged)
            if heartbeat is not None:
                heartbeat.touch()
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
    def locked(self) -> Iterator[None]:
        """Lock the directory against other runs."""
        descriptor = os.open(self.authority / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def remember(self, public_hosts: Sequence[str]) -> None:
        """Store the given public names, or load the stored ones."""
        path = self.authority / "public-hosts"
        if public_hosts:
            self._write(path, "".join(f"{each}\n" for each in public_hosts).encode())
        self.public_hosts = tuple(path.read_text().split()) if path.exists() else ()

    def service(self, service: str) -> None:
        """Write the certificate of a service, the URL of its store, and the CA of stores."""
        place = self.directory_of(service)
        hosts = ["localhost", "127.0.0.1", "::1", service, f"{service}-grpc", f"{service}-outside", *self.public_hosts]
        self._party(place / "tls", self.people.issue("service", service, hosts))
        self._write(place / "store-ca.crt", self.stores.ensure())
        password = quote(self.password(service), safe="")
        url = f"postgresql://luxor_{service}:{password}@{service}-store-postgres:5432/luxor_{service}\n"
        self._write(place / "database-url", url.encode())

    def store(self, store: str, services: Sequence[str]) -> None:
        """Write the certificate of a store, with its name in every network, and the passwords of its users."""
        place = self.directory_of(store)
        party = self.stores.issue("store", store, ["localhost", *(f"{each}-store-postgres" for each in services)])
        for name in ("tls.key", "tls.crt"):  # the key first, as the CA does
            self._write(place / "tls" / name, (party.directory / name).read_bytes())
        for service in services:
            self._write(place / f"password-{service}", f"{self.password(service)}\n".encode())

    def secret(self, service: str) -> None:
        """Write the secret of a service's keyed hashes as a line of hex; generate it at the first call."""
        path = self.authority / "secrets" / service
        if not path.exists():
            self._write(path, f"{secrets.token_hex(SECRET_BYTES)}\n".encode())
        self._write(self.directory_of(service) / "secret", path.read_bytes())

    def caller(self, name: str, roles: Sequence[str]) -> None:
        """Write the certificates of a caller, one for each role."""
        place = self.directory_of(name)
        for role in roles:
            self._party(
                place / "tls", self.people.issue(role, IDS[role] if name == "command-line" else f"{name}-{role}")
            )

    def grafana(self) -> None:
        """Write the password of Grafana's administrator, readable by the group of this account."""
        place = self.directory_of("grafana", mode=0o750)
        self._write(place / "admin-password", self.password("grafana").encode())
        (place / "admin-password").chmod(0o640)

    def password(self, service: str) -> str:
        """Return the password of a service's user in its store, or of Grafana's administrator; generate it at the first call."""
        path = self.authority / "passwords" / service
        if not path.exists():
            self._write(path, secrets.token_urlsafe(24).encode())
        return path.read_text()

    def directory_of(self, name: str, mode: int = 0o700) -> Path:
        """Return a directory, created with `mode`."""
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
        revoked = party.roots.with_name(LIST_NAME)
        if revoked.exists():
            self._write(tls / LIST_NAME, revoked.read_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        """Replace a file atomically if its content differs."""
        if path.exists() and path.read_bytes() == content:
            self.done.unchanged += 1
            return
        for parent in reversed(path.relative_to(self.base).parents):
            (self.base / parent).mkdir(mode=0o700, exist_ok=True)
        replace_file(path, content)
        self.done.written.append(str(path.relative_to(self.base)))
