"""The charges of states of consignments, a page at once: the assessment of each state, and its charges, summed to lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ragged, Table, among
from luxor.clearance.v1.clearance_pb2 import (
    CHANGE_ADJUSTED,
    STATE_ABANDONED,
    STATE_CONFISCATED,
    STATE_DESTROYED,
    STATE_EXPIRED,
    STATE_INVALIDATED,
    STATE_RE_EXPORTED,
    TRANSIT_OUTCOME_LOST,
)
from luxor.common.v1.common_pb2 import CHARGE_KIND_DUTY, COLLECTOR_VENDOR
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.ledger.account import (
    AT_ONCE,
    CHARGE_KINDS,
    AccountFacts,
    ChargeAccounts,
    accounts_of_charge,
    partition_of_mrn,
    prefix_of,
)
from services.revenue.ledger.division import accounts_of, name_of
from services.revenue.ledger.entry import AMOUNT_MAX, Int64, LedgerError
from services.revenue.ledger.line import COLLECTED, KEY, LINE, OPEN, SECURED, Lines, combined, offsets_of, take_lines
from services.revenue.ledger.refund import RefundRules, entitled

MICROS_A_DAY: Final = 86_400_000_000
_STATE: Final = (
    "mrn", "version", "filing_version", "state", "decided_at", "accepted_at", "released_at", "destination_country",
    "declarant_identifier", "platform", "debt_account", "debt_status", "revenue_currency", "rulebook_version",
    "returned_at", "return_reason", "change", "assessment_generation", "adjusted_at",
)  # fmt: skip
_RARE: Final = (
    "former_released_at", "transit_outcome", "arrived_at", "presented_at", "presentation_due_at", "inspected_at",
)  # fmt: skip
"""Columns that cost nothing where no state has them."""
_WITHDRAWN: Final = (STATE_INVALIDATED, STATE_EXPIRED)
"""Declarations that count as never lodged: nothing was ever owed."""
_DISPOSED: Final = (STATE_DESTROYED, STATE_RE_EXPORTED, STATE_ABANDONED, STATE_CONFISCATED)
_CHILDREN: Final = {
    "charges": ("item_number", "kind", "charge", "amount", "collector", "debtor", "account"),
    "items": ("number", "returned", "return_reason", "returned_at"),
}
UNDECIDED: Final = 0
"""No decision yet, so nothing is owed."""
ASSESSED: Final = 1
"""The charges of an answer are owed."""
WITHDRAWN: Final = 2
"""Withdrawn, so nothing is owed, whatever was assessed."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The assessments of n states, one value each."""

    status: Int64
    """UNDECIDED, ASSESSED or WITHDRAWN."""
    generation: Int64
    """luxor.revenue.v1.AssessmentColumns.generation of the answer to the filing; 0 for the first."""
    adjusted: Int64
    """Version of the state that an officer's last adjustment of this filing made, under which its answer is stored; 0 for none."""
    adjusted_at: Int64
    """Time of that adjustment, microseconds since 1970-01-01 UTC; 0 for none."""

    def take(self, rows: Int64) -> Basis:
        """Return the requested rows, in that order."""
        return Basis(self.status[rows], self.generation[rows], self.adjusted[rows], self.adjusted_at[rows])


def basis_of(states: Table, last: Table) -> Basis:
    """Return the basis of the states `last`, the newest of each consignment in `states` (both ClearanceColumns)."""
    decided = last.ints("decided_at").valid
    withdrawn = among(last.ints("state").values, _WITHDRAWN)
    standing = np.where(withdrawn, WITHDRAWN, np.where(decided, ASSESSED, UNDECIDED)).astype(np.int64)
    adjusted = np.zeros(last.rows, np.int64)
    made = np.flatnonzero(states.ints("change").filled(0) == CHANGE_ADJUSTED)
    if len(made):
        places = {mrn: row for row, mrn in enumerate(last.strings("mrn").tolist())}
        mrns, filings = states.strings("mrn").tolist(), states.ints("filing_version").values
        versions, newest = states.ints("version").values, last.ints("filing_version").values
        for row in made.tolist():
            place = places[mrns[row]]
            if filings[row] == newest[place]:
                adjusted[place] = max(adjusted[place], versions[row])
    return Basis(standing, last.ints("assessment_generation").filled(0), adjusted, last.ints("adjusted_at").filled(0))


