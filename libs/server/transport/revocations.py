"""Revoked certificates: the lists `ca.crl` of a TLS directory, and the refusal of calls with a certificate that is on one.

A list is a certificate revocation list in PEM, one of each authority that has revoked any, one after the other. Each call looks whether the file
changed, and then reads it again. So a revocation needs no restart, and applies to connections that are already open.

Source: RFC 5280, section 5.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from libs import telemetry
from libs.server.errors import Refusal
from libs.server.transport import tls
from libs.server.transport.tls import LocalCA, TlsError, replace_file

LIST_NAME: Final = "ca.crl"
LIST_BYTES_MAX: Final = 64 * 1024 * 1024
"""A longer file is refused: it is read into memory."""
SERIAL_END: Final = 2**159
"""Serial numbers are below: RFC 5280 gives them 20 bytes, of which the first bit is the sign."""
CERTIFICATES_MAX: Final = 4096
"""Certificates of callers for which the answer is stored, at most."""
_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)

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
            self._lists = _Lists(stamp, _parsed(self.path, self._roots))
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
            is_revoked = lists.answers[pem] = _is_on(_certificate(pem), lists.lists)
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


def revoke(authority: LocalCA, serial_numbers: Iterable[int]) -> Path:
    """Add certificates of the local CA to its list, and return the list's file. Those that are on it stay as they are.

    Raise TlsError if the directory has no key of a CA, or a list that cannot be used, or for a number that no list can have.
    """
    path = authority.directory / LIST_NAME
    serial_numbers = list(serial_numbers)
    for number in serial_numbers:
        if not 0 < number < SERIAL_END:
            raise TlsError(f"{serial_text(number)} is no serial number of RFC 5280. Name that of the certificate.")
    with authority.locked():
        issuer, key = authority.signer()
        now = tls.utc_now()
        others: list[x509.CertificateRevocationList] = []
        entries: dict[int, x509.RevokedCertificate] = {}
        for each in _parsed(path, authority.directory / "ca.crt") if path.exists() else ():
            if each.issuer == issuer.subject and each.is_signature_valid(key.public_key()):
                entries |= {entry.serial_number: entry for entry in each}
            else:
                others.append(each)
        for number in serial_numbers:
            if number not in entries:
                builder = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now)
                entries[number] = builder.build()
        signed = _signed(issuer, key, entries.values(), now)
        replace_file(path, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (signed, *others)))
    return path


def serial_text(number: int) -> str:
    """Return a serial number as `openssl x509 -serial` prints it: digits of base 16, two for each byte."""
    text = f"{number:X}"
    return text.zfill(len(text) + len(text) % 2)


def _signed(
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    entries: Iterable[x509.RevokedCertificate],
    now: datetime.datetime,
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - tls.BACKDATED)
        # The local CA issues a list when something changes, so no next one is ever due.
        .next_update(issuer.not_valid_after_utc)
        .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    for each in entries:
        builder = builder.add_revoked_certificate(each)
    return builder.sign(key, hashes.SHA256())


def _parsed(path: Path, roots: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the lists of a file; raise TlsError if one of them is unreadable or not signed by an authority in `roots`."""
    cure = f"Put a list there that an authority in {roots} signed; `luxor certificate revoke` writes one."
    try:
        size = path.stat().st_size
        if size > LIST_BYTES_MAX:
            raise TlsError(
                f"{path} has {size} bytes; at most {LIST_BYTES_MAX} are read. Remove certificates that ended."
            )
        text = path.read_bytes()
        authorities = x509.load_pem_x509_certificates(roots.read_bytes())
        lists = tuple(x509.load_pem_x509_crl(each) for each in _PEM.findall(text))
        if not lists or text.count(b"-----BEGIN") != len(lists):
            raise TlsError(f"{path} has something else than revocation lists in PEM. {cure}")
        for each in lists:
            _check(each, authorities, f"{path} has a list of {each.issuer.rfc4514_string()}", cure)
    except OSError as error:
        raise TlsError(f"Cannot read {error.filename}: {error.strerror}. {cure}") from error
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        # Names and extensions are read only here, and may be malformed in a list whose form is right.
        raise TlsError(f"{path} or {roots} has no readable PEM: {error}. {cure}") from error
    return lists


def _check(
    each: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate], where: str, cure: str
) -> None:
    """Raise TlsError if a list is not signed by one of the authorities, or does not state all that its issuer revoked."""
    if not any(_is_signed_by(each, authority) for authority in authorities):
        raise TlsError(f"{where} that no authority signed. {cure}")
    # RFC 5280, section 5.2: a list with a critical extension that is not understood must not be used. Such extensions mark changes of an
    # earlier list, and lists of only some certificates: a certificate that is not on them may be revoked.
    if critical := [extension.oid.dotted_string for extension in each.extensions if extension.critical]:
        raise TlsError(f"{where} that is not complete (critical extension {', '.join(critical)}). {cure}")


def _is_signed_by(signed: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if signed.issuer != authority.subject:
        return False
    try:
        return signed.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # another kind of key raises TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _is_on(certificate: x509.Certificate, lists: Iterable[x509.CertificateRevocationList]) -> bool:
    number = certificate.serial_number
    return any(
        each.issuer == certificate.issuer and each.get_revoked_certificate_by_serial_number(number) is not None
        for each in lists
    )


@lru_cache(maxsize=CERTIFICATES_MAX)
def _certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)
