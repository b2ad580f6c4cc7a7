"""Pairs of a party and an entry that were cleared: who was hit by them is freed, once, and nobody else."""

from __future__ import annotations

from luxor.common.v1 import common_pb2
from services.risk.commands.load_lists import ListLoader
from tests.risk.filings import table
from tests.risk.jobs.rescreening_desk import FENCHURCH, Desk, by, consignees, drain, mrn
from tests.risk.screening.list_files import NAMES, write


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
    job = desk.job(lists, thresholds=lambda answers, _: [(250, 500, 800)] * answers.rows)
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
