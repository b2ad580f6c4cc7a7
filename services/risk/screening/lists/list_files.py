"""The lists that parties are screened against as files: a directory with lists.yaml and what it names.

lists.yaml has for each list a short name, the kind of its files, the files, and where these do not tell it the day of
publication. Every list is read whole or refused whole, on its own: one that is broken does not touch the others. A list that
shall count no more stays there with `withdrawn: true` and the reason, so that none is lost by a slip of the pen. `cleared`
names the file of cleared pairs.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from libs.files.yaml_file import YamlError, YamlFile
from services.risk.screening.lists.cleared_pairs import CLEARED
from services.risk.screening.lists.ofac import load_ofac
from services.risk.screening.lists.opensanctions import load_opensanctions
from services.risk.screening.lists.own_lists import load_own_csv, load_own_yaml
from services.risk.screening.lists.party_list import FILE_BYTES_MAX, MATCH, ListRefused, PartyList
from services.risk.screening.lists.un import load_un

INDEX: Final = "lists.yaml"
LISTS_MAX: Final = 100
#: What stands for lists.yaml itself among the lists.
ALL: Final = "ALL"
_RESERVED: Final = frozenset({ALL, CLEARED, MATCH})
#: Words that a reason has at least.
WORDS_LEAST: Final = 3
#: Files that a list of each kind is made of.
_FILES: Final = {"un": 1, "ofac": 2, "opensanctions": 1, "own": 1}

#: When a file was changed (nanoseconds) and its size; (0, -1) where there is none.
Stamp = tuple[int, int]


class ListText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list as lists.yaml names it."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{1,19}$")]
    kind: Literal["un", "ofac", "opensanctions", "own"] | None = None
    """Missing only where the list is withdrawn, like the files."""
    files: Annotated[tuple[str, ...], msgspec.Meta(max_length=2)] = ()
    published: datetime.date | None = None
    end_mark: bool = True
    """Of kind ofac: whether the files end with Ctrl-Z, as OFAC's own do."""
    share_least_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 80
    """A new version with a smaller share of the entries in force is taken for a truncated one."""
    withdrawn: bool = False
    """Whether nobody is screened against the list any more."""
    reason: Annotated[str, msgspec.Meta(max_length=300)] = ""
    """Why it is withdrawn, and by whose decision."""


class IndexText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """lists.yaml as written."""

    format: Literal[1]
    lists: Annotated[tuple[ListText, ...], msgspec.Meta(min_length=1, max_length=LISTS_MAX)]
    cleared: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """File of the cleared pairs."""


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list that lists.yaml names."""

    text: ListText
    paths: tuple[Path, ...]

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """What tells whether the files were changed."""
        return tuple(map(stamp, self.paths))

    def load(self) -> PartyList:
        """Read the list; raises ListRefused with file, line and reason."""
        text = self.text
        try:
            if text.kind == "own" and self.paths[0].suffix in (".yaml", ".yml"):
                loaded = load_own_yaml(self.paths[0])
                if loaded.version.source != text.name:
                    raise ListRefused(
                        f"{self.paths[0]}: its source is {loaded.version.source!r} and {INDEX} names it {text.name}; give both the same"
                    )
                return loaded
            contents = [_content(path) for path in self.paths]
        except OSError as error:
            raise ListRefused(f"{text.name}: {error.filename} cannot be read: {error.strerror}") from None
        if text.kind == "un":
            return load_un(contents[0], source=text.name)
        if text.kind == "ofac":
            return load_ofac(*contents, published=text.published, source=text.name, end_mark=text.end_mark)
        if text.kind == "opensanctions":
            return load_opensanctions(contents[0], published=text.published, source=text.name)
        return load_own_csv(contents[0], source=text.name, published=text.published)


@dataclass(frozen=True, slots=True)
class ListsFile:
    """What lists.yaml says."""

    lists: Mapping[str, ListFile]
    """The lists that count, by name."""
    withdrawn: Mapping[str, str]
    """Names of those that shall not, and why."""
    cleared: Path | None
    """The file of cleared pairs."""


def stamp(path: Path) -> Stamp:
    """What tells whether a file was changed."""
    try:
        found = path.stat()
    except OSError:
        return 0, -1
    return found.st_mtime_ns, found.st_size


def read_lists_file(directory: Path) -> ListsFile:
    """Read lists.yaml. Raises ListRefused with every mistake."""
    path = directory / INDEX
    try:
        file = YamlFile(path)
        text = file.convert(IndexText)
    except YamlError as error:
        raise ListRefused(str(error)) from None
    lists: dict[str, ListFile] = {}
    withdrawn: dict[str, str] = {}
    mistakes: list[str] = []
    for index, each in enumerate(text.lists):
        place = file.place(f"$.lists[{index}]")
        if each.name in lists or each.name in withdrawn:
            mistakes.append(f"{place}: the list {each.name} stands twice; keep one of the two")
        if each.name in _RESERVED:
            mistakes.append(f"{place}: {each.name} has a meaning of its own in versions and metrics; take another name")
        if each.withdrawn:
            if len(each.reason.split()) < WORDS_LEAST:
                mistakes.append(
                    f"{place}: {each.name} is withdrawn and does not say why; write a reason, and who decided it"
                )
            withdrawn[each.name] = each.reason
            continue
        if each.kind is None:
            mistakes.append(f"{place}: {each.name} has no kind; known are {', '.join(_FILES)}")
            continue
        if len(each.files) != _FILES[each.kind]:
            mistakes.append(
                f"{place}: {each.name} has {len(each.files)} files; kind {each.kind} has {_FILES[each.kind]}"
            )
        if each.published is not None and (each.kind == "un" or each.files[0].endswith((".yaml", ".yml"))):
            mistakes.append(f"{place}: {each.name}: the day of publication is in its file; remove published")
        lists[each.name] = ListFile(each, tuple(directory / name for name in each.files))
    if mistakes:
        raise ListRefused("\n".join(mistakes))
    return ListsFile(lists, withdrawn, None if text.cleared is None else directory / text.cleared)


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > FILE_BYTES_MAX:
        raise ListRefused(f"{path}: the file has {size} bytes; at most {FILE_BYTES_MAX} are read")
    return path.read_bytes()
