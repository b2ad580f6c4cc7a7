"""What officers, filers and carriers send of adjustments and returns, checked."""

from collections.abc import Sequence
from typing import Final

from libs.customs.codes import commodity_error, currency_error, origin_error
from libs.customs.money import MAX_MINOR
from libs.customs.units import UNITS
from libs.server.errors import item_error
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Money
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import ITEMS_MAX, NOTE_CHARACTERS_MAX, is_plain, refs
from services.clearance.consignment.adjustment import SUMS, values_of
from services.clearance.consignment.returns import Return

MASS_MAX_MG: Final = 10**14
QUANTITY_MAX_MILLI: Final = 10**12
_DOCUMENT_CHARACTERS_MAX: Final = 70
_REASONS: Final = frozenset(pb.ReturnReason.values()) - {0}


def returns(told: Sequence[pb.Return]) -> tuple[dict[str, Return], dict[int, ItemError]]:
    """Read returns by MRN, and the errors of those that cannot be recorded by place."""
    read: dict[str, Return] = {}
    places, errors = refs([each.consignment for each in told], "returns[{}].consignment.mrn")
    for place in places:
        found = _return(told[place], f"returns[{place}]")
        if isinstance(found, Return):
            read[told[place].consignment.mrn] = found
        else:
            errors[place] = found
    return read, errors


def _return(told: pb.Return, path: str) -> Return | ItemError:
    if told.reason not in _REASONS:
        return item_error("RETURN_REASON_MISSING", f"{path}.reason", told.reason)
    document = told.transport_document_number
    needed = told.reason != pb.RETURN_REASON_DESTROYED
    if len(document) > _DOCUMENT_CHARACTERS_MAX or not is_plain(document) or (needed and not document):
        return item_error("RETURN_DOCUMENT_MALFORMED", f"{path}.transport_document_number", document)
    fault = _numbers_fault(list(told.item_numbers), f"{path}.item_numbers")
    return fault or Return(told.reason, document, frozenset(told.item_numbers))


def _numbers_fault(numbers: Sequence[int], path: str, after: str = "") -> ItemError | None:
    if len(numbers) > ITEMS_MAX:
        return item_error("ITEMS_NAMED_TOO_MANY", path, len(numbers), items_max=ITEMS_MAX)
    seen: set[int] = set()
    for place, number in enumerate(numbers):
        if number in seen:
            return item_error("ITEM_REPEATED", f"{path}[{place}]{after}", number)
        seen.add(number)
    return None


def adjustments(told: Sequence[pb.Adjustment]) -> tuple[dict[str, pb.Adjustment], dict[int, ItemError]]:
    """Check adjustments; gives those that are in order by MRN, and the errors of the others by place."""
    good: dict[str, pb.Adjustment] = {}
    places, errors = refs([each.consignment for each in told], "adjustments[{}].consignment.mrn")
    for place in places:
        fault = _adjustment_fault(told[place], f"adjustments[{place}]")
        if fault is None:
            good[told[place].consignment.mrn] = told[place]
        else:
            errors[place] = fault
    return good, errors


def _adjustment_fault(told: pb.Adjustment, path: str) -> ItemError | None:
    if len(told.note) > NOTE_CHARACTERS_MAX or not is_plain(told.note):
        return item_error("NOTE_TOO_LONG", f"{path}.note")
    fault = _numbers_fault([item.number for item in told.items], f"{path}.items", ".number")
    if fault is not None:
        return fault
    for name in SUMS:
        if told.HasField(name):
            fault = _money_fault(getattr(told, name), f"{path}.{name}")
            if fault is not None:
                return fault
    for place, item in enumerate(told.items):
        here = f"{path}.items[{place}]"
        if not values_of(item):
            return item_error("ADJUSTMENT_EMPTY", here)
        fault = _item_fault(item, here)
        if fault is not None:
            return fault
    if not (told.items or any(told.HasField(name) for name in SUMS)):
        return item_error("ADJUSTMENT_EMPTY", path)
    return None


def _item_fault(item: pb.ItemAdjustment, path: str) -> ItemError | None:
    if item.HasField("price"):
        fault = _money_fault(item.price, f"{path}.price")
        if fault is not None:
            return fault
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


def _money_fault(money: Money, path: str) -> ItemError | None:
    if not money.HasField("minor") or not 0 <= money.minor <= MAX_MINOR:
        return item_error("ADJUSTMENT_VALUE_MALFORMED", f"{path}.minor", money.minor)
    if not money.currency:
        return item_error("CURRENCY_MISSING", f"{path}.currency")
    if reason := currency_error(money.currency):
        return item_error(reason, f"{path}.currency", money.currency)
    return None
