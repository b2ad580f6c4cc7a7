"""SIGKILL of clearance at each COMMIT of a batch of each kind: before the server has it, and when it is carried out but nobody was answered.

The proxy in front of the store is the fault point: it counts the COMMITs of a batch and kills the process at the chosen one. Then a process is
started again. What clearance has done must be what the plain model makes of the events that were accepted, each applied once.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import grpc.aio
import pytest
import pytest_asyncio

from libs.columns import Ints, Ragged, Strings, Table
from libs.customs.time import MICROS_PER_DAY
from libs.server.identity import Role
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.clearance.v1 import carriers_pb2, control_pb2, work_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import release_lists_pb2 as pb_lists
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER
from services.clearance.consignment.transitions import Debt, Event, State
from tests.clearance import process as clearance
from tests.clearance import scalar, scalar_states
from tests.clearance.audit.trail import errors_of, wrong_by_definition
from tests.clearance.desk import MASTER, Desk, Neighbours, filings, mrns, neighbours_at_work
from tests.clearance.desk_commands import PRESENTATION, check_versions
from tests.clearance.events import STEPS, Driver
from tests.clearance.goods import ARMS, goods, law, licence, register, used
from tests.clearance.process import AMENDED, ARRIVING, BACK, BULK, LISTED, MOVED, PIER, WAYBILL, WORK, Process, run
from tests.clearance.put_back import restore, save
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.second_person import of_two
from tests.support.cutting_proxy import Cut, CuttingProxy

pytestmark = [pytest.mark.fault, pytest.mark.timeout(170)]

GOODS: Final = {
    MASTER: ("BARE-debt", "RED-release", "RED-seize", "RED-adjust", "RED-claim", "RED-hand", "GREEN-late", "YELLOW-look", "GREEN-back",
        "RED-confirm-two", "GREEN-adds"),
    BULK: ("RED-bulk", "RED-bulk2", "BARE-lost", "RED-lost"),
    AMENDED: ("GREEN-match", "GREEN-hold", "GREEN-order", "GREEN-answer", "GREEN-conclude", "GREEN-overdue", "GREEN-amend", "GREEN-arms",
        "GREEN-lacks"),
    ARRIVING: ("GREEN-in", "RED-in"),
    LISTED: ("GREEN-listed", "RED-listed"),
    MOVED: ("BARE-moves", "RED-moves"),
    BACK: ("GREEN-sent", "RED-back", "RED-stray"),
    PIER: ("GREEN-pier", "RED-pier"),
}  # fmt: skip
"""What is filed beforehand, by master document; the goods of the first two and of the last three have arrived."""
LOST: Final = ("BARE-lost", "RED-lost", "RED-stray")
"""Goods that a movement lost beforehand."""
READERS: Final = ((Role.FILER, "shop"), (Role.CARRIER, "wings"), (Role.CARRIER, "rails"))
"""Who is notified: the filer, the carrier of the arrivals and that of the movements."""
CITED: Final = {"GREEN-arms": "L1", "GREEN-sent": "L1", "RED-back": "L1", "GREEN-lacks": "L2"}
"""Goods that need a licence, 1 kg each, and the one that they cite; the last one was registered when they were held for it."""
WRITTEN_OFF: Final = {
    "decide": (4, 0),
    "withdraw": (2, 0),
    "expire": (2, 0),
    "return_bulk": (1, 0),
    "write_off": (3, 1),
}
"""Kilograms written off of both licences after a batch: 3 and 0 after all others."""
RECORD: Final = (
    "version", "state", "arrived_at", "debt_status", "officer_hold", "screening_hold", "release_not_before", "inspected_at", "adjusted_at",
    "debt_hold", "violation_found_by", "violation_resolved_by", "control_hold", "transit_started_at", "transit_ended_at", "transit_outcome",
    "presentation_due_at", "presented_at", "reasons", "contradiction_count",
)  # fmt: skip
COMMITS_MAX: Final = 1_000
SECONDS: Final = 60.0
RELEASED, HELD = pb_lists.RELEASE_LIST_DECISION_RELEASED, pb_lists.RELEASE_LIST_DECISION_HELD
KILLS: Final = {
    "before COMMIT": Cut(sent=0, client_signal=signal.SIGKILL),
    "before the answer": Cut(client_signal=signal.SIGKILL),
}
LISTS: Final = {
    "claim": "mrn, officer, handed_by, note",
    "release_list_mark": "line, house_document, decision, marked_at, mrn, outcome, state, version",
    "held": "mrn, lane, office",
    "seized": "mrn",
    "due": "mrn",
    "control": "mrn, number, form, answered",
    "storage": "mrn, office, next_at is null",
    "transit": "mrn, departure_office, destination_office, next_at is null",
    "proposal": "mrn, office, proposed_by",
    "contradicted": "mrn, office",
    "licence_use": "mrn, number, quantity, restored_at is null",
    "licence": "authority, number, next_at is null",
}
"""What an officer's lists and the timers have, without times."""
ACCESSES: Final = {
    "hold": "HoldConsignments",
    "release": "ReleaseConsignments",
    "seize": "DisposeConsignments",
    "adjust": "AdjustConsignments",
    "order": "OrderControls",
    "conclude": "ConcludeControls",
    "claim": "ClaimConsignments",
    "hand_over": "HandOverConsignments",
    "confirm": "DecideProposals",
    "release_bulk": "BulkRelease",
    "import_list": "ImportReleaseList",
    "set_out": "StartTransit",
    "lose": "EndTransit",
    "dispose_lost": "DisposeConsignments",
    "return_bulk": "BulkReturn",
    "write_off": "WriteOffLicences",
}
"""The RPC by which an officer, once it is answered, has seen goods."""


