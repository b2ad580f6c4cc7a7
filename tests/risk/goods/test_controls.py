"""Goods controls: what they stop, what spares it, what lifts them, and how a file with a mistake is refused."""

from __future__ import annotations

import tempfile
from datetime import date
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Ints, Strings
from libs.customs.time import day_of_date
from services.risk.conditions.cel.functions import has_word, normal
from services.risk.elements.computed import Facts
from services.risk.goods.control_files import ControlFileError
from services.risk.goods.controls import Answer, ControlSet, Lines, lines_of, load_controls
from tests.risk.filings import first_light, table

SHIPPED = sorted((Path(__file__).parents[3] / "services" / "risk" / "profiles" / "data" / "controls").glob("*.yaml"))
TODAY = day_of_date(date(2026, 11, 25))
AIR, SEA, POST = 4, 1, 5


@cache
def shipped() -> ControlSet:
    return load_controls(SHIPPED)


def line(
    description: str = "cotton shirt", code: str = "610910", destination: str = "DE", **other: Any
) -> dict[str, Any]:
    standard = {"origin": "CN", "un_number": "", "dispatch": "CN", "mode": AIR, "day": TODAY, "documents": frozenset()}
    return {"description": description, "commodity_code": code, "destination": destination, **standard, **other}


def lines(*rows: dict[str, Any]) -> Lines:
    texts = ("description", "commodity_code", "origin", "un_number", "dispatch", "destination")
    return Lines(
        **{name: Strings.of([row[name] for row in rows]) for name in texts},
        mode=Ints.of([row["mode"] for row in rows], [row["mode"] > 0 for row in rows]),
        day=Ints.of([row["day"] or 0 for row in rows], [row["day"] is not None for row in rows]),
        document_types=[row["documents"] for row in rows],
    )


def met(*rows: dict[str, Any], controls: ControlSet | None = None) -> list[list[str]]:
    """Per line the ids of the controls that it meets and that are not lifted."""
    controls = controls or shipped()
    hits = controls.judge(lines(*rows))
    found: list[list[str]] = [[] for _ in rows]
    for place, row in enumerate(hits.line.tolist()):
        if not hits.lifted[place]:
            found[row].append(controls.controls[hits.control[place]].text.id)
    return found


def answers(*rows: dict[str, Any]) -> list[Answer]:
    asked = lines(*rows)
    return shipped().answers(asked, shipped().judge(asked))


def test_every_shipped_control_is_dated_has_a_reference_and_owns_that_it_is_not_verified() -> None:
    assert {control.jurisdiction for control in shipped().controls} == {"EU", "GB", "AU", "US"}
    for control in shipped().controls:
        assert control.references
        assert not any(reference.verified for reference in control.references)


@pytest.mark.parametrize(
    ("description", "code", "destination", "control"),
    [
        ("9mm ammunition, 50 rounds", "930630", "FR", "EU_FIREARMS"),
        ("Jagdmunition und MUNITION", "", "DE", "EU_FIREARMS"),
        ("carved tusk piece", "960110", "IT", "EU_CITES"),
        ("Handbag, crocodile leather", "420221", "ES", "EU_CITES"),
        ("Flick knife, steel", "821193", "GB", "GB_OFFENSIVE_WEAPONS"),
        ("vape pen kit", "854340", "AU", "AU_VAPES"),
        ("tomato seeds 50 g", "120991", "AU", "AU_BIOSECURITY"),
        ("GPS-Jammer, 12V", "852691", "US", "US_JAMMERS"),
        ("médicament", "", "FR", "EU_MEDICINES"),
        ("Störsender", "", "AT", "EU_JAMMERS"),
        ("replica watch", "910211", "NL", "EU_COUNTERFEIT_HINT"),
    ],
)
def test_a_code_or_a_word_meets_a_control(description: str, code: str, destination: str, control: str) -> None:
    assert control in met(line(description, code, destination))[0]


@pytest.mark.parametrize(
    "description",
    [
        "toy pistol for children",
        "faux crocodile leather handbag",
        "fireworks print dress",
        "counterfeit money detector",
        "amunition",
        "oil seal 20 mm",
    ],
)
def test_harmless_goods_with_such_words_are_spared(description: str) -> None:
    assert met(line(description)) == [[]]


def test_a_prohibition_counts_in_its_jurisdiction_alone() -> None:
    knife = "switchblade knife"
    assert answers(line(knife, destination="US"), line(knife, destination="GB"), line(knife, destination="FR")) == [
        Answer.PROHIBITED,
        Answer.PROHIBITED,
        Answer.FREE,
    ]


