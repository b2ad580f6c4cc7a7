"""Batches as services store them: columns as bytes, compressed, with packed arrays; and the errors of such bytes.

Names, descriptions and codes repeat from one consignment to the next, so level 1 of zstd leaves a third to a tenth.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
import zstandard
from google.protobuf.message import Message

from libs.columns.table import Table

UNPACKED_BYTES_MAX: Final = 64 << 20
"""A stored batch that claims to be larger is refused: no message of the transport is."""
_LEVEL: Final = 1


class _Contexts(threading.local):
    """What compresses, of each thread its own; to make one takes longer than to compress a batch's facts."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


contexts: Final = _Contexts()


class InputError(ValueError):
    """A stored batch that cannot be read; the message says why."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise any error of reading stored data as an InputError with `name`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # protobuf's own DecodeError is of no public base
        raise InputError(f"{name} cannot be read: {type(error).__name__}: {error}") from error


def compressed(content: bytes) -> bytes:
    """Compress bytes for the store."""
    return contexts.compressor.compress(content)


def decompressed(content: bytes) -> bytes:
    """Return the decompressed bytes; at most UNPACKED_BYTES_MAX. Raises zstandard.ZstdError, so use it under `reading`."""
    # What says how large it is would be unpacked whole, whatever the largest allowed.
    size = zstandard.frame_content_size(content)
    if size > UNPACKED_BYTES_MAX:
        raise zstandard.ZstdError(f"it unpacks to {size} bytes; at most {UNPACKED_BYTES_MAX} are stored")
    return contexts.decompressor.decompress(content, max_output_size=UNPACKED_BYTES_MAX)


def narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """The same numbers in the smallest type that holds them all."""
    if not len(values):
        return values.astype(np.int8)
    low, high = int(values.min()), int(values.max())
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def read_answers(message_class: type[Message], payload: bytes, rows: npt.NDArray[np.int64]) -> Table:
    """Stored answers as a table of `message_class`, which has these rows. Raises InputError."""
    with reading("the stored answers"):
        answers = Table.parse(message_class, payload)
    if rows.max(initial=-1) >= answers.rows:
        raise InputError(f"the stored answers are {answers.rows}, and the batch names number {rows.max()}")
    return answers
