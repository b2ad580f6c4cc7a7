"""Versions of law for programs of analysts and officers: propose, review, confirm, cancel, read and recompute, as plain values."""

import gzip
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain
from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1.law_pb2_grpc import LawServiceStub
from luxor.revenue.v1.what_if_pb2 import LawFile

PAGE: Final = 100
_PATTERNS: Final = (
    "rulebook*.yaml",
    "tariff*.yaml",
    "cases*.yaml",
    "tariff*.csv",
    "goods*.csv",
    "tariff*.csv.gz",
    "goods*.csv.gz",
)


def gather(directory: Path) -> dict[str, dict[str, str]]:
    """Return the law files of a directory by jurisdiction and name: the directory of one jurisdiction, or one that has several.

    Raises LuxorError FILE_UNREADABLE.
    """
    own = directory.resolve()
    folders = [own] if any(own.glob("rulebook*.yaml")) else sorted(each for each in own.glob("*") if each.is_dir())
    found = {folder.name: _files(folder) for folder in folders if any(folder.glob("rulebook*.yaml"))}
    if not found:
        raise _unreadable(str(directory), "it has no rulebook*.yaml")
    return found


def _files(folder: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in sorted({path for pattern in _PATTERNS for path in folder.glob(pattern)}):
        name = f"{folder.name}/{path.name.removesuffix('.gz')}"
        if name in files:
            raise _unreadable(str(path), "it is there as it is and compressed")
        try:
            content = path.read_bytes()
            files[name] = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise _unreadable(str(path), str(error)) from None
    return files


def read_reviews(path: Path) -> list[pb.ValueReview]:
    """Return the reviews of a YAML file: a list of entries with place, day, passage, expires_on, and source_sha256 or the file `source`.

    Raises LuxorError FILE_UNREADABLE.
    """
    try:
        entries = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(str(path), str(error)) from None
    if not isinstance(entries, list):
        raise _unreadable(str(path), "it is no list of reviews")
    return [_review(path, place, entry) for place, entry in enumerate(entries)]


def _review(path: Path, place: int, entry: Any) -> pb.ValueReview:
    where = f"{path}[{place}]"
    texts = {name: str(value) for name, value in entry.items()} if isinstance(entry, dict) else {}
    wanted = {"place", "day", "passage", "expires_on"}
    if not wanted <= set(texts) or ("source" in texts) == ("source_sha256" in texts) or len(texts) != len(wanted) + 1:
        why = "an entry has place, day, passage, expires_on, and either source (a file) or source_sha256"
        raise _unreadable(where, why)
    if "source" in texts:
        source = path.parent / texts.pop("source")
        try:
            texts["source_sha256"] = sha256(source.read_bytes()).hexdigest()
        except OSError as error:
            raise _unreadable(str(source), error.strerror or "") from None
    return pb.ValueReview(
        place=texts["place"],
        day=texts["day"],
        passage=texts["passage"],
        source_sha256=texts["source_sha256"],
        expires_on=texts["expires_on"],
    )


def _unreadable(path: str, sentence: str) -> LuxorError:
    return LuxorError.from_reason("FILE_UNREADABLE", path=path, why=f"{path}: {sentence}")


async def _ask(client: Client, method: str, request: Any, kind: Any) -> Any:
    return await client.ask("revenue", LawServiceStub, method, request, kind)


async def propose(
    client: Client, files: Mapping[str, str], note: str = "", what_ifs: Sequence[int] = (), *, request_id: str = ""
) -> dict[str, Any]:
    """Propose all files of one jurisdiction; return the draft and how many cases agree with it."""
    named = [LawFile(name=name, text=text) for name, text in files.items()]
    request = pb.ProposeLawRequest(request_id=request_id, files=named, note=note, what_if_ids=what_ifs)
    answer = await _ask(client, "ProposeLaw", request, pb.ProposeLawResponse)
    return {**_version(answer.version), "cases": answer.cases}


async def review(
    client: Client,
    version: str,
    reviews: Sequence[pb.ValueReview],
    what_ifs: Sequence[int] = (),
    *,
    request_id: str = "",
) -> dict[str, Any]:
    """Record reviews of values of a version; return it."""
    request = pb.ReviewLawRequest(request_id=request_id, version=version, reviews=reviews, what_if_ids=what_ifs)
    return _version((await _ask(client, "ReviewLaw", request, pb.ReviewLawResponse)).version)


async def confirm(
    client: Client, version: str, effective_at: datetime | None = None, *, request_id: str = ""
) -> dict[str, Any]:
    """Bring a version into force as a second person, at a moment or as soon as possible; return it."""
    request = pb.ConfirmLawRequest(request_id=request_id, version=version)
    if effective_at is not None:
        request.effective_at.FromDatetime(effective_at)
    answer = await _ask(client, "ConfirmLaw", request, pb.ConfirmLawResponse)
    return {**_version(answer.version), "cases": answer.cases}


async def cancel(client: Client, version: str, *, request_id: str = "") -> dict[str, Any]:
    """Cancel the next activation of a version, or withdraw one that was never confirmed; return it."""
    request = pb.CancelLawRequest(request_id=request_id, version=version)
    return _version((await _ask(client, "CancelLaw", request, pb.CancelLawResponse)).version)


async def cases(client: Client, version: str) -> list[dict[str, Any]]:
    """Run the cases of a version; return each with where it differs."""
    answer = await _ask(client, "RunLawCases", pb.RunLawCasesRequest(version=version), pb.RunLawCasesResponse)
    return [{"id": each.id, "differences": list(each.differences)} for each in answer.cases]


async def versions(client: Client, jurisdiction: str = "") -> list[dict[str, Any]]:
    """Return all stored versions, the newest first."""
    request = pb.ListLawVersionsRequest(page_size=PAGE, jurisdiction=jurisdiction)
    found: list[dict[str, Any]] = []
    async for page in pages(client, "revenue", LawServiceStub, "ListLawVersions", request, pb.ListLawVersionsResponse):
        found += map(_version, page.versions)
    return found


async def version(client: Client, name: str, file: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Return a version with its reviews, and its files, or one of them, by name."""
    request = pb.GetLawVersionRequest(version=name, file=file)
    answer = await _ask(client, "GetLawVersion", request, pb.GetLawVersionResponse)
    reviews = [{"expired": False, **plain(each)} for each in answer.reviews]
    return {**_version(answer.version), "reviews": reviews}, {each.name: each.text for each in answer.files}


async def recompute(client: Client, filings: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Recompute stored assessments, by MRN and version, by the law that each names."""
    request = pb.RecomputeAssessmentsRequest(
        filings=[pb.AssessedFiling(mrn=mrn, version=number) for mrn, number in filings]
    )
    answer = await _ask(client, "RecomputeAssessments", request, pb.RecomputeAssessmentsResponse)
    return [
        {
            "mrn": each.filing.mrn,
            "version": each.filing.version,
            "rulebook_version": each.rulebook_version,
            "reason": each.reason,
            "currency": each.currency,
            "stored_minor": each.stored_minor,
            "recomputed_minor": each.recomputed_minor,
            "equal": each.equal,
        }
        for each in answer.results
    ]


def _version(message: pb.LawVersion) -> dict[str, Any]:
    return {"activations": [], "what_if_ids": [], **plain(message)}
