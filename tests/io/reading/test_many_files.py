"""Many files: processes and cache give what one file after the other gives."""

from __future__ import annotations

import datetime
import os
import stat
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrd_jax.errors import UserError
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import many_files, pattern_cache, worker

AXIS = 5 + np.arange(30) * 0.02


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of 210 patterns, one of them with errors, one broken, one on another axis."""
    monkeypatch.setenv("XRD_JAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "patterns"
    folder.mkdir()
    for number in range(210):
        rows = [f"{x:.4f} {y}" for x, y in zip(AXIS, values(number), strict=True)]
        (folder / f"p_{number:03d}.xy").write_text("\n".join(rows) + "\n")
    (folder / "p_007.xy").write_text("5.00 1 0.5\n5.02 2 0.7\n5.04 4 0.1\n")
    (folder / "p_008.xy").write_text("5.00 1\n5.02\n")
    return sorted(folder.iterdir())


def values(number):
    return np.random.default_rng(number).integers(0, 90, AXIS.size) / (2 if number % 2 else 3)


def assert_same(results, expected):
    for result, wanted in zip(results, expected, strict=True):
        if isinstance(wanted, UserError):
            assert isinstance(result, UserError) and str(result) == str(wanted)
            continue
        for scan, other in zip(result, wanted, strict=True):
            for name in ("axis", "intensity", "errors"):
                np.testing.assert_array_equal(getattr(scan, name), getattr(other, name))
            assert worker.facts_to_json(scan) == worker.facts_to_json(other)


def test_processes_and_cache_give_what_one_reader_gives(files, monkeypatch):
    expected = [many_files.read_file(file, False) for file in files]
    assert isinstance(expected[8], UserError)
    assert_same(many_files.BatchReader(workers=2).read_all(files), expected)
    assert_same(many_files.BatchReader(cache=True, workers=1).read_all(files), expected)
    read = []
    monkeypatch.setattr(many_files, "read_file", lambda file, **_: read.append(file) or UserError("read"))
    assert_same(many_files.BatchReader(cache=True, workers=1).read_all(files)[:8], expected[:8])
    assert read == [files[8]]  # what cannot be read is tried again


def test_a_changed_file_is_seen_whatever_its_date_says(files):
    reader = many_files.BatchReader(cache=True, workers=1)
    reader.read_all(files)
    status = files[3].stat()
    files[3].write_bytes(files[3].read_bytes()[:-2] + b"9\n")
    os.utime(files[3], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert reader.read_all(files)[3][0].intensity[-1] != values(3)[-1]
    files[4].rename(files[4].with_name("z.xy"))
    moved = [files[4].with_name("z.xy") if i == 4 else file for i, file in enumerate(files)]
    np.testing.assert_array_equal(reader.read_all(moved)[4][0].intensity, values(4))


def test_negative_intensities_do_not_come_back_where_they_are_refused(files):
    files[5].write_text("5.00 -1\n5.02 2\n5.04 4\n")
    assert many_files.BatchReader(cache=True).read_all(files, allow_negative=True)[5][0].intensity[0] == -1
    assert isinstance(many_files.BatchReader(cache=True).read_all(files)[5], UserError)


def test_the_cache_is_private_and_a_damaged_one_is_no_harm(files, tmp_path):
    reader = many_files.BatchReader(cache=True, workers=1)
    first = reader.read_all(files)
    folder = tmp_path / "cache"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (entry,) = folder.iterdir()
    whole = entry.read_bytes()
    for spoiled in (b"", b"rubbish", whole[: len(whole) // 2], whole[:3000] + bytes(300) + whole[3300:]):
        entry.write_bytes(spoiled)
        again = reader.read_all(files)
        assert [type(result) for result in again] == [type(result) for result in first]
    assert_same(reader.read_all(files), first)


def test_the_cache_can_be_turned_off(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    many_files.BatchReader(cache=True, workers=1).read_all(files)
    assert not (tmp_path / "cache").exists()


def test_a_worker_that_dies_loses_nothing(files, monkeypatch):
    monkeypatch.setattr(many_files.sys, "executable", "/bin/false")
    assert_same(
        many_files.BatchReader(workers=2).read_all(files)[:5], [many_files.read_file(file, False) for file in files[:5]]
    )


def test_a_fault_in_a_reader_concerns_one_file(files, monkeypatch):
    def broken(path, *_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(many_files.patterns, "read_scans", broken)
    assert "cannot be read (ZeroDivisionError: by zero)" in str(many_files.read_file(files[0], False))


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=9),
    st.none() | st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC)),
    st.none() | st.floats(0.1, 9),
    st.dictionaries(TEXT, TEXT, max_size=3),
)
def test_patterns_travel_whole(intensity, start, exposure, metadata):
    axis = np.arange(len(intensity), dtype=float)
    sent = Pattern(axis, np.array(intensity), None, "q", 1.5, start, None, exposure, metadata, ("a note",))
    with tempfile.TemporaryFile() as stream:
        worker.send_scans(stream, [sent], np.zeros(0))
        stream.seek(0)
        (received,) = worker.Replies(stream).next()
    assert_same([(received,)], [(sent,)])
    assert received.start_time == sent.start_time


def test_floats_lose_nothing_in_the_cache():
    for part in (np.array([1.0, 2.0**24]), np.array([0.1]), np.array([1e300]), np.array([])):
        np.testing.assert_array_equal(pattern_cache.pack_floats([part]).astype(float), part)
