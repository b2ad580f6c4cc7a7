"""A ledger as tests use it: states go in, balances, entries and news come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

from libs.columns import Table
from libs.store.database import Database
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.revenue.commands.payments.record_payment import Payments
from services.revenue.commands.post import Posting
from services.revenue.commands.rebalance import Ledger
from services.revenue.feeds.clearance_states import StateHandler
from services.revenue.law.source.rulebook import Refund, Rulebook, Span
from services.revenue.ledger.line import pack
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.ledger.balances import Balances
from services.revenue.store.payments.payments import Payment, PaymentResult
from services.revenue.store.positions import days
from services.revenue.store.proofs.chain import Chain
from tests.revenue.ledger.states import State, batch


def rules(*refunds: Refund) -> RefundRules:
    """Refunds of the EU's rulebook; without any, all of a duty and of a tax, whatever the reason."""
    told = refunds or (
        Refund(
            start=date(2020, 1, 1),
            reference="x",
            charges=("flat_duty", "vat_low_value"),
            because=("undelivered", "withdrawn", "faulty", "refused", "destroyed"),
        ),
    )
    book = cast(Rulebook, SimpleNamespace(jurisdiction="EU", refunds=told, period=Span(start=date(2020, 1, 1))))
    return RefundRules([book])


_TABLES = (
    "ledger_page", "ledger_account_page", "ledger_entry", "ledger_posting", "ledger_balance", "ledger_holding",
    "ledger_turnover", "ledger_turnover_day",
    "ledger_position", "ledger_position_page", "ledger_open", "ledger_credit", "ledger_drawn", "ledger_waiting",
    "ledger_payment", "ledger_payout", "ledger_name", "ledger_day", "ledger_seal", "news", "outbox", "batch",
)  # fmt: skip


async def unguarded(database: Database) -> None:
    """Take the guards off entries and postings, as an intruder could who has all rights on the store: what he alters the proofs find."""
    await _guard(database, "disable")


async def guarded(database: Database) -> None:
    """Put the guards on again: a database whose definitions a test changed is made anew for the next one, which takes seconds."""
    await _guard(database, "enable")


async def _guard(database: Database, word: str) -> None:
    async with database.transaction() as tx:
        for table in ("ledger_page", "ledger_account_page", "ledger_entry", "ledger_posting"):
            await tx.raw.execute(f"alter table {table} {word} trigger final")
        for table in ("ledger_entry", "ledger_posting"):
            await tx.raw.execute(f"alter table {table} {word} trigger packed")


async def emptied(database: Database) -> None:
    """Bring a database to an empty ledger: made where it is not there yet, for examples of one property after another."""
    await unguarded(database)
    async with database.transaction() as tx:
        for table in _TABLES:
            await tx.raw.execute(f"delete from {table}")
        await tx.raw.execute("update ledger_head set number = 0, hash = decode(repeat('00', 32), 'hex'), booked_at = 0")
    await guarded(database)


_TOLD = ("event", "number", "debt_status", "paid_minor", "refunded_minor")


class Books:
    """The ledger without its edge."""

    def __init__(self, database: Database, refunds: RefundRules | None = None) -> None:
        self.database = database
        self.ledger = Ledger(database)
        refund_rules = refunds or rules()
        self.posting = Posting(self.ledger, lambda: refund_rules)
        self.intake = StateHandler(self.posting)
        self.balances = Balances(database)
        self.payments = Payments(self.ledger)
        self.chain = Chain(database, self.ledger.names)

    async def take(self, *states: State, epoch: int = 0) -> None:
        """A page of clearance's feed."""
        page = batch(states)
        prepared = await self.intake.prepare([replace(page, cursor=page.cursor._replace(epoch=epoch))])
        async with self.database.transaction() as tx:
            await self.intake.apply(tx, prepared)

    async def pay(self, *payments: Payment) -> list[PaymentResult]:
        """A request of payments."""
        return await self.payments.record(payments, "officer-1")

    async def standing(self, moment: int | None = None) -> dict[str, int]:
        """What each account stands at in euros; accounts at nothing are left out."""
        holdings = await self.balances.holdings(rows_max=10_000)
        found = await self.balances.at([each for each in holdings if each.currency == "EUR"], moment)
        return {each.name: each.minor for each in found if each.minor}

    async def postings(self) -> list[tuple[str, int, int, str, int, int]]:
        """All postings: MRN, kind of entry, number, account, kind of charge, amount, in the order of booking."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select p.mrn, p.kind, p.number, n.name, p.charge, p.amount from all_postings p "
                "join ledger_name n on n.id = p.account "
                "order by p.booked_at, p.partition, p.number, p.place"
            )
        return [tuple(row) for row in rows]

    async def kinds(self, mrn: str) -> list[int]:
        """Kinds of a consignment's entries in their order."""
        return [entry.kind for entry in await self.chain.of_mrn(mrn, rows_max=1_000)]

    async def unbalanced(self) -> list[Any]:
        """Entries whose postings do not sum to nothing."""
        async with self.database.connection() as reader:
            return list(
                await reader.raw.fetch(
                    "select partition, number, sum(amount) from all_postings group by day, partition, number "
                    "having sum(amount) <> 0 or count(*) < 2"
                )
            )

    async def news(self) -> list[dict[str, Any]]:
        """What was announced, in its order."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch("select payload from batch order by id")
        told: list[dict[str, Any]] = []
        for row in rows:
            table = Table.parse(RevenueColumns, row["payload"])
            numbers = {name: table.ints(name).values.tolist() for name in _TOLD}
            told += [
                {"mrn": mrn, **{name: numbers[name][row] for name in _TOLD}}
                for row, mrn in enumerate(table.strings("mrn").tolist())
            ]
        return told

    async def positions(self, mrns: Iterable[str]) -> list[tuple[Any, ...]]:
        """What is held of consignments, but for where their entries stand."""
        async with self.database.connection(snapshot=True) as reader:
            part = await days.of_mrns(reader, list(mrns))
        held = part.positions
        columns = (held.version, held.paid, held.open, held.refunded, held.announced)
        return list(zip(part.mrn, *(each.tolist() for each in columns), pack(held.lines, held.offsets), strict=True))


def net(postings: Sequence[tuple[str, int, int, str, int, int]]) -> dict[tuple[str, int], int]:
    """Sums by account and kind of charge; nothing is left out but what sums to nothing."""
    sums: dict[tuple[str, int], int] = {}
    for _, _, _, account, kind, amount in postings:
        sums[account, kind] = sums.get((account, kind), 0) + amount
    return {key: total for key, total in sums.items() if total}
