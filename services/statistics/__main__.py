"""Start statistics alone: python -m services.statistics."""

import sys
from collections.abc import Sequence

from libs.columns import Table
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import GrpcPort
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.metrics import letters_waiting
from libs.server.identity import Role
from libs.server.page_tokens import rotate_page_keys
from libs.server.process.health import answers
from libs.server.process.launch import Start, launch
from libs.server.process.server import Background
from libs.server.process.tracing import Traces
from libs.store.monitoring.gauges import Looking
from libs.store.tables.housekeeping import Housekeeping, drop_days, make_days, purge_requests
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.statistics.v1.statistics_pb2_grpc import add_StatisticsServiceServicer_to_server
from services.statistics.api.service import StatisticsService
from services.statistics.commands.recount import Recount
from services.statistics.feeds.clearance_states import Intake
from services.statistics.jobs.folding import Folding
from services.statistics.store.cells import PARTITIONED, SOURCE, Store
from services.statistics.store.counted import TABLES

INTAKE = "statistics/intake"
"""Health name of the work of counting: states are taken from clearance's feed."""

PAUSE_MILLIS = 500
"""How long states wait for others of the same page while there are few."""
COUNTED_DAYS = 400
"""Days for which a later version of a consignment is still counted by its difference; the cells stay for ever."""


def assemble(start: Start) -> Sequence[Background]:
    """Put statistics together."""
    store = Store(start.database)
    clearance = start.neighbour("clearance")
    start.server.depend("clearance", answers(start.neighbour("clearance")), [INTAKE])
    port = GrpcPort(clearance, consumer="statistics", message_class=ClearanceColumns, replica=start.replica)
    start.server.add(
        add_StatisticsServiceServicer_to_server,
        StatisticsService(store, Recount(store, port)),
        roles={"QueryStatistics": {Role.ANALYST, Role.OFFICER, Role.OPERATOR}, "RecountStatistics": {Role.OPERATOR}},
    )
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"ListDeadLetters": {Role.OPERATOR}, "ReplayDeadLetters": {Role.OPERATOR}},
    )
    consumer = Consumer(
        SOURCE,
        database=start.database,
        pull=port,
        handler=Intake(store),
        key=_mrns,
        message_class=ClearanceColumns,
        replica=start.replica,
        prepares_ahead=True,
        pause_millis=PAUSE_MILLIS,
    )
    traces = Traces(start, store.trail)
    steps = (
        make_days(*PARTITIONED),
        *(drop_days(table, COUNTED_DAYS) for table in (*TABLES, "counted_batch")),
        purge_requests(),
        rotate_page_keys,
        *traces.steps,
    )
    return [
        traces.run,
        consumer.run,
        Folding(store, start.replica).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, (letters_waiting("statistics", "clearance"),)).run,
    ]


def _mrns(states: Table) -> list[str]:
    return states.strings("mrn").tolist()


if __name__ == "__main__":
    sys.exit(launch("statistics", assemble))
