"""Start revenue alone: python -m services.revenue."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from libs.jobs.holder import Holder
from libs.jobs.room import BYTES_MAX, BYTES_MIN, DERIVED, derived_job_bytes
from libs.jobs.store import Jobs, purge_jobs
from libs.server.config import ConfigError, Settings, setting
from libs.server.config_checks import wrong_place
from libs.server.identity import Role
from libs.server.launch import Start, launch
from libs.server.server import Background
from libs.server.tracing import Traces, assessment_trail
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, drop_days, make_days, purge_assessments
from luxor.revenue.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from luxor.revenue.v1.revenue_pb2_grpc import add_RevenueServiceServicer_to_server
from luxor.revenue.v1.schemes_pb2_grpc import add_SchemeServiceServicer_to_server
from luxor.revenue.v1.what_if_pb2_grpc import add_WhatIfServiceServicer_to_server
from services.revenue.bookkeeping import bookkeeping
from services.revenue.jobs.kinds import WORK
from services.revenue.law.program import ProgramError
from services.revenue.law.yaml_source import LawFileError
from services.revenue.ledger.refunds import RefundRules
from services.revenue.ledger_service import LedgerService
from services.revenue.reassessment import Reassessment, sums_left
from services.revenue.scheme_service import SchemeService
from services.revenue.service import RevenueService
from services.revenue.shelf import RATES, RULEBOOKS, law_files, program_of
from services.revenue.store.assessments import ASSESSMENT_DAYS, Store
from services.revenue.store.inputs import Inputs
from services.revenue.store.ledger import Ledger
from services.revenue.store.reassessed import ReassessedStore
from services.revenue.store.schemes import SchemesInForce, SchemeStore
from services.revenue.store.securities import SecuritiesInForce
from services.revenue.store.sums import follow, purge_shares
from services.revenue.store.what_if import Periods
from services.revenue.sums import summed_areas
from services.revenue.what_if_service import WhatIfService
from services.revenue.whatif.bands import DEFAULT as BANDS
from services.revenue.whatif.bands import Bands, BandsMalformed

_READERS = {Role.FILER, Role.CARRIER, Role.OFFICER, Role.ANALYST, Role.OPERATOR, Role.GATEWAY}


def wrong_bands(text: str) -> str:
    """Amounts such as "22 150; JPY 1000 10000"."""
    try:
        Bands.of(text)
    except BandsMalformed as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, repr=False)
class RevenueConfig(Settings, service="revenue"):
    """What revenue alone reads."""

    rulebooks: Path = setting("RULEBOOKS", default=RULEBOOKS, example="/etc/luxor/revenue/rulebooks", check=wrong_place)
    """Directory of the rulebooks and tariffs, one directory a jurisdiction."""
    rates: Path = setting("RATES", default=RATES, example="/etc/luxor/revenue/rates", check=wrong_place)
    """Directory of the tables of exchange rates. The shipped ones are examples that no authority publishes."""
    input_days: int = setting("INPUT_DAYS", default=400, low=1, high=400, example="400")
    """Days for which it is kept what consignments were assessed on, some 60 bytes each: adjustments, assessments after a change of a sum and what-if
    runs reach so far back."""
    what_if_bands: str = setting(
        "WHAT_IF_BANDS", default=BANDS, example="22 45 150 1000; JPY 1000 10000", check=wrong_bands
    )
    """Bands of value by which what-if runs group what consignments owe: upper ends in whole units, counted in, of any currency, then of those that
    have their own."""
    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory that the process of a what-if run may have, beside the replica's own and within the limit of its container; one runs at a time in all
    replicas together."""
    deferred: str = setting("DEFERRED", default="opened", choices=("everyone", "opened"), example="opened")
    """Which declarants have a deferred account: `opened`, those for whom an officer opened one that is not closed and has room below its limit,
    for filings of its own filers; `everyone`, every declarant without limit, for trials only. Without an account the debt is paid at the border,
    or secured by a guarantee."""
    reassessment_seconds: float = setting("REASSESSMENT_SECONDS", default=1.0, low=0.05, high=3_600, example="1")
    """How often it is looked for sums over several consignments that changed, so that earlier consignments owe something else."""
    seal_seconds: float = setting("SEAL_SECONDS", default=60.0, low=1, high=600, example="60")
    """How often the ledger's chains are sealed together, where something was booked. An alert tells when half an hour passes without."""
    proof_percent: int = setting("PROOF_PERCENT", default=3, low=1, high=100, example="3")
    """Share of one core that the background proofs of the ledger may use, in all replicas together, percent. An alert is raised when they are a day
    behind."""


