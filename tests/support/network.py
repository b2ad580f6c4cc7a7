"""Kubernetes' NetworkPolicy, as its documentation defines it: which policies let one endpoint reach another.

Source: the NetworkPolicy v1 API: policies add up; an endpoint that no policy of a direction selects is open in it.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A pod, or an address outside of the cluster where `namespace` is empty."""

    name: str
    namespace: str
    address: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Tell whether a label selector fits; an empty one fits everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for each in selector.get("matchExpressions", []):
        key, operator, values = each["key"], each["operator"], each.get("values", [])
        fits = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
        if not fits:
            return False
    return True


def _is_peer(peer: Document, other: Endpoint, namespace: str) -> bool:
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)
        without = [ipaddress.ip_network(each) for each in peer["ipBlock"].get("except", [])]
        return address in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not any(address in each for each in without)
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), other.labels)


@dataclass(frozen=True)
class Network:
    """The policies of one namespace."""

    namespace: str
    policies: tuple[Document, ...]

    def ours(self, one: Endpoint) -> bool:
        """Tell whether any policy selects the endpoint."""
        return bool(self._of(one, "Ingress") or self._of(one, "Egress"))

    def _of(self, one: Endpoint, direction: str) -> list[Document]:
        if one.namespace != self.namespace:
            return []
        return [
            policy["spec"]
            for policy in self.policies
            if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], one.labels)
        ]

    def allowances(self, one: Endpoint, other: Endpoint, direction: str, protocol: str, port: int) -> int | None:
        """Return how many peers of rules let `one` speak with `other`; None where no policy restricts `one`."""
        found = self._of(one, direction)
        if not found:
            return None
        rules, side = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        count = 0
        for spec in found:
            for rule in spec.get(rules) or []:
                if "ports" in rule and {"protocol": protocol, "port": port} not in rule["ports"]:
                    continue
                # A rule without peers is open to all: that is never meant here, and counts as more than one.
                count += sum(_is_peer(peer, other, self.namespace) for peer in rule[side]) if rule.get(side) else 1000
        return count

    def allows(self, source: Endpoint, target: Endpoint, protocol: str, port: int) -> bool:
        """Tell whether a connection comes about: the source may dial and the target may be dialled."""
        out = self.allowances(source, target, "Egress", protocol, port)
        into = self.allowances(target, source, "Ingress", protocol, port)
        return out != 0 and into != 0
