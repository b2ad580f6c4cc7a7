"""Attachments of cases: uploaded in parts, attached by their SHA-256, and downloaded with verification."""

import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from libs.client.clearance.cases.case_files import case_ref
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub

PART_BYTES: Final = 1_048_576
CONTENT_BYTES_MAX: Final = 32 * PART_BYTES
TYPES: Final[Mapping[str, str]] = {
    ".pdf": "PDF", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".xml": "XML", ".json": "JSON",
    ".txt": "TEXT", ".csv": "TEXT",
}  # fmt: skip
"""Types of contents by the ends of names."""


async def attach(
    client: Client,
    cases: Mapping[int, int | None],
    path: Path,
    *,
    name: str = "",
    content_type: str = "",
    note: str = "",
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Upload a file and attach it to cases by number, each with the version that was read or None; return a plain result for each. Role: officer.

    By default the name and its end state name and type. Raise ElementError for an unknown type, LuxorError for a file without bytes or with too many.
    """
    request = pb.AttachToCasesRequest(
        request_id=request_id or str(uuid.uuid4()),
        cases=[case_ref(number, version) for number, version in cases.items()],
        name=name or path.name,
        note=note,
    )
    kind = content_type.upper() or TYPES.get(path.suffix.lower(), "")
    request.content_type = enum_number(pb.ContentType.DESCRIPTOR, kind, "content_type")  # type: ignore[assignment]
    content = _content_of(path)
    request.sha256 = sha256(content).hexdigest()
    for begin in range(0, len(content), PART_BYTES):
        upload = pb.UploadContentRequest(
            sha256=request.sha256,
            bytes=len(content),
            part=begin // PART_BYTES,
            data=content[begin : begin + PART_BYTES],
        )
        if (await client.ask("clearance", CaseServiceStub, "UploadContent", upload, pb.UploadContentResponse)).stored:
            break
    answer = await client.ask("clearance", CaseServiceStub, "AttachToCases", request, pb.AttachToCasesResponse)
    return [plain(each) for each in answer.results]


async def download(client: Client, number: int, digest: str, path: Path) -> dict[str, Any]:
    """Write an attachment of a case, by its SHA-256, to a new file, and return the plain attachment. Roles: officer, analyst.

    Raise LuxorError CONTENT_DAMAGED where the content does not have the hash; nothing is written then. Raise FileExistsError for a file that exists.
    """
    content, part, parts = bytearray(), 0, 1
    answer = pb.ReadAttachmentResponse()
    while part < parts:
        request = pb.ReadAttachmentRequest(number=number, sha256=digest, part=part)
        answer = await client.ask("clearance", CaseServiceStub, "ReadAttachment", request, pb.ReadAttachmentResponse)
        content += answer.data
        part, parts = part + 1, answer.parts
        if len(content) > CONTENT_BYTES_MAX:
            break
    if sha256(content).hexdigest() != digest:
        raise LuxorError.from_reason("CONTENT_DAMAGED", path="content")
    with path.open("xb") as file:
        file.write(content)
    return plain(answer.attachment)


def _content_of(path: Path) -> bytes:
    """Return the bytes of a file, which are read once, so that hash and parts are of the same content."""
    with path.open("rb") as file:
        content = file.read(CONTENT_BYTES_MAX + 1)
    if not 0 < len(content) <= CONTENT_BYTES_MAX:
        raise LuxorError.from_reason("CONTENT_SIZE_OUT_OF_BOUNDS", path=str(path))
    return content
