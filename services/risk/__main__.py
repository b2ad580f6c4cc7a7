"""Start risk alone: python -m services.risk."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from libs.columns import Table
from libs.feed.consumer import Consumer
from libs.feed.dead_letters import DeadLetterServicer
from libs.feed.port import GrpcPort
from libs.feed.retention import Maintenance
from libs.feed.service import FeedServicer
from libs.feed.signals import backlog, letters_waiting
from libs.feed.watch import horizon
from libs.jobs.holder import Holder
from libs.jobs.store import Jobs, purge_jobs
from libs.server.config import ConfigError, Settings, setting
from libs.server.config_checks import wrong_file, wrong_place
from libs.server.health import answers
from libs.server.identity import Role
from libs.server.job_memory import BYTES_MAX, BYTES_MIN, DERIVED, derived_job_bytes
from libs.server.launch import Start, launch
from libs.server.page_tokens import rotate_page_keys
from libs.server.server import Background
from libs.server.tracing import Traces, assessment_trail
from libs.store.gauges import Looking
from libs.store.housekeeping import Housekeeping, drop_days, make_days, purge_assessments, purge_requests
from libs.telemetry.process import memory_of_process
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.risk.v1.backtests_pb2_grpc import add_BacktestServiceServicer_to_server
from luxor.risk.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from luxor.risk.v1.rule_sets_pb2_grpc import add_RuleSetServiceServicer_to_server
from services.risk.assessing import InForce
from services.risk.backtest_service import BacktestService
from services.risk.consumer import Intake
from services.risk.goods.control_files import ControlFileError
from services.risk.goods.controls import load_controls
from services.risk.history.room import PLACES_MAX, PLACES_MIN, bounds_for, places_for
from services.risk.jobs.kinds import WORK
from services.risk.learning.in_force import ModelsInForce
from services.risk.memory import Memory
from services.risk.model_service import ModelService
from services.risk.rescreening import Rescreening, batches_left
from services.risk.rule_set_service import RuleSetService, files_of
from services.risk.rule_sets.in_force import RuleSets
from services.risk.rules import RuleSetError, load_rule_set
from services.risk.screening.in_force import Lists
from services.risk.screening.lists import ListRefused
from services.risk.screening.matching import STRONG, THRESHOLD
from services.risk.screening.parties import MatchLevels
from services.risk.secret_file import SecretFileError, secret_of
from services.risk.selecting import thresholds_in
from services.risk.service import RiskService
from services.risk.store.chances import sum_counts
from services.risk.store.drawn import purge_drawn
from services.risk.store.hits import HitSnapshot, HitStore, purge_hits
from services.risk.store.inputs import Inputs
from services.risk.store.log import ASSESSMENT_DAYS, LOG_DAYS, Store
from services.risk.store.models import ModelStore, purge_models
from services.risk.store.outcomes import OUTCOME_DAYS, OutcomeStore, purge_outcomes
from services.risk.store.rule_sets import RuleSetStore, purge_rule_sets
from services.risk.store.seeds import Seeds, keep_seeds

PROFILES = Path(__file__).parent / "profiles"

OUTCOMES = "risk/outcomes"
"""Health name of the work of learning what inspections found: it is taken from clearance's feed."""


