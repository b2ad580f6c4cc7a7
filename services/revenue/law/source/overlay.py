"""Values of law files replaced: for drafts that ask what a reform would do, and for cases of law that differ in one value.

A path is written `<file>: <place>`, the place as the errors of law files tell it: `eu/rulebook.yaml: limits.low_value[0].amount`,
`eu/rulebook.yaml: charges[vat].rates[0].rate`, `eu/tariff.yaml: versions[0].rates.6109`. A list's entry goes by its place
from 0 or by its id; `[+]` adds an entry at the end. A key that is not there yet is added.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import yaml

from services.revenue.law.source.yaml_source import LawFileError

_FILE = re.compile(r"([A-Za-z0-9_./-]+\.yaml):\s*(\S.*)")
_PART = re.compile(r"(?:^|\.)([A-Za-z0-9_]+)|\[([A-Za-z0-9_]+|\+)\]")


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", str(value)))


def overlay(files: Mapping[str, str], changes: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return the files with each path set to its value, a YAML text's plain data; None removes the element.

    What a file says once and uses in several places (an anchor) changes in all of them. Comments and lines are not kept.
    Raises LawFileError for a file or place that is not there; the outcome is not checked as law.
    """
    changed = dict(files)
    trees: dict[str, yaml.Node] = {}
    for path, value in changes:
        match = _FILE.fullmatch(path.strip())
        if not match:
            raise LawFileError(path, 0, "", "is no path of a law file; write '<file>.yaml: <place>'")
        file, place = match[1], match[2]
        if file not in files:
            raise LawFileError(file, 0, place, f"is not one of the law files ({', '.join(sorted(files))})")
        if file not in trees:
            trees[file] = _tree(file, files[file])
        _set(file, trees[file], place, value)
    for file, tree in trees.items():
        changed[file] = yaml.serialize(tree, Dumper=yaml.SafeDumper, allow_unicode=True, width=1_000_000)
    return changed


def line_of(text: str, place: str) -> int:
    """Return the line, from 1, where a place stands in a file's text, or the nearest above it; 0 where none is told."""
    try:
        node, parts = _tree("", text), _parts("", place)
    except LawFileError:
        return 0
    line = 0
    for part in parts:
        at = _find(node, part)
        if at is None:
            break
        key, node = node.value[at] if isinstance(node, yaml.MappingNode) else (node.value[at],) * 2
        line = key.start_mark.line + 1
    return line


def _tree(file: str, text: str) -> yaml.Node:
    try:
        tree = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise LawFileError(file, 0, "", f"is no YAML: {error}") from None
    if tree is None:
        raise LawFileError(file, 0, "", "is empty; there is nothing to change")
    return tree


def _parts(file: str, place: str) -> list[str]:
    parts, at = [], 0
    for match in _PART.finditer(place):
        if match.start() != at:
            break
        parts.append(match[1] or match[2])
        at = match.end()
    if at != len(place) or not parts:
        raise LawFileError(
            file, 0, place, "is no place in a law file; write it as errors do: charges[vat].rates[0].rate"
        )
    return parts


def _set(file: str, tree: yaml.Node, place: str, value: Any) -> None:
    *before, last = _parts(file, place)
    node = tree
    for part in before:
        at = _find(node, part)
        if at is None:
            raise LawFileError(file, 0, place, f"{part!r} is not there")
        node = node.value[at][1] if isinstance(node, yaml.MappingNode) else node.value[at]
    at = _find(node, last)
    if value is None:
        if at is None:
            raise LawFileError(file, 0, place, f"{last!r} is not there, so it cannot be taken out")
        del node.value[at]
    elif isinstance(node, yaml.MappingNode):
        key = node.value[at][0] if at is not None else _node(last)
        pair = (key, _node(value))
        if at is None:
            node.value.append(pair)
        else:
            node.value[at] = pair
    elif isinstance(node, yaml.SequenceNode) and (at is not None or last == "+"):
        if at is None:
            node.value.append(_node(value))
        else:
            node.value[at] = _node(value)
    else:
        raise LawFileError(file, 0, place, f"{last!r} is not there")


def _find(node: yaml.Node, part: str) -> int | None:
    if isinstance(node, yaml.MappingNode):
        return next((at for at, (key, _) in enumerate(node.value) if key.value == part), None)
    if isinstance(node, yaml.SequenceNode):
        if part.isdigit():
            return int(part) if int(part) < len(node.value) else None
        for at, entry in enumerate(node.value):
            named = entry.value if isinstance(entry, yaml.MappingNode) else ()
            if any(key.value == "id" and value.value == part for key, value in named):
                return at
    return None


def _node(value: Any) -> yaml.Node:
    """Return a YAML node of plain data in flow style: text that looks like a number remains text."""
    if isinstance(value, datetime.datetime):
        value = value.date()
    node = yaml.compose(yaml.dump(value, Dumper=_Dumper, allow_unicode=True), Loader=yaml.SafeLoader)
    assert node is not None
    return node
