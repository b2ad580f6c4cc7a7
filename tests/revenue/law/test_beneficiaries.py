"""Whose revenue charges are, by kind, destination and day: each part of the definition by itself."""

from datetime import date

import pytest

from services.revenue.law.program.beneficiaries import KINDS, RevenueDivision, Share, Sharing
from services.revenue.law.source.reader import read_rulebook
from tests.revenue.law.lawbooks import UTOPIA
from tests.revenue.law.refusals import Changes, changed


def days(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def entry(start: str, kinds: list[str], *parts: dict[str, str], **more: object) -> dict[str, object]:
    return {"from": date.fromisoformat(start), "kinds": kinds, "parts": list(parts), "reference": "act"} | more


QUARTER = {"to": "destination", "share": "25 %"}
ENTRIES = [
    entry("2021-01-01", ["duty", "fee"], QUARTER, {"to": "XX"}, to=date(2022, 12, 31)),
    entry("2023-01-01", ["duty"], {"to": "destination"}),
    entry("2020-01-01", ["tax"], {"to": "XA", "share": "10 %"}, QUARTER, {"to": "XFUND", "share": "0.0001 %"}, {"to": "XX"}),
]  # fmt: skip


def sharing(entries: list[dict[str, object]], changes: Changes | None = None) -> Sharing:
    text = changed(UTOPIA, {"beneficiaries": entries} | (changes or {}))
    return Sharing([read_rulebook("xx/rulebook.yaml", text).rulebook])


def division(kind: str, destination: str, day: str, of: Sharing | None = None) -> list[tuple[str, int]]:
    found = (of or sharing(ENTRIES)).division("XX", KINDS.index(kind), destination, days(day))
    return [(each.beneficiary, each.ppm) for each in found.shares]


@pytest.mark.parametrize(
    ("kind", "destination", "day", "shares"),
    [
        ("duty", "XA", "2020-12-31", [("XX", 0)]),
        ("duty", "XA", "2021-01-01", [("XA", 250_000), ("XX", 0)]),
        ("fee", "XB", "2022-12-31", [("XB", 250_000), ("XX", 0)]),
        ("fee", "XB", "2023-01-01", [("XX", 0)]),
        ("duty", "XB", "2023-01-01", [("XB", 0)]),
        # A destination that is no area of the jurisdiction has no treasury of its own.
        ("duty", "DE", "2021-01-01", [("XX", 0)]),
        ("duty", "", "2023-01-01", [("XX", 0)]),
        ("tax", "XB", "2023-01-01", [("XA", 100_000), ("XB", 250_000), ("XFUND", 1), ("XX", 0)]),
        # Both parts of the destination's treasury are its own.
        ("tax", "XA", "2023-01-01", [("XA", 350_000), ("XFUND", 1), ("XX", 0)]),
        ("tax", "DE", "2023-01-01", [("XA", 100_000), ("XFUND", 1), ("XX", 0)]),
    ],
)
def test_a_charge_is_divided_by_the_entry_of_its_kind_and_day(
    kind: str, destination: str, day: str, shares: list[tuple[str, int]]
) -> None:
    assert division(kind, destination, day) == shares


def test_without_an_entry_all_is_the_jurisdictions_and_of_another_jurisdiction_nothing_is_known() -> None:
    assert sharing(ENTRIES).division("YY", 1, "XA", days("2021-01-01")) == RevenueDivision((Share("YY", 0),), "")
    assert Sharing().division("XX", 1, "XA", days("2021-01-01")) == RevenueDivision((Share("XX", 0),), "")
    assert sharing(ENTRIES).division("XX", 1, "XA", days("2021-01-01")).reference == "act"


def test_an_entry_ends_with_the_period_of_its_rulebook_where_another_follows() -> None:
    first = changed(
        UTOPIA,
        {"beneficiaries": [entry("2021-01-01", ["duty"], QUARTER, {"to": "XX"})], "period.to": date(2022, 6, 30)},
    )
    second = changed(UTOPIA, {"beneficiaries": [entry("2022-07-01", ["duty"], {"to": "XFUND"})], "areas": ["XB", "XC"], "charges.levy.areas": ["XB"],
                              "charges.stamp.rates.1.areas": ["XC"], "period.from": date(2020, 1, 1)})  # fmt: skip
    both = Sharing([read_rulebook(name, text).rulebook for name, text in (("a", first), ("b", second))])
    assert [division("duty", "XA", day, both) for day in ("2022-06-30", "2022-07-01")] == [
        [("XA", 250_000), ("XX", 0)],
        [("XFUND", 0)],
    ]
    # Areas of both are areas of the jurisdiction.
    assert both.treasuries("XX") == {"XX", "XA", "XB", "XC", "XFUND"}


def test_treasuries_are_the_jurisdiction_its_areas_and_whom_its_entries_name() -> None:
    assert sharing(ENTRIES).treasuries("XX") == {"XX", "XA", "XB", "XFUND"}
    assert sharing(ENTRIES).treasuries("YY") == {"YY"}
    assert Sharing().treasuries("XX") == {"XX"}
