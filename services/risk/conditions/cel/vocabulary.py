"""The vocabulary of conditions: what `consignment` and `item` hold, the profile's own lists and tables, and the CEL
environment of it all.

Every element that may be absent is of a wrapper type, so CEL itself tells unknown from zero: an absent element is null,
`has()` is false for it, it equals nothing but null, and any other use of it is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from cel_expr_python import cel
from google.protobuf import message_factory
from google.protobuf.message import Message

from libs.columns import Bools, Ints, Kind, Ragged, Schema, Strings, Table, schema_of
from luxor.consignment.v1 import consignment_columns_pb2
from services.risk.conditions.cel.functions import FUNCTIONS, Function
from services.risk.conditions.cel.messages import PACKAGE, Shape, fill, pool_of
from services.risk.conditions.cel.patterns import Patterns
from services.risk.conditions.evaluation.frames import ColumnSource
from services.risk.conditions.evaluation.text_nodes import lookup
from services.risk.conditions.evaluation.vectors import Interned, Segments, Vec, some

#: Where enum numbers such as `Nature.NATURE_GIFT` are looked up.
CONTAINER: Final = "luxor.consignment.v1"

#: A list of strings, or a table from a string to an int, a double, a bool, a string or a list of strings.
Data = Mapping[str, Sequence[str] | Mapping[str, Any]]


class Vocabulary:
    """What conditions may speak of, for one profile's data.

    `derived` names the computed elements of consignments ("") and of items ("items") beside the declared ones.
    """

    def __init__(
        self,
        data: Data | None = None,
        derived: Mapping[str, Mapping[str, Kind]] | None = None,
        functions: Sequence[Function] = FUNCTIONS,
    ) -> None:
        self.data: Data = data or {}
        self.functions = {function.name: function for function in functions}
        self.shape = _shape(schema_of(consignment_columns_pb2.ConsignmentColumns), "", derived or {})
        self._pool = pool_of(self.shape)
        self._env = cel.NewEnv(
            self._pool,
            variables=self._variables(),
            functions=[function.declaration() for function in functions],
            container=CONTAINER,
        )
        self.patterns = Patterns()
        self._plain_data = {f"data.{name}": _plain_value(value) for name, value in self.data.items()}
        self._getters: dict[int, Callable[[str], Any]] = {}
        self._class: type[Message] = message_factory.GetMessageClass(
            self._pool.FindMessageTypeByName(self.shape.message)
        )

    @property
    def item(self) -> Shape:
        """The shape of an item."""
        return self.shape.children["items"]

    def _variables(self) -> dict[str, Any]:
        variables = {"consignment": cel.Type(self.shape.message), "item": cel.Type(self.item.message)}
        for name, value in self.data.items():
            variables[f"data.{name}"] = (
                cel.Type.Map(cel.Type.STRING, _value_type(name, value))
                if isinstance(value, Mapping)
                else cel.Type.List(cel.Type.STRING)
            )
        return variables

    def parse(self, text: str) -> Any:
        """Parse and type-check a condition with the CEL library; raises RuntimeError with its findings."""
        return self._env.compile(text)

    def getter(self, table: Mapping[str, Any]) -> Callable[[str], Any]:
        """Look-ups in a table of the data; the same function for the same table."""
        return self._getters.setdefault(id(table), lookup(table))

    def bind(self, consignment: Message, item: Message | None = None, data: Collection[str] | None = None) -> Any:
        """One consignment, and one of its items, as the CEL library's variables; of the profile's data those of some names
        ("data.words"), where names are given.
        """
        variables: dict[str, Any] = {"consignment": consignment}
        if item is not None:
            variables["item"] = item
        names = self._plain_data if data is None else self._plain_data.keys() & data
        return self._env.Activation(variables | {name: self._plain_data[name] for name in names})

    def evaluate(self, expression: Any, consignment: Message, item: Message | None = None) -> Any:
        """Evaluate a parsed condition on one consignment with the CEL library; gives its Value, which may be an error."""
        return expression.eval(self.bind(consignment, item))

    def messages(self, source: ColumnSource, elements: Collection[str] | None = None) -> list[Message]:
        """The rows of a batch as the messages that the CEL library evaluates conditions on; of their elements only those
        of some names are set, where names are given.
        """
        messages = [self._class() for _ in range(source.rows)]
        fill(messages, self.shape, source, elements)
        return messages


def _plain_value(value: Sequence[str] | Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}
    return list(value)


def _value_type(name: str, table: Mapping[str, Any]) -> Any:
    kinds = {type(value) for value in table.values()}
    types = {
        int: cel.Type.INT,
        float: cel.Type.DOUBLE,
        bool: cel.Type.BOOL,
        str: cel.Type.STRING,
        tuple: cel.Type.List(cel.Type.STRING),
    }
    if len(kinds) != 1 or not kinds <= types.keys():
        raise ValueError(
            f"table {name} must hold values of one kind: whole numbers, numbers, truth values, strings or lists of strings"
        )
    return types[kinds.pop()]


def _shape(schema: Schema, path: str, derived: Mapping[str, Mapping[str, Kind]]) -> Shape:
    children = {
        name: _shape(child, f"{path}/{name}" if path else name, derived) for name, child in schema.children.items()
    }
    name = schema.name.rpartition(".")[2].removesuffix("Columns")
    return Shape(f"{PACKAGE}.{name}", {**schema.columns, **derived.get(path, {})}, children)


def vec_of(column: Strings | Ints | Bools | Ragged) -> Vec:
    """A column as a vector: absent values are null."""
    if isinstance(column, Strings):
        null = None
        if "" in column.dictionary:
            absent = [place for place, text in enumerate(column.dictionary) if not text]
            null = some(column.indices == absent[0] if len(absent) == 1 else np.isin(column.indices, absent))
        return Vec(Interned(column.dictionary, column.indices), None, null)
    if isinstance(column, Ragged):
        base = elements_of(column.values) if isinstance(column.values, Strings | Ints) else column.values
        return Vec(Segments(column.offsets[:-1].astype("int64"), column.lengths, base))
    return Vec(column.values, None, None if column.valid.all() else ~column.valid)


def elements_of(column: Strings | Ints) -> Vec:
    """The elements of lists as a vector; lists have no absent elements."""
    return Vec(Interned(column.dictionary, column.indices) if isinstance(column, Strings) else column.values)


class TableSource:
    """A table of consignments as a source of vectors; `computed` gives elements that are not columns, by path and name.
    A column is decoded, or computed, when it is first asked for.
    """

    def __init__(
        self, table: Table, computed: Callable[[str, str], Strings | Ints | Bools | None] = lambda path, name: None
    ) -> None:
        self.rows = table.rows
        self._tables: dict[str, Table] = {"": table}
        self._computed = computed
        self._vecs: dict[tuple[str, str], Vec] = {}

    def table(self, path: str) -> Table:
        """The table at a path."""
        table = self._tables.get(path)
        if table is None:
            outer, _, name = path.rpartition("/")
            table = self._tables[path] = self.table(outer).child(name)
        return table

    def column(self, path: str, name: str) -> Vec:
        """A column of the table at a path as a vector."""
        vec = self._vecs.get((path, name))
        if vec is None:
            computed = self._computed(path, name)
            vec = vec_of(self.table(path).column(name) if computed is None else computed)
            self._vecs[path, name] = vec
        return vec
