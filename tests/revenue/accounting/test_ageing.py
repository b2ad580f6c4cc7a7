"""Over real gRPC and PostgreSQL: the ageing of open items equals the balance of the account as payments arrive."""

from __future__ import annotations

from typing import Any

from libs.client.revenue.accounting.ageing import ageing
from luxor.revenue.v1 import ledger_pb2 as pb
from tests.revenue.accounting.callers import client_of
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import SECONDS, open_state, payment, stub
from tests.revenue.ledger.states import DAY, TAX, Charge, mrn
from tests.support.services import Running

OLD, RECENT = mrn(1, 3, DAY - 45), mrn(2, 7)


def figures(row: dict[str, Any]) -> tuple[int, ...]:
    """Return not due, 31 to 60 days, open items, credit and balance."""
    names = ("not_due", "days_31_to_60", "open", "credit", "balance")
    return tuple(row[f"{name}_minor"] for name in names)


async def pay(house: Running, ident: str, reference: str, amount: int) -> None:
    request = pb.RecordPaymentsRequest(request_id=ident, payments=[payment(ident, reference, amount)])
    (result,) = (await (await stub(house)).RecordPayments(request, timeout=SECONDS)).results
    assert not result.HasField("error"), result.error


async def test_the_age_of_a_declarant_s_items_follows_its_payments(house: Running, kept: Books) -> None:
    client, account = await client_of(house), "declarant:DE1234567890"
    await kept.take(open_state(OLD, day=DAY - 45), open_state(RECENT))
    (row,) = await ageing(client, account, DAY, 0)
    assert (row["currency"], row["items"], figures(row)) == ("EUR", 2, (2_200, 2_200, 4_400, 0, 4_400))
    # The account's payment pays its oldest item first; the rest of the newer one stays open.
    await pay(house, "b1", account, 3_000)
    (row,) = await ageing(client, account, DAY, 0)
    assert (row["items"], figures(row)) == (1, (1_400, 0, 1_400, 0, 1_400))
    await pay(house, "b2", account, 1_500)
    (row,) = await ageing(client, account, DAY, 0)
    assert (row["items"], figures(row)) == (0, (0, 0, 0, 100, -100))


async def test_a_buyer_s_overpayment_is_credit_of_the_border_and_does_not_change_the_age(
    house: Running, kept: Books
) -> None:
    client = await client_of(house)
    charges = (Charge(300, account="border:DE"), Charge(1_900, TAX, "EU.vat_low_value", account="border:DE"))
    await kept.take(open_state(OLD, day=DAY - 45, charges=charges), open_state(RECENT, charges=charges))
    await pay(house, "b1", RECENT, 2_250)
    (row,) = await ageing(client, "border:DE", DAY, 10)
    assert (row["items"], figures(row)) == (1, (0, 2_200, 2_200, 50, 2_150))
