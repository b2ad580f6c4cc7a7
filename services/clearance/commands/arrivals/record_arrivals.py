"""Records arrivals by carriers that are bound to the master documents, and applies them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.store.database import Transaction
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.carriage.binding import Arrival, ArrivalVerdict
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.arrive import ArrivalCounts, Arrive
from services.clearance.commands.arrivals.departures import touch_orders
from services.clearance.consignment.state.transport_numbers import travels_under
from services.clearance.metrics import count_unbound
from services.clearance.presentation.law import PresentationLaw
from services.clearance.store import Store

_STATES_A_LOOK: Final = 250


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of one arrival."""

    outcome: "pb.ArrivalOutcome.ValueType"
    refusal: str = ""
    """Why it was refused, "" where it was not."""
    under: ArrivalCounts = field(default_factory=ArrivalCounts)
    """Numbers of the consignments under its document, by state."""


class RecordArrivals:
    """Records arrivals."""

    def __init__(self, store: Store, law: PresentationLaw | None = None) -> None:
        """Work in a store; `law` as of `Arrive`."""
        self._store = store
        self._arrive = Arrive(store, law)

    async def run(
        self,
        read: Callable[[int], Sequence[Arrival | None]],
        *,
        request: Request,
        carrier: str,
        encode: Callable[[Sequence[Recorded | None]], bytes],
    ) -> bytes:
        """Record a carrier's arrivals in one transaction, then apply them in chunks; after a crash the jobs continue.

        `read` gives the arrivals at an instant of the store's clock, None for one that is malformed. Return what `encode`
        made of the results, also when the request is repeated. Raises RequestReused.
        """
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            at = await self._store.now(tx)
            arrivals = list(read(at))
            verdicts = await self._judge(tx, [each for each in arrivals if each is not None], carrier, at)
            results: list[Recorded | None] = [None] * len(arrivals)
            for place, arrival in enumerate(arrivals):
                if arrival is not None and verdicts[arrival.document_number] is ArrivalVerdict.REFUSED:
                    arrivals[place], results[place] = None, _refused("ARRIVAL_CARRIER_UNBOUND")
            accepted = [each for each in arrivals if each is not None]
            refused = [(each, carrier) for each, verdict in verdicts.items() if verdict is ArrivalVerdict.REFUSED]
            own = iter(
                await self._store.arrivals.record(tx, accepted, request_id=request.request_id, at=at)
                if accepted
                else []
            )
            bound = [each for each in accepted if verdicts[each.document_number] is ArrivalVerdict.BOUND]
            # What arrives under the document of a return has left before.
            left = await self._store.return_orders.record_arrivals(tx, bound, at)
            if refused:
                # After the arrivals, as everywhere where both are locked.
                await self._store.carriers.note_refused(tx, refused, at, recorded=False)
                tx.after_commit(lambda: count_unbound("refused", len(refused)))
        await touch_orders(self._store, left, at)
        known = [next(own) if each is not None else None for each in arrivals]
        for place, (arrival, counts) in enumerate(zip(arrivals, known, strict=True)):
            if arrival is not None and counts is None:
                arrivals[place], results[place] = None, _refused("ARRIVAL_BEING_REVERSED")
        documents = dict.fromkeys(each.document_number for each in arrivals if each is not None)
        found = await self._arrive.run(documents, trace=request.trace, carrier=carrier)
        for place, (arrival, counts) in enumerate(zip(arrivals, known, strict=True)):
            if arrival is not None:
                outcome = _outcome(verdicts[arrival.document_number], counts=bool(counts))
                results[place] = Recorded(outcome, under=found.get(arrival.document_number, ArrivalCounts()))
        answer = encode(results)
        async with self._store.database.transaction() as tx:
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _judge(
        self, tx: Transaction, arrivals: Sequence[Arrival], carrier: str, at: int
    ) -> dict[str, ArrivalVerdict]:
        """Return the verdicts on locked documents: filings under them are either seen here, or see what is recorded here."""
        documents = dict.fromkeys(each.document_number for each in arrivals)
        if not documents:
            return {}
        await self._store.arrivals.lock_documents(tx, documents)
        names = await self._names(tx, documents)
        register = await self._store.carriers.register(
            tx, documents, {name for each in names.values() for name in each}
        )
        day = Arrival("", carrier, "", 0, "", at).day
        return {each: register.verdict(each, carrier, names.get(each, ()), day) for each in documents}

    async def _names(self, tx: Transaction, documents: Iterable[str]) -> dict[str, set[str]]:
        """Return the carriers that the current filings under each document name, "" for a filing that names none."""
        names = {
            document: set(each) for document, each in (await self._store.arrivals.names_under(tx, documents)).items()
        }
        for document, mrns in (await self._store.arrivals.amended_under(tx, documents)).items():
            for begin in range(0, len(mrns), _STATES_A_LOOK):
                rows = await self._store.find(tx, mrns[begin : begin + _STATES_A_LOOK])
                states = await self._store.states(tx, list(rows.values()))
                under = np.flatnonzero(travels_under(states, {document}))
                if len(under):
                    named = states.strings("carrier_identifier").take(under).tolist()
                    names.setdefault(document, set()).update(named)
        return names


def _refused(reason: str) -> Recorded:
    return Recorded(pb.ARRIVAL_OUTCOME_REFUSED, reason)


def _outcome(verdict: ArrivalVerdict, *, counts: bool) -> "pb.ArrivalOutcome.ValueType":
    if not counts:
        return pb.ARRIVAL_OUTCOME_ALREADY_RECORDED
    return (
        pb.ARRIVAL_OUTCOME_AWAITING_FILINGS if verdict is ArrivalVerdict.AWAITS_FILINGS else pb.ARRIVAL_OUTCOME_RECORDED
    )
