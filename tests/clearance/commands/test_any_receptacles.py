"""Any sequence of filings, amendments, arrivals, reversals and crashes of goods with receptacles: they have arrived where a plain model says so."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.columns import Table
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.commands.arrivals.transport import Position, Transport, consignments_after, travels
from tests.clearance.desk import CARRIER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import PRESENTATION, arrival, arrive, check_versions, texts
from tests.clearance.dying import Died, DyingDatabase

BAGS: Final = ("B0", "B1", "B2")
MASTERS: Final = ("M0", "M1", "B0")
"""A receptacle may be filed as the master document as well."""
NUMBERS: Final = sorted({*BAGS, *MASTERS})
GOODS: Final = 4
LATEST: Final = 2**60
PLACE: Final = st.integers(0, GOODS - 1)
FILED: Final = st.tuples(st.just("file"), PLACE, st.sampled_from(MASTERS), st.lists(st.sampled_from(BAGS), max_size=3))
STEP: Final = st.one_of(
    FILED,
    st.tuples(st.sampled_from(["arrive", "arrive", "reverse"]), st.sampled_from(NUMBERS)),
)
DEATH: Final = st.one_of(
    st.none(),
    st.tuples(st.just("left"), st.integers(1, 25)),
    st.tuples(st.just("commits"), st.integers(1, 3)),
)
examples = itertools.count()


@dataclass
class Goods:
    """What the model knows of one consignment."""

    master: str
    bags: list[str]
    version: int
    by: str = ""
    """The number by which it arrived."""

    @property
    def only(self) -> str:
        """The receptacle that contains all of it; "" if there is none, or several."""
        return self.bags[0] if len(set(self.bags)) == 1 else ""

    def arrives(self, reported: set[str]) -> None:
        """Arrive, if it has not and a report is that of all of it."""
        if not self.by:
            self.by = next((each for each in (self.master, self.only) if each and each in reported), "")


@dataclass
class Model:
    """What is reported, and what arrived by it; each step takes effect once."""

    goods: dict[int, Goods] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)

    def file(self, place: int, master: str, bags: list[str], version: int) -> None:
        """Store a filing or its amendment, unless the goods arrived by what the amendment takes from them."""
        new, now = Goods(master, bags, version), self.goods.get(place)
        if now is not None and now.by:
            if new.master != now.master or (now.by != now.master and new.only != now.only):
                return
            new.by = now.by
        self.goods[place] = new
        new.arrives(self.reported)

    def arrive(self, number: str) -> None:
        """Report an arrival."""
        self.reported.add(number)
        for each in self.goods.values():
            each.arrives(self.reported)

    def reverse(self, number: str) -> None:
        """Reverse one: the goods arrive by their other number, if that was reported."""
        self.reported.discard(number)
        for each in self.goods.values():
            if each.by == number:
                each.by = ""
                each.arrives(self.reported)


class Quay:
    """The goods of one example, and the process that works on them."""

    def __init__(self, desk: Desk, number: int) -> None:
        self.base, self.number, self.requests = desk, number, 0
        self.references = [f"{'RED' if place % 2 else 'GREEN'}-{number:03d}{place}" for place in range(GOODS)]
        self.database = DyingDatabase(desk.store.database)
        self.desk = self.start()

    def start(self) -> Desk:
        """Start a process: presentation is an act of its own, so that goods that arrived can be amended and nothing is released."""
        self.database.left = self.database.commits = None
        desk = Desk(self.database.as_database, self.base.neighbours, self.base.channel)
        desk.decide.presentation = desk.arrive.law = PRESENTATION
        return desk

    def named(self, number: str) -> str:
        """Return a number of this example."""
        return f"{number}-{self.number}"

    def filed(self, place: int, master: str, bags: list[str], version: int) -> Table:
        def within(_: int, row: Consignment) -> None:
            row.receptacles[:] = map(self.named, bags)

        return filings([self.references[place]], master=self.named(master), version=version, change=within)

    async def consume(self, filing: Table) -> None:
        await self.desk.consume(filing)

    async def arrive(self, number: str, request: int) -> None:
        await arrive(self.desk, arrival(self.named(number)), f"{self.number}-{request}")

    async def reverse(self, number: str) -> None:
        reversal = Reversal(self.desk.store, law=PRESENTATION)
        await reversal.begin(self.named(number), CARRIER, "officer/otto")
        await reversal.reverse(self.named(number), CARRIER, trace=TRACE, by="officer/otto")

    async def finish(self) -> None:
        """Do what a process left behind, as the jobs do, until nothing is due."""
        reversal = Reversal(self.desk.store, law=PRESENTATION)
        for _ in range(10):
            done = await Arrive(self.desk.store, PRESENTATION).finish(LATEST, 100)
            if not done + await reversal.finish(LATEST, 100):
                return
        raise AssertionError("arrivals are carried out again and again")

    async def dying(
        self, step: Callable[[], Awaitable[object]], death: tuple[str, int] | None, *, repeats: bool
    ) -> None:
        """Do a step in a process that may end; another one repeats it, or only its jobs do what is left."""
        if death is not None:
            setattr(self.database, *death)
        try:
            await step()
        except Died:
            self.desk = self.start()
            if repeats:
                await step()
        self.database.left = self.database.commits = None
        await self.finish()

    async def check(self, model: Model) -> None:
        """Compare all goods, and what each number leads to, with the model."""
        places = sorted(model.goods)
        goods = [model.goods[place] for place in places]
        own = [mrns(filings([self.references[place]]))[0] for place in places]
        states = await Desk(self.base.store.database, self.base.neighbours, self.base.channel).states(own)
        masters, bags = states.strings("master_document_number").tolist(), texts(states, "receptacles")
        by_bag = states.bools("arrived_by_receptacle").values.tolist()
        arrived = states.ints("arrived_at").valid.tolist()
        assert states.ints("filing_version").tolist() == [each.version for each in goods]
        assert bags == [list(map(self.named, each.bags)) for each in goods]
        by = [
            "" if not has_arrived else bags[row][0] if by_bag[row] else masters[row]
            for row, has_arrived in enumerate(arrived)
        ]
        assert by == [self.named(each.by) if each.by else "" for each in goods]
        assert not any(bag and not has_arrived for bag, has_arrived in zip(by_bag, arrived, strict=True))
        for number in NUMBERS:
            under = {mrn for mrn, each in zip(own, goods, strict=True) if number in (each.master, *each.bags)}
            assert set(await self.under(number)) == under
        # A list of all numbers has each of the goods; none twice that was never in a number before.
        listed = await self.under(*NUMBERS)
        assert set(listed) == set(own)
        assert all(listed.count(mrn) == 1 for mrn, each in zip(own, goods, strict=True) if each.version == 1)

    async def under(self, *numbers: str) -> list[str]:
        """Return what travels under some numbers, read in short chunks."""
        transport = Transport(tuple(sorted(map(self.named, numbers))))
        found: list[str] = []
        place = Position()
        while True:
            documents, place = await consignments_after(self.desk.store, transport, place, 3)
            if documents:
                states = await self.desk.states(list(documents))
                there = states.take(np.flatnonzero(travels(states, transport, documents)))
                found += there.strings("mrn").tolist()
            if not place.document:
                return found


# A shorter sequence is looked for by hand: each takes seconds.
@settings(max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.lists(FILED, min_size=2, max_size=4, unique_by=lambda step: step[1]),
    steps=st.lists(st.tuples(STEP, DEATH, st.booleans()), min_size=6, max_size=16),
)
async def test_goods_arrive_by_their_master_document_or_only_receptacle_whatever_happens(
    desk: Desk,
    first: list[tuple[str, int, str, list[str]]],
    steps: list[tuple[tuple[str, int, str, list[str]] | tuple[str, str], tuple[str, int] | None, bool]],
) -> None:
    quay, model = Quay(desk, next(examples)), Model()
    versions = [0] * GOODS
    for request, (step, death, repeats) in enumerate([*((each, None, True) for each in first), *steps]):
        if len(step) == 4:
            _, place, master, bags = step
            versions[place] += 1
            filing = quay.filed(place, master, bags, versions[place])
            # A feed's page is repeated until it is applied.
            await quay.dying(partial(quay.consume, filing), death, repeats=True)
            model.file(place, master, bags, versions[place])
        elif step[0] == "arrive":
            await quay.dying(partial(quay.arrive, step[1], request), death, repeats=True)
            model.arrive(step[1])
        elif step[1] in model.reported:
            # The jobs complete what a call that ended early recorded; the caller repeats one that recorded nothing.
            await quay.dying(partial(quay.reverse, step[1]), death, repeats=repeats)
            if not repeats:
                await quay.dying(partial(quay.reverse, step[1]), None, repeats=True)
            model.reverse(step[1])
        await quay.check(model)
    await check_versions(desk)
