"""What the memory of the log does when something is wrong: another store, another secret, rows and files that cannot be used."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from libs.columns.packing import pack
from libs.server.config.server_config import ConfigError
from libs.server.errors import Refusal
from libs.store.database import Database
from libs.telemetry.metrics import REGISTRY
from services.risk.api.assessment import RiskService
from services.risk.assessment.assessment import assess_batch
from services.risk.assessment.prior_state import derived_key
from services.risk.commands.assess import Assess
from services.risk.commands.follow_log import SNAPSHOT, LogFollower
from services.risk.commands.make_seeds import Seeds
from services.risk.history import Hasher, Outcomes
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.data_dir import history_file as memory_file
from tests.risk.active_versions import in_force
from tests.risk.aged import age_log
from tests.risk.replicas import CLEARANCE, LOADING, SECRET, Replica, parcels
from tests.risk.service_client import request

OTHER = b"another secret of tests"


def value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def execute(database: Database, statement: str, *arguments: object) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute(statement, *arguments)


def restarted(store: AssessmentLogStore, tmp_path: Path, **settings: Any) -> Replica:
    return Replica(store, tmp_path / "one", secret=SECRET, **settings)


async def test_nothing_is_assessed_before_the_log_was_read(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    await replica.assess(parcels(3))
    again = LogFollower(store, tmp_path / "two", secret=SECRET)
    with pytest.raises(Refusal) as refused:
        await again.replica_state()
    assert (refused.value.reason, refused.value.code.name) == ("HISTORY_NOT_READ", "UNAVAILABLE")
    assert refused.value.retry_after_seconds
    assert "history" in again.missing()[0]
    # Keys can be made before: whoever takes in outcomes need not wait.
    assert (await again.hasher()).mark == Hasher(derived_key(SECRET, b"history")).mark
    await again.follow()
    assert again.missing() == ()
    assert (await again.replica_state()).history.newest > 0


async def test_a_long_log_lets_others_have_their_turn(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        await replica.assess(parcels(1, number))
    again = restarted(store, tmp_path)
    applied: list[int] = []
    turns: list[int] = []
    original = again.memory.apply

    def counted(*arguments: Any) -> None:
        applied.append(len(turns))
        original(*arguments)

    monkeypatch.setattr(again.memory, "apply", counted)
    reading = asyncio.create_task(again.memory.follow())
    while not reading.done():
        turns.append(1)
        await asyncio.sleep(0)
    await reading
    assert len(applied) == 12
    assert len(set(applied)) == 12, "two rows were applied within one turn of the loop"


async def test_a_store_that_was_set_back_is_read_anew_though_its_numbers_are_given_again(
    replica: Replica,
    store: AssessmentLogStore,
    database: Database,
    tmp_path: Path,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    rebuilt = value("luxor_risk_history_rebuilt_total")
    # The row is lost; another transaction got its number.
    other = Replica(store, tmp_path / "other", secret=SECRET)
    await other.memory.follow()
    known = await store.prior_state(rows := parcels(1, 50))
    packed = assess_batch(in_force(), rows, CLEARANCE, known, await other.memory.replica_state()).pack(np.arange(1))
    await execute(database, "update assessed set stamp = gen_random_uuid(), record = $1, count = 1", packed[1])
    await replica.assess(parcels(2, 20))
    await replica.memory.follow()
    # Within the second in which the place is not looked at nothing more is read; then all is.
    replica.memory.log_state = None
    await replica.memory.follow()
    assert value("luxor_risk_history_rebuilt_total") == rebuilt + 1
    assert await replica.counts(parcels(1, 40)) == [4]
    # And the snapshot is of the log that is gone.
    again = restarted(store, tmp_path)
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [4]


async def test_while_another_log_is_read_nothing_is_assessed(
    replica: Replica,
    store: AssessmentLogStore,
    database: Database,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await execute(database, "update assessed set stamp = gen_random_uuid()")
    replica.memory.log_state = None
    original = store.read_log
    refused: list[str] = []

    async def looking(*arguments: Any, **more: Any) -> Any:
        try:
            await replica.memory.replica_state()
        except Refusal as error:
            refused.append(error.reason)
        return await original(*arguments, **more)

    store.read_log = looking  # type: ignore[method-assign]
    await replica.memory.follow()
    assert refused == ["HISTORY_NOT_READ"]
    assert await replica.counts(parcels(1, 40)) == [4]


async def test_a_batch_under_way_while_history_is_begun_anew_is_refused(
    replica: Replica, store: AssessmentLogStore, database: Database
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    original = store.prior_state

    async def meanwhile(*arguments: Any, **more: Any) -> Any:
        known = await original(*arguments, **more)
        replica.memory.restart("a test says so")
        return known

    store.prior_state = meanwhile  # type: ignore[method-assign]
    other: Any = None
    seeds = Seeds(database)
    command = Assess(store, replica.memory, in_force, seeds)
    service = RiskService(command, store, in_force, seeds, other, seeds_published_after_days=1)
    with pytest.raises(Refusal) as refused:
        await service.AssessConsignments(request(parcels(1, 40), LOADING), other)
    assert refused.value.reason == "HISTORY_NOT_READ"
    store.prior_state = original  # type: ignore[method-assign]
    await replica.memory.follow()
    assert (await store.prior_state(parcels(1, 40))).new.tolist() == [True], "nothing was settled"
    assert await replica.counts(parcels(1, 60)) == [4]


async def test_a_batch_that_the_store_lost_after_its_commit_is_not_counted_for_ever(
    replica: Replica,
    store: AssessmentLogStore,
    database: Database,
    tmp_path: Path,
) -> None:
    await replica.assess(parcels(3))
    await execute(database, "delete from assessed")
    assert await replica.counts(parcels(1, 40)) == [4]
    other = Replica(store, tmp_path / "two", secret=SECRET)
    await other.memory.follow()
    await other.assess(parcels(1, 20))
    await replica.memory.follow()
    with pytest.raises(Refusal):
        await replica.memory.replica_state()
    await replica.memory.follow()
    assert await replica.counts(parcels(1, 40)) == [2]


async def test_a_replica_with_another_secret_does_not_begin(
    replica: Replica, store: AssessmentLogStore, tmp_path: Path
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    wrong = Replica(store, tmp_path / "one", secret=OTHER)
    mark = f"{(await replica.memory.hasher()).mark:016x}"
    with pytest.raises(ConfigError, match=f"LUXOR_RISK_SECRET_FILE.*LUXOR_RISK_SECRET_REPLACES={mark}"):
        await wrong.memory.follow()
    with pytest.raises(Refusal):
        await wrong.memory.replica_state()
    # The same where the newest row holds outcomes.
    hasher = await replica.memory.hasher()
    outcomes = Outcomes.build(hasher, np.ones((5, 1), np.uint64), [1], [1_000])
    async with store.database.transaction() as tx:
        await store.append_outcomes(tx, outcomes.to_bytes())
    with pytest.raises(ConfigError, match=mark):
        await wrong.memory.follow()


async def test_a_secret_that_was_replaced_on_purpose_begins_anew_and_knows_nothing_of_before(
    replica: Replica,
    store: AssessmentLogStore,
    tmp_path: Path,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    mark = f"{(await replica.memory.hasher()).mark:016x}"
    foreign = value("luxor_risk_history_foreign_total")
    changed = Replica(store, tmp_path / "two", secret=OTHER, replaces=mark)
    await changed.memory.follow()
    assert value("luxor_risk_history_foreign_total") == foreign + 1
    # The log is old enough, but what can be read of it begins behind the row of the former secret.
    assert await changed.counts(parcels(1, 40)) == [None]
    await changed.memory.snapshot()
    again = Replica(store, tmp_path / "two", secret=OTHER, replaces=mark)
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [None]


def _garbage(replica_record: bytes) -> dict[str, bytes]:
    arrays = {"counted": np.ones(2, bool), "value": np.ones(3, np.int64)}
    head = msgspec.json.encode({"facts": {}, "arrays": [["x", "<q9", [3]]]})
    return {
        "nothing like it": b"garbage",
        "cut": replica_record[:-5],
        "columns lack": pack({"record": 1, "time": 5, "mark": "0" * 16}, arrays),
        "no number": pack({"record": 1, "time": "now", "mark": "x"}, arrays),
        "not UTF-8": b"LXRH" + len(head).to_bytes(4, "little") + head[::-1] + b"\xff" * 8,
    }


@pytest.mark.parametrize("kind", list(_garbage(b"")))
async def test_a_row_that_cannot_be_read_is_set_aside_and_counted(
    replica: Replica,
    store: AssessmentLogStore,
    database: Database,
    tmp_path: Path,
    kind: str,
) -> None:
    await replica.assess(parcels(3))
    async with database.connection() as reader:
        whole = await reader.raw.fetchval("select record from assessed")
    await execute(database, "update assessed set record = $1", _garbage(whole)[kind])
    await replica.assess(parcels(2, 20))
    unreadable = value("luxor_risk_history_unreadable_total")
    again = Replica(store, tmp_path / "two", secret=SECRET)
    await again.memory.follow()
    assert value("luxor_risk_history_unreadable_total") == unreadable + 1
    assert await again.counts(parcels(1, 40)) == [3]


async def test_an_answer_goes_out_though_history_cannot_take_it_in(
    replica: Replica,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    past = await replica.memory.replica_state()

    def broken(*_: Any, **__: Any) -> int:
        raise ValueError("a batch does not fit")

    monkeypatch.setattr(past.history, "apply", broken)
    unreadable = value("luxor_risk_history_unreadable_total")
    answer = await replica.assess(parcels(2))
    assert answer.rows == 2
    assert value("luxor_risk_history_unreadable_total") == unreadable + 1


async def test_a_snapshot_is_for_its_owner_alone_and_nothing_half_written_stays(
    replica: Replica,
    store: AssessmentLogStore,
    tmp_path: Path,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    path = tmp_path / "one" / SNAPSHOT
    assert path.stat().st_mode & 0o777 == 0o600
    left = path.with_name(f"{SNAPSHOT}.12345")
    left.write_bytes(b"half a snapshot")
    again = restarted(store, tmp_path)
    await again.memory.follow()
    assert [each.name for each in path.parent.iterdir()] == [SNAPSHOT]


async def test_a_snapshot_that_cannot_be_written_leaves_the_older_one_and_no_part_of_itself(
    replica: Replica,
    store: AssessmentLogStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.memory.snapshot()
    before = (tmp_path / "one" / SNAPSHOT).read_bytes()
    await replica.assess(parcels(2, 20))
    await replica.memory.follow()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory_file, "write_complete", full)
    await replica.memory.snapshot()
    assert [each.name for each in (tmp_path / "one").iterdir()] == [SNAPSHOT]
    assert (tmp_path / "one" / SNAPSHOT).read_bytes() == before
    monkeypatch.undo()
    # The next one is written: nothing of the failed one is in its way.
    await replica.memory.snapshot()
    again = restarted(store, tmp_path)
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [6]


async def test_what_comes_while_a_snapshot_is_written_is_read_from_the_log_after_a_restart(
    replica: Replica,
    store: AssessmentLogStore,
    tmp_path: Path,
) -> None:
    await replica.assess(parcels(3))
    await replica.memory.follow()
    await replica.assess(parcels(1, 10))  # ahead of the log when the snapshot begins
    begun = await replica.memory.take_snapshot()
    await replica.assess(parcels(2, 20))
    await replica.memory.follow()
    await replica.memory.write_snapshot(begun)
    assert await replica.counts(parcels(1, 40)) == [7]
    again = restarted(store, tmp_path)
    await again.memory.follow()
    assert await again.counts(parcels(1, 40)) == [7]
    tallies = [(await each.memory.replica_state()).tally.snapshot() for each in (replica, again)]
    assert tallies[0] == tallies[1]


@pytest.mark.parametrize(
    ("days", "known"),
    [
        (0, set()),
        (1, {"consignee_count_1h"}),
        (2, {"consignee_count_1h", "consignee_count_24h"}),
        (
            31,
            {
                "consignee_count_1h",
                "consignee_count_24h",
                "consignee_count_30d",
                "consignee_known_days",
                "consignee_inspected",
            },
        ),
    ],
)
async def test_a_window_is_known_once_the_log_is_as_old(
    database: Database, tmp_path: Path, days: int, known: set[str]
) -> None:
    await age_log(database, days)
    if days == 1:
        await execute(database, "update assessed_epoch set begun_at = begun_at + interval '90 minutes'")
    young = Replica(AssessmentLogStore(database), tmp_path, secret=SECRET)
    await young.memory.follow()
    names = ("count_1h", "count_24h", "count_30d", "known_days", "inspected")
    told = {f"consignee_{name}" for name in names if await young.told(parcels(1), f"consignee_{name}") != [None]}
    assert told == known
