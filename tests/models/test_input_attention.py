"""Attention over the input: what its maps are taught, that they learn it, and that they lie where the pattern lies."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import ModelConfig, PrepareConfig
from xrd_jax.explain.accumulate import collect
from xrd_jax.explain.methods import INPUT_ATTENTION, available_methods
from xrd_jax.models import Model, build
from xrd_jax.preprocessing.prepare import prepare, prepare_inputs
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training import attention_supervision
from xrd_jax.training.fit import fit

SPECS = (
    TargetSpec("height", "regression", "", 1, (), 0.0, 1.0),
    TargetSpec("side", "classification", "", 2, ("a", "b"), 0.0, 1.0),
)
OUTPUTS = tuple((spec.name, spec.size) for spec in SPECS)
FAITHFUL = ModelConfig(depth=3, width=4, query_layer=1, key_layer=3, norm_layer=2, attention="faithful")


def linear(weights: dict[str, np.ndarray]) -> Model:
    """A network whose outputs are products of the pattern with known weights."""

    def apply(variables, x):
        return {name: x @ jnp.asarray(weight) for name, weight in weights.items()}, {}

    return Model(lambda key: {}, apply, lambda *_: ({}, {}, {}), 0.0)


def test_target_map_of_a_linear_network_is_its_fisher_share():
    rng = np.random.default_rng(0)
    weights = {"height": rng.normal(size=(12, 1)), "side": rng.normal(size=(12, 2))}
    x, variance = jnp.asarray(rng.normal(size=(5, 12))), jnp.asarray(rng.uniform(0.5, 2.0, (5, 12)))
    maps = attention_supervision.fisher_target(linear(weights), SPECS, {}, x, variance, jax.random.key(0))
    slopes = {"height": weights["height"][:, 0], "side": weights["side"][:, 0] - weights["side"][:, 1]}
    for name, slope in slopes.items():
        expected = slope[None, :] ** 2 * np.asarray(variance)
        np.testing.assert_allclose(maps[name], expected / expected.sum(axis=1, keepdims=True), rtol=2e-3)


def test_loss_is_least_where_the_map_is_the_target():
    target = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(9), 4))
    log_attention = jnp.log(target)
    value, slope = jax.value_and_grad(
        lambda log: attention_supervision.loss({"height": jax.nn.log_softmax(log)}, {"height": target})
    )(log_attention)
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    np.testing.assert_allclose(value, -(target * log_attention).sum(axis=1).mean(), rtol=1e-5)


def test_maps_sum_to_one_enter_the_prediction_and_move_with_the_pattern():
    """Kernels are odd: what a map says of a bump it says at the bump, wherever that is."""
    model = build(dataclasses.replace(FAITHFUL, norm_layer=0), 60, OUTPUTS)
    variables, apply = jax.jit(model.init)(jax.random.key(3)), jax.jit(model.apply)
    bumps = jnp.exp(-0.5 * ((jnp.arange(60.0)[None, :] - jnp.array([[25.0], [34.0]])) / 1.5) ** 2)
    outputs, intermediates = apply(variables, bumps)
    assert set(intermediates["input_attention"]) == {"height", "side"}
    for log in intermediates["input_attention"].values():
        np.testing.assert_allclose(np.exp(log).sum(axis=1), 1.0, rtol=1e-5)
    log = intermediates["input_attention"]["height"]
    np.testing.assert_allclose(log[0, 10:45], log[1, 19:54], atol=1e-4)
    mirrored = jax.tree.map(lambda leaf: leaf[::-1] if leaf.ndim == 3 else leaf, variables)
    turned = apply(mirrored, bumps[:, ::-1])[1]["input_attention"]["height"]
    np.testing.assert_allclose(turned[0, ::-1], log[0], atol=1e-4)
    variables["params"]["own"]["place"] = variables["params"]["own"]["place"].at[5].add(4.0)
    assert not np.allclose(apply(variables, bumps)[0]["height"], outputs["height"])


def test_trained_map_is_what_it_was_taught_and_an_explanation_like_the_others(series, config, tmp_path):
    config = dataclasses.replace(
        config,
        targets=("voltage", "rate"),
        prepare=PrepareConfig(channels=24),
        model=dataclasses.replace(FAITHFUL, depth=2, key_layer=2, norm_layer=0),
        train=dataclasses.replace(config.train, epochs=30, learning_rate=5e-3, own_weight=1.0, checkpoint_every=30),
    )
    prepared, epochs = prepare(series, config.prepare), []
    fitted = fit(config, prepared, tmp_path, lambda s, means, v, e: epochs.append(means), progress=False)
    assert epochs[-1]["loss/own"] < epochs[0]["loss/own"] - 0.1
    x = prepare_inputs(prepared, config.prepare, prepared.test)
    variables = jax.tree.map(lambda leaf: leaf[0], fitted.variables)

    @jax.jit
    def maps_and_targets(variables, x):
        log_attention = fitted.model.apply(variables, x)[1]["input_attention"]
        return jax.tree.map(jnp.exp, log_attention), attention_supervision.fisher_target(
            fitted.model, fitted.specs, variables, x, jnp.ones_like(x), jax.random.key(0)
        )

    means = [np.asarray(maps["voltage"]).mean(axis=0) for maps in maps_and_targets(variables, x)]
    assert np.corrcoef(means)[0, 1] > 0.5

    run = Run.from_training(tmp_path, config, fitted, prepared)
    assert available_methods(run)[0] == INPUT_ATTENTION
    explained = collect(run, series, (INPUT_ATTENTION,))
    np.testing.assert_allclose(explained.curves[INPUT_ATTENTION, "voltage"].sum(axis=1), 1.0, rtol=1e-5)
    assert explained.maps[INPUT_ATTENTION, "rate"].shape == (len(series), 24)


def test_other_networks_have_no_map_over_the_input():
    model = build(dataclasses.replace(FAITHFUL, attention="softmax"), 24, OUTPUTS)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    assert "input_attention" not in jax.eval_shape(model.apply, variables, jnp.zeros((1, 24)))[1]
