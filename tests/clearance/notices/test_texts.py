"""The files of texts: what is refused at the start, with place, reason and remedy, and what stands for a text that a language lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.clearance.notices.texts import (
    INCLUDED,
    KEYS,
    LANGUAGES_MAX,
    TEXT_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    TextsError,
    filled,
    is_language_tag,
    load_texts,
)

HELD = "filer:\n  HELD:\n    title: Angehalten\n    text: Der Zoll hält {mrn} an.\n"


def write(directory: Path, content: str, name: str = "de.yaml") -> Path:
    (directory / name).write_text(content, encoding="utf-8")
    return directory


def text_of(directory: Path, wanted: str, reader: str = "filer", key: str = "HELD") -> tuple[str, str]:
    texts = load_texts(directory)
    used, _, text = texts.text(texts.choose(wanted), reader, key)
    values = dict.fromkeys(
        ("house_document", "master_document", "date", "local_reference", "reasons", "payable", "paid", "account", "refunded", "check_code"), "-"
    )  # fmt: skip
    return used.tag, filled(text, values | {"mrn": "MRN1"})


def test_the_included_english_is_complete() -> None:
    texts = load_texts()
    assert texts.missing == {}
    for reader, keys in KEYS.items():
        for key in keys:
            assert texts.text(texts.choose("en"), reader, key)[0].tag == "en"


def test_a_language_has_its_texts_and_english_stands_for_those_that_it_lacks(tmp_path: Path) -> None:
    write(tmp_path, HELD)
    assert text_of(tmp_path, "de") == ("de", "Der Zoll hält MRN1 an.")
    assert text_of(tmp_path, "de", key="SEIZED")[0] == "en"
    assert text_of(tmp_path, "de", reader="carrier")[0] == "en"
    missing = load_texts(tmp_path).missing
    expected = {f"{reader}.{key}" for reader, keys in KEYS.items() for key in keys} - {"filer.HELD"}
    assert set(missing) == {"de"}
    assert set(missing["de"]) == expected | {
        "phrases.at_least", "phrases.unknown", "phrases.none", "phrases.nothing",
    }  # fmt: skip
    assert len(missing["de"]) == len(set(missing["de"]))


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        ("de", "de"), ("DE", "de"), ("de-AT", "de"), ("de-x-a-b", "de"), ("pt-BR", "pt-BR"), ("pt-br-x-1", "pt-BR"), ("pt", "en"),
        ("pt-PT", "en"), ("xx", "en"), ("en-GB", "en"), ("d", "en"),
    ],
)  # fmt: skip
def test_the_longest_part_of_a_tag_that_there_is_counts(tmp_path: Path, wanted: str, used: str) -> None:
    write(tmp_path, HELD)
    write(tmp_path, HELD, "pt-BR.yaml")
    assert text_of(tmp_path, wanted)[0] == used


def test_a_file_of_english_replaces_single_texts_of_the_included_one(tmp_path: Path) -> None:
    write(tmp_path, "carrier:\n  HELD: {title: Stop, text: 'Stop {mrn}.'}\n", "en.yaml")
    assert text_of(tmp_path, "en", reader="carrier") == ("en", "Stop MRN1.")
    assert text_of(tmp_path, "xx", reader="carrier") == ("en", "Stop MRN1.")
    assert text_of(tmp_path, "en", reader="filer")[0] == "en"
    assert "carrier.HELD" not in load_texts(tmp_path).missing["en"]


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        (HELD.replace("{mrn}", "{mnr}"), "de.yaml:4", "{mnr} is no placeholder of this text; allowed are: {mrn}"),
        (HELD.replace("{mrn}", "{}"), "de.yaml:4", "{} is no placeholder"),
        (HELD.replace("{mrn}", "{mrn.text}"), "de.yaml:4", "{mrn.text} is no placeholder"),
        (HELD.replace("{mrn}", "{mrn!r}"), "de.yaml:4", "{mrn} is no placeholder"),
        (HELD.replace("{mrn}", "{mrn:>9}"), "de.yaml:4", "{mrn} is no placeholder"),
        (HELD.replace("{mrn}", "{mrn"), "de.yaml:4", "a brace has no counterpart; write {name}"),
        (HELD.replace("{mrn}", "mrn}"), "de.yaml:4", "a brace has no counterpart; write {name}"),
        (HELD.replace("HELD", "HALTED"), "de.yaml:2: filer.HALTED", "a filer has no such notice; use one of DECIDED, HELD"),
        (HELD.replace("filer", "buyer"), "de.yaml:1", "buyer"),
        (HELD.replace("title", "titel"), "de.yaml:2: filer.HELD", "titel"),
        ("filer:\n  HELD:\n    text: Held.\n", "de.yaml:2: filer.HELD", "`title`; write title and text"),
        ("filer:\n  HELD: {title: yes, text: a}\n", "de.yaml:2: filer.HELD", "write title and text, each a text"),
        ("filer:\n  HELD: {title: {mrn}, text: a}\n", "de.yaml:2: filer.HELD", "in quotes if it begins with a brace"),
        (HELD.replace("Angehalten", "' '"), "de.yaml:3", "write 1 to 120"),
        (HELD.replace("Angehalten", "x" * (TITLE_CHARACTERS_MAX + 1)), "de.yaml:3", "it has 121 characters; write 1 to 120"),
        (HELD.replace("Der Zoll hält {mrn} an.", "x" * (TEXT_CHARACTERS_MAX + 1)), "de.yaml:4", "it has 2001 characters"),
        (HELD.replace("Angehalten", '"a\\nb"'), "de.yaml:3", "write one line"),
        (HELD.replace("Angehalten", "'{payable}'").replace("filer", "carrier"), "de.yaml:3", "{payable} is no placeholder"),
        (HELD + HELD, "de.yaml:5", "twice"),
        ("phrases: {never: x}", "de.yaml:1", "there is no such phrase; use one of at_least, unknown, none, nothing"),
        ("phrases: {at_least: ab}", "de.yaml:1", "phrases.at_least: it lacks {amount}"),
        ("phrases: {none: '{mrn}'}", "de.yaml:1", "{mrn} is no placeholder of this text; allowed are: none"),
        ("", "de.yaml", ""),
        ("- a", "de.yaml", ""),
        ("a: [", "de.yaml", "not YAML"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where_and_what_to_do(tmp_path: Path, content: str, place: str, why: str) -> None:
    with pytest.raises(TextsError) as caught:
        load_texts(write(tmp_path, content))
    assert place in str(caught.value), caught.value
    assert why in str(caught.value), caught.value


@pytest.mark.parametrize("reader", ["filer", "carrier"])
def test_the_longest_title_and_text_are_read(tmp_path: Path, reader: str) -> None:
    title, text = "x" * TITLE_CHARACTERS_MAX, "y" * TEXT_CHARACTERS_MAX
    write(tmp_path, f"{reader}:\n  HELD: {{title: {title}, text: {text}}}\n")
    assert text_of(tmp_path, "de", reader=reader) == ("de", text)


@pytest.mark.parametrize("name", ["payable", "paid", "refunded", "account", "local_reference", "reasons", "check_code"])
def test_a_carriers_text_with_a_placeholder_of_filers_is_refused(tmp_path: Path, name: str) -> None:
    for field in ("title", "text"):
        content = HELD.replace("filer", "carrier").replace("{mrn}", "x")
        content = content.replace("Angehalten" if field == "title" else "Der Zoll hält x an.", f"'{{{name}}}'")
        with pytest.raises(TextsError, match=rf"{{{name}}} is no placeholder of this text"):
            load_texts(write(tmp_path, content))


def test_all_errors_of_a_file_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(TextsError) as caught:
        load_texts(write(tmp_path, HELD.replace("{mrn}", "{a}").replace("Angehalten", "'{b}'")))
    assert [line.partition(" is no")[0].rpartition(" ")[2] for line in str(caught.value).splitlines()] == ["{b}", "{a}"]


def test_braces_in_a_text_and_in_a_value_are_no_placeholders(tmp_path: Path) -> None:
    write(tmp_path, HELD.replace("{mrn}", "{{mrn}} {house_document}"))
    texts = load_texts(tmp_path)
    _, _, text = texts.text(texts.choose("de"), "filer", "HELD")
    assert filled(text, {"house_document": "{mrn}{"}) == "Der Zoll hält {mrn} {mrn}{ an."


def test_directories_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TextsError, match=r"has no texts; add a file for each language, such as de\.yaml"):
        load_texts(tmp_path)
    write(tmp_path, HELD, "german_1.yaml")
    with pytest.raises(TextsError, match=r"german_1 is no language tag; name the file by one"):
        load_texts(tmp_path)
    (tmp_path / "german_1.yaml").unlink()
    write(tmp_path, HELD, "de.yaml")
    write(tmp_path, HELD, "DE.yaml")
    with pytest.raises(TextsError, match="the language de has two files; keep one of them"):
        load_texts(tmp_path)


def test_as_many_languages_as_are_read_and_one_more(tmp_path: Path) -> None:
    for number in range(LANGUAGES_MAX):
        write(tmp_path, HELD, f"de-{number:03}.yaml")
    assert text_of(tmp_path, f"de-{LANGUAGES_MAX - 1:03}")[0] == f"de-{LANGUAGES_MAX - 1:03}"
    write(tmp_path, HELD, "fr.yaml")
    with pytest.raises(TextsError, match="has 101 languages; at most 100 are read: remove some"):
        load_texts(tmp_path)


@pytest.mark.parametrize(
    "tag", ["de", "de-AT", "sr-Latn-RS", "de-1996", "x" * 8, "en-" + "-".join(["abcd"] * 6) + "-ab"]
)
def test_language_tags(tag: str) -> None:
    assert is_language_tag(tag)


@pytest.mark.parametrize(
    "tag", ["", "d", "de_AT", "de-", "-de", "de--AT", "de-abcdefghi", "x" * 9, "de at", "dé", "de\n", "en-" + "-".join(["abcd"] * 6) + "-abc"],
)  # fmt: skip
def test_what_is_no_language_tag(tag: str) -> None:
    assert not is_language_tag(tag)


def test_the_included_texts_name_each_language_file_by_its_tag() -> None:
    assert [file.name for file in INCLUDED.glob("*.yaml")] == ["en.yaml"]
