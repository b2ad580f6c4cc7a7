"""The ledger as an officer's or treasury's program asks for it, as plain values; and the comparison with statistics."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.client import Answer, Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain, prefix_of
from libs.client.revenue.money_tables import read_table
from libs.customs.partitions import PARTITIONS
from libs.customs.time import day_text
from luxor.common.v1.common_pb2 import ChargeKind, Collector
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub

PAGE: Final = 1_000
BATCH: Final = 1_000
CHECK_SECONDS: Final = 180.0
"""What one part of a chain may take: as a day ends, all that was booked on it is summed once more."""
HASH_BYTES: Final = 32
COLUMNS: Final = ("id", "reference", "jurisdiction", "currency", "amount", "reverses_id")
"""Columns of a table of payments; amounts in whole units such as 12.50; reverses_id may be left out."""
STATISTICS_DIFFERS: Final = "STATISTICS_DIFFERS"

TotalKey = tuple[str, str, str, str]
"""Destination, kind, collector, currency."""


async def put_account(client: Client, account: pb.Account, fields: Sequence[str] = ()) -> dict[str, Any]:
    """Open a deferred account or a guarantee, or change `fields` of it; return the account as it stands now.

    Without `fields` those are changed that have a value. Raise LuxorError where it is refused.
    """
    mask = FieldMask(paths=fields) if fields else None
    request = pb.PutAccountsRequest(request_id=str(uuid.uuid4()), accounts=[account], update_mask=mask)
    answer = await _ask(client, "PutAccounts", request, pb.PutAccountsResponse)
    result = answer.results[0]
    if result.HasField("error"):
        raise LuxorError(result.error.reason, result.error.message, result.error.hint)
    return _opened(result.account)


async def open_deferred(client: Client, declarants: Sequence[str], filers: Sequence[str]) -> None:
    """Open a deferred account without limit for each declarant, on which `filers` may draw; raise LuxorError where one is refused.

    Accounts that are open already get the filers in addition.
    """
    request = pb.PutAccountsRequest(request_id=str(uuid.uuid4()))
    for declarant in declarants:
        request.accounts.add(name=f"deferred:{declarant}", currency="EUR", adds_filers=filers)
    answer = await _ask(client, "PutAccounts", request, pb.PutAccountsResponse)
    for result in answer.results:
        if result.HasField("error"):
            raise LuxorError(result.error.reason, result.error.message, result.error.hint)


def _opened(account: pb.Account) -> dict[str, Any]:
    limit = account.limit_minor if account.HasField("limit_minor") else None
    return {
        "name": account.name,
        "currency": account.currency,
        "limit_minor": limit,
        "holder": account.holder,
        "closed": account.closed,
        "filers": list(account.filers),
    }


async def opened_accounts(client: Client, *, prefix: str = "") -> AsyncIterator[dict[str, Any]]:
    """Return the accounts that officers opened, by name, with their amounts."""
    request = pb.ListAccountsRequest(prefix=prefix, page_size=PAGE)
    async for answer in _pages(client, "ListAccounts", request, pb.ListAccountsResponse):
        for each in answer.accounts:
            yield _opened(each.account) | {"used_minor": each.used_minor}


async def open_consignments(client: Client, account: str) -> AsyncIterator[dict[str, Any]]:
    """Return the open items of an account, by currency, day and MRN."""
    request = pb.ListOpenItemsRequest(account=account, page_size=PAGE)
    async for answer in _pages(client, "ListOpenItems", request, pb.ListOpenItemsResponse):
        for each in answer.open_items:
            yield {
                "mrn": each.mrn,
                "day": each.day,
                "currency": each.currency,
                "amount_minor": each.amount_minor,
                "alone": each.sole_debtor,
            }


async def balances(client: Client, *, prefix: str = "", at_micros: int | None = None) -> list[dict[str, Any]]:
    """Return what accounts stand at, or stood at (microseconds since 1970-01-01 UTC), by name and currency."""
    request = pb.ListBalancesRequest(prefix=prefix, page_size=PAGE)
    if at_micros is not None:
        stamp = Timestamp()
        stamp.FromMicroseconds(at_micros)
        request.at.CopyFrom(stamp)
    return [
        plain(each) | {"balance_minor": each.balance_minor}
        async for answer in _pages(client, "ListBalances", request, pb.ListBalancesResponse)
        for each in answer.balances
    ]


async def entries(
    client: Client, *, mrn: str = "", account: str = "", from_day: int = 0, to_day: int = 0
) -> AsyncIterator[dict[str, Any]]:
    """Return the entries of a consignment, or of an account on some days, in their order."""
    first, last = (day_text(day) if day else "" for day in (from_day, to_day))
    request = pb.ListEntriesRequest(from_day=first, to_day=last, page_size=PAGE)
    if mrn:
        request.mrn = mrn
    else:
        request.account = account
    async for answer in _pages(client, "ListEntries", request, pb.ListEntriesResponse):
        for each in answer.entries:
            yield plain(each)


async def monthly_closes(
    client: Client, month: str, *, prefix: str = "", overdue: bool = False
) -> list[dict[str, Any]]:
    """Return what accounts owe for a month such as 2026-11, when it is due and what is open, by name and currency."""
    request = pb.ListMonthlyClosesRequest(month=month, prefix=prefix, overdue=overdue)
    return [
        plain(each) | {name: getattr(each, name) for name in ("closing_minor", "outstanding_minor")}
        async for answer in _pages(client, "ListMonthlyCloses", request, pb.ListMonthlyClosesResponse)
        for each in answer.closes
    ]


async def statement(client: Client, account: str, currency: str, month: str) -> dict[str, Any]:
    """Return the statement of an account for a month such as 2026-11, with all its lines; without a currency in its only one."""
    result: dict[str, Any] = {}
    token = ""
    while True:
        request = pb.GetStatementRequest(
            account=account, currency=currency, month=month, page_size=PAGE, page_token=token
        )
        answer = await _ask(client, "GetStatement", request, pb.GetStatementResponse)
        if not result:
            currency = answer.currency
            result = {"account": account, "currency": currency, "month": month, "lines": []}
            result |= {
                name: getattr(answer, name)
                for name in ("opening_minor", "debit_minor", "credit_minor", "closing_minor")
            }
            result["totals"] = [plain(each) for each in answer.totals]
        result["lines"] += [plain(each) for each in answer.lines]
        token = answer.next_page_token
        if not token:
            return result


def read_payments(path: Path) -> list[pb.Payment]:
    """Read a CSV of payments with the columns COLUMNS; raise LuxorError PAYMENT_FILE_WRONG naming the line."""
    return read_table(path, COLUMNS[:5], COLUMNS[5:], _payment, "PAYMENT_FILE_WRONG")


def _payment(cells: Mapping[str, str], minor: int, error_of: Callable[[str], LuxorError]) -> pb.Payment:
    return pb.Payment(
        id=cells["id"],
        reference=cells["reference"],
        jurisdiction=cells["jurisdiction"],
        currency=cells["currency"],
        amount_minor=minor,
        reverses_id=cells["reverses_id"],
    )


async def record_payments(client: Client, payments: Sequence[pb.Payment]) -> list[dict[str, Any]]:
    """Post payments, 1,000 in a request; return the result of each. A payment is posted only once."""
    rows: list[dict[str, Any]] = []
    for start in range(0, len(payments), BATCH):
        part = payments[start : start + BATCH]
        request = pb.RecordPaymentsRequest(request_id=str(uuid.uuid4()), payments=part)
        answer = await _ask(client, "RecordPayments", request, pb.RecordPaymentsResponse)
        for payment, result in zip(part, answer.results, strict=True):
            rows.append(
                plain(payment)
                | plain(result)
                | {"outcome": pb.PaymentOutcome.Name(result.outcome).removeprefix("PAYMENT_OUTCOME_")}
            )
    return rows


async def iterate_payments(client: Client, *, unmatched: bool = False) -> AsyncIterator[dict[str, Any]]:
    """Return payments as they are stored in the ledger, by jurisdiction and id; all, or only unmatched ones."""
    request = pb.ListPaymentsRequest(unmatched=unmatched, page_size=PAGE)
    async for answer in _pages(client, "ListPayments", request, pb.ListPaymentsResponse):
        for each in answer.payments:
            result = plain(each)
            outcome = pb.PaymentOutcome.Name(each.result.outcome).removeprefix("PAYMENT_OUTCOME_")
            yield result.pop("payment") | result.pop("result") | result | {"outcome": outcome}


async def proof(client: Client, discrepancies_max: int = PAGE) -> dict[str, Any]:
    """Return what the background proofs of the ledger have proven, and the first of what they found."""
    answer = await _ask(
        client, "GetProof", pb.GetProofRequest(discrepancies_max=discrepancies_max), pb.GetProofResponse
    )
    return _proof(answer.proof) | {"found": [plain(each) for each in answer.discrepancies]}


def _proof(proof: pb.Proof) -> dict[str, Any]:
    def moment(stamp: Timestamp) -> str | None:
        return stamp.ToDatetime(UTC).isoformat(timespec="seconds") if stamp.seconds else None

    return {
        "proven_until": moment(proof.proven_until),
        "entries": proof.entries,
        "postings": proof.postings,
        "comparisons": proof.comparisons,
        "entries_left": proof.entries_left,
        "faults": proof.discrepancies,
        "seal": _seal(proof.seal) if proof.HasField("seal") else None,
        "complete_at": moment(proof.complete_at),
        "positions": [plain(each) for each in proof.positions],
        "round_began_at": moment(proof.round_began_at),
        "round_ended_at": moment(proof.round_ended_at),
    }


async def prove(client: Client, progress: Callable[[dict[str, Any]], None]) -> None:
    """Prove what was booked when this began; `progress` gets what is proven after each part."""
    request = pb.ProveLedgerRequest()
    while True:
        answer = await client.ask(
            "revenue", LedgerServiceStub, "ProveLedger", request, pb.ProveLedgerResponse, CHECK_SECONDS
        )
        request = pb.ProveLedgerRequest(until=answer.until)
        progress(_proof(answer.proof))
        if answer.done:
            return


async def totals_of_day(client: Client, day: int) -> dict[str, Any]:
    """Return the ledger's sums of consignments accepted on a day, and where statistics counted something else."""
    answer = await _ask(
        client, "ReconcileDay", pb.ReconcileDayRequest(day=day_text(day), totals_only=True), pb.ReconcileDayResponse
    )
    totals = {
        (
            each.destination,
            _name(ChargeKind, each.kind),
            _name(Collector, each.collector),
            each.currency,
        ): each.amount_minor
        for each in answer.totals
    }
    differences = list(compare_totals(totals, await _counted(client, day)))
    return {
        "day": day,
        "consignments": answer.consignments,
        "differences": differences,
        "totals": _plain_totals(totals),
    }


