"""What screening finds, and what it must find whatever way a name is written."""

from __future__ import annotations

from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.screening.lists.party_list import EntryKind, ListEntry
from services.risk.screening.matching.explanation import Explainer, Explanation
from services.risk.screening.matching.index import Index, build
from services.risk.screening.matching.scores import THRESHOLD, NameMatches, candidates, read_batch, scores, screen
from services.risk.screening.names.tokens import normalise
from services.risk.screening.parties import explanation_of
from tests.risk.screening.oracle import score_least
from tests.risk.screening.support import entry, ofac, public, un, version
from tests.risk.screening.typos import mistyped, turned

LISTED = (
    entry("1", "NKUNDA, Laurent", "Laurent Mihigo Nkunda"),
    entry("2", "AL-QAIDA", "The Base", kind=EntryKind.ENTITY),
    entry("3", "HUSAYN ABD AL-RAHMAN MUHAMMAD"),
    entry("4", "Acme Trading Company Ltd.", kind=EntryKind.ENTITY),
    entry("5", "Zhang Weiming"),
    entry("6", "KIM SOK CHOL"),
    entry("7", "Екатерина Иванова"),
    entry("8", "SMITHSON, John Robert"),
    entry("9", "SONG 7", kind=EntryKind.VESSEL),
    entry("10", "Petrov, J."),
)
names = st.sampled_from([name.text for each in LISTED for name in each.names])


def index_of(*entries: ListEntry) -> Index:
    return build([(version(entries=len(entries)), entries)])


INDEX = index_of(*LISTED)


@cache
def both() -> Index:
    lists = (un(), ofac())
    return build([(each.version, each.entries) for each in lists])


def found(hits: NameMatches, index: Index = INDEX) -> list[tuple[str, int]]:
    return [
        (index.entries[entry].id, score) for entry, score in zip(hits.entry.tolist(), hits.score.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("written", "number", "least"),
    [
        ("Laurent Nkunda", "1", 1000),
        ("nkunda laurent", "1", 1000),
        ("Lauren Tnkunda", "1", THRESHOLD),
        ("Alqaida", "2", THRESHOLD),
        ("al qa'ida", "2", 1000),
        ("Hussein Abdel Rahman Mohammed", "3", 990),
        ("حسین عبد الرحمن محمد", "3", 700),
        ("ACME TRADING CO", "4", THRESHOLD),
        ("Acme", "4", THRESHOLD),
        ("Zhang Wei Ming", "5", THRESHOLD),
        ("Kim Sok-chol", "6", 1000),
        ("KIM SKO CHOL", "6", THRESHOLD),
        ("Ekaterina Ivanova", "7", 1000),
        ("Ekaterina Ivannova", "7", THRESHOLD),
        ("John R. Smithson", "8", THRESHOLD),
        ("J. R. Smithson", "8", 700),
        ("James Petrov", "10", 700),
    ],
)
def test_a_name_written_otherwise_is_found(written: str, number: str, least: int) -> None:
    hits = found(screen(INDEX, [written], 700))
    assert hits, written
    assert hits[0][0] == number
    assert hits[0][1] >= least


@pytest.mark.parametrize(
    "written",
    ["Song 8", "Laurent", "John", "Muhammad", "The", "Trading Company Ltd", "Robert Johnson", "", "!?", "محمد", "Kim"],
)
def test_a_name_that_shares_too_little_is_not_found(written: str) -> None:
    assert found(screen(INDEX, [written])) == []


def test_no_names_and_no_lists_give_no_hits() -> None:
    assert found(screen(INDEX, [])) == []
    assert found(screen(build([]), ["Laurent Nkunda"])) == []


def test_hits_name_every_version_that_was_screened_against_and_the_one_of_the_entry() -> None:
    index = build([(version("OWN"), LISTED[:5]), (version("DESK"), LISTED[5:])])
    hits = screen(index, ["Kim Sok Chol"])
    assert [each.source for each in hits.versions] == ["OWN", "DESK"]
    assert index.version_of(int(hits.entry[0])).source == "DESK"


def test_two_lists_of_one_source_are_refused() -> None:
    with pytest.raises(ValueError, match="two lists have the same source"):
        build([(version("OWN"), LISTED[:5]), (version("OWN"), LISTED[5:])])


@pytest.mark.parametrize("threshold", [699, 1001])
def test_a_threshold_out_of_range_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="must be from 700 to 1000"):
        screen(INDEX, ["x"], threshold)


