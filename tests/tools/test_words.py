"""The words of the glossary are looked for in names and in prose, and the counts of each area may only fall."""

from pathlib import Path

import pytest

from tools import word_places, words

GLOSSARY = """# Glossary

| Not | Term | Meaning | Source |
| --- | --- | --- | --- |
| told, tells; kept (names) | report | told and kept are not looked for in this column alone | |
|  | consignment | Goods | WCO |
| more, of (whole names); news (prose) | what it is | | |
| taken back; office (not checked) | reversal | | |

## Exceptions

| Word | Where | Why |
| --- | --- | --- |
"""


def project(root: Path, glossary: str = GLOSSARY, **files: str) -> Path:
    for name, text in {"docs/glossary.md": glossary, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def counts(root: Path) -> dict[tuple[str, str], int]:
    listed, exemptions = words.read_glossary((root / "docs/glossary.md").read_text("utf-8"))
    found, _ = words.find(word_places.places(root), listed, exemptions)
    result: dict[tuple[str, str], int] = {}
    for each in found:
        if each.path != "docs/glossary.md":
            result[each.area, each.word] = result.get((each.area, each.word), 0) + 1
    return result


def found_in(root: Path, name: str, text: str) -> dict[str, int]:
    return {word: count for (_, word), count in counts(project(root, **{name: text})).items()}


# ---------------------------------------------------------------------------------------------- the glossary
def test_the_first_column_is_read_by_groups_with_their_scopes() -> None:
    listed, exemptions = words.read_glossary(GLOSSARY + "| kept | `libs/cli/*` `kept_*` | A reason |\n")
    assert {(each.text, each.scope) for each in listed} == {
        ("told", ""), ("tells", ""), ("kept", "names"), ("more", "whole names"), ("of", "whole names"),
        ("news", "prose"), ("taken back", ""), ("office", "not checked"),
    }  # fmt: skip
    assert exemptions == [words.Exemption("kept", "libs/cli/*", "kept_*")]


@pytest.mark.parametrize(
    ("glossary", "sentence"),
    [
        ("# Glossary\n", "no table"),
        (GLOSSARY.replace("(prose)", "(poetry)"), "poetry"),
        (GLOSSARY.replace("taken back;", "taken back, told;"), "twice"),
        (GLOSSARY + "| heard | `libs/*` | A reason |\n", "heard"),
    ],
)
def test_a_glossary_that_cannot_be_read_is_refused(
    glossary: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words.main([], project(tmp_path, glossary)) == 1
    assert sentence in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize("name", ["kept", "_kept", "kept_copies", "KeptCopies", "KEPT_MAX", "first_kept", "kept2"])
def test_a_word_is_found_as_a_part_of_a_name(name: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "libs/paper/sheet.py", f"{name} = 1\n") == {"kept": 1}


@pytest.mark.parametrize("name", ["keptness", "skepticism", "unkept", "bookkeptby"])
def test_a_word_within_another_word_is_none(name: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "libs/paper/sheet.py", f"{name} = 1\n") == {}


def test_a_whole_name_is_found_and_the_same_word_in_a_longer_name_is_not(tmp_path: Path) -> None:
    text = "def of(more: int, more_than: int, rows_of: int) -> None: ...\n"
    assert found_in(tmp_path, "libs/paper/sheet.py", text) == {"of": 1, "more": 1}


def test_a_phrase_is_found_in_a_name(tmp_path: Path) -> None:
    assert found_in(tmp_path, "libs/paper/sheet.py", "def is_taken_back(back_taken: int) -> None: ...\n") == {
        "taken back": 1
    }


@pytest.mark.parametrize(
    "text",
    [
        "class Told: ...",
        "def told() -> None: ...",
        "async def told() -> None: ...",
        "def f(told: int) -> None: ...",
        "def f(*told: int) -> None: ...",
        "def f(*, told: int) -> None: ...",
        "def f(**told: int) -> None: ...",
        "class A:\n    told: int",
        "class A:\n    told = 1",
        "class A:\n    def f(self) -> None:\n        self.told = 1\n        self.told = 2",
        "told: int = 1",
    ],
)
def test_each_kind_of_name_in_python_is_looked_at_once(text: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "services/post/api.py", text) == {"told": 1}


@pytest.mark.parametrize(
    "text",
    [
        "def f() -> None:\n    told = 1",
        "other.told = 1",
        "f(told=1)",
        '"""What was told."""',
        "# told\n",
        "x = lambda told: told",
    ],
)
def test_local_names_uses_comments_and_docstrings_are_not_looked_at(text: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "services/post/api.py", text) == {}


def test_names_of_files_and_directories_are_looked_at_once(tmp_path: Path) -> None:
    project(
        tmp_path,
        **dict.fromkeys(["libs/paper/told/kept_sheets.py", "libs/paper/told/b.py", "libs/paper/told/c.yaml"], ""),
    )
    assert counts(tmp_path) == {("libs/paper", "told"): 1, ("libs/paper", "kept"): 1}


@pytest.mark.parametrize(
    "line",
    [
        "message KeptSheet {", "enum Kept {", "service KeptService {", "  rpc ListKept(A) returns (B);", "  oneof kept {", "  int32 kept = 1;",
        "  repeated luxor.A kept_days = 2 [(x).y = 3];", "  map<string, int32> kept = 4;", "  STATE_KEPT = 3;", "  optional int64 kept = 5;",
    ],
)  # fmt: skip
def test_each_kind_of_name_in_a_proto_is_looked_at(line: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "protos/paper.proto", line + "\n") == {"kept": 1}


def test_types_and_comments_of_a_proto_are_no_names(tmp_path: Path) -> None:
    assert found_in(tmp_path, "protos/paper.proto", "  Kept sheet = 1;  // kept\n") == {}


MIGRATIONS = "services/post/migrations/versions/"


def test_tables_and_columns_of_migrations_are_names(tmp_path: Path) -> None:
    table = "create table kept (\\n    told_at bigint not null,\\n    sheet text\\n)"
    text = f'T = """{table}"""\nop.execute("alter table a add column told text")\n'
    assert found_in(tmp_path, f"{MIGRATIONS}r0001_first.py", text) == {"kept": 1, "told": 2}


def test_columns_that_a_migration_renamed_or_dropped_are_gone(tmp_path: Path) -> None:
    first = 'A = "told bigint not null, kept text"\nB = "told text"\n'
    second = (
        'op.execute("alter table a rename column told to told_kept")\nop.execute("alter table a drop column kept")\n'
    )
    project(tmp_path, **{f"{MIGRATIONS}r0001_first.py": first, f"{MIGRATIONS}r0002_second.py": second})
    assert counts(tmp_path) == {("services/post", "told"): 2, ("services/post", "kept"): 1}, "the new name counts"


def test_what_functions_of_the_database_name_inside_is_not_looked_at(tmp_path: Path) -> None:
    text = 'A = "create function f(told bigint) returns bigint language sql as $$ select told $$"\n'
    assert found_in(tmp_path, f"{MIGRATIONS}r0001_first.py", text) == {}


# ---------------------------------------------------------------------------------------------- prose
def test_pages_are_prose_and_their_code_is_not(tmp_path: Path) -> None:
    page = "# Told\n\nIt Tells `told` [a](told.md) what was taken\nback, and is kept.\n\n```\ntold\n```\n\n    told\n\n- a\n\n    told in a list\n"
    assert found_in(tmp_path, "docs/page.md", page) == {"told": 2, "tells": 1, "taken back": 1}
    assert found_in(tmp_path, "README.md", "told\n")["told"] == 3


def test_a_word_in_a_longer_word_is_no_prose(tmp_path: Path) -> None:
    assert found_in(tmp_path, "docs/page.md", "retold, untold, told-off, newspaper\n") == {}


def test_the_first_column_of_the_glossary_is_not_looked_at_and_the_rest_is(tmp_path: Path) -> None:
    root = project(tmp_path)
    found, _ = words.find(word_places.places(root), words.read_glossary(GLOSSARY)[0], [])
    assert [(each.word, each.path) for each in found] == [("told", "docs/glossary.md")]


def test_comments_of_protos_are_prose(tmp_path: Path) -> None:
    assert found_in(tmp_path, "protos/paper.proto", "// What it tells was taken\n// back.\nint32 a = 1;  // News.\n") == {
        "tells": 1, "taken back": 1, "news": 1,
    }  # fmt: skip


def test_the_catalogue_is_prose_without_its_keys_comments_and_facts(tmp_path: Path) -> None:
    text = "# told\ntold:\n  TOLD_TWICE:\n    sentence: It was told that {told} is so.\n    hint: >\n      Read what it tells.\n"
    assert found_in(tmp_path, "libs/server/catalogue.yaml", text) == {"told": 1, "tells": 1}


@pytest.mark.parametrize(
    "text",
    [
        'raise ValueError("nothing was told")',
        'raise ValueError(f"{a} was told {b}")',
        'x = "nothing " "was told"',
        "print(f\"{g('it was told')}\")",
    ],
)
def test_texts_in_python_are_prose(text: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "services/post/api.py", text) == {"told": 1}


@pytest.mark.parametrize(
    "text",
    [
        'x = "told"',
        'x = row["told"]',
        'x = "select told from a where told > 1"',
        'x = "update a set told = 1, tells = 2"',
    ],
)
def test_words_alone_and_sql_in_python_are_no_prose(text: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, "services/post/api.py", text) == {}


def test_help_of_commands_is_prose(tmp_path: Path) -> None:
    text = 'import click\n\n@click.command()\ndef show() -> None:\n    """It tells where."""\n\ndef other() -> None:\n    """It tells where."""\n'
    assert found_in(tmp_path, "libs/cli/commands/filing/show.py", text) == {"tells": 1}


# ---------------------------------------------------------------------------------------------- areas and exceptions
def test_services_libs_and_directories_are_areas_and_tests_are_none(tmp_path: Path) -> None:
    files = [
        "services/post/a/told.py",
        "libs/paper/told.py",
        "tools/told.py",
        "deploy/told.yaml",
        "protos/told/a.proto",
        "tests/told.py",
    ]
    project(
        tmp_path, **dict.fromkeys(files, ""), **{"services/told.py": "", "libs/paper/__pycache__/told.py": "told ="}
    )
    assert counts(tmp_path) == {
        (area, "told"): 1 for area in ("services/post", "libs/paper", "tools", "deploy", "protos", "services")
    }


def test_an_exception_is_for_its_word_path_and_name_alone() -> None:
    listed, exemptions = words.read_glossary(
        GLOSSARY + "| kept | `libs/a/*` `kept_*` | A reason |\n| told | `docs/*` | A reason |\n"
    )
    places = [
        word_places.Place("libs/a", "libs/a/x.py", 1, "kept_rows", is_name=True),
        word_places.Place("libs/a", "libs/a/x.py", 2, "rows_kept", is_name=True),
        word_places.Place("libs/b", "libs/b/x.py", 3, "kept_rows", is_name=True),
        word_places.Place("docs", "docs/x.md", 4, "He told\nand tells", is_name=False),
    ]
    found, unused = words.find(places, listed, exemptions)
    assert [(each.path, each.line, each.word) for each in found] == [
        ("libs/a/x.py", 2, "kept"), ("libs/b/x.py", 3, "kept"), ("docs/x.md", 5, "tells"),
    ]  # fmt: skip
    assert unused == []


def test_an_exception_that_applies_nowhere_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, GLOSSARY + "| tells | `libs/*` | A reason |\n")
    (root / "tools").mkdir()
    assert words.main(["--lower", "--new", "told"], root) == 1
    assert words.main([], root) == 1
    assert "applies nowhere" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- the baseline
def test_counts_may_neither_rise_nor_fall_unless_the_baseline_is_lowered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project(tmp_path, GLOSSARY.replace("told and kept", "words"), **{"docs/page.md": "told told\n"})
    assert words.main([], root) == 1
    assert "docs: 'told' is written 2 times, 0 are allowed" in capsys.readouterr().err
    assert words.main(["--lower"], root) == 1, "a line that is not there may not rise either"
    assert not (root / words.BASELINE).exists()
    (root / "tools").mkdir()
    assert words.main(["--lower", "--new", "told"], root) == 0
    assert words.main([], root) == 0
    assert (root / words.BASELINE).read_text("utf-8") == "docs: told 2\n"

    project(root, GLOSSARY.replace("told and kept", "words"), **{"docs/page.md": "told\n"})
    capsys.readouterr()
    assert words.main([], root) == 1
    assert "--lower" in capsys.readouterr().err
    assert words.main(["--lower"], root) == 0
    assert words.main([], root) == 0

    project(root, GLOSSARY.replace("told and kept", "words"), **{"docs/page.md": "told told told\n"})
    assert words.main([], root) == 1
    assert words.main(["--lower"], root) == 1
    assert (root / words.BASELINE).read_text("utf-8") == "docs: told 1\n"


def test_the_baseline_has_a_line_for_each_area_and_word_in_order() -> None:
    counts = {("libs/b", "told"): 2, ("docs", "what is open"): 1, ("libs/b", "kept"): 3, ("docs", "gone"): 0}
    text = words.written(counts)
    assert text == "docs: what is open 1\nlibs/b: kept 3\nlibs/b: told 2\n"
    assert words.read_baseline(text) == {key: count for key, count in counts.items() if count}


def test_a_line_that_a_merge_left_twice_has_the_lower_count() -> None:
    assert words.read_baseline("docs: told 3\ndocs: kept 4\ndocs: told 2\n") == {
        ("docs", "told"): 2,
        ("docs", "kept"): 4,
    }


def test_a_baseline_that_cannot_be_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert words.main([], project(tmp_path, **{words.BASELINE: "docs told many\n"})) == 1
    assert "docs told many" in capsys.readouterr().err


def test_the_list_prints_the_places_of_an_area_and_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = project(tmp_path, **{"docs/page.md": "a\nit tells\n", "libs/paper/told.py": ""})
    assert words.main(["--list", "docs", "--word", "tells"], root) == 0
    assert capsys.readouterr().out == "docs/page.md:2: tells: a it tells\n"
    assert words.main(["--list"], root) == 0
    assert "libs/paper/told.py:1: told: told" in capsys.readouterr().out


def test_the_check_runs_with_the_others() -> None:
    from tools.check import CHECKS

    assert any("tools.words" in command for _, command in CHECKS)
