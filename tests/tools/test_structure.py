"""The structure that imports show: rooms, arrows, the longest chain and cycles of files."""

from pathlib import Path

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


def without_text(monkeypatch: pytest.MonkeyPatch, built: grimp.ImportGraph) -> None:
    """Have imports judged alone: what is read as text has tests of its own."""
    monkeypatch.setattr(structure.grimp, "build_graph", lambda *_, **__: built)
    monkeypatch.setattr(structure, "SERVICES", Path("nowhere"))
    monkeypatch.setattr(structure, "ROOT", Path("nowhere"))


def check(monkeypatch: pytest.MonkeyPatch, built: grimp.ImportGraph, *packages: str) -> int:
    without_text(monkeypatch, built)
    return structure.main(["--check", *packages])


@pytest.mark.parametrize("part", ["libs.paper", "services.post", "tools", "tests.post", "tests"])
@pytest.mark.parametrize("is_cyclic", [True, False])
def test_the_check_fails_where_files_import_one_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str, *, is_cyclic: bool
) -> None:
    back = ((f"{part}.ink", f"{part}.sheet"),) if is_cyclic else ()
    assert check(monkeypatch, graph((f"{part}.sheet", f"{part}.ink"), *back)) == int(is_cyclic)
    printed = capsys.readouterr().out
    assert printed == (f"cycle of 2 files: {part}.ink, {part}.sheet\n" if is_cyclic else "")


def test_a_cycle_over_several_parts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    there = (("tests.post.ink", "libs.paper.ink"), ("libs.paper.ink", "tools.ink"))
    assert check(monkeypatch, graph(*there)) == 0
    assert check(monkeypatch, graph(*there, ("tools.ink", "tests.post.ink"))) == 1


@pytest.mark.parametrize("imported", ["tests.post.test_ink", "tests.post.ink", "tests.support.ink"])
def test_the_check_fails_where_a_test_module_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], imported: str
) -> None:
    refused = "test_" in imported
    assert check(monkeypatch, graph(("tests.post.test_sheet", imported))) == int(refused)
    printed = capsys.readouterr().out
    assert printed.startswith("tests.post.test_sheet imports tests.post.test_ink: what tests share") is refused


@pytest.mark.parametrize("package", ["libs.paper", "services.post", "services.post.law"])
@pytest.mark.parametrize("is_ring", [True, False])
def test_the_check_fails_where_packages_import_one_another_at_any_depth(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str, *, is_ring: bool
) -> None:
    made = graph(
        (f"{package}.left.one", f"{package}.right.one"),
        (f"{package}.right.two", f"{package}.left.two" if is_ring else f"{package}.right.one"),
        # Packages of different services or libs are no ring.
        (f"{package}.right.two", "libs.pen.left.one"),
        ("libs.pen.left.two", f"{package}.right.two"),
        alone=(package, f"{package}.left", f"{package}.right"),
    )
    assert check(monkeypatch, made) == int(is_ring)
    printed = capsys.readouterr().out
    assert printed == (f"ring of 2 packages: {package}.left, {package}.right\n" if is_ring else "")


def test_a_ring_of_a_file_and_a_package_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    there = (("services.post.edge", "services.post.store.one"), ("services.post.store.one", "services.post.config"))
    assert check(monkeypatch, graph(*there, alone=("services.post.store",))) == 0
    back = ("services.post.store.two", "services.post.edge")
    assert check(monkeypatch, graph(*there, back, alone=("services.post.store",))) == 1


def files(package: str, count: int) -> tuple[str, ...]:
    return (package, *(f"{package}.file_{number}" for number in range(count)))


@pytest.mark.parametrize(
    "package", ["services.post", "services.post.law", "services.post.law.rates", "libs.paper", "libs.paper.ink"]
)
def test_the_check_fails_where_a_package_has_more_than_twelve_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    # Packages inside of it do not count as files of it, and neither does its own file.
    inside = (*files(f"{package}.inside", 12), f"{package}.other")
    assert check(monkeypatch, graph(alone=(*files(package, 11), *inside))) == 0
    assert capsys.readouterr().out == ""
    assert check(monkeypatch, graph(alone=(*files(package, 12), *inside))) == 1
    assert capsys.readouterr().out.startswith(f"{package} has 13 files: divide it by subject")


