"""Start clearance alone: python -m services.clearance."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.feed.consumer import Consumer
from libs.feed.dead_letters import DeadLetterServicer
from libs.feed.port import GrpcPort
from libs.feed.retention import Maintenance
from libs.feed.service import FeedServicer
from libs.feed.signals import backlog, letters_waiting
from libs.feed.watch import horizon
from libs.server.config import Settings, setting
from libs.server.health import answers
from libs.server.identity import Role
from libs.server.launch import Start, launch
from libs.server.page_tokens import rotate_page_keys
from libs.server.server import Background
from libs.server.tracing import Traces
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, drop_days, make_days, purge_requests
from libs.telemetry import get_logger
from luxor.clearance.v1.carriers_pb2_grpc import add_CarrierServiceServicer_to_server
from luxor.clearance.v1.clearance_pb2_grpc import add_ClearanceServiceServicer_to_server
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance import gauges, sweep
from services.clearance.adjusting import Adjusting
from services.clearance.carrier_service import ROLES as CARRIER_ROLES
from services.clearance.carrier_service import CarrierService
from services.clearance.consumer import Intake
from services.clearance.inquiry import Inquiry
from services.clearance.jobs import Waits
from services.clearance.news import RevenueNews
from services.clearance.office import Office
from services.clearance.rescreening import Rescreening
from services.clearance.reversal import Reversal
from services.clearance.service import LONG_POLLS, ROLES, ClearanceService
from services.clearance.snapshot import Snapshot
from services.clearance.store import STATE_DAYS, Store

INTAKE = "clearance/intake"
"""Health name of the work on new filings: they are taken from ingestion's feed, assessed by risk and revenue, decided."""

SCREENING = "clearance/screening"
"""Health name of the work on hits of the screening that come after the decision: they are taken from risk's feed."""

DEBTS = "clearance/debts"
"""Health name of the work on news of revenue: what became of debts, what is owed anew. They are taken from revenue's feed."""

ADJUSTING = "clearance/adjusting"
"""Health name of adjustments: revenue assesses what an officer corrects."""

PENDING_SECONDS = 10
"""Age from which an arrival that was recorded and not carried out is taken up: its call must have died."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ClearanceConfig(Settings, service="clearance"):
    """What clearance alone reads."""

    assess_seconds: float = setting("ASSESS_SECONDS", default=10.0, low=0.1, high=60, example="10")
    """Deadline of a call to risk or revenue; the batch is tried again after it."""

    calls_at_once: int = setting("CALLS_AT_ONCE", default=3, low=1, high=64, example="3")
    """Batches that are being assessed at once; each is a call to risk and one to revenue."""

    events_max: int = setting("EVENTS_MAX", default=1_500, low=1, high=20_000, example="1500")
    """Filings that are decided in one transaction, about: it must not hold the feed's horizon for long."""

    sweep_seconds: float = setting("SWEEP_SECONDS", default=300.0, low=1, high=1_800, example="300")
    """How often accepted filings are compared with decided ones; what is missing is asked for again."""


class Arrivals:
    """Takes up arrivals and reversals whose call died between recording and carrying out, and arrivals that bindings changed."""

    def __init__(self, store: Store, *, interval_seconds: float = 2.0, documents_max: int = 100) -> None:
        self._store = store
        self._office = Office(store)
        self._reversal = Reversal(store)
        self._interval_seconds = interval_seconds
        self._documents_max = documents_max

    async def run(self, stop: asyncio.Event) -> None:
        """Look every interval, until `stop`; what fails is tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("ARRIVALS_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one arrival that cannot be carried out must not end the service
                get_logger().error("ARRIVALS_FAILED", error)
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Carry out what is due; gives how many arrivals."""
        now = await self._store.database.now()
        before = now - PENDING_SECONDS * 1_000_000
        reversed_ = await self._reversal.finish(before, self._documents_max)
        return reversed_ + await self._office.finish_arrivals(before, self._documents_max)


def assemble(start: Start) -> Sequence[Background]:
    """Put clearance together."""
    config = ClearanceConfig.from_environ("clearance", start.environ)
    store = Store(start.database)
    ingestion, risk, revenue = (start.neighbour(name) for name in ("ingestion", "risk", "revenue"))
    adjusting = Adjusting(store, revenue, assess_seconds=config.assess_seconds)
    start.server.add(
        add_ClearanceServiceServicer_to_server, ClearanceService(store, adjusting), roles=ROLES, long_polls=LONG_POLLS
    )
    start.server.add(add_CarrierServiceServicer_to_server, CarrierService(store), roles=CARRIER_ROLES)
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(store.outbox, Snapshot(store)),
        roles={"Pull": {Role.SERVICE}, "Snapshot": {Role.SERVICE}, "Summarize": {Role.SERVICE}},
        long_polls={"Pull"},
    )
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"List": {Role.OPERATOR}, "Replay": {Role.OPERATOR}},
    )
    start.server.depend("ingestion", answers(ingestion), [INTAKE])
    start.server.depend("risk", answers(risk), [INTAKE, SCREENING])
    start.server.depend("revenue", answers(revenue), [INTAKE, DEBTS, ADJUSTING])
    intake = Intake(
        Office(store),
        risk,
        revenue,
        assess_seconds=config.assess_seconds,
        calls_at_once=config.calls_at_once,
    )
    filings = GrpcPort(ingestion, consumer="clearance", message_class=ConsignmentColumns, replica=start.replica)
    consumer = Consumer(
        "ingestion",
        database=start.database,
        pull=filings,
        handler=intake,
        key=_mrns,
        message_class=ConsignmentColumns,
        replica=start.replica,
        max_events=config.events_max,
        reads_on=True,
        begins_ahead=True,
        missing=sweep.Undecided(store),
    )
    screening = Consumer(
        "risk",
        database=start.database,
        pull=GrpcPort(
            risk,
            consumer="clearance",
            message_class=ScreeningColumns,
            replica=start.replica,
        ),
        handler=Rescreening(store),
        key=_mrns,
        message_class=ScreeningColumns,
        replica=start.replica,
        reads_on=True,
    )
    debts = Consumer(
        "revenue",
        database=start.database,
        pull=GrpcPort(
            revenue,
            consumer="clearance",
            message_class=RevenueColumns,
            replica=start.replica,
        ),
        handler=RevenueNews(store),
        key=_mrns,
        message_class=RevenueColumns,
        replica=start.replica,
        max_events=config.events_max,
        reads_on=True,
    )

    async def purge(database: Database) -> None:
        await store.purge(await database.now() // MICROS_PER_DAY - STATE_DAYS)

    traces = Traces(start, Inquiry(store).trail)
    steps = (
        make_days("consignment"),
        drop_days("consignment", STATE_DAYS),
        purge,
        purge_requests(),
        rotate_page_keys,
        *traces.steps,
    )
    looks = (
        letters_waiting("clearance", "ingestion", "risk", "revenue"),
        horizon(),
        backlog("clearance"),
        gauges.look,
        sweep.look,
    )
    return [
        traces.run,
        consumer.run,
        screening.run,
        debts.run,
        adjusting.run,
        Arrivals(store).run,
        Waits(store, start.replica).run,
        sweep.Sweep(store, filings, start.replica, interval_seconds=config.sweep_seconds).run,
        Maintenance(start.database, notices=True, consumers=start.consumers).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, looks).run,
    ]


def _mrns(events: Table) -> list[str]:
    return events.strings("mrn").tolist()


if __name__ == "__main__":
    sys.exit(launch("clearance", assemble))
