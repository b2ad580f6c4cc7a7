"""Release lists: made and imported with the system; verified and marked without it.

A list is a CSV file of the rows of libs.customs.release_list. Marks are a second CSV file, whose rows continue a digest that begins with the list's
serial number and last signature, so that they belong to that list alone.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain
from libs.customs.release_list import CHECK_DIGITS, CLOCK_MICROS, FORM, Entry, Header, Page, cells_of, row_of
from libs.customs.time import instant_text, parse_instant
from luxor.clearance.v1 import release_lists_pb2 as pb
from luxor.clearance.v1.release_lists_pb2_grpc import ReleaseListServiceStub

MARKS_FORM: Final = "LUXOR-RELEASE-MARKS-1"
UNLISTED_A_CALL: Final = 500
DISCREPANCIES: Final = (
    "CHANGED", "AGAINST_LIST", "OUT_OF_TIME", "MARKED_DIFFERENTLY", "UNLISTED", "UNKNOWN", "DECIDED_SINCE",
)  # fmt: skip
"""Outcomes that an officer clears up."""
_UNREADABLE: Final = "backslashreplace"
"""What is no text differs from every row that a mark can have."""
_DECISIONS: Final = {"RELEASE": True, "STAY": False}
_MARKED: Final = {"RELEASED": pb.RELEASE_LIST_DECISION_RELEASED, "HELD": pb.RELEASE_LIST_DECISION_HELD}
_TEXT_CHARACTERS_MAX: Final = {"house": 70, "mrn": 18, "by": 64}


@dataclass(frozen=True, slots=True)
class ReleaseList:
    """A list whose rows and signatures were verified."""

    path: Path
    header: Header
    pages: Sequence[Page]

    @property
    def entries(self) -> list[Entry]:
        """All lines."""
        return [each for page in self.pages for each in page.entries]

    @property
    def signature(self) -> bytes:
        """The signature of the last page, which covers the whole list."""
        return self.pages[-1].signature

    def check_valid(self, at: int) -> None:
        """Raise LuxorError if the list is not valid at an instant."""
        made, until = self.header.made_at, self.header.valid_until
        if not made - CLOCK_MICROS <= at <= until + CLOCK_MICROS:
            raise LuxorError.from_reason("RELEASE_LIST_EXPIRED", since=instant_text(made), until=instant_text(until))

    def check_leaves(self, entry: Entry, at: int) -> None:
        """Raise LuxorError if the goods of a line may not leave at an instant. Their time for an inspection may last until the expected arrival."""
        self.check_valid(at)
        if not entry.release:
            raise LuxorError.from_reason("RELEASE_LIST_STAYS")
        if at < self.header.arrives_at - CLOCK_MICROS:
            raise LuxorError.from_reason("RELEASE_LIST_EARLY", since=instant_text(self.header.arrives_at))


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of a file of marks."""

    line: int
    """0 for goods that are not on the list."""
    house: str
    mrn: str
    decision: str
    """RELEASED or HELD."""
    at: int
    """Microseconds since 1970-01-01 UTC, in whole milliseconds."""
    by: str

    @property
    def goods(self) -> tuple[int, str, str]:
        """The goods that it is about: a line, or a house document and an MRN that are not listed."""
        return (self.line, "", "") if self.line else (0, self.house, self.mrn)

    def digest(self, previous: bytes) -> bytes:
        """Return the digest up to this row."""
        return sha256(previous + row_of(*self._cells()).encode()).digest()

    def row(self, digest: bytes) -> str:
        """Return the row, with the first digits of the digest up to it."""
        return row_of(*self._cells(), digest.hex()[:CHECK_DIGITS])

    def _cells(self) -> tuple[str, ...]:
        return str(self.line), self.house, self.mrn, self.decision, instant_text(self.at), self.by


