"""What the chain takes and gives, clause by clause: sizes, bytes that are no message, entries beyond their bounds, answers, refusals, spans."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from libs.server import call
from libs.server.admission.gate import Place
from libs.server.admission.overload import Overload, refused
from libs.server.call import Finding
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.telemetry import trace
from libs.telemetry.metrics import REGISTRY
from libs.telemetry.trace import Span
from luxor.clearance.v1 import clearance_pb2 as clearance
from tests.support.chains import SERVICE, Context, Log, Message, called, chain_of, echo, serve, unary
from tests.support.gates import who
from tests.support.virtual_loop import VirtualLoop, run


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


def sized(size: int) -> Any:
    """Return a message of exactly so many bytes (from 133 to 16,386)."""
    made = Message()
    made.field_violations.add(description="x" * (size - 6))
    assert made.ByteSize() == size
    return made


# ------------------------------------------------------------------------------------------------ requests


@pytest.mark.parametrize(("size", "reason"), [(4_095, ""), (4_096, ""), (4_097, "MESSAGE_TOO_LARGE")])
def test_a_request_has_as_many_bytes_as_its_limit_and_no_more(size: int, reason: str) -> None:
    seen = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current().size)
        return request

    context = Context(raw=sized(size).SerializeToString())
    assert bool(serve(look, context)) is not bool(reason)
    assert context.reason == reason
    assert seen == ([] if reason else [size])
    if reason:
        assert (context.facts()["bytes"], context.facts()["bytes_max"]) == ("4097", "4096")


def test_a_request_that_is_none_is_refused_and_counts_no_bytes(log: Log) -> None:
    for raw, reason in ((grpc.aio.EOF, "REQUEST_EMPTY"), (b"\xff\xff", "UNDECODABLE")):
        context = Context(raw=raw)
        assert serve(echo, context) == []
        assert context.reason == reason
    assert [line for line, _ in log.lines] == ["REQUEST_EMPTY", "UNDECODABLE"]


def test_bytes_of_requests_are_summed_by_method() -> None:
    async def main(_loop: VirtualLoop) -> None:
        made, name = chain_of(), f"/{SERVICE}/Summed"

        made.register(name, unary(echo), frozenset({Role.FILER}), long_poll=False)
        for size in (200, 300):
            await called(made, name, Context(raw=sized(size).SerializeToString()))
        assert REGISTRY.get_sample_value("luxor_request_bytes_total", {"method": name}) == 500

    run(main)


def test_unknown_fields_are_findings_and_the_first_is_logged_with_the_role_alone(log: Log) -> None:
    seen = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append((call.current().findings, request))
        return request

    unknown = bytes([77 << 3 & 0x7F | 0x80, 77 >> 4, 1])
    assert serve(look, Context(raw=sized(200).SerializeToString() + unknown))
    assert seen == [([Finding("", 77)], sized(200))]
    facts = {"role": "filer", "method": f"/{SERVICE}/Echo", "path": "", "field_number": 77}
    assert log.lines == [("UNKNOWN_FIELD", facts)]
    seen.clear()
    log.lines.clear()
    assert serve(look, Context(raw=sized(200).SerializeToString()))
    assert (seen[0][0], log.lines) == ([], [])


def test_an_entry_beyond_its_bounds_is_emptied_and_answered_by_itself() -> None:
    seen = list[str]()

    async def release(request: Any, _context: Any) -> Any:
        seen.extend(each.mrn for each in request.consignments)
        return clearance.ReleaseConsignmentsResponse(results=[clearance.OfficerResult() for _ in request.consignments])

    async def main(_loop: VirtualLoop) -> None:
        made, name = chain_of(), f"/{SERVICE}/Release"
        handler = unary(release, clearance.ReleaseConsignmentsRequest, clearance.ReleaseConsignmentsResponse)
        made.register(name, handler, frozenset({Role.FILER}), long_poll=False)
        for mrns, bad in ((["x" * 18, "y" * 19], [False, True]), (["x" * 18], [False])):
            seen.clear()
            request = clearance.ReleaseConsignmentsRequest()
            for mrn in mrns:
                request.consignments.add(mrn=mrn)
            (raw,) = await called(made, name, Context(raw=request.SerializeToString()))
            answer = clearance.ReleaseConsignmentsResponse.FromString(raw)
            assert [each.HasField("error") for each in answer.results] == bad
            assert seen == ["" if empty else mrn for mrn, empty in zip(mrns, bad, strict=True)]
        context = Context(raw=clearance.ReleaseConsignmentsRequest(note="x" * 3_000).SerializeToString())
        assert await called(made, name, context) == []
        assert context.reason == "NOTE_TOO_LONG"

    run(main)


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(("size", "reason"), [(8_191, ""), (8_192, ""), (8_193, "ANSWER_TOO_LARGE")])
def test_an_answer_has_twice_as_many_bytes_as_a_request_and_no_more(size: int, reason: str) -> None:
    async def much(_request: Any, _context: Any) -> Any:
        return sized(size)

    context = Context()
    found = serve(much, context)
    assert (context.reason, [len(each) for each in found]) == (reason, [] if reason else [size])
    if reason:
        assert (context.facts()["bytes"], context.facts()["bytes_max"]) == ("8193", "8192")


# ------------------------------------------------------------------------------------------------ refusals


class Unavailable(grpc.RpcError):
    """A neighbour that is not there."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "reason", "cause"),
    [
        (Refusal("RECOUNT_UNDER_WAY", path="days"), "RECOUNT_UNDER_WAY", ""),
        (Unavailable(), "NEIGHBOUR_UNAVAILABLE", "Unavailable"),
        (ValueError("secret"), "INTERNAL", None),
    ],
)
def test_a_refusal_is_logged_with_its_cause_where_that_is_another_error(
    error: Exception, reason: str, cause: str | None, log: Log
) -> None:
    async def fail(_request: Any, _context: Any) -> Any:
        raise error

    context = Context(metadata=(("x-request-id", "r-1"),))
    assert serve(fail, context) == []
    assert context.reason == reason
    (line,) = log.lines
    assert (line[0], line[1].get("cause"), line[1]["request_id"]) == (reason, cause, "r-1")
    assert ("error_id" in line[1]) is (reason == "INTERNAL")
    assert line[1].get("path", "") == ("days" if cause == "" else "")


