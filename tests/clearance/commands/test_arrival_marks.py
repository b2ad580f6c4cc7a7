"""What bindings, filings and other arrivals change while an arrival is carried out is carried out too, in whatever order they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from luxor.clearance.v1 import clearance_pb2 as columns
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.arrivals import arrive as arrive_command
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.store.arrivals import ArrivalTable
from services.clearance.store.carriers import CarrierTables
from tests.clearance.carriers import (
    AWAITING,
    DOCUMENT,
    IDENTIFIER,
    PREFIX,
    RECORDED,
    REFUSED,
    arrive,
    bind,
    file,
    refusals,
    states,
)
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.service_client import SECONDS, House, arrivals

RELEASED, WAITING = columns.STATE_RELEASED, columns.STATE_AWAITING_ARRIVAL
LATEST = 2**60


async def finish(house: House) -> int:
    """Carry out what is due until nothing is; gives how many documents."""
    done = 0
    for _ in range(5):
        found = await Arrive(house.desk.store).finish(LATEST, 100)
        done += found
        if not found:
            return done
    raise AssertionError("arrivals are carried out again and again")


async def file_under(house: House, document: str, reference: str, carrier: str, *, version: int = 1) -> list[str]:
    def named(_: int, row: Consignment) -> None:
        row.carrier_identifier = carrier

    told = filings([reference], master=document, change=named, version=version)
    await house.desk.consume(told)
    return mrns(told)


def once(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    *,
    before: Callable[[], Awaitable[object]] | None = None,
    after: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Do something else before or after the next call of a method."""
    real = getattr(owner, name)

    async def between(self: Any, *arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        if before is not None:
            await before()
        result = await real(self, *arguments, **named)
        if after is not None:
            await after()
        return result

    monkeypatch.setattr(owner, name, between)


# ------------------------------------------------------------------------------------------ interleavings
@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_binding_that_comes_while_filings_are_decided_is_seen(
    house: House, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    assert (await arrive(house, "wings", "w0")).outcome == AWAITING

    async def bound() -> None:
        await bind(house, DOCUMENT, MASTER, "wings", "b1")
        if carried_out:
            await finish(house)

    once(monkeypatch, CarrierTables, "register", after=bound)
    numbers = await file(house, ["GREEN-1"], "")
    await finish(house)
    assert await states(house, numbers) == [RELEASED]
    assert await refusals(house) == []


async def test_a_binding_that_comes_before_decided_filings_are_committed_waits_for_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await arrive(house, "wings", "w0")).outcome == AWAITING
    binding: list[asyncio.Task[None]] = []

    async def begin() -> None:
        binding.append(asyncio.ensure_future(bind(house, DOCUMENT, MASTER, "wings", "b1")))
        await asyncio.sleep(0.3)
        assert not binding[0].done()

    once(monkeypatch, CarrierTables, "note_refused", after=begin)
    numbers = await file(house, ["GREEN-1"], "")
    await binding[0]
    await finish(house)
    assert await states(house, numbers) == [RELEASED]


@pytest.mark.parametrize("chunk", [1, 2])
async def test_a_binding_that_comes_while_an_arrival_is_carried_out_is_seen(
    house: House, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(arrive_command, "CHUNK_ROWS", 1)
    numbers = [*await file(house, ["GREEN-1"], ""), *await file(house, ["GREEN-2"], "wings")]
    chunks = 0
    apply_chunk = Arrive.apply_chunk

    async def between(self: Arrive, *arguments: Any) -> Any:
        nonlocal chunks
        chunks += 1
        result = await apply_chunk(self, *arguments)
        if chunks == chunk:
            await bind(house, DOCUMENT, MASTER, "wings", "b1")
        return result

    monkeypatch.setattr(Arrive, "apply_chunk", between)
    assert (await arrive(house, "wings", "w1")).outcome == RECORDED
    await finish(house)
    assert await states(house, numbers) == [RELEASED] * 2
    assert await refusals(house) == []


async def test_a_binding_that_comes_when_an_arrival_is_nearly_done_waits_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*await file(house, ["GREEN-1"], ""), *await file(house, ["GREEN-2"], "wings")]
    binding: list[asyncio.Task[None]] = []

    async def begin() -> None:
        binding.append(asyncio.ensure_future(bind(house, DOCUMENT, MASTER, "wings", "b1")))
        await asyncio.sleep(0.3)
        assert not binding[0].done()

    once(monkeypatch, ArrivalTable, "done", before=begin)
    assert (await arrive(house, "wings", "w1")).outcome == RECORDED
    await binding[0]
    await finish(house)
    assert await states(house, numbers) == [RELEASED] * 2


async def test_an_arrival_of_another_carrier_that_comes_meanwhile_and_whose_call_died_is_carried_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*await file(house, ["GREEN-1"], "wings"), *await file(house, ["GREEN-2"], "heir")]
    store = house.desk.store

    async def recorded() -> None:
        async with store.database.transaction() as tx:
            at = await store.now(tx)
            await store.arrivals.lock_documents(tx, [MASTER])
            await store.arrivals.record(tx, [Arrival(MASTER, "heir", "X", at, "", at)], request_id="h1", at=at)

    once(monkeypatch, ArrivalTable, "done", before=recorded)
    await arrive(house, "wings", "w1")
    assert await finish(house) == 1
    assert await states(house, numbers) == [RELEASED] * 2