@dataclass(frozen=True)
class Once:
    """What is known of the goods: where each stands by its reference, with its version."""

    places: Mapping[str, tuple[scalar.Place, int]]

    def after(self, *events: tuple[str, Event], owed_after: Debt | None = None, **changed: Any) -> Once:
        """Return what the plain model makes of events, each applied once; those that it refuses have no effect.

        `changed` is different at the event: its debt, say.
        """
        places = dict(self.places)
        for reference, event in events:
            before, version = places.get(reference, (NEW, 0))
            place, refusal = scalar.after(event, replace(before, **changed))
            if not refusal:
                places[reference] = replace(place, debt=place.debt if owed_after is None else owed_after), version + 1
        return Once(places)

    def differing(self, other: Once) -> dict[str, Any]:
        """Return where they differ."""
        both = self.places.keys() | other.places.keys()
        pairs = {each: (self.places.get(each), other.places.get(each)) for each in both}
        return {each: pair for each, pair in pairs.items() if pair[0] != pair[1]}


NEW: Final = scalar.Place(
    State.ACCEPTED, arrived=False, debt=Debt.DEFERRED, officer_hold=False, screening_hold=False, waiting=False, inspected=False,
    debt_hold=False, violation=False,
)  # fmt: skip
ALL: Final = [each for references in GOODS.values() for each in references]


