"""What an officer may tell of who draws on an account, and what comes of it; without a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.server.identity import is_id
from libs.server.transport.tls import LocalCA, TlsError
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.ledger_messages import account_error, account_message, change_of
from services.revenue.ledger.account import FILERS_MAX
from services.revenue.store.ledger.accounts import Account

NAME = "guarantee:26DEG1"
IDS = ("broker-7", "DE123.4_5", "7", "x" * 64)
NO_IDS = ("", " ", "a b", "filer/a", "x" * 65, "-a", ".", "é", "a\n", "a\0", "spiffe://luxor/filer/a", "a,b")  # fmt: skip


def told(*filers: str, **more: object) -> pb.Account:
    return pb.Account(name=NAME, currency="EUR", filers=filers, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("account", "reason", "path"),
    [
        *((told("a", ident), "ACCOUNT_FILER_MALFORMED", "filers[1]") for ident in NO_IDS),
        (told("a", "b", "a"), "ACCOUNT_FILER_REPEATED", "filers[2]"),
        (told(*(f"f{number}" for number in range(FILERS_MAX + 1))), "ACCOUNT_FILERS_TOO_MANY", "filers"),
        (told("a", adds_filers=["b"]), "ACCOUNT_FILERS_TOLD_TWOFOLD", "adds_filers"),
        (told("a", drops_filers=["b"]), "ACCOUNT_FILERS_TOLD_TWOFOLD", "drops_filers"),
        (told(adds_filers=["b", "-"]), "ACCOUNT_FILER_MALFORMED", "adds_filers[1]"),
        (told(adds_filers=["b"], drops_filers=["c", "b"]), "ACCOUNT_FILER_REPEATED", "drops_filers[1]"),
        (
            told(drops_filers=[f"f{number}" for number in range(FILERS_MAX + 1)]),
            "ACCOUNT_FILERS_TOO_MANY",
            "drops_filers",
        ),
    ],
)
def test_filers_that_are_none_too_many_or_told_twofold_are_refused(account: pb.Account, reason: str, path: str) -> None:
    error = account_error(3, account)
    assert error is not None
    assert (error.reason, error.path) == (reason, f"accounts[3].{path}")


def test_as_many_as_are_allowed_are_taken_and_the_same_may_differ_in_case() -> None:
    assert account_error(0, told(*(f"f{number}" for number in range(FILERS_MAX)))) is None
    assert account_error(0, told("a", "A")) is None


@pytest.mark.parametrize("name", ["adds_filers", "drops_filers"])
def test_filers_are_not_replaced_and_changed_at_once_by_a_mask(name: str) -> None:
    account = told(**{name: ["b"]})
    error = account_error(3, account, frozenset({"filers"}))
    assert error is not None
    assert (error.reason, error.path) == ("ACCOUNT_FILERS_TOLD_TWOFOLD", f"accounts[3].{name}")
    assert account_error(3, account, frozenset({"holder"})) is None
    account.filers.append("a")
    assert account_error(3, account, frozenset({"holder"})) is None, "filers that the mask does not name are left out"


def test_an_id_is_one_that_a_certificate_may_have(tmp_path: Path) -> None:
    authority = LocalCA(tmp_path)
    for ident in IDS:
        authority.party("filer", ident)
        assert is_id(ident)
    for ident in NO_IDS:
        with pytest.raises(TlsError):
            authority.party("filer", ident)
        assert not is_id(ident)


def test_filers_that_are_not_told_stay_those_told_take_their_place_and_none_takes_them_away() -> None:
    kept = Account(NAME, "EUR", 500, False, "Holder", ("a", "b"))
    everyone = frozenset({"filers"})
    for account, fields, filers in (
        (pb.Account(name=NAME, closed=True), None, ["a", "b"]),
        (told("c", "a"), None, ["a", "c"]),
        (told("c", "a"), everyone, ["a", "c"]),
        (told(), everyone, []),
        (told(), None, ["a", "b"]),
        (told("c"), frozenset({"closed"}), ["a", "b"]),
        (told(adds_filers=["c", "a"]), None, ["a", "b", "c"]),
        (told(adds_filers=["c"]), frozenset({"closed"}), ["a", "b", "c"]),
        (told(drops_filers=["a", "x"]), None, ["b"]),
        (told(adds_filers=["c"], drops_filers=["b"]), None, ["a", "c"]),
    ):
        now = account_message(change_of(account, fields).apply(kept))
        assert list(now.filers) == filers
        assert (now.limit_minor, now.holder) == (500, "Holder")
    assert list(account_message(change_of(told(adds_filers=["z"], drops_filers=["y"])).apply(None)).filers) == ["z"]
    assert list(account_message(change_of(told("z", "c")).apply(None)).filers) == ["c", "z"]
