"""What the conformance kit says of a server whose answers are not those of the cases, over real sockets and TLS."""

from __future__ import annotations

from libs.sandbox.conformance import run
from libs.sandbox.responses.calls import BY_SUBJECT, Subject
from libs.server.identity import Role
from luxor.clearance.v1 import clearance_pb2
from luxor.revenue.v1 import sales_pb2
from tests.support.sandbox_door import Door


async def errors(door: Door, name: str, role: Role = Role.FILER, *, inner: bool = False) -> list[str]:
    """Return what the kit finds wrong in a case, at the door or at the service behind it."""
    target = door.inner if inner else f"127.0.0.1:{door.port}"
    (found,) = await run(target, door.authority.issue(role, "acme"), [name], role=role, seconds=1)
    return found.errors


async def test_a_server_that_accepts_what_a_case_refuses_is_named(door: Door) -> None:
    accepted = sales_pb2.SaleResult(status=sales_pb2.SALE_STATUS_ACCEPTED)
    door.behind.answers[BY_SUBJECT[Subject.SALE].method] = sales_pb2.FileSalesResponse(
        results=[accepted]
    ).SerializeToString()
    expected = "answer: expected a refusal, NO_RULEBOOK at sales[0]; found acceptance"
    assert await errors(door, "NOLAW") == [expected, expected]


async def test_a_server_that_refuses_for_another_reason_and_never_accepts_is_named(door: Door) -> None:
    refused = clearance_pb2.ArrivalResult(outcome=clearance_pb2.ARRIVAL_OUTCOME_REFUSED)
    refused.errors.add(reason="ARRIVAL_PLACE_MALFORMED", path="arrivals[0].conveyance_reference", severity=1)
    door.behind.answers[BY_SUBJECT[Subject.ARRIVAL].method] = clearance_pb2.RecordArrivalsResponse(
        results=[refused]
    ).SerializeToString()
    found = "ARRIVAL_PLACE_MALFORMED at arrivals[0].conveyance_reference"
    expected = f"answer: expected a refusal, ARRIVAL_PLACE_MALFORMED at arrivals[0].place; found {found}"
    never = f"arrival: expected acceptance, found {found}"
    assert await errors(door, "PLACE", Role.CARRIER) == [expected, expected, never]


async def test_a_server_that_does_not_fail_is_named(door: Door) -> None:
    # The service itself, without the sandbox before it.
    assert (await errors(door, "FULL", inner=True))[:2] == [
        "first call: expected STORE_FULL, found an answer",
        "first call: expected RetryInfo, found none",
    ]
