"""Decisions that wait for a second person: confirmed, refused or withdrawn by officers once per request, and lapsed at their time."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.commands.act import CLAIMED, UNKNOWN, Acted, Commands, ExpectedVersions, Request
from services.clearance.commands.bulk.due import Due, DueCommand
from services.clearance.consignment.proposals.proposal import ProposalOutcome, open_proposals
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event
from services.clearance.second_person import steps
from services.clearance.second_person.steps import ProposalDecision, Verdict
from services.clearance.store import Row, Store
from services.clearance.store.timers.proposals import ProposalTable
from services.clearance.store.work import Claim

_ended = counter(
    "luxor_clearance_proposals_total",
    "Decisions that a second person confirmed, refused or left to lapse, or that were withdrawn",
    ("outcome",),
)
_OUTCOMES: Final = {
    Verdict.CONFIRM: ProposalOutcome.CONFIRMED,
    Verdict.REFUSE: ProposalOutcome.REFUSED,
    Verdict.WITHDRAW: ProposalOutcome.WITHDRAWN,
}


class DecideProposals:
    """Decides on proposals."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store
        self._commands = Commands(store)

    async def run(
        self,
        consignments: ExpectedVersions,
        decision: ProposalDecision,
        *,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
    ) -> bytes:
        """Decide on the open proposals of consignments, once per request.

        Return what `encode` made of the results, also when the request is repeated. Raises RequestReused.
        """
        viewed = {mrn for mrn, version in consignments if version is not None}

        async def carry_out(tx: Transaction) -> bytes:
            # The lock of a consignment is that of its proposal: of two decisions on it the second one finds none.
            found = await self._commands.fit(
                tx, consignments, lambda states: steps.unfit_to_decide(states, decision, viewed), None
            )
            results = found.results
            at = await self._store.now(tx)
            rows, states = await self._decidable(tx, found.rows, found.states, decision, at, results)
            if rows:
                results |= await self._decide(tx, rows, states, decision, at, request.trace)
            done = sum(not each.refusal for each in results.values())
            tx.after_commit(lambda: _count(_OUTCOMES[decision.verdict], done))
            return encode([results.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in consignments])

        return await self._commands.once([mrn for mrn, _ in consignments], request, carry_out)

    async def _decidable(
        self,
        tx: Transaction,
        rows: Sequence[Row],
        states: Table,
        decision: ProposalDecision,
        at: int,
        results: dict[str, Acted],
    ) -> tuple[list[Row], Table]:
        """Return those on which nothing but the decision itself may be refused.

        Nobody confirms what is due to lapse, however late the timer is, or what a third officer claims; a claim of the one who proposed does not keep
        the second one off.
        """
        claims: Mapping[str, Claim] = {}
        if rows and decision.verdict is Verdict.CONFIRM:
            found = await self._store.claims.find(tx, [row.mrn for row in rows])
            claims = {mrn: claim for mrn, claim in found.items() if not claim.is_of(decision.officer)}
        decidable = []
        for place, (row, proposal) in enumerate(zip(rows, open_proposals(states), strict=True)):
            if proposal is not None and decision.verdict is Verdict.CONFIRM and proposal.due_at <= at:
                results[row.mrn] = Acted(row.mrn, row.state, row.version, steps.UNKNOWN)
            elif proposal is not None and row.mrn in claims and not proposal.is_by(claims[row.mrn].officer):
                results[row.mrn] = Acted(row.mrn, row.state, row.version, CLAIMED)
            else:
                decidable.append(place)
        return [rows[place] for place in decidable], states.take(np.array(decidable, np.int64))

    async def _decide(
        self, tx: Transaction, rows: Sequence[Row], states: Table, decision: ProposalDecision, at: int, trace: str
    ) -> dict[str, Acted]:
        if decision.verdict is not Verdict.CONFIRM:
            return await self._commands.put(tx, *steps.ending(states, at, decision), rows, trace)
        results: dict[str, Acted] = {}
        for group in steps.confirming(states, at, decision):
            own = [rows[place] for place in group.places]
            fits = [place for place, reason in enumerate(group.unfit) if not reason]
            results |= {
                row.mrn: Acted(row.mrn, row.state, row.version, reason)
                for row, reason in zip(own, group.unfit, strict=True)
                if reason
            }
            if fits:
                chosen = np.array(fits, np.int64)
                details = group.details
                if isinstance(details.event, np.ndarray):
                    details = EventDetails(event=details.event[chosen], at=at, by=details.by)
                part = group.states.take(chosen)
                results |= await self._commands.put(tx, part, details, [own[place] for place in fits], trace)
        return results


class EndProposals(DueCommand):
    """Lapses proposals that nobody confirmed in time."""

    chunk_rows: ClassVar = 200
    effective = "an open proposal is superseded in every state that ends goods"

    @property
    def due_list(self) -> ProposalTable:
        """The open proposals."""
        return self._store.proposals

    def find(self, states: Table, now: int) -> Due:
        """Return the proposals that lapse at an instant."""
        table, due = steps.lapsing(states, now)
        details = EventDetails(event=Event.PROPOSAL_ENDED, at=now)
        return Due(due, table, details, lambda: _count(ProposalOutcome.LAPSED, int(due.sum())))


def _count(outcome: ProposalOutcome, count: int) -> None:
    _ended.labels(outcome.name.lower()).inc(count)
