"""Screening again over a real store: what a changed list hits anew is told once, whoever crashes, lags or competes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import zstandard

from libs.columns import Table
from libs.columns.packing import pack
from libs.customs.partitions import PARTITIONS
from libs.store.database import Database
from libs.store.tables.leases import LeaseLost, try_lease
from libs.telemetry.metrics import REGISTRY
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.risk.assessment.assessment import ActiveVersions, assess_batch
from services.risk.assessment.prior_state import ReplicaState
from services.risk.commands.assess import settle
from services.risk.commands.load_lists import ListLoader
from services.risk.commands.rescreen import LEASE, write_matches
from services.risk.jobs.rescreening import AHEAD_SECONDS, Rescreening, batches_left
from services.risk.screening.matching.list_changes import ChangedEntries
from services.risk.screening.matching.scores import NameMatches
from services.risk.screening.parties import LEVELS, MatchLevels, screened_by
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.screening_matches import ScreeningMatchSnapshot, ScreeningMatchStore, SliceTaken
from tests.risk.active_versions import in_force
from tests.risk.filings import table
from tests.risk.screening.list_files import HEAD, write

CLEARANCE, LOADING = pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING
NAMES = ("Zaphod Beeblebrox", "Arthur Philip Dent", "Tricia McMillan", "Slartibartfast Magrathea", "Agrajag Stavromula")
FENCHURCH, MARVIN = "Fenchurch Rickmansworth", "Marvin Androidovich"


class Crash(Exception):
    """Stands for the end of a process."""


@dataclass
class Desk:
    """A store, a directory of lists, and replicas as a test asks for them."""

    store: AssessmentLogStore
    hits: ScreeningMatchStore
    directory: Path
    past: ReplicaState

    def lists(self) -> ListLoader:
        """The lists of a replica that has just begun."""
        return ListLoader(self.directory)

    def job(self, lists: ListLoader, replica: str = "a", **settings: Any) -> Rescreening:
        return Rescreening(self.hits, replica, lambda: lists.state, days=30, **settings)

    async def assess(
        self, lists: ListLoader, rows: Table, purpose: int = CLEARANCE, levels: MatchLevels = LEVELS
    ) -> Table:
        """Assess a batch as a replica with these lists does."""
        means = ActiveVersions(in_force().rules, lists.index, in_force().controls, match=levels)
        content = rows.encode(ConsignmentColumns).SerializeToString()
        known = await self.store.prior_state(rows)
        assessed = assess_batch(means, rows, purpose, known, self.past, content=content)
        answer, _, _ = await settle(self.store, rows, purpose, assessed.table, assessed)
        return answer

    async def lists_of_batches(self) -> list[str]:
        async with self.hits.database.connection() as reader:
            return [row["lists"] for row in await reader.raw.fetch("select lists from assessed_input order by batch")]

    async def events(self) -> list[Table]:
        """What the feed has announced, batch by batch."""
        async with self.hits.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select payload from batch where exists (select from outbox where seq = batch.id) order by id"
            )
        return [Table.parse(ScreeningColumns, row["payload"]) for row in rows]

    async def told(self) -> list[tuple[str, int, list[tuple[str, str, int | None]]]]:
        """The announced filings in their order: MRN, version, and of each hit the party, the entry and the lane."""
        found = []
        for event in await self.events():
            findings = event.ragged("findings")
            child = event.child("findings")
            each = list(
                zip(
                    child.strings("party").tolist(),
                    child.strings("list_entry").tolist(),
                    child.ints("lane").tolist(),
                    strict=True,
                )
            )
            found += [
                (event.strings("mrn")[row], int(event.ints("filing_version").values[row]), each[findings.span(row)])
                for row in range(event.rows)
            ]
        return found


async def drain(job: Rescreening) -> None:
    async with asyncio.timeout(60):
        while await job.step():
            pass


@pytest_asyncio.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    directory = tmp_path / "lists"
    directory.mkdir()
    write(
        directory / "lists.yaml",
        text="format: 1\ncleared: cleared.yaml\nlists:\n  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n",
    )
    write(directory / "cleared.yaml", text="format: 1\npairs: []\n")
    write(directory / "own.csv", *NAMES)
    store = AssessmentLogStore(database)
    yield Desk(store, ScreeningMatchStore(database), directory, ReplicaState.begin(b"a secret of the tests", None))


def consignees(*names: str, first: int = 0, versions: Sequence[int] | None = None) -> Table:
    return table([{"consignee": {"name": name}} for name in names], first_mrn=first, versions=versions)


def by(lists: ListLoader, levels: MatchLevels = LEVELS) -> str:
    return screened_by(lists.state.versions, levels)


def mrn(number: int) -> str:
    return f"26DE{number:012d}R1"


def counted(name: str, labels: Mapping[str, str] | None = None) -> float:
    return REGISTRY.get_sample_value(name, dict(labels or {})) or 0.0


async def test_a_new_entry_hits_who_was_screened_before_and_the_record_names_the_new_version(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees("Peter Honest", FENCHURCH, NAMES[0]))
    job = desk.job(lists)
    assert await job.step() is False
    before = lists.state.versions
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    hits = counted("luxor_risk_rescreening_hits_total", {"lane": "red"})
    consignments = counted("luxor_risk_rescreened_total")
    await drain(job)
    # Who was hit when it was assessed is not told again.
    assert await desk.told() == [(mrn(1), 1, [("consignee", "5", common_pb2.LANE_RED)])]
    (event,) = await desk.events()
    assert event.strings("lists").tolist() == [lists.state.versions] != [before]
    assert event.ints("match_threshold").tolist() == [870]
    assert event.child("findings").bools("confidential").values.all()
    assert await desk.lists_of_batches() == [by(lists)]
    assert counted("luxor_risk_rescreening_hits_total", {"lane": "red"}) == hits + 1
    assert counted("luxor_risk_rescreened_total") == consignments + 3
    (kept,) = await desk.hits.announced(mrn(1))
    assert kept.mrn.dictionary == [mrn(1)]
    assert await job.step() is False
    assert len(await desk.events()) == 1


async def test_after_a_crash_the_next_replica_goes_on_where_it_was_and_tells_nothing_twice(
    desk: Desk, database: Database
) -> None:
    class Dies(ScreeningMatchStore):
        async def announce(self, tx: Any, told: Any) -> None:
            await super().announce(tx, told)
            if told.event.strings("mrn")[0] == mrn(1):
                raise Crash

    lists = desk.lists()
    for number in range(4):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    dies = Rescreening(Dies(database), "a", lambda: lists.state, days=30, slice_batches=1)
    assert await dies.step()
    with pytest.raises(Crash):
        await dies.step()
    assert [each[0] for each in await desk.told()] == [mrn(0)]
    # Its lease runs out by itself; here time is not waited for.
    async with database.transaction() as tx:
        await tx.raw.execute("update job_lease set lease_until = clock_timestamp() where name = 'rescreening'")
    # The next one has only what it reads at its start: it screens against the whole list.
    await drain(desk.job(desk.lists(), "b", slice_batches=1))
    assert [each[0] for each in await desk.told()] == [mrn(number) for number in range(4)]
    assert set(await desk.lists_of_batches()) == {by(lists)}


async def test_what_a_replica_assesses_that_lags_is_screened_again_by_who_does_not(desk: Desk) -> None:
    lists, lagging = desk.lists(), desk.lists()
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    job = desk.job(lists)
    await drain(job)
    await desk.assess(lagging, consignees(FENCHURCH))
    await desk.assess(lists, consignees(FENCHURCH, first=1))
    await drain(job)
    assert await desk.told() == [(mrn(0), 1, [("consignee", "5", common_pb2.LANE_RED)])]


async def test_only_the_newest_version_of_a_filing_is_told(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH, "Peter Honest"))
    await desk.assess(lists, consignees("Peter Honest", FENCHURCH, versions=[2, 2]))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    assert await desk.told() == [(mrn(1), 2, [("consignee", "5", common_pb2.LANE_RED)])]


async def test_each_change_tells_all_that_the_answer_lacks_and_only_when_there_is_something_new(desk: Desk) -> None:
    lists = desk.lists()
    parties = {"consignee": {"name": FENCHURCH}, "consignor": {"name": MARVIN}, "seller": {"name": NAMES[0]}}
    await desk.assess(lists, table([parties]))
    job = desk.job(lists)
    for names in ((*NAMES, FENCHURCH), NAMES, (*NAMES, FENCHURCH), (*NAMES, FENCHURCH, MARVIN), (*NAMES, FENCHURCH)):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
        assert await desk.lists_of_batches() == [by(lists)]
    first, second = ("consignee", "5", common_pb2.LANE_RED), ("consignor", "6", common_pb2.LANE_RED)
    assert await desk.told() == [(mrn(0), 1, [first]), (mrn(0), 1, [second, first])]
    moments = [int(event.ints("screened_at").values[0]) for event in await desk.events()]
    assert moments[0] < moments[1]


async def test_a_hit_that_becomes_stronger_is_told_and_one_that_was_answered_is_not(desk: Desk) -> None:
    lists = desk.lists()
    weak = f"7,person,Somebody Other,,{FENCHURCH},,\n"
    rows = HEAD + "".join(f"{number},person,{name},,,,\n" for number, name in enumerate(NAMES))
    write(desk.directory / "own.csv", text=rows + weak)
    lists.look()
    answer = await desk.assess(lists, consignees(FENCHURCH))
    assert answer.ints("lane").tolist() == [common_pb2.LANE_YELLOW]
    job = desk.job(lists)
    # The entry changes, and what it is hit by does not.
    write(desk.directory / "own.csv", text=rows + weak.replace("Other", "Quite Different"))
    lists.look()
    await drain(job)
    assert await desk.told() == []
    write(desk.directory / "own.csv", text=rows + f"7,person,{FENCHURCH},,,,\n")
    lists.look()
    await drain(job)
    assert await desk.told() == [(mrn(0), 1, [("consignee", "7", common_pb2.LANE_RED)])]


async def test_two_replicas_tell_each_filing_once(desk: Desk) -> None:
    lists = desk.lists()
    for number in range(6):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    one, other = (desk.job(lists, name, slice_batches=1) for name in ("a", "b"))
    assert await one.step()
    # Who has no lease does nothing.
    assert await other.step() is False

    async def work(job: Rescreening) -> None:
        with suppress(SliceTaken, LeaseLost):
            await drain(job)

    await asyncio.gather(work(one), work(other))
    await drain(one)
    assert sorted(each[0] for each in await desk.told()) == [mrn(number) for number in range(6)]


async def test_a_slice_that_somebody_did_meanwhile_writes_nothing(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    batches = await desk.hits.stale(by(lists), 30, 4)
    await drain(desk.job(lists))
    async with desk.hits.database.transaction() as tx:
        token = await try_lease(tx, LEASE, "b", 30.0)
    assert token is not None
    with pytest.raises(SliceTaken, match="1 of 1 batches"):
        await write_matches(desk.hits, token, batches, by(lists), lists.state.versions, 870, [])
    with pytest.raises(LeaseLost):
        await write_matches(desk.hits, token - 1, batches, by(lists), lists.state.versions, 870, [])


async def test_a_filing_assessed_for_both_purposes_is_told_once(desk: Desk) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH), LOADING)
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    assert await desk.told() == [(mrn(0), 1, [("consignee", "5", common_pb2.LANE_RED)])]
    assert set(await desk.lists_of_batches()) == {by(lists)}


async def test_a_pair_that_is_cleared_no_more_hits_who_was_spared(desk: Desk) -> None:
    pair = (
        f"  - {{name: {NAMES[1]}, list: OWN, entry: '1', cleared_by: A. Officer, cleared_on: 2026-11-20, "
        "until: 2027-11-20, why: another birth date}\n"
    )
    write(desk.directory / "cleared.yaml", text="format: 1\npairs:\n" + pair)
    lists = desk.lists()
    answer = await desk.assess(lists, consignees(NAMES[1], NAMES[2]))
    assert answer.ints("lane").tolist() == [common_pb2.LANE_GREEN, common_pb2.LANE_RED]
    assert "CLEARED:2026-11-20:" in answer.strings("lists")[0]
    job = desk.job(lists)
    write(desk.directory / "cleared.yaml", text="format: 1\npairs: []\n")
    lists.look()
    await drain(job)
    assert await desk.told() == [(mrn(0), 1, [("consignee", "1", common_pb2.LANE_RED)])]


def pair(entry: int, more: str = "", until: str = "2027-11-20") -> str:
    """A cleared pair of a name of the list and its own entry."""
    return (
        f"  - {{name: {NAMES[entry]}, list: OWN, entry: '{entry}', cleared_by: A. Officer, cleared_on: 2026-11-20, "
        f"until: {until}, why: another birth date{more}}}\n"
    )


def cleared(desk: Desk, lists: ListLoader, *pairs: str) -> None:
    """Put pairs in force."""
    text = "format: 1\npairs:\n" + "".join(pairs) if pairs else "format: 1\npairs: []\n"
    write(desk.directory / "cleared.yaml", text=text)
    lists.look()


async def over(desk: Desk) -> list[tuple[str, int, list[str], int | None]]:
    """The announced filings with a cleared hit: MRN, version, entries, and the lane that is left."""
    found = []
    for event in await desk.events():
        gone, entries = event.ragged("cleared"), event.child("cleared").strings("list_entry").tolist()
        left = event.ints("remaining_lane").tolist()
        found += [
            (
                event.strings("mrn")[row],
                int(event.ints("filing_version").values[row]),
                entries[gone.span(row)],
                left[row],
            )
            for row in range(event.rows)
            if gone.lengths[row]
        ]
    return found


async def test_a_pair_that_is_cleared_frees_who_was_hit_by_the_answer_and_is_announced_once(desk: Desk) -> None:
    lists = desk.lists()
    # In two batches, the second after a restart: nothing of either is in memory when the pair is cleared.
    await desk.assess(lists, consignees(NAMES[1], NAMES[2], "Nobody Listed"))
    await desk.assess(lists, consignees(NAMES[1], first=10))
    lists = desk.lists()
    job = desk.job(lists)
    await drain(job)
    cleared(desk, lists, pair(1))
    await drain(job)
    assert sorted(await over(desk)) == [
        (mrn(0), 1, ["1"], common_pb2.LANE_GREEN),
        (mrn(10), 1, ["1"], common_pb2.LANE_GREEN),
    ]
    assert [each for each in await desk.told() if each[2]] == [], "no hit is announced with it"
    # Other pairs, and the same again, announce nothing more of it.
    cleared(desk, lists, pair(1), pair(4))
    await drain(job)
    assert len(await over(desk)) == 2
    assert await desk.lists_of_batches() == [by(lists)] * 2


async def test_a_hit_of_a_later_list_is_cleared_too_and_what_else_was_found_is_told(desk: Desk) -> None:
    lists = desk.lists()
    gift = [{"consignee": {"name": FENCHURCH}}, {"consignee": {"name": FENCHURCH}, "items": [{"description": "Gift"}]}]
    answer = await desk.assess(lists, table(gift))
    assert answer.ints("lane").tolist()[0] == common_pb2.LANE_GREEN
    lane = answer.ints("lane").tolist()[1]
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    job = desk.job(lists, thresholds=lambda answers: [(250, 500, 800)] * answers.rows)
    await drain(job)
    assert [each[0] for each in await desk.told()] == [mrn(0), mrn(1)]
    text = pair(1).replace(NAMES[1], FENCHURCH).replace("entry: '1'", "entry: '5'")
    cleared(desk, lists, text)
    await drain(job)
    assert sorted(await over(desk)) == [(mrn(0), 1, ["5"], common_pb2.LANE_GREEN), (mrn(1), 1, ["5"], lane)]
    # The pair is withdrawn: it hits again, and is told as new.
    cleared(desk, lists)
    await drain(job)
    assert [each[2] for each in (await desk.told())[-2:]] == [[("consignee", "5", common_pb2.LANE_RED)]] * 2
    # And once more.
    cleared(desk, lists, text)
    await drain(job)
    assert len(await over(desk)) == 4


async def test_a_pair_frees_nobody_else_who_bears_the_name_nor_what_another_hit_holds(desk: Desk) -> None:
    lists = desk.lists()
    rows = table(
        [
            {"consignee": {"name": NAMES[1], "address": {"country": "DE"}}},
            {"consignee": {"name": NAMES[1], "address": {"country": "FR"}}},
            {"consignee": {"name": NAMES[1], "address": {"country": "DE"}}, "seller": {"name": NAMES[2]}},
        ]
    )
    await desk.assess(lists, rows)
    job = desk.job(lists)
    cleared(desk, lists, pair(1, ", country: DE"))
    await drain(job)
    assert sorted(await over(desk)) == [
        (mrn(0), 1, ["1"], common_pb2.LANE_GREEN),
        (mrn(2), 1, ["1"], common_pb2.LANE_RED),
    ]


async def test_a_pair_that_had_ended_when_the_filing_was_accepted_and_one_of_a_former_version_free_nothing(
    desk: Desk,
) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(NAMES[1]))
    await desk.assess(lists, consignees(NAMES[2], first=1))
    await desk.assess(lists, consignees("Somebody Else", first=1, versions=[2]))
    job = desk.job(lists)
    cleared(desk, lists, pair(1, until="2026-11-20"), pair(2))
    await drain(job)
    assert await over(desk) == []


async def test_where_nobody_tells_thresholds_whatever_else_scores_holds_on(desk: Desk) -> None:
    lists = desk.lists()
    vague = {"consignee": {"name": NAMES[1]}, "items": [{"description": "Gift"}]}
    await desk.assess(lists, table([vague]))
    cleared(desk, lists, pair(1))
    await drain(desk.job(lists))
    ((_, _, _, left),) = await over(desk)
    assert left == common_pb2.LANE_RED


async def test_replicas_that_differ_without_an_order_of_days_leave_the_work_to_the_lists_that_came_last(
    desk: Desk, database: Database
) -> None:
    older = desk.lists()
    first, restarted = desk.job(older, "a"), desk.job(older, "a")
    await desk.assess(older, consignees(FENCHURCH))
    await drain(first)
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    newer = desk.lists()
    second = desk.job(newer, "b")
    await drain(second)
    assert await desk.lists_of_batches() == [by(newer)]
    for job in (first, restarted, second, first):
        await drain(job)
        assert await desk.lists_of_batches() == [by(newer)]
    # Nor does a replica that begins with a list that was published before.
    index = desk.directory / "lists.yaml"
    write(index, text=index.read_text().replace("2026-11-01", "2026-10-01"))
    await drain(desk.job(desk.lists(), "c"))
    assert await desk.lists_of_batches() == [by(newer)]
    # Once nobody has the newer lists, who has others works again; by the database's clock, which is not waited for.
    async with database.transaction() as tx:
        await tx.raw.execute(
            "update lists_in_force set seen_at = seen_at - interval '16 minutes' where lists = $1", by(newer)
        )
    await drain(first)
    assert await desk.lists_of_batches() == [by(older)]
    assert len(await desk.told()) == 1


async def test_lists_that_are_set_back_come_into_force_anew(desk: Desk) -> None:
    lists, other = desk.lists(), desk.lists()
    job, late = desk.job(lists, "a"), desk.job(other, "b")
    await desk.assess(lists, consignees("Peter Honest"))
    await drain(job)
    before = by(lists)
    for names in ((*NAMES, FENCHURCH), NAMES):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
    assert await desk.lists_of_batches() == [before]
    # Who took the change late has taken it anew too, and there is an end to it.
    other.look()
    await drain(late)
    await drain(job)
    assert await desk.lists_of_batches() == [before]


async def test_lower_levels_of_matches_screen_again_what_was_assessed_before_and_higher_ones_find_nothing(
    desk: Desk,
) -> None:
    lists = desk.lists()
    likely = MatchLevels(1000, 1000)
    answer = await desk.assess(lists, consignees("Zaphod Beeblebroxx"), levels=likely)
    assert answer.ints("lane").tolist() == [common_pb2.LANE_GREEN]
    assert await desk.lists_of_batches() == [by(lists, likely)]
    await drain(desk.job(lists, levels=MatchLevels(870, 1000)))
    assert await desk.told() == [(mrn(0), 1, [("consignee", "0", common_pb2.LANE_YELLOW)])]
    for levels in (LEVELS, MatchLevels(900, 1000)):
        await drain(desk.job(lists, levels=levels))
        assert await desk.lists_of_batches() == [by(lists, levels)]
    assert (await desk.told())[1:] == [(mrn(0), 1, [("consignee", "0", common_pb2.LANE_RED)])]


async def test_a_batch_that_saw_a_later_list_is_left_alone_until_this_replica_must_have_it(desk: Desk) -> None:
    index = desk.directory / "lists.yaml"
    behind = desk.lists()
    write(index, text=index.read_text().replace("2026-11-01", "2026-11-02"))
    write(desk.directory / "own.csv", *NAMES[:4])
    ahead = desk.lists()
    await desk.assess(ahead, consignees(NAMES[4], "Peter Honest"))
    now = [0.0]
    job = desk.job(behind, clock=lambda: now[0])
    await drain(job)
    assert await desk.lists_of_batches() == [by(ahead)]
    # It was no lag: the list was set back, and what it has again is looked for.
    now[0] = AHEAD_SECONDS
    await drain(job)
    assert await desk.lists_of_batches() == [by(behind)]
    assert await desk.told() == [(mrn(0), 1, [("consignee", "4", common_pb2.LANE_RED)])]


NO_TABLE = zstandard.compress(b"\xff\xff")
NO_FACTS = zstandard.compress(pack({}, {"rows": np.zeros(1, np.int32)}))
NO_ROWS = zstandard.compress(pack({"items": -1}, {}))
OTHER_ROWS = zstandard.compress(pack({"items": -1}, {"rows": np.array([7], np.int32)}))


@pytest.mark.parametrize(
    ("broken", "content"),
    [
        ("assessed_input set columns", b"broken"),
        ("assessed_input set columns", NO_TABLE),
        ("assessed_input set history", NO_FACTS),
        ("assessed_input set history", NO_ROWS),
        ("assessed_input set history", OTHER_ROWS),
        ("assessment_batch set payload", b"\xff\xff"),
    ],
    ids=["packing", "table", "facts", "rows", "other rows", "answers"],
)
async def test_a_batch_that_cannot_be_read_is_counted_and_holds_up_nobody(
    desk: Desk, database: Database, broken: str, content: bytes
) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(FENCHURCH, first=number))
    async with database.transaction() as tx:
        await tx.raw.execute(f"update {broken} = $1 where batch = (select min(batch) from assessed_input)", content)
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    unreadable = counted("luxor_risk_rescreening_unreadable_total")
    await drain(desk.job(lists, slice_batches=2))
    assert [each[0] for each in await desk.told()] == [mrn(1), mrn(2)]
    assert counted("luxor_risk_rescreening_unreadable_total") == unreadable + 1
    await batches_left(desk.hits, lambda: lists.state, 30)(database)
    assert counted("luxor_risk_rescreening_batches_left") == 1


async def test_a_new_reader_of_the_feed_gets_the_last_hits_of_each_consignment(desk: Desk, database: Database) -> None:
    lists = desk.lists()
    await desk.assess(lists, consignees(FENCHURCH, MARVIN, FENCHURCH))
    job = desk.job(lists)
    for names in ((*NAMES, FENCHURCH), (*NAMES, FENCHURCH, MARVIN)):
        write(desk.directory / "own.csv", *names)
        lists.look()
        await drain(job)
    source, token, found = ScreeningMatchSnapshot(), b"", []
    async with database.connection() as reading:
        while True:
            page = await source.page(reading, range(PARTITIONS), token, 2)
            found += page.table.strings("mrn").tolist()
            assert np.array_equal(page.partitions, np.zeros(page.table.rows))
            token = page.next_token
            if not token:
                break
        assert (await source.page(reading, [7], b"", 10)).table.rows == 0
    assert found == [mrn(0), mrn(1), mrn(2)]


async def test_it_works_in_the_background_and_gives_the_lease_back(desk: Desk, database: Database) -> None:
    lists, stop = desk.lists(), asyncio.Event()
    await desk.assess(lists, consignees(FENCHURCH))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    task = asyncio.create_task(desk.job(lists, pause_seconds=0.01).run(stop))
    async with asyncio.timeout(30):
        while not await desk.told():  # noqa: ASYNC110  # the store tells, and it has no event
            await asyncio.sleep(0.01)
    stop.set()
    await task
    async with database.transaction() as tx:
        assert await try_lease(tx, LEASE, "another", 30.0) is not None


async def test_the_batches_of_a_slice_are_looked_through_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(f"Peter {number}", FENCHURCH, first=number * 2))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    looked: list[set[str]] = []
    screen = ChangedEntries.screen

    def noted(again: ChangedEntries, names: Sequence[str], threshold: int) -> NameMatches:
        assert len(set(names)) == len(names)
        looked.append(set(names))
        return screen(again, names, threshold)

    monkeypatch.setattr(ChangedEntries, "screen", noted)
    await drain(desk.job(lists, slice_batches=3))
    assert len(looked) == 1
    assert looked[0] >= {"Peter 0", "Peter 1", "Peter 2", FENCHURCH}
    assert [each[0] for each in await desk.told()] == [mrn(1), mrn(3), mrn(5)]


async def test_a_list_that_hits_everybody_is_told_in_short_transactions(desk: Desk, database: Database) -> None:
    lists = desk.lists()
    for number in range(3):
        await desk.assess(lists, consignees(*[FENCHURCH] * 600, first=number * 600))
    write(desk.directory / "own.csv", *NAMES, FENCHURCH)
    lists.look()
    await drain(desk.job(lists))
    # More than a slice may have: each batch is one of its own.
    assert [event.rows for event in await desk.events()] == [600, 600, 600]
    assert len({each[0] for each in await desk.told()}) == 1800
