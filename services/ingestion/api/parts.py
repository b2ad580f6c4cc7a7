"""The gRPC edge of parts of filings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
import numpy as np

from libs.columns import Table, digests
from libs.customs.codes import tidy_code
from libs.customs.identifiers import mrn
from libs.customs.time import day_of
from libs.filing_stages.law import DataSets, included
from libs.server import call
from libs.server.errors import WARNING, Refusal, item_error
from libs.server.identity import Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.errors.v1.errors_pb2 import SEVERITY_ERROR, ItemError
from luxor.ingestion.v1 import parts_pb2 as pb
from luxor.ingestion.v1.parts_pb2_grpc import PartServiceServicer
from services.ingestion.api import messages
from services.ingestion.commands.admission import FilerAdmission, NotAdmitted
from services.ingestion.commands.parts.file import FileParts, PartContent, receipt_of
from services.ingestion.commands.parts.linking import CurrentParties, LinkConsignments, Linking
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.filing.findings import ERRORS_MAX, ElementError
from services.ingestion.filing.stages import missing_roles
from services.ingestion.filing.validation import ENVELOPE, Checked, check_stated
from services.ingestion.metrics import parts as parts_counted
from services.ingestion.parts.joining import elements_beyond
from services.ingestion.parts.parties import KEY_CHARACTERS, document_key, linking_key, order_key
from services.ingestion.store.amendments import Amendments
from services.ingestion.store.filings import Store
from services.ingestion.store.parts import PartRecord, PartStore

PARTS_MAX: Final = 1_000
ITEMS_MAX: Final = 10_000
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 2_000_000
"""Bytes of a page from which on it ends."""
PARTS_AT_ONCE: Final = 50
"""Parts that are read at once: each has up to 20 consignments with as many as 50 differing values."""
ROLES: Final = {
    "FileParts": {Role.FILER},
    "LinkConsignments": {Role.FILER},
    "ListParts": {Role.FILER, Role.OFFICER},
}
"""Who may call what."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads parts."""

    is_officer: bool
    filer: str
    owner: str
    """The filer of the consignment, where it is that of the reader or entrusted to it; else ""."""

    def sees(self, stated_by: str) -> bool:
        """Return whether it may read a value that a party stated."""
        return self.is_officer or stated_by in (self.filer, self.owner)


