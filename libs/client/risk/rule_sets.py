"""Rule sets for an analyst's program: check, propose, activate, retire and read them, as plain values."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain
from luxor.risk.v1 import rule_sets_pb2 as pb
from luxor.risk.v1.rule_sets_pb2_grpc import RuleSetServiceStub

PAGE: Final = 100
_MANY: Final = ("errors", "warnings", "rules")


def gather(profile: Path) -> tuple[pb.RuleSetFiles, Path]:
    """Return a profile with the files that it names and those of what it builds on, and the directory that their paths are
    relative to; raise LuxorError FILE_UNREADABLE.

    Files that are named and not there are left out: the service tells where they are named.
    """
    contents: dict[Path, bytes] = {}
    _gather(profile, contents)
    place = Path(os.path.abspath(profile))
    if place not in contents:
        raise LuxorError.from_reason("FILE_UNREADABLE", path=str(profile), why=_missing_reason(profile))
    root = Path(os.path.commonpath([path.parent for path in contents]))
    files = [pb.RuleSetFile(path=path.relative_to(root).as_posix(), content=contents[path]) for path in contents]
    return pb.RuleSetFiles(profile_path=place.relative_to(root).as_posix(), files=files), root


def _gather(path: Path, files: dict[Path, bytes]) -> None:
    path = Path(os.path.abspath(path))
    if path in files or not path.is_file():
        return
    files[path] = _read(path)
    try:
        profile_data = yaml.load(files[path], yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        return
    if not isinstance(profile_data, dict):
        return
    base, selection, data = profile_data.get("base"), profile_data.get("selection"), profile_data.get("data")
    if isinstance(base, str):
        _gather(path.parent / base, files)
    references = [selection, *(data.values() if isinstance(data, dict) else ())]
    for other in references:
        referenced = Path(os.path.abspath(path.parent / other)) if isinstance(other, str) else path
        if referenced not in files and referenced.is_file():
            files[referenced] = _read(referenced)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LuxorError.from_reason("FILE_UNREADABLE", path=str(path), why=error.strerror or "") from None


def _missing_reason(path: Path) -> str:
    return "it is no file" if path.exists() else "there is no such file"


async def _ask(client: Client, method: str, request: Any, kind: Any) -> Any:
    return await client.ask("risk", RuleSetServiceStub, method, request, kind)


async def check(client: Client, files: pb.RuleSetFiles) -> dict[str, Any]:
    """Check a set and return the report; nothing is stored."""
    request = pb.CheckRuleSetRequest(set=files)
    answer = await _ask(client, "CheckRuleSet", request, pb.CheckRuleSetResponse)
    return report(answer.report)


async def propose(
    client: Client, files: pb.RuleSetFiles, note: str = "", *, request_id: str | None = None
) -> dict[str, Any]:
    """Propose a set; return the draft with its report."""
    request = pb.ProposeRuleSetRequest(set=files, note=note, request_id=request_id or "")
    answer = await _ask(client, "ProposeRuleSet", request, pb.ProposeRuleSetResponse)
    return {**plain(answer.rule_set), "report": report(answer.report)}


async def activate(client: Client, version: str, *, request_id: str | None = None) -> dict[str, Any]:
    """Put a set into force, as a second person; return it with the version that it replaced."""
    request = pb.ActivateRuleSetRequest(version=version, request_id=request_id or "")
    answer = await _ask(client, "ActivateRuleSet", request, pb.ActivateRuleSetResponse)
    return {**plain(answer.rule_set), "replaced": answer.replaced}


async def retire(client: Client, version: str, *, request_id: str | None = None) -> dict[str, Any]:
    """Withdraw a draft; return it."""
    request = pb.RetireRuleSetRequest(version=version, request_id=request_id or "")
    answer = await _ask(client, "RetireRuleSet", request, pb.RetireRuleSetResponse)
    return plain(answer.rule_set)


async def rule_sets(client: Client) -> dict[str, Any]:
    """Return all stored sets, the newest proposal first, and the active version."""
    kept: list[dict[str, Any]] = []
    active = ""
    request = pb.ListRuleSetsRequest(page_size=PAGE)
    async for page in pages(client, "risk", RuleSetServiceStub, "ListRuleSets", request, pb.ListRuleSetsResponse):
        kept += map(plain, page.rule_sets)
        active = page.active_version
    return {"active_version": active, "rule_sets": kept}


async def rule_set(client: Client, version: str) -> tuple[dict[str, Any], Mapping[str, bytes]]:
    """Return a stored set with its report and the names of its files, and the files' contents."""
    request = pb.GetRuleSetFilesRequest(version=version)
    answer = await _ask(client, "GetRuleSetFiles", request, pb.GetRuleSetFilesResponse)
    files = {each.path: each.content for each in answer.set.files}
    result = {**plain(answer.rule_set), "profile": answer.set.profile_path, "files": list(files)}
    return {**result, "report": {**report(answer.report), "own_rules": own_rules(answer.set)}}, files


def report(message: pb.RuleSetReport) -> dict[str, Any]:
    """Return a report as plain values, with its lists also where they are empty."""
    return {**{name: [] for name in _MANY}, "sample_consignments": 0, **plain(message)}


def own_rules(files: pb.RuleSetFiles) -> list[str]:
    """Return the ids of the rules that a profile says itself, in its order; those of what it builds on are left out."""
    (content,) = (each.content for each in files.files if each.path == files.profile_path)
    try:
        profile_data = yaml.load(content, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        return []
    rules = profile_data.get("rules") if isinstance(profile_data, dict) else None
    return (
        [str(each["id"]) for each in rules if isinstance(each, dict) and "id" in each]
        if isinstance(rules, list)
        else []
    )


def placed(report: dict[str, Any], root: Path) -> dict[str, Any]:
    """Return a report whose files are called as the caller's own, whose paths are relative to a directory."""
    for each in (*report["errors"], *report["warnings"]):
        each["file"] = os.path.relpath(root / each.get("file", ""))
    return report
