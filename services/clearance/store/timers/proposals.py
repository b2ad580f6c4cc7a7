"""The list of decisions that wait for a second person, with the time at which each lapses."""

from collections.abc import Sequence
from typing import Final

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.consignment.decision import person_of
from services.clearance.consignment.proposals.proposal import open_proposals
from services.clearance.store.rows import days_of

_PAGE: Final = """
    select day, mrn from proposal
    where (day, mrn) > ($1, $2) and ($3 = '' or office = $3) and ($4 = (proposed_by = $5))
    order by day, mrn limit $6
"""


class ProposalTable:
    """The list of open proposals."""

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store the open proposals of these states in place of those that were listed."""
        await self.forget(tx, mrns)
        offices = table.strings("office").tolist()
        there = [(row, each) for row, each in enumerate(open_proposals(table)) if each is not None]
        await bulk.insert(
            tx,
            "proposal",
            {
                "day": bulk.int4([days[row] for row, _ in there]),
                "mrn": bulk.text([mrns[row] for row, _ in there]),
                "office": bulk.text([offices[row] for row, _ in there]),
                "proposed_by": bulk.text([person_of(each.proposed_by) for _, each in there]),
                "due_at": bulk.int8([each.due_at for _, each in there]),
            },
        )

    async def forget(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete the proposals of consignments from the list."""
        if mrns:
            await tx.raw.execute(
                "delete from proposal p using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where p.day = any(array[w.day]) and p.mrn = w.mrn",
                days_of(mrns),
                list(mrns),
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of consignments whose proposals lapse before an instant, the longest due first."""
        records = await tx.raw.fetch(
            "select mrn from proposal where due_at <= $1 order by due_at limit $2", until, limit
        )
        return [record["mrn"] for record in records]

    async def page(
        self, tx: Transaction, office: str, officer: str, *, own: bool, after: tuple[int, str], limit: int
    ) -> list[tuple[int, str]]:
        """Return consignments with an open proposal after a place, by day and MRN: those that an officer proposed, or those of all others.

        An `office` of "" stands for all offices.
        """
        records = await tx.raw.fetch(_PAGE, *after, office, own, person_of(officer), limit)
        return [(record["day"], record["mrn"]) for record in records]
