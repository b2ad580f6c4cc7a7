"""Parties of a batch against lists: hits as findings, what they tell to whom, and that each name is looked up once."""

from __future__ import annotations

from functools import cache

from libs.columns import Table
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.__main__ import PROFILES
from services.risk.assessing import InForce, assess_batch
from services.risk.goods.controls import load_controls
from services.risk.screening.delta import Screener
from services.risk.screening.index import Index, build
from services.risk.screening.list_files import read_index
from services.risk.screening.parties import EXPLANATION_MAX, versions_of
from tests.risk.filings import first_light, table
from tests.risk.screening.support import entry, version


@cache
def shipped() -> Index:
    return Screener([each.load() for each in read_index(PROFILES / "lists").values()]).index


@cache
def in_force() -> InForce:
    return InForce(first_light(), shipped(), load_controls(sorted((PROFILES / "data" / "controls").glob("*.yaml"))))


def assessed(*changes: dict[str, object], index: Index | None = None) -> Table:
    means = in_force() if index is None else InForce(first_light(), index, in_force().controls)
    return assess_batch(means, table(list(changes)), pb.PURPOSE_CLEARANCE).table


def matches(assessments: Table) -> list[tuple[str, str, int | None]]:
    findings = assessments.child("findings")
    return [
        (party, number, score)
        for party, number, score in zip(
            findings.strings("party").tolist(),
            findings.strings("list_entry").tolist(),
            findings.ints("match_score").tolist(),
            strict=True,
        )
        if party
    ]


def test_a_listed_name_in_other_letters_and_order_is_red_and_tells_list_and_entry_to_officers() -> None:
    assessments = assessed({"consignor": {"name": "DRASTHOVA, Quillán"}}, {})
    assert assessments.ints("lane").tolist() == [pb.LANE_RED, pb.LANE_GREEN]
    assert matches(assessments) == [("consignor", "5", 1000)]
    findings = assessments.child("findings")
    assert findings.strings("rule").tolist() == ["LISTED_PARTY"]
    assert findings.strings("list").tolist() == [shipped().versions[0].id]
    assert findings.strings("explanation").tolist() == [
        "1000 of 1000 for Quillan Drasthova: drasthova is drasthova: the same; quillan is quillan: the same"
    ]
    # What filers are told names neither.
    assert findings.strings("sentence").tolist() == [
        "The name of the consignor is that of a listed party, or near to it."
    ]


def test_a_slip_of_the_pen_and_another_legal_form_hit_too() -> None:
    assessments = assessed(
        {"consignee": {"name": "Benedikta Murowhain"}}, {"seller": {"name": "Black Osprey Components Ltd"}}
    )
    assert [(party, number) for party, number, _ in matches(assessments)] == [("consignee", "4"), ("seller", "10")]


def test_part_of_a_listed_name_is_another_name() -> None:
    assert matches(assessed({"consignor": {"name": "Quillan Berg"}})) == []


def test_every_party_is_screened_and_each_holder_of_a_name_is_found() -> None:
    name = "Zorvath Kelmendar"
    parties = ("consignor", "consignee", "seller", "buyer", "importer")
    assessments = assessed(*({party: {"name": name}} for party in parties), {})
    assert [party for party, _, _ in matches(assessments)] == list(parties)
    assert assessments.ragged("findings").lengths.tolist() == [1] * 5 + [0]


def test_one_party_names_three_entries_at_most_and_counts_its_points_once() -> None:
    index = build([(version(entries=5), [entry(str(number), "Zorvath Kelmendar") for number in range(5)])])
    assessments = assessed({"consignor": {"name": "Zorvath Kelmendar"}}, index=index)
    assert len(matches(assessments)) == 3
    assert assessments.ints("score").tolist() == [1000]


def test_an_assessment_names_every_list_that_it_was_screened_against_once_a_batch() -> None:
    assessments = assessed({}, {}, {"consignor": {"name": "Zorvath Kelmendar"}})
    lists = assessments.strings("lists")
    assert lists.dictionary == [versions_of(shipped())]
    assert lists.tolist() == [shipped().versions[0].id] * 3
    assert assessments.strings("controls").dictionary == [in_force().controls.version]


def test_an_explanation_is_cut_where_it_would_be_longer_than_its_bound() -> None:
    long = " ".join(f"{letter * 9}kel" for letter in "abcdefghijklmnopqrstuvwxyz")
    index = build([(version(), [entry("1", long)])])
    (told,) = assessed({"consignor": {"name": long}}, index=index).child("findings").strings("explanation").tolist()
    assert len(told) == EXPLANATION_MAX
    assert told.endswith("…")
