"""`luxor revenue account, accounts, open, balances, payouts`: what each option asks the ledger for, and what is told; nobody answers but the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.errors import LuxorError
from libs.customs.time import parse_day
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import ledger_pb2 as pb
from tests.revenue.accounting import statements as bank

HELD = pb.Account(
    name="deferred:carrier-7", currency="EUR", limit_minor=5_000_000, holder="Carrier Seven", filers=["shop"]
)


class Ledger:
    """Answers calls from what a test gives, in order, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.callers: list[tuple[str, str]] = []
        self.answers: dict[str, list[Message | LuxorError]] = {}

    async def statistics(self, *_: object, **__: object) -> Any:
        """Statistics counted nothing."""
        return SimpleNamespace(revenue=[])

    async def ask(
        self, service: str, _: object, method: str, request: Message, kind: type[Message], *__: object
    ) -> Message:
        assert service == "revenue"
        self.asked.append((method, request))
        answer = self.answers[method].pop(0)
        if isinstance(answer, LuxorError):
            raise answer
        assert isinstance(answer, kind)
        return answer


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    found = Ledger()

    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Ledger]:
        found.callers.append((role, ident))
        yield found

    monkeypatch.setattr(Context, "client", client)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def call(*arguments: str, width: str = "120") -> Result:
        command = ["revenue", *arguments, "--data-dir", str(tmp_path)]
        return CliRunner(env={"COLUMNS": width}).invoke(luxor, command)

    return call


def words(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.output.splitlines() if line.strip()]


# ---------------------------------------------------------------------------------------------- accounts
def test_opened_accounts_are_told_page_by_page_by_the_beginning_of_their_names(ledger: Ledger, run: Any) -> None:
    closed = pb.Account(name="guarantee:26DEG1", currency="JPY", closed=True)
    ledger.answers["ListAccounts"] = [
        pb.ListAccountsResponse(accounts=[pb.OpenedAccount(account=HELD, used_minor=123_456)], next_page_token="t1"),
        pb.ListAccountsResponse(accounts=[pb.OpenedAccount(account=closed, used_minor=500)]),
    ]
    done = run("accounts", "deferred:", "--as", "ann")
    assert done.exit_code == 0, done.output
    assert ledger.callers == [("analyst", "ann")]
    assert [(each.prefix, each.page_token) for _, each in ledger.asked] == [("deferred:", ""), ("deferred:", "t1")]
    lines = words(done)
    assert "deferred:carrier-7 50,000.00 EUR 1,234.56 EUR Carrier Seven shop open" in lines
    assert "guarantee:26DEG1 none 500 JPY closed" in lines


def test_where_no_account_was_opened_it_is_said_and_json_is_an_empty_list(ledger: Ledger, run: Any) -> None:
    ledger.answers["ListAccounts"] = [pb.ListAccountsResponse(), pb.ListAccountsResponse()]
    assert words(run("accounts"))[0].startswith("There is no such account; `luxor revenue account NAME")
    assert json.loads(run("accounts", "--json").stdout) == {"accounts": []}


@pytest.mark.parametrize(
    ("percent", "names"),
    [
        ("79", ["guarantee:A", "guarantee:B", "guarantee:E"]),
        ("80", ["guarantee:B", "guarantee:E"]),
        ("100", ["guarantee:E"]),
    ],
)
def test_accounts_that_use_more_than_a_part_of_their_limit_are_listed(
    ledger: Ledger, run: Any, percent: str, names: list[str]
) -> None:
    opened = [
        pb.OpenedAccount(account=pb.Account(name="guarantee:A", currency="EUR", limit_minor=1_000), used_minor=800),
        pb.OpenedAccount(account=pb.Account(name="guarantee:B", currency="EUR", limit_minor=1_000), used_minor=801),
        pb.OpenedAccount(account=pb.Account(name="guarantee:C", currency="EUR"), used_minor=9_999),
        pb.OpenedAccount(account=pb.Account(name="guarantee:D", currency="EUR", limit_minor=0), used_minor=0),
        pb.OpenedAccount(account=pb.Account(name="guarantee:E", currency="EUR", limit_minor=0), used_minor=1),
    ]
    ledger.answers["ListAccounts"] = [pb.ListAccountsResponse(accounts=opened)]
    done = run("accounts", "guarantee:", "--used-above", percent, "--json")
    assert [each["name"] for each in json.loads(done.stdout)["accounts"]] == names