def assemble(start: Start) -> Sequence[Background]:
    """Put revenue together. Raises ConfigError where a rulebook or a table of rates is refused."""
    config = RevenueConfig.from_environ("revenue", start.environ)
    try:
        law = law_files(config.rulebooks, config.rates)
        program = program_of(law)
    except (LawFileError, ProgramError) as error:
        name, place = (
            ("RATES", RATES) if str(error).startswith(("rates/", str(config.rates))) else ("RULEBOOKS", RULEBOOKS)
        )
        raise ConfigError(f"LUXOR_REVENUE_{name}", f"names law that is refused: {error}", str(place)) from None
    schemes = SchemesInForce(SchemeStore(start.database))
    accounts = SecuritiesInForce(start.database, everyone=config.deferred == "everyone")
    start.before_serving.extend((schemes.look, accounts.look))
    revenue = RevenueService(
        Store(start.database),
        program,
        register=lambda: schemes.register,
        securities=lambda: accounts.securities,
    )
    start.server.add(
        add_RevenueServiceServicer_to_server,
        revenue,
        roles={"Assess": {Role.SERVICE}, "Quote": _READERS, "ListRulebooks": _READERS},
    )
    start.server.add(
        add_SchemeServiceServicer_to_server,
        SchemeService(schemes, program),
        roles={
            "RegisterSchemeNumbers": {Role.OPERATOR, Role.OFFICER},
            "ListSchemeNumbers": {Role.OPERATOR, Role.OFFICER, Role.ANALYST},
        },
    )
    jobs, trying = Jobs(start.database), {Role.ANALYST, Role.OFFICER}
    start.server.add(
        add_WhatIfServiceServicer_to_server,
        WhatIfService(jobs, Inputs(start.database), Periods(start.database), law, config.what_if_bands),
        roles={
            "CheckRulebook": trying | {Role.OPERATOR},
            "StartWhatIf": trying,
            "GetWhatIf": trying,
            "ListWhatIfs": trying,
            "CancelWhatIf": trying,
        },
    )
    traces = Traces(start, assessment_trail(start.database))
    rulebooks = [read.rulebook for read in program.books]
    ledger = Ledger(start.database, RefundRules(rulebooks), program.sharing)
    looking = {Role.OFFICER, Role.ANALYST, Role.OPERATOR}
    start.server.add(
        add_LedgerServiceServicer_to_server,
        LedgerService(start.database, ledger, {book.jurisdiction for book in rulebooks}, accounts.look),
        roles={
            "PutAccounts": {Role.OFFICER},
            "ListAccounts": looking,
            "ListOpen": looking,
            "ListBalances": looking | {Role.FILER, Role.CARRIER, Role.TREASURY},
            "ListEntries": looking,
            "GetStatement": looking | {Role.FILER, Role.CARRIER, Role.TREASURY},
            "RecordPayments": {Role.OFFICER},
            "ListPayments": looking,
            "RecordPayouts": {Role.OFFICER},
            "ListPayouts": looking,
            "Reconcile": looking,
            "CheckChain": looking,
            "GetProof": looking,
            "Prove": looking,
        },
    )
    books = bookkeeping(
        start,
        ledger,
        partial(follow, areas=summed_areas(program)),
        seal_seconds=config.seal_seconds,
        proof_percent=config.proof_percent,
    )
    changed = ReassessedStore(start.database, ledger.news)
    steps = (
        make_days("assessment_batch", "assessed_input"),
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
        accounts.run,
        Reassessment(changed, start.replica, revenue.in_force, pause_seconds=config.reassessment_seconds).run,
        Holder(start.database, start.replica, start.environ, WORK, memory_bytes_max=config.job_memory_bytes_max).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, (*books.looks, sums_left(changed))).run,
    ]


if __name__ == "__main__":
    sys.exit(launch("revenue", assemble))
