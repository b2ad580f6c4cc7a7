"""Proofs go on from a mark: what was proven is not proven again by whoever asks, and what was altered behind it is found all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.chain.hashing import START
from libs.customs.partitions import PARTITIONS
from libs.customs.time import day_text
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands import verify
from services.revenue.commands.verify import Verification
from services.revenue.jobs import proofs
from services.revenue.store.payments.payments import Payment
from services.revenue.store.proofs.marks import Discrepancy, read_marks, read_state
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.assessment_answers import FILED, altered, assess
from tests.revenue.ledger.books import Books, unguarded
from tests.revenue.ledger.service_client import SECONDS, open_state, stub
from tests.revenue.ledger.states import DAY, State, mrn
from tests.support.services import Running

ONE, TWO, THREE = mrn(1, 3), mrn(2, 7), mrn(3, 3)


async def filed(books: Books, *mrns: str) -> None:
    for each in mrns:
        await assess(books, each, 300, 1_900)
    await books.take(*(State(each, charges=FILED) for each in mrns))


async def sealed(books: Books) -> None:
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)


def prover(books: Books) -> Verification:
    return Verification(books.database, books.ledger.names)


async def proven(proving_: Verification, entries_max: int = verify.ENTRIES_MAX) -> list[Discrepancy]:
    """Prove all that can be proven now; the faults that stand then."""
    for _ in range(100):
        if not await proving_.advance(entries_max):
            return (await proving_.report(100)).differences
    raise AssertionError("a proof has no end")


async def again(proving_: Verification, entries_max: int = verify.ENTRIES_MAX) -> list[Discrepancy]:
    """Make a whole round of the periodic proof; the faults that stand then."""
    for _ in range(500):
        report = await proving_.report(100)
        await proving_.advance_full(entries_max)
        if report.state.full_ended_at < (await proving_.report(1)).state.full_ended_at:
            return (await proving_.report(100)).differences
    raise AssertionError("a round has no end")


def reasons(faults: Sequence[Discrepancy]) -> set[tuple[str, str]]:
    return {(each.mrn, each.reason) for each in faults}


async def test_what_is_proven_is_told_with_what_it_covers_and_is_not_read_again(books: Books) -> None:
    await filed(books, ONE, TWO)
    await sealed(books)
    one = prover(books)
    before = await one.report(10)
    assert (before.state.entries, before.left, before.unproven_since > 0) == (0, 4, True)
    assert await proven(one) == []
    report = await one.report(10)
    assert (report.state.entries, report.state.postings, report.state.comparisons) == (4, 16, 2)
    assert (report.left, report.unproven_since, report.state.seal, report.discrepancies) == (0, 0, 1, 0)
    assert report.state.complete_at > 0
    async with books.database.connection() as reader:
        marks = await read_marks(reader)
        heads = {
            row["partition"]: (row["number"], row["hash"])
            for row in await reader.raw.fetch("select * from ledger_head")
        }
        assert report.state.seal_hash == await reader.raw.fetchval("select hash from ledger_seal where number = 1")
    assert {place: (mark.number, mark.hash) for place, mark in marks.items()} == heads
    # Another replica goes on from there.
    await filed(books, THREE)
    assert await proven(prover(books)) == []
    assert ((await one.report(1)).state.entries, (await one.report(1)).state.comparisons) == (6, 3)


async def test_a_proof_in_parts_proves_the_same_as_one_at_once(books: Books) -> None:
    await filed(books, *(mrn(number, number % 3) for number in range(30)))
    assert await proven(prover(books), entries_max=1) == []
    state = (await prover(books).report(1)).state
    assert (state.entries, state.comparisons) == (60, 30)


async def test_a_round_takes_the_chains_that_a_part_has_room_for_together(books: Books) -> None:
    await filed(books, ONE)
    one, entries_max = prover(books), 20 * verify.ENTRIES_AN_END
    reached = []
    while not reached or reached[-1] < PARTITIONS:
        await one.advance_full(entries_max)
        reached.append((await one.report(1)).state.full_partition)
    assert reached == [20, 40, 60, PARTITIONS], "an end counts as much as the entries that it costs"
    assert await again(one) == []


async def test_a_chain_that_cannot_be_read_loses_nothing_of_those_before_it(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prover(books)
    check = one.chain.check

    async def checked(partition: int, **more: Any) -> Any:
        if partition == 2:
            raise StoreUnavailable("the store is away", reason="connection")
        return await check(partition, **more)

    monkeypatch.setattr(one.chain, "check", checked)
    assert await one.advance_full()
    assert (await one.report(1)).state.full_partition == 2
    with pytest.raises(StoreUnavailable):
        await one.advance_full()
    monkeypatch.undo()
    assert await again(one) == []


async def test_two_replicas_that_prove_at_once_count_nothing_twice(books: Books) -> None:
    await filed(books, *(mrn(number, number % 5) for number in range(40)))
    await asyncio.gather(*(proven(prover(books), entries_max=1) for _ in range(3)))
    assert (await prover(books).report(1)).state.entries == 80


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("update ledger_posting set amount = amount * 2 where partition = 7", {("", "ALTERED"), (TWO, "UNBALANCED")}),
        ("update ledger_entry set reference = 'x' where partition = 7 and number = 1", {("", "ALTERED")}),
        ("delete from ledger_entry where partition = 7 and number = 1", {("", "ALTERED")}),
        ("update ledger_entry set kind = -1 where partition = 7 and number = 2", {("", "ALTERED")}),
        ("update ledger_seal set hash = decode(repeat('11', 32), 'hex') where number = 1", {("", "ALTERED")}),
        ("delete from ledger_position where mrn = $$" + TWO + "$$", {(TWO, "UNBALANCED")}),
        ("update ledger_head set hash = decode(repeat('11', 32), 'hex') where partition = 7", {("", "ALTERED")}),
    ],
)
async def test_what_is_altered_before_it_is_proven_is_found_at_once(
    books: Books, change: str, found: set[tuple[str, str]]
) -> None:
    await filed(books, ONE, TWO)
    await sealed(books)
    await altered(books, change)
    assert reasons(await proven(prover(books))) >= found


async def test_what_is_altered_behind_the_mark_is_found_by_the_next_round_and_forgotten_once_it_is_right(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "ROUND_SECONDS", 0.0)
    other, untouched = mrn(4, 9), mrn(5, 11)
    await filed(books, ONE, TWO, THREE, other, untouched)
    await sealed(books)
    one = prover(books)
    assert await proven(one) == []
    assert await again(one) == []
    for change in (
        "update ledger_posting set amount = amount * 2 where partition = 3",
        "update ledger_position set paid = 5 where mrn = $$" + TWO + "$$",
        "update ledger_balance set debit = debit + 1 where slot = 9",
    ):
        await altered(books, change)
    found = await again(one, entries_max=2)
    assert reasons(found) >= {("", "ALTERED"), (ONE, "UNBALANCED"), (TWO, "UNBALANCED")}
    assert {each.mrn for each in found} <= {"", ONE, TWO, THREE}
    places = {each.sentence.partition(":")[0].partition(",")[0] for each in found if not each.mrn}
    assert {"partition 3", "partition 9"} <= places
    for undo in (
        "update ledger_posting set amount = amount / 2 where partition = 3",
        "update ledger_position set paid = 0 where mrn = $$" + TWO + "$$",
        "update ledger_balance set debit = debit - 1 where slot = 9",
    ):
        await altered(books, undo)
    assert await again(one, entries_max=3) == []


async def test_history_that_is_written_anew_behind_the_mark_contradicts_the_mark(books: Books) -> None:
    """All of a chain is made anew so that it agrees with itself: the next entry does not follow from the mark's hash."""
    await filed(books, ONE)
    one = prover(books)
    assert await proven(one) == []
    await altered(books, "update ledger_entry set reference = 'forged' where partition = 3 and number = 1")
    digest = START
    for entry in await books.chain.of_mrn(ONE, rows_max=9):
        digest = entry.hashed(digest)
        await altered(books, "update ledger_entry set hash = $1 where number = $2", digest, entry.number)
    await altered(books, "update ledger_head set hash = $1 where partition = 3", digest)
    await filed(books, THREE)
    assert ("", "ALTERED") in reasons(await proven(one))


