"""Checks that the project uses the words of docs/glossary.md: what its column "Not" lists is counted in names and in prose.

Usage: python -m tools.words [--list [AREA] [--word WORD]] [--lower [--new WORD]]

Without options it compares the counts with tools/words.txt, one line per area and word, and fails where a count is above its
line and also where it is below. A line may only fall: `--lower` writes lower counts, and with `--new` the lines of a word that
is new in the glossary. It refuses to raise a line. Where a merge left a line twice (.gitattributes), the lower count is the
line, and `--lower` cleans up. `--list` prints where the words stand.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Final

from tools.word_places import GLOSSARY, Place, places

ROOT: Final = Path(__file__).resolve().parent.parent
BASELINE: Final = "tools/words.txt"
SHOWN_MAX: Final = 40
"""How many lines of the baseline a failure names."""
SCOPES: Final = {
    "": (True, True),
    "names": (True, False),
    "whole names": (True, False),
    "prose": (False, True),
    "not checked": (False, False),
}
"""Whether a word is looked for in names and in prose, by what stands in parentheses behind it."""

Counts = Mapping[tuple[str, str], int]


class GlossaryError(ValueError):
    """The glossary or the baseline is not written as the check reads it."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word or a phrase that is no longer written."""

    text: str
    scope: str = ""

    def in_name(self, name: str) -> bool:
        """Return whether a name contains it: as one of its parts, or as the whole of it."""
        parts, wanted = parts_of(name), self.text.split()
        if self.scope == "whole names":
            return parts == wanted
        return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts)))


