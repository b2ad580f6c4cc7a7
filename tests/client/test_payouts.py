"""Payouts by the client: in requests of a hundred, each with what became of it, and listed page by page."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.client import Client
from libs.client.revenue.payouts import BATCH, iterate_payouts, record_payouts
from luxor.revenue.v1 import ledger_pb2 as pb

PAYOUT = pb.Payout(id="o1", reference="declarant:D", jurisdiction="EU", currency="EUR", amount_minor=500)
RESULT = pb.PayoutResult(outcome=pb.PAYOUT_OUTCOME_BOOKED, account="declarant:D", credit_minor=30)


class Answers:
    """A client that answers what it was given, in turn."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    async def ask(
        self, service: str, stub: Any, method: str, request: Any, kind: type[Any], seconds: float = 30.0
    ) -> Any:
        self.asked.append((service, method, request))
        answer = self.answers.pop(0)
        assert isinstance(answer, kind)
        return answer


async def test_each_payout_of_several_requests_is_told_with_what_became_of_it() -> None:
    first = pb.RecordPayoutsResponse(results=[RESULT] * BATCH)
    last = pb.RecordPayoutsResponse(results=[pb.PayoutResult(outcome=pb.PAYOUT_OUTCOME_REFUSED)])
    client = Answers(first, last)
    told = await record_payouts(cast(Client, client), [PAYOUT] * (BATCH + 1))
    assert [each["outcome"] for each in told] == ["BOOKED"] * BATCH + ["REFUSED"]
    assert (told[0]["id"], told[0]["account"], told[0]["credit_minor"]) == ("o1", "declarant:D", 30)
    assert len({request.request_id for _, _, request in client.asked}) == 2
    assert [len(request.payouts) for _, _, request in client.asked] == [BATCH, 1]


async def test_payouts_are_listed_page_by_page() -> None:
    booked = pb.BookedPayout(payout=PAYOUT, result=RESULT, booked_at=Timestamp(seconds=1), booked_by="officer/one")
    client = Answers(
        pb.ListPayoutsResponse(payouts=[booked], next_page_token="next"),
        pb.ListPayoutsResponse(payouts=[pb.BookedPayout(payout=pb.Payout(id="o2"), result=RESULT, reversed_by="o3")]),
    )
    first, second = [each async for each in iterate_payouts(cast(Client, client))]
    assert [request.page_token for _, _, request in client.asked] == ["", "next"]
    assert (first["id"], first["outcome"], first["booked_by"]) == ("o1", "BOOKED", "officer/one")
    assert first["booked_at"].startswith("1970-01-01")
    assert (second["id"], second["reversed_by"]) == ("o2", "o3")
