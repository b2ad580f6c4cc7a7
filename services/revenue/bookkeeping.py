"""The ledger's part of the service: the consumer of clearance's feed, revenue's own feed, seals, and what keeps them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.feed.consumer import Consumer
from libs.feed.dead_letters import DeadLetterServicer
from libs.feed.port import GrpcPort
from libs.feed.retention import Maintenance
from libs.feed.service import FeedServicer
from libs.feed.signals import backlog, letters_waiting
from libs.feed.watch import horizon
from libs.server.health import answers
from libs.server.identity import Role
from libs.server.launch import Start
from libs.server.page_tokens import rotate_page_keys
from libs.server.server import Background
from libs.store.gauges import Look
from libs.store.housekeeping import Step, make_days, purge_requests
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from services.revenue.consumer import EVENTS_MAX, Follow, Intake
from services.revenue.store.balances import sum_days
from services.revenue.store.entries import PARTITIONED
from services.revenue.store.ledger import Ledger
from services.revenue.store.news import NewsSnapshot
from services.revenue.store.proving import ProvingJob, unproven
from services.revenue.store.seals import Sealing, unsealed
from services.revenue.store.settling import Settling
from services.revenue.store.texts import forget_references

SETTLE_SECONDS = 5.0
"""How often accounts are looked for whose credit can pay a debt that it did not pay at once."""
POSTINGS = "revenue/postings"
"""Health name of the work of booking what is owed: states are taken from clearance's feed."""


@dataclass(frozen=True)
class Bookkeeping:
    """What runs, what housekeeping does, and what is looked at."""

    backgrounds: Sequence[Background]
    steps: Sequence[Step]
    looks: Sequence[Look]


def bookkeeping(start: Start, ledger: Ledger, *also: Follow, seal_seconds: float, proof_percent: int) -> Bookkeeping:
    """Put the ledger's part together; `also` are told of clearance's states in the transaction that books them."""
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(ledger.news.outbox, NewsSnapshot()),
        roles={"Pull": {Role.SERVICE}, "Snapshot": {Role.SERVICE}, "Summarize": {Role.SERVICE}},
        long_polls={"Pull"},
    )
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"List": {Role.OPERATOR}, "Replay": {Role.OPERATOR}},
    )
    clearance = start.neighbour("clearance")
    start.server.depend("clearance", answers(clearance), [POSTINGS])
    consumer = Consumer(
        "clearance",
        database=start.database,
        pull=GrpcPort(clearance, consumer="revenue", message_class=ClearanceColumns, replica=start.replica),
        handler=Intake(ledger, *also),
        key=_mrns,
        message_class=ClearanceColumns,
        replica=start.replica,
        max_events=EVENTS_MAX,
        begins_ahead=True,
    )
    return Bookkeeping(
        (
            consumer.run,
            Maintenance(start.database, consumers=start.consumers).run,
            Sealing(start.database, start.replica, interval_seconds=seal_seconds).run,
            ProvingJob(start.database, ledger.names, start.replica, share=proof_percent / 100).run,
            Settling(ledger, interval_seconds=SETTLE_SECONDS).run,
        ),
        (make_days(*PARTITIONED), sum_days, forget_references, purge_requests(), rotate_page_keys),
        (horizon(), backlog("revenue"), letters_waiting("revenue", "clearance"), unsealed(), unproven()),
    )


def _mrns(states: Table) -> list[str]:
    return states.strings("mrn").tolist()
