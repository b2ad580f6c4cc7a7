"""What officers do with consignments."""

from collections.abc import Sequence
from typing import Any

from libs.client.client import Client
from libs.client.plain import enum_names, enum_number, plain
from libs.client.problem import Fault
from luxor.clearance.v1.clearance_pb2 import ConsignmentRef, Inspection, InspectionMethod, InspectionResult, Violation


async def act(
    client: Client, verb: str, mrns: Sequence[str], *, reason: str, note: str = "", seen: int | None = None
) -> list[dict[str, Any]]:
    """Hold or release ("hold", "release") consignments by MRN, and return a plain result for each; `seen` is the version that was looked at."""
    told: list[dict[str, Any]] = []
    method = client.hold if verb == "hold" else client.release
    for start in range(0, len(mrns), 1000):
        refs = [ConsignmentRef(mrn=each, expected_version=seen) for each in mrns[start : start + 1000]]
        answer = await method(refs, reason=reason, note=note)
        told += [plain(each) for each in answer.results]
    return told


VIOLATIONS = [name.lower() for name in enum_names(Violation.DESCRIPTOR) if not name.startswith("VIOLATION_")]
"""What can be wrong with goods, as people write it."""


def inspection_of(
    mrn: str, *, method: str, result: str = "", violation: str = "", items: Sequence[str] = (), note: str = ""
) -> Inspection:
    """Make what an inspection found from words: each of `items` is NUMBER=conform or NUMBER=VIOLATION, such as "2=counterfeit".

    Raise Fault for a word that is not known.
    """
    told = Inspection(consignment=ConsignmentRef(mrn=mrn), note=note)
    told.method = _number(InspectionMethod, method, "method")
    if result:
        told.result = _number(InspectionResult, result, "result")
    if violation:
        told.violation = _number(Violation, violation, "violation")
    for place, text in enumerate(items):
        number, _, found = text.partition("=")
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            raise Fault("NUMBER_MALFORMED", f"items[{place}]", text)
        item = told.items.add(number=int(number))
        if found.lower() == "conform":
            item.result = InspectionResult.Value("INSPECTION_RESULT_CONFORM")
        else:
            item.result = InspectionResult.Value("INSPECTION_RESULT_VIOLATION")
            item.violation = _number(Violation, found, f"items[{place}]")
    return told


async def inspect(client: Client, inspections: Sequence[Inspection]) -> list[dict[str, Any]]:
    """Record inspections, and return a plain result for each."""
    told: list[dict[str, Any]] = []
    for start in range(0, len(inspections), 1000):
        answer = await client.record_inspections(inspections[start : start + 1000])
        told += [plain(each) for each in answer.results]
    return told


def _number(enum: Any, word: str, path: str) -> Any:
    return enum_number(enum.DESCRIPTOR, word.upper(), path)
