"""Any sequence of filings, answers, arrivals, payments, holds, amendments, timers and crashes: what must hold, after each step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.columns import Table
from services.clearance.consignment.controls.control import controls_of
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.transitions import HELD, Debt, State
from tests.clearance.desk import Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION
from tests.clearance.dying import Died, DyingDatabase
from tests.clearance.events import STEPS, Driver
from tests.clearance.loading import NONE, parameters, recommending
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.scalar import ENDS
from tests.clearance.second_person import of_two

WORDS: Final = ("GREEN", "GREEN", "BARE", "YELLOW", "RED", "NORATE", "VENDOR")
"""First words of the local references of a sequence: they tell the neighbours what to answer."""
SEVERAL: Final = {
    "amend", "move",  # an arrival under the other document takes effect with the amendment
    "wait", "wait long", "storage ends",  # several times may be over at once
}  # fmt: skip
"""Steps that are more than one event of a consignment."""
PLACE: Final = st.integers(0, len(WORDS) - 1)
DEATH: Final = st.one_of(
    st.none(),
    st.tuples(st.just("left"), st.integers(1, 30)),
    st.tuples(st.just("commits"), st.integers(1, 2)),
)
"""After how many statements or COMMITs of a step the process ends, and another one does the step once more."""
STEP: Final = st.tuples(st.sampled_from(sorted(STEPS)), PLACE, DEATH)
EARLY: Final = st.tuples(st.sampled_from(["match", "clear", "paid", "open", "reassess", "arrive"]), PLACE, DEATH)
Death = tuple[str, int] | None
examples = itertools.count()


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
    debt: int
    moves: bool
    """Whether it is in transit to another office."""
    of_two: bool
    """Whether a second officer confirms what one decides."""


def stands(states: Table) -> list[Stand]:
    """Return where each stands."""

    def values(name: str) -> list[Any]:
        return states.ints(name).tolist()

    found, resolved = states.strings("violation_found_by").tolist(), states.strings("violation_resolved_by").tolist()
    violation = [bool(by) and not done for by, done in zip(found, resolved, strict=True)]
    controls = [any(each.is_open for each in own) for own in controls_of(states)]
    holds = [states.bools(name).values.tolist() for name in ("officer_hold", "screening_hold")]
    held = [any(each) for each in zip(*holds, violation, controls, strict=True)]
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
    of_two = requires_second(states).tolist()
    further = (arrived, presented, held, values("debt_status"), moves, of_two)
    return [Stand(*each) for each in zip(*columns, *further, strict=True)]


class Sequence:
    """The goods of one example, and the process that works on them."""

    def __init__(self, desk: Desk, number: int) -> None:
        self.base = desk
        self.number = number
        self.references = [f"{word}-{number % 1_000:03d}{place}" for place, word in enumerate(WORDS)]
        # What officers decide on two of them, a second one confirms.
        self.references[3] += "-two"
        self.references[4] += "-two"
        self.database = DyingDatabase(desk.store.database)
        spans = {
            self.references[1]: ServiceSpan(delay_minutes=60),
            self.references[3]: ServiceSpan(days=3, open=("VALUE_DOUBTED",)),
            self.references[4]: ServiceSpan(confidential=("VALUE_DOUBTED",)),
        }
        desk.neighbours.risk = lambda table: of_two(table, answering(spans))
        # Risk refers two of them before loading, in each version as it pleases.
        desk.neighbours.loading = recommending(
            lambda reference, version: (version + number) % 4 if reference in self.references[::3] else NONE, []
        )
        self.driver = Driver(desk, f"160{number:08d}", f"020{number:08d}", 1_000 * number)
        self.start()

    def start(self) -> None:
        """Start a process: it remembers nothing."""
        self.dies(None)
        self.driver.desk = Desk(self.database.as_database, self.base.neighbours, self.base.channel)
        self.driver.desk.decide.parameters = parameters()
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


def broken(name: str, before: Stand, after: Stand) -> list[str]:
    """Return what must hold and does not, from issue to issue."""
    found = []
    owing = after.debt == Debt.OPEN or (after.debt == Debt.UNKNOWN and name != "release")
    if after.state == State.RELEASED and before.state != State.RELEASED and (after.is_held or owing):
        found.append("released with an open referral, control, hold, violation or debt")
    customs_decides = after.state in ENDS and after.state != State.EXPIRED
    if (
        before.of_two
        and name != "confirm"
        and before.state in HELD
        and (after.state == State.RELEASED or customs_decides)
    ):
        found.append("one officer decided alone")
    if after.moves and after.state != before.state and after.state in (State.RELEASED, State.SEIZED, *ENDS):
        found.append("released, seized or ended in transit")
    if after.state == State.RELEASED != before.state and not after.is_presented:
        found.append("released before the presentation")
    if before.is_presented and (after.filing, after.master) != (before.filing, before.master):
        found.append("amended after the presentation")
    # Customs invalidates a declaration that was lodged twice, also then.
    if name != "invalidated" and before.is_presented and after.state == State.INVALIDATED != before.state:
        found.append("invalidated after the presentation")
    if name not in SEVERAL and after.version > before.version + 1:
        found.append("one event had two effects")
    if before.state in ENDS and after.state != before.state:
        found.append("the end was not the end")
    return found


# A shorter sequence is looked for by hand: each takes seconds.
@settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=10, max_size=40), early=st.lists(EARLY, max_size=2), first=DEATH)
async def test_what_must_hold_holds_after_each_step_whatever_happens_and_whenever_the_process_ends(
    desk: Desk, steps: list[tuple[str, int, Death]], early: list[tuple[str, int, Death]], first: Death
) -> None:
    # Each example has goods of its own in the same store.
    sequence = Sequence(desk, next(examples))
    for name, place, death in early:
        await sequence.step(name, sequence.references[place], death)
    filed = filings(sequence.references, master=sequence.driver.master)
    sequence.dies(first)
    try:
        await sequence.driver.desk.consume(filed)
    except Died:
        sequence.start()
        await sequence.driver.desk.consume(filed)
    before = await sequence.stands()
    for name, place, death in steps:
        await sequence.step(name, sequence.references[place], death)
        after = await sequence.stands()
        pairs = zip(sequence.references, before, after, strict=True)
        found = {reference: wrong for reference, *pair in pairs if (wrong := broken(name, *pair))}
        assert found == {}, (name, sequence.references[place], death)
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
    states = await desk.states(mrns(filed))
    waits = [any(each.is_open for each in controls) for controls in controls_of(states)]
    stopped = [each in (State.DOCUMENTS_REQUESTED, State.EXAMINATION) for each in states.ints("state").tolist()]
    assert waits == stopped, "nothing is released with an open control, and nothing waits without one"
