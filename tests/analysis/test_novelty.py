"""What is unlike the training: a foreign peak is seen, and the number of components is that of what varies."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.support import runs
from xrd_jax import files
from xrd_jax.analysis import low_rank, novelty
from xrd_jax.analysis.run import Run
from xrd_jax.config.cell import Cell
from xrd_jax.physics.simulate import simulate
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.runtime.console import Console

PEAK_WIDTH = 0.17  # degrees, as the simulated ones


def with_foreign_peak(patterns: np.ndarray, axis: np.ndarray, share: float, position: float) -> np.ndarray:
    """Add a peak of a share of the strongest one's height, with its photons."""
    mean = patterns.mean(axis=0)
    height = share * (mean.max() - np.median(mean))
    peak = height * np.exp2(-((2 * (axis - position) / PEAK_WIDTH) ** 2))
    return patterns + np.random.default_rng(3).poisson(np.broadcast_to(peak, patterns.shape))


def groups_of(count: int, size: int) -> np.ndarray:
    return np.arange(count) // size


def test_a_foreign_peak_of_two_percent_is_seen_in_most_patterns():
    series = simulate(Cell(rates=("1C",)))
    series = series.subset(series.targets["voltage"].values >= 3.6)
    axis, train, held_out = series.axis.values, series.intensity[0::2], series.intensity[1::2]
    model = low_rank.fit(axis, train, groups_of(len(train), 80))
    calibration, test = held_out[0::2], held_out[1::2]
    limit = np.quantile(model.measure(calibration)[0], 0.99)

    def share_above(patterns: np.ndarray) -> float:
        return float((model.measure(patterns)[0] > limit).mean())

    assert share_above(test) < 0.04
    for position in (31.0, 14.5):  # where no peak is
        assert share_above(with_foreign_peak(test, axis, 0.02, position)) > 0.9
    assert share_above(with_foreign_peak(test, axis, 0.05, 18.7)) > 0.9  # on one that moves


def test_as_many_components_as_there_are_without_noise_of_their_own():
    random = np.random.default_rng(0)
    shapes, scores = random.normal(size=(3, 60)), random.normal(size=(300, 3))
    patterns = 50.0 + 4.0 * scores @ shapes + random.normal(size=(300, 60))  # negative ones among them
    patterns[:, 0] -= 60.0
    model = low_rank.fit(np.arange(60.0), patterns, groups_of(300, 20))
    assert model.components.shape == (60, 3) and model.total == 0.0
    np.testing.assert_allclose(model.components.T @ model.components, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(model.deviations, 1.0, atol=0.2)
    squares, scores_squared = model.measure(patterns)
    assert np.median(scores_squared) == pytest.approx(2.37, abs=0.3)  # chi-square of three
    assert np.median(squares) < 15.0


def test_flux_cancels_and_an_empty_pattern_is_infinitely_unlikely():
    series = runs.series()
    patterns = series.intensity.astype(float)
    model = low_rank.fit(series.axis.values, patterns, groups_of(len(patterns), 24))
    np.testing.assert_allclose(model.measure(patterns)[0], model.measure(7.0 * patterns)[0], rtol=1e-9)
    assert np.isinf(model.measure(0.0 * patterns[:1])).all() and np.isinf(model.measure(patterns[:1] + np.nan)).all()


@pytest.mark.parametrize("count", [8, 9, 20])
def test_few_or_equal_patterns_give_a_model(count):
    series = runs.series()
    few = low_rank.fit(series.axis.values, series.intensity[:count], np.zeros(count, int))
    equal = low_rank.fit(series.axis.values, np.repeat(series.intensity[:1], count, axis=0), groups_of(count, 2))
    for model in (few, equal):
        assert np.isfinite(model.measure(series.intensity)[0]).all()
    assert equal.measure(series.intensity[:1])[0].max() < 1e-3


def test_windows_are_sums_of_neighbours():
    values = np.arange(12.0).reshape(2, 6)
    np.testing.assert_allclose(low_rank.windowed(values, 3)[:, 0], [3.0, 21.0])
    assert low_rank.windowed(values, 9).shape == (2, 1)


def make_reference(tmp_path: Path, calibration: float) -> tuple[novelty.Reference, Run]:
    run = runs.trained()
    for name in ("config.json", "preparation.npz"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    run = dataclasses.replace(run, path=tmp_path)
    prepared = prepare(runs.series(), dataclasses.replace(run.config.prepare, calibration=calibration), 0)
    return novelty.save(run, prepared), run


@pytest.mark.parametrize("calibration", [0.0, 0.3])
def test_one_held_out_pattern_in_a_hundred_exceeds_each_limit(tmp_path, calibration):
    reference, run = make_reference(tmp_path, calibration)
    prepared = prepare(runs.series(), dataclasses.replace(run.config.prepare, calibration=calibration), 0)
    held_out = runs.series().intensity[prepared.calibration if calibration else prepared.test]
    for values in (reference.residuals(held_out), reference.score_distances(held_out)):
        assert np.sum(values > 1) <= 1 + 0.01 * len(values) and np.quantile(values, 0.99) == pytest.approx(1.0)
    again = novelty.read_reference(run)
    np.testing.assert_array_equal(again.residuals(held_out), reference.residuals(held_out))
    np.testing.assert_array_equal(again.score_distances(held_out), reference.score_distances(held_out))


def test_an_older_reference_knows_distances_alone_and_says_so_once(tmp_path):
    reference, run = make_reference(tmp_path, 0.0)
    with np.load(tmp_path / novelty.FILE) as file:
        older = {name: file[name] for name in file if not name.startswith("model_") and name != "limits"}
    files.write_npz(tmp_path / novelty.FILE, **older)
    messages: list[str] = []
    opened = novelty.load(run, Console(messages.append))
    patterns = np.asarray(runs.series().intensity[:5], np.float32)
    np.testing.assert_array_equal(opened.distances(run, patterns), reference.distances(run, patterns))
    assert np.isnan(opened.residuals(patterns)).all() and np.isnan(opened.score_distances(patterns)).all()
    assert len(messages) == 1 and "residuals are not known" in messages[0]


def test_either_measure_makes_a_pattern_unusual():
    distance, residual = np.array([0.5, 2.0, 0.5, np.nan, np.inf]), np.array([0.5, 0.5, 2.0, np.nan, np.nan])
    assert novelty.is_unusual(distance, residual).tolist() == [False, True, True, False, True]
