"""The record keeps its shape, survives the disk, and refuses what is not one."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from xrd_jax.errors import UserError
from xrd_jax.series.axis import Axis
from xrd_jax.series.record import PatternSeries


def test_saved_and_loaded_is_equal(series, tmp_path):
    path = tmp_path / "deep" / "series.h5"
    series.save(path)
    loaded = PatternSeries.load(path)
    assert loaded.fingerprint() == series.fingerprint()
    assert loaded.intensity.dtype == series.intensity.dtype
    for name in ("session_names", "is_counts", "windows", "reflections", "provenance"):
        assert getattr(loaded, name) == getattr(series, name)
    assert loaded.axis.kind == series.axis.kind and loaded.axis.wavelength == series.axis.wavelength
    kinds = [[(name, t.kind, t.unit, t.classes) for name, t in sorted(s.targets.items())] for s in (series, loaded)]
    assert kinds[0] == kinds[1] and [file.name for file in path.parent.iterdir()] == ["series.h5"]


def test_file_is_nxdata(series, tmp_path):
    series.save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5") as file:
        data = file[file.attrs["default"]][file["entry"].attrs["default"]]
        assert data.attrs["NX_class"] == "NXdata"
        assert data[data.attrs["signal"]].shape == tuple(data[a].size for a in data.attrs["axes"])


def test_fingerprint_sees_every_array(series):
    changed = series.intensity.copy()
    changed[0, 0] += 1
    others = [
        dataclasses.replace(series, intensity=changed),
        dataclasses.replace(series, time=series.time + 1),
        dataclasses.replace(series, axis=Axis(series.axis.values + 0.01)),
        dataclasses.replace(series, cycle=series.cycle + 1),
    ]
    assert len({s.fingerprint() for s in [series, *others]}) == 5


def test_subset_of_all_is_all_and_order_is_kept(series):
    assert series.subset(np.arange(len(series))).fingerprint() == series.fingerprint()
    part = series.subset(np.array([5, 3]))
    assert np.array_equal(part.intensity, series.intensity[[5, 3]]) and part.time[0] == series.time[5]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda s: {"time": s.time[:-1]}, "time has shape"),
        (lambda s: {"axis": Axis(s.axis.values[:-1])}, "does not fit an axis"),
        (lambda s: {"intensity": np.where(np.arange(len(s))[:, None] == 4, np.nan, s.intensity)}, "pattern 4 holds"),
    ],
)
def test_ill_formed_records_are_refused(series, change, answer):
    with pytest.raises(UserError, match=answer):
        dataclasses.replace(series, **change(series))


def test_axis_must_rise():
    with pytest.raises(UserError, match="strictly increasing"):
        Axis(np.array([1.0, 1.0, 2.0]))
    with pytest.raises(UserError, match="axis kind 'theta'"):
        Axis(np.arange(3.0), "theta")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UserError, match="not a pattern series"):
        PatternSeries.load(tmp_path / "text.h5")
    with pytest.raises(UserError, match="no such file"):
        PatternSeries.load(tmp_path / "none.h5")
