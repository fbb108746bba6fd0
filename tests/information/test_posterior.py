"""Laws of the exact posterior: it agrees with brute force, reaches the bound, and its Shapley values add up."""

from __future__ import annotations

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information import posterior
from xrd_jax.information.fisher import channel_information
from xrd_jax.information.likelihood import expand_in_shift, group_likelihood, split_groups, state_posterior
from xrd_jax.information.posterior import REST, decide, draw_sample, score_channels, score_group_sets
from xrd_jax.information.shapley import default_windows, shapley_of_windows, shapley_values
from xrd_jax.information.state_path import take_frames
from xrd_jax.physics import forward_model, profile
from xrd_jax.physics.simulate import simulate
from xrd_jax.physics.windows import channel_angles
from xrd_jax.preprocessing.prepare import apply_window

# The posterior looks at shifts far below a channel, where wide channels would see the kinks of the interpolation.
CELL = Cell(step_deg=0.04, channels=700)
AXIS = channel_angles(CELL)
WINDOW = PrepareConfig(window_target="voltage", window_low=4.0, resize="none")


@pytest.mark.parametrize("span", [(12.0, 40.0), (17.0, 20.0), (12.5, 16.5)])
def test_posterior_is_that_of_a_sum_over_flux_and_shift(span):
    # The same integral, by brute force on a grid of fluxes and shifts, for a few frames and states.
    sample, _ = draw_sample(CELL, 6, WINDOW)
    states = take_frames(sample.states, slice(None, None, 60))
    dictionaries, inside = profile.dictionaries(CELL), (span[0] <= AXIS) & (span[1] >= AXIS)
    flux_sigma, shift_sigma = CELL.flux_sigma, CELL.shift_sigma_deg
    count, counts = len(states.flux), sample.counts[:, inside]
    total = np.full((len(counts), count), -np.inf)
    for shift in shift_sigma * np.linspace(-4, 4, 121):
        moved = states._replace(shift=np.full(count, shift, np.float32))
        mean = np.asarray(forward_model.expected_series(dictionaries, moved), np.float64)[:, inside]
        match = counts @ np.log(mean).T - 0.5 * (shift / shift_sigma) ** 2
        for flux in flux_sigma * np.linspace(-4, 4, 81):
            value = match + counts.sum(axis=1)[:, None] * np.log1p(flux) - (1 + flux) * mean.sum(axis=1)[None, :]
            total = np.logaddexp(total, value - 0.5 * (flux / flux_sigma) ** 2)
    exact = np.exp(total - total.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    expansions = split_groups(expand_in_shift(dictionaries, states, jnp.float32(shift_sigma)), inside[None, :])
    likelihood = group_likelihood([jnp.asarray(counts, jnp.float32)], expansions)
    probabilities = np.asarray(state_posterior(likelihood, jnp.ones(1), jnp.float32(flux_sigma)))
    assert (0.5 * np.abs(probabilities - exact).sum(axis=1)).max() < 0.02


def test_patterns_themselves_have_a_posterior_that_reaches_the_bound(monkeypatch):
    monkeypatch.setattr(posterior, "MAX_TESTED", 100)
    cell, window = dataclasses.replace(CELL, rates=("1C",)), dataclasses.replace(WINDOW, window_low=3.9)
    series = apply_window(simulate(cell), window)
    bound, test = np.nanmean(channel_information(cell, window).bound), np.arange(0, len(series), 3)
    exact = posterior.score_patterns(cell, window, series, test)
    assert 0.7 * bound < exact.scores["voltage"] < 3.0 * bound and exact.scores["mode"] > 0.9
    assert 50 <= exact.patterns <= 100 and exact.states <= posterior.MAX_STATES
    assert posterior.score_patterns(cell, window, series.subset(np.arange(600)), test[:200]) is None


def test_the_posterior_reaches_the_bound_where_it_is_narrow():
    # One rate, bright: mode and rate are never in doubt, so nothing but photons stands between it and the bound.
    cell = dataclasses.replace(CELL, rates=("1C",))
    window = dataclasses.replace(WINDOW, window_low=3.9)
    bound = np.nanmean(channel_information(cell, window).bound)
    scores = score_channels(cell, np.ones(cell.channels, bool), 200, window)
    assert scores["mode"] > 0.9
    assert 0.7 * bound < scores["voltage"] < 3.0 * bound


def test_estimates_of_a_posterior_that_is_known():
    posterior, voltage = jnp.array([[0.6, 0.1, 0.3], [0.0, 0.2, 0.8]]), jnp.array([3.0, 3.5, 4.0])
    modes, rates = jnp.eye(3), jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    median, mode, rate = decide("median", posterior, voltage, modes, rates)
    assert (median.tolist(), mode.tolist(), rate.tolist()) == ([3.0, 4.0], [0, 2], [0, 1])
    np.testing.assert_allclose(decide("mean", posterior, voltage, modes, rates)[0], [3.35, 3.9], rtol=1e-6)


def test_no_channels_tell_nothing_and_more_tell_more():
    groups = np.stack([AXIS < 23.0, AXIS >= 23.0])
    scores = score_group_sets(CELL, groups, np.array([[0, 0], [0, 1], [1, 1]], bool), 120, WINDOW)
    assert scores["voltage"][0] > 2 * scores["voltage"][1] > 2 * scores["voltage"][2]
    assert scores["rate"][0] < scores["rate"][1] - 0.1 <= scores["rate"][2]
    together = score_channels(CELL, np.ones(CELL.channels, bool), 120, WINDOW)
    assert together["voltage"] == pytest.approx(scores["voltage"][2], rel=0.05)


def test_shapley_values_sum_to_the_whole_and_of_a_sum_are_its_terms():
    sets = np.array(list(itertools.product((False, True), repeat=3)))
    assert shapley_values(sets, sets @ np.array([1.0, 2.0, 5.0])) == pytest.approx([1.0, 2.0, 5.0])
    both = (sets[:, 0] & sets[:, 2]).astype(float)
    assert shapley_values(sets, both) == pytest.approx([0.5, 0.0, 0.5])


def test_shapley_values_of_a_cell():
    windows = {"003": (17.0, 20.0), "graphite": (23.0, 27.5)}
    values = shapley_of_windows(CELL, windows, 100, WINDOW)
    assert set(values) == {"voltage", "mode", "rate"}
    groups = np.stack([(low <= AXIS) & (high >= AXIS) for low, high in windows.values()])
    groups = np.concatenate([groups, ~groups.any(axis=0, keepdims=True)])
    ends = score_group_sets(CELL, groups, np.array([[0, 0, 0], [1, 1, 1]], bool), 100, WINDOW)
    assert sum(values["voltage"].values()) == pytest.approx(ends["voltage"][0] - ends["voltage"][1], rel=1e-6)
    assert sum(values["mode"].values()) == pytest.approx(ends["mode"][1] - ends["mode"][0], abs=1e-9)
    assert list(values["voltage"]) == ["003", "graphite", REST]
    overlapping, off_axis = {"a": (17.0, 20.0), "b": (19.0, 21.0)}, {"a": (90.0, 91.0)}
    for wrong in (overlapping, off_axis, {str(k): (float(k), k + 0.5) for k in range(20, 30)}):
        with pytest.raises(UserError):
            shapley_of_windows(CELL, wrong, 100, WINDOW)


def test_default_windows_of_shapley_values_hold_reflections():
    windows = ["NMC 003", "graphite", "NMC 101+006", "Al 111 + NMC 012"]
    assert list(default_windows(PRESETS["decoy"])) == windows
