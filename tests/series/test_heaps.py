"""HDF5 files from strangers: the heaps that are checked before the library opens a file."""

from __future__ import annotations

import tempfile

import pytest

from xrd_jax.series.hdf5_members import find_heaps


@pytest.mark.parametrize("chunk_bytes", [8, 9, 13, 100])
def test_heaps_are_found_across_chunks(chunk_bytes):
    starts = [0, 16, 39, 60, 99, 131]
    data = bytearray(b"GCOL" * 40)
    for start in starts:
        data[start : start + 8] = b"GCOL\x01\x00\x00\x00"
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.seek(0)
        assert list(find_heaps(stream, chunk_bytes)) == starts
