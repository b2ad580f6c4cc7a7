"""Functions that conditions have beside CEL's own: words in descriptions, and checks of numbers. Each is a function of
strings alone.

A text is compared in its normal form: Latin letters without accents, lower case, words of letters and digits with
single blanks between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from anyascii import anyascii
from cel_expr_python import cel

from libs.customs.descriptions.vague import is_vague
from libs.customs.identifiers import ioss
from libs.customs.parties import name_key

_WORD: Final = re.compile(r"[a-z0-9]+")
#: A text of a consignment has at most 2,048 characters, so the caches stay below some 20 MB.
_NORMAL_FORMS_MAX: Final = 32_768


@dataclass(frozen=True)
class Function:
    """A function or method of conditions: `name(a, b)`, or `a.name(b)` with `member`. Kinds are CEL's: string, bool,
    int, list(string).

    `prepare` gives from a constant second argument the function of the first alone, where that spares work at each text.
    """

    name: str
    parameters: tuple[str, ...]
    result: str
    implementation: Callable[..., Any]
    member: bool = False
    prepare: Callable[[Any], Callable[[str], Any]] | None = None

    def declaration(self) -> Any:
        """The declaration that the CEL library checks and evaluates calls by."""
        kinds = {
            "string": cel.Type.STRING,
            "bool": cel.Type.BOOL,
            "int": cel.Type.INT,
            "list(string)": cel.Type.List(cel.Type.STRING),
        }
        overload = cel.Overload(
            f"luxor_{self.name}",
            kinds[self.result],
            [kinds[p] for p in self.parameters],
            self.member,
            self.implementation,
        )
        return cel.FunctionDecl(self.name, [overload])


@lru_cache(_NORMAL_FORMS_MAX)
def normal(text: str) -> str:
    """The normal form of a text: `normal("Café  T-Shirt!")` is `"cafe t shirt"`."""
    return " ".join(_WORD.findall((text if text.isascii() else anyascii(text)).lower()))


@lru_cache(_NORMAL_FORMS_MAX)
def _words_of(text: str) -> tuple[str, ...]:
    """The words of a text in its normal form."""
    return tuple(normal(text).split())


@lru_cache(1_024)
def _finder(phrases: tuple[str, ...]) -> Callable[[str], bool]:
    forms = [normal(phrase) for phrase in phrases]
    words = frozenset(form for form in forms if " " not in form)
    longer = tuple(f" {form} " for form in forms if " " in form)
    # A phrase without any letter or digit is the empty word, which a text without any has.
    empty = "" in words

    def find(text: str) -> bool:
        found = _words_of(text)
        if not words.isdisjoint(found) or (empty and not found):
            return True
        if not longer:
            return False
        padded = f" {normal(text)} "
        return any(phrase in padded for phrase in longer)

    return find


def has_word(text: str, phrases: Any) -> bool:
    """Whether a word of a list, or a phrase of several words, stands in the text: whole words of the normal form."""
    return _finder(tuple(phrases))(text)


@lru_cache(1_024)
def _consists_of(words: tuple[str, ...]) -> Callable[[str], bool]:
    known = frozenset(form for form in map(normal, words) if " " not in form)
    return lambda text: all(word in known or word.isdigit() for word in _words_of(text))


def only_words(text: str, words: Any) -> bool:
    """Whether the text says nothing but words of a list; numbers do not count, and a text without any word says
    nothing.
    """
    return _consists_of(tuple(words))(text)


@lru_cache(1_024)
def _named_in(names: tuple[str, ...]) -> Callable[[str], bool]:
    keys = frozenset(map(name_key, names))
    return lambda name: name_key(name) in keys


def is_named_in(name: str, names: Any) -> bool:
    """Whether a name is one of a list's, however both are written (`libs.customs.parties.name_key`)."""
    return _named_in(tuple(names))(name)


def valid_ioss(number: str) -> bool:
    """Whether a number has the form of an IOSS number, without the reference of the sale that a platform may append."""
    return ioss.is_valid(ioss.split(number)[0])


FUNCTIONS: Final = (
    Function("normal", ("string",), "string", normal),
    Function("hasWord", ("string", "list(string)"), "bool", has_word, member=True, prepare=_finder),
    Function("onlyWords", ("string", "list(string)"), "bool", only_words, member=True, prepare=_consists_of),
    Function("isVague", ("string",), "bool", is_vague, member=True),
    Function("nameKey", ("string",), "string", name_key),
    Function("isNamedIn", ("string", "list(string)"), "bool", is_named_in, member=True, prepare=_named_in),
    Function("validIoss", ("string",), "bool", valid_ioss),
)
