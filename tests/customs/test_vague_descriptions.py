"""Descriptions that name no goods: cases labelled by hand, real descriptions, and the list."""

import csv
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.descriptions import vague
from libs.customs.descriptions.vague import Vagueness, VagueTerms, included

CASES = yaml.safe_load(Path(__file__).with_name("vague_descriptions.yaml").read_text("utf-8"))
LABELLED = [(text, cause) for cause, texts in CASES.items() for text in texts]
REAL = Path(__file__).parents[3] / "shared/data/parcel_text/descriptions.csv"
TERMS = included()


def test_there_are_enough_labelled_cases_of_each_cause() -> None:
    assert len(LABELLED) >= 80
    assert set(CASES) == {"no_word", "attributes", "general", "none"}
    assert all(len(texts) >= 10 for texts in CASES.values())


@pytest.mark.parametrize(("text", "cause"), LABELLED)
def test_a_labelled_description_is_vague_for_its_cause(text: str, cause: str) -> None:
    found = TERMS.vagueness(text)
    assert (found.name.lower() if found else "none") == cause
    assert vague.is_vague(text) == (cause != "none")


def test_the_list_has_at_least_150_terms_in_the_main_trading_languages() -> None:
    data = yaml.safe_load(vague.PATH.read_text("utf-8"))
    assert sum(map(len, data["terms"].values())) >= 150
    assert {"en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "ru", "zh", "ja", "ko", "ar"} <= set(data["terms"])
    for terms in data["terms"].values():
        assert len(set(terms)) == len(terms)


def test_every_term_alone_is_vague() -> None:
    data = yaml.safe_load(vague.PATH.read_text("utf-8"))
    terms = [term for terms in data["terms"].values() for term in terms]
    assert [term for term in terms if TERMS.vagueness(term) is not Vagueness.GENERAL] == []


def test_the_vague_descriptions_of_the_simulator_are_vague() -> None:
    data = Path(vague.__file__).parents[2] / "simulator" / "data"
    words = yaml.safe_load((data / "wording.yaml").read_text("utf-8"))["vague"]
    assert [text for text in words if not vague.is_vague(text)] == []


def test_at_most_a_tenth_of_real_descriptions_is_vague() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL.name} with real descriptions is not beside the project")
    with REAL.open(encoding="utf-8", newline="") as file:
        texts = [row["Goods Description"] for row in csv.DictReader(file)]
    assert len(texts) > 1_000
    found = [text for text in texts if vague.is_vague(text)]
    assert len(found) <= len(texts) / 10, found


def test_further_terms_join_the_included_ones() -> None:
    terms = included(["Nüsse", "box of nice"])
    assert terms.vagueness("nusse, gifts") is Vagueness.GENERAL
    assert terms.vagueness("Box of nice gifts") is Vagueness.GENERAL
    assert terms.vagueness("nice gifts") is None, "a phrase counts as a whole"
    assert TERMS.vagueness("Nüsse") is None


def test_case_accents_and_punctuation_do_not_count() -> None:
    for text in ("ÉCHANTILLONS", "echantillons", "E\u0301chantillons!", "«échantillons»"):
        assert TERMS.vagueness(text) is Vagueness.GENERAL


@pytest.mark.parametrize(
    ("text", "names"),
    [("ab", True), ("a", False), ("abcd-1", True), ("abc-1", False), ("abc1", False), ("abcd1", True), ("革", True)],
)
def test_how_many_letters_make_a_word_beside_digits_and_without_them(text: str, names: bool) -> None:
    assert (VagueTerms([], []).vagueness(text) is None) == names


@given(
    st.lists(
        st.sampled_from(["gift", "parts", "black", "xl", "礼品", "日用品", "黑色", "and", "12", "AB-1"]), max_size=8
    )
)
def test_terms_and_attributes_in_any_order_stay_vague(words: list[str]) -> None:
    assert TERMS.vagueness(" ".join(words)) is not None
    assert TERMS.vagueness(" ".join([*words, "blouse"])) is None


@given(st.text(max_size=512))
def test_any_text_has_an_answer(text: str) -> None:
    TERMS.vagueness(text)


def test_a_description_that_repeats_a_term_as_long_as_it_may_be_is_divided_at_once() -> None:
    assert TERMS.vagueness("用品" * 1024 + "壳") is None
    assert TERMS.vagueness("gift " * 400 + "case") is None
