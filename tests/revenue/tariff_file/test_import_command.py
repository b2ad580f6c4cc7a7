"""`luxor revenue import tariff`: what it writes and reports, and that a file with an error changes nothing."""

import csv
import gzip
import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libs.cli.commands.revenue.imports.tariff import FORMATS
from libs.cli.main import luxor
from services.revenue.law.source.tariff import Tariff, read_tariff
from services.revenue.tariff_file import command
from services.revenue.tariff_file.files import PACKED, REPORT
from services.revenue.tariff_file.imported import TariffFileError, check_plausible
from services.revenue.tariff_file.plain import read_plain

LAW = ["--jurisdiction", "XA", "--from", "2021-01-01", "--law", "Tariff Act", "--address", "https://law.example/3",
       "--source", "Gazette 7", "--edition", "2020-12-24", "--licence", "CC0"]  # fmt: skip
GOOD = "code,rate\n01012100,0.0%\n0702000000,free\n"


def run(path: Path, out: Path, *options: str) -> Result:
    return CliRunner().invoke(
        luxor, ["revenue", "import", "tariff", str(path), "--format", "csv", "-o", str(out), *LAW, *options]
    )


def imported(path: Path, out: Path, *options: str) -> int:
    """Run the import in this process."""
    return command.main([str(path), "--format", "csv", "--out", str(out), *LAW, *options])


def read(folder: Path) -> Tariff:
    lines = gzip.decompress((folder / PACKED).read_bytes()).decode()
    return read_tariff("xa/tariff.yaml", (folder / "tariff.yaml").read_text(), {"tariff_lines.csv": lines}.get)


