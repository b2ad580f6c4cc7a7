"""The runbooks and their blocks of code, as tests read them."""

import re

from tests.support.promql import ROOT

RUNBOOKS = ROOT / "docs" / "operating" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    return [
        (page.stem, code.strip())
        for page in PAGES
        for found, code in BLOCK.findall(page.read_text("utf-8"))
        if found == kind
    ]