def test_where_no_account_uses_so_much_of_its_limit_it_is_said(ledger: Ledger, run: Any) -> None:
    ledger.answers["ListAccounts"] = [pb.ListAccountsResponse(accounts=[pb.OpenedAccount(account=HELD, used_minor=1)])]
    assert words(run("accounts", "--used-above", "80")) == ["No account uses more than 80 % of its limit."]
    for percent in ("-1", "101"):
        assert run("accounts", "--used-above", percent).exit_code == 2


# ---------------------------------------------------------------------------------------------- account
def test_an_account_is_opened_with_what_the_options_tell(ledger: Ledger, run: Any) -> None:
    ledger.answers["PutAccounts"] = [pb.PutAccountsResponse(results=[pb.AccountResult(account=HELD)])]
    done = run("account", "deferred:carrier-7", "--currency", "EUR", "--limit", "50000.00", "--holder", "Carrier Seven",
               "--filer", "shop", "--filer", "post", "--as", "olga")  # fmt: skip
    assert done.exit_code == 0, done.output
    ((_, request),) = ledger.asked
    (asked,) = request.accounts
    assert (asked.name, asked.currency, asked.limit_minor, asked.holder) == (
        "deferred:carrier-7",
        "EUR",
        5_000_000,
        "Carrier Seven",
    )
    assert list(asked.filers) == ["shop", "post"]
    assert not asked.closed
    assert sorted(request.update_mask.paths) == ["currency", "filers", "holder", "limit_minor"]
    assert ledger.callers == [("officer", "olga")]
    assert words(done)[0].startswith("deferred:carrier-7 is open up to 50,000.00 EUR; filers: ")


def test_filers_are_added_and_dropped_without_telling_the_others(ledger: Ledger, run: Any) -> None:
    ledger.answers["PutAccounts"] = [pb.PutAccountsResponse(results=[pb.AccountResult(account=HELD)])]
    done = run("account", HELD.name, "--add-filer", "a", "--add-filer", "b", "--drop-filer", "c")
    assert done.exit_code == 0, done.output
    request = ledger.asked[0][1]
    (asked,) = request.accounts
    assert not request.HasField("update_mask")
    assert (list(asked.adds_filers), list(asked.drops_filers), list(asked.filers)) == (["a", "b"], ["c"], [])


def test_what_is_not_told_is_left_as_it_is(ledger: Ledger, run: Any) -> None:
    ledger.answers["PutAccounts"] = [pb.PutAccountsResponse(results=[pb.AccountResult(account=HELD)])] * 4
    for option, field, value in (
        ("--closed", "closed", {"closed": True}), ("--reopen", "closed", {}), ("--no-limit", "limit_minor", {}), ("--no-filers", "filers", {}),
    ):  # fmt: skip
        assert run("account", "deferred:carrier-7", option).exit_code == 0
        request = ledger.asked[-1][1]
        told = {field.name: value for field, value in request.accounts[0].ListFields()}
        assert told == {"name": "deferred:carrier-7", **value}
        assert list(request.update_mask.paths) == [field]


