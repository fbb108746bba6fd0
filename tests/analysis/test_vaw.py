"""VAW, its registration, window shares and the baseline, against what can be worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xrd_jax.analysis.metrics import mean_and_std
from xrd_jax.analysis.neighbours import baseline_scores, nearest_indices
from xrd_jax.analysis.vaw import max_over_keys, register, standardise, window_shares
from xrd_jax.commands.report import experiment_name
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import target_specs


def test_raw_vaw_is_the_largest_weight_of_each_query():
    attention = np.array([[[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.3, 0.1, 0.6]]])
    np.testing.assert_allclose(max_over_keys(attention), [[0.8, 0.5, 0.6]])


def test_standardised_maps_span_zero_to_one_and_ignore_scale():
    maps = np.random.default_rng(0).random((3, 5, 16))
    ours = standardise(maps)
    assert np.all(ours.min(axis=-1) == 0) and np.all(ours.max(axis=-1) == 1)
    np.testing.assert_allclose(ours, standardise(7.0 * maps + 2.0))
    assert np.all(standardise(np.ones((2, 4))) == 0)


def test_registration_moves_up_by_the_offset():
    curve = np.zeros(10)
    curve[4] = 1.0
    moved = register(curve, 3.0)
    assert np.nanargmax(moved) == 7 and np.isnan(moved[:3]).all() and np.isfinite(moved[3:]).all()
    half = register(curve, 0.5)
    assert half[4] == half[5] == 0.5
    np.testing.assert_array_equal(register(curve, 0.0), curve)


def test_shares_of_windows_that_tile_the_axis_sum_to_one():
    axis, curve = np.arange(10.0), np.random.default_rng(1).random(10)
    shares = window_shares(axis, curve, {"a": (0.0, 3.5), "b": (3.6, 9.0), "none": (20.0, 30.0)})
    assert shares["a"]["share"] + shares["b"]["share"] == pytest.approx(1.0)
    assert np.isnan(shares["none"]["share"]) and shares["b"]["max"] == curve[4:].max()


def test_neighbours_are_the_nearest():
    rng = np.random.default_rng(2)
    train, test = rng.normal(size=(40, 5)), rng.normal(size=(9, 5))
    distance = np.linalg.norm(test[:, None] - train[None], axis=-1)
    expected = np.sort(np.argsort(distance, axis=1)[:, :3], axis=1)
    np.testing.assert_array_equal(np.sort(nearest_indices(train, test), axis=1), expected)


def test_baseline_beats_guessing_by_far_on_repeated_cycles(series, config):
    prepared = prepare(series, config.prepare)
    specs = target_specs(prepared, ("voltage", "mode", "rate"))
    scores = baseline_scores(prepared.series, specs, config.prepare, 0)
    assert scores["voltage"]["mae"] <= scores["voltage"]["rmse"] < 0.3 * series.targets["voltage"].values.std()
    assert scores["rate"]["accuracy"] > 0.9


def test_deviation_of_one_seed_is_zero():
    assert mean_and_std(np.array([2.0])) == {"mean": 2.0, "std": 0.0, "per_seed": [2.0]}


def test_only_the_simulated_cell_is_called_a_case_of_the_paper(series, config):
    mine = dataclasses.replace(series, provenance={"title": "minced meat"})
    assert experiment_name(config, series) == "case 3" and experiment_name(config, mine) == "minced meat"
    assert experiment_name(dataclasses.replace(config, data="a/cell.h5"), series) == "cell"