async def reconcile_day(client: Client, day: int, progress: Callable[[int], None]) -> dict[str, Any]:
    """Compare, for consignments accepted on a day, assessments, ledger and statistics; name each difference.

    `progress` is told how many consignments were compared since it was told last.
    """
    totals: dict[TotalKey, int] = {}
    differences: list[dict[str, Any]] = []
    consignments = 0
    request = pb.ReconcileDayRequest(day=day_text(day), page_size=PAGE)
    async for answer in _pages(client, "ReconcileDay", request, pb.ReconcileDayResponse):
        for each in answer.totals:
            key = (each.destination, _name(ChargeKind, each.kind), _name(Collector, each.collector), each.currency)
            totals[key] = totals.get(key, 0) + each.amount_minor
        differences += [plain(each) for each in answer.discrepancies]
        consignments += answer.consignments
        progress(answer.consignments)
    counted = await _counted(client, day)
    differences += list(compare_totals(totals, counted))
    return {
        "day": day,
        "consignments": consignments,
        "differences": differences,
        "totals": _plain_totals(totals),
    }


def _plain_totals(totals: Mapping[TotalKey, int]) -> list[dict[str, Any]]:
    return [
        dict(zip(("destination", "kind", "collector", "currency"), key, strict=True)) | {"amount_minor": amount}
        for key, amount in sorted(totals.items())
    ]