async def test_an_end_that_was_cut_off_behind_the_mark_is_found(books: Books) -> None:
    await filed(books, ONE, THREE)
    one = prover(books)
    assert await proven(one) == []
    for change in (
        "delete from ledger_entry where partition = 3 and number > 2",
        "delete from ledger_posting where partition = 3 and number > 2",
        "update ledger_day set last_number = 2 where partition = 3",
        "update ledger_head set number = 2, hash = (select hash from ledger_entry where partition = 3 and number = 2) where partition = 3",
    ):
        await altered(books, change)
    assert ("", "ALTERED") in reasons(await proven(one))


async def test_a_fault_stands_until_its_consignment_is_right_and_says_what_differs(books: Books) -> None:
    await assess(books, ONE, 300, 1_901)
    await books.take(State(ONE, charges=FILED))
    (fault,) = await proven(prover(books))
    assert (fault.mrn, fault.reason, fault.assessed, fault.posted, fault.currency) == (
        ONE,
        "AMOUNT_DIFFERS",
        2_201,
        2_200,
        "EUR",
    )
    await assess(books, ONE, 300, 1_900, version=2)
    await books.take(replace(State(ONE, charges=FILED), version=2, filing=2, destination="FR"))
    assert await proven(prover(books)) == []


async def test_days_that_are_over_are_proven_with_their_balances(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    await filed(books, ONE)
    one = prover(books)
    assert await proven(one) == []
    # As if the day were over.
    monkeypatch.setattr(verify, "SETTLE_MICROS", -86_400_000_000)
    await altered(books, "update ledger_balance set credit = credit + 1 where slot = 3")
    found = await proven(one)
    assert reasons(found) == {("", "ALTERED")}
    async with books.database.connection() as reader:
        assert (await read_marks(reader))[3].day > 0
        assert (await read_state(reader)).assessed_day > 0


async def test_whoever_asks_gets_what_is_proven_at_once_and_the_rest_part_by_part(house: Running, kept: Books) -> None:
    await unguarded(kept.database)
    await filed(kept, ONE, TWO)
    await kept.pay(Payment("b1", "declarant:DE1234567890", "EU", "EUR", 7))
    ledger = await stub(house, "analyst", "analyst-1")
    while not (await ledger.ProveLedger(pb.ProveLedgerRequest(), timeout=SECONDS)).done:
        pass
    answer = await ledger.GetProof(pb.GetProofRequest(), timeout=SECONDS)
    proof = answer.proof
    assert (proof.entries, proof.entries_left, proof.discrepancies, list(answer.discrepancies)) == (5, 0, 0, [])
    assert proof.proven_until.seconds >= proof.complete_at.seconds > 0
    await altered(kept, "update ledger_entry set reference = 'x' where partition = 3")
    await kept.take(State(THREE, charges=FILED, state=clearance.STATE_RELEASED))
    while not (await ledger.ProveLedger(pb.ProveLedgerRequest(), timeout=SECONDS)).done:
        pass
    answer = await ledger.GetProof(pb.GetProofRequest(discrepancies_max=1), timeout=SECONDS)
    assert answer.proof.discrepancies >= 1
    assert len(answer.discrepancies) == 1
    assert all(each.sentence and each.found_at.seconds for each in answer.discrepancies)


async def test_a_proof_ends_although_bookings_go_on_meanwhile(
    house: Running, kept: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each part something new is booked, so that no part ever finds nothing: the proof ends at what was booked when it began."""
    await filed(kept, ONE, TWO)
    compare, serial = Verification.compare_consignments, iter(range(100, 10_000))

    async def with_bookings(self: Verification, step: Any) -> None:
        await compare(self, step)
        await kept.take(State(mrn(next(serial), 3), charges=FILED))

    monkeypatch.setattr(Verification, "compare_consignments", with_bookings)
    ledger = await stub(house, "analyst", "analyst-1")
    request = pb.ProveLedgerRequest()
    answers = []
    for _ in range(3):
        answers.append(await ledger.ProveLedger(request, timeout=SECONDS))
        if answers[-1].done:
            break
        request = pb.ProveLedgerRequest(until=answers[-1].until)
    assert answers[-1].done
    assert len(answers[-1].until) == 64
    assert sum(answers[0].until) >= 4
    assert answers[-1].proof.entries >= 4
    assert answers[-1].proof.entries_left > 0


async def test_a_proof_is_done_when_the_marks_reach_the_noted_heads_and_not_one_entry_before(books: Books) -> None:
    await filed(books, *(mrn(number, 3) for number in range(1, 16)))
    one = prover(books)
    heads = await one.heads()
    assert (heads[3], sum(heads)) == (30, 30)

    def until(number: int) -> list[int]:
        return [number if place == 3 else 0 for place in range(64)]

    async def part(number: int) -> bool:
        """One part of 20 entries."""
        monkey.setattr(verify, "ENTRIES_MAX", 20)
        return await one.prove(until(number), 0)

    with pytest.MonkeyPatch.context() as monkey:
        assert not await part(21)
        assert (await one.report(0)).left == 10
        await filed(books, *(mrn(number, 3) for number in range(21, 31)))
        assert not await part(41)
        assert (await one.report(0)).left == 10
        await filed(books, *(mrn(number, 3) for number in range(31, 41)))
        assert await part(60)
        assert (await one.report(0)).left == 10
        # Numbers that nobody booked end with what there is.
        assert await one.prove(until(10**9), 30)
    assert (await one.report(0)).left == 0


async def test_a_chain_that_ends_too_early_holds_up_no_proof_of_the_others(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filed(books, ONE, TWO)
    await altered(books, "delete from ledger_entry where partition = 3 and number > 1")
    compare, serial = Verification.compare_consignments, iter(range(100, 10_000))

    async def with_bookings(self: Verification, step: Any) -> None:
        await compare(self, step)
        await books.take(State(mrn(next(serial), 7), charges=FILED))

    monkeypatch.setattr(Verification, "compare_consignments", with_bookings)
    one = prover(books)
    async with asyncio.timeout(30):
        assert await one.prove(await one.heads(), 20)
    assert reasons((await one.report(10)).differences) >= {("", "ALTERED")}


async def test_a_day_counts_each_consignment_once_however_often_it_is_compared(house: Running, kept: Books) -> None:
    """Charged, and later paid: two comparisons of one consignment."""
    ledger = await stub(house, "analyst", "analyst-1")

    async def counts() -> tuple[int, int, int]:
        while not (answer := await ledger.ProveLedger(pb.ProveLedgerRequest(), timeout=SECONDS)).done:
            pass
        sums, other = [
            await ledger.ReconcileDay(pb.ReconcileDayRequest(day=day_text(day), totals_only=True), timeout=SECONDS)
            for day in (DAY, DAY + 1)
        ]
        return answer.proof.comparisons, sums.consignments, other.consignments

    await assess(kept, ONE, 300, 1_900)
    await kept.take(open_state(ONE, charges=FILED))
    assert await counts() == (1, 1, 0)
    await kept.pay(Payment("b1", ONE, "EU", "EUR", 2_200))
    assert await counts() == (2, 1, 0)


async def test_one_look_tells_how_far_the_proof_is_behind(books: Books, database: Database) -> None:
    look = proofs.unproven()
    await filed(books, ONE)
    await altered(books, "update ledger_entry set booked_at = booked_at - 90000000 where partition = 3")
    await look(database)
    lag, faults = "luxor_revenue_ledger_unproven_seconds", "luxor_revenue_ledger_faults"
    assert 89 < (REGISTRY.get_sample_value(lag) or 0) < 200
    found = await proven(prover(books))
    await look(database)
    assert REGISTRY.get_sample_value(lag) == 0
    assert REGISTRY.get_sample_value(faults) == len(found) > 0
