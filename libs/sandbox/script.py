"""The parties of the sandbox beside its accounts: an officer, a carrier and a payer, who do what the case of a consignment says.

They call the services as such parties do, so each answer and each notice is that of the services.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.client.clearance import carriers, controls, corrections, officers, returns
from libs.client.clearance.goods import transit
from libs.client.clearance.goods.named import name_goods
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.filing import arrivals, filers
from libs.client.plain import plain
from libs.client.revenue.ledger import open_deferred, record_payments
from libs.sandbox.cases import Selected
from libs.sandbox.findings import STRANGER
from libs.sandbox.responses.calls import BOUND_ELSEWHERE
from luxor.clearance.v1.clearance_pb2 import STATE_EXITED, STATE_RELEASED, ConsignmentStatus, StatusQuery
from luxor.common.v1.common_pb2 import DEBT_STATUS_OPEN
from luxor.ingestion.v1.filers_pb2 import Filer
from luxor.revenue.v1.ledger_pb2 import Payment

CARRIER: Final = "sandbox-carrier"
OFFICER: Final = "sandbox-officer"
DECLARANT: Final = "sandbox-declarant"
"""A registered declarant, by the identifier STRANGER."""
OFFICE: Final = "DE004851"
"""Office of destination of movements."""
LOOK_SECONDS: Final = 0.2
QUERIES_MAX: Final = 100
PARALLEL_MAX: Final = 16
"""Acts at one time: an officer has no larger share of a service."""
SYSTEM_SECONDS: Final = 60.0
"""How long a change of the system is awaited."""
VERSION_SECONDS: Final = 10.0
"""How long the decision on a version is awaited while a call of an account waits for it."""
REMINDED_SECONDS: Final = 2
"""From an order to its reminder, where a case has one."""
CLIENT_SECONDS: Final = 3600.0
"""How long an act of the client is awaited."""

Sleep = Callable[[float], Awaitable[None]]
Condition = Callable[[ConsignmentStatus], bool]


class ScriptFailed(Exception):
    """An act was refused, or what it needs did not happen in time; says which, and why."""


class Script:
    """Plays the cases of consignments."""

    def __init__(self, officer: Client, carrier: Client, *, sleep: Sleep = asyncio.sleep) -> None:
        """Act as an officer, who posts payments too, and as the carrier CARRIER; `sleep` waits."""
        self._officer = officer
        self._carrier = carrier
        self._sleep = sleep
        self._limit = asyncio.Semaphore(PARALLEL_MAX)
        self._waiting: list[_Waiting] = []
        self._looking: asyncio.Task[None] | None = None
        self._payments: dict[str, Payment] = {}
        """The last payment of each consignment whose case is played."""

    async def play(self, selected: Selected, mrn: str) -> None:
        """Carry out the steps of a case after its consignment was decided; raise ScriptFailed with the step that failed."""
        step = "decision"
        try:
            if selected.case.steps:
                await self._until(mrn, lambda status: True)
            for each in selected.case.steps:
                step = " ".join((each.action, *each.arguments))
                act = getattr(self, each.action)
                if each.action.startswith("await_"):
                    await act(mrn, *each.arguments)
                    continue
                await self._sleep(selected.delay_seconds)
                async with self._limit:
                    await act(mrn, *each.arguments)
        except (LuxorError, ScriptFailed) as error:
            raise ScriptFailed(f"case {selected.case.name}, {mrn}, step {step}: {error}") from None
        finally:
            self._payments.pop(mrn, None)

    async def close(self) -> None:
        """End what is awaited."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    # ── the acts ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def open_accounts(self, declarants: Sequence[str], filer: str) -> None:
        """Let a filer defer the payments of declarants, so that their goods owe nothing at the border; raise ScriptFailed."""
        try:
            await open_deferred(self._officer, declarants, [filer])
        except LuxorError as error:
            raise ScriptFailed(f"deferred accounts of {', '.join(declarants)}: {error}") from None

    async def register(self) -> None:
        """Register a declarant that no account represents, and bind a document to a carrier that is none. Raises LuxorError and ScriptFailed."""

        def edit(entry: Filer) -> None:
            entry.name, entry.identifiers[:] = "A declarant of the sandbox", [STRANGER]

        _check([await filers.change(self._officer, DECLARANT, edit, is_new_allowed=True)])
        await self.bind(CARRIER, [BOUND_ELSEWHERE])

    async def bind(self, carrier: str, documents: Sequence[str]) -> None:
        """Bind master documents to a carrier; raise ScriptFailed."""
        bindings = carriers.bindings_of(carrier, [("document", each) for each in documents])
        try:
            _check(await carriers.bind(self._officer, bindings))
        except LuxorError as error:
            raise ScriptFailed(f"bindings of {carrier}: {error}") from None

    async def settle(self, mrn: str) -> None:
        """Pay what the consignment owes at the border, if it owes anything."""
        debt = (await self._status(mrn)).debt
        if debt.status != DEBT_STATUS_OPEN:
            return
        payment = Payment(
            id=f"sandbox-{mrn}-{uuid.uuid4().hex[:12]}", reference=mrn, jurisdiction=debt.rulebook_version.partition("/")[0],
            currency=debt.currency, amount_minor=debt.payable_minor - debt.paid_minor,
        )  # fmt: skip
        self._payments[mrn] = payment
        _check(await record_payments(self._officer, [payment]))
        await self._until(mrn, lambda status: status.debt.status != DEBT_STATUS_OPEN)

    async def reverse_payment(self, mrn: str) -> None:
        """Reverse the payment of the consignment."""
        reversal = Payment()
        reversal.CopyFrom(self._payments[mrn])
        reversal.id, reversal.reverses_id = f"{reversal.id}-reversal", reversal.id
        _check(await record_payments(self._officer, [reversal]))

    async def arrive(self, mrn: str) -> None:
        """Report the arrival of the goods' master document, as its carrier."""
        status = await self._status(mrn)
        master = status.filing.master_document.number
        if not master:
            raise ScriptFailed("the filing names no master document, so nothing can arrive. File it with one")
        if not status.movement.HasField("arrived_at"):
            await self.bind(CARRIER, [master])
            at = time.time_ns() // 1000
            answer = await self._carrier.record_arrivals([arrivals.arrival(master, at=at)])
            _check([{"error": each} for result in map(plain, answer.results) for each in result.get("errors", ())])
        await self._until(mrn, lambda found: found.movement.HasField("arrived_at"))

    async def reverse(self, mrn: str) -> None:
        """Reverse the arrival of the goods' master document."""
        status = await self._status(mrn)
        _check(await carriers.reverse(self._carrier, [status.filing.master_document.number]))
        await self._until(mrn, lambda found: not found.movement.HasField("arrived_at"))

    async def stop_goods(self, mrn: str) -> None:
        """Hold the goods."""
        _check(await officers.act(self._officer, "hold", [mrn], reason="SANDBOX_OFFICER"))

    async def release_goods(self, mrn: str) -> None:
        """Lift the hold of the goods."""
        _check(
            await officers.act(self._officer, "release", [mrn], reason="SANDBOX_OFFICER", note="A case of the sandbox.")
        )

    async def order(self, mrn: str, form: str, remind: str = "") -> None:
        """Order a control; requests are to the filer. With `remind`, the filer is reminded after REMINDED_SECONDS."""
        asks = form in ("documents", "information", "screening")
        terms: dict[str, Any] = {"text": "A case of the sandbox.", "addressee": "filer"} if asks else {}
        if remind:
            soon = time.time_ns() // 1000 + REMINDED_SECONDS * 1_000_000
            terms |= {"remind_micros": soon, "due_micros": soon + round(CLIENT_SECONDS) * 1_000_000}
        order = controls.order_of(mrn, form=form, reason="SANDBOX_CONTROL", **terms)
        _check(await controls.carry_out(self._officer, "orders", [order]))

    async def await_answer(self, mrn: str) -> None:
        """Wait until the filer answered the control."""
        await self._until(mrn, lambda status: status.controls[-1].HasField("answered_at"), CLIENT_SECONDS)

    async def conclude(self, mrn: str, result: str) -> None:
        """Conclude the control."""
        number = (await self._status(mrn)).controls[-1].number
        conclusion = controls.conclusion_of(mrn, number, result=result, reason="SANDBOX_CONTROL")
        _check(await controls.carry_out(self._officer, "conclusions", [conclusion]))

    async def correct(self, mrn: str) -> None:
        """Correct the price of the first item."""
        correction = corrections.adjustment(mrn, items={"price": ["1=1000.00 EUR"]}, note="A case of the sandbox.")
        _check(await corrections.adjust(self._officer, [correction]))

    async def move(self, mrn: str) -> None:
        """Begin the movement of the goods to another office."""
        await self._move(name_goods(transit.start_of(OFFICE), [mrn]))

    async def end_move(self, mrn: str) -> None:
        """Report that the goods arrived at the office of destination."""
        await self._move(name_goods(transit.arrival_of(), [mrn]))

    async def cancel_move(self, mrn: str) -> None:
        """End the movement of the goods without an arrival."""
        await self._move(name_goods(transit.end_of("SANDBOX_OFFICER"), [mrn]))

    async def depart(self, mrn: str) -> None:
        """Report that the master document of released exports left, as its carrier."""
        status = await self._until(mrn, lambda found: found.state == STATE_RELEASED)
        at = time.time_ns() // 1000
        document = status.filing.master_document.number
        left = await returns.record_departure(self._carrier, document, departed_at_micros=at)
        _check([left])
        await self._until(mrn, lambda found: found.state == STATE_EXITED)

    async def _move(self, request: transit.Step) -> None:
        _check((await transit.take_transit_step(self._officer, request)).get("results", ()))

    async def dispose(self, mrn: str, kind: str) -> None:
        """Decide on the goods."""
        _check(await officers.dispose(self._officer, [officers.disposal_of(mrn, kind=kind, reason="SANDBOX_OFFICER")]))

    async def send_back(self, mrn: str) -> None:
        """Report that the released goods left for their sender."""
        report = corrections.returned(mrn, reason="undelivered", document="SANDBOX-RETURN")
        _check(await corrections.record_returns(self._officer, [report]))

    async def await_version(self, mrn: str, version: int) -> None:
        """Wait until clearance decided on a version of a filing. Raises LuxorError and ScriptFailed."""
        await self._until(mrn, lambda status: status.filing.version >= version, VERSION_SECONDS)

    async def await_amendment(self, mrn: str) -> None:
        """Wait until the filer's amendment was decided."""
        await self._until(mrn, lambda status: status.filing.version > 1, CLIENT_SECONDS)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _status(self, mrn: str) -> ConsignmentStatus:
        return await self._until(mrn, lambda status: True)

    async def _until(self, mrn: str, condition: Condition, seconds: float = SYSTEM_SECONDS) -> ConsignmentStatus:
        """Return the status of a consignment once it is decided and a condition holds."""
        waiting = _Waiting(mrn, condition, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="status of cases")
        try:
            async with asyncio.timeout(seconds):
                return await waiting.status
        except TimeoutError:
            raise ScriptFailed(f"it did not happen within {seconds:.0f} s") from None
        finally:
            self._waiting.remove(waiting)

    async def _look(self) -> None:
        """Read the status of all consignments that something is awaited of, many in a call, until nothing is awaited."""
        while waiting := list(self._waiting):
            for start in range(0, len(waiting), QUERIES_MAX):
                part = waiting[start : start + QUERIES_MAX]
                try:
                    results = (await self._officer.status([StatusQuery(mrn=each.mrn) for each in part])).results
                except LuxorError as error:
                    for each in part:
                        each.fail(error)
                    continue
                for each, result in zip(part, results, strict=True):
                    each.compare(result.consignments)
            await self._sleep(LOOK_SECONDS)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A condition of a consignment that a case waits for."""

    mrn: str
    condition: Condition
    status: asyncio.Future[ConsignmentStatus]

    def compare(self, consignments: Sequence[ConsignmentStatus]) -> None:
        """End the wait if the condition holds."""
        if not consignments or self.status.done():
            return
        try:
            if self.condition(consignments[0]):
                self.status.set_result(consignments[0])
        except Exception as error:  # one case that cannot be judged must not stop the others
            self.status.set_exception(ScriptFailed(f"{type(error).__name__} in the condition of the case: {error}"))

    def fail(self, error: LuxorError) -> None:
        """End the wait with an error."""
        if not self.status.done():
            self.status.set_exception(error)


def _check(results: Sequence[Mapping[str, Any]]) -> None:
    for each in results:
        if error := each.get("error"):
            raise ScriptFailed(f"{error.get('reason')}: {error.get('message')}")
