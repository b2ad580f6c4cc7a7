"""Write docs/risk/columns.md: the elements that a rule's condition can speak of, from the contract of columns and the
code of computed elements.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from libs.columns import Kind
from services.risk.conditions.cel.messages import Shape
from services.risk.conditions.cel.vocabulary import Vocabulary
from services.risk.elements import computed as derived

ROOT: Final = Path(__file__).resolve().parent.parent
CONTRACT: Final = ROOT / "protos" / "luxor" / "consignment" / "v1" / "consignment_columns.proto"
PAGE: Final = ROOT / "docs" / "risk" / "columns.md"
COMMAND: Final = "python tools/rule_columns.py"

_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"((?:^  // .*\n)*)^  [\w.]+ (\w+) = \d+;", re.MULTILINE)
_KINDS: Final = {
    Kind.STRINGS: "string",
    Kind.INTS: "int",
    Kind.BOOLS: "bool",
    Kind.STRING_LISTS: "list of strings",
    Kind.INT_LISTS: "list of ints",
    Kind.CHILD: "list of rows",
}
_HEAD: Final = f"""# Columns of conditions

What a condition can speak of: `consignment.…`, in a rule that judges items also `item.…`, and the rows of lists inside a macro. An element without
a value is absent; see [conditions](conditions.md). Amounts are minor units of the currency beside them, masses milligrams, times microseconds since
1970-01-01 UTC, codes the numbers of the contract's enumerations, written like `Nature.NATURE_GIFT`. *Computed* elements are not filed: risk computes
them, those of [history](history.md) from what it assessed before.

Made from the contract and the code by `{COMMAND}`.
"""


def _comments() -> dict[tuple[str, str], str]:
    """The contract's comment on each column, by message and name."""
    comments = {}
    for message in _MESSAGE.finditer(CONTRACT.read_text("utf-8")):
        for field in _FIELD.finditer(message[2]):
            text = " ".join(line.strip().removeprefix("//").strip() for line in field[1].splitlines())
            comments[message[1], field[2]] = text
    return comments


def _tables(shape: Shape, path: str, where: str) -> Iterator[tuple[str, Shape, str]]:
    yield path, shape, where
    for name, child in shape.children.items():
        below = f"{path}/{name}" if path else name
        yield from _tables(child, below, f"`{where.strip('`')}.{name}`")


def page() -> str:
    """The page as the contract and the code have it now."""
    comments, computed = _comments(), derived.describe()
    parts = [_HEAD]
    for path, shape, where in _tables(Vocabulary(derived=derived.ELEMENTS).shape, "", "`consignment`"):
        title = "`item`, and the rows of `consignment.items`" if path == "items" else where
        parts.append(f"\n## {title}\n\n| element | kind | meaning |\n| --- | --- | --- |\n")
        message = f"{shape.message.rpartition('.')[2]}Columns"
        for name, kind in shape.elements.items():
            own = computed.get(path, {}).get(name)
            meaning = comments.get((message, name), "") if own is None else f"*Computed.* {own}"
            parts.append(f"| `{name}` | {_KINDS[kind]} | {' '.join(meaning.split()).replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
