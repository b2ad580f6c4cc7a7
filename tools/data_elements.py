"""Write docs/data-elements.md from the comments of the contract and the data sets: which field holds which element, and which stage needs it."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from libs.filing_stages.law import included  # noqa: E402

CONTRACT = ROOT / "protos" / "luxor" / "consignment" / "v1" / "consignment.proto"
PAGE = ROOT / "docs" / "data-elements.md"

# Names of the elements in the platform's data dictionary; their numbers stand in the contract's comments.
ELEMENTS: dict[int, str] = {
    1: "local reference", 2: "message function and version", 3: "filer, representative, their ids",
    4: "transport mode and service", 5: "house document", 6: "master document", 7: "receptacle",
    8: "conveyance, times, route", 9: "office of first entry, places of loading and unloading",
    10: "split shipment and its previous part", 11: "consignor", 12: "consignee", 13: "seller, buyer, maker",
    14: "platform, order, listing, picture", 15: "payment", 16: "buyer's identity number",
    17: "declarant, importer, role", 18: "scheme and tax number", 19: "procedure and additional procedure",
    20: "nature of the transaction", 21: "previous document", 22: "packages", 23: "gross mass", 24: "item number",
    25: "description", 26: "commodity code", 27: "product identifiers", 28: "quantity and unit", 29: "net mass",
    30: "origin and country of dispatch", 31: "item price", 32: "transport and insurance cost",
    33: "tax charged at sale", 34: "valuation method, incoterm", 35: "preference",
    36: "supporting documents, licences, device and substance numbers", 37: "additional information",
    38: "method of payment, guarantee", 39: "location of goods, office of presentation", 40: "returned goods",
    41: "screening result",
}  # fmt: skip

_FIELD = re.compile(r"((?:^  // .*\n)+)^  (?:optional |repeated )?([\w.]+) (\w+) = \d+(?: \[[^\]]*\])?;", re.MULTILINE)
_MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_NUMBERS = re.compile(r"^((?:\(\d+\)(?:, )?)+) ")


def rows() -> list[tuple[int, str, str]]:
    """Return (element, field, meaning) for each field whose comment names an element, in the elements' order."""
    found = []
    for message in _MESSAGE.finditer(CONTRACT.read_text("utf-8")):
        for field in _FIELD.finditer(message[2]):
            comment = " ".join(line.strip().removeprefix("//").strip() for line in field[1].splitlines())
            numbers = _NUMBERS.match(comment)
            if numbers:
                meaning = comment[numbers.end() :]
                place = "" if message[1] == "Consignment" else "items[]."
                element_numbers = re.findall(r"\d+", numbers[1])
                found += [(int(number), f"{place}{field[3]}", meaning) for number in element_numbers]
    return sorted(found, key=lambda row: row[0])


def page() -> str:
    """Return the whole page."""
    lines = [
        "# Data elements",
        "",
        "The fields of a consignment (`luxor.consignment.v1.Consignment`) for each data element of pre-loading,",
        "pre-arrival, simplified and full declarations. Made by `tools/data_elements.py` from the comments of the contract,",
        "which also state formats and bounds.",
        "",
        "| # | element | field | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for number, field, meaning in rows():
        lines.append(f"| {number} | {ELEMENTS[number]} | `{field}` | {meaning.replace('|', '/')} |")
    return "\n".join([*lines, *_stages()]) + "\n"


def _stages() -> list[str]:
    """Return the lines of the tables of the stages."""
    data_sets = included()
    lines = [
        "",
        "## By stage",
        "",
        "Which element is mandatory (m), conditional (c), optional (o) or not used (-) at each stage, by the name of its column, of",
        "[libs/filing_stages/data_sets.yaml](../libs/filing_stages/data_sets.yaml). A declaration is refused without an element marked with *, and a",
        "filing [before the declaration](preloading.md#the-minimum-set) without one that is mandatory before loading.",
        "",
        "| # | element | before loading | before arrival | simplified | full | condition |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in data_sets.elements:
        name = each.element.replace("|", "` or `")
        condition = data_sets.conditions[each.condition].text if each.condition else ""
        marks = " | ".join(each.stages.split())
        lines.append(f"| {each.number} | `{name}`{' *' if each.required else ''} | {marks} | {condition} |")
    lines += [
        "",
        "What jurisdictions of destination add:",
        "",
        "| jurisdiction | element | stages | from | condition |",
        "| --- | --- | --- | --- | --- |",
    ]
    for jurisdiction in data_sets.jurisdictions:
        for added in jurisdiction.additions:
            name, stages = added.element.replace("|", "` or `"), ", ".join(added.stages).replace("_", " ")
            condition = data_sets.conditions[added.condition].text
            lines.append(f"| {jurisdiction.jurisdiction} | `{name}` | {stages} | {added.start} | {condition} |")
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    missing = sorted(set(ELEMENTS) - {number for number, _, _ in rows()})
    sys.exit(f"no field has element {missing}" if missing else 0)
