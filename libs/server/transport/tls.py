"""Certificates: a local CA made at the first start, SPIFFE ids, and credentials that follow renewed files.

Layout of a TLS directory (directories 0700, files 0600):

    ca.crt                      what is trusted; several certificates while a CA is being replaced
    ca.key                      the local CA's key; absent where somebody else issues
    ca.crl                      revoked certificates, if there are any (libs.server.transport.revocation_lists)
    <role>/<id>/tls.crt, tls.key

Source: SPIFFE X.509-SVID (one URI SAN, spiffe://<trust domain>/<path>), RFC 5280.
"""

import datetime
import fcntl
import ipaddress
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libs.server import identity

BACKDATED = datetime.timedelta(hours=1)
"""Certificates start this long ago, so that hosts with late clocks accept them immediately."""

CA_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=90)
RENEWED_WITHIN = LEAF_LIFETIME / 3
"""A certificate with a shorter remaining validity is replaced."""
OVERDUE_WITHIN = RENEWED_WITHIN / 2
"""With a shorter remaining validity, the renewal by the other party is overdue."""
PAIR_SECONDS_MAX = 0.5
"""How long a key that does not belong to the certificate beside it may be one that is just being issued."""


class TlsError(Exception):
    """Certificates are missing, do not fit together or cannot be made; says where and what to do."""

    reason = "CERTIFICATE_UNUSABLE"


class IdentityMalformed(TlsError):
    """A certificate is asked for an identity that no service would accept."""

    reason = "IDENTITY_MALFORMED"


class _Unfit(TlsError):
    """The key is not the certificate's."""