def expected(name: str, before: Once) -> Once:
    """Return what a batch makes of the goods by the definition."""
    match name:
        case "decide":
            decided = (
                ("GREEN-new", Event.DECIDED_RELEASE),
                ("RED-new", Event.DECIDED_HOLD),
                ("RED-new", Event.EXAMINATION_ORDERED),
                ("GREEN-amend", Event.AMENDED_RELEASE),
                ("GREEN-amend", Event.CONTRADICTED),
            )
            return before.after(*decided).after(("GREEN-adds", Event.COMPLETED_RELEASE), parts_missing=False)
        case "withdraw":
            return before.after(("GREEN-arms", Event.INVALIDATED), owed_after=Debt.NONE)
        case "hear_debts":
            return before.after(("BARE-debt", Event.DEBT), debt=Debt.PAID)
        case "adjust":
            # Customs has looked at the goods.
            return before.after(("RED-adjust", Event.ADJUSTED), inspected=True)
        case "arrive":
            return before.after(*((each, Event.ARRIVED) for each in GOODS[ARRIVING]))
        case "release_bulk":
            return before.after(*((each, Event.OFFICER_RELEASED) for each in GOODS[BULK]))
        case "import_list":
            return before.after(("GREEN-listed", Event.ARRIVED), ("RED-listed", Event.OFFICER_HELD))
        case "end_timers":
            ended = before.after(("GREEN-late", Event.WAIT_ENDED), ("YELLOW-look", Event.REROUTED), waiting=False)
            # What nobody answered leaves a hold by an officer.
            overdue = [(each, Event.CONTROLS_CONCLUDED) for each in ("GREEN-answer", "GREEN-conclude", "GREEN-overdue")]
            ended = ended.after(*overdue, officer_hold=True)
            # Nobody confirmed the proposal.
            ended = ended.after(("RED-confirm-two", Event.PROPOSAL_ENDED))
            ended = ended.after(*((each, Event.TRANSIT_OVERDUE) for each in GOODS[MOVED]))
            ended = ended.after(*((each, Event.PRESENTATION_OVERDUE) for each in GOODS[PIER]))
            return ended.after(*((each, Event.STORAGE_REMINDED) for each in ALL))
        case "discharge":
            return before.after(*((each, Event.TRANSIT_ARRIVED) for each in GOODS[MOVED]))
        case "set_out":
            return before.after(*((each, Event.TRANSIT_STARTED) for each in GOODS[BULK]))
        case "lose":
            return before.after(*((each, Event.TRANSIT_ENDED) for each in GOODS[MOVED]), lost=True)
        case "dispose_lost":
            # What is owed of the destroyed ones stays due.
            disposals = (Event.DESTROYED, Event.SEIZED, Event.RE_EXPORTED)
            return before.after(*zip(LOST, disposals, strict=True))
        case "present":
            return before.after(*((each, Event.PRESENTED) for each in GOODS[PIER]))
        case "return_bulk":
            returned = before.after(("GREEN-sent", Event.RETURNED_WHOLE))
            sent = (("RED-back", Event.RE_EXPORTED), ("RED-stray", Event.RE_EXPORTED))
            return returned.after(*sent, owed_after=Debt.NONE)
        case "expire":
            # Nothing is owed of goods that never came.
            return before.after(*((each, Event.EXPIRED) for each in ALL), owed_after=Debt.NONE)
    one: dict[str, tuple[str, Event]] = {
        "hear_matches": ("GREEN-match", Event.SCREENING_MATCHED),
        "hold": ("GREEN-hold", Event.OFFICER_HELD),
        "release": ("RED-release", Event.OFFICER_RELEASED),
        "confirm": ("RED-confirm-two", Event.OFFICER_RELEASED),
        "seize": ("RED-seize", Event.SEIZED),
        "give_back": ("GREEN-back", Event.RETURNED_WHOLE),
        "order": ("GREEN-order", Event.EXAMINATION_ORDERED),
        "answer": ("GREEN-answer", Event.CONTROL_ANSWERED),
        "conclude": ("GREEN-conclude", Event.CONTROLS_CONCLUDED),
        "write_off": ("GREEN-lacks", Event.CONTROLS_CONCLUDED),
    }
    return before.after(one[name]) if name in one else before


# ---------------------------------------------------------------------------------------------- the store
SPAWNED: Final = multiprocessing.get_context("forkserver")
SPAWNED.set_forkserver_preload(["tests.clearance.process"])
_TABLES: Final = """
    select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
    and relname not like 'schema_%'
"""


