"""Conditions: text in CEL → something that judges a whole batch.

`Conditions` compiles the conditions of one profile, `Judged` says for each row whether a condition holds, and where it
could not be judged: it is unknown, since a value is absent, or an error, since an operation failed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.risk.conditions.cel.fallback import Fallback, settled
from services.risk.conditions.cel.macros import MacroError, names
from services.risk.conditions.cel.syntax_tree import Call, Checked, Expr, Literal, parts_of, read_checked
from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.conditions.compiler.compiler import Compiler
from services.risk.conditions.evaluation.frames import ROOT, Batch, ColumnSource, Node, Spec
from services.risk.conditions.evaluation.prefilter import Need, can_matter, narrowed, needs_of
from services.risk.conditions.evaluation.vectors import BoolArray, without

#: A condition longer than this is a programme, not a rule.
CONDITION_CHARACTERS_MAX: Final = 4_000
_FINDING: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class ConditionError(ValueError):
    """A condition that cannot be used: what is wrong and where it stands in the condition's text (line and column from
    1).
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message, self.line, self.column = message, line, column


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, ready to judge batches. `on_items` tells whether it is judged per item or per consignment."""

    text: str
    on_items: bool
    node: Node
    spec: Spec
    parsed: Any
    """The CEL library's own form, which evaluates one row at a time."""
    needs: tuple[Need, ...] = ()
    """What it needs of columns; in a row that does not meet one it is false."""
    fallback: str | None = None
    """Why the library evaluates it row by row, with the place; None where it is compiled wholly."""
    library: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Per row whether the condition holds, and where it could not be judged (None: nowhere); `holds` is false there."""

    applies: BoolArray
    failed: BoolArray | None
    """The rows that could not be judged, for either reason."""
    unknown: BoolArray | None = None
    """Those of them where something absent is the reason; in the others an operation failed."""

    @property
    def errors(self) -> BoolArray | None:
        """The rows in which an operation failed, such as a division by zero."""
        return without(self.failed, self.unknown)


class Conditions:
    """Compiles conditions against one vocabulary; parts in common are computed once a batch."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._compiler = Compiler(vocabulary)

    def compile(self, text: str, on_items: bool = False) -> Condition:
        """Compile a condition on consignments, or on items (which may speak of `item` and of its `consignment`). Raises
        ConditionError.
        """
        if len(text) > CONDITION_CHARACTERS_MAX:
            raise ConditionError(
                f"the condition has {len(text)} characters; at most {CONDITION_CHARACTERS_MAX} are allowed", 1, 1
            )
        parsed = self._parse(text)
        tree = read_checked(parsed.serialize())
        kind = tree.kinds.get(tree.expr.id)
        if kind is None or kind.name != "bool":
            raise ConditionError("a condition must give true or false", 1, 1)
        if not on_items and "item" in names(tree.expr):
            raise ConditionError(
                "`item` can be used only in a condition on items; walk consignment.items by exists or all", 1, 1
            )
        try:
            self._check_patterns(tree.expr)
            node, left_out = self._compiler.compile(tree)
        except MacroError as error:
            raise ConditionError(str(error), *_place(text, tree, error.node_id)) from None
        spec = self._compiler.items if on_items else ROOT
        if not left_out:
            return Condition(text, on_items, node, spec, parsed, needs_of(node))
        line, column = _place(text, tree, left_out[0].node_id)
        reason = f"line {line}, column {column}: {left_out[0]}"
        library = Fallback.prepare(self.vocabulary, parsed, tree)
        return Condition(text, on_items, node, spec, parsed, needs_of(node), reason, library)

    def _check_patterns(self, expr: Expr) -> None:
        """Check the patterns of `matches` wherever they stand, also in parts that are not compiled."""
        if isinstance(expr, Call) and expr.function == "matches" and isinstance(expr.args[1], Literal):
            error = self.vocabulary.patterns.error(str(expr.args[1].value))
            if error:
                raise MacroError(expr.args[1].id, f"the pattern of matches() cannot be used: {error}")
        for part in parts_of(expr):
            self._check_patterns(part)

    def _parse(self, text: str) -> Any:
        try:
            return self.vocabulary.parse(text)
        except RuntimeError as error:
            found = _FINDING.search(str(error))
            if found is None:
                raise ConditionError(str(error), 1, 1) from None
            message = found[3]
            if "*error*" in message:
                # The library's own words for Nature.NATURE_GRIFT help nobody.
                message = "this name is not known; values of codes are written like Nature.NATURE_GIFT"
            raise ConditionError(message, int(found[1]), int(found[2])) from None

    def batch(self, source: ColumnSource) -> Batch:
        """Start the evaluation of a batch."""
        return Batch(source)


def _place(text: str, tree: Checked, node_id: int) -> tuple[int, int]:
    before = text[: tree.positions.get(node_id, 0)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def judge(condition: Condition, batch: Batch, scope: BoolArray | None = None) -> Judged:
    """Judge a condition on every row of a batch: every consignment, or every item in the order of the items' table.

    With `scope`, one truth value a row, only the rows in it must be right: what falls back to the library is evaluated in
    them alone.
    """
    if not can_matter(condition.needs, batch):
        return Judged(np.zeros(batch.rows(condition.spec), bool), None)
    part = narrowed(condition.needs, batch)
    if part is batch:
        return _judged(condition, batch, scope)
    rows = batch.rows(condition.spec)
    assert part.index is not None
    index = part.frame(condition.spec).elements if condition.on_items else part.index
    judged = _judged(condition, part, None if scope is None else scope[index])

    def spread(mask: BoolArray | None) -> BoolArray | None:
        if mask is None:
            return None
        whole = np.zeros(rows, bool)
        whole[index] = mask
        return whole

    holds = spread(judged.applies)
    assert holds is not None
    return Judged(holds, spread(judged.failed), spread(judged.unknown))


def _judged(condition: Condition, batch: Batch, scope: BoolArray | None) -> Judged:
    vec = batch.at(condition.node, condition.spec)
    if condition.library is not None:
        vec = settled(vec, condition.library, batch, condition.spec, scope)
    holds, failed = vec.data, vec.unusable()
    if np.ndim(holds) == 0:
        holds = np.broadcast_to(holds, batch.rows(condition.spec))
    if failed is None:
        return Judged(holds, None)
    unknown = vec.unknown()
    if failed.ndim == 0:
        failed = np.broadcast_to(failed, len(holds))
    if unknown is not None and unknown.ndim == 0:
        unknown = np.broadcast_to(unknown, len(holds))
    return Judged(holds & ~failed, failed, unknown)
