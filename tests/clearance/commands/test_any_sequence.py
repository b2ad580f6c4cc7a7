"""Any sequence of filings, answers, arrivals, payments, holds, amendments, timers and crashes: what must hold, after each step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.columns import Ints, Ragged, Table
from luxor.consignment.v1 import consignment_pb2
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER
from services.clearance.consignment.transitions import Debt, State
from services.clearance.transit.movement import TransitOutcome
from tests.clearance.desk import Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION
from tests.clearance.dying import Died, DyingDatabase
from tests.clearance.events import STEPS, Driver
from tests.clearance.goods import MEAT, TOYS, law, licence, register
from tests.clearance.loading import NONE, parameters, recommending
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.scalar import CONTROLS, ENDS
from tests.clearance.second_person import of_two

TWO, TOY, MEAL, GAP = "-two", "-toy", "-eat", "-gap"
"""How references end: what officers decide on them is confirmed by a second one; toys need a licence; an agency examines meat; parts are missing."""
WORDS: Final = (
    ("GREEN", ""), ("GREEN", GAP), ("BARE", ""), ("YELLOW", TWO), ("RED", TWO), ("NORATE", ""), ("VENDOR", TOY), ("RED", TOY), ("GREEN", MEAL),
)  # fmt: skip
"""How the local references of a sequence begin and end: they tell the neighbours what to answer, and what the goods are."""
LAW: Final = law()
SEVERAL: Final = {
    "amend", "move",  # an arrival under the other document takes effect with the amendment
    "complete",  # a process that ends after the COMMIT files one more
    "wait", "wait long", "storage ends",  # several times may be over at once
    "transit loses",  # the movement begins before
}  # fmt: skip
"""Steps that are more than one event of a consignment."""
CONCLUDING: Final = {"agency in order", "agency not in order", "seized"}
"""Steps after which no request of an agency need be open."""
PLACE: Final = st.integers(0, len(WORDS) - 1)
DEATH: Final = st.one_of(
    st.none(),
    st.tuples(st.just("left"), st.integers(1, 30)),
    st.tuples(st.just("commits"), st.integers(1, 2)),
)
"""After how many statements or COMMITs of a step the process ends, and another one does the step once more."""
ANY: Final = st.tuples(st.sampled_from(sorted(STEPS)), PLACE, DEATH)
LICENSED: Final = st.tuples(
    st.sampled_from(
        [
            "amend",
            "write off",
            "agency in order",
            "release",
            "arrive",
            "invalidated",
            "withdraw filing",
            "return in bulk",
        ]
    ),
    st.sampled_from([place for place, (_, end) in enumerate(WORDS) if end in (TOY, MEAL)]),
    DEATH,
)
"""Steps that matter to licences and to controls of goods, which would be rare among all."""
LACKING: Final = st.tuples(
    st.sampled_from(
        [
            "complete",
            "complete",
            "arrive",
            "amend",
            "hold",
            "release",
            "match",
            "clear",
            "documents",
            "in order",
            "paid",
        ]
    ),
    st.sampled_from([place for place, (_, end) in enumerate(WORDS) if end == GAP]),
    DEATH,
)
"""Steps that matter to filings that lack parts."""
STEP: Final = st.one_of(ANY, ANY, LICENSED, LACKING)
REFUSED: Final = ("release", "return in bulk", "re_exported", "abandoned", "invalidated", "confiscated")
"""What nobody does with goods that a movement lost."""
OF_LOST: Final = st.sampled_from([
    "return ordered by an officer", "depart", "seizure_lifted", "hold", "scan", "in order", "paid", "reassess", "secured", "match", "clear",
    "reverse", "wait long",
])  # fmt: skip
EXITS: Final = st.sampled_from(["destroyed", "destroyed", "seized", "transit"])
EARLY: Final = st.tuples(st.sampled_from(["match", "clear", "paid", "open", "reassess", "arrive"]), PLACE, DEATH)
Death = tuple[str, int] | None
Loss = tuple[int, list[tuple[str, int, Death]]]
examples = itertools.count()


@st.composite
def losses(draw: st.DrawFn) -> Loss:
    """Goods that a movement loses, and what happens to them then: the place in the sequence, and the steps."""
    others = draw(st.lists(OF_LOST, min_size=1, max_size=5))
    names = ["arrive", "transit loses", *others, *draw(st.permutations(REFUSED)), draw(EXITS), draw(OF_LOST)]
    place = draw(st.sampled_from([2, 5, 7]))
    return draw(st.integers(0, 40)), [(name, place, draw(DEATH)) for name in names]


@dataclass(frozen=True)
class Stand:
    """Where one consignment stands."""

    version: int
    state: int
    filing: int
    master: str
    has_arrived: bool
    is_presented: bool
    """Whether the goods arrived and, where presentation is an act of its own, were presented."""
    is_held: bool
    """Whether a hold, an open control or an open violation stops it."""
    by_officer: bool
    """Whether an officer holds it."""
    is_controlled: bool
    """Whether a control is open."""
    debt: int
    payable: int
    """What is to be paid as assessed; 0 if nobody can compute it."""
    moves: bool
    """Whether it is in transit to another office."""
    is_lost: bool
    """Whether a movement lost it."""
    lacks: bool
    """Whether a part is missing that the jurisdiction requires."""
    of_two: bool
    """Whether a second officer confirms what one decides: risk's rule says so of the filing."""


