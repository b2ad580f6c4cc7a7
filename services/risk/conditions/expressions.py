"""Conditions: text in CEL → something that judges a whole batch.

`Conditions` compiles the conditions of one profile, `Judged` says for each row whether a condition holds, and where it
could not be judged because a value is absent or an operation failed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.risk.conditions.checked import Checked, read_checked
from services.risk.conditions.compiler import Compiler
from services.risk.conditions.frames import ROOT, Batch, Node, Source, Spec
from services.risk.conditions.macros import UnsupportedError
from services.risk.conditions.vectors import BoolArray
from services.risk.conditions.vocabulary import Vocabulary

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


@dataclass(frozen=True, slots=True)
class Judged:
    """Per row whether the condition holds, and where it could not be judged (None: nowhere); `holds` is false there."""

    holds: BoolArray
    failed: BoolArray | None


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
        try:
            node = self._compiler.compile(tree)
        except UnsupportedError as error:
            raise ConditionError(str(error), *_place(text, tree, error.node_id)) from None
        spec = self._compiler.items if on_items else ROOT
        if node.spec is not None and node.spec is not spec and node.spec is not ROOT:
            raise ConditionError(
                "`item` can be used only in a condition on items; walk consignment.items by exists or all", 1, 1
            )
        return Condition(text, on_items, node, spec, parsed)

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

    def batch(self, source: Source) -> Batch:
        """Start the evaluation of a batch."""
        return Batch(source)


def _place(text: str, tree: Checked, node_id: int) -> tuple[int, int]:
    before = text[: tree.positions.get(node_id, 0)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def judge(condition: Condition, batch: Batch) -> Judged:
    """Judge a condition on every row of a batch: every consignment, or every item in the order of the items' table."""
    vec = batch.at(condition.node, condition.spec)
    failed = vec.unusable()
    holds = vec.data if failed is None else vec.data & ~failed
    if np.ndim(holds) == 0 or (failed is not None and failed.ndim == 0):
        rows = batch.rows(condition.spec)
        holds = np.broadcast_to(holds, rows)
        failed = None if failed is None else np.broadcast_to(failed, rows)
    return Judged(holds, failed)
