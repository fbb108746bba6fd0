"""Intervals hold: coverage of exchangeable patterns, nothing promised from too few, and the test that says when not."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from tests.support.series import make_series
from xrd_jax import files
from xrd_jax.analysis import conformal, coverage, intervals
from xrd_jax.analysis.intervals import Labelled
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import TargetSpec

VALUE = TargetSpec("voltage", "regression", "V", 1, (), 3.9, 0.2)
BINS = 64
DISTRIBUTION = dataclasses.replace(VALUE, size=BINS, low=3.4, high=4.4)
MODE = TargetSpec("mode", "classification", "", 3, ("a", "b", "c"), 0.0, 1.0)
SPECS = (VALUE, MODE)


def normal_distributions(centre: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    edges = np.linspace(DISTRIBUTION.low, DISTRIBUTION.high, BINS + 1)
    mass = np.diff(ndtr((edges - centre[:, None]) / deviation[:, None]), axis=1)
    return (mass / mass.sum(axis=1, keepdims=True)).astype(np.float32)


def make(count: int, seed: int, spec: TargetSpec = VALUE, stretch: float = 1.0, shift: float = 0.0) -> Labelled:
    """Patterns whose errors grow with the seeds' spread, three times as large where class 2 is predicted."""
    random = np.random.default_rng(seed)
    predicted = random.uniform(3.7, 4.1, count)
    spread = random.uniform(0.004, 0.012, count)
    mode = random.integers(0, 3, count)
    error = spread * stretch * np.where(mode == 2, 3.0, 1.0) * random.normal(size=count)
    probabilities = np.full((1, count, 3), 0.15, np.float32)
    probabilities[0, np.arange(count), mode] = 0.7
    outputs = {"voltage": (predicted[None] + np.array([[-0.5], [0.5]]) * spread).astype(np.float32)}
    distributions = {}
    if spec.is_distribution:
        distributions["voltage"] = normal_distributions(predicted, spread)
    truth = {"voltage": predicted + error + shift, "mode": np.where(random.random(count) < 0.7, mode, (mode + 1) % 3)}
    return Labelled(outputs | {"mode": probabilities}, distributions, truth, np.arange(count) * 20 // count)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [1, 9, 19, 100])
def test_the_quantile_is_the_order_statistic_of_finite_samples(count, level):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    rank = math.ceil(round((count + 1) * level, 9))
    assert conformal.quantile(scores, level) == (max(rank, 1) if rank <= count else math.inf)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.5, 0.95))
def test_coverage_of_a_new_pattern_is_at_least_nominal(seed, level):
    """Over many draws of calibration and one new pattern the share inside is between level and level + 1/(n + 1)."""
    draws = np.random.default_rng(seed).exponential(size=(4000, 40))
    inside = np.mean([draw[-1] <= conformal.quantile(draw[:-1], level) for draw in draws])
    margin = 4.5 * math.sqrt(0.25 / len(draws))
    assert level - margin <= inside <= level + 1 / 40 + margin


@pytest.mark.parametrize("spec", [VALUE, DISTRIBUTION], ids=["value", "distribution"])
@pytest.mark.parametrize("stretch", [0.3, 1.0, 6.0])
def test_intervals_hold_however_wrong_the_networks_are_about_themselves(spec, stretch):
    specs = (spec, MODE)
    calibration = intervals.calibrate(specs, make(2000, 0, spec, stretch))
    test = make(2000, 1, spec, stretch)
    result = coverage.evaluate(calibration, specs, test)["targets"]["voltage"]
    for level in result["levels"]:
        # The two samples each add their own binomial deviation.
        bound = 4 * math.sqrt(2 * level["nominal"] * (1 - level["nominal"]) / 2000)
        assert abs(level["coverage"] - level["nominal"]) < bound
        if stretch != 1.0:
            assert abs(level["raw_coverage"] - level["nominal"]) > 0.01
    assert sum(result["pit"]) == 2000 and max(result["pit"]) < 280 and min(result["pit"]) > 130
    assert result["exchangeability"]["p"] > 0.01


def test_where_the_tails_of_a_distribution_end_intervals_go_on():
    """Errors of fifty deviations lie beyond all of the distribution's mass, and beyond its bins."""
    calibration = intervals.calibrate((DISTRIBUTION,), make(400, 0, DISTRIBUTION, 50.0))
    test = make(400, 1, DISTRIBUTION, 50.0)
    assert (calibration.scores["voltage"] > conformal.MAX_CENTRAL_SHARE).mean() > 0.5
    lower, upper = calibration.interval(DISTRIBUTION, test.outputs, test.distributions)
    assert 0.84 < np.mean((lower <= test.truth["voltage"]) & (test.truth["voltage"] <= upper)) < 0.96


