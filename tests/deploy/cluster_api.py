"""The HTTP interface of the small API server: discovery, reading and writing, watches, as kubectl and helm ask for them."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.deploy.cluster_state import ClusterState
from tests.deploy.cluster_wire import Object, merged, table, written

OF_CLUSTER = frozenset({"namespaces", "nodes"})
OF_ALL = frozenset(
    {"pods", "services", "deployments", "replicasets", "statefulsets", "jobs", "horizontalpodautoscalers"}
)
_WATCH_SECONDS = 30.0


class ApiHandler(BaseHTTPRequestHandler):
    cluster: ClusterState
    protocol_version = "HTTP/1.1"
    # A body behind its headers would wait 40 ms for the client's acknowledgement of those.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.cluster.asked.append(f"{self.command} {self.path}")
        words = [unquote(word) for word in url.path.strip("/").split("/")]
        if words[0] == "version":
            return self._send({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64"})
        if words == ["api"]:
            return self._send({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        if words == ["apis"]:
            return self._send(self._groups())
        if words[:2] == ["openapi", "v3"]:
            return self._send(
                self._openapi("/".join(words[3:]) if words[2:3] == ["apis"] else "v1")
                if words[2:]
                else self._openapis()
            )
        version, rest = ("v1", words[2:]) if words[0] == "api" else ("/".join(words[1:3]), words[3:])
        if not rest:
            return self._resources(version)
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = (*rest, "", "")[:3]
        if (version, plural) not in self.cluster.resources:
            return self._fail(
                404, "NotFound", f"the server could not find the requested resource {plural} of {version}"
            )
        return self._act(version, plural, namespace, name, sub, query, raw)

    def _act(
        self, version: str, plural: str, namespace: str, name: str, sub: str, query: dict[str, str], raw: bytes
    ) -> None:
        cluster = self.cluster
        if namespace and ("v1", "namespaces", "", namespace) not in cluster.objects:
            return self._fail(404, "NotFound", f'namespaces "{namespace}" not found')
        kept = cluster.objects.get((version, plural, namespace, name))
        if self.command == "GET" and not name:
            labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
            if query.get("watch") in ("1", "true"):
                return self._watch(version, plural, namespace, labels, fields, query)
            found = cluster.listed(version, plural, namespace, labels, fields)
            if "as=Table" in self.headers.get("Accept", ""):
                return self._send(table(found))
            kind = cluster.resources[version, plural][0]
            return self._send(
                {
                    "kind": f"{kind}List",
                    "apiVersion": version,
                    "metadata": {"resourceVersion": str(cluster.number)},
                    "items": found,
                }
            )
        if self.command == "POST" and not name:
            given = written(raw)
            key = (version, plural, namespace, given["metadata"]["name"])
            if key in cluster.objects:
                return self._fail(409, "AlreadyExists", f'{plural} "{key[3]}" already exists')
            return self._send(given if "dryRun" in query else cluster.put(version, plural, namespace, given), 201)
        if kept is None and not (self.command == "PATCH" and "apply" in self.headers.get("Content-Type", "")):
            return self._fail(404, "NotFound", f'{plural} "{name}" not found')
        if self.command == "GET" and sub == "log":
            return self._text(cluster.log(name))
        if self.command == "GET":
            return self._send(table([kept]) if "as=Table" in self.headers.get("Accept", "") else kept)  # type: ignore[list-item]
        if self.command == "DELETE":
            cluster.drop(version, plural, namespace, name)
            # By the uid the client knows that what comes back under this name is another one.
            gone = {"name": name, "kind": plural, "uid": kept["metadata"]["uid"]}
            status = {"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}, "details": gone}
            return self._send(status)
        fresh = written(raw)
        if self.command == "PATCH":
            fresh = merged(kept or {"metadata": {"name": name}}, {"spec": fresh["spec"]} if sub == "scale" else fresh)
        answer = kept if "dryRun" in query and kept else cluster.put(version, plural, namespace, fresh)
        if sub == "scale":
            answer = {
                "kind": "Scale",
                "apiVersion": "autoscaling/v1",
                "metadata": {"name": name},
                "spec": fresh["spec"],
            }
        return self._send(answer)

    def _watch(
        self, version: str, plural: str, namespace: str, labels: str, fields: str, query: dict[str, str]
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        seen: dict[str, Object] = {}
        since = int(query.get("resourceVersion") or 0)
        first = "sendInitialEvents" in query
        cluster = self.cluster
        try:
            while not cluster.stopped:
                number_seen = cluster.number
                now = {
                    each["metadata"]["uid"]: each for each in cluster.listed(version, plural, namespace, labels, fields)
                }
                for uid, each in now.items():
                    number = int(each["metadata"]["resourceVersion"])
                    former = seen.get(uid)
                    if (former is None and (first or number > since)) or (former is not None and former is not each):
                        self._event("ADDED" if former is None else "MODIFIED", each)
                for uid in seen.keys() - now.keys():
                    self._event("DELETED", seen[uid])
                if first:
                    mark = {
                        "annotations": {"k8s.io/initial-events-end": "true"},
                        "resourceVersion": str(cluster.number),
                    }
                    self._event(
                        "BOOKMARK",
                        {"kind": cluster.resources[version, plural][0], "apiVersion": version, "metadata": mark},
                    )
                    first = False
                seen = now
                with cluster.changed:
                    # What changed while this was written out must not be waited for.
                    if not cluster.changed.wait_for(
                        lambda number=number_seen: cluster.stopped or cluster.number != number, _WATCH_SECONDS
                    ):
                        return
        except OSError:
            return

    def _event(self, kind: str, each: Object) -> None:
        self.wfile.write(json.dumps({"type": kind, "object": each}).encode() + b"\n")
        self.wfile.flush()

    def _groups(self) -> Object:
        versions = sorted({version for version, _ in self.cluster.resources if "/" in version})
        found = [{"groupVersion": each, "version": each.split("/")[1]} for each in versions]
        groups = [{"name": v["groupVersion"].split("/")[0], "versions": [v], "preferredVersion": v} for v in found]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _openapis(self) -> Object:
        versions = {version for version, _ in self.cluster.resources}
        paths = {("api/" if each == "v1" else "apis/") + each: each for each in versions}
        return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}

    def _openapi(self, version: str) -> Object:
        """Say of each kind that the server itself validates its fields, so that nobody asks for schemas."""
        paths = {}
        for (a_version, plural), (kind, _) in self.cluster.resources.items():
            if a_version == version:
                group, _, number = version.rpartition("/")
                of = {"group": group, "version": number, "kind": kind}
                validated = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
                patch = {"parameters": [validated], "x-kubernetes-group-version-kind": of, "responses": {}}
                paths[f"/{plural}/{{name}}"] = {"patch": patch}
        return {"openapi": "3.0.0", "info": {"title": "here", "version": "1"}, "paths": paths}

    def _resources(self, version: str) -> None:
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        found = [
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": plural not in OF_CLUSTER,
                "kind": kind,
                "verbs": verbs,
                "shortNames": short,
                "categories": ["all"] if plural in OF_ALL else [],
            }
            for (a_version, plural), (kind, short) in self.cluster.resources.items()
            if a_version == version
        ]
        self._send({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found})

    def _fail(self, code: int, reason: str, message: str) -> None:
        self._send(
            {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": reason,
                "message": message,
                "code": code,
            },
            code,
        )

    def _text(self, text: str) -> None:
        self._send(text.encode(), content="text/plain")

    def _send(self, answer: Any, code: int = 200, content: str = "application/json") -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
