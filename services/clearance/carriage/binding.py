"""The carriers to which a master document is bound, and the arrival that takes effect on each consignment. Pure.

Three sources bind a document, and the first that has an entry decides: the operator's list for this document, the carrier that the filing names, the
longest registered prefix of the document. A filing binds only its own consignment. Without a binding, no arrival takes effect.

A receptacle is bound as a master document is. If the list has the master document of the goods and not the receptacle, only carriers of that entry
report the receptacle.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Bools, Ints, Strings
from libs.customs.time import MICROS_PER_DAY
from services.clearance.consignment.state.arrivals import Arrivals

PREFIX_CHARACTERS_MIN: Final = 2
PREFIX_CHARACTERS_MAX: Final = 17
FOREVER: Final = 2**31 - 1
NOBODY: Final[frozenset[str]] = frozenset()


class BindingKind(IntEnum):
    """What binds; the numbers are those of luxor.clearance.v1.BindingKind."""

    DOCUMENT = 1
    IDENTIFIER = 2
    PREFIX = 3


@dataclass(frozen=True, slots=True)
class Binding:
    """A value that binds a carrier from a day to a day, both inclusive, days since 1970-01-01."""

    kind: BindingKind
    value: str
    carrier: str
    from_day: int = 0
    to_day: int = FOREVER


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a carrier reported of one master document or receptacle; instants are microseconds since 1970-01-01 UTC."""

    document_number: str
    carrier: str
    conveyance_reference: str
    arrived_at: int
    place: str
    recorded_at: int = 0

    @property
    def day(self) -> int:
        """The day on which it was recorded. The binding must include it, since a carrier may report any time of arrival."""
        return self.recorded_at // MICROS_PER_DAY


class ArrivalVerdict(Enum):
    """The verdict on a reported arrival."""

    BOUND = "bound"
    AWAITS_FILINGS = "awaits_filings"
    """The document is unknown: the arrival is recorded, and takes effect on filings that name the carrier."""
    REFUSED = "refused"


def keys_of(documents: Iterable[str], names: Iterable[str]) -> list[tuple[int, str]]:
    """Return the keys of all bindings that may concern these documents and these carriers named by filings."""
    keys: dict[tuple[int, str], None] = {}
    for document in documents:
        if document:
            keys[BindingKind.DOCUMENT, document] = None
            keys.update(((int(BindingKind.PREFIX), prefix), None) for prefix in _prefixes(document))
    keys.update(((int(BindingKind.IDENTIFIER), name.upper()), None) for name in names if name)
    return list(keys)


def _prefixes(document: str) -> list[str]:
    """Return the prefixes of a document, the longest first."""
    longest = min(PREFIX_CHARACTERS_MAX, len(document))
    return [document[:length] for length in range(longest, PREFIX_CHARACTERS_MIN - 1, -1)]


class Register:
    """The bindings that concern some documents."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        """Use these bindings; those of other documents have no effect."""
        self._by_key: dict[tuple[int, str], list[Binding]] = {}
        for each in bindings:
            self._by_key.setdefault((each.kind, each.value), []).append(each)

    def binds(self, carrier: str, document: str, named: str, day: int) -> bool:
        """Return whether a filing's document is bound to a carrier on a day; `named` is the carrier in the filing, "" if it names none."""
        return carrier in self.carriers(document, named, day)

    def carriers(self, document: str, named: str, day: int) -> frozenset[str]:
        """Return the carriers to which a filing's document is bound on a day."""
        document_carriers = self.document_carriers(document, day)
        if document_carriers:
            return document_carriers
        if named:
            # The register has names in capitals. A name that is no carrier's in it is the id in a certificate, and ids are case sensitive.
            return self._active(BindingKind.IDENTIFIER, named.upper(), day) or frozenset({named})
        return self.prefixed(document, day)

    def receptacle_carriers(self, receptacle: str, document: str, named: str, day: int) -> frozenset[str]:
        """Return the carriers to which the receptacle of a filing is bound on a day; `document` is the filing's master document."""
        carriers = self.carriers(receptacle, named, day)
        listed = NOBODY if self.document_carriers(receptacle, day) else self.document_carriers(document, day)
        return carriers & listed if listed else carriers

    def document_carriers(self, document: str, day: int) -> frozenset[str]:
        """Return the carriers that the operator's list has for a document on a day."""
        return self._active(BindingKind.DOCUMENT, document, day)

    def prefixed(self, document: str, day: int) -> frozenset[str]:
        """Return the carriers of the longest registered prefix of a document on a day."""
        return next(
            (found for each in _prefixes(document) if (found := self._active(BindingKind.PREFIX, each, day))), NOBODY
        )

    def verdict(self, document: str, carrier: str, names: Iterable[str], day: int) -> ArrivalVerdict:
        """Return the verdict on the arrival of a document by a carrier; `names` are the carriers in the filings under it, "" for a filing without."""
        document_carriers, names = self.document_carriers(document, day), list(names)
        if document_carriers:
            return ArrivalVerdict.BOUND if carrier in document_carriers else ArrivalVerdict.REFUSED
        if any(self.binds(carrier, document, name, day) for name in names):
            return ArrivalVerdict.BOUND
        prefixed = self.prefixed(document, day)
        if not names and not prefixed:
            return ArrivalVerdict.AWAITS_FILINGS
        return ArrivalVerdict.BOUND if not names and carrier in prefixed else ArrivalVerdict.REFUSED

    def _active(self, kind: BindingKind, value: str, day: int) -> frozenset[str]:
        found = self._by_key.get((kind, value))
        return NOBODY if found is None else frozenset(b.carrier for b in found if b.from_day <= day <= b.to_day)


