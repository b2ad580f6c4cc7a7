"""Whose consignments a caller may see: known before a page is cut, so that neither its size nor its token shows those of others.

One call looks at a bounded number of consignments (`inquiry.LOOKED_AT_MAX`): behind so many of others a page ends early, with a token.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.carriage.binding import bound, effective
from services.clearance.consignment.columns import in_transit
from services.clearance.consignment.controls.control import asked_to_control
from services.clearance.consignment.notice_kinds import of_movements
from services.clearance.consignment.state.transport_numbers import carriage, numbers_of
from services.clearance.store import Row, Store
from services.clearance.store.parties.representations import Entrusted

_STATES_A_LOOK: Final = 250


async def bound_to(store: Store, tx: Transaction, states: Table, carrier: str) -> NDArray[np.bool_]:
    """Return which consignments are bound to a carrier, shape (n,): today, or on the day on which it recorded the arrival that took effect."""
    carried, register = carriage(states), await store.carriers.register_of(tx, states)
    found = bound(*carried, register, carrier, await store.now(tx) // MICROS_PER_DAY)
    arrived = states.strings("arrival_carrier").isin({carrier}) & ~found
    if arrived.any():
        arrivals = await store.arrivals.find(tx, numbers_of(states.take(np.flatnonzero(arrived))))
        own = {number: [each for each in under if each.carrier == carrier] for number, under in arrivals.items()}
        found |= arrived & effective(*carried, own, register).present
    return found


async def moved_by(store: Store, tx: Transaction, states: Table, carrier: str) -> NDArray[np.bool_]:
    """Return which goods a carrier moves to another office, shape (n,): the transport document of their movement is bound to it today, as
    itself or by its prefix.
    """
    documents, moving = states.strings("transit_document_number"), in_transit(states)
    if not moving.any():
        return moving
    register, day = await store.carriers.register(tx, documents.dictionary, []), await store.now(tx) // MICROS_PER_DAY
    named: NDArray[np.bool_] = documents.map(
        lambda each: bool(each) and register.binds(carrier, each, "", day), np.bool_
    )
    return moving & named


async def notified_to(store: Store, tx: Transaction, versions: Table, carrier: str) -> NDArray[np.bool_]:
    """Return which versions a carrier reads as notices, shape (n,): those of goods that are bound to it, and the steps of movements whose transport
    document is bound to it, today or on the day of the step.
    """
    found = await bound_to(store, tx, versions, carrier)
    rows = np.flatnonzero(of_movements(versions) & ~found)
    if not len(rows):
        return found
    documents = versions.strings("transit_document_number").take(rows)
    register, today = await store.carriers.register(tx, documents.dictionary, []), await store.now(tx) // MICROS_PER_DAY
    days = (versions.ints("changed_at").values[rows] // MICROS_PER_DAY).tolist()
    found[rows] = [
        any(register.binds(carrier, document, "", each) for each in (today, day))
        for document, day in zip(documents.tolist(), days, strict=True)
    ]
    return found


async def entrusted_to(store: Store, tx: Transaction, filer: str) -> Entrusted:
    """Return which declarations of other filers are entrusted to a filer by a representation."""
    return await store.representations.entrusted_to(tx, filer, await store.now(tx))


async def filed_by(
    store: Store, tx: Transaction, mrns: Sequence[str], rows: Mapping[str, Row], filer: str, *, own_alone: bool = False
) -> dict[str, Row]:
    """Return those of the consignments found for some MRNs that are a filer's, or, unless `own_alone`, are entrusted to it.

    If it names others, what is entrusted to it is read, also if they do not exist: the time of an answer does not depend on it.
    """
    own = {mrn: row for mrn, row in rows.items() if row.filer == filer}
    if own_alone or all(mrn in own for mrn in mrns):
        return own
    entrusted = await entrusted_to(store, tx, filer)
    others = [row for row in rows.values() if row.filer in entrusted.mandates]
    for begin in range(0, len(others), _STATES_A_LOOK):
        part = others[begin : begin + _STATES_A_LOOK]
        covered = entrusted.covers(await store.states(tx, part)).tolist()
        own |= {row.mrn: row for row, is_covered in zip(part, covered, strict=True) if is_covered}
    return own


class Sight(Protocol):
    """Chooses which consignments a query finds."""

    @property
    def sees_all(self) -> bool:
        """Whether it chooses all."""
        ...

    async def visible(self, tx: Transaction, mrns: Sequence[str]) -> Collection[str]:
        """Return those of some consignments that are chosen."""
        ...

    async def owners(self, tx: Transaction) -> list[str]:
        """Return the filers of one of which each chosen consignment is; none for all."""
        ...

    async def names(self, tx: Transaction, document: str) -> list[str] | None:
        """Return the carriers, "" for nobody, of which one is named where a filing under a document may be chosen; None for all."""
        ...


class Viewer:
    """What one caller may see of the consignments of all."""

    def __init__(self, store: Store, identity: Identity, *, own_alone: bool = False) -> None:
        """See as `identity` does; officers and analysts see all, and with `own_alone` a filer sees nothing that is entrusted to it."""
        self._store = store
        self._identity = identity
        self._own_alone = own_alone
        self.filer = identity.id if identity.role is Role.FILER else ""
        """The filer whose consignments, and those that are entrusted to it, alone are visible; "" for other roles."""
        self.carrier = identity.id if identity.role is Role.CARRIER else ""
        """The carrier that calls; "" for other roles."""

    @property
    def sees_all(self) -> bool:
        """Whether nothing is hidden from the caller."""
        return self._identity.role not in (Role.FILER, Role.CARRIER, Role.AGENCY)

    async def visible(self, tx: Transaction, mrns: Sequence[str]) -> Collection[str]:
        """Return those of some consignments that the caller may see."""
        if self.sees_all or not mrns:
            return mrns
        rows = await self._store.find(tx, mrns)
        if self.filer:
            return await filed_by(self._store, tx, mrns, rows, self.filer, own_alone=self._own_alone)
        seen: set[str] = set()
        found = list(rows.values())
        for begin in range(0, len(found), _STATES_A_LOOK):
            states = await self._store.states(tx, found[begin : begin + _STATES_A_LOOK])
            own = (
                asked_to_control(states, self._identity.agency)
                if self._identity.agency
                else await bound_to(self._store, tx, states, self._identity.id)
            )
            seen.update(states.strings("mrn").take(np.flatnonzero(own)).tolist())
        return seen

    async def owners(self, tx: Transaction) -> list[str]:
        """Return the filers of which consignments may be visible; none for other roles."""
        return [self.filer, *(await entrusted_to(self._store, tx, self.filer)).mandates] if self.filer else []

    async def names(self, tx: Transaction, document: str) -> list[str] | None:
        """Return the carriers, in capitals, that filings under a master document name where the caller may see them, "" for nobody; None for all."""
        if self._identity.role is not Role.CARRIER:
            return None
        carrier, today = self._identity.id, await self._store.now(tx) // MICROS_PER_DAY
        register = await self._store.carriers.register(tx, [document], [])
        arrivals = (await self._store.arrivals.find(tx, [document])).get(document, [])
        days = {today, *(each.day for each in arrivals if each.carrier == carrier)}
        lists = [register.document_carriers(document, day) for day in days]
        if any(carrier in listed for listed in lists):
            return None
        if all(lists):
            return []
        unnamed = [""] if any(carrier in register.prefixed(document, day) for day in days) else []
        return [carrier.upper(), *await self._store.carriers.identifiers_of(tx, carrier), *unnamed]
