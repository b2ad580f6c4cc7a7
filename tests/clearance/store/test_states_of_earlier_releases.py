"""States that replicas of earlier releases stored: each newer act has the effect on them that it has on states of this release."""

from __future__ import annotations

from typing import Any, Final

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.decide import Decide
from services.clearance.consignment.transitions import State
from services.clearance.feeds.filings import Intake
from services.clearance.jobs.waits import Waits
from services.clearance.store import Store
from tests.clearance.audit.trail import errors_of
from tests.clearance.desk import ASSESS_SECONDS, Desk, filings, mrns, risk_answer
from tests.clearance.desk_commands import check_versions
from tests.clearance.events import DAY_MICROS, STEPS, Driver
from tests.clearance.goods import goods, law, licence, register, used
from tests.clearance.second_person import of_two

LATER: Final = (
    "presentation_due_at", "presented_at", "presentation_overdue_at", "licences", "rights_matches", "proposals", "pre_loading_omitted",
    "pre_loading_confidential_reason", "pre_loading_second_person", "pre_loading_unjudged", "incomplete_stages", "filed_late",
    "direction", "exited_at", "missing_roles", "split", "previous_part_mrn", "representative_identifier",
    "awaited_parts", "receptacles", "arrived_by_receptacle", "contradictions", "contradiction_count",
)  # fmt: skip
LATER_OF: Final = {
    "items": ("picture_url", "picture_sha256"),
    "findings": ("second_person",),
    "controls": ("answered_by", "facts", "confidential_reason", "filing_version"),
}
"""What the release that had migration 0029 does not write, beside the columns of movements and scans."""


def stripped(states: Table) -> Table:
    """Return states as that release writes them."""
    message: Any = states.encode(ClearanceColumns)
    for each in [field.name for field in ClearanceColumns.DESCRIPTOR.fields]:
        if each in LATER or each.startswith("transit_"):
            message.ClearField(each)
    for child, names in LATER_OF.items():
        for each in names:
            getattr(message, child).ClearField(each)
    return Table.decode(message)


class EarlierStore(Store):
    """The store of a replica of that release."""

    async def insert(self, tx: Transaction, table: Table, *, trace: str) -> BatchRef:
        return await super().insert(tx, stripped(table), trace=trace)

    async def update(self, tx: Transaction, table: Table, **options: Any) -> BatchRef:
        return await super().update(tx, stripped(table), **options)


def earlier(desk: Desk) -> Desk:
    """Return the desk of a replica of that release at the store of another."""
    made = Desk(desk.store.database, desk.neighbours, desk.channel)
    made.store = EarlierStore(desk.store.database)
    made.decide, made.arrive = Decide(made.store), Arrive(made.store)
    made.intake = Intake(made.decide, made.channel, made.channel, assess_seconds=ASSESS_SECONDS)
    return made


THERE, AWAY = "there", "away"
"""Master documents of goods that have arrived, and of goods that have not, behind the release that stored them."""
PREPARED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("GREEN", AWAY, ()),
    ("GREEN", AWAY, ("hold",)),
    ("GREEN", AWAY, ("screening by a deadline",)),
    ("GREEN", THERE, ()),
    ("RED", THERE, ()),
    ("BARE", THERE, ()),
    ("RED", THERE, ("documents",)),
    ("RED", THERE, ("scan",)),
    ("RED", THERE, ("violation",)),
    ("RED", THERE, ("match",)),
    ("RED", THERE, ("seized",)),
)
"""What that release did with the goods: lane, master document and events after the arrival of the first one."""
ACTS: Final[tuple[tuple[str, ...], ...]] = (
    ("present", "release"),
    ("transit", "transit arrives", "release"),
    ("transit", "transit ends", "destroyed"),
    ("transit", "transit arrives with a difference"),
    ("return ordered by an officer", "depart"),
    ("return in bulk",),
    ("licensed", "destroyed"),
    ("unlicensed", "in order"),
    ("two", "release", "confirm"),
    ("two", "re_exported", "confirm"),
    ("answer", "in order"),
    ("paid", "match", "clear"),
)
"""What is done then by this release."""
PAIRS: Final = [
    (goods, acts)
    for place, goods in enumerate(PREPARED)
    for number, acts in enumerate(ACTS)
    if not (place + number) % 3
]
"""Each third pair, so that the test is short: each act on some goods of each kind."""


