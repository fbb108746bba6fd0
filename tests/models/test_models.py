"""The network: shapes, probabilities, and where its features sit (shown with impulses)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xrd_jax.analysis import vaw
from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError
from xrd_jax.models import attention_kernel, build, convolution

SMALL = ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3)
OUTPUTS = (("voltage", 1), ("mode", 4))


def run(config, length=32, batch=3):
    model = build(config, length, OUTPUTS)
    x = jax.random.normal(jax.random.key(1), (batch, length))
    variables = model.init(jax.random.key(0))
    return model, variables, x, model.apply(variables, x)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attention": "uniform"},
        {"attention": "off"},
        {"scaled": True},
        {"projections": True},
        {"heads": 2},
        {"padding": "edge"},
        {"padding": "reflect"},
        {"norm_place": "before"},
        {"norm_layer": 0},
        {"pooling": "mean"},
        {"combination": "identity"},
        {"kernel": 5},
        {"init": "glorot_uniform"},
        {"dropout": 0.5},
        {"precision": "bfloat16"},
    ],
)
def test_every_reading_of_the_paper_builds_and_learns(fields):
    config = dataclasses.replace(SMALL, **fields)
    model, variables, x, (outputs, aux) = run(config)
    assert outputs["voltage"].shape == (3, 1) and outputs["mode"].shape == (3, 4)
    attention = aux["attention"]
    assert attention.shape == (3, 32, 32) and attention.min() >= 0
    np.testing.assert_allclose(attention.sum(axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(aux["max_over_keys"], vaw.max_over_keys(attention), rtol=1e-6)

    def total(params):
        out, _, _ = model.apply_train({**variables, "params": params}, x, jax.random.key(2))
        return sum(o.sum() for o in out.values())

    norms = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(jax.grad(total)(variables["params"]))]
    assert np.isfinite(norms).all() and max(norms) > 0


def test_paper_reading_is_the_default():
    config = ModelConfig()
    model = build(config, 256, (("voltage", 1),))
    variables = jax.eval_shape(model.init, jax.random.key(0))
    _, aux = jax.eval_shape(model.apply, variables, jnp.zeros((2, 256)))
    assert aux["attention"].shape == (2, 256, 256) and aux["query"].shape == aux["key"].shape == (2, 256, 32)
    kernels = [leaf.shape for leaf in jax.tree.leaves(variables["params"]["stack"]) if len(leaf.shape) == 3]
    assert sorted(kernels) == sorted([(4, 1, 32)] + 9 * [(4, 32, 32)])
    assert variables["params"]["head_voltage"]["kernel"].shape == (256 * 32, 1)


def test_patterns_do_not_see_each_other_in_evaluation():
    model, variables, x, (outputs, aux) = run(SMALL)
    alone, aux_alone = model.apply(variables, x[1:2])
    np.testing.assert_allclose(alone["mode"], outputs["mode"][1:2], atol=1e-5)
    np.testing.assert_allclose(aux_alone["attention"], aux["attention"][1:2], atol=1e-5)


@pytest.mark.parametrize(("kernel", "layer"), [(4, 6), (4, 3), (3, 6), (5, 4), (2, 5)])
def test_an_impulse_shows_the_lag_of_a_layer(kernel, layer):
    """The channels that can reach feature i lie around i + offset: measured through the gradient, not computed."""
    config = ModelConfig(kernel=kernel, query_layer=layer, key_layer=layer, depth=layer, width=4, norm_layer=0)
    model = build(config, 64, (("voltage", 1),))
    # Weights of one sign keep every ReLU open, so that the whole receptive field shows.
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), jax.eval_shape(model.init, jax.random.key(0)))

    def feature(x):
        return model.apply(variables, x[None])[1]["query"][0, 32].sum()

    reached = np.flatnonzero(np.asarray(jax.jit(jax.grad(feature))(jnp.ones(64))))
    assert reached.size == layer * (kernel - 1) + 1
    assert (reached[0] + reached[-1]) / 2 - 32 == model.receptive_offset


@pytest.mark.parametrize(
    ("fields", "answer"), [({"query_layer": 9}, "layers 1 to 4"), ({"heads": 3}, "must divide"), ({"heads": 0}, "must")]
)
def test_impossible_networks_are_refused(fields, answer):
    with pytest.raises(UserError, match=answer):
        build(dataclasses.replace(SMALL, **fields), 32, OUTPUTS)


def plain(query, key, value):
    attention = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", query, key), axis=-1)
    return jnp.einsum("bqk,bkd->bqd", attention, value)


@pytest.mark.parametrize("chunk", [None, 4, 2])
def test_attention_kernel_and_its_gradients_are_the_plain_formula(chunk):
    keys = jax.random.split(jax.random.key(0), 4)
    query, key, value, weight = (jax.random.normal(k, (6, 40, 8)) for k in keys)

    @jax.jit
    def with_gradients(query, key):
        results = []
        for attend in (lambda *x: attention_kernel.attend(*x, chunk)[0], plain):
            total = lambda *x, attend=attend: (attend(*x) * weight).sum()  # noqa: E731
            results.append(jax.value_and_grad(total, (0, 1, 2))(query, key, value))
        exact = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", query, key), axis=-1)
        return results, exact, attention_kernel.attend(query, key, value, chunk)[1]

    for scale in (0.3, 3.0):
        (ours, theirs), exact, attention = with_gradients(query * scale, key * scale)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5 * float(np.abs(other).max()))
        np.testing.assert_allclose(attention, exact, atol=1e-6)


def test_bfloat16_stays_near_float32_and_gives_float32():
    config = dataclasses.replace(SMALL, scaled=True)
    _, variables, x, (outputs, _) = run(config)
    half = build(dataclasses.replace(config, precision="bfloat16"), 32, OUTPUTS)
    coarse, aux = half.apply(variables, x)
    assert all(v.dtype == jnp.float32 for v in (*coarse.values(), aux["attention"]))
    for name, exact in outputs.items():
        np.testing.assert_allclose(coarse[name], exact, atol=0.1 * float(jnp.abs(exact).max()))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0))))


@pytest.mark.parametrize("kernel", [1, 4, 5])
def test_a_convolution_as_a_product_is_the_same_convolution(kernel):
    keys = jax.random.split(jax.random.key(kernel), 3)
    x, weights = jax.random.normal(keys[0], (3, 20, 6)), jax.random.normal(keys[1], (kernel, 6, 5))
    padding = ((kernel - 1) // 2, kernel // 2)

    weight = jax.random.normal(keys[2], (3, 20, 5))

    def with_gradients(form):
        total = lambda *arguments: (form(*arguments, padding) * weight).sum()  # noqa: E731
        return jax.jit(jax.value_and_grad(total, (0, 1)))(x, weights)

    ours, theirs = with_gradients(convolution.as_product), with_gradients(convolution.direct)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
