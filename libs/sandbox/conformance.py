"""The conformance kit: a client's conversation through the cases with a sandbox, and what of it was not as the case says."""

import asyncio
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from libs.client.clearance import controls
from libs.client.client import Client
from libs.client.errors import LuxorError, from_rpc
from libs.client.filing.files import Read, read_jsonl, template
from libs.sandbox.cases import AFTER, CASES, Act, CallFailure, Case
from libs.server.transport.channel import options
from libs.server.transport.tls import Material, Party
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE, Consignment
from luxor.ingestion.v1 import ingestion_pb2

CASE_SECONDS: Final = 60.0
"""How long the notices of a case may take."""
REFUSAL: Final = ("ELEMENT_MISSING", "consignments[0].items[0].description")
"""Reason and path of the consignment that is refused."""
ANSWER_SECONDS: Final = 20.0
"""Deadline of the other calls that fail."""
SLOW_SECONDS: Final = 2.0
"""Deadline of the call that gets no answer."""
_SUBMIT: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
_EXPECTED: Final = {
    CallFailure.DOWN: "SHUTTING_DOWN",
    CallFailure.BUSY: "OVERLOADED",
    CallFailure.FAIL: "INTERNAL",
    CallFailure.SLOW: "CLIENT_DEADLINE",
    CallFailure.LOST: "SHUTTING_DOWN",
}
"""The reason of the first answer by failure."""


