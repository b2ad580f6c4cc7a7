"""The refusal of calls with a revoked certificate, by the lists `ca.crl` of a TLS directory.

Each call looks whether the file changed, and then reads it again. So a revocation needs no restart, and applies to connections that are already open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509

from libs import telemetry
from libs.server.errors import Refusal
from libs.server.transport import tls
from libs.server.transport.revocation_lists import LIST_NAME, is_on, read_lists, serial_text
from libs.server.transport.tls import TlsError

CERTIFICATES_MAX: Final = 4096
"""Certificates of callers for which the answer is stored, at most."""

_Stamp = tuple[int, int, int, int]
"""What changes when a file is replaced, or may be read by others."""

_log = telemetry.get_logger()
_usable = telemetry.gauge(
    "luxor_revocation_list_usable",
    "1 if the list of revoked certificates applies or there is none; 0 if its file cannot be used or its next issue is overdue",
)


@dataclass(frozen=True, slots=True)
class _Lists:
    """What one state of the file states."""

    stamp: _Stamp | None = None
    """Of the file; None where there is none."""
    lists: tuple[x509.CertificateRevocationList, ...] = ()
    answers: dict[bytes, bool] = field(default_factory=dict)
    """Whether a certificate (PEM) is on one of them."""


class Revocations:
    """The revoked certificates of a TLS directory."""

    def __init__(self, directory: Path) -> None:
        """Take the TLS directory; nothing is read before it is needed."""
        self.path = directory / LIST_NAME
        self._roots = directory / "ca.crt"
        self._lists = _Lists()
        self._failed: tuple[_Stamp | None, _Stamp | None] | None = None
        self._cause = ""

    def read(self) -> None:
        """Read the file if it changed; raise TlsError if it cannot be used. No file: nothing is revoked."""
        stamp = _stamp(self.path)
        if stamp is not None and stamp != self._lists.stamp:
            self._lists = _Lists(stamp, read_lists(self.path, self._roots))
        elif stamp is None and self._lists.stamp is not None:
            raise TlsError(f"{self.path} does not exist any more. Put the list of revoked certificates there again.")

    def check(self, auth_context: Mapping[str, Iterable[bytes]]) -> None:
        """Raise Refusal CERTIFICATE_REVOKED if the certificate of a call is on a list; IDENTITY_MISSING if the call has none."""
        self._follow()
        lists = self._lists
        if not lists.lists:
            return
        pem = next(iter(auth_context.get("x509_pem_cert") or ()), b"")
        if not pem:
            raise Refusal("IDENTITY_MISSING")
        is_revoked = lists.answers.get(pem)
        if is_revoked is None:
            if len(lists.answers) >= CERTIFICATES_MAX:
                lists.answers.clear()
            is_revoked = lists.answers[pem] = is_on(_certificate(pem), lists.lists)
        if is_revoked:
            raise Refusal("CERTIFICATE_REVOKED", serial_number=serial_text(_certificate(pem).serial_number))

    def usable(self) -> bool:
        """Return whether the list that applies is the newest that there is, as far as this process can know."""
        self._follow()
        now = tls.utc_now()
        overdue = any(each.next_update_utc is not None and each.next_update_utc < now for each in self._lists.lists)
        return not overdue and not self._cause

    def observe(self) -> None:
        """Report `usable` as the metric of this process."""
        _usable.set_function(self.usable)

    def _follow(self) -> None:
        """Read a changed file; what cannot be used is logged once, and the last list applies."""
        stamp = _stamp(self.path)
        if stamp == self._lists.stamp:
            self._failed, self._cause = None, ""
            return
        # The list of an authority may be there before the authority is in `ca.crt`.
        state = stamp, _stamp(self._roots)
        if state == self._failed:
            return
        try:
            self.read()
        except TlsError as error:
            if str(error) != self._cause:
                _log.error("REVOCATION_LIST_UNUSABLE", error, path=str(self.path))
            self._cause = str(error)
            # A file that cannot be opened now may be opened by the next call, although nothing of it changed.
            self._failed = None if isinstance(error.__cause__, OSError) else state
        else:
            self._failed, self._cause = None, ""
            _log.info("REVOCATION_LIST_READ", path=str(self.path), certificates=sum(map(len, self._lists.lists)))


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError:
        return (0, 0, 0, 0)  # it cannot be read either, which is then reported
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size


@lru_cache(maxsize=CERTIFICATES_MAX)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)
