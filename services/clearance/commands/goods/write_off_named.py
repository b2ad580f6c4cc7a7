"""Writes named licences off for items that a request holds for them: once per request, by the register and the goods as they are now."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from libs.columns import Table
from libs.server.identity import Identity
from services.clearance.commands.act import Acted, Commands, ExpectedVersions, Request
from services.clearance.consignment.controls.control import asked_to_control, controls_of
from services.clearance.consignment.controls.steps import FOREIGN
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event
from services.clearance.goods_controls.law import GoodsLaw
from services.clearance.goods_controls.requirements import REASONS, goods_of, is_request, ordered
from services.clearance.licences.licence import allocated
from services.clearance.licences.need import Need, NeedOutcome, needs_of, with_needs
from services.clearance.store import Store
from services.clearance.store.licences.register import Use
from services.clearance.store.rows import days_of

NOT_NEEDED = "LICENCE_NOT_NEEDED"
_NO_CONTROLS = GoodsLaw((), ())


@dataclass(frozen=True, slots=True)
class Named:
    """The licence that is named for one item of a consignment."""

    item_number: int
    type: str
    number: str


class WriteOffNamed:
    """Writes off what an officer or an agency names."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store
        self._commands = Commands(store)

    async def run(
        self,
        consignments: ExpectedVersions,
        named: Mapping[str, Named],
        *,
        identity: Identity,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
    ) -> bytes:
        """Write licences of the caller's authority off, by MRN; return what `encode` made of the results. Raises RequestReused."""
        authority = identity.agency
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            found = await self._commands.fit(
                tx,
                consignments,
                lambda states: _unfit(states, named, authority),
                identity if authority else None,
                claimant="" if authority else identity.id,
            )
            if found.rows:
                at = await self._store.now(tx)
                rows = found.rows
                chosen = [named[row.mrn] for row in rows]
                register = await self._store.licences.find(
                    tx, ((authority, each.type, each.number) for each in chosen), lock=True
                )
                days = days_of([row.mrn for row in rows])
                lists, goods, uses, done = needs_of(found.states), goods_of(found.states), [], []
                for place, (row, each) in enumerate(zip(rows, chosen, strict=True)):
                    need = _need(lists[place], each, authority)
                    assert need is not None, "what is not needed is refused"
                    named_need = replace(need, number=each.number, quantity_millionths=None, unit="")
                    (met,) = allocated([named_need], goods[place], days[place], register)
                    if not met.is_met:
                        refusal = REASONS[NeedOutcome(met.outcome)]
                        found.results[row.mrn] = Acted(row.mrn, row.state, row.version, refusal)
                        continue
                    lists[place] = [met if each is need else each for each in lists[place]]
                    uses.append(Use(row.mrn, met, row.version + 1, at))
                    done.append(place)
                if done:
                    states = with_needs(found.states, lists).take(np.array(done, np.int64))
                    orders = ordered(states, _NO_CONTROLS, at, authority=authority)
                    # Where the request changes in nothing that it has room for, it stays as it is.
                    events = np.full(len(done), np.int64(Event.CONTROL_CONCLUDED))
                    events[orders.places] = orders.events
                    states = _put(states, orders.states, orders.places.tolist())
                    details = EventDetails(event=events, at=at, by=identity.id)
                    found.results |= await self._commands.put(
                        tx,
                        states,
                        details,
                        [rows[place] for place in done],
                        request.trace,
                        identity if authority else None,
                    )
                    await self._store.licences.add(tx, uses)
            answer = encode([found.results.get(mrn) or Acted(mrn, 0, 0, FOREIGN) for mrn, _ in consignments])
            await self._store.requests.remember(tx, *request.key, answer)
        return answer


def _unfit(states: Table, named: Mapping[str, Named], authority: str) -> list[str]:
    """Return for each state why no licence can be written off for the named item by an authority, "" if the register decides.

    To an agency, consignments that it was never asked to control are unknown.
    """
    foreign = ~asked_to_control(states, authority) & (authority != "")
    return [
        FOREIGN
        if unknown
        else ""
        if _need(needs, named[mrn], authority)
        and any(is_request(each) and each.is_open and each.authority == authority for each in controls)
        else NOT_NEEDED
        for mrn, unknown, needs, controls in zip(
            states.strings("mrn").tolist(), foreign.tolist(), needs_of(states), controls_of(states), strict=True
        )
    ]


def _need(needs: Sequence[Need], named: Named, authority: str) -> Need | None:
    place = (named.item_number, authority, named.type)
    return next((each for each in needs if each.place == place and not each.is_met), None)


def _put(states: Table, changed: Table, places: Sequence[int]) -> Table:
    """Return states with `changed` at some places."""
    order = {place: states.rows + number for number, place in enumerate(places)}
    rows = [order.get(place, place) for place in range(states.rows)]
    return Table.concat([states, changed]).take(np.array(rows, np.int64)) if places else states
