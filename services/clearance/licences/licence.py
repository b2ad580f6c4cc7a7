"""A registered licence, and what it does for an item of a consignment. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.clearance.licences.need import Key, Need, NeedOutcome

MASS: Final = "KGM"
"""The unit that is compared with the net mass of an item: a milligram is a millionth of it."""
_MILLIONTHS_PER_MILLI: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """A registered licence; its fields are those of luxor.clearance.v1.Licence, days since 1970-01-01, times microseconds since 1970-01-01 UTC."""

    authority: str
    type: str
    number: str
    holder: str
    jurisdiction: str
    from_day: int
    to_day: int
    goods: tuple[str, ...]
    quantity_millionths: int | None
    """None: not limited."""
    unit: str
    version: int = 0
    written_off_millionths: int = 0
    revoked_at: int | None = None
    revoked_reason: str = ""
    changed_at: int = 0
    changed_by: str = ""
    next_at: int | None = None
    """When the authority is next notified of the last day; None where no such notice follows."""

    @property
    def key(self) -> Key:
        """Authority, type and number."""
        return self.authority, self.type, self.number

    @property
    def left_millionths(self) -> int | None:
        """How much is left; None if the quantity is not limited."""
        return None if self.quantity_millionths is None else self.quantity_millionths - self.written_off_millionths

    def with_written_off(self, millionths: int) -> "Licence":
        """Return the licence with so much more written off; less, if negative."""
        return replace(self, written_off_millionths=self.written_off_millionths + millionths)


@dataclass(frozen=True, slots=True)
class ItemGoods:
    """What the state has of one item."""

    code: str
    net_mass_mg: int | None
    quantity_milli: int | None
    quantity_unit: str

    def millionths(self, unit: str) -> int | None:
        """Return the quantity in millionths of a unit; None if the filing does not state it in this unit, or states two that differ."""
        stated: set[int | None] = {self.net_mass_mg} if unit == MASS else set()
        if self.quantity_milli is not None and self.quantity_unit == unit:
            stated.add(self.quantity_milli * _MILLIONTHS_PER_MILLI)
        stated.discard(None)
        return stated.pop() if len(stated) == 1 else None


def judged(need: Need, licence: Licence | None, goods: ItemGoods, day: int) -> Need:
    """Return a need with its outcome by one licence, None if it is not registered, on the day of acceptance.

    A licence of another holder is as unknown as one that is not registered. The holder is what the filing states: it is not bound to the certificate
    of the filer.
    """
    if not need.number:
        return replace(need, outcome=NeedOutcome.NOT_CITED)
    if licence is None or licence.holder != need.holder or not need.holder or licence.jurisdiction != need.jurisdiction:
        return replace(need, outcome=NeedOutcome.UNKNOWN)
    if licence.revoked_at is not None or not licence.from_day <= day <= licence.to_day:
        return replace(need, outcome=NeedOutcome.NOT_VALID)
    if not goods.code.startswith(licence.goods):
        return replace(need, outcome=NeedOutcome.OTHER_GOODS)
    if need.checked_only:
        return replace(need, outcome=NeedOutcome.CHECKED)
    if licence.left_millionths is None:
        return replace(need, outcome=NeedOutcome.WRITTEN_OFF)
    needed = goods.millionths(licence.unit)
    if needed is None:
        return replace(need, outcome=NeedOutcome.QUANTITY_UNKNOWN, unit=licence.unit)
    fits = needed <= licence.left_millionths
    outcome = NeedOutcome.WRITTEN_OFF if fits else NeedOutcome.USED_UP
    return replace(need, outcome=outcome, quantity_millionths=needed, unit=licence.unit)


def allocated(cited: Iterable[Need], goods: dict[int, ItemGoods], day: int, register: dict[Key, Licence]) -> list[Need]:
    """Return the needs of one consignment with their outcomes, and take from the register what they write off.

    Of several licences that an item cites, the first that meets the need counts; if none does, the one that came closest.
    """
    by_place: dict[tuple[int, str, str], list[Need]] = {}
    for each in cited:
        by_place.setdefault(each.place, []).append(each)
    return [_allocated(each, goods, day, register) for each in by_place.values()]


def _allocated(cited: Sequence[Need], goods: dict[int, ItemGoods], day: int, register: dict[Key, Licence]) -> Need:
    item = goods.get(cited[0].item_number, ItemGoods("", None, None, ""))
    tried = [judged(each, register.get(each.key), item, day) for each in cited]
    chosen = next((each for each in tried if each.is_met), None) or max(tried, key=lambda each: each.outcome)
    if chosen.outcome == NeedOutcome.WRITTEN_OFF:
        register[chosen.key] = register[chosen.key].with_written_off(chosen.quantity_millionths or 0)
    return chosen
