"""Open and change cases: each change is an event, written once per request in one transaction.

A case is locked alone, no consignment with it: a case changes nothing of its consignments.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from libs.store.database import Transaction
from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.cases.case import CONSIGNMENTS_MAX, Case
from services.clearance.cases.relation import COMPARED, related
from services.clearance.commands.act import UNKNOWN, VERSION_CHANGED, Acted, ExpectedVersions, Request
from services.clearance.store import Row, Store

UNRELATED: Final = "CASE_UNRELATED"
NOT_IN_CASE: Final = "CASE_CONSIGNMENT_MISSING"


@dataclass(frozen=True, slots=True)
class Target:
    """A case that is to change, and the version that the officer saw."""

    number: int
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class CaseChanged:
    """The result of a change of one case; `refusal` is "" where it took effect."""

    case: Case
    refusal: str = ""


class CaseRefused(Exception):
    """The one case of a request does not change."""

    def __init__(self, result: CaseChanged) -> None:
        super().__init__(result.refusal)
        self.result = result


Encode = Callable[[Sequence[CaseChanged]], bytes]
MakeEvent = Callable[[Transaction, Case], Awaitable[pb.CaseEvent | str | None]]
"""Return the event of a locked case, the reason why it is refused, or None where nothing changes."""
AfterEvents = Callable[[Transaction, Sequence[tuple[Case, pb.CaseEvent]]], Awaitable[None]]
"""Do what belongs to the events; each case is as its event left it."""
EncodeConsignments = Callable[[CaseChanged, Sequence[Acted]], bytes]


class ChangeCases:
    """Opens and changes cases."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store

    async def change(
        self,
        targets: Sequence[Target],
        change: pb.CaseChange.ValueType,
        make: MakeEvent,
        *,
        request: Request,
        encode: Encode,
        after: AfterEvents | None = None,
    ) -> bytes:
        """Change each case by the event that `make` returns, and then do what is `after` them, once per request.

        Return what `encode` made of the results. Raises RequestReused.
        """

        async def work(tx: Transaction) -> bytes:
            cases = await self._store.cases.find(tx, [each.number for each in targets], lock=True)
            results, events = [], []
            for target in targets:
                case = cases.get(target.number, Case(target.number))
                made = case.refusal(change, target.expected_version) or await make(tx, case)
                if isinstance(made, pb.CaseEvent):
                    events.append((case, made))
                results.append(CaseChanged(case, made if isinstance(made, str) else ""))
            changed = {each.number: each for each in await self._write(tx, events)}
            if after is not None:
                await after(tx, [(changed[case.number], event) for case, event in events])
            return encode([replace(each, case=changed.get(each.case.number, each.case)) for each in results])

        return await self._once(request, work)

    async def open(
        self, event: pb.CaseEvent, consignments: ExpectedVersions, *, request: Request, encode: EncodeConsignments
    ) -> bytes:
        """Open a case with consignments once per request; return what `encode` made of the results. Raises RequestReused."""
        results = await self._fit(consignments, event.relation, event.relation_key)

        async def work(tx: Transaction) -> bytes:
            own = copy_of(event)
            own.mrns.extend(mrn for mrn, acted in results.items() if not acted.refusal)
            (case,) = await self._write(tx, [(Case(await self._store.cases.next_number(tx)), own)])
            await self._store.cases.add(tx, case, own.mrns, own.by)
            return encode(CaseChanged(case), list(results.values()))

        return await self._once(request, work)

    async def put(
        self,
        target: Target,
        event: pb.CaseEvent,
        consignments: ExpectedVersions,
        *,
        request: Request,
        encode: EncodeConsignments,
    ) -> bytes:
        """Add consignments to a case or remove them, by the change of the event, once per request.

        Return what `encode` made of the results. Raises RequestReused, and CaseRefused where the case does not change for any of them.
        """
        note = note_of(event)
        adds = event.change == pb.CASE_CHANGE_CONSIGNMENTS_ADDED
        async with self._store.database.connection() as reading:
            # The relation of a case never changes.
            case = (await self._store.cases.find(reading, [target.number])).get(target.number, Case(target.number))
        fit = await self._fit(consignments, case.relation if adds else 0, case.relation_key)

        async def work(tx: Transaction) -> bytes:
            case = (await self._store.cases.find(tx, [target.number], lock=True)).get(
                target.number, Case(target.number)
            )
            refusal = case.refusal(event.change, target.expected_version)
            if refusal:
                raise CaseRefused(CaseChanged(case, refusal))
            members = await self._store.cases.members(tx, case.number, list(fit))
            if adds:
                results = {mrn: replace(acted, refusal="") if mrn in members else acted for mrn, acted in fit.items()}
                changing = [mrn for mrn, acted in results.items() if not acted.refusal and mrn not in members]
            else:
                results = {
                    mrn: replace(acted, refusal=_unfit_to_leave(acted, mrn in members)) for mrn, acted in fit.items()
                }
                changing = [mrn for mrn, acted in results.items() if not acted.refusal]
            if adds and case.consignments + len(changing) > CONSIGNMENTS_MAX:
                raise CaseRefused(CaseChanged(case, "CASE_FULL"))
            if changing:
                own = copy_of(event)
                own.mrns.extend(changing)
                (case,) = await self._write(tx, [(case, own)])
                if adds:
                    await self._store.cases.add(tx, case, changing, own.by)
                else:
                    await self._store.cases.remove(tx, case, changing)
            elif note is not None and any(not acted.refusal for acted in results.values()):
                (case,) = await self._write(tx, [(case, note)])
            return encode(CaseChanged(case), list(results.values()))

        return await self._once(request, work)

    async def _once(self, request: Request, work: Callable[[Transaction], Awaitable[bytes]]) -> bytes:
        async with self._store.database.transaction() as tx:
            answer = await self._store.requests.recall(tx, *request.key)
            if answer is None:
                answer = await work(tx)
                await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def _fit(self, consignments: ExpectedVersions, relation: int, key: str) -> dict[str, Acted]:
        """Return the results of consignments, with the reason why one does not belong to a relation; 0 for no relation."""
        async with self._store.database.connection() as reading:
            rows = await self._store.find(reading, [mrn for mrn, _ in consignments])
            belongs = dict.fromkeys(rows, True)
            if relation in COMPARED and rows:
                states = await self._store.states(reading, list(rows.values()))
                belongs = dict(zip(rows, related(states, relation, key).tolist(), strict=True))
        return {mrn: _acted(mrn, rows.get(mrn), version, belongs.get(mrn, False)) for mrn, version in consignments}

    async def _write(self, tx: Transaction, events: Sequence[tuple[Case, pb.CaseEvent]]) -> list[Case]:
        """Store events of locked or new cases, with a record of each in the audit trail; return the cases after them."""
        now, cases, payloads = await self._store.now(tx), [], []
        for case, event in events:
            event.version = case.version + 1
            event.at.FromMicroseconds(max(now, case.changed_at))
            cases.append(case.after(event))
            payloads.append(event.SerializeToString(deterministic=True))
        await self._store.cases.write(tx, cases, payloads)
        for case, (_, event) in zip(cases, events, strict=True):
            # The hash binds all events up to this one to the trail; texts of the case are not in it.
            name = pb.CaseChange.Name(event.change).removeprefix("CASE_CHANGE_")
            about = f"case {case.number} version {case.version} {name} {case.hash.hex()}"
            await self._store.audit.note_access(tx, self._store.origin(), about, list(event.mrns))
        return cases


def copy_of(event: pb.CaseEvent) -> pb.CaseEvent:
    """Return a copy of an event, for one case."""
    own = pb.CaseEvent()
    own.CopyFrom(event)
    return own


def note_of(event: pb.CaseEvent) -> pb.CaseEvent | None:
    """Return the event that adds the note of a change without effect; None where it has none."""
    return pb.CaseEvent(change=pb.CASE_CHANGE_NOTED, by=event.by, note=event.note) if event.note.strip() else None


def _acted(mrn: str, row: Row | None, version: int | None, belongs: bool) -> Acted:
    if row is None:
        return Acted(mrn, 0, 0, UNKNOWN)
    refusal = VERSION_CHANGED if version not in (None, row.version) else "" if belongs else UNRELATED
    return Acted(mrn, row.state, row.version, refusal)


def _unfit_to_leave(acted: Acted, is_member: bool) -> str:
    if not is_member:
        return NOT_IN_CASE
    # Goods that are not stored any more leave the case, too.
    return "" if acted.refusal == UNKNOWN else acted.refusal