def test_the_steps_of_migrations_the_tools_and_the_tests_may_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, graph(alone=files("services.post.migrations.versions", 13))) == 0
    assert check(monkeypatch, graph(alone=(*files("tools", 13), *files("tests.post", 13)))) == 0


def test_without_the_check_the_rooms_of_services_are_printed_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = graph(
        ("services.post.api.service", "services.post.store.letters"),
        ("services.post.store.letters", "services.post.store.stamps"),
        ("services.post.store.stamps", "services.post.store.letters"),
    )
    without_text(monkeypatch, made)
    assert structure.main([]) == 0
    printed = capsys.readouterr().out
    assert "services.post: longest chain api > store" in printed
    assert [line.split("│")[1:4] for line in printed.splitlines() if line.startswith("│ store")] == [
        [" store ", "     2 ", " -       "]
    ]
    assert "cycle of 2 files: services.post.store.letters, services.post.store.stamps" in printed


def test_what_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    without_text(monkeypatch, grimp.build_graph("libs", cache_dir=None))
    with pytest.raises(SystemExit):
        structure.main(["services.moon"])
    assert "no such package: services.moon" in capsys.readouterr().err
    assert structure.main(["libs.columns"]) == 0
    assert "libs.columns: longest chain digest > table" in capsys.readouterr().out


@pytest.mark.parametrize("room", ["api", "feeds", "store", "store/rows", "letters"])
def test_a_transaction_begins_in_no_room_but_commands_and_jobs(tmp_path: Path, room: str) -> None:
    for each in (room, "commands", "commands/post", "jobs"):
        (tmp_path / "post" / each).mkdir(parents=True, exist_ok=True)
        (tmp_path / "post" / each / "send.py").write_text(
            "async def send(database):\n    # database.transaction() in a comment\n"
            "    async with database.connection() as reader, database.transaction() as tx:\n        return tx, reader\n"
        )
    (tmp_path / "post" / "__main__.py").write_text("database.transaction()\n")
    ((service, sentence),) = structure.transactions(tmp_path)
    assert service == "services.post"
    assert f"post/{room}/send.py:3 begins a transaction in {room.partition('/')[0]}: a command owns it" in sentence


@pytest.mark.parametrize("call", ["once(database, Answer, request, work)", "store_answer(database, request, answer)"])
def test_what_stores_the_answer_of_a_request_begins_a_transaction_too(tmp_path: Path, call: str) -> None:
    for room in ("api", "commands"):
        (tmp_path / "post" / room).mkdir(parents=True)
        (tmp_path / "post" / room / "send.py").write_text(f"{call}\nself.{call}\nrecalled(database, Answer, request)\n")
    ((_, sentence),) = structure.transactions(tmp_path)
    assert "post/api/send.py:1 begins a transaction in api" in sentence


def test_no_service_begins_a_transaction_elsewhere() -> None:
    assert structure.transactions(structure.SERVICES) == []


def test_two_classes_of_one_name_in_a_service_are_refused(tmp_path: Path) -> None:
    for path, text in (
        ("customs/api/service.py", "class Entry: ...\nclass _Private: ...\n"),
        ("customs/store/rows.py", "class Entry: ...\nclass _Private: ...\n\ndef make():\n    class Inner: ...\n"),
        ("customs/store/inner.py", "class Inner: ...\n"),
        ("borders/api/service.py", "class Entry: ...\n"),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    ((service, sentence),) = structure.repeated_classes(tmp_path)
    assert service == "services.customs"
    assert sentence.startswith("Entry is the name of 2 classes: ")
    assert "api/service.py:1, " in sentence
    assert sentence.endswith("store/rows.py:1")
    assert structure.repeated_classes(structure.SERVICES) == []


def test_the_check_fails_where_a_test_uses_a_private_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for path, text in (("libs/ink.py", "_LIMIT = 3\n"), ("tests/test_ink.py", "from libs.ink import _LIMIT\n")):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    assert check(monkeypatch, graph()) == 0
    monkeypatch.setattr(structure.grimp, "build_graph", lambda *_, **__: graph())
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    assert structure.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("tests/test_ink.py:1 uses the private name _LIMIT: test what a caller")