def test_the_command_writes_a_tariff_and_reports_what_is_not_in_it(tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text(
        "code,rate,from,to\n1012100,0.0%,,\n7020000,Entry Price,,\n6110,12%,2022-01-01,2022-12-31\n6110,12%,2023-01-01,\n6110,12.0 %,2023-01-01,\n"
    )
    done = run(source, tmp_path / "xa", "--json")
    assert done.exit_code == 1, done.output
    result = json.loads(done.stdout)
    assert {name: result[name] for name in ("coded", "imported", "reported", "compound", "reasons")} == {
        "coded": 5,
        "imported": 3,
        "reported": 2,
        "compound": 0,
        "reasons": {"code_twice": 1, "entry_price": 1},
    }
    with (tmp_path / "xa" / REPORT).open() as file:
        assert [(row["line"], row["code"], row["value"], row["reason"]) for row in csv.DictReader(file)] == [
            ("3", "07020000", "Entry Price", "entry_price"),
            ("6", "6110", "12.0 %", "code_twice"),
        ]
    tables = read(tmp_path / "xa").tables
    assert [(table.start, table.find("611020") >= 0) for table in tables] == [
        (date(2021, 1, 1), False),
        (date(2022, 1, 1), True),
        (date(2023, 1, 1), True),
    ]
    assert (tables[0].source, tables[0].edition, tables[0].licence) == ("Gazette 7", date(2020, 12, 24), "CC0")
    assert tables[0].rates[tables[0].find("0101210000")].text == "0.0%"
    assert tables[0].find("0702000000") == -1


def test_a_whole_file_is_imported_with_a_summary_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text(GOOD)
    done = run(source, tmp_path / "xa")
    assert done.exit_code == 0, done.output
    assert "2 coded lines: 2 imported, 0 reported" in done.output
    first = (tmp_path / "xa" / PACKED).read_bytes()
    assert imported(source, tmp_path / "xb") == 0
    assert (tmp_path / "xb" / PACKED).read_bytes() == first
    assert gzip.decompress(first).startswith(b"# Gazette 7, edition of 2020-12-24; CC0\ncode,rate\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "published.csv: is empty"),
        (b"\n \n", "published.csv: is empty"),
        (b"code,rate\n", "published.csv:1: has no lines below its header"),
        (b"commodity,rate\n61,1%\n", "published.csv:1: has no column code; it has commodity, rate"),
        (b"code,rate\n61,1%\n62,2%", "published.csv:3: does not end with a line end: it may be truncated"),
        (b"code,rate\n61,1%\n62\n", "published.csv:3: '62' has 1 values and the header 2"),
        (b"code,rate\n61,1%,3\n62,1%\n", "published.csv:2: '61,1%,3' has 3 values and the header 2"),
        (b'code,rate\n61,1%\n62,"2%\n', "is no CSV"),
        (b"code,rate\n61,1%\n62,\xe9%\n", "published.csv:3: b'\\xe9' is not UTF-8"),
        (b"code,rate\n61,500%\n62,1000%\n", "published.csv:3: 62: '1000%' is more than 500 %, which is not plausible"),
        (b"code,rate\n61,1 % min 501 %\n", "published.csv:2: 61: '1 % min 501 %' is more than 500 %"),
        (b"code,rate\n61,12%\n61,13%\n", "published.csv:3: 61: '13%' and, on line 2, '12%' hold on the same day"),
        (b"code,rate\n61,Entry Price\n", "published.csv: has no line that can be imported"),
        (gzip.compress(GOOD.encode(), mtime=0)[:-9], "published.csv: is no whole gzip file"),
    ],
)  # fmt: skip
def test_a_file_with_an_error_changes_nothing_and_names_it(
    content: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "published.csv", tmp_path / "xa"
    source.write_text(GOOD)
    assert imported(source, out) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    source.write_bytes(content)
    assert imported(source, out) == 1
    assert why in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_all_errors_of_a_file_are_named_at_once() -> None:
    with pytest.raises(TariffFileError) as refused:
        check_plausible("a.csv", read_plain("a.csv", b"code,rate\n61,600%\n62,501%\n62,500%\n"), 500)
    assert [each.partition(": ")[0] for each in refused.value.errors] == ["a.csv:2", "a.csv:3", "a.csv:4"]


def test_the_bound_of_plausible_rates_is_an_option(tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text("code,rate\n61,1000%\n")
    assert imported(source, tmp_path / "xa", "--rate-max", "999") == 1
    assert not (tmp_path / "xa").exists()
    assert imported(source, tmp_path / "xa", "--rate-max", "1000") == 0


def test_a_refused_file_is_an_error_of_the_command_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text("code,rate\n61,1000%\n")
    done = run(source, tmp_path / "xa")
    assert done.exit_code == 1
    assert "TARIFF_NOT_IMPORTED" in done.stderr
    assert "published.csv:2: 61: '1000%'" in done.stderr


def test_the_command_and_the_module_know_the_same_formats() -> None:
    assert set(FORMATS) == set(command.FORMATS)


def test_what_is_no_day_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "published.csv"
    source.write_text("code,rate,from\n61,1%,2021\n62,1%,\n")
    assert imported(source, tmp_path / "xa") == 0
    assert "'2021' in 'from' is no day" in (tmp_path / "xa" / REPORT).read_text()
    with pytest.raises(SystemExit, match="2"):
        imported(source, tmp_path / "xa", "--from", "2026-01")
    assert "'2026-01' is no date: write it as year-month-day" in capsys.readouterr().err


def test_a_reported_line_is_a_line_without_a_rate(tmp_path: Path) -> None:
    source = tmp_path / "published.csv"
    source.write_text("code,rate\n61091010,12 %\n61091020,Entry Price\n62011010,5 %\n62011020,5 %\nheading,5 %\n")
    assert imported(source, tmp_path / "xa", "--default", "9 %") == 0
    [table] = read(tmp_path / "xa").tables
    assert "61091020,\n" in gzip.decompress((tmp_path / "xa" / PACKED).read_bytes()).decode()
    rates = {code: table.rates[table.find(code)].text for code in ("61091010", "61091020", "610910", "620110")}
    # Nothing is said of the subheading by the rate of one of its two lines.
    assert rates == {"61091010": "12 %", "61091020": "9 %", "610910": "9 %", "620110": "5 %"}