def test_the_document_that_a_restriction_needs_lifts_it() -> None:
    skin = line("python skin belt", "420330")
    asked = lines(skin, skin | {"documents": frozenset({"C400"})}, skin | {"documents": frozenset({"N380"})})
    hits = shipped().judge(asked)
    assert hits.lifted.tolist() == [False, True, False]
    assert hits.missing == (("C400",), (), ("C400",))
    assert shipped().answers(asked, hits) == [Answer.DOCUMENTS_MISSING, Answer.LIFTED, Answer.DOCUMENTS_MISSING]


def test_where_all_documents_are_needed_one_is_not_enough() -> None:
    caviar = line("caviar 50 g", "160431", "US", documents=frozenset({"CITES", "FDAPN"}))
    hits = shipped().judge(lines(caviar))
    by_control = {shipped().controls[c].text.id: missing for c, missing in zip(hits.control, hits.missing, strict=True)}
    assert by_control == {"US_WILDLIFE": ("FWS3177",), "US_FOOD": ()}


def test_batteries_are_dangerous_by_air_and_by_post_and_not_by_sea() -> None:
    bank = line("power bank 20000 mAh", "850760")
    assert met(bank, bank | {"mode": POST}, bank | {"mode": SEA}, bank | {"mode": 0}) == [
        ["EU_DANGEROUS_BY_AIR"],
        ["EU_DANGEROUS_BY_AIR"],
        [],
        ["EU_DANGEROUS_BY_AIR"],
    ]
    assert met(line("cells", "850760", un_number="3480")) == [["EU_DANGEROUS_BY_AIR"]]


def test_what_endangers_the_flight_is_asked_before_loading_alone() -> None:
    asked = lines(line("power bank", "850760"), line("snus", "240399"))
    assert shipped().judge(asked, "pre_loading").line.tolist() == [0, 1]
    assert shipped().judge(asked, "clearance").line.tolist() == [1]


def test_a_code_and_a_word_must_meet_where_the_control_says_so() -> None:
    assert met(line("walkie talkie", "851762"), line("walkie talkie toy", "950300"), line("router", "851762")) == [
        ["EU_RADIO_EQUIPMENT"],
        [],
        [],
    ]


def test_a_control_counts_within_its_days() -> None:
    before, first = (day_of_date(date(2025, 6, day)) for day in (27, 28))
    coin = line("ancient coin, bronze", "970531")
    assert met(coin | {"day": before}, coin | {"day": first}) == [[], ["EU_CULTURAL_GOODS"]]


def test_what_leaves_is_controlled_by_the_country_it_leaves() -> None:
    assert "US_ARMS_EXPORT" in met(line("thermal scope", "901310", "JP", dispatch="US"))[0]
    assert met(line("thermal scope", "901310", "JP", dispatch="CN")) == [[]]


def test_a_destination_without_controls_and_a_day_that_is_not_told_are_not_called_free() -> None:
    assert answers(line(destination="JP"), line(destination=""), line(day=None), line()) == [
        Answer.NOT_COVERED,
        Answer.NOT_COVERED,
        Answer.NOT_COVERED,
        Answer.FREE,
    ]


def test_a_thousand_lines_are_answered_as_each_alone() -> None:
    goods = ["cotton shirt", "python skin belt", "power bank", "toy pistol", "GPS jammer", "tomato seeds"]
    rows = [line(goods[n % 6], destination=("DE", "GB", "AU", "US", "JP")[n % 5], mode=n % 6) for n in range(1_000)]
    assert answers(*rows) == [answers(row)[0] for row in rows]


def test_consignments_bring_countries_documents_and_days() -> None:
    until = {"valid_until": "2026-11-24T12:00:00Z"}
    item = {"description": "python skin belt", "commodity_code": "420330"}
    filed = table(
        [
            {"items": [item]},
            {"items": [item], "supporting_documents": [{"type": "C400", "reference": "1"}]},
            {"items": [item | {"supporting_documents": [{"type": "C400", "reference": "1", **until}]}]},
            {
                "items": [
                    {"description": "shirt"},
                    item | {"supporting_documents": [{"type": "C400", "reference": "2"}]},
                ]
            },
            {"items": [item], "destination_country": "JP"},
        ]
    )
    asked = lines_of(filed, Facts(filed, first_light().rates))
    hits = shipped().judge(asked)
    assert [int(row) for row in hits.line] == [0, 1, 2, 4]
    assert hits.lifted.tolist() == [False, True, False, True]


WORDS = ["gun", "toy gun", "steel", "gun parts", "parts"]


