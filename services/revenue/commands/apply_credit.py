"""Apply credit: an account's credit balance pays its open items, and a payment by an MRN pays the debt that comes after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from libs.store.database import Transaction
from libs.telemetry import get_logger
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import partition_of_mrn, unmatched
from services.revenue.ledger.allocation import Booking, credit_postings, credited, entries_of, match, owes_alone
from services.revenue.ledger.charge import ChargePage
from services.revenue.ledger.entry import Int64, LedgerError
from services.revenue.ledger.line import OPEN
from services.revenue.ledger.position import settled
from services.revenue.ledger.rebalance import Target
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.credit import CreditItem, Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.payments import payments, waiting
from services.revenue.store.payments.payments import MatchedPayment
from services.revenue.store.positions import positions
from services.revenue.store.positions.stored import Positions

ITEMS_MAX: Final = 50
"""Consignments that credit pays in one transaction."""
PAID_MAX: Final = 10**16
"""Largest sum of the payments of one consignment, minor units."""
REFERENCE: Final = "credit"
"""Reference of entries by which credit pays a debt."""
log = get_logger()


@dataclass(frozen=True, slots=True)
class CreditTransfer:
    """An amount of an account's credit that pays a consignment; negative if it is reversed."""

    mrn: str
    account: int
    minor: int
    reference: str


def unchanged_page(mrns: list[str], positions: Positions) -> ChargePage:
    """Return consignments as a page that changes only the paid amounts."""
    return ChargePage(
        mrns,
        np.array([partition_of_mrn(mrn) for mrn in mrns], np.int64),
        positions.version,
        positions.filing_version,
        positions.day,
        positions.destination,
        positions.currency,
        positions.jurisdiction,
        positions.basis,
        positions.offsets,
        positions.lines,
    )


def open_amounts(positions: Positions, paid: Int64) -> list[int]:
    """Return the open amount of each consignment after `paid` is paid."""
    _, still = settled(positions.lines, positions.offsets, paid, positions.paid_out)
    return [int(each) for each in still]


async def pay(ledger: Ledger, tx: Transaction, heads: Heads, shares: Sequence[CreditTransfer]) -> None:
    """Pay consignments, whose heads are locked, from accounts. Raises LedgerError."""
    mrns = sorted({each.mrn for each in shares})
    place = {mrn: row for row, mrn in enumerate(mrns)}
    held = await positions.read(tx, mrns)
    paid = held.paid.copy()
    bookings = []
    for each in shares:
        row = place[each.mrn]
        lines = held.lines[held.offsets[row] : held.offsets[row + 1]]
        before = credited(lines, int(paid[row]))
        paid[row] += each.minor
        postings = [(each.account, each.minor), *credit_postings(before, credited(lines, int(paid[row])))]
        bookings.append(
            Booking(
                partition_of_mrn(each.mrn),
                each.mrn,
                0,
                each.reference,
                held.currency[row],
                held.destination[row],
                each.minor < 0,
                postings,
            )
        )
    await ledger.rebalance(
        tx, heads, Target(unchanged_page(mrns, held), paid, held.paid_out, entries_of(bookings)), held
    )


async def match_waiting(ledger: Ledger, tx: Transaction, heads: Heads, mrns: Sequence[str]) -> None:
    """Pay debts that came after their payment; their heads are locked. A waiting payment is used once."""
    rows = await waiting.read(tx, mrns)
    if not rows:
        return
    distinct = sorted({row.mrn for row in rows})
    place = {mrn: number for number, mrn in enumerate(distinct)}
    held = await positions.read(tx, distinct)
    paid, owed = held.paid.copy(), open_amounts(held, held.paid)
    ids = await ledger.names.ids(tx, {unmatched(row.jurisdiction) for row in rows})
    names = await ledger.names.texts(tx, np.unique(held.lines["debtor"]).tolist())
    shares, found = [], []
    for row in rows:
        at = place[row.mrn]
        own = held.lines[held.offsets[at] : held.offsets[at + 1]]
        own = own[own["how"] == OPEN]
        same = (held.currency[at], held.jurisdiction[at]) == (row.currency, row.jurisdiction)
        if not len(own) or not same or paid[at] + row.amount > PAID_MAX:
            continue
        told = match(row.amount, owed[at])
        owed[at] -= told.matched
        paid[at] += row.amount
        shares.append(CreditTransfer(row.mrn, ids[unmatched(row.jurisdiction)], row.amount, row.id))
        account = names[int(own["debtor"][0])]
        found.append(
            MatchedPayment(
                row.jurisdiction, row.id, told.outcome, account, told.matched, told.over, told.still_owed, row.mrn
            )
        )
    if shares:
        await pay(ledger, tx, heads, shares)
        await payments.match(tx, found)
        await waiting.remove(tx, [(each.mrn, each.jurisdiction, each.id) for each in found])


