"""Rules by country and day: on which days they apply, and which files are refused, against the calendar."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Strings
from libs.files.dated_rules import DatedRule, applicable, read
from libs.files.yaml_file import YamlError

FIRST = date(2026, 2, 27)
DAYS = [FIRST + timedelta(days=number) for number in range(8)]
COUNTRIES = ("DE", "FR", "CH")
Drawn = tuple[frozenset[str], int, int | None]
"""Countries, first and last day of a rule."""
RULE = st.tuples(
    st.frozensets(st.sampled_from(COUNTRIES), min_size=1),
    st.integers(0, 7),
    st.one_of(st.none(), st.integers(0, 7)),
)


def text(
    *rules: Drawn,
    line: str = "- {{jurisdiction: X, areas: [{areas}], from: {start}{to}, law: L, article: A, address: U}}",
) -> str:
    """Return a file."""
    lines = [
        line.format(areas=", ".join(sorted(areas)), start=DAYS[start], to="" if to is None else f", to: {DAYS[to]}")
        for areas, start, to in rules
    ]
    return "\n".join(["format: 1", "rules:" if lines else "rules: []", *lines])


def on(rules: list[Drawn], country: str, day: int) -> list[int]:
    """Return the numbers of the rules of a country on a day."""
    return [
        number
        for number, (areas, start, to) in enumerate(rules)
        if country in areas and start <= day and (to is None or day <= to)
    ]


@given(st.lists(RULE, max_size=4))
def test_a_file_is_read_where_no_country_has_two_rules_on_a_day_or_if_refused_none_between_two(
    tmp_path_factory: pytest.TempPathFactory, rules: list[Drawn]
) -> None:
    path = tmp_path_factory.getbasetemp() / "rules.yaml"
    path.write_text(text(*rules))
    numbers = {country: [on(rules, country, day) for day in range(len(DAYS))] for country in COUNTRIES}
    ordered = all(to is None or start <= to for _, start, to in rules)
    single = all(len(each) < 2 for of_days in numbers.values() for each in of_days)
    if not (ordered and single):
        with pytest.raises(
            YamlError, match=r"rules.yaml:\d+: (to: .* is before|areas: .* has two rules on) .* \(at rules\[\d\]\)"
        ):
            read(path, DatedRule)
        return
    found = read(path, DatedRule)
    covered = {country: [day for day, each in enumerate(of_days) if each] for country, of_days in numbers.items()}
    if all(days == list(range(days[0], days[-1] + 1)) for days in covered.values() if days):
        assert read(path, DatedRule, gaps=False) == found
    else:
        with pytest.raises(YamlError, match=r"from: .. has no rule on .* \(at rules\[\d\]\)"):
            read(path, DatedRule, gaps=False)
    # As law is applied: to many goods of different days, and to goods of one day.
    goods = [(country, day) for country in (*COUNTRIES, "US", "") for day in range(len(DAYS))]
    countries = Strings.of([country for country, _ in goods])
    days = np.array([(DAYS[day] - date(1970, 1, 1)).days for _, day in goods], np.int64)
    expected = [on(rules, country, day) for country, day in goods]
    assert _numbers(found, countries, days) == expected
    for day, number in enumerate(days[: len(DAYS)].tolist()):
        assert _numbers(found, countries, number) == [on(rules, country, day) for country, _ in goods]


def _numbers(rules: tuple[DatedRule, ...], countries: Strings, days: np.ndarray | int) -> list[list[int]]:
    numbers: list[list[int]] = [[] for _ in countries.tolist()]
    for rule, rows in applicable(rules, countries, days):
        for row in np.flatnonzero(rows).tolist():
            numbers[row].append(rules.index(rule))
    return numbers


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (text((frozenset({"DE"}), 0, None), (frozenset({"DE", "UK"}), 1, 1)), r"rules.yaml:4: areas: UK is no country \(at rules\[1\]\)"),
        (text((frozenset({"DE"}), 1, 0)), r"rules.yaml:3: to: 2026-02-27 is before 2026-02-28 \(at rules\[0\]\)"),
        (text((frozenset({"DE"}), 0, 3), (frozenset({"DE"}), 3, 4)), r"rules.yaml:4: areas: DE has two rules on 2026-03-02 \(at rules\[1\]\)"),
        (text((frozenset(), 0, 1)), r"rules.yaml:3: .*\(at rules\[0\]\.areas\)"),
        (text((frozenset({"DE"}), 0, 1)).replace("law", "lex"), r"rules.yaml:3: .*lex"),
        (text().replace("format: 1", "format: 2"), "rules.yaml:1: .*2"),
        (text().replace("format: 1", ""), "rules.yaml:.*format"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_the_line_and_the_entry(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    with pytest.raises(YamlError, match=error):
        read(path, DatedRule)
