"""The proof of a draw by whoever has the seed: repeated by a hash function alone, and by the command line against a server."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from libs.cli.local.state import SERVICES
from libs.cli.main import luxor
from libs.client.risk import draws as told_draws
from libs.client.risk.draws import draws_of, proof
from libs.columns import Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import day_of, day_text, start_of
from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.risk.v1.risk_pb2 import DrawSeed
from services.risk.__main__ import assemble
from services.risk.selection import DRAWS, commitment, draws, shares
from tests.risk.filings import PROFILE
from tests.risk.selection_replicas import EXPECTS_A_QUARTER, parameters, people
from tests.risk.service_client import request, stub
from tests.support.services import running

DAY = 20_782
SEED = b"a seed of thirty-two bytes, told"


def seed_of(day: int = DAY, seed: bytes = SEED, told: bool = True) -> dict[str, DrawSeed]:
    made = Timestamp()
    made.FromMicroseconds(start_of(day) - 7)
    published = commitment(seed)
    return {
        published: DrawSeed(
            day=day_text(day),
            commitment=published,
            made_at=made,
            seed=seed if told else b"",
            published_from_day=day_text(day + 91),
        )
    }


def answer(lane: str, cause: str, chance_ppm: int, **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "lane": f"LANE_{lane}",
        "selection_cause": f"SELECTION_CAUSE_{cause}",
        "chance_ppm": chance_ppm,
        "seed_commitment": commitment(SEED),
    } | more


def test_who_repeats_a_draw_by_a_hash_alone_gets_what_risk_drew() -> None:
    for _ in range(50):
        seed, mrn = secrets.token_bytes(32), secrets.token_hex(9).upper()
        repeated = draws_of(seed, mrn)
        expected = shares(draws({DAY: seed}, np.array([DAY]), [mrn]))[0]
        assert repeated == {(cause.name, lane.name): float(expected[draw]) for (cause, lane), draw in DRAWS.items()}


def test_a_draw_below_its_chance_is_proved_and_one_that_is_not_is_refuted() -> None:
    [mrn] = make_mrns(["DE"], [3], DAY, 17)
    share = draws_of(SEED, mrn)["EXPECTED", "YELLOW"]
    above, below = int(share * 1_000_000) + 1, int(share * 1_000_000)
    good = proof(mrn, answer("YELLOW", "EXPECTED", above), seed_of())
    assert (good["verdict"], good["draw"], good["made_before_its_day"]) == ("PROVED", share, True)
    assert good["day"] == day_text(DAY)
    bad = proof(mrn, answer("YELLOW", "EXPECTED", below), seed_of())
    assert (bad["verdict"], bad["why"]) == ("REFUTED", "the draw is not below the chance")


def test_a_seed_of_another_day_or_another_content_refutes() -> None:
    [mrn] = make_mrns(["DE"], [3], DAY, 17)
    elsewhere = proof(mrn, answer("RED", "MINIMUM", 1_000_000), seed_of(day=DAY + 1))
    assert elsewhere["verdict"] == "REFUTED"
    assert day_text(DAY) in elsewhere["why"]
    published = commitment(SEED)
    swapped = {published: DrawSeed(day=day_text(DAY), commitment=published, seed=SEED[::-1])}
    assert proof(mrn, answer("RED", "MINIMUM", 1_000_000), swapped)["verdict"] == "REFUTED"


@pytest.mark.parametrize(
    ("given", "told", "verdict"),
    [
        (answer("RED", "RULE", 1_000_000), seed_of(), "NOT_DRAWN"),
        ({"version": 2, "lane": "LANE_GREEN", "seed_commitment": commitment(SEED)}, seed_of(), "NOT_DRAWN"),
        ({"version": 2, "lane": "LANE_GREEN"}, seed_of(), "NOTHING_DRAWN"),
        (answer("RED", "MINIMUM", 5), seed_of(told=False), "SEED_NOT_PUBLISHED"),
        (answer("RED", "MINIMUM", 5), {}, "SEED_UNKNOWN"),
        (answer("RED", "MINIMUM", 5, seed_commitment=""), seed_of(), "SEED_UNKNOWN"),
    ],
)
def test_what_cannot_be_proved_is_told_apart(given: dict[str, Any], told: dict[str, DrawSeed], verdict: str) -> None:
    [mrn] = make_mrns(["DE"], [3], DAY, 17)
    result = proof(mrn, given, told)
    assert result["verdict"] == verdict
    assert ("draws" in result) == (verdict == "NOT_DRAWN")
    assert told_draws.decided([result]) == (verdict in ("NOT_DRAWN", "NOTHING_DRAWN"))


async def test_the_command_line_tells_seeds_and_proves_draws(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    parameters(tmp_path, yellow=EXPECTS_A_QUARTER)
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE.read_text().replace("selection: data/selection.yaml", "selection: selection.yaml"))
    (tmp_path / "data").symlink_to(PROFILE.parent / "data")
    environ = {"LUXOR_RISK_PROFILE": str(profile), "LUXOR_RISK_SEEDS_PUBLISHED_AFTER_DAYS": "3"}
    async with running("risk", assemble, database_url, environ=environ) as risk:
        targets = {f"LUXOR_{each.upper()}_TARGET": risk.target for each in SERVICES}

        async def run(*arguments: str) -> Result:
            runner = CliRunner(env={"LUXOR_DATA_DIR": str(risk.data_dir), "COLUMNS": "160", **targets})
            result = await asyncio.to_thread(runner.invoke, luxor, ["risk", "seeds", *arguments])
            assert "Traceback" not in result.output, result.output
            return result

        today = day_of(await database.now())
        mrns = [mrn for day in (today - 20, today) for mrn in make_mrns(["DE"] * 40, [0] * 40, day, 0)]
        rows = people(80).with_columns({"mrn": Strings.of(mrns)})
        answers = Table.decode((await (await stub(risk)).AssessConsignments(request(rows), timeout=10)).assessments)
        yellow = answers.ints("lane").values == common_pb2.LANE_YELLOW
        old, other, present = (
            mrns[int(np.flatnonzero(mask)[0])]
            for mask in (yellow & (np.arange(80) < 40), ~yellow & (np.arange(80) < 40), yellow & (np.arange(80) >= 40))
        )
        listed = json.loads((await run("--json")).stdout)["seeds"]
        assert {each["day"]: "seed" in each for each in listed}[day_text(today - 20)]
        assert not any("seed" in each for each in listed if each["day"] >= day_text(today))
        assert next(each for each in listed if each["day"] > day_text(today))["made_before_its_day"]
        proved = await run("verify", old, "--json")
        assert proved.exit_code == 0, proved.output
        [result] = json.loads(proved.stdout)["answers"]
        assert (result["verdict"], result["made_before_its_day"]) == ("PROVED", False)
        assert result["draw"] < result["chance_ppm"] / 1_000_000
        assert "proved" in (await run("verify", old)).output
        assert json.loads((await run("verify", other, "--json")).stdout)["answers"][0]["verdict"] == "NOT_DRAWN"
        secret = await run("verify", present)
        assert secret.exit_code == 1
        assert f"published from {day_text(today + 4)} on" in secret.output
        nobody = await run("verify", "26DE999999999999R1")
        assert (nobody.exit_code, "never assessed" in nobody.output) == (1, True)
        people_see = (await run()).output
        assert day_text(today) in people_see
