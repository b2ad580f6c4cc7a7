"""The chart's network policies allow what deploy/map.yaml draws, each connection once, and nothing else."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.charts import SERVICES, of, rendered
from tests.support.network import Endpoint, Network
from tools import chart

MAP = yaml.safe_load((chart.ROOT / "deploy" / "map.yaml").read_text(encoding="utf-8"))
PARTS: dict[str, dict[str, Any]] = MAP["parts"]
STORE_ADDRESSES = {f"{service}-store": f"198.51.100.{number}" for number, service in enumerate(SERVICES, start=1)}
BY_URL = (
    'stores={"by": "url", "url": {"port": 6432}}',
    *(
        f'services.{store.removesuffix("-store")}.store.peers=[{{"ipBlock": {{"cidr": "{address}/32"}}}}]'
        for store, address in STORE_ADDRESSES.items()
    ),
)
PROBED_PORTS = sorted(
    {port for part in PARTS.values() for port in part.get("ports", {}).values()} | {22, 53, 443, 6432, 6443, 8000, 9187}
)


def luxor(part: str) -> dict[str, str]:
    """Return the labels that a pod of ours has; those of a caller are what the operator's guide says to set."""
    return {
        "app.kubernetes.io/name": "luxor",
        "app.kubernetes.io/instance": chart.RELEASE,
        "app.kubernetes.io/component": part,
    }


def endpoints(documents: list[dict[str, Any]]) -> dict[str, Endpoint]:
    """Return what may stand in the cluster and around it: ours from the rendered pods, the rest from the values."""
    numbers = itertools.count(1)

    def pod(name: str, labels: dict[str, str], namespace: str = chart.NAMESPACE) -> Endpoint:
        return Endpoint(name, namespace, f"10.244.0.{next(numbers)}", labels)

    found = [
        pod(name, each["spec"]["template"]["metadata"]["labels"]) for name, each in of(documents, "Deployment").items()
    ]
    found += [pod(name, each["spec"]["template"]["metadata"]["labels"]) for name, each in of(documents, "Job").items()]
    stores = of(documents, "Cluster")
    found += [
        pod(name, {"cnpg.io/cluster": f"{chart.RELEASE}-{name}", "cnpg.io/podRole": "instance"}) for name in stores
    ]
    if not stores:
        found += [Endpoint(store, "", address) for store, address in STORE_ADDRESSES.items()]
    found += [pod(part, luxor(part)) for part, each in PARTS.items() if each["kind"] == "caller"]
    found += [
        pod("unnamed", luxor("unnamed")),
        pod("stranger", {"app": "stranger"}),
        pod("collector", {"app.kubernetes.io/name": "opentelemetry-collector"}, "monitoring"),
        pod("prometheus", {"app.kubernetes.io/name": "prometheus"}, "monitoring"),
        pod("grafana", {"app.kubernetes.io/name": "grafana"}, "monitoring"),
        pod("jaeger", {"app.kubernetes.io/name": "jaeger"}, "monitoring"),
        pod("name-server", {"k8s-app": "kube-dns"}, "kube-system"),
        pod("cnpg-operator", {"app.kubernetes.io/name": "cloudnative-pg"}, "cnpg-system"),
        pod("clearance of another namespace", luxor("clearance"), "elsewhere"),
        Endpoint("outside", "", "203.0.113.9"),
        Endpoint("outside elsewhere", "", "198.18.0.7"),
        Endpoint("kubernetes", "", "192.0.2.17"),
    ]
    return {each.name: each for each in found}


def drawn(by_url: bool) -> Iterator[tuple[str, str, str, int]]:
    """Yield what the map draws, as source, target, protocol and port."""
    for each in MAP["connections"]:
        port = PARTS[each["to"]]["ports"][each["port"]]
        if by_url and PARTS[each["to"]]["kind"] == "store":
            port = 6432
        yield from ((source, each["to"], "TCP", port) for source in each["from"])


