"""Revoked certificates: every call with one is refused, on an open connection too, and no other call is."""

import asyncio
import base64
import datetime
import errno
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from libs.server.errors import Refusal, reason_of
from libs.server.transport import revocation_lists, revocations, tls
from libs.server.transport.revocation_lists import revoke, serial_text
from libs.server.transport.revocations import Revocations
from libs.server.transport.tls import LocalCA, Party, TlsError, certificate_of
from libs.telemetry.metrics import REGISTRY

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REVOKED = (grpc.StatusCode.UNAUTHENTICATED, "CERTIFICATE_REVOKED")


def number(party: Party) -> int:
    return certificate_of(party.directory / "tls.crt").serial_number


def context(party: Party) -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [(party.directory / "tls.crt").read_bytes()]}


def is_refused(read: Revocations, party: Party) -> bool:
    try:
        read.check(context(party))
    except Refusal as refusal:
        return refusal.reason == "CERTIFICATE_REVOKED" and serial_text(number(party)) in refusal.sentence
    return False


async def outcome(call: Any) -> tuple[grpc.StatusCode, str]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code(), reason_of(error)
    return grpc.StatusCode.OK, ""


async def test_a_call_with_a_revoked_certificate_is_refused_on_the_same_connection_and_others_pass(
    start: Any, message: Any
) -> None:
    running = await start()
    authority: LocalCA = running.authority
    stolen = running.channel("filer", "acme")
    assert await outcome(running.method("Echo", stolen)(message(), timeout=5)) == (grpc.StatusCode.OK, "")
    first = number(authority.party("filer", "acme"))
    # A second certificate of the same filer, on a connection of its own.
    spare = LocalCA(authority.directory.parent / "spare", authority.deployment)
    spare.directory.mkdir()
    for name in ("ca.crt", "ca.key"):
        (spare.directory / name).write_bytes((authority.directory / name).read_bytes())
    other = running.channel("filer", "acme", spare)
    assert number(spare.party("filer", "acme")) != first
    revoke(authority, [first])
    assert await outcome(running.method("Echo", stolen)(message(), timeout=5)) == REVOKED
    assert (
        await outcome(stolen.unary_unary(HEALTH)(health_pb2.HealthCheckRequest().SerializeToString(), timeout=5))
        == REVOKED
    )
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    assert await outcome(stolen.stream_unary(REFLECTION)(iter([question]), timeout=5)) == REVOKED
    again = running.channel("filer", "acme")
    assert await outcome(running.method("Echo", again)(message(), timeout=5)) == REVOKED
    for fine in (other, running.channel("filer", "shop")):
        assert await outcome(running.method("Echo", fine)(message(), timeout=5)) == (grpc.StatusCode.OK, "")
        check = fine.unary_unary(HEALTH)(health_pb2.HealthCheckRequest().SerializeToString(), timeout=5)
        assert await outcome(check) == (grpc.StatusCode.OK, "")


async def test_a_long_poll_that_waits_while_its_certificate_is_revoked_gets_no_answer(start: Any, message: Any) -> None:
    running = await start()
    polls = [asyncio.ensure_future(outcome(running.method("Poll")(message(), timeout=20)))]
    await running.servicer.entered.wait()
    revoke(running.authority, [number(running.authority.party("filer", "acme"))])
    running.servicer.leave.set()
    assert await polls[0] == REVOKED


async def test_a_server_does_not_start_with_a_list_that_it_cannot_use(start: Any, tmp_path: Path) -> None:
    directory = tmp_path / "data" / "tls"
    LocalCA(directory).ensure()
    (directory / "ca.crl").write_bytes(b"nothing")
    with pytest.raises(TlsError, match=r"ca\.crl has something else than revocation lists in PEM"):
        await start()