def continued_basis(
    now: Basis,
    version: Int64,
    filing_version: Int64,
    before: Basis,
    stored_version: Int64,
    stored_filing_version: Int64,
) -> Basis:
    """Return the basis of states after the stored ones: an adjustment remains active until another one or an amendment.

    The feed may report an adjustment without its state, because a new reader gets only the newest states. Then the version of the
    newest state is used, which is not before that of the adjustment.
    """
    told = now.adjusted > 0
    amended = (stored_version > 0) & (filing_version > stored_filing_version)
    same = (now.adjusted_at == before.adjusted_at) & (stored_version > 0)
    missed = (now.adjusted_at > 0) & ~same & ~amended
    kept = np.where(same & ~amended, before.adjusted, np.where(missed, version, 0))
    return Basis(now.status, now.generation, np.where(told, now.adjusted, kept), now.adjusted_at)


def only_needed(states: Table) -> Table:
    """Return only the columns that the ledger and the shares of sums read, because joining pages costs time for each column."""
    columns: dict[str, Column] = {name: states.column(name) for name in _STATE}
    columns |= {name: states.column(name) for name in _RARE if name in states.names}
    for name, needed in _CHILDREN.items():
        ragged, child = states.ragged(name), states.child(name)
        columns[name] = Ragged(
            ragged.offsets, Table(child.schema, child.rows, {each: child.column(each) for each in needed})
        )
    return Table(states.schema, states.rows, columns)


@dataclass(frozen=True, slots=True)
class ChargePage:
    """Newest states of n consignments and their charges, before the paid amounts are known."""

    mrn: list[str]
    partition: Int64
    version: Int64
    filing_version: Int64
    day: Int64
    """Day of acceptance, days since 1970-01-01 UTC."""
    destination: list[str]
    currency: list[str]
    jurisdiction: list[str]
    basis: Basis
    offsets: Int64
    lines: Lines

    def __len__(self) -> int:
        return len(self.mrn)


def charges_of(table: Table, sharing: Sharing) -> StateCharges:
    """Return the charges of the newest states (ClearanceColumns), with names instead of ids. Raises LedgerError. `sharing` states
    the beneficiaries.
    """
    states = newest(table)
    charges = states.ragged("charges")
    lines = states.child("charges")
    rows = np.repeat(np.arange(states.rows), np.diff(charges.offsets))
    amount, collector = lines.ints("amount"), lines.ints("collector")
    state = states.ints("state").values
    live = states.ints("decided_at").valid & ~among(state, _WITHDRAWN) & states.strings("revenue_currency").present
    bad = live[rows] & amount.valid & ((amount.values < 0) | (amount.values > AMOUNT_MAX))
    if bad.any():
        row = int(rows[int(bad.argmax())])
        raise LedgerError(
            "AMOUNT_OUT_OF_BOUNDS",
            f"{states.strings('mrn')[row]} has a charge below nothing or above {AMOUNT_MAX} minor units, which cannot be booked",
        )
    kept = np.flatnonzero(live[rows] & amount.valid & (amount.values > 0))
    rows = rows[kept]
    kind = lines.ints("kind").values[kept]
    wrong = (kind < 1) | (kind >= len(CHARGE_KINDS))
    if wrong.any():
        row = int(rows[int(wrong.argmax())])
        raise LedgerError(
            "CHARGE_KIND_UNKNOWN", f"{states.strings('mrn')[row]} has a charge that is neither duty nor tax nor fee"
        )
    owed = _owing(states, lines, rows, kept)
    jurisdiction = _jurisdictions(states)
    basis = basis_of(table, states)
    revenue = _revenue(states, rows, kind, jurisdiction, sharing)
    return StateCharges(
        states, kept, rows, kind, collector.values[kept], amount.values[kept], owed, jurisdiction, revenue, basis
    )


