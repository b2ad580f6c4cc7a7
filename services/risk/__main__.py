"""Start risk alone: python -m services.risk."""

import sys
from collections.abc import Sequence
from functools import partial

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
from libs.store.monitoring.gauges import Looking
from libs.store.tables.housekeeping import Housekeeping, drop_days, make_days, purge_assessments, purge_requests
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.feed.v1.dead_letters_pb2_grpc import add_DeadLetterServiceServicer_to_server
from luxor.feed.v1.feed_pb2_grpc import add_FeedServiceServicer_to_server
from luxor.jobs.v1.jobs_pb2_grpc import add_JobServiceServicer_to_server
from luxor.risk.v1.backtests_pb2_grpc import add_BacktestServiceServicer_to_server
from luxor.risk.v1.models_pb2_grpc import add_ModelServiceServicer_to_server
from luxor.risk.v1.risk_pb2_grpc import add_RiskServiceServicer_to_server
from luxor.risk.v1.rule_sets_pb2_grpc import add_RuleSetServiceServicer_to_server
from services.risk.api.assessment import RiskService
from services.risk.api.backtests import BacktestService
from services.risk.api.jobs import TYPES
from services.risk.api.models import ModelService
from services.risk.api.rule_sets import RuleSetService
from services.risk.assessment.assessment import ActiveVersions
from services.risk.assessment.lane_selection import thresholds_in
from services.risk.commands.assess import Assess
from services.risk.commands.follow_log import LogFollower
from services.risk.commands.housekeeping import (
    purge_awaited_values,
    purge_draws,
    purge_models,
    purge_outcomes,
    purge_rule_sets,
    purge_screening_matches,
    sum_counts,
)
from services.risk.commands.load_lists import ListLoader
from services.risk.commands.load_models import ModelLoader
from services.risk.commands.load_rule_sets import RuleSetLoader
from services.risk.commands.make_seeds import Seeds, maintain_seeds
from services.risk.commands.record_outcomes import RecordOutcomes
from services.risk.config import RiskConfig, read_secret
from services.risk.feeds.inspections import InspectionFeed
from services.risk.goods.control_files import ControlFileError
from services.risk.goods.controls import load_controls
from services.risk.history.bounds import bounds_for
from services.risk.jobs.kinds import WORK
from services.risk.jobs.rescreening import Rescreening, batches_left
from services.risk.rules.rule_set import RuleSetError, load_rule_set
from services.risk.screening.lists.party_list import ListRefused
from services.risk.screening.parties import MatchLevels
from services.risk.store.assessment_inputs import stored_inputs
from services.risk.store.assessment_log import ASSESSMENT_DAYS, LOG_DAYS, AssessmentLogStore
from services.risk.store.models import CODES, ModelStore
from services.risk.store.outcomes import OUTCOME_DAYS, OutcomeStore
from services.risk.store.rule_sets import RuleSetStore
from services.risk.store.screening_matches import ScreeningMatchSnapshot, ScreeningMatchStore

OUTCOMES = "risk/outcomes"
"""Health name of the work of learning what inspections found: it is taken from clearance's feed."""
PAUSE_MILLIS = 1_000
"""How long states wait for others of the same page while there are few: results of inspections count for history so much later."""


