"""The demo: a simulated manifest through a whole system, and the results that are shown."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from libs.cli.demo import ledger as demo_ledger
from libs.cli.demo import payments as demo_payments
from libs.cli.demo import sales as demo_sales
from libs.cli.local.supervisor import LocalSystem
from libs.cli.views.text import percentile, short
from libs.client import watching
from libs.client.clearance import carriers
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.filing import arrivals
from libs.client.plain import plain
from libs.client.revenue import ledger
from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1.clearance_pb2 import ConsignmentStatus, StatusQuery
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, Consignment

if TYPE_CHECKING:
    from libs.simulator import SimulatedConsignment

LOOK_SECONDS: Final = 0.2
STUCK_SECONDS: Final = 90.0
"""After so long without any progress the demo gives up and says where things stand."""
SHARES: Final = (0.5, 0.95, 0.99, 1.0)
AMENDED_EVERY: Final = 100
"""One of so many consignments is amended before its goods arrive."""
_QUERIES_MAX: Final = 100


@dataclass
class Outcome:
    """What happened, gathered while it happens."""

    filers: int = 0
    flights: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    amended: int = 0
    """Consignments of which the second version was decided."""
    sales: demo_sales.Sales = field(default_factory=demo_sales.Sales)
    payments: demo_payments.Payments = field(default_factory=demo_payments.Payments)
    filing_seconds: float = 0.0
    total_seconds: float = 0.0
    """From the first filing until the last one was released or held, and counted."""
    lanes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By lane and state."""
    reasons: Counter[str] = field(default_factory=Counter)
    held_reasons: Counter[str] = field(default_factory=Counter)
    sentences: dict[str, str] = field(default_factory=dict)
    labels: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """By what the simulator knows is wrong ("" nothing) and whether it was held."""
    decision_micros: list[int] = field(default_factory=list)
    release_micros: list[int] = field(default_factory=list)
    revenue: list[dict[str, Any]] = field(default_factory=list)
    books: demo_ledger.Books = field(default_factory=demo_ledger.Books)
    """What the ledger holds."""
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    charged: Counter[str] = field(default_factory=Counter)
    """Duty, tax and fees of all consignments, minor units by currency."""
    reviewed: Counter[str] = field(default_factory=Counter)
    """The part of it that rests on reviewed law."""
    lower_bounds: int = 0
    """Consignments that may owe more than was computed."""


class Progress(Protocol):
    """The progress of the demo, which the command draws."""

    def stage(self, name: str, total: int) -> None:
        """A new stage begins."""
        ...

    def step(self, done: int, note: str = "") -> None:
        """So much of the stage is done."""
        ...


