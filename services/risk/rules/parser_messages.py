"""What msgspec says of a value, in words for people who write rules and not programs."""

from __future__ import annotations

import re
from typing import Final

_KINDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "elements with values",
    "null": "nothing",
    "date": "a day such as 2026-11-25",
}
_COUNTED: Final = {"str": "character", "array": "entry", "object": "entry"}
_LENGTH: Final = re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)$")
_BOUND: Final = re.compile(r"Expected `(?:int|float)` (>=|<=) (-?[\d.]+)$")
_FORM: Final = re.compile(r"Expected `str` matching regex '(.*)'$")
_KIND: Final = re.compile(r"Expected `(.+)`, got `(.+)`$")
_CHOICE: Final = re.compile(r"Invalid enum value (.*)$", re.DOTALL)
#: What is said before it where the key is meant and not its value.
_KEY: Final = "a key: "
_SIDES: Final = {">=": "at least", "<=": "at most"}
#: The forms that texts of a profile have; others are told as they are.
_FORMS: Final = {
    "^[A-Z][A-Z0-9_]{2,62}$": "3 to 63 capital letters, digits and _, a letter first, such as PRICE_LOW",
    "^[a-z][a-z0-9_]{1,39}$": "2 to 40 small letters, digits and _, a letter first, such as our_words",
    "^[a-z][a-z0-9-]{1,39}$": "2 to 40 small letters, digits and -, a letter first, such as first-light",
    "^[0-9A-Za-z.-]{1,30}$": "1 to 30 letters, digits, points and hyphens, such as 2026-11-25",
}


def in_words(message: str) -> str:
    """Say it without the names of a programming language; what is not known stays as it is.

    >>> in_words("Expected `str` of length >= 8")
    'at least 8 characters are needed'
    """
    key, message = (_KEY, message.removeprefix(_KEY)) if message.startswith(_KEY) else ("", message)
    return key + _in_words(message)


def _in_words(message: str) -> str:
    if found := _LENGTH.match(message):
        kind, side, number = found.groups()
        noun = _COUNTED[kind]
        plural = noun if number == "1" else noun.removesuffix("y") + "ies" if noun == "entry" else f"{noun}s"
        told = f"{_SIDES[side]} {number} {plural}"
        return f"{told} {'is' if number == '1' else 'are'} {'needed' if side == '>=' else 'taken'}"
    if found := _BOUND.match(message):
        return f"a number of {_SIDES[found[1]]} {found[2]} is needed"
    if found := _FORM.match(message):
        form = found[1].replace("\\\\", "\\")
        return f"{_FORMS[form]}, are needed" if form in _FORMS else f"a text of the form {form} is needed"
    if found := _KIND.match(message):
        wanted = " or ".join(_KINDS.get(each, each) for each in found[1].split(" | "))
        return f"{wanted} is needed, and this is {_KINDS.get(found[2], found[2])}"
    if found := _CHOICE.match(message):
        return f"{found[1]} is none of the values that may stand here"
    return message
