"""Memory of `luxor file` for 1,000,000 rows against 1,000: it must not grow with the file. `make bench-ingestion`.

The whole run takes some ten minutes on two cores, most of it ingestion's own work; --quick files 3,000 rows.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures

from libs.cli.local.supervisor import LocalSystem
from libs.client.filing import files

ROWS = 1_000_000
FEW = 1_000
GIB = 12.0
"""What the rows, the CSV and five services' copies of them may take on the disk."""


def main() -> None:
    how = figures.options(__doc__, runs=1)
    figures.machine({"fsync": "on", "synchronous_commit": "on"})
    directory = Path(tempfile.mkdtemp(prefix="luxor-bench-"))
    directory.chmod(0o711)
    rows = 3_000 if how.quick else ROWS
    if not how.quick and not figures.has_space(directory, GIB):
        figures.not_measured("file_client_mb", f"{directory} has less than {GIB:g} GiB free")
        return
    try:
        with LocalSystem(directory / "data") as system:
            few = [_file(system, directory / "few.csv", FEW, f"F{run}") for run in range(how.runs)]
            many = [_file(system, directory / "many.csv", rows, f"M{run}") for run in range(how.runs)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figures.figure(
        "file_client_mb", [peak for peak, _ in many], "MB", target=200,
        rows=rows, mb_for_1000_rows=round(max(peak for peak, _ in few), 1),
        rows_per_second=round(rows / min(seconds for _, seconds in many)),
    )  # fmt: skip


def _file(system: LocalSystem, path: Path, rows: int, name: str) -> tuple[float, float]:
    """File a CSV with a process of its own; return its peak of resident memory in MB and the seconds it took."""
    header, row = files.template().splitlines()[:2]
    with path.open("w", encoding="utf-8") as out:
        out.write(f"{header}\n")
        for number in range(rows):
            out.write(row.replace("SHOP-2026-0000123", f"{name}-{number:09d}") + "\n")
    command = [sys.executable, "-m", "libs.cli", "file", str(path), "--json"]
    environ = os.environ | {"LUXOR_DATA_DIR": str(system.data_dir)}
    started = time.monotonic()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    path.unlink()
    if process.returncode != 0:
        raise SystemExit(f"filing {rows} rows ended with {process.returncode}")
    print(f"{rows:>9,} rows: {used.ru_maxrss / 1024:.1f} MB at most, {seconds:.1f} s", flush=True)
    return used.ru_maxrss / 1024, seconds


if __name__ == "__main__":
    main()