async def run(system: LocalSystem, *, count: int, seed: int, scenario: str, progress: Progress) -> Outcome:
    """Take a manifest through a running system; raise LuxorError where anything fails or stands still."""
    from libs.simulator import Simulator

    simulator = Simulator(seed, scenario)
    outcome = Outcome(filers=len(simulator.filers()))
    labels: dict[str, tuple[str, ...]] = {}
    flights: dict[str, tuple[str, str]] = {}
    corrections: list[SimulatedConsignment] = []
    paid: list[SimulatedConsignment] = []
    """Consignments of orders of which a payment is filed: they are filed last, so that it is counted how many of them are accepted."""

    def noted() -> "Iterator[SimulatedConsignment]":
        for number, each in enumerate(simulator.manifest(count), 1):
            is_paid = demo_payments.order_of(each) in payments
            if is_paid:
                each.message.payment.provider = demo_payments.PROVIDER
            elif number % AMENDED_EVERY == 0:
                corrections.append(each._replace(message=_corrected(each.message)))
            if each.truth is not None:
                labels[each.message.local_reference] = each.truth.labels
            transport = each.message.transport
            flights[each.message.master_document.number] = (transport.conveyance_reference, transport.unloading_place)
            if is_paid:
                paid.append(each)
            else:
                yield each

    async with AsyncExitStack() as stack:
        clients = {each: await stack.enter_async_context(system.client("filer", each)) for each in simulator.filers()}
        analyst = await stack.enter_async_context(system.client("analyst", "analyst-1"))
        carrier = await stack.enter_async_context(system.client("carrier", "carrier-1"))
        officer = await stack.enter_async_context(system.client("officer", "officer-1"))
        named = [("identifier", each) for each in simulator.carrier_identifiers()]
        await carriers.bind(officer, carriers.bindings_of("carrier-1", named))
        await ledger.open_deferred(officer, simulator.declarants(), simulator.filers())
        provider = await stack.enter_async_context(system.client("filer", demo_payments.PROVIDER))
        await demo_payments.register(officer)
        first_day = time.time_ns() // 1000 // MICROS_PER_DAY
        sold = await demo_sales.sold(simulator.manifest(count))
        progress.stage("Sales", sum(map(len, sold.values())))
        outcome.sales = await demo_sales.file(system, sold)
        progress.step(outcome.sales.filed)
        payments = demo_payments.payments_of(sold)
        progress.stage("Filing", count)
        began = time.monotonic()
        outcome.accepted, outcome.refused = await watching.file_for_many(
            clients, noted(), progress=lambda good, bad: progress.step(good + bad)
        )
        before = outcome.accepted + sum(outcome.refused.values())
        accepted, refused = await watching.file_for_many(
            clients, paid, progress=lambda good, bad: progress.step(before + good + bad)
        )
        outcome.accepted += accepted
        _count(outcome, refused)
        outcome.filing_seconds = time.monotonic() - began
        outcome.flights = len(flights)
        outcome.payments = await demo_payments.file(provider, payments, paid)
        progress.stage("Amendments", len(corrections))
        _, refused = await watching.file_for_many(clients, corrections)
        _count(outcome, refused)
        outcome.amended, _ = await _await_amended(
            clients, corrections, len(corrections) - sum(refused.values()), progress
        )
        progress.stage("Payments", len(paid))
        joined = await _await_amended(clients, paid, accepted, progress)
        outcome.payments.joined, outcome.payments.contradicting = joined
        progress.stage("Arrivals", len(flights))
        told = 0
        for batch in arrivals.in_calls(_arrivals(flights), 100):
            await carrier.record_arrivals(batch)
            told += len(batch)
            progress.step(told)
        progress.stage("Released or held", outcome.accepted)
        await _await_all(analyst, outcome.accepted, first_day, progress)
        outcome.total_seconds = time.monotonic() - began
        progress.stage("Looking back", outcome.accepted)
        await _look_back(outcome, officer, flights, labels, progress)
        answer = await analyst.statistics(first_day, _today(), group_by=["charge_kind", "collector"])
        await demo_sales.look(officer, list(sold), outcome.sales)
        outcome.revenue = [plain(row) for row in answer.revenue]
        progress.stage("Books", outcome.accepted)
        days = range(first_day, _today() + 1)
        outcome.books = await demo_ledger.look(analyst, outcome.accepted, days, progress, STUCK_SECONDS)
    return outcome


def _corrected(filed: Consignment) -> Consignment:
    """Return an amendment of a filing: the price of its first item was a tenth more."""
    amendment = Consignment()
    amendment.CopyFrom(filed)
    amendment.function, amendment.amended_version = MESSAGE_FUNCTION_AMEND, 1
    amendment.items[0].price.minor += amendment.items[0].price.minor // 10
    return amendment


def _count(outcome: Outcome, refused: Mapping[str, int]) -> None:
    for reason, number in refused.items():
        outcome.refused[reason] = outcome.refused.get(reason, 0) + number


