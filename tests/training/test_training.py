"""One step is pure, many seeds equal each alone, and what is saved continues bit for bit."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training import augment
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.fit import fit, make_model, training_data
from xrd_jax.training.held_out import HeldOut
from xrd_jax.training.losses import loss_and_metrics
from xrd_jax.training.step import compiled_steps, epoch_order, init_state, make_step_config, over_seeds

VOLTAGE = TargetSpec("voltage", "regression", "V", 1, (), 3.9, 0.2)
MODE = TargetSpec("mode", "classification", "", 3, ("a", "b", "c"), 0.0, 1.0)
# The laws hold for two layers and targets, which a compiler is through with in half the time.
TINY = Config(
    name="tiny",
    targets=("voltage", "rate"),
    prepare=PrepareConfig(channels=16),
    model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
    train=TrainConfig(epochs=2, batch_size=40),
)


@functools.cache
def setting(**train):
    """The step configuration and data of `TINY` with other values of `train`; its programs serve several tests."""
    config = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, **train))
    prepared = prepare(make_series(), config.prepare)
    model, specs = make_model(config, prepared)
    step_config = make_step_config(model, specs, config.prepare, config.train, prepared.train.size)
    return step_config, training_data(config, prepared, specs)


@functools.cache
def program(seeds, count, **train):
    return compiled_steps(setting(**train)[0], seeds, count)


@functools.cache
def init_program():
    return jax.jit(functools.partial(init_state, setting()[0]))


def stacked(seeds):
    """The states of `seeds` before their first step; whatever the training, they are the same."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(init_program()(jnp.int32(seed)) for seed in seeds))


def ordered(state, **train):
    """The order of the epoch that each seed of `state` stands in, [S, n]."""
    step_config, data = setting(**train)
    return over_seeds(lambda seed: epoch_order(step_config, seed, len(data.patterns)), len(state.step), shared=0)(state)


def advance(state, count=1, **train):
    """`count` steps of every seed in one compiled call."""
    return program(len(state.step), count, **train)(state, ordered(state, **train), setting(**train)[1])


def unchecked(series, intensity):
    """`series` with intensities that its constructor would refuse."""
    copy = dataclasses.replace(series)
    object.__setattr__(copy, "intensity", intensity)
    return copy


