"""Events of every kind that tests give to consignments of a desk, by name, whatever state these are in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from libs.columns import Ints, Strings, Table
from libs.server import call
from libs.server.identity import Identity, Role
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, returns_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.commands.act import Acted, Commands, Request
from services.clearance.commands.adjust import Adjusting
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.commands.goods.write_off_named import Named, WriteOffNamed
from services.clearance.commands.presentation.present import Present
from services.clearance.commands.returns.bulk_return import BulkReturn
from services.clearance.commands.returns.order_returns import Left, OrderReturns, OrderTerms
from services.clearance.commands.transit.move import Move
from services.clearance.commands.work.proposals import DecideProposals
from services.clearance.consignment.controls import steps
from services.clearance.consignment.controls.control import Control, ControlResult, controls_of
from services.clearance.consignment.disposal import Disposal, disposing
from services.clearance.consignment.disposal import unfit as unfit_to_dispose
from services.clearance.consignment.inspection import Inspection, Result
from services.clearance.consignment.lifecycle.disposals import EVENTS
from services.clearance.consignment.returns import BulkOrder, Return, returning
from services.clearance.consignment.returns import unfit as unfit_to_return
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Debt, Event
from services.clearance.jobs.expiry import Expiry
from services.clearance.jobs.waits import Waits
from services.clearance.pre_loading.parameters import included
from services.clearance.second_person import steps as second
from services.clearance.transit.movement import TransitArrival, TransitEnd, TransitStart, TransitStep
from tests.clearance import debt_events, screening_matches
from tests.clearance.adjustments import Revenue, adjust, correcting
from tests.clearance.desk import ASSESS_SECONDS, CARRIER, MASTER, TRACE, Desk, completing, filings, mrns
from tests.clearance.desk_commands import arrival, arrive
from tests.clearance.risk_answers import screening
from tests.clearance.transits import RULES

DAY_MICROS: Final = 86_400_000_000
REASON: Final = "SEEN"
REQUESTS: Final = (
    control_pb2.CONTROL_FORM_DOCUMENTS,
    control_pb2.CONTROL_FORM_INFORMATION,
    control_pb2.CONTROL_FORM_SCREENING,
)
"""Forms of controls that the filer is to answer."""
WITHDRAWN: Final = {
    "function": Ints.constant(consignment_pb2.MESSAGE_FUNCTION_INVALIDATE, 1),
    "return_document_number": Strings.of(["AWB-5"]),
}
"""What an invalidation by the filer has beside the filing."""
MOVEMENT: Final = TransitStart(
    officer="otto", destination="DE004600", limit_days=0, seal="", document="T1-9", guarantee="", note="", rules=RULES
)


@dataclass(slots=True)
class Driver:
    """Gives events to the consignments of a desk; each call is a request of its own."""

    desk: Desk
    master: str = MASTER
    other_master: str = "16099999999"
    calls: int = 0
    file: Callable[..., Table] = filings
    """Makes the filings of references, by version and master document."""
    licence: str = "L1"
    """Number of the licence that the agency names for goods."""

    async def act(self, mrn: str, prepare: Any, unfit: Any = None, propose: Any = None) -> None:
        """Carry out a command on one consignment."""
        await Commands(self.desk.store).act(
            [(mrn, None)], prepare, request=self._request(), encode=_encoded, unfit=unfit, propose=propose
        )

    def _request(self) -> Request:
        self.calls += 1
        key = str(self.calls)
        return Request("officer/otto", key, key.encode(), TRACE)

    async def officer(self, mrn: str, event: Event) -> None:
        """Hold, or release: where a rule requires a second person, that is proposed."""
        releases = event is Event.OFFICER_RELEASED
        await self.act(
            mrn,
            lambda states, at: (states, EventDetails(event=event, at=at, by="otto", reason=REASON, note="n")),
            (lambda states: second.unfit_to_release(states, "otto", "n", {mrn})) if releases else None,
            propose=(lambda states: second.proposed_release(states, "otto", REASON, "n")) if releases else None,
        )

    async def decide_proposal(self, mrn: str, verdict: second.Verdict, officer: str) -> None:
        """Decide on what waits for a second person, having seen it."""
        (version,) = (await self.desk.states([mrn])).ints("version").tolist()
        decision = second.ProposalDecision(verdict, officer, REASON, "n")
        deciding = DecideProposals(self.desk.store)
        await deciding.run([(mrn, version)], decision, request=self._request(), encode=_encoded)

    async def inspect(self, mrn: str, result: Result) -> None:
        """Record an inspection."""
        found = {mrn: Inspection(1, result, result, int(result == Result.VIOLATION), {})}
        await self.act(
            mrn, lambda states, at: (states, EventDetails(event=Event.INSPECTED, at=at, by="olga", inspections=found))
        )

    async def dispose(self, mrn: str, kind: pb.DisposalKind.ValueType) -> None:
        """Decide on goods, as an officer who saw all."""
        decisions = {mrn: Disposal(EVENTS[kind], REASON, "AWB-9" if kind == pb.DISPOSAL_KIND_RE_EXPORTED else "", "n")}
        await self.act(
            mrn,
            lambda states, at: disposing(states, at, decisions, "otto"),
            lambda states: unfit_to_dispose(states, decisions, "otto", {mrn}),
            lambda states: second.proposed_disposals(states, decisions, "otto"),
        )

    async def give_back(self, mrn: str, items: frozenset[int]) -> None:
        """Record a return."""
        returns = {mrn: Return(pb.RETURN_REASON_FAULTY, "AWB-8", items)}
        await self.act(
            mrn,
            lambda states, at: returning(states, at, returns, "otto"),
            lambda states: unfit_to_return(states, returns),
        )

    async def return_in_bulk(self, mrn: str) -> None:
        """Return it as its state asks, as an officer who saw all."""
        self.calls += 1
        order = BulkOrder(pb.RETURN_REASON_UNDELIVERED, "AWB-7", "otto")
        version = int((await self.desk.states([mrn])).ints("version").values[0])
        await BulkReturn(self.desk.store, order).named(
            [(mrn, version)],
            caller=Identity(Role.OFFICER, "otto"),
            request=Request("officer/otto", str(self.calls), b"d", TRACE),
            encode=lambda progress, results: b"-",
        )

    async def move(self, mrn: str, step: TransitStep) -> None:
        """Take a step of its movement to another office, as an officer."""
        self.calls += 1
        key = str(self.calls)
        await Move(self.desk.store, step).named(
            [(mrn, None)],
            caller=Identity(Role.OFFICER, "otto"),
            request=Request("officer/otto", key, key.encode(), TRACE),
            encode=lambda progress, results: b"-",
        )

    async def order_return(self, mrn: str, caller: Identity) -> None:
        """Order its return within 30 days, beforehand."""
        self.calls += 1
        call.enter(call.Call(caller, "OrderReturns", "r", TRACE, float("inf")))
        until = await self.desk.store.database.now() + 30 * DAY_MICROS
        await OrderReturns(self.desk.store).order(
            [(mrn, None)],
            {mrn: OrderTerms(pb.RETURN_REASON_UNDELIVERED, "", until, "")},
            caller,
            request=returns_pb2.OrderReturnsRequest(request_id=str(self.calls)),
            answer=lambda _: returns_pb2.OrderReturnsResponse(),
        )

    async def depart(self, mrn: str) -> None:
        """Report that it left."""
        self.calls += 1
        left = Left("AWB-6", await self.desk.store.database.now(), frozenset({mrn}))
        key = str(self.calls)
        request = Request("officer/otto", key, key.encode(), TRACE)
        officer = Identity(Role.OFFICER, "otto")
        await OrderReturns(self.desk.store).depart([left], officer, request=request, answer=lambda _: b"-")

    async def amend(self, reference: str, master: str) -> None:
        """File the next version."""
        (mrn,) = mrns(filings([reference]))
        version = int((await self.desk.states([mrn])).ints("filing_version").values[0]) + 1
        await self.desk.consume(self.file([reference], version=version, master=master))

    async def complete(self, reference: str) -> None:
        """File the next version, which ingestion takes for one that completes the version that clearance applied last."""
        (mrn,) = mrns(filings([reference]))
        version = int((await self.desk.states([mrn])).ints("filing_version").values[0])
        filed = self.file([reference], version=version + 1, master=self.master)
        await self.desk.consume(completing(filed, version))

    async def withdraw_filing(self, reference: str) -> None:
        """Invalidate the declaration, as its filer."""
        (mrn,) = mrns(filings([reference]))
        version = int((await self.desk.states([mrn])).ints("filing_version").values[0]) + 1
        filed = self.file([reference], version=version, master=self.master)
        await self.desk.consume(filed.with_columns(WITHDRAWN))

    async def debt(self, mrn: str, status: Debt, paid: int) -> None:
        """Announce how a debt stands."""
        self.calls += 1
        kind = debt_events.OPENED if status == Debt.OPEN else debt_events.SETTLED
        await debt_events.hear(self.desk, debt_events.debt([mrn], self.calls, status, kind=kind, paid=paid))

    async def reassess(self, mrn: str, amount: int, account: str, reason: str = "") -> None:
        """Announce another assessment."""
        self.calls += 1
        batch = debt_events.anew([mrn], self.calls, self.calls, amount, account=account, reason=reason)
        await debt_events.hear(self.desk, batch)

    async def adjust(self, mrn: str, price: int) -> None:
        """Correct a price, by the answer of revenue."""
        self.calls += 1
        before, self.desk.neighbours.revenue = self.desk.neighbours.revenue, Revenue()
        adjusting = Adjusting(self.desk.store, self.desk.channel, assess_seconds=ASSESS_SECONDS)
        try:
            await adjust(adjusting, correcting(mrn, price), request_id=str(self.calls), officer="otto")
        finally:
            self.desk.neighbours.revenue = before

    async def arrive(self, master: str) -> None:
        """Report an arrival."""
        self.calls += 1
        await arrive(self.desk, arrival(master), request_id=str(self.calls))

    async def reverse(self, master: str) -> None:
        """Reverse an arrival, though it may have released goods."""
        reversal = Reversal(self.desk.store, law=self.desk.arrive.law)
        await reversal.begin(master, CARRIER, "officer/otto")
        await reversal.reverse(master, CARRIER, trace=TRACE, by="officer/otto")

    async def present(self, goods: list[str], master: str = "") -> None:
        """Present goods by their MRNs, or all under a master document."""
        self.calls += 1
        request = Request(f"carrier/{CARRIER}", str(self.calls), b"p", TRACE)
        caller, present = Identity(Role.CARRIER, CARRIER), Present(self.desk.store, chunk_rows=3)
        if master:
            await present.under(master, caller=caller, refusals_max=0, request=request, encode=lambda progress: b"-")
        else:
            named = [(mrn, None) for mrn in goods]
            await present.named(named, caller=caller, request=request, encode=lambda progress, results: b"-")

    async def expire(self) -> None:
        """Let the days pass within which goods have to arrive."""
        at = await self.desk.store.database.now() + 400 * DAY_MICROS
        self.calls += 1
        await Expiry(self.desk.store, f"r{self.calls}", arrival_days=200).step(at=at + 8 * self.calls * DAY_MICROS)

    async def wait(self, days: int) -> None:
        """Let the delays of some days end."""
        at = await self.desk.store.database.now() + days * DAY_MICROS
        await Waits(self.desk.store, "r").step(at=at)

    async def control(self, mrn: str, form: int, *, ends: int = control_pb2.CONTROL_OVERDUE_ESCALATE) -> None:
        """Order a control with a deadline, unless it is a do-not-load."""
        due_at = await self.desk.store.database.now() + 20 * DAY_MICROS
        orders = {
            mrn: Control(
                number=0, form=form, reason=REASON, addressee=int(form in REQUESTS),
                due_at=None if form == control_pb2.CONTROL_FORM_DO_NOT_LOAD else due_at, when_overdue=ends,
            )
        }  # fmt: skip
        await self._step(
            mrn,
            lambda states, at: steps.ordering(states, at, orders, "otto", included().with_terms),
            lambda states: steps.unfit_to_order(states, orders, ""),
        )

    async def answer(self, mrn: str, result: int) -> None:
        """Answer the first open request of the filer; `result` is that of a screening, if it is one."""
        number = await self._open(mrn, lambda each: bool(each.addressee))
        (controls,) = controls_of(await self.desk.states([mrn]))
        screens = [each.number for each in controls if each.form == control_pb2.CONTROL_FORM_SCREENING]
        answers = {mrn: steps.Answer(number, "Here.", (), result if number in screens else 0)}
        await self._step(
            mrn,
            lambda states, at: steps.answering(states, at, answers),
            lambda states: steps.unfit_to_answer(states, answers, 1),
        )

    async def conclude(self, mrn: str, result: ControlResult, agency: str = "") -> None:
        """Conclude the first open control, as an agency the first of its own."""
        number = await self._open(mrn, lambda each: each.authority == agency or not agency)
        conclusions = {mrn: steps.Conclusion(number, result, REASON, "n")}
        await self._step(
            mrn,
            lambda states, at: steps.concluding(states, at, conclusions, "otto"),
            lambda states: steps.unfit_to_conclude(states, conclusions, agency),
            None if agency else lambda states: second.proposed_conclusions(states, conclusions, "otto"),
        )

    async def conclude_as_agency(self, mrn: str, result: ControlResult) -> None:
        """Conclude the first open control of an agency, as this agency."""
        (controls,) = controls_of(await self.desk.states([mrn]))
        agency = next((each.authority for each in controls if each.is_open and each.authority), "food")
        await self.conclude(mrn, result, agency)

    async def write_off(self, mrn: str) -> None:
        """Name the licence for the first item, as the agency of toys."""
        await WriteOffNamed(self.desk.store).run(
            [(mrn, None)],
            {mrn: Named(1, "C400", self.licence)},
            identity=Identity(Role.AGENCY, "toys"),
            request=self._request(),
            encode=_encoded,
        )

    async def _open(self, mrn: str, chosen: Callable[[Control], bool]) -> int:
        """Return the number of the first open control that is chosen, 1 if there is none."""
        (controls,) = controls_of(await self.desk.states([mrn]))
        return next((each.number for each in controls if each.is_open and chosen(each)), 1)

    async def _step(self, mrn: str, step: Any, unfit: Any, propose: Any = None) -> None:
        def prepare(states: Any, at: int) -> Any:
            table, events = step(states, at)
            return table, EventDetails(event=events, at=at, by="otto")

        await self.act(mrn, prepare, unfit, propose)


def _encoded(results: Any) -> bytes:
    acted: Acted = results[0]
    return acted.mrn.encode()


Step = Callable[[Driver, str], Awaitable[None]]
"""An event of a kind to the consignment of a local reference."""


def _of(mrn_step: Callable[[Driver, str], Awaitable[None]]) -> Step:
    async def step(driver: Driver, reference: str) -> None:
        await mrn_step(driver, mrns(filings([reference]))[0])

    return step


async def _lose(driver: Driver, mrn: str) -> None:
    """End its movement because it is lost, on the way at present or from now on."""
    await driver.move(mrn, MOVEMENT)
    await driver.move(mrn, TransitEnd(officer="otto", reason=REASON, lost=True))


async def _match(driver: Driver, reference: str) -> None:
    await screening_matches.hear(driver.desk, screening(filings([reference])))


async def _clear(driver: Driver, reference: str) -> None:
    await screening_matches.hear(driver.desk, screening_matches.clearing(filings([reference])))


STEPS: Final[dict[str, Step]] = {
    "amend": lambda driver, reference: driver.amend(reference, driver.master),
    "complete": lambda driver, reference: driver.complete(reference),
    "move": lambda driver, reference: driver.amend(reference, driver.other_master),
    "withdraw filing": lambda driver, reference: driver.withdraw_filing(reference),
    "arrive": lambda driver, _: driver.arrive(driver.master),
    "arrive elsewhere": lambda driver, _: driver.arrive(driver.other_master),
    "present": _of(lambda driver, mrn: driver.present([mrn])),
    "present all": lambda driver, _: driver.present([], driver.master),
    "reverse": lambda driver, _: driver.reverse(driver.master),
    "match": _match,
    "clear": _clear,
    "release": _of(lambda driver, mrn: driver.officer(mrn, Event.OFFICER_RELEASED)),
    "confirm": _of(lambda driver, mrn: driver.decide_proposal(mrn, second.Verdict.CONFIRM, "olga")),
    "confirm alone": _of(lambda driver, mrn: driver.decide_proposal(mrn, second.Verdict.CONFIRM, "otto")),
    "refuse": _of(lambda driver, mrn: driver.decide_proposal(mrn, second.Verdict.REFUSE, "olga")),
    "withdraw": _of(lambda driver, mrn: driver.decide_proposal(mrn, second.Verdict.WITHDRAW, "otto")),
    "hold": _of(lambda driver, mrn: driver.officer(mrn, Event.OFFICER_HELD)),
    "conform": _of(lambda driver, mrn: driver.inspect(mrn, Result.CONFORM)),
    "violation": _of(lambda driver, mrn: driver.inspect(mrn, Result.VIOLATION)),
    "paid": _of(lambda driver, mrn: driver.debt(mrn, Debt.PAID, 380)),
    "open": _of(lambda driver, mrn: driver.debt(mrn, Debt.OPEN, 0)),
    "reassess": _of(lambda driver, mrn: driver.reassess(mrn, 500, "")),
    "secured": _of(lambda driver, mrn: driver.reassess(mrn, 400, "deferred:DE123456789012345")),
    "no figures": _of(lambda driver, mrn: driver.reassess(mrn, 0, "", "NO_RULEBOOK")),
    "adjust": _of(lambda driver, mrn: driver.adjust(mrn, 50_000)),
    "documents": _of(lambda driver, mrn: driver.control(mrn, control_pb2.CONTROL_FORM_DOCUMENTS)),
    "documents by a deadline": _of(
        lambda driver, mrn: driver.control(
            mrn, control_pb2.CONTROL_FORM_DOCUMENTS, ends=control_pb2.CONTROL_OVERDUE_CONCLUDE
        )
    ),
    "scan": _of(lambda driver, mrn: driver.control(mrn, control_pb2.CONTROL_FORM_SCAN)),
    "screening by a deadline": _of(
        lambda driver, mrn: driver.control(
            mrn, control_pb2.CONTROL_FORM_SCREENING, ends=control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD
        )
    ),
    "do not load": _of(lambda driver, mrn: driver.control(mrn, control_pb2.CONTROL_FORM_DO_NOT_LOAD)),
    "answer": _of(lambda driver, mrn: driver.answer(mrn, consignment_pb2.SCREENING_RESULT_CLEAR)),
    "alarm": _of(lambda driver, mrn: driver.answer(mrn, consignment_pb2.SCREENING_RESULT_ALARM)),
    "in order": _of(lambda driver, mrn: driver.conclude(mrn, ControlResult.CONFORM)),
    "not in order": _of(lambda driver, mrn: driver.conclude(mrn, ControlResult.NOT_CONFORM)),
    "agency in order": _of(lambda driver, mrn: driver.conclude_as_agency(mrn, ControlResult.CONFORM)),
    "agency not in order": _of(lambda driver, mrn: driver.conclude_as_agency(mrn, ControlResult.NOT_CONFORM)),
    "write off": _of(lambda driver, mrn: driver.write_off(mrn)),
    "expire": lambda driver, _: driver.expire(),
    "wait": lambda driver, _: driver.wait(1),
    "wait long": lambda driver, _: driver.wait(40),
    "storage ends": lambda driver, _: driver.wait(120),
    "return one": _of(lambda driver, mrn: driver.give_back(mrn, frozenset({1}))),
    "return all": _of(lambda driver, mrn: driver.give_back(mrn, frozenset())),
    "return in bulk": _of(lambda driver, mrn: driver.return_in_bulk(mrn)),
    "return ordered": _of(lambda driver, mrn: driver.order_return(mrn, Identity(Role.FILER, "shop"))),
    "return ordered by an officer": _of(lambda driver, mrn: driver.order_return(mrn, Identity(Role.OFFICER, "otto"))),
    "transit": _of(lambda driver, mrn: driver.move(mrn, MOVEMENT)),
    "transit arrives": _of(lambda driver, mrn: driver.move(mrn, TransitArrival(officer="otto", rules=RULES))),
    "transit arrives with a difference": _of(
        lambda driver, mrn: driver.move(
            mrn, TransitArrival(officer="otto", difference=pb.TRANSIT_DIFFERENCE_SEAL, rules=RULES)
        )
    ),
    "transit ends": _of(lambda driver, mrn: driver.move(mrn, TransitEnd(officer="otto", reason=REASON))),
    "transit loses": _of(_lose),
    "depart": _of(lambda driver, mrn: driver.depart(mrn)),
    **{
        pb.DisposalKind.Name(kind).removeprefix("DISPOSAL_KIND_").lower(): _of(  # type: ignore[arg-type]  # a number of the enumeration
            lambda driver, mrn, kind=kind: driver.dispose(mrn, kind)  # type: ignore[misc]
        )
        for kind in EVENTS
    },
}
"""Each kind of event by name."""