class PartService(PartServiceServicer):
    """Accepts parts of filings and shows what became of them."""

    def __init__(
        self,
        store: Store,
        parts: PartStore,
        parties: CurrentParties,
        admission: FilerAdmission,
        linking: Linking,
        rules: CheckRules,
    ) -> None:
        """Serve from a store; `admission` admits filers, `linking` receives what is due, and `rules` have the levels of the checks."""
        self._rules = rules
        self._store = store
        self._parts = parts
        self._parties = parties
        self._admission = admission
        self._file = FileParts(parts, linking.due)
        self._link = LinkConsignments(store, parts, linking.due)
        self._amendments = Amendments(store)
        self._pages = PageTokens(store.database)
        self._data_sets = included()

    async def FileParts(
        self, request: pb.FilePartsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.FilePartsResponse:
        """File parts, once per request; each has its own result."""
        filer = call.current().identity.id
        _check_size(len(request.parts))
        check_request_id(request.request_id)
        items = sum(len(each.consignment.items) for each in request.parts)
        if items > ITEMS_MAX:
            raise Refusal("BATCH_ITEMS_TOO_MANY", path="parts", count=items, count_max=ITEMS_MAX)
        checked = check_stated(
            Table.from_messages([each.consignment for each in request.parts], ConsignmentColumns, Consignment),
            self._rules,
        )
        contents, content_digests = checked.table.to_messages(Consignment), digests(checked.table, ENVELOPE)
        refusal = await self._admission.refusal(filer)
        roles = (await self._parties.read()).roles_of(filer)
        errors: dict[int, list[ItemError]] = {}
        unknown = _unknown_fields(len(request.parts))
        accepted: dict[int, PartContent] = {}
        denials: dict[int, list[ItemError]] = {}
        for place, part in enumerate(request.parts):
            path = f"parts[{place}]"
            stated, denied = self._by_level(checked, place)
            found = [_of_part(each, path) for each in stated]
            own = _part_errors(part, path, self._data_sets)
            denials[place] = _denials(part, path, filer, roles, refusal) + [_of_part(each, path) for each in denied]
            if own or found or place in unknown:
                errors[place] = [*own, *found, *unknown.get(place, ())][:ERRORS_MAX]
            if not own and (denied or not checked.refused[place]):
                content = contents[place].SerializeToString(deterministic=True)
                role, for_filer = part.role, part.consignment_filer
                accepted[place] = PartContent(part.reference.strip(), role, _key(part), for_filer, content, content_digests[place])  # fmt: skip
        return await self._file.run(request, filer, accepted, errors, denials, _count)

    def _by_level(self, checked: Checked, place: int) -> tuple[list[ElementError], list[ElementError]]:
        """Return what is found in a part, and beside it what refuses it by levels that the administration changes, if nothing else refuses it.

        The latter refuses no part that was filed before.
        """
        found = checked.errors.get(place, [])
        refusing = [each for each in found if not each.warns]
        if place in checked.left_out or any(each.reason in self._rules.fixed for each in refusing):
            return found, []
        return [each for each in found if each.warns], refusing

    async def LinkConsignments(
        self, request: pb.LinkConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.LinkConsignmentsResponse:
        """Store linking keys of the caller's consignments, once per request; each has its own result."""
        _check_size(len(request.links))
        check_request_id(request.request_id)
        links: dict[int, tuple[str, str]] = {}
        errors: dict[int, ItemError] = {}
        for place, link in enumerate(request.links):
            if not _is_own_mrn(link.mrn):
                errors[place] = item_error("MRN_MALFORMED", f"links[{place}].mrn", link.mrn)
            elif not _is_linking_key(link.linking_key):
                errors[place] = _key_error(f"links[{place}].linking_key")
            else:
                links[place] = link.mrn, link.linking_key
        return await self._link.run(request, call.current().identity.id, links, errors)

    async def ListParts(
        self, request: pb.ListPartsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListPartsResponse:
        """Return a page of a filer's own parts, or of those of a consignment."""
        identity = call.current().identity
        is_officer = identity.role is Role.OFFICER
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (after,) = await self._pages.place(request, (0,))
        if is_officer and not request.mrn:
            raise Refusal("ELEMENT_MISSING", path="mrn")
        response, owner = pb.ListPartsResponse(), ""
        if request.mrn:
            if not _is_own_mrn(request.mrn):
                raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
            owner, consignment = await self._consignment(request.mrn, None if is_officer else identity.id)
            filer = identity.id if consignment is None else ""
            if consignment is not None:
                response.missing_roles.extend(missing_roles(consignment, 0))
        else:
            filer = identity.id
        today = day_of(await self._store.database.now())
        # What the filer of a consignment stated is its own, and so is it of who acts for it.
        reader = Reader(is_officer, identity.id, owner)
        size, place = 0, int(after)
        while True:
            some = await self._page(request.mrn, filer, place)
            for part in some:
                if len(response.parts) == limit or size > PAGE_BYTES_MAX:
                    response.next_page_token = await self._pages.token(request, place)
                    return response
                message = _part_of(part, today, reader)
                response.parts.append(message)
                size, place = size + message.ByteSize(), part.number
            if len(some) < PARTS_AT_ONCE:
                return response

    async def _page(self, number: str, filer: str, after: int) -> list[PartRecord]:
        if number:
            return await self._parts.of_consignment(number, filer, after, PARTS_AT_ONCE)
        return await self._parts.of_filer(filer, after, PARTS_AT_ONCE)

    async def _consignment(self, number: str, filer: str | None) -> tuple[str, Table | None]:
        """Return who filed a consignment, and its newest version; None where there is none that the filer may change."""
        filing = (await self._amendments.filings(filer, [(number, 1)])).get(number)
        if filing is None:
            return "", None
        newest = filing.versions[filing.current]
        return filing.filer, newest.table.take(np.array([newest.row], np.int64))


def _unknown_fields(parts: int) -> dict[int, list[ItemError]]:
    """Return warnings of fields that this release does not know, by part: a part is accepted without them."""
    found: dict[int, list[ItemError]] = {}
    for finding in call.current().findings:
        text = finding.path.partition("]")[0].removeprefix("parts[")
        place = int(text) if text.isdigit() and int(text) < parts else 0
        warning = item_error("UNKNOWN_FIELD", finding.path, "", WARNING, field_number=finding.field_number)
        found.setdefault(place, []).append(warning)
    return found


def _denials(
    part: pb.FilingPart, path: str, filer: str, roles: set[int], refusal: NotAdmitted | None
) -> list[ItemError]:
    """Return why a filer may not file a part now, which refuses no part that it filed before; `roles` are those of the filer."""
    denials = []
    if refusal is not None:
        facts: dict[str, object] = {"cause": refusal.cause} if refusal.cause else {}
        denials.append(item_error(refusal.reason, path, filer, SEVERITY_ERROR, **facts))
    if part.role and part.WhichOneof("link") != "linking_key" and part.role not in roles:
        role = pb.PartyRole.Name(part.role)
        denials.append(item_error("PARTY_ROLE_NOT_REGISTERED", f"{path}.role", role, filer=filer))
    if part.WhichOneof("link") in ("order", "house_document") and not part.consignment_filer:
        denials.append(item_error("ELEMENT_MISSING", f"{path}.consignment_filer"))
    return denials


def _part_errors(part: pb.FilingPart, path: str, data_sets: DataSets) -> list[ItemError]:
    """Return the errors of what names a part, and of elements that its role may not state."""
    errors = []
    if not part.reference.strip():
        errors.append(item_error("ELEMENT_MISSING", f"{path}.reference"))
    if part.role == pb.PARTY_ROLE_UNSPECIFIED:
        errors.append(item_error("ELEMENT_MISSING", f"{path}.role"))
    if part.consignment_filer and not is_id(part.consignment_filer):
        errors.append(item_error("FILER_MALFORMED", f"{path}.consignment_filer", part.consignment_filer))
    errors += _link_errors(part, path)
    if part.role and not part.consignment.ListFields():
        errors.append(item_error("ELEMENT_MISSING", f"{path}.consignment"))
    for name in elements_beyond(part.consignment, part.role, data_sets) if part.role else ():
        role = pb.PartyRole.Name(part.role)
        errors.append(item_error("PART_ELEMENT_NOT_OF_ROLE", f"{path}.consignment.{name}", role=role))
    return errors


def _link_errors(part: pb.FilingPart, path: str) -> list[ItemError]:
    kind = part.WhichOneof("link")
    if kind is None:
        return [item_error("ELEMENT_MISSING", f"{path}.link")]
    if kind == "linking_key":
        return [] if _is_linking_key(part.linking_key) else [_key_error(f"{path}.linking_key")]
    link = getattr(part, kind)
    names = [each.name for each in link.DESCRIPTOR.fields if not getattr(link, each.name).strip()]
    return [item_error("ELEMENT_MISSING", f"{path}.{kind}.{name}") for name in names]


def _key(part: pb.FilingPart) -> bytes:
    """Return the key of the link of a part, of names as filings have them after they were cleaned."""
    kind = part.WhichOneof("link")
    if kind == "order":
        return order_key(part.order.platform.strip(), part.order.number.strip())
    if kind == "house_document":
        return document_key(tidy_code(part.house_document.carrier_identifier), tidy_code(part.house_document.number))
    return linking_key(part.linking_key)


def _is_linking_key(key: str) -> bool:
    least, most = KEY_CHARACTERS
    return least <= len(key) <= most and key.isprintable() and key == key.strip()


def _key_error(path: str) -> ItemError:
    return item_error("LINKING_KEY_MALFORMED", path, characters=KEY_CHARACTERS[0], characters_max=KEY_CHARACTERS[1])


def _of_part(error: ElementError, path: str) -> ItemError:
    """Return an error of a consignment as that of a part."""
    below = error.path.partition("]")[2]
    return messages.item_error_of(error, f"{path}.consignment{below}")


def _part_of(part: PartRecord, today: int, reader: Reader) -> pb.FiledPart:
    """Return a part as a caller may see it: officers see both values of a contradiction, and others those that they stated."""
    state = pb.PART_STATE_EXPIRED if part.last_day < today else pb.PART_STATE_WAITING
    message = pb.FiledPart(
        receipt=receipt_of(part.reference if reader.sees(part.filer) else "", part.filed_at),
        role=part.role,  # type: ignore[arg-type]
        filer=part.filer,
        state=pb.PART_STATE_JOINED if part.joined else state,
    )
    for each in part.joined:
        joined = message.consignments.add()
        joined.ParseFromString(each)
        for contradiction in joined.contradictions:
            if not reader.sees(contradiction.stated_by):
                contradiction.ClearField("consignment_value")
            if not reader.sees(part.filer):
                contradiction.ClearField("part_value")
            if not reader.is_officer:
                contradiction.ClearField("stated_by")
    return message


def _count(new: int, repeated: int, refused: int) -> None:
    for outcome, number in (("accepted", new), ("repeated", repeated), ("refused", refused)):
        if number:
            parts_counted.labels(outcome).inc(number)


def _check_size(count: int) -> None:
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=PARTS_MAX)
    if count > PARTS_MAX:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=PARTS_MAX)


def _is_own_mrn(number: str) -> bool:
    try:
        mrn.parse(number)
    except mrn.MrnError:
        return False
    return True
