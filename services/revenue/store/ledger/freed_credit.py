"""Whose credit money became that a consignment had in a currency which its debt lost since."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, TypeAlias

from libs.store.database import Transaction
from services.revenue.ledger.account import partition_of_mrn
from services.revenue.ledger.allocation import FREED
from services.revenue.store.ledger.pages import postings_of
from services.revenue.store.positions import positions

BankReference: TypeAlias = tuple[str, str]
"""An MRN, and the bank's id of a payment or payout that was booked for it."""
# Of each consignment its own entries alone, found by where they stand. A bank may call a payment as it likes, but no version of a state books it.
_ENTRIES: Final = f"""
select given.mrn, given.id, e.number, e.version, e.account
from unnest((select $2::text[]), (select $3::smallint[]), (select $4::text[]), (select $7::bigint[]), (select $8::integer[]))
    as given(mrn, partition, id, number, day)
cross join lateral (
    select number, version, account from ({postings_of("$1::integer[]", "given.day", "given.partition", "given.number")}) own
    where place = 0
        and coalesce(nullif(reverses, 0), kind) = $5
        and (reference = given.id and version = 0 or reference = $6 and version > 0) offset 0
) e order by given.mrn, given.id, e.number
"""  # noqa: S608  # a condition of our own


async def holders(tx: Transaction, booked: Collection[BankReference], kind: int) -> dict[BankReference, list[int]]:
    """Return the accounts that got the credit when the debt changed its currency, for payments that belong to no consignment any more.

    `kind` is that of the entries (luxor.revenue.v1.EntryKind): PAID for payments, PAID_OUT for payouts.
    """
    if not booked:
        return {}
    references = sorted(booked)
    held = await positions.read(tx, [mrn for mrn, _ in references])
    chosen = [references[row] for row in held.entry_rows().tolist()]
    days = held.entries["day"].tolist()
    rows = await tx.raw.fetch(
        _ENTRIES, sorted(set(days)), [mrn for mrn, _ in chosen], [partition_of_mrn(mrn) for mrn, _ in chosen], [ident for _, ident in chosen],
        kind, FREED, held.entries["number"].tolist(), days,
    )  # fmt: skip
    found: dict[BankReference, list[int]] = {}
    versions: dict[BankReference, int | None] = {}
    for row in rows:
        key = (row["mrn"], row["id"])
        if not row["version"]:
            versions[key] = None
        # The first time after it was booked: later ones are of other money.
        elif key in versions and versions[key] in (None, row["version"]):
            versions[key] = row["version"]
            found.setdefault(key, []).append(row["account"])
    return found
