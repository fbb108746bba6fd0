"""Networks whose explanations are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.explain import attribution
from xrd_jax.models import Model
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import transform
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import make_model

TINY = ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3)


def make_run(series: PatternSeries, seeds: int = 2, **model) -> Run:
    """Networks as they are initialised."""
    config = Config(
        targets=CASE_TARGETS[3], seeds=seeds, seed=5, prepare=PrepareConfig(channels=32),
        model=dataclasses.replace(TINY, **model), train=TrainConfig(epochs=2),
    )  # fmt: skip
    prepared = prepare(series, config.prepare)
    network, specs = make_model(config, prepared)
    return attribution.untrained(Run(Path("none"), config, specs, prepared.statistics, network, {}))


def linear_run(series: PatternSeries, weight: np.ndarray) -> Run:
    """A run whose network is y = weight · x, without attention."""
    full = make_run(series, seeds=1)
    spec = TargetSpec("voltage", "regression", "V", 1, (), 0.0, 0.1)

    def apply(variables, x):
        return {"voltage": x @ variables["w"][:, None]}, {}

    model = Model(lambda key: {}, apply, lambda *_: None, 0.0)
    return dataclasses.replace(full, specs=(spec,), model=model, variables={"w": jnp.asarray(weight)[None]})


def at_input(run: Run, series: PatternSeries) -> jnp.ndarray:
    return transform(run.statistics, run.config.prepare, jnp.asarray(series.intensity, jnp.float32))
