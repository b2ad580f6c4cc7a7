"""Names become tokens, and tokens numbers that tell how near they are."""

from __future__ import annotations

import unicodedata
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.screening.names.spelling import DELETION_LENGTH_LEAST, TOKEN_LENGTH_MAX, joined, spelling
from services.risk.screening.names.spelling_table import Forms, Way, ways_of
from services.risk.screening.names.tokens import TOKENS_MAX, canonical, normalise, token_sets

words = st.text("abcdefgh", min_size=1, max_size=TOKEN_LENGTH_MAX)


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("AL-QAIDA", "al qaida"),
        ("Ko’nyŏng  O'Brien, J.", "konyong obrien j"),
        ("Zoë “the Löwe” Weiß", "zoe the lowe weiss"),
        ("Максим Щукин", "maksim shchukin"),
        ("صدام حسين", "sdm hsyn"),
        ("صَدَّام حُسَيْن", "sdm hsyn"),
        ("التكريتي عبد الله", "al tkryty bd llh"),
        ("one\x01two التكريتي", "one two al tkryty"),
        ("桂荣 兰", "guirong lan"),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("two\nlines\tand\x1emore | or less", "two lines and more or less"),
        ("", ""),
        ("---", ""),
    ],
)
def test_names_are_compared_in_plain_letters(written: str, compared: str) -> None:
    assert normalise([written]) == [compared]


@given(st.lists(st.text(max_size=40), max_size=8))
def test_a_batch_is_cut_as_its_names_are_alone(names: list[str]) -> None:
    assert normalise(names) == [line for name in names for line in normalise([name])]
    sets = token_sets(names)
    for row, name in enumerate(names):
        found = {sets.tokens[token] for token in sets.token[sets.name == row].tolist()}
        assert found == {canonical(word) for word in normalise([name])[0].split()[:TOKENS_MAX]}


@given(st.text(max_size=40))
def test_marks_put_together_and_apart_are_the_same(name: str) -> None:
    # What Unicode itself takes for the same letter: é as one character, and e with an accent behind it.
    together = unicodedata.normalize("NFC", name)
    apart = "".join(
        unicodedata.normalize("NFD", letter) if "LATIN" in unicodedata.name(letter, "") else letter
        for letter in together
    )
    assert normalise([apart]) == normalise([together])


@given(st.lists(words, min_size=1, max_size=6))
def test_hashes_tell_what_letters_tell(tokens: list[str]) -> None:
    spelt = spelling(tokens)
    for row, token in enumerate(tokens):
        assert spelt.length[row] == len(token)
        shorter = {token[:place] + token[place + 1 :] for place in range(len(token))}
        expected = set(spelling(sorted(shorter)).whole.tolist()) if len(token) >= DELETION_LENGTH_LEAST else set()
        assert set(spelt.shorter[row].tolist()) - {0} == expected - {0}
        for other, text in enumerate(tokens):
            assert (spelt.whole[row] == spelt.whole[other]) == (token == text)
            assert (spelt.letters[row] == spelt.letters[other]) == (sorted(token) == sorted(text))
            assert (spelt.collapsed[row] == spelt.collapsed[other]) == (collapsed(token) == collapsed(text))
            if len(token) + len(text) <= TOKEN_LENGTH_MAX:
                both = joined(spelt.whole[[row]], spelt.length[[row]], spelt.whole[[other]])
                assert both == spelling([token + text]).whole


def collapsed(token: str) -> str:
    return "".join(letter for place, letter in enumerate(token) if token[place - 1 : place] != letter)


def test_skeletons_are_equal_where_only_vowels_and_like_sounds_differ() -> None:
    tokens = ["qasim", "kasim", "qaasem", "qassim", "rasim", "kazim", "ali", "o1qasim"]
    skeleton = spelling(tokens).skeleton.tolist()
    assert len(set(skeleton[:4])) == 1
    assert skeleton[4] != skeleton[0]
    assert skeleton[5] == skeleton[0], "z and s are alike"
    assert skeleton[6:] == [0, 0], "too few consonants; a number"


@given(st.lists(words, min_size=1, max_size=8, unique=True), st.lists(words, min_size=1, max_size=4))
def test_the_table_finds_exactly_the_equal_hashes(listed: list[str], looked_up: list[str]) -> None:
    rows, mine = ways_of(spelling(listed)), ways_of(spelling(looked_up))
    which, places = Forms.from_rows(rows).find(mine.hashes)
    in_two = Forms.from_rows(ways_of(spelling(listed[:1]))).with_more(ways_of(spelling(listed[1:])))
    expected = sorted((a, int(b)) for a, h in enumerate(mine.hashes) for b in rows.hashes[rows.hashes == h])
    found = Forms.from_rows(rows)
    mixed = found.rows.hashes[places]
    assert len(which) == len(expected) == len(in_two.find(mine.hashes)[0])
    assert sorted(which.tolist()) == [a for a, _ in expected]
    assert (np.sort(found.rows.hashes) == found.rows.hashes).all()
    assert set(mixed.tolist()) <= set(found.rows.hashes.tolist())


def test_a_slip_leads_from_one_token_to_the_other() -> None:
    forms = Forms.from_rows(ways_of(spelling(["nkunda"])))
    for written in ("nkunda", "nkuda", "nkundaa", "nkudna", "nkumda", "tnkunda"):
        assert len(forms.find(ways_of(spelling([written])).hashes)[0]), written
    assert not len(forms.find(ways_of(spelling(["kagame"])).hashes)[0])
    assert {Way.WHOLE, Way.SHORTER} <= {int(way) for way in forms.rows.way}


def test_short_tokens_are_found_by_their_letters_in_any_order() -> None:
    forms = Forms.from_rows(ways_of(spelling(["sok"])))
    for letters in permutations("sok"):
        assert len(forms.find(ways_of(spelling(["".join(letters)])).hashes)[0])
