"""Two batches at once under one law: what each finds is its own."""

from collections.abc import Callable
from dataclasses import fields
from datetime import date

import numpy as np
import pytest

from services.revenue.law.assess.assessment import assess
from services.revenue.law.assess.valuation import valuation
from services.revenue.law.batch.caches import Memo
from services.revenue.law.program.plans import AllEntries, Plan, plan_of
from tests.revenue.law.batches import filings
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.random_law import program_of, text_of


def parcel(dispatch: str) -> Consignment:
    return Consignment("XA", date(2023, 5, 5), [Item(5000)], dispatch=dispatch)


class _Shared(Plan):
    """A plan into which another thread puts its cases just after this one did."""

    __slots__ = ("mine", "then")

    @property
    def limits(self) -> Memo[AllEntries] | None:
        return self.mine

    @limits.setter
    def limits(self, cases: Memo[AllEntries] | None) -> None:
        self.mine: Memo[AllEntries] | None = cases
        other: Callable[[], object] | None = getattr(self, "then", None)
        self.then: Callable[[], object] | None = None
        if other:
            other()


def test_two_batches_at_once_keep_their_own_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    american = {"from": date(2020, 1, 1), "amount": "100.00 EUR", "only": {"dispatch": ["US"]}, "reference": "act"}
    nobody = {"from": date(2020, 1, 1), "amount": "none", "reference": "act"}
    law = program_of(text_of({"low": [american, nobody]}))
    one, other = filings([parcel("US")]), filings([parcel("")])
    alone = assess(law, one).notes.tolist()
    plan = plan_of(law, np.zeros(1, dtype=np.int64))
    shared = _Shared(**{each.name: getattr(plan, each.name) for each in fields(Plan)} | {"limits": None})
    monkeypatch.setattr(valuation, "plan_of", lambda program, regimes: shared)
    shared.then = lambda: assess(law, other)
    assert assess(law, one).notes.tolist() == alone