# ---------------------------------------------------------------------------------------------- with the system
async def make(client: Client, request: pb.ExportReleaseListRequest, path: Path) -> Header:
    """Write a new list to a file, which is replaced only by a whole list. Role: officer."""
    part, header = path.with_name(f"{path.name}.part"), None
    with part.open("w", encoding="utf-8", newline="") as file:
        async for answer in pages(
            client, "clearance", ReleaseListServiceStub, "ExportReleaseList", request, pb.ExportReleaseListResponse
        ):
            page = _page(answer.page)
            if header is None:
                header = page.header
                file.write(header.row + "\n")
            file.write("".join(f"{row}\n" for row in _rows(page)))
        os.fsync(file.fileno())
    read_list(part)
    part.replace(path)
    assert header is not None
    return header


def list_request(
    *, masters: Sequence[str], flight: str, arrived: str, arrives_at: int | None, valid_until: int | None
) -> pb.ExportReleaseListRequest:
    """Make the request of a list; times are microseconds since 1970-01-01 UTC."""
    request = pb.ExportReleaseListRequest(
        master_document_numbers=masters, conveyance_reference=flight, arrived_on=arrived
    )
    if arrives_at is not None:
        request.arrives_at.FromMicroseconds(arrives_at)
    if valid_until is not None:
        request.valid_until.FromMicroseconds(valid_until)
    return request


async def keys(client: Client) -> list[dict[str, Any]]:
    """Return the public keys, the newest first. Role: officer."""
    answer = await client.ask(
        "clearance",
        ReleaseListServiceStub,
        "ListReleaseListKeys",
        pb.ListReleaseListKeysRequest(),
        pb.ListReleaseListKeysResponse,
    )
    return [plain(each) for each in answer.keys]


