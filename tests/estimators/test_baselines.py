"""Baselines know the training patterns only, and the likelihood finds the template that counts were drawn from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xrd_jax.analysis.neighbours import baseline_scores
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators import baselines, likelihood
from xrd_jax.estimators.candidates import choose, simplest_of_the_best
from xrd_jax.estimators.cross_validation import Candidate, Validation
from xrd_jax.estimators.inputs import grouped_folds, scalings, thinned
from xrd_jax.preprocessing.prepare import prepare, prepare_inputs
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.runtime.console import Console
from xrd_jax.series.axis import Axis

NAMES = ("voltage", "mode", "rate")


@pytest.fixture
def block_config(config):
    return dataclasses.replace(config.prepare, split="block", blocks=8)


def spoiled(series, rows):
    """Return the series with other patterns and labels at `rows`."""
    intensity = np.array(series.intensity)
    intensity[rows] = intensity[rows][:, ::-1]
    targets = {}
    for name, target in series.targets.items():
        values = target.values.copy()
        values[rows] = values[rows][::-1]
        targets[name] = dataclasses.replace(target, values=values)
    return dataclasses.replace(series, intensity=intensity, targets=targets)


def test_every_baseline_beats_the_median(series, block_config):
    prepared = prepare(series, block_config)
    scores = baselines.evaluate(prepared, block_config, target_specs(prepared, NAMES))
    assert set(scores) == set(baselines.NAMES)
    for name in set(scores) - {"median"}:
        assert scores[name]["voltage"]["mae"] < 0.5 * scores["median"]["voltage"]["mae"]
        assert scores[name]["rate"]["accuracy"] > scores["median"]["rate"]["accuracy"]
    values, train = series.targets["voltage"].values, prepared.train
    error = np.median(values[train]) - values[prepared.test]
    assert scores["median"]["voltage"]["mae"] == pytest.approx(np.abs(error).mean())


def test_a_line_in_time_needs_times_and_sees_no_pattern(series, block_config):
    ramp = {"voltage": dataclasses.replace(series.targets["voltage"], values=3.0 + 0.01 * series.time)}
    series = dataclasses.replace(series, targets=series.targets | ramp)
    noise = dataclasses.replace(series, intensity=np.random.default_rng(0).poisson(9.0, series.intensity.shape))
    for data in (series, noise):
        prepared = prepare(data, PrepareConfig(channels=32, split="random"))
        scores = baselines.evaluate(prepared, PrepareConfig(channels=32), target_specs(prepared, NAMES), ("time",))
        assert scores["time"]["voltage"]["mae"] < 0.01  # 0 but before the first and after the last training pattern
        assert scores["time"]["rate"]["accuracy"] == 1.0 and scores["time"]["mode"]["accuracy"] > 0.9
    for changes in ({"timed": False}, {}):
        config = dataclasses.replace(block_config, split="block" if changes else "session")
        prepared = prepare(dataclasses.replace(series, **changes), config)
        assert not baselines.evaluate(prepared, config, target_specs(prepared, ("voltage",)), ("time",))


def test_neighbours_are_those_of_the_run(series, block_config):
    prepared = prepare(series, block_config)
    specs = target_specs(prepared, NAMES)
    scores = baselines.evaluate(prepared, block_config, specs, ("knn",))["knn"]
    expected = baseline_scores(series, specs, block_config, 0)
    for name in NAMES:
        assert scores[name] == pytest.approx(expected[name], rel=1e-4)


def test_neighbours_are_sought_among_calibration_patterns_too(series, block_config):
    held_out = prepare(series, dataclasses.replace(block_config, calibration=0.25))
    whole = prepare(series, block_config)
    scores = [
        baselines.evaluate(prepared, block_config, target_specs(prepared, NAMES), ("median", "knn", "ridge"))
        for prepared in (held_out, whole)
    ]
    assert (
        held_out.calibration.size
        and scores[0]["knn"] == scores[1]["knn"]
        and scores[0]["median"] == scores[1]["median"]
    )


def inputs_of(choice, prepared, config, rows):
    prepared = dataclasses.replace(prepared, statistics=choice.statistics)
    return np.asarray(prepare_inputs(prepared, dataclasses.replace(config, scale=choice.scaling), rows), np.float64)


def test_a_choice_sees_training_patterns_only(series, block_config):
    prepared = prepare(series, block_config)
    other = prepare(spoiled(series, prepared.test), block_config)
    np.testing.assert_array_equal(prepared.train, other.train)
    names, lines = ("ridge", "pls", "gp"), []
    first, second = (
        choose(p, block_config, target_specs(p, NAMES), names, Console(lines.append)) for p in (prepared, other)
    )
    assert first.errors == second.errors and first.settings == second.settings and first.estimator == second.estimator
    assert lines == [first.reason, second.reason] and first.estimator in first.reason
    inputs = inputs_of(first, prepared, block_config, prepared.train)
    for name in NAMES:
        np.testing.assert_array_equal(first.predictors[name].predict(inputs), second.predictors[name].predict(inputs))
    assert np.isfinite(list(first.errors["ridge"].values())).all()


def test_a_chosen_estimator_predicts_the_test_patterns(series, block_config):
    prepared = prepare(series, block_config)
    choice = choose(prepared, block_config, target_specs(prepared, NAMES), ("trees",))
    inputs = inputs_of(choice, prepared, block_config, prepared.test)
    error = choice.predictors["voltage"].predict(inputs) - series.targets["voltage"].values[prepared.test]
    assert np.abs(error).mean() < 0.05
    probabilities = choice.predictors["mode"].predict(inputs)
    assert probabilities.shape == (prepared.test.size, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)


def candidate(estimator, errors):
    return Candidate(estimator, "total", {"v": Validation(1, np.asarray(errors), float(np.mean(errors)))})


def test_of_two_that_are_as_good_the_simpler_is_taken():
    assert simplest_of_the_best([candidate("gp", [0.3, 0.5]), candidate("ridge", [0.5, 0.301])]).estimator == "ridge"
    assert simplest_of_the_best([candidate("gp", [0.3, 0.5]), candidate("ridge", [0.4, 0.6])]).estimator == "gp"
    assert simplest_of_the_best([candidate("ridge", [0.3, 0.5]), candidate("trees", [0.5, 0.301])]).estimator == "ridge"


def test_folds_hold_out_whole_groups(series):
    folds = grouped_folds(series, np.arange(len(series)))
    np.testing.assert_array_equal(np.sort(np.concatenate([held_out for _, held_out in folds])), np.arange(len(series)))
    for train, held_out in folds:
        assert not np.intersect1d(train, held_out).size
        # Whole half cycles of 30 patterns: few of those left out have a neighbour that is not.
        assert np.isin(np.r_[held_out - 1, held_out + 1], train).sum() <= 2 * len(held_out) / 30


def test_roots_and_totals_are_of_intensities(series, block_config):
    negative = dataclasses.replace(series, intensity=series.intensity.astype(float) - 100.0, is_counts=False)
    assert scalings(prepare(series, block_config), block_config) == ("pattern", "sqrt", "total")
    assert scalings(prepare(negative, block_config), block_config) == ("pattern",)


def test_few_patterns_stand_for_many():
    assert thinned(np.arange(100), 30).tolist() == list(range(0, 100, 4))
    assert thinned(np.arange(30), 30).size == 30


def test_likelihood_finds_the_template_whatever_the_flux(series, monkeypatch):
    """With no average over frames the most likely template of a pattern, of any brightness, is the pattern itself."""
    monkeypatch.setattr(likelihood, "recipe_fields", lambda *_: ["train.redraw_frames=0"])
    config = PrepareConfig(channels=series.axis.values.size, split="random")
    flux = np.random.default_rng(0).integers(1, 9, (len(series), 1))
    counts = 1000 * series.intensity.astype(np.int64)
    prepared, brighter = (
        prepare(dataclasses.replace(series, intensity=intensity), config) for intensity in (counts, flux * counts)
    )
    specs, train = target_specs(prepared, NAMES), prepared.train
    predicted = likelihood.predict(prepared, config, specs, train, train)
    values = {name: series.targets[name].values[train] for name in NAMES}
    np.testing.assert_array_equal(predicted["voltage"], values["voltage"])
    np.testing.assert_array_equal(predicted["mode"].argmax(axis=1), values["mode"])
    np.testing.assert_allclose(predicted["mode"].sum(axis=1), 1.0, rtol=1e-5)
    again = likelihood.predict(brighter, config, specs, train, train)
    for name in NAMES:
        np.testing.assert_allclose(again[name], predicted[name], atol=1e-6)


def test_a_shift_of_the_zero_is_no_other_state(series):
    """Where patterns are not neighbours in time, a template may be moved by some thousandths of a degree."""
    config = PrepareConfig(channels=series.axis.values.size, split="block", blocks=8)
    prepared = prepare(series, config)
    specs = target_specs(prepared, ("voltage",))
    on_q = dataclasses.replace(prepared, series=dataclasses.replace(series, axis=Axis(series.axis.values, "q")))
    free, fixed = (likelihood.predict(p, config, specs, p.train, p.test)["voltage"] for p in (prepared, on_q))
    truth = series.targets["voltage"].values[prepared.test]
    assert np.abs(free - truth).mean() < 0.1 and np.abs(fixed - truth).mean() < 0.1
    assert not np.array_equal(free, fixed)


def test_likelihood_is_for_counts(series, block_config):
    prepared = prepare(dataclasses.replace(series, is_counts=False), block_config)
    assert not baselines.evaluate(prepared, block_config, target_specs(prepared, NAMES), ("likelihood",))


def test_bounded_predictions_are_spoken_of():
    scores = {"pls": {"voltage": {"mae": 0.1, "rmse": 0.2, "extrapolated": 3}, "mode": {"accuracy": 0.5}}}
    (line,) = baselines.extrapolation_lines(scores, 100)
    assert "pls: 3 of 100 predictions of voltage" in line
