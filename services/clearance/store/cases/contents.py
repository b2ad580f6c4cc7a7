"""The content of attachments, stored once by its hash, and to which cases it is attached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Transaction
from libs.store.tables.schema import TODAY
from services.clearance.cases.case import Case

PARTS_A_DELETION: Final = 8
"""Parts that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The parts of a content that somebody uploads or has stored."""

    id: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ContentPart:
    """A part of a content, with its SHA-256 as it was uploaded."""

    data: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Attachment:
    """A content that is attached to a case."""

    sha256: bytes
    name: str
    content_type: int
    bytes: int
    attached_at: int
    """Microseconds since 1970-01-01 UTC."""
    attached_by: str


@dataclass(frozen=True, slots=True)
class AttachmentTotals:
    """How much is attached to a case."""

    count: int = 0
    bytes: int = 0
    has: bool = False
    """Whether the content that was asked for is among it."""


_ATTACHMENT: Final = ", ".join(f"a.{name}" for name in Attachment.__slots__)

_ABANDONED: Final = "day = 0, uploader = id::text"
"""An upload of nobody, as no caller is a number, that is to be deleted at once."""


class ContentTables:
    """Contents and attachments."""

    # ------------------------------------------------------------------------------------------ uploads
    async def stored(self, tx: Transaction, sha256: bytes, *, lock: bool = False) -> Upload | None:
        """Return the upload that stored a content; None where it is not stored. A locked content is not deleted."""
        locking = "for key share" if lock else ""
        row = await tx.raw.fetchrow(f"select upload, bytes from content where sha256 = $1 {locking}", sha256)  # noqa: S608
        return None if row is None else Upload(row["upload"], row["bytes"])

    async def upload(self, tx: Transaction, uploader: str, sha256: bytes, *, lock: bool = False) -> Upload | None:
        """Return the upload of a content by a caller; None where there is none. A locked upload is not deleted."""
        locking = "for update" if lock else ""
        row = await tx.raw.fetchrow(
            f"select id, bytes from content_upload where uploader = $1 and sha256 = $2 and not stored {locking}",  # noqa: S608
            uploader,
            sha256,
        )
        return None if row is None else Upload(row["id"], row["bytes"])

    async def begin(self, tx: Transaction, uploader: str, sha256: bytes, length: int, uploads_max: int) -> bool:
        """Begin an upload, unless there is one; False where the caller has so many others. Calls of one caller begin one after the other."""
        await tx.raw.execute("select pg_advisory_xact_lock(hashtextextended('content_upload ' || $1, 0))", uploader)
        count = await tx.raw.fetchval(
            "select count(*) from content_upload where uploader = $1 and not stored and sha256 <> $2", uploader, sha256
        )
        if count >= uploads_max:
            return False
        await tx.raw.execute(
            f"insert into content_upload (uploader, sha256, bytes, day) values ($1, $2, $3, {TODAY}) "  # noqa: S608  # our own expression
            "on conflict (uploader, sha256) where not stored do nothing",
            uploader,
            sha256,
            length,
        )
        return True

    async def put(self, tx: Transaction, upload: int, part: int, content: ContentPart) -> None:
        """Store a part, unless it is there."""
        await tx.raw.execute(
            "insert into content_part values ($1, $2, $3, $4) on conflict do nothing",
            upload,
            part,
            content.digest,
            content.data,
        )

    async def part(self, tx: Transaction, upload: int, part: int) -> ContentPart | None:
        """Return a part; None where it is not there."""
        row = await tx.raw.fetchrow(
            "select data, digest from content_part where upload = $1 and part = $2", upload, part
        )
        return None if row is None else ContentPart(bytes(row["data"]), bytes(row["digest"]))

    async def digest(self, tx: Transaction, upload: int, part: int) -> bytes | None:
        """Return the digest of a part; None where it is not there."""
        found: bytes | None = await tx.raw.fetchval(
            "select digest from content_part where upload = $1 and part = $2", upload, part
        )
        return found

    async def complete(self, tx: Transaction, upload: int, parts: int) -> bool:
        """Return whether all parts of an upload are there."""
        return bool(await tx.raw.fetchval("select count(*) = $2 from content_part where upload = $1", upload, parts))

    async def abandon(self, tx: Transaction, uploader: str, sha256: bytes) -> None:
        """Delete what a caller uploaded of a content, unless it stored the content meanwhile: the caller may begin again."""
        await tx.raw.execute(
            "with abandoned as (delete from content_upload where uploader = $1 and sha256 = $2 and not stored returning id) "
            "delete from content_part p using abandoned where p.upload = abandoned.id",
            uploader,
            sha256,
        )

    async def store(self, tx: Transaction, sha256: bytes, upload: Upload) -> None:
        """Store a content with the parts of an upload, which is locked; the one that is stored already stays."""
        new = await tx.raw.fetchval(
            "insert into content (sha256, bytes, upload) values ($1, $2, $3) on conflict do nothing returning true",
            sha256,
            upload.bytes,
            upload.id,
        )
        if new:
            await tx.raw.execute("update content_upload set stored = true where id = $1", upload.id)

    # ------------------------------------------------------------------------------------------ attachments
    async def attachments(self, tx: Transaction, number: int) -> list[Attachment]:
        """Return the attachments of a case by hash."""
        rows = await tx.raw.fetch(
            f"select {_ATTACHMENT} from case_attachment a where number = $1 order by sha256",  # noqa: S608  # our own names
            number,
        )
        return [Attachment(*row) for row in rows]

    async def attachment(self, tx: Transaction, number: int, sha256: bytes) -> tuple[Attachment, Upload] | None:
        """Return an attachment of a case, and where its content is; None where there is none."""
        row = await tx.raw.fetchrow(
            f"select {_ATTACHMENT}, c.upload from case_attachment a join content c on c.sha256 = a.sha256 "  # noqa: S608  # our own names
            "where a.number = $1 and a.sha256 = $2",
            number,
            sha256,
        )
        return None if row is None else (Attachment(*row[:-1]), Upload(row["upload"], row["bytes"]))

    async def parts(self, tx: Transaction, number: int) -> dict[str, tuple[int, int]]:
        """Return of each content of a case, by its hexadecimal hash, how many bytes it has, and how many of its parts are there."""
        rows = await tx.raw.fetch(
            "select encode(c.sha256, 'hex'), c.bytes, (select count(*) from content_part p where p.upload = c.upload) "
            "from case_attachment a join content c on c.sha256 = a.sha256 where a.number = $1",
            number,
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def totals(self, tx: Transaction, numbers: Sequence[int], sha256: bytes) -> dict[int, AttachmentTotals]:
        """Return how much is attached to each of some cases, those without any missing, and whether a content is among it."""
        rows = await tx.raw.fetch(
            "select w.number, count(*), sum(a.bytes)::bigint, bool_or(a.sha256 = $2) from unnest((select $1::bigint[])) as w(number) "
            "cross join lateral (select bytes, sha256 from case_attachment where number = w.number offset 0) a group by w.number",
            list(numbers),
            sha256,
        )
        return {row[0]: AttachmentTotals(*tuple(row)[1:]) for row in rows}

    async def attach(self, tx: Transaction, cases: Sequence[Case], attachment: Attachment) -> None:
        """Store that a content is attached to cases, each since its last change."""
        await tx.raw.execute(
            "insert into case_attachment (number, sha256, name, content_type, bytes, attached_at, attached_by) "
            "select number, $3, $4, $5, $6, at, $7 from unnest($1::bigint[], $2::bigint[]) as w(number, at)",
            [case.number for case in cases],
            [case.changed_at for case in cases],
            attachment.sha256,
            attachment.name,
            attachment.content_type,
            attachment.bytes,
            attachment.attached_by,
        )

    # ------------------------------------------------------------------------------------------ retention
    async def detach(self, tx: Transaction, number: int) -> None:
        """Delete the attachments of a case, which is locked, and the contents that no other case has."""
        hashes = [each.sha256 for each in await self.attachments(tx, number)]
        # Whoever attaches one of them at this moment locks it first; what is attached is seen by the statements behind this one.
        await tx.raw.fetch("select from content where sha256 = any($1) order by sha256 for update", hashes)
        await tx.raw.execute("delete from case_attachment where number = $1", number)
        await tx.raw.execute(
            "with unused as (delete from content c where sha256 = any($1) "  # noqa: S608  # our own expression
            "and not exists (select from case_attachment a where a.sha256 = c.sha256) returning upload) "
            f"update content_upload set stored = false, {_ABANDONED} from unused where id = unused.upload",
            hashes,
        )

    async def unused(self, tx: Transaction, before_day: int) -> int | None:
        """Lock an upload of before a day that stored no content, and return its id; None where there is none or others lock it."""
        found: int | None = await tx.raw.fetchval(
            "select id from content_upload where not stored and day < $1 limit 1 for update skip locked", before_day
        )
        return found

    async def drop(self, tx: Transaction, upload: int) -> bool:
        """Delete some parts of an upload that is locked, and the upload with the last of them; return whether it was deleted.

        Its caller has it no more: what lacks parts is neither attached nor continued.
        """
        await tx.raw.execute(f"update content_upload set {_ABANDONED} where id = $1 and day > 0", upload)  # noqa: S608  # our own expression
        done = await tx.raw.execute(
            "delete from content_part where upload = $1 and part = any(array(select part from content_part where upload = $1 limit $2))",
            upload,
            PARTS_A_DELETION,
        )
        if int(done.rpartition(" ")[2]) == PARTS_A_DELETION:
            return False
        await tx.raw.execute("delete from content_upload where id = $1", upload)
        return True
