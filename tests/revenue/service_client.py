"""Requests that tests send to revenue, and what it refuses them with."""

from collections.abc import Awaitable, Sequence
from datetime import date

import grpc
import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import MICROS_PER_DAY, day_of_date
from libs.server import errors
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment as ConsignmentMessage
from luxor.revenue.v1 import revenue_pb2 as pb
from tests.revenue.law.batches import message_of
from tests.revenue.law.oracle_charges import Consignment, Item

DAY = day_of_date(date(2026, 8, 3))
FLAT = [Consignment("DE", date(2026, 8, 3), [Item(5_000, code="620630")], schemes=[("ioss", "IM2760000014")])]


def accepted(batch: Sequence[Consignment], *, first: int = 0, version: int = 1) -> pb.AssessConsignmentsRequest:
    """Write a batch as ingestion accepted it; MRNs count from `first`."""
    table = Table.from_messages([message_of(each) for each in batch], ConsignmentColumns, ConsignmentMessage)
    count = len(batch)
    mrns = [make_mrns(["DE"], [3], DAY, first + place)[0] for place in range(count)]
    known = table.with_columns(
        {
            "mrn": Strings.of(mrns),
            "version": Ints.constant(version, count),
            "filer": Strings.constant("shop", count),
            "accepted_at": Ints.constant(DAY * MICROS_PER_DAY, count),
        }
    )
    return pb.AssessConsignmentsRequest(purpose=pb.PURPOSE_CLEARANCE, consignments=known.encode(ConsignmentColumns))


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return errors.reason_of(error.value), str(error.value.details())
