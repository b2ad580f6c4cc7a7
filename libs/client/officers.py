"""What officers do with consignments."""

from collections.abc import Sequence
from typing import Any

from libs.client.client import Client
from libs.client.plain import plain
from luxor.clearance.v1.clearance_pb2 import ConsignmentRef


async def act(client: Client, verb: str, mrns: Sequence[str], *, reason: str, note: str = "") -> list[dict[str, Any]]:
    """Hold or release ("hold", "release") consignments by MRN, and return a plain result for each."""
    told: list[dict[str, Any]] = []
    method = client.hold if verb == "hold" else client.release
    for start in range(0, len(mrns), 1000):
        refs = [ConsignmentRef(mrn=each) for each in mrns[start : start + 1000]]
        answer = await method(refs, reason=reason, note=note)
        told += [plain(each) for each in answer.results]
    return told