def _places(_service: str, _values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    return places_for(memory_of_process())


def wrong_mark(mark: str) -> str:
    """16 hex digits in small letters."""
    return (
        "" if re.fullmatch(r"[0-9a-f]{16}", mark) else f"is {mark!r}, which is no mark: 16 hex digits in small letters"
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class RiskConfig(Settings, service="risk"):
    """What risk alone reads."""

    profile: Path = setting(
        "PROFILE", default=PROFILES / "first_light.yaml", example="/etc/luxor/risk/profile.yaml", check=wrong_file
    )
    """File of the profile that is in force until a rule set is activated in the store: rules, typologies, thresholds, and beside it the lists and
    tables that they look into and the parameters of selection."""

    lists: Path = setting("LISTS", default=PROFILES / "lists", example="/etc/luxor/risk/lists", check=wrong_place)
    """Directory of the lists that parties are screened against: lists.yaml and the files that it names. Changed files are taken without a restart."""

    lists_check_seconds: float = setting("LISTS_CHECK_SECONDS", default=30.0, low=0.1, high=86_400, example="30")
    """How often it is looked whether files of lists have changed."""

    match_permille: int = setting("MATCH_PERMILLE", default=THRESHOLD, low=700, high=1000, example="870")
    """Least score of a hit of the screening, thousandths: how near a party's name is to a listed one. Lower finds more misspelt names and hits more
    honest parties; docs/risk/screening.md has the figures. When it is lowered, what was assessed before is screened again."""

    match_strong_permille: int = setting("MATCH_STRONG_PERMILLE", default=STRONG, low=700, high=1000, example="930")
    """From this score on a hit advises an examination; below it, and on a weak alias, a look at the documents. At least LUXOR_RISK_MATCH_PERMILLE."""

    rescreening_days: int = setting("RESCREENING_DAYS", default=60, low=1, high=400, example="60")
    """When a list changes, what was assessed in so many days is screened again, as far as LUXOR_RISK_INPUT_DAYS keeps it."""

    rescreening_seconds: float = setting("RESCREENING_SECONDS", default=10.0, low=0.1, high=3_600, example="10")
    """How often it is looked whether something was screened against other versions of lists than are in force."""

    controls: Path = setting(
        "CONTROLS", default=PROFILES / "data" / "controls", example="/etc/luxor/risk/controls", check=wrong_place
    )
    """Directory of the goods controls: one YAML file for each jurisdiction."""

    secret_file: Path | None = setting("SECRET_FILE", default=None, example="/run/secrets/risk", check=wrong_file)
    """File of the deployment's secret, 16 to 64 random bytes or one line of as many letters of hex or Base64, the same for all replicas: parties
    are kept in history as hashes by a key that follows from it. Without it one is made and kept in the store, where whoever reads history can read
    it too."""

    seeds_told_after_days: int = setting("SEEDS_TOLD_AFTER_DAYS", default=90, low=1, high=365, example="90")
    """Days after its own that the seed of a day's draws is told, so that they can be proved. By then consignments of that day should be closed."""

    input_days: int = setting("INPUT_DAYS", default=60, low=1, high=400, example="60")
    """Days for which it is kept what consignments were assessed on, some 200 bytes each: backtests, training and the screening after a change of a
    list reach so far back."""

    secret_replaces: str = setting("SECRET_REPLACES", default="", example="0123456789abcdef", check=wrong_mark)
    """Mark of the secret that this one was put in the place of: with it a replica begins although risk's log was written with that secret, and
    history begins anew. The refusal at start tells the mark."""

    history_keys_max: int = setting(
        "HISTORY_KEYS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Parties that history has room for, taken as the power of two below; 34 bytes each, of which 0.6 are used, and 56 for what goes with them."""

    history_keys_min: int = setting(
        "HISTORY_KEYS_MIN", default=PLACES_MIN, low=PLACES_MIN, high=PLACES_MAX, example="67108864"
    )
    """Parties, and as many events, that history begins with room for. From there it doubles up to its bounds, and no batch is assessed meanwhile:
    half a second at 1 million, 5 seconds at 8 million. Where traffic is great give the number of `LUXOR_RISK_HISTORY_KEYS_MAX`: memory is taken
    only as it is used, but snapshots are as large from the first day on."""

    history_events_max: int = setting(
        "HISTORY_EVENTS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Consignments of 32 days that history has room for, taken as the power of two below; 32 bytes each. It begins small and doubles."""

    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory that the process of a backtest or a training may have, beside the replica's own and within the limit of its container; one runs at a
    time in all replicas together."""


def assemble(start: Start) -> Sequence[Background]:
    """Put risk together. Raises ConfigError where the profile is refused."""
    config = RiskConfig.from_environ("risk", start.environ)
    try:
        rule_set = load_rule_set(config.profile)
    except RuleSetError as error:
        raise ConfigError("LUXOR_RISK_PROFILE", f"names a profile that is refused: {error}", "profile.yaml") from None
    try:
        lists = Lists(config.lists, start.config.data_dir / "risk" / "lists")
    except ListRefused as error:
        raise ConfigError("LUXOR_RISK_LISTS", f"names a list that is refused: {error}", "/etc/luxor/lists") from None
    try:
        controls = load_controls(sorted(config.controls.glob("*.yaml")))
    except ControlFileError as error:
        raise ConfigError("LUXOR_RISK_CONTROLS", f"names controls that are refused: {error}", "controls") from None
    if config.match_strong_permille < config.match_permille:
        why = f"is {config.match_strong_permille}, below LUXOR_RISK_MATCH_PERMILLE ({config.match_permille})"
        raise ConfigError("LUXOR_RISK_MATCH_STRONG_PERMILLE", why, "930")
    levels = MatchLevels(config.match_permille, config.match_strong_permille)
    store = Store(start.database)
    kept = RuleSetStore(start.database)
    rule_sets = RuleSets(rule_set, kept.version_in_force, partial(files_of, kept))
    start.before_serving.append(rule_sets.begin)
    model_store = ModelStore(start.database)
    models = ModelsInForce(model_store)
    start.before_serving.append(models.begin)
    hits = HitStore(start.database)
    memory = Memory(
        store,
        start.config.data_dir / "risk",
        secret=_secret(config.secret_file),
        replaces=config.secret_replaces,
        bounds=bounds_for(config.history_keys_max, config.history_events_max, config.history_keys_min),
    )
    start.before_serving.append(memory.follow)
    start.missing.append(memory.missing)
    start.server.add(
        add_RiskServiceServicer_to_server,
        RiskService(
            store,
            memory,
            lambda: InForce(
                rule_sets.in_force, lists.index, controls, rule_sets.in_force.selection, levels, models.models
            ),
            Seeds(start.database),
            hits,
            seeds_told_after_days=config.seeds_told_after_days,
            scored=models.scored,
        ),
        roles={
            "Assess": {Role.SERVICE},
            "GetRuleSet": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
            "ListAssessments": {Role.OFFICER, Role.ANALYST},
            "ListSeeds": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
            "CheckGoods": set(Role) - {Role.SERVICE, Role.TREASURY},
        },
    )
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(hits.outbox, HitSnapshot()),
        roles={"Pull": {Role.SERVICE}, "Snapshot": {Role.SERVICE}, "Summarize": {Role.SERVICE}},
        long_polls={"Pull"},
    )
    rescreening = Rescreening(
        hits,
        start.replica,
        lambda: lists.state,
        days=config.rescreening_days,
        levels=levels,
        thresholds=lambda answers: thresholds_in(rule_sets.in_force.selection, rule_sets.in_force.thresholds, answers),
        pause_seconds=config.rescreening_seconds,
    )
    looks = (
        batches_left(hits, lambda: lists.state, config.rescreening_days, levels),
        horizon(),
        backlog("risk"),
        letters_waiting("risk", "clearance"),
    )
    looking_after = {Role.ANALYST, Role.OFFICER}
    start.server.add(
        add_RuleSetServiceServicer_to_server,
        RuleSetService(kept, Inputs(start.database), rule_sets),
        roles={
            "CheckRuleSet": looking_after,
            "ProposeRuleSet": {Role.ANALYST},
            "ActivateRuleSet": looking_after,
            "RetireRuleSet": looking_after,
            "ListRuleSets": looking_after | {Role.OPERATOR},
            "GetRuleSetFiles": looking_after,
        },
    )
    reading = {Role.ANALYST, Role.OFFICER, Role.OPERATOR}
    start.server.add(
        add_ModelServiceServicer_to_server,
        ModelService(model_store, models),
        roles={
            "ProposeModel": {Role.ANALYST},
            "TrainModel": {Role.ANALYST},
            "GetTraining": reading,
            "ChallengeModel": {Role.ANALYST},
            "ActivateModel": {Role.ANALYST},
            "RetireModel": {Role.ANALYST},
            "ListModels": reading,
            "GetModel": reading,
            "EstimateViolations": reading,
        },
    )
    start.server.add(
        add_BacktestServiceServicer_to_server,
        BacktestService(Jobs(start.database), Inputs(start.database), kept, model_store, lambda: rule_sets.in_force),
        roles=dict.fromkeys(("StartBacktest", "GetBacktest", "ListBacktests", "CancelBacktest"), looking_after),
    )
    outcomes = _outcomes(start, Intake(OutcomeStore(start.database), store, memory.hasher))
    traces = Traces(start, assessment_trail(start.database))
    steps = (
        make_days("assessment_batch", "assessed", "assessed_input", "selection_batch"),
        purge_assessments(ASSESSMENT_DAYS),
        drop_days("assessed", LOG_DAYS),
        purge_drawn(ASSESSMENT_DAYS),
        drop_days("selection_batch", ASSESSMENT_DAYS),
        sum_counts(ASSESSMENT_DAYS),
        purge_hits(ASSESSMENT_DAYS),
        purge_outcomes(OUTCOME_DAYS),
        purge_models(ASSESSMENT_DAYS),
        purge_rule_sets(ASSESSMENT_DAYS),
        keep_seeds,
        purge_requests(),
        rotate_page_keys,
        purge_jobs,
        drop_days("assessed_input", config.input_days),
        *traces.steps,
    )
    return [
        traces.run,
        memory.run,
        rule_sets.run,
        models.run,
        Holder(start.database, start.replica, start.environ, WORK, memory_bytes_max=config.job_memory_bytes_max).run,
        partial(lists.watch, seconds=config.lists_check_seconds),
        rescreening.run,
        outcomes.run,
        Maintenance(start.database, consumers=start.consumers).run,
        Housekeeping(start.database, start.replica, steps).run,
        Looking(start.database, looks).run,
    ]


def _outcomes(start: Start, intake: Intake) -> Consumer:
    """What takes outcomes from clearance's feed, with its dead letters and its health."""
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"List": {Role.OPERATOR}, "Replay": {Role.OPERATOR}},
    )
    clearance = start.neighbour("clearance")
    start.server.depend("clearance", answers(clearance), [OUTCOMES])
    return Consumer(
        "clearance",
        database=start.database,
        pull=GrpcPort(clearance, consumer="risk", message_class=ClearanceColumns, replica=start.replica),
        handler=intake,
        key=_mrns,
        message_class=ClearanceColumns,
        replica=start.replica,
    )


def _mrns(states: Table) -> list[str]:
    return states.strings("mrn").tolist()


def _secret(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return secret_of(file.read_bytes())
    except SecretFileError as error:
        raise ConfigError("LUXOR_RISK_SECRET_FILE", f"names a file that {error}", "/run/secrets/risk") from None


if __name__ == "__main__":
    sys.exit(launch("risk", assemble))
