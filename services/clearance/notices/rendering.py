"""Notices in words: title and text of a notice, from the values that it has for its reader. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from libs.customs.currencies import is_currency
from libs.customs.money import decimal_text
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT
from luxor.ingestion.v1.parts_pb2 import PartyRole
from services.clearance.consignment.controls.control import REFERRALS
from services.clearance.consignment.decision import DEBT_OPEN
from services.clearance.notices.texts import AGENCY, FILER, KEYS, Language, Texts, filled

_KIND: Final = "NOTICE_KIND_"
_EXPORT: Final = "_EXPORT"
"""Ends the key of a text about exports, where it differs from that about imports: they owe nothing, and leave."""
_CONTRADICTIONS_SHOWN: Final = 5
"""Elements that a text names; the notice has all of them."""
_VALUE_CHARACTERS: Final = 80
"""Characters of a value in a text."""
_MILLIONTHS: Final = 1_000_000
_ENDED: Final = (pb.STATE_EXPIRED, pb.STATE_INVALIDATED)
_UNPRESENTED: Final = (pb.NOTICE_KIND_ARRIVED, pb.NOTICE_KIND_DECIDED)
_ON_ACCOUNT: Final = (common_pb2.DEBT_STATUS_DEFERRED, common_pb2.DEBT_STATUS_SECURED)


def render(notice: pb.Notice, texts: Texts, language: Language, *, reader: str) -> None:
    """Set title, text and language of a notice. All values come from the notice, which has only what its reader may see."""
    key = _agency_key_of(notice) if reader == AGENCY else key_of(notice)
    used, title, text = texts.text(language, reader, key)
    values = _values(notice, texts, used)
    notice.title, notice.text, notice.language = filled(title, values), filled(text, values), used.tag


def key_of(notice: pb.Notice) -> str:
    """Return the key of a notice's text: its kind, in some cases with the state, the debt or the direction."""
    key = _key_of_kind(notice)
    of_exports = f"{key}{_EXPORT}"
    return of_exports if notice.direction == DIRECTION_EXPORT and of_exports in KEYS[FILER] else key


def _key_of_kind(notice: pb.Notice) -> str:
    kind = pb.NoticeKind.Name(notice.kind).removeprefix(_KIND)
    if notice.transit.outcome == pb.TRANSIT_OUTCOME_LOST:
        return "DISPOSED_LOST" if notice.kind == pb.NOTICE_KIND_DISPOSED else "TRANSIT_LOST"
    if notice.kind == pb.NOTICE_KIND_DISPOSED:
        return f"{kind}_{pb.State.Name(notice.state).removeprefix('STATE_')}"
    if notice.kind == pb.NOTICE_KIND_RETURNED:
        endings = {pb.STATE_RE_EXPORTED: "_WHOLE", pb.STATE_DESTROYED: "_DESTROYED"}
        return kind + endings.get(notice.state, "")
    if notice.kind == pb.NOTICE_KIND_ARRIVED and notice.state in _ENDED:
        return f"{kind}_ENDED"
    if notice.kind in _UNPRESENTED and notice.HasField("presentation_due_at"):
        return "ARRIVED_UNPRESENTED"
    if notice.kind == pb.NOTICE_KIND_HELD:
        of_debt = "_DEBT" if DEBT_OPEN in notice.reasons else ""
        unpresented = "_UNPRESENTED" if notice.HasField("presentation_due_at") else ""
        if of_debt or unpresented:
            return f"{kind}{of_debt}{unpresented}"
    if notice.kind == pb.NOTICE_KIND_CONTRADICTED and not notice.contradictions:
        return f"{kind}_ENDED"
    if notice.kind == pb.NOTICE_KIND_RELEASED and notice.payable_minor and notice.debt_status in _ON_ACCOUNT:
        return "RELEASED_ON_ACCOUNT"
    return _about_loading(notice) or kind


def _agency_key_of(notice: pb.Notice) -> str:
    """Return the key of the text of an agency's notice: its kind, in some cases with what happened to the control."""
    kind = pb.NoticeKind.Name(notice.kind).removeprefix(_KIND)
    if notice.kind == pb.NOTICE_KIND_CONTROL_ORDERED:
        # A request has an addressee; a scan or an examination is the agency's own work, also where a request was ordered with it.
        return "CONTROL_REQUESTED" if notice.controls and all(each.addressee for each in notice.controls) else kind
    if notice.kind == pb.NOTICE_KIND_CONTROL_REMINDED:
        return "CONTROL_OVERDUE" if any(each.HasField("overdue_at") for each in notice.controls) else kind
    if notice.kind == pb.NOTICE_KIND_CONTROL_CONCLUDED:
        results = {each.result for each in notice.controls if each.HasField("concluded_at")}
        endings = {
            control_pb2.CONTROL_RESULT_ENDED: "CONTROL_ENDED",
            control_pb2.CONTROL_RESULT_WITHDRAWN: "CONTROL_WITHDRAWN",
        }
        return endings.get(results.pop(), kind) if len(results) == 1 else kind
    return kind


def _licences(notice: pb.Notice) -> str:
    """Return the licences of a notice: type, number, item (none where it is about the last day) and quantity of each."""
    amounts = [
        f": {(Decimal(each.quantity_millionths) / _MILLIONTHS).normalize():f} {each.unit}".rstrip()
        if each.HasField("quantity_millionths")
        else ""
        for each in notice.licences
    ]
    return "; ".join(
        f"{each.type} {each.number}{f' (item {each.item_number})' if each.item_number else ''}{amount}"
        for each, amount in zip(notice.licences, amounts, strict=True)
    )


