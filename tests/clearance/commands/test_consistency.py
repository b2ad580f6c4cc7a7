"""The check of the store: what was not tampered with is consistent, whatever happened to it, and each tampering is found where it is."""

from __future__ import annotations

from typing import Any

import pytest

from libs.columns import Bools, Column, Ints, Ragged, Table
from libs.store.database import Database
from luxor.clearance.v1 import control_pb2
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER
from services.clearance.commands.consistency.check import Check
from services.clearance.commands.consistency.inconsistencies import FOUND_MAX, Kind
from services.clearance.consignment.columns import with_previous
from services.clearance.consignment.lifecycle.replay import unexplained
from services.clearance.consignment.transitions import Change, Debt, Event, State
from services.clearance.store import Row, Store
from services.clearance.transit.movement import TransitStart
from tests.clearance.desk import DAY, MASTER, TRACE, Desk, completing, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive
from tests.clearance.disposals import SEIZED
from tests.clearance.events import STEPS, Driver
from tests.clearance.put_back import put_back
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.transits import RULES

TRANSITION, VERSION, CHAIN, CURRENT, LIST, REFERENCE, _ = Kind
TABLES = (
    "batch", "consignment", "held", "seized", "due", "control", "claim", "storage", "transit", "local_reference", "house_document", "master_document",
)  # fmt: skip


async def checked(desk: Desk) -> list[tuple[Kind, str, int]]:
    """Check what is stored, without what this process has in memory."""
    desk.consistent = False
    found = await Desk(desk.store.database, desk.neighbours, desk.channel).inconsistencies()
    return [(each.kind, each.mrn, each.version) for each in found]


async def goods(desk: Desk) -> dict[str, str]:
    """File goods, and bring them to different places; give their MRNs."""
    desk.neighbours.risk = answering({"GREEN-2": ServiceSpan(delay_minutes=60), "YELLOW-1": ServiceSpan(days=3)})
    driver = Driver(desk)
    names = {
        "released": "GREEN-1", "waiting": "GREEN-2", "rerouting": "YELLOW-1", "held": "RED-1", "seized": "RED-2", "controlled": "RED-3",
        "moving": "RED-4",
    }  # fmt: skip
    filed = filings(list(names.values()))
    await desk.consume(filed)
    await driver.arrive(MASTER)
    await driver.dispose(mrns(filings(["RED-2"]))[0], SEIZED)
    await driver.control(mrns(filings(["RED-3"]))[0], control_pb2.CONTROL_FORM_SCAN)
    await driver.control(mrns(filings(["RED-3"]))[0], control_pb2.CONTROL_FORM_DOCUMENTS)
    start = TransitStart(
        officer="otto", destination="DE1", limit_days=0, seal="", document="", guarantee="", note="", rules=RULES
    )
    await driver.move(mrns(filings(["RED-4"]))[0], start)
    # Another shipment, so that each table has rows that are in order.
    await desk.consume(filings(["RED-9", "GREEN-9"], master="16099999999"))
    return {name: mrns(filings([reference]))[0] for name, reference in names.items()}


async def test_goods_at_each_place_are_consistent_and_each_page_continues_where_the_last_one_ended(desk: Desk) -> None:
    await goods(desk)
    assert await desk.inconsistencies() == []
    for limit in (1, 2, 3, 8, 9):
        assert await desk.inconsistencies(limit) == []
    page = await Check(desk.store).page((0, ""), 1_000)
    assert (page.consignments, page.versions, page.following) == (9, 20, None)
    assert (await Check(desk.store).page((DAY + 1, ""), 1_000)).consignments == 0


