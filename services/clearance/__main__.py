"""Start clearance alone: python -m services.clearance."""

import sys
from collections.abc import Sequence

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import GrpcPort
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.metrics import backlog, letters_waiting
from libs.feed.publish.retention import Maintenance
from libs.feed.publish.service import FeedServicer
from libs.feed.publish.watch import horizon
from libs.files.yaml_file import YamlError
from libs.server.config.error import ConfigError
from libs.server.identity import Role
from libs.server.page_tokens import rotate_page_keys
from libs.server.process.health import answers
from libs.server.process.launch import Start, launch
from libs.server.process.server import Background
from libs.server.process.tracing import Traces
from libs.store.database import Database
from libs.store.monitoring.gauges import Looking
from libs.store.tables.housekeeping import Housekeeping, drop_days, make_days, purge_requests
from luxor.clearance.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from luxor.clearance.v1.bulk_release_pb2_grpc import add_BulkReleaseServiceServicer_to_server
from luxor.clearance.v1.carriers_pb2_grpc import add_CarrierServiceServicer_to_server
from luxor.clearance.v1.cases_pb2_grpc import add_CaseServiceServicer_to_server
from luxor.clearance.v1.clearance_pb2_grpc import add_ClearanceServiceServicer_to_server
from luxor.clearance.v1.consistency_pb2_grpc import add_ConsistencyServiceServicer_to_server
from luxor.clearance.v1.controls_pb2_grpc import add_ControlServiceServicer_to_server
from luxor.clearance.v1.licences_pb2_grpc import add_LicenceServiceServicer_to_server
from luxor.clearance.v1.notice_checks_pb2_grpc import add_NoticeCheckServiceServicer_to_server
from luxor.clearance.v1.release_lists_pb2_grpc import add_ReleaseListServiceServicer_to_server
from luxor.clearance.v1.returns_pb2_grpc import add_ReturnServiceServicer_to_server
from luxor.clearance.v1.rights_pb2_grpc import add_RightsServiceServicer_to_server
from luxor.clearance.v1.transit_pb2_grpc import add_TransitServiceServicer_to_server
from luxor.clearance.v1.work_pb2_grpc import add_WorkServiceServicer_to_server
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from luxor.trace.v1.trace_pb2 import Fact
from services.clearance.api.audit.access import AccessLog, origin
from services.clearance.api.audit.service import ROLES as AUDIT_ROLES
from services.clearance.api.audit.service import AuditService
from services.clearance.api.bulk_release_service import ROLES as BULK_RELEASE_ROLES
from services.clearance.api.bulk_release_service import BulkReleaseService
from services.clearance.api.carrier_service import ROLES as CARRIER_ROLES
from services.clearance.api.carrier_service import CarrierService
from services.clearance.api.cases.service import ROLES as CASE_ROLES
from services.clearance.api.cases.service import CaseService
from services.clearance.api.consistency_service import ROLES as CONSISTENCY_ROLES
from services.clearance.api.consistency_service import ConsistencyService
from services.clearance.api.controls.service import ROLES as CONTROL_ROLES
from services.clearance.api.controls.service import ControlService
from services.clearance.api.licences.service import ROLES as LICENCE_ROLES
from services.clearance.api.licences.service import LicenceService
from services.clearance.api.notice_checks import ROLES as CHECK_ROLES
from services.clearance.api.notice_checks import NoticeCheckService
from services.clearance.api.queries import Inquiry
from services.clearance.api.release_lists.service import ROLES as RELEASE_LIST_ROLES
from services.clearance.api.release_lists.service import ReleaseListService
from services.clearance.api.returns.service import ROLES as RETURN_ROLES
from services.clearance.api.returns.service import ReturnService
from services.clearance.api.rights.service import ROLES as RIGHTS_ROLES
from services.clearance.api.rights.service import RightsService
from services.clearance.api.service import LONG_POLLS, ROLES, ClearanceService
from services.clearance.api.transit.service import ROLES as TRANSIT_ROLES
from services.clearance.api.transit.service import TransitService
from services.clearance.api.work.service import ROLES as WORK_ROLES
from services.clearance.api.work.service import WorkService
from services.clearance.commands import store_days
from services.clearance.commands.adjust import Adjusting
from services.clearance.commands.audit.drop_record_days import drop_record_days
from services.clearance.commands.cases.attach import drop_uploads
from services.clearance.commands.cases.purge import purge_cases
from services.clearance.commands.decide import Decide
from services.clearance.config import ClearanceConfig
from services.clearance.feeds.debt_events import DebtEventHandler
from services.clearance.feeds.filings import Intake
from services.clearance.feeds.screening_matches import Rescreening
from services.clearance.feeds.snapshot import Snapshot
from services.clearance.goods_controls.law import INCLUDED as GOODS_CONTROLS
from services.clearance.goods_controls.law import GoodsLawError
from services.clearance.goods_controls.law import read as read_goods_controls
from services.clearance.jobs import audit, expiry, representations, sweep
from services.clearance.jobs.arrivals import ArrivalJob
from services.clearance.jobs.storage import StoragePasses
from services.clearance.jobs.waits import Waits
from services.clearance.metrics import report_missing_texts
from services.clearance.notices.texts import INCLUDED, TextsError, load_texts
from services.clearance.pre_loading.parameters import INCLUDED as OFFICES
from services.clearance.pre_loading.parameters import ParametersError, read
from services.clearance.presentation.law import INCLUDED as PRESENTATION
from services.clearance.presentation.law import read as read_presentation
from services.clearance.store import STATE_DAYS, Store, gauges
from services.clearance.store.references import WEEK_DAYS, WEEKLY
from services.clearance.transit.limits import INCLUDED as TRANSIT
from services.clearance.transit.limits import read as read_transit