@dataclass
class Stage:
    """A store with goods at all places, the proxy in front of it, and what processes are given."""

    database: Database
    proxy: CuttingProxy
    neighbours: Neighbours
    channel: grpc.aio.Channel
    given: dict[str, Any] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def desk(self) -> Desk:
        """Return a desk that remembers nothing."""
        return Desk(self.database, self.neighbours, self.channel)

    async def work(self, name: str) -> int:
        """Do the work in this process, as one that was started again; return its number of COMMITs."""
        self.proxy.planned.clear()
        self.proxy.plan([None] * COMMITS_MAX)
        await run(self.proxy.url, self.neighbours.target, name, self.given)
        return COMMITS_MAX - len(self.proxy.planned)

    async def kill(self, name: str, commit: int, cut: Cut) -> None:
        """Do it in a process that is killed at a COMMIT."""
        self.proxy.planned.clear()
        self.proxy.plan([*[None] * commit, cut])
        child = SPAWNED.Process(target=clearance.main, args=(self.proxy.url, self.neighbours.target, name, self.given))
        child.start()
        await asyncio.to_thread(child.join, SECONDS)
        assert child.exitcode == -signal.SIGKILL, f"{name}: exit code {child.exitcode} at COMMIT {commit}"
        # The leases of the ended process end, as if their time had passed.
        async with self.database.transaction() as tx:
            await tx.raw.execute("update feed_cursor set lease_until = clock_timestamp() - interval '1 second'")
            await tx.raw.execute("delete from feed_member")

    async def once(self) -> Once:
        """Return where the goods stand."""
        references = {mrn: each for each in [*ALL, "GREEN-new", "RED-new"] for mrn in mrns(filings([each]))}
        async with self.database.connection() as reading:
            there = [row["mrn"] for row in await reading.raw.fetch("select mrn from consignment")]
        states, at = await self.desk().states(there), await self.database.now()
        records = [{name: _value(states, name, row) for name in RECORD} for row in range(states.rows)]
        return Once(
            {
                references[mrn]: (scalar_states.place(record, at), record["version"])
                for mrn, record in zip(there, records, strict=True)
            }
        )

    async def lists(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return the lists, and who was notified of what."""
        found = {}
        await self.desk().told()
        async with self.database.connection() as reading:
            for table, columns in LISTS.items():
                rows = await reading.raw.fetch(f"select {columns} from {table} order by {columns}")
                found[table] = [tuple(row) for row in rows]
        process = Process(self.database, self.channel)
        for role, ident in (*READERS, (Role.AGENCY, "toys")):
            answer = await process.ask(role, ident, process.clearance, "PullNotices", pb.PullNoticesRequest())
            found[ident] = sorted((each.mrn, each.version, each.kind, each.state) for each in answer.notices)
        return found

    async def check(self, name: str, lists: Mapping[str, list[tuple[Any, ...]]]) -> None:
        """What holds however often a batch was begun: each version was announced, recorded and reported once, and lists have what states say."""
        desk = self.desk()
        assert await desk.inconsistencies() == []
        await check_versions(desk)
        assert await errors_of(desk) == []
        for _, receiver in READERS:
            versions = [each[:2] for each in lists[receiver]]
            assert len(set(versions)) == len(versions)
        assert lists["toys"] == ([("", 0, pb.NOTICE_KIND_LICENCE_ENDED, 0)] if name == "end_timers" else [])
        async with self.database.connection() as reading:
            accesses = "select count(*) from audit_pending where kind = 2 and actor = 'officer/olga' and method = $1"
            assert name not in ACCESSES or await reading.raw.fetchval(accesses, ACCESSES[name])
        for number, kilograms in zip(("L1", "L2"), WRITTEN_OFF.get(name, (3, 0)), strict=True):
            assert (await used(desk.store, number, "", "C401"))[:2] == (1_000 * kilograms,) * 2
        if name == "chain":
            assert await wrong_by_definition(self.database) == set()


def _value(states: Table, name: str, row: int) -> Any:
    column = states.column(name)
    if isinstance(column, Ragged):
        column, rows = column.values, column.span(row)
        assert isinstance(column, Strings)
        return column.tolist()[rows]
    if isinstance(column, Strings):
        return column[row]
    return states.ints(name)[row] if isinstance(column, Ints) else bool(states.bools(name)[row])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(postgres: EmbeddedPostgres) -> AsyncIterator[Stage]:
    """A store in which all goods are where the batches find them."""
    postgres.create_database("killed")
    url = postgres.url("killed")
    async with (
        Database(url, name="clearance") as database,
        neighbours_at_work() as (neighbours, channel),
        CuttingProxy(url) as proxy,
    ):
        await migrate(database, "services.clearance")
        made = Stage(database, proxy, neighbours, channel)
        spans = {"GREEN-late": ServiceSpan(delay_minutes=60), "YELLOW-look": ServiceSpan(days=3)}
        spans["RED-confirm-two"] = ServiceSpan(open=("VALUE_DOUBTED",))
        neighbours.risk = lambda table: of_two(table, answering(spans))
        await _fill(made)
        async with database.connection() as reading:
            made.tables = [row["relname"] for row in await reading.raw.fetch(_TABLES)]
        await save(database, made.tables)
        yield made
    postgres.drop_database("killed")


async def _fill(stage: Stage) -> None:
    desk = stage.desk()
    process = Process(stage.database, stage.channel)
    for source in ("ingestion", "risk", "revenue"):
        # A new consumer begins with snapshots, which are empty.
        await process.follow(source, None, ConsignmentColumns)
    desk.decide.goods = law()
    terms: dict[str, Any] = {"authority": "", "type": "C401", "goods": ("93",)}
    await register(desk.store, licence("L1", **terms))
    for master, references in GOODS.items():
        arms = [
            goods([each], ARMS, cites=[("C401", CITED[each])], master=master) for each in references if each in CITED
        ]
        others = [each for each in references if each not in CITED]
        missing = [int(each == "GREEN-adds") for each in others]
        roles = Ragged.of_lengths(missing, Ints.constant(PARTY_ROLE_CARRIER, sum(missing)))
        filed = [filings(others, master=master).with_columns({"missing_roles": roles})] if others else []
        await desk.consume(*filed, *arms)
    # A licence of an agency, which ends before the timers look.
    last_day = await stage.database.now() // MICROS_PER_DAY + 60
    await register(
        desk.store, licence("L2", **terms), licence("T1", to_day=last_day, next_at=(last_day + 1) * MICROS_PER_DAY)
    )
    driver = Driver(desk)
    for master in (MASTER, BULK, MOVED, BACK):
        await driver.arrive(master)
    desk.arrive.law = PRESENTATION
    await driver.arrive(PIER)
    bindings = carriers_pb2.PutBindingsRequest(request_id="bindings")
    bindings.bindings.add(kind=carriers_pb2.BINDING_KIND_DOCUMENT, value=WAYBILL, carrier="rails")
    await process.officer(process.carriers, "PutBindings", bindings)
    for step, references in (("transit", GOODS[MOVED]), ("transit loses", LOST)):
        for reference in references:
            await STEPS[step](driver, reference)
    await driver.debt(mrns(filings(["BARE-moves"]))[0], Debt.PAID, 380)
    for reference in ("GREEN-answer", "GREEN-conclude", "GREEN-overdue"):
        (mrn,) = mrns(filings([reference]))
        await driver.control(mrn, control_pb2.CONTROL_FORM_DOCUMENTS, ends=control_pb2.CONTROL_OVERDUE_CONCLUDE)
    proposed = pb.ReleaseConsignmentsRequest(
        request_id="before", consignments=[clearance.ref("RED-confirm-two")], reason="IN_ORDER"
    )
    await process.ask(Role.OFFICER, "otto", process.clearance, "ReleaseConsignments", proposed)
    claim = work_pb2.ClaimConsignmentsRequest(request_id="before", consignments=[clearance.ref("RED-hand")])
    await process.officer(process.work, "ClaimConsignments", claim)
    stage.given["now"] = now = await stage.database.now()
    request = pb_lists.ExportReleaseListRequest(master_document_numbers=[LISTED], conveyance_reference="LX0188")
    page = (await process.ask(Role.OFFICER, "olga", process.lists, "ExportReleaseList", request)).page
    marks = pb_lists.ImportReleaseListRequest(request_id="import", page=page)
    for line, decision in ((1, RELEASED), (2, HELD)):
        marks.marks.add(line=line, decision=decision, marked_by="dora").marked_at.FromMicroseconds(now)
    stage.given["list"] = marks.SerializeToString()


# ---------------------------------------------------------------------------------------------- the kills
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", WORK)
async def test_a_batch_that_is_killed_at_any_of_its_commits_has_its_effect_once(stage: Stage, name: str) -> None:
    await restore(stage.database, stage.tables)
    model = expected(name, await stage.once())
    commits = await stage.work(name)
    assert (await stage.once()).differing(model) == {}
    lists = await stage.lists()
    await stage.check(name, lists)
    assert await stage.work(name) <= commits
    assert (await stage.once(), await stage.lists()) == (model, lists), "repeated"
    await restore(stage.database, stage.tables)
    for commit in range(commits):
        for when, cut in KILLS.items():
            await stage.kill(name, commit, cut)
            await stage.work(name)
            assert (await stage.once()).differing(model) == {}, (commit, when)
            assert await stage.lists() == lists, (commit, when)
            await stage.check(name, lists)
            await restore(stage.database, stage.tables)