@dataclass(frozen=True, slots=True)
class Exemption:
    """Where a word is right all the same: a pattern of paths, and of the name where it is for one name."""

    word: str
    path: str
    name: str

    def covers(self, word: str, place: Place) -> bool:
        """Return whether a place is exempt."""
        return (
            word == self.word
            and fnmatch(place.path, self.path)
            and (not self.name or (place.is_name and fnmatch(place.text, self.name)))
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A word where it should not stand."""

    word: str
    area: str
    path: str
    line: int
    text: str


@cache
def parts_of(name: str) -> list[str]:
    """Return the words of a name, in small letters: `_kept_copies`, `KeptCopies` and `kept-copies` have the same two."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def read_glossary(text: str) -> tuple[list[Word], list[Exemption]]:
    """Return what the glossary lists as no longer written, and where that does not apply.

    Words stand in the first column of each table that begins with "Not": groups divided by semicolons, words of a group by commas, and the
    group's scope in parentheses at its end.
    """
    words: dict[str, Word] = {}
    exemptions: list[Exemption] = []
    for header, cells in _rows(text):
        if header == "Not":
            for word in _words(cells[0]):
                if word.text in words:
                    raise GlossaryError(f"{GLOSSARY}: {word.text!r} is listed twice")
                words[word.text] = word
        elif header == "Word" and cells[0]:
            where = [part.strip("`") for part in cells[1].split()]
            exemptions.append(Exemption(cells[0], where[0], where[1] if len(where) > 1 else ""))
    if not words:
        raise GlossaryError(f"{GLOSSARY} has no table whose first column is 'Not'")
    for each in exemptions:
        if each.word not in words:
            raise GlossaryError(f"{GLOSSARY}: an exception is for {each.word!r}, which no table lists")
    return list(words.values()), exemptions


def _rows(text: str) -> Iterator[tuple[str, list[str]]]:
    header = ""
    for line in text.splitlines():
        if not line.startswith("|"):
            header = ""
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not header:
            header = cells[0]
        elif not set(cells[0]) <= {"-", ":"} or not cells[0]:
            yield header, cells


def _words(cell: str) -> Iterator[Word]:
    for group in filter(None, (each.strip() for each in cell.split(";"))):
        match = re.fullmatch(r"([^()]+?)(?:\s*\(([^()]+)\))?", group)
        if match is None or (match[2] or "") not in SCOPES:
            raise GlossaryError(
                f"{GLOSSARY}: {group!r} does not end with one of {', '.join(filter(None, SCOPES))} in parentheses"
            )
        yield from (Word(each.strip().lower(), match[2] or "") for each in match[1].split(","))


def find(
    all_places: Iterable[Place], words: Iterable[Word], exemptions: Iterable[Exemption]
) -> tuple[list[Finding], list[Exemption]]:
    """Return each word where it stands, and the exceptions that apply nowhere."""
    in_names = [word for word in words if SCOPES[word.scope][0]]
    in_prose = _pattern(word.text for word in words if SCOPES[word.scope][1])
    found: list[Finding] = []
    used: set[Exemption] = set()
    for place in all_places:
        if place.is_name:
            stands = [(word.text, place.line, place.text) for word in in_names if word.in_name(place.text)]
        else:
            stands = [_in_prose(place, match) for match in in_prose.finditer(place.text)]
        for word, line, text in stands:
            exempt = {each for each in exemptions if each.covers(word, place)}
            used |= exempt
            if not exempt:
                found.append(Finding(word, place.area, place.path, line, text))
    return found, [each for each in exemptions if each not in used]


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return what finds any of the words or phrases in prose, whatever its capitals and line breaks."""
    phrases = (r"\s+".join(map(re.escape, word.split())) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(phrases) or '(?!)'})(?![\w-])", re.IGNORECASE)


def _in_prose(place: Place, match: re.Match[str]) -> tuple[str, int, str]:
    line = place.line + place.text.count("\n", 0, match.start())
    around = place.text[max(0, match.start() - 40) : match.end() + 40]
    return " ".join(match[0].lower().split()), line, " ".join(around.split())


def read_baseline(text: str) -> dict[tuple[str, str], int]:
    """Return the counts by area and word; of a line that a merge left twice the lower count."""
    counts: dict[tuple[str, str], int] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(\S+): (.+) (\d+)", line)
        if match is None:
            raise GlossaryError(f"{BASELINE}: {line!r} is not of the form 'area: word count'")
        key = match[1], match[2]
        counts[key] = min(counts.get(key, int(match[3])), int(match[3]))
    return counts


def written(counts: Counts) -> str:
    """Return the baseline as text: one line per area and word, sorted."""
    return "".join(f"{area}: {word} {count}\n" for (area, word), count in sorted(counts.items()) if count)


def compare(counts: Counts, baseline: Counts) -> tuple[list[str], list[str]]:
    """Return the counts that rose above the baseline and those that fell below it, in sentences."""
    rose, fell = [], []
    for area, word in sorted(counts.keys() | baseline.keys()):
        now, then = counts.get((area, word), 0), baseline.get((area, word), 0)
        if now > then:
            rose.append(f"{area}: {word!r} is written {now} times, {then} are allowed")
        elif now < then:
            fell.append(f"{area}: {word!r} is written {now} times, the baseline has {then}")
    return rose, fell


def risen(counts: Counts, baseline: Counts, new: Iterable[str]) -> list[str]:
    """Return why the baseline may not become these counts: lines that would rise, except for those of new words."""
    added = set(new)
    return compare({key: count for key, count in counts.items() if key[1] not in added}, baseline)[0]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the check; return 1 where a count and its line differ."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.words", description="Check names and prose by docs/glossary.md."
    )
    parser.add_argument(
        "--list", nargs="?", const="", metavar="AREA", help="print where the words stand, of one area or of all"
    )
    parser.add_argument("--word", help="with --list: this word alone")
    parser.add_argument("--lower", action="store_true", help=f"write counts that fell into {BASELINE}")
    parser.add_argument(
        "--new",
        action="append",
        default=[],
        metavar="WORD",
        help="with --lower: add the lines of a word that is new in the glossary",
    )
    options = parser.parse_args(arguments)
    try:
        words, exemptions = read_glossary((root / GLOSSARY).read_text("utf-8"))
        file = root / BASELINE
        baseline = read_baseline(file.read_text("utf-8") if file.exists() else "")
    except GlossaryError as error:
        print(error, file=sys.stderr)
        return 1
    found, unused = find(places(root), words, exemptions)
    counts = Counter((each.area, each.word) for each in found)
    if options.list is not None:
        for each in found:
            if options.list in ("", each.area) and options.word in (None, each.word):
                print(f"{each.path}:{each.line}: {each.word}: {each.text}")
        return 0
    for exception in unused:
        where = f"{exception.path} {exception.name}".strip()
        print(
            f"{GLOSSARY}: the exception for {exception.word!r} in {where} applies nowhere; remove it", file=sys.stderr
        )
    if options.lower:
        refused = risen(counts, baseline, options.new)
        if refused:
            print(
                "\n".join(
                    [*refused[:SHOWN_MAX], f"Lines of {BASELINE} may only fall. Write other words, as {GLOSSARY} says."]
                ),
                file=sys.stderr,
            )
            return 1
        file.write_text(written(counts), "utf-8")
        return 1 if unused else 0
    rose, fell = compare(counts, baseline)
    _report(rose, fell, len(found))
    return 1 if rose or fell or unused else 0


def _report(rose: list[str], fell: list[str], total: int) -> None:
    for sentence in rose[:SHOWN_MAX]:
        print(sentence, file=sys.stderr)
    if rose:
        print(
            f"Write the terms of {GLOSSARY}; `python -m tools.words --list AREA --word WORD` prints the places.",
            file=sys.stderr,
        )
    for sentence in fell[:SHOWN_MAX]:
        print(sentence, file=sys.stderr)
    if fell:
        print("Write the lower counts with `python -m tools.words --lower`.", file=sys.stderr)
    if not rose and not fell:
        print(f"{total} words to replace, none above its line of {BASELINE}")


if __name__ == "__main__":
    sys.exit(main())
