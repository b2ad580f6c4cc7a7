"""Makes Compose's networks from deploy/map.yaml, which says who dials which port of which part.

    python tools/deployment_map.py            list the networks and their members
    python tools/deployment_map.py --write    write them into deploy/compose/compose.yaml

One network for each port that is dialled. Its members are the part that listens and those who dial it; the part listens on its
address in that network alone. So nobody reaches what the map does not draw, not even over a network that two parts share for
another reason. On these networks the host itself has no address, so that nothing of the host can be dialled over them. A port that
the outside reaches has a second network with the part alone in it, since a published port needs a way to the host, and no other
network has one; what leads from there to the host is for the host's firewall (deploy/compose/firewall.sh).
"""

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.server.config.deployment_map import OUTSIDE, Map, MapError, read

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"

WAY_IN_ONLY = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
"""A network of a published port: answers go back, and connections from inside leave with an address that gets no answer."""
NO_HOST = {"com.docker.network.bridge.inhibit_ipv4": "true"}
"""A network on which the host has no address."""
ONE_STORE = "store"
"""Compose's server for all databases, in place of every part of the kind `store`."""


@dataclass(frozen=True, slots=True)
class Network:
    """One network of Compose."""

    name: str
    """Also what the listener is called in it."""
    listener: str
    port: str
    dialers: tuple[str, ...]
    """Parts that dial; none where the network is the way to the outside."""
    outside: bool
    number: int
    """The network's place among the subnets."""


def networks_of(deployment: Map) -> tuple[Network, ...]:
    """Return the networks in the order of the listeners in the map, each with a number that is its own."""
    found: list[Network] = []
    for part in deployment.parts.values():
        for port in part.ports:
            sources = [
                s for each in deployment.connections if (each.to, each.port) == (part.name, port) for s in each.sources
            ]
            dialers = tuple(name for name in deployment.parts if name in sources)
            if dialers:
                found.append(Network(f"{part.name}-{port}", part.name, port, dialers, False, len(found)))
            if OUTSIDE in sources:
                name = f"{part.name}-{OUTSIDE}"
                found.append(Network(name, part.name, port, (), True, len(found)))
    return tuple(found)


# ------------------------------------------------------------------------------------------------ Compose


@dataclass
class Membership:
    """One container's networks, and the names that it has in those where it listens."""

    networks: dict[str, str | None] = field(default_factory=dict)


def memberships(deployment: Map) -> dict[str, Membership]:
    """Return by container of Compose which networks it is in; the one store is in those of all stores."""
    found = {name: Membership() for name in (*deployment.parts, ONE_STORE)}
    for network in networks_of(deployment):
        listeners = [network.listener]
        if deployment.parts[network.listener].kind == "store":
            listeners.append(ONE_STORE)
        for listener in listeners:
            found[listener].networks[network.name] = network.name
        for dialer in network.dialers:
            found[dialer].networks[network.name] = None
    return found


def networks_section(deployment: Map) -> dict[str, Any]:
    """Return the section `networks` of compose.yaml."""
    section: dict[str, Any] = {}
    for network in networks_of(deployment):
        subnet = f"${{LUXOR_SUBNET:-10.231}}.{network.number}.0/26"
        section[network.name] = {
            **({"driver_opts": WAY_IN_ONLY} if network.outside else {"internal": True, "driver_opts": NO_HOST}),
            "ipam": {"config": [{"subnet": subnet}]},
        }
    return section


def service_section(membership: Membership) -> dict[str, Any]:
    """Return the section `networks` of one container."""
    return {name: ({"aliases": [alias]} if alias is not None else {}) for name, alias in membership.networks.items()}


_PART = re.compile(r"^  ([a-z-]+):$")
_MARK = "    networks: # from deploy/map.yaml"
_TOP = "networks: # from deploy/map.yaml"


def written(text: str, deployment: Map) -> str:
    """Return the text of compose.yaml with new text in every section that is marked as made from the map."""
    members = memberships(deployment)
    out: list[str] = []
    current, skipping = "", -1
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip(" "))
        if skipping >= 0 and line.strip() and indent > skipping:
            continue
        skipping = -1
        if match := _PART.match(line):
            current = match.group(1)
        if line == _MARK:
            if current not in members:
                raise MapError(f"compose.yaml has {current} in the map's networks, but the map has no such part.")
            out.append(line)
            out += [
                f"      {name}: " + (f"{{aliases: [{alias}]}}" if alias is not None else "{}")
                for name, alias in members[current].networks.items()
            ]
            skipping = 4
        elif line == _TOP:
            out.append(line)
            out += _dumped(networks_section(deployment))
            skipping = 0
        else:
            out.append(line)
    return "\n".join(out)


def _dumped(section: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, each in section.items():
        (config,) = each["ipam"]["config"]
        inner = "internal: true, driver_opts: *no-host" if each.get("internal") else "driver_opts: *way-in-only"
        lines.append(f"  {name}: {{{inner}, ipam: {{config: [{{subnet: '{config['subnet']}'}}]}}}}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Networks of Compose from deploy/map.yaml.")
    parser.add_argument("--write", action="store_true", help=f"write them into {COMPOSE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    try:
        deployment = read()
        if arguments.write:
            COMPOSE.write_text(written(COMPOSE.read_text(encoding="utf-8"), deployment), encoding="utf-8")
    except MapError as error:
        print(error, file=sys.stderr)
        return 1
    for network in networks_of(deployment):
        who = "outside" if network.outside else ", ".join(network.dialers)
        print(f"{network.name:<28} {who} → {network.listener}:{deployment.parts[network.listener].ports[network.port]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
