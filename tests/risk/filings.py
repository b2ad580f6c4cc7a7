"""Consignments for risk's tests: an honest one, what a test changes in it, and many as a table."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from libs.columns import Ints, Strings, Table
from libs.customs.time import day_of_date, start_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.risk.rules.rule_set import RuleSet, load_rule_set

CASES = Path(__file__).parent / "cases"
PROFILE = Path(__file__).parents[2] / "services" / "risk" / "profiles" / "first_light.yaml"
TODAY = date(2026, 11, 25)


@cache
def first_light() -> RuleSet:
    """The profile that risk ships with."""
    return load_rule_set(PROFILE)


@cache
def _base() -> dict[str, Any]:
    base: dict[str, Any] = yaml.safe_load((CASES / "base.yaml").read_text())
    return base


def changed(base: Any, change: Any) -> Any:
    """`change` laid over `base`: key by key, item by item; null removes."""
    if isinstance(base, dict) and isinstance(change, dict):
        merged = {**base, **{key: changed(base.get(key), value) for key, value in change.items()}}
        return {key: value for key, value in merged.items() if value is not None}
    if isinstance(base, list) and isinstance(change, list) and base and change and isinstance(change[0], dict):
        if "scheme" in change[0]:
            return change
        return [changed(base[min(index, len(base) - 1)], each) for index, each in enumerate(change)]
    return change


def consignment(change: dict[str, Any] | None = None) -> Consignment:
    """The honest consignment with a change."""
    message: Consignment = json_format.ParseDict(changed(deepcopy(_base()), change or {}), Consignment())
    return message


def table(
    changes: Sequence[dict[str, Any]], accepted: date = TODAY, first_mrn: int = 0, versions: Sequence[int] | None = None
) -> Table:
    """Consignments as ingestion tells them, all accepted on one day, with made-up MRNs that count up."""
    rows = Table.from_messages([consignment(change) for change in changes], ConsignmentColumns, Consignment)
    count = len(changes)
    return rows.with_columns(
        {
            "mrn": Strings.of([f"26DE{first_mrn + index:012d}R1" for index in range(count)]),
            "version": Ints.of(versions or [1] * count),
            "accepted_at": Ints.of([start_of(day_of_date(accepted))] * count),
        }
    )


#: Rules that ask history; their cases are in test_history_rules.py.
BY_HISTORY = {"SPLIT_UNDER_THRESHOLD", "PRICE_IN_LOWEST_HUNDREDTH", "SELLER_NEW_AND_BUSY", "CODE_UNLIKELY"}
