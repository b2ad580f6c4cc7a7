"""Certificates: the local CA, who may connect, and renewal without a restart."""

import asyncio
import datetime
import socket
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.server.errors import Refusal
from libs.server.transport.channel import channel, explain_unavailable, invoke
from libs.server.transport.tls import LEAF_LIFETIME, LocalCA, Material, Party, TlsError, server_hosts

ISSUE = """
import sys, pathlib
from libs.server.transport.tls import LocalCA
ca = LocalCA(pathlib.Path(sys.argv[1]))
sys.stdin.readline()
ca.issue("service", sys.argv[2], ["localhost"])
ca.issue("service", "shared", ["localhost"])
"""


def certificate(party: Party) -> x509.Certificate:
    return x509.load_pem_x509_certificate(party.load().certificates)


def test_five_processes_that_start_at_once_make_one_ca(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    started = [
        subprocess.Popen([sys.executable, "-c", ISSUE, str(directory), f"s{number}"], stdin=subprocess.PIPE)
        for number in range(5)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
        assert process.returncode == 0
    authority = LocalCA(directory)
    roots = x509.load_pem_x509_certificates(authority.ensure())
    assert len(roots) == 1
    for ident in ("s0", "s1", "s2", "s3", "s4", "shared"):
        certificate(authority.party("service", ident)).verify_directly_issued_by(roots[0])


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path / "tls")
    authority.issue("filer", "acme")
    for path in (tmp_path / "tls").rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_a_certificate_bears_its_spiffe_id_and_hosts_and_is_backdated(tmp_path: Path) -> None:
    issued = certificate(LocalCA(tmp_path, "nordland").issue("service", "risk", ["risk.example", "10.0.0.7"]))
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://nordland/service/risk"]
    assert names.get_values_for_type(x509.DNSName) == ["risk.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    age = datetime.datetime.now(datetime.UTC) - issued.not_valid_before_utc
    assert datetime.timedelta(minutes=59) < age < datetime.timedelta(minutes=61)


def test_a_party_without_hosts_cannot_serve(tmp_path: Path) -> None:
    usage = certificate(LocalCA(tmp_path).issue("filer", "acme")).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(usage.value) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_certificate_is_kept_until_a_month_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = LocalCA(tmp_path)
    first = certificate(authority.issue("filer", "acme")).serial_number
    now = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda: now + LEAF_LIFETIME / 2)
    assert certificate(authority.issue("filer", "acme")).serial_number == first
    monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda: now + LEAF_LIFETIME * 0.7)
    assert certificate(authority.issue("filer", "acme")).serial_number != first


def test_a_certificate_that_somebody_else_should_have_renewed_is_noticed_half_a_month_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = LocalCA(tmp_path)
    party = authority.issue("service", "risk", ["localhost"])
    (tmp_path / "ca.key").unlink()
    now = datetime.datetime.now(datetime.UTC)
    for days, told in ((0, None), (61, None), (80, 10.0), (91, -1.0)):
        monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda days=days: now + datetime.timedelta(days=days))
        left = authority.overdue(party)
        assert left == (None if told is None else pytest.approx(told, abs=0.1)), days


