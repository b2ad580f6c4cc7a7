"""Finds consignments by whatever reference a person has."""

from collections.abc import Sequence
from typing import Any

from libs.client.client import Client
from libs.client.plain import plain
from libs.customs.identifiers import mrn
from luxor.clearance.v1.clearance_pb2 import StatusQuery


async def find(
    client: Client, references: Sequence[str], *, filer: str, limit: int = 20, history: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """Return what is known by reference, each tried as MRN, local reference of `filer`, house and master document.

    A client of a filer names no `filer`: its own are meant. Raise LuxorError where the call fails.
    """
    queries: list[StatusQuery] = []
    owners: list[str] = []
    for reference in references:
        for query in _queries(reference, filer, limit):
            queries.append(query)
            owners.append(reference)
    found: dict[str, list[dict[str, Any]]] = {reference: [] for reference in references}
    expected_version: set[tuple[str, str]] = set()
    for start in range(0, len(queries), 100):
        answer = await client.status(queries[start : start + 100], with_history=history)
        for owner, result in zip(owners[start : start + 100], answer.results, strict=True):
            for each in result.consignments:
                if (owner, each.mrn) not in expected_version:
                    expected_version.add((owner, each.mrn))
                    found[owner].append(plain(each))
    return found


def _queries(reference: str, filer: str, limit: int) -> list[StatusQuery]:
    if mrn.is_valid(reference):
        return [StatusQuery(mrn=reference)]
    queries = [
        StatusQuery(house_document_number=reference, page_size=limit),
        StatusQuery(master_document_number=reference, page_size=limit),
    ]
    if len(reference) <= 22:
        queries.insert(0, StatusQuery(local_reference=reference, filer=filer))
    return queries
