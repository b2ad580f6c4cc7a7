"""A backtest is readable at 80 columns: ids and MRNs whole, what is nothing left out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from libs.cli.views.backtest import overlap, show_backtest

NONE = {"count": 0, "violations": 0, "random_count": 0, "random_violations": 0}
SOME = {"count": 40, "violations": 3, "random_count": 0, "random_violations": 0}
DAY = 20_758  # 2026-11-01


def rule(name: str, **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("matches", "baseline_matches", "both", "baseline_red", "raises", "unjudged"), 0)
    return {"rule": name, "life": "active", "inspected": NONE, "examples": [], **counts, **more}


def lane(name: str, **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("both", "tried_only", "baseline_only"), 0)
    return {"lane": name, "tried_inspected": NONE, "baseline_inspected": NONE, **counts, **more}


def work(name: str, now: int) -> dict[str, Any]:
    return {
        "office": "",
        "lane": name,
        "days": 2,
        "tried": now,
        "tried_day_max": now,
        "baseline": 0,
        "baseline_day_max": 0,
    }


RULES: dict[str, Any] = {
    "consignments": 12_345, "items": 23_456, "inspected": SOME, "unreadable": 0, "without_history": 0,
    "lanes": [lane("RED", both=1_234_567, tried_only=12, tried_inspected=SOME), lane("BLUE")],
    "workload": [work("RED", 700), work("BLUE", 0)],
    "rules": [
        rule("PRICE_BELOW_THE_FLOOR_OF_ITS_HEADING", matches=1_234, inspected=SOME,
             examples=[{"mrn": f"26DE99999999999{place:03}"} for place in range(5)]),
        rule("PRICE_BELOW_THE_FLOOR_OF_ITS_CHAPTER", matches=9_234, life="shadow", raises=7, unjudged=3),
        rule("NEVER"),
    ],
    "shares": [], "auc_ppm": None,
}  # fmt: skip
MODEL = {
    **RULES, "rules": [], "lanes": [], "workload": [], "auc_ppm": 993_000,
    "shares": [{"share_ppm": 1_000, "score_from_ppm": 912_000, "consignments": 1_234_567, "baseline_selected": 123_456, "inspected": SOME}],
}  # fmt: skip


def backtest(result: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "job": "backtest-7", "state": "JOB_STATE_DONE", "model": False,
        "version": "first-light/2026-11-25+3f9a0c12d4e5", "from_day": "2026-11-01",
        "to_day": "2026-11-30", "office": "", "done": 12_345, "total": 12_345, "started_by": "analyst/analyst-1", "error": "", "result": result,
        **more,
    }  # fmt: skip


def shown(found: dict[str, Any]) -> str:
    out = io.StringIO()
    show_backtest(Console(file=out, width=80, highlight=False), found)
    return out.getvalue()


@pytest.mark.parametrize("result", [RULES, MODEL], ids=["rules", "model"])
def test_no_line_is_longer_than_80(result: dict[str, Any]) -> None:
    text = shown(backtest(result, model=result is MODEL))
    assert max(map(len, text.splitlines())) <= 80, text


def test_rules_and_mrns_are_whole_and_examples_stand_below_the_table() -> None:
    lines = shown(backtest(RULES)).splitlines()
    table = next(place for place, line in enumerate(lines) if line.startswith("PRICE_BELOW_THE_FLOOR_OF_ITS_CHAPTER "))
    assert lines[table].split()[1:] == ["9,234", "0", "0", "0"]
    assert lines[table + 1].split() == ["PRICE_BELOW_THE_FLOOR_OF_ITS_HEADING", "1,234", "0", "0", "0", "3", "of", "40"]
    below = lines[lines.index("Examples") :]
    assert below[1].strip() == "PRICE_BELOW_THE_FLOOR_OF_ITS_HEADING"
    told = [word for line in below[2:] for word in line.split() if word.startswith("26DE")]
    assert told == [f"26DE99999999999{place:03}" for place in range(5)]
    assert "PRICE_BELOW_THE_FLOOR_OF_ITS_CHAPTER: shadow, would raise 7, 3 not evaluated" in " ".join(lines)


def test_rows_of_nothing_are_left_out_and_counted() -> None:
    text = shown(backtest(RULES))
    assert "NEVER" not in text
    assert "1 other rule matched nothing, now or before." in text
    assert "blue" not in text


def test_an_office_that_is_not_counted_apart_has_its_name() -> None:
    assert "(others)" in shown(backtest(RULES))
    assert "\nDE004851   red" in shown(backtest(RULES, office="DE004851"))


def test_an_office_of_which_nothing_is_stored_is_said_to_have_nothing() -> None:
    empty = {**RULES, "consignments": 0, "rules": [], "lanes": [], "workload": []}
    text = " ".join(shown(backtest(empty, office="DE999999")).split())
    assert "No consignment of those days was presented or entered at the office DE999999: is its code correct?" in text


def test_a_model_on_days_that_it_was_trained_on_is_warned_of() -> None:
    window = {"first_day": DAY - 60, "last_day": DAY + 9}
    told = " ".join(shown(backtest(MODEL, model=True, trained_model={"window": window})).split())
    assert "trained on 2026-09-02 to 2026-11-10, so 2026-11-01 to 2026-11-10 are days of its training" in told
    assert "trained" not in shown(
        backtest(MODEL, model=True, trained_model={"window": {**window, "last_day": DAY - 1}})
    )
    assert "trained" not in shown(backtest(MODEL, model=True))
    assert overlap({"from_day": "1970-01-06", "to_day": "1970-01-10"}, {"first_day": 9, "last_day": 20}) == (9, 9)