def test_a_score_is_the_smallest_radius_that_holds_the_truth():
    for spec in (VALUE, DISTRIBUTION):
        data = make(300, 2, spec, 4.0)
        predicted, truth = data.outputs["voltage"], data.truth["voltage"]
        distribution = data.distributions.get("voltage")
        score = conformal.score(spec, predicted, distribution, truth, 0.0)
        for factor, is_inside in ((1 - 1e-3, False), (1 + 1e-3, True)):
            lower, upper = conformal.bounds(spec, predicted, distribution, score * factor, 0.0)
            assert np.mean(((lower <= truth) & (truth <= upper)) == is_inside) > 0.98


def test_intervals_move_and_scale_with_the_target():
    data, new = make(500, 3), make(50, 4)

    def ends(shift: float, scale: float) -> np.ndarray:
        def changed(labelled: Labelled) -> Labelled:
            outputs = labelled.outputs | {"voltage": shift + scale * labelled.outputs["voltage"].astype(float)}
            truth = labelled.truth | {"voltage": shift + scale * labelled.truth["voltage"]}
            return dataclasses.replace(labelled, outputs=outputs, truth=truth)

        spec = dataclasses.replace(VALUE, mean=shift + scale * VALUE.mean, deviation=scale * VALUE.deviation)
        calibration = intervals.calibrate((spec, MODE), changed(data))
        return np.stack(calibration.interval(spec, changed(new).outputs, {}))

    np.testing.assert_allclose(ends(-40.0, 1000.0), -40.0 + 1000.0 * ends(0.0, 1.0), rtol=1e-6)


def test_intervals_of_a_distribution_move_and_scale_with_its_bins():
    data, new = make(500, 3, DISTRIBUTION, 3.0), make(50, 4, DISTRIBUTION)
    moved = dataclasses.replace(DISTRIBUTION, low=3400.0 - 40, high=4400.0 - 40, deviation=200.0)
    truth = {"voltage": 1000.0 * data.truth["voltage"] - 40}
    here = intervals.calibrate((DISTRIBUTION,), data).interval(DISTRIBUTION, new.outputs, new.distributions)
    there = intervals.calibrate((moved,), dataclasses.replace(data, truth=truth)).interval(
        moved, new.outputs, new.distributions
    )
    np.testing.assert_allclose(np.stack(there), 1000.0 * np.stack(here) - 40, atol=0.02)


def test_the_spread_over_seeds_is_the_scale_where_it_says_something():
    informed = make(2000, 0)
    random = np.random.default_rng(0)
    spread = random.uniform(0.001, 0.1, 2000)
    truth = {"voltage": 3.9 + spread * random.normal(size=2000)}
    outputs = {"voltage": 3.9 + spread * np.array([[-0.7], [0.7]])}
    assert intervals.calibrate((VALUE,), dataclasses.replace(informed, outputs=outputs, truth=truth)).floors["voltage"]
    single = {"voltage": outputs["voltage"][:1]}
    plain = intervals.calibrate((VALUE,), dataclasses.replace(informed, outputs=single, truth=truth))
    assert plain.floors["voltage"] == 0.0
    assert np.ptp(np.subtract(*plain.interval(VALUE, single, {}))) < 1e-9


def test_classes_have_intervals_of_their_own_where_they_have_patterns_and_groups():
    calibration, test = intervals.calibrate(SPECS, make(3000, 0)), make(3000, 1)
    lower, upper = calibration.interval(VALUE, test.outputs, {})
    mode = test.outputs["mode"][0].argmax(axis=-1)
    for number in range(3):
        held = ((lower <= test.truth["voltage"]) & (test.truth["voltage"] <= upper))[mode == number].mean()
        assert 0.85 < held < 0.95
    assert np.median((upper - lower)[mode == 2]) > 2 * np.median((upper - lower)[mode == 0])
    few = make(60, 0)  # some twenty in each class
    pooled = intervals.calibrate(SPECS, few)
    scale = np.subtract(
        *conformal.bounds(VALUE, test.outputs["voltage"], None, np.ones(3000), pooled.floors["voltage"])
    )
    assert np.ptp(np.subtract(*pooled.interval(VALUE, test.outputs, {})) / scale) < 1e-6
    together = dataclasses.replace(calibration, groups=np.where(calibration.categories == 2, 0, calibration.groups))
    wide = np.subtract(*together.interval(VALUE, test.outputs, {}))
    assert not np.allclose(wide[mode == 2], (lower - upper)[mode == 2])


