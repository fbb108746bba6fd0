"""Splits share nothing, resizing conserves what it should, statistics come from training patterns alone."""

from __future__ import annotations

import dataclasses
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from xrd_jax.config import row_ranges
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import filters, splits
from xrd_jax.preprocessing.noise import input_variance
from xrd_jax.preprocessing.prepare import apply_window, prepare, prepare_inputs
from xrd_jax.preprocessing.resize import resize_matrix, spline_matrix
from xrd_jax.preprocessing.splits import split
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.preprocessing.transform import fit_statistics, transform
from xrd_jax.series.axis import Target

AXIS = np.linspace(12.0, 39.98, 1400)


@pytest.mark.parametrize("kind", ["random", "cycle", "block"])
def test_splits_partition_the_series(series, kind):
    train, test = split(series, PrepareConfig(split=kind), seed=3)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(series)))
    again, _ = split(series, PrepareConfig(split=kind), seed=3)
    assert np.array_equal(train, again)


def test_cycle_split_holds_out_the_last_cycle_of_each_session(series):
    train, test = split(series, PrepareConfig(split="cycle"), seed=0)
    for session in (0, 1):
        inside = series.session == session
        assert series.cycle[train][inside[train]].max() < series.cycle[test][inside[test]].min()


def test_block_split_keeps_neighbours_together(series):
    is_train = np.zeros(len(series), bool)
    is_train[split(series, PrepareConfig(split="block", blocks=4), seed=0)[0]] = True
    assert np.count_nonzero(np.diff(is_train.astype(int))) <= 2 * 4


def test_bins_conserve_counts():
    matrix, centres = resize_matrix(AXIS, PrepareConfig(resize="bin"))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=0), 1400 / 256, rtol=1e-9)
    assert centres.size == 256 and np.all(np.diff(centres) > 0)


UNEVEN = np.concatenate([np.arange(0.0, 10.0, 2.0), np.arange(10.0, 20.0, 0.07), np.arange(20.0, 40.0, 1.0)])


def test_bins_of_what_are_no_counts_are_averages_on_an_uneven_axis():
    """A flat spectrum stays flat, a straight line stays straight where the channels are fine."""
    matrix, centres = resize_matrix(UNEVEN, PrepareConfig(resize="bin", channels=20), is_counts=False)
    np.testing.assert_allclose(np.full(UNEVEN.size, 7.0) @ matrix, 7.0, rtol=1e-12)
    is_fine = (centres > 12) & (centres < 18)
    np.testing.assert_allclose((UNEVEN @ matrix)[is_fine], centres[is_fine], atol=0.05)
    matrix, _ = resize_matrix(UNEVEN, PrepareConfig(resize="bin", channels=20), is_counts=True)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)  # no count is lost or made


@pytest.mark.parametrize("resize", ["spline", "bin"])
def test_straight_lines_cross_what_is_masked(resize):
    """What is resized knows nothing of the masked range: no wide channels beside it, no swing of the spline in it."""
    axis = np.arange(0.0, 10.0, 0.05)
    shown = axis[(axis < 4.0) | (axis > 7.0)]
    matrix, centres = resize_matrix(shown, PrepareConfig(resize=resize, channels=40), False, ((4.0, 7.0),))
    noise = np.random.default_rng(0).normal(0, 1, shown.size)
    np.testing.assert_allclose(
        (3.0 + 0.5 * shown) @ matrix, 3.0 + 0.5 * centres, atol=1e-9 if resize == "spline" else 0.03
    )
    assert np.abs(noise @ matrix)[(centres > 4.0) & (centres < 7.0)].max() < np.abs(noise).max()


def test_spline_reproduces_cubics_and_sits_on_the_ends():
    matrix, centres = resize_matrix(AXIS, PrepareConfig(resize="spline"))
    cubic = np.polynomial.Polynomial([1.0, -0.3, 0.02, 0.001])
    np.testing.assert_allclose(cubic(AXIS) @ matrix, cubic(centres), rtol=1e-9)
    assert centres[0] == AXIS[0] and centres[-1] == AXIS[-1]