def compare_totals(ledger: Mapping[TotalKey, int], counted: Mapping[TotalKey, int]) -> Iterator[dict[str, Any]]:
    """Return a difference for each amount on which the ledger and statistics disagree; 0 and absent are equal."""
    for key in sorted({*ledger, *counted}):
        mine, theirs = ledger.get(key, 0), counted.get(key, 0)
        if mine != theirs:
            destination, kind, collector, currency = key
            yield {
                "reason": STATISTICS_DIFFERS,
                "sentence": f"{kind.capitalize()} to {destination} by {collector}: the ledger holds {mine} minor units, statistics counted {theirs}.",
                "currency": currency,
                "posted_minor": mine,
                "counted_minor": theirs,
            }


async def _counted(client: Client, day: int) -> dict[TotalKey, int]:
    names = ("destination", "charge_kind", "collector", "currency")
    answer = await client.statistics(day, day, group_by=names, filters={})
    found: dict[TotalKey, int] = {}
    for row in answer.revenue:
        destination, kind, collector, currency = row.keys
        key = (destination, kind.lower(), collector.lower(), currency)
        found[key] = found.get(key, 0) + row.amount_minor
    return found


def parse_seal(text: str) -> tuple[int, bytes]:
    """Return a seal from NUMBER:HASH with the hash in hexadecimal. Raise LuxorError SEAL_UNREADABLE."""
    number, _, digest = text.strip().partition(":")
    try:
        found = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0, bytes.fromhex(digest)
    except ValueError:
        found = 0, b""
    if not found[0] or len(found[1]) != HASH_BYTES:
        raise LuxorError.from_reason("SEAL_UNREADABLE", value=text)
    return found


