"""What is told of a model without reading its file: the same facts, small."""

from __future__ import annotations

import msgspec

from services.risk.learning.features.sample import ColumnType
from services.risk.learning.model.model_file import Model, Window


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The facts of a model file that people ask for."""

    label: str
    window: Window
    metrics: dict[str, float | None]
    columns: dict[str, ColumnType]
    trees: int
    bytes: int


def summary_of(model: Model, size: int) -> Summary:
    """The summary of a model whose file has `size` bytes."""
    content = model.content
    return Summary(
        label=content.label,
        window=content.window,
        metrics=content.metrics,
        columns=content.columns,
        trees=model.forest.trees,
        bytes=size,
    )


def write_summary(summary: Summary) -> bytes:
    """The summary as it is stored."""
    return msgspec.json.encode(summary, order="deterministic")


def read_summary(content: bytes) -> Summary:
    """The stored summary; raises msgspec.MsgspecError for anything else."""
    return msgspec.json.decode(content, type=Summary)
