"""Reads the tree that the CEL library parsed and type-checked: the part of its serialized form (`cel.expr.CheckedExpr`)
that conditions need.

The messages are described here by field numbers in a pool of their own, so that no other copy of them in the process
can get in the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_PRIMITIVES: Final = {
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}

#: Message → fields as "number name type"; a star marks a repeated one, a question mark one whose presence matters. A
#: map is a repeated pair.
_LAYOUT: Final[dict[str, tuple[str, ...]]] = {
    "Checked": ("2 references *ReferencePair", "3 types *TypePair", "4 expr Node", "5 source Source"),
    "ReferencePair": ("1 key int64", "2 value Reference"),
    "Reference": ("1 name string", "3 overloads *string", "4 value ?Literal"),
    "TypePair": ("1 key int64", "2 value Kind"),
    "Kind": (
        "1 dyn ?Empty",
        "2 null ?int32",
        "3 primitive ?int32",
        "4 wrapper ?int32",
        "6 list ?ListKind",
        "7 map ?MapKind",
        "9 message ?string",
    ),
    "Empty": (),
    "ListKind": ("1 element Kind",),
    "MapKind": ("1 key Kind", "2 value Kind"),
    "Node": (
        "2 id int64",
        "3 literal ?Literal",
        "4 name ?Name",
        "5 select ?Select",
        "6 call ?Call",
        "7 list ?List",
        "8 struct ?Struct",
        "9 loop ?Loop",
    ),
    "Literal": (
        "1 null ?int32",
        "2 bool ?bool",
        "3 int ?int64",
        "4 uint ?uint64",
        "5 double ?double",
        "6 string ?string",
        "7 bytes ?bytes",
    ),
    "Name": ("1 name string",),
    "Select": ("1 operand Node", "2 field string", "3 test_only bool"),
    "Call": ("1 target ?Node", "2 function string", "3 args *Node"),
    "List": ("1 elements *Node",),
    "Struct": ("1 message string", "2 entries *Entry"),
    "Entry": ("3 key ?Node", "4 value Node"),
    "Loop": (
        "1 variable string",
        "8 second_variable string",
        "2 range Node",
        "3 accumulator string",
        "4 initial Node",
        "5 condition Node",
        "6 step Node",
        "7 result Node",
    ),
    "Source": ("3 line_offsets *int32", "4 positions *PositionPair"),
    "PositionPair": ("1 key int64", "2 value int32"),
}


def _message_class() -> type[Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="luxor/conditions/checked.proto", package="luxor.conditions", syntax="proto3"
    )
    for name, fields in _LAYOUT.items():
        message = file.message_type.add(name=name)
        for text in fields:
            number, field_name, kind = text.split()
            bare = kind.lstrip("*?")
            field = message.field.add(
                name=field_name,
                number=int(number),
                label=_FIELD.LABEL_REPEATED if kind[0] == "*" else _FIELD.LABEL_OPTIONAL,
            )
            if bare in _PRIMITIVES:
                field.type = _PRIMITIVES[bare]
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".luxor.conditions.{bare}"
            if kind[0] == "?" and bare in _PRIMITIVES:
                field.proto3_optional = True
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("luxor.conditions.Checked"))


_Checked: Final = _message_class()
_PRIMITIVE_KINDS: Final = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}


@dataclass(frozen=True, slots=True)
class ExprType:
    """The static type of an expression: `name` is bool, int, double, string, list, map, message, null, or another that
    is not compiled.

    `element` is the kind of a list's elements or a map's values, `message` a message's full name.
    """

    name: str
    element: ExprType | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `value` is None for null."""

    id: int
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` with `test_only`."""

    id: int
    operand: Expr
    field: str
    test_only: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator on its arguments; a receiver is the first of them."""

    id: int
    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list written out."""

    id: int
    elements: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What a macro such as `exists` was expanded to: a fold of `step` over the elements of `range`."""

    id: int
    variable: str
    range: Expr
    accumulator: str
    initial: Expr
    step: Expr
    result: Expr


@dataclass(frozen=True, slots=True)
class Other:
    """An expression of a form that is never compiled; `form` names it, `parts` are the expressions in it."""

    id: int
    form: str
    parts: tuple[Expr, ...] = ()


Expr = Literal | Name | Select | Call | ListOf | Loop | Other


@dataclass(frozen=True, slots=True)
class Checked:
    """A checked expression: its tree, the kind of each node by id, and where each stands in the text (offset in
    characters).
    """

    expr: Expr
    kinds: dict[int, ExprType]
    positions: dict[int, int]


def read_checked(serialized: bytes) -> Checked:
    """Read the serialized form of a checked expression, an Any that holds a `cel.expr.CheckedExpr`."""
    message = _Checked.FromString(any_pb2.Any.FromString(serialized).value)
    references = {pair.key: pair.value for pair in message.references}
    return Checked(
        expr=_expr(message.expr, references),
        kinds={pair.key: _kind(pair.value) for pair in message.types},
        positions={pair.key: pair.value for pair in message.source.positions},
    )


def _kind(message: Any) -> ExprType:
    if message.HasField("primitive"):
        return ExprType(_PRIMITIVE_KINDS.get(message.primitive, "unknown"))
    if message.HasField("wrapper"):
        return ExprType(_PRIMITIVE_KINDS.get(message.wrapper, "unknown"))
    if message.HasField("list"):
        return ExprType("list", _kind(message.list.element))
    if message.HasField("map"):
        return ExprType("map", _kind(message.map.value))
    if message.HasField("message"):
        return ExprType("message", message=message.message)
    return ExprType("null" if message.HasField("null") else "dyn")


def _literal(node_id: int, message: Any) -> Expr:
    for name in ("bool", "int", "double", "string"):
        if message.HasField(name):
            return Literal(node_id, getattr(message, name))
    if message.HasField("uint") or message.HasField("bytes"):
        return Other(node_id, "an unsigned number" if message.HasField("uint") else "a string of bytes")
    return Literal(node_id, None)


def _expr(node: Any, references: dict[int, Any]) -> Expr:
    reference = references.get(node.id)
    if reference is not None and reference.HasField("value"):
        return _literal(node.id, reference.value)
    if node.HasField("literal"):
        return _literal(node.id, node.literal)
    if reference is not None and reference.name and (node.HasField("name") or node.HasField("select")):
        return Name(node.id, reference.name)
    if node.HasField("name"):
        return Name(node.id, node.name.name)
    if node.HasField("select"):
        return Select(node.id, _expr(node.select.operand, references), node.select.field, node.select.test_only)
    if node.HasField("call"):
        args = [node.call.target] if node.call.HasField("target") else []
        return Call(node.id, node.call.function, tuple(_expr(arg, references) for arg in [*args, *node.call.args]))
    if node.HasField("list"):
        return ListOf(node.id, tuple(_expr(element, references) for element in node.list.elements))
    if node.HasField("loop"):
        return _loop(node, references)
    parts = [part for entry in node.struct.entries for part in (entry.key, entry.value) if part.id]
    return Other(node.id, "a map or message written out", tuple(_expr(part, references) for part in parts))


def _loop(node: Any, references: dict[int, Any]) -> Expr:
    loop = node.loop
    parts = {name: _expr(getattr(loop, name), references) for name in ("range", "initial", "step", "result")}
    if loop.second_variable:
        return Other(node.id, "a macro over two variables", tuple(parts.values()))
    return Loop(
        node.id, loop.variable, parts["range"], loop.accumulator, parts["initial"], parts["step"], parts["result"]
    )


def parts_of(expr: Expr) -> tuple[Expr, ...]:
    """The expressions that an expression consists of."""
    if isinstance(expr, Select):
        return (expr.operand,)
    if isinstance(expr, Call):
        return expr.args
    if isinstance(expr, ListOf):
        return expr.elements
    if isinstance(expr, Loop):
        return expr.range, expr.initial, expr.step, expr.result
    return expr.parts if isinstance(expr, Other) else ()
