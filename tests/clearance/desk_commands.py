"""Commands that tests give to a desk: arrivals, acts of officers, and the check of all versions that followed."""

from __future__ import annotations

import asyncio
from datetime import date

from libs.columns import Table
from libs.store.database import Transaction
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.act import Acted, Commands, Request
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event, State
from services.clearance.presentation.law import PresentationLaw, Rule
from tests.clearance.desk import ACCEPTED_AT, MASTER, TRACE, Desk, mrns

HELD_MILLIS = 60_000
"""How long a transaction may be held until another waits for it: the usual limit may end it on a busy machine."""

PRESENTATION = PresentationLaw(
    rules=(
        Rule(
            jurisdiction="EU",
            areas=frozenset({"DE"}),
            start=date(2020, 1, 1),
            due_minutes=60,
            law="",
            article="",
            address="",
        ),
    )
)
"""The law under which the goods of a desk are to be presented within an hour."""


def texts(table: Table, name: str) -> list[list[str]]:
    lists = table.ragged(name)
    flat = lists.values.tolist()  # type: ignore[union-attr]
    return [flat[lists.span(row)] for row in range(table.rows)]


def arrival(master: str = MASTER, place: str = "DEFRA") -> Arrival:
    return Arrival(master, "wings", "LX0188", ACCEPTED_AT + 10**9, place)


async def arrive(desk: Desk, told: Arrival, request_id: str = "a1") -> bool:
    async with desk.store.database.transaction() as tx:
        await desk.store.arrivals.lock_documents(tx, [told.document_number])
        (own,) = await desk.store.arrivals.record(tx, [told], request_id=request_id, at=ACCEPTED_AT)
    await desk.arrive.run([told.document_number], trace=TRACE)
    return own


async def act(
    desk: Desk,
    event: Event,
    numbers: list[str],
    *,
    expected: int | None = None,
    request_id: str = "o1",
    reason: str = "LOOKED_AT",
) -> list[Acted]:
    kept: list[Acted] = []

    def encode(results: object) -> bytes:
        kept.extend(results)  # type: ignore[call-overload]
        return repr(results).encode()

    digest = event.name.encode() + repr((numbers, expected)).encode()
    await Commands(desk.store).act(
        [(number, expected) for number in numbers],
        lambda states, at: (states, EventDetails(event=event, at=at, by="olga", reason=reason, note="n")),
        request=Request("officer/olga", request_id, digest, TRACE),
        encode=encode,
    )
    return kept


async def check_versions(desk: Desk) -> None:
    """All that was announced of a consignment has the versions 1, 2, 3 …, each once, and the lists have what is held or delayed now."""
    seen: dict[str, list[int]] = {}
    for table in await desk.events():
        for mrn, version in zip(mrns(table), table.ints("version").values.tolist(), strict=True):
            seen.setdefault(mrn, []).append(version)
    assert seen
    assert all(sorted(versions) == list(range(1, len(versions) + 1)) for versions in seen.values()), seen
    await check_lists(desk, list(seen))


async def check_lists(desk: Desk, numbers: list[str]) -> None:
    """These consignments are listed as held and as delayed exactly if they are."""
    states = await desk.states(numbers)
    held: set[str] = set()
    delays: dict[str, int | None] = {}
    for row, mrn in enumerate(numbers):
        state, release, reroute = (states.ints(name)[row] for name in ("state", "release_not_before", "reroute_at"))
        began, ended = (states.ints(f"transit_{name}_at")[row] for name in ("started", "ended"))
        if state == State.HELD:
            held.add(mrn)
        if began is not None and ended is None:
            continue
        if state == State.HELD:
            if (
                reroute is not None
                and not states.bools("officer_hold")[row]
                and not states.bools("screening_hold")[row]
            ):
                delays[mrn] = reroute
        elif state == State.AWAITING_ARRIVAL and states.ints("arrived_at")[row] is not None and release is not None:
            delays[mrn] = release
    async with desk.store.database.connection() as reading:
        listed = await reading.raw.fetch("select mrn from held where mrn = any($1)", numbers)
        delayed = await reading.raw.fetch("select mrn, due_at from due where mrn = any($1)", numbers)
    assert sorted(record["mrn"] for record in listed) == sorted(held)
    assert {record["mrn"]: record["due_at"] for record in delayed} == delays


async def waiting_for_a_lock(desk: Desk, tx: Transaction) -> None:
    """Return once another session waits for a lock; the test's limit ends it otherwise."""
    while not await tx.raw.fetchval("select count(*) from pg_locks where not granted"):  # noqa: ASYNC110
        await asyncio.sleep(0)
