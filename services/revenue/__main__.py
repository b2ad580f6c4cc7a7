"""Start revenue alone: python -m services.revenue."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import GrpcPort
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.metrics import backlog, letters_waiting
from libs.feed.publish.retention import Maintenance
from libs.feed.publish.service import FeedServicer
from libs.feed.publish.watch import horizon
from libs.jobs.holder import Holder
from libs.jobs.service import JobService
from libs.jobs.store import Jobs, purge_jobs
from libs.server.config.server_config import ConfigError
from libs.server.identity import Role
from libs.server.page_tokens import rotate_page_keys
from libs.server.process.health import answers
from libs.server.process.launch import Start, launch
from libs.server.process.server import Background
from libs.server.process.tracing import Traces, assessment_trail
from libs.store.monitoring.gauges import Look, Looking
from libs.store.tables.housekeeping import Housekeeping, Step, drop_days, make_days, purge_assessments, purge_requests
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.jobs.v1.jobs_pb2_grpc import add_JobServiceServicer_to_server
from luxor.revenue.v1.journal_pb2_grpc import add_JournalServiceServicer_to_server
from luxor.revenue.v1.law_pb2_grpc import add_LawServiceServicer_to_server
from luxor.revenue.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from luxor.revenue.v1.revenue_pb2_grpc import add_RevenueServiceServicer_to_server
from luxor.revenue.v1.sales_pb2_grpc import add_SaleServiceServicer_to_server
from luxor.revenue.v1.schemes_pb2_grpc import add_SchemeServiceServicer_to_server
from luxor.revenue.v1.what_if_pb2_grpc import add_WhatIfServiceServicer_to_server
from services.revenue.api.accounting.journal import JournalService
from services.revenue.api.assessment import RevenueService
from services.revenue.api.law.recompute import Recomputation
from services.revenue.api.law.service import LawService
from services.revenue.api.ledger import LedgerService
from services.revenue.api.sales import SaleService
from services.revenue.api.schemes import SchemeService
from services.revenue.api.what_if import JOB_TYPE, WhatIfService
from services.revenue.commands.assess import Assessments
from services.revenue.commands.law.load import LawLoader, LoadedLaw
from services.revenue.commands.payments.forget_references import forget_references
from services.revenue.commands.post import Posting
from services.revenue.commands.reassess import Reassessment
from services.revenue.commands.rebalance import Ledger
from services.revenue.commands.sales.bind import follow_states
from services.revenue.commands.sales.search import GoodsSearch
from services.revenue.commands.sum_days import sum_days
from services.revenue.config import RATES, RULEBOOKS, RevenueConfig
from services.revenue.feeds.clearance_states import EVENTS_MAX, Follow, StateHandler
from services.revenue.feeds.debt_events import DebtEventSnapshot
from services.revenue.jobs.credit import CreditJob
from services.revenue.jobs.kinds import WORK
from services.revenue.jobs.packing import PackingJob
from services.revenue.jobs.proofs import ProofJob, unproven
from services.revenue.jobs.reassessment import ReassessmentJob, aggregates_waiting
from services.revenue.jobs.sale_searches import SaleSearchJob
from services.revenue.jobs.seals import SealJob, unsealed
from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.ledger.account import DueDays
from services.revenue.store.assessments.aggregates import apply_states, purge_shares
from services.revenue.store.assessments.inputs import ASSESSMENT_DAYS, Inputs
from services.revenue.store.assessments.periods import Periods
from services.revenue.store.law.versions import LawStore
from services.revenue.store.law_files import law_files, program_of
from services.revenue.store.ledger.entries import PARTITIONED
from services.revenue.store.ledger.securities import ActiveSecurities
from services.revenue.store.sales import REFERENCE_DAYS, REFERENCE_SPAN, SALE_DAYS, SaleStore
from services.revenue.store.schemes import ActiveSchemes, SchemeStore
from services.revenue.what_if.plan import JobKind

SETTLE_SECONDS = 5.0
"""How often accounts are looked for whose credit can pay a debt that it did not pay at once."""
POSTINGS = "revenue/postings"
"""Health name of the work of booking what is owed: states are taken from clearance's feed."""
_READERS = {Role.FILER, Role.CARRIER, Role.OFFICER, Role.ANALYST, Role.OPERATOR, Role.GATEWAY}