def test_a_new_host_name_leads_to_a_new_certificate(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    first = certificate(authority.issue("service", "risk", ["localhost"])).serial_number
    assert certificate(authority.issue("service", "risk", ["localhost"])).serial_number == first
    assert certificate(authority.issue("service", "risk", ["localhost", "risk"])).serial_number != first


def test_a_directory_without_the_ca_key_says_what_to_put_there(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    authority.issue("service", "risk", ["localhost"])
    (tmp_path / "ca.key").unlink()
    authority.issue("service", "risk", ["localhost"])  # what is there goes on
    with pytest.raises(TlsError, match=r"no .*ca\.key to sign with\. Put .*tls\.crt and tls\.key there"):
        authority.issue("service", "revenue", ["localhost"])


def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="cannot be an identity"):
        LocalCA(tmp_path).issue("filer", "../../etc")


def test_a_key_of_another_certificate_is_noticed(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    one, other = authority.issue("filer", "one"), authority.issue("filer", "other")
    (one.directory / "tls.key").write_bytes((other.directory / "tls.key").read_bytes())
    with pytest.raises(TlsError, match="does not belong"):
        one.load()


def handshake(port: int, material: Material) -> int:
    """Return the serial number of the certificate that is served on a new connection."""
    context = ssl.create_default_context(cadata=material.roots.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        found = wrapped.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


async def test_a_replaced_certificate_is_served_to_new_connections(start: Any, message: Any) -> None:
    running = await start()
    server = running.server
    echo = running.method("Echo")
    await echo(message(), timeout=5)
    hosts = server_hosts("ingestion")
    party = server.authority.issue("service", "ingestion", hosts)
    assert await asyncio.to_thread(handshake, server.port, party.load()) == certificate(party).serial_number
    first = certificate(party).serial_number
    server.authority.issue("service", "ingestion", hosts, renew=True)
    assert certificate(party).serial_number != first
    assert await asyncio.to_thread(handshake, server.port, party.load()) == certificate(party).serial_number
    # A key that does not fit leaves the former certificate in use.
    served = certificate(party).serial_number
    other = server.authority.issue("filer", "other")
    (party.directory / "tls.key").write_bytes((other.directory / "tls.key").read_bytes())
    assert await asyncio.to_thread(handshake, server.port, other.load()) == served
    await echo(message(), timeout=5)  # and the old connection goes on


async def test_a_channel_takes_up_a_renewed_client_certificate(start: Any, message: Any) -> None:
    running = await start()
    seen: list[bytes] = []

    async def look(request: Any, context: Any) -> Any:
        seen.append(next(iter(context.auth_context()["x509_pem_cert"])))
        return request

    running.servicer.behaviour = look
    open_channel = running.channel()
    echo = running.method("Echo", open_channel)
    await echo(message(), timeout=5)
    running.authority.issue("filer", "acme", renew=True)
    open_channel.looked_at = float("-inf")  # the look is due
    await echo(message(), timeout=5)
    assert seen[0] != seen[1]
    assert seen[1] in running.authority.party("filer", "acme").load().certificates


async def test_without_a_certificate_nobody_comes_in_and_the_probe_says_so(start: Any, message: Any) -> None:
    running = await start()
    roots = running.authority.ensure()
    target = f"dns:///localhost:{running.server.port}"
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots)) as bare:
        echo: Any = bare.unary_unary("/luxor.test.v1.TestService/Echo")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await echo(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert running.servicer.seen == []


def foreign(directory: Path, roots: bytes | None = None) -> Material:
    """Return a client of a CA that the server does not know; it trusts `roots`, or its own CA."""
    other = trustme.CA()
    leaf = other.issue_cert("filer.example")
    own = other.cert_pem.bytes()
    return Material(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes(), roots or own)


@pytest.mark.parametrize("trusting", [True, False])
async def test_a_certificate_of_another_ca_is_told_as_tls_refused(
    start: Any, message: Any, tmp_path: Path, trusting: bool
) -> None:
    running = await start()
    material = foreign(tmp_path, running.authority.ensure() if trusting else None)
    async with channel(f"localhost:{running.server.port}", material) as stranger:
        with pytest.raises(Refusal, match="TLS_REFUSED") as caught:
            await invoke(running.method("Echo", stranger), message(), timeout=20)
    assert "CA" in caught.value.hint
    assert running.servicer.seen == []


async def test_a_port_without_a_server_is_told_as_unreachable(tmp_path: Path) -> None:
    party = LocalCA(tmp_path).issue("filer", "acme")
    with socket.socket() as held:  # nobody listens there, and nobody else can meanwhile
        held.bind(("127.0.0.1", 0))
        found = await explain_unavailable(f"dns:///127.0.0.1:{held.getsockname()[1]}", party)
    assert found is not None
    assert found.reason == "TARGET_UNREACHABLE"


async def test_a_good_certificate_is_not_told_as_refused(start: Any) -> None:
    running = await start()
    party = running.authority.issue("filer", "acme")
    assert await explain_unavailable(f"dns:///localhost:{running.server.port}", party) is None


async def test_calls_to_listed_addresses_are_made_by_their_common_name_and_explained_by_the_best_answer(
    start: Any, message: Any, tmp_path: Path
) -> None:
    running = await start()
    party, stranger = running.authority.issue("filer", "acme"), foreign(tmp_path, running.authority.ensure())
    serving = f"127.0.0.1:{running.server.port}"
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        absent = f"127.0.0.1:{held.getsockname()[1]}"
        for target in (f"ipv4:{absent},{serving}", f"ipv4:{serving},{absent}"):
            async with channel(target, party) as opened:
                assert await invoke(running.method("Echo", opened), message(), timeout=20) == message()
            assert await explain_unavailable(target, party) is None
            refused = await explain_unavailable(target, stranger)
            assert refused is not None
            assert refused.reason == "TLS_REFUSED"
            assert target in str(refused)
        unreachable = await explain_unavailable(f"ipv4:{absent},{absent}", party)
    assert unreachable is not None
    assert unreachable.reason == "TARGET_UNREACHABLE"


def test_a_certificate_that_another_process_is_issuing_anew_is_never_seen_by_halves(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    party = authority.issue("service", "risk", ["localhost"])
    with ThreadPoolExecutor(1) as pool:
        issuing = pool.submit(
            lambda: [authority.issue("service", "risk", ["localhost"], renew=True) for _ in range(200)]
        )
        seen = {party.load().key for _ in iter(issuing.done, True)}
        issuing.result()
    assert len(seen) > 1


async def test_a_proxy_with_nothing_behind_it_is_told_as_unreachable_and_not_as_a_refused_certificate(
    tmp_path: Path,
) -> None:
    party = LocalCA(tmp_path / "tls").issue("filer", "acme")

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(drop, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        found = await explain_unavailable(f"dns:///127.0.0.1:{port}", party)
    assert found is not None
    assert found.reason == "TARGET_UNREACHABLE"
