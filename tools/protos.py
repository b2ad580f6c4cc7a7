"""Builds the generated modules `luxor.*` from protos/: messages, gRPC stubs and their types.

Run as `python tools/protos.py [--out DIR]`; setup.py calls `build` so that a wheel carries the same modules.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
STAMP = ".built"


class ProtosError(Exception):
    """The contracts could not be built; the message says which tool refused and why."""


def build(directory: Path = ROOT, *, only_if_changed: bool = False) -> list[Path]:
    """Generate `luxor/` under `directory` and return the files that changed.

    Files are replaced one by one and only where their content differs, so a running test or a second build never sees
    half a file. Modules whose proto is gone are removed.
    """
    sources = sorted((ROOT / "protos").rglob("*.proto"))
    if not sources:
        raise ProtosError(f"no .proto file under {ROOT / 'protos'}: the checkout is not complete")
    stamp = directory / "luxor" / STAMP
    if only_if_changed and _is_newer(stamp, [*sources, Path(__file__)]):
        return []
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".protos-", dir=directory) as scratch:
        _protoc(sources, Path(scratch))
        # Regular packages, so that one checkout's modules are never mixed with another's on the path.
        for place in [Path(scratch) / "luxor", *(Path(scratch) / "luxor").rglob("*/")]:
            (place / "__init__.py").write_text('"""Built from protos/ by tools/protos.py; do not edit."""\n')
        changed = _replace(Path(scratch) / "luxor", directory / "luxor")
    stamp.touch()
    return changed


def _protoc(sources: list[Path], directory: Path) -> None:
    import google.rpc
    import grpc_tools

    includes = [ROOT / "protos", Path(grpc_tools.__file__).parent / "_proto"]
    # google/rpc/*.proto are shipped beside their modules by googleapis-common-protos.
    includes += [Path(place).parent.parent for place in google.rpc.__path__]
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    command += [f"-I{include}" for include in includes]
    command += [f"--plugin={name}={_plugin(name)}" for name in PLUGINS]
    # All our servers and clients are asyncio, so the stubs are typed for grpc.aio alone.
    command += [
        f"--python_out={directory}",
        f"--grpc_python_out={directory}",
        f"--mypy_out={directory}",
        f"--mypy_grpc_out=only_async:{directory}",
    ]
    command += [str(source.relative_to(ROOT / "protos")) for source in sources]
    done = subprocess.run(command, cwd=ROOT / "protos", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ProtosError(f"protoc refused the contracts:\n{done.stderr.strip()}")


def _plugin(name: str) -> str:
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ProtosError(f"{name} was not found: install mypy-protobuf into the environment of {sys.executable}")
    return found


def _replace(fresh: Path, target: Path) -> list[Path]:
    wanted = {file.relative_to(fresh) for file in fresh.rglob("*") if file.is_file()}
    changed = []
    for relative in sorted(wanted):
        old = target / relative
        if old.exists() and old.read_bytes() == (fresh / relative).read_bytes():
            continue
        old.parent.mkdir(parents=True, exist_ok=True)
        os.replace(fresh / relative, old)
        changed.append(old)
    for old in target.rglob("*.py*"):
        if "__pycache__" not in old.parts and old.relative_to(target) not in wanted:
            old.unlink()
    return changed


def _is_newer(stamp: Path, inputs: list[Path]) -> bool:
    if not stamp.exists():
        return False
    built = stamp.stat().st_mtime
    # The directories count too: their time changes when a proto is removed.
    places = {parent for path in inputs for parent in path.parents if parent.is_relative_to(ROOT / "protos")}
    return all(path.stat().st_mtime <= built for path in [*inputs, *places])


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the generated modules luxor.* from protos/.")
    parser.add_argument("--out", type=Path, default=ROOT, help="directory that gets luxor/ (default: the checkout)")
    arguments = parser.parse_args()
    try:
        changed = build(arguments.out.resolve())
    except ProtosError as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"protos: {len(changed)} generated files changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
