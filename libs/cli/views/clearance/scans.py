"""Scans in words, with the pictures of the listing beside them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from libs.cli.views.text import print_words, safe, short, table, when, words

if TYPE_CHECKING:
    from rich.console import Console


def scan_words(scan: dict[str, Any], items: Sequence[dict[str, Any]]) -> list[str]:
    """Return what was seen on a scan, where its image is, and the pictures of the products as filed; nothing without a scan."""
    if not scan:
        return []
    result = words(short(scan.get("result", ""), "SCAN_RESULT_"))
    place = f", {scan['place']}" if scan.get("place") else ""
    analyst = f", judged by {scan['image_analyst']}" if scan.get("image_analyst") else ""
    lines = [
        f"scan {result}{place}, by {scan.get('recorded_by', '')} at {when(scan.get('taken_at', ''))} on {scan.get('device', '')}{analyst}"
    ]
    where = scan.get("image") or (f"case {scan['case_number']}" if scan.get("case_number") else "")
    if where:
        lines.append(f"image {where} ({scan.get('media_type', '')}, sha256:{scan.get('sha256', '')})")
    lines += [
        f"picture of item {item.get('number', '')}: {item['picture_url']}" for item in items if item.get("picture_url")
    ]
    return lines


def show_message_results(terminal: "Console", results: Sequence[dict[str, Any]], refusals: Sequence[str]) -> None:
    """Print what was done with each message of a scanner, and below why messages were refused ("" where one was not)."""
    shown = table("file", "", "MRN", "control", right=(3,))
    for each in results:
        shown.add_row(safe(each["file"]), each["outcome"], each.get("mrn", ""), str(each.get("number", "")))
    print_words(terminal, shown)
    for each, why in zip(results, refusals, strict=True):
        if why:
            terminal.print(f"{safe(each['file'])}: {why}", soft_wrap=True)
