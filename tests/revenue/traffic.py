"""Consignments that are assessed and stored as revenue does it, with seeds; for what reads what is stored."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date

from libs.columns import Ints, Strings, Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from libs.store.database import Database
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment as ConsignmentMessage
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.assessment.batch import ActiveLaw, Batch
from services.revenue.commands.assess import Assessments
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from tests.revenue.law.batches import message_of
from tests.revenue.law.oracle_charges import Consignment, Item

CODES = ["61091000", "62063000", "85171300", "95030000", "42022100", ""]
ORIGINS = ["CN", "VN", "TR", "BD", ""]
IOSS = ["IM2760000014", "IM3720000027"]


def drawn(
    seed: int, count: int, *, day: date = date(2026, 8, 3), areas: Sequence[str] = ("DE", "FR", "NL", "AQ")
) -> list[Consignment]:
    """Draw parcels of one to five items; some by the import scheme, some dear, some to where no law is loaded."""
    rng = random.Random(seed)  # a test's draws
    found = []
    for _ in range(count):
        items = [
            Item(
                price=rng.choice([500, 1_999, 4_500, 12_000, 40_000]),
                code=rng.choice(CODES),
                origin=rng.choice(ORIGINS),
            )
            for _ in range(rng.randint(1, 5))
        ]
        schemes = [("ioss", rng.choice(IOSS))] if rng.random() < 0.6 else []
        found.append(Consignment(rng.choice(areas), day, items, schemes=schemes))
    return found


def table_of(batch: Sequence[Consignment], mrns: Sequence[str], version: int = 1) -> Table:
    """Write a batch as ingestion accepted it."""
    count = len(batch)
    table = Table.from_messages([message_of(each) for each in batch], ConsignmentColumns, ConsignmentMessage)
    return table.with_columns(
        {
            "mrn": Strings.of(list(mrns)),
            "version": Ints.constant(version, count),
            "filer": Strings.constant("shop", count),
            "accepted_at": Ints.of([day_of_date(each.accepted) * MICROS_PER_DAY for each in batch]),
        }
    )


async def store(
    database: Database, in_force: ActiveLaw, batch: Sequence[Consignment], mrns: Sequence[str], version: int = 1
) -> AssessmentColumns:
    """Have a batch assessed and kept."""
    content = table_of(batch, mrns, version).encode(ConsignmentColumns)
    table = Table.parse(ConsignmentColumns, content.SerializeToString())
    return await Assessments(database).assess(Batch(in_force, table, content))


def registered(*numbers: str, first: int = 0, last: int = 2**20) -> Register:
    """A register of import scheme numbers."""
    return Register({(1, number): (first, last) for number in numbers}) if numbers else EMPTY
