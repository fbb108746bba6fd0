"""Scores against cases that can be worked out by hand, and interventions on networks whose answer is known."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.support.networks import at_input, linear_run, make_run
from tests.support.series import make_series
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.explain import metrics, perturbation
from xrd_jax.explain.decoy import add_decoy, quiet_region
from xrd_jax.explain.retrain import retrain
from xrd_jax.explain.verdict import Evidence, judge
from xrd_jax.models import Model
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import TargetSpec

TRUTH = np.arange(20) < 5


def test_average_precision_by_hand():
    # Found at ranks 1 and 3 of 4: (1/1 + 2/3) / 2.
    assert metrics.auprc(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0], bool)) == pytest.approx(5 / 6)
    falling = np.arange(20.0)[::-1]
    assert metrics.auprc(falling, TRUTH) == 1.0
    worst = np.mean([k / (15 + k) for k in range(1, 6)])
    assert metrics.auprc(falling[::-1], TRUTH) == pytest.approx(worst)
    assert metrics.auprc(np.ones(20), TRUTH) == pytest.approx(0.25)
    assert math.isnan(metrics.auprc(falling, np.zeros(20, bool)))


def test_average_precision_of_noise_is_chance():
    rng = np.random.default_rng(0)
    truth = np.arange(2000) < 200
    assert np.mean([metrics.auprc(rng.random(2000), truth) for _ in range(50)]) == pytest.approx(0.1, abs=0.01)


def test_mass_and_overlap_by_hand():
    curve = np.array([3.0, 1.0, 0.0, -4.0])
    assert metrics.mass_inside(curve, np.array([1, 1, 0, 0], bool)) == pytest.approx(0.5)
    assert metrics.overlap(curve, np.array([1, 1, 0, 0], bool)) == 0.5
    assert metrics.overlap(curve, np.array([1, 0, 0, 1], bool)) == 1.0
    assert metrics.overlap(np.ones(20), TRUTH) == pytest.approx(0.25)
    assert math.isnan(metrics.mass_inside(np.zeros(4), np.ones(4, bool)))
    assert metrics.edge_mass(np.ones(32)) == 0.5


def test_scores_ignore_the_scale_and_ranks_any_monotone_map():
    rng = np.random.default_rng(1)
    curve, other = rng.random(20), rng.random(20)
    for score in (metrics.auprc, metrics.mass_inside, metrics.overlap):
        assert score(curve, TRUTH) == pytest.approx(score(1e-6 * curve, TRUTH))
    for score in (metrics.auprc, metrics.overlap):
        assert score(curve, TRUTH) == score(np.exp(5 * curve), TRUTH)
    assert metrics.spearman(curve, other) == metrics.spearman(curve**3, np.exp(other))
    curves, scale = rng.random((4, 20)), rng.uniform(1, 9, (4, 1))
    np.testing.assert_array_equal(metrics.unstable_channels(curves), metrics.unstable_channels(scale * curves))
    assert metrics.stability(curves) == pytest.approx(metrics.stability(curves**3))


def test_rank_correlation():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.spearman(a, a**2) == pytest.approx(1.0) and metrics.spearman(a, -a) == pytest.approx(-1.0)
    assert metrics.spearman(a, np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert metrics.spearman(a, np.ones(4)) == 0.0
    windows = {"a": np.arange(6) < 2, "b": np.arange(6) == 2, "c": np.arange(6) > 2}
    shares = {"a": 0.6, "b": 0.1, "c": 0.3, "elsewhere": 0.0}
    assert metrics.window_agreement(np.array([3.0, 3, 0, 1, 1, 1]), windows, shares) == pytest.approx(1.0)
    assert metrics.window_agreement(np.array([1.0, 0, 5, 1, 1, 1]), windows, shares) == pytest.approx(-1.0)


def test_stability_is_the_mean_over_pairs():
    up, down = np.arange(6.0), np.arange(6.0)[::-1]
    assert metrics.stability(np.stack([up, up, up])) == pytest.approx(1.0)
    assert metrics.stability(np.stack([up, up, down])) == pytest.approx(-1 / 3)
    assert math.isnan(metrics.stability(up[None]))
    assert metrics.randomisation(np.stack([up, up]), np.stack([down, down])) == pytest.approx(-1.0)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng, hits = np.random.default_rng(2), []
    expected = np.array([0.2, 0.3, 0.5])
    for _ in range(2000):
        curves = expected + 0.01 * rng.normal(size=(6, 3))
        hits.append(np.abs(curves.mean(axis=0) - expected) <= metrics.interval(curves))
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
    assert np.isnan(metrics.interval(expected[None])).all()


def test_interval_is_that_of_scipy():
    for values in (np.array([0.2, 0.5, 0.4, 0.1]), np.random.default_rng(0).normal(size=16)):
        low, high = stats.t.interval(0.95, values.size - 1, values.mean(), stats.sem(values))
        assert metrics.interval(values) == pytest.approx((high - low) / 2, rel=1e-12)


def test_channels_that_seeds_do_not_share_are_unstable():
    curves = np.full((5, 4), 4.0)
    curves[:, 2] = [0.0, 9.0, 0.0, 9.0, 1.0]
    assert metrics.unstable_channels(curves).tolist() == [False, False, True, False]
    assert metrics.unstable_channels(curves[:1]).all()


def test_decoy_mass_is_the_mean_over_patterns():
    maps, inside = np.ones((2, 4)), np.zeros((2, 4), bool)
    inside[0, :2] = True
    maps[1] *= 100.0
    assert metrics.decoy_mass(maps, inside) == pytest.approx(0.25)


GOOD = Evidence(
    auprc=0.9, auprc_untrained=0.4, auprc_intensity=0.55, chance=0.1, randomisation=0.3, stability=0.9, decoy=0.01,
    deletion=0.9, deletion_intensity=0.7, deletion_random=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "supported"),
        ({"stability": 0.5}, "unstable"),
        ({"auprc_intensity": 0.88}, "no better than intensity"),
        ({"auprc_untrained": 0.85}, "fails randomisation"),
        ({"randomisation": 0.94}, "fails randomisation"),
        ({"auprc": 0.15}, "contradicted"),
        ({"decoy": 0.44}, "contradicted"),
        ({"deletion": 0.5}, "contradicted"),
        ({"randomisation": 0.94, "decoy": 0.44, "stability": 0.1}, "contradicted"),
        ({"auprc": math.nan, "auprc_untrained": math.nan, "auprc_intensity": math.nan}, "supported"),
        ({"auprc": math.nan, "deletion_intensity": 0.92}, "supported"),
        ({"auprc": math.nan, "deletion_intensity": 0.95}, "no better than intensity"),
        ({"auprc": math.nan, "deletion": math.nan}, "no better than intensity"),
        ({"deletion_intensity": 0.95}, "supported"),
    ],
)
def test_verdicts(changes, word):
    verdict = judge(dataclasses.replace(GOOD, **changes))
    assert verdict.word == word and verdict.reason and "\n" not in verdict.reason and "nan" not in verdict.reason


def sparse_run(series):
    """A linear network that sees three channels alone, on targets that it hits exactly."""
    weight = np.zeros(32, np.float32)
    weight[4:7] = [3.0, 2.0, 1.0]
    run = linear_run(series, weight)
    answer = np.asarray(at_input(run, series)) @ weight * run.specs[0].deviation
    voltage = dataclasses.replace(series.targets["voltage"], values=answer)
    return run, dataclasses.replace(series, targets=series.targets | {"voltage": voltage}), weight


def deletion(run, series, curve, **options) -> perturbation.DeletionCurve:
    key = ("map", "voltage")
    return perturbation.deletion_curves(run, series, {key: curve}, **options)[key]


def test_deletion_and_insertion_of_a_sparse_network():
    run, series, weight = sparse_run(make_series())
    fractions = tuple(np.arange(33) / 32)
    right = deletion(run, series, weight, fractions=fractions, chunk=100)
    wrong = deletion(run, series, 1.0 - weight / 4, fractions=fractions)
    assert right.error.shape == (1, 33) and right.error[0, 0] == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(right.error[0, 3:], right.error[0, -1], rtol=1e-5)
    np.testing.assert_allclose(wrong.error[0, :30], 0.0, atol=1e-5)
    assert right.auc[0] > 0.9 and wrong.auc[0] < 0.1
    back = deletion(run, series, weight, fractions=fractions, insertion=True)
    assert back.error[0, 0] == pytest.approx(right.error[0, -1]) and back.error[0, 3:] == pytest.approx(0.0, abs=1e-5)
    assert back.auc[0] > 0.9
    expected = np.abs(np.asarray(at_input(run, series))[:, 4] * weight[4] * run.specs[0].deviation).mean()
    assert right.error[0, 1] == pytest.approx(expected, rel=1e-3)
    assert deletion(run, series, 7.0 * weight[None]).auc == pytest.approx(deletion(run, series, weight).auc)


def test_knock_out_hurts_only_where_the_network_looks():
    run, series, _ = sparse_run(make_series())
    channel = np.arange(32)
    is_used = (channel >= 4) & (channel < 7)
    moving = np.tile(is_used, (len(series), 1))
    moving[len(series) // 2 :] = False
    harm = perturbation.knock_out(run, series, {"used": is_used, "unused": channel > 10, "half": moving})
    assert harm["unused"]["voltage"][0] == pytest.approx(0.0, abs=1e-5)
    assert harm["used"]["voltage"][0] > harm["half"]["voltage"][0] > 1e-3
    # Masks of each pattern, in other blocks.
    alone = perturbation.masked_errors(run, series, lambda _, indices: moving[indices][None], ("voltage",), chunk=50)
    assert alone["voltage"][0, 0] == pytest.approx(harm["half"]["voltage"][0], rel=1e-4)


def test_errors_without_erasure_are_those_of_the_predictions():
    series, no_mask = make_series(), np.zeros((1, 1, 32), bool)
    run = make_run(series)
    errors = perturbation.masked_errors(run, series, lambda *_: no_mask, ("voltage", "mode"), chunk=64)
    predicted, truth = run.predict(series), series.targets["voltage"].values
    np.testing.assert_allclose(errors["voltage"][:, 0], np.abs(predicted["voltage"] - truth).mean(axis=1), rtol=1e-4)
    wrong = (predicted["mode"].argmax(axis=-1) != series.targets["mode"].values).mean(axis=1)
    np.testing.assert_allclose(errors["mode"][:, 0], wrong, atol=1e-6)
    with pytest.raises(UserError, match="no measured 'voltage'"):
        deletion(run, dataclasses.replace(series, targets={}), np.ones(32))


def test_a_network_that_no_channel_matters_to_has_no_area():
    series = make_series()
    spec = TargetSpec("voltage", "regression", "V", 1, (), 3.9, 0.1)
    flat = Model(lambda key: {}, lambda v, x: ({"voltage": 0.0 * x[:, :1]}, {}), lambda *_: None, 0.0)
    run = dataclasses.replace(make_run(series, seeds=1), specs=(spec,), model=flat, variables={"w": jnp.ones((1, 1))})
    assert np.isnan(deletion(run, series, np.ones(32)).auc).all()


@pytest.mark.parametrize("counts", [True, False])
def test_injected_peak_wanders_in_its_region_and_knows_nothing(counts):
    series = dataclasses.replace(make_series(frames=2000), is_counts=counts)
    decoy = add_decoy(series, memory=0.01)
    low, high = quiet_region(series.axis.values, series.intensity)
    assert decoy.centres.min() >= low and decoy.centres.max() <= high and decoy.centres.std() > 0.4
    assert abs(np.corrcoef(decoy.centres, series.targets["voltage"].values)[0, 1]) < 0.25
    assert decoy.series.intensity.dtype == (np.uint16 if counts else np.float32)
    added = decoy.series.intensity.astype(float) - series.intensity.astype(float)
    axis, mean = series.axis.values, series.intensity.mean(axis=0)
    height = (mean.max() - np.median(mean)) / 3
    area = height * decoy.width / 2 * math.sqrt(math.pi / math.log(2)) / (axis[1] - axis[0])
    assert added.sum(axis=1).mean() == pytest.approx(area, rel=0.02)
    assert added[~decoy.inside(axis)].sum() < 0.03 * added.sum()
    again = add_decoy(series, memory=0.01)
    np.testing.assert_array_equal(again.series.intensity, decoy.series.intensity)


def test_the_quiet_region_is_where_nothing_moves():
    series = make_series()
    low, high = quiet_region(series.axis.values, series.intensity)
    assert (high < 23.5 or low > 26.5) and high - low == pytest.approx(2.0, abs=0.2)


def test_retraining_without_what_matters_costs_more_than_without_the_rest():
    series = make_series(frames=480)
    config = Config(
        targets=("voltage",), seeds=2, prepare=PrepareConfig(channels=32, scale="dataset", resize="bin"),
        model=ModelConfig(depth=3, width=8, query_layer=1, key_layer=3, norm_layer=2),
        train=TrainConfig(epochs=15, batch_size=32, learning_rate=3e-3),
    )  # fmt: skip
    prepared = prepare(series, config.prepare)
    axis = np.asarray(prepared.statistics.centres)
    curve = ((axis > 23.0) & (axis < 28.0)).astype(float)
    without = retrain(prepared, config, curve, curve.mean())["voltage"]
    only = retrain(prepared, config, 1.0 - curve, 1.0 - curve.mean())["voltage"]
    deviation = series.targets["voltage"].values.std()
    assert without.shape == (2,) and (only < 0.35 * deviation).all() and (without > 2 * only).all()
