"""Bank statements as payments: ISO 20022, Bank to Customer Statement, camt.053.001.02 and camt.053.001.08."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn
from xml.etree.ElementTree import Element

from libs.client.errors import LuxorError
from libs.customs.identifiers.iban import is_iban
from libs.customs.identifiers.mrn import is_valid
from libs.customs.money import MoneyError, decimal_text, parse_minor
from libs.files.xml_file import XmlError, root_of
from luxor.revenue.v1 import ledger_pb2 as pb

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
VERSIONS: Final = ("02", "08")
BYTES_MAX: Final = 64 << 20
DEPTH_MAX: Final = 32
REFERENCE_MAX: Final = 80
"""Characters of a payment's reference."""
OPENING: Final = ("OPBD", "PRCD")
"""Codes of the balance before the entries: opening booked, or previously closed booked."""
CLOSING: Final = "CLBD"
NOT_PROVIDED: Final = "NOTPROVIDED"
"""What a payer's bank writes as EndToEndId if the payer gave none."""


@dataclass(frozen=True, slots=True)
class Unposted:
    """A booked entry, or a transaction of it, that an officer must post: where it is, why, and what it says."""

    line: int
    reason: str
    id: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class BankAccount:
    """A bank account after its last statement."""

    iban: str
    currency: str
    number: int | None
    """Sequence number of the statement; None if the bank states none."""
    closing_minor: int


@dataclass(slots=True)
class BankStatement:
    """The content of a file of bank statements: the payments, and what is not one."""

    payments: list[pb.Payment] = field(default_factory=list)
    unposted: list[Unposted] = field(default_factory=list)
    accounts: dict[tuple[str, str], BankAccount] = field(default_factory=dict)
    """By IBAN and currency, the account as its last statement in the file closes it."""
    statements: int = 0
    debits: int = 0
    """Booked entries of money that left the account: payouts and costs of the bank. They are no payments."""
    pending: int = 0
    """Entries that are not booked."""