@pytest.mark.parametrize("resize", ["spline", "bin"])
def test_a_peak_keeps_its_position(resize):
    matrix, centres = resize_matrix(AXIS, PrepareConfig(resize=resize))
    peak = np.exp(-0.5 * ((AXIS - 25.3) / 0.3) ** 2) @ matrix
    assert abs((peak * centres).sum() / peak.sum() - 25.3) < 0.01


def test_pattern_scaling_ignores_flux_and_background(series):
    config = PrepareConfig(channels=32, centre=False)
    statistics = fit_statistics(series, np.arange(len(series)), config)
    x = jnp.asarray(series.intensity[:4], jnp.float32)
    np.testing.assert_allclose(
        transform(statistics, config, x), transform(statistics, config, 2.5 * x + 40.0), atol=2e-6
    )


@pytest.mark.parametrize("scale", ["total", "sqrt"])
def test_total_scaling_ignores_flux(series, scale):
    config = PrepareConfig(channels=32, scale=scale, scale_at="output", resize="bin")
    statistics = fit_statistics(series, np.arange(len(series)), config)
    x = jnp.asarray(series.intensity[:4], jnp.float32)
    np.testing.assert_allclose(transform(statistics, config, x), transform(statistics, config, 3.0 * x), atol=1e-5)


@pytest.mark.parametrize("scale", ["pattern", "dataset", "total", "sqrt"])
def test_no_test_pattern_reaches_the_statistics(series, scale):
    config = PrepareConfig(channels=32, scale=scale)
    prepared = prepare(series, config)
    spoiled = np.array(prepared.series.intensity)
    spoiled[prepared.test] = 60000
    other = fit_statistics(dataclasses.replace(prepared.series, intensity=spoiled), prepared.train, config)
    for ours, theirs in zip(prepared.statistics, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_chunks_do_not_matter(series, config):
    prepared = prepare(series, config.prepare)
    whole = prepare_inputs(prepared, config.prepare, prepared.test)
    # Float32 products of a few hundred counts, summed in another order.
    np.testing.assert_allclose(whole, prepare_inputs(prepared, config.prepare, prepared.test, chunk=7), atol=1e-5)


def test_centred_inputs_have_zero_mean_and_unit_deviation(series, config):
    prepared = prepare(series, config.prepare)
    x = np.asarray(prepare_inputs(prepared, config.prepare, prepared.train))
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-4)
    assert abs(x.std() - 1.0) < 1e-3


def test_window_keeps_values_within_its_limits(series):
    windowed = apply_window(series, PrepareConfig(window_target="voltage", window_low=3.8, window_high=4.0))
    values = windowed.targets["voltage"].values
    assert 0 < len(windowed) < len(series) and values.min() >= 3.8 and values.max() <= 4.0


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"window_target": "voltage", "window_low": 5.0}, "the data span 3.6"),
        ({"window_target": "fat"}, "the data have voltage"),
        ({"channels": 1000}, "between 2 and the 96 channels"),
        ({"train_fraction": 1.0}, "between 0 and 1"),
        ({"train_fraction": 0.01}, "at least 8"),
        ({"split": "rows"}, "must name rows such as"),
        ({"split": "rows", "train_rows": "0-99", "test_rows": "99-120"}, "row 99 is in"),
        ({"split": "rows", "train_rows": "0-99", "test_rows": "100-240"}, "the last of the 240 patterns is 239"),
        ({"split": "rows", "train_rows": "0-99", "test_rows": "120-100"}, "must name rows"),
        ({"split": "rows", "window_target": "voltage"}, "leave prepare.window_target empty"),
        ({"split": "half_cycle", "half_cycle": 4}, "choose one of 0 to 3"),
        ({"derivative": 1}, "needs prepare.savgol"),
        ({"savgol": 10}, "must be odd"),
        ({"savgol": 97}, "at most the 96 channels"),
        ({"savgol": 5, "derivative": 1, "scale": "total"}, "is for intensities"),
    ],
)
def test_impossible_preparations_are_refused(series, fields, answer):
    with pytest.raises(UserError, match=answer):
        prepare(series, dataclasses.replace(PrepareConfig(channels=32), **fields))


def test_one_cycle_cannot_be_split_by_cycle(series):
    with pytest.raises(UserError, match="has one; use block"):
        prepare(series.subset(series.cycle == 0), PrepareConfig(split="cycle", channels=32))


