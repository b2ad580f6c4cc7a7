"""What one consignment costs ingestion before its store: columns, validation, digest, encoding, at batch 500 on one core."""

from __future__ import annotations

import figures

from libs.columns import Table, digests
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from services.ingestion.filing import validation

BATCH = 500


def main() -> None:
    """Measure each step alone."""
    given = figures.options(__doc__ or "")
    figures.machine({"batch": str(BATCH)})
    rows = next(Simulator(20_261_125, "load").batches(BATCH, size=BATCH))
    raw = SubmitConsignmentsRequest(consignments=rows).SerializeToString()
    request = SubmitConsignmentsRequest.FromString(raw)
    table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
    checked = validation.check(table)
    turns = 2 if given.quick else 20

    def micros(work: object) -> list[float]:
        def all_turns() -> None:
            for _ in range(turns):
                work()  # type: ignore[operator]

        return [seconds / turns / BATCH * 1e6 for seconds in figures.measure(all_turns, given.runs)]

    figures.figure("ingestion_parse_us", micros(lambda: SubmitConsignmentsRequest.FromString(raw)), "us")
    figures.figure(
        "ingestion_columns_us",
        micros(lambda: Table.from_messages(request.consignments, ConsignmentColumns, Consignment)),
        "us",
    )
    figures.figure("validate_us", micros(lambda: validation.check(table)), "us", target=10)
    figures.figure("ingestion_digest_us", micros(lambda: digests(checked.table)), "us")
    figures.figure(
        "ingestion_encode_us", micros(lambda: checked.table.encode(ConsignmentColumns).SerializeToString()), "us"
    )


if __name__ == "__main__":
    main()
