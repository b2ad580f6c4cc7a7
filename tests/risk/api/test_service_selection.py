"""Selection as the last step of an assessment: drawn, proved by the seed, counted once over the log, and told why."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import day_of, day_text, parse_day
from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.__main__ import assemble
from services.risk.assessment.assessment import assess_batch
from services.risk.assessment.prior_state import PriorState, ReplicaState
from services.risk.commands.follow_log import LogFollower
from services.risk.commands.make_seeds import DAYS_AHEAD, Seeds, maintain_seeds
from services.risk.selection import Cause, Draw, Parameters, commitment, draws, load_parameters, shares
from services.risk.selection.tally import MICROS_PER_HOUR
from tests.risk.active_versions import in_force
from tests.risk.filings import PROFILE, table
from tests.risk.selection_replicas import (
    CLEARANCE,
    EXPECTS_A_QUARTER,
    LOADING,
    SECRET,
    SHIPPED,
    amended,
    means,
    parameters,
    people,
    replicas_of,
)
from tests.risk.service_client import GIFT, refusal, request, stub
from tests.support.services import running

NOW = 1_795_000_000_000_000
TODAY = day_of(NOW)
SEED = b"a seed of thirty-two bytes, told"


def begun() -> ReplicaState:
    """A past that knows the seed of the day."""
    past = ReplicaState.begin(SECRET)
    past.seeds[TODAY] = SEED
    return past


def known(rows: Table, now: int = NOW) -> PriorState:
    new = np.ones(rows.rows, np.bool_)
    return PriorState(now, new, new.copy())


def test_without_draws_the_lane_is_what_findings_call_for_and_every_cause_is_told(tmp_path: Path) -> None:
    vague = {"items": [{"description": "Gift"}]}
    rows = table([{}, GIFT, vague, {"consignor": {"name": "Quillan Drasthova"}}])
    answer = assess_batch(means(parameters(tmp_path)), rows, CLEARANCE, known(rows), begun()).table
    assert answer.ints("lane").tolist() == [
        common_pb2.LANE_GREEN,
        common_pb2.LANE_YELLOW,
        common_pb2.LANE_BLUE,
        common_pb2.LANE_RED,
    ]
    assert answer.ints("selection_cause").tolist() == [
        common_pb2.SELECTION_CAUSE_UNSPECIFIED,
        common_pb2.SELECTION_CAUSE_RULE,
        common_pb2.SELECTION_CAUSE_SCORE,
        common_pb2.SELECTION_CAUSE_RULE,
    ]
    assert answer.strings("selection_reason").tolist() == ["", "", "SCORE_HIGH", ""]
    assert answer.ints("chance_ppm").tolist() == [None] * 4, "nothing was drawn"
    assert not answer.ints("model_score_ppm").valid.any()


def test_draws_are_proved_by_the_seed_and_the_same_in_any_batch(tmp_path: Path) -> None:
    selection = parameters(tmp_path, red=EXPECTS_A_QUARTER)
    past, rows = begun(), people(400)
    answer = assess_batch(means(selection), rows, CLEARANCE, known(rows), past).table
    red = answer.ints("lane").values == common_pb2.LANE_RED
    assert 60 < red.sum() < 140
    assert set(answer.strings("selection_reason").values()[red]) == {"SELECTED_AT_RANDOM"}
    assert set(answer.ints("chance_ppm").values[red].tolist()) == {250_000}
    assert set(answer.strings("seed_commitment").tolist()) == {commitment(SEED)}
    share = shares(draws({TODAY: SEED}, np.full(400, TODAY), rows.strings("mrn").tolist()))
    assert (share[:, Draw.MINIMUM_RED] < 0.25).tolist() == red.tolist()
    halves = [rows.take(np.arange(0, 400, 2)), rows.take(np.arange(1, 400, 2))]
    apart = [assess_batch(means(selection), half, CLEARANCE, known(half), past).table for half in halves]
    assert [(each.ints("lane").values == common_pb2.LANE_RED).tolist() for each in apart] == [
        red[0::2].tolist(),
        red[1::2].tolist(),
    ]


def test_an_office_without_parameters_of_its_own_shares_those_of_all_others(tmp_path: Path) -> None:
    rows = people(3, change={"presentation_office": "DE009999"})
    chosen = assess_batch(means(parameters(tmp_path)), rows, CLEARANCE, known(rows), begun()).chosen
    assert chosen is not None
    assert chosen.assessed.offices.tolist() == ["*"] * 3


def test_an_answer_tells_the_rule_the_office_and_after_how_many_days_yellow_becomes_blue(tmp_path: Path) -> None:
    own = "    yellow_to_blue_days: 10\n    green_delay_minutes: 20\n"
    selection = parameters(tmp_path, office=own)
    offices = {("DE003302", "import"): replaced(selection, "DE003302")}
    selection = replace(selection, offices={**selection.offices, **offices})
    rows = table([{}, GIFT, GIFT | {"presentation_office": "DE003302"}])
    answer = assess_batch(means(selection), rows, CLEARANCE, known(rows), begun()).table
    rule = answer.child("findings").strings("rule")[0]
    assert answer.strings("selection_rule").tolist() == ["", rule, rule]
    assert answer.strings("office").tolist() == ["", "", "DE003302"]
    assert answer.ints("yellow_to_blue_days").tolist() == [None, 10, 10]
    assert answer.ints("green_delay_minutes").tolist() == [20, 0, 0]
    assert answer.strings("seed_commitment").tolist() == [""] * 3
    assert answer.ints("trusted_discount_ppm").tolist() == [None] * 3


def replaced(selection: Parameters, office: str) -> Any:
    return msgspec.structs.replace(selection.for_office("*", "import"), office=office)


def test_what_parameters_of_earlier_releases_trust_has_no_effect(tmp_path: Path) -> None:
    entry = "{identifier: DE1234567, authorisation: AEO 17/2026, valid_from: 2026-01-01}"
    selection = parameters(tmp_path, f"trusted: [{entry}]\n", office="    trusted_discount_ppm: 500000\n")
    named = {"declarant": {"name": "Broker", "identifier": "DE1234567"}, "carrier_identifier": "DE1234567"}
    rows = table([{}, named])
    answer = assess_batch(means(selection), rows, CLEARANCE, known(rows), begun()).table
    assert answer.ints("trusted_discount_ppm").tolist() == [None, None]


@pytest.mark.parametrize(("last", "discount"), [(-1, None), (0, 500_000), (1, 500_000)])
def test_a_filer_that_the_register_trusts_has_its_discount_to_its_last_day(
    tmp_path: Path, last: int, discount: int | None
) -> None:
    selection = parameters(tmp_path, office="    trusted_discount_ppm: 500000\n")
    rows = table([{}, {}])
    until = Ints.of([0, parse_day("2026-11-18") + last], np.array([False, True]))
    rows = rows.with_columns({"filer_trusted_until": until})
    answer = assess_batch(means(selection), rows, CLEARANCE, known(rows), begun()).table
    assert answer.ints("trusted_discount_ppm").tolist() == [None, discount]


def test_thresholds_are_those_of_the_profile_unless_the_office_has_its_own(tmp_path: Path) -> None:
    rows = table([{"items": [{"description": "Gift"}]}])

    def lane(selection: Parameters) -> int | None:
        return assess_batch(means(selection), rows, CLEARANCE, known(rows), begun()).table.ints("lane")[0]

    score = assess_batch(means(parameters(tmp_path)), rows, CLEARANCE, known(rows), begun()).table.ints("score")[0]
    assert score is not None
    thresholds = in_force().rules.thresholds
    assert thresholds.blue <= score < thresholds.yellow
    assert lane(parameters(tmp_path)) == common_pb2.LANE_BLUE
    own = f"    score: {{red: 999, yellow: {score}, blue: 1}}\n"
    assert lane(parameters(tmp_path, office=own)) == common_pb2.LANE_YELLOW


async def test_the_log_carries_what_was_selected_to_every_replica_once(database: Database, tmp_path: Path) -> None:
    replicas = await replicas_of(database, tmp_path, parameters(tmp_path))
    # What was looked at before loading counts when it is cleared; a repeat and an amendment do not count again.
    await replicas[0].assess(people(5), LOADING)
    await replicas[0].assess(people(5))
    await replicas[0].assess(people(8))
    await replicas[0].assess(amended(people(2)))
    now = await database.now()
    for replica in replicas:
        await replica.memory.follow()
        rates = (await replica.memory.replica_state()).tally.rates("* import", now + MICROS_PER_HOUR)
        assert rates.total == 8
        assert rates.lanes.tolist() == [0, 8, 0, 0, 0]
        await replica.memory.snapshot()
    again = LogFollower(replicas[0].store, tmp_path / "two", secret=SECRET)
    await again.follow()
    assert (await again.replica_state()).tally.rates("* import", now + MICROS_PER_HOUR).total == 8


async def test_two_calls_at_once_that_both_take_a_consignment_for_new_count_it_and_its_hits_once(
    database: Database, tmp_path: Path
) -> None:
    gifts = table([GIFT] * 6)
    rule = assess_batch(in_force(), gifts, CLEARANCE).table.child("findings").strings("rule")[0]
    hits = f"    hits_without_selection: {{{rule}: 1000}}\n"
    replicas = await replicas_of(database, tmp_path, parameters(tmp_path, office=hits))
    seen = await asyncio.gather(*(replica.store.prior_state(gifts) for replica in replicas))
    assert all(each.new_at_clearance.all() for each in seen)
    # The calls share four consignments, and each has one for itself.
    parts = [gifts.take(np.arange(5)), gifts.take(np.arange(1, 6))]
    known_parts = [PriorState(each.now, each.new[:5], each.new_at_clearance[:5]) for each in seen]
    answers = await asyncio.gather(
        *(replica.assess(part, known=known) for replica, part, known in zip(replicas, parts, known_parts, strict=True))
    )
    assert answers[0].ints("lane").tolist()[1:] == answers[1].ints("lane").tolist()[:4]
    now = await database.now()
    for replica in replicas:
        await replica.memory.follow()
        tally = (await replica.memory.replica_state()).tally
        assert tally.rates("* import", now + MICROS_PER_HOUR).total == 6
        assert tally.matches(f"* import {rule}", now) == 6


def test_a_call_that_names_a_consignment_twice_draws_its_first_version_alone(tmp_path: Path) -> None:
    selection = parameters(tmp_path, yellow=EXPECTS_A_QUARTER)
    first, vague = people(60), people(60, change={"items": [{"description": "Gift"}]})
    both = Table.concat([amended(vague), first])
    answer = assess_batch(means(selection), both, CLEARANCE, known(both), begun()).table
    lanes, causes = answer.ints("lane").values, answer.ints("selection_cause").values
    drawn = causes[60:] == Cause.MINIMUM
    assert 5 < drawn.sum() < 30
    assert lanes[:60].tolist() == np.where(drawn, common_pb2.LANE_YELLOW, common_pb2.LANE_BLUE).tolist()
    assert (causes[:60] == causes[60:])[drawn].all()


async def test_an_amendment_does_not_undo_a_draw_though_rates_fall_and_its_rules_change(
    database: Database, tmp_path: Path
) -> None:
    first, second = await replicas_of(database, tmp_path, parameters(tmp_path, yellow=EXPECTS_A_QUARTER))
    rows = people(200)
    before = await first.assess(rows)
    drawn = before.ints("selection_cause").values == Cause.MINIMUM
    assert 25 < drawn.sum() < 80
    # Another replica, by whose parameters nothing is drawn any more; what is amended calls for blue.
    second.selection = parameters(tmp_path)
    vague = people(200, change={"items": [{"description": "Gift"}]})
    after = await second.assess(amended(vague))
    expected = np.where(drawn, common_pb2.LANE_YELLOW, common_pb2.LANE_BLUE)
    assert after.ints("lane").tolist() == expected.tolist()
    assert (after.ints("selection_cause").values[drawn] == Cause.MINIMUM).all()
    assert set(after.ints("chance_ppm").values[drawn].tolist()) == {250_000}
    # So does the chance of all stages; where the amended data call for blue anyway, every such consignment is selected.
    assert set(before.ints("inclusion_ppm").values[drawn].tolist()) == {250_000}
    assert set(after.ints("inclusion_ppm").tolist()) == {1_000_000}
    # The draw that stays can still be proved, though it was made long ago by other parameters.
    seed = (await second.seeds.present())[1]
    assert set(after.strings("seed_commitment").values()[drawn]) == {commitment(seed)}
    # And once more: the draw of the first version stays for the third; a rule that calls for more is heard.
    third = await second.assess(amended(people(200, change={"consignor": {"name": "Quillan Drasthova"}}), 3))
    assert set(third.ints("lane").tolist()) == {common_pb2.LANE_RED}


async def test_seeds_are_made_ahead_once_by_all_replicas_and_go_when_no_answer_refers_to_them(
    database: Database,
) -> None:
    today = day_of(await database.now())
    async with database.transaction() as tx:
        await tx.raw.execute(
            "insert into draw_seed (period, seed) values ($1, $2), ($3, $2)", today - 402, SEED, today - 401
        )
    await asyncio.gather(*(maintain_seeds(database) for _ in range(4)))
    one, other = Seeds(database), Seeds(database)
    days = range(today - 1, today + DAYS_AHEAD + 1)
    # A day that nobody made a seed for ahead gets one, the same for all that ask at once.
    held = await asyncio.gather(one.ensure(days), other.ensure(days), one.present())
    assert held[0] == held[1]
    assert held[2] == (today, held[0][today])
    assert len(set(held[0].values())) == len(days)
    assert {len(each) for each in held[0].values()} == {32}
    told = await one.store.page(2**31 - 1, 100)
    assert [each.day for each in told] == [*reversed(days), today - 401]
    assert [each.seed for each in told[:-1]] == [held[0][day] for day in reversed(days)]


async def test_seeds_are_told_when_their_days_are_long_past_and_commitments_before(
    database: Database, database_url: str
) -> None:
    async with running("risk", assemble, database_url, environ={"LUXOR_RISK_SEEDS_PUBLISHED_AFTER_DAYS": "3"}) as risk:
        today = day_of(await database.now())
        await Seeds(database).ensure(range(today - 6, today + DAYS_AHEAD + 1))
        analyst = await stub(risk, "analyst", "a")
        found, token = [], ""
        for _ in range(3):
            page = await analyst.ListSeeds(pb.ListSeedsRequest(page_size=5, page_token=token), timeout=10)
            found += page.seeds
            token = page.next_page_token
        assert token == ""
        present = await analyst.GetRuleSet(pb.GetRuleSetRequest(), timeout=10)
        for role in ("officer", "operator"):
            assert (await (await stub(risk, role, "x")).ListSeeds(pb.ListSeedsRequest(), timeout=10)).seeds == found
        denied = await refusal((await stub(risk, "filer", "f")).ListSeeds(pb.ListSeedsRequest(), timeout=10))
        assert denied[0] is grpc.StatusCode.PERMISSION_DENIED
        malformed = await refusal(analyst.ListSeeds(pb.ListSeedsRequest(page_token="-1"), timeout=10))
        assert malformed[1:] == ("PAGE_TOKEN_MALFORMED", "page_token")
    assert [parse_day(each.day) for each in found] == [*reversed(range(today - 6, today + DAYS_AHEAD + 1))]
    for each in found:
        day = parse_day(each.day)
        assert bool(each.seed) == (day <= today - 4), day - today
        assert parse_day(each.published_from_day) == day + 4
        assert each.made_at.seconds > 0
        if each.seed:
            assert each.commitment == hashlib.sha256(b"luxor selection seed" + each.seed).hexdigest()
    assert present.seed_commitment == next(each.commitment for each in found if each.day == day_text(today))


async def test_before_loading_a_recommendation_is_told_and_nothing_is_drawn(database_url: str) -> None:
    async with running("risk", assemble, database_url) as risk:
        rows = table([{}, {"items": [{"description": "Gift"}]}, {"consignor": {"name": "Quillan Drasthova"}}])
        caller = await stub(risk)
        answer = Table.decode((await caller.AssessConsignments(request(rows, LOADING), timeout=10)).assessments)
        assert answer.ints("referral").tolist() == [
            pb.REFERRAL_UNSPECIFIED,
            pb.REFERRAL_INFORMATION,
            pb.REFERRAL_SCREENING,
        ]
        assert answer.strings("referral_reason").tolist() == ["", "DESCRIPTION_TOO_VAGUE", "PARTY_LISTED"]
        confidential = answer.bools("referral_confidential")
        assert confidential.valid.tolist() == [False, True, True]
        assert confidential.values.tolist() == [False, False, True]
        assert not answer.ints("selection_cause").valid.any()
        again = Table.decode((await caller.AssessConsignments(request(rows, LOADING), timeout=10)).assessments)
        assert again.strings("referral_reason").tolist() == answer.strings("referral_reason").tolist()


async def test_a_consignment_is_drawn_by_the_seed_of_its_day_and_every_version_is_named(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    parameters(tmp_path, red=EXPECTS_A_QUARTER)
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE.read_text().replace("selection: data/selection.yaml", "selection: selection.yaml"))
    (tmp_path / "data").symlink_to(PROFILE.parent / "data")
    environ = {"LUXOR_RISK_PROFILE": str(profile)}
    async with running("risk", assemble, database_url, environ=environ) as risk:
        analyst = await stub(risk, "analyst", "a")
        seeds = {
            parse_day(each.day): each.commitment
            for each in (await analyst.ListSeeds(pb.ListSeedsRequest(), timeout=10)).seeds
        }
        today = day_of(await database.now())
        days = [today, today - 1, today - 20]
        mrns = [mrn for day in days for mrn in make_mrns(["DE"] * 30, [0] * 30, day, 0)]
        rows = people(90).with_columns({"mrn": Strings.of(mrns)})
        caller = await stub(risk)
        answer = Table.decode((await caller.AssessConsignments(request(rows), timeout=10)).assessments)
        again = Table.decode((await caller.AssessConsignments(request(amended(rows)), timeout=10)).assessments)
        told = await analyst.GetRuleSet(pb.GetRuleSetRequest(), timeout=10)
        after = {
            parse_day(each.day): each.commitment
            for each in (await analyst.ListSeeds(pb.ListSeedsRequest(), timeout=10)).seeds
        }
    # The present day's and the week ahead's were told before; those of days that had none were made when they were needed.
    assert set(range(today, today + DAYS_AHEAD + 1)) <= set(seeds)
    assert {day: after[day] for day in seeds} == seeds
    assert answer.strings("seed_commitment").tolist() == [after[day] for day in days for _ in range(30)]
    assert again.strings("seed_commitment").tolist() == answer.strings("seed_commitment").tolist()
    assert again.ints("lane").tolist() == answer.ints("lane").tolist()
    assert common_pb2.LANE_RED in answer.ints("lane").tolist()
    named = [answer.strings(name)[0] for name in ("rule_set", "lists", "controls", "selection")]
    assert named == [told.rule_set.version, " ".join(told.lists), told.controls, told.selection]
    assert all(named)


async def test_as_shipped_nothing_is_drawn_and_the_lane_is_what_the_profile_calls_for(database_url: str) -> None:
    shipped = load_parameters(SHIPPED)
    assert not shipped.draws
    async with running("risk", assemble, database_url) as risk:
        rows = people(300)
        first = Table.decode((await (await stub(risk)).AssessConsignments(request(rows), timeout=20)).assessments)
    assert first.strings("selection").dictionary == [shipped.version]
    assert set(first.ints("lane").tolist()) == {common_pb2.LANE_GREEN}
    assert not first.strings("seed_commitment").present.any()
