"""What-if runs as people see them: a table that adds up, readable at 80 columns, and a picture that stands alone."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from libs.cli import days
from libs.cli.common import Context
from libs.cli.law_files import changes_of, files_of
from libs.cli.main import luxor
from libs.cli.views.what_if import change, share, show_what_if, summary
from libs.cli.views.what_if_picture import picture
from libs.client import jobs as client_jobs
from libs.client.revenue import what_ifs
from libs.jobs import days as job_days

SVG = "{http://www.w3.org/2000/svg}"
DAY = 20_758  # 2026-11-01
PATH = "eu/rulebook.yaml:charges[flat_duty].rates[1].rate"


def revenue(law: str, kind: str, collector: str, currency: str, before: int, after: int) -> dict[str, Any]:
    money = {"before_minor": before, "after_minor": after, "difference_minor": after - before, "unassessed_minor": 0}
    return {"jurisdiction": law, "kind": kind, "collector": collector, "currency": currency, **money}


def group(by: str, key: str, items: int, winners: int, losers: int, before: int, after: int) -> dict[str, Any]:
    money = {"before_minor": before, "after_minor": after, "difference_minor": after - before}
    return {"by": by, "key": key, "currency": "EUR", "items": items, "winners": winners, "losers": losers, **money}


RESULT: dict[str, Any] = {
    "consignments": 120_345, "items": 300_111, "consignments_changed": 100_000, "items_changed": 250_000,
    "unassessed_by_draft": 0, "unassessed_before": 0, "unreadable": 0, "other_currency": 0, "superseded": 12,
    "counted_alone": 0, "lower_bounds": 0,
    "after_reviewed": [{"currency": "EUR", "charged_minor": 323_000_000, "reviewed_minor": 32_300_000}],
    "behaviour": what_ifs.BEHAVIOUR,
    "revenue": [
        revenue("EU", "duty", "customs", "EUR", 75_000_000, 125_000_000), revenue("EU", "tax", "vendor", "EUR", 190_000_000, 190_000_000),
        revenue("EU", "tax", "postal_operator", "EUR", 8_100_000, 8_000_000), revenue("JP", "tax", "customs", "JPY", 12_345, 12_345),
    ],
    "groups": [
        group("origin", "CN", 200_000, 0, 190_000, 200_000_000, 245_000_000), group("origin", "TR", 500, 400, 0, 900_000, 500_000),
        group("origin", "<&>", 5, 0, 0, 1, 1), group("hs_chapter", "", 500, 400, 0, 900_000, 500_000),
        group("value_band", "22-45 EUR", 500, 400, 0, 900_000, 500_000),
    ],
}  # fmt: skip


def found(**more: Any) -> dict[str, Any]:
    return {
        "job": "what-if-3", "id": 3, "state": "JOB_STATE_DONE", "title": "Five euro", "name": "Five euro", "from_day": "2026-11-01",
        "rulebook_versions": ["EU/2026.1/1f0c9a2b"],
        "to_day": "2026-11-30", "done": 120_345, "total": 120_345, "error": "", "started_by": "analyst/m.rossi", "files": [],
        "changes": [{"path": PATH, "value": "5.00 EUR per tariff_line"}], "law_day": "", "of_run": 0, "against": 0, "elasticities": [],
        "result": RESULT, **more,
    }  # fmt: skip


def shown(told: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    show_what_if(Console(file=out, width=width, highlight=False), told)
    return out.getvalue()


def test_before_after_difference_and_per_cent_are_told_with_their_sum() -> None:
    lines = [re.sub(r"\s+", " ", line).strip() for line in shown(found(), 100).splitlines()]
    assert "EU duty customs 750,000.00 1,250,000.00 +500,000.00 +66.7 %" in lines
    assert "all 2,731,000.00 3,230,000.00 +499,000.00 +18.3 %" in lines
    assert "JP tax customs 12,345 12,345 0 0.0 %" in lines
    assert "CN 200,000 0 190,000 2,000,000 2,450,000 +450,000 +22.5 %" in lines
    assert "not declared 500 400 0 9,000 5,000 -4,000 -44.4 %" in lines


def test_what_is_touched_and_that_behaviour_is_held_constant_are_sentences() -> None:
    told = re.sub(r"\s+", " ", shown(found()))
    assert "100,000 consignments (83.1 %) and 250,000 items (83.3 %) owe" in told
    assert what_ifs.BEHAVIOUR in told
    assert f"{PATH} = 5.00 EUR per tariff_line" in told


def test_one_of_anything_is_told_in_the_singular() -> None:
    told = {**RESULT, "consignments": 1, "items": 1, "consignments_changed": 1, "items_changed": 1}
    assert (
        summary(told)
        == "Of 1 consignment with 1 item the draft changes what 1 consignment (100.0 %) and 1 item (100.0 %) owe."
    )


def test_days_on_which_nothing_was_assessed_are_told_as_that() -> None:
    nothing = {**RESULT, "consignments": 0, "items": 0, "revenue": [], "groups": []}
    told = shown(found(total=0, done=0, result=nothing))
    assert "No consignment was assessed on these days." in told
    assert "the draft changes" not in told


def test_it_is_readable_at_80_columns() -> None:
    assert all(len(line) <= 80 or PATH in line or "assessed" in line for line in shown(found()).splitlines())


@pytest.mark.parametrize(
    "name",
    ["unassessed_by_draft", "unassessed_before", "other_currency", "counted_alone", "unreadable", "lower_bounds"],
)
def test_what_limits_the_figures_is_told_beside_them(name: str) -> None:
    told = found(result={**RESULT, name: 17})
    assert "17 consignments" in shown(told)
    assert "17 consignments" in picture(told)


def test_it_says_once_a_currency_how_much_of_the_revenue_after_rests_on_reviewed_law() -> None:
    assert shown(found()).count("By the draft 323,000.00 EUR of 3,230,000.00 EUR (10.0 %) rest on reviewed law.") == 1


def test_shares_and_changes_are_exact_beyond_floats() -> None:
    assert change(10**18, 10**18 + 10**15) == "+0.1 %"
    assert (change(0, 5), change(5, 5), change(200, 100)) == ("new", "0.0 %", "-50.0 %")
    assert (share(1, 3), share(0, 0)) == (" (33.3 %)", "")


def test_the_picture_is_an_svg_that_holds_the_figures_and_nothing_of_others() -> None:
    root = ElementTree.fromstring(picture(found()))  # our own text
    assert root.tag == f"{SVG}svg"
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    for told in ("Five euro", "750,000.00 → 1,250,000.00 EUR", "+66.7 %", "+450,000.00 EUR", "-4,000.00 EUR", "<&>"):
        assert told in texts, told
    assert {element.tag for element in root.iter()} == {
        f"{SVG}{name}" for name in ("svg", "title", "desc", "style", "rect", "text", "line")
    }


def test_the_picture_is_readable_on_light_and_dark_ground_and_nothing_leaves_it() -> None:
    root = ElementTree.fromstring(picture(found()))  # our own text
    style = root.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in style
    classes = {name for element in root.iter() for name in (element.get("class") or "").split()}
    light, dark = style.split("@media")
    for name in classes:
        assert f".{name} " in light
        assert name in ("title", "head") or f".{name} " in dark, name
    width, height = int(root.get("width") or 0), int(root.get("height") or 0)
    for element in root.iter(f"{SVG}rect"):
        assert 0 <= int(element.get("x") or 0) <= int(element.get("x") or 0) + int(element.get("width") or 0) <= width
        assert int(element.get("y") or 0) + int(element.get("height") or 0) <= height
    tops = [int(element.get("y") or 0) for element in root.iter(f"{SVG}text")]
    assert max(tops) < height


def test_revenue_that_stays_as_it_is_takes_no_bars() -> None:
    texts = [text.text or "" for text in ElementTree.fromstring(picture(found())).iter(f"{SVG}text")]  # our own text
    assert "Total revenue in currencies without a change: 12,345 JPY." in texts
    assert "Revenue in JPY, before and after" not in texts


def test_bars_are_as_long_as_what_they_tell() -> None:
    root = ElementTree.fromstring(picture(found()))  # our own text
    width = {
        title.text: int(bar.get("width") or 0) for bar in root.iter(f"{SVG}rect") for title in bar.iter(f"{SVG}title")
    }
    after, before = (width[f"EU duty, customs, {name} EUR"] for name in ("after: 1,250,000.00", "before: 750,000.00"))
    assert after * 3 == pytest.approx(before * 5, abs=10)
    gone = {**RESULT, "revenue": [revenue("EU", "fee", "customs", "EUR", 5_000, 0)]}
    titles = [
        title.text or "" for title in ElementTree.fromstring(picture(found(result=gone))).iter(f"{SVG}title")
    ]  # our own text
    assert "EU fee, customs, before: 50.00 EUR" in titles
    assert not any("after: 0.00" in title for title in titles)


def lengths(groups: list[dict[str, Any]]) -> dict[str, int]:
    """The length of each bar of the groups, by its label."""
    root = ElementTree.fromstring(
        picture(found(result={**RESULT, "revenue": [revenue("EU", "tax", "vendor", "EUR", 1, 2)], "groups": groups}))
    )  # our own text
    titles = {
        title.text or "": int(bar.get("width") or 0)
        for bar in root.iter(f"{SVG}rect")
        for title in bar.iter(f"{SVG}title")
    }
    return {text.partition(":")[0]: width for text, width in titles.items() if "items pay more" in text}


def test_origins_chapters_and_bands_are_drawn_with_bands_in_their_order() -> None:
    groups = [
        group("origin", "CN", 3, 0, 3, 100, 200), group("hs_chapter", "61", 3, 0, 3, 100, 200), group("hs_chapter", "", 3, 0, 3, 100, 170),
        group("value_band", "0-22 EUR", 3, 0, 3, 100, 110), group("value_band", "22-150 EUR", 3, 3, 0, 100, 20),
        group("value_band", "over 150 EUR", 3, 0, 0, 100, 100),
    ]  # fmt: skip
    root = ElementTree.fromstring(picture(found(result={**RESULT, "groups": groups})))  # our own text
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    for title in ("origin", "HS chapter", "value of the consignment"):
        assert f"Who pays more and who less, by {title}, EUR" in texts
    assert {"Chapter 61", "not declared"} <= set(texts)
    labels = [text for text in texts if text in {each["key"] for each in groups if each["by"] == "value_band"}]
    assert labels == ["0-22 EUR", "22-150 EUR", "over 150 EUR"]
    # A subject in which nothing changes has no chart.
    same = [*groups[:1], *(group("hs_chapter", "61", 3, 0, 0, 100, 100),)]
    assert "by HS chapter" not in picture(found(result={**RESULT, "groups": same}))


@pytest.mark.parametrize(("small", "root"), [([50_000] * 2, False), ([49_999, 50_000], False), ([49_999] * 2, True)])
def test_one_large_origin_does_not_crush_the_others(small: list[int], root: bool) -> None:
    groups = [group("origin", "CN", 9, 0, 9, 0, 1_000_000)]
    groups += [group("origin", key, 9, 0, 9, 0, minor) for key, minor in zip(("TR", "US"), small, strict=True)]
    length = lengths(groups)
    text = picture(found(result={**RESULT, "groups": groups}))
    # Half of three bars are crushed if two are shorter than a twentieth of the longest.
    assert ("Square-root scale" in text) is root
    expected = (min(small) / 1_000_000) ** (0.5 if root else 1)
    assert min(length.values()) / length["CN"] == pytest.approx(expected, abs=0.005)
    assert "+10,000.00 EUR" in text  # the scale names a round amount: the figure of the largest bar here


def test_a_round_amount_stands_at_its_place_on_both_sides_of_zero() -> None:
    groups = [group("origin", "CN", 9, 0, 9, 0, 700_000), group("origin", "TR", 9, 9, 0, 350_000, 0)]
    root = ElementTree.fromstring(picture(found(result={**RESULT, "groups": groups})))  # our own text
    at = {text.text: int(text.get("x") or 0) for text in root.iter(f"{SVG}text") if text.get("text-anchor") == "middle"}
    zero = (at["+5,000.00 EUR"] + at["-5,000.00 EUR"]) // 2
    lines = {int(line.get("x1") or 0) for line in root.iter(f"{SVG}line")}
    assert {zero, at["+5,000.00 EUR"], at["-5,000.00 EUR"]} <= lines
    assert (at["+5,000.00 EUR"] - zero) * 7 == pytest.approx(lengths(groups)["CN"] * 5, abs=10)


@pytest.mark.parametrize("most", [10**6, 10**12, 2**63 - 1])
def test_figures_of_any_length_stand_beside_their_bars_and_not_on_them(most: int) -> None:
    groups = [group("origin", "CN", 1, 0, 1, 0, most), group("origin", "TR", 1, 1, 0, most, 0)]
    result = {**RESULT, "revenue": [revenue("EU", "tax", "vendor", "EUR", most - 7, most)], "groups": groups}
    root = ElementTree.fromstring(picture(found(result=result)))  # our own text
    longest = max(
        int(bar.get("x") or 0) + int(bar.get("width") or 0) for bar in root.iter(f"{SVG}rect") if bar.get("x")
    )
    told = [
        text
        for text in root.iter(f"{SVG}text")
        if text.get("text-anchor") == "end" and text.text and "EUR" in text.text
    ]
    # Three figures; the amounts of the scales stand below their bars.
    assert len(told) == 3
    for bar in root.iter(f"{SVG}rect"):
        top, end = int(bar.get("y") or 0), int(bar.get("x") or 0) + int(bar.get("width") or 0)
        for text in told:
            if bar.get("x") and abs(int(text.get("y") or 0) - top) < 20:
                # In the widest font digits take 8 pixels and signs 4: 7 for each character are enough.
                assert end <= int(text.get("x") or 0) - 7 * len(text.text or ""), text.text
    assert longest > 420


def test_the_same_run_gives_the_same_picture() -> None:
    assert picture(found()) == picture(found())


def test_many_lines_are_summed_up_and_long_names_are_cut() -> None:
    many = [revenue(f"J{place}", "duty", "customs", "EUR", 100, 200) for place in range(40)]
    origins = [
        group("origin", f"{chr(65 + place // 26)}{chr(65 + place % 26)}", 1, 0, 1, 100, 200) for place in range(40)
    ]
    told = found(name="x" * 300, result={**RESULT, "revenue": many, "groups": origins})
    assert "28 more" in picture(told)
    assert "28 more" in shown(told)


def test_values_and_files_are_taken_by_name(tmp_path: Path) -> None:
    assert changes_of([f"{PATH}=5.00 EUR = x", f"{PATH}="]) == [(PATH, "5.00 EUR = x"), (PATH, "")]
    file = tmp_path / "eu" / "rulebook.yaml"
    file.parent.mkdir()
    file.write_text("format: 1")
    assert files_of([str(file)]) == files_of([f"eu/rulebook.yaml={file}"]) == {"eu/rulebook.yaml": "format: 1"}
    for wrong in (["x"], ["a=b"]):
        with pytest.raises(click.UsageError):
            changes_of(wrong)
    for wrong in ([str(tmp_path / "none.yaml")], [str(file), str(file)]):
        with pytest.raises(click.UsageError):
            files_of(wrong)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the commands ask, answered without a service."""
    calls: list[Any] = []

    @asynccontextmanager
    async def client(*_: object) -> AsyncIterator[object]:
        yield object()

    async def start(_: object, *days: int, **more: Any) -> dict[str, Any]:
        calls.append((days, more))
        return found(state="JOB_STATE_WAITING", done=0)

    async def follow(*name: object) -> dict[str, Any]:
        _, kind, number, progress = name
        assert (kind, number) == ("what-if", 3)
        cast(Callable[[dict[str, Any]], None], progress)(found(state="JOB_STATE_RUNNING", done=5))
        return found()

    async def get(_: object, number: int) -> dict[str, Any]:
        assert number == 3
        return found()

    async def check(*given: Any) -> list[dict[str, Any]]:
        calls.append(given[1:])
        return [{"file": "eu/rulebook.yaml", "line": 7, "where": "charges[vat]", "sentence": "has no 'rounding'"}]

    monkeypatch.setattr(Context, "client", client)
    monkeypatch.setattr(client_jobs, "follow", follow)
    for function in (start, get, check):
        monkeypatch.setattr(what_ifs, function.__name__, function)
    return calls