@dataclass(frozen=True, slots=True)
class StateCharges:
    """Charges of the states that owe something, one value each; `place` is the charge's place in the states."""

    states: Table
    place: Int64
    row: Int64
    kind: Int64
    collector: Int64
    amount: Int64
    owing: tuple[list[ChargeAccounts], Int64]
    """Distinct pairs of accounts, and the pair of each charge."""
    jurisdiction: list[str]
    """The jurisdiction of each state."""
    revenue: tuple[list[str], Int64]
    """Distinct accounts of revenue and divisions among several, and that of each charge."""
    basis: Basis
    """The basis of each state, before its stored position is known."""

    def names(self) -> set[str]:
        """Return the names that need ids: accounts, treasuries and codes of charges."""
        pairs, _ = self.owing
        found = {name for pair in pairs for name in (pair.debtor, pair.account)}
        found |= {*self.revenue[0], *accounts_of(self.revenue[0])}
        codes = self.states.child("charges").strings("charge")
        found |= {codes.dictionary[index] for index in np.unique(codes.indices[self.place]).tolist()}
        return found

    def page(self, ids: Mapping[str, int], rules: RefundRules) -> ChargePage:
        """Sum the charges to lines, in the order of the charges."""
        states = self.states
        lines = np.zeros(len(self.row), LINE)
        pairs, which = self.owing
        debtors = np.array([ids[pair.debtor] for pair in pairs], np.int64)
        accounts = np.array([ids[pair.account] for pair in pairs], np.int64)
        hows = np.array([_settlement(pair) for pair in pairs], np.int64)
        codes = states.child("charges").strings("charge")
        used = np.unique(codes.indices[self.place])
        code_ids = np.zeros(len(codes.dictionary), np.int64)
        code_ids[used] = [ids[codes.dictionary[index]] for index in used.tolist()]
        names, revenue = self.revenue
        treasuries = np.array([ids[name] for name in names], np.int64)
        lines["debtor"], lines["account"], lines["how"] = debtors[which], accounts[which], hows[which]
        lines["treasury"] = treasuries[revenue]
        lines["code"] = code_ids[codes.indices[self.place]]
        lines["kind"], lines["collector"], lines["amount"] = self.kind, self.collector, self.amount
        all_rows = np.repeat(np.arange(states.rows), np.diff(states.ragged("charges").offsets))
        lines["entitled"] = entitled(rules, states, all_rows, states.child("charges").ints("amount").values)[self.place]
        ended = extinguished(states)
        if ended.any():
            confiscated = states.ints("state").values[self.row] == STATE_CONFISCATED
            ends = ended[self.row] & (self.collector != COLLECTOR_VENDOR)
            ends &= ~confiscated | (self.kind == CHARGE_KIND_DUTY)
            lines["entitled"] = np.where(ends, self.amount, lines["entitled"])
        row, lines = _summed(self.row, lines)
        mrns = states.strings("mrn").tolist()
        return ChargePage(
            mrns,
            np.array([partition_of_mrn(mrn) for mrn in mrns], np.int64),
            states.ints("version").values,
            states.ints("filing_version").values,
            states.ints("accepted_at").values // MICROS_A_DAY,
            states.strings("destination_country").tolist(),
            states.strings("revenue_currency").tolist(),
            self.jurisdiction,
            self.basis,
            offsets_of(row, states.rows),
            lines,
        )


def _settlement(pair: ChargeAccounts) -> int:
    if pair.account != pair.debtor:
        return SECURED
    return OPEN if prefix_of(pair.debtor) in AT_ONCE else COLLECTED


def _owing(states: Table, lines: Table, rows: Int64, selected: Int64) -> tuple[list[ChargeAccounts], Int64]:
    """Return the accounts of each charge, computed once for each combination of their facts."""
    account = lines.strings("account")
    texts = (
        (account.dictionary, account.indices[selected]),
        *(
            (states.strings(name).dictionary, states.strings(name).indices[rows])
            for name in ("destination_country", "declarant_identifier", "platform", "debt_account")
        ),
    )
    collector = lines.ints("collector").values[selected]
    debtor = lines.ints("debtor").values[selected]
    status = states.ints("debt_status").values[rows]
    columns = [np.asarray(column, np.int64) for _, column in texts] + [collector, debtor, status]
    if not len(selected):
        return [], np.zeros(0, np.int64)
    key = combined(columns)
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    words = [dictionary for dictionary, _ in texts]
    pairs = []
    for place in first.tolist():
        told, destination, declarant, platform, debt_account = (
            dictionary[int(column[place])] for dictionary, column in zip(words, columns[:5], strict=True)
        )
        pairs.append(
            accounts_of_charge(
                AccountFacts(
                    told, int(collector[place]), int(debtor[place]), destination, declarant, platform, debt_account,
                    int(status[place]),
                )
            )
        )  # fmt: skip
    return pairs, which.reshape(-1).astype(np.int64)


