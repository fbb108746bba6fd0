"""Nothing depends on whether patterns are in memory or on disk, nor on how they are cut into blocks."""

from __future__ import annotations

import dataclasses
import os
import threading

import h5py
import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.series import make_series
from xrd_jax.analysis import blocks as analysis_blocks
from xrd_jax.analysis import collect, metrics, neighbours
from xrd_jax.analysis import run as runs
from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.models import build
from xrd_jax.physics import simulate
from xrd_jax.preprocessing.prepare import inputs, prepare
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.series import lazy as series_lazy
from xrd_jax.series.record import PatternSeries

CELL = Cell(channels=100, start_deg=24.0, rates=("1C",), repeats=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same series in memory and on disk."""
    path = tmp_path_factory.mktemp("stored") / "series.h5"
    series = make_series()
    series.save(path)
    return series, PatternSeries.load(path, limit_bytes=0)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Rows of a file that needs many reads: spans and gaps are crossed."""
    rows = np.random.default_rng(0).integers(0, 60_000, (9000, 3), dtype=np.uint16)
    path = tmp_path_factory.mktemp("long") / "rows.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(64, 3))
    return rows, series_lazy.LazyRows.open(path, "x")


INDICES = st.lists(st.integers(-9000, 8999), max_size=40)
SLICES = st.slices(9000)


@given(st.one_of(INDICES.map(lambda i: np.array(i, int)), SLICES, st.integers(-9000, 8999)))
def test_stored_rows_index_like_an_array(long, key):
    rows, lazy = long
    np.testing.assert_array_equal(lazy[key], rows[key])


@pytest.mark.parametrize("key", [9000, np.array([-9001]), np.ones(5, bool), np.zeros((2, 2), int), 1.5, (0, 0)])
def test_rows_that_are_not_there_are_refused(long, key):
    with pytest.raises(IndexError):
        long[1][key]


@given(INDICES, st.data())
def test_subsets_of_subsets_are_those_of_an_array(long, first, data):
    rows, lazy = long
    keep = np.array(first, int)
    second = data.draw(st.lists(st.booleans(), min_size=keep.size, max_size=keep.size).map(lambda m: np.array(m, bool)))
    picked = lazy.subset(keep).subset(second)
    assert picked.shape == rows[keep][second].shape and picked.nbytes == rows[keep][second].nbytes
    np.testing.assert_array_equal(np.asarray(picked), rows[keep][second])


@given(st.integers(1, 3000), st.one_of(st.none(), INDICES.map(lambda i: np.array(i, int))))
def test_blocks_cover_everything_once_in_order(long, size, wanted):
    rows, lazy = long
    whole = rows if wanted is None else rows[wanted]
    for source in (rows, lazy):
        parts = list(series_lazy.blocks(source, size, wanted))
        assert [begin for begin, _ in parts] == list(range(0, len(whole), size))
        assert all(len(part) == size for _, part in parts[:-1])
        np.testing.assert_array_equal(np.concatenate([p for _, p in parts]) if parts else whole, whole)


def test_a_reader_left_early_ends_its_thread(long):
    before = threading.active_count()
    for _ in series_lazy.blocks(long[1], 100):
        break
    assert threading.active_count() == before


def test_a_failing_task_is_not_swallowed():
    def fail():
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        list(series_lazy.prefetch([lambda: 1, fail]))


def test_series_on_disk_is_the_series_in_memory(pair, tmp_path):
    memory, disk = pair
    assert isinstance(disk.intensity, series_lazy.LazyRows) and disk.fingerprint() == memory.fingerprint()
    keep = np.array([200, 3, 17])
    assert disk.subset(keep).fingerprint() == memory.subset(keep).fingerprint()
    assert isinstance(disk.subset(disk.session == 1).intensity, series_lazy.LazyRows)
    disk.subset(keep).save(tmp_path / "part.h5")
    assert PatternSeries.load(tmp_path / "part.h5").fingerprint() == memory.subset(keep).fingerprint()


def test_large_series_are_saved_uncompressed_and_stay_on_disk(tmp_path, monkeypatch):
    series = make_series()
    monkeypatch.setattr("xrd_jax.series.hdf5.LIMIT_BYTES", 1000)
    series.save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5") as file:
        assert file["entry/data/intensity"].compression is None
    assert PatternSeries.load(tmp_path / "series.h5", 1000).fingerprint() == series.fingerprint()


def test_a_series_can_be_saved_over_itself_but_is_then_another(tmp_path):
    path = tmp_path / "series.h5"
    make_series().save(path)
    disk = PatternSeries.load(path, 0)
    disk.subset(np.arange(100, 120)).save(path)
    assert len(PatternSeries.load(path)) == 20
    with pytest.raises(UserError, match="was changed after it had been opened"):
        disk.intensity[0]
    path.unlink()
    with pytest.raises(UserError, match="can no longer be read"):
        disk.intensity[0]


def test_not_finite_patterns_on_disk_are_named_when_read(tmp_path):
    series = make_series()
    values = series.intensity.astype(np.float32)
    dataclasses.replace(series, intensity=values).save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5", "r+") as file:
        file["entry/data/intensity"][7, 3] = np.nan
    disk = PatternSeries.load(tmp_path / "series.h5", 0)
    assert np.isfinite(disk.intensity[8:]).all()
    with pytest.raises(UserError, match="pattern 7 holds NaN"):
        disk.fingerprint()
    with pytest.raises(UserError, match="pattern 7 holds NaN"):
        PatternSeries.load(tmp_path / "series.h5")


def test_labels_larger_than_their_file_are_refused_before_they_are_read(tmp_path):
    make_series().save(tmp_path / "series.h5")
    with h5py.File(tmp_path / "series.h5", "r+") as file:
        del file["entry/data/time"]
        file["entry/data"].create_dataset("time", (1 << 40,), "f8", chunks=(1 << 16,), compression="gzip")
    with pytest.raises(UserError, match="not a pattern series"):
        PatternSeries.load(tmp_path / "series.h5")


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"series\.h5: cannot be written \(No space left"):
        make_series().save(tmp_path / "series.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", ["pattern", "dataset", "total", "sqrt"])
