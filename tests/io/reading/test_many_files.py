"""Reading many files: processes and cache give what one file after the other gives."""

from __future__ import annotations

import datetime
import io
import os
import stat

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
    monkeypatch.setenv("XRD_JAX_CACHE", str(tmp_path / "kept"))
    home = tmp_path / "patterns"
    home.mkdir()
    for number in range(210):
        rows = [f"{x:.4f} {y}" for x, y in zip(AXIS, values(number), strict=True)]
        (home / f"p_{number:03d}.xy").write_text("\n".join(rows) + "\n")
    (home / "p_007.xy").write_text("5.00 1 0.5\n5.02 2 0.7\n5.04 4 0.1\n")
    (home / "p_008.xy").write_text("5.00 1\n5.02\n")
    return sorted(home.iterdir())


def values(number):
    return np.random.default_rng(number).integers(0, 90, AXIS.size) / (2 if number % 2 else 3)


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(other, UserError):
            assert isinstance(one, UserError) and str(one) == str(other)
            continue
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            for name in ("axis", "intensity"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert (a.errors is None) == (b.errors is None)
            if a.errors is not None:
                np.testing.assert_array_equal(a.errors, b.errors)
            assert worker.facts(a) == worker.facts(b)


def test_processes_and_cache_give_what_one_reader_gives(files, monkeypatch):
    alone = [many_files.read_one(file, False) for file in files]
    assert isinstance(alone[8], UserError)
    same(many_files.Reading(workers=2).read_all(files), alone)
    same(many_files.Reading(cache=True, workers=1).read_all(files), alone)
    read = []
    monkeypatch.setattr(many_files, "read_one", lambda file, flag: read.append(file) or UserError("read"))
    same(many_files.Reading(cache=True, workers=1).read_all(files)[:8], alone[:8])
    assert read == [files[8]]  # what cannot be read is tried again


def test_a_changed_file_is_seen_whatever_its_date_says(files):
    reading = many_files.Reading(cache=True, workers=1)
    reading.read_all(files)
    found = files[3].stat()
    files[3].write_bytes(files[3].read_bytes()[:-2] + b"9\n")
    os.utime(files[3], ns=(found.st_atime_ns, found.st_mtime_ns))
    assert reading.read_all(files)[3][0].intensity[-1] != values(3)[-1]
    files[4].rename(files[4].with_name("z.xy"))
    moved = [files[4].with_name("z.xy") if i == 4 else file for i, file in enumerate(files)]
    np.testing.assert_array_equal(reading.read_all(moved)[4][0].intensity, values(4))


def test_negative_intensities_do_not_come_back_where_they_are_refused(files):
    files[5].write_text("5.00 -1\n5.02 2\n5.04 4\n")
    assert many_files.Reading(cache=True).read_all(files, allow_negative=True)[5][0].intensity[0] == -1
    assert isinstance(many_files.Reading(cache=True).read_all(files)[5], UserError)


def test_the_cache_is_private_and_a_damaged_one_is_no_harm(files, tmp_path):
    reading = many_files.Reading(cache=True, workers=1)
    first = reading.read_all(files)
    home = tmp_path / "kept"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    (entry,) = home.iterdir()
    whole = entry.read_bytes()
    for spoiled in (b"", b"rubbish", whole[: len(whole) // 2], whole[:3000] + bytes(300) + whole[3300:]):
        entry.write_bytes(spoiled)
        again = reading.read_all(files)
        assert [isinstance(one, UserError) for one in again] == [isinstance(one, UserError) for one in first]
    same(reading.read_all(files), first)


def test_the_cache_can_be_turned_off(files, tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    many_files.Reading(cache=True, workers=1).read_all(files)
    assert not (tmp_path / "kept").exists()


def test_a_worker_that_dies_loses_nothing(files, monkeypatch):
    monkeypatch.setattr(many_files.sys, "executable", "/bin/false")
    same(many_files.Reading(workers=2).read_all(files)[:5], [many_files.read_one(file, False) for file in files[:5]])


def test_a_fault_in_a_reader_concerns_one_file(files, monkeypatch):
    def broken(path, flag):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(many_files.patterns, "read_scans", broken)
    assert "cannot be read (ZeroDivisionError: by zero)" in str(many_files.read_one(files[0], False))


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=9),
    st.none() | st.datetimes() | st.datetimes(timezones=st.just(datetime.UTC)),
    st.none() | st.floats(0.1, 9),
    st.dictionaries(TEXT, TEXT, max_size=3),
)
def test_patterns_travel_whole(intensity, start, exposure, metadata):
    axis = np.arange(len(intensity), dtype=float)
    one = Pattern(axis, np.array(intensity), None, "q", 1.5, start, None, exposure, metadata, ("a note",))
    head = {"scans": [{"points": axis.size, "axis": True, "errors": False, **worker.facts(one)}]}
    stream = io.BytesIO()
    worker._send(stream, head, [one.axis, one.intensity])
    stream.seek(0)
    (again,) = worker.Answers(stream).next()
    same([(again,)], [(one,)])
    assert again.start_time == one.start_time


def test_floats_lose_nothing_in_the_cache():
    for part in (np.array([1.0, 2.0**24]), np.array([0.1]), np.array([1e300]), np.array([])):
        np.testing.assert_array_equal(pattern_cache._short([part]).astype(float), part)
