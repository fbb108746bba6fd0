"""Laws of what is known: information is positive, scales with exposure, is never gained, and adds up."""

from __future__ import annotations

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrd_jax.commands import information as report
from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information import fisher, state_path, whitening
from xrd_jax.information import posterior as information_posterior
from xrd_jax.information import shapley as information_shapley
from xrd_jax.physics import profile, simulate
from xrd_jax.physics import windows as physics_windows
from xrd_jax.preprocessing import resize as preprocessing_resize

# A tenth of the channels five times as wide, and only the top of the charge: the same physics in a second.
CELL = Cell(step_deg=0.1, channels=280, start_deg=12.0, shift_sigma_deg=0.01)
TOP = PrepareConfig(window_target="voltage", window_low=4.12, resize="none")
BINNED = dataclasses.replace(TOP, resize="bin", channels=64)
LOWER = dataclasses.replace(BINNED, window_low=3.95)  # both directions at 1C, too
# The oracle looks at shifts far below a channel, where wide channels would see the kinks of the interpolation.
FINE = Cell(step_deg=0.04, channels=700)
FINE_AXIS = FINE.start_deg + FINE.step_deg * np.arange(FINE.channels)
AXIS = CELL.start_deg + CELL.step_deg * np.arange(CELL.channels)


@pytest.fixture(scope="module")
def known():
    return fisher.information(CELL, TOP)


@pytest.fixture(scope="module")
def frame():
    """One state in the middle of the first charge with its direction, and the dictionaries."""
    whole = state_path.state_path(CELL)
    states, direction = (jax.tree.map(lambda leaf: leaf[500], part) for part in (whole.states, whole.direction))
    return profile.dictionaries(CELL), states, direction


def test_rows_are_shares_of_the_frames_of_the_window(known):
    series_length = 8000
    assert set(known.per_frame) == {"voltage", "mode", "rate"}
    assert known.centres.shape == (CELL.channels,)
    for target, rows in known.per_frame.items():
        assert rows.shape == (series_length, CELL.channels)
        assert (rows >= 0).all()
        assert np.allclose(rows[known.used].sum(axis=1), 1.0, atol=1e-4)
        assert not rows[~known.used].any()
        assert (known.total[target][known.used] > 0).all()
        assert fisher.curve(known, target).sum() == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(np.isnan(known.bound), ~known.used)
    assert np.allclose(known.bound[known.used], np.sqrt(2 / np.pi / known.total["voltage"][known.used]))


def test_frames_are_those_of_the_series(known):
    voltage = np.concatenate([simulate.session(CELL, rate).run.voltage for rate in CELL.rates])
    assert np.array_equal(known.used, voltage >= TOP.window_low)
    twice = state_path.state_path(dataclasses.replace(CELL, repeats=2))
    voltage = np.concatenate(
        [simulate.session(dataclasses.replace(CELL, repeats=2), r).run.voltage for r in CELL.rates]
    )
    assert np.array_equal(twice.voltage[twice.tiles], voltage)


def test_exposure_scales_information(known):
    ten = fisher.information(dataclasses.replace(CELL, exposure_s=50.0), TOP)
    for target in known.total:
        ratio = ten.total[target][known.used] / known.total[target][known.used]
        assert np.allclose(ratio, 10.0, rtol=2e-2)
        assert np.abs(fisher.curve(ten, target) - fisher.curve(known, target)).max() < 1e-3


@pytest.mark.parametrize("resize", ["bin", "spline"])
def test_resizing_never_gains(known, resize):
    less = fisher.information(CELL, dataclasses.replace(BINNED, resize=resize))
    ratio = less.total["voltage"][known.used] / known.total["voltage"][known.used]
    assert ratio.min() > 0.05
    assert ratio.max() < 1.0


def test_bins_that_share_no_channel_are_poisson(frame):
    dictionaries, state, _ = frame
    matrix = np.repeat(np.eye(56), 5, axis=0)
    resizing = whitening.prepare(matrix)
    assert len(resizing.bands) == 1
    counts = simulate.expected_counts(dictionaries, state)
    vector = jnp.asarray(np.random.default_rng(0).standard_normal((1, 56)), jnp.float32)
    assert np.allclose(
        whitening.whitened(resizing, counts, vector), vector / jnp.sqrt(counts @ matrix)[None, :], rtol=1e-5
    )


