"""`luxor prepare`: what containers start with is complete, closed, and the same after a second run."""

import datetime
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner
from cryptography import x509

from libs.cli.local.state import SERVICES
from libs.cli.main import luxor
from libs.cli.preparation import prepare, prepare_regularly
from libs.server.config.server_config import ServerConfig
from libs.server.transport.revocation_lists import revoke
from libs.server.transport.tls import LEAF_LIFETIME, LocalCA, Party, server_hosts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("volumes")
    prepare(directory, public_hosts=["customs.example", "192.0.2.7"])
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def names(certificate: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    given = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*given.get_values_for_type(x509.DNSName), *map(str, given.get_values_for_type(x509.IPAddress))}


def test_every_file_and_directory_is_closed_to_all_but_the_account(prepared: Path) -> None:
    shared = {prepared / "grafana": 0o750, prepared / "grafana" / "admin-password": 0o640}
    for path in prepared.rglob("*"):
        if path in shared:
            assert stat.S_IMODE(path.stat().st_mode) == shared[path], path
            continue
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_its_directory_holds_and_the_authoritys_key_is_not_in_it(
    prepared: Path, service: str
) -> None:
    own = prepared / service
    environ = {
        "LUXOR_TLS_DIR": str(own / "tls"),
        f"LUXOR_{service.upper()}_DATABASE_URL_FILE": str(own / "database-url"),
        "LUXOR_DATABASE_CA": str(own / "store-ca.crt"),
    }
    config = ServerConfig.from_environ(service, environ)
    url = urlsplit(config.database_url)
    assert (url.hostname, url.username, url.path) == (
        f"{service}-store-postgres",
        f"luxor_{service}",
        f"/luxor_{service}",
    )
    assert "sslmode=verify-full" in url.query
    assert unquote(url.password or "") == (prepared / f"{service}-store" / f"password-{service}").read_text().strip()
    assert not list(own.rglob("ca.key"))
    # As the server does at its start: nothing is to be issued, so nothing has to be written.
    own_party = LocalCA(config.tls_dir).issue("service", service, server_hosts(service))
    own_party.load()
    assert names(own_party.directory / "tls.crt") >= {
        service,
        f"{service}-grpc",
        "localhost",
        "customs.example",
        "192.0.2.7",
    }


def test_a_store_has_a_certificate_for_its_name_from_an_authority_that_no_service_trusts_calls_of(
    prepared: Path,
) -> None:
    for service in SERVICES:
        own = prepared / f"{service}-store"
        assert f"{service}-store-postgres" in names(own / "tls" / "tls.crt")
        Party(own / "tls", prepared / service / "store-ca.crt").load()
        assert (prepared / service / "store-ca.crt").read_bytes() != (
            prepared / service / "tls" / "ca.crt"
        ).read_bytes()
    every = {f"{service}-store-postgres" for service in SERVICES}
    assert names(prepared / "store" / "tls" / "tls.crt") >= every
    assert {path.name for path in (prepared / "store").iterdir()} == {"tls", *(f"password-{each}" for each in SERVICES)}


def test_passwords_are_long_and_each_is_another(prepared: Path) -> None:
    passwords = {(prepared / f"{each}-store" / f"password-{each}").read_text().strip() for each in SERVICES}
    assert len(passwords) == len(SERVICES)
    assert min(map(len, passwords)) >= 32


def test_risk_has_a_secret_of_its_own_in_each_deployment_that_stays_and_is_written_again(
    prepared: Path, tmp_path: Path
) -> None:
    secret = (prepared / "risk" / "secret").read_text()
    assert len(bytes.fromhex(secret)) == 32
    prepare(tmp_path)
    other = tmp_path / "risk" / "secret"
    kept = other.read_text()
    assert kept != secret
    other.unlink()
    prepare(tmp_path)
    assert other.read_text() == kept
    assert not [path for path in tmp_path.rglob("*secret*") if path.is_file() and path != other]


def test_a_second_run_changes_nothing(prepared: Path) -> None:
    before = content(prepared)
    done = prepare(prepared, public_hosts=["customs.example", "192.0.2.7"])
    assert done.written == []
    assert content(prepared) == before


def test_what_was_lost_is_written_again_and_fits_what_is_left(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = content(tmp_path)
    for name in ("risk/database-url", "risk-store/password-risk", "risk/tls/service/risk/tls.key"):
        (tmp_path / name).unlink()
    done = prepare(tmp_path)
    assert sorted(done.written) == ["risk-store/password-risk", "risk/database-url", "risk/tls/service/risk/tls.key"]
    assert content(tmp_path) == before


def test_a_new_public_name_comes_into_the_certificates(tmp_path: Path) -> None:
    prepare(tmp_path)
    done = prepare(tmp_path, public_hosts=["new.example"])
    assert "ingestion/tls/service/ingestion/tls.crt" in done.written
    assert "new.example" in names(tmp_path / "ingestion" / "tls" / "service" / "ingestion" / "tls.crt")
    Party(tmp_path / "ingestion/tls/service/ingestion", tmp_path / "ingestion/tls/ca.crt").load()


def test_a_renewal_months_later_keeps_the_public_names_though_nobody_says_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, public_hosts=["customs.example", "192.0.2.7"])
    certificate = tmp_path / "ingestion" / "tls" / "service" / "ingestion" / "tls.crt"
    before = certificate.read_bytes()
    now = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda: now + LEAF_LIFETIME * 0.7)
    prepare(tmp_path)
    assert certificate.read_bytes() != before
    assert names(certificate) >= {"customs.example", "192.0.2.7", "ingestion-grpc"}
    # Other names take the place of the old ones at the next certificate.
    prepare(tmp_path, public_hosts=["new.example"])
    assert "new.example" in names(certificate)
    assert "customs.example" not in names(certificate)


