"""How what is held of consignments becomes what their states and the money say: what follows from both, and the entries between."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.revenue.ledger.allocation import payments_moved, remember_payers
from services.revenue.ledger.charge import Page
from services.revenue.ledger.entry import Entries, Int64
from services.revenue.ledger.payout import PaidOut
from services.revenue.ledger.position import Held, difference, settled


@dataclass(frozen=True, slots=True)
class Brought:
    """A page of n consignments as it is to be held."""

    page: Page
    """With what is refunded and remitted of its lines, and with the payers of those that owe nothing at once any more."""
    out: PaidOut
    """What was paid out, by the lines of the page."""
    still: Int64
    """What is open of each."""
    entries: Entries


def brought(
    page: Page,
    held: Held,
    held_paid: Int64,
    paid: Int64,
    out: PaidOut,
    more: Entries | None = None,
    reference: str = "",
    gone: Entries | None = None,
) -> Brought:
    """Bring a page to `paid` paid by each and `out` paid out of each, where `held_paid` was paid by what is held.

    Entries of `more` book the difference of what was paid and paid out, by the same lines; without them that is nothing,
    and the money goes from those who were credited with it to those who owe now. Entries of `gone` book what is no
    consignment's any more.
    """
    page = remember_payers(page, held.offsets, held.lines, paid + out.minor)
    follows = out.following(page.lines, page.offsets)
    lines, still = settled(page.lines, page.offsets, paid, follows)
    page = replace(page, lines=lines)
    parts = [difference(page, held, reference)]
    if more is not None:
        parts.insert(0, more)
    elif held_paid.any() or out.minor.any():
        parts.append(payments_moved(page, held.offsets, held.lines, np.minimum(held_paid, paid), out, follows))
    if gone is not None:
        parts.insert(0, gone)
    return Brought(page, follows, still, Entries.concat(parts))
