"""All places at which data does not fit its msgspec type, not the first alone."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

Path = tuple[str | int, ...]
T = TypeVar("T")
SIMILAR: Final = 0.75
"""From this similarity of two keys on (difflib), one is taken for a slip of the other."""

_KEY: Final = "Expected `str`, got `"
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")


@dataclass(frozen=True, slots=True)
class Misfit:
    """A place at which data does not fit."""

    path: Path
    """Keys and places of the element. An unknown or missing key is not part of it."""
    message: str
    """What msgspec says, without the place."""
    value: Any = None
    """What stands there."""
    key: Any = None
    """The unknown or missing key, or the key that is no text."""


class Misfits(ValueError):
    """Data that does not fit its type."""

    def __init__(self, misfits: list[Misfit], value: Any = None) -> None:
        """Take the places, at least one, and the converted value if all of them have a stand-in."""
        self.misfits, self.value = misfits, value
        super().__init__("; ".join(each.message for each in misfits))


def convert_all(data: Any, kind: type[T], convert: Callable[[Any, Any], Any], misfits_max: int) -> T:
    """Convert data with `convert(data, kind)`; Misfits has all places that do not fit, at most `misfits_max`.

    If the misfits are only scalars where a text is expected and unknown keys, its `value` has been converted with the text of these scalars and
    without these keys, so that the content of everything else can be checked as well.
    """
    try:
        return convert(data, kind)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        pass
    search = _Search(convert, misfits_max)
    fields = _fields(kind) if isinstance(data, dict) else {}
    if not fields:
        search.value(data, kind, ())
        raise Misfits(search.misfits)
    data = search.keys(data, fields)
    converted = {key: search.value(value, fields[key].type, (key,)) for key, value in data.items() if key in fields}
    raise Misfits(search.misfits, convert(converted, kind) if search.complete else None)


class _Search:
    """The search for misfits: each one is replaced or removed, and the rest is converted once more."""

    def __init__(self, convert: Callable[[Any, Any], Any], misfits_max: int) -> None:
        self.convert, self.misfits_max = convert, misfits_max
        self.misfits: list[Misfit] = []
        self.complete = True
        """Nothing that is needed was removed."""
        self.removed = set[Path]()

    def keys(self, data: dict[Any, Any], fields: dict[str, Any]) -> dict[Any, Any]:
        """Add the keys of the whole data that are unknown or missing; return the data with the keys that are meant."""
        for key in [each for each in data if each not in fields]:
            self.misfits.append(Misfit((), f"Object contains unknown field `{key}`", key=key))
            data = _meant(data, key, tuple(fields))
        missing = [name for name, field in fields.items() if field.required and name not in data]
        if missing:
            self.complete = False
            names = ", ".join(f"`{name}`" for name in missing)
            self.misfits.append(Misfit((), f"Object missing required field {names}", key=missing[0]))
        return data

    def value(self, data: Any, kind: Any, base: Path) -> Any:
        """Return data that can be converted; None if nothing is left of it."""
        places: dict[Path, list[int]] = {}
        while len(self.misfits) < self.misfits_max:
            try:
                self.convert(data, kind)
                return data
            except msgspec.ValidationError as error:
                text = str(error)
            message, _, location = text.partition(" - at `")
            of_key = location.startswith("key` in `")
            path = self._path(data, kind, location.removeprefix("key` in `"), text)
            value = _at(data, path)
            at = base + _original(path, places)
            if of_key:
                key = self._key(data, kind, path, text)
                self.misfits.append(Misfit(at, message, value, key))
                self.complete = False
                data = _replaced(data, path, {each: content for each, content in value.items() if each != key})
            elif match := _UNKNOWN.fullmatch(message):
                self.misfits.append(Misfit(at, message, value, match[1]))
                data = _replaced(data, path, _meant(value, match[1], allowed_words(kind, path)))
            elif message.startswith(_KEY) and isinstance(value, bool | int | float | Decimal | date):
                self.misfits.append(Misfit(at, message, value))
                # A word that YAML reads as true or false is not known any more.
                self.complete &= not isinstance(value, bool)
                data = _replaced(data, path, str(value))
            else:
                missing = _MISSING.fullmatch(message)
                # What lacks a key that was removed has been reported by that key.
                if not missing or (*at, missing[1]) not in self.removed:
                    self.misfits.append(Misfit(at, message, value, missing[1] if missing else None))
                self.complete = False
                if not path:
                    return None
                self.removed.add(at)
                data = _removed(data, path, places)
        self.complete = False
        return None

    def _path(self, data: Any, kind: Any, location: str, text: str) -> Path:
        path: Path = ()
        for part in re.finditer(r"\[(\d+)\]|\[(\.\.\.)\]|([A-Za-z_]\w*)", location.rstrip("`").removeprefix("$")):
            path = (*path, int(part[1]) if part[1] else part[3] or self._key(data, kind, path, text))
        return path

    def _key(self, data: Any, kind: Any, path: Path, text: str) -> Any:
        """Find the key of the mapping at the path that the message is about, which the message does not name."""
        mapping = _at(data, path)
        for key in mapping:
            try:
                self.convert(_replaced(data, path, {key: mapping[key]}), kind)
            except msgspec.ValidationError as error:
                if str(error) == text:
                    return key
        raise AssertionError(f"no key of {path} is refused as {text!r}")


def allowed_words(kind: Any, path: Path) -> tuple[str, ...]:
    """Return the words that the type allows at the path: those of a closed list, or the keys of a mapping; else nothing."""
    for part in path:
        kind = next(_inner(kind, part), None)
    for each in _alternatives(kind):
        if fields := _fields(each):
            return tuple(fields)
        words = get_args(get_args(each)[0] if get_origin(each) is dict else each)
        if words and all(isinstance(word, str | int) for word in words):
            return tuple(str(word) for word in words if word != "")
    return ()


def _inner(kind: Any, part: str | int) -> Iterator[Any]:
    """Yield the types that an element of the type may have, by its key or place."""
    for each in _alternatives(kind):
        if isinstance(part, int) and get_origin(each) in (list, tuple):
            yield get_args(each)[0]
        elif get_origin(each) is dict:
            yield get_args(each)[1]
        elif part in (fields := _fields(each)):
            yield fields[part].type


def _alternatives(kind: Any) -> tuple[Any, ...]:
    members = get_args(kind)
    return (
        members
        if members and get_origin(kind) not in (list, tuple, dict) and not isinstance(members[0], str)
        else (kind,)
    )


def _fields(kind: Any) -> dict[Any, Any]:
    """Return the fields of a struct by the name that files use; nothing for any other type."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return {each.encode_name: each for each in msgspec.structs.fields(kind)}