def test_what_stays_renews_by_itself_marks_each_run_and_tries_again_soon_after_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    volumes, heartbeat = tmp_path / "volumes", tmp_path / "heartbeat"
    certificate = volumes / "ingestion-store" / "tls" / "tls.crt"
    paused: list[float] = []
    seen: list[bytes] = []

    class Over(Exception):
        pass

    def pause(seconds: float) -> None:
        paused.append(seconds)
        seen.append(certificate.read_bytes())
        if len(paused) == 1:  # two months later
            heartbeat.unlink()
            monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda: now + LEAF_LIFETIME * 0.7)
        elif len(paused) == 2:  # then the authority's key is gone, and a month later a certificate is needed
            heartbeat.unlink()
            (volumes / "authority" / "stores" / "ca.key").unlink()
            monkeypatch.setattr("libs.server.transport.tls.utc_now", lambda: now + LEAF_LIFETIME * 2)
        else:
            raise Over

    with pytest.raises(Over):
        prepare_regularly(volumes, deployment="luxor", public_hosts=[], hours=24, heartbeat=heartbeat, pause=pause)
    assert paused == [86_400, 86_400, 600]
    assert seen[0] != seen[1] == seen[2]
    assert not heartbeat.exists()


def test_grafanas_password_is_long_and_stays(tmp_path: Path) -> None:
    prepare(tmp_path)
    password = (tmp_path / "grafana" / "admin-password").read_text()
    assert len(password) >= 32
    assert password == (tmp_path / "authority" / "passwords" / "grafana").read_text()
    prepare(tmp_path)
    assert (tmp_path / "grafana" / "admin-password").read_text() == password


def test_a_certificate_leaves_a_container_as_an_archive_that_is_a_tls_directory(tmp_path: Path) -> None:
    prepare(tmp_path / "volumes")
    environ = {"LUXOR_TLS_DIR": str(tmp_path / "volumes" / "authority" / "luxor"), "PATH": os.defpath}
    done = subprocess.run(
        [sys.executable, "-m", "libs.cli.entry", "certificate", "issue", "filer", "acme", "--tar"],
        cwd=ROOT, env=environ, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames() == ["ca.crt", "filer/acme/tls.crt", "filer/acme/tls.key"]
        assert {member.mode for member in archive} == {0o600}
        archive.extractall(tmp_path / "mine", filter="data")
    party = LocalCA(tmp_path / "mine").issue("filer", "acme")
    assert x509.load_pem_x509_certificate(party.load().certificates).subject.rfc4514_string() == "CN=acme"


def test_a_list_of_revoked_certificates_reaches_every_service(tmp_path: Path) -> None:
    prepare(tmp_path)
    assert not list(tmp_path.rglob("ca.crl"))
    written = revoke(LocalCA(tmp_path / "authority" / "luxor"), [7]).read_bytes()
    prepare(tmp_path)
    for service in SERVICES:
        assert (tmp_path / service / "tls" / "ca.crl").read_bytes() == written


def test_certificates_are_revoked_by_party_file_and_serial_number(tmp_path: Path) -> None:
    runner = CliRunner(env={"LUXOR_DATA_DIR": str(tmp_path), "COLUMNS": "140"})

    def luxor_json(*arguments: str) -> dict[str, str]:
        result = runner.invoke(luxor, ["certificate", *arguments, "--json"])
        assert result.exit_code == 0, result.output
        printed: dict[str, str] = json.loads(result.stdout)
        return printed

    issued = luxor_json("issue", "carrier", "swift")
    file = tmp_path / "old.crt"
    file.write_bytes(Path(issued["certificate"]).read_bytes())
    luxor_json("issue", "carrier", "swift", "--renew")
    revoked = luxor_json("revoke", "carrier", "swift", "--file", str(file), "--serial", "serial=0a:bc")
    numbers = revoked["revoked"].split(", ")
    assert numbers[0] == "0ABC"
    listed = x509.load_pem_x509_crl(Path(revoked["list"]).read_bytes())
    assert {each.serial_number for each in listed} == {int(each, 16) for each in numbers}
    assert len(listed) == 3
    foreign = LocalCA(tmp_path / "foreign", "elsewhere").issue("carrier", "swift").directory / "tls.crt"
    for wrong, cause in (
        ((), "Name what to revoke"),
        (("carrier",), "Name the party"),
        (("--serial", "xyz"), "xyz is not a serial number"),
        (("--serial", "0"), "0 is not a serial number"),
        (("--serial", "1" * 41), "is not a serial number"),
        (("carrier", "nobody"), "Cannot read"),
        (("--serial", "F" * 40), "is no serial number of RFC 5280"),
        (("--file", str(foreign)), "was issued by CN=Luxor local CA elsewhere, and not by the authority of"),
    ):
        failed = runner.invoke(luxor, ["certificate", "revoke", *wrong])
        assert failed.exit_code != 0, wrong
        assert cause in " ".join(failed.output.split()), failed.output