def test_a_name_that_stands_several_times_in_a_batch_hits_each_time() -> None:
    hits = screen(INDEX, ["Kim Sok Chol", "nobody", "Kim Sok Chol"])
    assert hits.name.tolist() == [0, 2]


def test_each_entry_is_hit_once_by_the_name_that_scores_highest() -> None:
    hits = screen(INDEX, ["Laurent Mihigo Nkunda"], 700)
    assert found(hits) == [("1", 1000)]
    assert INDEX.name_text(int(hits.entry_name[0])) == "Laurent Mihigo Nkunda"


# --- what holds always ------------------------------------------------------------------------------------------------


@given(names, st.randoms(use_true_random=False))
def test_order_of_tokens_changes_nothing(name: str, random: Random) -> None:
    hits = screen(INDEX, [name, turned(random, name)], 700)
    assert found_of(hits, 0) == found_of(hits, 1)


@given(names, st.data())
def test_case_marks_and_punctuation_change_nothing(name: str, data: st.DataObject) -> None:
    written = "".join(
        data.draw(st.sampled_from([letter, letter.upper(), letter.lower(), letter + "\u0301"]))
        if letter.isalpha()
        else data.draw(st.sampled_from(["-", ", ", " ", "  ", "/"]))
        if letter == " "
        else letter
        for letter in name
    )
    written = (
        data.draw(st.sampled_from(["", '"', "(", " "])) + written + data.draw(st.sampled_from(["", '"', ").", "!"]))
    )
    hits = screen(INDEX, [name, written], 700)
    assert found_of(hits, 0) == found_of(hits, 1)


@given(st.lists(st.one_of(names, st.text("abkmnou 7", max_size=20)), max_size=12), st.integers(1, 5))
def test_batching_changes_nothing(written: list[str], size: int) -> None:
    whole = screen(INDEX, written, 700)
    parts = [screen(INDEX, written[start : start + size], 700) for start in range(0, len(written), size)]
    assert [pair for part in parts for pair in found(part)] == found(whole)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.lists(st.text("aeikmnosu ", min_size=3, max_size=18).filter(str.strip), min_size=1, max_size=3),
        min_size=1,
        max_size=12,
    )
)
def test_any_listed_name_hits_itself_with_1000(listed: list[list[str]]) -> None:
    index = index_of(*(entry(str(number), *texts) for number, texts in enumerate(listed)))
    written = [(str(number), text) for number, texts in enumerate(listed) for text in texts]
    hits = screen(index, [text for _, text in written])
    for row, (number, text) in enumerate(written):
        assert (number, 1000) in found_of(hits, row, index), text


def found_of(hits: NameMatches, row: int, index: Index = INDEX) -> set[tuple[str, int]]:
    return {pair for pair, name in zip(found(hits, index), hits.name.tolist(), strict=True) if name == row}


def explained(written: str, listed: int, score: int) -> Explanation:
    return Explainer(INDEX, [written], [listed]).explain(0, listed, score)


@given(names, st.integers(0, 2**32))
def test_an_explanation_tells_tokens_that_are_there(name: str, seed: int) -> None:
    (written,) = mistyped([name], seed)
    hits = screen(INDEX, [written], 700)
    for listed, score in zip(hits.entry_name.tolist(), hits.score.tolist(), strict=True):
        told = explained(written, listed, score)
        mine, theirs = (normalise([text])[0].split() for text in (written, told.entry_name))
        assert {each.token for each in told.meetings} | set(told.only_screened) <= set(mine)
        assert {each.entry_token for each in told.meetings} | set(told.only_entry) <= set(theirs)
        assert not {each.token for each in told.meetings} & set(told.only_screened)
        assert not {each.entry_token for each in told.meetings} & set(told.only_entry)
        assert told.meetings
        assert explanation_of(told).startswith(f"{score} of 1000 for {told.entry_name}")
        assert told.version == version(entries=len(LISTED)).id