def assemble(start: Start) -> Sequence[Background]:
    """Assemble the service. Raises ConfigError where a rulebook or a table of rates is refused."""
    config = RevenueConfig.from_environ("revenue", start.environ)
    try:
        law = law_files(config.rulebooks, config.rates)
        loader = LawLoader(LoadedLaw(law, program_of(law)), LawStore(start.database), program_of)
    except (LawFileError, ProgramError) as error:
        name, place = (
            ("RATES", RATES) if str(error).startswith(("rates/", str(config.rates))) else ("RULEBOOKS", RULEBOOKS)
        )
        raise ConfigError(f"LUXOR_REVENUE_{name}", f"names law that is refused: {error}", str(place)) from None
    schemes = ActiveSchemes(SchemeStore(start.database))
    accounts = ActiveSecurities(start.database, everyone=config.deferred == "everyone")
    start.before_serving.extend((schemes.look, accounts.look, loader.begin))
    sales = SaleStore(start.database, config.sale_term_days)
    revenue = RevenueService(
        Assessments(start.database, sales),
        lambda: loader.law.program,
        register=lambda: schemes.register,
        securities=lambda: accounts.securities,
    )
    start.server.add(
        add_RevenueServiceServicer_to_server,
        revenue,
        roles={
            "AssessConsignments": {Role.SERVICE},
            "QuoteConsignments": _READERS | {Role.SERVICE},
            "ListRulebooks": _READERS,
        },
    )
    start.server.add(
        add_SaleServiceServicer_to_server,
        SaleService(sales, revenue.active_law),
        roles={"FileSales": {Role.FILER}, "ListSales": {Role.FILER, Role.OFFICER}},
    )
    start.server.add(
        add_SchemeServiceServicer_to_server,
        SchemeService(schemes, lambda: loader.latest.scheme_forms),
        roles={
            "RegisterSchemeNumbers": {Role.OPERATOR, Role.OFFICER},
            "ListSchemeNumbers": {Role.OPERATOR, Role.OFFICER, Role.ANALYST, Role.SERVICE},
        },
    )
    trying = {Role.ANALYST, Role.OFFICER}
    jobs = JobService(Jobs(start.database), {JobKind.WHAT_IF: JOB_TYPE})
    start.server.add(
        add_JobServiceServicer_to_server,
        jobs,
        roles={"GetJob": trying | {Role.OPERATOR}, "ListJobs": trying | {Role.OPERATOR}, "CancelJob": trying},
    )
    start.server.add(
        add_WhatIfServiceServicer_to_server,
        WhatIfService(
            jobs, Inputs(start.database), Periods(start.database), lambda: loader.latest.files, config.what_if_bands
        ),
        roles={
            "CheckRulebook": trying | {Role.OPERATOR},
            "StartWhatIf": trying,
            "GetWhatIf": trying,
            "GetDraft": trying,
        },
    )
    start.server.add(
        add_LawServiceServicer_to_server,
        LawService(loader, jobs, Recomputation(loader, Inputs(start.database))),
        roles={
            "ProposeLaw": {Role.ANALYST, Role.OPERATOR},
            "ReviewLaw": trying,
            "ConfirmLaw": trying,
            "CancelLaw": trying,
            "RunLawCases": trying | {Role.OPERATOR},
            "ListLawVersions": trying | {Role.OPERATOR},
            "GetLawVersion": trying | {Role.OPERATOR},
            "RecomputeAssessments": trying,
        },
    )
    traces = Traces(start, assessment_trail(start.database))
    ledger = Ledger(start.database, lambda: loader.latest.sharing)
    looking = {Role.OFFICER, Role.ANALYST, Role.OPERATOR}
    start.server.add(
        add_LedgerServiceServicer_to_server,
        LedgerService(
            start.database,
            ledger,
            lambda: loader.latest.jurisdictions,
            accounts.look,
            DueDays.parse(config.due_days),
        ),
        roles={
            "PutAccounts": {Role.OFFICER},
            "ListAccounts": looking,
            "ListOpenItems": looking,
            "ListBalances": looking | {Role.FILER, Role.CARRIER, Role.TREASURY},
            "ListEntries": looking,
            "GetStatement": looking | {Role.FILER, Role.CARRIER, Role.TREASURY},
            "ListMonthlyCloses": looking | {Role.FILER, Role.CARRIER},
            "RecordPayments": {Role.OFFICER},
            "ListPayments": looking,
            "RecordPayouts": {Role.OFFICER},
            "ListPayouts": looking,
            "ReconcileDay": looking,
            "CheckChain": looking,
            "GetProof": looking,
            "ProveLedger": looking,
        },
    )
    start.server.add(
        add_JournalServiceServicer_to_server,
        JournalService(start.database, ledger.names),
        roles={"ListJournal": looking},
    )
    books = bookkeeping(
        start,
        ledger,
        Posting(ledger, lambda: loader.latest.refund_rules),
        lambda tx, states: apply_states(tx, states, loader.latest.aggregate_areas),
        follow_states,
        seal_seconds=config.seal_seconds,
        proof_percent=config.proof_percent,
    )
    reassessment = Reassessment(start.database, ledger.debt_events, start.replica, revenue.active_law)
    steps = (
        make_days("assessment_batch", "assessed_input", "sale_batch"),
        make_days("sale", "sale_binding", "sale_document", span=REFERENCE_SPAN),
        drop_days("sale", REFERENCE_DAYS, span=REFERENCE_SPAN),
        drop_days("sale_binding", REFERENCE_DAYS, span=REFERENCE_SPAN),
        drop_days("sale_document", REFERENCE_DAYS, span=REFERENCE_SPAN),
        drop_days("sale_batch", SALE_DAYS),
        purge_assessments(ASSESSMENT_DAYS),
        drop_days("assessed_input", config.input_days),
        purge_shares(ASSESSMENT_DAYS),
        purge_jobs,
        *books.steps,
        *traces.steps,
    )
    return [
        traces.run,
        *books.backgrounds,
        schemes.run,
        loader.run,
        accounts.run,
        SaleSearchJob(GoodsSearch(start.database, sales, start.replica)).run,
        ReassessmentJob(reassessment, pause_seconds=config.reassessment_seconds).run,
        Holder(start.database, start.replica, start.environ, WORK, memory_bytes_max=config.job_memory_bytes_max).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, (*books.looks, aggregates_waiting())).run,
    ]


