"""One small run for the tests of what a finished run does, and networks without training."""

from __future__ import annotations

import atexit
import csv
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import xrd_jax
from tests.support.series import make_series
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.templates import make_templates
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import step, workdir
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.fit import make_model

TINY = Config(
    name="tiny",
    seeds=2,
    seed=3,
    prepare=PrepareConfig(channels=32),
    model=ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3),
    train=TrainConfig(epochs=2, batch_size=32, log_maps=100),
)
# The least that can be trained: what two files train alike is compiled once.
SMALL = Config(
    name="small",
    seeds=2,
    seed=3,
    prepare=PrepareConfig(channels=16),
    model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
    train=TrainConfig(epochs=2, batch_size=40, log_maps=1),
)


@functools.cache
def folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="xrd_jax-test-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def series() -> PatternSeries:
    return make_series()


@functools.cache
def trained() -> Run:
    """Return a run of two seeds, with its data beside it, opened from its directory.

    It is written as a training writes it, but at its first step: how good a run is does not matter here.
    """
    series().save(folder() / "data.h5")
    config = dataclasses.replace(TINY, data=str(folder() / "data.h5"))
    prepared = prepare(series(), config.prepare, config.split_seed)
    model, specs = make_model(config, prepared)
    path = workdir.create_or_resume(folder() / "run", config, prepared, specs, overwrite=False)
    step_config = step.make_step_config(model, specs, config.prepare, config.train, prepared.train.size)
    initialise = step.over_seeds(lambda seed: step.init_state(step_config, seed), config.seeds, shared=0)
    store = Checkpoints(path / "checkpoints")
    store.save(1, jax.jit(initialise)(jnp.asarray(config.seed_list(), jnp.int32)), {"loss": 1.0})
    store.close()
    return xrd_jax.open_run(path)


def untrained(data: PatternSeries, config: Config) -> Run:
    """Return a run in memory with random parameters and statistics, as odd as training might make them."""
    prepared = prepare(data, config.prepare)
    model, specs = make_model(config, prepared)
    random = np.random.default_rng(0)

    def perturb(leaf):
        return np.asarray(leaf) + random.uniform(0.0, 0.3, leaf.shape).astype(np.float32)

    known = make_templates(prepared, config.prepare, config.train, specs) if config.model.likelihood else None
    initialise = jax.jit(jax.vmap(model.init, in_axes=(0, None)))
    variables = initialise(jax.random.split(jax.random.key(1), config.seeds), known)
    variables = {name: jax.tree.map(perturb, part) for name, part in variables.items()}
    return Run(Path("memory"), config, specs, prepared.statistics, model, variables)


def write_pattern(path: Path, axis: np.ndarray, intensity: np.ndarray, end: str = "\n") -> None:
    """Write a pattern as two columns of text."""
    path.write_text("\n".join(f"{a:.6f} {v}" for a, v in zip(axis, intensity, strict=True)) + end)


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """Return the rows of predictions.csv."""
    with (folder / "predictions.csv").open() as file:
        return list(csv.DictReader(file))
