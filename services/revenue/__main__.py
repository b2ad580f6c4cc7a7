"""Start revenue alone: python -m services.revenue."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.server.config import ConfigError, Settings, setting
from libs.server.config_checks import wrong_place
from libs.server.identity import Role
from libs.server.launch import Start, launch
from libs.server.server import Background
from libs.server.tracing import Traces, assessment_trail
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, drop_days, make_days, purge_assessments
from luxor.revenue.v1.revenue_pb2_grpc import add_RevenueServiceServicer_to_server
from services.revenue.law.program import ProgramError
from services.revenue.law.yaml_source import LawFileError
from services.revenue.service import RevenueService
from services.revenue.shelf import RATES, RULEBOOKS, load_program
from services.revenue.store.assessments import ASSESSMENT_DAYS, Store
from services.revenue.store.sums import purge_shares

_READERS = {Role.FILER, Role.CARRIER, Role.OFFICER, Role.ANALYST, Role.OPERATOR, Role.GATEWAY}


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


def assemble(start: Start) -> Sequence[Background]:
    """Put revenue together. Raises ConfigError where a rulebook or a table of rates is refused."""
    config = RevenueConfig.from_environ("revenue", start.environ)
    try:
        program = load_program(config.rulebooks, config.rates)
    except (LawFileError, ProgramError) as error:
        name, place = ("RATES", RATES) if str(config.rates) in str(error) else ("RULEBOOKS", RULEBOOKS)
        raise ConfigError(f"LUXOR_REVENUE_{name}", f"names law that is refused: {error}", str(place)) from None
    start.server.add(
        add_RevenueServiceServicer_to_server,
        RevenueService(Store(start.database), program),
        roles={"Assess": {Role.SERVICE}, "Quote": _READERS, "ListRulebooks": _READERS},
    )
    traces = Traces(start, assessment_trail(start.database))
    steps = (
        make_days("assessment_batch", "assessed_input"),
        purge_assessments(ASSESSMENT_DAYS),
        drop_days("assessed_input", config.input_days),
        purge_shares(ASSESSMENT_DAYS),
        *traces.steps,
    )
    return [
        traces.run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database).run,
    ]


if __name__ == "__main__":
    sys.exit(launch("revenue", assemble))
