"""What one consignment costs ingestion before its store: columns, validation, digests, encoding, at batch 500 on one core.

Up to its columns it comes as messages (ingestion_rows_us) or as columns that the filer packed (ingestion_packed_us).
"""

from __future__ import annotations

import figures

from libs.client.filing.packing import pack
from libs.columns import Table, digests, table_digest
from libs.customs.time import MICROS_PER_DAY
from libs.server.interceptor.findings import drop_unknown
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentColumnsRequest, SubmitConsignmentsRequest
from services.ingestion.filing import check_rules, column_reader, validation
from services.ingestion.schemes.register import OPEN_END, SchemeNumber, SchemeRegister

BATCH = 500
DAY = 20_782
"""2026-11-25, the day of the traffic."""
BYTES_MAX = 8 * 1024 * 1024


def main() -> None:
    """Measure each step alone."""
    given = figures.options(__doc__ or "")
    figures.machine({"batch": str(BATCH)})
    rows = next(Simulator(20_261_125, "load").batches(BATCH, size=BATCH))
    raw = SubmitConsignmentsRequest(consignments=rows).SerializeToString()
    request = SubmitConsignmentsRequest.FromString(raw)
    table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
    checked = validation.check(table)
    packed = SubmitConsignmentColumnsRequest(consignments=pack(rows)).SerializeToString()
    rules = check_rules.included()
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

    def of_messages() -> None:
        received = SubmitConsignmentsRequest.FromString(raw)
        drop_unknown(received, raw)
        Table.from_messages(received.consignments, ConsignmentColumns, Consignment)

    def of_columns() -> None:
        received = SubmitConsignmentColumnsRequest.FromString(packed)
        drop_unknown(received, packed)
        column_reader.read(received.consignments, BYTES_MAX)

    figures.figure("ingestion_rows_us", micros(of_messages), "us", bytes=round(len(raw) / BATCH))
    figures.figure("ingestion_packed_us", micros(of_columns), "us", bytes=round(len(packed) / BATCH))
    now = DAY * MICROS_PER_DAY
    references = table.child("fiscal_references")
    pairs = dict.fromkeys(zip(references.ints("scheme").tolist(), references.strings("number").tolist(), strict=True))
    # As where numbers are registered: nearly each number of the traffic is.
    schemes = SchemeRegister(SchemeNumber(scheme or 0, number, 0, OPEN_END) for scheme, number in list(pairs)[1:])

    def check() -> None:
        validation.check(table, rules=rules, day=DAY, now=now, schemes=schemes)

    figures.figure("validate_us", micros(check), "us", target=10)
    figures.figure("ingestion_digest_us", micros(lambda: table_digest(checked.table)), "us", of="the request")
    figures.figure("ingestion_row_digests_us", micros(lambda: digests(checked.table)), "us", of="consignments compared")
    figures.figure("ingestion_encode_us", micros(lambda: checked.table.serialize(ConsignmentColumns)), "us")


if __name__ == "__main__":
    main()