def stands(states: Table) -> list[Stand]:
    """Return where each stands."""

    def values(name: str) -> list[Any]:
        return states.ints(name).tolist()

    found, resolved = states.strings("violation_found_by").tolist(), states.strings("violation_resolved_by").tolist()
    violation = [bool(by) and not done for by, done in zip(found, resolved, strict=True)]
    controls, results = states.ragged("controls"), states.child("controls").ints("result").tolist()
    controlled = [not all(results[controls.span(row)]) for row in range(states.rows)]
    holds = [states.bools(name).values.tolist() for name in ("officer_hold", "screening_hold")]
    held = [any(each) for each in zip(*holds, violation, controlled, strict=True)]
    arrived = [each is not None for each in values("arrived_at")]
    presented = [
        has_arrived and (due is None or at is not None)
        for has_arrived, due, at in zip(arrived, values("presentation_due_at"), values("presented_at"), strict=True)
    ]
    columns = (
        values("version"),
        values("state"),
        values("filing_version"),
        states.strings("master_document_number").tolist(),
    )
    began, ended = values("transit_started_at"), values("transit_ended_at")
    moves = [start is not None and end is None for start, end in zip(began, ended, strict=True)]
    of_two = [each.endswith(TWO) for each in states.strings("local_reference").tolist()]
    lost = [each == TransitOutcome.LOST for each in values("transit_outcome")]
    payable = [each or 0 for each in values("payable_minor")]
    lacks = (states.ragged("missing_roles").lengths > 0).tolist()
    further = (
        arrived,
        presented,
        held,
        holds[0],
        controlled,
        values("debt_status"),
        payable,
        moves,
        lost,
        lacks,
        of_two,
    )
    return [Stand(*each) for each in zip(*columns, *further, strict=True)]


