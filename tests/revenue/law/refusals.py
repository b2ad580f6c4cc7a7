"""Law files with some values changed, and what their readers say of them: for tables of refusals."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

import yaml

from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.yaml_source import LawFileError

Changes = dict[str, Any]
"""Values by their places, parts between dots: an entry of a list by its place or id. Example: {"charges.vat.rates.0.rate": "19 %"}."""
Refusal = tuple[str, str]
"""Where a value is refused, and why."""
ABSENT = object()
"""The value of a place that is taken out."""


def changed(text: str, changes: Changes) -> str:
    """Write a law file with other values; each place has its own, also where anchors share one."""
    law = _copy(_loaded(text))
    for place, value in changes.items():
        *before, last = place.split(".")
        part = law
        for name in before:
            part = part[_key(part, name)]
        if value is ABSENT:
            del part[_key(part, last)]
        elif isinstance(part, list) and last == "+":
            part.append(value)
        else:
            part[_key(part, last)] = value
    return yaml.dump(law, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def refusal(
    text: str, changes: Changes, read: Callable[[str], object] = lambda text: read_rulebook("law.yaml", text)
) -> list[Refusal]:
    """Return where and why a law file with other values is refused; nothing where it is read."""
    try:
        read(changed(text, changes))
    except LawFileError as refused:
        return [(error.where, error.message) for error in refused.errors]
    return []


def check(text: str, changes: Changes, where: str, why: str, read: Callable[[str], object] | None = None) -> None:
    """Raise AssertionError unless the file is refused there and with these words, or is read where no words are expected."""
    found = refusal(text, changes, read) if read else refusal(text, changes)
    refused_so = any(place == where and why in sentence for place, sentence in found)
    assert refused_so if why else not found, found


class _Dumper(yaml.CSafeDumper):
    pass


_Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", str(value)))


@cache
def _loaded(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)


def _copy(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _copy(each) for name, each in part.items()}
    return [_copy(each) for each in part] if isinstance(part, list) else part


def _key(part: Any, name: str) -> Any:
    if isinstance(part, dict):
        return name
    return int(name) if name.isdigit() else next(at for at, each in enumerate(part) if each["id"] == name)
