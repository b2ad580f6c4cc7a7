"""How parts are joined with a consignment: what each adds, and which values differ. Pure.

A part adds what nobody stated before and replaces nothing. Parties, orders, payments and other elements of several values are added as a whole or not
at all: a name of one party with the number of another would be neither. Source of the comparison of payment and order: China's CEB messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from libs.columns.schema import TIMESTAMP
from libs.customs.time import instant_text
from libs.filing_stages.law import NEVER_IN_PARTS, DataSets
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.parts_pb2 import PartyRole

CONTRADICTIONS_MAX: Final = 50
"""Contradictions of a part that are stored; further ones need no other correction."""
_VALUE_CHARACTERS_MAX: Final = 512
_TOTAL: Final = "payment.amount"
_AMOUNTS: Final = ("price.minor", "tax_charged.minor", "freight.minor", "insurance.minor", "invoice_total.minor")
"""Ends of the paths of amounts that are to be paid."""
_Key = TypeVar("_Key")
_Error = TypeVar("_Error")


@dataclass(frozen=True, slots=True)
class Part:
    """A part: who filed it, and what it states."""

    filer: str
    content: Consignment


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An element of which two parties state different values."""

    path: str
    consignment_value: str
    part_value: str
    stated_by: str
    """Who stated the value of the consignment."""


@dataclass(slots=True)
class PartResult:
    """What became of one part."""

    added: dict[str, None] = field(default_factory=dict)
    """Paths of the elements that it added, those of items without their place."""
    contradictions: list[Contradiction] = field(default_factory=list)
    """The first CONTRADICTIONS_MAX."""
    contradiction_count: int = 0
    """All of them."""


def elements_beyond(content: Consignment, role: int, data_sets: DataSets) -> Iterator[str]:
    """Yield the fields of a part that its role may not state."""
    name = PartyRole.Name(role).removeprefix("PARTY_ROLE_")  # type: ignore[arg-type]
    allowed = data_sets.parts.get(name, ())  # type: ignore[call-overload]
    for each, _ in content.ListFields():
        if each.name not in allowed or each.name in NEVER_IN_PARTS:
            yield each.name


def join(filed: Consignment, filer: str, parts: Sequence[Part]) -> tuple[Consignment, list[PartResult]]:
    """Return a consignment as its filer filed it with what parts add, in their order, and the result of each part."""
    joined = Consignment()
    joined.CopyFrom(filed)
    stated_by: dict[str, str] = {}
    results = []
    for part in parts:
        result = PartResult()
        _Joining(part.filer, filer, stated_by, result).fields(joined, part.content, "", "")
        results.append(result)
    priced_by = next((by for path, by in stated_by.items() if path.endswith(_AMOUNTS)), filer)
    for part, result in zip(parts, results, strict=True):
        total = _total(joined, part.content.payment.amount.currency)
        if part.content.payment.amount.HasField("minor") and total not in (None, part.content.payment.amount.minor):
            currency = part.content.payment.amount.currency
            paid = f"{part.content.payment.amount.minor} {currency}"
            result.contradictions.append(Contradiction(_TOTAL, f"{total} {currency}", paid, priced_by))
        result.contradiction_count = len(result.contradictions)
        del result.contradictions[CONTRADICTIONS_MAX:]
    return joined, results


def acceptable(
    count: int, errors: Callable[[Sequence[int]], Mapping[_Key, _Error]]
) -> tuple[list[int], dict[int, list[_Error]]]:
    """Return which of `count` parts a filing is accepted with, and the errors of each other one; `errors` returns those with some parts.

    The parts without which further errors occur come first, since others need them. So a refused part takes nothing from the others.
    """
    places = range(count)
    found = errors(places)
    if not found:
        return list(places), {}
    doubtful = [place for place in places if errors([each for each in places if each != place]).keys() <= found.keys()]
    chosen = [place for place in places if place not in doubtful]
    if errors(chosen):
        chosen, doubtful = [], list(places)
    left_out: dict[int, list[_Error]] = {}
    for place in doubtful:
        some = sorted([*chosen, place])
        if new := errors(some):
            left_out[place] = list(new.values())
        else:
            chosen = some
    return chosen, left_out