def test_targets_must_exist_and_vary(series, config):
    with pytest.raises(UserError, match="no target 'fat'"):
        target_specs(prepare(series, config.prepare), ("fat",))
    with pytest.raises(UserError, match="single value or class"):
        target_specs(prepare(series.subset(series.session == 0), config.prepare), ("rate",))


def test_half_cycle_split_holds_out_one_charge_or_discharge_of_each_session(series):
    for held_out, cycle, later in ((0, 0, False), (-1, 1, True), (2, 1, False)):
        config = PrepareConfig(split="half_cycle", half_cycle=held_out)
        train, test = split(series, config, seed=0)
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(series)))
        assert set(series.cycle[test]) == {cycle} and set(series.session[test]) == {0, 1}
        assert set(series.targets["mode"].values[test] >= 2) == {later}
        numbers = splits.half_cycle_numbers(series).astype(np.int32)
        target = Target(numbers, "classification", "", ("1 charge", "2 discharge", "3 charge", "4 discharge"))
        only = dataclasses.replace(series, targets={"voltage": series.targets["voltage"], "half_cycle": target})
        np.testing.assert_array_equal(split(only, config, seed=0)[1], test)


def test_shuffled_labels_are_those_of_other_training_patterns(series):
    """A control that has nothing to learn; test patterns keep theirs, labels of a pattern stay together."""
    plain, shuffled = (prepare(series, PrepareConfig(channels=32, shuffle_labels=on)) for on in (False, True))
    np.testing.assert_array_equal(plain.train, shuffled.train)
    assert shuffled.series.intensity is plain.series.intensity

    def labels(prepared, rows):
        return list(zip(*(target.values[rows].tolist() for target in prepared.series.targets.values()), strict=True))

    assert labels(shuffled, shuffled.test) == labels(plain, plain.test)
    assert sorted(labels(shuffled, shuffled.train)) == sorted(labels(plain, plain.train))
    voltage = [prepared.series.targets["voltage"].values[prepared.train] for prepared in (plain, shuffled)]
    assert abs(np.corrcoef(*voltage)[0, 1]) < 0.3


def test_rows_are_those_that_were_named(series):
    train, test = split(series, PrepareConfig(split="rows", train_rows="0-99, 120", test_rows="101-110"), seed=0)
    np.testing.assert_array_equal(train, [*range(100), 120])
    np.testing.assert_array_equal(test, range(101, 111))


@given(st.sets(st.integers(0, 500), min_size=1))
def test_spans_of_rows_read_back(rows):
    numbers = np.array(sorted(rows))
    np.testing.assert_array_equal(row_ranges.parse_row_ranges(row_ranges.format_row_ranges(numbers), "x"), numbers)


def test_half_cycles_must_be_known(series):
    without_mode = dataclasses.replace(series, targets={"voltage": series.targets["voltage"]})
    with pytest.raises(UserError, match="needs to know the half cycles"):
        split(without_mode, PrepareConfig(split="half_cycle"), seed=0)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2))
def test_savitzky_golay_agrees_with_scipy(half, order, derivative):
    window = 2 * half + 1
    if order >= window or order < max(derivative, 1):
        return
    axis = 850.0 + 2.5 * np.arange(40)
    patterns = np.random.default_rng(half).normal(size=(3, 40))
    ours = patterns @ filters.savgol_matrix(axis, window, order, derivative)
    theirs = scipy.signal.savgol_filter(patterns, window, order, deriv=derivative, delta=2.5, mode="interp")
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_derivatives_of_a_polynomial_are_exact_on_an_uneven_axis():
    axis = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 60))
    parabola = np.polynomial.Polynomial([3.0, -2.0, 0.25])
    for derivative in (0, 1, 2):
        exact = (parabola.deriv(derivative) if derivative else parabola)(axis)
        np.testing.assert_allclose(parabola(axis) @ filters.savgol_matrix(axis, 7, 2, derivative), exact, atol=1e-8)


