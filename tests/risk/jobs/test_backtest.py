"""Backtests: what a rule set would have found among stored assessments, whatever parts they are read in and whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Table
from libs.columns.progress import ProgressError
from libs.customs.time import day_text
from libs.jobs import period
from libs.jobs.holder import Holder
from libs.jobs.running import JobRefused, Running
from libs.jobs.store import Job, Jobs, JobState
from libs.store.database import Database
from libs.store.tables.inputs import BatchPlace
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import backtests_pb2 as pb
from services.risk.backtest import rule_trial as rules_on_trial
from services.risk.backtest.baseline import baseline_of
from services.risk.backtest.counts import BacktestPart
from services.risk.backtest.model_trial import auc_ppm, shares
from services.risk.backtest.progress import BacktestProgress
from services.risk.backtest.rule_trial import RuleTrial
from services.risk.commands.change_model import write_file
from services.risk.conditions.evaluation.frames import Batch
from services.risk.conditions.expressions import Condition, Judged, judge
from services.risk.elements.computed import Facts
from services.risk.jobs import backtest
from services.risk.jobs.kinds import WORK
from services.risk.learning.model.model_file import read_model
from services.risk.learning.model.opinion import Models, opinion_of
from services.risk.rules.rule_set import RuleSet
from services.risk.rules.scoring import assess
from services.risk.store.assessment_inputs import stored_inputs
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import ModelStore
from tests.risk.aged import age_log
from tests.risk.filings import first_light, table
from tests.risk.inspection_outcomes import CONFORM, NOON, VIOLATION, Risk, state
from tests.risk.jobs.backtest_drafts import CHANGES, draft
from tests.risk.jobs.job_runners import until
from tests.risk.learning import traffic_model
from tests.risk.rules import rule_files

PERSONS = ("Erika Sommer", "Jan Novak", "Ana Silva")


@pytest_asyncio.fixture
async def risk(database: Database, tmp_path: Path) -> AsyncIterator[Risk]:
    await age_log(database)
    made = Risk(database, tmp_path / "one")
    await made.memory.follow()
    yield made


async def fill(risk: Risk, batches: int = 9, seed: int = 31) -> list[str]:
    """Assess some batches of mixed sizes, and inspect a third of what they hold; gives the MRNs in their order."""
    rng = random.Random(seed)
    mrns: list[str] = []
    for _ in range(batches):
        changes = [
            {**rng.choice(CHANGES), "consignee": {"name": rng.choice(PERSONS)}} for _ in range(rng.randint(1, 12))
        ]
        rows = table(changes, first_mrn=len(mrns))
        await risk.assess(rows)
        mrns += rows.strings("mrn").tolist()
    found = rng.sample(mrns, len(mrns) // 3)
    await risk.take([state(mrn, 2, rng.choice([CONFORM, VIOLATION]), at=NOON) for mrn in found])
    return mrns


async def plan(risk: Risk, **more: Any) -> pb.BacktestPlan:
    async with risk.database.connection() as reader:
        days = await reader.raw.fetchrow("select min(day) as first, max(day) as last from assessed_input")
    given = {
        "from_day": day_text(days["first"]),
        "to_day": day_text(days["last"]),
        "examples": 3,
        "rule_set": draft(),
        **more,
    }
    return pb.BacktestPlan(**{name: value for name, value in given.items() if value is not None})


async def job_of(risk: Risk, asked: pb.BacktestPlan) -> Job:
    jobs = Jobs(risk.database)
    async with risk.database.transaction() as tx:
        number = await jobs.add(tx, JobKind.BACKTEST, asked.SerializeToString(), "analyst/one")
        job = await jobs.take(tx)
    assert job is not None
    assert job.id == number
    return job


async def tried(risk: Risk, asked: pb.BacktestPlan) -> pb.BacktestResult:
    """The result of a backtest in this process."""
    job = await job_of(risk, asked)
    finished = await backtest.run(Running(job, risk.database, {}))
    async with risk.database.transaction() as tx:
        await Jobs(risk.database).finish(tx, job, finished.result)
    return pb.BacktestResult.FromString(finished.result)


async def stored(risk: Risk) -> list[tuple[Table, Any, Table, np.ndarray[Any, Any]]]:
    """Each stored batch: consignments, history, answers, and rows of the answers."""
    found = await stored_inputs(risk.database).read(BatchPlace(0, 0), 100_000, answers=True)
    opened = [(batch, batch.unpack()) for batch in found]
    return [(given.table, given.history, batch.answered(given), given.rows) for batch, given in opened]


async def plainly(risk: Risk, rule_set: RuleSet) -> dict[str, set[str]]:
    """By rule the MRNs that it hits, each batch assessed by itself as the service would."""
    found: dict[str, set[str]] = {rule.text.id: set() for rule in rule_set.rules}
    for rows, history, _, _ in await stored(risk):
        facts = Facts(rows, rule_set.rates)
        facts.history = history
        answer = assess(rule_set, rows, facts=facts)
        mrns, owners = rows.strings("mrn"), answer.ragged("findings").owners()
        for rule, owner in zip(answer.child("findings").strings("rule").tolist(), owners.tolist(), strict=True):
            found[rule].add(mrns[owner])
    return found


async def test_the_set_in_force_then_hits_what_it_hit_then(risk: Risk) -> None:
    mrns = await fill(risk)
    result = await tried(risk, await plan(risk))
    expected = await plainly(risk, first_light())
    assert result.consignments == len(mrns)
    assert {rule.rule: rule.matches for rule in result.rules} == {rule: len(hit) for rule, hit in expected.items()}
    assert sum(rule.matches for rule in result.rules) > len(mrns) // 4
    for rule in result.rules:
        assert rule.matches == rule.baseline_matches == rule.both
        assert {example.mrn for example in rule.examples} <= expected[rule.rule]
        assert len(rule.examples) == min(3, rule.matches)
        assert rule.baseline_red + rule.baseline_yellow + rule.baseline_blue <= rule.matches
    for lane in result.lanes:
        assert (lane.tried_only, lane.baseline_only) == (0, 0)
    assert [lane.lane for lane in result.lanes] == [common_pb2.LANE_RED, common_pb2.LANE_YELLOW, common_pb2.LANE_BLUE]
    assert result.lanes[0].both > 0
    assert result.without_history == result.unreadable == 0


async def test_inspections_are_told_of_hits_and_lanes(risk: Risk) -> None:
    mrns = await fill(risk)
    known = await risk.outcomes.stored(mrns)
    result = await tried(risk, await plan(risk))
    expected = await plainly(risk, first_light())
    assert result.inspected.count == len(known) == len(mrns) // 3
    assert result.inspected.violations == sum(outcome.violation for outcome in known.values())
    for rule in result.rules:
        inspected = [known[mrn].violation for mrn in expected[rule.rule] if mrn in known]
        assert (rule.inspected.count, rule.inspected.violations) == (len(inspected), sum(inspected))
        assert rule.inspected.random_count == 0


async def test_a_draft_is_compared_with_what_was_then(risk: Risk) -> None:
    """A rule that is made a draft is counted as before and moves nothing: what it moved then goes to a lower lane."""
    await fill(risk)

    def changed(text: str) -> str:
        head, rule, rest = text.partition("- id: GIFT_FROM_FIRM")
        rest = rest.replace("lane: yellow", "lane: none", 1).replace("weight:", "life: draft\n    weight:", 1)
        assert rule
        return head + rule + rest

    result = await tried(risk, await plan(risk, rule_set=draft(changed)))
    before = await tried(risk, await plan(risk))
    rules, rules_before = ({rule.rule: rule for rule in each.rules} for each in (result, before))
    gift = rules["GIFT_FROM_FIRM"]
    assert (gift.life, gift.matches) == ("draft", rules_before["GIFT_FROM_FIRM"].matches)
    assert gift.matches > 0
    lanes = {lane.lane: lane for lane in result.lanes}
    assert sum(lane.baseline_only for lane in lanes.values()) > 0
    for lane in before.lanes:
        now = lanes[lane.lane]
        assert now.both + now.baseline_only == lane.both
        told = [each for each in result.workload if each.lane == lane.lane]
        assert sum(each.baseline for each in told) == now.both + now.baseline_only
        assert sum(each.tried for each in told) == now.both + now.tried_only
        assert all(each.tried_day_max <= each.tried and each.days == 1 for each in told)


async def test_any_parts_give_the_same_result(risk: Risk, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(risk, 14, seed=5)
    whole = await tried(risk, await plan(risk))
    for batches, rows in ((1, 20_000), (3, 20), (64, 7)):
        monkeypatch.setattr(period, "BATCHES_A_READ", batches)
        monkeypatch.setattr(period, "ROWS_A_PART", rows)
        assert await tried(risk, await plan(risk)) == whole


async def test_it_goes_on_from_every_step_to_the_same_result(risk: Risk, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(risk, 8, seed=6)
    whole = await tried(risk, await plan(risk))
    monkeypatch.setattr(period, "BATCHES_A_READ", 1)
    monkeypatch.setattr(period, "STEP_SECONDS", 0.0)
    kept: list[bytes] = []

    class Watched(Running):
        async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
            kept.append(progress)
            await super().step(progress, done, total, result)

    job = await job_of(risk, await plan(risk))
    await backtest.run(Watched(job, risk.database, {}))
    assert len(kept) == 9
    for progress in kept:
        resumed = await backtest.run(Running(replace(job, progress=progress), risk.database, {}))
        assert pb.BacktestResult.FromString(resumed.result) == whole


@asynccontextmanager
async def holding(risk: Risk, runner: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    holder = Holder(
        risk.database,
        "one",
        {},
        replace(WORK, runners={JobKind.BACKTEST: f"tests.risk.jobs.job_runners:{runner}"}),
        memory_bytes_max=2 << 30,
        look_seconds=0.02,
    )
    task = asyncio.create_task(holder.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def test_a_killed_process_changes_nothing_in_the_result(risk: Risk) -> None:
    await fill(risk, 8, seed=7)
    whole = await tried(risk, await plan(risk))
    jobs = Jobs(risk.database)
    async with risk.database.transaction() as tx:
        number = await jobs.add(tx, JobKind.BACKTEST, (await plan(risk)).SerializeToString(), "analyst/one")
    async with holding(risk, "backtest"):
        job = await until(jobs, number, JobState.DONE, JobState.FAILED)
    assert (job.state, job.attempt) == (JobState.DONE, 3), job.error
    assert pb.BacktestResult.FromString(job.result) == whole
    assert job.done == whole.consignments


async def test_an_office_alone_and_days_without_assessments(risk: Risk) -> None:
    mrns = await fill(risk, 3)
    result = await tried(risk, await plan(risk, office=""))
    assert result.consignments == len(mrns)
    assert (await tried(risk, await plan(risk, office="XX000001"))).consignments == 0
    empty = await tried(risk, pb.BacktestPlan(rule_set=draft(), from_day="1970-01-02", to_day="1970-01-03"))
    assert (empty.consignments, len(empty.lanes), len(empty.rules)) == (0, 0, len(first_light().rules))


async def test_an_office_has_what_was_filed_for_it_though_selection_does_not_count_it_apart(risk: Risk) -> None:
    presented, entering = {"presentation_office": "DE003302"}, {"transport": {"first_entry_office": "DE003302"}}
    elsewhere = {**entering, "presentation_office": "DE004851"}
    await risk.assess(table([presented, {}, entering, elsewhere, presented], first_mrn=0))
    result = await tried(risk, await plan(risk, office="DE003302"))
    assert result.consignments == 3
    assert (await tried(risk, await plan(risk, office="DE004851"))).consignments == 1
    assert {each.office for each in result.workload} == {""}


async def test_a_batch_that_cannot_be_read_is_left_out_and_told(risk: Risk) -> None:
    mrns = await fill(risk, 4)
    async with risk.database.transaction() as tx:
        gone = await tx.raw.fetchval(
            "update assessed_input set columns = 'x' where batch = (select min(batch) from assessed_input) returning count"
        )
    result = await tried(risk, await plan(risk))
    assert result.unreadable == gone
    assert result.consignments == len(mrns) - gone


@pytest.mark.parametrize(
    ("name", "told"), [("rule_set_version", "luxor risk rules list"), ("model_version", "cannot be backtested")]
)
async def test_what_is_not_kept_any_more_is_refused_with_a_reason(risk: Risk, name: str, told: str) -> None:
    await fill(risk, 1)
    with pytest.raises(JobRefused, match=told):
        await tried(risk, await plan(risk, rule_set=None, **{name: "gone/1"}))


async def test_the_profile_of_the_start_is_found_by_its_version(risk: Risk) -> None:
    await fill(risk, 2)
    named = await tried(risk, await plan(risk, rule_set=None, rule_set_version=first_light().version))
    assert named == await tried(risk, await plan(risk))


async def test_a_model_is_tried_by_the_scores_that_it_would_have_given(risk: Risk) -> None:
    rows, truths = traffic_model.traffic(7, 240)
    mrns = rows.strings("mrn").tolist()
    for start in range(0, 240, 60):
        await risk.assess(rows.take(np.arange(start, start + 60)))
    found = [VIOLATION if any(truth) else CONFORM for truth in truths]
    await risk.take([state(mrn, 2, result) for mrn, result in zip(mrns[::2], found[::2], strict=True)])
    known = await risk.outcomes.stored(mrns)
    content = traffic_model.file()
    model = read_model(content, "file")
    store = ModelStore(risk.database)
    await write_file(store, model.version, content)
    async with risk.database.transaction() as tx:
        await store.add(tx, model.version, b"", "", "analyst/one")
    result = await tried(risk, await plan(risk, rule_set=None, model_version=model.version))

    steps: dict[str, int] = {}
    for batch, history, answers, _ in await stored(risk):
        facts = Facts(batch, first_light().rates)
        facts.history = history
        opinion = opinion_of(Models(model), batch, facts, answers.ints("score"))
        assert opinion is not None
        scores = opinion.columns["model_score_ppm"]
        assert isinstance(scores, Ints)
        steps |= zip(batch.strings("mrn").tolist(), (scores.values // 100).tolist(), strict=True)
    assert len(set(steps.values())) > 30
    assert result.consignments == len(steps) == len(mrns)
    assert len(result.rules) == len(result.lanes) == 0
    ranked = sorted(steps.values(), reverse=True)
    for share in result.shares:
        least = ranked[max(1, -(-len(ranked) * share.share_ppm // 1_000_000)) - 1]
        above = {mrn for mrn, step in steps.items() if step >= least}
        hits = [known[mrn].violation for mrn in above if mrn in known]
        assert (share.score_from_ppm, share.consignments) == (least * 100, len(above))
        assert (share.inspected.count, share.inspected.violations) == (len(hits), sum(hits))
    pairs = [
        1.0 if steps[bad] > steps[good] else 0.5 if steps[bad] == steps[good] else 0.0
        for bad in known
        if known[bad].violation
        for good in known
        if not known[good].violation
    ]
    assert result.auc_ppm == pytest.approx(1e6 * sum(pairs) / len(pairs), abs=1)


def test_a_rule_is_judged_for_the_rows_that_it_counts_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What falls back to the CEL library costs by the row, so others than those in scope are not asked."""
    given: list[list[bool]] = []

    def watched(condition: Condition, batch: Batch, scope: Any = None) -> Judged:
        given.append(scope.tolist())
        return judge(condition, batch, scope)

    monkeypatch.setattr(rules_on_trial, "judge", watched)
    sets = rule_files.read(
        rule_files.rule("ON_CONSIGNMENTS", more="jurisdictions: [FR]"),
        rule_files.rule("ON_ITEMS", "item.number == 1", judges="item", more="jurisdictions: [FR]"),
    )
    rows = table([{"destination_country": "FR", "nature": "NATURE_GIFT"}, {"nature": "NATURE_GIFT"}])
    trial, state_now = RuleTrial(sets, examples=0), BacktestProgress(0, 0)
    trial.begin(state_now)
    answers = assess(sets, rows)
    both = np.arange(2)
    then = baseline_of([answers], [both], [1], [])
    trial.judge(state_now, BacktestPart(rows, then, np.zeros(2, np.int64), np.ones(2, np.int64), both, ""), None)
    assert given == [
        [True, False],
        [True] * int(rows.ragged("items").lengths[0]) + [False] * int(rows.ragged("items").lengths[1]),
    ]
    assert [counts[0] for counts in state_now.rules] == [1, 1]