def test_only_a_full_store_of_its_own_counts_as_the_service_s_fault() -> None:
    for refusal, counted in ((Refusal("STORE_FULL", store="risk"), 1), (Refusal("RECOUNT_UNDER_WAY"), 0)):

        async def fail(_request: Any, _context: Any, refusal: Refusal = refusal) -> Any:
            raise refusal

        before = REGISTRY.get_sample_value("luxor_calls_store_full_total") or 0.0
        assert serve(fail, Context()) == []
        assert REGISTRY.get_sample_value("luxor_calls_store_full_total") == before + counted


def test_errors_are_cut_off_from_the_frames_that_they_passed() -> None:
    errors: list[Exception] = []

    async def fail(_request: Any, _context: Any) -> Any:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                errors.append(first)
                raise ValueError("second") from first
        except ValueError as second:
            errors.append(second)
            raise RuntimeError("third")  # noqa: B904  # the second one is its context

    async def caused(_request: Any, _context: Any) -> Any:
        try:
            await fail(None, None)
        except RuntimeError as third:
            errors.append(third)
        raise OSError("fourth") from errors[-1]  # which is its cause, and no context

    context = Context()
    assert serve(caused, context) == []
    assert (context.reason, len(errors)) == ("INTERNAL", 3)
    assert [error.__traceback__ for error in errors] == [None] * 3