def _meant(mapping: dict[Any, Any], key: Any, allowed: Sequence[str]) -> dict[Any, Any]:
    """Return the mapping with the similar key that is allowed in place of an unknown one, or without it."""
    similar = get_close_matches(str(key), [name for name in allowed if name not in mapping], n=1, cutoff=SIMILAR)
    if similar:
        return {similar[0] if each == key else each: value for each, value in mapping.items()}
    return {each: value for each, value in mapping.items() if each != key}


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _original(path: Path, places: dict[Path, list[int]]) -> Path:
    """Return the path in the data as it was before entries of lists were removed."""
    original: Path = ()
    for part in path:
        original = (*original, places[original][part] if isinstance(part, int) and original in places else part)
    return original


def _replaced(data: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    changed = _replaced(data[head], rest, value)
    if isinstance(data, dict):
        return data | {head: changed}
    return [*data[:head], changed, *data[int(head) + 1 :]]


def _removed(data: Any, path: Path, places: dict[Path, list[int]]) -> Any:
    """Return the data without the element at the path, and note which entries of its list remain."""
    parent = _at(data, path[:-1])
    last = path[-1]
    if isinstance(parent, dict):
        return _replaced(data, path[:-1], {key: value for key, value in parent.items() if key != last})
    remaining = places.setdefault(_original(path[:-1], places), list(range(len(parent))))
    del remaining[int(last)]
    return _replaced(data, path[:-1], [value for place, value in enumerate(parent) if place != last])
