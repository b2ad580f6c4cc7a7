"""What a part of a condition is while it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.risk.conditions.cel.messages import Shape
from services.risk.conditions.evaluation.frames import Node, Spec


@dataclass(frozen=True)
class Row:
    """A consignment, an item or a row of another child table, of the frame `spec`."""

    spec: Spec
    path: str
    shape: Shape


@dataclass(frozen=True)
class ChildTable:
    """A child table of a row, that a macro can walk."""

    segments: Node
    path: str
    shape: Shape


@dataclass(frozen=True)
class Constants:
    """A list of constants or a table of the profile's data."""

    values: tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Filtered:
    """What `filter` gave; only its size can be asked for."""

    inner: Spec
    body: Node


Value = Node | Row | ChildTable | Constants | Filtered
#: What each variable in reach is.
Scope = dict[str, Value]