def test_preparation_from_disk_is_bit_equal(pair, config, scale):
    memory, disk = pair
    chosen = dataclasses.replace(
        config.prepare, scale=scale, window_target="voltage", window_low=3.65, window_high=4.15
    )
    ours, theirs = prepare(memory, chosen), prepare(disk, chosen)
    for one, other in zip(ours.statistics, theirs.statistics, strict=True):
        np.testing.assert_array_equal(one, other)
    first, second = inputs(ours, chosen, ours.test, chunk=16), inputs(theirs, chosen, theirs.test, chunk=16)
    np.testing.assert_array_equal(first, second)


def test_merged_moments_are_those_of_the_whole(pair, config, monkeypatch):
    # Statistics of far more blocks, against numpy on everything at once.
    memory, chosen = pair[0], dataclasses.replace(config.prepare, scale="total")
    plain = dataclasses.replace(chosen, centre=False)
    x = np.asarray(inputs(prepare(memory, plain), plain, prepare(memory, plain).train), np.float64)
    monkeypatch.setattr(series_lazy, "BLOCK", 7)
    statistics = prepare(memory, chosen).statistics
    np.testing.assert_allclose(statistics.mean, x.mean(axis=0), rtol=2e-6)
    assert float(statistics.deviation) == pytest.approx((x - x.mean(axis=0)).std(), rel=2e-6)


@pytest.fixture(scope="module")
def network(pair):
    """A run of two seeds that has not been trained: streaming does not ask what the numbers are worth."""
    from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig

    config = Config(
        targets=CASE_TARGETS[3],
        seeds=2,
        prepare=PrepareConfig(channels=32),
        model=ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3),
    )
    prepared = prepare(pair[0], config.prepare)
    specs = target_specs(prepared, config.targets)
    model = build(config.model, 32, tuple((s.name, s.size) for s in specs))
    variables = jax.jit(jax.vmap(model.init))(jax.random.split(jax.random.key(0), 2))
    return runs.Run(None, config, specs, prepared.statistics, model, variables)


def test_stream_and_look_agree_from_disk_and_from_memory(network, pair):
    memory, disk = pair
    outputs, vaw = network.predict_with_maps(memory, chunk=32)
    blocks = list(network.stream(disk, chunk=32))
    assert [b.begin for b in blocks] == list(range(0, len(memory), 32))
    for name, values in outputs.items():
        np.testing.assert_array_equal(np.concatenate([b.outputs[name] for b in blocks], axis=1), values)
    np.testing.assert_array_equal(np.concatenate([b.raw for b in blocks], axis=1), vaw.raw)
    bare = network.predict_with_maps(memory, maps=False, chunk=32)
    np.testing.assert_allclose(bare[0]["voltage"], outputs["voltage"], rtol=1e-5)
    assert bare[1].raw.shape == (2, len(memory), 0)


