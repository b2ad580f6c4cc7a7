"""The consignments that a request names by MRN or house document."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libs.customs.identifiers import mrn as mrns
from libs.server.errors import item_error
from libs.server.identity import Identity
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.queries import Inquiry, Query
from services.clearance.api.requests import DOCUMENT_CHARACTERS_MAX
from services.clearance.commands.visibility import Viewer
from services.clearance.consignment.transitions import FINAL
from services.clearance.store import Store

_HOUSE_PAGES: Final = (10, 100)
"""Consignments of one house document that are read first, and in each look after it: all but one have ended if it was used again."""
_HOUSE_ROWS_MAX: Final = 20_000
"""Consignments of all house documents of a request that are read at most, beyond its last look."""


class NamedGoods:
    """Finds the consignments that requests name."""

    def __init__(self, store: Store) -> None:
        """Read a store."""
        self._store = store
        self._inquiry = Inquiry(store)

    async def named(self, goods: Sequence[pb.GoodsRef], identity: Identity) -> list[tuple[str, int | None] | ItemError]:
        """Return the MRN of each consignment with the version that the caller saw, or why it is not known by its reference."""
        houses = {each.house_document_number for each in goods if each.WhichOneof("reference") != "mrn"} - {""}
        readable = sorted(each for each in houses if requests.is_document(each))
        matches = await self._under_houses(readable, Viewer(self._store, identity))
        found: list[tuple[str, int | None] | ItemError] = []
        seen: set[str] = set()
        for place, each in enumerate(goods):
            path = f"consignments[{place}]"
            number = each.mrn
            if each.WhichOneof("reference") == "house_document_number":
                house, path = each.house_document_number, f"{path}.house_document_number"
                if house not in matches:
                    limit = DOCUMENT_CHARACTERS_MAX
                    found.append(item_error("REFERENCE_MALFORMED", path, house, characters_max=limit))
                    continue
                if len(matches[house]) != 1:
                    reason = "REFERENCE_AMBIGUOUS" if matches[house] else "CONSIGNMENT_UNKNOWN"
                    found.append(item_error(reason, path, house))
                    continue
                (number,) = matches[house]
            elif each.WhichOneof("reference") is None:
                found.append(item_error("QUERY_MALFORMED", path))
                continue
            ref = clearance_pb2.ConsignmentRef(mrn=number)
            _, errors = requests.refs([ref], f"{path}.mrn" if number == each.mrn else path)
            if number in seen and mrns.is_valid(number):
                errors[0] = item_error("CONSIGNMENT_REPEATED", path, number)
            seen.add(number)
            version = each.expected_version if each.HasField("expected_version") else None
            found.append(errors.get(0) or (number, version))
        return found

    async def _under_houses(self, houses: Sequence[str], viewer: Viewer) -> dict[str, list[str]]:
        """Return under each house document the open consignments, or else the last one that ended; several where not all could be read."""
        found: dict[str, list[str]] = {each: [] for each in houses}
        ended: dict[str, list[str]] = {each: [] for each in houses}
        queries, rows_read = [Query("house_document_number", each, limit=_HOUSE_PAGES[0]) for each in houses], 0
        while queries and rows_read <= _HOUSE_ROWS_MAX:
            matches = await self._inquiry.find(queries, viewer)
            async with self._store.database.connection() as reading:
                rows = await self._inquiry.rows(reading, matches)
            rows_read += sum(query.limit for query in queries)
            following = []
            for query, match in zip(queries, matches, strict=True):
                under = [mrn for mrn in match.mrns if mrn in rows]
                # A house document whose declaration ended is often filed again.
                found[query.value] += [mrn for mrn in under if rows[mrn].state not in FINAL]
                ended[query.value] = under[-1:] or ended[query.value]
                if match.following and len(found[query.value]) < 2:
                    following.append(replace(query, limit=_HOUSE_PAGES[1], after=match.following))
            queries = following
        for query in queries:
            found[query.value] = ["", ""]
        return {each: open_ones or ended[each] for each, open_ones in found.items()}
