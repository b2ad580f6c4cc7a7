"""Checks of requests about licences, and licences as messages."""

import re
from typing import Final

from libs.customs.time import day_text, parse_day
from libs.server.errors import item_error
from luxor.clearance.v1 import licences_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import is_plain, is_reason
from services.clearance.commands.goods.put_licences import Revocation
from services.clearance.licences.licence import Licence
from services.clearance.licences.need import Key

CUSTOMS: Final = "customs"
"""How officers name the licences of customs in a list; no agency has this id."""
_TYPE: Final = re.compile(r"[A-Z0-9]{1,8}")
_JURISDICTION: Final = re.compile(r"[A-Z]{2,8}")
_GOODS: Final = re.compile(r"[0-9]{2,10}")
_UNIT: Final = re.compile(r"[A-Z0-9]{2,3}")
_NUMBER_CHARACTERS_MAX: Final = 70
_HOLDER_CHARACTERS_MAX: Final = 35
_GOODS_MAX: Final = 100
_QUANTITY_MAX: Final = 10**18


def licence(message: pb.Licence, path: str, authority: str) -> Licence | ItemError:
    """Return a licence as it is to be registered by an authority, "" for customs, or the error of it."""
    error = _key_error(message, path, authority)
    if error is not None:
        return error
    fits = {
        "holder": _is_text(message.holder, _HOLDER_CHARACTERS_MAX),
        "jurisdiction": _JURISDICTION.fullmatch(message.jurisdiction) is not None,
        "goods": 0 < len(message.goods) <= _GOODS_MAX and all(map(_GOODS.fullmatch, message.goods)),
    }
    for name, fit in fits.items():
        if not fit:
            return item_error("LICENCE_MALFORMED", f"{path}.{name}")
    days: dict[str, int] = {}
    for name in ("from_day", "to_day"):
        try:
            days[name] = parse_day(getattr(message, name))
        except ValueError:
            return item_error("LICENCE_DAYS_MALFORMED", f"{path}.{name}", getattr(message, name))
    if not 0 <= days["from_day"] <= days["to_day"]:
        return item_error("LICENCE_DAYS_MALFORMED", f"{path}.to_day", message.to_day)
    limited = message.HasField("quantity_millionths")
    bounded = 1 <= message.quantity_millionths <= _QUANTITY_MAX and _UNIT.fullmatch(message.unit) is not None
    if limited == message.unlimited or (limited and not bounded) or (message.unlimited and message.unit):
        return item_error("LICENCE_QUANTITY_UNCLEAR", f"{path}.quantity_millionths")
    return Licence(
        authority=authority,
        type=message.type,
        number=message.number,
        holder=message.holder,
        jurisdiction=message.jurisdiction,
        goods=tuple(sorted(set(message.goods))),
        quantity_millionths=message.quantity_millionths if limited else None,
        unit=message.unit,
        version=message.version,
        from_day=days["from_day"],
        to_day=days["to_day"],
    )


def key_of(ref: pb.LicenceRef | pb.Licence, path: str, authority: str) -> Key | ItemError:
    """Return the key of a licence of the caller's authority, or the error of the reference."""
    return _key_error(ref, path, authority) or (authority, ref.type, ref.number)


def revocation(message: pb.LicenceRevocation, path: str, authority: str) -> Revocation | ItemError:
    """Return a revocation by an authority, or the error of it."""
    key = key_of(message.licence, f"{path}.licence", authority)
    if isinstance(key, ItemError):
        return key
    if not is_reason(message.reason):
        return item_error("REASON_MALFORMED", f"{path}.reason", message.reason)
    return Revocation(key, message.version, message.reason)


def message_of(each: Licence) -> pb.Licence:
    """Return a registered licence as a message."""
    message = pb.Licence(
        authority=each.authority,
        type=each.type,
        number=each.number,
        holder=each.holder,
        jurisdiction=each.jurisdiction,
        from_day=day_text(each.from_day),
        to_day=day_text(each.to_day),
        goods=each.goods,
        quantity_millionths=each.quantity_millionths,
        unit=each.unit,
        unlimited=each.quantity_millionths is None,
        version=each.version,
        written_off_millionths=each.written_off_millionths,
        revoked_reason=each.revoked_reason,
        changed_by=each.changed_by,
    )
    message.changed_at.FromMicroseconds(each.changed_at)
    if each.revoked_at is not None:
        message.revoked_at.FromMicroseconds(each.revoked_at)
    return message


def named_in_records(key: Key) -> str:
    """Return a licence as records of the audit trail name it."""
    return f"licence {' '.join(filter(None, key))}"


def is_type(text: str) -> bool:
    """Return whether a text is a type of document, as filings cite it."""
    return _TYPE.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """Return whether a text is a number of a document, as filings cite it."""
    return _is_text(text, _NUMBER_CHARACTERS_MAX)


def _key_error(message: pb.LicenceRef | pb.Licence, path: str, authority: str) -> ItemError | None:
    fits = {
        "authority": message.authority in ("", authority),
        "type": is_type(message.type),
        "number": is_number(message.number),
    }
    return next((item_error("LICENCE_MALFORMED", f"{path}.{name}") for name, fit in fits.items() if not fit), None)


def _is_text(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and is_plain(text) and text == text.strip()
