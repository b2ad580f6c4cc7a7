"""Upload contents in parts, attach them to cases, and read them.

A content is verified by its SHA-256 before it is stored, and each part when it is read.
"""

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from libs.store.database import Transaction
from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.cases.case import Case
from services.clearance.cases.content import (
    ATTACHMENTS_MAX,
    CASE_BYTES_MAX,
    UPLOADS_MAX,
    fits,
    part_length,
    parts_of,
)
from services.clearance.commands.act import Request
from services.clearance.commands.cases.change import ChangeCases, Encode, Target, copy_of, note_of
from services.clearance.store import Store
from services.clearance.store.cases.contents import Attachment, AttachmentTotals, ContentPart, Upload

UPLOAD_DAYS: Final = 2
"""Days after which what was uploaded and not attached is deleted."""
FULL: Final = "CASE_ATTACHMENTS_FULL"


class ContentRefused(Exception):
    """A content is not stored, not attached or not read, for a reason of the catalogue."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Attachments:
    """Stores, attaches and reads contents."""

    def __init__(self, store: Store) -> None:
        """Work on a store."""
        self._store = store
        self._changes = ChangeCases(store)

    async def upload(self, uploader: str, digest: bytes, length: int, part: int, data: bytes) -> bool:
        """Store a part of a content; return True where the content is stored, and no part is needed. Raises ContentRefused."""
        if len(data) != part_length(length, part) or not data:
            raise ContentRefused("CONTENT_PART_MALFORMED")
        content = ContentPart(data, await asyncio.to_thread(_sha256, data))
        async with self._store.database.transaction() as tx:
            upload = None
            while upload is None:
                # A parallel call may have attached or abandoned it since the statement before.
                if await self._store.contents.stored(tx, digest) is not None:
                    await self._store.contents.abandon(tx, uploader, digest)
                    return True
                upload = await self._store.contents.upload(tx, uploader, digest, lock=True)
                if upload is None and not await self._store.contents.begin(tx, uploader, digest, length, UPLOADS_MAX):
                    raise ContentRefused("CONTENT_UPLOADS_TOO_MANY")
            await self._store.contents.put(tx, upload.id, part, content)
            same = upload.bytes == length and await self._store.contents.digest(tx, upload.id, part) == content.digest
            if not same:
                await self._store.contents.abandon(tx, uploader, digest)
        if not same:
            raise ContentRefused("CONTENT_PART_DIFFERS")
        return False

    async def attach(
        self, targets: Sequence[Target], event: pb.CaseEvent, *, uploader: str, request: Request, encode: Encode
    ) -> bytes:
        """Attach a content to each case once per request, and return what `encode` made of the results.

        Raises RequestReused, and ContentRefused where the content is not there, is another one or does not fit its type.
        """
        digest = bytes.fromhex(event.attachment.sha256)
        verified = await self._verified(uploader, digest, event.attachment.content_type)
        content: Upload | None = None
        totals: dict[int, AttachmentTotals] | None = None

        async def make(tx: Transaction, case: Case) -> pb.CaseEvent | str | None:
            nonlocal content, totals
            if totals is None:
                # All cases are locked by now.
                totals = await self._store.contents.totals(tx, [each.number for each in targets], digest)
            attached = totals.get(case.number, AttachmentTotals())
            if attached.has:
                await self._store.contents.abandon(tx, uploader, digest)
                return note_of(event)
            content = content or await self._content(tx, digest, uploader, verified)
            if attached.count >= ATTACHMENTS_MAX or attached.bytes + content.bytes > CASE_BYTES_MAX:
                return FULL
            own = copy_of(event)
            own.attachment.bytes = content.bytes
            return own

        async def after(tx: Transaction, events: Sequence[tuple[Case, pb.CaseEvent]]) -> None:
            attaching = [case for case, own in events if own.change == pb.CASE_CHANGE_ATTACHED]
            if attaching and content is not None:
                new = event.attachment
                at = attaching[0].changed_at
                await self._store.contents.attach(
                    tx, attaching, Attachment(digest, new.name, new.content_type, content.bytes, at, event.by)
                )

        return await self._changes.change(
            targets, pb.CASE_CHANGE_ATTACHED, make, request=request, encode=encode, after=after
        )

    async def _content(self, tx: Transaction, digest: bytes, uploader: str, verified: Upload | None) -> Upload:
        """Lock the content with a hash, which the verified upload stores unless it is stored. Raises ContentRefused."""
        if verified is None:
            raise ContentRefused("CONTENT_UNKNOWN")
        contents = self._store.contents
        stored = await contents.stored(tx, digest, lock=True)
        own = await contents.upload(tx, uploader, digest, lock=True)
        # A parallel call may have stored it while this one waited for the lock of the upload, or of the content.
        stored = stored or await contents.stored(tx, digest, lock=True)
        if stored is None and own is not None and own.id == verified.id:
            if not await contents.complete(tx, own.id, parts_of(own.bytes)):
                raise ContentRefused("CONTENT_INCOMPLETE")
            await contents.store(tx, digest, own)
            stored = await contents.stored(tx, digest, lock=True)
        if stored is None:
            raise ContentRefused("CONTENT_UNKNOWN")
        await contents.abandon(tx, uploader, digest)
        return stored

    async def read(self, number: int, digest: bytes, part: int) -> tuple[Attachment, bytes]:
        """Return an attachment and one of its parts. Raises ContentRefused where it is not there, or its bytes are not those that were uploaded."""
        async with self._store.database.connection() as reading:
            found = await self._store.contents.attachment(reading, number, digest)
            if found is None:
                raise ContentRefused("CONTENT_UNKNOWN")
            attachment, upload = found
            if not part_length(attachment.bytes, part):
                raise ContentRefused("CONTENT_PART_MALFORMED")
            content = await self._store.contents.part(reading, upload.id, part)
        if content is None or await asyncio.to_thread(_sha256, content.data) != content.digest:
            raise ContentRefused("CONTENT_DAMAGED")
        return attachment, content.data

    async def _verified(self, uploader: str, digest: bytes, content_type: int) -> Upload | None:
        """Return the upload of a content as `_checked` does, also where a parallel call stores the content meanwhile."""
        refused = None
        try:
            if found := await self._checked(uploader, digest, content_type):
                return found
        except ContentRefused as error:
            refused = error
        async with self._store.database.connection() as reading:
            stored = await self._store.contents.stored(reading, digest)
        if stored is not None:
            return await self._checked(uploader, digest, content_type)
        if refused is not None:
            raise refused
        return None

    async def _checked(self, uploader: str, digest: bytes, content_type: int) -> Upload | None:
        """Return the upload of a content whose parts have its hash, or the one that stored it; None where there is none.

        Raises ContentRefused where a part is missing, where they are another content, or where the first does not fit the type.
        """
        async with self._store.database.connection() as reading:
            stored = await self._store.contents.stored(reading, digest)
            upload = stored or await self._store.contents.upload(reading, uploader, digest)
            if upload is None:
                return None
            first = await self._store.contents.part(reading, upload.id, 0)
        if first is None:
            raise ContentRefused("CONTENT_INCOMPLETE")
        if stored is None:
            hashed = sha256()
            for part in range(parts_of(upload.bytes)):
                async with self._store.database.connection() as reading:
                    content = await self._store.contents.part(reading, upload.id, part)
                if content is None:
                    raise ContentRefused("CONTENT_INCOMPLETE")
                await asyncio.to_thread(hashed.update, content.data)
            if hashed.digest() != digest:
                async with self._store.database.transaction() as tx:
                    await self._store.contents.abandon(tx, uploader, digest)
                raise ContentRefused("CONTENT_ALTERED")
        if not await asyncio.to_thread(fits, content_type, first.data):
            raise ContentRefused("CONTENT_TYPE_UNFIT")
        return upload


async def drop_uploads(store: Store, today: int) -> int:
    """Delete uploads that were not attached within UPLOAD_DAYS, and those of deleted cases; return how many there were."""
    dropped = 0
    while True:
        async with store.database.transaction() as tx:
            upload = await store.contents.unused(tx, today - UPLOAD_DAYS)
            if upload is None:
                return dropped
            dropped += await store.contents.drop(tx, upload)


def _sha256(data: bytes) -> bytes:
    return sha256(data).digest()
