"""Risk: a whole backtest of 50 rules over stored assessments, from PostgreSQL to the result. `make bench-risk`.

The store is filled with simulated traffic, assessed by the first profile with history and packed as the service does; 5 % are
inspected. These batches are then copied under other numbers until there are enough to measure, so a batch is read as often as it
would be, and what conditions remember of texts is as after a day of such traffic. The rules are those of risk_rules.py: ten kinds
of condition with five sets of constants each. The clock runs from the first query to the result; nothing is told between.
"""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import figures
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from risk_rules import batches, two_hundred  # noqa: E402

from libs.columns import Table  # noqa: E402
from libs.customs.time import day_text  # noqa: E402
from libs.jobs.running import Running  # noqa: E402
from libs.jobs.store import Jobs  # noqa: E402
from libs.store.database import Database  # noqa: E402
from libs.store.embedded.server import EmbeddedPostgres  # noqa: E402
from libs.store.tables.migrate import migrate  # noqa: E402
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns  # noqa: E402
from luxor.risk.v1.backtests_pb2 import BacktestPlan, BacktestResult  # noqa: E402
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE  # noqa: E402
from services.risk.assessment.assessment import ActiveVersions, assess_batch  # noqa: E402
from services.risk.backtest.rule_trial import RuleTrial  # noqa: E402
from services.risk.commands.assess import settle  # noqa: E402
from services.risk.commands.follow_log import LogFollower  # noqa: E402
from services.risk.commands.load_lists import ListLoader  # noqa: E402
from services.risk.config import PROFILES  # noqa: E402
from services.risk.goods.controls import load_controls  # noqa: E402
from services.risk.inspections.outcomes import Outcome  # noqa: E402
from services.risk.jobs.backtest import run_trial  # noqa: E402
from services.risk.rules.rule_set import RuleSet, load_rule_set  # noqa: E402
from services.risk.store.assessment_log import AssessmentLogStore  # noqa: E402
from services.risk.store.job_kinds import JobKind  # noqa: E402
from services.risk.store.outcomes import OutcomeStore  # noqa: E402
from tests.support.databases import enterable_directory  # noqa: E402

RULES: Final = 50
BATCHES, COPIES = 100, 8
INSPECTED_OF: Final = 20

_COPY: Final = """
with given as materialized (
    select *, nextval('assessment_batch_number') as number from assessed_input where batch <= $1
), answered as (
    insert into assessment_batch (day, batch, payload, traceparent)
    select kept.day, given.number, kept.payload, kept.traceparent from given join assessment_batch kept using (day, batch)
)
insert into assessed_input (day, batch, purpose, count, lists, columns, history)
select day, number, purpose, count, lists, columns, history from given
"""


async def fill(database: Database, tables: list[Table], copies: int, directory: Path) -> int:
    """Assess, store and inspect; gives how many consignments are stored."""
    store, outcomes = AssessmentLogStore(database), OutcomeStore(database)
    memory = LogFollower(store, directory)
    rules = load_rule_set(PROFILES / "first_light.yaml")
    controls = load_controls(sorted((PROFILES / "data" / "controls").glob("*.yaml")))
    in_force = ActiveVersions(rules, ListLoader(PROFILES / "lists").index, controls)
    await memory.follow()
    past = await memory.replica_state()
    past.history.whole_since = 0  # as of a deployment that has run for a month, or columns of history were unknown
    for number, table in enumerate(tables):
        known = await store.prior_state(table)
        content = table.serialize(ConsignmentColumns)
        assessed = assess_batch(in_force, table, PURPOSE_CLEARANCE, known, past, content=content)
        _, _, place = await settle(store, table, PURPOSE_CLEARANCE, assessed.table, assessed)
        memory.committed(place, assessed.log_records)
        mrns = table.strings("mrn").tolist()[::INSPECTED_OF]
        places = await outcomes.places([(mrn, 1) for mrn in mrns])
        found = [Outcome(mrn, 1, 2, 1, 3, 1 + (number + row) % 2, b"") for row, mrn in enumerate(mrns)]
        async with database.transaction() as tx:
            await outcomes.put(tx, found, places)
    async with database.connection() as reader:
        last = await reader.raw.fetchval("select max(batch) from assessed_input")
    for _ in range(copies - 1):
        async with database.transaction(timeout_millis=60_000) as tx:
            await tx.raw.execute(_COPY, last)
    async with database.connection() as reader:
        await reader.raw.execute("vacuum analyze assessed_input, assessment_batch, outcome")
        count: int = await reader.raw.fetchval("select sum(count) from assessed_input")
    return count


async def once(database: Database, rules: RuleSet) -> tuple[float, float, BacktestResult]:
    """Seconds of a whole backtest by the clock, of this process's CPU, and what it found."""
    async with database.connection() as reader:
        days = await reader.raw.fetchrow("select min(day) as first, max(day) as last from assessed_input")
    plan = BacktestPlan(from_day=day_text(days["first"]), to_day=day_text(days["last"]), examples=5)
    jobs = Jobs(database)
    async with database.transaction() as tx:
        await jobs.add(tx, JobKind.BACKTEST, plan.SerializeToString(), "bench")
        job = await jobs.take(tx)
    assert job is not None
    trial = RuleTrial(rules, examples=plan.examples)
    started, working = time.perf_counter(), time.process_time()
    finished = await run_trial(Running(job, database, {}), plan, trial)
    seconds, cpu = time.perf_counter() - started, time.process_time() - working
    async with database.transaction() as tx:
        await jobs.finish(tx, job, finished.result)
    return seconds, cpu, BacktestResult.FromString(finished.result)


async def measured(url: str, directory: Path, *, quick: bool, runs: int) -> None:
    """Fill, measure and tell."""
    async with Database(url, name="risk") as database:
        await migrate(database, "services.risk")
        count = await fill(database, list(batches(2 if quick else BATCHES)), 2 if quick else COPIES, directory)
        fifty = two_hundred()
        fifty = replace(fifty, rules=fifty.rules[:RULES])
        figures.machine(
            {"rules": str(RULES), "consignments": str(count), "PostgreSQL": str(await database.durability())}
        )
        for name, rules in (("backtest_rate_cps", fifty), ("backtest_first_profile_cps", first_profile())):
            await once(database, rules)
            rates, cpu = [], []
            for _ in range(runs):
                seconds, working, result = await once(database, rules)
                assert result.consignments == count
                assert sum(rule.matches for rule in result.rules) > 0
                rates.append(count / seconds)
                cpu.append(count / working)
            target = 200_000 if name == "backtest_rate_cps" else None
            figures.figure(
                name,
                rates,
                "1/s",
                target=target,
                rules=len(rules.rules),
                rate_of_cpu=round(float(np.median(cpu))),
                inspected=result.inspected.count,
            )


def first_profile() -> RuleSet:
    """The rules of the first profile, as they are."""
    return load_rule_set(PROFILES / "first_light.yaml")


def main() -> None:
    how = figures.options(__doc__ or "", runs=5)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=("risk",))
    server.start()
    try:
        asyncio.run(measured(server.url("risk"), directory / "risk", quick=how.quick, runs=how.runs))
    finally:
        server.destroy()


if __name__ == "__main__":
    main()