async def check_chains(
    client: Client, progress: Callable[[int], None], external_seal: tuple[int, bytes] | None = None
) -> dict[str, Any]:
    """Compute the chains of all partitions again; `progress` gets the number of entries that were checked since its last call.

    `external_seal` are number and hash of a seal that was kept outside. Tells the newest seal, its hash in hexadecimal.
    """
    result: dict[str, Any] = {"partitions": PARTITIONS, "entries": 0, "postings": 0, "seals": 0, "newest_seal": None}
    # Each partition finds the differences of seals and sums as a whole; they are reported once.
    faults: dict[str, None] = {}
    for partition in range(PARTITIONS):
        after, digest = 0, b""
        while True:
            request = pb.CheckChainRequest(partition=partition, after=after, hash=digest)
            if external_seal is not None:
                request.external_seal, request.external_seal_hash = external_seal
            answer = await client.ask(
                "revenue", LedgerServiceStub, "CheckChain", request, pb.CheckChainResponse, CHECK_SECONDS
            )
            for name in ("entries", "postings", "seals"):
                result[name] += getattr(answer, name)
            faults |= dict.fromkeys(answer.errors)
            if answer.HasField("newest_seal"):
                result["newest_seal"] = _seal(answer.newest_seal)
            progress(answer.entries)
            if answer.end or answer.last == after:
                break
            after, digest = answer.last, answer.hash
    return result | {"faults": list(faults)}


def _seal(seal: pb.Seal) -> dict[str, Any]:
    moment = seal.sealed_at.ToDatetime(UTC).isoformat(timespec="seconds")
    return {"number": seal.number, "sealed_at": moment, "hash": seal.hash.hex()}


def _name(enum: Any, number: int) -> str:
    name: str = enum.Name(number)
    return name.removeprefix(prefix_of(enum.DESCRIPTOR)).lower()


async def _ask(client: Client, method: str, request: Any, kind: type[Answer]) -> Answer:
    return await client.ask("revenue", LedgerServiceStub, method, request, kind)


def _pages(client: Client, method: str, request: Any, kind: type[Answer]) -> AsyncIterator[Answer]:
    return pages(client, "revenue", LedgerServiceStub, method, request, kind)
