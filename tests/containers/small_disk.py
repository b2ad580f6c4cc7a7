"""A file system of its own for one volume, small enough to be filled."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.containers.engine import run
from tests.containers.leftovers import noted

MIB = 1024 * 1024
USER = 10001


@dataclass(frozen=True)
class SmallDisk:
    """Where it is mounted."""

    place: Path

    def fill(self) -> None:
        """Take all space that is left, and keep it."""
        with (self.place / "filler").open("wb") as file:
            while (free := self.free()) >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
                except OSError:
                    file.write(b"\0" * 4096)
                    file.flush()

    def release(self) -> None:
        """Give the space back."""
        (self.place / "filler").unlink()

    def free(self) -> int:
        """Bytes that are left."""
        told = os.statvfs(self.place)
        return told.f_bavail * told.f_frsize


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[SmallDisk | None]:
    """Mount one from a file, writable by the stores' user, or give None where this machine does not let us."""
    scratch = Path(tempfile.mkdtemp(prefix="luxor-disk-"))
    place = scratch / "mounted"
    place.mkdir()
    mounted = False
    try:
        try:
            with (scratch / "image").open("wb") as file:
                file.truncate(mebibytes * MIB)
            run(["mkfs.ext4", "-q", "-m", "0", str(scratch / "image")])
            run(["mount", "-o", "loop", str(scratch / "image"), str(place)])
            mounted = True
        except (RuntimeError, OSError):
            yield None
            return
        os.chown(place, USER, USER)
        place.chmod(0o700)
        with noted("mount", str(place)):
            yield SmallDisk(place)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=False)
        shutil.rmtree(scratch, ignore_errors=True)


def override(directory: Path, volume: str, disk: SmallDisk) -> Path:
    """Write a file for Compose that puts a volume onto the disk."""
    path = directory / "small-disk.yaml"
    path.write_text(f"volumes:\n  {volume}:\n    driver_opts: {{type: none, o: bind, device: {disk.place}}}\n")
    return path
