"""Law files as YAML: read strictly into structs, with errors that name the file, the line and the rule."""

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, TypeVar

import msgspec
import yaml

from libs.customs.currencies import minor_units
from libs.files.conversion import SIMILAR, Misfit, Misfits, allowed_words, convert_all
from libs.files.yaml_file import DuplicateKeyError, InvalidYamlError, YamlError, YamlFile, YamlOptions, path_text

DEPTH_MAX: Final = 60
ERRORS_MAX: Final = 200
"""Of one file; the next ones appear when these are corrected."""

T = TypeVar("T")
Path = tuple[str | int, ...]


class LawFileError(ValueError):
    """A law file that cannot be applied; says where, what, why and what to do."""

    def __init__(self, file: str, line: int, where: str, message: str) -> None:
        """Take the name of the file, the line from 1 (0 = unknown), the rule and a plain sentence."""
        self.file, self.line, self.where, self.message = file, line, where, message
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {where}: {message}" if where else f"{place}: {message}")

    @property
    def errors(self) -> "tuple[LawFileError, ...]":
        """Return each error alone."""
        return (self,)


class LawFileErrors(LawFileError):
    """All errors of law files: those of one file, or of several that are read together."""

    def __init__(self, errors: Sequence[LawFileError]) -> None:
        """Take the errors, at least one; file, line and rule are those of the first."""
        first = errors[0]
        super().__init__(first.file, first.line, first.where, first.message)
        self.args = ("\n".join(str(each) for each in errors),)
        self._errors = tuple(errors)

    @property
    def errors(self) -> tuple[LawFileError, ...]:
        return self._errors


class _Loader(yaml.CSafeLoader):
    pass


# A figure of the law keeps its digits: no value passes through a float.
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: Decimal(node.value))


def _day(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value} is no day of the calendar", node.start_mark
        ) from None


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _day)
# Keys may be merges (<<).
_OPTIONS: Final = YamlOptions(64_000_000, values_max=4_000_000, depth_max=DEPTH_MAX, loader=_Loader, text_keys=False)


