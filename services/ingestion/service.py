"""The gRPC edge of ingestion: translate, authorise, call, answer."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import grpc.aio
import numpy as np

from libs.columns import Table, digests
from libs.customs import mrn
from libs.customs.partitions import partitions_of
from libs.feed.backlog import Backlog
from libs.server import call
from libs.server.errors import WARNING, Refusal, item_error
from libs.server.identity import Role
from libs.store.requests import RequestReused
from libs.telemetry import counter
from libs.telemetry.trace import note
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceServicer
from services.ingestion import validation
from services.ingestion.store import Filing, Found, Store, Taken

BATCH_MAX = 1000
ITEMS_MAX = 10_000
"""Items of all consignments of a batch: what bounds every message that follows from it."""
REQUEST_ID_CHARACTERS_MAX = 64
ERRORS_MAX = 50
"""Errors and warnings told of one consignment."""

_consignments = counter("luxor_ingestion_consignments_total", "Consignments by what became of them", ("outcome",))


class IngestionService(IngestionServiceServicer):
    """Takes filings in and gives receipts."""

    def __init__(self, store: Store, *, shift_micros: int = 0, backlog: Backlog | None = None) -> None:
        """Serve from a store; `shift_micros` moves the time of acceptance (for tests of other days).

        `backlog` counts what is accepted.
        """
        self._store = store
        self._backlog = backlog
        self._shift_micros = shift_micros

    async def SubmitConsignments(
        self, request: pb.SubmitConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SubmitConsignmentsResponse:
        """File a batch: check it, accept what is good in one transaction, answer for each."""
        _check_size(len(request.consignments))
        _check_request_id(request.request_id)
        items = sum(len(each.items) for each in request.consignments)
        if items > ITEMS_MAX:
            raise Refusal("BATCH_ITEMS_TOO_MANY", path="consignments", count=items, count_max=ITEMS_MAX)
        current = call.current()
        filer = current.identity.id
        table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
        checked = validation.check(table)
        # The same filing in other letters is a repeat, as it was before ids were stored as filed.
        own = digests(checked.table, exclude={validation.CARRIER_ID})
        whole = sha256(b"".join(own)).digest()
        filing, repeats = _filing(filer, checked, own)
        note(**{"luxor.rows": table.rows})
        async with self._store.database.transaction() as tx:
            try:
                answer = await self._store.requests.recall(tx, filer, request.request_id, whole)
            except RequestReused:
                raise Refusal("REQUEST_REUSED", path="request_id", value=request.request_id) from None
            if answer:
                return pb.SubmitConsignmentsResponse.FromString(answer)
            taken = None
            if filing is not None:
                taken = await self._store.accept(tx, filing, trace=current.trace, shift_micros=self._shift_micros)
            response = _answer(checked, own, filing, taken, repeats)
            if answer is None:
                # What was accepted is told by its reference; a refusal could turn out otherwise later, so its answer is kept.
                refused = any(each.status != pb.SUBMISSION_STATUS_ACCEPTED for each in response.results)
                kept = response.SerializeToString() if refused else b""
                await self._store.requests.remember(tx, filer, request.request_id, whole, kept)
        accepted = 0 if taken is None else int(taken.fresh.sum())
        if taken is not None and accepted and self._backlog is not None:
            self._backlog.accepted(taken.xid, accepted, current.size)
        refused_count = sum(each.status == pb.SUBMISSION_STATUS_REFUSED for each in response.results)
        _consignments.labels("accepted").inc(accepted)
        _consignments.labels("refused").inc(refused_count)
        _consignments.labels("repeated").inc(len(response.results) - accepted - refused_count)
        return response

    async def GetReceipts(
        self, request: pb.GetReceiptsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetReceiptsResponse:
        """Give receipts again; a filer sees its own only."""
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
        found: dict[int, Found | None] = {}
        ours = [place for place in by_mrn if _is_ours(request.keys[place].mrn)]
        if ours:
            numbers = [request.keys[place].mrn for place in ours]
            found.update(zip(ours, await self._store.by_mrn(numbers), strict=True))
        if by_reference:
            names = [request.keys[place].local_reference for place in by_reference]
            rows = await self._store.by_reference(identity.id, names, partitions_of(identity.id, names))
            found.update(zip(by_reference, rows, strict=True))
        for place in (*by_mrn, *by_reference):
            receipt = found.get(place)
            if receipt is not None and (identity.role is not Role.FILER or receipt.filer == identity.id):
                _set_receipt(results[place].receipt, receipt.mrn, receipt.local_reference, receipt.accepted_at)
            else:
                key = request.keys[place]
                kind = key.WhichOneof("key")
                path = f"keys[{place}].{kind}"
                results[place].error.CopyFrom(item_error("RECEIPT_UNKNOWN", path, key.mrn or key.local_reference))
        return pb.GetReceiptsResponse(results=results)


def _check_size(count: int) -> None:
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=BATCH_MAX)
    if count > BATCH_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=BATCH_MAX)


def _check_request_id(request_id: str) -> None:
    if not request_id:
        raise Refusal("REQUEST_ID_MISSING", path="request_id")
    if len(request_id) > REQUEST_ID_CHARACTERS_MAX or not request_id.isprintable():
        raise Refusal("REQUEST_ID_MALFORMED", path="request_id", value=request_id)


def _is_ours(number: str) -> bool:
    try:
        mrn.parse(number)
    except mrn.MrnError:
        return False
    return True


def _filing(filer: str, checked: validation.Checked, own: Sequence[bytes]) -> tuple[Filing | None, dict[int, int]]:
    """Make a filing of the good rows, each reference once; `repeats` leads every good row to its place in the filing."""
    references = checked.table.strings("local_reference").tolist()
    first: dict[str, int] = {}
    repeats: dict[int, int] = {}
    rows: list[int] = []
    for row in np.flatnonzero(~checked.refused).tolist():
        place = first.setdefault(references[row], len(rows))
        if place == len(rows):
            rows.append(row)
        repeats[row] = place
    if not rows:
        return None, repeats
    names = [references[row] for row in rows]
    whole = len(rows) == checked.table.rows
    table = checked.table if whole else checked.table.take(np.asarray(rows, np.int64))
    filing = Filing(
        filer=filer,
        table=table,
        digests=[own[row] for row in rows],
        references=names,
        partitions=partitions_of(filer, names),
        countries=table.strings("destination_country").tolist(),
    )
    return filing, repeats


def _answer(
    checked: validation.Checked,
    own: Sequence[bytes],
    filing: Filing | None,
    taken: Taken | None,
    repeats: dict[int, int],
) -> pb.SubmitConsignmentsResponse:
    response = pb.SubmitConsignmentsResponse()
    for row in range(checked.table.rows):
        result = response.results.add()
        problems = checked.problems.get(row, ())
        place = repeats.get(row)
        if place is not None:
            assert filing is not None
            assert taken is not None
            reference = filing.references[place]
            if taken.conflicts[place] or own[row] != filing.digests[place]:
                result.status = pb.SUBMISSION_STATUS_REFUSED
                path = f"consignments[{row}].local_reference"
                result.errors.append(item_error("REFERENCE_REUSED", path, reference, mrn=taken.mrns[place]))
            else:
                result.status = pb.SUBMISSION_STATUS_ACCEPTED
                _set_receipt(result.receipt, taken.mrns[place], reference, int(taken.accepted_at[place]))
        else:
            result.status = pb.SUBMISSION_STATUS_REFUSED
        for problem in problems[: ERRORS_MAX - len(result.errors)]:
            result.errors.append(_told(problem))
        result.errors_left_out = max(0, len(problems) - ERRORS_MAX)
    for finding in call.current().findings:
        _note_unknown_field(response, finding)
    return response


def _told(problem: validation.Problem) -> errors_pb2.ItemError:
    severity = WARNING if problem.warns else errors_pb2.SEVERITY_ERROR
    return item_error(problem.reason, problem.path, problem.value, severity, **problem.facts)


def _note_unknown_field(response: pb.SubmitConsignmentsResponse, finding: call.Finding) -> None:
    """Tell the consignment that carries an unknown field; it is taken, or every roll-out would break its clients."""
    head, _, _ = finding.path.partition("]")
    place = head.removeprefix("consignments[")
    row = int(place) if head.startswith("consignments[") and place.isdigit() else 0
    result = response.results[row]
    if len(result.errors) < ERRORS_MAX:
        result.errors.append(item_error("UNKNOWN_FIELD", finding.path, "", WARNING, field_number=finding.field_number))
    else:
        result.errors_left_out += 1


def _set_receipt(receipt: pb.Receipt, number: str, reference: str, accepted_at: int) -> None:
    receipt.mrn, receipt.version, receipt.local_reference = number, 1, reference
    receipt.accepted_at.seconds, micros = divmod(accepted_at, 1_000_000)
    receipt.accepted_at.nanos = micros * 1000
