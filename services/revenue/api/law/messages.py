"""Versions of law, their activations and reviews as messages, and requests read into values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.server.errors import Refusal
from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1.what_if_pb2 import LawFile
from services.revenue.commands.law.change import state_of
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.verification.reviews import content_of
from services.revenue.store.law.versions import StoredLaw, StoredReview

BYTES_MAX: Final = 7_000_000
FILES_MAX: Final = 64
REVIEWS_MAX: Final = 500
PASSAGE_CHARACTERS_MAX: Final = 2_000
YEARS_MAX: Final = 10
_NAME: Final = re.compile(
    r"([a-z0-9_-]{1,40})/((rulebook|tariff|cases)[A-Za-z0-9_.-]{0,60}\.yaml|(tariff|goods)[A-Za-z0-9_.-]{0,60}\.csv)"
)
_DIGEST: Final = re.compile("[0-9a-f]{64}")


def files_of(request: pb.ProposeLawRequest) -> dict[str, str]:
    """Return the files of a proposal by name. Raises Refusal where they are not those of one jurisdiction."""
    if not 1 <= len(request.files) <= FILES_MAX:
        raise _malformed("files", f"has {len(request.files)} files; a version has 1 to {FILES_MAX}")
    size = sum(len(each.text.encode()) for each in request.files)
    if size > BYTES_MAX:
        raise _malformed("files", f"has {size:,} bytes; a version has at most {BYTES_MAX:,}")
    folders, names = set(), set()
    for place, each in enumerate(request.files):
        match = _NAME.fullmatch(each.name)
        if match is None:
            raise _malformed(
                f"files[{place}].name",
                f"{each.name[:100]!r} is no law file of a jurisdiction; write <jurisdiction>/rulebook*.yaml, tariff*.yaml, "
                "tariff*.csv, goods*.csv or cases*.yaml",
            )
        if each.name in names:
            raise _malformed(f"files[{place}].name", f"{each.name!r} stands twice")
        names.add(each.name)
        folders.add(match[1])
    if len(folders) > 1:
        raise _malformed("files", f"are of {', '.join(sorted(folders))}; propose each jurisdiction by itself")
    if not any(name.partition("/")[2].startswith("rulebook") for name in names):
        raise _malformed("files", "has no rulebook*.yaml; give all files of the jurisdiction")
    return {each.name: each.text for each in request.files}


def reviews_of(request: pb.ReviewLawRequest, files: Mapping[str, str], identity: str) -> list[StoredReview]:
    """Return the reviews of a request for a version with these files. Raises Refusal."""
    if not 1 <= len(request.reviews) <= REVIEWS_MAX:
        raise _review_malformed("reviews", f"has {len(request.reviews)} reviews; give 1 to {REVIEWS_MAX}")
    return [
        _review(f"reviews[{place}]", request.version, each, files, identity)
        for place, each in enumerate(request.reviews)
    ]


def _review(path: str, version: str, review: pb.ValueReview, files: Mapping[str, str], identity: str) -> StoredReview:
    day, expires_on = _day(f"{path}.day", review.day), _day(f"{path}.expires_on", review.expires_on)
    if expires_on < day:
        raise _review_malformed(f"{path}.expires_on", f"{expires_on} is before the review, {day}")
    if expires_on > _years_later(day):
        raise _review_malformed(f"{path}.expires_on", f"{expires_on} is more than {YEARS_MAX} years after the review")
    passage = review.passage.strip()
    if not 1 <= len(passage) <= PASSAGE_CHARACTERS_MAX:
        raise _review_malformed(
            f"{path}.passage", f"has {len(passage)} characters; quote 1 to {PASSAGE_CHARACTERS_MAX}"
        )
    if _DIGEST.fullmatch(review.source_sha256) is None:
        raise _review_malformed(
            f"{path}.source_sha256", "is no SHA-256; write its 64 hexadecimal digits in small letters"
        )
    try:
        file, content = content_of(files, review.place)
    except LawFileError as error:
        raise _review_malformed(f"{path}.place", f"{review.place[:120]!r}: {error.message}") from None
    at = datetime.fromtimestamp(0, UTC)
    return StoredReview(
        0,
        version,
        file,
        review.place,
        content,
        day,
        passage,
        bytes.fromhex(review.source_sha256),
        at,
        expires_on,
        identity,
    )


def _years_later(day: date) -> date:
    try:
        return day.replace(year=day.year + YEARS_MAX)
    except ValueError:
        return date(day.year + YEARS_MAX, 3, 1)


def _day(path: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise _review_malformed(path, f"{text[:40]!r} is no day such as 2026-11-30") from None
    if not 1900 <= day.year <= 2200:
        raise _review_malformed(path, f"{day} is not between 1900 and 2200")
    return day


def moment_of(request: pb.ConfirmLawRequest) -> datetime | None:
    """Return the moment of a confirmation; None where it is to be as soon as possible. Raises Refusal."""
    if not request.HasField("effective_at"):
        return None
    try:
        return request.effective_at.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise _malformed("effective_at", "is no moment") from None


def version_message(stored: StoredLaw, now: datetime, active: Collection[str]) -> pb.LawVersion:
    """Return a version as a message; `active` are the versions that are in force at `now`."""
    state = state_of(stored, now, stored.version in active)
    message = pb.LawVersion(
        version=stored.version,
        state=pb.LawVersionState.Value(f"LAW_VERSION_STATE_{state}"),
        note=stored.note,
        proposed_by=stored.proposed_by,
        proposed_at=_timestamp(stored.proposed_at),
        reviewed_by=stored.reviewed_by or "",
        reviewed_at=_timestamp(stored.reviewed_at),
        withdrawn_by=stored.withdrawn_by or "",
        withdrawn_at=_timestamp(stored.withdrawn_at),
        what_if_ids=stored.what_ifs,
    )
    for each in stored.activations:
        message.activations.add(
            number=each.number,
            effective_at=_timestamp(each.effective_at),
            confirmed_by=each.confirmed_by,
            confirmed_at=_timestamp(each.confirmed_at),
            cancelled_by=each.cancelled_by or "",
            cancelled_at=_timestamp(each.cancelled_at),
        )
    return message


def file_messages(files: Mapping[str, str]) -> list[LawFile]:
    """Return files as messages, by name."""
    return [LawFile(name=name, text=text) for name, text in sorted(files.items())]


def review_messages(
    reviews: Sequence[StoredReview], contents: Collection[tuple[str, bytes]], day: date
) -> list[pb.ValueReview]:
    """Return those reviews as messages that are of one of these values, by file and content."""
    return [
        pb.ValueReview(
            place=each.place,
            day=each.day.isoformat(),
            passage=each.passage,
            source_sha256=each.source.hex(),
            expires_on=each.expires_on.isoformat(),
            reviewer=each.reviewer,
            expired=each.expires_on < day,
        )
        for each in reviews
        if (each.file, each.content) in contents
    ]


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _malformed(path: str, sentence: str) -> Refusal:
    return Refusal("LAW_FILES_MALFORMED", path=path, why=sentence)


def _review_malformed(path: str, sentence: str) -> Refusal:
    return Refusal("LAW_REVIEW_MALFORMED", path=path, why=sentence)
