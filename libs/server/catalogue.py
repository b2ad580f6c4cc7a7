"""The catalogue of reasons: each with its gRPC code, a plain sentence and a fix hint."""

import re
import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import grpc
import msgspec

from libs.files.yaml_file import DuplicateKeyError, YamlFile

PATH = Path(__file__).with_name("catalogue.yaml")
STATUS: Final = "status"
"""The section of reasons with which nothing is refused: of states, notices, decisions, findings of risk and notes. They have no code and no facts."""
_REASON = re.compile(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]")


class CatalogueError(Exception):
    """The catalogue itself is wrong; says where."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    sentence: str
    hint: str
    code: str = ""
    command: str = ""
    path: str = ""


class Reason(msgspec.Struct, frozen=True):
    """One reason: `sentence` and `hint` have {placeholders} for the facts of a case."""

    reason: str
    area: str
    code: grpc.StatusCode
    """OK for a reason of a status, which refuses nothing."""
    sentence: str
    hint: str
    command: str = ""
    """The hint for the command line, if `hint` is about calls; empty if `hint` is for both."""
    path: str = ""
    """Of a reason of a status, the element that it concerns; empty for the consignment as a whole. Others name it in `sentence`."""

    @property
    def refuses(self) -> bool:
        """Return whether calls are refused with it, or items of a batch refused or warned of."""
        return self.area != STATUS

    def say(self, facts: Mapping[str, object]) -> tuple[str, str]:
        """Return sentence and hint with the facts put in; a fact that is missing shows as '?'."""
        # A missing fact must not turn one error into another; tests see that callers give all of them.
        known = _Facts(facts)
        return self.sentence.format_map(known), self.hint.format_map(known)

    def placeholders(self) -> frozenset[str]:
        """Return the names of the facts that sentence and hint need."""
        parsed = (*string.Formatter().parse(self.sentence), *string.Formatter().parse(self.hint))
        return frozenset(name for _, name, _, _ in parsed if name)


class _Facts(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


def parse(text: str) -> dict[str, Reason]:
    """Return the reasons of a catalogue's text; raise CatalogueError naming section, reason and what is wrong."""
    try:
        document = YamlFile(PATH, text).data
    except DuplicateKeyError as error:
        raise CatalogueError(f"{error.key} stands twice in one section, line {error.line}") from None
    reasons: dict[str, Reason] = {}
    for area, section in (document or {}).items():
        for name, body in (section or {}).items():
            where = f"{area}.{name}"
            if not _REASON.fullmatch(str(name)):
                raise CatalogueError(f"{where} is not UPPER_SNAKE_CASE of at most 63 characters")
            if name in reasons:
                raise CatalogueError(f"{where} stands in the section {reasons[name].area} too")
            try:
                entry = msgspec.convert(body, _Entry)
                code = _code(area, entry)
                texts = (each.strip() for each in (entry.sentence, entry.hint, entry.command, entry.path))
                reason = Reason(name, area, code, *texts)
                if reason.placeholders() and not reason.refuses:
                    raise ValueError("a reason of a status has no facts")
                if "{" in reason.command:
                    raise ValueError("command holds no facts: only who refuses knows them")
            except (msgspec.ValidationError, ValueError) as error:
                raise CatalogueError(f"{where}: {error}") from None
            except KeyError as error:
                raise CatalogueError(f"{where}: {error} is no gRPC code") from None
            if not reason.sentence or not reason.hint or (reason.refuses and code is grpc.StatusCode.OK):
                raise CatalogueError(f"{where} needs a sentence, a hint and a code other than OK")
            reasons[name] = reason
    return reasons


def _code(area: str, entry: _Entry) -> grpc.StatusCode:
    """Return the code of an entry. Raises KeyError for one that gRPC does not have, and ValueError for what the section does not state."""
    if area != STATUS:
        if entry.path:
            raise ValueError("the sentence names the path, and only reasons of a status state it here")
        return grpc.StatusCode[entry.code]
    if entry.code:
        raise ValueError("a reason of a status refuses nothing, so it has no code")
    return grpc.StatusCode.OK


@lru_cache(maxsize=1)
def reasons() -> Mapping[str, Reason]:
    """Return the catalogue by reason, read once."""
    return parse(PATH.read_text(encoding="utf-8"))


def reason(name: str) -> Reason:
    """Return one reason of refusals and warnings; raise CatalogueError for one that is not in the catalogue, or is of a status."""
    found = reasons().get(name)
    if found is None:
        raise CatalogueError(f"{name} is not in {PATH.name}: add it to the section of its area")
    if not found.refuses:
        raise CatalogueError(f"{name} is in the section {STATUS} of {PATH.name}, whose reasons refuse nothing")
    return found


def command_hint(name: str, hint: str) -> str:
    """Return the hint for the command line about a reason, if the catalogue has one; else the received hint."""
    known = reasons().get(name)
    return known.command if known and known.command else hint
