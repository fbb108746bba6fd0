"""Rows on disk are the rows in memory: however they are picked, cut into blocks, saved or damaged."""

from __future__ import annotations

import dataclasses
import os
import threading

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.series import make_series
from xrd_jax.errors import UserError
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same series in memory and on disk."""
    path = tmp_path_factory.mktemp("stored") / "series.h5"
    series = make_series()
    series.save(path)
    return series, PatternSeries.load(path, limit_bytes=0)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Rows of a file that needs many reads: spans and gaps are crossed."""
    rows = np.random.default_rng(0).integers(0, 60_000, (9000, 3), dtype=np.uint16)
    path = tmp_path_factory.mktemp("long") / "rows.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(64, 3))
    return rows, lazy.LazyRows.open(path, "x")


INDICES = st.lists(st.integers(-9000, 8999), max_size=40)
SLICES = st.slices(9000)


@given(st.one_of(INDICES.map(lambda i: np.array(i, int)), SLICES, st.integers(-9000, 8999)))
def test_stored_rows_index_like_an_array(long, key):
    rows, stored = long
    np.testing.assert_array_equal(stored[key], rows[key])


@pytest.mark.parametrize("key", [9000, np.array([-9001]), np.ones(5, bool), np.zeros((2, 2), int), 1.5, (0, 0)])
def test_rows_that_are_not_there_are_refused(long, key):
    with pytest.raises(IndexError):
        long[1][key]


@given(INDICES, st.data())
def test_subsets_of_subsets_are_those_of_an_array(long, first, data):
    rows, stored = long
    keep = np.array(first, int)
    second = data.draw(st.lists(st.booleans(), min_size=keep.size, max_size=keep.size).map(lambda m: np.array(m, bool)))
    picked = stored.subset(keep).subset(second)
    assert picked.shape == rows[keep][second].shape and picked.nbytes == rows[keep][second].nbytes
    np.testing.assert_array_equal(np.asarray(picked), rows[keep][second])


@given(st.integers(1, 3000), st.one_of(st.none(), INDICES.map(lambda i: np.array(i, int))))
def test_blocks_cover_everything_once_in_order(long, size, wanted):
    rows, stored = long
    whole = rows if wanted is None else rows[wanted]
    for source in (rows, stored):
        parts = list(lazy.read_blocks(source, size, wanted))
        assert [begin for begin, _ in parts] == list(range(0, len(whole), size))
        assert all(len(part) == size for _, part in parts[:-1])
        np.testing.assert_array_equal(np.concatenate([p for _, p in parts]) if parts else whole, whole)


def test_a_reader_left_early_ends_its_thread(long):
    before = threading.active_count()
    for _ in lazy.read_blocks(long[1], 100):
        break
    assert threading.active_count() == before


def test_a_failing_task_is_not_swallowed():
    def fail():
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        list(lazy.prefetch([lambda: 1, fail]))


def test_series_on_disk_is_the_series_in_memory(pair, tmp_path):
    memory, disk = pair
    assert isinstance(disk.intensity, lazy.LazyRows) and disk.fingerprint() == memory.fingerprint()
    keep = np.array([200, 3, 17])
    assert disk.subset(keep).fingerprint() == memory.subset(keep).fingerprint()
    assert isinstance(disk.subset(disk.session == 1).intensity, lazy.LazyRows)
    disk.subset(keep).save(tmp_path / "part.h5")
    assert PatternSeries.load(tmp_path / "part.h5").fingerprint() == memory.subset(keep).fingerprint()


def test_large_series_are_saved_uncompressed_and_stay_on_disk(tmp_path, monkeypatch):
    series = make_series()
    monkeypatch.setattr("xrd_jax.series.hdf5.MAX_BYTES_IN_MEMORY", 1000)
    series.save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5") as file:
        assert file["entry/data/intensity"].compression is None
    assert PatternSeries.load(tmp_path / "series.h5", 1000).fingerprint() == series.fingerprint()


def test_a_series_can_be_saved_over_itself_but_is_then_another(tmp_path):
    path = tmp_path / "series.h5"
    make_series().save(path)
    disk = PatternSeries.load(path, 0)
    disk.subset(np.arange(100, 120)).save(path)
    assert len(PatternSeries.load(path)) == 20
    with pytest.raises(UserError, match="was changed after it had been opened"):
        disk.intensity[0]
    path.unlink()
    with pytest.raises(UserError, match="can no longer be read"):
        disk.intensity[0]


def test_not_finite_patterns_on_disk_are_named_when_read(tmp_path):
    series = make_series()
    values = series.intensity.astype(np.float32)
    dataclasses.replace(series, intensity=values).save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5", "r+") as file:
        file["entry/data/intensity"][7, 3] = np.nan
    disk = PatternSeries.load(tmp_path / "series.h5", 0)
    assert np.isfinite(disk.intensity[8:]).all()
    with pytest.raises(UserError, match="pattern 7 holds NaN"):
        disk.fingerprint()
    with pytest.raises(UserError, match="pattern 7 holds NaN"):
        PatternSeries.load(tmp_path / "series.h5")


def test_labels_larger_than_their_file_are_refused_before_they_are_read(tmp_path):
    make_series().save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5", "r+") as file:
        del file["entry/data/time"]
        file["entry/data"].create_dataset("time", (1 << 40,), "f8", chunks=(1 << 16,), compression="gzip")
    with pytest.raises(UserError, match="not a pattern series"):
        PatternSeries.load(tmp_path / "series.h5")


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"series\.h5: cannot be written \(No space left"):
        make_series().save(tmp_path / "series.h5")
    assert list(tmp_path.iterdir()) == []
