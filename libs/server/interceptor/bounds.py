"""Refuses what is beyond the bounds of the contracts: the call, or of a batch the entries at fault alone.

An entry at fault is emptied, so that the handler refuses it as it refuses every empty entry and serves its neighbours.
The errors then take the place of the handler's own in that entry's result. A contract test calls every batch so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from libs.bounds import Excess, MessageBounds
from libs.server.errors import Refusal, Violation, item_error
from luxor.errors.v1.errors_pb2 import ItemError

VIOLATIONS_MAX: Final = 100
"""Elements at fault that are named when a whole call is refused."""

Refused = Mapping[int, Sequence[ItemError]]
"""The errors of a batch's entries, by their place."""


def refuse(request: Message, bounds: MessageBounds) -> Refused:
    """Empty the entries of a batch that are beyond their bounds and return their errors.

    Raise Refusal where something outside of such entries is beyond its bounds.
    """
    if bounds.pass_all(request):
        return {}
    entries: dict[tuple[str, int], list[ItemError]] = {}
    whole: list[Excess] = []
    for excess in bounds.excesses(request):
        if excess.entry is None:
            whole.append(excess)
            if len(whole) == VIOLATIONS_MAX:
                break
        else:
            entries.setdefault(excess.entry, []).append(_error(excess))
    if whole:
        violations = [Violation(each.path, each.reason, _error(each).message) for each in whole]
        first = whole[0]
        raise Refusal(first.reason, path=first.path, value=first.value, violations=violations, **first.facts)
    for name, place in entries:
        values = getattr(request, name)
        if isinstance(values[place], Message):
            values[place].Clear()
        else:
            values[place] = ""
    return {place: errors for (_, place), errors in entries.items()}


def put(answer: Any, refused: Refused) -> None:
    """Write the errors of refused entries into their results."""
    for place, errors in refused.items():
        result = results_of(answer)[place]
        result.Clear()
        for field in result.DESCRIPTOR.fields:
            _put(result, field, errors)


def results_of(answer: Any) -> Any:
    """Return the results of a batch's answer: its first list."""
    name = next(field.name for field in answer.DESCRIPTOR.fields if field.is_repeated)
    return getattr(answer, name)


def _put(result: Any, field: FieldDescriptor, errors: Sequence[ItemError]) -> None:
    if field.message_type is not None and field.message_type.full_name == ItemError.DESCRIPTOR.full_name:
        if field.is_repeated:
            getattr(result, field.name).extend(errors)
        else:
            getattr(result, field.name).CopyFrom(errors[0])
    elif field.name in ("outcome", "status") and field.enum_type is not None:
        refused = next(value.number for value in field.enum_type.values if value.name.endswith("_REFUSED"))
        setattr(result, field.name, refused)
    elif field.name in ("reason", "hint"):
        setattr(result, field.name, getattr(errors[0], field.name))
    elif field.name == "path":
        # Results that have the parts of an ItemError, and not the whole, have paths from the entry on.
        result.path = errors[0].path.partition("].")[2]
    elif field.name == "explanation" and field.is_repeated:
        getattr(result, field.name).append(errors[0].message)


def _error(excess: Excess) -> ItemError:
    return item_error(excess.reason, excess.path, excess.value, **excess.facts)
