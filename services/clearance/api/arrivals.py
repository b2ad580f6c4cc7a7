"""Arrivals as carriers report them: checked against the bindings of the master document, recorded once a request, carried out."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.requests import check_request_id
from libs.store.database import Transaction
from libs.store.tables.requests import RequestReused
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.carriage.binding import Arrival, Verdict
from services.clearance.commands.office import Office, Under
from services.clearance.metrics import count_unbound
from services.clearance.store import Store

_STATES_A_LOOK: Final = 250


class Arriving:
    """Takes arrivals."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._office = Office(store)

    async def record(self, request: pb.RecordArrivalsRequest) -> pb.RecordArrivalsResponse:
        """Record arrivals in one transaction, then carry them out in chunks; what is left undone by a crash is taken up again."""
        requests.check_size(len(request.arrivals))
        check_request_id(request.request_id)
        current = call.current()
        carrier = current.identity.id
        key = (str(current.identity), request.request_id, requests.digest("RecordArrivals", request))
        async with self._store.database.transaction() as tx:
            before = await self._recall(tx, key)
            if before is not None:
                return pb.RecordArrivalsResponse.FromString(before)
            at = await self._store.now(tx)
            arrivals, errors = requests.arrivals(request.arrivals, carrier, at)
            verdicts = await self._judge(tx, [each for each in arrivals if each is not None], carrier, at)
            for place, arrival in enumerate(arrivals):
                if arrival is not None and verdicts[arrival.document_number] is Verdict.REFUSED:
                    arrivals[place] = None
                    errors[place] = [_unbound(place, arrival)]
            there = [each for each in arrivals if each is not None]
            refused = [(each, carrier) for each, verdict in verdicts.items() if verdict is Verdict.REFUSED]
            own = iter(
                await self._store.record_arrivals(tx, there, request_id=request.request_id, at=at) if there else []
            )
            if refused:
                # Behind the arrivals, as all do who lock both.
                await self._store.note_refused(tx, refused, at, recorded=False)
                tx.after_commit(lambda: count_unbound("refused", len(refused)))
        known = [next(own) if each is not None else None for each in arrivals]
        for place, (arrival, counts) in enumerate(zip(arrivals, known, strict=True)):
            if arrival is not None and counts is None:
                arrivals[place], errors[place] = None, [_reversing(place, arrival)]
        documents = dict.fromkeys(each.document_number for each in arrivals if each is not None)
        found = await self._office.arrive(documents, trace=current.trace, carrier=carrier)
        response = pb.RecordArrivalsResponse()
        for arrival, counts, faults in zip(arrivals, known, errors, strict=True):
            if arrival is None:
                response.results.add(outcome=pb.ARRIVAL_OUTCOME_REFUSED, errors=faults)
                continue
            under = found.get(arrival.document_number, Under())
            response.results.add(
                outcome=_outcome(verdicts[arrival.document_number], counts=bool(counts)),
                consignments=under.consignments,
                released=under.released,
                held=under.held,
                waiting=under.waiting,
            )
        async with self._store.database.transaction() as tx:
            await self._store.requests.remember(tx, *key, response.SerializeToString())
        return response

    async def _recall(self, tx: Any, key: tuple[str, str, bytes]) -> bytes | None:
        try:
            return await self._store.requests.recall(tx, *key)
        except RequestReused:
            raise Refusal("REQUEST_REUSED", path="request_id", value=key[1]) from None

    async def _judge(self, tx: Any, arrivals: Sequence[Arrival], carrier: str, at: int) -> dict[str, Verdict]:
        """Judge the documents, which are locked: who files under them is seen here, or sees what is recorded here."""
        documents = dict.fromkeys(each.document_number for each in arrivals)
        if not documents:
            return {}
        await self._store.lock_documents(tx, documents)
        names = await self._names(tx, documents)
        register = await self._store.register(tx, documents, {name for each in names.values() for name in each})
        day = Arrival("", carrier, "", 0, "", at).day
        return {each: register.verdict(each, carrier, names.get(each, ()), day) for each in documents}

    async def _names(self, tx: Transaction, documents: Iterable[str]) -> dict[str, set[str]]:
        """Return who carries by the filings in force under each document, "" for one that names nobody."""
        names = {document: set(each) for document, each in (await self._store.names_under(tx, documents)).items()}
        for document, mrns in (await self._store.amended_under(tx, documents)).items():
            for begin in range(0, len(mrns), _STATES_A_LOOK):
                rows = await self._store.find(tx, mrns[begin : begin + _STATES_A_LOOK])
                states = await self._store.states(tx, list(rows.values()))
                under = np.flatnonzero(states.strings("master_document_number").map(document.__eq__, np.bool_))
                if len(under):
                    named = states.strings("carrier_identifier").take(under).tolist()
                    names.setdefault(document, set()).update(named)
        return names


def _outcome(verdict: Verdict, *, counts: bool) -> "pb.ArrivalOutcome.ValueType":
    if not counts:
        return pb.ARRIVAL_OUTCOME_ALREADY_RECORDED
    return pb.ARRIVAL_OUTCOME_AWAITING_FILINGS if verdict is Verdict.AWAITS_FILINGS else pb.ARRIVAL_OUTCOME_RECORDED


def _unbound(place: int, arrival: Arrival) -> ItemError:
    path = f"arrivals[{place}].master_document_number"
    return item_error("ARRIVAL_CARRIER_UNBOUND", path, arrival.document_number, carrier=arrival.carrier)


def _reversing(place: int, arrival: Arrival) -> ItemError:
    return item_error("ARRIVAL_BEING_REVERSED", f"arrivals[{place}].master_document_number", arrival.document_number)