@dataclass(frozen=True, slots=True)
class Material:
    """One party's certificate chain and key with what it trusts, all PEM."""

    certificates: bytes
    key: bytes
    roots: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a client."""
        return grpc.ssl_channel_credentials(self.roots, self.key, self.certificates)


@dataclass(frozen=True, slots=True)
class Party:
    """Where one party's files are; `load` reads what stands there now."""

    directory: Path
    """Holds tls.crt and tls.key."""

    roots: Path
    """The file of trusted certificates."""

    def load(self) -> Material:
        """Read the files; raise TlsError where one is missing or the key is not the certificate's.

        Another process may be issuing anew and have written the key and not yet the certificate, so a pair that does not
        fit is read again for `PAIR_SECONDS_MAX`.
        """
        ends_at = time.monotonic() + PAIR_SECONDS_MAX
        while True:
            try:
                return self._read()
            except _Unfit:
                if time.monotonic() > ends_at:
                    raise
            time.sleep(0.01)

    def _read(self) -> Material:
        try:
            certificates = (self.directory / "tls.crt").read_bytes()
            key = (self.directory / "tls.key").read_bytes()
            roots = self.roots.read_bytes()
        except OSError as error:
            cure = "Issue a certificate (`luxor up` does) or set LUXOR_TLS_DIR."
            raise TlsError(f"Cannot read {error.filename}: {error.strerror}. {cure}") from error
        try:
            public = x509.load_pem_x509_certificate(certificates).public_key()
            fits = serialization.load_pem_private_key(key, None).public_key() == public
            x509.load_pem_x509_certificates(roots)
        except (ValueError, TypeError) as error:
            raise TlsError(
                f"{self.directory} or {self.roots} has no readable PEM: {error}. Issue a new certificate."
            ) from error
        if not fits:
            raise _Unfit(f"{self.directory}/tls.key does not belong to tls.crt beside it. Issue a new certificate.")
        return Material(certificates, key, roots)

    def expires_at(self) -> float:
        """Return when the certificate ends, seconds since 1970-01-01 UTC; 0 where it cannot be read."""
        try:
            certificate = x509.load_pem_x509_certificate((self.directory / "tls.crt").read_bytes())
        except (OSError, ValueError):
            return 0.0
        return certificate.not_valid_after_utc.timestamp()

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is replaced; cheap enough for every handshake."""
        paths = (self.directory / "tls.crt", self.directory / "tls.key", self.roots)
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in map(os.stat, paths))


class LocalCA:
    """The certificate authority of one data directory; any number of processes may use it at once."""

    def __init__(self, directory: Path, deployment: str = "luxor") -> None:
        """Take the TLS directory and the trust domain; nothing is made before it is needed."""
        self.directory = directory
        self.deployment = deployment

    def ensure(self) -> bytes:
        """Make the CA where there is none and return its certificate (PEM); raise TlsError where it cannot be made."""
        certificate = self.directory / "ca.crt"
        if certificate.exists():
            return certificate.read_bytes()
        with self.locked():
            if not certificate.exists():  # another process may have been first
                self._make()
        return certificate.read_bytes()

    def party(self, role: str, ident: str) -> Party:
        """Return where a party's files are or would be; raise IdentityMalformed for what is no role or no id."""
        if not identity.is_id(role) or not identity.is_id(ident):
            raise IdentityMalformed(f"{role}/{ident} cannot be an identity. Role and id have {identity.ID_FORM}.")
        return Party(self.directory / role / ident, self.directory / "ca.crt")

    def issue(self, role: str, ident: str, hosts: Sequence[str] = (), *, renew: bool = False) -> Party:
        """Return the party, its certificate valid for a month at least and naming `hosts`; make one where needed.

        `hosts` are DNS names and IP addresses; a party with hosts may serve, one without may only call. `renew` issues
        anew in any case. Raise TlsError where a certificate is needed and this directory has no CA key.
        """
        self.ensure()
        party = self.party(role, ident)
        if not renew and self._lasts(party, hosts):
            return party
        with self.locked():
            if renew or not self._lasts(party, hosts):
                self._issue(party, role, ident, hosts)
        return party

    def _lasts(self, party: Party, hosts: Sequence[str]) -> bool:
        try:
            material = party.load()
        except TlsError:
            return False
        certificate = x509.load_pem_x509_certificate(material.certificates)
        if certificate.not_valid_after_utc - utc_now() < RENEWED_WITHIN:
            return self._without_key(certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(_alternatives(hosts)) <= set(names) or not (self.directory / "ca.key").exists()

    def _without_key(self, certificate: x509.Certificate) -> bool:
        """Return whether an old certificate remains in use: only if another party issues them and it is still valid."""
        return not (self.directory / "ca.key").exists() and certificate.not_valid_after_utc > utc_now()

    @staticmethod
    def overdue(party: Party) -> float | None:
        """Return the remaining days of a certificate whose renewal is overdue, or None."""
        left = party.expires_at() - utc_now().timestamp()
        return left / 86_400 if left < OVERDUE_WITHIN.total_seconds() else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory's lock against other processes and threads."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise TlsError(
                f"Cannot write {error.filename}: {error.strerror}. Set LUXOR_TLS_DIR to a directory of your own."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Luxor local CA {self.deployment}")])
        now = utc_now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{self.deployment}")]),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        # The key first: a process that sees ca.crt may sign immediately.
        replace_file(self.directory / "ca.key", _pem(key))
        replace_file(self.directory / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))

    def signer(self, cure: str = "Use the directory of the CA.") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Return the CA's certificate and key; raise TlsError with a cure where the directory has no key."""
        try:
            authority = serialization.load_pem_private_key((self.directory / "ca.key").read_bytes(), None)
        except OSError as error:
            raise TlsError(f"There is no {self.directory}/ca.key to sign with. {cure}") from error
        assert isinstance(authority, ec.EllipticCurvePrivateKey), "the local CA's key is made above"
        return x509.load_pem_x509_certificate((self.directory / "ca.crt").read_bytes()), authority

    def _issue(self, party: Party, role: str, ident: str, hosts: Sequence[str]) -> None:
        issuer, authority = self.signer(f"Put {party.directory}/tls.crt and tls.key there, or the CA's key.")
        key = ec.generate_private_key(ec.SECP256R1())
        uri = x509.UniformResourceIdentifier(f"spiffe://{self.deployment}/{role}/{ident}")
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])
        now = utc_now()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ident)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(min(now + LEAF_LIFETIME, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName([uri, *_alternatives(hosts)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .sign(authority, hashes.SHA256())
        )
        for directory in (party.directory.parent, party.directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(party.directory / "tls.key", _pem(key))
        replace_file(party.directory / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM))


def certificate_of(path: Path) -> x509.Certificate:
    """Return the certificate of a file; raise TlsError if it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise TlsError(f"Cannot read {path}: {error.strerror}. Name the file or the serial number.") from error
    except ValueError as error:
        raise TlsError(f"{path} has no readable certificate in PEM: {error}. Name another file.") from error


def server_hosts(service: str, extra_hosts: Sequence[str] = ()) -> list[str]:
    """Return what a service's certificate names: local names and addresses, the host's, the service's, and `extra_hosts`."""
    return list(
        dict.fromkeys(
            ["localhost", "127.0.0.1", "::1", service, f"luxor-{service}", socket.gethostname(), *extra_hosts]
        )
    )


def server_credentials(party: Party) -> grpc.ServerCredentials:
    """Return credentials that require a client certificate and take replaced files up at the next handshake.

    Files that do not fit together (a key written a moment before its certificate) leave the former ones in use.
    """
    lock = threading.Lock()
    stamp = party.stamp()
    used = _configuration(party.load())

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # gRPC's core calls this from its own threads, once a handshake.
        nonlocal stamp
        with lock:
            try:
                found = party.stamp()
                if found == stamp:
                    return None
                fresh = _configuration(party.load())
            except (OSError, TlsError):
                return None
            stamp = found
            return fresh

    # None means "as before"; the stubs do not know it.
    fetcher = cast(Callable[[], grpc.ServerCertificateConfiguration], fetch)
    return grpc.dynamic_ssl_server_credentials(used, fetcher, require_client_authentication=True)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.certificates)], material.roots)


def _alternatives(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file in one step, 0600 from its first byte, and on disk before it has its name."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def utc_now() -> datetime.datetime:
    """Return the time, UTC."""
    return datetime.datetime.now(datetime.UTC)
