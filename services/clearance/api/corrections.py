"""Checks of adjustments, disposals and returns in requests."""

from collections.abc import Sequence
from typing import Final

from libs.customs.codes import commodity_error, currency_error, origin_error
from libs.customs.money import MAX_MINOR
from libs.customs.units import UNITS
from libs.server.errors import item_error
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Money
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import (
    ITEMS_MAX,
    NOTE_CHARACTERS_MAX,
    is_document,
    is_plain,
    is_reason,
    valid_by_mrn,
)
from services.clearance.consignment.adjustment import COSTS, values_of
from services.clearance.consignment.disposal import Disposal
from services.clearance.consignment.lifecycle.disposals import EVENTS
from services.clearance.consignment.returns import Return
from services.clearance.consignment.transitions import Event

MASS_MAX_MG: Final = 10**14
QUANTITY_MAX_MILLI: Final = 10**12
_REASONS: Final = frozenset(pb.ReturnReason.values()) - {0}


def returns(messages: Sequence[pb.Return]) -> tuple[dict[str, Return], dict[int, ItemError]]:
    """Return the valid returns by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "returns", _return)


def _return(message: pb.Return, path: str) -> Return | ItemError:
    if message.reason not in _REASONS:
        return item_error("RETURN_REASON_MISSING", f"{path}.reason", message.reason)
    document = message.transport_document_number
    needed = message.reason != pb.RETURN_REASON_DESTROYED
    if (needed or document) and not is_document(document):
        return item_error("RETURN_DOCUMENT_MALFORMED", f"{path}.transport_document_number", document)
    error = _numbers_error(list(message.item_numbers), f"{path}.item_numbers")
    return error or Return(message.reason, document, frozenset(message.item_numbers))


def disposals(messages: Sequence[pb.Disposal]) -> tuple[dict[str, Disposal], dict[int, ItemError]]:
    """Return the valid disposals by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "disposals", _disposal)


def _disposal(message: pb.Disposal, path: str) -> Disposal | ItemError:
    event = EVENTS.get(message.kind)
    if event is None:
        return item_error("DISPOSAL_KIND_MISSING", f"{path}.kind", message.kind)
    if not is_reason(message.reason):
        return item_error("REASON_MALFORMED", f"{path}.reason", message.reason)
    document = message.transport_document_number
    needed = event is Event.RE_EXPORTED
    if bool(document) != needed or (needed and not is_document(document)):
        return item_error("DISPOSAL_DOCUMENT_MALFORMED", f"{path}.transport_document_number", document)
    if len(message.note) > NOTE_CHARACTERS_MAX or not is_plain(message.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    return Disposal(event, message.reason, document, message.note)


def _numbers_error(numbers: Sequence[int], path: str, after: str = "") -> ItemError | None:
    if len(numbers) > ITEMS_MAX:
        return item_error("ITEMS_NAMED_TOO_MANY", path, len(numbers), items_max=ITEMS_MAX)
    seen: set[int] = set()
    for place, number in enumerate(numbers):
        if number in seen:
            return item_error("ITEM_REPEATED", f"{path}[{place}]{after}", number)
        seen.add(number)
    return None


def adjustments(messages: Sequence[pb.Adjustment]) -> tuple[dict[str, pb.Adjustment], dict[int, ItemError]]:
    """Return the valid adjustments by MRN, and the errors of the others by place."""
    return valid_by_mrn(messages, "adjustments", lambda message, path: _adjustment_error(message, path) or message)


def _adjustment_error(message: pb.Adjustment, path: str) -> ItemError | None:
    if len(message.note) > NOTE_CHARACTERS_MAX or not is_plain(message.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    error = _numbers_error([item.number for item in message.items], f"{path}.items", ".number")
    if error is not None:
        return error
    for name in COSTS:
        if message.HasField(name):
            error = _money_error(getattr(message, name), f"{path}.{name}")
            if error is not None:
                return error
    for place, item in enumerate(message.items):
        here = f"{path}.items[{place}]"
        if not values_of(item):
            return item_error("ADJUSTMENT_EMPTY", here)
        error = _item_error(item, here)
        if error is not None:
            return error
    if not (message.items or any(message.HasField(name) for name in COSTS)):
        return item_error("ADJUSTMENT_EMPTY", path)
    return None


def _item_error(item: pb.ItemAdjustment, path: str) -> ItemError | None:
    if item.HasField("price"):
        error = _money_error(item.price, f"{path}.price")
        if error is not None:
            return error
    if reason := item.commodity_code and commodity_error(item.commodity_code):
        return item_error(reason, f"{path}.commodity_code", item.commodity_code)
    if reason := item.origin_country and origin_error(item.origin_country):
        return item_error(reason, f"{path}.origin_country", item.origin_country)
    checks = (
        (not item.quantity_unit or item.quantity_unit in UNITS, "quantity_unit", item.quantity_unit),
        (
            not item.HasField("quantity_milli") or 0 < item.quantity_milli <= QUANTITY_MAX_MILLI,
            "quantity_milli",
            item.quantity_milli,
        ),
        (not item.HasField("net_mass_mg") or 0 < item.net_mass_mg <= MASS_MAX_MG, "net_mass_mg", item.net_mass_mg),
    )
    for good, name, value in checks:
        if not good:
            return item_error("ADJUSTMENT_VALUE_MALFORMED", f"{path}.{name}", value)
    return None


def _money_error(money: Money, path: str) -> ItemError | None:
    if not money.HasField("minor") or not 0 <= money.minor <= MAX_MINOR:
        return item_error("ADJUSTMENT_VALUE_MALFORMED", f"{path}.minor", money.minor)
    if not money.currency:
        return item_error("CURRENCY_MISSING", f"{path}.currency")
    if reason := currency_error(money.currency):
        return item_error(reason, f"{path}.currency", money.currency)
    return None
