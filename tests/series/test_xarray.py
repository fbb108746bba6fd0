"""A series becomes an xarray Dataset and comes back the same; Datasets of other people become series."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax.errors import UserError
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

xarray = pytest.importorskip("xarray", reason="the extra 'xarray' is not installed")


def odd_series(series):
    """Names that coordinates have too, a mask, an unused session, no times, intensities instead of counts."""
    return dataclasses.replace(
        series,
        intensity=series.intensity / np.float32(3),
        axis=Axis(np.linspace(400.0, 700.0, 96), "wavelength", 1.2, masked=((420.0, 430.5),)),
        targets={
            name: Target(np.arange(len(series)) * 0.5, unit="h") for name in ("cycle", "intensity", "time", "x y")
        },
        session_names=("a", "a", "unused"),
        is_counts=False,
        timed=False,
    )


def assert_equal(left, right):
    assert left.fingerprint() == right.fingerprint()
    for field in dataclasses.fields(PatternSeries):
        if field.name not in ("intensity", "axis", "time", "cycle", "session", "targets"):
            assert getattr(left, field.name) == getattr(right, field.name), field.name
    described = [
        ({k: (t.kind, t.unit, t.classes) for k, t in s.targets.items()}, s.axis.kind, s.axis.wavelength, s.axis.masked)
        for s in (left, right)
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize("change", [lambda series: series, odd_series], ids=["simulated", "odd"])
def test_there_and_back_is_equal(series, change):
    changed = change(series)
    assert_equal(PatternSeries.from_xarray(changed.to_xarray()), changed)


def test_what_stays_on_disk_becomes_arrays(series, tmp_path):
    series.save(tmp_path / "series.h5")
    stored = PatternSeries.load(tmp_path / "series.h5", limit_bytes=0)
    assert_equal(PatternSeries.from_xarray(stored.to_xarray()), series)


def test_units_and_names_are_where_people_look_for_them(series):
    data = series.to_xarray()
    assert data["intensity"].dims == ("pattern", "two_theta") and data["intensity"].attrs["units"] == "counts"
    units = {name: data[name].attrs["units"] for name in ("two_theta", "time", "wavelength", "voltage")}
    assert units == {"two_theta": "deg", "time": "s", "wavelength": "angstrom", "voltage": "V"}
    assert float(data["wavelength"]) == 1.5418
    strongest = data["intensity"].groupby("session").mean().sel(two_theta=22.0, method="nearest")
    assert strongest.sizes == {"session": 2} and data["mode"].attrs["classes"] == ["c1", "c2", "d1", "d2"]


def test_any_array_with_an_axis_is_a_series():
    times = np.array(["2026-01-01T00:00:30", "2026-01-01T00:00:00", "2026-01-01T00:01:00"], "datetime64[ns]")
    data = xarray.Dataset(
        {"intensity": (("q", "time"), np.arange(12.0).reshape(4, 3)), "state": ("time", ["full", "empty", "full"])},
        {"q": [1.0, 1.5, 2.0, 2.5], "time": times, "wavelength": ((), 0.1, {"units": "nm"})},
    )
    series = PatternSeries.from_xarray(data)
    assert series.intensity.tolist()[0] == [0.0, 3.0, 6.0, 9.0] and series.axis.kind == "q" and series.timed
    assert series.time.tolist() == [30.0, 0.0, 60.0] and series.axis.wavelength == pytest.approx(1.0)
    state = series.targets["state"]
    assert state.classes == ("empty", "full") and state.values.tolist() == [1, 0, 1]
    alone = PatternSeries.from_xarray(data["intensity"].drop_vars("time"))
    assert not alone.timed and not alone.is_counts and alone.time.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda data: data.rename(intensity="counts"), "no variable 'intensity'"),
        (lambda data: data.rename(two_theta="tth"), "named after the axis"),
        (lambda data: data.assign_coords(two_theta=("two_theta", data.two_theta.values, {"units": "rad"})), "'rad'"),
        (lambda data: data.assign_coords(wavelength=((), 8.0, {"units": "keV"})), "'keV'"),
        (lambda data: data["intensity"].isel(pattern=0), "it needs two"),
        (lambda data: data.isel(two_theta=slice(None, None, -1)), "strictly increasing"),
    ],
)
def test_what_is_no_series_is_refused_with_a_remedy(change, answer):
    with pytest.raises(UserError, match=answer):
        PatternSeries.from_xarray(change(make_series(12, 8).to_xarray()))
