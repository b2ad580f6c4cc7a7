"""Manifests as JSON Lines: one consignment a line, as protobuf's JSON with the field names of the proto files.

64-bit numbers are strings, enums are names, times are RFC 3339, as protobuf's JSON mapping says. Beside a manifest stand
its truth (`<manifest>.truth.jsonl`, only consignments that carry a label) and its arrivals (`<manifest>.arrivals.jsonl`).
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import Message

from libs.simulator.build import SimulatedConsignment
from libs.simulator.truth import truth_path
from luxor.consignment.v1 import consignment_pb2 as pb

_PROGRESS_ROWS = 1000
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_TIMESTAMP = "google.protobuf.Timestamp"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A master document and the flight that brings it; times in microseconds since 1970-01-01 UTC."""

    master_document: str
    master_document_type: str
    conveyance: str
    departure_time: int
    arrival_time: int
    place: str
    """UN/LOCODE of the place of unloading."""
    office: str
    """Customs office of first entry."""
    filer: str
    consignments: int
    """How many consignments of the manifest travel under it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: paths, numbers, and the arrivals to announce."""

    path: str
    truth_path: str
    arrivals_path: str
    consignments: int
    labelled: int
    arrivals: tuple[Arrival, ...]


def arrivals(consignments: Iterable[SimulatedConsignment]) -> list[Arrival]:
    """Return the master documents of consignments with their flights, in order of arrival."""
    counter = _Arrivals()
    for consignment in consignments:
        counter.add(consignment)
    return counter.sorted()


def arrivals_path(manifest: Path) -> Path:
    """Return where the arrivals of a manifest are written: beside it, with `.arrivals.jsonl` added to its name."""
    return manifest.with_name(manifest.name + ".arrivals.jsonl")


def write_manifest(
    path: Path | str,
    consignments: Iterable[SimulatedConsignment],
    *,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write a manifest with its truth and arrivals beside it, streaming.

    `progress` is called with the number of consignments written since it was last called. Raises OSError where a file
    cannot be written.
    """
    target = Path(path)
    counter, encode = _Arrivals(), msgspec.json.Encoder().encode
    written = labelled = reported = 0
    with ExitStack() as files:
        manifest = files.enter_context(target.open("wb", buffering=1 << 20))
        truths = files.enter_context(truth_path(target).open("wb"))
        for consignment in consignments:
            manifest.write(to_json_line(consignment.message))
            if consignment.truth is not None:
                truths.write(encode(consignment.truth) + b"\n")
                labelled += 1
            counter.add(consignment)
            written += 1
            if progress is not None and written - reported == _PROGRESS_ROWS:
                progress(written - reported)
                reported = written
    if progress is not None and written > reported:
        progress(written - reported)
    ordered = counter.sorted()
    arrivals_path(target).write_bytes(b"".join(encode(arrival) + b"\n" for arrival in ordered))
    return Manifest(
        path=str(target),
        truth_path=str(truth_path(target)),
        arrivals_path=str(arrivals_path(target)),
        consignments=written,
        labelled=labelled,
        arrivals=tuple(ordered),
    )


def read_manifest(path: Path | str) -> Iterator[pb.Consignment]:
    """Yield the consignments of a manifest. Raises ValueError, naming the line, where one is no consignment."""
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Parse(line, pb.Consignment())
            except ParseError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def read_arrivals(path: Path | str) -> list[Arrival]:
    """Return the arrivals of a file that write_manifest wrote."""
    decoder = msgspec.json.Decoder(Arrival)
    with Path(path).open("rb") as lines:
        return [decoder.decode(line) for line in lines]


def to_json_line(message: Message) -> bytes:
    """Return a message as one line of JSON, as json_format.MessageToJson with the proto's field names has it, only faster."""
    return msgspec.json.encode(_to_dict(message)) + b"\n"


class _Arrivals:
    """Collects master documents; one small entry each, however many consignments there are."""

    def __init__(self) -> None:
        self._first: dict[str, SimulatedConsignment] = {}
        self._counts: dict[str, int] = {}

    def add(self, consignment: SimulatedConsignment) -> None:
        number = consignment.message.master_document.number
        if number in self._counts:
            self._counts[number] += 1
        else:
            self._counts[number] = 1
            self._first[number] = consignment

    def sorted(self) -> list[Arrival]:
        found = [self._arrival(number, self._counts[number]) for number in self._first]
        return sorted(found, key=lambda arrival: (arrival.arrival_time, arrival.master_document))

    def _arrival(self, number: str, count: int) -> Arrival:
        consignment = self._first[number]
        transport = consignment.message.transport
        return Arrival(
            master_document=number,
            master_document_type=consignment.message.master_document.type,
            conveyance=transport.conveyance_reference,
            departure_time=transport.departure_time.ToMicroseconds(),
            arrival_time=transport.arrival_time.ToMicroseconds(),
            place=transport.unloading_place,
            office=transport.first_entry_office,
            filer=consignment.filer,
            consignments=count,
        )


@cache
def _converter(field: FieldDescriptor) -> Callable[[Any], Any] | None:
    """Return what turns one value of a field into JSON, None where it is JSON already."""
    if field.cpp_type in _LONG:
        return str
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, number)
    if field.message_type is not None:
        return _to_timestamp if field.message_type.full_name == _TIMESTAMP else _to_dict
    return None


def _to_dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        convert = _converter(field)
        if field.is_repeated:
            found[field.name] = list(value) if convert is None else [convert(element) for element in value]
        else:
            found[field.name] = value if convert is None else convert(value)
    return found


def _to_timestamp(time: Any) -> str:
    moment = dt.datetime.fromtimestamp(time.seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if not time.nanos:
        return f"{moment}Z"
    micros, rest = divmod(time.nanos, 1000)
    fraction = f"{time.nanos:09d}" if rest else f"{micros:06d}"
    return f"{moment}.{fraction[:3] if fraction[3:] == '000' else fraction}Z"