@dataclass
class Conversation:
    """One case: what was found, and what differs from it."""

    case: Case
    message: Consignment
    mrn: str = ""
    notices: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    acted: bool = False

    @property
    def passed(self) -> bool:
        """Whether everything was as the case says."""
        return not self.errors

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is expected."""
        return bool(self.errors) or len(self.notices) >= len(self.case.notices)


async def run(
    target: str, party: Party | Material, names: Sequence[str] = (), *, seconds: float = CASE_SECONDS
) -> list[Conversation]:
    """Go through cases (none named: all) at the address of a sandbox, as the filer of a certificate; return one conversation each.

    Raise LuxorError if the sandbox cannot be reached.
    """
    services = dict.fromkeys(("ingestion", "clearance"), target)
    async with Client(services, party) as client:
        cursor = await _end(client)
        mark = uuid.uuid4().hex[:8].upper()
        found = [Conversation(CASES[name], _goods(CASES[name], mark)) for name in names or CASES]
        await asyncio.gather(*(_file(client, each, target, party) for each in found))
        try:
            async with asyncio.timeout(seconds):
                await _follow(client, cursor, {each.mrn: each for each in found if each.mrn})
        except TimeoutError:
            pass
        for each in found:
            await _compare(client, each)
    return found


def _goods(case: Case, mark: str) -> Consignment:
    """Return goods for a case: those of the template, with documents of their own."""
    (row,) = (each for each in read_jsonl(io.BytesIO(template("jsonl").encode())) if isinstance(each, Read))
    message = row.message
    message.local_reference = f"{case.name}-{mark}"
    message.house_document.number = f"H-{case.name}-{mark}"
    message.master_document.number = f"M-{case.name}-{mark}"
    message.order.number = f"{case.name}-{mark}"
    message.carrier_identifier = ""
    if case.owes:
        # Nobody deferred payments for it.
        message.declarant.identifier = f"DE{int(mark, 16) % 10**15:015}"
    return message


async def _end(client: Client) -> str:
    """Return the cursor behind the notices that exist already."""
    cursor = ""
    while (page := await client.pull_notices(cursor)).notices:
        cursor = page.next_cursor
    return cursor


async def _file(client: Client, each: Conversation, target: str, party: Party | Material) -> None:
    request_id = str(uuid.uuid4())
    try:
        if each.case.failure is not None:
            await _meet_failure(each, each.case.failure, request_id, target, party)
        if each.case.act is Act.CORRECT:
            await _meet_refusal(client, each)
        answer = await client.submit([each.message], request_id=request_id)
        (result,) = answer.results
        each.mrn = result.receipt.mrn
        if not each.mrn:
            each.errors.append(
                f"filing: expected acceptance, found {result.errors[0].reason if result.errors else 'a refusal'}"
            )
    except LuxorError as error:
        each.errors.append(f"filing: expected an answer, found {error.reason}")


async def _meet_refusal(client: Client, each: Conversation) -> None:
    """Make the call whose consignment is refused, twice."""
    request_id = str(uuid.uuid4())
    for _ in range(2):
        (result,) = (await client.submit([each.message], request_id=request_id)).results
        reasons = {(error.reason, error.path) for error in result.errors}
        if result.receipt.mrn or REFUSAL not in reasons:
            each.errors.append(f"first call: expected {' at '.join(REFUSAL)}, found {sorted(reasons) or 'acceptance'}")


async def _meet_failure(
    each: Conversation, failure: CallFailure, request_id: str, target: str, party: Party | Material
) -> None:
    """Make the call that fails, without the retries of a channel, and wait as long as its answer says."""
    material = party.load() if isinstance(party, Party) else party
    plain = [(key, value) for key, value in options() if key not in ("grpc.service_config", "grpc.enable_retries")]
    async with grpc.aio.secure_channel(
        target, material.channel_credentials(), options=[*plain, ("grpc.enable_retries", 0)]
    ) as channel:
        method: Any = channel.unary_unary(
            _SUBMIT,
            request_serializer=ingestion_pb2.SubmitConsignmentsRequest.SerializeToString,
            response_deserializer=ingestion_pb2.SubmitConsignmentsResponse.FromString,
        )
        request = ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=[each.message])
        try:
            await method(request, timeout=SLOW_SECONDS if failure is CallFailure.SLOW else ANSWER_SECONDS)
            found, wait = "an answer", None
        except grpc.aio.AioRpcError as raised:
            error = await from_rpc(raised)
            found, wait = error.reason, error.retry_after_seconds
    if found != _EXPECTED[failure]:
        each.errors.append(f"first call: expected {_EXPECTED[failure]}, found {found}")
    if failure is CallFailure.BUSY and not wait:
        each.errors.append("first call: expected RetryInfo, found none")
    await asyncio.sleep(wait or 0.0)


async def _follow(client: Client, cursor: str, by_mrn: Mapping[str, Conversation]) -> None:
    """Read notices and act on them until every case is complete."""
    is_over = False
    while not is_over:
        # Once more after the last one, for what no case announces.
        is_over = all(each.is_complete for each in by_mrn.values())
        page = await client.pull_notices(cursor, wait_millis=1_000)
        cursor = page.next_cursor
        for notice in page.notices:
            each = by_mrn.get(notice.mrn)
            if each is None:
                continue
            kind = clearance_pb2.NoticeKind.Name(notice.kind).removeprefix("NOTICE_KIND_")
            each.notices.append(kind)
            if AFTER.get(each.case.act) == kind and not each.acted:
                each.acted = True
                await _act(client, each, notice)


async def _act(client: Client, each: Conversation, notice: clearance_pb2.Notice) -> None:
    try:
        if each.case.act in (Act.ANSWER, Act.ANSWER_LATE):
            control = notice.controls[-1]
            clear = "clear" if each.case.name == "SCREEN" else ""
            answer = controls.answer_of(each.mrn, control.number, text="As declared.", screening=clear)
            (done,) = await controls.carry_out(client, "answers", [answer])
            reason = done.get("error", {}).get("reason", "")
        else:
            (result,) = (await client.submit([_change(each)])).results
            reason = "" if result.receipt.mrn else result.errors[0].reason
    except LuxorError as error:
        reason = error.reason
    if reason:
        each.errors.append(f"{each.case.act}: expected acceptance, found {reason}")


def _change(each: Conversation) -> Consignment:
    """Return the amendment or the invalidation of a case."""
    changed = Consignment(local_reference=each.message.local_reference, function=MESSAGE_FUNCTION_INVALIDATE)
    if each.case.act is not Act.WITHDRAW:
        changed.CopyFrom(each.message)
        changed.function = MESSAGE_FUNCTION_AMEND
        changed.items[0].price.minor += 100
    changed.amended_version = 1
    return changed


async def _compare(client: Client, each: Conversation) -> None:
    """Compare the notices and the state with those of the case."""
    if not each.mrn:
        return
    if tuple(each.notices) != each.case.notices:
        found = ", ".join(each.notices) or "none"
        each.errors.append(f"notices: expected {', '.join(each.case.notices)}, found {found}")
    (result,) = (await client.status([clearance_pb2.StatusQuery(mrn=each.mrn)])).results
    state = (
        clearance_pb2.State.Name(result.consignments[0].state).removeprefix("STATE_") if result.consignments else "none"
    )
    if state != each.case.state:
        each.errors.append(f"state: expected {each.case.state}, found {state}")
