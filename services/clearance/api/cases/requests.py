"""Cases as messages, and the checks of requests about them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import is_id
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import is_plain, is_reason
from services.clearance.cases.case import REPLACING, Case
from services.clearance.commands.cases.change import CaseChanged, Target
from services.clearance.store.cases.contents import Attachment

CASES_MAX: Final = 100
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TIMES: Final = ("opened_at", "changed_at", "closed_at")


def opening(request: pb.OpenCaseRequest) -> pb.CaseEvent:
    """Return the event that opens a case. Raises Refusal."""
    if not request.title.strip() or not is_plain(request.title):
        raise Refusal("CASE_TITLE_MALFORMED", path="title")
    check_assignment(request.officer, request.office)
    key, selected = request.relation_key, request.relation == pb.CASE_RELATION_SELECTION
    if not request.relation or bool(key.strip()) == selected or (selected and key):
        raise Refusal("CASE_RELATION_UNCLEAR", path="relation_key" if request.relation else "relation")
    return pb.CaseEvent(
        change=pb.CASE_CHANGE_OPENED, by=call.current().identity.id, title=request.title, office=request.office,
        officer=request.officer, relation=request.relation, relation_key=key, note=request.note,
    )  # fmt: skip


def event_of(change: pb.CaseChange.ValueType, request: Any) -> pb.CaseEvent:
    """Return the event that a request asks for, with the fields of the same name. Raises Refusal for those that lack what the change needs."""
    event = pb.CaseEvent(change=change, by=call.current().identity.id, note=request.note)
    names = request.DESCRIPTOR.fields_by_name
    if "reason" in names:
        if not is_reason(request.reason):
            raise Refusal("REASON_MALFORMED", path="reason", value=request.reason)
        event.reason = request.reason
    if change == pb.CASE_CHANGE_CLOSED:
        if not request.outcome:
            raise Refusal("CASE_OUTCOME_MISSING", path="outcome")
        event.outcome = request.outcome
    if change == pb.CASE_CHANGE_ASSIGNED:
        check_assignment(request.officer, request.office)
        event.officer, event.office = request.officer, request.office
    if change == pb.CASE_CHANGE_NOTED and not request.note.strip():
        raise Refusal("CASE_NOTE_MALFORMED", path="note")
    return event


def attached(request: pb.AttachToCasesRequest) -> pb.CaseEvent:
    """Return the event that attaches a content. Raises Refusal."""
    name = request.name
    if not name.strip() or not is_plain(name) or "/" in name or "\\" in name:
        raise Refusal("CONTENT_NAME_MALFORMED", path="name")
    if not request.content_type:
        raise Refusal("CONTENT_TYPE_UNFIT", path="content_type")
    event = event_of(pb.CASE_CHANGE_ATTACHED, request)
    event.attachment.MergeFrom(
        pb.CaseAttachment(sha256=hash_of(request.sha256).hex(), name=name, content_type=request.content_type)
    )
    return event


def hash_of(text: str) -> bytes:
    """Return a SHA-256 of a request. Raises Refusal."""
    if _SHA256.fullmatch(text) is None:
        raise Refusal("CONTENT_HASH_MALFORMED", path="sha256")
    return bytes.fromhex(text)


def attachment_message(attachment: Attachment) -> pb.CaseAttachment:
    """Return an attachment as a message."""
    message = pb.CaseAttachment(
        sha256=attachment.sha256.hex(), name=attachment.name, content_type=attachment.content_type, bytes=attachment.bytes,  # type: ignore[arg-type]
        attached_by=attachment.attached_by,
    )  # fmt: skip
    message.attached_at.FromMicroseconds(attachment.attached_at)
    return message


def check_assignment(officer: str, office: str) -> None:
    """Raise Refusal where an officer or an office is malformed."""
    if officer and not is_id(officer):
        raise Refusal("OFFICER_MALFORMED", path="officer", value=officer)
    if not is_plain(office):
        raise Refusal("OFFICE_MALFORMED", path="office", value=office)


def target_of(ref: pb.CaseRef) -> Target:
    """Return the case that a request names."""
    return Target(ref.number, ref.expected_version if ref.HasField("expected_version") else None)


@dataclass(frozen=True, slots=True)
class CaseAnswering:
    """The cases of a request, and how each of them is answered."""

    refs: Sequence[pb.CaseRef]
    errors: Mapping[int, ItemError]
    answer: Any

    @property
    def targets(self) -> list[Target]:
        """The cases without errors."""
        return [target_of(ref) for place, ref in enumerate(self.refs) if place not in self.errors]

    def encode(self, results: Sequence[CaseChanged]) -> bytes:
        """Return the encoded answer, with the results of the cases without errors in their order."""
        outcomes = iter(results)
        out = [
            pb.CaseResult(number=ref.number, error=self.errors[place])
            if place in self.errors
            else result_of(next(outcomes), f"cases[{place}]")
            for place, ref in enumerate(self.refs)
        ]
        payload: bytes = self.answer(results=out).SerializeToString()
        return payload


def case_answering(refs: Sequence[pb.CaseRef], change: "pb.CaseChange.ValueType", answer: Any) -> CaseAnswering:
    """Return how a batch of cases is answered. Raises Refusal for one without cases."""
    if not refs:
        raise Refusal("BATCH_EMPTY", count_max=CASES_MAX)
    errors: dict[int, ItemError] = {}
    seen: set[int] = set()
    for place, ref in enumerate(refs):
        if ref.number in seen:
            errors[place] = item_error("CASE_REPEATED", f"cases[{place}].number", ref.number)
        elif change in REPLACING and not ref.HasField("expected_version"):
            errors[place] = item_error("CASE_VERSION_MISSING", f"cases[{place}].expected_version")
        seen.add(ref.number)
    return CaseAnswering(refs, errors, answer)


def result_of(changed: CaseChanged, path: str = "case") -> pb.CaseResult:
    """Return the result of a change as a message."""
    case = changed.case
    error = (
        item_error(changed.refusal, f"{path}.number", case.number, version=case.version) if changed.refusal else None
    )
    return pb.CaseResult(number=case.number, version=case.version, state=case.state, error=error)  # type: ignore[arg-type]


def case_message(case: Case) -> pb.Case:
    """Return a case as a message."""
    message = pb.Case()
    for field in pb.Case.DESCRIPTOR.fields:
        value = getattr(case, field.name)
        if field.name not in _TIMES:
            setattr(message, field.name, value)
        elif value is not None:
            getattr(message, field.name).FromMicroseconds(value)
    return message
