"""Arrivals to announce: made of master documents, or found in a manifest."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from libs.client.errors import LuxorError
from libs.client.filing.files import Read
from libs.client.filing.formats import kind_of, read
from luxor.clearance.v1.clearance_pb2 import Arrival


def arrival(master: str, *, at: int, conveyance: str = "", place: str = "") -> Arrival:
    """Return one arrival; `at` in microseconds since 1970."""
    made = Arrival(master_document_number=master, conveyance_reference=conveyance, place=place)
    made.arrived_at.FromMicroseconds(at)
    return made


def of_manifest(path: Path, *, at: int, receptacles: bool = False) -> Iterator[Arrival]:
    """Yield one arrival for each master document of a manifest, or for each receptacle; raise LuxorError for a file that cannot be used."""
    seen: set[str] = set()
    with path.open("rb") as file:
        for each in read(file, kind_of(path)):
            if not isinstance(each, Read):
                continue
            transport = each.message.transport
            for number in each.message.receptacles if receptacles else (each.message.master_document.number,):
                if number and number not in seen:
                    seen.add(number)
                    flight, place = transport.conveyance_reference, transport.unloading_place
                    yield arrival(number, at=at, conveyance=flight, place=place)
    if not seen:
        raise LuxorError.from_reason("NOTHING_FOUND", value=path.name)


def in_calls(arrivals: Iterable[Arrival], size: int = 1000) -> Iterator[list[Arrival]]:
    """Yield arrivals in lists that one call takes."""
    batch: list[Arrival] = []
    for each in arrivals:
        batch.append(each)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