INTAKE = "clearance/intake"
"""Health name of the work on new filings from ingestion's feed, which risk and revenue assess and clearance decides."""

SCREENING = "clearance/screening"
"""Health name of the work on screening matches after the decision, from risk's feed."""

DEBTS = "clearance/debts"
"""Health name of the work on debt events and reassessments, from revenue's feed."""

ADJUSTING = "clearance/adjusting"
"""Health name of adjustments: revenue assesses what an officer corrects."""


def assemble(start: Start) -> Sequence[Background]:
    """Build and run clearance. Raises ConfigError where a file is refused that a setting names."""
    config = ClearanceConfig.from_environ("clearance", start.environ)
    try:
        texts = load_texts(config.notice_texts)
    except TextsError as error:
        raise ConfigError(
            "LUXOR_CLEARANCE_NOTICE_TEXTS", f"names texts that are refused: {error}", str(INCLUDED)
        ) from None
    report_missing_texts(texts.missing)
    try:
        parameters = read(config.pre_loading)
    except ParametersError as error:
        raise ConfigError(
            "LUXOR_CLEARANCE_PRE_LOADING", f"names parameters that are refused: {error}", str(OFFICES)
        ) from None
    try:
        goods = read_goods_controls(config.goods_controls)
    except GoodsLawError as error:
        raise ConfigError(
            "LUXOR_CLEARANCE_GOODS_CONTROLS", f"names controls that are refused: {error}", str(GOODS_CONTROLS)
        ) from None
    try:
        presentation = read_presentation(config.presentation)
    except YamlError as error:
        raise ConfigError(
            "LUXOR_CLEARANCE_PRESENTATION", f"names rules that are refused: {error}", str(PRESENTATION)
        ) from None
    try:
        movements = read_transit(config.transit)
    except YamlError as error:
        raise ConfigError("LUXOR_CLEARANCE_TRANSIT", f"names rules that are refused: {error}", str(TRANSIT)) from None
    store = Store(start.database, origin)
    ingestion, risk, revenue = (start.neighbour(name) for name in ("ingestion", "risk", "revenue"))
    adjusting = Adjusting(store, revenue, assess_seconds=config.assess_seconds)
    start.server.add(
        add_ClearanceServiceServicer_to_server,
        ClearanceService(store, adjusting, texts, presentation, arrival_days=config.arrival_days),
        roles=ROLES,
        long_polls=LONG_POLLS,
    )
    carriers = CarrierService(store, parameters, presentation)
    start.server.add(add_CarrierServiceServicer_to_server, carriers, roles=CARRIER_ROLES)
    start.server.add(add_WorkServiceServicer_to_server, WorkService(store), roles=WORK_ROLES)
    start.server.add(add_CaseServiceServicer_to_server, CaseService(store), roles=CASE_ROLES)
    start.server.add(add_ControlServiceServicer_to_server, ControlService(store, parameters), roles=CONTROL_ROLES)
    start.server.add(add_LicenceServiceServicer_to_server, LicenceService(store), roles=LICENCE_ROLES)
    start.server.add(add_RightsServiceServicer_to_server, RightsService(store), roles=RIGHTS_ROLES)
    checks = NoticeCheckService(store, checks_per_second=config.checks_per_second)
    start.server.add(add_NoticeCheckServiceServicer_to_server, checks, roles=CHECK_ROLES)
    start.server.add(add_BulkReleaseServiceServicer_to_server, BulkReleaseService(store), roles=BULK_RELEASE_ROLES)
    start.server.add(add_ReturnServiceServicer_to_server, ReturnService(store), roles=RETURN_ROLES)
    start.server.add(
        add_TransitServiceServicer_to_server,
        TransitService(store, movements, carriers_start=config.carriers_start_transit),
        roles=TRANSIT_ROLES,
    )
    start.server.add(add_ReleaseListServiceServicer_to_server, ReleaseListService(store), roles=RELEASE_LIST_ROLES)
    start.server.add(add_ConsistencyServiceServicer_to_server, ConsistencyService(store), roles=CONSISTENCY_ROLES)
    start.server.add(add_AuditServiceServicer_to_server, AuditService(store), roles=AUDIT_ROLES)
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(store.outbox, Snapshot(store)),
        roles={"PullEvents": {Role.SERVICE}, "ReadSnapshot": {Role.SERVICE}, "SummarizeDays": {Role.SERVICE}},
        long_polls={"PullEvents"},
    )
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"ListDeadLetters": {Role.OPERATOR}, "ReplayDeadLetters": {Role.OPERATOR}},
    )
    start.server.depend("ingestion", answers(start.neighbour("ingestion")), [INTAKE])
    start.server.depend("risk", answers(start.neighbour("risk")), [INTAKE, SCREENING])
    start.server.depend("revenue", answers(start.neighbour("revenue")), [INTAKE, DEBTS, ADJUSTING])
    intake = Intake(
        Decide(store, parameters, goods, presentation),
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
        continues_after_restore=True,
        prepares_ahead=True,
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
        handler=Rescreening(store, parameters),
        key=_mrns,
        message_class=ScreeningColumns,
        replica=start.replica,
        continues_after_restore=True,
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
        handler=DebtEventHandler(store),
        key=_mrns,
        message_class=RevenueColumns,
        replica=start.replica,
        max_events=config.events_max,
        continues_after_restore=True,
    )

    async def purge(database: Database) -> None:
        await store_days.purge(store, await database.now() // MICROS_PER_DAY - STATE_DAYS)

    async def trail(mrn: str) -> Sequence[Fact]:
        facts = await Inquiry(store).trail(mrn)
        await AccessLog(store).record([mrn] if facts else [])
        return facts

    async def drop_records(_: Database) -> None:
        await drop_record_days(store)

    async def drop_contents(database: Database) -> None:
        await drop_uploads(store, await database.now() // MICROS_PER_DAY)

    async def drop_cases(_: Database) -> None:
        await purge_cases(store, config.case_days)

    traces = Traces(start, trail)
    steps = (
        make_days("consignment", "audit_record"),
        make_days(*WEEKLY, span=WEEK_DAYS),
        drop_days("consignment", STATE_DAYS),
        purge,
        purge_requests(),
        rotate_page_keys,
        *traces.steps,
        drop_records,
        drop_contents,
        drop_cases,
    )
    looks = (
        letters_waiting("clearance", "ingestion", "risk", "revenue"),
        horizon(),
        backlog("clearance"),
        gauges.look,
        audit.look,
        sweep.look,
        expiry.look(config.arrival_days),
        representations.look,
    )
    return [
        traces.run,
        consumer.run,
        screening.run,
        debts.run,
        adjusting.run,
        ArrivalJob(store, parameters, presentation).run,
        Waits(store, start.replica).run,
        StoragePasses(store, start.replica).run,
        audit.AuditJob(store, seal_seconds=config.seal_seconds).run,
        expiry.Expiry(store, start.replica, arrival_days=config.arrival_days, exit_days=config.exit_days).run,
        sweep.Sweep(store, filings, start.replica, interval_seconds=config.sweep_seconds).run,
        representations.Representations(store, ingestion, start.replica).run,
        Maintenance(start.database, notices=True, consumers=start.consumers).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, looks).run,
    ]


def _mrns(events: Table) -> list[str]:
    return events.strings("mrn").tolist()


if __name__ == "__main__":
    sys.exit(launch("clearance", assemble))