def _revenue(
    states: Table, rows: Int64, kind: Int64, jurisdiction: list[str], sharing: Sharing
) -> tuple[list[str], Int64]:
    """Return the beneficiary of each charge, computed once for each combination of jurisdiction, destination, day and kind."""
    if not len(rows):
        return [], np.zeros(0, np.int64)
    distinct = {name: place for place, name in enumerate(dict.fromkeys(jurisdiction))}
    of_row = np.array([distinct[name] for name in jurisdiction], np.int64)
    destination = states.strings("destination_country")
    day = states.ints("accepted_at").values // MICROS_A_DAY
    key = combined([of_row[rows], destination.indices[rows].astype(np.int64), day[rows], kind])
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    names = []
    for place in first.tolist():
        row, number = int(rows[place]), int(kind[place])
        to = destination.dictionary[int(destination.indices[row])]
        names.append(name_of(sharing.division(jurisdiction[row], number, to, int(day[row])), number))
    # Several days and destinations have one account.
    accounts = {name: place for place, name in enumerate(dict.fromkeys(names))}
    places = np.array([accounts[name] for name in names], np.int64)
    return list(accounts), places[which.reshape(-1)]


def _jurisdictions(states: Table) -> list[str]:
    """Return the jurisdiction of each state: that of its rulebook's version, else the destination."""
    told = states.strings("rulebook_version").translate(lambda version: version.partition("/")[0]).tolist()
    if all(told):
        return told
    destinations = states.strings("destination_country").tolist()
    return [name or destination for name, destination in zip(told, destinations, strict=True)]


def _summed(row: Int64, lines: Lines) -> tuple[Int64, Lines]:
    """Sum lines that differ only by their amounts, in the order of the first of each."""
    if not len(lines):
        return row, lines
    key = combined([row, *(lines[name].astype(np.int64) for name in KEY)])
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    if len(first) == len(lines):
        return row, lines
    order = np.argsort(first, kind="stable")
    place = np.empty(len(first), np.int64)
    place[order] = np.arange(len(first))
    kept = lines[first[order]].copy()
    for name in ("amount", "entitled"):
        # Charges are at most 10^16 each; a sum above it is refused where the entry is checked, and never wraps below 900.
        total = np.zeros(len(first), object if len(lines) > 900 and int(lines[name].max()) > 2**50 else np.int64)
        np.add.at(total, place[which], lines[name])
        if len(total) and int(max(total)) > AMOUNT_MAX:
            raise LedgerError(
                "AMOUNT_OUT_OF_BOUNDS", f"charges of a consignment sum to more than {AMOUNT_MAX} minor units"
            )
        kept[name] = total.astype(np.int64)
    return row[first[order]], kept


def extinguished(states: Table) -> npt.NDArray[np.bool_]:
    """Return the states whose debt at the border ended because customs disposed of the goods before any release, shape (n,).

    It is remitted, or refunded where it was paid, whatever a rulebook says of returns. Of confiscated goods this is the duty alone: UCC,
    article 124(1)(e) ends a customs debt, and tax stays (Court of Justice, C-489/20). Of other goods it is all of it: docs/decisions/disposals.md.
    What a vendor collected at the sale is no debt at the border, and stays with the vendor. The debt of goods that a movement lost was incurred by
    the loss (UCC, article 79), and stays.
    """
    ended = among(states.ints("state").values, _DISPOSED)
    return ended & never_released(states) & ~is_lost(states) if ended.any() else ended


def is_lost(states: Table) -> npt.NDArray[np.bool_]:
    """Return which goods a movement lost, shape (n,)."""
    lost: npt.NDArray[np.bool_] = states.ints("transit_outcome").filled(0) == TRANSIT_OUTCOME_LOST
    return lost


def never_released(states: Table) -> npt.NDArray[np.bool_]:
    """Return which goods had no release, shape (n,). Goods that were returned had one, even if a state of an earlier release has no time of it."""
    released = np.zeros(states.rows, np.bool_)
    for name in ("released_at", "former_released_at", "returned_at"):
        released |= states.ints(name).valid
    return ~released


def newest(states: Table) -> Table:
    """Return the newest version of each consignment in a page."""
    numbers = states.strings("mrn").translate(lambda value: value).indices
    order = np.lexsort((states.ints("version").values, numbers))
    last = np.append(numbers[order][1:] != numbers[order][:-1], True) if len(order) else np.zeros(0, np.bool_)
    kept = np.sort(order[last])
    return states if len(kept) == states.rows else states.take(kept)


def take_rows(page: ChargePage, rows: Int64) -> ChargePage:
    """Return the requested consignments, in that order."""
    offsets, lines = take_lines(page.offsets, page.lines, rows)
    chosen = rows.tolist()

    def texts(values: list[str]) -> list[str]:
        return [values[row] for row in chosen]

    return ChargePage(
        texts(page.mrn),
        page.partition[rows],
        page.version[rows],
        page.filing_version[rows],
        page.day[rows],
        texts(page.destination),
        texts(page.currency),
        texts(page.jurisdiction),
        page.basis.take(rows),
        offsets,
        lines,
    )
