"""A target as a distribution: labels, quantiles and scores agree with their definitions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.runs import TINY
from tests.support.series import make_series
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.splits import contiguous_groups, hold_out_groups
from xrd_jax.preprocessing.targets import TargetSpec, target_specs
from xrd_jax.series.axis import Target

LOW, HIGH, BINS = 3.5, 4.3, 40


@pytest.fixture(scope="module")
def distributions():
    return np.random.default_rng(0).dirichlet(np.full(BINS, 0.3), 60).astype(np.float32)


def test_bins_hold_all_values_with_a_margin():
    values = np.random.default_rng(1).uniform(-3.0, 5.0, 100)
    low, high = histogram.bin_range(values, 64)
    width = (high - low) / 64
    assert values.min() - low == pytest.approx(histogram.MARGIN_BINS * width)
    assert high - values.max() == pytest.approx(histogram.MARGIN_BINS * width)


@pytest.mark.parametrize("width", [0.5, 0.75, 1.5])
def test_a_smoothed_label_has_its_value_as_median_and_mean(width):
    values = np.random.default_rng(2).uniform(3.6, 4.2, 50)
    edges = jnp.linspace(LOW, HIGH, BINS + 1)
    bin_width = (HIGH - LOW) / BINS
    labels = histogram.smoothed_labels(jnp.asarray(values, jnp.float32), edges, width * bin_width)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(histogram.quantile(labels, LOW, HIGH, 0.5), values, atol=0.11 * bin_width)
    np.testing.assert_allclose(histogram.mean(labels, LOW, HIGH), values, atol=0.02 * bin_width)


def test_quantiles_are_the_inverse_of_the_distribution_function(distributions):
    levels = np.random.default_rng(3).uniform(0.02, 0.98, len(distributions)).astype(np.float32)
    values = histogram.quantile(jnp.asarray(distributions), LOW, HIGH, jnp.asarray(levels))
    np.testing.assert_allclose(
        histogram.cumulative_at(distributions, LOW, HIGH, np.asarray(values, np.float64)), levels, atol=2e-4
    )
    for level, end in ((0.0, LOW), (1.0, HIGH)):
        inside = np.asarray(histogram.quantile(jnp.full((1, BINS), 1 / BINS), LOW, HIGH, level))
        np.testing.assert_allclose(inside, end, atol=1e-5)


def test_the_score_is_the_integral_of_the_squared_difference(distributions):
    values = np.random.default_rng(4).uniform(LOW - 0.1, HIGH + 0.1, len(distributions))
    grid, edges = np.linspace(LOW - 0.2, HIGH + 0.2, 40001), np.linspace(LOW, HIGH, BINS + 1)
    for row, value, score in zip(distributions, values, histogram.crps(distributions, LOW, HIGH, values), strict=True):
        function = np.interp(grid, edges, np.concatenate([[0.0], np.cumsum(row)]))
        assert score == pytest.approx(np.trapezoid((function - (grid >= value)) ** 2, grid), abs=3e-5)


def test_the_median_has_a_finite_slope_for_any_distribution():
    spec = TargetSpec("voltage", "regression", "V", BINS, (), 3.9, 0.2, LOW, HIGH)
    outputs = jnp.stack([jnp.zeros(BINS), 60.0 * jax.nn.one_hot(0, BINS), 60.0 * jax.nn.one_hot(BINS - 1, BINS)])
    slope = jax.grad(lambda output: spec.standardised(output).sum())(outputs)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(
        spec.standardised(outputs) * spec.deviation + spec.mean, spec.to_physical(outputs), rtol=1e-5
    )


def test_a_target_with_few_values_is_no_distribution():
    series = make_series()
    steps = Target(np.round(series.targets["voltage"].values, 1), "regression", "V")
    coarse = dataclasses.replace(series, targets={"voltage": steps})
    prepared = prepare(coarse, TINY.prepare)
    with pytest.raises(UserError, match=r"distinct values .* use model.regression=value"):
        target_specs(prepared, ("voltage",), "histogram", 64)
    with pytest.raises(UserError, match="at least 8 bins"):
        target_specs(prepare(series, TINY.prepare), ("voltage",), "histogram", 6)


def test_groups_inside_the_training_patterns_are_contiguous():
    series = make_series()
    train = np.arange(0, len(series), 2)
    groups = contiguous_groups(series, train)
    assert groups.shape == train.shape and np.unique(groups).size >= 4
    for number in np.unique(groups):
        rows = np.flatnonzero(groups == number)
        assert np.unique(series.session[train[rows]]).size == 1
        same_session = np.flatnonzero(series.session[train] == series.session[train[rows[0]]])
        assert np.array_equal(rows, same_session[np.isin(same_session, np.arange(rows[0], rows[-1] + 1))])


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_calibration_patterns_are_whole_blocks_of_the_training_patterns(fraction):
    series, train = make_series(), np.arange(0, 200)
    kept, held_out = hold_out_groups(series, train, fraction, seed=0)
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), train)
    assert held_out.size == pytest.approx(fraction * train.size, rel=0.35)
    assert np.count_nonzero(np.diff(held_out) > 1) < held_out.size / 3  # few and long, not single patterns
    assert hold_out_groups(series, train, 0.0, seed=0)[1].size == 0
    with pytest.raises(UserError, match=r"prepare.calibration=1.5"):
        hold_out_groups(series, train, 1.5, seed=0)
