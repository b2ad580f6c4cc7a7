"""Drafts of rule sets that tests run over the past, and consignments that they tell apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luxor.risk.v1.rule_sets_pb2 import RuleSetFile, RuleSetFiles
from tests.risk.filings import PROFILE

CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"nature": "NATURE_GIFT"},
    {"consignor": {"name": "Quillan Drasthova"}},
    {"nature": "NATURE_GIFT", "consignor": {"name": "Quillan Drasthova"}},
)


def draft(change: Callable[[str], str] = lambda text: text) -> RuleSetFiles:
    """The first profile as files, its text changed."""
    files = [
        RuleSetFile(path=path.relative_to(PROFILE.parent).as_posix(), content=path.read_bytes())
        for path in sorted(PROFILE.parent.rglob("*.yaml"))
        if path != PROFILE
    ]
    content = change(PROFILE.read_text()).encode()
    return RuleSetFiles(profile_path=PROFILE.name, files=[*files, RuleSetFile(path=PROFILE.name, content=content)])