@pytest.mark.parametrize(("resize", "channels"), [("bin", 64), ("spline", 64), ("bin", 130)])
def test_whitening_is_the_symmetric_root_of_the_covariance(frame, resize, channels):
    dictionaries, state, _ = frame
    matrix, _ = preprocessing_resize.resize_matrix(AXIS, dataclasses.replace(BINNED, resize=resize, channels=channels))
    counts = np.asarray(simulate.expected_counts(dictionaries, state), np.float64)
    values, vectors = np.linalg.eigh(matrix.T @ (counts[:, None] * matrix))
    size = np.sqrt(np.diag(matrix.T @ (counts[:, None] * matrix)))
    signal = np.random.default_rng(0).standard_normal((3, channels)) * size[None, :]
    white = np.asarray(
        whitening.whitened(whitening.prepare(matrix), jnp.asarray(counts), jnp.asarray(signal)), np.float64
    )
    # Whitening by the correlation's root after scaling keeps the Fisher information exactly.
    exact = (signal @ vectors) ** 2 @ (1 / values)
    assert np.allclose((white**2).sum(axis=1), exact, rtol=5e-3)


def test_channels_that_are_nearly_one_are_refused():
    with pytest.raises(UserError, match=r"prepare\.resize=none"):
        whitening.prepare(np.repeat(np.eye(20), 2, axis=1))


def test_profiling_takes_away_what_nuisances_explain_and_never_gains():
    rng = np.random.default_rng(1)
    vector, free = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in (50, (3, 50)))
    left = whitening.profiled(vector, free)
    assert np.abs(free @ left).max() < 1e-4
    assert float(left @ left) < float(vector @ vector)
    assert np.allclose(whitening.profiled(left, free), left, atol=1e-5)
    assert np.abs(whitening.profiled(2.0 * free[0] - free[2], free)).max() < 1e-4


def test_a_known_nuisance_leaves_more(frame):
    dictionaries, state, direction = frame
    counts = simulate.expected_counts(dictionaries, state)
    resizing = whitening.prepare(np.eye(CELL.channels))
    rows = jnp.stack([fisher.by_voltage(dictionaries, state, direction), *fisher.nuisances(dictionaries, state)])
    white = whitening.whitened(resizing, counts, rows)
    amounts = [float((whitening.profiled(white[0], white[1 : 1 + known]) ** 2).sum()) for known in (1, 2, 3)]
    assert float((white[0] ** 2).sum()) > amounts[0] > amounts[1] > amounts[2] > 0


def test_derivative_along_the_path_agrees_with_the_patterns_on_either_side(frame):
    dictionaries, state, direction = frame
    tangent = np.asarray(fisher.by_voltage(dictionaries, state, direction), np.float64)
    whole = state_path.state_path(CELL)
    states = jax.tree.map(lambda leaf: leaf[[500 - state_path.REACH, 500 + state_path.REACH]], whole.states)
    before, after = np.asarray(simulate.expected_series(dictionaries, states), np.float64)
    difference = (after - before) / (whole.voltage[500 + state_path.REACH] - whole.voltage[500 - state_path.REACH])
    assert np.abs(tangent - difference).max() < 0.1 * np.abs(difference).max()
    assert np.corrcoef(tangent, difference)[0, 1] > 0.995


def test_fisher_information_is_the_curvature_of_the_divergence(frame):
    # Twice the Kullback-Leibler divergence of a small step, over its square: another way to the same number.
    dictionaries, state, direction = frame
    here = np.asarray(simulate.expected_counts(dictionaries, state), np.float64)
    tangent = np.asarray(fisher.by_voltage(dictionaries, state, direction), np.float64)
    there = here + 1e-4 * tangent
    divergence = 2.0 * (there - here + here * np.log(here / there)).sum() / 1e-4**2
    resizing = whitening.prepare(np.eye(CELL.channels))
    white = whitening.whitened(resizing, jnp.asarray(here), jnp.asarray(tangent)[None, :])
    assert float((white**2).sum()) == pytest.approx(divergence, rel=1e-2)