def assemble(start: Start) -> Sequence[Background]:
    """Put risk together. Raises ConfigError where the profile is refused."""
    config = RiskConfig.from_environ("risk", start.environ)
    try:
        rule_set = load_rule_set(config.profile)
    except RuleSetError as error:
        raise ConfigError("LUXOR_RISK_PROFILE", f"names a profile that is refused: {error}", "profile.yaml") from None
    try:
        lists = ListLoader(config.lists, start.config.data_dir / "risk" / "lists")
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
    store = AssessmentLogStore(start.database)
    kept = RuleSetStore(start.database)
    rule_sets = RuleSetLoader(rule_set, kept.active_version, kept.text)
    start.before_serving.append(rule_sets.begin)
    model_store = ModelStore(start.database)
    code_models = ModelStore(start.database, CODES, challenged=False)
    models = ModelLoader(model_store, code_models)
    start.before_serving.append(models.begin)
    hits = ScreeningMatchStore(start.database)
    follower = LogFollower(
        store,
        start.config.data_dir / "risk",
        secret=read_secret(config.secret_file),
        replaces=config.secret_replaces,
        bounds=bounds_for(config.history_keys_max, config.history_events_max, config.history_keys_min),
    )
    start.before_serving.append(follower.follow)
    start.missing.append(follower.missing)
    seeds = Seeds(start.database)

    def active() -> ActiveVersions:
        rules = rule_sets.active
        return ActiveVersions(rules, lists.index, controls, rules.selection, levels, models.models)

    start.server.add(
        add_RiskServiceServicer_to_server,
        RiskService(
            Assess(store, follower, active, seeds, scored=models.scored),
            store,
            active,
            seeds,
            hits,
            seeds_published_after_days=config.seeds_published_after_days,
        ),
        roles={
            "AssessConsignments": {Role.SERVICE},
            "GetRuleSet": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
            "ListAssessments": {Role.OFFICER, Role.ANALYST},
            "ListSeeds": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
            "CheckGoods": set(Role) - {Role.TREASURY},
            "SuggestCodes": set(Role) - {Role.TREASURY},
        },
    )
    start.server.add(
        add_FeedServiceServicer_to_server,
        FeedServicer(hits.outbox, ScreeningMatchSnapshot()),
        roles={"PullEvents": {Role.SERVICE}, "ReadSnapshot": {Role.SERVICE}, "SummarizeDays": {Role.SERVICE}},
        long_polls={"PullEvents"},
    )
    rescreening = Rescreening(
        hits,
        start.replica,
        lambda: lists.state,
        days=config.rescreening_days,
        levels=levels,
        thresholds=lambda *answers: thresholds_in(rule_sets.active.selection, rule_sets.active.thresholds, *answers),
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
        RuleSetService(kept, stored_inputs(start.database), rule_sets),
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
    jobs = JobService(Jobs(start.database), TYPES)
    start.server.add(
        add_JobServiceServicer_to_server,
        jobs,
        roles={"GetJob": reading, "ListJobs": reading, "CancelJob": looking_after},
    )
    start.server.add(
        add_ModelServiceServicer_to_server,
        ModelService(model_store, code_models, models, jobs),
        roles={
            "ProposeModel": {Role.ANALYST},
            "StartTraining": {Role.ANALYST},
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
        BacktestService(jobs, stored_inputs(start.database), kept, model_store, lambda: rule_sets.active),
        roles=dict.fromkeys(("StartBacktest", "GetBacktest"), looking_after),
    )
    outcomes = _outcomes(start, InspectionFeed(RecordOutcomes(OutcomeStore(start.database), store, follower.hasher)))
    traces = Traces(start, assessment_trail(start.database))
    steps = (
        make_days("assessment_batch", "assessed", "assessed_input", "selection_batch"),
        purge_assessments(ASSESSMENT_DAYS),
        drop_days("assessed", LOG_DAYS),
        purge_awaited_values(LOG_DAYS),
        purge_draws(ASSESSMENT_DAYS),
        drop_days("selection_batch", ASSESSMENT_DAYS),
        sum_counts(ASSESSMENT_DAYS),
        purge_screening_matches(ASSESSMENT_DAYS),
        purge_outcomes(OUTCOME_DAYS),
        purge_models(ASSESSMENT_DAYS),
        purge_rule_sets(ASSESSMENT_DAYS),
        maintain_seeds,
        purge_requests(),
        rotate_page_keys,
        purge_jobs,
        drop_days("assessed_input", config.input_days),
        *traces.steps,
    )
    return [
        traces.run,
        follower.run,
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


def _outcomes(start: Start, intake: InspectionFeed) -> Consumer:
    """What takes outcomes from clearance's feed, with its dead letters and its health."""
    start.server.add(
        add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(start.database),
        roles={"ListDeadLetters": {Role.OPERATOR}, "ReplayDeadLetters": {Role.OPERATOR}},
    )
    clearance = start.neighbour("clearance")
    start.server.depend("clearance", answers(start.neighbour("clearance")), [OUTCOMES])
    return Consumer(
        "clearance",
        database=start.database,
        pull=GrpcPort(clearance, consumer="risk", message_class=ClearanceColumns, replica=start.replica),
        handler=intake,
        key=_mrns,
        message_class=ClearanceColumns,
        replica=start.replica,
        pause_millis=PAUSE_MILLIS,
    )


def _mrns(states: Table) -> list[str]:
    return states.strings("mrn").tolist()


if __name__ == "__main__":
    sys.exit(launch("risk", assemble))