def test_a_list_grows_and_names_each_certificate_once(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    parties = [authority.issue("filer", name) for name in ("one", "two", "three")]
    read = Revocations(tmp_path)
    assert [is_refused(read, each) for each in parties] == [False] * 3
    revoke(authority, [number(parties[0])])
    assert [is_refused(read, each) for each in parties] == [True, False, False]
    before = x509.load_pem_x509_crl(revoke(authority, [number(parties[1])]).read_bytes())
    assert [is_refused(read, each) for each in parties] == [True, True, False]
    after = x509.load_pem_x509_crl(revoke(authority, [number(parties[0])]).read_bytes())
    assert {each.serial_number: each.revocation_date_utc for each in after} == {
        each.serial_number: each.revocation_date_utc for each in before
    }
    assert len(after) == 2
    assert read.path.stat().st_mode & 0o077 == 0


def test_the_lists_of_two_authorities_stand_side_by_side(tmp_path: Path) -> None:
    """As while an authority is replaced: each serial number counts for its own issuer."""
    old, new = LocalCA(tmp_path / "old", "luxor"), LocalCA(tmp_path / "new", "luxor-2")
    parties = [each.issue("filer", "acme") for each in (old, new)]
    revoke(old, [number(parties[0])])
    both = tmp_path / "both"
    both.mkdir()
    (both / "ca.crt").write_bytes(new.ensure() + old.ensure())
    (both / "ca.key").write_bytes((tmp_path / "new" / "ca.key").read_bytes())
    (both / "ca.crl").write_bytes((tmp_path / "old" / "ca.crl").read_bytes())
    read = Revocations(both)
    assert [is_refused(read, each) for each in parties] == [True, False]
    # The serial number of the old authority's certificate, of the new authority.
    revoke(LocalCA(both), [number(parties[0])])
    assert (both / "ca.crl").read_bytes().count(b"BEGIN X509 CRL") == 2
    assert [is_refused(read, each) for each in parties] == [True, False]
    revoke(LocalCA(both), [number(parties[1])])
    assert [is_refused(read, each) for each in parties] == [True, True]
    revoke(new, [number(parties[1])])
    (both / "ca.crl").write_bytes((tmp_path / "new" / "ca.crl").read_bytes())
    assert [is_refused(read, each) for each in parties] == [False, True]


def _list(
    directory: Path, signer: LocalCA, *extensions: x509.ExtensionType, is_critical: bool = True
) -> x509.CertificateRevocationList:
    """Return an empty list in the name of the directory's authority with the signature of one."""
    (issuer, _), (_, key) = _made(LocalCA(directory)).signer(), _made(signer).signer()
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(tls.utc_now())
    for each in extensions:
        builder = builder.add_extension(each, critical=is_critical)
    return builder.next_update(issuer.not_valid_after_utc).sign(key, hashes.SHA256())


def _pem(content: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(content) + b"-----END X509 CRL-----\n"


def _unsigned(directory: Path) -> bytes:
    return _list(directory, LocalCA(directory.parent / "other")).public_bytes(tls.serialization.Encoding.PEM)


def _marked(extension: x509.ExtensionType, *, is_critical: bool = True) -> Any:
    def made(directory: Path) -> bytes:
        signed = _list(directory, LocalCA(directory), extension, is_critical=is_critical)
        return signed.public_bytes(tls.serialization.Encoding.PEM)

    return made


def _altered(old: bytes, new: bytes) -> Any:
    """Return a list with other bytes in its DER."""

    def made(directory: Path) -> bytes:
        der = _list(directory, LocalCA(directory)).public_bytes(tls.serialization.Encoding.DER)
        assert der.count(old) == 1
        return _pem(der.replace(old, new))

    return made


ONLY_AUTHORITIES = x509.IssuingDistributionPoint(None, None, False, True, None, False, False)
"""A list of certificates of authorities alone."""


def _foreign(directory: Path) -> bytes:
    return revoke(_made(LocalCA(directory.parent / "foreign", "elsewhere")), [1]).read_bytes()


def _made(authority: LocalCA) -> LocalCA:
    authority.ensure()
    return authority


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (lambda _: b"", "something else"),
        (lambda directory: (directory / "ca.crt").read_bytes(), "something else"),
        (lambda directory: _foreign(directory) + (directory / "ca.crt").read_bytes(), "something else"),
        (lambda _: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "no readable PEM"),
        (_foreign, "that no authority signed"),
        (_unsigned, "that no authority signed"),
        # What was revoked since the list before, and a list of some certificates: neither states all that are revoked.
        (_marked(x509.DeltaCRLIndicator(1)), r"not complete \(critical extension 2\.5\.29\.27\)"),
        (_marked(ONLY_AUTHORITIES), r"not complete \(critical extension 2\.5\.29\.28\)"),
        # A name that is no text, and a version that does not exist.
        (_altered(b"Luxor local CA", b"Luxor local \xff\xff"), "no readable PEM"),
        (_altered(b"\x02\x01\x010", b"\x02\x01\x090"), "no readable PEM"),
    ],
)
def test_a_list_that_cannot_be_used_leaves_the_last_one_in_force_and_is_reported(
    tmp_path: Path, content: Any, cause: str
) -> None:
    directory = tmp_path / "tls"
    authority = LocalCA(directory)
    parties = [authority.issue("filer", name) for name in ("one", "two")]
    good = revoke(authority, [number(parties[0])]).read_bytes()
    read = Revocations(directory)
    read.observe()
    assert (is_refused(read, parties[0]), read.usable()) == (True, True)
    tls.replace_file(read.path, content(directory))
    with pytest.raises(TlsError, match=cause):
        Revocations(directory).read()
    with pytest.raises(TlsError, match=cause):
        revoke(authority, [number(parties[1])])
    for _ in range(2):
        assert [is_refused(read, each) for each in parties] == [True, False]
        assert REGISTRY.get_sample_value("luxor_revocation_list_usable") == 0
    tls.replace_file(read.path, good)
    assert (is_refused(read, parties[0]), read.usable()) == (True, True)


