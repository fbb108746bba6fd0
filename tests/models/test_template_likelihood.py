"""The likelihood of the training patterns inside a network: exact where it can be known, no part of the training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands.train import train_and_report
from xrd_jax.config.overrides import override
from xrd_jax.errors import UserError
from xrd_jax.explain.attribution import untrained
from xrd_jax.models.template_likelihood import posterior
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.preprocessing.templates import make_templates
from xrd_jax.preprocessing.time_average import smooth
from xrd_jax.runtime.console import Console

FIELDS = ("model.regression=histogram", "model.likelihood=0.7", "prepare.scale=sqrt", "train.redraw_rank=8",
          "train.redraw_frames=4", "train.redraw_shift=0.01", "train.augment=redraw")  # fmt: skip


def test_posterior_is_that_of_a_normal_law():
    """Against the covariance 1 + t tᵀ of noise and shift together, inverted without a formula."""
    rng = np.random.default_rng(0)
    patterns, tangents = rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    x, inverse_noise = rng.normal(size=(3, 7)), np.exp(rng.normal(size=7))
    logs = np.empty((3, 5))
    for j, (mean, tangent) in enumerate(zip(patterns, tangents, strict=True)):
        covariance = np.eye(7) + np.outer(tangent, tangent)
        residual = x * inverse_noise - mean
        squares = np.einsum("bl,lk,bk->b", residual, np.linalg.inv(covariance), residual)
        logs[:, j] = -0.5 * squares - 0.5 * np.log(np.linalg.det(covariance))
    expected = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    single = (jnp.asarray(values, jnp.float32) for values in (inverse_noise, patterns, tangents, x))
    np.testing.assert_allclose(posterior(*single), expected, rtol=2e-4, atol=1e-6)


def test_low_rank_averages_are_nearer_to_the_expected_counts():
    """Photons drawn around smooth scores of few components: more of the noise goes than by a plain average."""
    rng = np.random.default_rng(1)
    series = make_series()
    same = np.zeros(len(series), int)
    time = np.linspace(0, 1, len(series))[:, None]
    channels = np.linspace(0, 1, series.axis.values.size)[None, :]
    expected = 40 + 30 * np.sin(6 * channels + 2 * time) * np.exp(-((channels - 0.4 - 0.2 * time) ** 2) / 0.02)
    series = dataclasses.replace(series, intensity=rng.poisson(expected), session=same, cycle=same, targets={})
    train = np.arange(0, len(series), 2)
    errors = [
        np.abs(smooth(series, train, frames, rank=rank) - expected[train]).mean()
        for frames, rank in ((0.0, 0), (6.0, 0), (12.0, 6))
    ]
    assert errors[2] < 0.7 * errors[1] < 0.7 * errors[0]
    spoiled = np.array(series.intensity)
    spoiled[1::2] = 9999
    again = smooth(dataclasses.replace(series, intensity=spoiled), train, 12.0, rank=6)
    np.testing.assert_array_equal(again, smooth(series, train, 12.0, rank=6))
    some = smooth(series, train, 12.0, np.array([7, 3]), 6)
    np.testing.assert_allclose(some, again[[7, 3]], rtol=1e-5)


def test_a_network_with_it_is_trained_as_one_without_and_opens_again(series, config, tmp_path):
    config = override(config, [*FIELDS, "seeds=2"])
    run, _ = train_and_report(series, config, tmp_path / "with", False, Console(), 0.0)
    alone, _ = train_and_report(
        series, override(config, ["model.likelihood=0"]), tmp_path / "without", False, Console(), 0.0
    )
    jax.tree.map(np.testing.assert_array_equal, run.variables["params"], alone.variables["params"])
    again = open_run(run.path)
    for name, values in run.predict_with_maps(series, maps=False).outputs.items():
        np.testing.assert_array_equal(again.predict_with_maps(series, maps=False).outputs[name], values)
    _outputs_are_weighted_means(run, alone)
    _untrained_networks_know_no_labels(run)


def _outputs_are_weighted_means(run: Run, alone: Run) -> None:
    x = jax.random.normal(jax.random.key(0), (4, 32))
    first, plain = (jax.tree.map(lambda leaf: leaf[0], r.variables) for r in (run, alone))
    mixed, own = run.model.apply(first, x)[0], alone.model.apply(plain, x)[0]
    stored = first["batch_stats"]["likelihood"]
    weights = posterior(stored["inverse_noise"], stored["patterns"], stored["tangents"], x)
    for name, output in mixed.items():
        known = jnp.log(weights @ stored[f"labels_{name}"] + 1e-5)
        np.testing.assert_allclose(output, 0.3 * jax.nn.log_softmax(own[name]) + 0.7 * known, rtol=1e-4, atol=1e-5)


def _untrained_networks_know_no_labels(run: Run) -> None:
    variables = jax.tree.map(lambda leaf: leaf[0], untrained(run).variables["batch_stats"]["likelihood"])
    np.testing.assert_array_equal(variables["patterns"], run.variables["batch_stats"]["likelihood"]["patterns"][0])
    assert np.ptp(np.asarray(variables["labels_mode"]), axis=0).max() == 0.0


def test_it_is_for_counts_and_distributions(series, config):
    config = override(config, list(FIELDS))
    prepared = prepare(series, config.prepare)
    values, bins = (target_specs(prepared, ("voltage",), kind) for kind in ("value", "histogram"))
    no_counts = dataclasses.replace(prepared, series=dataclasses.replace(series, is_counts=False))
    with pytest.raises(UserError, match=r"model\.regression=histogram"):
        make_templates(prepared, config.prepare, config.train, values)
    with pytest.raises(UserError, match=r"model\.likelihood=0"):
        make_templates(no_counts, config.prepare, config.train, bins)
