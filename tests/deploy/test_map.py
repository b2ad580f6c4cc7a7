"""deploy/map.yaml: it is of one piece, Compose's networks are made from it, and services dial and listen as it draws."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.server.config.server_config import PORTS
from tests.deploy.doors import services
from tools import deployment_map
from tools.deployment_map import MapError, networks_of

COMPOSE = yaml.safe_load(deployment_map.COMPOSE.read_text(encoding="utf-8"))
DRAWN = deployment_map.read()


def members(network: str) -> set[str]:
    """The containers in a network of compose.yaml."""
    return {name for name, each in COMPOSE["services"].items() if network in (each.get("networks") or {})}


def test_networks_and_memberships_of_compose_are_those_that_the_map_makes() -> None:
    text = deployment_map.COMPOSE.read_text(encoding="utf-8")
    assert deployment_map.written(text, DRAWN) == text, "run python tools/deployment_map.py --write"
    expected = deployment_map.memberships(DRAWN)
    for name, service in COMPOSE["services"].items():
        given = service.get("networks") or {}
        wanted = expected[name].networks if name in expected else {}
        assert set(given) == set(wanted), name
        assert {each: (more or {}).get("aliases") for each, more in given.items()} == {
            each: [alias] if alias else None for each, alias in wanted.items()
        }, name


def test_two_parts_share_a_network_only_where_one_dials_the_other_there() -> None:
    for network in networks_of(DRAWN):
        listeners = {network.listener} | ({"store"} if DRAWN.parts[network.listener].kind == "store" else set())
        assert members(network.name) == listeners | set(network.dialers), network
        for dialer in network.dialers:
            assert DRAWN.allowed(dialer, network.listener, network.port)


def test_only_networks_of_published_ports_have_a_way_to_the_host_and_none_leads_further() -> None:
    for network in networks_of(DRAWN):
        given = COMPOSE["networks"][network.name]
        if network.outside:
            assert given["driver_opts"] == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
            assert members(network.name) == {network.listener}
        else:
            assert given["internal"] is True
            assert given["driver_opts"] == {"com.docker.network.bridge.inhibit_ipv4": "true"}
    assert set(COMPOSE["networks"]) == {network.name for network in networks_of(DRAWN)}
    subnets = [each["ipam"]["config"][0]["subnet"] for each in COMPOSE["networks"].values()]
    assert len(set(subnets)) == len(subnets)


def test_ports_are_published_where_the_map_lets_the_outside_in_and_on_the_own_host_unless_told_otherwise() -> None:
    for name, service in COMPOSE["services"].items():
        open_ports = {
            str(port)
            for purpose, port in getattr(DRAWN.parts.get(name), "ports", {}).items()
            if DRAWN.allowed("outside", name, purpose)
        }
        published = service.get("ports") or []
        assert {each.rpartition(":")[2] for each in published} == open_ports, name
        for each in published:
            assert each.startswith(("${LUXOR_PUBLISH:-127.0.0.1}:", "${LUXOR_PUBLISH_WATCH:-127.0.0.1}:"))


def test_services_listen_at_their_own_addresses_alone_and_dial_only_whom_the_map_lets_them() -> None:
    for name, port in PORTS.items():
        part = DRAWN.parts[name]
        assert part.ports == {"grpc": port, "probe": port + 100, "metrics": port + 200}
        environment: dict[str, str] = COMPOSE["services"][name]["environment"]
        assert environment["LUXOR_HOST"] == f"{name}-grpc,{name}-outside"
        assert environment["LUXOR_METRICS_HOST"] == f"{name}-metrics"
        assert environment["LUXOR_HEALTH_HOST"] == "127.0.0.1"
        for other in PORTS:
            target = environment.get(f"LUXOR_{other.upper()}_TARGET")
            assert (target is not None) == DRAWN.allowed(name, other, "grpc"), (name, other)
            assert target in {None, f"dns:///{other}-grpc:{PORTS[other]}"}
    for service in PORTS:
        assert COMPOSE["services"][f"{service}-store"]["environment"]["STORE_LISTEN"] == f"{service}-store-postgres"
    every = ",".join(f"{service}-store-postgres" for service in PORTS)
    assert COMPOSE["services"]["store"]["environment"]["STORE_LISTEN"] == every


def test_probes_are_dialled_by_nobody() -> None:
    assert not [each for each in DRAWN.connections if each.port == "probe"]


def test_every_rpc_that_the_map_lists_is_one_of_the_contracts() -> None:
    known = {each.full_name for each in services()}
    known |= {f"{each.full_name}/{method.name}" for each in services() for method in each.methods}
    listed = {rpc for each in DRAWN.connections for rpc in each.rpcs}
    assert listed
    assert listed <= known


BASE: dict[str, Any] = {
    "parts": {"a": {"kind": "service", "ports": {"grpc": 1}}, "b": {"kind": "caller"}},
    "connections": [{"from": ["b"], "to": "a", "port": "grpc", "for": "calls"}],
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"connections": [{"from": ["b"], "to": "a", "port": "metrics", "for": "x"}]}, "leads to a:metrics"),
        ({"connections": [{"from": ["c"], "to": "a", "port": "grpc", "for": "x"}]}, "c dials a, but is no part"),
        ({"connections": [{"from": ["b", "b"], "to": "a", "port": "grpc", "for": "x"}]}, "b dials a:grpc twice"),
        ({"parts": {"a": {"kind": "thing"}}, "connections": []}, "of the kind 'thing'"),
        ({"parts": {"a": {"kind": "service", "ports": {"grpc": "one"}}}}, "this is no map"),
        ({"connections": [{"from": "b", "to": "a", "port": "grpc", "for": "x"}]}, "this is no map"),
        ({"connections": [{"from": ["b"], "to": "a", "port": "grpc", "for": "x", "rpc": ["x"]}]}, "unknown field"),
        ({"connections": [{"from": ["b"], "to": "a", "port": "grpc", "for": "x", "rpcs": ["x"]}]}, "must list `rpcs`"),
        ({"connections": [{"from": ["a"], "to": "a", "port": "grpc", "for": "x"}]}, "must list `rpcs`"),
        (
            {"connections": [{"from": ["a", "b"], "to": "a", "port": "grpc", "for": "x", "rpcs": ["x"]}]},
            "services alone",
        ),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(BASE | change))
    with pytest.raises(MapError, match=complaint):
        deployment_map.read(path)


def test_a_map_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    with pytest.raises(MapError, match=r"map\.yaml: the map of the connections cannot be read"):
        deployment_map.read(path)
    for damaged in ("", "parts: [", "\0", "just a text"):
        path.write_text(damaged)
        with pytest.raises(MapError, match=r"map\.yaml: this is no map of the connections"):
            deployment_map.read(path)


def test_a_connection_that_is_added_to_the_map_appears_in_the_networks(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(BASE))
    (network,) = networks_of(deployment_map.read(path))
    assert (network.name, network.listener, network.dialers, network.outside) == ("a-grpc", "a", ("b",), False)
    more = {"from": ["outside"], "to": "a", "port": "grpc", "for": "calls"}
    path.write_text(yaml.safe_dump(BASE | {"connections": [*BASE["connections"], more]}))
    assert [each.name for each in networks_of(deployment_map.read(path))] == ["a-grpc", "a-outside"]
