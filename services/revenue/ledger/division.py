"""Revenue of several treasuries: how one charge's revenue is divided among their accounts, to the minor unit.

A line of a consignment names one account of revenue, or a division of several. What a debtor owes, pays and gets back never
depends on it: the postings on the treasuries' side alone are divided. A division's name says all that is needed, so that
what was booked by it is reversed by it, whatever the rulebook says by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.revenue.law.program.beneficiaries import RevenueDivision
from services.revenue.ledger.account import treasury
from services.revenue.ledger.entry import Int64

PREFIX: Final = "division"
"""A name of this kind is no account: nothing is posted on it."""
PPM: Final = 1_000_000


def name_of(division: RevenueDivision, kind: int) -> str:
    """Return the account of revenue of one kind (luxor.revenue.v1.Kind), or the name of its division: shares in parts per million, the
    last of them the rest. Example: "division:treasury:DE:duty=250000|treasury:EU:duty".
    """
    accounts = [treasury(each.beneficiary, kind) for each in division.shares]
    if len(accounts) == 1:
        return accounts[0]
    named = [f"{account}={share.ppm}" for account, share in zip(accounts[:-1], division.shares, strict=False)]
    return f"{PREFIX}:{'|'.join([*named, accounts[-1]])}"


def parts_of(name: str) -> list[tuple[str, int]]:
    """Return the accounts of a division with their parts per million, 0 in the last; none where the name is an account."""
    prefix, _, rest = name.partition(":")
    if prefix != PREFIX:
        return []
    *shares, last = rest.split("|")
    parts = [each.rpartition("=") for each in shares]
    return [*((account, int(ppm)) for account, _, ppm in parts), (last, 0)]


@dataclass(frozen=True, slots=True)
class Divisions:
    """Divisions by the numbers of their names: the numbers of accounts with parts per million, 0 in the last."""

    parts: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)

    @staticmethod
    def from_names(names: Mapping[int, str], ids: Mapping[str, int]) -> Divisions:
        """Return the divisions among some names by number; `ids` has the numbers of their accounts."""
        found = {number: parts_of(name) for number, name in names.items()}
        return Divisions({n: [(ids[name], ppm) for name, ppm in parts] for n, parts in found.items() if parts})

    def divided(self, account: Int64, before: Int64, amount: Int64) -> tuple[Int64, Int64, Int64]:
        """Return the postings of amounts on accounts or divisions: the place of each among the amounts, its account and its amount.

        `before` is what was posted of the same line in the same way earlier: the parts of both together are those of their
        sum, so that what is remitted and refunded of a charge in two steps gives back exactly its parts.
        """
        places = np.arange(len(account))
        if not self.parts:
            return places, account, amount
        divided = np.isin(account, list(self.parts))
        if not divided.any():
            return places, account, amount
        found = [(places[~divided], account[~divided], amount[~divided])]
        for number, parts in self.parts.items():
            own = np.flatnonzero(account == number)
            left = amount[own].copy()
            for target, ppm in parts:
                part = left if not ppm else _share(before[own] + amount[own], ppm) - _share(before[own], ppm)
                left = left - part
                chosen = np.flatnonzero(part)
                found.append((own[chosen], np.full(len(chosen), target, np.int64), part[chosen]))
        place, accounts, amounts = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return place, accounts, amounts


NONE: Final = Divisions()


def _share(amount: Int64, ppm: int) -> Int64:
    """Return a share of amounts, rounded down; in two steps, since an amount times a million may be beyond 64 bits."""
    share: Int64 = amount // PPM * ppm + amount % PPM * ppm // PPM
    return share


def accounts_of(names: Iterable[str]) -> set[str]:
    """Return the accounts of the divisions among some names."""
    return {account for name in names for account, _ in parts_of(name)}
