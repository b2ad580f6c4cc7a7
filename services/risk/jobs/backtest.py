"""The runner of backtests: judges the stored batches of a period by a rule set or a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.stored import InputError
from libs.jobs.days import stored_days
from libs.jobs.period import parts_of, read_period
from libs.jobs.running import Finished, JobRefused, Running
from libs.store.database import Database
from libs.store.tables.inputs import BatchPlace
from libs.telemetry import get_logger
from luxor.risk.v1.backtests_pb2 import BacktestPlan
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.backtest.baseline import baseline_of
from services.risk.backtest.counts import BacktestPart
from services.risk.backtest.joined_batches import join_batches
from services.risk.backtest.model_trial import ModelTrial
from services.risk.backtest.progress import BacktestProgress
from services.risk.backtest.result import result_of
from services.risk.backtest.rule_trial import RuleTrial
from services.risk.config import RiskConfig
from services.risk.elements.stored_inputs import Opened, open_batch, read_answers
from services.risk.history.columns import DESCRIBED
from services.risk.learning.features.consignments import TRAFFIC_COLUMNS
from services.risk.learning.model.model_file import ModelFileRefused, read_model
from services.risk.rules.rule_set import RuleSet, RuleSetError, load_rule_set
from services.risk.store.assessment_inputs import StoredBatch, stored_inputs
from services.risk.store.models import ModelStore, ModelUnknown
from services.risk.store.outcomes import OutcomeStore
from services.risk.store.rule_sets import RuleSetStore, text_of

_HISTORY: Final = frozenset(f"{path or 'consignments'}.{name}" for path, names in DESCRIBED.items() for name in names)
_log = get_logger()


async def run(running: Running) -> Finished:
    """Run a backtest from where it was left."""
    plan = BacktestPlan.FromString(running.job.request)
    return await run_trial(running, plan, await _trial(running, plan))


async def run_trial(running: Running, plan: BacktestPlan, trial: RuleTrial | ModelTrial) -> Finished:
    """Judge the stored batches of a plan's days by a rule set or a model, from the last committed step."""
    progress = running.job.progress
    first, last = stored_days(plan, (4, 5))
    state = BacktestProgress.from_bytes(progress) if progress else BacktestProgress(first, 0)
    trial.begin(state)
    inputs, outcomes = stored_inputs(running.database), OutcomeStore(running.database)

    async def read(after: BatchPlace, batches_max: int) -> Sequence[StoredBatch]:
        return await inputs.read(after, last, batches_max=batches_max, purpose=PURPOSE_CLEARANCE, answers=True)

    async def judge(batches: Sequence[StoredBatch]) -> None:
        found = await outcomes.of_batches(_pair(batches[0]), _pair(batches[-1]))
        results = [(each.batch, each.row, each.result) for each in found]
        for part in parts_of(batches):
            _judge(trial, state, part, results, plan.office)

    return await read_period(running, state, read, judge, lambda: result_of(state, trial).SerializeToString())


def _pair(batch: StoredBatch) -> tuple[int, int]:
    return batch.place.day, batch.place.batch


def _judge(
    trial: RuleTrial | ModelTrial,
    state: BacktestProgress,
    batches: Sequence[StoredBatch],
    outcomes: Sequence[tuple[int, int, int]],
    office: str,
) -> None:
    """Judge some batches; those with the same columns of history together."""
    groups: dict[tuple[str, ...], list[tuple[StoredBatch, Opened, Table]]] = {}
    for batch in batches:
        state.read += batch.count
        try:
            opened = open_batch(batch.columns, batch.history)
            if batch.answers is None:
                raise InputError("its answers are no longer stored")
            answers = read_answers(batch.answers, opened.rows)
        except InputError as error:
            state.unreadable += batch.count
            _log.warning("BACKTEST_BATCH_LEFT_OUT", day=batch.place.day, batch=batch.place.batch, why=str(error))
            continue
        groups.setdefault(opened.history_names, []).append((batch, opened, answers))
    for names, group in groups.items():
        table, history = join_batches([opened for _, opened, _ in group])
        counts = [opened.table.rows for _, opened, _ in group]
        numbers = [batch.place.batch for batch, _, _ in group]
        rows = [opened.rows for _, opened, _ in group]
        then = baseline_of([answers for *_, answers in group], rows, numbers, outcomes)
        days = np.repeat(np.array([batch.place.day for batch, _, _ in group], np.int64), counts)
        part = BacktestPart(
            table, then, days, np.repeat(np.array(numbers, np.int64), counts), np.concatenate(rows), office
        )
        if part.count:
            state.without_history += 0 if _HISTORY.issubset(names) else part.count
            trial.judge(state, part, history)


async def _trial(running: Running, plan: BacktestPlan) -> RuleTrial | ModelTrial:
    profile = _profile(running)
    if plan.HasField("model_version"):
        try:
            content = await ModelStore(running.database).content(plan.model_version)
            model = read_model(content, f"the stored model {plan.model_version}", TRAFFIC_COLUMNS)
        except (ModelUnknown, ModelFileRefused) as error:
            raise JobRefused(
                f"model {plan.model_version} cannot be backtested: {error or 'it is no longer stored'}"
            ) from error
        active = await RuleSetStore(running.database).active_version()
        rule_set = await stored_rule_set(running.database, active, profile) if active else load_rule_set(profile)
        return ModelTrial(model, rule_set)
    try:
        if plan.HasField("rule_set"):
            rule_set = text_of(plan.rule_set).read()
        else:
            rule_set = await stored_rule_set(running.database, plan.rule_set_version, profile)
    except RuleSetError as error:
        raise JobRefused(f"the rule set cannot be read by this release: {error}") from error
    return RuleTrial(rule_set, examples=plan.examples)


async def stored_rule_set(database: Database, version: str, profile: Path) -> RuleSet:
    """Return a rule set by its version: a stored one, or the profile that the service was started with.

    Raises RuleSetError, or JobRefused where there is none of that version.
    """
    files = await RuleSetStore(database).text(version)
    if files is not None:
        return files.read()
    started_with = load_rule_set(profile)
    if started_with.version != version:
        raise JobRefused(f"rule set {version} is no longer stored; `luxor risk rules list` lists the stored ones")
    return started_with


def _profile(running: Running) -> Path:
    return RiskConfig.from_environ("risk", running.environ).profile
