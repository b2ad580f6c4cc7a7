"""What a rendered chart would run, as tables that a person can read before installing it."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tools.chart import Document
from tools.chart_rules import pods, replicas

_BYTES: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_WIDTH: Final = 140


def cores(text: object) -> float:
    """Return a CPU quantity in cores: "500m" is 0.5."""
    given = str(text)
    return float(given[:-1]) / 1000 if given.endswith("m") else float(given)


def size(text: object) -> int:
    """Return a quantity of memory or disk in bytes: "1Gi" is 1,073,741,824."""
    given = str(text)
    return round(float(given[:-2]) * _BYTES[given[-2:]]) if given[-2:] in _BYTES else int(given)


def gib(amount: float) -> str:
    """Return bytes in GiB, or in MiB where that reads better."""
    return f"{amount / 2**30:,.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:,.0f} MiB"


class _Sum:
    """CPU and memory that are asked for and that may be used, added up."""

    def __init__(self) -> None:
        self.cpu = [0.0, 0.0]
        self.memory = [0, 0]

    def add(self, resources: Document, times: int) -> None:
        for place, which in enumerate(("requests", "limits")):
            self.cpu[place] += times * cores(resources[which]["cpu"])
            self.memory[place] += times * size(resources[which]["memory"])

    def cells(self) -> tuple[str, str, str, str]:
        return f"{self.cpu[0]:,.2f}", f"{self.cpu[1]:,.2f}", gib(self.memory[0]), gib(self.memory[1])


def explain(documents: list[Document], title: str, console: Console | None = None) -> None:
    """Print what the documents of one values file would run."""
    out = console or Console(width=_WIDTH)
    for table in (
        _services(documents, title), _stores(documents), _resource_totals(documents), _addresses(documents), _certificates(documents),
        _dials(documents), _jobs(documents), _further_documents(documents),
    ):  # fmt: skip
        if table is not None and table.row_count:
            out.print(table)
            out.print()


def _of_kind(documents: list[Document], kind: str) -> Iterator[Document]:
    return (document for document in documents if document["kind"] == kind)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", header_style="dim")
    return table


def _services(documents: list[Document], title: str) -> Table:
    table = _table(
        f"Services of {title}", "deployment", ">replicas", "scaled by", ">cpu asked", ">limit", ">memory asked", ">limit",
        "evicted at once",
    )  # fmt: skip
    budgets = {
        each["metadata"]["name"]: each["spec"]["maxUnavailable"] for each in _of_kind(documents, "PodDisruptionBudget")
    }
    for each in _of_kind(documents, "Deployment"):
        low, high, by = replicas(documents, each)
        name = each["metadata"]["name"]
        one = _Sum()
        one.add(each["spec"]["template"]["spec"]["containers"][0]["resources"], 1)
        count = str(low) if low == high else f"{low} to {high}"
        table.add_row(name, count, by, *one.cells(), str(budgets.get(name, "no budget")))
    return table


def _stores(documents: list[Document]) -> Table:
    table = _table(
        "Stores (a Cluster of CloudNativePG each)", "store", ">instances", "commit waits for", ">cpu", ">memory", ">disk", ">log",
        ">connections", "image",
    )  # fmt: skip
    for each in _of_kind(documents, "Cluster"):
        spec = each["spec"]
        waits = (spec["postgresql"].get("synchronous") or {}).get("number", 0)
        catalog = spec.get("imageCatalogRef", {})
        table.add_row(
            each["metadata"]["name"], str(spec["instances"]), f"{waits} standby" if waits else "its own disk",
            f"{cores(spec['resources']['limits']['cpu']):.2f}", gib(size(spec["resources"]["limits"]["memory"])),
            spec["storage"]["size"], spec.get("walStorage", {}).get("size", "with it"),
            spec["postgresql"]["parameters"].get("max_connections", ""),
            spec.get("imageName") or _named(catalog),
        )  # fmt: skip
    return table if table.row_count else _stores_elsewhere(documents)


def _named(catalog: Document) -> str:
    return f"{catalog['kind']} {catalog['name']}, PostgreSQL {catalog['major']}" if catalog else "the operator's own"


def _stores_elsewhere(documents: list[Document]) -> Table:
    table = _table("Stores (servers of yours)", "service", "secret with the URL", "server verified by")
    for each in _of_kind(documents, "Deployment"):
        for volume in each["spec"]["template"]["spec"]["volumes"]:
            if volume["name"] == "database":
                secret = volume["projected"]["sources"][0]["secret"]
                verified = {"ca.crt"} & {item["path"] for item in secret["items"]}
                table.add_row(
                    each["metadata"]["name"], secret["name"], "its ca.crt" if verified else "what the URL says"
                )
    return table


def _resource_totals(documents: list[Document]) -> Table:
    table = _table("Sums for the cluster", "what", ">pods", ">cpu asked", ">limit", ">memory asked", ">limit", ">disk")
    totals = {"services, fewest": (_Sum(), 0), "services, most": (_Sum(), 0)}
    for each in _of_kind(documents, "Deployment"):
        bounds = replicas(documents, each)
        for place, (what, (total, count)) in enumerate(totals.items()):
            times = bounds[0] if place == 0 else bounds[1]
            total.add(each["spec"]["template"]["spec"]["containers"][0]["resources"], times)
            totals[what] = (total, count + times)
    for what, (total, count) in totals.items():
        table.add_row(what, str(count), *total.cells(), "")
    stores, count, disk = _Sum(), 0, 0
    for each in _of_kind(documents, "Cluster"):
        spec = each["spec"]
        stores.add(spec["resources"], spec["instances"])
        count += spec["instances"]
        volumes = [spec["storage"]["size"], *([spec["walStorage"]["size"]] if "walStorage" in spec else [])]
        disk += spec["instances"] * sum(map(size, volumes))
    if count:
        table.add_row("stores", str(count), *stores.cells(), gib(disk))
        both = _Sum()
        for part in (totals["services, most"][0], stores):
            for place in (0, 1):
                both.cpu[place] += part.cpu[place]
                both.memory[place] += part.memory[place]
        table.add_row("all, most", str(totals["services, most"][1] + count), *both.cells(), gib(disk), style="bold")
    return table


def _addresses(documents: list[Document]) -> Table:
    table = _table("Addresses", "service", "type", "ports")
    for each in _of_kind(documents, "Service"):
        spec = each["spec"]
        kind = "headless: every replica's address" if spec.get("clusterIP") == "None" else spec["type"]
        table.add_row(
            each["metadata"]["name"], kind, ", ".join(f"{port['name']} {port['port']}" for port in spec["ports"])
        )
    return table


def _certificates(documents: list[Document]) -> Table:
    table = _table("Certificates (cert-manager)", "secret", "identity", "for", ">life", ">renewed before", "signed by")
    for each in _of_kind(documents, "Certificate"):
        spec = each["spec"]
        uses = [use.removesuffix(" auth") for use in spec.get("usages", []) if use.endswith("auth")]
        table.add_row(
            spec["secretName"], spec["uris"][0], "signing" if spec.get("isCA") else " and ".join(uses), spec["duration"],
            spec["renewBefore"], f"{spec['issuerRef']['kind']} {spec['issuerRef']['name']}",
        )  # fmt: skip
    return table


def peer(one: Document) -> str:
    """Return one peer of a network policy in words."""
    if "ipBlock" in one:
        without = f" without {', '.join(one['ipBlock']['except'])}" if one["ipBlock"].get("except") else ""
        return f"network {one['ipBlock']['cidr']}{without}"
    labels = (one.get("podSelector") or {}).get("matchLabels", {})
    own = labels.get("app.kubernetes.io/component") or labels.get("cnpg.io/cluster")
    name = own or " ".join(labels.values()) or "any pod"
    space = (one.get("namespaceSelector") or {}).get("matchLabels", {})
    return f"{name} in {', '.join(space.values()) or 'any namespace'}" if "namespaceSelector" in one else name


def _dials(documents: list[Document]) -> Table:
    table = _table("Who may dial whom (all else is denied)", "part", "is dialled by", "dials")
    for each in _of_kind(documents, "NetworkPolicy"):
        spec, part = each["spec"], each["metadata"]["name"]
        into, out = _said(spec.get("ingress"), "from", "on"), _said(spec.get("egress"), "to", "at")
        table.add_row(f"{part} (each pod)" if not into and not out else part, into or "nobody", out or "nobody")
    return table


def _said(rules: list[Document] | None, side: str, word: str) -> str:
    """Return the rules of one direction in words, a line for each set of ports."""
    said: dict[str, list[str]] = {}
    for rule in rules or []:
        ports = " and ".join(dict.fromkeys(str(port["port"]) for port in rule["ports"]))
        said.setdefault(ports, []).extend(peer(one) for one in rule[side])
    return "\n".join(f"{', '.join(dict.fromkeys(peers))} {word} {ports}" for ports, peers in said.items())


def _jobs(documents: list[Document]) -> Table:
    table = _table("Steps and hooks", "what", "when", "command")
    for name, pod, document in pods(documents):
        hook = document["metadata"].get("annotations", {}).get("helm.sh/hook")
        if hook:
            table.add_row(name, hook, " ".join(pod["containers"][0]["args"]))
        for step in pod.get("initContainers", []):
            table.add_row(name, "before each pod", " ".join(step["args"]))
    return table


def _further_documents(documents: list[Document]) -> Table:
    shown = {
        "Deployment",
        "Cluster",
        "Service",
        "Certificate",
        "NetworkPolicy",
        "Job",
        "PodDisruptionBudget",
        "ScaledObject",
    }
    table = _table("Also made", "kind", "names")
    found: dict[str, list[Any]] = {}
    for document in documents:
        if document["kind"] not in shown:
            found.setdefault(document["kind"], []).append(document["metadata"]["name"])
    for kind, names in found.items():
        table.add_row(kind, ", ".join(names))
    return table
