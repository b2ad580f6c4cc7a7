"""What is open of consignments on accounts that pay consignment by consignment: a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from libs.store.database import Transaction
from services.revenue.ledger.allocation import owes_alone
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import OPEN, Lines
from services.revenue.ledger.position import PaidOut, claims, covered_by

_CLOSE: Final = """
delete from ledger_open present using unnest($1::integer[], $2::text[], $3::integer[], $4::text[])
    as given(account, currency, day, mrn)
where present.account = any(array[given.account]) and present.currency = given.currency and present.day = given.day and present.mrn = given.mrn
"""
_OPEN: Final = """
insert into ledger_open (account, currency, day, mrn, minor, alone)
select * from unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::bigint[], $6::boolean[])
on conflict do nothing
"""

OpenItem: TypeAlias = tuple[int, str, int, str, int, bool]
"""Account, currency, day, MRN, what is open (minor units), and whether nobody else owes a part of what is paid at once."""


def of_positions(
    mrns: Sequence[str],
    days: Int64,
    currencies: Sequence[str],
    offsets: Int64,
    lines: Lines,
    paid: Int64,
    paid_out: PaidOut,
) -> set[OpenItem]:
    """Return the open items of accounts that pay consignment by consignment, with `paid` paid by each and `paid_out` paid out of it."""
    rows = np.repeat(np.arange(len(mrns)), np.diff(offsets))
    left = lines["amount"] - covered_by(lines, offsets, paid) - lines["remitted"]
    chosen = np.flatnonzero((lines["how"] == OPEN) & (left > 0))
    sums: dict[tuple[int, int], int] = {}
    for row, account, minor in zip(
        rows[chosen].tolist(), lines["debtor"][chosen].tolist(), left[chosen].tolist(), strict=True
    ):
        sums[row, account] = sums.get((row, account), 0) + minor
    owed = claims(lines, offsets, paid, paid_out)
    for row in np.flatnonzero(owed).tolist():
        key = (row, int(paid_out.account[row]))
        sums[key] = sums.get(key, 0) + int(owed[row])
    return {
        (account, currencies[row], int(days[row]), mrns[row], minor, owes_alone(lines[offsets[row] : offsets[row + 1]]))
        for (row, account), minor in sums.items()
    }


async def move(tx: Transaction, before: set[OpenItem], after: set[OpenItem]) -> None:
    """Bring the list of what is open from one state to another."""
    for statement, items, columns in ((_CLOSE, before - after, 4), (_OPEN, after - before, 6)):
        if items:
            announced = list(zip(*sorted(items), strict=True))[:columns]
            await tx.raw.execute(statement, *(list(column) for column in announced))
