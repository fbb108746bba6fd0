"""Four devices say what one says: seeds spread over them, however many there are, and batches shared among them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.training import sharding
from xrd_jax.training.fit import fit
from xrd_jax.training.step import make_step_config

MODEL = ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2)
TINY = Config(
    name="tiny",
    seed=3,
    seeds=5,
    prepare=PrepareConfig(channels=16),
    model=MODEL,
    train=TrainConfig(epochs=2, batch_size=32, learning_rate=3e-3, batch_devices=1),
)


def train(config: Config, where: Path) -> dict[str, np.ndarray]:
    """Metrics [S, epochs] of what was left to train, and parameters [S, …] in brackets, by name."""
    told: list[dict[str, np.ndarray]] = []
    watch = lambda step, means, variables, epoch: told.append(means)  # noqa: E731
    fitted = fit(config, prepare(make_series(), config.prepare), where, watch, progress=False)
    leaves = jax.tree_util.tree_leaves_with_path(fitted.variables)
    found = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    names = told[0] if told else ()
    return found | {name: np.stack([means[name] for means in told], axis=1) for name in names}


def on_four_devices(name: str, where: Path) -> dict[str, np.ndarray]:
    """What the function `name` of this file, run by a process with four devices, returns."""
    command = [sys.executable, "-W", "error", "-m", "tests.training.test_devices", name, str(where)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(where / f"{name}.npz") as file:
        return dict(file)


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=2e-4, atol=2e-5, err_msg=name)


def five_seeds(where: Path) -> dict[str, np.ndarray]:
    """Four seeds at once, then one; and the second half of what one device began."""
    assert jax.device_count() == 4
    whole = train(TINY, where / "four")
    second = train(TINY, where / "begun")
    assert second["loss"].shape == (5, 1)
    assert_same(parameters(second), parameters(whole))
    return whole


def parameters(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in found.items() if name.startswith("[")}


SHARED = dataclasses.replace(
    TINY,
    seeds=1,
    model=dataclasses.replace(MODEL, dropout=0.3),
    train=dataclasses.replace(TINY.train, augment="redraw", redraw_flux=0.02, redraw_shift=0.01, batch_devices=4),
)


def shared_batches(where: Path) -> dict[str, np.ndarray]:
    """One seed over four devices; the same with another over two times two."""
    alone = train(SHARED, where / "four")
    both = train(override(SHARED, ["seeds=2", "train.batch_devices=2"]), where / "two")
    assert_same({name: values[:1] for name, values in both.items()}, alone)
    return alone


def layouts(where: Path) -> dict[str, np.ndarray]:
    """Every seed has one place, for many numbers of seeds, devices and seeds per device."""
    for seeds in (1, 2, 3, 4, 5, 7, 8, 9, 33):
        for rows in (1, 2, 4):
            for most in (1, 2, 3, 32):
                grid = np.asarray(jax.devices())[:rows].reshape(rows, 1)
                found = sharding.groups(seeds, grid, most)
                own = [group.rows()[: group.seeds] for group in found]
                assert np.concatenate(own).tolist() == list(range(seeds))
                assert all(group.local <= most and group.seeds <= group.places for group in found)
                assert all(group.rows().max() < seeds for group in found)
                assert len({(group.local, group.mesh) for group in found}) <= 2  # programs to compile
                assert sum(group.places for group in found) < seeds + found[0].local * rows
    return {}


def test_seeds_over_four_devices_equal_seeds_on_one(tmp_path):
    alone = train(TINY, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "begun")
    shutil.rmtree(tmp_path / "begun" / "6")
    spread = on_four_devices("five_seeds", tmp_path)
    assert spread["loss"].shape == (5, 2) and np.unique(spread["loss"]).size == 10
    assert_same(spread, alone)
    # What four devices wrote, one reads: the checkpoint has one row per seed.
    resumed = train(TINY, tmp_path / "four")
    assert_same(resumed, parameters(spread))


def test_batch_over_four_devices_equals_batch_on_one(tmp_path):
    shared = on_four_devices("shared_batches", tmp_path)
    assert_same(shared, train(override(SHARED, ["train.batch_devices=1"]), tmp_path / "alone"))


def test_batch_that_cannot_be_shared_is_said(tmp_path):
    with pytest.raises(UserError, match=r"train\.batch_size=30: 4 devices cannot share"):
        make_step_config(None, (), TINY.prepare, dataclasses.replace(TINY.train, batch_size=30), 120, shares=4)
    with pytest.raises(UserError, match=r"train\.batch_devices=4: there are 1 devices"):
        train(SHARED, tmp_path)


def test_every_seed_has_one_place(tmp_path):
    on_four_devices("layouts", tmp_path)


def test_memory_bounds_the_seeds_of_a_call():
    grid = np.zeros((2, 1), object)
    assert sharding.most_seeds(0, grid, MODEL, 16, 32) == (1 if jax.default_backend() == "cpu" else sharding.MOST)
    assert sharding.most_seeds(8, grid, MODEL, 16, 32) == 4 and sharding.most_seeds(1, grid, MODEL, 16, 32) == 1
    paper = ModelConfig()
    assert sharding.step_bytes(paper, 256, 128) == 2 * sharding.step_bytes(paper, 256, 64)
    assert 50e6 < sharding.step_bytes(paper, 256, 64) < 500e6


def main(name: str, where: str) -> None:
    jax.config.update("jax_compilation_cache_dir", f"{where}/programs")  # trainings of one process share theirs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    np.savez(Path(where) / f"{name}.npz", **globals()[name](Path(where)))


if __name__ == "__main__":
    main(*sys.argv[1:])