def beside(documents: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, int]]:
    """Yield what the map draws for Kubernetes and its operators, as source, target, protocol and port."""
    migrations = {f"{service}-store": f"{service}-migration" for service in SERVICES}
    callers = [part for part, each in PARTS.items() if each["kind"] == "caller"]
    clusters = list(of(documents, "Cluster"))
    for line in MAP["kubernetes"]:
        for source in line["from"]:
            if line["to"] == "name-servers":
                ours = {"service": SERVICES, "caller": callers, "store": clusters, "migration": migrations.values()}
                yield from ((each, "name-server", protocol, 53) for each in ours[source] for protocol in ("UDP", "TCP"))
            elif source == "migration":
                yield from (
                    (migration, store, "TCP", port if clusters else 6432)
                    for store, migration in migrations.items()
                    for port in line["ports"]
                )
            elif line["to"] == "kubernetes-api":
                yield from ((store, "kubernetes", "TCP", 6443) for store in clusters)
            else:
                yield from (
                    (store if source == "store" else source, store, "TCP", port)
                    for store in clusters
                    for port in line["ports"]
                )


CASES = [("country", ()), ("union", ()), ("country", BY_URL)]


@pytest.mark.parametrize(("size", "sets"), CASES, ids=["country", "union", "country by URL"])
def test_what_is_drawn_is_allowed_and_nothing_else(size: str, sets: tuple[str, ...]) -> None:
    documents = rendered(size, sets=sets)
    network = Network(chart.NAMESPACE, tuple(of(documents, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    expected = {*drawn(bool(sets)), *beside(documents)}
    ours = {name for name, each in all_of_them.items() if network.ours(each)}
    assert set(SERVICES) <= ours

    allowed = {
        (source.name, target.name, protocol, port)
        for source, target in itertools.product(all_of_them.values(), repeat=2)
        if {source.name, target.name} & ours
        for protocol in ("TCP", "UDP")
        for port in PROBED_PORTS
        if network.allows(source, target, protocol, port)
    }

    assert allowed - expected == set(), "allowed, though nobody draws it"
    concerns_us = {each for each in expected if {each[0], each[1]} & ours}
    assert concerns_us - allowed == set(), "drawn, but not allowed"


@pytest.mark.parametrize(("size", "sets"), CASES, ids=["country", "union", "country by URL"])
def test_each_connection_has_one_allowance_at_each_end_that_is_ours(size: str, sets: tuple[str, ...]) -> None:
    documents = rendered(size, sets=sets)
    network = Network(chart.NAMESPACE, tuple(of(documents, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    looked_at = 0
    for source, target, protocol, port in drawn(bool(sets)):
        one, other = all_of_them[source], all_of_them[target]
        out = network.allowances(one, other, "Egress", protocol, port)
        into = network.allowances(other, one, "Ingress", protocol, port)
        assert (out, into) in {(1, 1), (1, None), (None, 1), (None, None)}, f"{source} → {target}:{port}: {out}, {into}"
        if (out, into) == (None, None):
            # Neither end is the chart's: what watches Luxor, and people's browsers.
            kinds = {PARTS.get(end, {"kind": "outside"})["kind"] for end in (source, target)}
            assert kinds <= {"observer", "outside"}
        looked_at += 1
    assert looked_at >= len(MAP["connections"])


def test_nobody_from_outside_gets_in_where_values_name_nobody() -> None:
    documents = rendered("laptop")
    network = Network(chart.NAMESPACE, tuple(of(documents, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    for stranger in (
        "outside",
        "outside elsewhere",
        "stranger",
        "clearance of another namespace",
        "unnamed",
        "grafana",
    ):
        for service in SERVICES:
            for port in PROBED_PORTS:
                assert not network.allows(all_of_them[stranger], all_of_them[service], "TCP", port)
    assert network.allows(all_of_them["command-line"], all_of_them["ingestion"], "TCP", 7401)


def test_what_stays_when_the_release_is_removed_still_shuts_the_databases_off() -> None:
    documents = rendered("country")
    kept = [
        each
        for each in documents
        if (each["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
    ]
    stores = of(kept, "Cluster")
    assert len(stores) == len(SERVICES)
    network = Network(chart.NAMESPACE, tuple(of(kept, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    for store in stores:
        for port in (5432, 8000):
            assert network.allows(all_of_them[store], all_of_them[store], "TCP", port)
            assert network.allows(all_of_them["cnpg-operator"], all_of_them[store], "TCP", port)
            for stranger in ("stranger", "outside", "clearance of another namespace", "unnamed"):
                assert not network.allows(all_of_them[stranger], all_of_them[store], "TCP", port), stranger
        assert network.allows(all_of_them[store], all_of_them["kubernetes"], "TCP", 6443)
    # A pod with the labels of a release that is gone gets nowhere.
    assert not network.allows(all_of_them["unnamed"], all_of_them["kubernetes"], "TCP", 6443)
    assert not network.allows(all_of_them["stranger"], all_of_them["unnamed"], "TCP", 7401)
    by_url = rendered("country", sets=BY_URL)
    assert not [each for each in by_url if "helm.sh/resource-policy" in (each["metadata"].get("annotations") or {})]


@pytest.mark.parametrize("size", chart.SIZES)
def test_no_store_may_dial_the_internet(size: str) -> None:
    documents = rendered(size)
    network = Network(chart.NAMESPACE, tuple(of(documents, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    for address in ("1.1.1.1", "203.0.113.9", "198.18.0.7"):
        for name in (*of(documents, "Cluster"), *SERVICES):
            for port in (443, 6443, 8443):
                assert not network.allows(all_of_them[name], Endpoint("far", "", address), "TCP", port), name


def test_the_address_of_kubernetes_has_to_be_named_where_stores_need_it() -> None:
    nowhere = "networkPolicies.kubernetesApi.peers=[]"
    rendered("laptop")
    for size in chart.SIZES:
        with pytest.raises(chart.ChartError, match="kubectl get endpoints kubernetes"):
            chart.render(size, sets=(nowhere,))
    assert of(rendered("country", sets=(*BY_URL, nowhere)), "NetworkPolicy")
    assert of(rendered("laptop", sets=(nowhere, "networkPolicies.enabled=false")), "Cluster")


def test_name_servers_may_be_on_the_node_and_on_another_port() -> None:
    peers = (
        '[{"ipBlock": {"cidr": "169.254.20.10/32"}}, {"namespaceSelector": {"matchLabels": '
        '{"kubernetes.io/metadata.name": "openshift-dns"}}}]'
    )
    sets = (f'networkPolicies.dns={{"peers": {peers}, "ports": [53, 5353]}}',)
    documents = rendered("country", sets=sets)
    network = Network(chart.NAMESPACE, tuple(of(documents, "NetworkPolicy").values()))
    all_of_them = endpoints(documents)
    on_the_node = Endpoint("node-local", "", "169.254.20.10")
    of_openshift = Endpoint("dns", "openshift-dns", "10.244.0.250", {"any": "label"})
    for name in (*SERVICES, *of(documents, "Cluster"), "risk-migration", "command-line"):
        for protocol in ("UDP", "TCP"):
            assert network.allows(all_of_them[name], on_the_node, protocol, 53)
            assert network.allows(all_of_them[name], of_openshift, protocol, 5353)
            assert not network.allows(all_of_them[name], all_of_them["name-server"], protocol, 53)


def test_no_rule_is_open_to_all() -> None:
    for size in chart.SIZES:
        for name, policy in of(rendered(size), "NetworkPolicy").items():
            assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"], name
            for rules, side in (("ingress", "from"), ("egress", "to")):
                for rule in policy["spec"].get(rules) or []:
                    assert rule[side], f"{size}: {name}: {rule} has no peers, so it is open to everybody"
                    assert rule["ports"], f"{size}: {name}: {rule} has no ports, so it is open on each"


def test_the_simulation_itself_denies_and_allows() -> None:
    web = Endpoint("web", "shop", "10.0.0.1", {"app": "web"})
    other = Endpoint("other", "shop", "10.0.0.2", {"app": "other"})
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "other"}}}], "ports": [{"protocol": "TCP", "port": 80}]}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    network = Network("shop", ({"spec": spec},))
    assert network.allows(other, web, "TCP", 80)
    assert not network.allows(other, web, "TCP", 81)
    assert not network.allows(other, web, "UDP", 80)
    assert not network.allows(web, web, "TCP", 80)
    assert network.allows(web, other, "TCP", 81)
