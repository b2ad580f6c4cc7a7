"""Payouts, and requests of payments and payouts: what each part of a condition decides, and both sides of each bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments import record_payment as payments_of
from services.revenue.commands.payments import record_payout as payouts_of
from services.revenue.commands.payments.record_payment import Payments
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.rebalance import Ledger
from services.revenue.store.ledger import credit
from services.revenue.store.payments import payments as stored_payments
from services.revenue.store.payments import payouts as stored_payouts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout, PayoutResult
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.invariants import sound
from tests.revenue.ledger.payment_rows import put
from tests.revenue.ledger.states import TAX, Charge, State, mrn

OWNER, BUYERS, CARRIER = "declarant:DE1234567890", "border:DE", "deferred:carrier-7"
OWN = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
"""2,200 that the declarant pays at once."""
BOUGHT = State(mrn(2, 3), charges=(Charge(300, account=BUYERS), Charge(1_900, TAX, "EU.vat_low_value", account=BUYERS)),
               debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")  # fmt: skip
"""2,200 that the buyer pays by the MRN."""
REFUSED, BOOKED, KNOWN, BACK = (
    pb.PAYOUT_OUTCOME_REFUSED, pb.PAYOUT_OUTCOME_BOOKED, pb.PAYOUT_OUTCOME_ALREADY_BOOKED, pb.PAYOUT_OUTCOME_REVERSED,
)  # fmt: skip
NOTHING = (0, "", "")
ServiceSpan = tuple[str, str, int, tuple[int, str, str]]


def payment(ident: str, amount: int, reference: str, **more: Any) -> Payment:
    return replace(Payment(ident, reference, "EU", "EUR", amount), **more)


def payout(ident: str, amount: int, reference: str = "", **more: Any) -> Payout:
    return replace(Payout(ident, reference, "EU", "EUR", amount), **more)


async def out(books: Books, *asked: Payout, by: str = "officer-1", request: str = "") -> list[PayoutResult]:
    return await Payouts(books.ledger).record(asked, by, request)


async def refusals(books: Books, *asked: Payout) -> list[ServiceSpan]:
    """Why each is refused, whose it is, what is there, and what it names instead."""
    results = await out(books, *asked)
    assert {each.outcome for each in results} == {REFUSED}
    return [(each.reason, each.account, each.credit, each.stored) for each in results]


async def rows(books: Books, question: str) -> list[tuple[Any, ...]]:
    async with books.database.connection() as reader:
        return [tuple(row) for row in await reader.raw.fetch(question)]


async def paid_out(books: Books) -> list[tuple[Any, ...]]:
    return await rows(books, "select paid, paid_out from ledger_position order by mrn")


async def test_what_is_not_left_of_an_account_is_not_paid_out_and_what_is_there_is_told(books: Books) -> None:
    await books.take(OWN, State(mrn(3)))
    await books.pay(payment("a", 2_210, CARRIER), payment("b", 2_203, OWNER), payment("x", 50, "thanks"))
    assert await refusals(
        books, payout("o1", 11, CARRIER), payout("o2", 4, OWNER), payout("o3", 1, BUYERS), payout("o4", 1, "vendor:V"),
        payout("o5", 1, OWNER, jurisdiction="UK"), payout("o6", 1, "treasury:XX:tax"), payout("o7", 1, CARRIER, currency="GBP"),
    ) == [
        ("PAYOUT_EXCEEDS_CREDIT", CARRIER, 10, NOTHING), ("PAYOUT_EXCEEDS_CREDIT", OWNER, 3, NOTHING), ("PAYOUT_REFERENCE_SHARED", "", 0, NOTHING),
        ("PAYOUT_EXCEEDS_CREDIT", "vendor:V", 0, NOTHING), ("PAYOUT_EXCEEDS_BANK", "bank:UK", 0, NOTHING),
        ("PAYOUT_TREASURY_DIFFERS", "treasury:XX:tax", 0, NOTHING), ("PAYOUT_EXCEEDS_CREDIT", CARRIER, 0, NOTHING),
    ]  # fmt: skip
    results = await out(books, payout("p1", 10, CARRIER), payout("p2", 2, OWNER), payout("p3", 1, OWNER))
    assert [(each.outcome, each.account, each.credit) for each in results] == [
        (BOOKED, CARRIER, 0), (BOOKED, OWNER, 1), (BOOKED, OWNER, 0),
    ]  # fmt: skip
    # An account that owes something has no credit, neither a declarant's nor another.
    await books.take(State(mrn(4)), replace(OWN, mrn=mrn(5)))
    assert await refusals(books, payout("q1", 1, CARRIER), payout("q2", 1, OWNER)) == [
        ("PAYOUT_EXCEEDS_CREDIT", CARRIER, 0, NOTHING), ("PAYOUT_EXCEEDS_CREDIT", OWNER, 0, NOTHING),
    ]  # fmt: skip
    stored = await rows(books, "select id, paid_at, account, credit, reversed_by from ledger_payout order by id")
    assert stored == [("p1", 0, CARRIER, 0, ""), ("p2", 0, OWNER, 1, ""), ("p3", 0, OWNER, 0, "")]
    await sound(books)


async def test_what_is_not_left_of_a_consignment_is_not_paid_out_by_its_mrn(books: Books) -> None:
    secured = State(mrn(3))
    mixed = replace(
        OWN, mrn=mrn(4), charges=(Charge(300, account="vendor:A", collector=2), Charge(25, TAX, account=OWNER))
    )
    await books.take(BOUGHT, OWN, secured, mixed)
    await books.pay(payment("a", 2_210, BOUGHT.mrn), payment("b", 2_210, OWN.mrn))
    left = (10, "EUR", "EU")
    assert await refusals(
        books, payout("o1", 11, BOUGHT.mrn), payout("o2", 1, mrn(77)), payout("o3", 1, OWN.mrn), payout("o4", 1, secured.mrn),
        payout("o5", 1, BOUGHT.mrn, currency="GBP"), payout("o6", 1, BOUGHT.mrn, jurisdiction="UK"), payout("o7", 1, mixed.mrn),
    ) == [
        ("PAYOUT_EXCEEDS_CREDIT", BUYERS, 10, NOTHING), ("PAYOUT_EXCEEDS_CREDIT", "", 0, NOTHING), ("PAYOUT_OF_ACCOUNT", OWNER, 0, NOTHING),
        ("PAYOUT_OF_ACCOUNT", CARRIER, 0, NOTHING), ("PAYOUT_CONSIGNMENT_DIFFERS", BUYERS, 0, left),
        ("PAYOUT_CONSIGNMENT_DIFFERS", BUYERS, 0, left), ("PAYOUT_OF_ACCOUNT", OWNER, 0, NOTHING),
    ]  # fmt: skip
    before = await books.standing()
    (first,) = await out(books, payout("p1", 4, BOUGHT.mrn))
    assert (first.outcome, first.account, first.credit) == (BOOKED, BUYERS, 6)
    (back,) = await out(books, payout("p2", 4, reverses_id="p1"))
    assert (back.outcome, back.account, back.credit) == (BACK, BUYERS, 10)
    assert await books.standing() == before
    told = [(each.version, each.reference) for each in await books.chain.of_mrn(BOUGHT.mrn, rows_max=9)]
    assert told[-2:] == [(0, "p1"), (0, "p2")]
    await sound(books)


async def test_a_consignment_pays_out_no_more_than_the_bank_has(books: Books) -> None:
    await books.take(BOUGHT, replace(OWN, mrn=mrn(5)))
    await books.pay(payment("a", 2_210, BOUGHT.mrn), payment("u", 7, "thanks"))
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "update ledger_balance b set debit = case slot when (select min(slot) from ledger_balance where account = b.account) then 6 "
            "else 0 end from ledger_name where id = account and name = 'bank:EU'"
        )
    for asked in (payout("o1", 7, BOUGHT.mrn), payout("o2", 7, returns_payment_id="u")):
        ((reason, account, credit, _),) = await refusals(books, asked)
        assert (reason, account, credit) == ("PAYOUT_EXCEEDS_BANK", "bank:EU", 6)
    (last,) = await out(books, payout("o3", 6, BOUGHT.mrn))
    assert last.outcome == BOOKED


async def test_a_payment_that_found_something_or_went_back_is_not_sent_back(books: Books) -> None:
    await books.take(OWN)
    await books.pay(
        payment("used", 5, OWN.mrn), payment("back", 5, "x"), payment("sent", 5, "x"), payment("free", 5, "x"),
        payment("r", 5, "", reverses_id="back"),
    )  # fmt: skip
    assert (await out(books, payout("o", 5, returns_payment_id="sent")))[0].outcome == BOOKED
    lost = "unmatched:EU"
    assert await refusals(
        books, payout("o1", 5, returns_payment_id="used"), payout("o2", 5, returns_payment_id="back"), payout("o3", 5, returns_payment_id="sent"),
        payout("o4", 6, returns_payment_id="free"), payout("o5", 5, returns_payment_id="free", currency="GBP"),
        payout("o6", 5, returns_payment_id="none"),
        payout("o7", 5, returns_payment_id="free", jurisdiction="UK"),
    ) == [
        ("PAYOUT_PAYMENT_USED", OWNER, 0, NOTHING), ("PAYOUT_PAYMENT_USED", lost, 0, NOTHING), ("PAYOUT_PAYMENT_USED", lost, 0, NOTHING),
        ("PAYOUT_DIFFERS", lost, 0, (5, "EUR", "EU")), ("PAYOUT_DIFFERS", lost, 0, (5, "EUR", "EU")), ("PAYOUT_PAYMENT_UNKNOWN", "", 0, NOTHING),
        ("PAYOUT_PAYMENT_UNKNOWN", "", 0, NOTHING),
    ]  # fmt: skip


async def test_what_cannot_be_returned_is_refused(books: Books) -> None:
    await books.take(OWN)
    await books.pay(payment("a", 2_300, OWNER))
    await out(books, payout("o1", 5, OWNER), payout("o2", 6, OWNER), payout("r", 6, reverses_id="o2"))
    assert await refusals(
        books, payout("p1", 5, reverses_id="x"), payout("p2", 6, reverses_id="o2"), payout("p3", 6, reverses_id="r"),
        payout("p4", 4, reverses_id="o1"),
        payout("p5", 5, reverses_id="o1", currency="GBP"), payout("p6", 5, reverses_id="o1", jurisdiction="UK"),
    ) == [
        ("PAYOUT_UNKNOWN", "", 0, NOTHING), ("PAYOUT_ALREADY_REVERSED", OWNER, 0, NOTHING), ("PAYOUT_OF_RETURN", OWNER, 0, NOTHING),
        ("PAYOUT_DIFFERS", OWNER, 0, (5, "EUR", "EU")), ("PAYOUT_DIFFERS", OWNER, 0, (5, "EUR", "EU")), ("PAYOUT_UNKNOWN", "", 0, NOTHING),
    ]  # fmt: skip
    (back,) = await out(books, payout("p7", 5, reverses_id="o1"))
    assert (back.outcome, back.account, back.credit) == (BACK, OWNER, 100)


@pytest.mark.parametrize(
    ("reference", "taken", "waits"), [(OWN.mrn, False, 1), (OWN.mrn, True, 0), ("thanks", False, 0)]
)
async def test_a_payment_whose_sending_back_failed_waits_once_more_for_its_debt(
    books: Books, reference: str, *, taken: bool, waits: int
) -> None:
    await books.pay(payment("a", 2_200, reference), payment("other", 9_000, "x"))
    await out(books, payout("o1", 2_200, returns_payment_id="a"))
    assert await rows(books, "select * from ledger_waiting") == []
    if taken:
        await books.pay(payment("t", 2_200, "", reverses_id="a"))
    (back,) = await out(books, payout("o2", 2_200, reverses_id="o1"))
    assert (back.outcome, back.account, back.credit) == (BACK, "unmatched:EU", 0)
    assert len(await rows(books, "select * from ledger_waiting")) == waits


async def test_a_payout_of_before_the_debt_lost_its_currency_leaves_later_ones_as_they_are(books: Books) -> None:
    await books.take(BOUGHT)
    await books.pay(payment("a", 2_260, BOUGHT.mrn))
    await out(books, payout("o1", 60, BOUGHT.mrn))
    await books.take(replace(BOUGHT, version=2, currency="GBP"))
    await books.take(replace(BOUGHT, version=3))
    await books.pay(payment("b", 2_280, BOUGHT.mrn))
    await out(books, payout("o2", 80, BOUGHT.mrn))
    assert await paid_out(books) == [(2_280, 80)]
    (back,) = await out(books, payout("r", 60, reverses_id="o1"))
    assert (back.outcome, back.account) == (BACK, BUYERS)
    assert await paid_out(books) == [(2_280, 80)]
    await sound(books)


async def test_a_payout_of_another_currency_than_the_debt_has_comes_back_to_the_account(books: Books) -> None:
    """As the stores of former releases have it, which note no loss of a currency."""
    await books.take(BOUGHT)
    await books.pay(payment("a", 2_260, BOUGHT.mrn))
    await out(books, payout("o1", 60, BOUGHT.mrn))
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_position set currency = 'GBP'")
    (back,) = await out(books, payout("r", 60, reverses_id="o1"))
    assert (back.outcome, back.account) == (BACK, BUYERS)
    assert await paid_out(books) == [(2_260, 60)]


async def test_a_payout_that_is_known_is_booked_no_more_and_its_own_request_gets_what_it_was_given(
    books: Books,
) -> None:
    await books.take(OWN)
    await books.pay(payment("a", 2_300, OWNER))
    first = payout("o1", 5, OWNER)
    await out(books, first, request="r1")
    for by, request, outcomes in (
        ("officer-1", "r1", [BOOKED, KNOWN]), ("officer-2", "r1", [KNOWN, KNOWN]),
        ("officer-1", "r2", [KNOWN, KNOWN]), ("officer-1", "", [KNOWN, KNOWN]),
    ):  # fmt: skip
        results = await out(books, first, first, by=by, request=request)
        assert [(each.outcome, each.account, each.credit) for each in results] == [
            (each, OWNER, 95) for each in outcomes
        ], (by, request)
    for other in (
        replace(first, amount=6),
        replace(first, paid_at=7),
        replace(first, currency="GBP"),
        replace(first, reference=CARRIER),
    ):
        assert [each.reason for each in await out(books, other, request="r1")] == ["PAYOUT_REUSED"]
    await out(books, payout("o2", 5, OWNER))
    assert [each.outcome for each in await out(books, payout("o2", 5, OWNER))] == [KNOWN], "without a request"


async def test_what_treasuries_received_is_read_once_of_a_request_and_currency(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(OWN)
    await books.pay(payment("a", 2_300, OWN.mrn))
    read: list[str] = []
    receive = payouts_of.received

    async def noted(database: Any, names: Any, currency: str) -> Any:
        read.append(currency)
        return await receive(database, names, currency)

    monkeypatch.setattr(payouts_of, "received", noted)
    await out(books, payout("o0", 1, OWNER))
    assert read == []
    duty, tax = "treasury:EU:duty", "treasury:EU:tax"
    results = await out(
        books, payout("o1", 300, duty), payout("o2", 1, tax, currency="GBP"), payout("o3", 1_900, tax), payout("o4", 1, tax, currency="GBP")
    )  # fmt: skip
    assert [(each.reason, each.credit) for each in results] == [
        ("", 0), ("PAYOUT_EXCEEDS_CREDIT", 0), ("", 0), ("PAYOUT_EXCEEDS_CREDIT", 0),
    ]  # fmt: skip
    assert read == ["EUR", "GBP"]
    (known,) = await out(books, payout("o1", 300, duty))
    assert (known.outcome, read) == (KNOWN, ["EUR", "GBP"])
    (back,) = await out(books, payout("r", 300, reverses_id="o1"))
    assert (back.outcome, back.account, back.credit, read) == (BACK, duty, 300, ["EUR", "GBP", "EUR"])


async def test_a_payout_of_the_last_moment_is_shown(books: Books) -> None:
    await put(books.database, "ledger_payout", "EU", "a", booked_at=2**63 - 2)
    await put(books.database, "ledger_payout", "EU", "b", booked_at=0)
    shown = await stored_payouts.page(books.database, rows_max=9)
    assert [each.payout.id for each in shown] == ["b", "a"]


@pytest.mark.parametrize(("module", "most", "each"), [(payments_of, 1_000, payment), (payouts_of, 100, payout)])
async def test_a_request_has_so_many_and_credit_is_used_in_twenty_transactions(
    monkeypatch: pytest.MonkeyPatch, module: Any, most: int, each: Any
) -> None:
    class Nothing:
        database = None

    settled: list[int] = []

    async def settle_some(_: Ledger, keys: list[Any], transactions_max: int) -> int:
        assert keys == [(1, "EUR"), (2, "EUR")]
        settled.append(transactions_max)
        return 0

    async def booked(self: Any, part: Any, *_: Any) -> Any:
        if isinstance(part, Payout):
            return PayoutResult(), [(int(part.id) % 2 + 1, "EUR")]
        return [None] * len(part), {(int(one.id) % 2 + 1, "EUR") for one in part}

    monkeypatch.setattr(module, "settle_some", settle_some)
    monkeypatch.setattr(Payments, "book", booked)
    monkeypatch.setattr(Payouts, "book", booked)
    work = (Payments if module is payments_of else Payouts)(cast(Ledger, Nothing))
    many = [each(f"{number}", 5, "x") for number in range(most + 1)]
    assert len(await work.record(many[:most], "officer-1")) == most
    with pytest.raises(ValueError, match=f"at most {most:d} are booked"):
        await work.record(many, "officer-1")
    assert settled == [20]


async def test_what_is_booked_meanwhile_is_looked_for_five_times(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    await books.take(BOUGHT)
    await books.pay(payment("a", 2_260, BOUGHT.mrn))
    await out(books, payout("o1", 60, BOUGHT.mrn))

    async def pay() -> list[Any]:
        return list(await books.pay(payment("b", 2_260, "", reverses_id="a")))

    async def give_back() -> list[Any]:
        return list(await out(books, payout("o2", 60, reverses_id="o1")))

    for module, ask in ((payments_of, pay), (payouts_of, give_back)):
        late = meanwhile(monkeypatch, module, times=5)
        with pytest.raises(RuntimeError, match="5 times"):
            await ask()
        assert late == [10]
        late = meanwhile(monkeypatch, module, times=4)
        (result,) = await ask()
        assert (result.reason, late) == ("", [10])
    assert await paid_out(books) == [(0, 0)]


def meanwhile(monkeypatch: pytest.MonkeyPatch, module: Any, times: int) -> list[int]:
    """Let what a reader finds before the heads are taken lack a partition so many times; return how often is looked."""
    monkeypatch.undo()
    looks, partitions = [0], module.partitions_of

    def fewer(asked: Any, known: Any) -> set[int]:
        looks[0] += 1
        found: set[int] = partitions(asked, known)
        return found - {3} if looks[0] % 2 and looks[0] < 2 * times else found

    monkeypatch.setattr(module, "partitions_of", fewer)
    return looks


async def test_a_payment_that_comes_twice_in_parts_of_a_request_that_was_cut_off_is_known_the_second_time(
    books: Books,
) -> None:
    await books.take(OWN)
    wanted = [
        payment("a", 2_200, OWN.mrn),
        *(payment(f"n{number}", 5, "x") for number in range(52)),
        payment("a", 2_200, OWN.mrn),
    ]
    first = await books.payments.record(wanted, "officer-1", "r1")
    again = await books.payments.record(wanted, "officer-1", "r1")
    matched, unmatched, known = (
        pb.PAYMENT_OUTCOME_MATCHED,
        pb.PAYMENT_OUTCOME_UNMATCHED,
        pb.PAYMENT_OUTCOME_ALREADY_BOOKED,
    )
    for each in (first, again):
        assert [one.outcome for one in each] == [matched, *[unmatched] * 52, known]


async def test_the_list_tells_which_unmatched_payments_name_a_consignment_of_another_jurisdiction(books: Books) -> None:
    here, there = OWN, replace(OWN, mrn=mrn(6), rulebook="UK/2026.1/1f0c9a2b", declarant="D2")
    await books.take(here, there)
    await books.pay(
        payment("a", 5, here.mrn),
        payment("b", 5, there.mrn),
        payment("c", 5, here.mrn, currency="GBP"),
        payment("d", 5, "thanks"),
    )
    await books.take(replace(here, version=2, rulebook="UK/2026.1/1f0c9a2b"))
    for unmatched, idents in ((False, "abcd"), (True, "bcd")):
        found = await stored_payments.page(books.database, after=("", ""), unmatched_only=unmatched, rows_max=9)
        reasons = {each.payment.id: each.result.reason for each in found}
        assert reasons == {each: "JURISDICTION_DIFFERS" if each in "bc" else "" for each in idents}


async def test_an_account_that_an_officer_opened_is_paid_before_anything_is_booked_on_it(books: Books) -> None:
    async with books.database.transaction() as tx:
        for name in ("deferred:new", "declarant:new"):
            await tx.raw.execute(
                "insert into ledger_account values ($1, 'EUR', null, false, '', '{}', 'officer-1')", name
            )
    results = await books.pay(
        *(payment(each, 5, each) for each in ("deferred:new", "declarant:new", "deferred:none", "thanks"))
    )
    over, unmatched = pb.PAYMENT_OUTCOME_OVERPAID, pb.PAYMENT_OUTCOME_UNMATCHED
    assert [(each.outcome, each.account) for each in results] == [
        (over, "deferred:new"), (over, "declarant:new"), (unmatched, "unmatched:EU"), (unmatched, "unmatched:EU"),
    ]  # fmt: skip


async def test_a_payment_waits_for_the_credit_of_its_own_currency_alone(books: Books) -> None:
    await books.take(OWN, replace(OWN, mrn=mrn(7), currency="GBP"))
    await books.pay(payment("a", 2_300, OWNER), payment("b", 2_300, OWNER, currency="GBP"))
    async with books.database.transaction() as other:
        await other.raw.execute("select * from ledger_credit where currency = 'GBP' for update")
        (result,) = await books.pay(payment("c", 5, OWNER))
    assert (result.outcome, result.over) == (pb.PAYMENT_OUTCOME_OVERPAID, 5)


async def test_a_payment_takes_the_rows_of_all_credit_that_it_may_change_at_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who book at once take them in one order, so that neither waits for the other."""
    shared = replace(OWN, mrn=mrn(8), charges=(Charge(300, account=BUYERS), Charge(25, TAX, account="declarant:D2")))
    await books.take(OWN, shared, State(mrn(9)))
    ids = await books.ledger.name_ids({OWNER, "declarant:D2"})
    held: list[set[Any]] = []
    hold = credit.lock

    async def noted(tx: Any, keys: Any) -> Any:
        held.append(set(keys))
        return await hold(tx, keys)

    monkeypatch.setattr(credit, "lock", noted)
    for asked, accounts in (
        ([payment("a", 5, shared.mrn)], {"declarant:D2"}),
        ([payment("b", 5, OWNER)], {OWNER}),
        ([payment("c", 5, CARRIER)], set()),
        ([payment("d", 5, shared.mrn), payment("e", 5, OWNER)], {"declarant:D2", OWNER}),
        ([payment("f", 5, OWNER, reverses_id="b")], {OWNER}),
    ):
        held.clear()
        await books.pay(*asked)
        assert held[0] == {(ids[each], "EUR") for each in accounts}, asked