def test_label_sets_hold_the_class():
    calibration, test = intervals.calibrate(SPECS, make(2000, 0)), make(2000, 1)
    result = coverage.evaluate(calibration, SPECS, test)["targets"]["mode"]
    for level in result["levels"]:
        assert level["coverage"] > level["nominal"] - 0.04 and 1.0 <= level["size"] <= 3.0
    sets = calibration.label_sets(MODE, test.outputs, 0.5)
    assert (sets.sum(axis=1) == 1).all()  # the most probable class alone is right more often than that


def test_too_few_groups_or_patterns_promise_nothing():
    data = make(200, 0)
    four = intervals.calibrate(SPECS, dataclasses.replace(data, groups=data.groups // 5))
    assert four.group_count == 4 and four.interval(VALUE, data.outputs, {}) is None
    assert four.label_sets(MODE, data.outputs) is None
    evaluation = coverage.evaluate(four, SPECS, make(100, 1))
    assert [level["coverage"] for level in evaluation["targets"]["voltage"]["levels"]] == [None] * 3
    assert (
        "no interval can be promised at 80, 90, 95 %" in evaluation["notes"][0] and "4 groups" in evaluation["notes"][0]
    )
    ten = intervals.calibrate(SPECS, make(10, 0))
    assert (
        ten.interval(VALUE, data.outputs, {}, 0.9) is not None and ten.interval(VALUE, data.outputs, {}, 0.95) is None
    )
    assert (
        "at 95 %: there are 10 calibration patterns, and at least 19" in coverage.evaluate(ten, SPECS, data)["notes"][0]
    )


def test_crps_is_the_integral_of_the_squared_difference():
    data = make(40, 0, DISTRIBUTION, 2.0)
    calibration = intervals.calibrate((DISTRIBUTION,), make(3000, 1, DISTRIBUTION, 2.0))
    result = coverage.evaluate(calibration, (DISTRIBUTION,), data)["targets"]["voltage"]
    radii = np.sort(calibration.scores["voltage"])
    levels = np.linspace(0.0, 1.0, 401)[1:-1]
    own = np.quantile(radii, np.abs(2 * levels - 1))
    losses = []
    for level, radius in zip(levels, own, strict=True):
        ends = conformal.bounds(
            DISTRIBUTION, data.outputs["voltage"], data.distributions["voltage"], np.full(40, radius), 0.0
        )
        quantile = ends[0] if level < 0.5 else ends[1]
        losses.append(2 * (level - (data.truth["voltage"] < quantile)) * (data.truth["voltage"] - quantile))
    assert result["crps"] == pytest.approx(np.mean(losses), rel=0.02)
    assert result["crps"] < result["raw_crps"]


def test_crps_of_the_spread_over_seeds_is_that_of_a_normal_distribution():
    data = make(30, 0)
    raw = coverage.evaluate(intervals.calibrate(SPECS, make(300, 1)), SPECS, data)["targets"]["voltage"]
    draws = np.random.default_rng(0).normal(size=4000)
    predicted = data.outputs["voltage"].astype(float)
    samples = predicted.mean(axis=0) + predicted.std(axis=0, ddof=1) * draws[:, None]
    ranks = (2 * np.arange(1, 4001) - 4001) / 4000**2
    spread = (ranks[:, None] * np.sort(samples, axis=0)).sum(axis=0)  # E|X − X'| / 2
    brute = np.abs(samples - data.truth["voltage"]).mean(axis=0) - spread
    assert raw["raw_crps"] == pytest.approx(brute.mean(), rel=0.02)
    one = dataclasses.replace(data, outputs=data.outputs | {"voltage": data.outputs["voltage"][:1]})
    single = coverage.evaluate(intervals.calibrate(SPECS, one), SPECS, one)["targets"]["voltage"]
    assert single["raw_crps"] is None and single["raw_pit"] is None and single["crps"] > 0


def p_value(random: np.random.Generator, groups: int, shift: float) -> float:
    """Patterns of a group share most of their error."""

    def scores(count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.abs(random.normal(size=count).repeat(25) + 0.3 * random.normal(size=25 * count)), np.arange(
            count
        ).repeat(25)

    (first, first_groups), (second, second_groups) = scores(groups), scores(groups + 4)
    return coverage.exchangeability(first, first_groups, second + shift, second_groups)["p"]


def test_p_values_are_uniform_where_patterns_are_exchangeable_and_small_where_not():
    random = np.random.default_rng(0)
    p = np.array([p_value(random, 6, 0.0) for _ in range(200)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert abs((p <= level).mean() - level) < 4 * math.sqrt(level * (1 - level) / 200)
    assert np.median([p_value(random, 6, 2.0) for _ in range(20)]) < 0.01


def test_patterns_that_are_not_exchangeable_are_reported():
    calibration = intervals.calibrate(SPECS, make(1000, 0))
    notes = coverage.evaluate(calibration, SPECS, make(1000, 1, shift=0.02))["notes"]
    assert any(
        note.startswith("voltage: calibration and test patterns are not exchangeable (p = 0.0005") for note in notes
    )
    assert "errors of the test patterns are larger" in notes[0]
    assert not coverage.evaluate(calibration, SPECS, make(1000, 2))["notes"]


@pytest.mark.filterwarnings("error")
def test_predictions_that_are_no_numbers_lie_in_no_interval():
    for spec in (VALUE, DISTRIBUTION):
        data = make(200, 0, spec)
        outputs = {name: values.copy() for name, values in data.outputs.items()}
        distributions = {name: values.copy() for name, values in data.distributions.items()}
        for values in (outputs["voltage"][:, :5], outputs["mode"][:, :5], *(v[:5] for v in distributions.values())):
            values[:] = np.nan
        broken = dataclasses.replace(data, outputs=outputs, distributions=distributions)
        calibration = intervals.calibrate((spec, MODE), broken)
        assert np.isinf(calibration.scores["voltage"][:5]).all()
        lower, upper = calibration.interval(spec, outputs, distributions)
        assert np.isnan(lower[:5]).all() and np.isfinite(np.stack([lower, upper])[:, 5:]).all()
        evaluation = files.finite_or_null(coverage.evaluate(calibration, (spec, MODE), broken))
        assert evaluation["targets"]["voltage"]["levels"][0]["width"] > 0


def test_a_calibration_belongs_to_one_run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "preparation.npz").write_bytes(b"a")
    assert intervals.load(tmp_path) is None
    data = make(200, 0)
    calibration = intervals.calibrate(SPECS, data)
    intervals.save(tmp_path, calibration)
    again = intervals.load(tmp_path)
    for ours, theirs in zip(
        calibration.interval(VALUE, data.outputs, {}), again.interval(VALUE, data.outputs, {}), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.class_targets == ("mode",) and again.floors == calibration.floors
    content = (tmp_path / intervals.FILE).read_bytes()
    (tmp_path / intervals.FILE).write_bytes(content[:200])
    with pytest.warns(UserWarning, match="no intervals are given: .*damaged"):
        assert intervals.load(tmp_path) is None
    (tmp_path / intervals.FILE).write_bytes(content)
    (tmp_path / "preparation.npz").write_bytes(b"b")
    assert intervals.load(tmp_path) is None
    plain = intervals.calibrate((VALUE,), dataclasses.replace(data, outputs={"voltage": data.outputs["voltage"]}))
    intervals.save(tmp_path, plain)
    assert intervals.load(tmp_path).class_targets == ()


def test_a_calibration_group_is_a_stretch_without_training_patterns():
    series = make_series(frames=400)
    for split in ("random", "cycle", "block"):
        prepared = prepare(series, PrepareConfig(channels=32, calibration=0.3, split=split), 0)
        groups, test_groups = intervals.held_out_groups(prepared)
        assert groups.shape == prepared.calibration.shape and test_groups.shape == prepared.test.shape
        for number in np.unique(groups):
            rows = prepared.calibration[groups == number]
            assert np.unique(series.session[rows]).size == 1
            assert not ((prepared.train > rows[0]) & (prepared.train < rows[-1])).any()
        assert np.unique(groups).size >= intervals.MIN_GROUPS  # blocks that are neighbours are one
        lengths = [np.ptp(prepared.test[test_groups == number]) + 1 for number in np.unique(test_groups)]
        spans = [np.ptp(prepared.calibration[groups == number]) + 1 for number in np.unique(groups)]
        assert max(lengths) <= np.median(spans)