async def act(driver: Driver, name: str, reference: str, master: str) -> None:
    """Do something with goods; an amendment names other goods, or makes a finding of which two officers decide."""
    if name in STEPS:
        await STEPS[name](driver, reference)
        return
    driver.desk.neighbours.risk = of_two if name == "two" else risk_answer
    cites = {"licensed": [("C400", "L1")], "unlicensed": []}
    made = filings([reference], version=2, master=master)
    if name in cites:
        made = goods([reference], cites=cites[name], version=2, master=master)
    await driver.desk.consume(made)


def differing(states: Table, first: int, second: int) -> list[tuple[str, Any, Any]]:
    """Return in what two consignments differ, but for what names them and for times and places of versions."""
    pairs = [(name, *(_value(states.column(name), row, name) for row in (first, second))) for name in states.names]
    return [(name, one, other) for name, one, other in pairs if one != other and name not in NAMES]


NAMES: Final = (
    "mrn", "local_reference", "house_document_number", "master_document_number", "check_salt", "partition", "previous_batch_day",
    "previous_batch_id", "previous_batch_row", "debt_event_number", "receptacles",
)  # fmt: skip


def _value(column: Column, row: int, name: str) -> Any:
    if isinstance(column, Ints):
        return bool(column.valid[row]) if name.endswith(("_at", "_before")) else column[row]
    if isinstance(column, Strings):
        return column[row]
    if isinstance(column, Bools):
        return bool(column.values[row])
    assert isinstance(column, Ragged)
    values, places = column.values, range(*column.span(row).indices(len(column.values)))
    if isinstance(values, Table):
        names = sorted(each for each in values.names if each not in NAMES)
        return [[_value(values.column(each), place, each) for each in names] for place in places]
    return [values[place] for place in places]  # type: ignore[index]


async def test_newer_acts_have_the_same_effect_on_states_that_an_earlier_release_stored(desk: Desk) -> None:
    desk.decide.goods = law()
    await register(desk.store, licence(grams=None))
    goods_of: dict[str, list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]] = {"old": [], "new": []}
    driver = Driver(desk)
    for release, writer in (("old", earlier(desk)), ("new", desk)):
        for place, ((lane, master, events), acts) in enumerate(PAIRS):
            suffix = "two" if "two" in acts else "x"
            goods_of[release].append((f"{lane}-{release}{place}-{suffix}", release + master, events, acts))
        for master in (release + AWAY, release + THERE):
            await writer.consume(filings([each for each, its, *_ in goods_of[release] if its == master], master=master))
        driver.desk = writer
        await driver.arrive(release + THERE)
        for reference, _, events, _ in goods_of[release]:
            for name in events:
                await STEPS[name](driver, reference)
    for release in goods_of:
        for reference, master, _, acts in goods_of[release]:
            for name in acts:
                await act(driver, name, reference, master)
    await compare(desk, goods_of)
    await Waits(desk.store, "r").step(at=await desk.store.database.now() + 120 * DAY_MICROS)
    await compare(desk, goods_of)
    assert await errors_of(desk) == []
    await check_versions(desk)
    written_off, summed, uses = await used(desk.store)
    assert (written_off, uses > 0) == (summed, True)


async def compare(desk: Desk, goods_of: dict[str, list[Any]]) -> None:
    """Compare each consignment of the earlier release with its like."""
    former, present = ([reference for reference, *_ in goods_of[release]] for release in ("old", "new"))
    states = await desk.states(mrns(filings([*former, *present])))
    found = {pair: differing(states, place, place + len(former)) for place, pair in enumerate(PAIRS)}
    assert {pair: each for pair, each in found.items() if each} == {}
    assert len({State(each) for each in states.ints("state").values.tolist()}) > 7
