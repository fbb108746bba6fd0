"""Explanations against networks whose answer is known, and against the definitions by brute force."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.networks import at_input, linear_run, make_run
from tests.support.series import make_series
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.explain import attribution, outputs, residual_noise
from xrd_jax.explain.methods import CONTROLS, HIDDEN_LAYER_METHODS, METHODS
from xrd_jax.models import attention_hooks
from xrd_jax.preprocessing import noise as preprocessing_noise
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.transform import transform
from xrd_jax.series.axis import Target
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import make_model


def one_block(run: Run, series: PatternSeries, *methods: str, **options) -> attribution.AttributionBlock:
    (block,) = attribution.stream(run, series, methods, **options)
    return block


def explained_outputs(run: Run, seed: int, x: jnp.ndarray, moved: jnp.ndarray) -> dict[str, jnp.ndarray]:
    """What is explained of the classes predicted at `x`, at `moved`."""
    predicted, values = (run.model.apply(run.of_seed(seed), patterns)[0] for patterns in (x, moved))
    return {s.name: outputs.explained_output(s, values[s.name], predicted[s.name].argmax(1)) for s in run.specs}


def impulse_run(**model) -> tuple[Run, PatternSeries]:
    """A network of equal positive weights on a pattern with one channel that is not dark."""
    series = make_series(channels=48)
    impulse = np.tile(np.arange(48) == 20, (len(series), 1)).astype(np.float32)
    series = dataclasses.replace(series, intensity=impulse, is_counts=False)
    config = Config(
        targets=("voltage",), prepare=PrepareConfig(scale="none", resize="none", centre=False),
        model=ModelConfig(**({"depth": 4, "width": 4, "query_layer": 2, "key_layer": 4, "norm_layer": 0} | model)),
    )  # fmt: skip
    prepared = prepare(series, config.prepare)
    network, specs = make_model(config, prepared)
    run = attribution.untrained(Run(Path("none"), config, specs, prepared.statistics, network, {}))
    even = jax.tree.map(lambda leaf: jnp.where(leaf.ndim > 2, 0.06, 0.0) * jnp.ones_like(leaf), run.variables)
    return dataclasses.replace(run, variables=even), series.subset(np.arange(8))


def centre_of_mass(curve: np.ndarray) -> float:
    return float((curve * np.arange(curve.size)).sum() / curve.sum())


@pytest.mark.parametrize(("query", "key", "kernel"), [(2, 4, 4), (3, 4, 4), (1, 2, 6), (2, 4, 3), (4, 3, 4)])
def test_impulse_registers_hidden_layers_where_they_belong(query, key, kernel):
    run, series = impulse_run(query_layer=query, key_layer=key, kernel=kernel)
    block = one_block(run, series, "vaw", "attention_received", "attention_norm")
    even = (kernel + 1) % 2
    for method, layer in (("vaw", query), ("attention_received", key), ("attention_norm", key)):
        raw, registered = block.raw[method, "voltage"][0, 0], block.maps[method, "voltage"][0, 0]
        assert attribution.offset_of_method(run, method) == layer * even / 2
        assert centre_of_mass(raw - raw.min()) == pytest.approx(20 - layer * even / 2, abs=1e-3)
        floor = registered[20:30].min() if method == "attention_received" else 0.0
        bump = np.clip(registered[8:33] - floor, 0.0, None)
        assert centre_of_mass(bump) == pytest.approx(12.0, abs=1e-3)
        np.testing.assert_allclose(bump, bump[::-1], atol=1e-4 * bump.max())


@pytest.mark.parametrize("stride", [2, 4])
def test_a_stack_with_a_stride_registers_where_it_belongs(stride):
    """An impulse on the middle of a block: blocks of equal values, centred on it once registered."""
    run, series = impulse_run(query_layer=3, key_layer=4, kernel=4, stride=stride)
    block = one_block(run, series, "vaw", "attention_received")
    for method, layer in (("vaw", 3), ("attention_received", 4)):
        raw = block.raw[method, "voltage"][0, 0]
        offset = attribution.offset_of_method(run, method)
        assert raw.shape == run.axis.shape and offset == (layer - 1) * stride / 2
        np.testing.assert_array_equal(raw.reshape(-1, stride), np.repeat(raw[::stride, None], stride, axis=1))
        centre = (20 // stride) * stride + (stride - 1) / 2  # of the block of channel 20
        assert centre_of_mass(raw - raw.min()) == pytest.approx(centre - offset, abs=stride / 2 + 0.01)


def test_registered_vaw_is_that_of_the_run(run, sparse):
    block = one_block(run, sparse, "vaw")
    np.testing.assert_allclose(block.raw["vaw", "mode"], run.vaw(sparse).standardised(), atol=1e-4)
    np.testing.assert_allclose(block.maps["vaw", "mode"], np.nan_to_num(run.vaw(sparse).registered()), atol=1e-4)
    assert block.maps["vaw", "mode"] is block.maps["vaw", "voltage"]
    assert attribution.offset_of_method(run, "vaw") == run.model.receptive_offset
    assert attribution.offset_of_method(run, "gradient") == 0.0


def test_attention_received_and_norm_are_their_definitions(run, sparse):
    block = one_block(run, sparse, "attention_received", "attention_norm")
    attention = np.concatenate(list(run.attention(sparse, seed=6)))
    value = run.model.apply(run.of_seed(1), at_input(run, sparse))[1]["key"]
    received = attention.mean(axis=1)
    np.testing.assert_allclose(block.raw["attention_received", "rate"][1], received, atol=1e-5)
    norm = np.linalg.norm(attention[..., None] * np.asarray(value)[:, None], axis=-1).mean(axis=1)
    np.testing.assert_allclose(block.raw["attention_norm", "rate"][1], norm, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"projections": True, "scaled": True}, {"attention": "uniform"}])
def test_attention_gradient_is_the_gradient_of_the_attention(sparse, options):
    run = make_run(make_series(), seeds=1, **options)
    block = one_block(run, sparse, "attention_gradient")
    variables, x = run.of_seed(0), at_input(run, sparse)
    nothing = attention_hooks.no_perturbation(x, run.config.model)
    _, state = attention_hooks.apply_perturbed(run.model, variables, x, nothing)
    head = variables["params"]["head_mode"]

    def explained(attention):
        combined = jnp.tanh(attention @ state.value).reshape(len(x), -1)
        logits = combined @ head["kernel"] + head["bias"][None, :]
        return outputs.log_odds(logits, logits.argmax(axis=1)).sum()

    expected = jnp.clip(jax.grad(explained)(state.attention) * state.attention, 0.0).sum(axis=1)
    np.testing.assert_allclose(block.raw["attention_gradient", "mode"][0], expected, rtol=2e-3, atol=1e-6)


def test_perturbations_change_nothing_when_zero_and_act_as_features_otherwise(run, sparse):
    variables, x = run.of_seed(0), at_input(run, sparse)
    nothing = attention_hooks.no_perturbation(x, run.config.model)
    plain, aux = run.model.apply(variables, x)
    perturbed, state = attention_hooks.apply_perturbed(run.model, variables, x, nothing)
    np.testing.assert_allclose(perturbed["mode"], plain["mode"], atol=1e-6)
    np.testing.assert_allclose(state.key, aux["key"], atol=1e-6)
    # With key = value = 0 the attention gives 0, tanh 0, and the heads their biases.
    biased, _ = attention_hooks.apply_perturbed(run.model, variables, x, nothing._replace(key=-aux["key"]))
    bias = variables["params"]["head_mode"]["bias"]
    np.testing.assert_allclose(biased["mode"], jnp.broadcast_to(bias[None, :], biased["mode"].shape), atol=1e-5)


def test_log_odds_are_those_of_the_softmax():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    classes = jnp.array([0, 1, 2, 0, 1])
    p = jax.nn.softmax(logits)[jnp.arange(5), classes]
    np.testing.assert_allclose(outputs.log_odds(logits, classes), jnp.log(p / (1 - p)), rtol=1e-5)


def test_gradient_is_the_slope_of_what_is_explained(run, sparse):
    block, x = one_block(run, sparse, "gradient", "gradient_input"), at_input(run, sparse)
    for seed in (0, 1):
        for name in ("voltage", "mode", "rate"):
            gradient = jax.grad(lambda moved, t=name, s=seed: explained_outputs(run, s, x, moved)[t].sum())
            slope = block.maps["gradient", name][seed]
            np.testing.assert_allclose(slope, gradient(x), rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(block.maps["gradient_input", name][seed], slope * x, rtol=1e-3, atol=1e-5)


def test_gradient_noise_is_the_fisher_information_of_the_outputs(run, sparse):
    block, x = one_block(run, sparse, "gradient_noise"), at_input(run, sparse)
    counts = jnp.asarray(sparse.intensity, jnp.float32)
    variance = preprocessing_noise.input_variance(run.statistics, run.config.prepare, counts)
    variables = run.of_seed(1)

    def log_p(pattern):
        return jax.nn.log_softmax(run.model.apply(variables, pattern[None])[0]["mode"][0])

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
    predicted = np.asarray(preprocessing_noise.input_variance(statistics, config, jnp.asarray(rates)[None]))[0]
    if scale == "pattern":  # the extremes, noisy themselves, are held fixed
        matrix = np.asarray(statistics.matrix)
        level = np.ptp(rates if scale_at == "input" else rates @ matrix) * float(statistics.deviation)
        measured = (draws @ matrix).var(axis=0) / level**2
    np.testing.assert_allclose(np.median(measured / predicted), 1.0, atol=0.08)
    if scale in ("dataset", "none", "pattern"):
        np.testing.assert_allclose(measured, predicted, rtol=0.12)


def test_noise_of_data_that_are_no_counts_is_what_time_does_not_explain():
    series = make_series(frames=480)
    noise = np.random.default_rng(2).normal(0.0, 3.0, series.intensity.shape)
    drift = np.linspace(0.0, 50.0, len(series))[:, None]
    series = dataclasses.replace(series, intensity=(100.0 + drift + noise).astype(np.float32), is_counts=False)
    config = PrepareConfig(scale="none", resize="none", centre=False)
    run = make_run(make_series())
    config_of_run, statistics = dataclasses.replace(run.config, prepare=config), prepare(series, config).statistics
    run = dataclasses.replace(run, config=config_of_run, statistics=statistics)
    assert residual_noise.residual_variance(run, series).mean() == pytest.approx(9.0, rel=0.05)


def noisy(level, **changes):
    """Patterns of the given mean level [T] with noise of variance 9, and the run that takes them as they are."""
    config = PrepareConfig(scale="none", resize="none", centre=False)
    series = make_series(frames=len(level))
    noise = np.random.default_rng(2).normal(0.0, 3.0, series.intensity.shape)
    intensity = (100.0 + np.asarray(level)[:, None] + noise).astype(np.float32)
    series = dataclasses.replace(series, intensity=intensity, is_counts=False, **changes)
    run = make_run(make_series())
    config_of_run, statistics = dataclasses.replace(run.config, prepare=config), prepare(series, config).statistics
    return dataclasses.replace(run, config=config_of_run, statistics=statistics), series


def test_noise_is_taken_between_patterns_of_one_place_in_time():
    """Positions that alternate within a session are no neighbours, nor are patterns before and after a pause."""
    run, series = noisy(np.tile([0.0, 40.0, 90.0], 160) + np.linspace(0, 20, 480))
    assert residual_noise.residual_variance(run, series).mean() == pytest.approx(9.0, rel=0.08)
    blocks = np.repeat(np.random.default_rng(0).uniform(0, 300, 48), 10)  # a jump with every pause
    time = np.tile(np.arange(240) * 10.0 + 500.0 * (np.arange(240) // 10), 2)
    run, series = noisy(blocks, time=time)
    assert residual_noise.residual_variance(run, series).mean() == pytest.approx(9.0, rel=0.08)


def test_noise_of_spectra_without_times_is_that_of_repeats_or_unknown():
    """Rows of a table are no neighbours in time."""
    level = np.repeat(np.random.default_rng(1).permutation(160) * 3.0, 3)
    run, series = noisy(level, timed=False, targets={"water": Target(level, "regression", "%")})
    assert residual_noise.residual_variance(run, series).mean() == pytest.approx(9.0, rel=0.08)
    alone = dataclasses.replace(series, targets={"water": Target(np.arange(480.0), "regression", "%")})
    assert "is not known" in residual_noise.unknown_noise(alone)
    for method in ("gradient_noise", "ensemble_noise"):
        with pytest.raises(UserError, match="leave them out of --methods"):
            next(attribution.stream(run, alone, (method,)))


def test_linear_network_is_explained_exactly(sparse):
    weight = np.random.default_rng(3).normal(size=32).astype(np.float32)
    run = linear_run(make_series(), weight)
    methods = ("gradient", "gradient_input", "integrated_gradients", "contrast_gradients", "smooth_gradient",
               "expected_gradients", "occlusion")  # fmt: skip
    block, x = one_block(run, sparse, *methods), np.asarray(at_input(run, sparse))
    maps = {method: block.maps[method, "voltage"][0] for method in methods}
    for method in ("gradient", "smooth_gradient"):
        np.testing.assert_allclose(maps[method], np.broadcast_to(weight, x.shape), rtol=1e-3, atol=1e-5)
    for method in ("gradient_input", "integrated_gradients"):
        np.testing.assert_allclose(maps[method], weight * x, rtol=1e-3, atol=1e-4)
    voltage = sparse.targets["voltage"].values
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    distance[np.abs(voltage[:, None] - voltage[None]) <= 0.05] = np.inf
    np.testing.assert_allclose(maps["contrast_gradients"], weight * (x - x[distance.argmin(axis=1)]), atol=1e-4)
    single = np.stack([(weight * x)[:, s : s + 8].sum(axis=1) for s in range(0, 28, 4)], axis=1)
    np.testing.assert_allclose(maps["occlusion"][:, :4], np.repeat(single[:, :1], 4, axis=1), atol=1e-4)
    np.testing.assert_allclose(maps["occlusion"][:, 8], (single[:, 1] + single[:, 2]) / 2, atol=1e-4)


def test_expected_gradients_average_the_baselines(sparse):
    run = linear_run(make_series(), np.ones(32, np.float32))
    block = one_block(run, sparse, "expected_gradients", reference=sparse.subset(np.array([4])))
    x = np.asarray(at_input(run, sparse))
    np.testing.assert_allclose(block.maps["expected_gradients", "voltage"][0], x - x[4], atol=1e-4)


def test_integrated_gradients_add_up_to_the_change_of_the_output(run, sparse):
    block, x = one_block(run, sparse, "integrated_gradients"), at_input(run, sparse)
    for seed in (0, 1):
        at_pattern, at_mean = (explained_outputs(run, seed, x, moved) for moved in (x, jnp.zeros_like(x)))
        for name in at_pattern:
            change = np.asarray(at_pattern[name] - at_mean[name])
            total = block.maps["integrated_gradients", name][seed].sum(axis=1)
            assert np.abs(total - change).mean() < 0.1 * np.abs(change).mean()


def test_blocks_do_not_matter(run, sparse):
    whole = one_block(run, sparse, *METHODS, *CONTROLS)
    parts = list(attribution.stream(run, sparse, (*METHODS, *CONTROLS), chunk=7))
    assert [block.begin for block in parts] == [0, 7, 14]
    assert set(whole.maps) == {(m, s.name) for m in (*METHODS, *CONTROLS) for s in run.specs}
    assert {method for method, _ in whole.raw} == set(HIDDEN_LAYER_METHODS)
    for key, values in whole.maps.items():
        assert values.shape == (2, len(sparse), 32) and values.dtype == np.float32 and np.isfinite(values).all(), key
        joined = np.concatenate([block.maps[key] for block in parts], axis=1)
        np.testing.assert_allclose(joined, values, atol=2e-3 * np.abs(values).max(), err_msg=str(key))


def test_seeds_differ_and_are_those_alone(run, sparse):
    block = one_block(run, sparse, "gradient", "random")
    alone = dataclasses.replace(
        run, config=dataclasses.replace(run.config, seed=6, seeds=1),
        variables=jax.tree.map(lambda leaf: leaf[1:], run.variables),
    )  # fmt: skip
    single = one_block(alone, sparse, "gradient", "random")
    for method in ("gradient", "random"):
        np.testing.assert_allclose(block.maps[method, "mode"][1], single.maps[method, "mode"][0], rtol=1e-3, atol=1e-6)
        assert np.abs(block.maps[method, "mode"][0] - block.maps[method, "mode"][1]).max() > 1e-3


def test_untrained_networks_are_those_that_training_began_with(run):
    key = jax.random.fold_in(jax.random.key(6), 0)
    np.testing.assert_array_equal(
        jax.tree.leaves(run.variables["params"])[3][1], jax.tree.leaves(run.model.init(key)["params"])[3]
    )
