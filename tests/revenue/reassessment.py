"""Reassessments that are due, done at once."""

from __future__ import annotations

from libs.store.database import Database
from services.revenue.assessment.batch import ActiveLaw
from services.revenue.commands.reassess import Reassessment
from services.revenue.law.program.program import Program
from services.revenue.store.debt_events import DebtEvents
from tests.revenue.bundles import bundling

PROGRAM: Program = bundling()
IN_FORCE = ActiveLaw(PROGRAM)


async def again(database: Database, replica: str = "one") -> None:
    """Do all that waits to be assessed again."""
    work = Reassessment(database, DebtEvents(database), replica, lambda: IN_FORCE)
    while await work.step():
        pass
