"""A list that is published anew: the next index equals one built whole, and former names are looked at again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.screening.lists.party_list import EntryName, ListEntry, ListRefused, ListVersion, PartyList
from services.risk.screening.matching.index import Index, build
from services.risk.screening.matching.list_changes import Screener, apply, difference, entries_of
from services.risk.screening.matching.scores import NameMatches, screen
from tests.risk.screening.support import again, entry, ofac, public, un
from tests.risk.screening.typos import mistyped

texts = st.text("aeikmnos ", min_size=3, max_size=16).filter(str.strip)
entries = st.dictionaries(
    st.sampled_from([str(number) for number in range(12)]), st.lists(texts, min_size=1, max_size=3), max_size=8
)


def party_list(content: dict[str, list[str]], source: str = "OWN", digest: str = "0" * 64) -> PartyList:
    made = tuple(entry(number, *names) for number, names in content.items())
    return PartyList(ListVersion(source, None, digest, len(made)), made)


def told(index: Index, hits: NameMatches) -> set[tuple[int, str, str, int]]:
    """Hits by what does not depend on the order in which entries were read."""
    return {
        (name, index.version_of(row).id, index.entries[row].id, score)
        for name, row, score in zip(hits.name.tolist(), hits.entry.tolist(), hits.score.tolist(), strict=True)
    }


@settings(deadline=None)
@given(entries, entries, entries, st.lists(texts, max_size=6))
def test_a_delta_gives_what_a_full_reload_gives(
    first: dict[str, list[str]], second: dict[str, list[str]], other: dict[str, list[str]], names: list[str]
) -> None:
    before, after, beside = party_list(first), party_list(second, digest="1" * 64), party_list(other, "DESK")
    index = build([(each.version, each.entries) for each in (before, beside)])
    moved = apply(index, difference(before.entries, after))
    whole = build([(each.version, each.entries) for each in (after, beside)])
    names = [*names, *(name.text for each in (before, after, beside) for party in each.entries for name in party.names)]
    assert told(moved, screen(moved, names, 700)) == told(whole, screen(whole, names, 700))
    back = apply(moved, difference(after.entries, before))
    assert told(back, screen(back, names, 700)) == told(index, screen(index, names, 700))


@settings(deadline=None)
@given(entries, entries, st.lists(texts, max_size=6))
def test_looking_again_finds_exactly_the_hits_on_what_has_come(
    first: dict[str, list[str]], second: dict[str, list[str]], names: list[str]
) -> None:
    before, after = party_list(first), party_list(second, digest="1" * 64)
    delta = difference(before.entries, after)
    index = apply(build([(before.version, before.entries)]), delta)
    names = [*names, *(name.text for party in after.entries for name in party.names)]
    coming = {party.id for party in delta.added_or_changed}
    whole = {each for each in told(index, screen(index, names, 700)) if each[2] in coming}
    assert told(index, again(index, delta).screen(names, 700)) == whole


def test_a_difference_tells_what_is_added_changed_and_removed() -> None:
    before = party_list({"1": ["Same One"], "2": ["Old Name"], "3": ["Gone Away"]})
    after = party_list({"4": ["Quite New"], "2": ["New Name"], "1": ["Same One"]})
    delta = difference(before.entries, after)
    assert [each.id for each in delta.added] == ["4"]
    assert [each.names[0].text for each in delta.changed] == ["New Name"]
    assert delta.removed == {"3"}


def test_a_delta_that_starts_from_another_version_is_refused() -> None:
    before, after = party_list({"1": ["One"], "2": ["Two"]}), party_list({"1": ["One"]})
    delta = difference(before.entries, after)
    with pytest.raises(KeyError, match="OWN has no entry 2"):
        apply(build([(after.version, after.entries)]), delta)


def test_who_holds_the_old_index_is_not_disturbed_by_the_next() -> None:
    screener = Screener([party_list({"1": ["Zaphod Beeblebrox"]})])
    held = screener.index
    delta = screener.take(party_list({"2": ["Arthur Philip Dent"], "3": ["Tricia McMillan"]}, digest="1" * 64))
    assert (len(delta.added), delta.removed) == (2, {"1"})
    names = ["Zaphod Beeblebrox", "Arthur Philip Dent"]
    assert screen(held, names).name.tolist() == [0]
    assert screen(screener.index, names).name.tolist() == [1]
    assert [each.digest[0] for each in screener.index.versions] == ["1"]
    assert [each.id for each in entries_of(screener.index, "OWN")] == ["2", "3"]


def test_a_list_that_is_cut_off_leaves_the_one_in_force() -> None:
    screener = Screener([party_list({str(number): [f"Party {number}"] for number in range(10)})])
    held = screener.index
    short = party_list({"1": ["Party 1"]}, digest="1" * 64)
    with pytest.raises(ListRefused, match="taken for a truncated"):
        screener.take(short)
    assert screener.index is held
    screener.take(short, share_least=0)
    assert len(screener.index.entries) == 1


def test_a_list_of_another_source_comes_beside() -> None:
    screener = Screener([party_list({"1": ["Zaphod Beeblebrox"]})])
    screener.take(party_list({"1": ["Arthur Philip Dent"]}, "DESK"))
    hits = screen(screener.index, ["Zaphod Beeblebrox", "Arthur Philip Dent"])
    assert hits.name.tolist() == [0, 1]
    assert [screener.index.version_of(row).source for row in hits.entry.tolist()] == ["OWN", "DESK"]


def test_looking_again_after_nothing_has_come_finds_nothing() -> None:
    before = party_list({"1": ["Zaphod Beeblebrox"], "2": ["Arthur Dent"]})
    after = party_list({"1": ["Zaphod Beeblebrox"]})
    delta = difference(before.entries, after)
    index = apply(build([(before.version, before.entries)]), delta)
    assert len(again(index, delta).screen(["Zaphod Beeblebrox"]).name) == 0


@cache
def public_lists() -> tuple[PartyList, PartyList]:
    return un(), ofac()


@public
def test_the_public_lists_changed_bit_by_bit_equal_a_full_reload() -> None:
    united_nations, treasury = public_lists()
    random = Random(9)
    kept = [each for each in treasury.entries if random.random() > 0.01]
    changed = [with_alias(each) if random.random() < 0.01 else each for each in kept]
    new = PartyList(
        replace(treasury.version, digest="1" * 64, entries=len(changed) + 1), (*changed, entry("x", "Zaphod B"))
    )
    screener = Screener([united_nations, treasury])
    delta = screener.take(new)
    assert 40 < len(delta.changed) < 200
    whole = build([(each.version, each.entries) for each in (united_nations, new)])
    names = mistyped([each.names[0].text for each in (*delta.added_or_changed, *treasury.entries[::50])], 3)
    assert told(screener.index, screen(screener.index, names, 700)) == told(whole, screen(whole, names, 700))
    found = told(screener.index, again(screener.index, delta).screen(names))
    coming = {each.id for each in delta.added_or_changed}
    assert found == {
        each
        for each in told(screener.index, screen(screener.index, names))
        if each[1] == new.version.id and each[2] in coming
    }


def with_alias(party: ListEntry) -> ListEntry:
    return replace(party, names=(*party.names, EntryName("Also Known Differently " + party.id)))
