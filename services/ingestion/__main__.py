"""Start ingestion alone: python -m services.ingestion."""

import sys
from collections.abc import Sequence

from libs.feed.metrics import backlog
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.retention import Maintenance
from libs.feed.publish.service import FeedServicer
from libs.feed.publish.shared_positions import SharedPositions
from libs.feed.publish.watch import horizon
from libs.files.yaml_file import YamlError
from libs.server.config.error import ConfigError
from libs.server.identity import Role
from libs.server.process.launch import Start, launch
from libs.server.process.server import Background
from libs.server.process.tracing import Traces
from libs.store.monitoring.gauges import Looking
from libs.store.tables.housekeeping import Housekeeping, drop_days, make_days, purge_requests
from libs.store.tables.requests import RequestLog
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.ingestion.v1.filers_pb2_grpc import add_FilerServiceServicer_to_server
from luxor.ingestion.v1.ingestion_pb2_grpc import add_IngestionServiceServicer_to_server
from luxor.ingestion.v1.parts_pb2_grpc import add_PartServiceServicer_to_server
from services.ingestion.api import checks, filers
from services.ingestion.api.parts import ROLES as ROLES_OF_PARTS
from services.ingestion.api.parts import PartService
from services.ingestion.api.service import IngestionService
from services.ingestion.commands.admission import FilerAdmission
from services.ingestion.commands.housekeeping import drop_serials, expire_parts, rotate_generations
from services.ingestion.commands.parts.join import JoinParts
from services.ingestion.commands.parts.linking import CurrentParties, Linking
from services.ingestion.commands.submit import Submit
from services.ingestion.config import IngestionConfig
from services.ingestion.feeds.snapshot import Days, Snapshot
from services.ingestion.filing import check_rules
from services.ingestion.jobs.scheme_numbers import SchemeNumbers
from services.ingestion.store import scorecards
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.filings import SUBMISSION_DAYS, Store
from services.ingestion.store.parts import SPAN_DAYS, WAIT_DAYS, PartStore

SCHEMA = "luxor.consignment.v1.ConsignmentColumns"


def assemble(start: Start) -> Sequence[Background]:
    """Put ingestion together."""
    config = IngestionConfig.from_environ("ingestion", start.environ)
    try:
        rules = check_rules.read(config.filing_checks)
    except YamlError as error:
        raise ConfigError(
            "LUXOR_INGESTION_FILING_CHECKS", f"names checks that are refused: {error}", str(check_rules.INCLUDED)
        ) from None
    outbox = Outbox(start.database, SCHEMA)
    store = Store(start.database, outbox, RequestLog())
    backlog_of_decisions = Backlog("clearance")
    parts, parties = PartStore(start.database), CurrentParties(store.filers)
    linking = Linking(parties, parts)
    admission = FilerAdmission(store.filers, is_registration_required=config.filer_registration_required)
    revenue = start.neighbour("revenue")
    schemes = SchemeNumbers(revenue)
    submit = Submit(
        store,
        shift_micros=config.clock_shift_seconds * 1_000_000,
        backlog=backlog_of_decisions,
        rules=rules,
        admission=admission,
        linking=linking,
        schemes=schemes.current,
    )
    joining = JoinParts(
        parts,
        Amendments(store),
        parties,
        admission,
        submit.check,
        submit.today,
        due=linking.due,
        replica=start.replica,
        shift_micros=config.clock_shift_seconds * 1_000_000,
        backlog=backlog_of_decisions,
    )
    neighbours = checks.Neighbours(start.neighbour("risk"), revenue)
    start.server.add(
        add_IngestionServiceServicer_to_server,
        IngestionService(store, submit, neighbours, start.config.message_bytes_max),
        roles={
            "SubmitConsignments": {Role.FILER},
            "SubmitConsignmentColumns": {Role.FILER},
            "GetReceipts": {Role.FILER, Role.OFFICER},
            "CheckConsignments": {Role.FILER},
        },
        brakes={"SubmitConsignments": backlog_of_decisions, "SubmitConsignmentColumns": backlog_of_decisions},
    )
    register = filers.FilerService(store.filers, rules.weights)
    start.server.add(add_FilerServiceServicer_to_server, register, roles=filers.ROLES)
    start.server.add(
        add_PartServiceServicer_to_server,
        PartService(store, parts, parties, admission, linking, rules),
        roles=ROLES_OF_PARTS,
    )
    feed = FeedServicer(outbox, Snapshot(outbox), days=Days(start.database, outbox), backlog=backlog_of_decisions)
    start.server.add(
        add_FeedServiceServicer_to_server,
        feed,
        roles={"PullEvents": {Role.SERVICE}, "ReadSnapshot": {Role.SERVICE}, "SummarizeDays": {Role.SERVICE}},
        long_polls={"PullEvents"},
    )
    traces = Traces(start, Amendments(store).trail)
    steps = (
        make_days("submission", "amendment", *scorecards.TABLES),
        make_days("part", "part_link", "part_join", span=SPAN_DAYS),
        rotate_generations,
        drop_serials,
        drop_days("submission", SUBMISSION_DAYS),
        *(drop_days(table, SUBMISSION_DAYS) for table in ("amendment", *scorecards.TABLES)),
        # A part is there as long as a consignment that waited for it may be changed.
        drop_days("part", SUBMISSION_DAYS + WAIT_DAYS, span=SPAN_DAYS),
        *(drop_days(table, SUBMISSION_DAYS, span=SPAN_DAYS) for table in ("part_link", "part_join")),
        expire_parts,
        purge_requests(),
        *traces.steps,
    )
    return [
        traces.run,
        joining.run,
        schemes.run,
        SharedPositions(feed.positions, backlog_of_decisions).run,
        Maintenance(start.database, consumers=start.consumers).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, (horizon(), backlog("ingestion"))).run,
    ]


if __name__ == "__main__":
    sys.exit(launch("ingestion", assemble))