@given(st.lists(st.sampled_from(["gun", "toy", "Parts", "steel", "für", "-", "GUN", "gunpowder"]), max_size=8))
def test_one_walk_finds_what_looking_for_each_phrase_finds(words: list[str]) -> None:
    description = " ".join(words)
    controls = _trial(WORDS)
    hit, spared = controls.said(description)
    assert (hit, spared) == (int(has_word(description, WORDS)), 0), normal(description)


@cache
def _controls_text(words: str) -> str:
    return dedent(
        f"""\
        format: 1
        jurisdiction: DE
        name: Trial controls
        source: Invented for the test.
        references:
          some: {{law: Some law of the land, verified: false}}
        controls:
          - id: TRIAL
            version: 1
            measure: restricted
            lane: red
            words: {words}
            documents: [{{type: LIC, name: Some licence}}]
            sentence: Some goods need a licence.
            legal: [some]
            owner: some desk
            valid_from: 2026-01-01
        """
    )


_made: dict[tuple[str, ...], ControlSet] = {}


def _trial(words: list[str]) -> ControlSet:
    key = tuple(words)
    if key not in _made:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "trial.yaml"
            path.write_text(_controls_text(str(words)))
            _made[key] = load_controls([path])
    return _made[key]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("restricted", "forbidden", "trial.yaml:10: control TRIAL: Invalid enum value 'forbidden'"),
        ("lane: red", "lane: green", "trial.yaml:11: control TRIAL: Invalid enum value 'green'"),
        (
            "owner: some desk",
            "owner: some desk\n    colour: red",
            "trial.yaml:17: control TRIAL: Object contains unknown field `colour`",
        ),
        (
            "documents: [",
            "papers: [",
            "trial.yaml:13: control TRIAL: Object contains unknown field `papers`; since version 0.3 its name is `documents`; rename it",
        ),
        (
            "documents: [",
            "papers_needed: all\n    documents: [",
            "unknown field `papers_needed`; since version 0.3 its name is `documents_needed`; rename it",
        ),
        (
            "legal: [some]",
            "legal: [some, other]",
            "trial.yaml:15: control TRIAL: there is no reference other; known are some",
        ),
        ("words: [gun]", "words: [gun, GUN]", "'GUN' says the same as 'gun'; keep one of the two"),
        ("words: [gun]", "hs: ['93', '9301']", "9301 lies within 93; keep 93"),
        ("words: [gun]", "hs: [9301]", "put codes and numbers in quotes"),
        ("words: [gun]", "origins: [CN]", "it names no goods; give hs, words or un_numbers"),
        ("words: [gun]", "words: [gun]\n    origins: [ZZ]", "trial.yaml:13: control TRIAL: ZZ is no country of origin"),
        (
            "words: [gun]",
            "words: [gun]\n    match: hs_and_words",
            "a code and a word must meet, so give both hs and words",
        ),
        ("measure: restricted", "measure: prohibited", "no document lifts a prohibition"),
        ("documents: [{type: LIC, name: Some licence}]", "documents: []", "it is restricted, and no document lifts it"),
        (
            "valid_from: 2026-01-01",
            "valid_from: 2026-01-01\n    valid_until: 2025-01-01",
            "before it begins on 2026-01-01",
        ),
        ("jurisdiction: DE", "jurisdiction: ZZ", "trial.yaml:2: ZZ is no country"),
        ("version: 1", "version: 1\n    version: 2", "the key 'version' stands twice"),
        ("words: [gun]", "words: [gun", "this is not YAML"),
        ("format: 1", "format: 2", "trial.yaml:1: Invalid enum value 2"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    text = _controls_text("[gun]")
    assert old in text
    path = tmp_path / "trial.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ControlFileError) as caught:
        load_controls([path])
    assert len(caught.value.errors) == 1
    assert mistake in caught.value.errors[0]


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    for name, old, new in (("a", "[some]", "[some, other]"), ("b", "restricted", "forbidden"), ("c", "TRIAL", "TRIAL")):
        (tmp_path / f"{name}.yaml").write_text(_controls_text("[gun]").replace(old, new))
    with pytest.raises(ControlFileError) as caught:
        load_controls([*sorted(tmp_path.glob("*.yaml")), tmp_path / "absent.yaml"])
    told = "\n".join(caught.value.errors)
    for each in (
        "no reference other",
        "Invalid enum value",
        "the id is taken at",
        "DE has a file already",
        "cannot be read",
    ):
        assert each in told


def test_no_files_are_no_controls() -> None:
    with pytest.raises(ControlFileError, match="there is no file"):
        load_controls([])
