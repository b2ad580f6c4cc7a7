"""deploy/compose: valid under every profile, closed, and its configurations fit each other."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from libs.cli.preparation import prepare
from libs.server.config.server_config import PORTS
from services.risk.files.secret_file import secret_of
from tools import deployment_map

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PROFILES = ("stores", "one-store", "watch", "staging", "command-line", "certificate")
OBSERVERS = ("collector", "jaeger", "prometheus", "grafana")


def command() -> list[str]:
    """Compose, as the engine's plug-in or by itself."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(words[0])
            and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0
        ):
            return words
    pytest.skip("Docker Compose is not installed")


def config(profiles: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LUXOR_", "COMPOSE_"))}
    return subprocess.run(
        [*command(), "config", "-q"], cwd=HERE, env=clean | {"COMPOSE_PROFILES": profiles} | environ,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    "profiles",
    [*PROFILES, *(",".join(pair) for pair in itertools.combinations(("stores", "watch", "staging"), 2)), "*"],
)
def test_compose_takes_the_file_under_every_profile(profiles: str) -> None:
    done = config(profiles)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_profiles_are_those_that_are_told_and_stores_is_what_runs_unless_told_otherwise() -> None:
    assert {profile for each in SERVICES.values() for profile in each.get("profiles", [])} == set(PROFILES)
    assert "COMPOSE_PROFILES=stores\n" in (HERE / "default.env").read_text(encoding="utf-8")
    for service in PORTS:
        assert "profiles" not in SERVICES[service]


def test_no_container_runs_as_root_or_may_more_than_it_needs() -> None:
    for name, each in SERVICES.items():
        assert re.fullmatch(r"[1-9]\d*:\d+", each["user"]), name
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert "cap_add" not in each, name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in each, name
        limits = each["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}, name
        assert each["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        for mount in each.get("volumes", []):
            assert "docker.sock" not in str(mount), name


def test_what_must_go_on_is_started_again_and_what_ends_is_not() -> None:
    for name, each in SERVICES.items():
        goes_on = name in PORTS or name in OBSERVERS or name.endswith("store") or name == "renew"
        assert each.get("restart", "no") == ("unless-stopped" if goes_on else "no"), name


def test_nobody_waits_for_anybody_but_the_job_that_writes_certificates() -> None:
    for name, each in SERVICES.items():
        assert set(each.get("depends_on", {})) <= {"prepare"}, name


def test_the_authoritys_keys_are_in_a_volume_that_no_service_mounts() -> None:
    users = {
        name
        for name, each in SERVICES.items()
        for mount in each.get("volumes", [])
        if str(mount).startswith("authority:")
    }
    assert users == {"prepare", "renew", "certificate"}
    for name in users:
        assert SERVICES[name]["network_mode"] == "none"


def test_certificates_are_renewed_daily_by_what_runs_in_every_shape() -> None:
    renew, prepare = SERVICES["renew"], SERVICES["prepare"]
    assert "profiles" not in renew
    assert renew["command"][:2] == prepare["command"]
    assert renew["command"][2:4] == ["--every", "24"]
    assert renew["command"][5] in renew["healthcheck"]["test"][1]
    for key in ("volumes", "environment", "user", "image"):
        assert renew[key] == prepare[key], key
    # A machine under load takes its time: a check that came too early must not be the only one for minutes.
    check = renew["healthcheck"]
    assert (check["interval"], check["start_period"]) == ("60s", "10m")
    assert check["retries"] > 1


def test_each_service_and_store_mounts_its_own_secrets_and_nobody_elses() -> None:
    for name, each in SERVICES.items():
        if name in {"prepare", "renew", "certificate", *OBSERVERS}:
            continue
        (secrets,) = [mount for mount in each["volumes"] if mount["target"] == "/run/luxor"]
        assert (secrets["source"], secrets["read_only"]) == (name, True), name
        for mount in each["volumes"]:
            if mount["type"] == "volume" and mount is not secrets and (name, mount["source"]) != ("risk", "risk-kept"):
                assert mount["source"] == ("data" if name == "store" else name.replace("-store", "-data")), name
    prepared = {mount.partition(":")[0] for mount in SERVICES["prepare"]["volumes"]}
    assert prepared | {"prometheus-data", "grafana-data", "risk-kept"} == set(COMPOSE["volumes"])


def test_risk_keeps_its_snapshots_in_a_volume_where_its_data_is() -> None:
    (kept,) = [mount for mount in SERVICES["risk"]["volumes"] if mount["source"] == "risk-kept"]
    dockerfile = (HERE.parent / "image" / "Dockerfile").read_text(encoding="utf-8")
    assert f"LUXOR_DATA_DIR={kept['target']}\n" in dockerfile.replace(" ", "\n")
    assert not kept.get("read_only")
    assert "LUXOR_DATA_DIR" not in SERVICES["risk"]["environment"]


def test_risk_has_a_secret_that_the_job_makes_and_lists_from_a_directory_of_the_operators(tmp_path: Path) -> None:
    risk = SERVICES["risk"]
    prepare(tmp_path)
    (secrets,) = [mount for mount in risk["volumes"] if mount["target"] == "/run/luxor"]
    secret = tmp_path / secrets["source"] / risk["environment"]["LUXOR_RISK_SECRET_FILE"].removeprefix("/run/luxor/")
    assert len(bytes.fromhex(secret_of(secret.read_bytes()).decode())) == 32
    (files,) = [mount for mount in risk["volumes"] if mount["type"] == "bind"]
    assert (files["target"], files["read_only"]) == ("/etc/luxor/risk", True)
    # A directory that is misspelt is refused, not made.
    assert files["bind"] == {"create_host_path": False}
    match = re.fullmatch(r"\$\{LUXOR_RISK_FILES:-(.+)\}", files["source"])
    assert match
    assert (HERE / match.group(1)).is_dir()
    for name in ("LISTS", "CONTROLS", "PROFILE"):
        assert risk["environment"][f"LUXOR_RISK_{name}"] == f"${{LUXOR_RISK_{name}:-}}"
    assert not [name for name, each in SERVICES.items() if name != "risk" and "LUXOR_RISK_LISTS" in str(each)]


def test_revenue_takes_law_and_rates_from_a_directory_of_the_operators() -> None:
    revenue = SERVICES["revenue"]
    (files,) = [mount for mount in revenue["volumes"] if mount["type"] == "bind"]
    assert (files["target"], files["read_only"]) == ("/etc/luxor/revenue", True)
    assert files["bind"] == {"create_host_path": False}
    match = re.fullmatch(r"\$\{LUXOR_REVENUE_FILES:-(.+)\}", files["source"])
    assert match
    assert (HERE / match.group(1)).is_dir()
    for name in ("RULEBOOKS", "RATES"):
        assert revenue["environment"][f"LUXOR_REVENUE_{name}"] == f"${{LUXOR_REVENUE_{name}:-}}"


def test_ingestion_takes_checks_of_filings_from_a_directory_of_the_operators() -> None:
    ingestion = SERVICES["ingestion"]
    (files,) = [mount for mount in ingestion["volumes"] if mount["type"] == "bind"]
    assert (files["target"], files["read_only"]) == ("/etc/luxor/ingestion", True)
    assert files["bind"] == {"create_host_path": False}
    match = re.fullmatch(r"\$\{LUXOR_INGESTION_FILES:-(.+)\}", files["source"])
    assert match
    assert (HERE / match.group(1)).is_dir()
    assert ingestion["environment"]["LUXOR_INGESTION_FILING_CHECKS"] == "${LUXOR_INGESTION_FILING_CHECKS:-}"


def test_clearance_takes_texts_of_notices_from_a_directory_of_the_operators() -> None:
    clearance = SERVICES["clearance"]
    (files,) = [mount for mount in clearance["volumes"] if mount["type"] == "bind"]
    assert (files["target"], files["read_only"]) == ("/etc/luxor/clearance", True)
    assert files["bind"] == {"create_host_path": False}
    match = re.fullmatch(r"\$\{LUXOR_CLEARANCE_FILES:-(.+)\}", files["source"])
    assert match
    assert (HERE / match.group(1)).is_dir()
    for name in (
        "LUXOR_CLEARANCE_NOTICE_TEXTS",
        "LUXOR_CLEARANCE_PRE_LOADING",
        "LUXOR_CLEARANCE_GOODS_CONTROLS",
        "LUXOR_CLEARANCE_PRESENTATION",
        "LUXOR_CLEARANCE_TRANSIT",
    ):
        assert clearance["environment"][name] == f"${{{name}:-}}"


def test_one_image_runs_all_of_ours_and_images_of_others_are_pinned_and_may_be_replaced() -> None:
    for name, each in SERVICES.items():
        match = re.fullmatch(r"\$\{(LUXOR_[A-Z_]*IMAGE):-([^:}]+):([^:}]+)\}", each["image"])
        assert match, (name, each["image"])
        variable, _, tag = match.groups()
        assert tag != "latest", name
        assert re.search(r"\d", tag), name
        ours = name not in OBSERVERS and not name.endswith("store")
        assert (variable == "LUXOR_IMAGE") == ours, name


def test_the_image_is_of_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version
    assert SERVICES["ingestion"]["image"] == f"${{LUXOR_IMAGE:-luxor:{version.group(1)}}}"


def test_stores_are_durable_and_stop_by_the_fast_shutdown() -> None:
    lines = (HERE / "store.conf").read_text(encoding="utf-8").splitlines()
    told = dict(
        (part.strip() for part in line.partition("#")[0].split("=", 1))
        for line in lines
        if "=" in line.partition("#")[0]
    )
    assert told["fsync"] == told["synchronous_commit"] == told["full_page_writes"] == "on"
    assert told["max_locks_per_transaction"] == "2048"
    assert told["max_prepared_transactions"] == "0"
    assert told["ssl"] == "on"
    rules = [
        line.split()
        for line in (HERE / "store-hba.conf").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert rules == [["local", "all", "all", "trust"], ["hostssl", "sameuser", "all", "all", "scram-sha-256"]]
    for name in ("store", *(f"{service}-store" for service in PORTS)):
        assert SERVICES[name]["stop_signal"] == "SIGINT"


def test_the_entrypoint_of_stores_is_sound_shell() -> None:
    for script in HERE.glob("*.sh"):
        assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    text = (HERE / "store.sh").read_text(encoding="utf-8")
    assert "eval" not in text


def test_traces_that_jaeger_keeps_fit_into_its_memory() -> None:
    jaeger = yaml.safe_load((HERE / "jaeger.yaml").read_text(encoding="utf-8"))
    kept = jaeger["extensions"]["jaeger_storage"]["backends"]["newest"]["memory"]["max_traces"]
    assert SERVICES["jaeger"]["deploy"]["resources"]["limits"]["memory"] == "512m"
    assert kept * 64 * 1024 <= 350 * 1024 * 1024


def test_the_collector_and_jaeger_listen_and_dial_as_the_map_draws() -> None:
    drawn = deployment_map.read()
    collector = yaml.safe_load((HERE / "collector.yaml").read_text(encoding="utf-8"))
    jaeger = yaml.safe_load((HERE / "jaeger.yaml").read_text(encoding="utf-8"))
    assert collector["receivers"]["otlp"]["protocols"] == {
        "grpc": {"endpoint": f"collector-otlp:{drawn.parts['collector'].ports['otlp']}"}
    }
    assert collector["exporters"]["otlp"]["endpoint"] == f"jaeger-otlp:{drawn.parts['jaeger'].ports['otlp']}"
    assert jaeger["receivers"]["otlp"]["protocols"] == {
        "grpc": {"endpoint": f"jaeger-otlp:{drawn.parts['jaeger'].ports['otlp']}"}
    }
    assert (
        jaeger["extensions"]["jaeger_query"]["http"]["endpoint"] == f"jaeger-web:{drawn.parts['jaeger'].ports['web']}"
    )
    for each in (collector, jaeger):
        for pipeline in each["service"]["pipelines"].values():
            for kind in ("receivers", "processors", "exporters"):
                assert set(pipeline[kind]) <= set(each[kind])
        assert set(each["service"].get("extensions", [])) == set(each.get("extensions", {}))
    assert drawn.allowed("collector", "jaeger", "otlp")


def test_the_configurations_that_compose_mounts_are_there() -> None:
    for each in COMPOSE["configs"].values():
        assert (HERE / each["file"]).is_file(), each
    used = {config["source"] for each in SERVICES.values() for config in each.get("configs", [])}
    assert used == set(COMPOSE["configs"])
    for name in OBSERVERS:
        for mount in SERVICES[name].get("volumes", []):
            if isinstance(mount, dict) and mount["type"] == "bind":
                assert (HERE / mount["source"]).resolve().is_dir(), mount
                assert mount["read_only"] is True


def test_grafanas_administrator_has_a_password_from_a_file_that_nobody_else_mounts() -> None:
    grafana = SERVICES["grafana"]
    # An empty variable is none to Grafana, which takes admin/admin then; with both, its entrypoint refuses to start.
    assert "GF_SECURITY_ADMIN_PASSWORD" not in grafana["environment"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/luxor/admin-password"
    assert grafana["user"] == "472:0"
    assert grafana["group_add"] == [SERVICES["prepare"]["user"].partition(":")[2]]
    assert grafana["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}
    (mount,) = [each for each in grafana["volumes"] if isinstance(each, dict) and each["target"] == "/run/luxor"]
    assert (mount["source"], mount["read_only"]) == ("grafana", True)
    for name, each in SERVICES.items():
        mounts = [
            str(mount) for mount in each.get("volumes", []) if "grafana:" in str(mount) or "'grafana'" in str(mount)
        ]
        assert bool(mounts) == (name in {"grafana", "prepare", "renew"}), name


def test_prometheus_and_grafana_listen_in_the_networks_that_they_are_dialled_in() -> None:
    listened = [word.partition("=")[2] for word in SERVICES["prometheus"]["command"] if "listen-address" in word]
    assert listened == ["prometheus-web:9090", "prometheus-outside:9090"]
    assert SERVICES["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "grafana-outside"


def test_a_store_has_its_server_read_a_renewed_certificate(tmp_path: Path) -> None:
    """The very function of store.sh, against a process that tells when it is signalled."""
    text = (HERE / "store.sh").read_text(encoding="utf-8")
    functions = "\n".join(re.findall(r"^(?:say|stamp|reload_when_renewed)\(\).*?(?:^\}$|\}$)", text, re.M | re.S))
    (tmp_path / "tls").mkdir()
    for name in ("tls.key", "tls.crt"):
        (tmp_path / "tls" / name).write_text("old")
    server = subprocess.Popen(
        [sys.executable, "-c", "import signal\nsignal.signal(signal.SIGHUP, lambda *_: print('read', flush=True))\n"
         "print('up', flush=True)\nwhile True: signal.pause()"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watcher = None
    guard = threading.Timer(30, server.kill)
    guard.start()
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        script = f"set -eu\nSECRETS={tmp_path}\nSTORE_LOOK_SECONDS=0.1\n{functions}\nreload_when_renewed {server.pid}\n"
        script = script.replace("seen=$(stamp)\n    while", "seen=$(stamp)\n    echo looks\n    while")
        watcher = subprocess.Popen(
            ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert watcher.stdout is not None
        assert watcher.stderr is not None
        assert watcher.stdout.readline() == "looks\n"
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").replace(tmp_path / "tls" / "tls.crt")
        assert server.stdout.readline() == "read\n"
        assert json.loads(watcher.stderr.readline())["reason"] == "CERTIFICATE_RENEWED"
    finally:
        guard.cancel()
        for process in filter(None, (server, watcher)):
            process.kill()
            process.communicate()
    assert "reload_when_renewed $$ &\nexec " in text