def test_a_state_that_was_altered_is_refused() -> None:
    content = BacktestProgress(1, 2, read=3).to_bytes()
    assert BacktestProgress.from_bytes(content) == BacktestProgress(1, 2, read=3)
    with pytest.raises(ProgressError):
        BacktestProgress.from_bytes(content[:-1] + b"?")


def test_shares_of_scores_agree_with_sorting_them() -> None:
    rng = np.random.default_rng(9)
    steps = rng.integers(0, 10_001, 4_000)
    inspected = rng.random(4_000) < 0.2
    violation = inspected & (rng.random(4_000) < steps / 10_000)
    told = BacktestProgress(0, 0)
    rows = (None, np.zeros(4_000, bool), inspected, violation, np.zeros(4_000, bool), np.zeros(4_000, bool))
    told.scores = [
        np.bincount(steps if mask is None else steps[mask], minlength=10_001).astype(np.int64).tobytes()
        for mask in rows
    ]
    order = np.argsort(-steps, kind="stable")
    for share in shares(told):
        least = steps[order[-(-4_000 * share.share_ppm // 1_000_000) - 1]]
        above = steps >= least
        assert share.score_from_ppm == least * 100
        assert share.consignments == above.sum()
        assert (share.inspected.count, share.inspected.violations) == (inspected[above].sum(), violation[above].sum())
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in steps[violation].tolist()
        for low in steps[inspected & ~violation].tolist()
    ]
    assert auc_ppm(told) == pytest.approx(1e6 * sum(pairs) / len(pairs), abs=1)