def test_snv_ignores_offset_and_gain_and_a_derivative_ignores_offset(series):
    x = jnp.asarray(series.intensity[:4], jnp.float32)
    for fields, other in (
        ({"scale": "snv"}, 2.5 * x + 40.0),
        ({"scale": "none", "savgol": 7, "derivative": 1}, x + 40.0),
    ):
        config = PrepareConfig(resize="none", **fields)
        statistics = fit_statistics(series, np.arange(len(series)), config)
        np.testing.assert_allclose(
            transform(statistics, config, x), transform(statistics, config, other), rtol=0, atol=2e-5
        )


def test_baselines_are_subtracted_and_gradients_pass(series):
    pytest.importorskip("pybaselines")
    config = PrepareConfig(resize="none", scale="none", centre=False, baseline="arpls")
    statistics = fit_statistics(series, np.arange(len(series)), config)
    slope = jnp.linspace(0.0, 500.0, 96)[None, :]
    x = jnp.asarray(series.intensity[:3], jnp.float32)
    flat, tilted = (np.asarray(transform(statistics, config, patterns)) for patterns in (x, x + slope))
    assert np.abs(tilted - flat).max() < 0.05 * np.abs(slope).max()
    np.testing.assert_allclose(transform(statistics, config, x[1:2]), flat[1:2], atol=1e-3)
    gradient = jax.grad(lambda patterns: transform(statistics, config, patterns).sum())(x)
    np.testing.assert_allclose(gradient, 1.0)


def test_parts_are_held_out_in_turn(series):
    """k folds, and k stretches of time of each session, cover the series without overlap; a block has no gap."""
    for kind in ("fold", "leave_block"):
        config = PrepareConfig(split=kind, blocks=5)
        changes = splits.repeated(series, config, 0, 9)
        assert [change["prepare.part"] for change in changes] == [0, 1, 2, 3, 4]
        tests = [split(series, dataclasses.replace(config, part=part), seed=1)[1] for part in range(5)]
        np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(series)))
        holes = np.diff(tests[1]).max()
        assert holes > 1 if kind == "fold" else np.count_nonzero(np.diff(tests[1]) > 1) == 1  # between two sessions
    with pytest.raises(UserError, match=r"prepare\.part=5 of prepare\.blocks=5"):
        split(series, dataclasses.replace(config, part=5), seed=0)


@pytest.mark.parametrize("scale", ["total", "sqrt", "pattern", "dataset", "snv", "none"])
@pytest.mark.parametrize("scale_at", ["input", "output"])
def test_a_closed_shutter_gives_numbers(series, scale, scale_at):
    intensity = series.intensity.astype(np.float32)
    intensity[[3, 4, 100]] = 0.0
    config = PrepareConfig(channels=32, scale=scale, scale_at=scale_at)
    dark = dataclasses.replace(series, intensity=intensity)
    prepared = prepare(dark, config)
    inputs = np.asarray(prepare_inputs(prepared, config, np.arange(len(series))))
    assert np.isfinite(inputs).all()
    counts = jnp.asarray(intensity[:8])
    assert np.isfinite(np.asarray(input_variance(prepared.statistics, config, counts))).all()
    nothing = prepare(dataclasses.replace(series, intensity=0 * intensity), config)
    assert np.isfinite(np.asarray(prepare_inputs(nothing, config, np.arange(4)))).all()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 40])
def test_the_spline_is_the_not_a_knot_spline(count):
    random = np.random.default_rng(count)
    axis, values = np.cumsum(random.uniform(0.1, 1.0, count)), random.normal(size=count)
    centres = np.linspace(axis[0], axis[-1], 2 * count)
    expected = scipy.interpolate.CubicSpline(axis, values)(centres)
    np.testing.assert_allclose(values @ spline_matrix(axis, centres), expected, atol=1e-10)


def test_memory_grows_with_the_channels_and_not_with_their_square():
    axis = np.linspace(0.0, 90.0, 20_000)
    tracemalloc.start()
    matrix, _ = resize_matrix(axis, PrepareConfig(channels=64))
    smooth = filters.savgol_matrix(axis, 5, 2, 0) @ matrix
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert smooth.shape == (20_000, 64) and peak < 300e6 < 8 * axis.size**2
    with pytest.raises(UserError, match="20000 channels are more than"):
        resize_matrix(axis, PrepareConfig(resize="none"))
