"""Labelled files: each mistake is told with its line and column, and unknown is never zero."""

from __future__ import annotations

import numpy as np
import pytest

from services.risk.learning.training.labelled_file import LabelledFileRefused, Layout, read_labelled

LAYOUT = Layout(
    label="Outcome",
    violations=("found", "seized"),
    clean=("nothing",),
    numbers={"mass": "Net Mass"},
    words={"hs": "HS6", "origin": "Origin"},
    copies=("HS6", "Net Mass"),
    day="Date",
)
HEAD = "Date,HS6,Origin,Net Mass,Outcome\n"


def test_a_file_becomes_columns_outcomes_groups_and_days() -> None:
    text = HEAD + '1970-01-02,610910,CN,1.5,found\n1970-01-03,610910,"",1.5,nothing\n2026-11-25,950300,TR,,seized\n'
    read = read_labelled(text.encode("utf-8-sig"), LAYOUT, "outcomes.csv")
    assert read.violations.tolist() == [True, False, True]
    np.testing.assert_array_equal(read.sample.numbers["mass"], [1.5, 1.5, np.nan])
    assert read.sample.words["origin"].tolist() == ["CN", "", "TR"]
    assert read.groups.tolist() == [0, 0, 1]
    assert read.days.tolist() == [1, 2, 20_782]


def test_every_mistake_is_told_with_line_and_column() -> None:
    rows = [
        "2026-11-25,1,CN,heavy,found",
        "yesterday,1,CN,2,found",
        "2026-11-25,1,CN,3,perhaps",
        "2026-11-25,1",
        "2026-11-25,1,CN,inf,found",
    ]
    with pytest.raises(LabelledFileRefused) as refused:
        read_labelled((HEAD + "\n".join(rows)).encode(), LAYOUT, "outcomes.csv")
    told = str(refused.value)
    assert told.startswith("outcomes.csv: the labelled file is refused; correct these and give it again:")
    for mistake in (
        "line 2, Net Mass: 'heavy' is no number; leave unknown ones empty",
        "line 3, Date: 'yesterday' is no day; write it as 2026-11-25",
        "line 4, Outcome: 'perhaps' is none of nothing, found, seized",
        "line 5: 2 cells where the first line has 5",
        "line 6, Net Mass: 'inf' is no number; leave unknown ones empty",
    ):
        assert mistake in told


def test_only_the_first_mistakes_are_told() -> None:
    rows = "\n".join("2026-11-25,1,CN,x,found" for _ in range(50))
    with pytest.raises(LabelledFileRefused, match="and 30 more"):
        read_labelled((HEAD + rows).encode(), LAYOUT, "outcomes.csv")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "line 1 lacks Outcome, Net Mass, HS6, Origin, Date"),
        (b"Date,HS6,Origin,Outcome\n", "line 1 lacks Net Mass"),
        (HEAD.encode(), "line 2: there is no row"),
        (b"Date,HS6,HS6,Origin,Net Mass,Outcome\n", "line 1 names HS6 twice"),
        (HEAD.encode() + b"\xff", "is not UTF-8"),
        (HEAD.encode() + b'2026-11-25,"1,CN,2,found', "unexpected end of data"),
    ],
)
def test_what_is_no_labelled_file_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(LabelledFileRefused, match=why):
        read_labelled(data, LAYOUT, "outcomes.csv")


def test_rows_stand_alone_where_the_layout_names_no_copies() -> None:
    layout = Layout(label="Outcome", violations=("1",), clean=("0",), numbers={}, words={"hs": "HS6"})
    read = read_labelled(b"HS6,Outcome\n1,0\n1,1\n", layout, "outcomes.csv")
    assert read.groups.tolist() == [0, 1]
    assert read.days.tolist() == [0, 0]
