"""This project as a contestant of `speed`, and what its peers are given to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.case3 import config
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import override
from xrd_jax.config.recipes import recipe_fields
from xrd_jax.config.schema import Config
from xrd_jax.models import build, convolution
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics
from xrd_jax.runtime import compilation, devices, process
from xrd_jax.series.axis import Axis
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import sharding, step
from xrd_jax.training.seed_groups import SeedGroups

PATTERNS, CHANNELS, BATCH = 4096, 256, 64
SIZE = 4096  # rows of the matrices of the product that speed is measured by


Settings = tuple[Config, tuple[TargetSpec, ...], np.ndarray, dict[str, np.ndarray]]


def case3(precision: str, is_best: bool = False) -> Settings:
    """Return the configuration of case 3 for 256-channel patterns, its targets, and random data of their shape.

    Args:
      is_best: with the network of `--recipe=best`; the likelihood of the patterns takes no part in training.
    """
    overrides = recipe_fields("best", "cycle") if is_best else []
    overrides += ["train.augment=none", "prepare.resize=none", f"model.precision={precision}", "model.likelihood=0"]
    voltage = TargetSpec("voltage", "regression", "V", 1, (), 3.8, 0.1)
    if is_best:
        voltage = dataclasses.replace(voltage, size=64, low=-3.2, high=3.2)
    specs = (
        voltage,
        TargetSpec("mode", "classification", "", 4, ("a", "b", "c", "d"), 0.0, 1.0),
        TargetSpec("rate", "classification", "", 2, ("a", "b"), 0.0, 1.0),
    )
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(PATTERNS, CHANNELS)).astype(np.float32)
    targets = {
        "voltage": rng.normal(size=PATTERNS).astype(np.float32),
        "mode": rng.integers(0, 4, PATTERNS).astype(np.int32),
        "rate": rng.integers(0, 2, PATTERNS).astype(np.int32),
    }
    return override(config(), overrides), specs, patterns, targets


def trainer(contest: Settings, seeds: int, form: str = "") -> Callable[[int], None]:
    """Return a function that takes n steps of `seeds` networks, with the groups, devices and programs of `fit`.

    Args:
      contest: what `case3` gives.
      form: 'direct' or 'as_product' of `models.convolution`; what it chooses for the device if empty.
    """
    devices.emulate(process.cores())
    compilation.full_float32()
    if form:
        convolution.direct = convolution.as_product = getattr(convolution, form)
    settings, specs, patterns, targets = contest
    grid = sharding.device_grid(seeds, settings.train.batch_devices, BATCH)  # [seed, batch]
    outputs = tuple((s.name, s.size) for s in specs)
    model = build(settings.model, CHANNELS, outputs, sharding.BATCH if grid.shape[1] > 1 else None)
    step_config = step.make_step_config(model, specs, settings.prepare, settings.train, PATTERNS, grid.shape[1])
    empty = jnp.zeros(0)
    unused = Statistics(*[empty] * len(Statistics._fields))
    data = step.TrainingData(*jax.tree.map(jnp.asarray, (patterns, empty, unused, targets)))
    max_seeds = sharding.max_seeds_per_device(settings.train.seeds_per_call, grid, settings.model, CHANNELS, BATCH)
    seed_groups = SeedGroups(step_config, sharding.make_groups(seeds, grid, max_seeds), data, list(range(seeds)))
    states = seed_groups.init()

    def run(count: int) -> None:
        for index, group in enumerate(seed_groups.groups):
            order = seed_groups.order(group, states[index])
            for _ in range(count):
                states[index], _ = seed_groups.advance(group, states[index], order, 1)
        jax.block_until_ready(states)

    return run


def predictor(precision: str, maps: bool, chunk: int) -> Callable[[int], None]:
    """Return a function that sends n chunks through `Run.stream`."""
    devices.emulate(process.cores())
    settings, specs, patterns, _ = case3(precision)
    model = build(settings.model, CHANNELS, tuple((s.name, s.size) for s in specs))
    variables = jax.jit(lambda key: jax.tree.map(lambda leaf: leaf[None], model.init(key)))(jax.random.key(0))
    zero, one, axis = jnp.float32(0), jnp.float32(1), jnp.arange(CHANNELS, dtype=jnp.float32)
    identity = Statistics(axis, jnp.eye(CHANNELS), axis, zero, one, one, jnp.zeros(CHANNELS), one)
    run = Run(Path(), settings, specs, identity, model, variables)
    twice = np.concatenate([patterns, patterns])

    def predict(count: int) -> None:
        rows = twice[: count * chunk]
        zeros = np.zeros(len(rows), np.int32)
        series = PatternSeries(rows, Axis(np.arange(CHANNELS)), zeros.astype(float), {}, zeros, zeros)
        for _ in run.stream(series, maps):
            pass

    return predict


def matmul(precision: str) -> Callable[[int], None]:
    """Return a function that takes n products of 4096 × 4096 matrices: what this machine can do at this moment."""
    square = jnp.ones((SIZE, SIZE), jnp.dtype(precision))
    product = jax.jit(lambda a: a @ a)

    def run(count: int) -> None:
        for _ in range(count):
            jax.block_until_ready(product(square))

    return run
