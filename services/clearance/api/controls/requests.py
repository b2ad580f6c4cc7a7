"""Checks of requests about controls."""

import re
from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.server.errors import item_error
from libs.server.identity import is_id
from luxor.clearance.v1 import control_pb2, controls_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import NOTE_CHARACTERS_MAX, is_plain, is_reason, valid_by_mrn
from services.clearance.consignment.controls.control import (
    MATCHED,
    NEUTRAL_TEXTS,
    REFERRALS,
    Control,
    ControlResult,
)
from services.clearance.consignment.controls.steps import Answer, Conclusion
from services.clearance.consignment.decision import CUSTOMS_CHECK

CUSTOMS: Final = "customs"
"""How officers name the controls of customs in a list; no agency has this id."""
TEXT_CHARACTERS_MAX: Final = 512
ANSWER_CHARACTERS_MAX: Final = 2_000
DOCUMENTS_MAX: Final = 20
NUMBER_CHARACTERS_MAX: Final = 140
_DOCUMENT_TYPE: Final = re.compile(r"[A-Z0-9]{1,4}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SOON_MICROS: Final = 60 * 1_000_000
_AHEAD_MICROS_MAX: Final = 180 * 86_400 * 1_000_000
_FORMS: Final = frozenset(control_pb2.ControlForm.values()) - {0}
_REQUESTS: Final = (
    control_pb2.CONTROL_FORM_DOCUMENTS,
    control_pb2.CONTROL_FORM_INFORMATION,
    control_pb2.CONTROL_FORM_SCREENING,
)
"""Forms that somebody is to answer."""
_RESULTS: Final = {
    control_pb2.CONTROL_RESULT_CONFORM: ControlResult.CONFORM,
    control_pb2.CONTROL_RESULT_NOT_CONFORM: ControlResult.NOT_CONFORM,
    control_pb2.CONTROL_RESULT_WITHDRAWN: ControlResult.WITHDRAWN,
}


def orders(
    messages: Sequence[controls_pb2.ControlOrder], agency: str, now: int
) -> tuple[dict[str, Control], dict[int, ItemError]]:
    """Return the valid orders by MRN, and the errors of the others by place; `agency` is the id of the agency that orders, "" for an officer."""
    return valid_by_mrn(messages, "orders", lambda message, path: _order(message, path, agency, now))


def _order(message: controls_pb2.ControlOrder, path: str, agency: str, now: int) -> Control | ItemError:
    if message.form not in _FORMS:
        return item_error("CONTROL_FORM_MISSING", f"{path}.form", message.form)
    named = message.authority
    foreign = bool(agency) and named != agency
    # Referrals are customs' alone.
    referred = message.form in REFERRALS and bool(agency or named)
    if referred or (named and (not is_id(named) or named.lower() == CUSTOMS or foreign)):
        return item_error("CONTROL_AUTHORITY_MALFORMED", f"{path}.authority", named)
    if not is_reason(message.reason):
        return item_error("REASON_MALFORMED", f"{path}.reason", message.reason)
    if message.confidential and agency:
        return item_error("CONTROL_CONFIDENTIAL_UNFIT", f"{path}.confidential")
    answered = message.form in _REQUESTS
    if answered != bool(message.addressee) or message.addressee not in control_pb2.ControlAddressee.values():
        return item_error("CONTROL_ADDRESSEE_UNCLEAR", f"{path}.addressee", message.addressee)
    hidden = not agency and (message.confidential or message.reason == MATCHED)
    text = message.text if message.text.strip() or not hidden else NEUTRAL_TEXTS.get(message.form, "")
    if not _is_text(text, TEXT_CHARACTERS_MAX) or (answered and not text.strip()):
        return item_error("CONTROL_TEXT_MALFORMED", f"{path}.text", characters_max=TEXT_CHARACTERS_MAX)
    if len(message.pointer) > TEXT_CHARACTERS_MAX or not is_plain(message.pointer):
        return item_error("CONTROL_POINTER_MALFORMED", f"{path}.pointer")
    due, remind = (_micros(getattr(message, name), message.HasField(name)) for name in ("due_at", "remind_at"))
    forbids = message.form == control_pb2.CONTROL_FORM_DO_NOT_LOAD
    if due is not None and (forbids or not now + _SOON_MICROS <= due <= now + _AHEAD_MICROS_MAX):
        return item_error("CONTROL_DUE_OUT_OF_BOUNDS", f"{path}.due_at")
    # Somebody is reminded: the addressee of a request, or the agency whose control it is.
    if remind is not None and (due is None or not (answered or agency or named) or not now < remind < due):
        return item_error("CONTROL_DUE_OUT_OF_BOUNDS", f"{path}.remind_at")
    refers = answered and message.form in REFERRALS
    if message.when_overdue == control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD and not refers:
        return item_error("CONTROL_OVERDUE_UNFIT", f"{path}.when_overdue")
    return Control(
        number=0,
        form=message.form,
        authority=agency or named,
        reason=CUSTOMS_CHECK if hidden else message.reason,
        confidential_reason=message.reason if hidden else "",
        text=text,
        pointer=message.pointer,
        addressee=message.addressee,
        due_at=due,
        remind_at=remind,
        # What follows without an answer to a referral, the office states if the order does not.
        when_overdue=message.when_overdue or (0 if refers else control_pb2.CONTROL_OVERDUE_ESCALATE),
    )


def answers(messages: Sequence[controls_pb2.ControlAnswer]) -> tuple[dict[str, Answer], dict[int, ItemError]]:
    """Return the valid answers by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "answers", _answer)


def _answer(message: controls_pb2.ControlAnswer, path: str) -> Answer | ItemError:
    said = message.text.strip() or message.documents or message.screening_result
    if not _is_text(message.text, ANSWER_CHARACTERS_MAX) or not said:
        return item_error("CONTROL_TEXT_MALFORMED", f"{path}.text", characters_max=ANSWER_CHARACTERS_MAX)
    if len(message.documents) > DOCUMENTS_MAX:
        return item_error("CONTROL_DOCUMENTS_MALFORMED", f"{path}.documents", len(message.documents))
    for place, each in enumerate(message.documents):
        known = _DOCUMENT_TYPE.fullmatch(each.type) is not None
        hashed = not each.sha256 or _SHA256.fullmatch(each.sha256) is not None
        if not (known and hashed) or not each.number.strip() or not _is_text(each.number, NUMBER_CHARACTERS_MAX):
            return item_error("CONTROL_DOCUMENTS_MALFORMED", f"{path}.documents[{place}]", each.type)
    if message.screening_result not in consignment_pb2.ScreeningResult.values():
        return item_error("SCREENING_RESULT_UNFIT", f"{path}.screening_result", message.screening_result)
    return Answer(message.number, message.text, tuple(map(_document, message.documents)), message.screening_result)


def _document(document: controls_pb2.ControlDocument) -> str:
    hashed = f" sha256:{document.sha256}" if document.sha256 else ""
    return f"{document.type} {document.number}{hashed}"


def conclusions(
    messages: Sequence[controls_pb2.ControlConclusion],
) -> tuple[dict[str, Conclusion], dict[int, ItemError]]:
    """Return the valid conclusions by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "conclusions", _conclusion)


def _conclusion(message: controls_pb2.ControlConclusion, path: str) -> Conclusion | ItemError:
    result = _RESULTS.get(message.result)
    if result is None:
        return item_error("CONTROL_RESULT_MISSING", f"{path}.result", message.result)
    if not is_reason(message.reason):
        return item_error("REASON_MALFORMED", f"{path}.reason", message.reason)
    if len(message.note) > NOTE_CHARACTERS_MAX or not is_plain(message.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    return Conclusion(message.number, result, message.reason, message.note)


def _is_text(text: str, characters_max: int) -> bool:
    """Whether a text is not too long and has no control characters."""
    return len(text) <= characters_max and is_plain(text)


def _micros(time: Timestamp, present: bool) -> int | None:  # the field beside the presence of it
    return time.seconds * 1_000_000 + time.nanos // 1_000 if present else None