@dataclass(frozen=True)
class Bookkeeping:
    """What runs, what housekeeping does, and what is looked at."""

    backgrounds: Sequence[Background]
    steps: Sequence[Step]
    looks: Sequence[Look]


def bookkeeping(
    start: Start, ledger: Ledger, posting: Posting, *followers: Follow, seal_seconds: float, proof_percent: int
) -> Bookkeeping:
    """Assemble the ledger; `followers` receive clearance's states in the transaction that posts them."""
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(ledger.debt_events.outbox, DebtEventSnapshot()),
        roles={"PullEvents": {Role.SERVICE}, "ReadSnapshot": {Role.SERVICE}, "SummarizeDays": {Role.SERVICE}},
        long_polls={"PullEvents"},
    )
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"ListDeadLetters": {Role.OPERATOR}, "ReplayDeadLetters": {Role.OPERATOR}},
    )
    clearance = start.neighbour("clearance")
    start.server.depend("clearance", answers(start.neighbour("clearance")), [POSTINGS])
    consumer = Consumer(
        "clearance",
        database=start.database,
        pull=GrpcPort(clearance, consumer="revenue", message_class=ClearanceColumns, replica=start.replica),
        handler=StateHandler(posting, *followers),
        key=_mrns,
        message_class=ClearanceColumns,
        replica=start.replica,
        max_events=EVENTS_MAX,
        prepares_ahead=True,
    )
    return Bookkeeping(
        (
            consumer.run,
            Maintenance(start.database, consumers=start.consumers).run,
            SealJob(start.database, start.replica, interval_seconds=seal_seconds).run,
            ProofJob(start.database, ledger.names, start.replica, share=proof_percent / 100).run,
            PackingJob(start.database, ledger.names, start.replica).run,
            CreditJob(ledger, interval_seconds=SETTLE_SECONDS).run,
        ),
        (make_days(*PARTITIONED), sum_days, forget_references, purge_requests(), rotate_page_keys),
        (horizon(), backlog("revenue"), letters_waiting("revenue", "clearance"), unsealed(), unproven()),
    )


def _mrns(states: Table) -> list[str]:
    return states.strings("mrn").tolist()


if __name__ == "__main__":
    sys.exit(launch("revenue", assemble))
