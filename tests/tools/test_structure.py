"""The structure that imports show: rooms, arrows, the longest chain and cycles of files."""

import grimp
import pytest

from tools import structure


def graph(*imports: tuple[str, str], alone: tuple[str, ...] = ()) -> grimp.ImportGraph:
    made = grimp.ImportGraph()
    for importer, imported in imports:
        for name in (importer, imported):
            made.add_module(name)
        made.add_import(importer=importer, imported=imported)
    for name in alone:
        made.add_module(name)
    return made


def only(found: list[structure.Structure], name: str) -> structure.Structure:
    return next(each for each in found if each.name == name)


def test_rooms_are_what_stands_directly_in_a_service_and_arrows_lead_between_them() -> None:
    found = structure.structures(
        graph(
            ("services.post.__main__", "services.post.api.service"),
            ("services.post.api.service", "services.post.commands.send"),
            ("services.post.api.service", "services.post.api.messages"),
            ("services.post.commands.send", "services.post.store.letters"),
            ("services.post.commands.send", "libs.paper.sheet"),
            ("services.post.commands.weigh", "services.post.store.letters"),
            alone=("services.post.config",),
        )
    )
    assert [each.name for each in found] == ["libs.paper", "services.post"]
    post = only(found, "services.post")
    assert post.rooms == {"api": 2, "commands": 2, "config": 1, "store": 1}, "what puts it together is no room"
    assert post.arrows == {"api": {"commands"}, "commands": {"store"}, "store": set(), "config": set()}
    assert post.chain == ["api", "commands", "store"]
    assert post.cycles == []


def test_a_cycle_is_of_files_and_of_all_that_reach_one_another() -> None:
    found = structure.structures(
        graph(
            ("services.post.law.one", "services.post.law.two"),
            ("services.post.law.two", "services.post.law.three"),
            ("services.post.law.three", "services.post.law.one"),
            ("services.post.law.three", "services.post.law.four"),
            ("services.post.entry", "services.post.law.one"),
            ("libs.paper.sheet", "libs.paper.ink"),
            ("libs.paper.ink", "libs.paper.sheet"),
            ("libs.pen", "libs.pen.tip"),
            ("libs.pen.tip", "libs.pen"),
        )
    )
    assert only(found, "libs.pen").cycles == [["libs.pen", "libs.pen.tip"]], "a package by its own file too"
    post, paper = only(found, "services.post"), only(found, "libs.paper")
    assert post.cycles == [["services.post.law.one", "services.post.law.three", "services.post.law.two"]]
    assert post.arrows == {"law": set(), "entry": {"law"}}, "a cycle inside of a room is no arrow"
    assert paper.cycles == [["libs.paper.ink", "libs.paper.sheet"]]


def test_of_rooms_in_a_ring_the_longest_chain_has_one() -> None:
    found = structure.structures(
        graph(
            ("services.post.top.file", "services.post.left.file"),
            ("services.post.left.file", "services.post.right.file"),
            ("services.post.right.file", "services.post.left.other"),
            ("services.post.left.file", "services.post.bottom.file"),
        )
    )
    assert only(found, "services.post").chain == ["top", "left", "bottom"]
    assert only(found, "services.post").cycles == [], "rooms import one another, files do not"


@pytest.mark.parametrize("is_cyclic", [True, False])
def test_the_command_fails_where_files_import_one_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_cyclic: bool
) -> None:
    back = (("libs.paper.ink", "libs.paper.sheet"),) if is_cyclic else ()
    monkeypatch.setattr(
        structure.grimp, "build_graph", lambda *_, **__: graph(("libs.paper.sheet", "libs.paper.ink"), *back)
    )
    assert structure.main(["--cycles"]) == int(is_cyclic)
    printed = capsys.readouterr().out
    assert ("cycle of 2: libs.paper.ink, libs.paper.sheet" in printed) is is_cyclic


def test_what_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        structure.main(["services.moon"])
    assert "no such package: services.moon" in capsys.readouterr().err
    assert structure.main(["libs.columns"]) == 0
    assert "libs.columns.table (1) > " in capsys.readouterr().out
