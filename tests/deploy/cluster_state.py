"""The objects of the small API server: what is written is stored, listed and selected, and controllers do as much as shows."""

from __future__ import annotations

import base64
import datetime as dt
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from tests.deploy.cluster_wire import Object

Key = tuple[str, str, str, str]  # API version, resource, namespace, name

BUILT_IN = (
    ("v1", "Namespace", "namespaces", ("ns",)),
    ("v1", "Pod", "pods", ("po",)),
    ("v1", "Node", "nodes", ("no",)),
    ("v1", "Service", "services", ("svc",)),
    ("v1", "Secret", "secrets", ()),
    ("v1", "ConfigMap", "configmaps", ("cm",)),
    ("v1", "ServiceAccount", "serviceaccounts", ("sa",)),
    ("v1", "Event", "events", ("ev",)),
    ("v1", "Endpoints", "endpoints", ("ep",)),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",)),
    ("apps/v1", "Deployment", "deployments", ("deploy",)),
    ("apps/v1", "ReplicaSet", "replicasets", ("rs",)),
    ("apps/v1", "StatefulSet", "statefulsets", ("sts",)),
    ("batch/v1", "Job", "jobs", ()),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", ("netpol",)),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", ("pdb",)),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", ("hpa",)),
)


class ClusterState:
    """The stored objects by API version, resource, namespace and name, with their controllers."""

    def __init__(
        self,
        kinds: Iterable[tuple[str, str]] = (),
        *,
        issue: Callable[[Object], dict[str, bytes]] = lambda certificate: {},
        log: Callable[[str], str] = lambda pod: "",
    ) -> None:
        """Know `kinds` (API version, kind) of operators; `issue` makes a Certificate's Secret, `log` tells a pod's log."""
        self.resources = {(version, plural): (kind, short) for version, kind, plural, short in BUILT_IN}
        for version, kind in kinds:
            if kind not in {known for known, _ in self.resources.values()}:
                self.resources[version, f"{kind.lower()}s"] = (kind, ())
        self.objects: dict[Key, Object] = {}
        self.issue = issue
        self.log = log
        self.asked: list[str] = []
        self.changed = threading.Condition()
        self.number = 1
        self.stopped = False
        self.put("v1", "namespaces", "", {"kind": "Namespace", "metadata": {"name": "default"}})
        endpoints = [{"addresses": [{"ip": "192.0.2.10"}], "ports": [{"name": "https", "port": 6443}]}]
        self.put(
            "v1",
            "endpoints",
            "default",
            {"kind": "Endpoints", "metadata": {"name": "kubernetes"}, "subsets": endpoints},
        )

    def put(self, version: str, plural: str, namespace: str, given: Object) -> Object:
        """Keep an object, as new or in place of the former one, and do what its controller would do."""
        kind = self.resources[version, plural][0]
        name = given["metadata"]["name"]
        with self.changed:
            self.number += 1
            former = self.objects.get((version, plural, namespace, name))
            metadata = {**given["metadata"], "resourceVersion": str(self.number)}
            metadata["uid"] = former["metadata"]["uid"] if former else f"{kind.lower()}-{self.number}"
            metadata["generation"] = (former["metadata"]["generation"] if former else 0) + 1
            metadata.setdefault("creationTimestamp", dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            if namespace:
                metadata["namespace"] = namespace
            kept = {"apiVersion": version, **given, "kind": kind, "metadata": metadata}
            self.objects[version, plural, namespace, name] = kept
            self._control(kept, namespace)
            self.changed.notify_all()
        return kept

    def drop(self, version: str, plural: str, namespace: str, name: str) -> Object | None:
        """Forget an object with what it owns."""
        with self.changed:
            self.number += 1
            found = self.objects.pop((version, plural, namespace, name), None)
            if found is not None:
                uid = found["metadata"]["uid"]
                inside = name if plural == "namespaces" else None
                owned = [key for key, each in self.objects.items() if uid in _owners(each) or key[2] == inside]
                for key in owned:
                    del self.objects[key]
                # What a controller owns comes back, as long as its owner is there.
                for each in [each for each in self.objects.values() if each["metadata"]["uid"] in _owners(found)]:
                    self._control(each, namespace)
            self.changed.notify_all()
        return found

    def listed(self, version: str, plural: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        """Give the objects that selectors choose."""
        with self.changed:
            found = [
                each
                for (a_version, a_plural, a_space, _), each in sorted(self.objects.items())
                if (a_version, a_plural) == (version, plural) and namespace in ("", a_space)
            ]
        return [each for each in found if _chosen(each, labels) and _has(each, fields)]

    # -------------------------------------------------------------------------------------------- controllers
    def _control(self, each: Object, namespace: str) -> None:
        kind, name = each["kind"], each["metadata"]["name"]
        ready = [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Ready",
                "message": "Certificate is up to date and has not expired",
            }
        ]
        if kind == "Namespace":
            each["status"] = {"phase": "Active"}
        elif kind == "Deployment":
            count = each["spec"].get("replicas", 1)
            now = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
            well = [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ]
            each["status"] = {"observedGeneration": each["metadata"]["generation"], **now, "conditions": well}
            for number in range(count):
                self._pod(f"{name}-7c9d8b6f5d-{number:05d}", each, namespace, {"phase": "Running", "ready": True})
        elif kind == "Job":
            each["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/job-name": name}}
            each["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})[
                "batch.kubernetes.io/job-name"
            ] = name
            each["status"] = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
            self._pod(f"{name}-00000", each, namespace, {"phase": "Succeeded", "ready": False})
        elif kind == "Certificate":
            each["status"] = {"observedGeneration": each["metadata"]["generation"], "conditions": ready}
            data = {file: base64.b64encode(content).decode() for file, content in self.issue(each).items()}
            secret = {
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {"name": each["spec"]["secretName"]},
                "data": data,
            }
            self.put("v1", "secrets", namespace, secret)
        elif kind == "Cluster":
            count = each["spec"].get("instances", 1)
            each["status"] = {
                "phase": "Cluster in healthy state",
                "instances": count,
                "readyInstances": count,
                "conditions": ready,
            }
            template = {
                "metadata": {"labels": {"cnpg.io/cluster": name}},
                "spec": {"containers": [{"name": "postgres"}]},
            }
            made = {**each, "spec": {"template": template}}
            for number in range(1, count + 1):
                self._pod(f"{name}-{number}", made, namespace, {"phase": "Running", "ready": True})
        elif kind == "Issuer":
            each["status"] = {"conditions": ready}

    def _pod(self, name: str, owner: Object, namespace: str, state: Object) -> None:
        template = owner["spec"]["template"]
        containers = [
            {"name": each["name"], "ready": state["ready"], "restartCount": 0}
            for each in template["spec"]["containers"]
        ]
        reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
            key: owner["metadata"][key] for key in ("name", "uid")
        }
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": name, "labels": template["metadata"]["labels"], "ownerReferences": [{**reference, "controller": True}],
            },
            "spec": template["spec"],
            "status": {
                "phase": state["phase"], "containerStatuses": containers, "podIP": "192.0.2.77",
                "conditions": [{"type": "Ready", "status": str(state["ready"])}],
            },
        }  # fmt: skip
        self.put("v1", "pods", namespace, pod)


def _owners(each: Object) -> set[str]:
    return {owner["uid"] for owner in each["metadata"].get("ownerReferences", [])}


def _chosen(each: Object, selector: str) -> bool:
    labels = each["metadata"].get("labels") or {}
    for part in re.split(r",(?![^(]*\))", selector) if selector else []:
        if found := re.fullmatch(r"\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*", part):
            values = {value.strip() for value in found[3].split(",")}
            if (labels.get(found[1]) in values) is not (found[2] == "in"):
                return False
        elif found := re.fullmatch(r"\s*([\w./-]+)\s*(!=|==?)\s*([\w./-]*)\s*", part):
            if (labels.get(found[1]) == found[3]) is (found[2] == "!="):
                return False
        elif part.strip().lstrip("!") in labels or part.startswith("!"):
            if (part.strip().lstrip("!") in labels) is part.startswith("!"):
                return False
        else:
            return False
    return True


def _has(each: Object, selector: str) -> bool:
    for part in selector.split(",") if selector else []:
        path, _, value = part.replace("==", "=").partition("=")
        at: Any = each
        for word in path.split("."):
            at = (at or {}).get(word)
        if at != value:
            return False
    return True