def test_seed_of_many_is_the_seed_alone(network, pair):
    both = network.predict_with_maps(pair[0])
    for seed in (0, 1):
        config = dataclasses.replace(network.config, seed=network.config.seed + seed, seeds=1)
        variables = jax.tree.map(lambda leaf, i=seed: leaf[i : i + 1], network.variables)
        alone = dataclasses.replace(network, config=config, variables=variables).predict_with_maps(pair[0])
        np.testing.assert_allclose(alone[0]["voltage"][0], both[0]["voltage"][seed], rtol=1e-5)
        np.testing.assert_allclose(alone[1].raw[0], both[1].raw[seed], atol=1e-5)


def test_forward_pass_is_compiled_once(network, pair):
    analysis_blocks.forward.clear_cache()
    for count in (100, 240, 170):
        network.predict_with_maps(pair[1].subset(np.arange(count)), chunk=50)
    dataclasses.replace(network, variables=jax.tree.map(lambda v: v + 0.0, network.variables)).predict_with_maps(
        pair[0], chunk=50
    )
    assert analysis_blocks.forward._cache_size() == 1


def test_survey_keeps_some_maps_and_the_mean_of_all(network, pair):
    series = pair[1]
    whole, few = collect.summarise(network, series), collect.summarise(network, series, most=50)
    assert np.array_equal(whole.kept, np.arange(len(series))) and few.kept.size <= 50
    assert {0, 1} == set(series.session[few.kept])
    np.testing.assert_array_equal(few.vaw.raw, whole.vaw.raw[:, few.kept])
    np.testing.assert_array_equal(few.curves, whole.curves)
    registered = whole.vaw.registered()
    for session in (0, 1):
        mean = registered[:, series.session == session].mean(axis=1)
        np.testing.assert_allclose(whole.curves[:, session], mean, rtol=1e-9)
    np.testing.assert_allclose(whole.overall(), registered.mean(axis=1), rtol=1e-9)
    one = series.subset(series.session == 1)
    assert list(metrics.window_summary(one, network.axis, collect.summarise(network, one).curves)) == ["0.2C"]


def test_nearest_neighbours_are_found_in_parts(pair, config, monkeypatch):
    memory, disk = pair
    prepared = prepare(memory, config.prepare)
    specs = target_specs(prepared, config.targets)
    whole = neighbours.nearest_neighbours(memory, specs, config.prepare, 0)
    monkeypatch.setattr(neighbours, "PART", 9)
    assert neighbours.nearest_neighbours(disk, specs, config.prepare, 0) == whole


def test_simulated_file_holds_the_simulated_bits(tmp_path):
    memory = simulate.simulate(CELL)
    disk = simulate.write(CELL, tmp_path / "cell.h5")
    assert disk.fingerprint() == memory.fingerprint() and disk.provenance["cell"]["repeats"] == 2
    assert disk.intensity.dtype == np.uint16 and len(disk) == 8000


def test_blocks_of_photons_are_the_photons_of_the_whole():
    expected = np.random.default_rng(0).uniform(1, 900, (60, 40))
    whole = simulate.photons(np.random.default_rng(5), expected)
    rng = np.random.default_rng(5)
    parts = [simulate.photons(rng, part) for part in np.split(expected, [7, 30, 31])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_repeated_cycles_go_on_where_they_ended():
    once, twice = (simulate.session(dataclasses.replace(CELL, repeats=n), "1C") for n in (1, 2))
    run, again = once.run, twice.run
    frames = run.time.size
    np.testing.assert_array_equal(twice.flux[:frames], once.flux)  # drifts are drawn frame after frame
    np.testing.assert_allclose(np.diff(again.time), run.time[1] - run.time[0], rtol=1e-6)
    np.testing.assert_array_equal(again.voltage[frames:], run.voltage)
    assert np.array_equal(np.unique(again.half_cycle), np.arange(2 * (run.edges.size - 1)))
    assert (np.diff(again.half_cycle) >= 0).all() and (np.diff(again.edges) > 0).all()
    np.testing.assert_array_equal(simulate.modes(again)[frames:], simulate.modes(run))
    state = twice.states(np.arange(frames - 1, frames + 1))
    jump = np.abs(np.diff(np.asarray(state.negative).mean(axis=1)))
    assert jump < 5 * np.abs(np.diff(run.negative.mean(axis=1))).max()
    np.testing.assert_array_equal(state.negative[1], run.negative[0])


def test_repeats_must_be_positive():
    with pytest.raises(UserError, match="repeats is 0"):
        Cell(repeats=0)