class Sequence:
    """The goods of one example, and the process that works on them."""

    def __init__(self, desk: Desk, number: int) -> None:
        self.base = desk
        self.number = number
        self.references = [f"{word}-{number % 1_000:03d}{place}{end}" for place, (word, end) in enumerate(WORDS)]
        self.limit = 2_000 + 500 * (number % 3)
        """Grams that the licence for toys is for: enough for one filing, and often for both."""
        self.concluded: set[str] = set()
        """Goods of which an agency may have concluded a control without a licence, or which were seized."""
        self.released: set[str] = set()
        """Goods that were released at some time."""
        self.database = DyingDatabase(desk.store.database)
        spans = {
            self.references[1]: ServiceSpan(delay_minutes=60),
            self.references[3]: ServiceSpan(days=3, open=("VALUE_DOUBTED",)),
            # A rule requires the second officer, and no match does: the finding stays when the match is cleared.
            self.references[4]: ServiceSpan(open=("VALUE_DOUBTED",), confidential=("VALUE_DOUBTED",)),
        }
        desk.neighbours.risk = lambda table: of_two(table, answering(spans))
        # Risk refers two of them before loading, in each version as it pleases, and judges every second version.
        loading = recommending(
            lambda reference, version: (version + number) % 4 if reference in self.references[::3] else NONE, []
        )
        desk.neighbours.loading = lambda table: loading(table).with_columns(
            {"unjudged": Ints.of((table.ints("version").values + number) % 2)}
        )
        masters = f"160{number:08d}", f"020{number:08d}"
        self.driver = Driver(desk, *masters, 1_000 * number, self.filed, f"L{number}")
        self.start()

    def start(self) -> None:
        """Start a process: it remembers nothing."""
        self.dies(None)
        self.driver.desk = Desk(self.database.as_database, self.base.neighbours, self.base.channel)
        self.driver.desk.decide.parameters, self.driver.desk.decide.goods = parameters(), LAW
        if self.number % 2:
            self.driver.desk.decide.presentation = self.driver.desk.arrive.law = PRESENTATION

    def dies(self, death: Death) -> None:
        """Let the process end after so many statements or COMMITs."""
        self.database.left = self.database.commits = None
        if death is not None:
            setattr(self.database, *death)

    async def step(self, name: str, reference: str, death: Death) -> None:
        """Do a step; if the process ends in it, another one repeats it as the same request."""
        calls = self.driver.calls
        self.dies(death)
        try:
            await STEPS[name](self.driver, reference)
        except Died:
            self.start()
            self.driver.calls = calls
            await STEPS[name](self.driver, reference)
        self.dies(None)

    def filed(self, references: list[str], *, master: str, version: int = 1) -> Table:
        """Return filings that declare the goods as the references say."""

        def declare(_: int, row: consignment_pb2.Consignment) -> None:
            (item,) = row.items
            if row.local_reference.endswith(TOY):
                item.commodity_code, item.net_mass_mg = TOYS, 1_000 * grams(row.local_reference, version)
                item.supporting_documents.add(type="C400", reference=self.driver.licence)
            elif row.local_reference.endswith(MEAL):
                item.commodity_code = MEAT

        table = filings(references, master=master, version=version, change=declare)
        # Of three versions the first one lacks two parts, the second one lacks one.
        missing = [(-version % 3) * each.endswith(GAP) for each in references]
        return table.with_columns(
            {"missing_roles": Ragged.of_lengths(missing, Ints.constant(PARTY_ROLE_CARRIER, sum(missing)))}
        )

    async def stands(self) -> list[Stand]:
        """Return where the goods stand, as another process finds them."""
        fresh = Desk(self.base.store.database, self.base.neighbours, self.base.channel)
        return stands(await fresh.states(mrns(filings(self.references))))

    async def listed(self) -> set[str]:
        """Return the goods that are on a work list of somebody or have a timer."""
        names = ("held", "seized", "control", "due", "storage", "transit")
        lists = " union all ".join(f"select mrn from {name}" for name in names)
        async with self.base.store.database.connection() as reading:
            return {row["mrn"] for row in await reading.raw.fetch(lists)}

    async def uncovered(self, after: list[Stand]) -> list[str]:
        """Return what must hold of licences and of controls by agencies, and does not."""
        uses = "select mrn, quantity from licence_use where number = $1 and restored_at is null"
        async with self.base.store.database.connection() as reading:
            used = [
                (row["mrn"], int(row["quantity"]) // 1_000)
                for row in await reading.raw.fetch(uses, self.driver.licence)
            ]
            sum_ = "select written_off from licence where number = $1"
            written_off = await reading.raw.fetchval(sum_, self.driver.licence) // 1_000
        found = []
        if written_off != sum(each for _, each in used) or written_off > self.limit:
            found.append("a licence is written off beyond its quantity, or by more than its uses")
        own = dict(used)
        if len(own) < len(used):
            found.append("an item has a licence written off twice")
        for reference, mrn, stand in zip(self.references, mrns(filings(self.references)), after, strict=True):
            if stand.state == State.RELEASED:
                self.released.add(reference)
            if reference.endswith(TOY):
                ended = stand.state in ENDS and reference not in self.released
                if ended and mrn in own:
                    found.append("goods that ended without a release have their licence still")
                if mrn in own and own[mrn] != grams(reference, stand.filing):
                    found.append("another quantity is written off than the filing declares")
                free = stand.state not in ENDS and not stand.is_controlled
                if free and mrn not in own and reference not in self.concluded:
                    found.append("goods without a licence have no open request for it")
            elif reference.endswith(MEAL) and reference in self.released - self.concluded:
                found.append("released before the agency examined it")
        return found


def grams(reference: str, version: int) -> int:
    """Return the mass of toys that a version of a filing declares."""
    return 500 * (1 + (2 * version + len(reference)) % 4)


def broken(name: str, before: Stand, after: Stand) -> list[str]:
    """Return what must hold and does not, from issue to issue."""
    found = []
    owing = after.debt == Debt.OPEN or (after.debt == Debt.UNKNOWN and name != "release")
    if after.state == State.RELEASED and before.state != State.RELEASED and (after.is_held or owing):
        found.append("released with an open referral, control, hold, violation or debt")
    customs_decides = after.state in ENDS and after.state != State.EXPIRED and name != "withdraw filing"
    if (
        before.of_two
        and name != "confirm"
        and before.state in (State.HELD, *CONTROLS)
        and (after.state == State.RELEASED or customs_decides)
    ):
        found.append("one officer decided alone")
    if after.moves and after.state != before.state and after.state in (State.RELEASED, State.SEIZED, *ENDS):
        found.append("released, seized or ended in transit")
    if after.is_lost and after.state not in (State.HELD, *CONTROLS, State.DESTROYED):
        found.append("lost goods were released, or left otherwise than destroyed")
    if after.is_lost and after.state != State.DESTROYED and not after.by_officer:
        found.append("no officer holds lost goods")
    if before.is_lost and not after.is_lost and not after.moves and after.state != State.SEIZED:
        found.append("lost goods turned up without a seizure or a movement")
    if after.is_lost and (
        (after.payable and after.debt == Debt.NONE) or (after.state != before.state and after.debt != before.debt)
    ):
        found.append("what is owed of lost goods ended without a payment")
    if after.state == State.RELEASED != before.state and not after.is_presented:
        found.append("released before the presentation")
    completes = name == "complete" and before.lacks and after.master == before.master
    if before.is_presented and not completes and (after.filing, after.master) != (before.filing, before.master):
        found.append("amended after the presentation")
    if after.state == State.RELEASED != before.state and after.lacks and name not in ("release", "confirm"):
        found.append("released without a required part")
    lifted = (before.by_officer and not after.by_officer) or (before.is_controlled and not after.is_controlled)
    if name == "complete" and before.is_presented and lifted:
        found.append("a completion lifted a hold or ended a control")
    if after.state == State.RE_EXPORTED != before.state and not after.has_arrived:
        found.append("re-exported before the arrival")
    # Customs invalidates a declaration that was lodged twice, also then.
    if name != "invalidated" and before.is_presented and after.state == State.INVALIDATED != before.state:
        found.append("invalidated after the presentation")
    # Before the arrival, a match requests information as well, and a reversal what risk recommended.
    events = 1 + (name in ("match", "reverse") and not after.has_arrived)
    if name not in SEVERAL and after.version > before.version + events:
        found.append("one event had two effects")
    if before.state in ENDS and after.state != before.state:
        found.append("the end was not the end")
    return found


# A shorter sequence is looked for by hand: each takes seconds.
@settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEP, min_size=10, max_size=40),
    early=st.lists(EARLY, max_size=2),
    lost=st.lists(losses(), min_size=1, max_size=2),
    first=DEATH,
)
async def test_what_must_hold_holds_after_each_step_whatever_happens_and_whenever_the_process_ends(
    desk: Desk,
    steps: list[tuple[str, int, Death]],
    early: list[tuple[str, int, Death]],
    lost: list[Loss],
    first: Death,
) -> None:
    # Each example has goods of its own in the same store.
    sequence = Sequence(desk, next(examples))
    await register(desk.store, licence(sequence.driver.licence, sequence.limit))
    for name, place, death in early:
        await sequence.step(name, sequence.references[place], death)
    filed = sequence.filed(sequence.references, master=sequence.driver.master)
    sequence.dies(first)
    try:
        await sequence.driver.desk.consume(filed)
    except Died:
        sequence.start()
        await sequence.driver.desk.consume(filed)
    before = await sequence.stands()
    assert await sequence.uncovered(before) == []
    for at, loss in lost:
        steps[at:at] = loss
    for name, place, death in steps:
        await sequence.step(name, sequence.references[place], death)
        if name in CONCLUDING:
            sequence.concluded.add(sequence.references[place])
        after = await sequence.stands()
        pairs = zip(sequence.references, before, after, strict=True)
        found = {reference: wrong for reference, *pair in pairs if (wrong := broken(name, *pair))}
        assert found == {}, (name, sequence.references[place], death)
        assert await sequence.uncovered(after) == [], (name, sequence.references[place], death)
        listed = await sequence.listed()
        ends = (State.RELEASED, *ENDS)
        # Goods that did not arrive expire at the latest.
        stuck = [
            mrn
            for mrn, each in zip(mrns(filed), after, strict=True)
            if each.has_arrived and each.state not in ends and mrn not in listed
        ]
        assert stuck == [], (name, "neither an end, nor a list, nor a timer")
        before = after
    assert await desk.inconsistencies(5) == []
    assert [each.is_controlled for each in before] == [each.state in CONTROLS for each in before], (
        "nothing is released with an open control, and nothing waits without one"
    )
