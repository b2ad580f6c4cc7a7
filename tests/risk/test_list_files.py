"""A directory of lists: what is in force, what a change does, and that a broken file changes nothing but the alarm."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from libs.telemetry.metrics import REGISTRY
from services.risk.screening.in_force import Lists
from services.risk.screening.list_files import read_index
from services.risk.screening.lists import ListRefused
from services.risk.screening.matching import screen

HEAD = "id,kind,name,aliases,weak_aliases,countries,identifiers\n"
NAMES = ("Zaphod Beeblebrox", "Arthur Philip Dent", "Tricia McMillan", "Slartibartfast Magrathea", "Agrajag Stavromula")


def write(path: Path, *names: str, text: str = "") -> None:
    """Write a list, with another time of change than before."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text or HEAD + "".join(f"{number},person,{name},,,,\n" for number, name in enumerate(names)))
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(
        tmp_path / "lists.yaml",
        text="format: 1\nlists:\n  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n",
    )
    write(tmp_path / "own.csv", *NAMES)
    return tmp_path


def hit(lists: Lists, name: str) -> bool:
    return len(screen(lists.index, [name]).name) > 0


def refused(name: str) -> float | None:
    return REGISTRY.get_sample_value("luxor_risk_list_refused", {"list": name})


def test_a_new_version_is_taken_and_who_holds_the_old_index_is_not_disturbed(directory: Path) -> None:
    lists = Lists(directory)
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
    lists = Lists(directory)
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


def test_a_list_that_vanishes_stays_in_force(directory: Path) -> None:
    lists = Lists(directory)
    (directory / "own.csv").unlink()
    assert lists.look() == []
    assert hit(lists, NAMES[0])
    assert refused("OWN") == 1


def test_lists_may_come_and_go_by_the_index_and_a_broken_index_changes_nothing(directory: Path) -> None:
    lists = Lists(directory)
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
    write(index, text="format: 1\nlists:\n  - {name: DESK, kind: own, files: [desk.csv]}\n")
    lists.look()
    assert refused("ALL") == 0
    assert [each.source for each in lists.index.versions] == ["DESK"]
    assert not hit(lists, NAMES[0])


async def test_changes_are_taken_in_the_background(directory: Path) -> None:
    lists, stop = Lists(directory), asyncio.Event()
    task = asyncio.create_task(lists.watch(stop, 0.01))
    write(directory / "own.csv", *NAMES, "Fenchurch Rickmansworth")
    async with asyncio.timeout(10):
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
    ],
    ids=["none", "files", "twice", "published"],
)
def test_an_index_with_a_mistake_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "lists.yaml").write_text(text)
    with pytest.raises(ListRefused, match=told):
        read_index(tmp_path)


def test_at_start_a_broken_list_is_refused(directory: Path) -> None:
    write(directory / "own.csv", text="nonsense\n")
    with pytest.raises(ListRefused, match="OWN:1: the head"):
        Lists(directory)
