"""Start risk alone: python -m services.risk."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from libs.server.config import ConfigError, Settings, setting
from libs.server.config_checks import wrong_file, wrong_place
from libs.server.identity import Role
from libs.server.launch import Start, launch
from libs.server.server import Background
from libs.server.tracing import Traces, assessment_trail
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, make_days, purge_assessments
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from services.risk.assessing import InForce
from services.risk.control_files import ControlFileError
from services.risk.controls import load_controls
from services.risk.lists_in_force import Lists
from services.risk.rules import RuleSetError, load_rule_set
from services.risk.screening.lists import ListRefused
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

    lists: Path = setting("LISTS", default=PROFILES / "lists", example="/etc/luxor/risk/lists", check=wrong_place)
    """Directory of the lists that parties are screened against: lists.yaml and the files that it names. Changed files are taken without a restart."""

    lists_check_seconds: float = setting("LISTS_CHECK_SECONDS", default=30.0, low=0.1, high=86_400, example="30")
    """How often it is looked whether files of lists have changed."""

    controls: Path = setting(
        "CONTROLS", default=PROFILES / "data" / "controls", example="/etc/luxor/risk/controls", check=wrong_place
    )
    """Directory of the goods controls: one YAML file for each jurisdiction."""


def assemble(start: Start) -> Sequence[Background]:
    """Put risk together. Raises ConfigError where the profile is refused."""
    config = RiskConfig.from_environ("risk", start.environ)
    try:
        rule_set = load_rule_set(config.profile)
    except RuleSetError as error:
        raise ConfigError("LUXOR_RISK_PROFILE", f"names a profile that is refused: {error}", "profile.yaml") from None
    try:
        lists = Lists(config.lists)
    except ListRefused as error:
        raise ConfigError("LUXOR_RISK_LISTS", f"names a list that is refused: {error}", "/etc/luxor/lists") from None
    try:
        controls = load_controls(sorted(config.controls.glob("*.yaml")))
    except ControlFileError as error:
        raise ConfigError("LUXOR_RISK_CONTROLS", f"names controls that are refused: {error}", "controls") from None
    start.server.add(
        add_RiskServiceServicer_to_server,
        RiskService(Store(start.database), lambda: InForce(rule_set, lists.index, controls)),
        roles={
            "Assess": {Role.SERVICE},
            "GetRuleSet": {Role.SERVICE, Role.OFFICER, Role.ANALYST, Role.OPERATOR},
            "CheckGoods": set(Role) - {Role.SERVICE},
        },
    )
    traces = Traces(start, assessment_trail(start.database))
    steps = (make_days("assessment_batch"), purge_assessments(ASSESSMENT_DAYS), *traces.steps)
    return [
        traces.run,
        partial(lists.watch, seconds=config.lists_check_seconds),
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database).run,
    ]


if __name__ == "__main__":
    sys.exit(launch("risk", assemble))
