"""Selection as the last step of an assessment: drawn, proved by the seed, counted once over the log, and told why."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from libs.columns import Table
from libs.server.testing import running
from libs.store.database import Database
from libs.store.migrate import migrate
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.__main__ import PROFILES, assemble
from services.risk.assessing import InForce, assess_batch
from services.risk.memory import Memory
from services.risk.past import Known, Past, derived
from services.risk.selection import Draw, Parameters, commitment, draws, load_parameters
from services.risk.selection.tally import MICROS_PER_HOUR
from services.risk.store.log import Store
from tests.risk.filings import RULES_ALONE, WITHOUT_DRAWS, table
from tests.risk.test_parties import in_force
from tests.risk.test_service import GIFT, request, stub

CLEARANCE, LOADING = pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING
SECRET = b"secret of the tests"
NOW = 1_795_000_000_000_000


def parameters(tmp_path: Path, **changes: str) -> Parameters:
    """The parameters that draw nothing, with changes of their text."""
    text = WITHOUT_DRAWS.read_text()
    for lane, rates in changes.items():
        text = text.replace(f"{lane}: {{minimum_random_ppm: 0, expected_ppm: 0}}", f"{lane}: {{{rates}}}")
    (tmp_path / "selection.yaml").write_text(text)
    return load_parameters(tmp_path / "selection.yaml")


def people(count: int, first: int = 0, change: dict[str, Any] | None = None) -> Table:
    return table(
        [{"consignee": {"name": f"Person {number}"}, **(change or {})} for number in range(count)], first_mrn=first
    )


def means(selection: Parameters) -> InForce:
    return replace(in_force(), selection=selection)


def known(rows: Table, now: int = NOW) -> Known:
    new = np.ones(rows.rows, np.bool_)
    return Known(now, new, new.copy())


def test_without_draws_the_lane_is_what_findings_call_for_and_every_cause_is_told(tmp_path: Path) -> None:
    vague = {"items": [{"description": "Gift"}]}
    rows = table([{}, GIFT, vague, {"consignor": {"name": "Quillan Drasthova"}}])
    answer = assess_batch(means(parameters(tmp_path)), rows, CLEARANCE, known(rows), Past.begin(SECRET)).table
    assert answer.ints("lane").tolist() == [pb.LANE_GREEN, pb.LANE_YELLOW, pb.LANE_BLUE, pb.LANE_RED]
    assert answer.ints("selection_cause").tolist() == [
        pb.SELECTION_CAUSE_UNSPECIFIED,
        pb.SELECTION_CAUSE_RULE,
        pb.SELECTION_CAUSE_SCORE,
        pb.SELECTION_CAUSE_RULE,
    ]
    assert answer.strings("selection_reason").tolist() == ["", "", "SCORE_HIGH", ""]
    assert answer.ints("chance_ppm").tolist() == [1_000_000] * 4
    assert not answer.ints("model_score_ppm").valid.any()


def test_draws_are_proved_by_the_seed_and_the_same_in_any_batch(tmp_path: Path) -> None:
    selection = parameters(tmp_path, red="minimum_random_ppm: 250000, expected_ppm: 250000")
    past, rows = Past.begin(SECRET), people(400)
    answer = assess_batch(means(selection), rows, CLEARANCE, known(rows), past).table
    red = answer.ints("lane").values == pb.LANE_RED
    assert 60 < red.sum() < 140
    assert set(answer.strings("selection_reason").values()[red]) == {"SELECTED_AT_RANDOM"}
    assert set(answer.ints("chance_ppm").values[red].tolist()) == {250_000}
    seed = derived(SECRET, b"selection")
    share = draws(seed, rows.strings("mrn").tolist())[:, Draw.RED] / np.float64(2**64)
    assert (share < 0.25).tolist() == red.tolist()
    halves = [rows.take(np.arange(0, 400, 2)), rows.take(np.arange(1, 400, 2))]
    apart = [assess_batch(means(selection), half, CLEARANCE, known(half), past).table for half in halves]
    assert [(each.ints("lane").values == pb.LANE_RED).tolist() for each in apart] == [
        red[0::2].tolist(),
        red[1::2].tolist(),
    ]


def test_an_office_without_parameters_of_its_own_shares_those_of_all_others(tmp_path: Path) -> None:
    rows = people(3, change={"presentation_office": "DE009999"})
    chosen = assess_batch(means(parameters(tmp_path)), rows, CLEARANCE, known(rows), Past.begin(SECRET)).chosen
    assert chosen is not None
    assert chosen.assessed.offices.tolist() == ["*"] * 3


async def test_the_log_carries_what_was_selected_to_every_replica_once(database: Database, tmp_path: Path) -> None:
    await migrate(database, "services.risk")
    store, selection = Store(database), parameters(tmp_path)
    replicas = [Memory(store, tmp_path / name, secret=SECRET) for name in ("one", "two")]
    for memory in replicas:
        await memory.follow()

    async def assess(rows: Table, purpose: int) -> None:
        memory = replicas[0]
        seen = await store.known(rows)
        assessed = assess_batch(means(selection), rows, purpose, seen, await memory.past())
        _, _, place = await store.settle(rows, purpose, assessed.table, assessed)
        memory.committed(place, assessed.kept)

    # What was looked at before loading counts when it is cleared; a repeat and an amendment do not count again.
    await assess(people(5), LOADING)
    await assess(people(5), CLEARANCE)
    await assess(people(8), CLEARANCE)
    await assess(people(2).with_columns({"version": people(2).ints("version").of([2, 2])}), CLEARANCE)
    now = await database.now()
    for memory in replicas:
        await memory.follow()
        past = await memory.past()
        rates = past.tally.rates("* import", now + MICROS_PER_HOUR)
        assert rates.total == 8
        assert rates.lanes.tolist() == [0, 8, 0, 0, 0]
        await memory.snapshot()
    again = Memory(store, tmp_path / "two", secret=SECRET)
    await again.follow()
    assert (await again.past()).tally.rates("* import", now + MICROS_PER_HOUR).total == 8


async def test_before_loading_a_recommendation_is_told_and_nothing_is_drawn(database_url: str) -> None:
    async with running("risk", assemble, database_url) as risk:
        rows = table([{}, {"items": [{"description": "Gift"}]}, {"consignor": {"name": "Quillan Drasthova"}}])
        caller = await stub(risk)
        answer = Table.decode((await caller.Assess(request(rows, LOADING), timeout=10)).assessments)
        assert answer.ints("referral").tolist() == [
            pb.REFERRAL_UNSPECIFIED,
            pb.REFERRAL_INFORMATION,
            pb.REFERRAL_SCREENING,
        ]
        assert answer.strings("referral_reason").tolist() == ["", "DESCRIPTION_TOO_VAGUE", "PARTY_LISTED"]
        assert not answer.ints("selection_cause").valid.any()
        again = Table.decode((await caller.Assess(request(rows, LOADING), timeout=10)).assessments)
        assert again.strings("referral_reason").tolist() == answer.strings("referral_reason").tolist()


async def test_the_seed_is_committed_to_before_it_is_used_and_every_version_is_named(
    database_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    environ = {"LUXOR_RISK_SECRET_FILE": str(secret), **RULES_ALONE}
    async with running("risk", assemble, database_url, environ=environ) as risk:
        told = await (await stub(risk, "analyst", "a")).GetRuleSet(pb.GetRuleSetRequest(), timeout=10)
        answer = Table.decode((await (await stub(risk)).Assess(request(table([{}])), timeout=10)).assessments)
    assert told.seed_commitment == commitment(derived(SECRET, b"selection"))
    assert told.seed_commitment == hashlib.sha256(b"luxor selection seed" + derived(SECRET, b"selection")).hexdigest()
    named = [answer.strings(name)[0] for name in ("rule_set", "lists", "controls", "selection")]
    assert named == [told.rule_set.version, " ".join(told.lists), told.controls, told.selection]
    assert all(named)


async def test_the_shipped_parameters_draw_some_and_a_repeat_gets_the_same_draw(database_url: str) -> None:
    shipped = load_parameters(PROFILES / "data" / "selection.yaml")
    async with running("risk", assemble, database_url) as risk:
        caller, rows = await stub(risk), people(1000)
        first = Table.decode((await caller.Assess(request(rows), timeout=20)).assessments)
        again = Table.decode((await caller.Assess(request(rows), timeout=20)).assessments)
    assert first.strings("selection").dictionary == [shipped.version]
    # 1 % red, 2 % yellow and 3 % blue are drawn of 1,000 that nothing is found in.
    assert 30 < (first.ints("lane").values != pb.LANE_GREEN).sum() < 100
    assert again.ints("lane").tolist() == first.ints("lane").tolist()
    assert again.ints("chance_ppm").tolist() == first.ints("chance_ppm").tolist()