TAMPERED = {
    "a version": ("update consignment set version = version + 1 where mrn = $1", "released", [CURRENT]),
    "a state": ("update consignment set state = 3 where mrn = $1", "released", [CURRENT]),
    "a lane": ("update consignment set lane = 4 where mrn = $1", "released", [CURRENT]),
    "a filer": ("update consignment set filer = 'shop2' where mrn = $1", "released", [CURRENT]),
    "a partition": ("update consignment set partition = (partition + 1) % 64 where mrn = $1", "released", [CURRENT]),
    "a filing's version": ("update consignment set filing_version = 2 where mrn = $1", "released", [CURRENT]),
    "another state of the batch": (
        "update consignment set batch_row = (batch_row + 1) % 4 where mrn = $1", "released", [CHAIN],
    ),
    "no state of the batch": ("update consignment set batch_row = 99 where mrn = $1", "released", [CHAIN]),
    "a batch that is not there": ("update consignment set batch_id = 999999 where mrn = $1", "released", [CHAIN]),
    "a held one that is not listed": ("delete from held where mrn = $1", "held", [LIST]),
    "a listed one that is not held": ("insert into held select day, mrn, lane from consignment where mrn = $1", "released", [LIST]),
    "an office of the list": ("update held set office = 'FRA' where mrn = $1", "held", [LIST]),
    "a claim of goods that nothing holds": (
        "insert into claim select day, mrn, 'ghost', 1, 'ghost', '' from consignment where mrn = $1", "released", [LIST],
    ),
    "a lane of the list": ("update held set lane = 1 where mrn = $1", "held", [LIST]),
    "a seized one that is not listed": ("delete from seized where mrn = $1", "seized", [LIST]),
    "a listed one that is not seized": ("insert into seized select day, mrn from consignment where mrn = $1", "held", [LIST]),
    "a delay that is not listed": ("delete from due where mrn = $1", "waiting", [LIST]),
    "a reroute that is not listed": ("delete from due where mrn = $1", "rerouting", [LIST]),
    "a listed delay of another time": ("update due set due_at = due_at + 1 where mrn = $1", "waiting", [LIST]),
    "a listed delay without one": ("insert into due select day, mrn, 5 from consignment where mrn = $1", "released", [LIST]),
    "a control that is not listed": ("delete from control where mrn = $1 and number = 2", "controlled", [LIST]),
    "a listed control that is not open": ("update control set number = 3 where mrn = $1 and number = 2", "controlled", [LIST]),
    "a listed control without one": (
        "insert into control (day, mrn, number, form, authority, office, answered) "
        "select day, mrn, 1, 1, '', '', false from consignment where mrn = $1",
        "held", [LIST],
    ),
    "a listed one under another day": (
        "insert into held select day + 1, mrn, lane from consignment where mrn = $1", "held", [LIST],
    ),
    "stored goods that are not listed": ("delete from storage where mrn = $1", "held", [LIST]),
    "another end of storage": ("update storage set ends_at = ends_at + 1 where mrn = $1", "held", [LIST]),
    "a listed end of goods that are not stored": ("insert into storage select day, mrn, '', 5, 5 from consignment where mrn = $1", "seized", [LIST]),
    "goods in transit that are not": ("insert into transit select day, mrn, '', 'X', 5, 5 from consignment where mrn = $1", "held", [LIST]),
    "another office of departure": ("update transit set departure_office = 'X' where mrn = $1", "moving", [LIST]),
    "another office of destination": ("update transit set destination_office = 'X' where mrn = $1", "moving", [LIST]),
    "an end that is listed as recorded": ("update transit set next_at = null where mrn = $1", "moving", [LIST]),
    "a listed one that was deleted": ("delete from consignment where mrn = $1", "seized", [LIST]),
    "all lists of one that was deleted": ("delete from consignment where mrn = $1", "rerouting", [LIST, LIST, LIST]),
    "another MRN": ("update consignment set mrn = 'X' || mrn where mrn = $1", "", [CURRENT]),
    "a listed text that is no MRN": (
        "insert into seized select day, 'X' || mrn from consignment where mrn = $1", "", [LIST],
    ),
    "a local reference": ("delete from local_reference where mrn = $1", "released", [REFERENCE]),
    "a house document": ("delete from house_document where mrn = $1", "released", [REFERENCE]),
    "a master document": (
        f"update master_document set mrns = array_remove(mrns, $1) where document_number = '{MASTER}'", "released", [REFERENCE],
    ),
    "a receptacle": (
        f"update master_document set mrns = array_remove(mrns, $1) where document_number <> '{MASTER}' and $1 = any(mrns)", "released", [REFERENCE],
    ),
    "a local reference to another one": (
        "update local_reference set mrn = (select max(mrn) from consignment where mrn <> $1) where mrn = $1", "released",
        [REFERENCE],
    ),
}  # fmt: skip
"""A statement on the consignment at a place, and what is found of it."""


async def test_a_row_that_was_changed_is_found_and_nothing_else(desk: Desk) -> None:
    at = await goods(desk)
    async for name in put_back(desk.store.database, TABLES, TAMPERED):
        statement, place, kinds = TAMPERED[name]
        mrn = at[place or "released"]
        async with desk.store.database.transaction() as tx:
            await tx.raw.execute(statement, mrn)
        found = await checked(desk)
        named = [(kind, mrn if place else f"X{mrn}") for kind in kinds]
        assert [(kind, number) for kind, number, _ in found] == named, name
        # A page that ends beside it finds the same.
        desk_of_small_pages = Desk(desk.store.database, desk.neighbours, desk.channel)
        in_pages = await desk_of_small_pages.inconsistencies(1)
        assert [(each.kind, each.mrn, each.version) for each in in_pages] == found, name


