"""Record what inspections found, and tell history the difference, in the transaction of the page of the feed that brought it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from libs.telemetry import counter
from services.risk.history import Hasher, Outcomes, party_keys
from services.risk.history.outcomes import OUTCOMES_MAX
from services.risk.history.record import KINDS
from services.risk.inspections.outcomes import Outcome, OutcomeChange, differences
from services.risk.store.outcomes import AssessedPlace, Filing, OutcomeStore

_KINDS: Final = ("new", "corrected", "known", "unassessed")
_outcomes = counter(
    "luxor_risk_outcomes_total",
    "Results of inspections from clearance's feed, by result; unassessed: stored, but history cannot count it because the filing is no longer "
    "stored",
    ("outcome",),
)
for _each in _KINDS:
    _outcomes.labels(_each)


class Log(Protocol):
    """Where history is told of outcomes: services.risk.store.assessment_log.Store."""

    async def append_outcomes(self, tx: Transaction, packed: bytes) -> object:
        """Leave outcomes in the log, in the transaction that keeps them."""
        ...


@dataclass(frozen=True)
class Prepared:
    """What a page tells, and what could be looked up before the transaction."""

    outcomes: list[Outcome]
    places: dict[Filing, AssessedPlace]
    """Where the filings stand that were inspected, now or as was known before."""
    filings: list[Filing]
    table: Table | None
    """Those filings as they were assessed, a row each."""
    hasher: Hasher


class RecordOutcomes:
    """Outcomes become known: once each, and corrected where a state says otherwise."""

    def __init__(self, store: OutcomeStore, log: Log, hasher: Callable[[], Awaitable[Hasher]]) -> None:
        """Record outcomes in a store, and tell history of them by its log."""
        self._store = store
        self._log = log
        self._hasher = hasher

    async def prepare(self, outcomes: list[Outcome]) -> Prepared:
        """Look up what outcomes need before their transaction: what is known of the consignments, and their parties."""
        if len(outcomes) * 2 > OUTCOMES_MAX:  # each may take an earlier one back
            raise ValueError(f"{len(outcomes)} inspected consignments in a page; at most {OUTCOMES_MAX // 2} are taken")
        known = await self._store.stored([each.mrn for each in outcomes])
        fresh = [
            each for each in outcomes if each.mrn not in known or known[each.mrn].inspected_at != each.inspected_at
        ]
        asked = {(each.mrn, each.filing_version) for each in fresh}
        asked |= {(each.mrn, known[each.mrn].filing_version) for each in fresh if each.mrn in known}
        places = await self._store.places(sorted(asked))
        filings, table = await self._store.filings(places)
        return Prepared(outcomes, places, filings, table, await self._hasher())

    async def run(self, tx: Transaction, prepared: Prepared) -> None:
        """Record what is new, and tell history the difference."""
        known = await self._store.stored([each.mrn for each in prepared.outcomes], tx)
        put, told = [], []
        for each in prepared.outcomes:
            old = known.get(each.mrn)
            if old is None or (each.follows(old) and each.inspected_at != old.inspected_at):
                put.append(each)
                told.append(differences(old, each))
        if put:
            await self._store.put(tx, put, prepared.places)
        counted = await self._append_to_log(tx, prepared, [each for part in told for each in part])
        corrected = sum(each.mrn in known for each in put)
        lost = sum((each.mrn, each.filing_version) not in counted for each in put)
        numbers = (len(put) - corrected, corrected, len(prepared.outcomes) - len(put), lost)
        tx.after_commit(lambda: _count(numbers))

    async def _append_to_log(
        self, tx: Transaction, prepared: Prepared, changes: Sequence[OutcomeChange]
    ) -> set[Filing]:
        """Append what history counts; gives the filings whose parties are known."""
        rows = {filing: row for row, filing in enumerate(prepared.filings)}
        countable = [each for each in changes if (each.mrn, each.filing_version) in rows]
        if countable:
            assert prepared.table is not None
            table = prepared.table.take(np.array([rows[each.mrn, each.filing_version] for each in countable]))
            keys = party_keys(table, prepared.hasher)
            assert keys.shape == (KINDS, len(countable))
            outcomes = Outcomes.build(
                prepared.hasher,
                keys,
                [each.violations for each in countable],
                [each.minute for each in countable],
                [each.inspected for each in countable],
            )
            await self._log.append_outcomes(tx, outcomes.to_bytes())
        return set(rows)


def _count(numbers: tuple[int, ...]) -> None:
    for kind, number in zip(_KINDS, numbers, strict=True):
        _outcomes.labels(kind).inc(number)