def test_the_command_tries_a_value_waits_and_draws(asked: list[Any], tmp_path: Path) -> None:
    drawn = tmp_path / "reform.svg"
    arguments = ["revenue", "what-if", "--set", f"{PATH}=5.00 EUR per tariff_line", "--from", "2026-11-01", "--to", "2026-11-30",
                 "--law-day", "2026-11-15", "--picture", str(drawn), "--data-dir", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(luxor, arguments)
    assert done.exit_code == 0, done.output
    assert "+500,000.00" in done.output
    assert ElementTree.fromstring(drawn.read_text("utf-8")).tag == f"{SVG}svg"  # our own text
    ((days, more),) = asked
    assert days == (DAY, DAY + 29)
    assert more == {"files": {}, "changes": [(PATH, "5.00 EUR per tariff_line")], "law_day": "2026-11-15", "name": "",
                    "of_run": 0, "against": 0, "elasticities": []}  # fmt: skip


def test_the_command_takes_drafts_of_earlier_runs_and_elasticities(asked: list[Any], tmp_path: Path) -> None:
    arguments = ["revenue", "what-if", "--of", "what-if-3", "--against", "what-if-2", "--elasticity", "cn=-1.5", "--elasticity", "61=-0.8",
                 "--elasticity", "-1.2", "--from", "2026-11-01", "--to", "2026-11-30", "--data-dir", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(luxor, arguments)
    assert done.exit_code == 0, done.output
    ((_, more),) = asked
    assert (more["of_run"], more["against"]) == (3, 2)
    assert more["elasticities"] == [("CN", "-1.5"), ("61", "-0.8"), ("", "-1.2")]


def test_the_draft_of_a_run_is_written_into_a_new_directory(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "version: EU/2026.9\n"

    async def draft(_: object, number: int) -> dict[str, Any]:
        asked.append(number)
        return {"files": {"eu/rulebook.yaml": text}, "law_day": "2028-07-01"}

    monkeypatch.setattr(what_ifs, "draft", draft)
    target = tmp_path / "draft"
    arguments = ["jobs", "show", "what-if-3", "--draft", str(target), "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(luxor, arguments)
    assert done.exit_code == 0, done.output
    assert (target / "eu" / "rulebook.yaml").read_text("utf-8") == text
    assert "1 file of the draft; its day of law is 2028-07-01" in done.output
    # A second time nothing is overwritten, and a backtest has no draft.
    again = CliRunner().invoke(luxor, arguments)
    assert (again.exit_code, asked) == (2, [3])
    assert "is not empty" in again.output
    backtest = CliRunner().invoke(
        luxor, ["jobs", "show", "backtest-3", "--draft", str(tmp_path / "x"), "--data-dir", str(tmp_path)]
    )
    assert (backtest.exit_code, asked) == (2, [3])


def test_a_draft_writes_nothing_outside_of_its_directory(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def draft(*_: object) -> dict[str, Any]:
        return {"files": {"../outside.yaml": "x"}, "law_day": ""}

    monkeypatch.setattr(what_ifs, "draft", draft)
    done = CliRunner().invoke(
        luxor, ["jobs", "show", "what-if-3", "--draft", str(tmp_path / "draft"), "--data-dir", str(tmp_path)]
    )
    assert done.exit_code == 1, asked
    assert not (tmp_path / "outside.yaml").exists()


def test_a_picture_that_cannot_be_written_is_told_before_the_run_begins(asked: list[Any], tmp_path: Path) -> None:
    arguments = ["revenue", "what-if", "--set", f"{PATH}=1", "--from", "2026-11-01", "--to", "2026-11-30", "--data-dir", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(luxor, [*arguments, "--picture", str(tmp_path / "absent" / "reform.svg")])
    assert (done.exit_code, asked) == (2, [])
    assert f"there is no directory {tmp_path / 'absent'}" in " ".join(done.output.split())
    done = CliRunner().invoke(luxor, [*arguments, "--picture", "reform.png"])
    assert (done.exit_code, asked) == (2, [])
    assert "its name ends with .svg: reform.svg" in " ".join(done.output.split())


def test_what_was_found_is_shown_also_where_its_picture_cannot_be_written(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", "reform.svg")

    monkeypatch.setattr(Path, "write_text", full)
    arguments = ["revenue", "what-if", "--set", f"{PATH}=1", "--from", "2026-11-01", "--to", "2026-11-30", "--data-dir", str(tmp_path)]  # fmt: skip
    done = CliRunner().invoke(luxor, [*arguments, "--picture", str(tmp_path / "reform.svg")])
    assert (done.exit_code, len(asked)) == (1, 1)
    assert "+500,000.00" in done.output
    assert "reform.svg: No space left on device" in done.output


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--set", f"{PATH}=1", "--from", "2026-11-30", "--to", "2026-11-01"],
        ["--from", "2026-11-01", "--to", "2026-11-02"],
        ["--law-day", "soon", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--set", "x", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--of", "backtest-3", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--set", f"{PATH}=1", "--against", "training-3", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--set", f"{PATH}=1", "--elasticity", "CHN=-1", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--set", f"{PATH}=1", "--elasticity", "=-1", "--from", "2026-11-01", "--to", "2026-11-02"],
        ["--set", f"{PATH}=1", "--detach", "--picture", "x.svg", "--from", "2026-11-01", "--to", "2026-11-02"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(luxor, ["revenue", "what-if", *arguments, "--data-dir", str(tmp_path)])
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["revenue", "what-if", "--set", f"{PATH}=1"], "--from"),
        (["revenue", "what-if", "--set", f"{PATH}=1"], "--to"),
        (["revenue", "what-if"], "--law-day"),
        (["risk", "backtest", "--model", "x"], "--to"),
        (["risk", "train"], "--to"),
    ],
)
@pytest.mark.parametrize("day", ["2026-02-30", "20261125", "2026-W48-3", "soon"])
def test_a_day_is_written_in_one_way_and_the_option_that_has_none_is_named(
    command: list[str], option: str, day: str, tmp_path: Path
) -> None:
    days = {"--from": "2026-11-01", "--to": "2026-11-02", option: day}
    arguments = [part for pair in days.items() for part in pair]
    done = CliRunner().invoke(luxor, [*command, *arguments, "--data-dir", str(tmp_path)])
    assert done.exit_code == 2, done.output
    told = " ".join(done.output.split())
    assert f"Invalid value for {option}: '{day}' is no date: write it as year-month-day, such as 2026-07-01" in told


def test_days_of_other_centuries_are_refused(tmp_path: Path) -> None:
    arguments = ["--law-day", "1999-12-31", "--from", "2026-11-01", "--to", "2026-11-02", "--data-dir", str(tmp_path)]
    done = CliRunner().invoke(luxor, ["revenue", "what-if", *arguments])
    assert (done.exit_code, "1999-12-31 lies outside the years 2000 to 2099" in done.output) == (2, True)


def test_the_command_tells_mistakes_with_file_line_and_rule(asked: list[Any], tmp_path: Path) -> None:
    done = CliRunner().invoke(luxor, ["revenue", "check", "--set", f"{PATH}=1", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "eu/rulebook.yaml:7: charges[vat]: has no 'rounding'" in done.output
    assert asked == [({}, [(PATH, "1")])]


def test_a_command_takes_as_many_days_as_the_service() -> None:
    assert days.ASSESSMENT_DAYS_MAX == job_days.DAYS_MAX == 400


def test_figures_stand_whole_on_a_narrow_terminal_and_are_rounded_not_cut() -> None:
    large = revenue("EU", "duty", "customs", "EUR", 123_456_789_012_345, 223_456_789_012_399)
    groups = [group("origin", "CN", 1_250_000, 0, 1_190_000, 1_689_150, 2_437_650)]
    result = {**RESULT, "revenue": [large], "groups": groups}
    out = Console(file=io.StringIO(), width=60, force_terminal=False)
    show_what_if(out, found(result=result))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    for figure in ("1,234,567,890,123.45", "2,234,567,890,123.99", "+1,000,000,000,000.54"):
        assert figure in text, text
    for figure in ("1,250,000", "1,190,000", "16,892", "24,377", "+7,485"):
        assert figure in text, text


def test_what_a_draft_cannot_assess_is_told_with_its_money() -> None:
    unassessed = {**revenue("EU", "duty", "customs", "EUR", 75_000, 50_000), "unassessed_minor": 25_000}
    out = Console(file=io.StringIO(), width=200, force_terminal=False)
    show_what_if(out, found(result={**RESULT, "revenue": [unassessed], "unassessed_by_draft": 3}))
    assert "250.00 EUR" in out.file.getvalue()  # type: ignore[attr-defined]


ASSUMED = [
    {"origin": "CN", "hs_chapter": "", "elasticity": "-1.2"},
    {"origin": "", "hs_chapter": "61", "elasticity": "-0.5"},
    {"origin": "", "hs_chapter": "", "elasticity": "-1"},
]


def with_behaviour() -> dict[str, Any]:
    revenue = [{**each, "after_with_behaviour_minor": each["after_minor"] * 9 // 10} for each in RESULT["revenue"]]
    groups = [{**each, "quantity_ppm": each["items"] * 900_000, "after_with_behaviour_minor": each["after_minor"] * 9 // 10}
              for each in RESULT["groups"]]  # fmt: skip
    result = {**RESULT, "revenue": revenue, "groups": groups, "behaviour": what_ifs.ASSUMED_BEHAVIOUR}
    return found(elasticities=ASSUMED, result=result)


def test_behaviour_is_labelled_as_an_assumption_wherever_it_is_shown() -> None:
    text = shown(with_behaviour(), 140)
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert "ASSUMPTION: elasticity -1.2 for goods of origin CN" in lines
    assert "ASSUMPTION: elasticity -0.5 for goods of chapter 61" in lines
    assert "ASSUMPTION: elasticity -1 for all goods that no line before names" in lines
    assert "EU duty customs 1,250,000.00 1,125,000.00 -125,000.00 -10.0 %" in lines
    assert "CN 200,000 180,000 -10.0 % 2,450,000 2,205,000" in lines
    assert lines.count("Revenue in EUR, ASSUMED behaviour") == 1
    assert "an assumption and no measurement" in re.sub(r"\s+", " ", text)
    root = ElementTree.fromstring(picture(with_behaviour()))  # our own text
    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "ASSUMED behaviour: revenue in EUR after, without and with the elasticities" in texts
    assert "ASSUMPTION: elasticity -1.2 for goods of origin CN" in texts
    # Without elasticities nothing of it is shown.
    assert "ASSUM" not in shown(found()) + picture(found())


def test_the_runs_that_a_draft_starts_from_and_is_compared_with_are_named() -> None:
    text = shown(found(of_run=2, against=1), 140)
    assert "the draft of what-if-2, to which the following is applied" in text
    assert "before: by the draft of what-if-1, not by the answers of then" in text