def test_a_list_with_extensions_that_need_no_understanding_is_used(tmp_path: Path) -> None:
    (tmp_path / "ca.crl").write_bytes(_marked(x509.CRLNumber(7), is_critical=False)(tmp_path))
    Revocations(tmp_path).read()


def test_a_list_that_could_not_be_used_is_read_when_its_authority_is_there_or_it_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both without any change of the file itself: a list and its authority may arrive in either order."""
    authority = LocalCA(tmp_path / "tls")
    parties = [authority.issue("filer", name) for name in ("one", "two")]
    known = authority.ensure()
    read = Revocations(authority.directory)
    revoke(authority, [number(parties[0])])
    tls.replace_file(authority.directory / "ca.crt", _made(LocalCA(tmp_path / "new", "other")).ensure())
    assert [(is_refused(read, parties[0]), read.usable()) for _ in range(2)] == [(False, False)] * 2
    tls.replace_file(authority.directory / "ca.crt", known)
    assert (is_refused(read, parties[0]), read.usable()) == (True, True)
    revoke(authority, [number(parties[1])])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", _too_many_files)
        for _ in range(2):
            assert not read.usable()
    assert [is_refused(read, each) for each in parties] == [True, True]
    assert read.usable()


def _too_many_files(path: Path) -> bytes:
    raise OSError(errno.EMFILE, "Too many open files", str(path))


@pytest.mark.parametrize("serial_number", [-1, 0, 2**159])
def test_a_number_that_no_certificate_can_have_is_not_revoked(tmp_path: Path, serial_number: int) -> None:
    authority = _made(LocalCA(tmp_path))
    with pytest.raises(TlsError, match=r"is no serial number of RFC 5280"):
        revoke(authority, [1, serial_number])
    assert not (tmp_path / "ca.crl").exists()
    revoke(authority, [1, 2**159 - 1])


def test_a_list_that_does_not_exist_any_more_stays_in_force(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    party = authority.issue("filer", "one")
    read = Revocations(tmp_path)
    assert read.usable()
    revoke(authority, [number(party)])
    assert (is_refused(read, party), read.usable()) == (True, True)
    hidden = tmp_path / "hidden"
    os.rename(read.path, hidden)
    assert [(is_refused(read, party), read.usable()) for _ in range(2)] == [(True, False)] * 2
    os.rename(hidden, read.path)
    assert (is_refused(read, party), read.usable()) == (True, True)


def test_a_file_that_is_too_long_or_unreadable_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = LocalCA(tmp_path)
    authority.ensure()
    size = revoke(authority, [1]).stat().st_size
    monkeypatch.setattr(revocation_lists, "LIST_BYTES_MAX", size)
    Revocations(tmp_path).read()
    monkeypatch.setattr(revocation_lists, "LIST_BYTES_MAX", size - 1)
    with pytest.raises(TlsError, match=f"has {size} bytes; at most {size - 1} are read"):
        Revocations(tmp_path).read()
    monkeypatch.undo()
    (tmp_path / "ca.crl").unlink()
    (tmp_path / "ca.crl").mkdir()
    with pytest.raises(TlsError, match="Cannot read"):
        Revocations(tmp_path).read()


def test_a_list_with_an_overdue_next_issue_applies_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = LocalCA(tmp_path)
    party = authority.issue("filer", "one")
    ends = x509.load_pem_x509_certificate(authority.ensure()).not_valid_after_utc
    revoke(authority, [number(party)])
    read = Revocations(tmp_path)
    for seconds, usable in ((0, True), (1, False)):
        monkeypatch.setattr(tls, "utc_now", lambda seconds=seconds: ends + datetime.timedelta(seconds=seconds))
        assert (read.usable(), is_refused(read, party)) == (usable, True)


def test_a_call_without_a_certificate_is_refused_while_there_is_a_list(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    authority.ensure()
    read = Revocations(tmp_path)
    read.check({})
    revoke(authority, [1])
    with pytest.raises(Refusal, match="IDENTITY_MISSING"):
        read.check({})


def test_more_certificates_than_answers_are_stored_for_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "CERTIFICATES_MAX", 2)
    authority = LocalCA(tmp_path)
    parties = [authority.issue("filer", f"f{place}") for place in range(3)]
    revoke(authority, [number(parties[1])])
    read = Revocations(tmp_path)
    for _ in range(2):
        assert [is_refused(read, each) for each in parties] == [False, True, False]


def test_a_directory_without_the_key_of_an_authority_revokes_nothing(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    authority.ensure()
    (tmp_path / "ca.key").unlink()
    with pytest.raises(TlsError, match=r"no .*ca\.key to sign with\. Use the directory of the CA\."):
        revoke(authority, [1])
    assert not (tmp_path / "ca.crl").exists()


@pytest.mark.parametrize(("value", "text"), [(1, "01"), (0xABC, "0ABC"), (0xABCD, "ABCD")])
def test_a_serial_number_is_shown_as_openssl_prints_it(value: int, text: str) -> None:
    assert serial_text(value) == text
