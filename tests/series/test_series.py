"""The record keeps its shape, survives the disk, and refuses what is not one."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from tests.support.series import make_series
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


@pytest.mark.parametrize(
    ("field", "index", "value", "message"),
    [
        ("time", 5, np.nan, "pattern 5 has no time"),
        ("intensity", 5, np.inf, "pattern 5 holds NaN, infinite"),
        ("intensity", 5, 1e31, "pattern 5 holds NaN, infinite"),
        ("session", 5, 2, "session has values from 0 to 2"),
        ("cycle", 5, -1, "cycle has values from -1"),
        ("voltage", 5, np.nan, "pattern 5 has the value nan, not a finite number"),
        ("voltage", 5, -np.inf, "pattern 5 has the value -inf, not a finite number"),
        ("mode", 5, -1, "pattern 5 has the value -1, not the index of a class, 0 to 3"),
        ("mode", 5, 4, "pattern 5 has the value 4, not the index of a class"),
        ("mode", 5, np.nan, "pattern 5 has the value nan, not the index"),
        ("mode", 5, 1.5, "pattern 5 has the value 1.5, not the index"),
    ],
)
def test_what_is_no_number_is_refused_at_the_door(field, index, value, message):
    series = make_series(frames=20)
    source = series.targets[field].values if field in series.targets else getattr(series, field)
    is_whole = isinstance(value, int)
    values = source.astype(np.int64 if is_whole else np.float64)
    values[(index, 0) if values.ndim == 2 else index] = value
    record = series.targets.get(field, series)
    with pytest.raises(UserError, match=message):
        dataclasses.replace(record, **{"values" if record is not series else field: values})


def test_an_axis_is_finite_and_a_wavelength_positive():
    with pytest.raises(UserError, match="strictly increasing"):
        Axis(np.array([1.0, 2.0, np.inf]))
    for wavelength in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UserError, match="give a positive number"):
            Axis(np.array([1.0, 2.0]), "two_theta", wavelength)