class _Reader:
    def __init__(self, path: Path, accounts: Mapping[str, str], after: int | None) -> None:
        self.path, self.accounts, self.after = path, accounts, after
        self.lines: dict[Element, int] = {}
        self.prefix = ""
        self.result = BankStatement()
        self.years: dict[tuple[str, str], str] = {}
        self.ids: dict[tuple[str, str], int] = {}
        """Line of each payment by jurisdiction and id."""
        self.by_end_to_end: dict[tuple[str, str], str] = {}
        """Id of a payment by jurisdiction and the payer's own id; empty if several payments have it."""

    def refuse(self, element: Element | int, clause: str) -> NoReturn:
        line = element if isinstance(element, int) else self.lines[element]
        place = f"{self.path}:{line}" if line else str(self.path)
        raise LuxorError.from_reason("BANK_STATEMENT_WRONG", path=place, why=clause)

    def all(self, element: Element, name: str) -> list[Element]:
        return element.findall("/".join(self.prefix + part for part in name.split("/")))

    def text(self, element: Element, name: str) -> str:
        elements = self.all(element, name)
        return " ".join((elements[0].text or "").split()) if elements else ""

    def one(self, element: Element, name: str) -> Element:
        elements = self.all(element, name)
        if len(elements) != 1:
            tag = element.tag.removeprefix(self.prefix)
            self.refuse(element, f"has {len(elements)} elements {name} in {tag}; it has one")
        return elements[0]

    def amount(self, element: Element, currency: str) -> int:
        """Return an amount in minor units; it is in the currency of the account and not negative."""
        own = element.get("Ccy", "")
        if own != currency:
            self.refuse(element, f"has an amount in {own!r} on an account in {currency}")
        text = (element.text or "").strip()
        try:
            minor = parse_minor(text.rstrip("0").rstrip(".") if "." in text else text, currency)
        except (MoneyError, ValueError) as error:
            self.refuse(element, f"has an amount that is none: {error}")
        if minor < 0:
            self.refuse(element, f"has the amount {text}; a direction is stated by CdtDbtInd, not by a sign")
        return minor

    def sign(self, element: Element) -> int:
        """Return 1 for a credit and -1 for a debit."""
        indicator = self.one(element, "CdtDbtInd")
        text = (indicator.text or "").strip()
        if text not in ("CRDT", "DBIT"):
            self.refuse(indicator, f"has the CdtDbtInd {text!r}, which is neither CRDT nor DBIT")
        return 1 if text == "CRDT" else -1

    def flag(self, element: Element, name: str) -> bool:
        text = self.text(element, name)
        if text not in ("", "true", "false", "1", "0"):
            self.refuse(element, f"has the {name} {text!r}, which is neither true nor false")
        return text in ("true", "1")

    def read(self) -> BankStatement:
        try:
            root = root_of(self.path.read_bytes(), bytes_max=BYTES_MAX, depth_max=DEPTH_MAX, lines=self.lines)
        except XmlError as error:
            self.refuse(error.line, f"is refused: {error.message}")
        namespace, _, name = root.tag.removeprefix("{").rpartition("}")
        if name != "Document" or namespace not in [NAMESPACE + version for version in VERSIONS]:
            self.refuse(root, f"begins with {root.tag!r}, and not with Document of {NAMESPACE}02 or .08")
        self.prefix = f"{{{namespace}}}"
        message = self.one(root, "BkToCstmrStmt")
        self._complete(self.one(message, "GrpHdr"), "MsgPgntn")
        statements = self.all(message, "Stmt")
        if not statements:
            self.refuse(message, "has no statement (Stmt)")
        for statement in statements:
            self._statement(statement)
        self.result.statements = len(statements)
        self.result.payments.sort(key=lambda payment: bool(payment.reverses_id))
        return self.result

    def _complete(self, element: Element, pages: str) -> None:
        for each in self.all(element, pages):
            if (self.text(each, "PgNb"), self.flag(each, "LastPgInd")) != ("1", True):
                self.refuse(each, "is one page of several; ask the bank for the statement as one file")

    def _statement(self, statement: Element) -> None:
        self._complete(statement, "StmtPgntn")
        account = self.one(statement, "Acct")
        iban = self.text(account, "Id/IBAN")
        if not is_iban(iban):
            self.refuse(account, f"has the account {iban!r}, which is no IBAN with correct check digits")
        if iban not in self.accounts:
            self.refuse(account, f"is about the account {iban}, of which no jurisdiction is stated")
        opening, currency = self._balance(statement, OPENING, account)
        closing, _ = self._balance(statement, (CLOSING,), account)
        self._follows(statement, BankAccount(iban, currency, self._number(statement), closing), opening)
        booked = sum(self._entry(entry, currency, iban) for entry in self.all(statement, "Ntry"))
        if opening + booked != closing:
            first, entries, last = (decimal_text(each, currency) for each in (opening, booked, closing))
            clause = f"opens with {first}, has booked entries of {entries}, and closes with {last} {currency}"
            self.refuse(statement, f"{clause}; an entry is missing or altered")

    def _follows(self, statement: Element, account: "BankAccount", opening: int) -> None:
        """Refuse a statement that does not follow the one before it of its account."""
        key, number, year = (account.iban, account.currency), account.number, self.text(statement, "CreDtTm")[:4]
        before = self.result.accounts.get(key)
        last = before.number if before else self.after
        is_first_of_year = before is not None and number == 1 and year != self.years[key]
        if last is not None and number != last + 1 and not is_first_of_year:
            stated = "no sequence number" if number is None else f"the sequence number {number}"
            self.refuse(statement, f"has a statement of {account.iban} with {stated}; the next number is {last + 1}")
        if before and opening != before.closing_minor:
            texts = (decimal_text(amount, account.currency) for amount in (opening, before.closing_minor))
            self.refuse(
                statement, f"opens {account.iban} with {' and not '.join(texts)}, the closing balance before it"
            )
        self.result.accounts[key], self.years[key] = account, year

    def _number(self, statement: Element) -> int | None:
        text = self.text(statement, "ElctrncSeqNb") or self.text(statement, "LglSeqNb")
        if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
            self.refuse(statement, f"has the sequence number {text!r}, which has not 1 to 18 digits")
        return int(text) if text else None

    def _balance(self, statement: Element, codes: tuple[str, ...], account: Element) -> tuple[int, str]:
        for code in codes:
            elements = [each for each in self.all(statement, "Bal") if self.text(each, "Tp/CdOrPrtry/Cd") == code]
            if len(elements) > 1:
                self.refuse(elements[1], f"has the balance {code} for the second time")
            if elements:
                amount = self.one(elements[0], "Amt")
                currency = self.text(account, "Ccy") or amount.get("Ccy", "")
                return self.sign(elements[0]) * self.amount(amount, currency), currency
        self.refuse(statement, f"has no balance {' or '.join(codes)}, so its completeness is not proven")

    def _entry(self, entry: Element, currency: str, iban: str) -> int:
        """Add the payments of an entry; return its signed amount, 0 if it is not booked."""
        amount, sign = self.amount(self.one(entry, "Amt"), currency), self.sign(entry)
        status_element = self.one(entry, "Sts")
        status = self.text(status_element, "Cd") or (status_element.text or "").strip()
        if status not in ("BOOK", "PDNG", "INFO", "FUTR"):
            self.refuse(
                status_element, f"has an entry with the status {status!r}, which is not BOOK, PDNG, INFO or FUTR"
            )
        if status != "BOOK":
            self.result.pending += 1
            return 0
        is_reversal = self.flag(entry, "RvslInd")
        if sign < 0 and not is_reversal:
            self.result.debits += 1
            return -amount
        for transaction in self._transactions(entry, amount, currency, iban, is_reversal):
            self._add(transaction, sign, is_reversal)
        return sign * amount

    def _transactions(
        self, entry: Element, amount: int, currency: str, iban: str, is_reversal: bool
    ) -> "Iterator[_Transaction]":
        reference = self.text(entry, "AcctSvcrRef")
        day = self.text(entry, "BookgDt/Dt") or self.text(entry, "BookgDt/DtTm")[:10]
        details = self.all(entry, "NtryDtls/TxDtls")
        counts = self.all(entry, "NtryDtls/Btch/NbOfTxs")
        expected = sum(self._count(each) for each in counts)
        jurisdiction = self.accounts[iban]
        if len(details) <= 1 and expected <= 1:
            detail = details[0] if details else entry
            own = self.text(detail, "Refs/AcctSvcrRef")
            yield _Transaction(self.lines[entry], detail, reference or own, own, day, jurisdiction, currency, amount)
            return
        if not details:
            # The bank states a batch by its sum alone. It is one payment without a reference.
            yield _Transaction(self.lines[entry], entry, reference, "", day, jurisdiction, currency, amount)
            return
        if expected and expected != len(details):
            self.refuse(entry, f"has a batch of {expected} transactions and the details of {len(details)}")
        total = 0
        for place, detail in enumerate(details, 1):
            amounts = self._amounts(detail)
            if not amounts:
                self.refuse(detail, f"has the transaction {place} of a batch without an amount in {currency}")
            part = self.amount(amounts[0], currency)
            total += part
            own = self.text(detail, "Refs/AcctSvcrRef")
            has_own_id = own not in ("", reference) and not is_reversal
            ident = own if has_own_id else f"{reference}/{place}" if reference else ""
            yield _Transaction(self.lines[detail], detail, ident, own, day, jurisdiction, currency, part)
        if total != amount:
            texts = decimal_text(total, currency), decimal_text(amount, currency)
            self.refuse(entry, f"has transactions of {texts[0]} in an entry of {texts[1]} {currency}")

    def _amounts(self, detail: Element) -> list[Element]:
        return self.all(detail, "Amt") or self.all(detail, "AmtDtls/TxAmt/Amt")

    def _count(self, element: Element) -> int:
        text = (element.text or "").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            self.refuse(element, f"has the number of transactions {text!r}, which has not 1 to 15 digits")
        return int(text)

    def _add(self, transaction: "_Transaction", sign: int, is_reversal: bool) -> None:
        """Add a payment, a reversal of one, or what an officer must post."""
        end_to_end = self.text(transaction.element, "Refs/EndToEndId")
        end_to_end = "" if end_to_end == NOT_PROVIDED else end_to_end
        ident = transaction.id or (f"{transaction.day}/{end_to_end}" if end_to_end and transaction.day else "")
        if sign > 0 and is_reversal:
            self._unposted(transaction, ident, "PAYOUT_RETURNED")
            return
        if not ident:
            self._unposted(transaction, ident, "NO_ID")
            return
        if transaction.amount == 0:
            self._unposted(transaction, ident, "NO_AMOUNT")
            return
        if is_reversal and (transaction.jurisdiction, ident) in self.ids:
            self._unposted(transaction, ident, "REVERSED_UNKNOWN")
            return
        if not transaction.id and (transaction.jurisdiction, ident) in self.ids:
            # Payers choose this id, so the same one twice is no error of the bank.
            self._unposted(transaction, ident, "ID_REPEATED")
            return
        if (transaction.jurisdiction, ident) in self.ids:
            first = self.ids[transaction.jurisdiction, ident]
            self.refuse(
                transaction.line, f"has the bank's id {ident!r} for the second time; the first is on line {first}"
            )
        self.ids[transaction.jurisdiction, ident] = transaction.line
        key = (transaction.jurisdiction, end_to_end)
        original = ""
        if is_reversal:
            original = transaction.own if transaction.own not in ("", ident) else self.by_end_to_end.get(key, "")
            if not original:
                self._unposted(transaction, ident, "REVERSED_UNKNOWN")
                return
        elif end_to_end:
            self.by_end_to_end[key] = "" if key in self.by_end_to_end else ident
        self.result.payments.append(
            pb.Payment(
                id=ident,
                reference="" if is_reversal else self._reference(transaction.element),
                jurisdiction=transaction.jurisdiction,
                currency=transaction.currency,
                amount_minor=transaction.amount,
                reverses_id=original,
            )
        )

    def _unposted(self, transaction: "_Transaction", ident: str, reason: str) -> None:
        self.result.unposted.append(Unposted(transaction.line, reason, ident, transaction.currency, transaction.amount))

    def _reference(self, detail: Element) -> str:
        """Return the payer's reference: the structured one, otherwise the only MRN in the text, otherwise the text."""
        structured = [(each.text or "").strip() for each in self.all(detail, "RmtInf/Strd/CdtrRefInf/Ref")]
        words = list(dict.fromkeys(filter(None, structured)))
        text = " ".join(words or [each.text or "" for each in self.all(detail, "RmtInf/Ustrd")])
        numbers: set[str] = {word for word in re.findall(r"[A-Z0-9]+", text.upper()) if is_valid(word)}
        if len(numbers) == 1 and len(words) <= 1:
            return numbers.pop()
        printable = "".join(character if character.isprintable() else " " for character in text)
        return " ".join(printable.split())[:REFERENCE_MAX]


@dataclass(frozen=True, slots=True)
class _Transaction:
    line: int
    element: Element
    id: str
    """The bank's id; empty if there is none."""
    own: str
    """The bank's id that the details state: of a reversal, that of the reversed payment."""
    day: str
    jurisdiction: str
    currency: str
    amount: int


def read_statement(path: Path, accounts: Mapping[str, str], after: int | None = None) -> BankStatement:
    """Read a file of bank statements; `accounts` has the jurisdiction of each IBAN. Raise LuxorError BANK_STATEMENT_WRONG with file, line and reason.

    `after` is the sequence number of the last statement before the file; None if no number is to be compared with the first one.
    Nothing of a file with an error is returned. Reversals come after the payments. Source: ISO 20022, camt.053.001.02 and .08.
    """
    return _Reader(path, accounts, after).read()