async def written(desk: Desk, mrn: str, columns: dict[str, Column], *, follows: bool = True) -> Table:
    """Store a next version with these columns, as a fault would."""
    store = desk.store
    async with store.database.transaction() as tx:
        rows = list((await store.lock(tx, [mrn])).values())
        table = (await store.states(tx, rows)).with_columns(columns)
        if follows:
            await store.succeed(tx, table, rows, trace=TRACE)
        else:
            await store.update(tx, with_previous(table, [0], [0], [0]), trace=TRACE)
    return table


def numbers(**values: int) -> dict[str, Column]:
    return {name: Ints.of([value]) for name, value in values.items()}


UNEXPLAINED: list[tuple[str, dict[str, Column]]] = [
    ("held", numbers(state=State.RELEASED, change=Change.ARRIVED)),
    ("held", numbers(state=State.RELEASED, change=Change.OFFICER_RELEASED, debt_status=Debt.OPEN)),
    ("held", numbers(change=Change.DECIDED)),
    ("held", numbers(change=99)),
    ("held", numbers(state=State.SEIZED, change=Change.OFFICER_HELD)),
    ("controlled", numbers(state=State.RELEASED, change=Change.CONTROL_CONCLUDED)),
    ("controlled", numbers(state=State.RELEASED, change=Change.OFFICER_RELEASED)),
    ("controlled", {**numbers(change=Change.CONTROL_ANSWERED), "control_hold": Bools.of([True])}),
    ("held", numbers(state=State.DOCUMENTS_REQUESTED, change=Change.DEBT)),
    ("released", numbers(state=State.RELEASED, change=Change.DISPOSED)),
    ("released", numbers(state=State.HELD, change=Change.DEBT, debt_status=Debt.OPEN)),
    ("released", {**numbers(change=Change.SCREENING_MATCHED), "officer_hold": Bools.of([True])}),
    ("released", {**numbers(change=Change.DEBT), "arrived_at": Ints.absent(1)}),
    ("waiting", numbers(state=State.RELEASED, change=Change.ARRIVED)),
    ("seized", numbers(state=State.DESTROYED, change=Change.INSPECTED)),
]
"""A place, and the columns of a next version that no transition produces there."""


async def test_a_version_that_no_transition_produces_is_found(desk: Desk) -> None:
    at = await goods(desk)
    async for place, columns in put_back(desk.store.database, TABLES, UNEXPLAINED):
        mrn = at[place]
        before = (await desk.states([mrn])).ints("version").values
        if place == "held" and "debt_status" in columns:
            # The debt was open already: no command released it at once.
            open_debt = {**numbers(change=Change.DEBT, debt_status=Debt.OPEN), "version": Ints.of(before + 1)}
            await written(desk, mrn, open_debt)
            before = before + 1
        await written(desk, mrn, {**columns, "version": Ints.of(before + 1)})
        found = await checked(desk)
        assert (TRANSITION, mrn, int(before[0]) + 1) in found, (place, columns)
        assert {kind for kind, _, _ in found} <= {TRANSITION, LIST}, (place, columns)
        assert {number for _, number, _ in found} == {mrn}, (place, columns)


async def test_numbers_of_a_later_release_are_not_explained(desk: Desk) -> None:
    states = await desk.states([(await goods(desk))["held"]])
    for columns in (numbers(state=99), numbers(debt_status=99), numbers(change=99)):
        later = states.with_columns({**numbers(change=Change.DEBT), **columns})
        assert unexplained(states, later).tolist() == [True]
        assert unexplained(later, states.with_columns(numbers(change=Change.DEBT))).tolist() == [
            "change" not in columns
        ]


