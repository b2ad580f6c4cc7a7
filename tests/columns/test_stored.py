"""What is stored is compressed by each thread for itself, and unpacked up to the largest allowed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from libs.columns import stored
from libs.columns.stored import InputError, compressed, decompressed, reading


def test_threads_compress_and_unpack_at_the_same_time_without_mixing_what_they_have() -> None:
    contents = [bytes([number]) * (number * 5_000) for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda each: decompressed(compressed(each)), contents)) == contents
        contexts = set(threads.map(lambda _: id(stored.contexts.compressor), range(64)))
    assert id(stored.contexts.compressor) not in contexts


@pytest.mark.parametrize("tells_size", [True, False])
def test_what_unpacks_to_more_than_is_ever_stored_is_refused(tells_size: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "UNPACKED_BYTES_MAX", 1_000)
    fits, too_large = (
        zstandard.ZstdCompressor(write_content_size=tells_size).compress(bytes(size)) for size in (1_000, 1_001)
    )
    assert decompressed(fits) == bytes(1_000)
    with pytest.raises(InputError, match="the batch cannot be read"), reading("the batch"):
        decompressed(too_large)
