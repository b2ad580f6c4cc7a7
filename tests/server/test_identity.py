"""Who a certificate names: every part of an identity is checked, where it is issued and where it is presented."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from libs.cli.main import luxor
from libs.server import identity
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role, is_id
from libs.server.transport.tls import IdentityMalformed, LocalCA

GOOD_IDS = ["a", "7", "acme", "ACME-1", "m.rossi", "a_b", "a..b", "0" * 64]
BAD_IDS = {
    "empty": "",
    "65 characters": "x" * 65,
    "a slash": "a/b",
    "a slash at the end": "a/",
    "a dot first": ".a",
    "a dot": ".",
    "two dots": "..",
    "a hyphen first": "-a",
    "an underscore first": "_a",
    "a blank": "a b",
    "a blank at the end": "a ",
    "a line break at the end": "a\n",
    "a control character": "a\x00",
    "an escape": "a%2Fb",
    "a query": "a?b",
    "a fragment": "a#b",
    "a colon": "a:b",
    "an at sign": "a@b",
    "a letter that is not ASCII": "é",
    "a digit that is not ASCII": "٣",
}


@pytest.mark.parametrize("ident", GOOD_IDS)
def test_a_good_id_is_issued_and_accepted(ident: str, tmp_path: Path) -> None:
    assert is_id(ident)
    assert identity.parse(f"spiffe://luxor/filer/{ident}", "luxor") == Identity(Role.FILER, ident)
    assert LocalCA(tmp_path).party("filer", ident).directory == tmp_path / "filer" / ident


@pytest.mark.parametrize("ident", BAD_IDS.values(), ids=BAD_IDS)
def test_a_bad_id_is_neither_issued_nor_accepted(ident: str, tmp_path: Path) -> None:
    assert not is_id(ident)
    with pytest.raises(Refusal) as caught:
        identity.parse(f"spiffe://luxor/filer/{ident}", "luxor")
    assert caught.value.reason == "IDENTITY_MALFORMED"
    assert caught.value.sentence.isprintable()
    with pytest.raises(IdentityMalformed):
        LocalCA(tmp_path).issue("filer", ident)
    assert not list(tmp_path.rglob("tls.key"))


@pytest.mark.parametrize(
    ("spiffe", "reason"),
    [
        ("", "IDENTITY_MISSING"),
        ("https://luxor/filer/acme", "IDENTITY_MISSING"),
        ("SPIFFE://luxor/filer/acme", "IDENTITY_MISSING"),
        ("spiffe:/luxor/filer/acme", "IDENTITY_MISSING"),
        ("spiffe:///filer/acme", "IDENTITY_FOREIGN"),
        ("spiffe://other/filer/acme", "IDENTITY_FOREIGN"),
        ("spiffe://luxor.example/filer/acme", "IDENTITY_FOREIGN"),
        ("spiffe://Luxor/filer/acme", "IDENTITY_FOREIGN"),
        ("spiffe://luxor", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/filer", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/filer/", "IDENTITY_MALFORMED"),
        ("spiffe://luxor//acme", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/Filer/acme", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/king/acme", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/filer/acme/", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/filer/acme/b", "IDENTITY_MALFORMED"),
        ("spiffe://luxor/filer//acme", "IDENTITY_MALFORMED"),
    ],
)
def test_what_is_no_identity_of_this_deployment_is_refused(spiffe: str, reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        identity.from_auth_context({"peer_spiffe_id": [spiffe.encode()]}, "luxor")
    assert caught.value.reason == reason


@pytest.mark.parametrize("context", [{}, {"peer_spiffe_id": []}, {"x509_common_name": [b"acme"]}])
def test_a_peer_without_a_spiffe_id_is_refused(context: dict[str, list[bytes]]) -> None:
    with pytest.raises(Refusal) as caught:
        identity.from_auth_context(context, "luxor")
    assert caught.value.reason == "IDENTITY_MISSING"


def test_bytes_that_are_no_text_are_no_identity() -> None:
    with pytest.raises(Refusal) as caught:
        identity.from_auth_context({"peer_spiffe_id": [b"spiffe://luxor/filer/\xff\xfe"]}, "luxor")
    assert caught.value.reason == "IDENTITY_MALFORMED"


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_told_apart(role: Role) -> None:
    assert identity.parse(f"spiffe://luxor/{role}/acme", "luxor") == Identity(role, "acme")
    assert str(Identity(role, "acme")) == f"{role.value}/acme"


def test_the_command_line_issues_no_bad_id_and_says_why(tmp_path: Path) -> None:
    environ = {"LUXOR_TLS_DIR": str(tmp_path)}
    done = CliRunner().invoke(luxor, ["certificate", "issue", "filer", "a/b"], env=environ)
    assert done.exit_code == 1
    assert "IDENTITY_MALFORMED" in done.output
    assert not (tmp_path / "filer").exists()
