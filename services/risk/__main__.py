"""Start risk alone: python -m services.risk."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.server.config import ConfigError, Settings, setting
from libs.server.config_checks import wrong_file
from libs.server.identity import Role
from libs.server.launch import Start, launch
from libs.server.server import Background
from libs.server.tracing import Traces, assessment_trail
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, make_days, purge_assessments
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from services.risk.rules import RuleSetError, load_rule_set
from services.risk.service import RiskService
from services.risk.store import ASSESSMENT_DAYS, Store

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True, kw_only=True, repr=False)
class RiskConfig(Settings, service="risk"):
    """What risk alone reads."""

    profile: Path = setting(
        "PROFILE", default=PROFILES / "first_light.yaml", example="/etc/luxor/risk/profile.yaml", check=wrong_file
    )
    """File of the profile: rules, thresholds, and beside it the lists and tables that they look into."""


def assemble(start: Start) -> Sequence[Background]:
    """Put risk together. Raises ConfigError where the profile is refused."""
    config = RiskConfig.from_environ("risk", start.environ)
    try:
        rule_set = load_rule_set(config.profile)
    except RuleSetError as error:
        raise ConfigError("LUXOR_RISK_PROFILE", f"names a profile that is refused: {error}", "profile.yaml") from None
    start.server.add(
        add_RiskServiceServicer_to_server,
        RiskService(Store(start.database), lambda: rule_set),
        roles={
            "Assess": {Role.SERVICE},
            "GetRuleSet": {Role.SERVICE, Role.OFFICER, Role.ANALYST, Role.OPERATOR},
        },
    )
    traces = Traces(start, assessment_trail(start.database))
    steps = (make_days("assessment_batch"), purge_assessments(ASSESSMENT_DAYS), *traces.steps)
    return [
        traces.run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database).run,
    ]


if __name__ == "__main__":
    sys.exit(launch("risk", assemble))
