"""The bounds that contracts state are kept on both sides, each refusal has its path, and the comments say the same."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from libs.bounds import bound_of, bounds_of
from libs.server import catalogue
from luxor.bounds.v1 import bounds_pb2
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.feed.v1 import feed_pb2 as feed
from luxor.revenue.v1 import ledger_pb2 as ledger
from luxor.revenue.v1 import what_if_pb2 as what_if
from luxor.risk.v1 import models_pb2 as models
from luxor.statistics.v1 import statistics_pb2 as statistics

PROTOS = Path(__file__).resolve().parents[2] / "protos"
_FIELD = re.compile(r"((?:^ +// .*\n)+)^ +(?:optional |repeated )?[\w.]+ (\w+) = \d+(?: \[[^\]]*\])?;", re.MULTILINE)
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def found(message: Any) -> list[tuple[str, str]]:
    """Return reason and path of what is beyond its bounds; both passes agree."""
    bounds = bounds_of(type(message))
    excesses = [(each.reason, each.path) for each in bounds.excesses(message)]
    assert bounds.pass_all(message) is not bool(excesses)
    return excesses


CASES: list[tuple[Any, list[tuple[str, str]]]] = [
    (clearance.PullNoticesRequest(cursor="x" * 512), []),
    (clearance.PullNoticesRequest(cursor="x" * 513), [("NOTICE_CURSOR_MALFORMED", "cursor")]),
    (clearance.PullNoticesRequest(page_size=1_000, wait_millis=20_000), []),
    (clearance.PullNoticesRequest(page_size=2**31 - 1), []),
    (clearance.PullNoticesRequest(page_size=-1), [("NUMBER_NEGATIVE", "page_size")]),
    (clearance.PullNoticesRequest(wait_millis=20_001), [("WAIT_TOO_LONG", "wait_millis")]),
    (ledger.ListAccountsRequest(prefix="x" * 2_048), []),
    (ledger.ListAccountsRequest(prefix="x" * 2_049), [("TEXT_TOO_LONG", "prefix")]),
    (ledger.ListAccountsRequest(prefix="a\x00"), [("TEXT_UNPRINTABLE", "prefix")]),
    (ledger.ListAccountsRequest(prefix="a\tb"), [("TEXT_UNPRINTABLE", "prefix")]),
    (ledger.ListEntriesRequest(from_day="2026-11-01", to_day="2100-01-01"), []),
    (ledger.ListEntriesRequest(from_day="2026-11-011"), [("DAY_MALFORMED", "from_day")]),
    (feed.SummarizeDaysRequest(from_day=0, to_day=47_482), []),
    (feed.SummarizeDaysRequest(from_day=-1), [("NUMBER_NEGATIVE", "from_day")]),
    (feed.SummarizeDaysRequest(to_day=47_483), [("NUMBER_TOO_LARGE", "to_day")]),
    (what_if.GetWhatIfRequest(id=10**18), []),
    (what_if.GetWhatIfRequest(id=-(10**18)), []),
    (what_if.GetWhatIfRequest(id=10**18 + 1), [("NUMBER_TOO_LARGE", "id")]),
    (what_if.GetWhatIfRequest(id=-(10**18) - 1), [("NUMBER_TOO_SMALL", "id")]),
    (ledger.Balance(debit_minor=10**12, credit_minor=-(10**12)), []),
    (ledger.Balance(debit_minor=10**12 + 1), [("NUMBER_TOO_LARGE", "debit_minor")]),
    (ledger.Balance(credit_minor=-(10**12) - 1), [("NUMBER_TOO_SMALL", "credit_minor")]),
    (feed.ReadSnapshotRequest(partitions=range(1_000)), []),
    (feed.ReadSnapshotRequest(partitions=range(1_001)), [("LIST_TOO_LONG", "partitions")]),
    (statistics.QueryStatisticsRequest(group_by=[1, 10]), []),
    (statistics.QueryStatisticsRequest(group_by=[1, 99]), [("CHOICE_UNKNOWN", "group_by[1]")]),
    (
        statistics.QueryStatisticsRequest(filters=[statistics.Filter(values=["DE"] * 501)]),
        [("LIST_TOO_LONG", "filters[0].values")],
    ),
    (models.Metric(value=1e308), []),
    (models.Metric(value=math.nan), [("NUMBER_NOT_FINITE", "value")]),
    (models.Metric(value=-math.inf), [("NUMBER_NOT_FINITE", "value")]),
    (what_if.Draft(files=[what_if.LawFile(name="a", text="a: 1\r\n\tb")]), []),
    (what_if.Draft(files=[what_if.LawFile(text="a\x0b")]), [("TEXT_UNPRINTABLE", "files[0].text")]),
    (what_if.Draft(files=[what_if.LawFile(name="a\n")]), [("TEXT_UNPRINTABLE", "files[0].name")]),
]


@pytest.mark.parametrize(("message", "expected"), CASES, ids=lambda each: repr(each)[:40])
def test_a_value_within_its_bounds_passes_and_one_beyond_is_named(
    message: Any, expected: list[tuple[str, str]]
) -> None:
    assert found(message) == expected


@pytest.mark.parametrize(
    ("seconds", "nanos", "passes"),
    [
        (946_684_800, 0, True),
        (946_684_799, 999_999_999, False),
        (4_102_444_800, 0, True),
        (4_102_444_800, 1_000, False),
        (1_790_000_000, 999_999_999, True),
        (1_790_000_000, 10**9, False),
        (1_790_000_000, -1, False),
        (2**62, 0, False),
        (-(2**63), -(2**31), False),
    ],
)
def test_a_time_is_one_that_columns_and_stores_can_hold(seconds: int, nanos: int, passes: bool) -> None:
    request = ledger.ListBalancesRequest()
    request.at.seconds, request.at.nanos = seconds, nanos
    assert found(request) == ([] if passes else [("MOMENT_OUT_OF_BOUNDS", "at")])


def test_an_entry_of_a_batch_is_named_with_its_place_and_text_is_not_shown() -> None:
    request = clearance.ReleaseConsignmentsRequest(note="a\x00secret")
    request.consignments.add(mrn="x" * 18)
    request.consignments.add(mrn="x" * 19, expected_version=2**62)
    excesses = list(bounds_of(type(request)).excesses(request))
    assert [(each.path, each.entry) for each in excesses] == [
        ("consignments[1].mrn", ("consignments", 1)),
        ("consignments[1].expected_version", ("consignments", 1)),
        ("note", None),
    ]
    assert excesses[2].value == ""


def reachable() -> Iterator[Descriptor]:
    """Yield every message of our contracts that a request may hold."""
    seen: set[str] = set()

    def visit(message: Descriptor) -> Iterator[Descriptor]:
        if message.full_name not in seen and message.file.package.startswith("luxor."):
            seen.add(message.full_name)
            yield message
            for field in message.fields:
                if field.message_type is not None:
                    yield from visit(field.message_type)

    for path in sorted(PROTOS.rglob("*.proto")):
        name = ".".join(path.relative_to(PROTOS).with_suffix("").parts)
        for service in importlib.import_module(f"{name}_pb2").DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield from visit(method.input_type)


def test_every_reason_that_a_contract_names_is_in_the_catalogue() -> None:
    for message in reachable():
        for field in message.fields:
            if bound_of(field).reason:
                catalogue.reason(bound_of(field).reason)


def test_comments_and_bounds_say_the_same() -> None:
    wrong = []
    for message in reachable():
        text = dict(_MESSAGE.findall((PROTOS / message.file.name).read_text("utf-8"))).get(message.name, "")
        for comment, name in _FIELD.findall(text):
            field = message.fields_by_name[name]
            told = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines()).partition(
                "Example"
            )[0]
            if not field.GetOptions().Extensions[bounds_pb2.field].HasField("characters_max"):
                continue
            characters = [int(each) for each in re.findall(r"\ban?(?:\.\.)?(\d+)\b", told)]
            if (
                field.type == FieldDescriptor.TYPE_STRING
                and characters
                and bound_of(field).characters_max != max(characters)
            ):
                wrong.append(f"{field.full_name}: {told}")
    assert not wrong
