"""Rule files: every mistake refuses the whole set and is told with its place."""

from pathlib import Path
from textwrap import dedent

import pytest

from services.risk.rules.rule_set import RuleSet, RuleSetError, load_rule_set
from tests.risk.filings import PROFILE, first_light

GOOD = """\
name: trial
version: "1"
thresholds: {red: 800, yellow: 500, blue: 250}
data: {eur_cents_ppm: rates.yaml, words: words.yaml}
rules:
  - id: FIRST_RULE
    version: 1
    judges: consignment
    condition: |
      consignment.nature == Nature.NATURE_GIFT
      && consignment.gross_mass_mg > 5
    weight: 100
    lane: none
    reason: SOME_REASON
    sentence: Something is the matter.
    legal_basis: Some law, article 1.
    owner: some desk
    valid_from: 2026-01-01
  - id: SECOND_RULE
    version: 2
    judges: item
    condition: item.description.hasWord(data.words)
    weight: 200
    lane: yellow
    reason: OTHER_REASON
    sentence: Something else is the matter.
    legal_basis: Some law, article 2.
    owner: some desk
    valid_from: 2026-01-01
    valid_until: 2026-12-31
    jurisdictions: [DE, EU]
"""
RATES = "source: Invented for the test.\nnumbers: {EUR: 1000000, USD: 900000}\n"
WORDS = "source: Invented for the test.\nwords: [gift, spare part]\n"


def load(directory: Path, profile: str = GOOD, rates: str = RATES, words: str = WORDS) -> RuleSet:
    (directory / "rates.yaml").write_text(rates)
    (directory / "words.yaml").write_text(words)
    (directory / "profile.yaml").write_text(profile)
    return load_rule_set(directory / "profile.yaml")


def refused(directory: Path, profile: str = GOOD, rates: str = RATES, words: str = WORDS) -> list[str]:
    with pytest.raises(RuleSetError) as caught:
        load(directory, profile, rates, words)
    return [str(mistake).replace(f"{directory}/", "") for mistake in caught.value.errors]


