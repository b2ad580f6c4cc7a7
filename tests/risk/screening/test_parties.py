"""Parties of a batch against lists: hits as findings, what they tell to whom, and that each name is looked up once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from libs.columns import Ints, Table
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import ActiveVersions, assess_batch, begin_findings
from services.risk.screening.lists.cleared_pairs import CLEARED, ClearedPairs, Pair
from services.risk.screening.lists.party_list import EntryKind, EntryName, ListEntry, Quality
from services.risk.screening.matching import explanation as explaining
from services.risk.screening.matching.index import Index, build
from services.risk.screening.matching.scores import STRONG, NameBatch, read_batch
from services.risk.screening.parties import (
    ENTRIES_MAX,
    EXPLANATION_MAX,
    MATCHES_MANY,
    NAMES_MANY,
    POINTS_WEAK,
    MatchLevels,
    PartyMatches,
    screen_parties,
    versions_of,
)
from tests.risk.active_versions import in_force, shipped
from tests.risk.filings import TODAY, first_light, table
from tests.risk.screening.support import entry, version


def assessed(*changes: dict[str, object], index: Index | None = None) -> Table:
    means = in_force() if index is None else ActiveVersions(first_light(), index, in_force().controls)
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
    assert assessments.ints("lane").tolist() == [common_pb2.LANE_RED, common_pb2.LANE_GREEN]
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


def weakly(*aliases: str, name: str = "Somebody Other") -> ListEntry:
    return ListEntry("9", EntryKind.PERSON, (EntryName(name), *(EntryName(each, Quality.WEAK) for each in aliases)))


def test_a_weak_alias_and_a_distant_match_advise_documents_and_add_fewer_points_than_a_strong_hit() -> None:
    index = build([(version(), [weakly("Zorvath Kelmendar")])])
    assessments = assessed({"consignor": {"name": "Zorvath Kelmendar"}}, index=index)
    assert assessments.ints("lane").tolist() == [common_pb2.LANE_YELLOW]
    assert assessments.ints("score").tolist() == [POINTS_WEAK]
    (told,) = assessments.child("findings").strings("explanation").tolist()
    assert told.startswith("1000 of 1000 for Zorvath Kelmendar, a weak alias: ")
    near = {"consignor": {"name": "Quilan Drasthowa"}}
    ((_, _, score),) = matches(assessed(near))
    assert score is not None
    for levels, lane in (
        (MatchLevels(870, score), common_pb2.LANE_RED),
        (MatchLevels(870, score + 1), common_pb2.LANE_YELLOW),
        (MatchLevels(score + 1, 1000), common_pb2.LANE_GREEN),
    ):
        means = replace(in_force(), match=levels)
        answer = assess_batch(means, table([near]), pb.PURPOSE_CLEARANCE).table
        assert answer.ints("lane").tolist() == [lane]
        assert answer.ints("match_threshold").tolist() == [levels.minimum]


def test_an_entry_that_is_met_by_a_good_name_too_is_a_strong_hit_and_stands_before_weak_ones() -> None:
    index = build([(version(), [weakly("Zorvath Kelmendar"), entry("1", "Zorvath Kelmendarr")])])
    (first, second) = matches(assessed({"consignor": {"name": "Zorvath Kelmendar"}}, index=index))
    # However near the weak one is, the strong one is told first.
    assert (first[1], second[1]) == ("1", "9")
    assert first[2] is not None
    assert STRONG <= first[2] < 1000 == second[2]
    both = build([(version(), [weakly("Zorvath Kelmendar", name="Zorvath Kelmendaar")])])
    assert assessed({"consignor": {"name": "Zorvath Kelmendar"}}, index=both).ints("lane").tolist() == [
        common_pb2.LANE_RED
    ]


def test_the_points_of_all_hits_of_a_consignment_count_once() -> None:
    index = build([(version(entries=3), [replace(weakly("Zorvath Kelmendar"), id=str(number)) for number in range(3)])])
    parties = {party: {"name": "Zorvath Kelmendar"} for party in ("consignor", "seller", "buyer")}
    assessments = assessed(parties, {"seller": {"name": "Zorvath Kelmendar"}}, index=index)
    assert assessments.ragged("findings").lengths.tolist() == [9, 3]
    assert assessments.ints("score").tolist() == [POINTS_WEAK, POINTS_WEAK]
    assert assessments.ints("lane").tolist() == [common_pb2.LANE_YELLOW, common_pb2.LANE_YELLOW]


def cleared(**narrowed: str) -> Index:
    pair = Pair(
        name="DRASTHOVA Quillan",
        list="STOP",
        entry="5",
        cleared_by="A. Officer",
        cleared_on=TODAY,
        until=TODAY,
        reason="another birth date",
        **narrowed,
    )
    pairs = ClearedPairs.from_pairs(version(CLEARED), [pair])
    return replace(shipped(), cleared=pairs)


def test_a_cleared_pair_is_no_hit_until_its_last_day() -> None:
    rows = {"consignor": {"name": "Quillán Drasthova"}}, {"consignor": {"name": "Quillan Drasthovaa"}}
    means = ActiveVersions(first_light(), cleared(), in_force().controls)
    answer = assess_batch(means, table(rows), pb.PURPOSE_CLEARANCE).table
    # Another spelling is another name: nobody looked at that one.
    assert answer.ints("lane").tolist() == [common_pb2.LANE_GREEN, common_pb2.LANE_RED]
    assert answer.strings("lists")[0].split()[0] == version(CLEARED).id
    late = assess_batch(means, table(rows, accepted=TODAY + timedelta(days=1)), pb.PURPOSE_CLEARANCE).table
    assert late.ints("lane").tolist() == [common_pb2.LANE_RED, common_pb2.LANE_RED]
    undated = table(rows).with_columns({"accepted_at": Ints.absent(2)})
    assert len(screen_parties(cleared(), undated).owners) == 2


@pytest.mark.parametrize(
    ("narrowed", "party"),
    [
        ({"country": "CN"}, {"address": {"country": "CN"}}),
        ({"postcode": "10115"}, {"address": {"country": "CN", "postcode": "10115"}}),
        ({"identifier": "DE1"}, {"identifier": "DE1"}),
    ],
    ids=["country", "postcode", "identifier"],
)
def test_a_pair_that_is_narrowed_clears_only_the_party_that_was_looked_at(
    narrowed: dict[str, str], party: dict[str, object]
) -> None:
    index = cleared(**narrowed)
    name = {"name": "Quillan Drasthova"}
    elsewhere = {"identifier": "XX9", "address": {"country": "VN", "postcode": "70000"}}
    answer = assessed(
        {"consignor": {**name, **party}}, {"consignor": {**name, **elsewhere}}, {"consignee": name}, index=index
    )
    assert answer.ragged("findings").lengths.tolist() == [0, 1, 1]


def test_names_are_read_once_a_batch_however_many_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"Zorvath {letter}kelmendar" for letter in "abcdefghijklmnopqrstuvwxyz"]
    index = build([(version(entries=len(names)), [entry(str(number), name) for number, name in enumerate(names)])])
    read: list[int] = []

    def counts(index: Index, names: Sequence[str]) -> NameBatch:
        read.append(len(names))
        return read_batch(index, names)

    monkeypatch.setattr(explaining, "read_batch", counts)
    assessments = assessed(*({"consignor": {"name": name}, "buyer": {"name": name}} for name in names), index=index)
    assert assessments.ragged("findings").lengths.min() >= 2
    assert read == [len(names)]


def test_much_screening_is_begun_and_left_to_a_thread_and_little_is_not() -> None:
    def party_matches(*names: str, index: Index) -> PartyMatches:
        return begin_findings(
            replace(in_force(), index=index), table([{"buyer": {"name": each}} for each in names]), 1
        ).party_matches

    hits = build([(version(), [entry(str(number), "Zorvath Kelmendar") for number in range(MATCHES_MANY)])])
    assert party_matches("Zorvath Kelmendar", index=hits).long
    few = build([(version(), [entry(str(number), "Zorvath Kelmendar") for number in range(MATCHES_MANY - 3)])])
    assert not party_matches("Zorvath Kelmendar", index=few).long
    many = party_matches(*(f"Honest {number}" for number in range(NAMES_MANY)), "Zorvath Kelmendar", index=few)
    assert many.long
    assert many.findings().owners.tolist() == [NAMES_MANY] * ENTRIES_MAX


def test_hits_are_for_officers_alone_and_tell_what_found_them() -> None:
    findings = assessed({"consignor": {"name": "Quillan Drasthova"}}).child("findings")
    assert findings.bools("confidential").values.tolist() == [True]
    assert findings.ints("kind").tolist() == [common_pb2.FINDING_KIND_SCREENING_MATCH]