class _Joining:
    """Joins one part."""

    def __init__(self, own: str, filer: str, stated_by: dict[str, str], result: PartResult) -> None:
        self._own = own
        self._filer = filer
        self._stated_by = stated_by
        self._result = result

    def fields(self, target: Any, source: Message, place: str, name: str) -> None:
        """Join all fields of a message; `place` is its path and `name` the same without places of items."""
        for each, value in source.ListFields():
            if each.name == "items":
                self._items(target, value)
            elif each.name != "number" or not place.startswith("items["):
                self._field(target, each, value, place, name)

    def _items(self, target: Any, items: Sequence[Any]) -> None:
        if len(target.items) != len(items):
            self._contradict("items", f"{len(target.items)} items", f"{len(items)} items")
            return
        for place, (own, item) in enumerate(zip(target.items, items, strict=True)):
            self.fields(own, item, f"items[{place}].", "items.")

    def _field(self, target: Any, each: FieldDescriptor, value: Any, place: str, name: str) -> None:
        """Add a field with all below it, or nothing of it if any value differs."""
        absent, differing = [], []
        for above, leaf, stated, below in _leaves(target, each, value, ""):
            if not _is_present(above, leaf):
                absent.append((above, leaf, stated, below))
            elif _comparable(leaf, getattr(above, leaf.name)) != _comparable(leaf, stated):
                differing.append((above, leaf, stated, below))
        for above, leaf, stated, below in differing:
            self._contradict(place + below, _shown(leaf, getattr(above, leaf.name)), _shown(leaf, stated))
        if differing:
            return
        for above, leaf, stated, below in absent:
            _set(above, leaf, stated)
            self._stated_by[place + below] = self._own
            self._result.added[name + below] = None

    def _contradict(self, path: str, consignment_value: str, part_value: str) -> None:
        stated_by = self._stated_by.get(path, self._filer)
        self._result.contradictions.append(Contradiction(path, consignment_value, part_value, stated_by))


def _leaves(
    target: Any, each: FieldDescriptor, value: Any, path: str
) -> Iterator[tuple[Any, FieldDescriptor, Any, str]]:
    """Yield the values of a field with the message of the target that holds each of them; a list counts as one value."""
    if each.message_type is None or each.is_repeated or each.message_type.full_name == TIMESTAMP:
        yield target, each, value, path + each.name
        return
    for below, inner in value.ListFields():
        yield from _leaves(getattr(target, each.name), below, inner, f"{path}{each.name}.")


def _is_present(target: Any, each: FieldDescriptor) -> bool:
    if each.is_repeated:
        return len(getattr(target, each.name)) > 0
    return target.HasField(each.name) if each.has_presence else bool(getattr(target, each.name))


def _comparable(each: FieldDescriptor, value: Any) -> Any:
    """Return a value as it is compared: capital letters and blanks of texts do not matter."""
    if each.is_repeated:
        return list(value)
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def _set(target: Any, each: FieldDescriptor, value: Any) -> None:
    if each.is_repeated:
        getattr(target, each.name).extend(value)
    elif each.message_type is not None:
        getattr(target, each.name).CopyFrom(value)
    else:
        setattr(target, each.name, value)


def _shown(each: FieldDescriptor, value: Any) -> str:
    """Return a value for those who compare both."""
    if each.is_repeated:
        text = f"{len(value)} entries" if each.message_type is not None else ", ".join(map(str, value))
    elif each.enum_type is not None:
        text = each.enum_type.values_by_number[value].name
    elif each.message_type is not None:
        text = instant_text(value.ToMicroseconds())
    else:
        text = str(value)
    return text[:_VALUE_CHARACTERS_MAX]


def _total(consignment: Consignment, currency: str) -> int | None:
    """Return what is to be paid for a consignment in a currency, in minor units; None if it is not known, or the payment is for others as well."""
    if consignment.order.parts > 1 or consignment.split or consignment.previous_part_mrn or not currency:
        return None
    if consignment.HasField("invoice_total"):
        amounts = [consignment.invoice_total]
    else:
        amounts = [each.price for each in consignment.items]
        amounts += [getattr(consignment, name) for name in ("freight", "insurance") if consignment.HasField(name)]
        if not consignment.prices_include_tax:
            amounts += [each.tax_charged for each in consignment.items if each.HasField("tax_charged")]
    if not amounts or any(not each.HasField("minor") or each.currency != currency for each in amounts):
        return None
    return sum(each.minor for each in amounts)