def assert_trees_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_loss_is_the_weighted_sum_of_log_cosh_and_cross_entropy():
    outputs = {"voltage": jnp.array([[0.5], [-1.0]]), "mode": jnp.zeros((2, 3))}
    targets = {"voltage": jnp.array([4.0, 3.9]), "mode": jnp.array([0, 2])}
    config = TrainConfig(class_weight=0.3, loss_weights={"voltage": 2.0})
    loss, metrics = loss_and_metrics(outputs, targets, (VOLTAGE, MODE), config)
    log_cosh = np.log(np.cosh([0.0, -1.0])).mean()
    np.testing.assert_allclose(loss, 2.0 * log_cosh + 0.3 * np.log(3.0), rtol=1e-5)
    np.testing.assert_allclose(metrics["mae/voltage"], 0.1, rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy/mode"], 0.5)


def test_regression_scale_sets_where_log_cosh_becomes_linear():
    outputs, targets = {"voltage": jnp.array([[10.0]])}, {"voltage": jnp.array([3.9])}
    loss, _ = loss_and_metrics(outputs, targets, (VOLTAGE,), TrainConfig(regression_scale=0.5))
    np.testing.assert_allclose(loss, 20.0 - np.log(2.0), rtol=1e-5)


def test_an_epoch_shows_every_pattern_once_in_an_order_of_its_own():
    steps, state = setting()[0].steps_per_epoch, stacked([0])
    first, midway, second = (
        np.asarray(ordered(state._replace(step=state.step + later)))[0] for later in (0, steps - 1, steps)
    )
    assert np.array_equal(np.sort(first), np.arange(120)) and np.array_equal(np.sort(second), np.arange(120))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(midway, first)


def test_seed_of_many_equals_seed_alone():
    train = {"augment": "redraw", "redraw_shift": 0.01}  # (several plain seeds: test_devices)
    many, together = advance(stacked([4, 5]), **train)
    alone, single = advance(stacked([5]), **train)
    np.testing.assert_allclose(together["loss"][1], single["loss"][0], rtol=1e-5)
    assert np.unique(together["loss"]).size == 2
    for ours, theirs in zip(jax.tree.leaves(many.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(ours[1], theirs[0], atol=2e-5)


def test_steps_per_call_do_not_change_the_path():
    one = stacked([0])
    for _ in range(3):
        one, _ = advance(one)
    three, metrics = advance(stacked([0]), 3)
    assert metrics["loss"].shape == (1, 3) and int(three.step[0]) == 3
    for ours, theirs in zip(jax.tree.leaves(three.params), jax.tree.leaves(one.params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_step_is_pure_and_compiles_once():
    first, second = advance(stacked([3])), advance(stacked([3]))
    assert_trees_equal(first, second)
    advance(first[0])
    assert program(1, 1)._cache_size() == 1


def test_learning_rate_rises_and_falls_to_nothing():
    step_config = setting()[0]
    total, peak = step_config.steps_per_epoch * TINY.train.epochs, TINY.train.learning_rate
    rates = [float(step_config.schedule(s)) for s in range(total + 1)]
    assert max(rates) == pytest.approx(peak, rel=1e-3)
    assert rates[0] < 0.1 * max(rates) and rates[-1] < 1e-3 * max(rates)


def test_redrawn_counts_have_the_mean_and_variance_of_photons():
    rates = jnp.full((2000, 20), 400.0)
    drawn = np.asarray(augment.redraw(jax.random.key(0), rates, jnp.zeros_like(rates), augment.RedrawScales(0.0, 0.0)))
    np.testing.assert_allclose(drawn.mean(), 400.0, rtol=2e-3)
    np.testing.assert_allclose(drawn.var(), 400.0, rtol=3e-2)


def test_training_learns_what_is_there(series, config, tmp_path):
    train = dataclasses.replace(config.train, epochs=40, learning_rate=5e-3, checkpoint_every=40)
    config, history = dataclasses.replace(config, train=train), []
    prepared = prepare(series, config.prepare)
    fit(config, prepared, tmp_path / "c", lambda step, means, v, e: history.append(means), progress=False)
    spread = np.abs(series.targets["voltage"].values - 3.9).mean()
    assert history[-1]["mae/voltage"][0] < 0.35 * spread
    assert history[-1]["accuracy/rate"][0] > 0.85 and history[-1]["accuracy/mode"][0] > 0.6


def test_redraw_needs_counts(series):
    prepared = prepare(dataclasses.replace(series, is_counts=False), TINY.prepare)
    config = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, augment="redraw"))
    with pytest.raises(UserError, match="not counts"):
        training_data(config, prepared, ())


def stop_after(last):
    """A watcher that ends a training after an epoch."""

    def watch(step, means, variables, epoch):
        if epoch == last:
            raise KeyboardInterrupt

    return watch


def test_resumed_training_is_bit_identical(series, tmp_path):
    config = dataclasses.replace(TINY, seeds=2)
    prepared = prepare(series, config.prepare)
    whole = fit(config, prepared, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        fit(config, prepared, tmp_path / "parts", stop_after(1), progress=False)
    resumed = fit(config, prepared, tmp_path / "parts", progress=False)
    assert any("resumed from step" in note for note in resumed.notes)
    assert_trees_equal(resumed.variables, whole.variables)


def test_non_finite_loss_names_seed_and_step_and_keeps_the_last_good_checkpoint(series, tmp_path):
    config = dataclasses.replace(TINY, seed=7)
    prepared = prepare(series, config.prepare)
    spoilt = prepared.series.intensity.astype(np.float32)
    spoilt[prepared.train] = np.inf  # reaches the network through statistics that were learnt before
    with np.errstate(invalid="ignore"):
        poisoned = dataclasses.replace(prepared, series=unchecked(prepared.series, spoilt))
    with pytest.raises(KeyboardInterrupt):
        fit(config, prepared, tmp_path, stop_after(1), progress=False)
    with pytest.raises(UserError, match=r"seed 7 is not finite at step 3; the last good checkpoint \(step 3\) is kept"):
        fit(config, poisoned, tmp_path, progress=False)
    store = Checkpoints(tmp_path)
    assert store.steps() == [3]
    store.close()


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    store = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        store.save(step, {"x": jnp.full(3, float(step))}, {"loss": 1.0 / step})
    store.close()
    for file in (tmp_path / "3").rglob("*"):
        if file.is_file() and "state" in file.parts:
            file.write_bytes(b"")
    store = Checkpoints(tmp_path)
    state, step, damaged = store.restore({"x": jax.ShapeDtypeStruct((3,), jnp.float32)})
    store.close()
    assert step == 2 and state["x"][0] == 2.0 and "damaged checkpoint" in damaged[0]


def test_histogram_loss_is_the_cross_entropy_to_the_smoothed_label():
    spec = TargetSpec("voltage", "regression", "V", 20, (), 3.9, 0.2, 3.5, 4.3)
    logits = jax.random.normal(jax.random.key(0), (7, 20))
    values = jnp.linspace(3.6, 4.2, 7)
    loss, metrics = loss_and_metrics({"voltage": logits}, {"voltage": values}, (spec,), TrainConfig(label_width=1.0))
    labels = histogram.smoothed_labels(values, jnp.linspace(3.5, 4.3, 21), 0.04)
    expected = -(labels * jax.nn.log_softmax(logits)).sum(axis=1).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    median = histogram.quantile(jax.nn.softmax(logits), 3.5, 4.3, 0.5)
    np.testing.assert_allclose(metrics["mae/voltage"], jnp.abs(median - values).mean(), rtol=1e-4)


def test_the_best_checkpoint_is_chosen_on_calibration_patterns_alone(series, tmp_path):
    config = dataclasses.replace(
        TINY,
        prepare=dataclasses.replace(TINY.prepare, calibration=0.3),
        train=dataclasses.replace(TINY.train, epochs=4, checkpoint="best", learning_rate=0.3, schedule="constant"),
    )
    prepared = prepare(series, config.prepare)
    losses = []

    def watch(step, means, variables, epoch):
        held_out = HeldOut(config, prepared, make_model(config, prepared), prepared.calibration)
        losses.append(float(held_out(variables)["loss"].mean()))

    fitted = fit(config, prepared, tmp_path / "a", watch, progress=False)
    best = int(np.argmin(losses)) + 1
    assert any(f"epoch {best} has the least loss" in note for note in fitted.notes)
    # The test set plays no part: other labels there leave the choice as it is.
    target = prepared.series.targets["voltage"]
    values = target.values.copy()
    values[prepared.test] = values[prepared.test][::-1]
    targets = dict(prepared.series.targets) | {"voltage": dataclasses.replace(target, values=values)}
    other = dataclasses.replace(prepared, series=dataclasses.replace(prepared.series, targets=targets))
    assert_trees_equal(fit(config, other, tmp_path / "b", progress=False).variables, fitted.variables)
    with pytest.raises(UserError, match=r"add prepare.calibration"):
        fit(config, dataclasses.replace(prepared, calibration=prepared.train[:0]), tmp_path / "c", progress=False)


def test_last_and_best_checkpoints_are_kept(tmp_path):
    store = Checkpoints(tmp_path)
    for step, loss in enumerate([5.0, 1.0, 3.0, 2.5, 2.0], start=1):
        store.save(step, {"x": jnp.zeros(1)}, {"loss": loss})
    steps = store.steps()
    best = store.restore({"x": jax.ShapeDtypeStruct((1,), jnp.float32)}, best=True)
    store.close()
    assert steps == [2, 4, 5] and best is not None and best[1] == 2