def test_a_limit_without_currency_takes_that_of_the_account(ledger: Ledger, run: Any) -> None:
    yen = pb.Account(name="deferred:carrier-7", currency="JPY")
    longer = pb.Account(name="deferred:carrier-77", currency="EUR")
    told = pb.ListAccountsResponse(accounts=[pb.OpenedAccount(account=yen), pb.OpenedAccount(account=longer)])
    ledger.answers["ListAccounts"] = [told, told]
    ledger.answers["PutAccounts"] = [pb.PutAccountsResponse(results=[pb.AccountResult(account=yen)])]
    assert run("account", "deferred:carrier-7", "--limit", "50000").exit_code == 0
    request = ledger.asked[-1][1]
    assert (request.accounts[0].currency, request.accounts[0].limit_minor) == ("JPY", 50_000)
    assert list(request.update_mask.paths) == ["limit_minor"]
    done = run("account", "deferred:carrier-8", "--limit", "50000")
    assert (done.exit_code, "--limit needs --currency" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--limit", "1", "--no-limit"], "exclude each other"),
        (["--closed", "--reopen"], "exclude each other"),
        (["--filer", "x", "--no-filers"], "exclude each other"),
        (["--filer", "x", "--add-filer", "y"], "replace it"),
        (["--no-filers", "--drop-filer", "y"], "replace it"),
        (["--limit", "12,50", "--currency", "EUR"], "write digits with a point"),
        (["--limit", "0.5", "--currency", "JPY"], "JPY has 0"),
        (["--limit", "5", "--currency", "EUX"], "no currency of ISO 4217"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anybody_is_asked(
    ledger: Ledger, run: Any, options: list[str], told: str
) -> None:
    done = run("account", "deferred:carrier-7", *options)
    assert (done.exit_code, told in done.output) == (2, True), done.output
    assert (ledger.asked, ledger.callers) == ([], [])


def test_a_refusal_of_the_ledger_is_told_with_what_to_do(ledger: Ledger, run: Any) -> None:
    error = ItemError(reason="ACCOUNT_NAME_MALFORMED", message="The account x is none.", hint="Name it otherwise.")
    ledger.answers["PutAccounts"] = [pb.PutAccountsResponse(results=[pb.AccountResult(error=error)])]
    done = run("account", "x", "--closed")
    assert done.exit_code == 1
    assert words(done) == ["ACCOUNT_NAME_MALFORMED", "The account x is none.", "→ Name it otherwise."]


# ---------------------------------------------------------------------------------------------- open
def test_open_consignments_of_an_account_are_told_with_their_day_and_amount(ledger: Ledger, run: Any) -> None:
    first = pb.OpenItem(mrn="26DE1", day="2026-11-01", currency="EUR", amount_minor=1_250)
    second = pb.OpenItem(mrn="26DE2", day="2026-11-02", currency="JPY", amount_minor=7)
    ledger.answers["ListOpenItems"] = [
        pb.ListOpenItemsResponse(open_items=[first], next_page_token="t1"),
        pb.ListOpenItemsResponse(open_items=[second]),
        pb.ListOpenItemsResponse(),
    ]
    done = run("open-items", "declarant:DE1", "--as", "ann")
    assert [(each.account, each.page_token) for _, each in ledger.asked] == [
        ("declarant:DE1", ""),
        ("declarant:DE1", "t1"),
    ]
    assert words(done)[-2:] == ["2026-11-01 26DE1 12.50 EUR", "2026-11-02 26DE2 7 JPY"]
    assert words(run("open-items", "declarant:DE1")) == ["There are no open items."]


def test_an_account_that_is_unknown_ends_the_command_with_the_command_s_own_hint(ledger: Ledger, run: Any) -> None:
    ledger.answers["ListOpenItems"] = [
        LuxorError.from_reason("ACCOUNT_UNKNOWN", path="account", value="x:y", currency="any currency")
    ] * 2
    done = run("open-items", "x:y")
    assert done.exit_code == 1
    assert "`luxor revenue balances` lists" in done.output
    assert "ListBalances" not in done.output
    told = json.loads(run("open-items", "x:y", "--json").stderr)["error"]
    assert (told["reason"], told["path"]) == ("ACCOUNT_UNKNOWN", "account")


# ---------------------------------------------------------------------------------------------- balances
def test_balances_are_asked_for_by_prefix_and_moment(ledger: Ledger, run: Any) -> None:
    told = pb.Balance(account="vendor:IM1", currency="EUR", debit_minor=500, credit_minor=200, balance_minor=300)
    even = pb.Balance(account="vendor:IM2", currency="EUR")
    ledger.answers["ListBalances"] = [pb.ListBalancesResponse(balances=[told, even]), pb.ListBalancesResponse()]
    done = run("balances", "--prefix", "vendor:", "--at", "2026-11-01T01:00:00+01:00")
    ((_, request),) = ledger.asked
    assert (request.prefix, request.at.ToJsonString()) == ("vendor:", "2026-11-01T00:00:00Z")
    assert "vendor:IM1 5.00 EUR 2.00 EUR 3.00 EUR" in words(done)
    assert "vendor:IM2 0.00 EUR 0.00 EUR 0.00 EUR" in words(done)
    assert words(run("balances")) == ["There are no postings on such an account."]
    assert not ledger.asked[-1][1].HasField("at")


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-01", "2026-11-01T00:00:00"])
def test_a_moment_that_could_be_anywhere_is_refused(ledger: Ledger, run: Any, moment: str) -> None:
    done = run("balances", "--at", moment)
    assert (done.exit_code, ledger.asked) == (2, [])
    assert "--at" in done.output


# ---------------------------------------------------------------------------------------------- payouts
def test_payouts_of_some_days_are_told_and_days_do_not_go_with_a_file(ledger: Ledger, run: Any, tmp_path: Path) -> None:
    paid = pb.Payout(id="o1", reference="declarant:D", jurisdiction="EU", currency="EUR", amount_minor=500)
    done = pb.PayoutResult(outcome=pb.PAYOUT_OUTCOME_BOOKED, account="declarant:D")
    booked = pb.BookedPayout(payout=paid, result=done, booked_at=Timestamp(seconds=1_790_000_000))
    ledger.answers["ListPayouts"] = [
        pb.ListPayoutsResponse(payouts=[booked]),
        pb.ListPayoutsResponse(),
    ]
    told = run("payouts", "--from", "2026-09-01", "--to", "2026-09-30")
    assert told.exit_code == 0, told.output
    assert any("EU o1 declarant:D 5.00 EUR" in line for line in words(told))
    assert words(run("payouts")) == ["There were no payouts on these days."]
    (_, some), (_, month) = ledger.asked
    assert (some.from_day, some.to_day) == ("2026-09-01", "2026-09-30")
    assert parse_day(month.to_day) - parse_day(month.from_day) == 30
    file = tmp_path / "payouts.csv"
    file.write_text("id\n")
    refused = run("payouts", str(file), "--from", "2026-09-01")
    assert (refused.exit_code, len(ledger.asked)) == (2, 2)
    assert "without PATH" in refused.output


def test_balances_and_statements_are_asked_for_as_whoever_owns_the_accounts(ledger: Ledger, run: Any) -> None:
    for named, caller in (
        ("treasury/DE", ("treasury", "DE")), ("filer/shop", ("filer", "shop")), ("carrier/c", ("carrier", "c")),
        ("analyst/a", ("analyst", "a")), ("a", ("analyst", "a")),
    ):  # fmt: skip
        ledger.answers["ListBalances"] = [pb.ListBalancesResponse()]
        ledger.answers["GetStatement"] = [pb.GetStatementResponse(currency="EUR")]
        assert run("balances", "--as", named).exit_code == 0
        assert run("statement", "treasury:DE:tax", "2026-11", "--as", named).exit_code == 0
        assert ledger.callers[-2:] == [caller, caller]
    for named in ("officer/x", "treasury/", "/DE"):
        assert run("balances", "--as", named).exit_code == 2


def test_closes_of_a_month_are_listed_with_what_is_open_and_the_limit(
    ledger: Ledger, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = pb.MonthlyClose(
        account="deferred:carrier-7", currency="EUR", opening_minor=100, debit_minor=5_700, credit_minor=300, closing_minor=5_500,
        outstanding_minor=3_700, due_day="2026-11-16", state=pb.CLOSE_STATE_OVERDUE, limit_minor=1_000_000, used_minor=8_000,
    )  # fmt: skip
    paid = pb.MonthlyClose(account="guarantee:G", currency="JPY", debit_minor=5, state=pb.CLOSE_STATE_PAID)
    answers = [
        pb.ListMonthlyClosesResponse(closes=[close], next_page_token="t"),
        pb.ListMonthlyClosesResponse(closes=[paid]),
    ]
    ledger.answers["ListMonthlyCloses"] = [*answers, *answers, pb.ListMonthlyClosesResponse()]
    shown = run("closes", "2026-10", "--as", "carrier/c").output
    assert ledger.callers == [("carrier", "c")]
    for text in ("deferred:carrier-7", "1.00 EUR", "57.00 EUR", "3.00 EUR", "55.00 EUR", "37.00 EUR", "2026-11-16", "overdue",
                 "80.00 EUR of 10,000.00 EUR used", "guarantee:G", "5 JPY", "0 JPY", "no due day", "paid"):  # fmt: skip
        assert text in shown
    rows = json.loads(run("closes", "2026-10", "--json").output)
    assert rows["month"] == "2026-10"
    assert [(each["closing_minor"], each["outstanding_minor"]) for each in rows["closes"]] == [(5_500, 3_700), (0, 0)]
    monkeypatch.setattr("libs.cli.commands.revenue.closes.today", lambda: date(2026, 1, 31))
    assert "No account owes anything for 2025-12" in run("closes", "--overdue", "--prefix", "vendor:").output
    asked = [request for _, request in ledger.asked]
    assert [(each.month, each.prefix, each.overdue, each.page_token) for each in asked] == [
        ("2026-10", "", False, ""), ("2026-10", "", False, "t"), ("2026-10", "", False, ""), ("2026-10", "", False, "t"),
        ("2025-12", "vendor:", True, ""),
    ]  # fmt: skip


def proof(entries: int, left: int, faults: int = 0) -> pb.Proof:
    found = pb.Proof(entries=entries, entries_left=left, comparisons=entries // 2, discrepancies=faults)
    found.proven_until.seconds = 1_795_651_200
    found.seal.number, found.seal.sealed_at.seconds = 7, 1_795_651_200
    return found


def test_what_is_proven_is_told_at_once_and_the_rest_is_proven_until_nothing_is_left(ledger: Ledger, run: Any) -> None:
    total = pb.RevenueTotal(destination="DE", kind=1, collector=1, currency="EUR", amount_minor=300)
    ledger.answers = {
        "GetProof": [pb.GetProofResponse(proof=proof(10, 6)), pb.GetProofResponse(proof=proof(16, 0))],
        "ProveLedger": [
            pb.ProveLedgerResponse(proof=proof(14, 2), until=[9, 7]),
            pb.ProveLedgerResponse(proof=proof(16, 4), until=[9, 7], done=True),
        ],
        "ReconcileDay": [pb.ReconcileDayResponse(consignments=3), pb.ReconcileDayResponse(consignments=2)],
    }
    result = run("reconcile", "--from", "2026-11-24", "--to", "2026-11-25")
    assert result.exit_code == 0
    assert "Proven up to 2026-11-26" in result.stderr
    assert "10 entries, seal 7; 6 entries left." in result.stderr
    assert "Assessments, ledger and statistics agree on 5 consignments of these days." in result.stdout
    assert [name for name, _ in ledger.asked] == [
        "GetProof",
        "ProveLedger",
        "ProveLedger",
        "ReconcileDay",
        "ReconcileDay",
        "GetProof",
    ]
    assert all(request.totals_only for name, request in ledger.asked if name == "ReconcileDay")
    # What is booked after the command began is for the next proof.
    assert [list(request.until) for name, request in ledger.asked if name == "ProveLedger"] == [[], [9, 7]]
    # Whatever differs ends it with 1: a fault of the proof, or a sum that statistics counted otherwise.
    fault = pb.Discrepancy(reason="ALTERED", sentence="partition 3, entry 4: its content was altered.")
    for faults, totals in ([fault], []), ([], [total]):
        ledger.answers = {
            "GetProof": [
                pb.GetProofResponse(proof=proof(16, 0)),
                pb.GetProofResponse(proof=proof(16, 0, len(faults)), discrepancies=faults),
            ],
            "ProveLedger": [pb.ProveLedgerResponse(proof=proof(16, 0), done=True)],
            "ReconcileDay": [pb.ReconcileDayResponse(totals=totals, consignments=3)],
        }
        result = run("reconcile", "--from", "2026-11-24", "--to", "2026-11-24")
        assert result.exit_code == 1
        assert "1 difference; 3 consignments of these days compared." in result.stdout
        assert ("entry 4: its content was altered" if faults else "statistics counted 0") in result.stdout


@pytest.mark.parametrize("option", ["--seal", "--kept"])
def test_an_empty_seal_is_refused_and_not_left_out(ledger: Ledger, run: Any, option: str) -> None:
    result = run("chains", option, "")
    assert result.exit_code == 1
    assert "SEAL_UNREADABLE" in result.output
    assert ledger.asked == []


@pytest.mark.parametrize("option", ["--seal", "--kept"])
def test_a_seal_is_sent_with_the_check_of_each_chain_under_both_names_of_its_option(
    ledger: Ledger, run: Any, option: str
) -> None:
    ledger.answers["CheckChain"] = [pb.CheckChainResponse(end=True) for _ in range(64)]
    assert run("chains", option, f"7:{'ab' * 32}").exit_code == 0
    seals = [(request.external_seal, request.external_seal_hash) for _, request in ledger.asked]
    assert seals == [(7, b"\xab" * 32)] * 64


# ---------------------------------------------------------------------------------------------- bank statements
def test_a_bank_statement_is_posted_as_payments_and_what_an_officer_must_post_is_listed(
    ledger: Ledger, run: Any, tmp_path: Path
) -> None:
    entries = [bank.entry("1.00", reference="B1"), bank.entry("2.00")]
    file = bank.write(tmp_path / "statement.xml", bank.document(bank.statement(entries, "0.00", "3.00")))
    result = pb.PaymentResult(outcome=pb.PAYMENT_OUTCOME_UNMATCHED, account="unmatched:EU", currency="EUR")
    ledger.answers["RecordPayments"] = [pb.RecordPaymentsResponse(results=[result])]
    spaced = "DE89 3704 0044 0532 0130 00=EU"
    done = run("import", "bank-statement", str(file), "--account", spaced, "--after", "6", "--as", "officer/ann")
    assert done.exit_code == 1, done.output
    ((method, request),) = ledger.asked
    assert (method, [(each.id, each.jurisdiction, each.amount_minor) for each in request.payments]) == (
        "RecordPayments",
        [("B1", "EU", 100)],
    )
    assert any("statement 7, closing balance 3.00 EUR" in line for line in words(done))
    assert any(line.startswith("NO_ID") and f"{file}:7" in line for line in words(done))


@pytest.mark.parametrize(
    ("accounts", "after", "said"),
    [
        (["DE88370400440532013000=EU"], "6", "check digits"),
        ([bank.IBAN], "6", "a jurisdiction"),
        ([f"{bank.IBAN}=EU", f"{bank.IBAN}=UK"], "6", "two jurisdictions"),
        ([f"{bank.IBAN}=EU"], "7", "BANK_STATEMENT_WRONG"),
    ],
)
def test_a_bank_statement_with_an_error_posts_nothing(
    ledger: Ledger, run: Any, tmp_path: Path, accounts: list[str], after: str, said: str
) -> None:
    text = bank.document(bank.statement([bank.entry("1.00", reference="B1")], "0.00", "1.00"))
    file = bank.write(tmp_path / "statement.xml", text)
    options = [part for each in accounts for part in ("--account", each)]
    done = run("import", "bank-statement", str(file), *options, "--after", after)
    assert done.exit_code != 0
    assert said in done.output + repr(done.exception)
    assert ledger.asked == []