def test_a_call_without_room_is_refused_under_its_id_and_counted_by_its_reason(log: Log) -> None:
    def full(made: Any) -> None:
        def enter(_identity: Identity) -> None:
            raise Overload(refused("CALLER_OVER_SHARE", 20, 1))

        made.gates.calls.outside.enter = enter

    counter = {"reason": "CALLER_OVER_SHARE"}
    before = REGISTRY.get_sample_value("luxor_calls_overload_total", counter) or 0.0
    context = Context(metadata=(("x-request-id", "r-1"),))
    assert serve(echo, context, prepare=full) == []
    assert (context.code, context.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_OVER_SHARE")
    assert context.detail(error_details_pb2.RequestInfo).request_id == "r-1"
    assert context.detail(error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() > 0
    assert REGISTRY.get_sample_value("luxor_calls_overload_total", counter) == before + 1
    assert [code for _, _, code in log.observed] == ["RESOURCE_EXHAUSTED"]
    assert log.lines == []


def test_a_call_waits_for_its_place_and_then_goes_on() -> None:
    async def main(_loop: VirtualLoop) -> None:
        made = chain_of()

        made.register(f"/{SERVICE}/Echo", unary(echo), frozenset({Role.FILER}), long_poll=False)
        gate = made.gates.calls.outside
        places = list[Place]()
        while (place := gate.enter(who(f"caller-{len(places)}"))) is not None:
            gate.received(place, 0)
            places.append(place)
        pending = asyncio.ensure_future(called(made, f"/{SERVICE}/Echo", Context()))
        await asyncio.sleep(0.01)
        assert (gate.waiting, pending.done()) == (1, False)
        for place in places:
            gate.leave(place, 0.0)
        assert await pending == [b""]
        assert (gate.in_flight, gate.waiting) == (0, 0)

    run(main)


def test_a_request_that_is_slow_to_come_or_too_large_to_be_decoded_now_goes_on_when_it_may() -> None:
    async def main(_loop: VirtualLoop) -> None:
        made = chain_of()

        made.register(f"/{SERVICE}/Echo", unary(echo), frozenset({Role.FILER}), long_poll=False)

        class Slow(Context):
            async def read(self) -> Any:
                await asyncio.sleep(0.8)
                return sized(300).SerializeToString()

        gate = made.gates.calls.outside
        pending = asyncio.ensure_future(called(made, f"/{SERVICE}/Echo", Slow()))
        await asyncio.sleep(0.7)
        assert (gate.in_flight, pending.done()) == (0, False), "its place was taken away"
        assert [len(each) for each in await pending] == [300]
        assert gate.in_flight == 0

    run(main)


# ------------------------------------------------------------------------------------------------ spans


@pytest.fixture
def exported() -> Iterator[list[Span]]:
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=1.0, slow_seconds=3600.0, export=export)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def test_the_span_of_a_call_names_service_method_and_role_and_goes_on_from_the_caller_s(exported: list[Span]) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert serve(echo, Context(metadata=(("x-request-id", "r-1"), ("traceparent", header), ("other", "x"))))
    (span,) = (each for each in exported if each.name == f"{SERVICE}/Echo")
    assert (span.trace_id, span.parent_id) == (header[3:35], header[36:52])
    told = {"rpc.system": "grpc", "rpc.service": SERVICE, "rpc.method": "Echo", "luxor.caller.role": "filer"}
    assert told.items() <= span.attributes.items()


def test_the_time_of_a_slow_call_has_its_trace_though_it_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests that call every method in every role have series of their own in this process.
    monkeypatch.setattr("libs.telemetry.metrics.SERIES_MAX", sys.maxsize)
    trace.configure(ratio=0.0, slow_seconds=0.0, export=lambda _batch: None)
    try:

        async def main(_loop: VirtualLoop) -> None:
            made, name = chain_of(), f"/{SERVICE}/Slow"
            made.register(name, unary(echo), frozenset({Role.FILER}), long_poll=False)
            assert await called(made, name, Context()) == [b""]
            samples = (
                each for family in REGISTRY.collect() if family.name == "luxor_call_seconds" for each in family.samples
            )
            assert any(each.exemplar is not None for each in samples if each.labels.get("method") == name)

        run(main)
    finally:
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