async def _await_amended(
    clients: Mapping[str, Client], filed: Sequence["SimulatedConsignment"], expected: int, progress: Progress
) -> tuple[int, int]:
    """Wait until so many of some consignments are decided by their second version: once their goods have arrived it would come too late.

    Return how many are, and how many of them contradict a part.
    """
    waiting: dict[str, list[str]] = {}
    for each in filed:
        waiting.setdefault(each.filer, []).append(each.message.local_reference)
    done, contradicting, moved = 0, 0, time.monotonic()
    while done < expected:
        before = done
        for filer, references in waiting.items():
            queries = [StatusQuery(local_reference=each) for each in references[:_QUERIES_MAX]]
            results = (await clients[filer].status(queries)).results if queries else ()
            found = {
                each.filing.local_reference: each.contradiction_count > 0
                for result in results
                for each in result.consignments
                if each.filing.version > 1
            }
            done, contradicting = done + len(found), contradicting + sum(found.values())
            # Those that wait go behind the others, since one that was refused is never decided.
            rest, asked = references[_QUERIES_MAX:], references[:_QUERIES_MAX]
            waiting[filer] = [*rest, *(each for each in asked if each not in found)]
        progress.step(done)
        if done > before:
            moved = time.monotonic()
        elif time.monotonic() - moved > STUCK_SECONDS:
            counts = f"{done:,} second versions decided"
            raise LuxorError.from_reason("DEMO_STUCK", seconds=int(STUCK_SECONDS), expected=expected, counts=counts)
        await asyncio.sleep(LOOK_SECONDS)
    return done, contradicting


def _arrivals(flights: dict[str, tuple[str, str]]) -> Iterator[Any]:
    now = time.time_ns() // 1000
    for master, (conveyance, place) in flights.items():
        yield arrivals.arrival(master, at=now, conveyance=conveyance, place=place)


def _today() -> int:
    # A demo may run across midnight.
    return time.time_ns() // 1000 // MICROS_PER_DAY


