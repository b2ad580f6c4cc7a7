"""Invalidations by filers, as the feed of filings announces them: which declarations end, which stay with a notice, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from libs.columns import Ints, Strings, Table
from libs.feed.types import BatchRef
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.transitions import Change, Debt, State
from tests.clearance.desk import MASTER, Desk, filings, mrns
from tests.clearance.desk_commands import check_versions, texts
from tests.clearance.events import STEPS, Driver

REFERENCES = ["GREEN-1", "BARE-1", "RED-1", "YELLOW-1"]


def withdrawn(references: Sequence[str], version: int = 2, document: str = "") -> Table:
    """Return invalidations as ingestion announces them: the whole filing, with the function."""
    table = filings(references, version=version)
    rows = len(references)
    columns = {"function": Ints.constant(MESSAGE_FUNCTION_INVALIDATE, rows)}
    return table.with_columns({**columns, "return_document_number": Strings.constant(document, rows)})


def amended(references: Sequence[str], version: int = 2) -> Table:
    table = filings(references, version=version)
    return table.with_columns({"function": Ints.constant(MESSAGE_FUNCTION_AMEND, len(references))})


async def refusals(desk: Desk) -> list[tuple[str, int, int]]:
    """Return MRN, state and the version that came too late in each notice of such a change."""
    found = []
    async with desk.store.database.connection() as reading:
        refs = [
            BatchRef(row["day"], row["id"])
            for row in await reading.raw.fetch("select day, id from batch order by 1, 2")
        ]
        for stored in (await desk.store.outbox.payloads.fetch(reading.raw, refs)).values():
            table = desk.store.outbox.payloads.table(stored)
            columns = (table.ints(name).tolist() for name in ("state", "filing_version", "change"))
            for mrn, state, version, change in zip(mrns(table), *columns, strict=True):
                if change == Change.AMENDMENT_REFUSED:
                    found.append((mrn, state, version))
    return found


async def states(desk: Desk, references: Sequence[str]) -> list[int | None]:
    return (await desk.states(mrns(filings(references)))).ints("state").tolist()


async def test_a_withdrawn_declaration_ends_without_a_debt_and_nobody_assesses_it(desk: Desk) -> None:
    driver = Driver(desk)
    names = [*REFERENCES, "GREEN-2"]
    await desk.consume(filings(names))
    await STEPS["documents"](driver, "GREEN-2")
    calls = desk.neighbours.calls
    await desk.consume(withdrawn(names, document="AWB-5"))
    assert desk.neighbours.calls == calls
    table = await desk.states(mrns(filings(names)))
    assert table.ints("state").tolist() == [State.INVALIDATED] * 5
    assert table.ints("change").tolist() == [Change.INVALIDATED] * 5
    assert kinds(table).tolist() == [NoticeKind.INVALIDATED] * 5
    assert table.ints("filing_version").tolist() == [2] * 5
    assert table.ints("debt_status").tolist() == [Debt.NONE] * 5
    assert not table.strings("debt_account").present.any()
    assert texts(table, "reasons") == [["WITHDRAWN_BY_FILER"]] * 5
    assert table.strings("return_document_number").tolist() == ["AWB-5"] * 5
    assert await refusals(desk) == []
    # What comes again, and what comes after the end, changes nothing.
    versions = table.ints("version").tolist()
    await desk.consume(withdrawn(names, document="AWB-5"))
    assert await refusals(desk) == []
    await desk.consume(amended(["GREEN-1"], 3), withdrawn(["BARE-1"], 3))
    assert sorted(await refusals(desk)) == sorted((mrn, State.INVALIDATED, 3) for mrn in mrns(filings(REFERENCES[:2])))
    again = await desk.states(mrns(filings(names)))
    assert (again.ints("version").tolist(), again.ints("filing_version").tolist()) == (versions, [2] * 5)
    await check_versions(desk)


# Once customs informed the declarant of an examination, after the presentation, and after the release: UCC, article 174; ICS2.
TOO_LATE = {
    "presented": (["arrive"], "RED-1", State.HELD),
    "released": (["arrive"], "GREEN-1", State.RELEASED),
    "in examination": (["scan"], "GREEN-1", State.EXAMINATION),
    "seized": (["arrive", "seized"], "RED-1", State.SEIZED),
}


@pytest.mark.parametrize("case", TOO_LATE)
async def test_a_withdrawal_that_comes_too_late_changes_nothing_and_is_announced(case: str, desk: Desk) -> None:
    steps, reference, state = TOO_LATE[case]
    driver = Driver(desk)
    await desk.consume(filings([reference]))
    for step in steps:
        await STEPS[step](driver, reference)
    assert await states(desk, [reference]) == [state]
    (mrn,) = mrns(filings([reference]))
    before = (await desk.states([mrn])).encode(ClearanceColumns)
    await desk.consume(withdrawn([reference], document="AWB-5"))
    assert (await desk.states([mrn])).encode(ClearanceColumns) == before
    assert await refusals(desk) == [(mrn, state, 2)]


def splits(count: int) -> Iterator[list[list[int]]]:
    """Yield each way to divide a sequence into pages."""
    for cuts in itertools.product((False, True), repeat=count - 1):
        pages: list[list[int]] = [[0]]
        for place, cut in enumerate(cuts, 1):
            if cut:
                pages.append([])
            pages[-1].append(place)
        yield pages


async def test_versions_have_their_effects_in_their_order_however_pages_divide_them(desk: Desk) -> None:
    for number, pages in enumerate(splits(4)):
        name, other = f"GREEN-a{number}", f"BARE-b{number}"
        one = [filings([name]), amended([name]), withdrawn([name], 3), amended([name], 4)]
        two = [filings([other]), withdrawn([other]), withdrawn([other], 3), amended([other], 4)]
        before = await refusals(desk)
        for page in pages:
            await desk.consume(*(table for place in page for table in (two[place], one[place])))
        table = await desk.states(mrns(filings([name, other])))
        assert table.ints("state").tolist() == [State.INVALIDATED] * 2, pages
        assert table.ints("filing_version").tolist() == [3, 2], pages
        # The amendment after the end is refused, and so is the second withdrawal.
        late = [mrn for mrn, *_ in (await refusals(desk))[len(before) :]]
        assert sorted(late) == sorted([*mrns(one[0]), *mrns(two[0]) * 2]), pages
    await check_versions(desk)


async def test_a_withdrawal_that_is_refused_leaves_room_for_a_later_version(desk: Desk) -> None:
    driver = Driver(desk)
    await desk.consume(filings(["RED-1"]))
    await STEPS["arrive"](driver, "RED-1")
    await desk.consume(withdrawn(["RED-1"]))
    # The arrival was another one's: the goods have not arrived.
    await STEPS["reverse"](driver, "RED-1")
    await desk.consume(amended(["RED-1"], 3))
    table = await desk.states(mrns(filings(["RED-1"])))
    assert (table.ints("filing_version").tolist(), table.ints("state").tolist()) == ([3], [State.HELD])
    await desk.consume(withdrawn(["RED-1"], 4))
    assert await states(desk, ["RED-1"]) == [State.INVALIDATED]


async def test_an_arrival_before_a_withdrawal_of_the_same_page_makes_it_too_late(desk: Desk) -> None:
    driver = Driver(desk)
    await driver.arrive(MASTER)
    await desk.consume(filings(["RED-1", "GREEN-1"]), withdrawn(["RED-1", "GREEN-1"]))
    assert await states(desk, ["RED-1", "GREEN-1"]) == [State.HELD, State.RELEASED]
    assert len(await refusals(desk)) == 2


async def test_a_filing_that_was_lost_is_decided_by_the_content_of_its_withdrawal_and_ended(desk: Desk) -> None:
    calls = desk.neighbours.calls
    await desk.consume(withdrawn(["GREEN-1"], document="AWB-5"))
    assert desk.neighbours.calls > calls
    # The first version is decided, and the second one ends it, with nothing for an operator to do.
    table = await desk.states(mrns(filings(["GREEN-1"])))
    assert (table.ints("version").tolist(), table.ints("filing_version").tolist()) == ([2], [2])
    assert table.ints("state").tolist() == [State.INVALIDATED]
    assert table.strings("return_document_number").tolist() == ["AWB-5"]
    # What was lost comes after all, and again.
    await desk.consume(filings(["GREEN-1"]), withdrawn(["GREEN-1"]))
    assert (await desk.states(mrns(filings(["GREEN-1"])))).ints("version").tolist() == [2]
    # With a later version in the same page, and where an earlier one comes with it.
    await desk.consume(withdrawn(["BARE-1"], 3), amended(["BARE-1"], 4), withdrawn(["RED-1"]), filings(["RED-1"]))
    assert await states(desk, ["BARE-1", "RED-1"]) == [State.INVALIDATED] * 2
    await check_versions(desk)


async def test_goods_of_a_lost_filing_that_have_arrived_are_not_ended(desk: Desk) -> None:
    await Driver(desk).arrive(MASTER)
    await desk.consume(withdrawn(["GREEN-1"], document="AWB-5"))
    table = await desk.states(mrns(filings(["GREEN-1"])))
    assert (table.ints("state").tolist(), table.ints("filing_version").tolist()) == ([State.RELEASED], [1])
    assert not table.strings("return_document_number").present.any()
    assert len(await refusals(desk)) == 1
