"""Four devices learn what one learns: seeds laid over them, however many there are, and batches shared among them."""

from __future__ import annotations

import dataclasses
import itertools
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
from xrd_jax.models import build
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.training import sharding
from xrd_jax.training.fit import fit
from xrd_jax.training.step import make_step_config

MODEL = ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2)
TINY = Config(
    name="tiny",
    targets=("voltage",),
    seed=3,
    seeds=5,
    prepare=PrepareConfig(channels=16),
    model=MODEL,
    train=TrainConfig(epochs=2, batch_size=32, learning_rate=3e-3, batch_devices=1),
)


SHARED = dataclasses.replace(
    TINY,
    seeds=2,
    model=dataclasses.replace(MODEL, dropout=0.3),
    train=dataclasses.replace(TINY.train, augment="redraw", redraw_flux=0.02, redraw_shift=0.01, batch_devices=2),
)


def train(config: Config, checkpoints: Path) -> dict[str, np.ndarray]:
    """Metrics [S, epochs] of what was left to train, and parameters [S, …] in brackets, by name."""
    epochs: list[dict[str, np.ndarray]] = []
    watch = lambda step, means, variables, epoch: epochs.append(means)  # noqa: E731
    fitted = fit(config, prepare(make_series(), config.prepare), checkpoints, watch, progress=False)
    leaves = jax.tree_util.tree_leaves_with_path(fitted.variables)
    parameters = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    return parameters | {name: np.stack([means[name] for means in epochs], axis=1) for name in (epochs or [{}])[0]}


def parameters(trained: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values for name, values in trained.items() if name.startswith("[")}


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=2e-4, atol=2e-5, err_msg=name)


def main(folder: Path) -> None:
    """What four devices do, in a process of its own: trainings, and how seeds are laid out."""
    assert jax.device_count() == 4
    # Four seeds at once, then one; and the second half of what one device began.
    seeds, second = train(TINY, folder / "four"), train(TINY, folder / "begun")
    assert second["loss"].shape == (5, 1)
    assert_same(parameters(second), parameters(seeds))
    # Two seeds, each batch on two devices.
    for name, trained in (("seeds", seeds), ("shared", train(SHARED, folder / "shared"))):
        np.savez(folder / f"{name}.npz", **trained)
    check_layouts()


def check_layouts() -> None:
    """Every seed has one row, for many numbers of seeds, devices and seeds per device."""
    for seeds, rows, limit in itertools.product((1, 2, 3, 4, 5, 7, 8, 9, 33), (1, 2, 4), (1, 2, 3, 32)):
        groups = sharding.make_groups(seeds, np.asarray(jax.devices())[:rows].reshape(rows, 1), limit)
        positions = [group.rows()[: group.seeds] for group in groups]
        assert np.concatenate(positions).tolist() == list(range(seeds))
        assert all(group.per_device <= limit and group.seeds <= group.size for group in groups)
        assert all(group.rows().max() < seeds for group in groups)
        assert len({(group.per_device, group.mesh) for group in groups}) <= 2  # programs to compile
        assert sum(group.size for group in groups) < seeds + groups[0].per_device * rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The seeds as one device trains them, the folder of checkpoints, and what four devices make of both."""
    folder = tmp_path_factory.mktemp("devices")
    alone = train(TINY, folder / "one")
    shutil.copytree(folder / "one", folder / "begun")
    shutil.rmtree(folder / "begun" / "6")
    command = [sys.executable, "-W", "error", "-m", "tests.training.test_devices", str(folder)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    process = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert process.returncode == 0, process.stderr
    return alone, folder


def load(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def test_seeds_over_four_devices_equal_seeds_on_one(trained):
    alone, folder = trained
    seeds = load(folder, "seeds")
    assert seeds["loss"].shape == (5, 2) and np.unique(seeds["loss"]).size == 10
    assert_same(seeds, alone)
    # What four devices wrote, one reads: the checkpoint has one row per seed.
    assert_same(train(TINY, folder / "four"), parameters(seeds))


def test_batch_over_two_devices_equals_batch_on_one(trained, tmp_path):
    assert_same(load(trained[1], "shared"), train(override(SHARED, ["train.batch_devices=1"]), tmp_path))


def test_batch_that_cannot_be_shared_is_refused(tmp_path):
    model, odd = build(MODEL, 16, (("voltage", 1),)), dataclasses.replace(TINY.train, batch_size=30)
    with pytest.raises(UserError, match=r"train\.batch_size=30: 4 devices cannot share"):
        make_step_config(model, (), TINY.prepare, odd, 120, batch_devices=4)
    with pytest.raises(UserError, match=r"train\.batch_devices=2: there are 1 devices"):
        train(SHARED, tmp_path)


def test_memory_bounds_the_seeds_of_a_call():
    grid = np.zeros((2, 1), object)
    most = [sharding.max_seeds_per_device(per_call, grid, MODEL, 16, 32) for per_call in (0, 8, 1)]
    assert most == [1 if jax.default_backend() == "cpu" else sharding.MAX_SEEDS_PER_DEVICE, 4, 1]
    paper = ModelConfig()
    assert sharding.step_bytes(paper, 256, 128) == 2 * sharding.step_bytes(paper, 256, 64)
    assert 50e6 < sharding.step_bytes(paper, 256, 64) < 500e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
