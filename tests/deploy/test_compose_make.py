"""`make compose-…` goes by what the operator wrote into deploy/compose/.env, and refuses what would harm an installation."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = """#!/bin/sh
case "$*" in
*"ps --all --services"*) printf '%s\\n' $CONTAINERS ;;
*"config --services"*) printf '%s\\n' prepare renew ingestion ingestion-store ;;
*" up "*"--wait"*) echo "waits for ${*##*--wait-timeout 300 }" ;;
*" up "*) echo "profiles $COMPOSE_PROFILES image $LUXOR_IMAGE spans $LUXOR_OTLP_ENDPOINT" ;;
esac
"""
"""Stands where docker would, and tells what it was called with."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory with what make needs, and no settings yet."""
    here = tmp_path / "luxor"
    here.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, here)
    for name in ("compose", "prometheus", "grafana"):
        shutil.copytree(ROOT / "deploy" / name, here / "deploy" / name, ignore=shutil.ignore_patterns(".env"))
    (tmp_path / "bin").mkdir()
    engine = tmp_path / "bin" / "docker"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    for path in (here / "deploy").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return here


def up(checkout: Path, *words: str, containers: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LUXOR_", "COMPOSE_", "MAKE", "MFLAGS")) and name not in {"IMAGE", "PROFILES"}
    }
    path = f"{checkout.parent / 'bin'}{os.pathsep}{clean['PATH']}"
    return subprocess.run(
        ["make", "--no-print-directory", "compose-up", *words], cwd=checkout,
        env=clean | {"PATH": path, "CONTAINERS": containers} | environ,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def settings(checkout: Path, *lines: str) -> None:
    (checkout / "deploy" / "compose" / ".env").write_text("".join(f"{line}\n" for line in lines))


def test_the_daily_renewal_is_started_and_not_waited_for(checkout: Path) -> None:
    done = up(checkout)
    assert done.returncode == 0, done.stderr
    assert "waits for ingestion ingestion-store\n" in done.stdout


def test_a_first_start_makes_the_settings_that_the_operator_edits_and_never_touches_them_again(checkout: Path) -> None:
    done = up(checkout)
    assert done.returncode == 0, done.stderr
    assert "profiles stores image luxor:" in done.stdout
    own = checkout / "deploy" / "compose" / ".env"
    assert "COMPOSE_PROFILES=stores\n" in own.read_text()
    settings(checkout, "COMPOSE_PROFILES=one-store")
    assert "profiles one-store " in up(checkout).stdout
    assert own.read_text() == "COMPOSE_PROFILES=one-store\n"


def test_the_settings_count_unless_the_environment_or_the_command_line_says_otherwise(checkout: Path) -> None:
    settings(checkout, "COMPOSE_PROFILES=one-store,watch", "LUXOR_IMAGE=luxor:next")
    told = "profiles one-store,watch image luxor:next spans http://collector-otlp:4317"
    assert told in up(checkout).stdout
    assert "image luxor:other" in up(checkout, LUXOR_IMAGE="luxor:other").stdout
    assert "image luxor:third" in up(checkout, "IMAGE=luxor:third", LUXOR_IMAGE="luxor:other").stdout
    assert "profiles stores " in up(checkout, COMPOSE_PROFILES="stores").stdout
    assert "profiles stores,staging " in up(checkout, "PROFILES=stores,staging", COMPOSE_PROFILES="one-store").stdout


@pytest.mark.parametrize(
    ("containers", "profiles", "complaint"),
    [
        ("prepare risk store", "stores", "has one store for all services, and the profile is stores"),
        ("prepare risk risk-store", "one-store", "has a store for each service, and the profile is one-store"),
        ("", "stores,one-store", "exclude each other"),
        ("", "watch", "without a database"),
    ],
)
def test_stores_of_the_other_shape_are_never_started_beside_those_that_are_there(
    checkout: Path, containers: str, profiles: str, complaint: str
) -> None:
    settings(checkout, f"COMPOSE_PROFILES={profiles}")
    done = up(checkout, containers=containers)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "profiles" not in done.stdout


def test_an_installation_is_brought_up_again_in_its_own_shape(checkout: Path) -> None:
    settings(checkout, "COMPOSE_PROFILES=one-store")
    assert up(checkout, containers="prepare risk store").returncode == 0
    settings(checkout, "COMPOSE_PROFILES=stores")
    assert up(checkout, containers="prepare risk risk-store").returncode == 0


@pytest.mark.parametrize("closed", ["compose/store.conf", "prometheus", "grafana/dashboards"])
def test_a_configuration_that_containers_could_not_read_is_told_before_anything_starts(
    checkout: Path, closed: str
) -> None:
    path = checkout / "deploy" / closed
    path.chmod(0o700 if path.is_dir() else 0o600)
    done = up(checkout)
    assert done.returncode != 0
    assert f"{path.name} cannot be read" in done.stderr
    assert "chmod -R go+rX" in done.stderr
    assert "profiles" not in done.stdout


def test_git_does_not_look_at_the_operators_settings() -> None:
    assert "/deploy/compose/.env\n" in (ROOT / ".gitignore").read_text(encoding="utf-8")


@pytest.mark.parametrize(("target", "passed"), [("probe", False), ("compose-probe", True)])
def test_only_what_speaks_of_containers_is_told_of_the_image(checkout: Path, target: str, passed: bool) -> None:
    """Services that make starts would take it for a misspelt setting of theirs."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUXOR_")}
    command = ["make", "--no-print-directory", f"--eval={target}:; @env", target]
    done = subprocess.run(command, cwd=checkout, env=clean, capture_output=True, text=True, check=True, timeout=60)
    assert ("LUXOR_IMAGE=" in done.stdout) is passed, done.stdout
