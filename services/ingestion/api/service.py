"""The gRPC service of ingestion: checks a request, calls the command and returns its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc.aio

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.customs.partitions import partitions_of
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role
from libs.server.requests import check_request_id
from libs.store.tables.requests import RequestReused
from libs.telemetry import counter
from libs.telemetry.trace import note
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceServicer
from services.ingestion import metrics
from services.ingestion.api import checks, messages
from services.ingestion.commands.submit import Submit
from services.ingestion.filing import column_reader
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.filings import Store, StoredReceipt
from services.ingestion.store.scorecards import Scorecards

BATCH_MAX = 1000
ITEMS_MAX = 10_000
"""Maximum number of items of all consignments of a batch; it limits every message that follows from the batch."""

_consignments = counter("luxor_ingestion_consignments_total", "Consignments by result", ("outcome",))


class IngestionService(IngestionServiceServicer):
    """Accepts filings and returns receipts."""

    def __init__(self, store: Store, submit: Submit, neighbours: checks.Neighbours, message_bytes_max: int) -> None:
        """Read from a store; `submit` takes filings in; columns have at most `message_bytes_max` bytes as messages.

        `neighbours` are asked for checks alone.
        """
        self._neighbours = neighbours
        self._store = store
        self._amendments = Amendments(store)
        self._scorecards = Scorecards(store.database)
        self._submit = submit
        self._message_bytes_max = message_bytes_max

    async def SubmitConsignments(
        self, request: pb.SubmitConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SubmitConsignmentsResponse:
        """File a batch: check it, accept the valid consignments in one transaction, and return a result for each."""
        _check_size(len(request.consignments))
        check_request_id(request.request_id)
        _check_items(sum(len(each.items) for each in request.consignments))
        table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
        return await self._file(request.request_id, table, pb.SubmitConsignmentsResponse)

    async def SubmitConsignmentColumns(
        self, request: pb.SubmitConsignmentColumnsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SubmitConsignmentColumnsResponse:
        """File a batch that the filer packed as columns, with the same checks and the same answer."""
        columns = request.consignments
        _check_size(columns.rows)
        check_request_id(request.request_id)
        for finding in call.current().findings:
            # A column that is not read would be missing in every row.
            raise Refusal("COLUMN_FIELD_UNKNOWN", path=finding.path or "request", field_number=finding.field_number)
        _check_items(columns.items.offsets[-1] if columns.items.offsets else 0)
        try:
            table = column_reader.read(columns, self._message_bytes_max)
        except column_reader.ColumnError as error:
            raise Refusal(error.reason, path=error.path, value=error.value, **error.facts) from None
        return await self._file(request.request_id, table, pb.SubmitConsignmentColumnsResponse)

    async def _file(self, request_id: str, table: Table, response_class: type[messages.R]) -> messages.R:
        current = call.current()
        note(**{"luxor.rows": table.rows})
        try:
            submitted = await self._submit.run(
                current.identity.id,
                request_id,
                table,
                trace=current.trace,
                request_bytes=current.size,
                encode=lambda each: messages.answer(each, response_class).SerializeToString(),
            )
        except RequestReused:
            raise Refusal("REQUEST_REUSED", path="request_id", value=request_id) from None
        if submitted.answer:
            response = response_class.FromString(submitted.answer)
        else:
            response = messages.answer(submitted, response_class)
        if not submitted.is_repeated:
            _count(response, submitted.accepted)
            metrics.late.inc(submitted.late)
        return response

    async def CheckConsignments(
        self, request: pb.CheckConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckConsignmentsResponse:
        """Return what filing a batch would answer, its quality, the controls of its goods and its landed cost; nothing is stored."""
        if len(request.consignments) > checks.BATCH_MAX:
            raise Refusal("BATCH_TOO_LARGE", count=len(request.consignments), count_max=checks.BATCH_MAX)
        _check_size(len(request.consignments))
        items = sum(len(each.items) for each in request.consignments)
        if items > checks.ITEMS_MAX:
            raise Refusal("BATCH_ITEMS_TOO_MANY", path="consignments", count=items, count_max=checks.ITEMS_MAX)
        table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
        submitted = await self._submit.preview(call.current().identity.id, table)
        now = self._submit.now()
        response = checks.answer(submitted, now)
        await self._neighbours.add(request.consignments, now, response)
        return response

    async def GetReceipts(
        self, request: pb.GetReceiptsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetReceiptsResponse:
        """Return receipts; a filer sees only its own, and by MRN those of filings that are entrusted to it."""
        _check_size(len(request.keys))
        identity = call.current().identity
        results = [pb.ReceiptResult() for _ in request.keys]
        by_mrn: list[int] = []
        by_reference: list[int] = []
        for place, key in enumerate(request.keys):
            kind = key.WhichOneof("key")
            if kind == "local_reference":
                by_reference.append(place)
            elif kind is None:
                results[place].error.CopyFrom(item_error("RECEIPT_KEY_MISSING", f"keys[{place}]"))
            elif not mrn.is_valid(key.mrn):
                results[place].error.CopyFrom(item_error("MRN_MALFORMED", f"keys[{place}].mrn", key.mrn))
            else:
                by_mrn.append(place)
        found: dict[int, StoredReceipt | None] = {}
        own_mrns = [place for place in by_mrn if _is_own_mrn(request.keys[place].mrn)]
        if own_mrns:
            numbers = [request.keys[place].mrn for place in own_mrns]
            filer = identity.id if identity.role is Role.FILER else None
            found.update(zip(own_mrns, await self._store.by_mrn(numbers, filer), strict=True))
        if by_reference:
            names = [request.keys[place].local_reference for place in by_reference]
            rows = await self._store.by_reference(identity.id, names, partitions_of(identity.id, names))
            found.update(zip(by_reference, rows, strict=True))
        newest = await self._newest(found)
        known = {place: receipt for place, receipt in found.items() if receipt is not None}
        keys = [(receipt.mrn, newest[place][0] if place in newest else 1) for place, receipt in known.items()]
        quality = dict(zip(known, await self._scorecards.qualities(keys), strict=True)) if known else {}
        for place in (*by_mrn, *by_reference):
            receipt = found.get(place)
            if receipt is not None:
                version, accepted_at, changed_by = newest.get(place, (1, receipt.accepted_at, ""))
                messages.set_receipt(results[place].receipt, receipt.mrn, receipt.local_reference, accepted_at, version)
                results[place].receipt.changed_by = changed_by
                messages.set_quality(results[place].receipt, quality[place])
            else:
                key = request.keys[place]
                kind = key.WhichOneof("key")
                path = f"keys[{place}].{kind}"
                results[place].error.CopyFrom(item_error("RECEIPT_UNKNOWN", path, key.mrn or key.local_reference))
        return pb.GetReceiptsResponse(results=results)

    async def _newest(self, stored: Mapping[int, StoredReceipt | None]) -> dict[int, tuple[int, int, str]]:
        """Return the newest version of each filing that was amended, when it was accepted, and who filed it if not its own filer."""
        receipts = {place: receipt for place, receipt in stored.items() if receipt is not None}
        if not receipts:
            return {}
        versions = await self._amendments.versions([(receipt.mrn, 0) for receipt in receipts.values()])
        pairs = zip(receipts, versions, strict=True)
        return {place: (some[-1].version, some[-1].accepted_at, some[-1].changed_by) for place, some in pairs if some}


def _count(response: messages.Response, accepted: int) -> None:
    refused = sum(each.status == pb.SUBMISSION_STATUS_REFUSED for each in response.results)
    _consignments.labels("accepted").inc(accepted)
    _consignments.labels("refused").inc(refused)
    _consignments.labels("repeated").inc(len(response.results) - accepted - refused)


def _check_size(count: int) -> None:
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=BATCH_MAX)
    if count > BATCH_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=BATCH_MAX)


def _check_items(count: int) -> None:
    if count > ITEMS_MAX:
        raise Refusal("BATCH_ITEMS_TOO_MANY", path="consignments", count=count, count_max=ITEMS_MAX)


def _is_own_mrn(number: str) -> bool:
    try:
        mrn.parse(number)
    except mrn.MrnError:
        return False
    return True