def test_nearest_state_is_of_another_class_and_no_other_is_nearer():
    whole = state_path.state_path(CELL)
    used = np.flatnonzero(whole.voltage > 3.9)[::20]
    states = jax.tree.map(lambda leaf: leaf[used], whole.states)
    labels = np.stack([whole.mode[used], whole.rate[used]], axis=1)
    dictionaries = profile.dictionaries(CELL)
    found = fisher.nearest_others(CELL, dictionaries, states, labels)
    mean = np.asarray(simulate.expected_series(dictionaries, states), np.float64)
    for column in (0, 1):
        assert (labels[found[:, column], column] != labels[:, column]).all()
        for place in (3, len(used) // 2):
            state = jax.tree.map(lambda leaf, place=place: leaf[place], states)
            free = np.asarray(fisher.nuisances(dictionaries, state), np.float64) / np.sqrt(mean[place])
            way = (mean - mean[place]) / np.sqrt(mean[place])
            left = way - way @ np.linalg.pinv(free) @ free
            distance = np.where(labels[:, column] != labels[place, column], (left**2).sum(axis=1), np.inf)
            assert distance[found[place, column]] < 1.3 * distance.min() + 0.5


def test_one_rate_has_nothing_to_tell_about_rates():
    alone = fisher.information(dataclasses.replace(CELL, rates=("1C",)), LOWER)
    assert set(alone.per_frame) == {"voltage", "mode"}


def test_a_decoy_carries_nothing_though_it_moves():
    cell = dataclasses.replace(CELL, decoy=True)
    windows = physics_windows.windows(cell)
    known = fisher.information(cell, BINNED)
    for target in known.per_frame:
        assert fisher.shares(known, target, windows)["decoy"] < 0.01
    inside = (known.centres > windows["decoy"][0]) & (known.centres < windows["decoy"][1])
    spread = known.mean[known.used].std(axis=0)
    assert spread[inside].max() > 0.2 * spread.max()


def test_carriers_are_the_smallest_set(known):
    for target in known.per_frame:
        values, chosen = fisher.curve(known, target), fisher.carriers(known, target)
        assert values[chosen].sum() >= 0.9 - 1e-6
        assert values[chosen].sum() - values[chosen].min() < 0.9
        assert values[chosen].min() >= values[~chosen].max()
    assert fisher.carriers(known, "voltage", 1.0).sum() > fisher.carriers(known, "voltage", 0.5).sum()


def test_mutual_information_of_cases_that_are_known():
    labels = np.repeat(np.arange(4), 500)
    nothing, everything = np.full(2000, 400.0), 400.0 + 1000.0 * labels
    half = 400.0 + 1000.0 * (labels >= 2)
    channels = np.stack([nothing, everything, half], axis=1)
    assert fisher.mutual(channels, channels, labels) == pytest.approx([0.0, 2.0, 1.0], abs=1e-3)
    # A class at ±1 standard deviation: I = h(mixture) - h(normal), integrated here on its own grid.
    two = (20.0 + 0.5 * np.array([-1.0, 1.0])[np.repeat([0, 1], 1000)])[:, None] ** 2
    x = np.linspace(-9, 9, 20001)
    mixture = sum(np.exp(-0.5 * (x - centre) ** 2) / np.sqrt(2 * np.pi) / 2 for centre in (-1, 1))
    exact = -(mixture * np.log2(mixture)).sum() * (x[1] - x[0]) - 0.5 * np.log2(2 * np.pi * np.e)
    assert fisher.mutual(two, two, np.repeat([0, 1], 1000))[0] == pytest.approx(exact, abs=0.02)


def test_an_empty_window_is_refused():
    with pytest.raises(UserError, match="window_low"):
        fisher.information(CELL, dataclasses.replace(TOP, window_low=9.0))
    with pytest.raises(UserError, match="window_target"):
        fisher.information(CELL, dataclasses.replace(TOP, window_target="soc"))


@pytest.mark.parametrize("span", [(12.0, 40.0), (17.0, 20.0), (12.5, 16.5)])
def test_posterior_is_that_of_a_sum_over_flux_and_shift(span):
    # The same integral, by brute force on a grid of fluxes and shifts, for a few frames and states.
    sample, _ = information_posterior.draw(FINE, 6, dataclasses.replace(TOP, window_low=4.0))
    states = jax.tree.map(lambda leaf: leaf[::60], sample.states)
    dictionaries, chosen = profile.dictionaries(FINE), (span[0] <= FINE_AXIS) & (span[1] >= FINE_AXIS)
    sigma = FINE.flux_sigma, FINE.shift_sigma_deg
    shifts, fluxes = (width * np.linspace(-4, 4, count) for width, count in zip(sigma[::-1], (121, 81), strict=True))
    count, counts = len(states.flux), sample.counts[:, chosen]
    total = np.full((len(counts), count), -np.inf)
    for shift in shifts:
        moved = states._replace(shift=np.full(count, shift, np.float32))
        mean = np.asarray(simulate.expected_series(dictionaries, moved), np.float64)[:, chosen]
        match = counts @ np.log(mean).T - 0.5 * (shift / sigma[1]) ** 2
        for flux in fluxes:
            one = match + counts.sum(axis=1)[:, None] * np.log1p(flux) - (1 + flux) * mean.sum(axis=1)[None, :]
            total = np.logaddexp(total, one - 0.5 * (flux / sigma[0]) ** 2)
    exact = np.exp(total - total.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    expansion = information_posterior._expansion(
        information_posterior._patterns(dictionaries, states), dictionaries.step, jnp.float32(sigma[1])
    )
    counts = [jnp.asarray(counts, jnp.float32)]
    said = information_posterior._likelihood(counts, information_posterior._grouped(expansion, chosen[None, :]))
    found = np.asarray(information_posterior._posterior(said, jnp.ones(1), jnp.float32(sigma[0])))
    assert (0.5 * np.abs(found - exact).sum(axis=1)).max() < 0.02


def test_the_oracle_reaches_the_bound_where_the_posterior_is_narrow():
    # One rate, bright: mode and rate are never in doubt, so nothing but photons stands between it and the bound.
    cell = dataclasses.replace(FINE, rates=("1C",))
    window = dataclasses.replace(TOP, window_low=3.9)
    bound = np.nanmean(fisher.information(cell, window).bound)
    found = information_posterior.oracle(cell, np.ones(cell.channels, bool), 200, window)
    assert found["mode"] > 0.9
    assert 0.7 * bound < found["voltage"] < 3.0 * bound


def test_estimates_of_a_posterior_that_is_known():
    posterior, voltage = jnp.array([[0.6, 0.1, 0.3], [0.0, 0.2, 0.8]]), jnp.array([3.0, 3.5, 4.0])
    modes, rates = jnp.eye(3), jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    median, mode, rate = information_posterior._decided("median", posterior, voltage, modes, rates)
    assert (median.tolist(), mode.tolist(), rate.tolist()) == ([3.0, 4.0], [0, 2], [0, 1])
    np.testing.assert_allclose(
        information_posterior._decided("mean", posterior, voltage, modes, rates)[0], [3.35, 3.9], rtol=1e-6
    )


def test_no_channels_tell_nothing_and_more_tell_more():
    window = dataclasses.replace(TOP, window_low=4.0)
    groups = np.stack([FINE_AXIS < 23.0, FINE_AXIS >= 23.0])
    found = information_posterior.scores(FINE, groups, np.array([[0, 0], [0, 1], [1, 1]], bool), 120, window)
    assert found["voltage"][0] > 2 * found["voltage"][1] > 2 * found["voltage"][2]
    assert found["rate"][0] < found["rate"][1] - 0.1 <= found["rate"][2]
    one = information_posterior.oracle(FINE, np.ones(FINE.channels, bool), 120, window)
    assert one["voltage"] == pytest.approx(found["voltage"][2], rel=0.05)


def test_shapley_values_sum_to_the_whole_and_of_a_sum_are_its_terms():
    sets = np.array(list(itertools.product((False, True), repeat=3)))
    assert information_shapley.shapley_values(sets, sets @ np.array([1.0, 2.0, 5.0])) == pytest.approx([1.0, 2.0, 5.0])
    both = (sets[:, 0] & sets[:, 2]).astype(float)
    assert information_shapley.shapley_values(sets, both) == pytest.approx([0.5, 0.0, 0.5])


def test_shapley_values_of_a_cell():
    window = dataclasses.replace(TOP, window_low=4.0)
    windows = {"003": (17.0, 20.0), "graphite": (23.0, 27.5)}
    values = information_shapley.shapley(FINE, windows, 100, window)
    assert set(values) == {"voltage", "mode", "rate"}
    groups = np.stack([(low <= FINE_AXIS) & (high >= FINE_AXIS) for low, high in windows.values()])
    groups = np.concatenate([groups, ~groups.any(axis=0, keepdims=True)])
    ends = information_posterior.scores(FINE, groups, np.array([[0, 0, 0], [1, 1, 1]], bool), 100, window)
    assert sum(values["voltage"].values()) == pytest.approx(ends["voltage"][0] - ends["voltage"][1], rel=1e-6)
    assert sum(values["mode"].values()) == pytest.approx(ends["mode"][1] - ends["mode"][0], abs=1e-9)
    assert list(values["voltage"]) == ["003", "graphite", information_posterior.REST]
    for wrong in (
        {"a": (17.0, 20.0), "b": (19.0, 21.0)},
        {"a": (90.0, 91.0)},
        {str(k): (k, k + 0.5) for k in range(20, 30)},
    ):
        with pytest.raises(UserError):
            information_shapley.shapley(FINE, wrong, 100, window)


def test_windows_that_are_played_for_hold_reflections():
    assert list(information_shapley.default_windows(PRESETS["decoy"])) == [
        "NMC 003",
        "graphite",
        "NMC 101+006",
        "Al 111 + NMC 012",
    ]


def test_what_is_known_is_written_for_people(tmp_path):
    cell = dataclasses.replace(CELL, rates=("1C",))
    said: list[str] = []
    path = report.report(Config(cell=cell, prepare=LOWER), str(tmp_path), said.append)
    assert {"curves.csv", "table.md", "information.json", "figures"} == {one.name for one in path.iterdir()}
    assert {"information.png", "information.svg"} == {one.name for one in (path / "figures").iterdir()}
    rows = np.genfromtxt(path / "curves.csv", delimiter=",", names=True)
    known = fisher.information(cell, LOWER)
    assert np.allclose(rows["voltage_share"], fisher.curve(known, "voltage"), rtol=1e-5)
    assert rows["mode_in_90_percent"].sum() == fisher.carriers(known, "mode").sum()
    assert any(line.startswith("voltage, error: exact posterior") for line in said)
    stands = json.loads((path / "information.json").read_text())["standing"]
    assert stands["voltage"]["network"] is None


def test_a_network_stands_between_the_look_up_and_the_posterior(known):
    score = {"voltage": {"mae": {"mean": 0.006}}, "mode": {"accuracy": {"mean": 0.97}}}
    lookup = {"random": {"voltage": {"mae": 0.010}, "mode": {"accuracy": 0.95}}}
    metrics = {"split": "random", "targets": score, "baseline_3nn": lookup}
    stands = report.standings(known, {"voltage": 0.002, "mode": 0.99}, metrics)
    assert stands["voltage"][:3] == pytest.approx((10.0, 6.0, 2.0))
    assert stands["voltage"].way == pytest.approx(0.5)
    assert stands["mode"].way == pytest.approx(0.5)
    assert stands["voltage"].bound == pytest.approx(1e3 * np.nanmean(known.bound))
    assert "50 % of the way" in report.sentence("mode", stands["mode"])
    assert report.standings(known, {"mode": 0.99}, None)["mode"].way is None


def test_a_run_that_is_not_finished_or_measured_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"config": {"data": "cell.toml"}}))
    with pytest.raises(UserError, match="finish"):
        report.report(Config(), str(tmp_path), print)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="simulated"):
        report.report(Config(), str(tmp_path), print)