@pytest.mark.parametrize(
    ("written", "listed", "how"),
    [
        ("Lauren Nkunda", "lauren is laurent: one letter differs", ""),
        ("Laurent Nkudna", "nkudna is nkunda: two letters swapped", ""),
        ("Laurent Nkundda", "nkundda is nkunda: a letter doubled", ""),
        ("Alqaida", "alqaida is qaida: written together", ""),
        ("Zhang Wei Ming", "wei is weiming: written apart", ""),
        ("Hussein Abd al-Rahman Muhammad", "hussein is husayn: another spelling of the same word", ""),
        ("John R. Smithson", "r is robert: an initial", ""),
        ("Ekaterina Ivanova", "ekaterina is ekaterina: the same", ""),
        ("Laurent Nkunda Jr", "only in the consignment: jr", ""),
    ],
)
def test_an_explanation_says_how_tokens_meet(written: str, listed: str, how: str) -> None:
    hits = screen(INDEX, [written], 700)
    assert listed in explanation_of(explained(written, int(hits.entry_name[0]), int(hits.score[0])))


# --- beside a plain scan ----------------------------------------------------------------------------------------------


@public
def test_a_scan_over_every_listed_name_finds_nothing_that_the_blocks_do_not() -> None:
    index = both()
    written = mistyped([each.names[0].text for each in index.entries[::97]], 5)
    batch = read_batch(index, written)
    name, listed = candidates(index, batch, THRESHOLD / 1000)
    reached = set(zip(name.tolist(), listed.tolist(), strict=True))
    every = np.arange(len(index.names))
    lost = total = 0
    for row in range(len(written)):
        score = scores(index, batch, np.full(len(every), row), every)
        hits = np.flatnonzero(score >= THRESHOLD).tolist()
        total += len(hits)
        lost += sum((row, each) not in reached for each in hits)
    assert total > 100
    # Two in a thousand may be lost: what tokens of the two names weigh differs a little where they are only near.
    assert lost <= 0.002 * total, f"{lost} of {total}"


@public
def test_scores_are_never_less_than_those_of_a_plain_scan_by_single_slips() -> None:
    index = both()
    listed = list(range(0, len(index.names), 211))
    written = mistyped([index.name_text(row) for row in listed], 11)
    batch = read_batch(index, written)
    found = scores(index, batch, np.arange(len(listed)), np.array(listed))
    for row, (name, number) in enumerate(zip(written, listed, strict=True)):
        assert found[row] >= score_least(index, name, number) - 1, (name, index.name_text(number))


@public
def test_the_lists_own_names_hit_their_entries_with_1000() -> None:
    index = both()
    rows = list(range(0, len(index.names), 7))
    hits = screen(index, [index.name_text(row) for row in rows])
    top = {
        (name, entry)
        for name, entry, score in zip(hits.name.tolist(), hits.entry.tolist(), hits.score.tolist(), strict=True)
        if score == 1000
    }
    missed = [
        index.name_text(row)
        for number, row in enumerate(rows)
        if normalise([index.name_text(row)])[0] and (number, int(index.names.entry[row])) not in top
    ]
    assert missed == []


@public
@pytest.mark.parametrize(("seed", "slips", "least"), [(1, 1, 0.93), (2, 1, 0.93), (3, 2, 0.7)])
def test_persons_with_slips_of_the_pen_are_found(seed: int, slips: int, least: float) -> None:
    index = both()
    persons = [row for row, each in enumerate(index.entries) if each.kind == EntryKind.PERSON][::5]
    hits = screen(index, mistyped([index.entries[row].names[0].text for row in persons], seed, slips))
    own = {(name, entry) for name, entry in zip(hits.name.tolist(), hits.entry.tolist(), strict=True)}
    share = np.mean([(number, row) in own for number, row in enumerate(persons)])
    assert share >= least
