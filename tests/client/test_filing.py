"""Filing a stream: batches in order, several in flight, the same request_id for the same content, retries that keep it."""

import asyncio
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from libs.client.errors import LuxorError
from libs.client.filing.files import Read
from libs.client.filing.submission import Report, Summary, file_all, request_id_of
from libs.client.row_errors import ElementError, RowError
from libs.client.watching import file_for_many
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import ingestion_pb2 as pb


class Ingestion:
    """Answers as ingestion does, and fails when a test says so: what the real one cannot be made to do on demand."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.running = 0
        self.most_running = 0
        self.fail: list[LuxorError] = []
        self.hold: asyncio.Event | None = None
        self.cancelled = 0

    async def submit(
        self, consignments: Iterable[Consignment], *, request_id: str | None = None
    ) -> pb.SubmitConsignmentsResponse:
        batch = list(consignments)
        self.calls.append((request_id or "", [each.local_reference for each in batch]))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            # Later calls answer first.
            for _ in range(10 - len(self.calls) % 10):
                await asyncio.sleep(0)
            if self.hold is not None:
                await self.hold.wait()
            if self.fail:
                raise self.fail.pop(0)
            return pb.SubmitConsignmentsResponse(results=map(_answer, batch))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def _answer(consignment: Consignment) -> pb.SubmissionResult:
    reference = consignment.local_reference
    if reference.endswith("BAD"):
        error = errors_pb2.ItemError(
            reason="COUNTRY_UNKNOWN",
            path="consignments[0].items[0].origin_country",
            value="XX",
            message="sentence",
            hint="hint",
            severity=errors_pb2.SEVERITY_ERROR,
        )
        return pb.SubmissionResult(status=pb.SUBMISSION_STATUS_REFUSED, errors=[error])
    return pb.SubmissionResult(status=pb.SUBMISSION_STATUS_ACCEPTED, receipt=pb.Receipt(mrn=f"MRN-{reference}"))


def stream(count: int, bad: tuple[int, ...] = ()) -> Iterator[Read]:
    for number in range(count):
        yield Read(Consignment(local_reference=f"R-{number}{'-BAD' if number in bad else ''}"), number + 1, ())


def away() -> LuxorError:
    return LuxorError("SHUTTING_DOWN", "The service is stopping.", code="UNAVAILABLE")


async def no_pause(_seconds: float) -> None:
    return None


async def test_answers_are_taken_in_the_order_of_the_file_whatever_order_they_come_in() -> None:
    ingestion, taken = Ingestion(), list[str]()
    summary = await file_all(
        ingestion, stream(103), batch_rows=10, in_flight=4, accepted=lambda read, receipt: taken.append(receipt.mrn)
    )
    assert taken == [f"MRN-R-{number}" for number in range(103)]
    assert (summary.consignments, summary.accepted, summary.batches) == (103, 103, 11)
    assert [len(batch) for _, batch in ingestion.calls] == [10] * 10 + [3]
    assert 1 < ingestion.most_running <= 4


async def test_the_same_stream_again_has_the_same_request_ids_and_another_has_others() -> None:
    first, again, other = Ingestion(), Ingestion(), Ingestion()
    await file_all(first, stream(50), batch_rows=10)
    await file_all(again, stream(50), batch_rows=10)
    await file_all(other, stream(50, bad=(33,)), batch_rows=10)
    assert first.calls == again.calls
    ids = [request_id for request_id, _ in first.calls]
    assert len(set(ids)) == 5
    assert [request_id for request_id, _ in other.calls] == [*ids[:3], other.calls[3][0], ids[4]]
    assert other.calls[3][0] != ids[3]


def test_equal_batches_at_different_places_have_request_ids_of_their_own() -> None:
    batch = list(stream(3))
    assert request_id_of(batch, 0) == request_id_of(list(stream(3)), 0) != request_id_of(batch, 1)


async def test_a_batch_is_sent_again_with_its_request_id_while_ingestion_is_away() -> None:
    ingestion = Ingestion()
    ingestion.fail = [away(), away()]
    summary = await file_all(ingestion, stream(20), batch_rows=10, in_flight=1, sleep=no_pause)
    assert summary.accepted == 20
    assert summary.retries == 2
    assert len({request_id for request_id, _ in ingestion.calls}) == 2
    assert ingestion.calls[0] == ingestion.calls[1] == ingestion.calls[2]


async def test_a_batch_without_room_is_sent_again_with_its_request_id_after_the_time_that_it_was_given() -> None:
    ingestion = Ingestion()
    given = (3.5, 0.01)
    ingestion.fail = [
        LuxorError("DECISIONS_BEHIND", "busy", code="RESOURCE_EXHAUSTED", retry_after_seconds=seconds)
        for seconds in given
    ]
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    summary = await file_all(ingestion, stream(10), in_flight=1, sleep=pause)
    assert (summary.accepted, summary.retries) == (10, 2)
    assert pauses[0] == 3.5
    assert 0.01 < pauses[1] < 1, "a pause is never shorter than what a service that is away is given"
    assert len({request_id for request_id, _ in ingestion.calls}) == 1


class OfShop(NamedTuple):
    """A consignment and its filer."""

    message: Consignment
    filer: str = "shop"


async def test_batches_of_many_filers_are_sent_again_too_when_there_is_no_room() -> None:
    ingestion = Ingestion()
    ingestion.fail = [LuxorError("DECISIONS_BEHIND", "busy", code="RESOURCE_EXHAUSTED", retry_after_seconds=3.5)]
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    source = [OfShop(each.message) for each in stream(20)]
    assert await file_for_many({"shop": ingestion}, source, batch_rows=10, in_flight=1, sleep=pause) == (20, {})
    assert pauses == [3.5]
    assert ingestion.calls[0] == ingestion.calls[1] != ingestion.calls[2]
    ingestion.fail = [LuxorError("CALLER_ROLE_WRONG", "no", code="PERMISSION_DENIED")]
    with pytest.raises(LuxorError, match="CALLER_ROLE_WRONG"):
        await file_for_many({"shop": ingestion}, source, sleep=pause)


@pytest.mark.parametrize("reason", ["TLS_REFUSED", "REQUEST_REUSED"])
async def test_what_will_not_get_better_ends_the_filing_at_once(reason: str) -> None:
    ingestion = Ingestion()
    ingestion.fail = [LuxorError(reason, "no", code="UNAVAILABLE" if reason == "TLS_REFUSED" else "ALREADY_EXISTS")]
    with pytest.raises(LuxorError, match=reason):
        await file_all(ingestion, stream(5), sleep=no_pause)
    assert len(ingestion.calls) == 1


async def test_patience_ends() -> None:
    ingestion = Ingestion()
    ingestion.fail = [away() for _ in range(9)]
    with pytest.raises(LuxorError, match="SHUTTING_DOWN"):
        await file_all(ingestion, stream(5), patience_seconds=0, sleep=no_pause)


async def test_refused_rows_of_both_sides_are_reported_in_order_and_good_ones_go_through() -> None:
    problems: list[RowError] = []

    def mixed() -> Iterator[Read | RowError]:
        yield from stream(3, bad=(1,))
        yield ElementError("NUMBER_MALFORMED", "item_number", "x").at(9, "R-9")

    summary = await file_all(Ingestion(), mixed(), report=problems.append)
    assert (summary.accepted, summary.refused, summary.consignments) == (2, 2, 4)
    assert summary.reasons == {"COUNTRY_UNKNOWN": 1, "NUMBER_MALFORMED": 1}
    told = {(each.line, each.reference, each.element, each.reason) for each in problems}
    assert told == {
        (2, "R-1-BAD", "items[0].origin_country", "COUNTRY_UNKNOWN"),
        (9, "R-9", "item_number", "NUMBER_MALFORMED"),
    }


async def test_an_interruption_cancels_the_calls_in_flight() -> None:
    ingestion = Ingestion()
    ingestion.hold = asyncio.Event()
    task = asyncio.create_task(file_all(ingestion, stream(100), batch_rows=10, in_flight=3))
    for _ in range(60):
        await asyncio.sleep(0)
    assert ingestion.running == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ingestion.running == 0
    assert ingestion.cancelled == 3


async def test_only_so_many_consignments_are_read_ahead_of_the_answers() -> None:
    ingestion, read = Ingestion(), 0
    ingestion.hold = asyncio.Event()

    def counted() -> Iterator[Read]:
        nonlocal read
        for each in stream(10_000):
            read += 1
            yield each

    task = asyncio.create_task(file_all(ingestion, counted(), batch_rows=10, in_flight=3))
    for _ in range(500):
        await asyncio.sleep(0)
    assert read <= 10 * 5
    ingestion.hold.set()
    assert (await task).accepted == 10_000


async def test_progress_is_told_while_it_goes() -> None:
    seen: list[int] = []

    def progress(summary: Summary) -> None:
        seen.append(summary.consignments)

    await file_all(Ingestion(), stream(45), batch_rows=10, progress=progress)
    assert seen == [10, 20, 30, 40, 45, 45]


def test_the_report_is_a_csv_with_a_hint_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    with Report(path) as report:
        report.add(ElementError("AMOUNT_MALFORMED", "item_price", "19,99").at(7, "R-7"))
    [row] = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert (row["line"], row["reference"], row["element"], row["reason"]) == (
        "7",
        "R-7",
        "item_price",
        "AMOUNT_MALFORMED",
    )
    assert row["value"] == "19,99"
    assert row["hint"]


def test_a_report_of_an_earlier_run_goes_when_nothing_is_refused_any_more(tmp_path: Path) -> None:
    path = tmp_path / "refused.csv"
    path.write_text("old")
    with Report(path):
        pass
    assert not path.exists()


def test_notes_and_further_errors_of_a_consignment_are_reported_one_by_one(tmp_path: Path) -> None:
    note, other = (ElementError("ELEMENT_NOT_CONVERTED", f"Declaration/{name}", why="w").at(1, "R") for name in "AB")
    read = Read(Consignment(local_reference="R"), 1, (), (note, other))
    first, second = (ElementError("ELEMENT_MISSING", f"Declaration/{name}").at(1, "S") for name in "CD")
    notes: list[RowError] = []
    path = tmp_path / "refused.csv"
    with Report(path) as report:
        source: list[Read | RowError] = [read, first._replace(further=(second,))]
        summary = asyncio.run(file_all(Ingestion(), source, report=report.add, warn=notes.append, sleep=no_pause))
    assert (summary.consignments, summary.accepted, summary.refused, summary.warnings) == (2, 1, 1, 2)
    assert (notes, summary.warning_reasons) == ([note, other], {"ELEMENT_NOT_CONVERTED": 2})
    with path.open(encoding="utf-8", newline="") as opened:
        assert [each["element"] for each in csv.DictReader(opened)] == ["Declaration/C", "Declaration/D"]
