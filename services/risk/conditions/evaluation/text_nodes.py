"""Functions of text: computed once per distinct value, and for the texts of a column once for as long as they keep
coming.

A column's texts repeat from batch to batch (the same goods, the same cities), so each text gets a number that lasts,
and a function's results stand in an array by that number: for known texts a whole batch is one look-up in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.conditions.evaluation.frames import Batch, Node, innermost
from services.risk.conditions.evaluation.vectors import (
    Computed,
    IndexArray,
    IntArray,
    Interned,
    Mask,
    Vec,
    some,
    strictly,
)

#: Texts numbered per column, and results kept per function; then both begin anew. Bounds memory whatever is filed.
TEXTS_MAX: Final = 32_768
#: What a look-up returns when there is nothing: an error on that row.
MISSING: Final = object()

_UNKNOWN, _KNOWN, _MISSING = 0, 1, 2


class TextPool:
    """Lasting numbers for the texts of one column."""

    __slots__ = ("generation", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.generation = 0

    def number(self, texts: list[str]) -> IntArray:
        """The number of each text; at most TEXTS_MAX texts."""
        found: list[int | None] = list(map(self.numbers.get, texts))
        if None in found:
            if len(self.numbers) + found.count(None) > TEXTS_MAX:
                self.numbers = {}
                self.generation += 1
            numbers = self.numbers
            return np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
        return np.array(found, np.int64)


class Some(list[str]):
    """Some of the texts of a column, and their numbers."""

    __slots__ = ("places", "texts")

    def __init__(self, texts: Texts, places: IndexArray) -> None:
        super().__init__([texts[place] for place in places.tolist()])
        self.texts, self.places = texts, places

    @property
    def pool(self) -> TextPool:
        """What numbers them."""
        return self.texts.pool

    def numbers(self) -> IntArray | None:
        """The number of each text, or None where the numbers given to this batch are no longer valid."""
        numbers = self.texts.numbers()
        return None if numbers is None else numbers[self.places]


class Texts(list[str]):
    """The distinct texts of a column in one batch, numbered when first asked for."""

    __slots__ = ("_generation", "_numbers", "pool")

    def __init__(self, texts: Iterable[str], pool: TextPool) -> None:
        super().__init__(texts)
        self.pool = pool
        self._numbers: IntArray | None = None
        self._generation = -1

    def numbers(self) -> IntArray | None:
        """The number of each text, or None where the numbers given to this batch are no longer valid."""
        if self._numbers is None:
            if len(self) > TEXTS_MAX:
                return None
            self._numbers = self.pool.number(self)
            self._generation = self.pool.generation
        return self._numbers if self._generation == self.pool.generation else None


def numbered(vec: Vec, pool: TextPool) -> Vec:
    """A column whose texts, if it has any, are numbered by a pool."""
    if not isinstance(vec.data, Interned):
        return vec
    return Vec(Interned(Texts(vec.data.entries, pool), vec.data.indices), vec.err, vec.null)


class Textual(Node):
    """A function of strings (and lists of strings), computed once per distinct value or distinct combination of values.

    `dtype` is the type of its results, or None for strings and lists, which stay interned. Where `function` returns
    MISSING the row fails.
    """

    __slots__ = ("args", "combinations", "dtype", "function", "memory")

    def __init__(self, function: Callable[..., Any], dtype: type | None, *args: Node) -> None:
        self.function, self.dtype, self.args, self.spec = function, dtype, args, innermost(args)
        self.memory = None if dtype is None else _Memory(dtype)
        self.combinations: dict[Any, Any] = {}

    def compute(self, batch: Batch) -> Vec:
        operands = [batch.at(arg, self.spec) for arg in self.args]
        data, failed = self._computed(operands)
        return strictly(data, failed, operands)

    def _computed(self, operands: list[Vec]) -> Computed:
        constants = [operand.data for operand in operands]
        varying = [place for place, data in enumerate(constants) if isinstance(data, Interned)]
        if len(varying) > 1:
            keys, rows = _combinations([constants[place] for place in varying])
            return self._plain(self._remembered(keys, varying, constants), rows)
        column = _in_use(constants[varying[0]])
        texts = column.entries
        numbers = texts.numbers() if isinstance(texts, Texts | Some) and self.memory is not None else None
        if numbers is None:
            return self._plain(self._of_texts(texts, varying[0], constants), column.indices)
        assert self.memory is not None
        assert isinstance(texts, Texts | Some)
        unknown = self.memory.unknown(texts.pool, numbers)
        if unknown is not None:
            new = texts if len(unknown) == len(texts) else [texts[place] for place in unknown.tolist()]
            self.memory.learn(numbers[unknown], self._apply_one(new, varying[0], constants))
        values, missing = self.memory.results_of(numbers)
        return values[column.indices], None if missing is None else some(missing[column.indices])

    def _plain(self, results: list[Any], rows: Any) -> Computed:
        failed = None
        if MISSING in results:
            missing = np.fromiter((result is MISSING for result in results), bool, len(results))
            failed = some(missing[rows])
            filler = "" if self.dtype is None else self.dtype()
            results = [filler if result is MISSING else result for result in results]
        if self.dtype is None:
            return Interned(results, rows), failed
        return np.array(results, self.dtype)[rows], failed

    def _of_texts(self, texts: Sequence[Any], place: int, constants: list[Any]) -> list[Any]:
        """Results for texts that no column numbers: the last ones are kept, unless there are more than can be."""
        if len(texts) > TEXTS_MAX:
            return self._apply_one(texts, place, constants)
        return self._remembered([(text,) for text in texts], [place], constants)

    def _apply_one(self, texts: Iterable[Any], place: int, constants: list[Any]) -> list[Any]:
        arguments: list[Iterable[Any]] = [repeat(constant) for constant in constants]
        arguments[place] = texts
        return list(map(self.function, *arguments))

    def _remembered(self, keys: list[tuple[Any, ...]], varying: list[int], constants: list[Any]) -> list[Any]:
        """Results for combinations, and for texts that no column numbers; the last ones are kept."""
        kept = self.combinations
        unknown = [key for key in keys if key not in kept]
        if unknown:
            if len(kept) + len(unknown) > TEXTS_MAX:
                kept = self.combinations = {}
                unknown = keys
            results = self._apply(unknown, varying, constants)
            if len(unknown) > TEXTS_MAX:
                return results
            kept.update(zip(unknown, results, strict=True))
        return [kept[key] for key in keys]

    def _apply(self, keys: Iterable[tuple[Any, ...]], varying: list[int], constants: list[Any]) -> list[Any]:
        function = self.function
        arguments = list(constants)
        results = []
        for key in keys:
            for place, value in zip(varying, key, strict=True):
                arguments[place] = value
            results.append(function(*arguments))
        return results


class _Memory:
    """Results of one function of text by the texts' numbers in a column's pool."""

    __slots__ = ("_complete", "_dtype", "_generation", "_misses", "_states", "_values")

    def __init__(self, dtype: type) -> None:
        self._dtype = dtype
        self._generation = 0
        self._misses = False
        #: How many numbers of the pool are known without a gap: while the pool does not grow, nothing is unknown.
        self._complete = 0
        self._states = np.zeros(0, np.uint8)
        self._values: npt.NDArray[Any] = np.zeros(0, dtype)

    def unknown(self, pool: TextPool, numbers: IntArray) -> IntArray | None:
        """The places among `numbers` of texts whose result is not known yet."""
        if self._generation != pool.generation:
            self._generation, self._misses = pool.generation, False
            self._states = np.zeros(0, np.uint8)
            self._complete = 0
        size = len(pool.numbers)
        if self._complete == size:
            return None
        if len(self._states) < size:
            grown = min(max(1_024, 2 * size), TEXTS_MAX)
            states = np.zeros(grown, np.uint8)
            values: npt.NDArray[Any] = np.zeros(grown, self._dtype)
            states[: len(self._states)], values[: len(self._states)] = self._states, self._values[: len(self._states)]
            self._states, self._values = states, values
        unknown = np.flatnonzero(self._states[numbers] == _UNKNOWN)
        if len(unknown):
            return unknown
        if np.count_nonzero(self._states[:size]) == size:
            self._complete = size
        return None

    def learn(self, numbers: IntArray, results: list[Any]) -> None:
        """Remember results; MISSING too."""
        if MISSING not in results:
            self._states[numbers] = _KNOWN
            self._values[numbers] = results
            return
        missing = np.fromiter((result is MISSING for result in results), bool, len(results))
        self._states[numbers] = np.where(missing, _MISSING, _KNOWN)
        self._misses = True
        filler = self._dtype()
        self._values[numbers] = [filler if result is MISSING else result for result in results]

    def results_of(self, numbers: IntArray) -> tuple[Any, Mask]:
        """The results of texts that are all known, and which of them are MISSING."""
        return self._values[numbers], self._states[numbers] == _MISSING if self._misses else None


def _in_use(column: Interned) -> Interned:
    """The column without the texts that no row has, where most are such: a function need not be asked about them."""
    texts = column.entries
    if not isinstance(texts, Texts) or column.indices.ndim == 0 or 4 * len(column.indices) > len(texts):
        return column
    used, indices = np.unique(column.indices, return_inverse=True)
    return Interned(Some(texts, used), indices.reshape(column.indices.shape))


def _combinations(columns: list[Interned]) -> tuple[list[tuple[Any, ...]], Any]:
    """The distinct combinations of values that rows have, and per row which."""
    code = np.zeros((), np.int64)
    for column in columns:
        code = code * len(column.entries) + column.indices
    distinct, rows = np.unique(code, return_inverse=True)
    keys = []
    for value in distinct.tolist():
        combination = []
        for column in reversed(columns):
            value, place = divmod(value, len(column.entries))
            combination.append(column.entries[place])
        keys.append(tuple(reversed(combination)))
    return keys, rows.reshape(code.shape)


def lookup(mapping: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """Index into a constant map: MISSING, an error, where the key is not in it."""

    def get(key: Any) -> Any:
        return mapping.get(key, MISSING)

    return get
