"""An API server as small as it can be, so that the documented kubectl and helm commands run with the real programs.

It stores whatever is written (POST, PUT, PATCH, apply), lists, selects by label and watches. Of controllers it has as much as
shows: a Deployment has its pods at once, a Job is complete, a Certificate has its Secret, whatever has conditions is well. It
knows the kinds that it is told and no others, so a wrong name, kind or label in a command is an error as in a real cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.deploy.cluster_api import ApiHandler
from tests.deploy.cluster_state import ClusterState
from tests.deploy.cluster_wire import Object


class Cluster(ClusterState):
    """The stored objects and the server in front of them; a context manager."""

    def __init__(
        self,
        kinds: Iterable[tuple[str, str]] = (),
        *,
        issue: Callable[[Object], dict[str, bytes]] = lambda certificate: {},
        log: Callable[[str], str] = lambda pod: "",
    ) -> None:
        """Take what ClusterState takes, and open a port."""
        super().__init__(kinds, issue=issue, log=log)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (ApiHandler,), {"cluster": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Cluster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self, path: Path) -> Path:
        """Write a configuration that leads here."""
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "users": [{"name": "me", "user": {}}],
        }  # fmt: skip
        path.write_text(json.dumps(config), "utf-8")
        return path