async def _await_all(analyst: Any, expected: int, first_day: int, progress: Progress) -> None:
    before, moved = -1, time.monotonic()
    while True:
        found = await watching.states(analyst, first_day, _today())
        done = found.get("RELEASED", 0) + found.get("HELD", 0)
        progress.step(done, f"{found.get('RELEASED', 0):,} released, {found.get('HELD', 0):,} held")
        if done >= expected:
            return
        if done != before:
            before, moved = done, time.monotonic()
        elif time.monotonic() - moved > STUCK_SECONDS:
            counts = ", ".join(f"{number:,} {state}" for state, number in found.items())
            raise LuxorError.from_reason(
                "DEMO_STUCK", seconds=int(STUCK_SECONDS), expected=expected, counts=counts or "nothing"
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _look_back(
    outcome: Outcome, officer: Any, masters: Any, labels: dict[str, tuple[str, ...]], progress: Progress
) -> None:
    seen = 0
    async for each in watching.statuses(officer, masters):
        seen += 1
        if seen % 500 == 0:
            progress.step(seen)
        state = short(_name(each, "state"), "STATE_")
        held = state == "HELD"
        outcome.lanes[short(_name(each.decision, "lane"), "LANE_"), state] += 1
        for reason in each.decision.reasons:
            outcome.reasons[reason] += 1
            outcome.held_reasons[reason] += held
        for finding in each.findings.risk:
            outcome.sentences.setdefault(finding.reason, finding.sentence)
        for label in labels.get(each.filing.local_reference, ("",)):
            outcome.labels[label, held] += 1
        decided = watching.micros(each.decision.decided_at)
        outcome.decision_micros.append(max(0, decided - watching.micros(each.filing.accepted_at)))
        if state == "RELEASED":
            since = max(decided, watching.micros(each.movement.arrived_at))
            outcome.release_micros.append(max(0, watching.micros(each.movement.released_at) - since))
        if each.debt.HasField("reviewed_minor"):
            outcome.charged[each.debt.currency] += each.debt.duty_minor + each.debt.tax_minor + each.debt.fee_minor
            outcome.reviewed[each.debt.currency] += each.debt.reviewed_minor
        outcome.lower_bounds += each.debt.lower_bound
        for kind, fits in _SAMPLES.items():
            if kind not in outcome.samples and fits(each, state):
                outcome.samples[kind] = plain(each)
    progress.step(seen)
    outcome.decision_micros.sort()
    outcome.release_micros.sort()


def _name(status: Any, name: str) -> str:
    enum = status.DESCRIPTOR.fields_by_name[name].enum_type
    return str(enum.values_by_number[getattr(status, name)].name)


_SAMPLES: Final[dict[str, Callable[[ConsignmentStatus, str], bool]]] = {
    "released": lambda each, state: (
        state == "RELEASED"
        and each.debt.duty_minor > 0
        and each.debt.tax_minor > 0
        and not each.debt.vendor_collected_minor
        and len(each.debt.charges) <= 6
    ),
    "held": lambda each, state: state == "HELD" and len(each.findings.risk) >= 2 and len(each.items) <= 3,
    "vendor": lambda each, state: (
        state == "RELEASED" and each.debt.vendor_collected_minor > 0 and not each.findings.risk and len(each.items) <= 2
    ),
}
"""What is looked at more closely."""


def percentiles(ordered: list[int]) -> dict[str, float]:
    """Return percentiles in milliseconds, by name."""
    return {f"p{share * 100:g}": round(percentile(ordered, share) / 1000, 1) for share in SHARES} if ordered else {}


def as_plain(outcome: Outcome, *, count: int, seed: int, scenario: str) -> dict[str, Any]:
    """Return the outcome for `--json`."""
    return {
        "seed": seed,
        "scenario": scenario,
        "consignments": count,
        "accepted": outcome.accepted,
        "refused": outcome.refused,
        "amended": outcome.amended,
        "sales": {
            "filed": outcome.sales.filed,
            "refused": outcome.sales.refused,
            "declared": outcome.sales.declared,
            "contradicted": outcome.sales.contradicted,
        },
        "payments": {
            "filed": outcome.payments.filed,
            "refused": outcome.payments.refused,
            "joined": outcome.payments.joined,
            "contradicting": outcome.payments.contradicting,
        },
        "filers": outcome.filers,
        "flights": outcome.flights,
        "filing_seconds": round(outcome.filing_seconds, 3),
        "total_seconds": round(outcome.total_seconds, 3),
        "per_second": round(outcome.accepted / outcome.total_seconds, 1) if outcome.total_seconds else None,
        "lanes": [
            {"lane": lane, "state": state, "consignments": number}
            for (lane, state), number in sorted(outcome.lanes.items())
        ],
        "reasons": [
            {"reason": reason, "consignments": number, "held": outcome.held_reasons[reason]}
            for reason, number in outcome.reasons.most_common()
        ],
        "revenue": [
            {
                "kind": row["keys"][0],
                "collector": row["keys"][1],
                "currency": row.get("currency", ""),
                "charges": row.get("charges", 0),
                "amount_minor": row.get("amount_minor", 0),
            }
            for row in outcome.revenue
        ],
        "law": [
            {"currency": currency, "charged_minor": charged, "reviewed_minor": outcome.reviewed[currency]}
            for currency, charged in sorted(outcome.charged.items())
        ],
        "lower_bounds": outcome.lower_bounds,
        "ledger": demo_ledger.as_plain(outcome.books),
        "truth": [
            {
                "label": label or "honest",
                "consignments": outcome.labels[label, True] + outcome.labels[label, False],
                "held": outcome.labels[label, True],
            }
            for label in sorted({label for label, _ in outcome.labels})
        ],
        "decision_milliseconds": percentiles(outcome.decision_micros),
        "release_milliseconds": percentiles(outcome.release_micros),
        "samples": outcome.samples,
    }