async def test_only_a_completion_of_an_incomplete_filing_is_an_amendment_after_the_presentation(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    missing = {"missing_roles": Ragged.of_lengths([1], Ints.of([PARTY_ROLE_CARRIER]))}
    await desk.consume(filed.with_columns(missing))
    await arrive(desk, arrival())
    before = await desk.states(mrns(filed))
    await desk.consume(completing(filings(["GREEN-1"], version=2), 1))
    after = await desk.states(mrns(filed))
    assert after.ints("state").tolist() == [State.RELEASED]
    assert unexplained(before, after).tolist() == [False]
    complete = before.with_columns({"missing_roles": Ragged.of_lengths([0], Ints.of([]))})
    unpresented = before.with_columns({"presentation_due_at": Ints.of([1])})
    assert unexplained(complete, after).tolist() == [True]
    assert unexplained(unpresented, after).tolist() == [True]


async def test_goods_that_arrived_and_that_no_delay_leads_on_are_found(desk: Desk) -> None:
    """As an earlier release left them, which ended the delay when a match from before the decision was cleared."""
    (mrn,) = mrns(filed := filings(["GREEN-1"]))
    desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60)})
    await hear(desk, screening(filed))
    await desk.consume(filed)
    await arrive(desk, arrival())
    await hear(desk, clearing(filed))
    assert await checked(desk) == []
    version = int((await desk.states([mrn])).ints("version").values[0])
    hidden = numbers(change=Change.INSPECTED, version=version + 1)
    await written(desk, mrn, {**hidden, "release_not_before": Ints.absent(1)})
    assert (LIST, mrn, version + 1) in await checked(desk)


async def test_a_gap_a_repetition_and_a_chain_without_its_beginning_are_found(desk: Desk) -> None:
    at = await goods(desk)
    hidden = numbers(change=Change.INSPECTED, inspected_at=5)
    for place, step in (("released", 2), ("held", 0), ("seized", -1)):
        version = (await desk.states([at[place]])).ints("version").values + step
        await written(desk, at[place], {**hidden, "version": Ints.of(version)})
    await written(desk, at["waiting"], numbers(version=4, change=Change.DEBT), follows=False)
    versions = {place: int((await desk.states([at[place]])).ints("version").values[0]) for place in at}
    assert set(await checked(desk)) == {
        (VERSION, at["released"], versions["released"]),
        (VERSION, at["held"], versions["held"]),
        (VERSION, at["seized"], versions["seized"]),
        (CHAIN, at["waiting"], 4),
    }


async def test_a_version_in_the_middle_that_is_not_stored_is_found(desk: Desk) -> None:
    at = await goods(desk)
    async with desk.store.database.transaction() as tx:
        (row,) = (await desk.store.find(tx, [at["seized"]])).values()
        state = await desk.store.states(tx, [row])
        day, number = (int(state.ints(f"previous_batch_{name}").values[0]) for name in ("day", "id"))
        await tx.raw.execute("delete from batch where day = $1 and id = $2", day, number)
    found = await checked(desk)
    assert (CHAIN, at["seized"], row.version) in found
    assert {kind for kind, _, _ in found} == {CHAIN}


async def test_a_first_version_that_is_no_decision_is_found(desk: Desk) -> None:
    (mrn,) = mrns(filed := filings(["GREEN-1"]))
    await desk.consume(filed)
    await written(desk, mrn, numbers(change=Change.DEBT), follows=False)
    assert await checked(desk) == [(TRANSITION, mrn, 1)]


async def test_of_one_consignment_the_first_inconsistencies_are_reported(desk: Desk) -> None:
    mrn = (await goods(desk))["released"]
    for version in range(3, 3 + 2 * FOUND_MAX):
        await written(desk, mrn, numbers(change=Change.DISPOSED, version=version))
    assert await checked(desk) == [(TRANSITION, mrn, version) for version in range(3, 3 + FOUND_MAX)]