MISTAKES = {
    "a data name in capitals": (
        "words: words.yaml",
        "Words: words.yaml",
        "profile.yaml:4:7: a key: 2 to 40 small letters",
    ),
    "a number where a text is needed": (
        "lane: yellow",
        "lane: 3",
        "profile.yaml:24:11: rule SECOND_RULE: a text is needed, and this is a whole number",
    ),
    "an unknown lane": (
        "lane: yellow",
        "lane: orange",
        "profile.yaml:24:11: rule SECOND_RULE: 'orange' is none of the values",
    ),
    "an unknown key": (
        "weight: 200",
        "weight: 200\n    wait: 3",
        "profile.yaml:24:11: rule SECOND_RULE: there is no element `wait` here; there are id, version",
    ),
    "a missing key": (
        "    reason: OTHER_REASON\n",
        "",
        "profile.yaml:19:5: rule SECOND_RULE: the element `reason` is missing",
    ),
    "a weight over the limit": (
        "weight: 200",
        "weight: 1001",
        "profile.yaml:23:13: rule SECOND_RULE: a number of at most 1000 is needed",
    ),
    "an id in small letters": (
        "id: SECOND_RULE",
        "id: second",
        "profile.yaml:19:9: rule second: 3 to 63 capital letters",
    ),
    "an id that is taken": (
        "id: SECOND_RULE",
        "id: FIRST_RULE",
        "profile.yaml:19:5: rule FIRST_RULE: the id is taken by the rule at profile.yaml:6; ids are unique",
    ),
    "an end before the beginning": (
        "valid_until: 2026-12-31",
        "valid_until: 2025-12-31",
        "profile.yaml:30:18: rule SECOND_RULE: it ends on 2025-12-31, before it begins on 2026-01-01",
    ),
    "a day that does not exist": (
        "valid_from: 2026-01-01\n    valid",
        "valid_from: 2026-02-30\n    valid",
        "profile.yaml:29: 2026-02-30 cannot be read: day is out of range for month",
    ),
    "a time of day": (
        "valid_until: 2026-12-31",
        "valid_until: 2026-12-31 10:00:00",
        "profile.yaml:30: 2026-12-31 10:00:00 has a time of day; write a day such as 2026-11-01",
    ),
    "an unknown country": (
        "[DE, EU]",
        "[DE, EW]",
        "profile.yaml:31:25: rule SECOND_RULE: EW is no country (alpha-2, or EU for the member states)",
    ),
    "Norway without quotes": (
        "[DE, EU]",
        "[DE, NO]",
        "profile.yaml:31:25: rule SECOND_RULE: a text is needed, and this is true or false; YAML reads yes, no, on and off as truth values",
    ),
    "a key twice": (
        "weight: 200",
        "weight: 200\n    weight: 100",
        "profile.yaml:24: the key 'weight' stands twice; keep one of the two",
    ),
    "no YAML at all": ("rules:", "rules: [", "profile.yaml:6: this is not YAML"),
    "thresholds in the wrong order": (
        "red: 800",
        "red: 400",
        "profile.yaml:3:13: thresholds must fall from red over yellow to blue; they are 400, 500 and 250",
    ),
    "data that no file has": (
        "words: words.yaml",
        "words: nowhere.yaml",
        "profile.yaml:4:42: data words: nowhere.yaml: the file cannot be read: No such file or directory",
    ),
    "no rates": (
        "eur_cents_ppm: rates.yaml, ",
        "",
        "profile.yaml:4:7: data eur_cents_ppm is missing; without it no amount can be compared",
    ),
    "a misspelt element in a block": (
        "gross_mass_mg > 5",
        "gross_mas_mg > 5",
        "profile.yaml:11:21: rule FIRST_RULE: condition: undefined field 'gross_mas_mg'",
    ),
    "a misspelt element on a line": (
        "item.description.hasWord",
        "item.descripton.hasWord",
        "profile.yaml:22:20: rule SECOND_RULE: condition: undefined field 'descripton'",
    ),
    "a list that the profile lacks": (
        "data.words)",
        "data.wards)",
        "profile.yaml:22:45: rule SECOND_RULE: condition: undeclared reference to 'data.wards'",
    ),
    "values of two kinds compared": (
        "item.description.hasWord(data.words)",
        "item.quantity_milli > '5'",
        "profile.yaml:22:36: rule SECOND_RULE: condition: found no matching overload for '_>_'",
    ),
    "a consignment's condition on an item": (
        "judges: item",
        "judges: consignment",
        "profile.yaml:22:16: rule SECOND_RULE: condition: `item` can be used only in a condition on items",
    ),
}


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_refuses_the_set_and_is_told_with_file_line_and_rule(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert GOOD.count(right) == 1
    told = refused(tmp_path, GOOD.replace(right, wrong))
    assert len(told) == 1, told
    assert message in told[0]


def test_all_mistakes_of_rules_are_told_at_once(tmp_path: Path) -> None:
    profile = GOOD.replace("gross_mass_mg", "gross").replace("description", "name").replace("[DE, EU]", "[XX]")
    assert len(refused(tmp_path, profile)) == 3


def test_mistakes_in_data_files_are_told_with_their_place(tmp_path: Path) -> None:
    assert (
        "words.yaml:2:9: a text is needed, and this is true or false"
        in refused(tmp_path, words=WORDS.replace("gift", "no"))[0]
    )
    assert (
        "words.yaml:1:1: data words: give one of words, numbers"
        in refused(tmp_path, words=WORDS.replace("gift, spare part", ""))[0]
    )
    assert "words.yaml:2:9: at least 1 character is needed" in refused(tmp_path, words=WORDS.replace("gift", "''"))[0]
    assert (
        "rates.yaml:2: the key 61 is no text; put it in quotes"
        in refused(tmp_path, rates=RATES.replace("EUR", "61"))[0]
    )
    assert (
        "the rate of USD is 0; rates lie between 1 and 5000000"
        in refused(tmp_path, rates=RATES.replace("900000", "0"))[0]
    )


def test_a_good_set_knows_its_days_its_countries_and_its_sources(tmp_path: Path) -> None:
    rules = load(tmp_path)
    first, second = rules.rules
    assert (first.first_day, second.last_day) == (20454, 20818)
    assert first.countries == frozenset()
    assert {"DE", "FR"} <= second.countries
    assert "NO" not in second.countries
    assert rules.sources == {"eur_cents_ppm": "Invented for the test.", "words": "Invented for the test."}


def test_the_version_tells_the_content_and_not_how_it_is_written(tmp_path: Path) -> None:
    version = load(tmp_path).version
    assert version.startswith("trial/1+")
    assert load(tmp_path, GOOD + "# a remark\n").version == version
    assert load(tmp_path, GOOD.replace("weight: 200", "weight: 201")).version != version
    assert load(tmp_path, words=WORDS.replace("gift", "present")).version != version
    assert load(tmp_path, rates=RATES.replace("900000", "910000")).version != version


def test_every_word_list_of_the_first_profile_is_in_use() -> None:
    conditions = " ".join(rule.text.condition for rule in first_light().rules)
    unused = [name for name in first_light().data if f"data.{name}" not in conditions and name != "eur_cents_ppm"]
    assert unused == []


def test_a_profile_that_is_not_there_is_refused() -> None:
    with pytest.raises(RuleSetError, match="the file cannot be read"):
        load_rule_set(PROFILE.with_name("nowhere.yaml"))


def test_a_profile_that_is_empty_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, dedent("# nothing\n")) == [
        "profile.yaml:1:1: elements with values is needed, and this is nothing (at $)"
    ]
