"""Explanations against networks whose answer is known, and against the definitions by brute force."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.networks import at_input, linear_run, make_run
from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.analysis import vaw
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.explain import accumulate, attribution, ensemble, gradients, paths
from xrd_jax.models import attention_hooks
from xrd_jax.preprocessing import noise as preprocessing_noise
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.transform import transform
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import make_model


@pytest.fixture(scope="module")
def few() -> PatternSeries:
    return make_series().subset(np.arange(0, 240, 12))


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run(make_series())


def one_block(run: Run, series: PatternSeries, *methods: str, **options) -> attribution.AttributionBlock:
    (block,) = attribution.stream(run, series, methods, **options)
    return block


def scores_of(run: Run, x: jnp.ndarray, seed: int, chosen: dict | None = None) -> dict[str, jnp.ndarray]:
    variables = jax.tree.map(lambda leaf: leaf[seed], run.variables)
    outputs, _ = run.model.apply(variables, x)
    chosen = chosen or {name: values.argmax(axis=1) for name, values in outputs.items()}
    return {s.name: gradients.score(s, outputs[s.name], chosen[s.name]) for s in run.specs}


def impulse_run(channels: int = 48, **model) -> tuple[Run, PatternSeries]:
    """A network of equal positive weights on a pattern with one channel that is not dark."""
    series = make_series(channels=channels)
    count = len(series)
    dark = np.zeros((count, channels), np.float32)
    dark[:, 20] = 1.0
    series = dataclasses.replace(series, intensity=dark, is_counts=False)
    config = Config(
        targets=("voltage",), prepare=PrepareConfig(scale="none", resize="none", centre=False),
        model=ModelConfig(**({"depth": 4, "width": 4, "query_layer": 2, "key_layer": 4, "norm_layer": 0} | model)),
    )  # fmt: skip
    prepared = prepare(series, config.prepare)
    network, specs = make_model(config, prepared)
    run = attribution.untrained(Run(Path("none"), config, specs, prepared.statistics, network, {}))
    even = jax.tree.map(lambda leaf: jnp.where(leaf.ndim > 2, 0.06, 0.0) * jnp.ones_like(leaf), run.variables)
    return dataclasses.replace(run, variables=even), series.subset(np.arange(8))


def centre(curve: np.ndarray) -> float:
    return float((curve * np.arange(curve.size)).sum() / curve.sum())


@pytest.mark.parametrize(("query", "key", "kernel"), [(2, 4, 4), (3, 4, 4), (1, 2, 6), (2, 4, 3), (4, 3, 4)])
def test_impulse_registers_hidden_layers_where_they_belong(query, key, kernel):
    run, series = impulse_run(query_layer=query, key_layer=key, kernel=kernel)
    block = one_block(run, series, "vaw", "attention_received", "attention_norm")
    even = (kernel + 1) % 2
    for method, layer in (("vaw", query), ("attention_received", key), ("attention_norm", key)):
        raw, placed = block.raw[method, "voltage"][0, 0], block.maps[method, "voltage"][0, 0]
        assert attribution.offset_of_method(run, method) == layer * even / 2
        assert centre(raw - raw.min()) == pytest.approx(20 - layer * even / 2, abs=1e-3)
        floor = placed[20:30].min() if method == "attention_received" else 0.0
        peak = np.clip(placed[8:33] - floor, 0.0, None)
        assert centre(peak) == pytest.approx(12.0, abs=1e-3)
        np.testing.assert_allclose(peak, peak[::-1], atol=1e-4 * peak.max())


def test_registered_vaw_is_that_of_the_run(run, few):
    block = one_block(run, few, "vaw")
    np.testing.assert_allclose(block.raw["vaw", "mode"], run.vaw(few).standardised(), atol=1e-4)
    np.testing.assert_allclose(block.maps["vaw", "mode"], np.nan_to_num(run.vaw(few).registered()), atol=1e-4)
    assert block.maps["vaw", "mode"] is block.maps["vaw", "voltage"]
    assert (
        run.model.receptive_offset == attribution.offset_of_method(run, "vaw")
        and attribution.offset_of_method(run, "gradient") == 0.0
    )


def test_attention_received_and_norm_are_their_definitions(run, few):
    block = one_block(run, few, "attention_received", "attention_norm")
    attention = np.concatenate(list(run.attention(few, seed=6)))
    variables = jax.tree.map(lambda leaf: leaf[1], run.variables)
    value = run.model.apply(variables, at_input(run, few))[1]["key"]
    received = attention.mean(axis=1)
    np.testing.assert_allclose(block.raw["attention_received", "rate"][1], received, atol=1e-5)
    norm = np.linalg.norm(attention[..., None] * np.asarray(value)[:, None], axis=-1).mean(axis=1)
    np.testing.assert_allclose(block.raw["attention_norm", "rate"][1], norm, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"projections": True, "scaled": True}, {"attention": "uniform"}])
def test_attention_gradient_is_the_gradient_of_the_attention(few, options):
    run = make_run(make_series(), seeds=1, **options)
    block = one_block(run, few, "attention_gradient")
    variables = jax.tree.map(lambda leaf: leaf[0], run.variables)
    x = at_input(run, few)
    _, inside = attention_hooks.apply(run.model, variables, x, attention_hooks.none(x, 8))
    head = variables["params"]["head_mode"]

    def explained(attention):
        combined = jnp.tanh(attention @ inside.value).reshape(len(x), -1)
        logits = combined @ head["kernel"] + head["bias"][None, :]
        return gradients.log_odds(logits, logits.argmax(axis=1)).sum()

    slope = jax.grad(explained)(inside.attention)
    expected = jnp.clip(slope * inside.attention, 0.0).sum(axis=1)
    np.testing.assert_allclose(block.raw["attention_gradient", "mode"][0], expected, rtol=2e-3, atol=1e-6)


def test_nudges_change_nothing_when_zero_and_act_as_features_otherwise(run, few):
    variables, x = jax.tree.map(lambda leaf: leaf[0], run.variables), at_input(run, few)
    nothing = attention_hooks.none(x, 8)
    plain, aux = run.model.apply(variables, x)
    outputs, inside = attention_hooks.apply(run.model, variables, x, nothing)
    np.testing.assert_allclose(outputs["mode"], plain["mode"], atol=1e-6)
    np.testing.assert_allclose(inside.key, aux["key"], atol=1e-6)
    # With key = value = 0 the attention gives 0, tanh 0, and the heads their biases.
    gone, _ = attention_hooks.apply(run.model, variables, x, nothing._replace(key=-aux["key"]))
    bias = variables["params"]["head_mode"]["bias"]
    np.testing.assert_allclose(gone["mode"], jnp.broadcast_to(bias[None, :], gone["mode"].shape), atol=1e-5)


def test_log_odds_are_those_of_the_softmax():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    chosen = jnp.array([0, 1, 2, 0, 1])
    p = jax.nn.softmax(logits)[jnp.arange(5), chosen]
    np.testing.assert_allclose(gradients.log_odds(logits, chosen), jnp.log(p / (1 - p)), rtol=1e-5)


def test_gradient_is_the_slope_of_what_is_explained(run, few):
    block, x = one_block(run, few, "gradient", "gradient_input"), at_input(run, few)
    for seed in (0, 1):
        variables = jax.tree.map(lambda leaf, seed=seed: leaf[seed], run.variables)
        chosen = {k: v.argmax(axis=1) for k, v in run.model.apply(variables, x)[0].items()}
        for name in ("voltage", "mode", "rate"):
            explained = jax.grad(lambda x, name=name, seed=seed, c=chosen: scores_of(run, x, seed, c)[name].sum())
            slope = block.maps["gradient", name][seed]
            np.testing.assert_allclose(slope, explained(x), rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(block.maps["gradient_input", name][seed], slope * x, rtol=1e-3, atol=1e-5)


def test_gradient_noise_is_the_fisher_information_of_the_outputs(run, few):
    block, x = one_block(run, few, "gradient_noise"), at_input(run, few)
    counts = jnp.asarray(few.intensity, jnp.float32)
    variance = preprocessing_noise.variance(run.statistics, run.config.prepare, counts)
    variables = jax.tree.map(lambda leaf: leaf[1], run.variables)

    def log_p(one):
        return jax.nn.log_softmax(run.model.apply(variables, one[None])[0]["mode"][0])

    for i in (0, 7):
        slopes, p = jax.jacrev(log_p)(x[i]), jnp.exp(log_p(x[i]))
        expected = (p[:, None] * slopes**2).sum(axis=0) * variance[i]
        np.testing.assert_allclose(block.maps["gradient_noise", "mode"][1, i], expected, rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("scale", ["pattern", "dataset", "total", "sqrt", "snv", "none"])
@pytest.mark.parametrize(("scale_at", "resize"), [("output", "bin"), ("input", "spline")])
def test_photon_noise_at_the_input(scale, scale_at, resize):
    series = make_series()
    config = PrepareConfig(scale=scale, scale_at=scale_at, resize=resize, channels=32)
    statistics = prepare(series, config).statistics
    rates = 40.0 * np.asarray(series.intensity[3], np.float32) + 400.0
    draws = np.random.default_rng(1).poisson(rates, (4000, rates.size)).astype(np.float32)
    measured = np.asarray(transform(statistics, config, jnp.asarray(draws))).var(axis=0)
    told = np.asarray(preprocessing_noise.variance(statistics, config, jnp.asarray(rates)[None]))[0]
    if scale == "pattern":  # the extremes, noisy themselves, are held fixed
        matrix = np.asarray(statistics.matrix)
        level = np.ptp(rates if scale_at == "input" else rates @ matrix) * float(statistics.deviation)
        measured = (draws @ matrix).var(axis=0) / level**2
    np.testing.assert_allclose(np.median(measured / told), 1.0, atol=0.08)
    if scale in ("dataset", "none", "pattern"):
        np.testing.assert_allclose(measured, told, rtol=0.12)


def test_noise_of_data_that_are_no_counts_is_what_time_does_not_explain():
    series = make_series(frames=480)
    noise = np.random.default_rng(2).normal(0.0, 3.0, series.intensity.shape)
    drift = np.linspace(0.0, 50.0, len(series))[:, None]
    series = dataclasses.replace(series, intensity=(100.0 + drift + noise).astype(np.float32), is_counts=False)
    config = PrepareConfig(scale="none", resize="none", centre=False)
    run = make_run(make_series())
    run = dataclasses.replace(
        run, config=dataclasses.replace(run.config, prepare=config), statistics=prepare(series, config).statistics
    )
    assert paths.residual_variance(run, series).mean() == pytest.approx(9.0, rel=0.05)


def test_linear_network_is_explained_exactly(few):
    weight = np.random.default_rng(3).normal(size=32).astype(np.float32)
    run = linear_run(make_series(), weight)
    methods = ("gradient", "gradient_input", "integrated_gradients", "contrast_gradients", "smooth_gradient",
               "expected_gradients", "occlusion")  # fmt: skip
    block, x = one_block(run, few, *methods), np.asarray(at_input(run, few))
    found = {method: block.maps[method, "voltage"][0] for method in methods}
    for method in ("gradient", "smooth_gradient"):
        np.testing.assert_allclose(found[method], np.broadcast_to(weight, x.shape), rtol=1e-3, atol=1e-5)
    for method in ("gradient_input", "integrated_gradients"):
        np.testing.assert_allclose(found[method], weight * x, rtol=1e-3, atol=1e-4)
    voltage = few.targets["voltage"].values
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    apart[np.abs(voltage[:, None] - voltage[None]) <= 0.05] = np.inf
    np.testing.assert_allclose(found["contrast_gradients"], weight * (x - x[apart.argmin(axis=1)]), atol=1e-4)
    single = np.stack([(weight * x)[:, s : s + 8].sum(axis=1) for s in range(0, 28, 4)], axis=1)
    np.testing.assert_allclose(found["occlusion"][:, :4], np.repeat(single[:, :1], 4, axis=1), atol=1e-4)
    np.testing.assert_allclose(found["occlusion"][:, 8], (single[:, 1] + single[:, 2]) / 2, atol=1e-4)


def test_expected_gradients_average_the_baselines(few):
    weight = np.ones(32, np.float32)
    run = linear_run(make_series(), weight)
    only = few.subset(np.array([4]))
    block = one_block(run, few, "expected_gradients", reference=only)
    x = np.asarray(at_input(run, few))
    np.testing.assert_allclose(block.maps["expected_gradients", "voltage"][0], x - x[4], atol=1e-4)


def test_integrated_gradients_add_up_to_the_change_of_the_output(run, few):
    block, x = one_block(run, few, "integrated_gradients"), at_input(run, few)
    for seed in (0, 1):
        variables = jax.tree.map(lambda leaf, seed=seed: leaf[seed], run.variables)
        chosen = {k: v.argmax(axis=1) for k, v in run.model.apply(variables, x)[0].items()}
        here, there = scores_of(run, x, seed, chosen), scores_of(run, jnp.zeros_like(x), seed, chosen)
        for name in here:
            change = np.asarray(here[name] - there[name])
            total = block.maps["integrated_gradients", name][seed].sum(axis=1)
            assert np.abs(total - change).mean() < 0.1 * np.abs(change).mean()


def test_blocks_do_not_matter(run, few):
    whole = one_block(run, few, *attribution.METHODS, *attribution.CONTROLS)
    parts = list(attribution.stream(run, few, (*attribution.METHODS, *attribution.CONTROLS), chunk=7))
    assert [block.begin for block in parts] == [0, 7, 14]
    assert set(whole.maps) == {(m, s.name) for m in (*attribution.METHODS, *attribution.CONTROLS) for s in run.specs}
    assert {method for method, _ in whole.raw} == set(attribution.HIDDEN)
    for key, values in whole.maps.items():
        assert values.shape == (2, len(few), 32) and values.dtype == np.float32 and np.isfinite(values).all(), key
        joined = np.concatenate([block.maps[key] for block in parts], axis=1)
        np.testing.assert_allclose(joined, values, atol=2e-3 * np.abs(values).max(), err_msg=str(key))


def test_seeds_differ_and_are_those_alone(run, few):
    block = one_block(run, few, "gradient", "random")
    alone = dataclasses.replace(
        run, config=dataclasses.replace(run.config, seed=6, seeds=1),
        variables=jax.tree.map(lambda leaf: leaf[1:], run.variables),
    )  # fmt: skip
    single = one_block(alone, few, "gradient", "random")
    for method in ("gradient", "random"):
        np.testing.assert_allclose(block.maps[method, "mode"][1], single.maps[method, "mode"][0], rtol=1e-3, atol=1e-6)
        assert np.abs(block.maps[method, "mode"][0] - block.maps[method, "mode"][1]).max() > 1e-3


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
    found = accumulate.collect(
        linear_runs(series, weights), series, ("gradient_noise", "ensemble_noise"), {"own": np.arange(32) < 4}
    )
    single, together = (found.curves[name, "voltage"] for name in ("gradient_noise", "ensemble_noise"))
    assert together.shape == (2, 32)  # two halves of the seeds
    assert single[:, :4].sum(axis=1).min() > 0.05 and together[:, :4].max() < 1e-6
    np.testing.assert_allclose(found.maps["ensemble_noise", "voltage"][:, common], 1.0, rtol=1e-5)
    share = found.shares["ensemble_noise", "voltage"]["own"]
    assert share.shape == (4,) and np.abs(share).max() < 1e-5


@pytest.mark.parametrize("seeds", [2, 5])
def test_what_is_shared_is_the_square_of_the_mean_without_bias(seeds):
    draws = 2.0 + np.random.default_rng(seeds).normal(size=(seeds, 200_000, 1))
    assert ensemble.shared(draws).mean() == pytest.approx(4.0, abs=0.1)
    assert (draws.mean(axis=0) ** 2).mean() == pytest.approx(4.0 + 1.0 / seeds, abs=0.05)
    apart = [ensemble.shared(np.delete(draws, one, axis=0)) for one in range(seeds)]
    np.testing.assert_allclose(ensemble.without_one(draws), apart, rtol=1e-9, atol=1e-9)


def test_an_ensemble_of_equals_is_one_of_them(few):
    weights = np.tile(np.random.default_rng(1).normal(size=32), (3, 1))
    found = accumulate.collect(linear_runs(make_series(), weights), few, ("gradient_noise", "ensemble_noise"))
    one = found.curves["gradient_noise", "voltage"][0]
    for curve in found.curves["ensemble_noise", "voltage"]:
        np.testing.assert_allclose(curve, one, rtol=1e-4, atol=1e-7)


def test_pseudo_values_of_a_mean_are_the_values():
    values = np.random.default_rng(2).normal(size=6)
    np.testing.assert_allclose(ensemble.pseudo((values.sum() - values) / 5), values)


def test_untrained_networks_are_those_that_training_began_with(run):
    key = jax.random.fold_in(jax.random.key(6), 0)
    np.testing.assert_array_equal(
        jax.tree.leaves(run.variables["params"])[3][1], jax.tree.leaves(run.model.init(key)["params"])[3]
    )


def test_collected_maps_and_shares(run, few):
    halves = {"left": np.arange(32) < 16, "right": np.tile(np.arange(32) >= 16, (len(few), 1))}
    methods = ("vaw", "gradient", "occlusion", "variance")
    found = accumulate.collect(run, few, methods, halves, patterns=6, chunk=8)
    assert {method for method, _ in found.curves} == set(methods)
    np.testing.assert_array_equal(found.frames["occlusion"], few.thinned(6))
    np.testing.assert_array_equal(found.frames["vaw"], np.arange(len(few)))
    for key, curve in found.curves.items():
        np.testing.assert_allclose(curve.sum(axis=1), 1.0, rtol=1e-5)
        assert (curve >= 0).all() and curve.shape == (2, 32)
        np.testing.assert_allclose(found.maps[key].mean(axis=0), curve.mean(axis=0), rtol=1e-3, atol=1e-6)
        left, right = found.shares[key]["left"], found.shares[key]["right"]
        np.testing.assert_allclose(left, curve[:, :16].sum(axis=1), rtol=1e-4)
        np.testing.assert_allclose(left + right, 1.0, rtol=1e-4)
    assert set(found.raw_curves) == {("vaw", s.name) for s in run.specs}
    moved = vaw.register(found.raw_curves["vaw", "mode"], 1.0)
    same = np.nan_to_num(moved) / np.nansum(moved, axis=1, keepdims=True)
    assert np.abs(same - found.curves["vaw", "mode"]).max() < 0.3 * same.max()


def test_normalised_maps_ignore_scale_sign_and_missing_channels():
    maps = np.random.default_rng(4).normal(size=(3, 8))
    np.testing.assert_allclose(accumulate.normalised(-5.0 * maps), accumulate.normalised(maps))
    gaps = accumulate.normalised(np.array([np.nan, -1.0, 3.0]))
    np.testing.assert_allclose(gaps, [0.0, 0.25, 0.75])
    assert not accumulate.normalised(np.zeros(4)).any()


def test_unknown_method_is_one_line_that_lists_them(run, few):
    with pytest.raises(
        UserError, match=r"method 'shap' is not known; use some of own_attention, vaw, .*occlusion, random"
    ) as error:
        accumulate.collect(run, few, ("shap",))
    assert "\n" not in str(error.value)


def test_attention_maps_need_attention(few):
    run = make_run(make_series(), seeds=1, attention="off")
    with pytest.raises(UserError, match=r"vaw: this network has none .*=off\); use gradient, "):
        accumulate.collect(run, few, ("gradient", "vaw"))
    found = accumulate.collect(run, few, attribution.available(run), patterns=4)
    assert ("grad_cam", "mode") in found.curves and ("vaw", "mode") not in found.curves


def test_contrast_needs_labels(run, few):
    without = dataclasses.replace(few, targets={})
    with pytest.raises(UserError, match="contrast_gradients needs the labels 'voltage'"):
        accumulate.collect(run, without, ("contrast_gradients",))
    assert accumulate.collect(run, without, ("integrated_gradients",)).curves
    same = few.subset(few.targets["rate"].values == 0)
    with pytest.raises(UserError, match="no reference pattern has another rate"):
        accumulate.collect(run, same, ("contrast_gradients",))


def test_models_without_an_attention_layer_say_so(few):
    run = linear_run(make_series(), np.ones(32, np.float32))
    with pytest.raises(UserError, match="no attention between two layers"):
        accumulate.collect(run, few, ("vaw",))


def test_built_models_share_programs(few):
    accumulate.collect(make_run(make_series()), few, ("gradient",))
    before = gradients.direct._cache_size()
    accumulate.collect(attribution.untrained(make_run(make_series())), few, ("gradient",))
    assert gradients.direct._cache_size() == before


DEVICES = """
import numpy as np, jax
from tests.support.networks import make_run
from tests.support.series import make_series
from xrd_jax.explain.accumulate import collect
run, few = make_run(make_series()), make_series().subset(np.arange(0, 240, 30))
assert jax.local_device_count() == 2
methods = ("vaw", "gradient_noise", "contrast_gradients", "occlusion")
shared, alone = (collect(run, few, methods, chunk=chunk) for chunk in (8, 7))
for key, curve in shared.curves.items():
    np.testing.assert_allclose(curve, alone.curves[key], rtol=5e-3, atol=1e-6, err_msg=str(key))
"""


def test_devices_share_a_block_without_changing_it():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    options = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", DEVICES], check=False, timeout=400, **options)
    assert done.returncode == 0, done.stderr
