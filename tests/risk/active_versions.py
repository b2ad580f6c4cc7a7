"""The rules, lists and controls that are shipped, as the versions in force."""

from __future__ import annotations

from functools import cache

from services.risk.assessment.assessment import ActiveVersions
from services.risk.config import PROFILES
from services.risk.goods.controls import load_controls
from services.risk.screening.lists.list_files import read_lists_file
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import Screener
from tests.risk.filings import first_light


@cache
def shipped() -> Index:
    return Screener([each.load() for each in read_lists_file(PROFILES / "lists").lists.values()]).index


@cache
def in_force() -> ActiveVersions:
    return ActiveVersions(
        first_light(), shipped(), load_controls(sorted((PROFILES / "data" / "controls").glob("*.yaml")))
    )
