"""What is not compiled, evaluated by the CEL library itself, row by row.

A condition that holds something not compiled is compiled all the same, with an error in that place. Where the rest gives
a value for a row, no value in that place could have given another, since that is what it means that `&&`, `||`, `?:` and
the macros absorb errors. So the library is asked only about the rows that are left without a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from cel_expr_python import cel

from services.risk.conditions.cel.macros import names
from services.risk.conditions.cel.syntax_tree import Checked, Expr, Select, parts_of
from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.conditions.evaluation.frames import Batch, Spec, Taken
from services.risk.conditions.evaluation.vectors import BoolArray, IntArray, Vec, some

#: How the library tells that an operand was null: absent, and so unknown. Checked types leave no other reason for it.
_OF_NULL: Final = "null_type"
_UNTOLD: Final = ("!_", "_&&_", "_||_", "@in", "<jump_condition>")


@dataclass(frozen=True, slots=True)
class Fallback:
    """A condition as the library evaluates it: what it reads, so that nothing else need be put into messages."""

    vocabulary: Vocabulary
    parsed: Any
    data: frozenset[str]
    """The profile's lists and tables that it names."""
    elements: frozenset[str] | None
    """The names of all elements that it reads; None where it takes a row as a whole."""

    @classmethod
    def prepare(cls, vocabulary: Vocabulary, parsed: Any, tree: Checked) -> Fallback:
        """Prepare a checked condition."""
        elements: set[str] = set()
        whole = _reads(tree.expr, tree, elements, selected=False)
        data = frozenset(name for name in names(tree.expr) if name.startswith("data."))
        return cls(vocabulary, parsed, data, None if whole else frozenset(elements))

    def evaluate(self, batch: Batch, owners: IntArray, places: IntArray | None) -> Vec:
        """Evaluate rows: consignments of a batch in rising order, or with `places` items of them, by their place among
        the items of their consignment.
        """
        consignments, which = np.unique(owners, return_inverse=True)
        source = Taken(batch.source, consignments)
        messages: list[Any] = self.vocabulary.messages(source, self._needed(places))
        data, err, unk = (np.zeros(len(owners), bool) for _ in range(3))
        for row, at in enumerate(which.tolist()):
            message = messages[at]
            item = None if places is None else message.items[int(places[row])]
            value = self.parsed.eval(self.vocabulary.bind(message, item, self.data))
            if value.type() == cel.Type.BOOL:
                data[row] = value.value()
            elif value.type() == cel.Type.NULL or _is_unknown(str(value.value())):
                unk[row] = True
            else:
                err[row] = True
        return Vec(data, some(err), None, some(unk))

    def _needed(self, places: IntArray | None) -> frozenset[str] | None:
        return self.elements if self.elements is None or places is None else self.elements | {"items"}


def _is_unknown(message: str) -> bool:
    return _OF_NULL in message or message.endswith(_UNTOLD)


def _reads(expr: Expr, tree: Checked, elements: set[str], selected: bool) -> bool:
    """Gather the names of the elements that an expression selects; tells whether it uses a row as a whole."""
    kind = tree.kinds.get(expr.id)
    whole = kind is not None and kind.name == "message" and not selected
    if isinstance(expr, Select):
        elements.add(expr.field)
        return _reads(expr.operand, tree, elements, selected=True) or whole
    parts = [_reads(part, tree, elements, selected=False) for part in parts_of(expr)]
    return whole or any(parts)


def settled(vec: Vec, fallback: Fallback, batch: Batch, spec: Spec, scope: BoolArray | None) -> Vec:
    """A condition's vector with the rows that it left open answered by the library; outside of `scope` it stays as it is."""
    count = batch.rows(spec)
    bad = vec.unusable()
    if bad is None:
        return vec
    rows = np.flatnonzero(np.broadcast_to(bad, count) if scope is None else np.broadcast_to(bad, count) & scope)
    if len(rows) == 0:
        return vec
    if spec.parent is None:
        answers = fallback.evaluate(batch, rows, None)
    else:
        frame = batch.frame(spec)
        owners = frame.parents[rows]
        answers = fallback.evaluate(batch, owners, rows - frame.offsets[owners])

    def replaced(vectorised: Any, evaluated: Any) -> BoolArray:
        merged = np.zeros(count, bool) if vectorised is None else np.array(np.broadcast_to(vectorised, count))
        merged[rows] = False if evaluated is None else evaluated
        return merged

    return Vec(
        replaced(vec.data, answers.data),
        some(replaced(vec.err, answers.err)),
        None,
        some(replaced(vec.unknown(), answers.unk)),
    )
