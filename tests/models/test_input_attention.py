"""A network's own maps: what they are taught, that they learn it, and that they lie where the pattern lies."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models import Model, build
from xrd_jax.preprocessing.prepare import prepare
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
        return {name: x @ jnp.asarray(one) for name, one in weights.items()}, {}

    return Model(lambda key: {}, apply, lambda *_: ({}, {}, {}), 0.0)


def test_wanted_map_of_a_linear_network_is_its_fisher_share():
    draw = np.random.default_rng(0)
    weights = {"height": draw.normal(size=(12, 1)), "side": draw.normal(size=(12, 2))}
    x, variance = jnp.asarray(draw.normal(size=(5, 12))), jnp.asarray(draw.uniform(0.5, 2.0, (5, 12)))
    maps = attention_supervision.fisher_target(linear(weights), SPECS, {}, x, variance, jax.random.key(0))
    slopes = {"height": weights["height"][:, 0], "side": weights["side"][:, 0] - weights["side"][:, 1]}
    for name, slope in slopes.items():
        expected = slope[None, :] ** 2 * np.asarray(variance)
        np.testing.assert_allclose(maps[name], expected / expected.sum(axis=1, keepdims=True), rtol=2e-3)


def test_loss_is_least_where_the_map_is_the_wanted_one():
    wanted = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(9), 4))
    own = {"height": jnp.log(wanted)}
    value, slope = jax.value_and_grad(
        lambda log: attention_supervision.loss({"height": jax.nn.log_softmax(log)}, {"height": wanted})
    )(own["height"])
    np.testing.assert_allclose(slope, 0.0, atol=1e-6)
    np.testing.assert_allclose(value, -(wanted * own["height"]).sum(axis=1).mean(), rtol=1e-5)


def test_own_maps_sum_to_one_and_enter_the_prediction():
    model = build(FAITHFUL, 24, OUTPUTS)
    variables = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 24))
    outputs, aux = model.apply(variables, x)
    assert set(aux["input_attention"]) == {"height", "side"}
    for log in aux["input_attention"].values():
        np.testing.assert_allclose(np.exp(log).sum(axis=1), 1.0, rtol=1e-5)
    bent = jax.tree.map(lambda leaf: leaf, variables)
    bent["params"]["own"]["place"] = variables["params"]["own"]["place"].at[5].add(4.0)
    assert not np.allclose(model.apply(bent, x)[0]["height"], outputs["height"])


def test_own_map_moves_with_the_pattern():
    """Kernels are odd: what the map says of a bump it says at the bump, wherever that is."""
    model = build(dataclasses.replace(FAITHFUL, norm_layer=0), 60, OUTPUTS)
    variables = model.init(jax.random.key(3))
    bumps = jnp.exp(-0.5 * ((jnp.arange(60)[None, :] - jnp.array([[25.0], [34.0]])) / 1.5) ** 2)
    log = model.apply(variables, bumps)[1]["input_attention"]["height"]
    np.testing.assert_allclose(log[0, 10:45], log[1, 19:54], atol=1e-4)
    mirrored = jax.tree.map(lambda leaf: leaf[::-1] if leaf.ndim == 3 else leaf, variables)
    turned = model.apply(mirrored, bumps[:, ::-1])[1]["input_attention"]["height"]
    np.testing.assert_allclose(turned[0, ::-1], log[0], atol=1e-4)


def test_trained_own_map_is_what_it_was_taught(series, config, tmp_path):
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, attention="faithful"),
        train=dataclasses.replace(config.train, epochs=30, learning_rate=3e-3, own_weight=1.0),
    )
    prepared = prepare(series, config.prepare)
    told: list[dict[str, np.ndarray]] = []
    fitted = fit(config, prepared, tmp_path, lambda s, means, v, e: told.append(means), progress=False)
    assert told[-1]["loss/own"] < told[0]["loss/own"] - 0.1
    from xrd_jax.preprocessing.prepare import inputs

    x = inputs(prepared, config.prepare, prepared.test)
    own = fitted.model.apply(jax.tree.map(lambda leaf: leaf[0], fitted.variables), x)[1]["input_attention"]
    maps = attention_supervision.fisher_target(
        fitted.model, fitted.specs, jax.tree.map(lambda leaf: leaf[0], fitted.variables), x, jnp.ones_like(x),
        jax.random.key(0),
    )  # fmt: skip
    means = [np.asarray(np.exp(own["voltage"])).mean(axis=0), np.asarray(maps["voltage"]).mean(axis=0)]
    assert np.corrcoef(means)[0, 1] > 0.5


def test_other_networks_have_no_map_of_their_own():
    model = build(dataclasses.replace(FAITHFUL, attention="softmax"), 24, OUTPUTS)
    assert "input_attention" not in model.apply(model.init(jax.random.key(0)), jnp.zeros((1, 24)))[1]


def test_own_map_is_an_explanation_like_the_others(series, config):
    from pathlib import Path

    from xrd_jax.analysis.run import Run
    from xrd_jax.explain import accumulate, attribution
    from xrd_jax.training.fit import make_model

    config = dataclasses.replace(config, model=dataclasses.replace(config.model, attention="faithful"))
    prepared = prepare(series, config.prepare)
    model, specs = make_model(config, prepared)
    run = attribution.untrained(Run(Path("none"), config, specs, prepared.statistics, model, {}))
    assert attribution.available(run)[0] == attribution.OWN
    found = accumulate.collect(run, series, (attribution.OWN,))
    np.testing.assert_allclose(found.curves[attribution.OWN, "voltage"].sum(axis=1), 1.0, rtol=1e-5)
    assert found.maps[attribution.OWN, "mode"].shape == (len(series), 32)
