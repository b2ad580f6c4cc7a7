"""Contradictions between a filing and parts of other parties in words, for those who read the status of a consignment."""

from typing import Any

from libs.cli.views.text import safe, short, words


def contradiction_lines(each: dict[str, Any]) -> tuple[str, ...]:
    """Return the contradictions of a status or an entry of a work list: path, both values as far as the reader sees them, and who stated them."""
    shown = each.get("contradictions", ())
    lines = [_line(contradiction) for contradiction in shown]
    further = int(each.get("contradiction_count", 0)) - len(lines)
    return (*lines, f"and {further:,} further ones") if shown and further > 0 else tuple(lines)


def _line(each: dict[str, Any]) -> str:
    stated_by = each.get("stated_by", "")
    own = safe(each.get("consignment_value", "not shown")) + (f" ({safe(stated_by)})" if stated_by else "")
    role = words(short(each.get("part_role", ""), "PARTY_ROLE_"))
    party = f"{safe(each.get('part_filer', ''))}, {role}"
    return f"{safe(each.get('path', ''))}: {own}; part {safe(each.get('part_value', 'not shown'))} ({party})"
