"""A directory of lists: what is in force, what a change does, and that a broken file changes nothing but the alarm."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libs.telemetry.metrics import REGISTRY
from services.risk.commands.load_lists import ListLoader
from services.risk.screening.lists.cleared_pairs import load_cleared
from services.risk.screening.lists.list_files import ListFile, read_lists_file
from services.risk.screening.lists.party_list import ListRefused, PartyList, digest
from services.risk.screening.matching.list_changes import Delta
from services.risk.screening.matching.scores import screen
from tests.risk.screening.list_files import HEAD, NAMES, write


def hit(lists: ListLoader, name: str) -> bool:
    return len(screen(lists.index, [name]).name) > 0


def refused(name: str) -> float | None:
    return REGISTRY.get_sample_value("luxor_risk_list_refused", {"list": name})


def test_a_new_version_is_taken_and_who_holds_the_old_index_is_not_disturbed(directory: Path) -> None:
    lists = ListLoader(directory)
    held = lists.index
    assert lists.look() == []
    assert lists.index is held
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    (delta,) = lists.look()
    assert [each.names[0].text for each in delta.added] == ["Fenchurch Rickmansworth"]
    assert hit(lists, "Fenchurch Rickmansworth")
    assert len(screen(held, ["Fenchurch Rickmansworth"]).name) == 0


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "0,person,Cut Off",
        HEAD + '0,person,"Open',
        "",
        HEAD + "0,person,Only One Left,,,,\n",
        HEAD + "0,ghost,No Kind,,,,\n",
    ],
    ids=["cut off", "open quote", "empty", "truncated", "malformed"],
)
def test_a_broken_list_keeps_the_one_in_force_and_raises_the_alarm_until_a_sound_one_is_there(
    directory: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = ListLoader(directory)
    held = lists.index
    assert refused("OWN") == 0
    write(directory / "own.csv", text=text or "\n")
    assert lists.look() == []
    assert lists.look() == []
    assert lists.index is held
    assert refused("OWN") == 1
    assert capsys.readouterr().err.count("LIST_REFUSED") == 1
    write(directory / "own.csv", *NAMES[:4])
    assert len(lists.look()) == 1
    assert refused("OWN") == 0


async def test_a_look_that_fails_unexpectedly_is_made_again_and_the_alarm_ends_with_a_good_one(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = directory / "lists.yaml"
    write(index, text=index.read_text() + "  - {name: SEAT, kind: own, files: [seat.csv]}\n")
    write(directory / "seat.csv", "Marvin Android")
    lists = ListLoader(directory)
    sound = ListFile.load

    def fails(file: ListFile) -> PartyList:
        if file.text.name == "OWN":
            raise MemoryError
        return sound(file)

    monkeypatch.setattr(ListFile, "load", fails)
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    write(directory / "seat.csv", "Marvin Android", "Ford Prefect")
    # The list after it is taken all the same.
    assert len(lists.look()) == 1
    assert hit(lists, "Ford Prefect")
    assert refused("OWN") == 1
    monkeypatch.setattr(ListFile, "load", sound)
    assert len(lists.look()) == 1
    assert hit(lists, "Fenchurch Rickmansworth")
    assert refused("OWN") == 0


async def test_the_alarm_of_a_failed_look_ends_and_that_of_a_refused_lists_yaml_does_not(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists, looks = ListLoader(directory), 0
    stop = asyncio.Event()
    sound = lists.look

    def look() -> list[Delta]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise MemoryError
        assert refused("ALL") == 1
        try:
            return sound()
        finally:
            stop.set()

    monkeypatch.setattr(lists, "look", look)
    await lists.watch(stop, 0.001)
    assert (looks, refused("ALL")) == (2, 0)
    write(directory / "lists.yaml", text="format: 2\n")
    for _ in range(2):
        sound()
        assert refused("ALL") == 1


def test_a_list_that_vanishes_stays_in_force(directory: Path) -> None:
    lists = ListLoader(directory)
    (directory / "own.csv").unlink()
    assert lists.look() == []
    assert hit(lists, NAMES[0])
    assert refused("OWN") == 1


def test_lists_may_come_and_go_by_the_index_and_a_broken_index_changes_nothing(directory: Path) -> None:
    lists = ListLoader(directory)
    index = directory / "lists.yaml"
    write(directory / "desk.csv", "Marvin Android")
    both = "format: 1\nlists:\n  - {name: OWN, kind: own, files: [own.csv]}\n  - {name: DESK, kind: own, files: [desk.csv]}\n"
    write(index, text=both)
    lists.look()
    assert hit(lists, "Marvin Android")
    write(index, text=both.replace("kind: own", "kind: unknown"))
    lists.look()
    assert refused("ALL") == 1
    assert {each.source for each in lists.index.versions} == {"OWN", "DESK"}
    gone = "  - {name: OWN, withdrawn: true, reason: merged into the desk's}\n"
    write(index, text="format: 1\nlists:\n  - {name: DESK, kind: own, files: [desk.csv]}\n" + gone)
    lists.look()
    assert refused("ALL") == 0
    assert [each.source for each in lists.index.versions] == ["DESK"]
    assert not hit(lists, NAMES[0])


async def test_changes_are_taken_in_the_background(directory: Path) -> None:
    lists, stop = ListLoader(directory), asyncio.Event()
    task = asyncio.create_task(lists.watch(stop, 0.01))
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    async with asyncio.timeout(60):
        while not hit(lists, "Fenchurch Rickmansworth"):  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.01)
    stop.set()
    await task


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("format: 1\nlists: []\n", "lists.yaml:2"),
        ("format: 1\nlists:\n  - {name: UN, kind: un, files: [a, b]}\n", "lists.yaml:3: UN has 2 files"),
        (
            "format: 1\nlists:\n  - {name: A1, kind: own, files: [a.csv]}\n  - {name: A1, kind: own, files: [b.csv]}\n",
            "lists.yaml:4: the list A1 stands twice",
        ),
        ("format: 1\nlists:\n  - {name: UN, kind: un, files: [a.xml], published: 2026-01-01}\n", "remove published"),
        ("format: 1\nlists:\n  - {name: UN, files: [a.xml]}\n", "lists.yaml:3: UN has no kind"),
        ("format: 1\nlists:\n  - {name: UN, withdrawn: true, reason: why not}\n", "does not say why"),
        ("format: 1\nlists:\n  - {name: CLEARED, kind: own, files: [a.csv]}\n", "take another name"),
    ],
    ids=["none", "files", "twice", "published", "kind", "reason", "reserved"],
)
def test_an_index_with_a_mistake_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "lists.yaml").write_text(text)
    with pytest.raises(ListRefused, match=told):
        read_lists_file(tmp_path)


def test_at_start_a_broken_list_is_refused(directory: Path) -> None:
    write(directory / "own.csv", text="nonsense\n")
    with pytest.raises(ListRefused, match="OWN:1: the head"):
        ListLoader(directory)


def test_a_list_that_lists_yaml_names_no_more_stays_in_force_until_it_is_withdrawn_with_a_reason(
    directory: Path, tmp_path: Path
) -> None:
    lists = ListLoader(directory, tmp_path / "copies")
    index = directory / "lists.yaml"
    write(directory / "desk.csv", "Marvin Android")
    desk = "format: 1\nlists:\n  - {name: DESK, kind: own, files: [desk.csv]}\n"
    write(index, text=desk)
    lists.look()
    assert hit(lists, NAMES[0])
    assert hit(lists, "Marvin Android")
    assert refused("OWN") == 1
    write(index, text=desk + "  - {name: OWN, withdrawn: true}\n")
    lists.look()
    assert refused("ALL") == 1
    assert hit(lists, NAMES[0])
    write(index, text=desk + "  - {name: OWN, withdrawn: true, reason: repealed by decree 7 of 2026}\n")
    lists.look()
    assert refused("ALL") == 0
    assert refused("OWN") is None
    assert not hit(lists, NAMES[0])
    # A restart does not bring it back, and a withdrawn list may come again.
    assert not hit(ListLoader(directory, tmp_path / "copies"), NAMES[0])
    write(index, text=desk + "  - {name: OWN, kind: own, files: [own.csv]}\n")
    lists.look()
    assert hit(lists, NAMES[0])


@pytest.mark.parametrize("text", ["nonsense\n", HEAD + "0,person,Only One Left,,,,\n"], ids=["malformed", "truncated"])
def test_at_start_the_copy_of_what_was_in_force_stands_in_for_a_broken_list(
    directory: Path, tmp_path: Path, text: str
) -> None:
    copies = tmp_path / "copies"
    before = ListLoader(directory, copies).index.versions
    write(directory / "own.csv", text=text)
    lists = ListLoader(directory, copies)
    assert lists.index.versions == before
    assert hit(lists, NAMES[0])
    assert refused("OWN") == 1
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    lists.look()
    assert refused("OWN") == 0
    assert hit(lists, "Fenchurch Rickmansworth")


def test_at_start_copies_stand_in_for_a_broken_index_and_for_a_list_that_it_names_no_more(
    directory: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    ListLoader(directory, copies)
    write(directory / "lists.yaml", text="format: 2\n")
    lists = ListLoader(directory, copies)
    assert hit(lists, NAMES[0])
    assert refused("ALL") == 1
    write(directory / "desk.csv", "Marvin Android")
    write(directory / "lists.yaml", text="format: 1\nlists:\n  - {name: DESK, kind: own, files: [desk.csv]}\n")
    lists.look()
    assert refused("ALL") == 0
    again = ListLoader(directory, copies)
    for each in (lists, again):
        assert hit(each, NAMES[0])
        assert hit(each, "Marvin Android")
    assert refused("OWN") == 1


def test_what_changed_while_nothing_ran_is_known_from_the_copy(directory: Path, tmp_path: Path) -> None:
    before = ListLoader(directory, tmp_path / "copies").state.versions
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    state = ListLoader(directory, tmp_path / "copies").state
    assert state.coming_since(before) == {"OWN": {"5"}}
    assert state.coming_since("OWN:2020-01-01:000000000000") == {"OWN": None}
    assert state.coming_since("") == {"OWN": None}
    assert state.coming_since(state.versions) == {}


def test_a_copy_that_was_changed_counts_for_nothing(directory: Path, tmp_path: Path) -> None:
    ListLoader(directory, tmp_path / "copies")
    (copied,) = (tmp_path / "copies" / "OWN").glob("*/0.csv")
    copied.write_text(HEAD + "0,person,Somebody Else,,,,\n")
    write(directory / "own.csv", text="nonsense\n")
    with pytest.raises(ListRefused, match="OWN:1: the head"):
        ListLoader(directory, tmp_path / "copies")


def test_changes_of_several_looks_come_together(directory: Path) -> None:
    lists = ListLoader(directory)
    first = lists.state.versions
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    lists.look()
    second = lists.state.versions
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth", "Marvin Android")
    lists.look()
    assert lists.state.coming_since(first) == {"OWN": {"5", "6"}}
    assert lists.state.coming_since(second) == {"OWN": {"6"}}


PAIR = (
    "format: 1\npairs:\n  - {name: 'DENT, Arthur Philip', list: OWN, entry: '1', cleared_by: A. Officer, "
    "cleared_on: 2026-11-20, until: 2027-11-20, why: another birth date}\n"
)


def test_cleared_pairs_are_a_version_of_their_own_and_a_broken_file_changes_nothing(directory: Path) -> None:
    index = directory / "lists.yaml"
    write(directory / "cleared.yaml", text=PAIR)
    write(index, text=index.read_text() + "cleared: cleared.yaml\n")
    lists = ListLoader(directory)
    first = lists.state.versions
    assert first.startswith("CLEARED:2026-11-20:")
    assert len(lists.index.cleared.pairs) == 1
    write(directory / "cleared.yaml", text=PAIR.replace("2027-11-20", "2036-11-20"))
    lists.look()
    assert refused("CLEARED") == 1
    assert lists.state.versions == first
    write(directory / "cleared.yaml", text="format: 1\npairs: []\n")
    lists.look()
    assert refused("CLEARED") == 0
    assert lists.state.coming_since(first) == {"OWN": {"1"}}
    # A version of the pairs that this process never had: all may hit anew.
    assert lists.state.coming_since(first.replace(":2026-11-20:", ":2026-01-01:")) == {"OWN": None}


def test_digest_and_pairs_are_of_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cleared.yaml"
    path.write_text(PAIR)
    read = Path.read_bytes

    def replaced_meanwhile(path: Path) -> bytes:
        content = read(path)
        path.write_text("format: 1\npairs: []\n")
        return content

    monkeypatch.setattr(Path, "read_bytes", replaced_meanwhile)
    pairs = load_cleared(path)
    assert pairs.version is not None
    assert pairs.version.digest == digest(PAIR.encode())
    assert len(pairs.pairs) == 1


def test_at_start_a_broken_file_of_pairs_clears_nobody(directory: Path) -> None:
    index = directory / "lists.yaml"
    write(directory / "cleared.yaml", text=PAIR.replace("until", "till"))
    write(index, text=index.read_text() + "cleared: cleared.yaml\n")
    assert ListLoader(directory).index.cleared.pairs == ()
    assert refused("CLEARED") == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("until: 2027-11-20", "until: 2030-11-20"), "cleared.yaml:3: the pair was cleared on 2026-11-20 until 2030"),
        (("until: 2027-11-20", "until: 2026-11-19"), "cleared.yaml:3: the pair was cleared"),
        (("until: 2027-11-20, ", ""), "cleared.yaml:3: Object missing required field `until`"),
        (("'DENT, Arthur Philip'", "'…'"), "cleared.yaml:3: the name '…' has neither"),
        (("list: OWN", "list: OWN, country: XX"), "cleared.yaml:3: 'XX' is no country"),
        (("format: 1", "format: 2"), "cleared.yaml:1: Invalid"),
    ],
    ids=["long", "past", "open", "no name", "country", "format"],
)
def test_a_file_of_pairs_with_a_mistake_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    (tmp_path / "cleared.yaml").write_text(PAIR.replace(*change))
    with pytest.raises(ListRefused, match=told):
        load_cleared(tmp_path / "cleared.yaml")
