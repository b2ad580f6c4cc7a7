"""Files a whole stream of consignments in batches, several in flight, with memory that does not grow with it."""

import asyncio
import csv
import hashlib
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TextIO, TypeAlias

from libs.client.errors import LuxorError
from libs.client.filing.files import Read
from libs.client.row_errors import RowError
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2

BATCH_ROWS: Final = 500
IN_FLIGHT: Final = 4
BATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest size of a batch in bytes, well below what ingestion accepts."""
PATIENCE_SECONDS: Final = 120.0
"""Seconds for which a batch is sent again while ingestion is absent."""
_ACCEPTED: Final = ingestion_pb2.SUBMISSION_STATUS_ACCEPTED
_ERROR: Final = 1
_NAMESPACE: Final = uuid.UUID("6f4b5d1e-6f0a-5b0e-9d3c-5a0c1e7b9a40")


Response: TypeAlias = ingestion_pb2.SubmitConsignmentsResponse | ingestion_pb2.SubmitConsignmentColumnsResponse


class Submits(Protocol):
    """The method that files a batch, as libs.client.client.Client and libs.client.filing.packing.PackedClient have it."""

    async def submit(self, consignments: Iterable[Consignment], *, request_id: str | None = None) -> Response:
        """File a batch."""
        ...


@dataclass
class Summary:
    """The results of a stream, which grow while it is filed."""

    consignments: int = 0
    """Consignments that were read and answered so far."""
    accepted: int = 0
    refused: int = 0
    """Consignments that were refused, by this program or by ingestion."""
    warnings: int = 0
    """Warnings about the quality of accepted consignments."""
    batches: int = 0
    retries: int = 0
    """Batches that were sent again because ingestion was absent."""
    unanswered: int = 0
    """Consignments that were sent and not answered when filing stopped: it is unknown whether they were accepted."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Consignments by the first reason of their refusal."""
    warning_reasons: Counter[str] = field(default_factory=Counter)


class Report:
    """The report of refused rows, as CSV; the file is made with its first line."""

    HEADER: Final = ("line", "reference", "element", "reason", "value", "sentence", "hint")

    def __init__(self, path: Path | None) -> None:
        """Write to a path, or nothing if it is None."""
        self.path = path
        self.rows = 0
        self._file: TextIO | None = None

    def add(self, row_error: RowError) -> None:
        """Write one line, and one for each further error of the consignment; raises OSError if that fails."""
        self.rows += 1
        if self.path is not None:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(self.HEADER)
            csv.writer(self._file).writerow(row_error[: len(self.HEADER)])
        for each in row_error.further:
            self.add(each)

    def __enter__(self) -> Self:
        """Return the report."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file. If nothing was refused, a report of an earlier run is removed."""
        if self._file is not None:
            self._file.close()
        elif self.path is not None and kind is None:
            self.path.unlink(missing_ok=True)


Accepted = Callable[[Read, ingestion_pb2.Receipt], None]


async def file_all(
    client: Submits,
    source: Iterable[Read | RowError],
    *,
    batch_rows: int = BATCH_ROWS,
    in_flight: int = IN_FLIGHT,
    patience_seconds: float = PATIENCE_SECONDS,
    report: Callable[[RowError], None] = lambda _problem: None,
    warn: Callable[[RowError], None] = lambda _problem: None,
    progress: Callable[[Summary], None] = lambda _summary: None,
    accepted: Accepted = lambda _read, _receipt: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    summary: Summary | None = None,
) -> Summary:
    """File a stream and return the results; raise LuxorError if a batch as a whole cannot be filed.

    A given `summary` is filled, so that it shows the progress if filing is stopped. Answers are processed in the order of the
    batches. The request_id of a batch is made from its content and place, so filing the same stream again returns the same
    answers. `report` gets each error, `warn` each warning.
    """
    summary = summary or Summary()
    waiting: list[asyncio.Task[Response]] = []
    batches: list[list[Read]] = []

    def repeated() -> None:
        summary.retries += 1

    async def take() -> None:
        # The task stays in the set until it has ended, so that an interruption here cancels it below.
        response = await waiting[0]
        waiting.pop(0)
        _take(batches.pop(0), response, summary, report, warn, accepted)
        progress(summary)

    try:
        for number, batch in enumerate(_batches(source, batch_rows, summary, report, warn)):
            if len(waiting) >= in_flight:
                await take()
            batches.append(batch)
            call = submit_patiently(
                client,
                [each.message for each in batch],
                request_id_of(batch, number),
                patience_seconds=patience_seconds,
                sleep=sleep,
                repeated=repeated,
            )
            waiting.append(asyncio.create_task(call))
            # Reading never waits, so let the tasks send what they have.
            await asyncio.sleep(0)
        while waiting:
            await take()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        summary.unanswered = sum(map(len, batches))
    progress(summary)
    return summary


def request_id_of(batch: list[Read], number: int) -> str:
    """Return the request_id of a batch: always the same for the same content at the same place of a stream."""
    digest = hashlib.sha256(str(number).encode())
    for each in batch:
        content = each.message.SerializeToString(deterministic=True)
        digest.update(len(content).to_bytes(4, "big") + content)
    return str(uuid.uuid5(_NAMESPACE, digest.hexdigest()))


def _batches(
    source: Iterable[Read | RowError],
    rows: int,
    summary: Summary,
    report: Callable[[RowError], None],
    warn: Callable[[RowError], None],
) -> Iterator[list[Read]]:
    batch: list[Read] = []
    size = 0
    for each in source:
        if isinstance(each, RowError):
            summary.consignments += 1
            summary.refused += 1
            summary.reasons[each.reason] += 1
            report(each)
            continue
        for note in each.notes:
            summary.warnings += 1
            summary.warning_reasons[note.reason] += 1
            warn(note)
        own = each.message.ByteSize()
        if batch and (len(batch) >= rows or size + own > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += own
    if batch:
        yield batch


async def submit_patiently(
    client: Submits,
    consignments: Sequence[Consignment],
    request_id: str,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    repeated: Callable[[], None] = lambda: None,
) -> Response:
    """File one batch; repeat it with the same request_id while ingestion is absent or asks to wait. Raises LuxorError."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience_seconds
    wait = 0.2
    while True:
        try:
            return await client.submit(consignments, request_id=request_id)
        except LuxorError as error:
            again = error.unreachable or error.code in ("RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
            pause = max(wait, error.retry_after_seconds or 0.0)
            if not again or error.reason == "TLS_REFUSED" or clock() + pause > deadline:
                raise
        repeated()
        await sleep(pause)
        wait = min(wait * 2, 5.0)


def _take(
    batch: list[Read],
    response: Response,
    summary: Summary,
    report: Callable[[RowError], None],
    warn: Callable[[RowError], None],
    accepted: Accepted,
) -> None:
    summary.batches += 1
    for each, result in zip(batch, response.results, strict=True):
        summary.consignments += 1
        good = result.status == _ACCEPTED
        if good:
            summary.accepted += 1
            accepted(each, result.receipt)
        else:
            summary.refused += 1
        first = True
        for error in result.errors:
            row_error = each.row_error(error.reason, error.path, error.value, error.message, error.hint)
            if good or error.severity != _ERROR:
                summary.warnings += 1
                summary.warning_reasons[error.reason] += 1
                warn(row_error)
                continue
            if first:
                summary.reasons[error.reason] += 1
                first = False
            report(row_error)
