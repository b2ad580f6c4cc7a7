"""What must hold for every workload that the chart renders: pod security "restricted", limits, probes, no token.

Source: Kubernetes' Pod Security Standards, profile "restricted", for the kinds of fields that a chart can set.
"""

from collections.abc import Iterator
from typing import Any, Final

from tools.chart import Document, Finding

VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
"""The kinds of volume that "restricted" lets a pod have."""

AMOUNTS: Final = ("cpu", "memory")

CONNECTIONS: Final = 12
"""What a replica holds open of its store at most: the pool, the leases and the feed."""
CONNECTIONS_RESERVED: Final = 20
"""What PostgreSQL's standbys, the operator and a person at a prompt need beside."""


def pods(documents: list[Document]) -> Iterator[tuple[str, dict[str, Any], Document]]:
    """Yield name, pod spec and document of everything that makes pods."""
    for document in documents:
        spec = document.get("spec", {})
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield name, spec, document
        elif document["kind"] == "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]["spec"], document
        elif isinstance(spec.get("template"), dict) and "containers" in spec["template"].get("spec", {}):
            yield name, spec["template"]["spec"], document


def replicas(documents: list[Document], deployment: Document) -> tuple[int, int, str]:
    """Return the least and the most replicas of a deployment, and who decides."""
    name = deployment["metadata"]["name"]
    for document in documents:
        spec = document.get("spec", {})
        if (spec.get("scaleTargetRef") or {}).get("name") != name:
            continue
        if document["kind"] == "ScaledObject":
            at = ", ".join(f"{each['name']} {each['metadata']['threshold']}" for each in spec["triggers"])
            return spec["minReplicaCount"], spec["maxReplicaCount"], f"KEDA: {at}"
        percent = spec["metrics"][0]["containerResource"]["target"]["averageUtilization"]
        return spec["minReplicas"], spec["maxReplicas"], f"CPU {percent} %"
    count = deployment["spec"].get("replicas", 1)
    return count, count, "fixed"


def broken(documents: list[Document]) -> Iterator[Finding]:
    """Yield each rule that a pod or a container of the documents breaks."""
    for name, pod, document in pods(documents):
        yield from _pod(name, pod)
        for kind in ("initContainers", "containers"):
            for container in pod.get(kind, []):
                where = f"{kind}.{container['name']}"
                yield from (Finding(name, where, why) for why in _container(pod, container))
        if document["kind"] == "Deployment":
            yield from _serves(name, pod)
    yield from _databases(documents)


def _pod(name: str, pod: dict[str, Any]) -> Iterator[Finding]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            yield Finding(name, key, "restricted pods do not share what is the host's")
    if pod.get("automountServiceAccountToken") is not False:
        yield Finding(name, "automountServiceAccountToken", "must be false: no pod of ours speaks with Kubernetes")
    if pod.get("enableServiceLinks") is not False:
        yield Finding(name, "enableServiceLinks", "must be false: a Service's variables would be taken for settings")
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield Finding(name, f"volumes.{volume['name']}", f"restricted pods have no {', '.join(kinds - VOLUMES)}")
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield Finding(name, f"volumes.{volume['name']}", "needs a sizeLimit")


def _container(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    whole, own = pod.get("securityContext") or {}, container.get("securityContext") or {}
    if not own:
        yield "has no securityContext"
        return
    if own.get("privileged"):
        yield "securityContext.privileged must not be"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "securityContext.allowPrivilegeEscalation must be false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "securityContext.readOnlyRootFilesystem must be true"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "securityContext.capabilities must drop ALL and add none"
    if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield "securityContext.runAsNonRoot must be true, here or for the pod"
    if own.get("runAsUser", whole.get("runAsUser", 1)) == 0:
        yield "securityContext.runAsUser must not be 0"
    seccomp = own.get("seccompProfile") or whole.get("seccompProfile") or {}
    if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "securityContext.seccompProfile must be RuntimeDefault or Localhost, here or for the pod"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"ports.{port['containerPort']} takes a port of the host"
    resources = container.get("resources") or {}
    for which in ("requests", "limits"):
        for amount in AMOUNTS:
            if amount not in (resources.get(which) or {}):
                yield f"resources.{which}.{amount} is missing"


def _serves(name: str, pod: dict[str, Any]) -> Iterator[Finding]:
    for container in pod["containers"]:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe not in container:
                yield Finding(name, f"containers.{container['name']}", f"has no {probe}")
    if not pod.get("topologySpreadConstraints"):
        yield Finding(name, "topologySpreadConstraints", "are missing: all replicas may land on one host")


def _databases(documents: list[Document]) -> Iterator[Finding]:
    """A synchronous standby must exist, or nothing is ever committed; and each replica needs its connections."""
    most = {
        each["metadata"]["name"]: replicas(documents, each)[1] for each in documents if each["kind"] == "Deployment"
    }
    for document in documents:
        if document["kind"] != "Cluster":
            continue
        store, spec = document["metadata"]["name"], document["spec"]
        number = (spec["postgresql"].get("synchronous") or {}).get("number", 0)
        if number >= spec["instances"]:
            why = f"waits for {number} of {spec['instances'] - 1} standbys"
            yield Finding(f"Cluster/{store}", "spec.postgresql.synchronous", why)
        # One replica more than the most runs while an upgrade replaces them.
        wanted = CONNECTIONS * (most[store.removesuffix("-store")] + 1) + CONNECTIONS_RESERVED
        given = int(spec["postgresql"]["parameters"].get("max_connections", 100))
        if given < wanted:
            why = f"is {given}; the replicas and the operator need {wanted}"
            yield Finding(f"Cluster/{store}", "spec.postgresql.parameters.max_connections", why)
