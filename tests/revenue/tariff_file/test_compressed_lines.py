"""Files of lines are read compressed and as they are, under one name."""

import gzip
from pathlib import Path

import pytest

from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.store.law_files import law_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "xa").mkdir()
    (tmp_path / "xa" / "rulebook.yaml").write_text("format: 1\n")
    (tmp_path / "rates").mkdir()
    (tmp_path / "rates" / "xa.yaml").write_text("format: 1\n")
    return tmp_path


def files_of(folder: Path) -> dict[str, str]:
    return law_files(folder, folder / "rates")


@pytest.mark.parametrize("compressed", [True, False])
def test_lines_have_one_name_compressed_or_not(folder: Path, compressed: bool) -> None:
    data = b"code,rate\n61,1 %\n"
    (folder / "xa" / ("tariff_lines.csv.gz" if compressed else "tariff_lines.csv")).write_bytes(
        gzip.compress(data, mtime=0) if compressed else data
    )
    assert files_of(folder)["xa/tariff_lines.csv"] == data.decode()


def test_lines_that_are_there_twice_are_refused(folder: Path) -> None:
    (folder / "xa" / "tariff_lines.csv.gz").write_bytes(gzip.compress(b"code,rate\n", mtime=0))
    (folder / "xa" / "tariff_lines.csv").write_text("code,rate\n")
    with pytest.raises(LawFileError, match=r"xa/tariff_lines\.csv: is there as it is and compressed"):
        files_of(folder)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"code,rate\n", mtime=0)[:-5], b"code,rate\n", gzip.compress(b"code,\xff\n", mtime=0),
     b"\x1f\x8b\x08\x00" + b"\x00" * 6 + b"\xff" * 9],
)  # fmt: skip
def test_lines_that_cannot_be_unpacked_are_refused_by_name(folder: Path, data: bytes) -> None:
    (folder / "xa" / "tariff_lines.csv.gz").write_bytes(data)
    with pytest.raises(LawFileError, match=r"xa/tariff_lines\.csv: cannot be read"):
        files_of(folder)
