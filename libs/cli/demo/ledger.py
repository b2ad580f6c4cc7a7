"""The ledger in the demo: waits until everything is posted, compares three records, and sums the debts."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from libs.cli.views.text import money
from libs.client.errors import LuxorError
from libs.client.revenue import ledger

LOOK_SECONDS: Final = 0.5
CURRENCIES_SHOWN: Final = 4
OWING: Final = {
    "vendor": "sellers and platforms under their scheme numbers",
    "carrier": "carriers and posts",
    "deferred": "deferred accounts",
    "guarantee": "guarantees",
    "declarant": "declarants",
    "border": "buyers at the border",
}
"""Debtors by kind of account."""


@dataclass
class Books:
    """The state of the ledger at the end."""

    consignments: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)
    """Between assessments, ledger and statistics."""
    entries: int = 0
    postings: int = 0
    chain_differences: list[str] = field(default_factory=list)
    """Differences in the chains: altered entries."""
    owed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Minor units by currency and kind of account."""
    accounts: Counter[str] = field(default_factory=Counter)
    """Accounts by kind."""


async def look(analyst: Any, expected: int, days: range, progress: Any, stuck_seconds: float) -> Books:
    """Wait until the ledger has `expected` consignments and there are no differences, then return its state.

    Differences that remain after `stuck_seconds` without progress are in the result. Raises LuxorError DEMO_STUCK if consignments are
    missing then.
    """
    books, before, moved = Books(), (-1, -1), time.monotonic()
    while True:
        found = [await ledger.reconcile_day(analyst, day, _unseen) for day in days]
        books.consignments = sum(each["consignments"] for each in found)
        books.differences = [difference for each in found for difference in each["differences"]]
        progress.step(books.consignments)
        now = books.consignments, len(books.differences)
        if books.consignments >= expected and not books.differences:
            break
        if now != before:
            before, moved = now, time.monotonic()
        elif time.monotonic() - moved > stuck_seconds:
            if books.consignments >= expected:
                break
            text = f"{books.consignments:,} in the ledger"
            raise LuxorError.from_reason("DEMO_STUCK", seconds=int(stuck_seconds), expected=expected, counts=text)
        await asyncio.sleep(LOOK_SECONDS)
    checked = await ledger.check_chains(analyst, _unseen)
    books.entries, books.postings, books.chain_differences = checked["entries"], checked["postings"], checked["faults"]
    for each in await ledger.balances(analyst):
        kind = each["account"].partition(":")[0]
        if kind in OWING and each["balance_minor"] > 0:
            books.owed[each["currency"], kind] += each["balance_minor"]
            books.accounts[kind] += 1
    return books


def _unseen(_: int) -> None:
    """Ignore the progress of parts."""


def lines(books: Books) -> Iterator[str]:
    """Yield the state as lines of text."""
    if books.differences:
        yield f"[red]{len(books.differences):,} differences[/] between assessments, ledger and statistics: {books.differences[0]['sentence']}"
    else:
        yield f"[green]Assessments, ledger and statistics agree[/] on [bold]{books.consignments:,}[/] consignments."
    chained = f"{books.entries:,} entries with {books.postings:,} postings, in 64 chains"
    yield (
        f"[red]{len(books.chain_differences):,} differences[/] in {chained}."
        if books.chain_differences
        else f"{chained}: nothing was altered."
    )
    sums: Counter[str] = Counter()
    for (currency, _), amount in books.owed.items():
        sums[currency] += amount
    for currency, total in sorted(sums.items())[:CURRENCIES_SHOWN]:
        parts = [
            f"{money(books.owed[currency, kind], currency)} by {words}"
            for kind, words in OWING.items()
            if books.owed[currency, kind]
        ]
        yield f"Owed: [bold]{money(total, currency)}[/], {', '.join(parts)}."
    if len(sums) > CURRENCIES_SHOWN:
        yield f"… and in {len(sums) - CURRENCIES_SHOWN} other currencies: luxor revenue balances."


def as_plain(books: Books) -> dict[str, Any]:
    """Return the state for `--json`."""
    return {
        "consignments": books.consignments,
        "differences": books.differences,
        "entries": books.entries,
        "postings": books.postings,
        "faults": books.chain_differences,
        "owed": [
            {"currency": currency, "account_kind": kind, "amount_minor": amount}
            for (currency, kind), amount in sorted(books.owed.items())
        ],
    }