class Source:
    """One YAML text and what it says."""

    def __init__(self, file: str, text: str) -> None:
        """Parse the text; LawFileError where it is no YAML or names a key twice."""
        self.file = file
        self._written_out = dict[Path, list[int]]()
        try:
            self._yaml = YamlFile(file, text, _OPTIONS)
        except InvalidYamlError as error:
            raise LawFileError(file, error.line, "", f"is no YAML{error.reason}") from None
        except YamlError as error:
            message = error.message
            if isinstance(error, DuplicateKeyError):
                message = f"the key {error.key!r} stands here twice; keep one"
            raise LawFileError(file, error.line, error.where.lstrip("$."), message) from None
        self.data: Any = self._yaml.data
        self._misfits, self._errors = list[LawFileError](), list[LawFileError]()

    def convert(self, kind: type[T]) -> T:
        """Read the whole text as the struct. Elements that do not fit are errors of the source; LawFileErrors if the rest cannot be read."""
        if not isinstance(self.data, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found = "is empty" if self.data is None else "holds no keys with values"
            raise LawFileError(self.file, 1, "", f"{found}; {_begins(kind)}")
        try:
            return convert_all(self.data, kind, _convert, ERRORS_MAX)
        except Misfits as error:
            for misfit in error.misfits:
                self._misfits.append(self.error(misfit.path, self._sentence(kind, misfit), misfit.key))
            if error.value is None:
                self.finish()
            return error.value  # type: ignore[no-any-return]

    def refuse(self, path: Path, message: str) -> None:
        """Add an error, where the check goes on behind it."""
        self._errors.append(self.error(path, message))

    def write_out(self, path: Path, places: list[int]) -> None:
        """Take, for each entry of a list that was written out, the place of the entry that stood for it before."""
        before = self._written_out.get(path)
        self._written_out[path] = [before[place] for place in places] if before else places

    def __enter__(self) -> None:
        """Begin a check whose LawFileError is collected, so that the next check runs as well."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Collect the error of the check."""
        if isinstance(error, LawFileError):
            self._errors += error.errors
            return True
        return False

    def finish(self) -> None:
        """Raise the errors, by line: LawFileErrors if there are several. A value that does not fit is not checked further."""
        unfit = {(each.line, each.where) for each in self._misfits}
        checked = {str(each): each for each in self._errors if (each.line, each.where) not in unfit}
        errors = [*self._misfits, *checked.values()]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise LawFileErrors(sorted(errors, key=lambda each: (each.file != self.file, each.line))[:ERRORS_MAX])

    def _sentence(self, kind: type[Any], misfit: Misfit) -> str:
        currency = self.data.get("currency") if isinstance(self.data, dict) else None
        return _sentence(misfit, allowed_words(kind, misfit.path), str(currency or "EUR"))

    def error(self, path: Path, message: str, key: str | None = None) -> LawFileError:
        """Return the error for the element at the path, of lists as they were expanded; its line is that of its `key`."""
        for place, part in enumerate(path):
            stands = self._written_out.get(path[:place])
            if stands and isinstance(part, int):
                path = (*path[:place], stands[part], *path[place + 1 :])
        return LawFileError(self.file, self.line(path if key is None else (*path, key)), self.name(path), message)

    def line(self, path: Path) -> int:
        """Return the line of the element at the path, or of the nearest one above it; of the text itself that of its first key."""
        return self._yaml.entry_line(path_text(path))

    def name(self, path: Path) -> str:
        """Return the path as people say it: a list's entry goes by its id where it has one."""
        data: Any = self.data
        text = ""
        for part in path:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                data = None
            if isinstance(part, int):
                known = data.get("id") if isinstance(data, dict) else None
                text += f"[{known if known is not None else part}]"
            else:
                text += f".{part}" if text else str(part)
        return text


def _begins(kind: type[msgspec.Struct]) -> str:
    """Return a hint of the keys with which a file of this type begins: the first required ones."""
    needed = [field.encode_name for field in msgspec.structs.fields(kind) if field.required]
    return f"such a law file begins with {', '.join(f'{name}: …' for name in needed[:3])}"


def _convert(data: Any, kind: type[T]) -> T:
    return msgspec.convert(data, type=kind, strict=True, builtin_types=(datetime.date, Decimal))


_NOUNS: Final = {
    "str": "a text", "int": "a whole number", "float": "a number", "decimal": "a number", "bool": "true or false", "array": "a list",
    "object": "keys with values", "date": "a day such as 2026-07-01", "datetime": "a day with a time", "null": "nothing",
}  # fmt: skip
_AMOUNTS: Final = ("amount", "unit", "base_unit", "total_unit", "less")
_PERCENTAGES: Final = {"rate": "rate", "default": "rate", "share": "share", "percent": "percentage"}


def _sentence(misfit: Misfit, allowed: Sequence[str], currency: str) -> str:
    """Say in the words of the format what does not fit and how it is written."""
    value = misfit.value
    if misfit.message.startswith("Object missing required field"):
        missing = re.findall(r"`(\w+)`", misfit.message)
        needed = "every entry needs it" if len(missing) == 1 else "all of them are needed"
        return f"has no {', no '.join(map(repr, missing))}; {needed}"
    if misfit.message.startswith("Object contains unknown field"):
        similar = get_close_matches(str(misfit.key), allowed, n=1, cutoff=SIMILAR)
        return (
            f"{misfit.key!r} is not known here; {f'write {similar[0]!r}' if similar else 'look for a slip of the pen'}"
        )
    if misfit.message.startswith("Invalid enum value"):
        return f"{(value if misfit.key is None else misfit.key)!r} is not one of {', '.join(allowed)}"
    match = re.fullmatch(r"Expected `([a-z |]+)`, got `([a-z]+)`", misfit.message)
    if not match:
        return misfit.message[0].lower() + misfit.message[1:]
    expected = " or ".join(_NOUNS.get(each, each) for each in match[1].split(" | ") if each != "null")
    if misfit.key is not None:
        return (
            f"{misfit.key!r} is {_NOUNS.get(match[2], match[2])} and not {expected}; write the key in quotation marks"
        )
    if match[1].startswith("str") and (example := _example(misfit, currency)):
        return example
    hint = "; write it in quotation marks" if isinstance(value, bool | int | Decimal | datetime.date) else ""
    if isinstance(value, bool):
        return f"is read as {str(value).lower()}; write {expected} in quotation marks, such as 'NO'"
    return f"is {_NOUNS.get(match[2], match[2])} and not {expected}{hint if match[1].startswith('str') else ''}"


def _example(misfit: Misfit, currency: str) -> str:
    """Return how a figure is written that stands there as a number, as nothing, or as a list that a decimal comma made of it."""
    *before, last = misfit.path or ("",)
    if before[:1] == ["versions"] and before[-1] in ("rates", "defaults"):
        last = "rate"
    number = isinstance(misfit.value, int | Decimal) and not isinstance(misfit.value, bool)
    if last in _PERCENTAGES:
        noun, example = _PERCENTAGES[str(last)], f"{misfit.value} %" if number else "7.5 %"
    elif last in _AMOUNTS:
        try:
            places = minor_units(currency)
        except ValueError:
            places = 2
        noun, example = "amount", f"{Decimal(misfit.value if number else 20):.{places}f} {currency}"
    else:
        return ""
    article, comma = ("an", ", with a point: a comma ends what stands before it") if noun == "amount" else ("a", "")
    if number:
        return f"{misfit.value} is not {article} {noun}; write {example}{comma}"
    return f"is not {article} {noun}; write it as {example}{comma}"