async def import_marks(client: Client, signed: ReleaseList, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """Import marks page by page, and return the results of the whole list. Role: officer."""
    results: list[dict[str, Any]] = []
    for page in signed.pages:
        lines = {each.line for each in page.entries}
        results += await _import(client, page, [each for each in marks if each.line in lines])
    unlisted = [each for each in marks if not each.line]
    for begin in range(0, len(unlisted), UNLISTED_A_CALL):
        found = await _import(client, signed.pages[-1], unlisted[begin : begin + UNLISTED_A_CALL])
        results += [each for each in found if "entry" not in each]
    return results


async def _import(client: Client, page: Page, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    request = pb.ImportReleaseListRequest(request_id=str(uuid.uuid4()), page=_message(page))
    for each in {(*each.goods, each.decision): each for each in reversed(marks)}.values():
        mark = request.marks.add(
            line=each.line, house_document_number=each.house, decision=_MARKED[each.decision], marked_by=each.by
        )
        mark.mrn = "" if each.line else each.mrn
        mark.marked_at.FromMicroseconds(each.at)
    answer = await client.ask(
        "clearance", ReleaseListServiceStub, "ImportReleaseList", request, pb.ImportReleaseListResponse
    )
    return [plain(each) for each in answer.results]


# ---------------------------------------------------------------------------------------------- without the system
def read_list(path: Path, key: bytes | None = None) -> ReleaseList:
    """Read a list, and verify each row and signature; with `key`, also that it signed the list.

    Raise LuxorError RELEASE_LIST_DAMAGED with the first row that is wrong.
    """
    rows = _rows_of(path)
    number, header = 1, _header(rows[0])
    if header is None or header.row != rows[0]:
        raise _damaged(path, number, "is no header of a release list, or was changed")
    if key is not None and key != header.public_key:
        raise _damaged(path, number, "names another key than the one that is expected")
    read: list[Page] = []
    entries: list[Entry] = []
    line, digest = 0, header.digest
    page = Page(header, 1, digest, entries, last=False)
    for number, row in enumerate(rows[1:], 2):
        if page.last:
            raise _damaged(path, number, "was added after the end of the list")
        cells = cells_of(row) or [""]
        if cells[0] == "PAGE":
            signature = bytes.fromhex(cells[-1]) if _is_hex(cells[-1]) else b""
            page = replace(page, entries=tuple(entries), last=cells[3:4] == ["LAST"], signature=signature)
            if row != _end(page) or not page.is_signed_by(header.public_key):
                raise _damaged(path, number, "has a signature that does not belong to the rows before it")
            read.append(page)
            entries = []
            if not page.last:
                page = Page(header, page.number + 1, digest, entries, last=False)
            continue
        entry = _entry(cells)
        if entry is None:
            raise _damaged(path, number, "is no line of a release list")
        if entry.line != line + 1:
            raise _damaged(path, number, f"has line {entry.line} in the place of line {line + 1}")
        line, digest = entry.line, entry.digest(digest)
        if entry.row(digest) != row:
            raise _damaged(path, number, "was changed, or a row before it")
        entries.append(entry)
    if not page.last:
        raise _damaged(path, number, "is the last one, but the list continues")
    return ReleaseList(path, header, read)


def read_marks(path: Path, signed: ReleaseList) -> list[Mark]:
    """Read the marks on a list. Raise LuxorError RELEASE_LIST_DAMAGED with the first row that is wrong."""
    marks, _, error = _read_marks(path, signed)
    if error is not None:
        raise error
    return marks


def intact_marks(path: Path, signed: ReleaseList) -> tuple[list[Mark], LuxorError | None]:
    """Read the marks on a list up to the first row that is wrong, and return the error about that one, None if there is none."""
    marks, _, error = _read_marks(path, signed)
    return marks, error


def mark(
    signed: ReleaseList,
    path: Path,
    *,
    house: str = "",
    mrn: str = "",
    line: int = 0,
    decision: str,
    at: int,
    by: str,
    anyway: bool = False,
) -> Mark:
    """Add a mark to a file of marks, which is made if there is none; `decision` is RELEASED or HELD.

    Raise LuxorError unless exactly one line has the house document, MRN and number that are given, for a release it lets the goods leave at that
    time, and no earlier mark says otherwise. `anyway` also records goods that are not listed, that left although they must stay, or contradictions.
    """
    for name, text in (("house", house), ("mrn", mrn), ("by", by)):
        if len(text) > _TEXT_CHARACTERS_MAX[name] or not text.isprintable():
            raise LuxorError.from_reason("RELEASE_LIST_MALFORMED", path=name)
    if not by or not (house or mrn or line):
        raise LuxorError.from_reason("RELEASE_LIST_MALFORMED", path="house" if by else "by")
    found = [
        each
        for each in signed.entries
        if house in ("", each.house_document) and mrn in ("", each.mrn) and line in (0, each.line)
    ]
    if len(found) > 1 or (not found and (line or not anyway)):
        raise LuxorError.from_reason("RELEASE_LIST_HOUSE_UNCLEAR", count=len(found))
    if decision == "RELEASED" and not anyway:
        signed.check_leaves(found[0], at)
    if found:
        line, house, mrn = found[0].line, found[0].house_document, found[0].mrn
    made = Mark(line, house, mrn, decision, at // 1_000 * 1_000, by)
    with _locked(path):
        _append(signed, path, made, anyway=anyway)
    return made


def _append(signed: ReleaseList, path: Path, made: Mark, *, anyway: bool) -> None:
    """Replace a file of marks by one that has a further mark, as a whole."""
    text, digest = f"{_marks_header(signed)}\n", sha256(_marks_header(signed).encode()).digest()
    if path.exists():
        text = path.read_bytes().decode("utf-8", _UNREADABLE)
        marks, digest, error = _read_marks(path, signed)
        if error is not None:
            raise error
        for each in marks:
            if each.goods == made.goods and each.decision != made.decision and not anyway:
                raise LuxorError.from_reason(
                    "RELEASE_LIST_MARKED", decision=each.decision, by=each.by, at=instant_text(each.at)
                )
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{text}{made.row(made.digest(digest))}\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let nobody else on this machine add to a file meanwhile."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_marks(path: Path, signed: ReleaseList) -> tuple[list[Mark], bytes, LuxorError | None]:
    """Return the marks before the first row that is wrong, the digest up to there, and the error about that row.

    Raise LuxorError if the file has no marks on this list.
    """
    *rows, torn = path.read_bytes().decode("utf-8", _UNREADABLE).split("\n")
    rows = [row.removesuffix("\r") for row in rows]
    if not rows or rows[0] != _marks_header(signed):
        raise _damaged(path, 1, "does not name this release list")
    digest = sha256(rows[0].encode()).digest()
    marks: list[Mark] = []
    entries = {each.line: each for each in signed.entries}
    for number, row in enumerate(rows[1:], 2):
        made = _mark(cells_of(row) or [])
        if made is None:
            return marks, digest, _damaged(path, number, "is no mark")
        following = made.digest(digest)
        if made.row(following) != row:
            return marks, digest, _damaged(path, number, "was changed, or a row before it")
        entry = entries.get(made.line)
        if made.line and (entry is None or (entry.house_document, entry.mrn) != (made.house, made.mrn)):
            return marks, digest, _damaged(path, number, "names a line that the list does not have so")
        digest = following
        marks.append(made)
    return marks, digest, _damaged(path, len(rows) + 1, "has no end") if torn else None


def _rows_of(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged(path, 1, "or a later one is no text") from None
    rows = [row.removesuffix("\r") for row in text.split("\n")]
    if rows.pop() or not rows:
        raise _damaged(path, len(rows) + 1, "has no end")
    return rows


def _rows(page: Page) -> Iterator[str]:
    digest = page.previous
    for entry in page.entries:
        digest = entry.digest(digest)
        yield entry.row(digest)
    yield _end(page)


def _end(page: Page) -> str:
    last_line = page.entries[-1].line if page.entries else 0
    return row_of("PAGE", str(page.number), str(last_line), "LAST" if page.last else "MORE", page.signature.hex())


def _header(row: str) -> Header | None:
    cells = cells_of(row) or []
    try:
        form, serial, conveyance, made_at, arrives_at, valid_until, officer, number, key, _ = cells
        made, arrives, until = (parse_instant(each) for each in (made_at, arrives_at, valid_until))
        read = Header(serial, conveyance, made, arrives, until, officer, int(number), bytes.fromhex(key))
    except ValueError:
        return None
    return read if form == FORM else None


def _entry(cells: Sequence[str]) -> Entry | None:
    try:
        line, house, mrn, version, decision, _ = cells
        return Entry(int(line), house, mrn, int(version), _DECISIONS[decision])
    except (ValueError, KeyError):
        return None


def _mark(cells: Sequence[str]) -> Mark | None:
    try:
        line, house, mrn, decision, at, by, _ = cells
        return Mark(int(line), house, mrn, decision, parse_instant(at), by) if decision in _MARKED else None
    except ValueError:
        return None


def _marks_header(signed: ReleaseList) -> str:
    return row_of(MARKS_FORM, signed.header.serial, signed.signature.hex())


def _is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True


def _damaged(path: Path, row: int, defect: str) -> LuxorError:
    return LuxorError.from_reason("RELEASE_LIST_DAMAGED", file=path.name, row=row, defect=defect)


def _page(message: pb.ReleaseListPage) -> Page:
    header = message.header
    read = Header(
        header.serial,
        header.conveyance_reference,
        header.made_at.ToMicroseconds(),
        header.arrives_at.ToMicroseconds(),
        header.valid_until.ToMicroseconds(),
        header.officer,
        header.key_number,
        header.public_key,
    )
    entries = [
        Entry(each.line, each.house_document_number, each.mrn, each.version, each.release) for each in message.entries
    ]
    return Page(read, message.page, message.previous_digest, entries, message.last, message.signature)


def _message(page: Page) -> pb.ReleaseListPage:
    header = page.header
    message = pb.ReleaseListPage(
        page=page.number, previous_digest=page.previous, last=page.last, signature=page.signature
    )
    message.header.serial, message.header.conveyance_reference = header.serial, header.conveyance
    message.header.officer, message.header.key_number = header.officer, header.key_number
    message.header.public_key = header.public_key
    message.header.made_at.FromMicroseconds(header.made_at)
    message.header.arrives_at.FromMicroseconds(header.arrives_at)
    message.header.valid_until.FromMicroseconds(header.valid_until)
    for each in page.entries:
        message.entries.add(
            line=each.line,
            house_document_number=each.house_document,
            mrn=each.mrn,
            version=each.version,
            release=each.release,
        )
    return message
