"""Which reasons the cases of the sandbox cover: all of the catalogue, but for those with a cause that holds by the contracts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from libs.sandbox.cases import CASES
from libs.sandbox.responses.not_covered import AREAS, BY_REASON, OFFICIALS, SERVICES, cause_of
from libs.server.catalogue import reasons
from tools.case_table import covered

ROOT = Path(__file__).resolve().parents[2]
_WORD = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_FIELD = re.compile(r"(?:repeated |optional )?([A-Za-z][\w.]*) \w+ = \d+")
_RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((\w+)\)")
_SET = re.compile(r"^ *(\w+)(?:: [^=\n]*)? = \{[^}]*Role\.(?:FILER|CARRIER)\b", re.MULTILINE)
"""A set of roles with a name of its own."""


class Message(NamedTuple):
    """A message of the contracts: its text with comments, and the types of its fields."""

    text: str
    types: frozenset[str]


class Rpc(NamedTuple):
    """An RPC of the contracts with its comment."""

    name: str
    request: str
    response: str
    comment: str


def contracts() -> tuple[list[Rpc], dict[str, Message]]:
    """Return the RPCs and the messages of all contracts, the messages by area and name: "revenue.Sale"."""
    rpcs: list[Rpc] = []
    messages: dict[str, Message] = {}
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        area = path.parts[-3]
        for block, comment in blocks(path.read_text("utf-8")):
            if found := re.match(r"message (\w+)", block):
                types = (each if "." not in each else ".".join(each.split(".")[1::2]) for each in _FIELD.findall(block))
                full = frozenset(each if "." in each else f"{area}.{each}" for each in types)
                messages[f"{area}.{found[1]}"] = Message(f"{comment}\n{block}", full)
            else:
                above: list[str] = []
                for line in map(str.strip, block.splitlines()):
                    if line.startswith("//"):
                        above.append(line.removeprefix("//"))
                    elif found := _RPC.match(line):
                        rpcs.append(Rpc(found[1], f"{area}.{found[2]}", f"{area}.{found[3]}", " ".join(above)))
                        above = []
    return rpcs, messages


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield each message and service of a contract with the comment above it."""
    for found in re.finditer(
        r"((?:^//[^\n]*\n)*)^((?:message|service) .*?(?:\{\}|^\}))", text, re.MULTILINE | re.DOTALL
    ):
        yield found[2], found[1]


def rpcs_of_accounts() -> set[str]:
    """Return the RPCs that filers or carriers may call, as the services state it."""
    found: set[str] = set()
    for path in sorted((ROOT / "services").rglob("*.py")):
        source = path.read_text("utf-8")
        roles = "|".join(("Role\\.FILER", "Role\\.CARRIER", "set\\(Role", *set(_SET.findall(source)) - {"ROLES"}))
        found |= set(re.findall(rf'"([A-Z]\w+)": [^":]*?\b(?:{roles})\b', source))
    assert {
        "SubmitConsignments",
        "RecordArrivals",
        "FileSales",
        "ListBalances",
        "QuoteConsignments",
        "CheckGoods",
    } <= found
    assert not found & {"PutFilers", "PutBindings", "ReleaseConsignments", "PullEvents", "ListAssessments"}
    return found


def reasons_of_accounts() -> set[str]:
    """Return the reasons that the contracts of these RPCs name: in comments and bounds of requests and responses."""
    rpcs, messages = contracts()
    allowed = rpcs_of_accounts()
    words: set[str] = set()
    for rpc in rpcs:
        if rpc.name not in allowed:
            continue
        words |= set(_WORD.findall(rpc.comment))
        seen: set[str] = set()
        waiting = [rpc.request, rpc.response]
        while waiting:
            name = waiting.pop()
            if name in messages and name not in seen:
                seen.add(name)
                waiting += messages[name].types
        words |= {word for name in seen for word in _WORD.findall(messages[name].text)}
    return words & reasons().keys()


def test_each_reason_of_the_catalogue_has_a_case_or_a_cause_why_it_has_none() -> None:
    lacking = [name for name, each in reasons().items() if name not in covered() and not cause_of(each)]
    assert not lacking, "add a case to libs/sandbox, or a cause to responses/not_covered.py"


def test_no_reason_with_a_case_has_a_cause_and_all_of_them_are_of_the_catalogue() -> None:
    assert covered() <= reasons().keys()
    assert not covered() & BY_REASON.keys()
    assert BY_REASON.keys() <= reasons().keys()
    assert AREAS.keys() <= {each.area for each in reasons().values()}
    single = [name for name in BY_REASON if reasons()[name].area in AREAS]
    assert not single, "the cause of the area is enough"


def test_reasons_that_no_account_can_read_are_in_no_contract_of_an_account() -> None:
    named = reasons_of_accounts()
    # The derivation is of use only if it finds what accounts certainly read.
    assert {"REFERENCE_REUSED", "MASTER_DOCUMENT_MALFORMED", "ORDER_REUSED", "RETURN_ORDERED", "WAIT_TOO_LONG"} <= named
    hidden = {name for name, cause in BY_REASON.items() if cause in (OFFICIALS, SERVICES)}
    hidden |= {name for name, each in reasons().items() if each.area in ("feed", "statistics")}
    assert not named & hidden - covered()


def test_each_finding_and_failure_has_one_case() -> None:
    findings = [case.finding.name for case in CASES.values() if case.finding is not None]
    assert len(findings) == len(set(findings))
    assert all(CASES[name].finding is not None for name in findings)