# ------------------------------------------------------------------------------------------ beside traffic
class _Racing(Store):
    """A store in which something happens after the rows of a page were read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.meanwhile: Any = None
        self.times = 0

    async def find(self, tx: Any, mrns: Any) -> dict[str, Row]:
        found = await super().find(tx, mrns)
        if self.meanwhile is not None and self.times:
            self.times -= 1
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
            self.meanwhile = meanwhile
        return found


@pytest.mark.parametrize("times", [1, 2, 4])
async def test_a_consignment_that_changes_while_it_is_read_is_read_again(desk: Desk, times: int) -> None:
    at = await goods(desk)
    store, calls = _Racing(desk.store.database), 0

    async def meanwhile() -> None:
        nonlocal calls
        calls += 1
        event = Event.OFFICER_RELEASED if calls % 2 else Event.OFFICER_HELD
        (acted,) = await act(desk, event, [at["held"]], request_id=f"m{calls}")
        assert acted.refusal == ""

    store.meanwhile, store.times = meanwhile, times
    page = await Check(store).page((0, ""), 1_000)
    assert (page.inconsistencies, page.unsettled, page.consignments, calls) == ([], 0, 9, times)


async def test_a_consignment_that_never_rests_is_counted_and_not_reported(desk: Desk) -> None:
    at = await goods(desk)
    store, calls = _Racing(desk.store.database), 0

    async def meanwhile() -> None:
        nonlocal calls
        calls += 1
        event = Event.OFFICER_RELEASED if calls % 2 else Event.OFFICER_HELD
        await act(desk, event, [at["held"]], request_id=f"m{calls}")

    store.meanwhile, store.times = meanwhile, 1_000
    page = await Check(store).page((0, ""), 1_000)
    assert (page.inconsistencies, page.unsettled, page.consignments) == ([], 1, 8)


async def test_consignments_that_are_filed_or_deleted_while_the_page_is_read_are_not_reported(desk: Desk) -> None:
    at = await goods(desk)
    store = _Racing(desk.store.database)

    async def filed() -> None:
        await desk.consume(filings(["RED-5", "GREEN-5"]))

    store.meanwhile, store.times = filed, 1
    page = await Check(store).page((0, ""), 1_000)
    assert (page.inconsistencies, page.unsettled) == ([], 0)

    async def deleted() -> None:
        async with desk.store.database.transaction() as tx:
            for table in ("consignment", "held", "storage"):
                await tx.raw.execute(f"delete from {table} where mrn = $1", at["held"])

    store.meanwhile, store.times = deleted, 1
    page = await Check(store).page((0, ""), 1_000)
    assert (page.inconsistencies, page.unsettled) == ([], 0)


async def test_days_that_are_about_to_be_deleted_are_not_checked(desk: Desk) -> None:
    await desk.consume(filings(["RED-1"], day=DAY - 388), filings(["RED-2"], day=DAY - 389))
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from held")
    found = await checked(desk)
    assert [mrn for _, mrn, _ in found] == mrns(filings(["RED-1"], day=DAY - 388))


async def test_an_amendment_leaves_open_controls_in_the_state_and_in_their_list(desk: Desk) -> None:
    driver = Driver(desk)
    await desk.consume(filings(["GREEN-1", "RED-1"]))
    for reference in ("GREEN-1", "RED-1"):
        await STEPS["documents"](driver, reference)
        await STEPS["amend"](driver, reference)
    assert await desk.inconsistencies() == []
    states = await desk.states(mrns(filings(["GREEN-1", "RED-1"])))
    assert states.ints("state").tolist() == [State.DOCUMENTS_REQUESTED] * 2
    assert states.child("controls").rows == 2


# ------------------------------------------------------------------------------------------ earlier releases
LATER = (
    "first_decided_at", "violation_found_by", "violation_resolved_by", "violation_resolved_at", "arrival_carrier", "former_released_at",
    "inclusion_ppm", "debt_hold", "screening_early",
)  # fmt: skip
"""Columns that release 0.2 did not write, beside that of the carrier, without which no arrival has an effect."""


async def test_states_of_release_02_are_consistent_and_what_follows_them_too(desk: Desk, monkeypatch: Any) -> None:
    append = Store.update

    def old(table: Table) -> Table:
        return Table(table.schema, table.rows, {name: table.column(name) for name in table.names if name not in LATER})

    insert = Store.insert
    monkeypatch.setattr(Store, "insert", lambda self, tx, table, **named: insert(self, tx, old(table), **named))
    monkeypatch.setattr(Store, "update", lambda self, tx, table, **named: append(self, tx, old(table), **named))
    names = ["GREEN-1", "BARE-1", "BARE-2", "RED-1", "RED-2", "NORATE-1"]
    first = dict(zip(names, mrns(filings(names)), strict=True))
    driver = Driver(desk)
    await desk.consume(filings(names))
    await driver.officer(first["RED-1"], Event.OFFICER_RELEASED)
    await arrive(desk, arrival(MASTER))
    await STEPS["violation"](driver, "RED-2")
    await STEPS["match"](driver, "GREEN-1")
    assert await desk.inconsistencies() == []
    monkeypatch.undo()
    for name, reference in (
        ("paid", "BARE-1"),
        ("secured", "NORATE-1"),
        ("hold", "GREEN-1"),
        ("release", "GREEN-1"),
        ("seized", "RED-2"),
        ("confiscated", "RED-2"),
        ("open", "BARE-1"),
        ("release", "BARE-2"),
    ):
        await STEPS[name](driver, reference)
        assert await desk.inconsistencies() == [], name
    assert (await desk.states([first["RED-2"]])).ints("state").tolist() == [State.CONFISCATED]