async def test_a_filing_that_names_the_carrier_while_the_arrival_is_carried_out_is_seen(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [*await file(house, ["GREEN-1"], "wings"), *await file(house, ["GREEN-2"], "other")]

    async def amended() -> None:
        await file(house, ["GREEN-2"], "wings", version=2)

    once(monkeypatch, ArrivalTable, "done", before=amended)
    await arrive(house, "wings", "w1")
    await finish(house)
    assert await states(house, numbers) == [RELEASED] * 2


async def test_a_reversal_that_dies_before_the_other_carriers_arrival_takes_its_place_is_followed_by_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for carrier in ("wings", "partner"):
        await bind(house, DOCUMENT, MASTER, carrier, f"b-{carrier}")
    numbers = await file(house, ["RED-1"], "")
    await arrive(house, "wings", "w1")
    await arrive(house, "partner", "p1")
    store = house.desk.store
    async with store.database.transaction() as tx:
        await store.arrivals.reverse(tx, MASTER, "wings", "carrier/wings", await store.now(tx))

    async def died() -> None:
        raise ConnectionError("the replica died")

    once(monkeypatch, Arrive, "run", before=died)
    with pytest.raises(ConnectionError):
        await Reversal(store).finish(LATEST, 10)
    assert await finish(house) == 1
    assert (await house.desk.states(numbers)).strings("arrival_carrier").tolist() == ["partner"]


async def test_an_arrival_that_nothing_marked_meanwhile_is_done(house: House) -> None:
    await file(house, ["GREEN-1"], "wings")
    await arrive(house, "wings", "w1")
    assert await finish(house) == 0
    # One without effect on some filings waits for bindings and filings, and is not tried in between.
    await file(house, ["GREEN-2"], "")
    assert await finish(house) == 0


# ------------------------------------------------------------------------------------------ what a binding concerns
NAMED = {"16012345675": "EORI1", "16099999999": "EORI2", "17012345675": "", "18000000000": "WINGS"}
BOUND = "16055555555"
BINDINGS: tuple[tuple[Any, str, str, dict[str, Any], list[str]], ...] = (
    (DOCUMENT, "16012345675", "wings", {}, ["16012345675"]),
    # A list decides before everything else, whoever stands on it.
    (DOCUMENT, "17012345675", "heir", {}, ["17012345675"]),
    (DOCUMENT, "16012345676", "wings", {}, []),
    (DOCUMENT, BOUND, "heir", {}, []),
    (PREFIX, "160", "wings", {}, ["16012345675", "16099999999"]),
    (PREFIX, "17012345675", "wings", {}, ["17012345675"]),
    (PREFIX, "170123456750", "wings", {}, []),
    (PREFIX, "60", "wings", {}, []),
    (IDENTIFIER, "EORI1", "wings", {}, ["16012345675"]),
    (IDENTIFIER, "EORI1", "heir", {}, []),
    (IDENTIFIER, "EORI3", "wings", {}, []),
    # Where no carrier has the name any more, it is the id of the carrier itself.
    (IDENTIFIER, "WINGS", "heir", {"to_day": "1970-01-02"}, ["18000000000"]),
    # What is bound as before concerns nothing.
    (IDENTIFIER, "WINGS", "heir", {}, []),
)


async def test_a_binding_has_those_arrivals_alone_carried_out_again_that_it_concerns(house: House) -> None:
    store = house.desk.store

    async def due() -> list[str]:
        async with store.database.connection() as reading:
            return sorted(await store.arrivals.pending(reading, 0, 100))

    for case, (kind, value, carrier, days, concerned) in enumerate(BINDINGS):
        # Each case has documents, names and carriers of its own.
        own, name = f"{case + 20}".__add__, f"{{}}{case}".format
        await bind(house, IDENTIFIER, name("WINGS"), name("heir"), f"{case}-b0")
        await bind(house, DOCUMENT, own(BOUND), name("wings"), f"{case}-b1")
        wings = await house.stub("carrier", name("wings"))
        reported = arrivals(*map(own, (*NAMED, BOUND)), request_id="w1")
        answer = await wings.RecordArrivals(reported, timeout=SECONDS)
        assert {each.outcome for each in answer.results} == {AWAITING, RECORDED}
        for place, (document, named) in enumerate([*NAMED.items(), (BOUND, "EORI1")]):
            await file_under(house, own(document), f"GREEN-{case}-{place}", named and name(named))
        assert await finish(house) == 0
        assert await due() == []
        bound = name(value) if kind == IDENTIFIER else own(value)
        await bind(house, kind, bound, name(carrier), f"{case}-b2", **days)
        assert (kind, value, await due()) == (kind, value, [own(each) for each in concerned])
        await finish(house)
        assert await due() == []


async def test_bindings_arrivals_and_filings_of_the_same_documents_at_the_same_time_end(house: House) -> None:
    documents = [f"160{number:08d}" for number in range(20)]
    stubs = [await house.stub("carrier", carrier) for carrier in ("wings", "heir")]
    for place, stub in enumerate(stubs):
        await stub.RecordArrivals(arrivals(*documents, request_id=f"a{place}"), timeout=SECONDS)
    for place, document in enumerate(documents):
        await file_under(house, document, f"GREEN-{place}", "")
    await asyncio.gather(
        *(bind(house, PREFIX, "160", carrier, f"p-{carrier}") for carrier in ("wings", "heir")),
        *(bind(house, DOCUMENT, document, "wings", f"d-{document}") for document in documents[::-3]),
        *(
            stub.RecordArrivals(arrivals(*order, request_id=f"r{place}"), timeout=SECONDS)
            for place, (stub, order) in enumerate([(stubs[0], documents), (stubs[1], documents[::-1])])
        ),
        *(Arrive(house.desk.store).finish(LATEST, 100) for _ in range(3)),
    )
    await finish(house)
    async with house.desk.store.database.connection() as reading:
        left = await reading.raw.fetchval("select count(*) from arrival where pending or again or unbound")
    assert left == 0


# ------------------------------------------------------------------------------------------ reports
async def test_an_arrival_without_effect_on_some_filings_is_reported_in_whatever_order_they_come(house: House) -> None:
    await file(house, ["GREEN-1"], "wings")
    assert (await arrive(house, "wings", "w1")).outcome == RECORDED
    assert await refusals(house) == []
    other = "16099999999"
    await file_under(house, other, "GREEN-2", "wings")
    await file_under(house, other, "GREEN-3", "")
    wings = await house.stub("carrier", "wings")
    for number in range(2):
        # Once, and not again with each repeat.
        await wings.RecordArrivals(arrivals(other, request_id=f"o{number}"), timeout=SECONDS)
        assert await refusals(house) == [(other, "wings", True, 1)]
    await bind(house, DOCUMENT, other, "wings", "b1")
    await finish(house)
    assert await refusals(house) == [(other, "wings", True, 1)]


NAMES: tuple[tuple[list[str], dict[int, str], Any], ...] = (
    (["wings"], {0: "other"}, REFUSED),
    (["other"], {0: "wings"}, RECORDED),
    (["wings"], {0: ""}, REFUSED),
    (["wings", "wings"], {0: "other"}, RECORDED),
    (["wings", "other"], {0: "other"}, REFUSED),
    (["other", "other"], {0: "third", 1: "wings"}, RECORDED),
)


async def test_the_names_in_force_bind_and_former_ones_do_not(house: House) -> None:
    wings = await house.stub("carrier", "wings")
    for case, (first, newer, outcome) in enumerate(NAMES):

        def named(row: int, filing: Consignment, first: Sequence[str] = first) -> None:
            filing.carrier_identifier = first[row]

        document = f"160{case:08d}"
        references = [f"GREEN-{case}-{place}" for place in range(len(first))]
        await house.desk.consume(filings(references, master=document, change=named))
        for place, carrier in newer.items():
            await file_under(house, document, references[place], carrier, version=2)
        (result,) = (await wings.RecordArrivals(arrivals(document, request_id=document), timeout=SECONDS)).results
        assert (first, newer, result.outcome) == (first, newer, outcome)


async def test_what_was_amended_to_travel_under_another_document_binds_there_alone(house: House) -> None:
    numbers = await file(house, ["GREEN-1"], "wings")
    other = "16099999999"
    await file_under(house, other, "GREEN-1", "wings", version=2)
    assert (await arrive(house, "wings", "w1")).outcome == AWAITING
    wings = await house.stub("carrier", "wings")
    request: pb.RecordArrivalsRequest = arrivals(other, request_id="w2")
    (result,) = (await wings.RecordArrivals(request, timeout=SECONDS)).results
    assert (result.outcome, result.released) == (RECORDED, 1)
    assert await states(house, numbers) == [RELEASED]
