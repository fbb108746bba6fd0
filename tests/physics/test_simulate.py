"""Laws of the simulated measurement: peak heights, linearity, derivatives, photon statistics, reproducibility."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import profile
from xrd_jax.physics.forward_model import FrameState, expected_counts, expected_series, shift_pattern, splat
from xrd_jax.physics.sessions import draw_drift, draw_session
from xrd_jax.physics.simulate import draw_photons, simulate
from xrd_jax.physics.windows import channel_angles

CELL = Cell()
AXIS = channel_angles(CELL)


@pytest.fixture(scope="module")
def dictionaries():
    return profile.dictionaries(CELL)


@pytest.fixture(scope="module")
def series():
    return simulate(CELL)


def frame(negative=0.3, positive=0.6, discharge=0.0, flux=1.0, shift=0.0, background=1.0) -> FrameState:
    return FrameState(
        negative=jnp.broadcast_to(jnp.asarray(negative, jnp.float32), (24,)),
        positive=jnp.broadcast_to(jnp.asarray(positive, jnp.float32), (24,)),
        discharge=jnp.float32(discharge),
        flux=jnp.float32(flux),
        shift=jnp.float32(shift),
        background=jnp.float32(background),
    )


counts = jax.jit(expected_counts)


def height(pattern: np.ndarray, low: float, high: float) -> float:
    region = pattern[(low < AXIS) & (high > AXIS)]
    return float(region.max() - np.median([region[:3].mean(), region[-3:].mean()]))


def test_pseudo_voigt_has_unit_area_and_the_stated_width():
    x = jnp.linspace(-400, 400, 800_001)[None, :]
    values = np.asarray(profile.pseudo_voigt(x, jnp.full((1, 1), 0.2), 0.45), np.float64)[0]
    assert values.sum() * 1e-3 == pytest.approx(1.0, abs=2e-3)
    half = np.interp(0.1, np.asarray(x[0]), values) / values.max()
    assert half == pytest.approx(0.5, abs=2e-3)


def test_peak_counts_are_those_of_the_configuration(dictionaries):
    empty = np.asarray(counts(dictionaries, frame(negative=0.0, positive=0.99)))
    # Smearing over stoichiometry and the lines beneath move the heights by a few percent.
    assert height(empty, 25.0, 28.0) == pytest.approx(CELL.graphite_counts, rel=0.05)
    assert height(empty, 17.5, 19.8) == pytest.approx(CELL.nmc_counts, rel=0.07)
    assert float(dictionaries.static.max()) == pytest.approx(CELL.aluminium_counts, rel=0.03)
    region = (AXIS > 13) & (AXIS < 16)
    assert 220 < empty[region].mean() < 320


def test_003_rises_by_a_third_on_delithiation(dictionaries):
    high, low = (np.asarray(counts(dictionaries, frame(positive=p))) for p in (0.99, 0.0335))
    assert height(low, 17.5, 19.8) / height(high, 17.5, 19.8) == pytest.approx(1.33, abs=0.05)


def test_peaks_stand_at_their_bragg_positions(dictionaries):
    for negative, low, high, angle in ((0.0, 25.9, 27.5, 26.55), (0.5, 25.0, 25.7, 25.29), (1.0, 23.7, 24.5, 24.02)):
        pattern = np.asarray(counts(dictionaries, frame(negative=negative)))
        region = (low < AXIS) & (high > AXIS)
        assert AXIS[region][pattern[region].argmax()] == pytest.approx(angle, abs=0.05)


def test_pattern_is_linear_in_the_mixture(dictionaries):
    first, second = frame(negative=0.21, positive=0.4), frame(negative=0.73, positive=0.8)
    mixed = first._replace(
        negative=jnp.concatenate([first.negative, second.negative]),
        positive=jnp.concatenate([first.positive, second.positive]),
    )
    mean = 0.5 * (counts(dictionaries, first) + counts(dictionaries, second))
    assert np.allclose(counts(dictionaries, mixed), mean, rtol=1e-5)


def test_splat_keeps_total_and_mean():
    x = jnp.array([0.0, 0.1234, 0.5, 0.77771, 1.0])
    weights = np.asarray(splat(x), np.float64)
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert weights @ np.linspace(0, 1, profile.GRID) == pytest.approx(float(x.mean()), abs=1e-5)


def test_stoichiometries_beyond_the_limits_stay_at_them(dictionaries):
    assert np.array_equal(
        counts(dictionaries, frame(negative=1.2, positive=-0.1)),
        counts(dictionaries, frame(negative=1.0, positive=0.0)),
    )


def test_flux_scales_and_background_adds(dictionaries):
    base = np.asarray(counts(dictionaries, frame()))
    assert np.allclose(counts(dictionaries, frame(flux=1.1)), 1.1 * base, rtol=1e-5)
    more = np.asarray(counts(dictionaries, frame(background=1.5))) - base
    margin = profile.MARGIN
    assert np.allclose(more, 0.5 * np.asarray(dictionaries.background)[margin:-margin], atol=0.02)


def test_shift_moves_the_pattern(dictionaries):
    base = np.asarray(counts(dictionaries, frame()))
    moved = np.asarray(counts(dictionaries, frame(shift=3 * CELL.step_deg)))
    assert np.allclose(moved[3:], base[:-3], rtol=1e-3)


def test_shift_between_channels_is_exact_to_a_fraction_of_the_noise():
    step, sigma = 0.02, 0.07  # as narrow as the narrowest peak
    axis = step * np.arange(-profile.MARGIN, 200 + profile.MARGIN)
    truth = lambda x: 300 + 2500 * np.exp(-0.5 * ((x - 2.0) / sigma) ** 2)  # noqa: E731
    for shift in (0.003, -0.009, 0.0137, -0.2):
        got = np.asarray(shift_pattern(jnp.array(truth(axis), jnp.float32), jnp.float32(shift), jnp.float32(step)))
        exact = truth(step * np.arange(200) - shift)
        assert (np.abs(got - exact) / np.sqrt(exact)).max() < 0.15


@jax.jit
def derivative(dictionaries, state, direction):
    return jax.jvp(lambda s: expected_counts(dictionaries, s), (state,), (direction,))[1]


@pytest.mark.parametrize("name", [name for name in FrameState._fields if name != "decoy"])
def test_derivatives_agree_with_finite_differences(dictionaries, name):
    # Stoichiometries in the middle between grid points: the mixture is piecewise linear in them.
    state = frame(negative=0.30125, positive=0.60125, discharge=0.3, shift=0.003)
    step = {"negative": 5e-4, "positive": 5e-4, "shift": 1e-3}.get(name, 0.05)
    value = getattr(state, name)
    direction = jax.tree.map(jnp.zeros_like, state)._replace(**{name: jnp.ones_like(value)})
    tangent = np.asarray(derivative(dictionaries, state, direction))
    above, below = (
        np.asarray(counts(dictionaries, state._replace(**{name: value + sign * step})), np.float64) for sign in (1, -1)
    )
    difference = (above - below) / (2 * step)
    assert np.abs(difference).max() > 1
    assert np.abs(difference - tangent).max() < 0.02 * np.abs(difference).max()


def test_gradient_descent_finds_the_stoichiometry(dictionaries):
    # Reverse mode through the whole chain, on grid points as well as between them.
    target = counts(dictionaries, frame(negative=0.4))
    misfit = jax.jit(
        jax.grad(lambda x: jnp.sum((expected_counts(dictionaries, frame(negative=x)) - target) ** 2 / target))
    )
    for below, above in ((0.38, 0.42), (0.3811, 0.4233)):
        assert float(misfit(below)) < 0 < float(misfit(above))


def test_without_hysteresis_the_branches_are_equal():
    same = profile.dictionaries(dataclasses.replace(CELL, hysteresis=0.0))
    assert np.array_equal(same.negative_charge, same.negative_discharge)


def test_with_hysteresis_only_2l_and_stage_2_differ(dictionaries):
    change = np.abs(dictionaries.negative_charge - dictionaries.negative_discharge).max(axis=1)
    x = np.linspace(0, 1, profile.GRID)
    assert change[x < 0.15].max() < 1.0 < change[(x > 0.25) & (x < 0.6)].min()


def test_low_dose_is_a_tenth(dictionaries):
    low = profile.dictionaries(PRESETS["low_dose"])
    assert np.allclose(counts(low, frame()), 0.1 * counts(dictionaries, frame()), rtol=1e-5)


def test_another_source_shows_the_same_reflections():
    cell = Cell(source="Mo", start_deg=5.0, step_deg=0.01)
    pattern = np.asarray(counts(profile.dictionaries(cell), frame(negative=0.0)))
    axis = channel_angles(cell)
    sine = np.sin(np.radians(26.561 / 2)) * cell.wavelength / CELL.wavelength
    angle = 2 * np.degrees(np.arcsin(sine))
    region = np.abs(axis - angle) < 0.6
    assert axis[region][pattern[region].argmax()] == pytest.approx(angle, abs=0.05)


def test_series_record(series):
    assert series.intensity.shape == (8000, 1400)
    assert series.intensity.dtype == np.uint16
    assert series.is_counts
    assert series.session_names == ("1C", "0.2C")
    assert series.axis.wavelength == pytest.approx(1.541871, abs=1e-6)
    assert series.axis.values[[0, -1]] == pytest.approx([12.0, 39.98])
    assert set(series.targets) == {"voltage", "mode", "rate"}
    assert np.array_equal(series.targets["rate"].values, series.session)
    for session, cycles in ((0, 3), (1, 2)):
        part = series.subset(np.flatnonzero(series.session == session))
        assert np.array_equal(np.unique(part.cycle), np.arange(cycles))
        assert (np.diff(part.time) > 0).all()
        mode, voltage = part.targets["mode"].values, part.targets["voltage"].values
        for charge, discharge in ((0, 2), (1, 3)):
            assert np.abs((mode == charge).sum() - (mode == discharge).sum()) < 150
        assert voltage[mode == 1].mean() > voltage[mode == 0].mean()
        assert voltage[mode == 2].mean() > voltage[mode == 3].mean()


def test_photons_are_poisson(series, dictionaries):
    states = draw_session(CELL, "1C").states(np.arange(4000))
    expected = np.asarray(expected_series(dictionaries, states), np.float64)
    excess = series.intensity[series.session == 0] - expected
    assert abs((excess / np.sqrt(expected)).mean()) < 3e-3
    assert (excess**2 / expected).mean() == pytest.approx(1.0, abs=4e-3)
    looped = np.stack([counts(dictionaries, jax.tree.map(lambda leaf, t=t: leaf[t], states)) for t in (0, 1999, 3999)])
    assert np.allclose(expected[[0, 1999, 3999]], looped, rtol=1e-4)


def test_same_seed_same_bits_whatever_else_is_measured(series):
    alone, is_second = simulate(dataclasses.replace(CELL, rates=("0.2C",))), series.session == 1
    assert np.array_equal(alone.intensity, series.intensity[is_second])
    assert np.array_equal(alone.targets["mode"].values, series.targets["mode"].values[is_second])


def test_other_seed_other_bits(series):
    other = simulate(dataclasses.replace(CELL, rates=("0.2C",), seed=1))
    counts = series.intensity[series.session == 1]
    assert (other.intensity != counts).mean() > 0.9
    assert other.intensity.mean() == pytest.approx(counts.mean(), rel=0.01)


def test_drift_is_stationary_and_correlated():
    rng = np.random.Generator(np.random.PCG64(0))
    values = draw_drift(rng, np.arange(200_000) * 10.0, 0.01, 600.0)
    assert values.std() == pytest.approx(0.01, rel=0.05)
    assert np.corrcoef(values[:-60], values[60:])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)


def test_sessions_can_differ_in_offset_and_background():
    cell = dataclasses.replace(CELL, session_offset_deg=(0.0, 0.03), session_background=(1.0, 1.2), shift_sigma_deg=0.0)
    first, second = (draw_session(cell, rate).states(np.arange(10)) for rate in cell.rates)
    assert np.allclose(first.shift, 0.0)
    assert np.allclose(second.shift, 0.03)
    assert np.allclose(first.background, 1.0)
    assert np.allclose(second.background, 1.2)


@pytest.mark.parametrize("changes", [{"flux_sigma": 2.0}, {"session_offset_deg": (1.0, 0.0)}, {"rates": ("5C",)}])
def test_impossible_states_are_refused(changes):
    cell = dataclasses.replace(CELL, **changes)
    with pytest.raises(UserError):
        draw_session(cell, cell.rates[0])


def test_counts_beyond_16_bits_are_refused():
    with pytest.raises(UserError, match="exposure_s"):
        draw_photons(np.random.default_rng(0), np.full((2, 3), 7e4))
