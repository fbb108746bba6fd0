"""Nothing that a run says depends on whether patterns are in memory or on disk, nor on how they are cut into blocks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax.analysis import blocks, collect, metrics, neighbours
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig
from xrd_jax.preprocessing.prepare import prepare, prepare_inputs
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import make_model


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same series in memory and on disk."""
    path = tmp_path_factory.mktemp("stored") / "series.h5"
    series = make_series()
    series.save(path)
    return series, PatternSeries.load(path, limit_bytes=0)


@pytest.mark.parametrize("scale", ["pattern", "dataset", "total", "sqrt"])
def test_preparation_from_disk_is_bit_equal(pair, config, scale):
    memory, disk = pair
    chosen = dataclasses.replace(
        config.prepare, scale=scale, window_target="voltage", window_low=3.65, window_high=4.15
    )
    ours, theirs = prepare(memory, chosen), prepare(disk, chosen)
    for one, other in zip(ours.statistics, theirs.statistics, strict=True):
        np.testing.assert_array_equal(one, other)
    first, second = (
        prepare_inputs(ours, chosen, ours.test, chunk=16),
        prepare_inputs(theirs, chosen, theirs.test, chunk=16),
    )
    np.testing.assert_array_equal(first, second)


def test_merged_moments_are_those_of_the_whole(pair, config, monkeypatch):
    # Statistics of far more blocks, against numpy on everything at once.
    memory, chosen = pair[0], dataclasses.replace(config.prepare, scale="total")
    plain = dataclasses.replace(chosen, centre=False)
    x = np.asarray(prepare_inputs(prepare(memory, plain), plain, prepare(memory, plain).train), np.float64)
    monkeypatch.setattr(lazy, "PATTERNS_PER_BLOCK", 7)
    statistics = prepare(memory, chosen).statistics
    np.testing.assert_allclose(statistics.mean, x.mean(axis=0), rtol=2e-6)
    assert float(statistics.deviation) == pytest.approx((x - x.mean(axis=0)).std(), rel=2e-6)


@pytest.fixture(scope="module")
def network(pair):
    """A run of two seeds that has not been trained: streaming does not ask what the numbers are worth."""
    config = Config(
        seeds=2,
        prepare=PrepareConfig(channels=16),
        model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
    )
    prepared = prepare(pair[0], config.prepare)
    model, specs = make_model(config, prepared)
    init = jax.jit(model.init)
    variables = jax.tree.map(lambda *leaves: np.stack(leaves), *(init(jax.random.key(seed)) for seed in (0, 1)))
    return Run(Path("memory"), config, specs, prepared.statistics, model, variables)


def test_stream_and_predictions_agree_from_disk_and_from_memory(network, pair):
    memory, disk = pair
    outputs, vaw, _ = network.predict_with_maps(memory, chunk=32)
    parts = list(network.stream(disk, chunk=32))
    assert [part.begin for part in parts] == list(range(0, len(memory), 32))
    for name, values in outputs.items():
        np.testing.assert_array_equal(np.concatenate([part.outputs[name] for part in parts], axis=1), values)
    np.testing.assert_array_equal(np.concatenate([part.raw for part in parts], axis=1), vaw.raw)
    without_maps = network.predict_with_maps(memory, maps=False, chunk=32)
    np.testing.assert_allclose(without_maps[0]["voltage"], outputs["voltage"], rtol=1e-5)
    assert without_maps[1].raw.shape == (2, len(memory), 0)


def test_seed_of_many_is_the_seed_alone(network, pair):
    both = network.predict_with_maps(pair[0])
    for seed in (0, 1):
        config = dataclasses.replace(network.config, seed=network.config.seed + seed, seeds=1)
        variables = jax.tree.map(lambda leaf, i=seed: leaf[i : i + 1], network.variables)
        alone = dataclasses.replace(network, config=config, variables=variables).predict_with_maps(pair[0])
        np.testing.assert_allclose(alone[0]["voltage"][0], both[0]["voltage"][seed], rtol=1e-5)
        np.testing.assert_allclose(alone[1].raw[0], both[1].raw[seed], atol=1e-5)


def test_forward_pass_is_compiled_once(network, pair):
    blocks.forward.clear_cache()
    for count in (100, 240, 170):
        network.predict_with_maps(pair[1].subset(np.arange(count)), chunk=50)
    other = dataclasses.replace(network, variables=jax.tree.map(lambda leaf: leaf + 0.0, network.variables))
    other.predict_with_maps(pair[0], chunk=50)
    assert blocks.forward._cache_size() == 1


def test_summary_keeps_thinned_maps_and_the_mean_of_all(network, pair):
    series = pair[1]
    whole, thinned = collect.summarise(network, series), collect.summarise(network, series, max_maps=50)
    assert np.array_equal(whole.map_indices, np.arange(len(series))) and thinned.map_indices.size <= 50
    assert {0, 1} == set(series.session[thinned.map_indices])
    np.testing.assert_array_equal(thinned.vaw.raw, whole.vaw.raw[:, thinned.map_indices])
    np.testing.assert_array_equal(thinned.curves, whole.curves)
    registered = whole.vaw.registered()
    for session in (0, 1):
        mean = registered[:, series.session == session].mean(axis=1)
        np.testing.assert_allclose(whole.curves[:, session], mean, rtol=1e-9)
    np.testing.assert_allclose(whole.overall(), registered.mean(axis=1), rtol=1e-9)
    second = series.subset(series.session == 1)
    curves = collect.summarise(network, second).curves
    assert list(metrics.window_summary(second, network.axis, curves)) == ["0.2C"]


def test_nearest_neighbours_are_found_in_parts(pair, config, monkeypatch):
    memory, disk = pair
    prepared = prepare(memory, config.prepare)
    specs = target_specs(prepared, config.targets)
    whole = neighbours.baseline_scores(memory, specs, config.prepare, 0)
    monkeypatch.setattr(neighbours, "BLOCK_PATTERNS", 9)
    assert neighbours.baseline_scores(disk, specs, config.prepare, 0) == whole
