"""Lists of revoked certificates: what `luxor certificate revoke` writes, and what a service reads.

A file of them is a certificate revocation list in PEM, one of each authority that has revoked any, one after the other. Source: RFC 5280, section 5.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from libs.server.transport import tls
from libs.server.transport.tls import LocalCA, TlsError, replace_file

LIST_NAME: Final = "ca.crl"
LIST_BYTES_MAX: Final = 64 * 1024 * 1024
"""A longer file is refused: it is read into memory."""
SERIAL_END: Final = 2**159
"""Serial numbers are below: RFC 5280 gives them 20 bytes, of which the first bit is the sign."""
_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


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
        for each in read_lists(path, authority.directory / "ca.crt") if path.exists() else ():
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


def read_lists(path: Path, roots: Path) -> tuple[x509.CertificateRevocationList, ...]:
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


def is_on(certificate: x509.Certificate, lists: Iterable[x509.CertificateRevocationList]) -> bool:
    """Return whether a certificate is on a list of its issuer."""
    number = certificate.serial_number
    return any(
        each.issuer == certificate.issuer and each.get_revoked_certificate_by_serial_number(number) is not None
        for each in lists
    )
