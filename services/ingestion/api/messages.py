"""The responses of IngestionService."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias, TypeVar

from libs.server import call
from libs.server.errors import WARNING, item_error
from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import ingestion_pb2 as pb
from services.ingestion.commands.submitted import Submitted
from services.ingestion.filing.findings import ERRORS_MAX, ElementError
from services.ingestion.quality.scores import NOT_JUDGED, Array, Term

Response: TypeAlias = pb.SubmitConsignmentsResponse | pb.SubmitConsignmentColumnsResponse
R = TypeVar("R", pb.SubmitConsignmentsResponse, pb.SubmitConsignmentColumnsResponse)


def answer(submitted: Submitted, response_class: type[R]) -> R:
    """Return the result of each consignment of a batch; both classes are the same on the wire."""
    response = response_class()
    _fill(submitted, response)
    return response


def _fill(submitted: Submitted, response: Response) -> None:
    checked, filing, taken = submitted.checked, submitted.filing, submitted.taken
    accepted_at = [] if taken is None else taken.accepted_at.tolist()
    scores = submitted.scores()
    common: dict[tuple[int, tuple[int, ...] | None], pb.SubmissionResult] = {}
    for row in range(checked.table.rows):
        result = response.results.add()
        errors = checked.errors.get(row, ())
        place = submitted.places.get(row)
        if submitted.amended is not None and row in submitted.amended.outcomes:
            error = submitted.amended.error(row)
            if error is not None:
                result.status = pb.SUBMISSION_STATUS_REFUSED
                result.errors.append(_item_error(error))
            else:
                result.status = pb.SUBMISSION_STATUS_ACCEPTED
                receipt = submitted.amended.receipt(row)
                set_receipt(result.receipt, receipt.mrn, receipt.local_reference, receipt.accepted_at, receipt.version)
                result.receipt.changed_by = receipt.changed_by
                set_quality(result.receipt, receipt.quality)
        elif place is not None:
            assert filing is not None
            assert taken is not None
            reference = filing.references[place]
            if submitted.is_reused(row):
                result.status = pb.SUBMISSION_STATUS_REFUSED
                path = f"consignments[{row}].local_reference"
                result.errors.append(item_error("REFERENCE_REUSED", path, reference, mrn=taken.mrns[place]))
            else:
                # Nearly all receipts of a batch differ in these two elements alone.
                result.CopyFrom(_accepted(accepted_at[place], scores[place], common))
                result.receipt.mrn, result.receipt.local_reference = taken.mrns[place], reference
        else:
            result.status = pb.SUBMISSION_STATUS_REFUSED
        if errors:
            described = errors[: ERRORS_MAX - len(result.errors)]
            result.errors.extend(map(_item_error, described))
            result.errors_left_out = len(errors) - len(described) + checked.left_out.get(row, 0)
    for finding in call.current().findings:
        _note_unknown_field(response, finding)


def _accepted(
    accepted_at: int, scores: list[int] | None, common: dict[tuple[int, tuple[int, ...] | None], pb.SubmissionResult]
) -> pb.SubmissionResult:
    """Return the result of a new filing without its MRN and reference; `common` has those of the batch that were made."""
    key = accepted_at, None if scores is None else tuple(scores)
    result = common.get(key)
    if result is None:
        result = common[key] = pb.SubmissionResult(status=pb.SUBMISSION_STATUS_ACCEPTED)
        set_receipt(result.receipt, "", "", accepted_at)
        if scores is not None:
            result.receipt.quality.CopyFrom(_quality(*scores))
    return result


def _item_error(error: ElementError) -> errors_pb2.ItemError:
    return item_error_of(error, error.path)


def item_error_of(error: ElementError, path: str) -> errors_pb2.ItemError:
    """Return the message of an error or a warning, at a path."""
    severity = WARNING if error.warns else errors_pb2.SEVERITY_ERROR
    return item_error(error.reason, path, error.value, severity, **error.facts)


def _note_unknown_field(response: Response, finding: call.Finding) -> None:
    """Add a warning about an unknown field to its consignment, which is accepted: otherwise each roll-out would break clients."""
    head, _, _ = finding.path.partition("]")
    place = head.removeprefix("consignments[")
    row = int(place) if head.startswith("consignments[") and place.isdigit() else 0
    result = response.results[row]
    if len(result.errors) < ERRORS_MAX:
        result.errors.append(item_error("UNKNOWN_FIELD", finding.path, "", WARNING, field_number=finding.field_number))
    else:
        result.errors_left_out += 1


def set_receipt(receipt: pb.Receipt, number: str, reference: str, accepted_at: int, version: int = 1) -> None:
    """Fill a receipt; `accepted_at` in microseconds since 1970-01-01 UTC."""
    receipt.mrn, receipt.version, receipt.local_reference = number, version, reference
    receipt.accepted_at.seconds, micros = divmod(accepted_at, 1_000_000)
    receipt.accepted_at.nanos = micros * 1000


def set_quality(receipt: pb.Receipt, quality: Array | None) -> None:
    """Fill in the quality of a version, shape (1,), if there is one."""
    if quality is not None:
        receipt.quality.CopyFrom(_quality(*quality["scores"][0].tolist()))


@lru_cache(maxsize=1024)
def _quality(*scores: int) -> pb.Quality:
    """Return the message of scores in the order of the terms; filings have the same few."""
    judged = [score for score in scores if score != NOT_JUDGED]
    message = pb.Quality(score=sum(judged) // len(judged))
    for term, score in zip(Term, scores, strict=True):
        if score != NOT_JUDGED:
            setattr(message, term.name.lower(), score)
    return message
