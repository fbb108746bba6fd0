"""Explanations summed up over patterns and seeds: curves, shares, the ensemble, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.networks import linear_run, make_run
from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.analysis import vaw
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import ensemble, gradients
from xrd_jax.explain.accumulate import collect
from xrd_jax.explain.attribution import untrained
from xrd_jax.explain.methods import available_methods
from xrd_jax.explain.metrics import unit
from xrd_jax.series.record import PatternSeries


def linear_runs(series: PatternSeries, weights: np.ndarray) -> Run:
    """Networks y = w · x, one for each row of `weights`."""
    run = linear_run(series, weights[0])
    config = dataclasses.replace(run.config, seeds=len(weights))
    return dataclasses.replace(run, config=config, variables={"w": jnp.asarray(weights, jnp.float32)})


def test_what_seeds_do_not_share_drops_out_of_the_ensemble():
    """Networks that share one channel and have one each to themselves: nothing of the others is left."""
    series, common = make_series(), 20
    weights = np.zeros((4, 32), np.float32)
    weights[:, common] = 1.0
    weights[np.arange(4), np.arange(4)] = 1.0
    explained = collect(
        linear_runs(series, weights), series, ("gradient_noise", "ensemble_noise"), {"own": np.arange(32) < 4}
    )
    single, together = (explained.curves[name, "voltage"] for name in ("gradient_noise", "ensemble_noise"))
    assert together.shape == (2, 32)  # two halves of the seeds
    assert single[:, :4].sum(axis=1).min() > 0.05 and together[:, :4].max() < 1e-6
    np.testing.assert_allclose(explained.maps["ensemble_noise", "voltage"][:, common], 1.0, rtol=1e-5)
    share = explained.shares["ensemble_noise", "voltage"]["own"]
    assert share.shape == (4,) and np.abs(share).max() < 1e-5


@pytest.mark.parametrize("seeds", [2, 5])
def test_what_is_shared_is_the_square_of_the_mean_without_bias(seeds):
    draws = 2.0 + np.random.default_rng(seeds).normal(size=(seeds, 200_000, 1))
    assert ensemble.shared_between_seeds(draws).mean() == pytest.approx(4.0, abs=0.1)
    assert (draws.mean(axis=0) ** 2).mean() == pytest.approx(4.0 + 1.0 / seeds, abs=0.05)
    left_out = [ensemble.shared_between_seeds(np.delete(draws, seed, axis=0)) for seed in range(seeds)]
    np.testing.assert_allclose(ensemble.leave_one_out(draws), left_out, rtol=1e-9, atol=1e-9)


def test_an_ensemble_of_equals_is_one_of_them(sparse):
    weights = np.tile(np.random.default_rng(1).normal(size=32), (3, 1))
    explained = collect(linear_runs(make_series(), weights), sparse, ("gradient_noise", "ensemble_noise"))
    single = explained.curves["gradient_noise", "voltage"][0]
    for curve in explained.curves["ensemble_noise", "voltage"]:
        np.testing.assert_allclose(curve, single, rtol=1e-4, atol=1e-7)


def test_the_ensemble_needs_no_other_method_for_its_noise():
    """Of data that are no counts its map is the same alone and beside gradient_noise, and not zero."""
    series = dataclasses.replace(make_series(), is_counts=False, intensity=make_series().intensity.astype(float))
    run = linear_runs(series, np.random.default_rng(1).normal(size=(3, 32)).astype(np.float32))
    alone = collect(run, series, ("ensemble_noise",)).curves["ensemble_noise", "voltage"]
    beside = collect(run, series, ("gradient_noise", "ensemble_noise")).curves["ensemble_noise", "voltage"]
    assert alone.sum(axis=1) == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(alone, beside)


def test_pseudo_values_of_a_mean_are_the_values():
    values = np.random.default_rng(2).normal(size=6)
    np.testing.assert_allclose(ensemble.jackknife_pseudo_values((values.sum() - values) / 5), values)


def test_collected_maps_and_shares(run, sparse):
    halves = {"left": np.arange(32) < 16, "right": np.tile(np.arange(32) >= 16, (len(sparse), 1))}
    methods = ("vaw", "gradient", "occlusion", "variance")
    explained = collect(run, sparse, methods, halves, patterns=6, chunk=8)
    assert {method for method, _ in explained.curves} == set(methods)
    np.testing.assert_array_equal(explained.indices["occlusion"], sparse.thinned(6))
    np.testing.assert_array_equal(explained.indices["vaw"], np.arange(len(sparse)))
    for key, curve in explained.curves.items():
        np.testing.assert_allclose(curve.sum(axis=1), 1.0, rtol=1e-5)
        assert (curve >= 0).all() and curve.shape == (2, 32)
        np.testing.assert_allclose(explained.maps[key].mean(axis=0), curve.mean(axis=0), rtol=1e-3, atol=1e-6)
        left, right = explained.shares[key]["left"], explained.shares[key]["right"]
        np.testing.assert_allclose(left, curve[:, :16].sum(axis=1), rtol=1e-4)
        np.testing.assert_allclose(left + right, 1.0, rtol=1e-4)
    assert set(explained.raw_curves) == {("vaw", s.name) for s in run.specs}
    moved = vaw.register(explained.raw_curves["vaw", "mode"], 1.0)
    same = np.nan_to_num(moved) / np.nansum(moved, axis=1, keepdims=True)
    assert np.abs(same - explained.curves["vaw", "mode"]).max() < 0.3 * same.max()


def test_shares_of_maps_ignore_scale_sign_and_missing_channels():
    maps = np.random.default_rng(4).normal(size=(3, 8))
    np.testing.assert_allclose(unit(-5.0 * maps), unit(maps))
    gaps = unit(np.array([np.nan, -1.0, 3.0]))
    np.testing.assert_allclose(gaps, [0.0, 0.25, 0.75])
    assert not unit(np.zeros(4)).any()


def test_unknown_method_is_one_line_that_lists_them(run, sparse):
    with pytest.raises(
        UserError, match=r"method 'shap' is not known; use some of own_attention, vaw, .*occlusion, random"
    ) as error:
        collect(run, sparse, ("shap",))
    assert "\n" not in str(error.value)


def test_attention_maps_need_attention(sparse):
    run = make_run(make_series(), seeds=1, attention="off")
    with pytest.raises(UserError, match=r"vaw: this network has none .*=off\); use gradient, "):
        collect(run, sparse, ("gradient", "vaw"))
    explained = collect(run, sparse, available_methods(run), patterns=4)
    assert ("grad_cam", "mode") in explained.curves and ("vaw", "mode") not in explained.curves


def test_contrast_needs_labels(run, sparse):
    without = dataclasses.replace(sparse, targets={})
    with pytest.raises(UserError, match="contrast_gradients needs the labels 'voltage'"):
        collect(run, without, ("contrast_gradients",))
    assert collect(run, without, ("integrated_gradients",)).curves
    same = sparse.subset(sparse.targets["rate"].values == 0)
    with pytest.raises(UserError, match="no reference pattern has another rate"):
        collect(run, same, ("contrast_gradients",))


def test_models_without_an_attention_layer_say_so(sparse):
    run = linear_run(make_series(), np.ones(32, np.float32))
    with pytest.raises(UserError, match="no attention between two layers"):
        collect(run, sparse, ("vaw",))


def test_built_models_share_programs(sparse):
    collect(make_run(make_series()), sparse, ("gradient",))
    before = gradients.one_pass_maps._cache_size()
    collect(untrained(make_run(make_series())), sparse, ("gradient",))
    assert gradients.one_pass_maps._cache_size() == before


DEVICES = """
import numpy as np, jax
from tests.support.networks import make_run
from tests.support.series import make_series
from xrd_jax.explain.accumulate import collect
run = make_run(make_series(), depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2)
sparse = make_series().subset(np.arange(0, 240, 30))
assert jax.local_device_count() == 2
methods = ("vaw", "gradient_noise", "contrast_gradients", "occlusion")
shared, alone = (collect(run, sparse, methods, chunk=chunk) for chunk in (8, 7))
for key, curve in shared.curves.items():
    np.testing.assert_allclose(curve, alone.curves[key], rtol=5e-3, atol=1e-6, err_msg=str(key))
"""


def test_devices_share_a_block_without_changing_it():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    options = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", DEVICES], check=False, timeout=400, **options)
    assert done.returncode == 0, done.stderr
