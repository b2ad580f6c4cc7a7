"""A ledger that shares revenue between treasuries."""

from __future__ import annotations

from functools import cache

from libs.store.database import Database
from services.revenue.commands.payments.record_payment import Payments
from services.revenue.commands.post import Posting
from services.revenue.commands.rebalance import Ledger
from services.revenue.feeds.clearance_states import StateHandler
from services.revenue.law.program.beneficiaries import Sharing
from tests.revenue.law.published import shipped_law
from tests.revenue.ledger.books import Books, rules


@cache
def sharing() -> Sharing:
    return Sharing(read.rulebook for read in shipped_law().books)


class Shared(Books):
    """A ledger that shares revenue by the shipped law."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.ledger = Ledger(database, sharing)
        refund_rules = rules()
        self.posting = Posting(self.ledger, lambda: refund_rules)
        self.intake = StateHandler(self.posting)
        self.payments = Payments(self.ledger)
