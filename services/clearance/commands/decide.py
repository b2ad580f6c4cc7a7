"""Stores decisions on filings, with the arrivals, screening matches and debt events that came before them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Ints, Ragged, Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.carriage.binding import Arrival, Effective, effective
from services.clearance.commands.arrivals.amended_numbers import differs, store_numbers
from services.clearance.commands.arrivals.carriage import report_without_effect
from services.clearance.commands.contradictions.record import record_contradictions
from services.clearance.commands.filings.versions import DecidedFilings, counting_rows, follows, gathered, newest
from services.clearance.commands.goods.order_controls import order_controls, waiting_for_orders
from services.clearance.commands.goods.referrals import store_referrals
from services.clearance.commands.goods.writing_off import WritingOff
from services.clearance.commands.screen import bind
from services.clearance.commands.take_debt_events import bind as bind_debt_events
from services.clearance.consignment.contradictions.contradiction import Statement, carried
from services.clearance.consignment.debt import settled, with_debt_evaluated, with_documents_not_valued
from services.clearance.consignment.decision import AUTOMATIC, SCREENING, Lane
from services.clearance.consignment.presentation.times import PRESENTATION
from services.clearance.consignment.screening import ALARM, alarmed, only_alarms, with_matches, with_reason
from services.clearance.consignment.state.amendment import amended_states, completing, stays_in_red_lane
from services.clearance.consignment.state.arrivals import Arrivals
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.transport_numbers import carriage, numbers_of, only_receptacle, partly_in
from services.clearance.consignment.state.withdrawal import refused_states
from services.clearance.consignment.transitions import FINAL, Event
from services.clearance.goods_controls import law as goods_law
from services.clearance.goods_controls.requirements import concerned
from services.clearance.pre_loading import recommendation
from services.clearance.pre_loading.parameters import Parameters, included
from services.clearance.presentation.law import PresentationLaw
from services.clearance.presentation.law import included as presentation_law
from services.clearance.store import Row, Store


@dataclass(slots=True)
class Tally:
    """The results of the decisions of one page."""

    at: int = 0
    """When, microseconds since 1970-01-01 UTC."""
    decided: list[Table] = field(default_factory=list)
    """The new states."""
    replayed: int = 0
    """Events that were applied before."""
    too_late: int = 0
    """Amendments and invalidations that were refused because they came too late."""
    withdrawn: int = 0
    """Declarations that their filers invalidated."""
    binding_revision: int = 0
    """Revision of the bindings by which the arrivals were evaluated."""
    unbound: set[str] = field(default_factory=set)
    """Documents whose arrivals have no effect on some of these filings."""
    changed: set[str] = field(default_factory=set)
    """Documents that have arrived, and to which filings moved or whose filings changed their carrier."""
    unchanged: dict[str, int] = field(default_factory=dict)
    """Versions that came in time and only state contradictions, by MRN: nothing is decided anew."""

    def add(self, other: "Tally") -> None:
        """Add the results of a further part of the page."""
        self.decided += other.decided
        self.replayed += other.replayed
        self.too_late += other.too_late
        self.withdrawn += other.withdrawn


class Decide:
    """Stores first decisions and those on amendments, with the arrivals, screening matches and debt events that came before them."""

    def __init__(
        self,
        store: Store,
        parameters: Parameters | None = None,
        goods: goods_law.GoodsLaw | None = None,
        presentation: PresentationLaw | None = None,
    ) -> None:
        """Store in `store`; the `parameters` of the assessment before loading and both laws are by default those of this release."""
        self.store = store
        self.parameters = parameters or included()
        self.goods = goods or goods_law.included()
        self.presentation = presentation or presentation_law()

    async def run(self, tx: Transaction, parts: Sequence[DecidedFilings]) -> Tally:
        """Store decisions in the caller's transaction, and return the results.

        Of several versions of a filing the newest counts; of one that is stored, the newest that does not come too late.
        """
        tally = Tally(at=await self.store.now(tx))
        parts = gathered(parts)
        numbers = {number for part in parts for number in numbers_of(part.table)}
        await self.store.arrivals.block_recording(tx, numbers)
        locked = await self.store.lock(tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()])
        arrivals = await self.store.arrivals.find(tx, numbers)
        if arrivals:
            tally.binding_revision = await self.store.carriers.binding_revision(tx)
        parts = await self._with_early(tx, parts)
        writing = WritingOff(self.store, tx, tally.at)
        await writing.lock([part.table for part in parts], await self._amended(tx, parts, locked))
        for part in parts:
            stored = part.table.strings("mrn").map(locked.__contains__, np.bool_)
            if not stored.all():
                first = newest(part.take(np.flatnonzero(~stored)))
                goods = concerned(first.table, self.goods)
                if len(goods):
                    await self._first(tx, first.take(goods), arrivals, tally, writing)
                others = np.setdiff1d(np.arange(first.table.rows), goods)
                if len(others):
                    await self._first(tx, first.take(others), arrivals, tally)
            if stored.any():
                await self._amend(tx, part.take(np.flatnonzero(stored)), locked, arrivals, tally, writing)
        for part in parts:
            await record_contradictions(self.store, tx, part.statements, tally.unchanged, at=tally.at, trace=part.trace)
        await writing.finish()
        if tally.unbound or tally.changed:
            await self._mark(tx, arrivals, tally)
        return tally

    async def _amended(self, tx: Transaction, parts: Sequence[DecidedFilings], locked: Mapping[str, Row]) -> Table:
        """Return the stored states of the filings that have newer versions among the parts."""
        versions = [
            (mrn, version)
            for part in (parts if locked else ())
            for mrn, version in zip(
                part.table.strings("mrn").tolist(), part.table.ints("filing_version").values.tolist(), strict=True
            )
        ]
        newer = dict.fromkeys(
            mrn for mrn, version in versions if mrn in locked and version > locked[mrn].filing_version
        )
        return await self.store.states(tx, [locked[mrn] for mrn in newer])

    async def _with_early(self, tx: Transaction, parts: Sequence[DecidedFilings]) -> Sequence[DecidedFilings]:
        """Return the parts with the stored matches and debt events that came before these filings were decided."""
        matches, debt_events = await self.store.early_debt_events.any_early(tx)
        if matches:
            early = await self.store.early_matches.take(
                tx, [mrn for part in parts for mrn in part.table.strings("mrn").tolist()]
            )
            if early:
                mrns = {each.mrn for each in early}
                parts = [part.with_events(*bind(tx, part.table, part.release, early), mrns) for part in parts]
        if debt_events:
            versions = {
                mrn: version
                for part in parts
                for mrn, version in zip(
                    part.table.strings("mrn").tolist(), part.table.ints("filing_version").values.tolist(), strict=True
                )
            }
            events = await self.store.early_debt_events.take(tx, versions)
            if events:
                bound = [bind_debt_events(tx, part.table, part.release, events) for part in parts]
                mrns = {each.mrn for each in events}
                parts = [part.with_events(*each, mrns) for each, part in zip(bound, parts, strict=True)]
        return parts

    async def _first(
        self,
        tx: Transaction,
        part: DecidedFilings,
        arrivals: Mapping[str, Sequence[Arrival]],
        tally: Tally,
        writing: WritingOff | None = None,
    ) -> None:
        """Store first decisions.

        `writing` is given for goods that controls list: their arrival takes effect behind the orders, so that no version is released before.
        """
        table, found = part.table, None
        if arrivals:
            found = effective(*carriage(table), arrivals, await self.store.carriers.register_of(tx, table))
            reported = found.columns()
            table = table.with_columns(reported.columns())
            table = self.presentation.arriving(table, reported.arrived_at, tally.at)
            tally.unbound |= found.unbound | partly_in(table, ~found.present, arrivals)
        events = np.where(part.release, np.int64(Event.DECIDED_RELEASE), np.int64(Event.DECIDED_HOLD))
        if recommendation.is_assessed(table):
            table, events = _loaded_though_forbidden(
                recommendation.assessed(table, tally.at), events, Event.DECIDED_HOLD
            )
        if writing is not None:
            absent = dict.fromkeys(PRESENTATION, Ints.absent(table.rows))
            table = table.with_columns({**Arrivals.none(table.rows).columns(), **absent})
        table, outcome = apply_event(table, EventDetails(event=events, at=tally.at))
        assert bool(outcome.effective.all()), "a first decision is never refused"
        if writing is not None:
            table = writing.written_off(table)
        ref = await self.store.insert(tx, table, trace=part.trace)
        tally.decided.append(table)
        if writing is None:
            await self._refer(tx, table, ref, part.trace, tally.at)
        else:
            await self._order(tx, table.strings("mrn").tolist(), found, writing, part.trace, tally.at)

    async def _order(
        self, tx: Transaction, mrns: Sequence[str], effect: Effective | None, writing: WritingOff, trace: str, at: int
    ) -> None:
        """Order the controls of goods that were decided for the first time, then let their arrivals take effect, and store their referrals."""
        await order_controls(self.store, tx, mrns, self.goods, at=at, trace=trace)
        present = np.flatnonzero(effect.present) if effect is not None else np.zeros(0, np.int64)
        if effect is not None and len(present):
            arrived = replace(effect, places=effect.places[present]).columns()
            rows = await self._rows(tx, [mrns[place] for place in present.tolist()])
            details = EventDetails(event=Event.ARRIVED, at=at, arrivals=arrived)
            states = self.presentation.arriving(await self.store.states(tx, rows), arrived.arrived_at, at)
            states, outcome = apply_event(states, details)
            assert bool(outcome.effective.all()), "what was decided as not arrived arrives"
            await self.store.succeed(tx, states, rows, trace=trace)
        rows = await self._rows(tx, mrns)
        await self._refer(tx, await self.store.states(tx, rows), rows, trace, at)

    async def _rows(self, tx: Transaction, mrns: Sequence[str]) -> list[Row]:
        found = await self.store.find(tx, mrns)
        return [found[mrn] for mrn in mrns]

    async def _refer(
        self,
        tx: Transaction,
        table: Table,
        stored: BatchRef | Sequence[Row],
        trace: str,
        at: int,
        required: NDArray[np.bool_] | None = None,
    ) -> None:
        """Store the referrals that risk recommends for states that this transaction stored: all in one batch, or as these rows.

        `required`: see `recommendation.refer`.
        """
        if not recommendation.is_assessed(table):
            return
        found = recommendation.refer(table, at, self.parameters, required)
        await store_referrals(self.store, tx, found, stored, trace, at)

    async def _mark(self, tx: Transaction, arrivals: Mapping[str, Sequence[Arrival]], tally: Tally) -> None:
        """Mark the arrivals that have no effect on these filings, and mark for repetition those of documents whose filings changed.

        One statement at the end marks them all, so that arrivals are locked in one order, and after the lock of the bindings.
        """
        repeat = tally.changed
        if tally.unbound and await self.store.carriers.binding_revision(tx, lock=True) != tally.binding_revision:
            # Bindings changed after these filings were decided: the arrivals are applied again by the new bindings.
            repeat = repeat | tally.unbound
        unbound = tally.unbound - repeat
        await self.store.arrivals.mark(tx, unbound=unbound, repeat=repeat)
        await report_without_effect(
            self.store, tx, [(document, each.carrier) for document in unbound for each in arrivals[document]]
        )

    async def _amend(
        self,
        tx: Transaction,
        part: DecidedFilings,
        locked: Mapping[str, Row],
        arrivals: Mapping[str, Sequence[Arrival]],
        tally: Tally,
        writing: WritingOff,
    ) -> None:
        """Store decisions on versions of stored filings; the versions of each are side by side, rising.

        All are compared with the stored state. The newest that takes effect replaces those before it; those after it came too late.
        """
        rows = [locked[mrn] for mrn in part.table.strings("mrn").tolist()]
        newer = np.flatnonzero(
            part.table.ints("filing_version").values > np.array([row.filing_version for row in rows])
        )
        tally.replayed += len(rows) - len(newer)
        if not len(newer):
            return
        rows = [rows[place] for place in newer.tolist()]
        part = part.take(newer)
        stored = await self.store.states(tx, rows)
        completes = completing(stored, part.completed)
        stays_red = stays_in_red_lane(stored, part.table, completes)
        table = recommendation.assessed(amended_states(stored, part.table, stays_red), tally.at)
        table = table.with_columns(carried(stored, part.stated))
        table = with_documents_not_valued(stored, table)
        # Debt events that revenue announced remain valid after the amendment. What stays held has the reason of its debt beside its own.
        table = with_debt_evaluated(stored, table, table.ints("debt_status").values, table.strings("debt_account"))
        release = part.release & ~stays_red | settled(table)
        hold = np.where(completes, np.int64(Event.COMPLETED_HOLD), np.int64(Event.AMENDED_HOLD))
        onwards = np.where(completes, np.int64(Event.COMPLETED_RELEASE), np.int64(Event.AMENDED_RELEASE))
        events = np.where(release, onwards, hold)
        if completes.any():
            table = waiting_for_orders(table, self.goods, completes & release)
        effective = ~_moved_after_arrival(stored, table)
        if recommendation.is_assessed(table):
            table, events = _loaded_though_forbidden(table, events, hold)
        table, outcome = apply_event(table, EventDetails(event=events, at=tally.at))
        effective &= outcome.effective
        counting = counting_rows(part.table, effective)
        unchanged, places = _only_states(stored, part), np.arange(part.table.rows)
        done = np.flatnonzero((places == counting) & ~unchanged)
        if len(done):
            table, former = writing.written_off(table.take(done)), stored.take(done)
            await self.store.unjudged.forget(tx, former)
            ref = await self.store.succeed(tx, table, [rows[place] for place in done.tolist()], trace=part.trace)
            mrns = table.strings("mrn").tolist()
            days = [rows[place].day for place in done.tolist()]
            tally.changed |= await store_numbers(self.store, tx, former, table, ref, days) & arrivals.keys()
            tally.decided.append(table)
            required = part.table.bools("pre_loading_second_person").values[done]
            await self._refer(tx, table, ref, part.trace, tally.at, required)
            goods = np.union1d(concerned(table, self.goods), np.flatnonzero(former.ragged("licences").lengths))
            if len(goods):
                controlled = [mrns[place] for place in goods.tolist()]
                await order_controls(self.store, tx, controlled, self.goods, at=tally.at, trace=part.trace)
        stating = np.flatnonzero((places == counting) & unchanged)
        versions = part.table.ints("filing_version")
        for row in stating.tolist():
            tally.unchanged[rows[row].mrn] = int(versions.values[row])
        late = np.flatnonzero(places > counting)
        if np.isin(counting[late], done).any():
            rows = await self._rows(tx, [row.mrn for row in rows])
            stored = await self.store.states(tx, rows)
        refused = late[[not _is_unchanged(part.stated.get(row)) for row in late.tolist()]] if len(late) else late
        if len(refused):
            refusals = refused_states(stored.take(refused), versions.take(refused), tally.at)
            await self.store.notify(tx, refusals, trace=part.trace)
            tally.too_late += len(refused)
        without_effect = np.union1d(late, stating)
        if len(without_effect):
            chosen = [rows[place] for place in without_effect.tolist()]
            await self._alarm(tx, chosen, stored.take(without_effect), part, without_effect, tally.at)

    async def _alarm(
        self,
        tx: Transaction,
        rows: Sequence[Row],
        stored: Table,
        part: DecidedFilings,
        late: NDArray[np.int64],
        at: int,
    ) -> None:
        """Hold goods of which a version without effect has an alarm of a security screening: the version came too late, or changes nothing, but its
        alarm has an effect.

        The versions `late` of one filing are side by side; its goods get the alarms of all.
        """
        filed = part.table.take(late)
        alarm = np.flatnonzero(alarmed(filed) & ~np.isin(stored.ints("state").values, list(FINAL)))
        if not len(alarm):
            return
        new_alarms = only_alarms(filed.take(alarm).ragged("findings"), np.ones(len(alarm), np.bool_))
        first = np.flatnonzero(~follows(filed.take(alarm)))
        new_alarms = Ragged.of_lengths(np.add.reduceat(new_alarms.lengths, first), new_alarms.values)
        alarm = alarm[first]
        states = stored.take(alarm)
        findings, added = with_matches(states.ragged("findings"), new_alarms)
        new = np.flatnonzero(added > 0)
        if not len(new):
            return
        table = states.with_columns({"findings": findings, "lane": Ints.constant(Lane.RED, len(alarm))}).take(new)
        alarm_rows = [rows[place] for place in alarm[new].tolist()]
        held = table.bools("officer_hold").values | table.bools("screening_hold").values
        # From now on only an officer releases it, even if its screening match is cleared later.
        table = table.with_columns({"officer_hold": Bools.of(held)})
        for event, chosen in (
            (Event.FINDINGS_CHANGED, np.flatnonzero(held)),
            (Event.OFFICER_HELD, np.flatnonzero(~held)),
        ):
            if len(chosen):
                details = EventDetails(event=event, at=at, by=SCREENING, reason=ALARM)
                after, outcome = apply_event(table.take(chosen), details)
                assert bool(outcome.effective.all()), (
                    "an alarm has its effect in each state that is reached and not final"
                )
                await self.store.succeed(tx, after, [alarm_rows[place] for place in chosen.tolist()], trace=part.trace)


def _is_unchanged(statement: Statement | None) -> bool:
    """Return whether a version changes no element and states only other contradictions: nothing of it is refused."""
    return statement is not None and statement.unchanged_since is not None


def _only_states(stored: Table, part: DecidedFilings) -> NDArray[np.bool_]:
    """Return which versions only state contradictions of the version that counts, shape (n,): nothing is decided anew.

    The others change an element, or risk selects them more strictly than before while no officer has decided, as a rule on contradictions does.
    """
    found = np.zeros(stored.rows, np.bool_)
    counting = stored.ints("filing_version").values
    for row, statement in part.stated.items():
        found[row] = statement.unchanged_since is not None and statement.unchanged_since <= counting[row]
    if not found.any():
        return found
    if part.early:
        # What revenue or a screening found meanwhile is to have its effect.
        found &= ~stored.strings("mrn").map(part.early.__contains__, np.bool_)
    stricter = np.zeros(stored.rows, np.bool_)
    for name in ("lane", "pre_loading_referral"):
        stricter |= part.table.ints(name).filled(0) > stored.ints(name).filled(0)
    by_officer = ~stored.strings("decided_by").isin({AUTOMATIC, SCREENING, ""})
    only: NDArray[np.bool_] = found & (by_officer | ~stricter)
    return only


def _loaded_though_forbidden(
    states: Table, events: NDArray[np.int64], hold: Event | NDArray[np.int64]
) -> tuple[Table, NDArray[np.int64]]:
    """Return the states and events of decisions: goods that arrived before, and should not have been loaded, are held for an officer by `hold`."""
    forbidden = recommendation.forbidden_on_arrival(states)
    if not forbidden.any():
        return states, events
    reasons = with_reason(states.ragged("reasons"), states.strings("pre_loading_reason"), forbidden)
    held = Bools.of(states.bools("officer_hold").values | forbidden)
    states = states.with_columns({"officer_hold": held, "reasons": reasons})
    return states, np.where(forbidden, np.asarray(hold, np.int64), events)


def _moved_after_arrival(stored: Table, new: Table) -> NDArray[np.bool_]:
    """Return which amendments name another master document, carrier or arrived receptacle for goods that have arrived: the arrival is that of the
    former ones.
    """
    arrived = stored.ints("arrived_at").valid
    if not arrived.any():
        return arrived
    moved = differs(stored, new, "master_document_number") | differs(stored, new, "carrier_identifier")
    by_receptacle = stored.bools("arrived_by_receptacle").values
    if by_receptacle.any():
        pairs = zip(only_receptacle(stored).tolist(), only_receptacle(new).tolist(), strict=True)
        moved |= by_receptacle & np.array([before != after for before, after in pairs], np.bool_)
    return arrived & moved
