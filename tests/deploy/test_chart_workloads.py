"""What the chart's pods are given is what the services of this source read, listen on and trust."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.server.config.server_config import PORTS, Neighbours, ServerConfig
from libs.server.config.variables import check_foreign, unknown_variables
from libs.server.identity import ID_CHARACTERS_MAX, Role, is_id
from libs.server.process import health
from libs.server.transport.revocation_lists import revoke
from libs.server.transport.revocations import Revocations
from libs.server.transport.tls import LocalCA
from libs.telemetry.setup import TelemetryConfig
from tests.support.charts import SERVICES, environ, of, rendered
from tools import chart, configuration

MAP = yaml.safe_load((chart.ROOT / "deploy" / "map.yaml").read_text(encoding="utf-8"))
README = chart.CHART / "README.md"


def container(name: str, *sizes: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = of(rendered(*sizes, **more), "Deployment")[name]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("size", chart.SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_its_environment(size: str, service: str, tmp_path: Path) -> None:
    pod = container(service, size)
    (tmp_path / "url").write_text("postgresql://luxor:secret@luxor-store-rw.customs:5432/app", encoding="utf-8")
    (tmp_path / "ca.crt").write_text("a certificate", encoding="utf-8")
    given = {
        name: value.replace("/etc/luxor/database", str(tmp_path))
        for name, value in environ(pod["containers"][0]).items()
    }

    configuration.load()
    config = ServerConfig.from_environ(service, given)
    assert not unknown_variables(service, given)
    check_foreign(given)
    assert config.host == "0.0.0.0"  # in a pod
    assert config.migrate is False
    assert (config.port, config.health_port, config.metrics_port) == tuple(
        MAP["parts"][service]["ports"][port] for port in ("grpc", "probe", "metrics")
    )
    assert config.port == PORTS[service]
    # Pause, drain, and what the end of the process takes beside.
    assert pod["terminationGracePeriodSeconds"] >= config.drain_pause_seconds + config.drain_seconds + 10
    assert TelemetryConfig.from_environ(service, given).trace_ratio <= 0.01
    assert ("OTEL_EXPORTER_OTLP_ENDPOINT" in given) is (size != "laptop")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_whom_the_map_lets_it_dial(service: str) -> None:
    given = environ(container(service, "country")["containers"][0])
    dialled = {each["to"] for each in MAP["connections"] if service in each["from"] and each["port"] == "grpc"}
    assert {name for name in given if name.endswith("_TARGET")} == {f"LUXOR_{each.upper()}_TARGET" for each in dialled}
    targets = Neighbours.from_environ(service, given)
    services, certificates = of(rendered("country"), "Service"), of(rendered("country"), "Certificate")
    for neighbour in dialled:
        host, port = getattr(targets, neighbour).removeprefix("dns:///").rsplit(":", 1)
        name, namespace, kind = host.split(".")
        assert (namespace, kind, int(port)) == (chart.NAMESPACE, "svc", PORTS[neighbour])
        headless = services[name.removeprefix(f"{chart.RELEASE}-")]["spec"]
        assert headless["clusterIP"] == "None"
        assert headless["selector"]["app.kubernetes.io/component"] == neighbour
        assert host in certificates[f"tls-service-{neighbour}"]["spec"]["dnsNames"]


@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_of_the_store_makes_a_pod_unready_and_restarts_nothing(service: str) -> None:
    (served,) = container(service, "country")["containers"]
    port = MAP["parts"][service]["ports"]["probe"]
    assert served["startupProbe"]["grpc"] == served["livenessProbe"]["grpc"] == {"port": port, "service": health.ALIVE}
    assert served["readinessProbe"]["grpc"] == {"port": port}


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ('certificates.trust={"configMap": "roots", "key": "bundle.pem"}',),
        ('certificates.revoked={"configMap": "lists", "key": "list.pem"}',),
    ],
)
def test_the_mounted_certificates_are_a_tls_directory(sets: tuple[str, ...], tmp_path: Path) -> None:
    pod = container("clearance", "country", sets=sets)
    spec = of(rendered("country", sets=sets), "Certificate")["tls-service-clearance"]["spec"]
    assert spec["uris"] == ["spiffe://luxor/service/clearance"]
    assert spec["usages"] == ["digital signature", "client auth", "server auth"]
    # What cert-manager puts into the Secret: made by a CA of ours, mounted as the pod says.
    issued = LocalCA(tmp_path / "issuer").issue(Role.SERVICE, "clearance", spec["dnsNames"])
    secret = {
        "ca.crt": issued.roots.read_bytes(),
        "tls.crt": (issued.directory / "tls.crt").read_bytes(),
        "tls.key": (issued.directory / "tls.key").read_bytes(),
    }
    lists = {"list.pem": revoke(LocalCA(tmp_path / "issuer"), [7]).read_bytes()}
    content = {spec["secretName"]: secret, "roots": {"bundle.pem": secret["ca.crt"]}, "lists": lists}
    mounted = tmp_path / "tls"
    (volume,) = [each for each in pod["volumes"] if each["name"] == "tls"]
    for source in volume["projected"]["sources"]:
        (projected,) = source.values()
        for item in projected["items"]:
            path = mounted / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content[projected["name"]][item["key"]])
    before = sorted(mounted.rglob("*"))
    Revocations(mounted).read()
    assert (mounted / "ca.crl").exists() == any("revoked" in each for each in sets)

    party = LocalCA(mounted).issue(Role.SERVICE, "clearance", ["localhost", "luxor-clearance", "a-pod-of-today"])

    assert party.load().certificates == secret["tls.crt"]
    assert party.load().roots == secret["ca.crt"]
    assert sorted(mounted.rglob("*")) == before, "a mounted directory cannot be written"


def test_an_upgrade_that_changes_nothing_replaces_no_pod() -> None:
    for sets in ((), ("migrations.hook=false",)):
        assert of(rendered("country", sets=sets), "Deployment") == of(
            rendered("country", sets=sets, upgrade=True), "Deployment"
        )
    both = [rendered("laptop", upgrade=upgrade) for upgrade in (False, True)]
    for kind in {each["kind"] for each in both[1]} - {"Job"}:
        assert of(both[0], kind) == of(both[1], kind)


def test_the_hook_migrates_before_an_upgrade_and_each_pod_what_is_left() -> None:
    later = rendered("country", upgrade=True)
    for service in SERVICES:
        (step,) = of(later, "Deployment")[service]["spec"]["template"]["spec"]["initContainers"]
        assert step["args"] == ["migrate", service, "--seconds", "600"]
        job = of(later, "Job")[f"{service}-migration"]
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
        (migration,) = job["spec"]["template"]["spec"]["containers"]
        assert migration["args"][:2] == ["migrate", service]
        assert "--wait" not in migration["args"]
        # The same database, by the same account and the same image as the service's.
        (served,) = of(later, "Deployment")[service]["spec"]["template"]["spec"]["containers"]
        assert migration["image"] == served["image"]
        assert environ(migration) == environ(served)
    by_pods = of(rendered("country", sets=("migrations.hook=false",), upgrade=True), "Deployment")
    (step,) = by_pods["risk"]["spec"]["template"]["spec"]["initContainers"]
    assert "--wait" not in step["args"]
    assert not of(rendered("country", sets=("migrations.hook=false",), upgrade=True), "Job")


def test_jobs_are_neither_served_nor_counted_as_replicas() -> None:
    documents = rendered("country", upgrade=True)
    for name, job in of(documents, "Job").items():
        labels = job["spec"]["template"]["metadata"]["labels"]
        for kind in ("Service", "Deployment", "PodDisruptionBudget"):
            for other in of(documents, kind).values():
                selector = other["spec"]["selector"]
                wanted = selector.get("matchLabels", selector)
                assert not wanted.items() <= labels.items(), f"{kind} {other['metadata']['name']} selects {name}"


@pytest.mark.parametrize(
    ("by", "kind", "replicas"),
    [("keda", "ScaledObject", None), ("cpu", "HorizontalPodAutoscaler", None), ("none", "", 3)],
)
def test_replicas_are_said_by_one_alone(by: str, kind: str, replicas: int | None) -> None:
    documents = rendered("country", sets=(f'autoscaling.by="{by}"',))
    assert [each["spec"].get("replicas") for each in of(documents, "Deployment").values()] == [replicas] * 5
    for other in {"ScaledObject", "HorizontalPodAutoscaler"} - {kind}:
        assert not of(documents, other)
    for name, each in of(documents, kind).items() if kind else ():
        assert each["spec"]["scaleTargetRef"]["name"] == f"luxor-{name}"
    assert [finding for each in documents for finding in chart.validate(each)] == []


def test_scaling_asks_for_metrics_that_the_services_have() -> None:
    queries = [
        trigger["metadata"]["query"]
        for each in of(rendered("country"), "ScaledObject").values()
        for trigger in each["spec"]["triggers"]
    ]
    assert 'sum(luxor_calls_in_flight{kind=~"call|service_call",namespace="customs",service="risk"})' in queries
    assert 'max(luxor_feed_lag_seconds{namespace="customs",service="clearance"})' in queries
    source = "".join(path.read_text(encoding="utf-8") for path in (chart.ROOT / "libs").rglob("*.py"))
    for metric in {query.partition("(")[2].partition("{")[0] for query in queries}:
        assert f'"{metric}"' in source
    # Who consumes a feed by the map has a lag, and nobody else.
    feeds = {each["from"][0] for each in MAP["connections"] if "feed" in each["for"]}
    lagging = {
        name for name, each in of(rendered("country"), "ScaledObject").items() if len(each["spec"]["triggers"]) == 2
    }
    assert lagging == feeds


def test_databases_outlive_the_release_and_keep_what_was_acknowledged() -> None:
    for size in ("country", "union"):
        for each in of(rendered(size), "Cluster").values():
            assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
            assert each["spec"]["instances"] >= 3
            assert each["spec"]["postgresql"]["synchronous"] == {
                "method": "any",
                "number": 1,
                "dataDurability": "required",
            }
            assert each["spec"]["postgresql"]["parameters"]["max_prepared_transactions"] == "0"
            assert each["spec"]["postgresql"]["parameters"]["max_locks_per_transaction"] == "2048"


def test_a_laptop_needs_no_catalogue_of_images_and_others_pin_theirs() -> None:
    for name, each in of(rendered("laptop"), "Cluster").items():
        assert not {"imageName", "imageCatalogRef"} & set(each["spec"]), f"{name}: the operator has an image of its own"
        assert list(chart.validate(each)) == []
    for size in ("country", "union"):
        for each in of(rendered(size), "Cluster").values():
            assert each["spec"]["imageCatalogRef"]["name"] == "postgresql"
    by_image = of(rendered("country", sets=('stores.cnpg.image="registry.example/postgresql:17.6"',)), "Cluster")
    assert by_image["risk-store"]["spec"]["imageName"] == "registry.example/postgresql:17.6"
    assert "imageCatalogRef" not in by_image["risk-store"]["spec"]
    written, *_ = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    catalog, defaults = (
        yaml.safe_load(written),
        yaml.safe_load((chart.CHART / "values.yaml").read_text(encoding="utf-8")),
    )
    named = defaults["stores"]["cnpg"]["catalog"]
    assert (catalog["kind"], catalog["metadata"]["name"]) == (named["kind"], named["name"])
    assert [each["major"] for each in catalog["spec"]["images"]] == [named["major"]]


def test_a_certificate_of_a_party_has_its_identity_and_may_not_serve() -> None:
    found = of(rendered("laptop"), "Certificate")
    spec = found["tls-filer-filer-1"]["spec"]
    assert spec["uris"] == ["spiffe://luxor/filer/filer-1"]
    assert spec["usages"] == ["digital signature", "client auth"]
    assert "dnsNames" not in spec


def test_every_id_that_a_party_may_have_gets_a_certificate_of_its_own() -> None:
    ids = ["DE", "de", "De", "acme.example_1", "a" * ID_CHARACTERS_MAX, "1"]
    parties = [{"role": role, "id": each} for role in Role if role is not Role.SERVICE for each in ids]
    found = of(rendered("laptop", sets=(f"certificates.parties={json.dumps(parties)}",)), "Certificate")
    uris = [uri for each in found.values() for uri in each["spec"]["uris"]]
    issued = [uri for uri in uris if uri != "spiffe://luxor" and "/service/" not in uri]
    assert sorted(issued) == sorted(f"spiffe://luxor/{each['role']}/{each['id']}" for each in parties)
    names = [each["spec"]["secretName"] for each in found.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in names), names
    for wrong in ("", "-a", "a" * (ID_CHARACTERS_MAX + 1), "a/b", "ä"):
        assert not is_id(wrong)
        with pytest.raises(chart.ChartError):
            chart.render("laptop", sets=(f"certificates.parties={json.dumps([{'role': 'filer', 'id': wrong}])}",))


def test_the_image_is_named_by_its_digest_where_there_is_one() -> None:
    digest = "sha256:" + "ab" * 32
    documents = rendered("country", sets=(f'image={{"repository": "registry.example/luxor", "digest": "{digest}"}}',))
    for each in of(documents, "Deployment").values():
        for one in [
            *each["spec"]["template"]["spec"]["containers"],
            *each["spec"]["template"]["spec"]["initContainers"],
        ]:
            assert one["image"] == f"registry.example/luxor@{digest}"


def test_a_database_by_url_is_read_from_its_secret() -> None:
    sets = ('stores.by="url"', 'services.risk.store.secret="risk-at-the-bank"')
    documents = rendered("country", sets=sets)
    assert not of(documents, "Cluster")
    for service, secret in (("risk", "risk-at-the-bank"), ("revenue", "luxor-revenue-database")):
        (volume,) = [
            each
            for each in of(documents, "Deployment")[service]["spec"]["template"]["spec"]["volumes"]
            if each["name"] == "database"
        ]
        (source,) = volume["projected"]["sources"]
        assert source["secret"]["name"] == secret
        assert {item["path"] for item in source["secret"]["items"]} == {"url", "ca.crt"}
    without = of(rendered("country", sets=(*sets, "stores.url.ca=false")), "Deployment")["risk"]["spec"]["template"][
        "spec"
    ]
    assert "LUXOR_DATABASE_CA" not in environ(without["containers"][0])


@pytest.mark.parametrize("size", ["country", "laptop", "union"])
def test_risk_keeps_its_snapshots_in_a_directory_that_its_storage_has_room_for(size: str) -> None:
    deployments = of(rendered(size), "Deployment")
    pod = deployments["risk"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "kept"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "kept"]
    assert environ(container)["LUXOR_RISK_DATA_DIR"] == mount["mountPath"]
    limits = container["resources"]["limits"]
    kept, memory, storage = (
        _mebibytes(amount)
        for amount in (volume["emptyDir"]["sizeLimit"], limits["memory"], limits["ephemeral-storage"])
    )
    assert kept >= memory
    assert storage >= kept + 64 + 16
    others = [name for name in deployments if name != "risk"]
    for name in others:
        assert not [each for each in deployments[name]["spec"]["template"]["spec"]["volumes"] if each["name"] == "kept"]


@pytest.mark.parametrize("size", ["country", "union"])
def test_risk_has_its_secret_from_a_secret_and_lists_from_a_claim_of_any_size(size: str) -> None:
    files = (
        '[{"secret": "luxor-risk-secret", "mountPath": "/etc/luxor/risk/secret"},'
        ' {"claim": "luxor-risk-lists", "mountPath": "/etc/luxor/risk/lists"},'
        ' {"configMap": "controls", "mountPath": "/etc/luxor/risk/controls"}]'
    )
    shipped = of(rendered(size), "Deployment")["risk"]["spec"]["template"]["spec"]
    documents = rendered(size, sets=(f"services.risk.files={files}",))
    pod = of(documents, "Deployment")["risk"]["spec"]["template"]["spec"]
    for each in (shipped, pod):
        volumes = {volume["name"]: volume for volume in each["volumes"]}
        (container,) = each["containers"]
        named = environ(container)["LUXOR_RISK_SECRET_FILE"]
        (mount,) = [mount for mount in container["volumeMounts"] if named.rpartition("/")[0] == mount["mountPath"]]
        assert mount["readOnly"] is True
        assert volumes[mount["name"]]["secret"] == {"secretName": "luxor-risk-secret", "defaultMode": 0o440}
    claim, config = (volume for volume in pod["volumes"] if volume["name"] in ("files-1", "files-2"))
    assert claim["persistentVolumeClaim"] == {"claimName": "luxor-risk-lists", "readOnly": True}
    assert config["configMap"] == {"name": "controls"}
    assert [finding for each in documents for finding in chart.validate(each)] == []


@pytest.mark.parametrize("entry", ['{"secret": "a", "claim": "b", "mountPath": "/x"}', '{"mountPath": "/x"}'])
def test_what_is_mounted_is_one_of_three(entry: str) -> None:
    with pytest.raises(chart.ChartError, match="files"):
        chart.render("country", sets=(f"services.risk.files=[{entry}]",))


def _mebibytes(amount: str) -> int:
    return int(amount[:-2]) * {"Mi": 1, "Gi": 1024}[amount[-2:]]


def test_large_numbers_stay_whole_numbers() -> None:
    sets = (
        "traces.slowMillis=3000000",
        "traces.ratio=0.000001",
        'settings={"LUXOR_MESSAGE_BYTES_MAX": 16777216, "LUXOR_REFLECTION": true}',
        "podSecurity.user=1000650000",
        "stores.cnpg.parameters.wal_segment_bytes=100000000",
    )
    documents = rendered("country", sets=sets)
    pod = of(documents, "Deployment")["risk"]["spec"]["template"]["spec"]
    given = environ(pod["containers"][0])
    assert (given["LUXOR_SLOW_MILLIS"], given["LUXOR_MESSAGE_BYTES_MAX"]) == ("3000000", "16777216")
    assert float(given["LUXOR_TRACE_RATIO"]) == 1e-6
    assert given["LUXOR_REFLECTION"] == "true"
    assert pod["securityContext"]["runAsUser"] == 1000650000
    assert (
        of(documents, "Cluster")["risk-store"]["spec"]["postgresql"]["parameters"]["wal_segment_bytes"] == "100000000"
    )
    assert [finding for each in documents for finding in chart.validate(each)] == []


def test_a_platform_that_gives_users_out_itself_is_left_to_it() -> None:
    pod = of(rendered("country", sets=("podSecurity.user=0",)), "Deployment")["risk"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_alerts_are_those_that_prometheus_has_in_compose() -> None:
    (rule,) = of(rendered("country"), "PrometheusRule").values()
    alerts = yaml.safe_load((chart.ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    assert rule["spec"]["groups"] == alerts["groups"]
    assert not of(rendered("laptop"), "PrometheusRule")


@pytest.mark.parametrize("base", ["https://docs.customs.example/runbooks", "https://docs.customs.example/runbooks/"])
def test_an_alert_leads_to_a_runbook_that_can_be_opened(base: str) -> None:
    (rule,) = of(rendered("country", sets=(f'monitoring.runbooks.baseUrl="{base}"',)), "PrometheusRule").values()
    told = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
    assert len(told) > 20
    for name, each in told.items():
        assert each["annotations"]["runbook_url"] == f"https://docs.customs.example/runbooks/{name}.md"
        assert each["expr"]
    with pytest.raises(chart.ChartError, match="baseUrl"):
        chart.render("country", sets=('monitoring.runbooks.baseUrl="docs/operating"',))


def test_metrics_bear_the_name_of_the_service_that_alerts_and_scaling_go_by() -> None:
    documents = rendered("country")
    services, stores = of(documents, "PodMonitor").values()
    (endpoint,) = services["spec"]["podMetricsEndpoints"]
    (relabelling,) = endpoint["relabelings"]
    assert relabelling["targetLabel"] == "service"
    source = relabelling["sourceLabels"][0].removeprefix("__meta_kubernetes_pod_label_")
    for name, each in of(documents, "Deployment").items():
        template = each["spec"]["template"]
        labels = {
            key.replace(".", "_").replace("/", "_"): value for key, value in template["metadata"]["labels"].items()
        }
        assert labels[source] == name
        assert services["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    (expression,) = stores["spec"]["selector"]["matchExpressions"]
    assert expression["values"] == [f"luxor-{name}" for name in of(documents, "Cluster")]


def test_each_dashboard_is_handed_to_grafana_as_it_is() -> None:
    files = {
        path.name: path.read_text(encoding="utf-8")
        for path in (chart.ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    }
    assert files
    maps = of(rendered("country"), "ConfigMap")
    assert {name: text for each in maps.values() for name, text in each["data"].items()} == files
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in maps.values()} == {"1"}
    # A release is kept in a Secret of at most a megabyte, and so is a ConfigMap.
    assert sum(map(len, files.values())) < 700_000
    assert not of(rendered("laptop"), "ConfigMap")


def test_a_backup_that_an_operator_describes_reaches_every_store_as_it_stands() -> None:
    backup = {"retentionPolicy": "30d", "volumeSnapshot": {"className": "csi-snapshots"}}
    plugins = [{"name": "barman-cloud.cloudnative-pg.io", "parameters": {"barmanObjectName": "store"}}]
    sets = (f"stores.cnpg.backup={json.dumps(backup)}", f"stores.cnpg.plugins={json.dumps(plugins)}")
    stores = of(rendered("country", sets=sets), "Cluster")
    assert len(stores) == 5
    assert all(each["spec"]["backup"] == backup and each["spec"]["plugins"] == plugins for each in stores.values())
    assert all("backup" not in each["spec"] for each in of(rendered("country"), "Cluster").values())
