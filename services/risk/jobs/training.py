"""The job that trains a model on what inspections found, and registers it as a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.filing_stages.direction import exports
from libs.jobs.days import stored_days
from libs.jobs.running import Finished, JobRefused, Running
from libs.store.database import Transaction
from libs.store.tables.inputs import BatchPlace
from luxor.risk.v1.models_pb2 import StartTrainingRequest
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.codes.declared_codes import PROBABILITY as CODE_PROBABILITY
from services.risk.commands.change_model import write_file
from services.risk.commands.load_rule_sets import RuleSetLoader
from services.risk.config import RiskConfig
from services.risk.elements.stored_inputs import Input
from services.risk.inspections.outcomes import unpack_items
from services.risk.learning.features.consignments import (
    ASSESSED,
    ASSESSED_SETTINGS,
    ASSESSED_WITH_CODES,
    TRAFFIC_COLUMNS,
)
from services.risk.learning.features.sample import Sample
from services.risk.learning.model.model_file import Window, read_model, write_model
from services.risk.learning.model.summary import summary_of, write_summary
from services.risk.learning.settings import INSPECTIONS
from services.risk.learning.training.candidate import TrainingPlan, candidate
from services.risk.learning.training.inspected_samples import (
    InspectedItems,
    InspectedRow,
    is_violation,
    part_of,
    stored_items,
)
from services.risk.learning.training.training import LearningAbsent, TooFewOutcomes
from services.risk.rules.rule_set import load_rule_set
from services.risk.store.assessment_inputs import StoredBatch, stored_inputs
from services.risk.store.inspections import InspectionStore
from services.risk.store.models import CONTENT_BYTES_MAX, MODELS_MAX, WITHDRAWN_DAYS, ModelStore, TooManyModels
from services.risk.store.outcomes import OutcomeStore, StoredOutcome
from services.risk.store.rule_sets import RuleSetStore

LABEL: Final = "an inspection found a violation in the item"
OUTCOMES_MAX: Final = 300_000
"""Inspected consignments that are learnt from; of more a share is drawn."""
REFERENCE_MAX: Final = 100_000
"""Consignments, inspected or not, that prices, counts and profiles are taken of; of more a share is drawn."""
BATCHES: Final = 32


@dataclass
class _Gathered:
    parts: list[InspectedItems] = field(default_factory=list)
    traffic: list[Sample] = field(default_factory=list)
    done: int = 0


async def run(running: Running) -> Finished:
    """Read the assessments of the requested days, train a model on the inspected ones, and store it."""
    request = StartTrainingRequest.FromString(running.job.request)
    days = stored_days(request, (2, 3))
    models = ModelStore(running.database)
    try:
        async with running.database.connection() as reader:
            await models.check_room(reader)
    except TooManyModels:
        raise _full() from None
    known, reference = await _gather(running, days, request.seed)
    plan = TrainingPlan(
        name=request.name or INSPECTIONS,
        label=LABEL,
        window=Window(
            first_day=days[0],
            last_day=days[1],
            outcomes=len(known.violations),
            violations=int(known.violations.sum()),
            source=INSPECTIONS,
        ),
        recipe=ASSESSED_WITH_CODES if np.isfinite(known.sample.numbers[CODE_PROBABILITY]).any() else ASSESSED,
        settings=ASSESSED_SETTINGS,
        seed=request.seed,
    )
    try:
        content = write_model(candidate(plan, known, reference))
    except (TooFewOutcomes, LearningAbsent) as error:
        raise JobRefused(str(error)) from None
    model = read_model(content, "the model just trained", TRAFFIC_COLUMNS)
    if len(content) > CONTENT_BYTES_MAX:
        raise JobRefused(f"the model has {len(content)} bytes, more than {CONTENT_BYTES_MAX}; take fewer days")
    await write_file(models, model.version, content)
    summary = write_summary(summary_of(model, len(content)))

    async def store_model(tx: Transaction) -> None:
        try:
            await models.add(tx, model.version, summary, request.note, running.job.started_by)
        except TooManyModels:
            raise _full() from None

    return Finished(model.version.encode(), further_writes=store_model)


def _full() -> JobRefused:
    return JobRefused(
        f"{MODELS_MAX} models are stored, the most that is possible; retire candidates that are not needed, which are deleted "
        f"{WITHDRAWN_DAYS} days later"
    )


async def _gather(running: Running, days: tuple[int, int], seed: int) -> tuple[InspectedItems, Sample]:
    inputs, outcomes_of = stored_inputs(running.database), OutcomeStore(running.database).of_batches
    rates = await _rates(running)
    total = await inputs.count(*days, PURPOSE_CLEARANCE)
    outcomes = await InspectionStore(running.database).count(*days)
    shares = min(1.0, OUTCOMES_MAX / max(outcomes, 1)), min(1.0, REFERENCE_MAX / max(total, 1))
    rng = np.random.default_rng(abs(seed))
    gathered = _Gathered()
    place = BatchPlace(days[0], 0)
    while True:
        # No state is committed to continue from, so this is no step: after three attempts that end by themselves the job fails.
        await running.count(gathered.done, total)
        batches = await inputs.read(place, days[1], batches_max=BATCHES, purpose=PURPOSE_CLEARANCE, answers=True)
        if not batches:
            break
        results: dict[tuple[int, int], list[StoredOutcome]] = {}
        for each in await outcomes_of(*((end.place.day, end.place.batch) for end in (batches[0], batches[-1]))):
            results.setdefault((each.day, each.batch), []).append(each)
        for batch in batches:
            _take(batch, results.get((batch.place.day, batch.place.batch), ()), rates, shares, rng, gathered)
        place = batches[-1].place
    if not gathered.parts or not gathered.traffic:
        raise JobRefused(
            f"none of the consignments stored of these days ({total}) has an outcome; name days on which consignments were inspected, "
            "and that are stored (LUXOR_RISK_INPUT_DAYS)"
        )
    return InspectedItems.concat(gathered.parts), Sample.concat(gathered.traffic)


def _take(
    batch: StoredBatch,
    results: Sequence[StoredOutcome],
    rates: Mapping[str, int],
    shares: tuple[float, float],
    rng: np.random.Generator,
    gathered: _Gathered,
) -> None:
    gathered.done += batch.count
    if batch.answers is None:
        return
    given: Input = batch.unpack()
    answers = batch.answered(given)
    rows = {row: place for place, row in enumerate(given.rows.tolist())}
    found = [
        _inspected_row(each, rows[each.row])
        for each, drawn in zip(results, rng.random(len(results)).tolist(), strict=True)
        if each.row in rows and drawn < shares[0]
    ]
    if found:
        gathered.parts.append(part_of(given.table, given.history, answers, rates, found, batch.place.day))
    drawn_rows = np.flatnonzero((rng.random(given.table.rows) < shares[1]) & ~exports(given.table))
    if len(drawn_rows):
        gathered.traffic.append(stored_items(given.table, given.history, answers, rates, drawn_rows).sample)


def _inspected_row(outcome: StoredOutcome, row: int) -> InspectedRow:
    items = {number: is_violation(result) for number, result, _ in unpack_items(outcome.items)}
    return InspectedRow(row, is_violation(outcome.result), items)


async def _rates(running: Running) -> Mapping[str, int]:
    """Return the exchange rates of the active rule set, by which risk converts amounts when it assesses."""
    kept = RuleSetStore(running.database)
    profile = RiskConfig.from_environ("risk", running.environ).profile
    rule_sets = RuleSetLoader(load_rule_set(profile), kept.active_version, kept.text)
    await rule_sets.look()
    return rule_sets.active.rates
