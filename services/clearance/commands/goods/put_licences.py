"""Changes of the register of licences, each once per request."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from libs.customs.time import day_text
from libs.server.requests import once
from libs.store.database import Transaction
from services.clearance.licences.last_day import next_notice_at
from services.clearance.licences.licence import Licence
from services.clearance.licences.need import Key
from services.clearance.store import Store

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Put:
    """The result of a change of one licence."""

    version: int
    """The version now; 0 where it is not registered."""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The revocation of one licence."""

    key: Key
    version: int
    reason: str


async def change_register(
    store: Store,
    request: Any,
    change: Callable[[Transaction], Awaitable[dict[Key, Put]]],
    encode: Callable[[Mapping[Key, Put]], Answer],
    answer: type[Answer],
) -> Answer:
    """Carry out a change of the register once per request; return what `encode` made of the results, or the stored answer of a repeated one."""

    async def work(tx: Transaction) -> Answer:
        return encode(await change(tx))

    return await once(store.database, answer, request, work)


async def put_licences(store: Store, tx: Transaction, licences: Sequence[Licence], by: str) -> dict[Key, Put]:
    """Register licences, or change them if their versions are the current ones; return the result of each. Equal content changes nothing."""
    at = await store.now(tx)
    stored = await store.licences.find(tx, (each.key for each in licences), lock=True)
    results = {each.key: _fit(each, stored.get(each.key)) for each in licences}
    good = [
        replace(
            each,
            version=each.version + 1,
            changed_at=at,
            changed_by=by,
            next_at=_next_notice_at(each, stored.get(each.key), at),
        )
        for each in licences
        if not results[each.key].refusal and each.version == results[each.key].version and _differs(each, stored)
    ]
    added = await store.licences.add_new(tx, [each for each in good if each.key not in stored])
    await store.licences.put(tx, [each for each in good if each.key in stored])
    for each in good:
        # Another transaction has registered it meanwhile: what it has is not known here.
        lost = each.key not in stored and each.key not in added
        results[each.key] = Put(1, "LICENCE_VERSION_CHANGED") if lost else Put(each.version)
        if not lost:
            await _record(store, tx, stored.get(each.key), each)
    return results


async def revoke_licences(
    store: Store, tx: Transaction, revocations: Mapping[Key, Revocation], by: str
) -> dict[Key, Put]:
    """Revoke licences whose versions are the current ones, and return the result of each; one that is revoked already stays so."""
    at = await store.now(tx)
    stored = await store.licences.find(tx, revocations, lock=True)
    results, changed = {}, []
    for key, each in revocations.items():
        licence = stored.get(key)
        if licence is None:
            results[key] = Put(0, "LICENCE_UNKNOWN")
        elif licence.revoked_at is not None:
            results[key] = Put(licence.version, "LICENCE_REVOKED")
        elif licence.version != each.version:
            results[key] = Put(licence.version, "LICENCE_VERSION_CHANGED")
        else:
            version = licence.version + 1
            changed.append(
                replace(
                    licence,
                    version=version,
                    revoked_at=at,
                    revoked_reason=each.reason,
                    changed_at=at,
                    changed_by=by,
                    next_at=None,
                )
            )
            results[key] = Put(version)
    await store.licences.put(tx, changed)
    for after in changed:
        await _record(store, tx, stored[after.key], after)
    return results


def _next_notice_at(licence: Licence, stored: Licence | None, at: int) -> int | None:
    """Return when the authority is next notified of the last day: from a new last day on as of a new licence, otherwise as before."""
    if stored is not None and stored.to_day == licence.to_day:
        return stored.next_at
    return next_notice_at(licence, at)


async def _record(store: Store, tx: Transaction, before: Licence | None, after: Licence) -> None:
    """Record in the audit trail what a licence was before a change and what it is after it."""
    name = " ".join(filter(None, after.key))
    about = f"licence {name} version {after.version}: {_terms(before)} to {_terms(after)}"
    await store.audit.note_access(tx, store.origin(), about, [])


def _terms(licence: Licence | None) -> str:
    if licence is None:
        return "none"
    amount = "unlimited" if licence.quantity_millionths is None else f"{licence.quantity_millionths} millionths"
    days = f"{day_text(licence.from_day)}/{day_text(licence.to_day)}"
    goods = ",".join(licence.goods)
    words = (amount, licence.unit, days, licence.holder, licence.jurisdiction, goods, licence.revoked_reason)
    return f"({' '.join(filter(None, words))})"


def _fit(licence: Licence, stored: Licence | None) -> Put:
    """Return the version of a licence before the change, with the refusal of the change."""
    if stored is None:
        return Put(0, "LICENCE_VERSION_CHANGED" if licence.version else "")
    if stored.revoked_at is not None:
        return Put(stored.version, "LICENCE_REVOKED")
    if not _differs(licence, {stored.key: stored}):
        return Put(stored.version)
    if licence.version != stored.version:
        return Put(stored.version, "LICENCE_VERSION_CHANGED")
    short = licence.quantity_millionths is not None and licence.quantity_millionths < stored.written_off_millionths
    return Put(stored.version, "LICENCE_QUANTITY_FIXED" if short or licence.unit != stored.unit else "")


def _differs(licence: Licence, stored: Mapping[Key, Licence]) -> bool:
    names = ("holder", "jurisdiction", "from_day", "to_day", "goods", "quantity_millionths", "unit")
    before = stored.get(licence.key)
    return before is None or any(getattr(licence, name) != getattr(before, name) for name in names)
