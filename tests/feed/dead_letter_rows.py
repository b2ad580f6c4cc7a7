"""Dead letters that tests lay out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from libs.feed.dead_letters.letters import Letter, Letters
from libs.feed.types import Cursor, FeedBatch
from libs.store.database import Database
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import table_of

SCHEMA = ConsignmentColumns.DESCRIPTOR.full_name
AT = Cursor(5, 6, 7, 8)


def letter(key: str = "m", partition: int = 3, version: int = 1, **more: Any) -> Letter:
    batch = FeedBatch(
        table_of([(key, version, partition)]), np.array([partition]), AT, np.array([9]), 55, "trace", SCHEMA, 2,
        more.pop("snapshot", False),
    )  # fmt: skip
    return Letter(
        partition, key, batch, more.pop("reason", "NO_SUCH_THING"), more.pop("message", "it names nothing"), **more
    )


def letters_of(source: str = "producer") -> Letters:
    return Letters(source, ConsignmentColumns)


async def insert(database: Database, letters: Iterable[Letter], source: str = "producer") -> None:
    async with database.transaction() as tx:
        await letters_of(source).insert(tx, list(letters))
