"""One engine and one image for all tests in containers; they run where they are asked for, by `make compose-test`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import docker
import pytest
import pytest_asyncio

from tests.containers import engine as engines
from tests.containers.composed import Composed, composed
from tests.containers.engine import Images, NoEngine
from tests.containers.small_disk import SmallDisk, override, small_disk
from tests.support.flow import Flow

ASKED = "LUXOR_CONTAINERS"
TAG = "luxor:under-test"


def pytest_configure() -> None:
    """Clean up as well where the run is told to end: a limit that is over ends it with SIGTERM."""
    if os.environ.get(ASKED):
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt("told to end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out of a run of all tests: they need root, an engine and minutes."""
    if os.environ.get(ASKED):
        return
    for item in items:
        if "tests/containers" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="needs a Docker engine; `make compose-test` runs it"))


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A running engine, or a skip that says why there is none."""
    try:
        with engines.engine() as client:
            yield client
            client.close()
    except NoEngine as reason:
        pytest.skip(f"no Docker engine: {reason}")


@pytest.fixture(scope="session")
def images(engine: docker.DockerClient) -> Images:
    """The image of this checkout, built from the Dockerfile as it is."""
    began = time.monotonic()
    try:
        built = engines.images(engine, TAG)
    except NoEngine as reason:
        pytest.skip(f"no base images: {reason}")
    print(f"\nimage {built.luxor} on {built.python}: built in {time.monotonic() - began:.0f} s")
    return built


@dataclass
class Whole:
    """One system for most of the tests, and what was filed with it."""

    system: Composed
    disk: SmallDisk | None
    accepted: dict[str, str] = field(default_factory=dict)
    """MRN by local reference."""


@pytest.fixture(scope="session")
def whole(engine: docker.DockerClient, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """Everything in Compose; ingestion's store on a disk that can be filled."""
    with small_disk(1536) as disk:
        overrides = [override(tmp_path_factory.mktemp("override"), "ingestion-data", disk)] if disk else []
        began = time.monotonic()
        with composed(engine, images, overrides=overrides) as system:
            print(f"\nCompose: all containers started and ready in {time.monotonic() - began:.0f} s, with new data")
            yield Whole(system, disk)


@pytest_asyncio.fixture
async def flow(whole: Whole, request: pytest.FixtureRequest) -> AsyncIterator[Flow]:
    """One filer a test outside of the containers, whose notices are its own."""
    async with Flow(whole.system, filer=f"filer-{len(whole.accepted)}", patience_seconds=120.0) as opened:
        yield opened
        whole.accepted.update(opened.filed.accepted)
