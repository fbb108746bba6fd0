"""Binary files are tried in a process with limits: what hangs, swells or ends it is refused in one line."""

from __future__ import annotations

import time

import h5py
import numpy as np
import pytest

from experiments.benchmarks import synthetic_files
from tests.support.pattern_files import write_file
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.reading import guard, many_files, worker

SCAN = (10.0, 0.02, np.arange(30) % 7 * 13)


@pytest.fixture
def child(monkeypatch):
    """A child that runs the given source in place of the readers."""
    children = []

    def make(source):
        code = f"import sys\nfor line in sys.stdin:\n    {source}\n"
        popen = guard.subprocess.Popen
        monkeypatch.setattr(
            guard.subprocess, "Popen", lambda command, **options: popen([command[0], "-c", code], **options)
        )
        children.append(guard.ReadingProcess())
        monkeypatch.setattr(guard, "reading_process", lambda: children[0])

    yield make
    for process in children:
        process.stop()


@pytest.mark.parametrize("form", ["RAW1.01", "brml", "NXdata", "xrdml"])
def test_what_can_be_read_passes_and_what_cannot_is_refused_alike(tmp_path, form):
    suffix, write, _ = synthetic_files.FORMATS[form]
    path = write_file(tmp_path, write([SCAN]), "a" + suffix)
    guard.check(path)
    damaged = write_file(tmp_path, write([SCAN])[:-200], "b" + suffix)
    result = many_files.read_guarded(damaged, allow_negative=True)
    assert isinstance(result, UserError)
    with pytest.raises(UserError) as error:
        patterns.read_scans(damaged, allow_negative=True)
    assert str(result) == str(error.value)
    np.testing.assert_array_equal(many_files.read_guarded(path, allow_negative=True)[0].intensity, SCAN[2])


def test_text_needs_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "reading_process", None)
    guard.check(write_file(tmp_path, "1 2\n2 3\n", "a.xy"))


def test_a_file_that_takes_too_long_is_refused(tmp_path, monkeypatch, child):
    monkeypatch.setattr(guard, "BASE_SECONDS", 0.5)
    child("import time; time.sleep(60)")
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"a\.raw: reading it takes over 1 s; the file is damaged"):
        guard.check(write_file(tmp_path, b"RAW1.01\x00" + bytes(900), "a.raw"))
    assert time.monotonic() - begun < 10


def test_a_file_that_ends_the_process_is_refused_and_the_next_is_read(tmp_path, child):
    child("sys.exit(3) if 'a.raw' in line else print('null', flush=True)")
    with pytest.raises(UserError, match="ends the process that tries"):
        guard.check(write_file(tmp_path, b"RAW1.01\x00" + bytes(900), "a.raw"))
    guard.check(write_file(tmp_path, b"RAW1.01\x00" + bytes(900), "b.raw"))


def test_memory_is_limited_by_the_size_of_the_file(tmp_path):
    path = write_file(tmp_path, b"RAW1.01\x00" + bytes(900), "a.raw")
    with worker.limited_memory(path):
        np.ones(10 * 2**20)
        with pytest.raises(MemoryError):
            np.ones(60 * 2**20)
    np.ones(60 * 2**20)


def test_a_long_text_in_a_damaged_file_takes_no_memory(tmp_path):
    """Where damage lengthens a text attribute, the HDF5 library takes as much memory as it says."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(NX_class="NXdata", signal="y", axes="x")
        data["y"], data["x"] = np.ones(30), np.arange(30.0)
        data["x"].attrs["units"] = "a unit that nobody knows"
    content = path.read_bytes()
    place = content.index((24).to_bytes(4, "little"), content.index(b"units"))
    path.write_bytes(content[:place] + (0xF0000000).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(UserError, match=r"a\.h5"):
        guard.check(path)
