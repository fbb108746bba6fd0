"""Averages over time take training neighbours of the same kind, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np

from xrd_jax.preprocessing.time_average import smooth


def test_smoothing_uses_training_neighbours_of_the_same_kind_only(series):
    train = np.arange(0, len(series), 2)
    smoothed = smooth(series, train, 3.0)
    spoiled = series.intensity.copy()
    spoiled[1::2] = 9999
    np.testing.assert_array_equal(smoothed, smooth(dataclasses.replace(series, intensity=spoiled), train, 3.0))
    other = series.intensity.copy()
    other[series.session == 1] = 9999
    again = smooth(dataclasses.replace(series, intensity=other), train, 3.0)
    first = series.session[train] == 0
    np.testing.assert_array_equal(smoothed[first], again[first])
    np.testing.assert_allclose(smooth(series, train, 1e-9), series.intensity[train])


def test_some_rows_are_those_of_all(series):
    train = np.arange(0, len(series), 2)
    rows = np.array([5, 3, 100, 64])
    np.testing.assert_allclose(smooth(series, train, 6.0, rows), smooth(series, train, 6.0)[rows], rtol=1e-6)