async def pay_by_credit(ledger: Ledger, tx: Transaction, heads: Heads, page: ChargePage) -> None:
    """Pay debts of a page, whose heads are locked, by the credit of their accounts; at most ITEMS_MAX of each account."""
    own = page.lines["how"] == OPEN
    rows = np.repeat(np.arange(len(page)), np.diff(page.offsets))[own].tolist()
    owing: dict[Key, set[int]] = {}
    for row, debtor in zip(rows, page.lines["debtor"][own].tolist(), strict=True):
        owing.setdefault((debtor, page.currency[row]), set()).add(row)
    if not owing:
        return
    wanted = {}
    stands = await credit.lock_unused(tx, {account for account, _ in owing})
    for key in stands:
        chosen = [CreditItem(page.mrn[row], int(page.day[row]), 0) for row in owing.get(key, ())]
        wanted[key] = sorted(chosen, key=lambda item: (item.day, item.mrn))
    await use_credit(ledger, tx, heads, stands, wanted)


async def use_credit(
    ledger: Ledger, tx: Transaction, heads: Heads, stands: Mapping[Key, int], items: Mapping[Key, Sequence[CreditItem]]
) -> int:
    """Pay consignments, whose heads are locked, by accounts' credit, or reverse such payments; return how many.

    `stands` is that credit, whose rows are locked. The number of statements does not depend on the number of accounts, because a
    page may have as many accounts as consignments.
    """
    asked = [(key, each) for key, minor in stands.items() if minor for each in items[key]]
    if not asked:
        return 0
    held = await positions.read(tx, [each.mrn for _, each in asked])
    owed = open_amounts(held, held.paid)
    used: list[tuple[Key, CreditItem]] = []
    lost: list[tuple[Key, CreditItem]] = []
    times: dict[Key, int] = {}
    changes: dict[Key, int] = {}
    for row, (key, each) in enumerate(asked):
        minor = stands[key] + changes.get(key, 0)
        if not minor or times.get(key, 0) == ITEMS_MAX:
            continue
        own = held.lines[held.offsets[row] : held.offsets[row + 1]]
        if minor > 0:
            fits = held.currency[row] == key[1] and owes_alone(own) and key[0] in own["debtor"][own["how"] == OPEN]
            part = min(minor, owed[row], PAID_MAX - int(held.paid[row])) if fits else 0
        else:
            part = -min(-minor, each.minor, int(held.paid[row]) if held.currency[row] == key[1] else 0)
            if not part:  # What was paid of it stands to somebody's credit by now.
                lost.append((key, replace(each, minor=-each.minor)))
        if part:
            used.append((key, replace(each, minor=part)))
            times[key] = times.get(key, 0) + 1
            changes[key] = changes.get(key, 0) - part
    await credit.add_paid_items(tx, [*used, *lost])
    if used:
        await credit.add(tx, changes)
        await pay(ledger, tx, heads, [CreditTransfer(each.mrn, key[0], each.minor, REFERENCE) for key, each in used])
    return len(used) + len(lost)


async def settle_once(ledger: Ledger, key: Key) -> int:
    """Use an account's credit for some open consignments, or reverse its use for some, in one transaction; return how many."""
    async with ledger.database.transaction() as tx:
        minor = await credit.stored(tx, key)
        if not minor:
            return 0
        items = await (credit.payable_items if minor > 0 else credit.items_paid_by)(tx, key, ITEMS_MAX)
        heads = await ledger.book.lock(tx, {partition_of_mrn(each.mrn) for each in items})
        return await use_credit(ledger, tx, heads, await credit.lock(tx, [key]), {key: items}) if items else 0


async def settle_some(ledger: Ledger, keys: Sequence[Key], transactions_max: int) -> int:
    """Use accounts' credit in at most so many transactions; return the number of paid or reversed consignments."""
    total = 0
    for key in keys:
        while transactions_max > 0:
            transactions_max -= 1
            try:
                done = await settle_once(ledger, key)
            except LedgerError as error:  # of this account alone
                log.warning("LEDGER_SETTLING_POSTPONED", account=key[0], why=str(error))
                break
            total += done
            if not done:
                break
    return total