@dataclass(frozen=True, slots=True)
class Effective:
    """Which arrival takes effect on each of n consignments."""

    arrivals: Sequence[Arrival]
    places: npt.NDArray[np.int64]
    """Per consignment the place in `arrivals`, -1 where none takes effect; shape (n,)."""
    unbound: frozenset[str]
    """Documents and receptacles that have arrived by carriers to which some of these consignments are not bound."""
    receptacles_from: int = FOREVER
    """The place in `arrivals` from which on they are arrivals of receptacles."""

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Whether one takes effect, shape (n,)."""
        return self.places >= 0

    def columns(self) -> Arrivals:
        """Return the arrivals as columns of the state."""
        rows = np.where(self.present, self.places, len(self.arrivals))

        def texts(value: Callable[[Arrival], str]) -> Strings:
            return Strings.of([*map(value, self.arrivals), ""]).take(rows)

        moments = np.array([*(each.arrived_at for each in self.arrivals), 0], np.int64)
        of_receptacle = self.places >= self.receptacles_from
        return Arrivals(
            Ints.of(moments[rows], self.present),
            texts(lambda each: each.conveyance_reference),
            texts(lambda each: each.place),
            texts(lambda each: each.carrier),
            Bools.of(of_receptacle, of_receptacle) if of_receptacle.any() else None,
        )


def effective(
    masters: Strings,
    named: Strings,
    receptacles: Strings,
    arrivals: Mapping[str, Sequence[Arrival]],
    register: Register,
) -> Effective:
    """Choose for each consignment the first arrival of its master document, else of its receptacle, by a carrier that it is bound to."""
    chosen: list[Arrival] = []
    unbound: set[str] = set()

    def place(document: str, name: str) -> int:
        candidates = arrivals.get(document, ())
        for each in candidates:
            if register.binds(each.carrier, document, name, each.day):
                chosen.append(each)
                return len(chosen) - 1
        if candidates:
            unbound.add(document)
        return -1

    def place_of_receptacle(receptacle: str, document: str, name: str) -> int:
        candidates = arrivals.get(receptacle, ())
        for each in candidates:
            if each.carrier in register.receptacle_carriers(receptacle, document, name, each.day):
                chosen.append(each)
                return len(chosen) - 1
        if candidates:
            unbound.add(receptacle)
        return -1

    places = _each_pair(masters, named, place, np.int64)
    receptacles_from = len(chosen)
    rest = np.flatnonzero((places < 0) & receptacles.present)
    if len(rest):
        places[rest] = _each_receptacle(rest, masters, named, receptacles, place_of_receptacle)
    return Effective(chosen, places, frozenset(unbound), receptacles_from)


def bound(
    masters: Strings, named: Strings, receptacles: Strings, register: Register, carrier: str, day: int
) -> npt.NDArray[np.bool_]:
    """Return which consignments are bound to a carrier on a day by their master document or receptacle, shape (n,)."""
    found = _each_pair(masters, named, lambda document, name: register.binds(carrier, document, name, day), np.bool_)
    rest = np.flatnonzero(~found & receptacles.present)
    if len(rest):

        def binds(receptacle: str, document: str, name: str) -> bool:
            return carrier in register.receptacle_carriers(receptacle, document, name, day)

        found[rest] = _each_receptacle(rest, masters, named, receptacles, binds)
    return found


def _each_pair(
    masters: Strings, named: Strings, function: Callable[[str, str], Any], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Apply a function once to each distinct pair of document and carrier named; one result a row. A row without a document is its own pair."""
    width = len(named.dictionary)
    pairs, rows = np.unique(masters.indices.astype(np.int64) * width + named.indices, return_inverse=True)
    results = [function(masters.dictionary[pair // width], named.dictionary[pair % width]) for pair in pairs.tolist()]
    return np.array(results, dtype)[rows] if len(rows) else np.empty(0, dtype)


def _each_receptacle(
    rows: npt.NDArray[np.int64],
    masters: Strings,
    named: Strings,
    receptacles: Strings,
    function: Callable[[str, str, str], Any],
) -> list[Any]:
    """Apply a function once to each distinct receptacle, document and carrier named of some rows; one result for each of them."""
    numbers = zip(*(column.take(rows).tolist() for column in (receptacles, masters, named)), strict=True)
    found: dict[tuple[str, str, str], Any] = {}
    return [found[each] if each in found else found.setdefault(each, function(*each)) for each in numbers]
