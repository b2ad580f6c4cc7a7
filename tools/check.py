"""Every check that needs no running system, one after the other; all run, whatever fails. `make check` calls it."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

CHECKS: tuple[tuple[str, list[str]], ...] = (
    ("style (ruff check)", [f"{BIN}/ruff", "check", "."]),
    ("form (ruff format)", [f"{BIN}/ruff", "format", "--check", "--quiet", "."]),
    ("types (mypy strict)", [f"{BIN}/mypy"]),
    ("contracts (buf lint)", [f"{BIN}/buf", "lint"]),
    ("contracts (buf breaking)", [sys.executable, "tools/breaking.py"]),
    ("walls (import-linter)", [f"{BIN}/lint-imports", "--no-cache"]),
    (
        "structure (cycles, rings, sizes of packages, transactions, tests)",
        [sys.executable, "-m", "tools.structure", "--check"],
    ),
    ("links (docs)", [sys.executable, "-m", "tools.doc_links"]),
    ("pictures (docs/pictures)", [sys.executable, "-m", "tools.pictures", "--check"]),
    ("transitions (docs/lifecycle.md)", [sys.executable, "-m", "tools.lifecycle_table", "--check"]),
    ("cases (docs/sandbox-cases.md)", [sys.executable, "-m", "tools.case_table", "--check"]),
    ("chart (helm, kubernetes-validate)", [sys.executable, "-m", "tools.chart_command", "check"]),
    ("words (docs/glossary.md)", [sys.executable, "-m", "tools.words"]),
)
# A check that hangs is a failure and not a wait.
LIMIT_SECONDS = 600


def main() -> int:
    failed = []
    for title, command in CHECKS:
        started = time.monotonic()
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
            ok, said = done.returncode == 0, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            ok, said = False, f"did not end within {LIMIT_SECONDS} s"
        print(f"{'ok    ' if ok else 'FAILED'} {title} ({time.monotonic() - started:.1f} s)", flush=True)
        if not ok:
            failed.append(title)
        # What buf breaking says where it has nothing to compare with should be read.
        if not ok or title.endswith("breaking)"):
            print("\n".join(f"       {line}" for line in said.strip().splitlines()), flush=True)
    if failed:
        print(f"\n{len(failed)} of {len(CHECKS)} checks failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
