"""The catalogue of reasons: each with its gRPC code, a plain sentence and a fix hint."""

import re
import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import grpc
import msgspec

from libs.files.yaml_file import DuplicateKeyError, YamlFile

PATH = Path(__file__).with_name("catalogue.yaml")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]")


class CatalogueError(Exception):
    """The catalogue itself is wrong; says where."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    code: str
    sentence: str
    hint: str
    command: str = ""


class Reason(msgspec.Struct, frozen=True):
    """One reason: `sentence` and `hint` have {placeholders} for the facts of a case."""

    reason: str
    area: str
    code: grpc.StatusCode
    sentence: str
    hint: str
    command: str = ""
    """The hint for the command line, if `hint` is about calls; empty if `hint` is for both."""

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
                code = grpc.StatusCode[entry.code]
                reason = Reason(name, area, code, entry.sentence.strip(), entry.hint.strip(), entry.command.strip())
                reason.placeholders()
                if "{" in reason.command:
                    raise ValueError("command holds no facts: only who refuses knows them")
            except (msgspec.ValidationError, ValueError) as error:
                raise CatalogueError(f"{where}: {error}") from None
            except KeyError as error:
                raise CatalogueError(f"{where}: {error} is no gRPC code") from None
            if not reason.sentence or not reason.hint or code is grpc.StatusCode.OK:
                raise CatalogueError(f"{where} needs a sentence, a hint and a code other than OK")
            reasons[name] = reason
    return reasons


@lru_cache(maxsize=1)
def reasons() -> Mapping[str, Reason]:
    """Return the catalogue by reason, read once."""
    return parse(PATH.read_text(encoding="utf-8"))


def reason(name: str) -> Reason:
    """Return one reason; raise CatalogueError for one that is not in the catalogue."""
    try:
        return reasons()[name]
    except KeyError:
        raise CatalogueError(f"{name} is not in {PATH.name}: add it to the section of its area") from None


def command_hint(name: str, hint: str) -> str:
    """Return the hint for the command line about a reason, if the catalogue has one; else the received hint."""
    known = reasons().get(name)
    return known.command if known and known.command else hint
