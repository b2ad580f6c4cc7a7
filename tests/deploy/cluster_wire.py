"""What the small API server and its clients say to each other: protobuf of built-in kinds, merge patches, tables."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import yaml

Object = dict[str, Any]

_PROTOBUF = b"k8s\0"


def written(raw: bytes) -> Object:
    """Read what a client writes: JSON, YAML, or of built-in kinds protobuf (a Namespace, a Secret)."""
    if not raw.startswith(_PROTOBUF):
        given: Object = yaml.safe_load(raw)
        return given
    envelope = _fields(raw[len(_PROTOBUF) :])
    kind = bytes(_fields(envelope[1][0])[2][0]).decode()
    if kind not in ("Namespace", "Secret"):
        raise ValueError(f"a {kind} in protobuf is not read here")
    body = _fields(envelope[2][0])
    metadata = _fields(body[1][0])
    labels = {pair[1][0].decode(): pair[2][0].decode() for pair in map(_fields, metadata.get(11, []))}
    made: Object = {"kind": kind, "metadata": {"name": metadata[1][0].decode(), "labels": labels}}
    if kind == "Secret":
        pairs = [_fields(each) for each in body.get(2, [])]
        made["data"] = {pair[1][0].decode(): base64.b64encode(pair[2][0]).decode() for pair in pairs}
        made["type"] = body[3][0].decode()
    return made


def _fields(raw: bytes) -> dict[int, list[bytes]]:
    """Cut a message into its fields of bytes, by number."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = raw[at], at + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(raw):
        tag = varint()
        length = varint()
        if tag & 7 == 2:
            found.setdefault(tag >> 3, []).append(raw[at : at + length])
            at += length
    return found


def merged(into: Any, patch: Any) -> Any:
    """Give what a merge patch makes (RFC 7386); lists of named things are replaced as a whole."""
    if not isinstance(patch, dict):
        return patch
    base = dict(into) if isinstance(into, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        elif not key.startswith("$"):
            base[key] = merged(base.get(key), value)
    return base


COLUMNS: dict[str, list[tuple[str, Callable[[Object], Any]]]] = {
    "Pod": [
        ("Ready", lambda o: f"{sum(c['ready'] for c in o['status']['containerStatuses'])}/{len(o['status']['containerStatuses'])}"),
        ("Status", lambda o: "Completed" if o["status"]["phase"] == "Succeeded" else o["status"]["phase"]),
        ("Restarts", lambda o: 0),
    ],
    "Deployment": [
        ("Ready", lambda o: f"{o['status']['readyReplicas']}/{o['spec'].get('replicas', 1)}"),
        ("Up-to-date", lambda o: o["status"]["updatedReplicas"]),
        ("Available", lambda o: o["status"]["availableReplicas"]),
    ],
    "Certificate": [("Ready", lambda o: "True"), ("Secret", lambda o: o["spec"]["secretName"])],
    "Cluster": [
        ("Instances", lambda o: o["status"]["instances"]), ("Ready", lambda o: o["status"]["readyInstances"]),
        ("Status", lambda o: o["status"]["phase"]), ("Primary", lambda o: f"{o['metadata']['name']}-1"),
    ],
    "Endpoints": [("Endpoints", lambda o: ",".join(f"{a['ip']}:{p['port']}" for s in o["subsets"] for a in s["addresses"] for p in s["ports"]))],
    "Secret": [("Type", lambda o: o.get("type", "Opaque")), ("Data", lambda o: len(o.get("data") or {}))],
    "Service": [("Type", lambda o: o["spec"].get("type", "ClusterIP")), ("Port(s)", lambda o: ",".join(str(p["port"]) for p in o["spec"]["ports"]))],
}  # fmt: skip


def table(found: list[Object]) -> Object:
    """Give objects as the table that kubectl prints."""
    kind = found[0]["kind"] if found else ""
    columns = [("Name", lambda o: o["metadata"]["name"]), *COLUMNS.get(kind, []), ("Age", lambda o: "1m")]
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "1"},
        "columnDefinitions": [{"name": n, "type": "string", "format": "name" if n == "Name" else "", "priority": 0} for n, _ in columns],
        "rows": [{"cells": [cell(each) for _, cell in columns], "object": each} for each in found],
    }  # fmt: skip