def _about_loading(notice: pb.Notice) -> str:
    """Return the key of a notice that reports whether goods may be loaded; "" for others."""
    orders = [each for each in notice.controls if each.form == control_pb2.CONTROL_FORM_DO_NOT_LOAD]
    if notice.pre_loading == control_pb2.PRE_LOADING_DO_NOT_LOAD:
        return "DO_NOT_LOAD" if any(not each.HasField("concluded_at") for each in orders) else ""
    if notice.pre_loading == control_pb2.PRE_LOADING_REFERRED:
        if any(each.HasField("concluded_at") for each in orders):
            return "DO_NOT_LOAD_LIFTED"
        return "REFERRED" if notice.kind == pb.NOTICE_KIND_CONTROL_ORDERED else ""
    if notice.pre_loading == control_pb2.PRE_LOADING_COMPLETE:
        endings = {pb.STATE_AWAITING_ARRIVAL: "PRE_LOADING_COMPLETE", pb.STATE_HELD: "PRE_LOADING_COMPLETE_HELD"}
        return "" if notice.kind == pb.NOTICE_KIND_ARRIVED else endings.get(notice.state, "")
    if any(each.form in REFERRALS and each.HasField("concluded_at") for each in notice.controls):
        return "REFERRAL_ENDED" if notice.state in (pb.STATE_AWAITING_ARRIVAL, pb.STATE_HELD) else ""
    decided = notice.kind in (pb.NOTICE_KIND_DECIDED, pb.NOTICE_KIND_HELD)
    return "PRE_LOADING_INCOMPLETE" if decided and notice.pre_loading == control_pb2.PRE_LOADING_INCOMPLETE else ""


def _due(notice: pb.Notice) -> str:
    """Return until when the first of a notice's controls is to be answered, to the minute; "" without a deadline."""
    times = [each.due_at.ToDatetime(UTC) for each in notice.controls if each.HasField("due_at")]
    return _minute(min(times)) if times else ""


def _present_until(notice: pb.Notice) -> str:
    """Return until when the goods are to be presented, to the minute; "" where they are not."""
    return _minute(notice.presentation_due_at.ToDatetime(UTC)) if notice.HasField("presentation_due_at") else ""


def _role(part: pb.AwaitedPart) -> str:
    """Return the role of a part in words; "" in notices about other matters."""
    return PartyRole.Name(part.role).removeprefix("PARTY_ROLE_").replace("_", " ").lower() if part.role else ""


def _part_link(part: pb.AwaitedPart) -> str:
    """Return by what a part is linked: issuer and number; "" in notices about other matters."""
    if part.WhichOneof("link") == "house_document":
        return f"{part.house_document.carrier_identifier} {part.house_document.number}"
    return f"{part.order.platform} {part.order.number}".strip()


def _contradictions(notice: pb.Notice) -> str:
    """Return the elements that parts contradict, each with the value of the consignment where the reader stated it."""
    return "; ".join(
        f"{each.path} ({each.consignment_value[:_VALUE_CHARACTERS]})" if each.consignment_value else each.path
        for each in notice.contradictions[:_CONTRADICTIONS_SHOWN]
    )


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _last_day(message: pb.Notice | pb.TransitStatus, name: str) -> str:
    """Return the last day of a limit by the field with its end; "" in notices about other matters."""
    if not message.HasField(name):  # type: ignore[arg-type]  # a name of both messages
        return ""
    end: datetime = getattr(message, name).ToDatetime(UTC)
    return (end - timedelta(microseconds=1)).date().isoformat()


def _values(notice: pb.Notice, texts: Texts, language: Language) -> dict[str, str]:
    none = filled(texts.phrase(language, "none"), {})
    values = {
        "mrn": notice.mrn or none,
        "house_document": notice.house_document_number or none,
        "master_document": notice.master_document_number or none,
        "local_reference": notice.local_reference or none,
        "filing_version": str(notice.filing_version),
        "date": notice.time.ToDatetime(UTC).date().isoformat(),
        "reasons": ", ".join(notice.reasons) or none,
        "account": notice.debt_account or none,
        "check_code": notice.check_code or none,
        "request": "; ".join(filter(None, (each.text.rstrip(".") or each.reason for each in notice.controls))) or none,
        "due": _due(notice) or none,
        "licences": _licences(notice) or none,
        "licence_until": _last_day(notice, "licence_ends_at") or none,
        "storage_until": _last_day(notice, "storage_ends_at") or none,
        "office": notice.transit.destination_office or none,
        "transit_until": _last_day(notice.transit, "due_at") or none,
        "present_until": _present_until(notice) or none,
        "role": _role(notice.awaited_part) or none,
        "part_link": _part_link(notice.awaited_part) or none,
        "part_until": notice.awaited_part.last_day or none,
        "contradictions": _contradictions(notice) or none,
        "consignment_filer": notice.awaited_part.consignment_filer or none,
    }
    amounts = {
        "payable": notice.payable_minor if notice.HasField("payable_minor") else None,
        "paid": notice.paid_minor if notice.HasField("paid_minor") else None,
        "refunded": notice.refunded_minor if notice.HasField("refunded_minor") else None,
    }
    # Of what owes nothing and was never assessed nothing can have been paid. Where it was assessed, an absent payment is not known yet.
    assessed = notice.currency and notice.HasField("payable_minor")
    free = notice.debt_status == common_pb2.DEBT_STATUS_NONE and not assessed
    for name, minor in amounts.items():
        if minor is None or not is_currency(notice.currency):
            values[name] = filled(texts.phrase(language, "nothing" if free and not minor else "unknown"), {})
            continue
        values[name] = f"{decimal_text(minor, notice.currency)} {notice.currency}"
        if name == "payable" and notice.lower_bound:
            values[name] = filled(texts.phrase(language, "at_least"), {"amount": values[name]})
    return values
