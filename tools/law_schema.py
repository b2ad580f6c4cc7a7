"""Write docs/revenue/schemas: JSON Schemas of law files for editors, from the structs that read them."""

import ast
import inspect
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from services.revenue.law.program.exchange import ExchangeFile
from services.revenue.law.source.rulebook import Rulebook
from services.revenue.law.source.tariff import TariffFile
from services.revenue.law.verification.cases import Case

ROOT = Path(__file__).resolve().parent.parent
DIRECTORY = ROOT / "docs" / "revenue" / "schemas"
COMMAND = "python -m tools.law_schema"

KINDS: Final[dict[str, tuple[str, Any]]] = {
    "rulebook": ("Rulebook", Rulebook),
    "tariff": ("Tariff", TariffFile),
    "rates": ("Exchange rates", ExchangeFile),
    "cases": ("Published calculations", list[Case]),
}

_AMOUNT: Final = r"[0-9]+(\.[0-9]+)? [A-Z]{3}"
_PERCENT: Final = r"[0-9]+(\.[0-9]+)? ?%"
_NAME: Final = "<[a-z][a-z0-9_]*>"
_RATE: Final = r"tariff|free|suspended|.*(%| per |<).*"
_CODE: Final = r"[0-9]{2,10}"
_PATTERNS: Final = {
    "Limit.amount": f"none|all|{_AMOUNT}|{_NAME}", "Relief.amount": f"all|{_AMOUNT}|{_NAME}", "Minimum.amount": f"{_AMOUNT}|{_NAME}",
    "Parameter.value": f"{_AMOUNT}|{_PERCENT}",
    "Exchange.unit": _AMOUNT, "RoundingRule.unit": _AMOUNT, "RoundingRule.base_unit": f"|{_AMOUNT}",
    "RoundingRule.total_unit": f"|{_AMOUNT}", "Rate.less": f"|{_AMOUNT}|{_NAME}", "Rate.rate": _RATE, "Band.rate": _RATE,
    "Band.under": f"|{_PERCENT}|{_NAME}", "Band.up_to": f"|{_PERCENT}|{_NAME}", "Charge.share": f"|{_PERCENT}", "Part.share": f"rest|{_PERCENT}",
    "Refund.share": _PERCENT, "Uplift.percent": _PERCENT, "StatutoryDefault.percent": f"{_PERCENT}|{_NAME}",
    "Condition.goods": _CODE, "Condition.goods_except": _CODE, "Limit.excluded": _CODE, "Relief.excluded": _CODE, "NotCovered.goods": _CODE,
    "TariffVersion.default": f"|{_RATE}", "TariffVersion.defaults": _RATE, "TariffVersion.rates": _RATE, "Preference.rates": _RATE,
    "Rulebook.areas": "[A-Z]{2}", "Rulebook.currency": "[A-Z]{3}", "ExchangeFile.currency": "[A-Z]{3}",
}  # fmt: skip
"""Form of texts, by struct and key; of lists and mappings, that of their values."""


def schemas() -> dict[str, str]:
    """Return the text of each schema, by the name of its file."""
    return {f"{name}.schema.json": _text(title, kind) for name, (title, kind) in KINDS.items()}


def _text(title: str, kind: Any) -> str:
    (schema,), parts = msgspec.json.schema_components(
        [kind], ref_template="#/$defs/{name}", schema_hook=_of_other_types
    )
    documented = _documentation()
    for name, part in parts.items():
        part["description"] = _one_line(part.get("description", ""))
        for key, value in part.get("properties", {}).items():
            if text := documented.get((name, key)):
                value["description"] = text
            if form := _PATTERNS.get(f"{name}.{key}"):
                _values(value)["pattern"] = f"^({form})$"
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title} | schema
    lines = [f"{json.dumps(key)}: {json.dumps(_with_numbers(part), ensure_ascii=False)}" for key, part in parts.items()]
    return json.dumps(head)[:-1] + ', "$defs": {\n' + ",\n".join(lines) + "\n}}\n"


def _of_other_types(kind: Any) -> dict[str, Any]:
    raise NotImplementedError(kind)


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a text, or that of the texts in a list or mapping."""
    inner = schema.get("items") or schema.get("additionalProperties") or schema
    assert isinstance(inner, dict)
    return inner


def _with_numbers(schema: Any) -> Any:
    """Return the schema with numbers where files have exact decimals."""
    if isinstance(schema, dict):
        if schema.get("format") == "decimal":
            return {"type": ["number", "string"]} | {
                key: value for key, value in schema.items() if key not in ("type", "format")
            }
        return {key: _with_numbers(value) for key, value in schema.items()}
    return [_with_numbers(each) for each in schema] if isinstance(schema, list) else schema


def _documentation() -> dict[tuple[str, str], str]:
    """Return the sentence below each field of the structs, by struct and key."""
    found = dict[tuple[str, str], str]()
    for module in {inspect.getmodule(kind) for kind in (Rulebook, TariffFile, ExchangeFile, Case)}:
        assert module is not None
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and issubclass(kind := getattr(module, node.name), msgspec.Struct):
                keys = {each.name: each.encode_name for each in msgspec.structs.fields(kind)}
                for field, text in zip(node.body, node.body[1:], strict=False):
                    if (
                        isinstance(field, ast.AnnAssign)
                        and isinstance(field.target, ast.Name)
                        and isinstance(text, ast.Expr)
                    ):
                        found[node.name, keys[field.target.id]] = _one_line(ast.literal_eval(text.value))
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    """Write the schemas."""
    DIRECTORY.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (DIRECTORY / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
