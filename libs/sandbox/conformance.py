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
from libs.sandbox.cases import AFTER, CASES, Act, Case, cases_of
from libs.sandbox.findings import Finding
from libs.sandbox.responses.calls import BY_SUBJECT, Subject
from libs.sandbox.responses.exchange import ANSWER_SECONDS, message_of, plain_channel, send
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.server.identity import Role
from libs.server.transport.tls import Material, Party
from luxor.clearance.v1 import carriers_pb2, clearance_pb2
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE, Consignment
from luxor.ingestion.v1 import ingestion_pb2

CASE_SECONDS: Final = 60.0
"""How long the notices of a case may take."""
PARALLEL_MAX: Final = 16
"""Cases that are begun at one time: more calls would wait for each other until their deadlines."""
SLOW_SECONDS: Final = 2.0
"""Deadline of the call that gets no answer."""
_SUBMIT: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"


@dataclass
class Conversation:
    """One case: what was found, and what differs from it."""

    case: Case
    message: Any
    """What is filed or sent: a Consignment, or the message of the case's subject."""
    mrn: str = ""
    notices: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    acted: bool = False
    version: int = 1
    """That an amendment replaces."""

    @property
    def passed(self) -> bool:
        """Whether everything was as the case says."""
        return not self.errors

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is expected."""
        return bool(self.errors) or len(self.notices) >= len(self.case.notices)


async def run(
    target: str,
    party: Party | Material,
    names: Sequence[str] = (),
    *,
    role: Role = Role.FILER,
    seconds: float = CASE_SECONDS,
) -> list[Conversation]:
    """Go through cases of a role (none named: all of them) at the address of a sandbox, as the party of a certificate; return one conversation each.

    Raise LuxorError if the sandbox cannot be reached.
    """
    services = dict.fromkeys(("ingestion", "clearance"), target)
    mark = uuid.uuid4().hex[:8].upper()
    found = [Conversation(CASES[name], _message(CASES[name], mark)) for name in names or cases_of(role)]
    async with Client(services, party) as client, plain_channel(target, party) as channel:
        cursor = await _end(client)
        limit = asyncio.Semaphore(PARALLEL_MAX)
        await asyncio.gather(*(_begin(client, channel, each, limit) for each in found))
        try:
            async with asyncio.timeout(seconds):
                await _follow(client, cursor, {each.mrn: each for each in found if each.mrn})
        except TimeoutError:
            pass
        for each in found:
            await _compare(client, each)
    return found


def _message(case: Case, mark: str) -> Any:
    """Return what is sent in a case, valid and with references of its own."""
    goods = _goods(case, mark)
    return goods if case.subject is Subject.CONSIGNMENT else message_of(case.subject, goods.local_reference, goods)


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


async def _begin(client: Client, channel: grpc.aio.Channel, each: Conversation, limit: asyncio.Semaphore) -> None:
    """File or send the message of a case, with what goes wrong before it is accepted."""
    try:
        async with limit:
            if each.case.subject is Subject.CONSIGNMENT:
                await _file(client, channel, each)
            else:
                await _send(channel, each)
    except LuxorError as error:
        each.errors.append(f"{each.case.subject}: expected an answer, found {error.reason}")


async def _file(client: Client, channel: grpc.aio.Channel, each: Conversation) -> None:
    request_id, finding = str(uuid.uuid4()), each.case.finding
    if each.case.failure is not None:
        await _meet_failure(channel, each, each.case.failure, request_id)
        request_id = str(uuid.uuid4()) if FAILURES[each.case.failure].renews else request_id
    if finding is not None and each.case.act in (Act.CORRECT, Act.RENAME):
        for _ in range(2):
            (result,) = (await client.submit([each.message], request_id=request_id)).results
            _compare_finding(each, finding, bool(result.receipt.mrn), _reasons_of(result.errors))
        request_id = str(uuid.uuid4())
    if each.case.act is Act.RENAME:
        each.message.local_reference = f"KIT-{each.message.local_reference}"
    (result,) = (await client.submit([each.message], request_id=request_id)).results
    if not result.receipt.mrn:
        reason = result.errors[0].reason if result.errors else "a refusal"
        each.errors.append(f"filing: expected acceptance, found {reason}")
    elif finding is not None and finding.warns:
        _compare_finding(each, finding, True, _reasons_of(result.errors))
    if each.case.state:
        each.mrn = result.receipt.mrn


async def _send(channel: grpc.aio.Channel, each: Conversation) -> None:
    """Send a message that is refused, twice in the same call, and then in another call, or under another reference."""
    call, finding = BY_SUBJECT[each.case.subject], each.case.finding
    assert finding is not None
    if each.case.subject is Subject.REVERSAL:
        await _arrive(channel, each)
    request_id = str(uuid.uuid4())
    for _ in range(2):
        answer = await send(channel, call, each.message, request_id)
        _compare_finding(each, finding, answer.is_accepted, answer.reasons, f"{call.rows}[0]")
    if each.case.act is Act.RENAME:
        setattr(each.message, call.reference, f"KIT-{getattr(each.message, call.reference)}")
    answer = await send(channel, call, each.message, str(uuid.uuid4()))
    if not answer.is_accepted:
        each.errors.append(f"{each.case.subject}: expected acceptance, found {_text_of(answer.reasons)}")


async def _arrive(channel: grpc.aio.Channel, each: Conversation) -> None:
    """Record the arrival that is reversed."""
    reversed_: carriers_pb2.ArrivalRef = each.message
    arrival = message_of(Subject.ARRIVAL, reversed_.master_document_number, Consignment())
    answer = await send(channel, BY_SUBJECT[Subject.ARRIVAL], arrival, str(uuid.uuid4()))
    if not answer.is_accepted:
        each.errors.append(f"arrival: expected acceptance, found {_text_of(answer.reasons)}")


def _reasons_of(errors: Sequence[Any]) -> set[tuple[str, str]]:
    return {(error.reason, error.path) for error in errors}


def _compare_finding(
    each: Conversation, finding: Finding, is_accepted: bool, reasons: set[tuple[str, str]], row: str = "consignments[0]"
) -> None:
    """Compare an answer with the finding of the case."""
    path = f"{row}.{finding.path}" if finding.path else row
    if (finding.reason, path) not in reasons or is_accepted != finding.warns:
        wanted = "a warning" if finding.warns else "a refusal"
        each.errors.append(f"answer: expected {wanted}, {finding.reason} at {path}; found {_text_of(reasons)}")


def _text_of(reasons: set[tuple[str, str]]) -> str:
    return ", ".join(f"{reason} at {path}" for reason, path in sorted(reasons)) or "acceptance"


async def _meet_failure(channel: grpc.aio.Channel, each: Conversation, failure: CallFailure, request_id: str) -> None:
    """Make the call that fails, without the retries of a channel, and wait as long as its answer says."""
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
    expected = FAILURES[failure]
    if found != expected.reason:
        each.errors.append(f"first call: expected {expected.reason}, found {found}")
    if expected.waits and not wait:
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
            if each.case.act is Act.AMEND_TWICE:
                await _meet_refused_amendment(client, each)
            (result,) = (await client.submit([_change(each)])).results
            reason = "" if result.receipt.mrn else result.errors[0].reason
    except LuxorError as error:
        reason = error.reason
    if reason:
        each.errors.append(f"{each.case.act}: expected acceptance, found {reason}")


async def _meet_refused_amendment(client: Client, each: Conversation) -> None:
    """Amend and be refused, and take the current version for the next amendment."""
    finding, request_id = each.case.finding, str(uuid.uuid4())
    assert finding is not None
    for _ in range(2):
        (result,) = (await client.submit([_change(each)], request_id=request_id)).results
        _compare_finding(each, finding, bool(result.receipt.mrn), _reasons_of(result.errors))
    (current,) = (await client.receipts(mrns=[each.mrn])).results
    each.version = current.receipt.version


def _change(each: Conversation) -> Consignment:
    """Return the amendment or the invalidation of a case."""
    changed = Consignment(local_reference=each.message.local_reference, function=MESSAGE_FUNCTION_INVALIDATE)
    if each.case.act is not Act.WITHDRAW:
        changed.CopyFrom(each.message)
        changed.function = MESSAGE_FUNCTION_AMEND
        changed.items[0].price.minor += 100
    changed.amended_version = each.version
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
