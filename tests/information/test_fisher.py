"""Laws of what is known: information is positive, scales with exposure, is never gained, and adds up."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information import whitening
from xrd_jax.information.fisher import carrier_channels, channel_information, mean_shares, window_shares
from xrd_jax.information.mutual_information import mutual_information
from xrd_jax.information.nearest_states import nearest_of_other_class
from xrd_jax.information.state_path import REACH, cell_state_path, take_frames
from xrd_jax.physics import profile
from xrd_jax.physics.forward_model import (
    expected_counts,
    expected_series,
    nuisance_derivatives,
    voltage_derivative,
)
from xrd_jax.physics.sessions import draw_session
from xrd_jax.physics.windows import channel_angles, named_windows
from xrd_jax.preprocessing.resize import resize_matrix

# A tenth of the channels five times as wide, and only the top of the charge: the same physics in a second.
CELL = Cell(step_deg=0.1, channels=280, start_deg=12.0, shift_sigma_deg=0.01)
TOP = PrepareConfig(window_target="voltage", window_low=4.12, resize="none")
BINNED = dataclasses.replace(TOP, resize="bin", channels=64)
LOWER = dataclasses.replace(BINNED, window_low=3.95)  # both directions at 1C, too
AXIS = channel_angles(CELL)


@pytest.fixture(scope="module")
def information():
    return channel_information(CELL, TOP)


@pytest.fixture(scope="module")
def frame():
    """One state in the middle of the first charge with its direction, and the dictionaries."""
    path = cell_state_path(CELL)
    state, direction = (frame_of(states, 500) for states in (path.states, path.direction))
    return profile.dictionaries(CELL), state, direction


def frame_of(states, index):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), states)


def test_rows_are_shares_of_the_frames_of_the_window(information):
    series_length, analysed = 8000, information.is_analysed
    assert set(information.shares) == {"voltage", "mode", "rate"}
    assert information.centres.shape == (CELL.channels,)
    for target, rows in information.shares.items():
        assert rows.shape == (series_length, CELL.channels)
        assert (rows >= 0).all()
        assert np.allclose(rows[analysed].sum(axis=1), 1.0, atol=1e-4)
        assert not rows[~analysed].any()
        assert (information.total[target][analysed] > 0).all()
        assert mean_shares(information, target).sum() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(np.isnan(information.bound), ~analysed)
    assert np.allclose(information.bound[analysed], np.sqrt(2 / np.pi / information.total["voltage"][analysed]))


def test_frames_are_those_of_the_series(information):
    voltage = np.concatenate([draw_session(CELL, rate).trajectory.voltage for rate in CELL.rates])
    assert np.array_equal(information.is_analysed, voltage >= TOP.window_low)
    twice = dataclasses.replace(CELL, repeats=2)
    voltage = np.concatenate([draw_session(twice, rate).trajectory.voltage for rate in CELL.rates])
    path = cell_state_path(twice)
    assert np.array_equal(path.voltage[path.path_index], voltage)


def test_exposure_scales_information(information):
    longer, analysed = channel_information(dataclasses.replace(CELL, exposure_s=50.0), TOP), information.is_analysed
    for target in information.total:
        ratio = longer.total[target][analysed] / information.total[target][analysed]
        assert np.allclose(ratio, 10.0, rtol=2e-2)
        assert np.abs(mean_shares(longer, target) - mean_shares(information, target)).max() < 1e-3


@pytest.mark.parametrize("resize", ["bin", "spline"])
def test_resizing_never_gains(information, resize):
    resized, analysed = channel_information(CELL, dataclasses.replace(BINNED, resize=resize)), information.is_analysed
    ratio = resized.total["voltage"][analysed] / information.total["voltage"][analysed]
    assert ratio.min() > 0.05
    assert ratio.max() < 1.0


def test_bins_that_share_no_channel_are_poisson(frame):
    dictionaries, state, _ = frame
    matrix = np.repeat(np.eye(56), 5, axis=0)
    noise = whitening.prepare(matrix)
    assert len(noise.bands) == 1
    counts = expected_counts(dictionaries, state)
    vector = jnp.asarray(np.random.default_rng(0).standard_normal((1, 56)), jnp.float32)
    expected = vector / jnp.sqrt(counts @ matrix)[None, :]
    assert np.allclose(whitening.whitened(noise, counts, vector), expected, rtol=1e-5)


@pytest.mark.parametrize(("resize", "channels"), [("bin", 64), ("spline", 64), ("bin", 130)])
def test_whitening_is_the_symmetric_root_of_the_covariance(frame, resize, channels):
    dictionaries, state, _ = frame
    matrix, _ = resize_matrix(AXIS, dataclasses.replace(BINNED, resize=resize, channels=channels))
    counts = np.asarray(expected_counts(dictionaries, state), np.float64)
    values, vectors = np.linalg.eigh(matrix.T @ (counts[:, None] * matrix))
    size = np.sqrt(np.diag(matrix.T @ (counts[:, None] * matrix)))
    signal = np.random.default_rng(0).standard_normal((3, channels)) * size[None, :]
    white = whitening.whitened(whitening.prepare(matrix), jnp.asarray(counts), jnp.asarray(signal))
    # Whitening by the correlation's root after scaling keeps the Fisher information exactly.
    exact = (signal @ vectors) ** 2 @ (1 / values)
    assert np.allclose((np.asarray(white, np.float64) ** 2).sum(axis=1), exact, rtol=5e-3)


def test_channels_that_are_nearly_one_are_refused():
    with pytest.raises(UserError, match=r"prepare\.resize=none"):
        whitening.prepare(np.repeat(np.eye(20), 2, axis=1))


def test_profiling_takes_away_what_nuisances_explain_and_never_gains():
    rng = np.random.default_rng(1)
    vector, nuisances = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in (50, (3, 50)))
    left = whitening.profiled(vector, nuisances)
    assert np.abs(nuisances @ left).max() < 1e-4
    assert float(left @ left) < float(vector @ vector)
    assert np.allclose(whitening.profiled(left, nuisances), left, atol=1e-5)
    assert np.abs(whitening.profiled(2.0 * nuisances[0] - nuisances[2], nuisances)).max() < 1e-4


def test_a_known_nuisance_leaves_more(frame):
    dictionaries, state, direction = frame
    counts = expected_counts(dictionaries, state)
    noise = whitening.prepare(np.eye(CELL.channels))
    change = voltage_derivative(dictionaries, state, direction)
    rows = jnp.stack([change, *nuisance_derivatives(dictionaries, state)])
    white = whitening.whitened(noise, counts, rows)
    amounts = [float((whitening.profiled(white[0], white[1 : 1 + count]) ** 2).sum()) for count in (1, 2, 3)]
    assert float((white[0] ** 2).sum()) > amounts[0] > amounts[1] > amounts[2] > 0


def test_derivative_along_the_path_agrees_with_the_patterns_on_either_side(frame):
    dictionaries, state, direction = frame
    tangent = np.asarray(voltage_derivative(dictionaries, state, direction), np.float64)
    path, sides = cell_state_path(CELL), [500 - REACH, 500 + REACH]
    before, after = np.asarray(expected_series(dictionaries, take_frames(path.states, np.array(sides))), np.float64)
    difference = (after - before) / np.diff(path.voltage[sides])
    assert np.abs(tangent - difference).max() < 0.1 * np.abs(difference).max()
    assert np.corrcoef(tangent, difference)[0, 1] > 0.995


def test_fisher_information_is_the_curvature_of_the_divergence(frame):
    # Twice the Kullback-Leibler divergence of a small step, over its square: another way to the same number.
    dictionaries, state, direction = frame
    counts = np.asarray(expected_counts(dictionaries, state), np.float64)
    tangent = np.asarray(voltage_derivative(dictionaries, state, direction), np.float64)
    moved = counts + 1e-4 * tangent
    divergence = 2.0 * (moved - counts + counts * np.log(counts / moved)).sum() / 1e-4**2
    noise = whitening.prepare(np.eye(CELL.channels))
    white = whitening.whitened(noise, jnp.asarray(counts), jnp.asarray(tangent)[None, :])
    assert float((white**2).sum()) == pytest.approx(divergence, rel=1e-2)


def test_nearest_state_is_of_another_class_and_no_other_is_nearer():
    path = cell_state_path(CELL)
    frames = np.flatnonzero(path.voltage > 3.9)[::20]
    states = take_frames(path.states, frames)
    labels = np.stack([path.mode[frames], path.rate[frames]], axis=1)
    dictionaries = profile.dictionaries(CELL)
    nearest = nearest_of_other_class(CELL, dictionaries, states, labels)
    mean = np.asarray(expected_series(dictionaries, states), np.float64)
    for column in (0, 1):
        assert (labels[nearest[:, column], column] != labels[:, column]).all()
        for index in (3, len(frames) // 2):
            nuisances = np.asarray(nuisance_derivatives(dictionaries, frame_of(states, index)), np.float64)
            nuisances /= np.sqrt(mean[index])
            change = (mean - mean[index]) / np.sqrt(mean[index])
            left = change - change @ np.linalg.pinv(nuisances) @ nuisances
            distance = np.where(labels[:, column] != labels[index, column], (left**2).sum(axis=1), np.inf)
            assert distance[nearest[index, column]] < 1.3 * distance.min() + 0.5


def test_one_rate_has_nothing_to_tell_about_rates():
    alone = channel_information(dataclasses.replace(CELL, rates=("1C",)), LOWER)
    assert set(alone.shares) == {"voltage", "mode"}


def test_a_decoy_carries_nothing_though_it_moves():
    cell = dataclasses.replace(CELL, decoy=True)
    windows = named_windows(cell)
    information = channel_information(cell, BINNED)
    for target in information.shares:
        assert window_shares(information, target, windows)["decoy"] < 0.01
    inside = (information.centres > windows["decoy"][0]) & (information.centres < windows["decoy"][1])
    deviation = information.expected[information.is_analysed].std(axis=0)
    assert deviation[inside].max() > 0.2 * deviation.max()


def test_carriers_are_the_smallest_set(information):
    for target in information.shares:
        shares, is_carrier = mean_shares(information, target), carrier_channels(information, target)
        assert shares[is_carrier].sum() >= 0.9 - 1e-6
        assert shares[is_carrier].sum() - shares[is_carrier].min() < 0.9
        assert shares[is_carrier].min() >= shares[~is_carrier].max()
    assert carrier_channels(information, "voltage", 1.0).sum() > carrier_channels(information, "voltage", 0.5).sum()


def test_mutual_information_of_cases_that_are_known():
    labels = np.repeat(np.arange(4), 500)
    nothing, everything = np.full(2000, 400.0), 400.0 + 1000.0 * labels
    half = 400.0 + 1000.0 * (labels >= 2)
    channels = np.stack([nothing, everything, half], axis=1)
    assert mutual_information(channels, channels, labels) == pytest.approx([0.0, 2.0, 1.0], abs=1e-3)
    # A class at ±1 standard deviation: I = h(mixture) - h(normal), integrated here on its own grid.
    two = (20.0 + 0.5 * np.array([-1.0, 1.0])[np.repeat([0, 1], 1000)])[:, None] ** 2
    x = np.linspace(-9, 9, 20001)
    mixture = sum(np.exp(-0.5 * (x - centre) ** 2) / np.sqrt(2 * np.pi) / 2 for centre in (-1, 1))
    exact = -(mixture * np.log2(mixture)).sum() * (x[1] - x[0]) - 0.5 * np.log2(2 * np.pi * np.e)
    assert mutual_information(two, two, np.repeat([0, 1], 1000))[0] == pytest.approx(exact, abs=0.02)


def test_an_empty_window_is_refused():
    with pytest.raises(UserError, match="window_low"):
        channel_information(CELL, dataclasses.replace(TOP, window_low=9.0))
    with pytest.raises(UserError, match="window_target"):
        channel_information(CELL, dataclasses.replace(TOP, window_target="soc"))
