"""What CI runs: missing programs are installed where they may be, never fail it, and what was skipped is told."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
HAVE = (
    "promtool",
    "prometheus",
    "faketime",
    "debootstrap",
    "docker",
    "go",
    "protoc-gen-go",
    "protoc-gen-go-grpc",
    "grpcurl",
)


def program(directory: Path, name: str, text: str = "exit 0") -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Programs of a machine with nothing on it but the shell's and stand-ins that note what apt is asked for."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sh", "rm", "chmod", "timeout", "dirname"):
        (programs / name).symlink_to(f"/bin/{name}")
    program(programs, "id", "echo 0")
    program(programs, "apt-cache", 'test "$2" != docker-cli')
    program(
        programs, "apt-get", f'test -x "$LUXOR_CI_POLICY" || exit 9; echo "$@" >>{tmp_path}/asked; test "$1" = install'
    )
    return programs


def tools(programs: Path) -> tuple[str, list[str]]:
    done = subprocess.run(
        [ROOT / ".ci" / "tools"], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": str(programs), "LUXOR_CI_POLICY": str(programs.parent / "policy-rc.d"), "LUXOR_CI_GOCODE": str(programs.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (programs.parent / "policy-rc.d").exists(), "services of the machine could not start any more"
    asked = programs.parent / "asked"
    return done.stdout, asked.read_text(encoding="utf-8").splitlines() if asked.exists() else []


def test_what_is_missing_is_installed_and_no_daemon_starts(machine: Path) -> None:
    program(machine, "faketime")
    said, asked = tools(machine)
    assert asked[0] == "update -qq"
    assert [line.split()[-1] for line in asked[1:]] == [
        "promtool",
        "prometheus",
        "debootstrap",
        "docker.io",
        "docker-compose",
        "docker-buildx",
        "golang-go",
        "protoc-gen-go",
        "protoc-gen-go-grpc",
        "golang-google-grpc-dev",
    ]
    assert "could not be brought up to date" in said, "lists that cannot be had are no failure"


def test_a_package_that_cannot_be_installed_is_told_and_no_failure(machine: Path) -> None:
    program(machine, "apt-get", "exit 100")
    said, _ = tools(machine)
    assert "promtool could not be installed" in said


def test_nothing_is_installed_where_all_is_there_or_nobody_may(machine: Path) -> None:
    program(machine, "id", "echo 1000")
    said, asked = tools(machine)
    assert "only root" in said
    assert "promtool" in said
    for name in HAVE:
        program(machine, name)
    (machine.parent / "src" / "google.golang.org" / "grpc").mkdir(parents=True)
    assert tools(machine) == ("tools: all are here\n", [])
    assert asked == []


def test_the_tools_end_before_their_limit(machine: Path) -> None:
    """What hangs is ended, and what comes after it is reported and not begun."""
    (machine / "sleep").symlink_to("/bin/sleep")
    program(machine, "apt-get", "exec sleep 600")
    script = (ROOT / ".ci" / "tools").read_text(encoding="utf-8")
    limit = re.search(r"^readonly SECONDS_MAX=(\d+)$", script, re.MULTILINE)
    step = re.search(r'^step (\d+) "tools"', RUN, re.MULTILINE)
    assert limit is not None
    assert step is not None
    assert int(limit[1]) < int(step[1])
    short = machine.parent / "checkout" / ".ci"
    short.mkdir(parents=True)
    (short / "tools").write_text(script.replace(limit[0], "readonly SECONDS_MAX=2"), encoding="utf-8")
    begun = time.monotonic()
    done = subprocess.run(
        ["bash", str(short / "tools")], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": str(machine), "LUXOR_CI_POLICY": str(machine.parent / "policy-rc.d")},
    )  # fmt: skip
    assert time.monotonic() - begun < 30
    assert done.returncode == 0, done.stderr
    assert "promtool could not be installed" in done.stdout
    assert "golang-go could not be installed" in done.stdout


@pytest.mark.parametrize(
    ("machine_type", "there", "asked"), [("x86_64", "", True), ("aarch64", "", False), ("x86_64", "grpcurl", False)]
)
def test_grpcurl_is_installed_where_it_is_missing_and_can_run(
    machine: Path, machine_type: str, there: str, *, asked: bool
) -> None:
    checkout = machine.parent / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".ci" / "tools").write_text((ROOT / ".ci" / "tools").read_text(encoding="utf-8"), encoding="utf-8")
    program(checkout / ".venv" / "bin", "python", f'echo "$@" >{checkout}/pip')
    program(machine, "uname", f"echo {machine_type}")
    program(machine, "id", "echo 1000")
    if there:
        program(machine, there)
    done = subprocess.run(
        ["bash", str(checkout / ".ci" / "tools")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": str(machine)},
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "pip").exists() is asked
    assert not asked or "--require-hashes" in (checkout / "pip").read_text(encoding="utf-8")


def test_ci_lists_what_was_skipped_with_its_reason_and_what_failed(tmp_path: Path) -> None:
    noting = re.search(r"^noting='(.*)'$", RUN, re.MULTILINE)
    assert noting is not None
    said = tmp_path / "said"
    run = ["bash", "-c", noting[1], str(said)]
    text = "SKIPPED [1] tests/x.py:1: promtool is not installed"
    wrong = "FAILED tests/y.py::test_y - AssertionError"
    both = f"{text}\n{wrong}"
    done = subprocess.run([*run, "sh", "-c", f"echo '{both}'; exit 3"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (3, both), "a step that fails must fail"
    end = RUN[RUN.index("\nif grep -q '^SKIPPED'") :]
    told = subprocess.run(
        ["bash", "-c", f"failed=(tests)\n{end}"],
        env={**os.environ, "said": str(said)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stdout.splitlines() == ["==> skipped, and why:", text, wrong, "==> failed: tests"]
    for step in ("step \\d+ .tests", "suite \\d+ .faults", "suite \\d+ .containers"):
        assert re.search(rf'^{step}" bash -c "\$noting" "\$said" make .* TEST_ARGS=-rfEs$', RUN, re.MULTILINE)


SUITES = ("demonstration", "faults", "containers", "benchmarks, smoke run")


def limits(kind: str) -> dict[str, int]:
    return {title: int(seconds) for seconds, title in re.findall(rf'^{kind} (\d+) "([^"]+)"', RUN, re.MULTILINE)}


def test_the_steps_that_always_run_leave_time_for_a_suite_within_the_hour() -> None:
    steps, suites = limits("step"), limits("suite")
    assert list(steps) == ["set up", "checks", "tools", "tests"]
    assert tuple(suites) == SUITES
    assert sum(steps.values()) + suites["demonstration"] < 60 * 60


@pytest.mark.parametrize(
    ("hour", "fails", "code", "not_run"),
    [
        (3560, "", 0, ()),
        (3560, "make fault-test", 1, ()),
        (3560, "make test", 1, ()),
        (900, "", 0, ("faults", "containers")),
        (900, "make demo", 1, ("faults", "containers")),
        (400, "", 0, ("faults", "containers", "benchmarks, smoke run")),
        (0, "", 0, SUITES),
        (0, "make check", 1, SUITES),
    ],
)
def test_a_suite_runs_where_the_hour_has_the_time_for_it_and_is_listed_where_not(
    tmp_path: Path, hour: int, fails: str, code: int, not_run: tuple[str, ...]
) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(RUN, encoding="utf-8")
    program(tmp_path / ".ci", "tools")
    program(tmp_path, "make", f'case "make $*" in "{fails or "nothing"}"*) exit 2;; esac')
    done = subprocess.run(
        ["bash", tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LUXOR_CI_HOUR": str(hour)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("==> not run")] == [
        f"==> not run, for lack of time: {title}" for title in not_run
    ]
    for title, seconds in limits("suite").items():
        begun = any(line.startswith(f"==> {title} (at most {seconds} s)") for line in lines)
        assert begun is (title not in not_run)
    assert lines[-1].startswith("==> everything that ran passed" if code == 0 else "==> failed: ")
