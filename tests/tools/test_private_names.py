"""Private names of the code that tests must not use."""

from pathlib import Path

import pytest

from tools import private_names

CODE = """
_LIMIT = 3


class Ink:
    def __init__(self) -> None:
        self._level = 1

    def _fill(self) -> None: ...
"""


def uses(tmp_path: Path, test: str) -> list[str]:
    for path, text in (("libs/ink.py", CODE), ("tests/paper/test_ink.py", test)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = private_names.uses(tmp_path)
    assert all(place == "tests.paper" for place, _ in found)
    return [sentence.partition(":")[2].partition(":")[0] for _, sentence in found]


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("from libs.ink import _LIMIT", "_LIMIT"),
        ("from libs import ink\nprint(ink._LIMIT)", "_LIMIT"),
        ("import libs.ink\nprint(libs.ink._LIMIT)", "_LIMIT"),
        ("ink._level = 2", "_level"),
        ("Ink()._fill()", "_fill"),
        ("print(inks[0].one._level)", "_level"),
        ("monkeypatch.setattr(ink, '_fill', None)", "_fill"),
        ("monkeypatch.setattr('libs.ink._LIMIT', 4)", "_LIMIT"),
        ("print(getattr(ink, '_level'))", "_level"),
        ("class Red(Ink):\n    def level(self):\n        return self._level", "_level"),
    ],
)
def test_a_private_name_of_the_code_is_found_with_its_line(tmp_path: Path, test: str, name: str) -> None:
    assert uses(tmp_path, test) == [f"{test.count(chr(10)) + 1} uses the private name {name}"]


@pytest.mark.parametrize(
    "test",
    [
        "from libs.ink import Ink\nprint(Ink().level)",
        "class Pen:\n    def __init__(self):\n        self._level = 1\n\n    def level(self):\n        return self._level",
        "import os\nos._level(3)",
        "print(point._replace(x=3), point._asdict())",
        "print(ink.__class__, ink._unknown)",
        "print('_fill')",
    ],
)
def test_what_a_test_defines_itself_and_what_others_offer_is_not(tmp_path: Path, test: str) -> None:
    assert uses(tmp_path, test) == []
