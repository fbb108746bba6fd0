"""The one loop over patterns: padded blocks, shared among devices, trimmed and fetched while the next one runs."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.models import Model
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, to_device, transform
from xrd_jax.training import sharding

# Patterns per block and device: on a CPU the attention of a block then stays near the cache, a GPU wants enough to do.
CHUNK = {"cpu": 64, "gpu": 1024}


class PredictionBlock(NamedTuple):
    """What the networks say about consecutive patterns.

    Attributes:
      begin: index of the first pattern in the series.
      outputs: target -> [S, b] in its unit (regression) or [S, b, K] probabilities (classification).
      raw: [S, b, L] VAW at query index; [S, b, 0] without maps.
    """

    begin: int
    outputs: dict[str, np.ndarray]
    raw: np.ndarray


def pad_block(rows: np.ndarray, size: int) -> Array:
    """Patterns [size, N] on the device: the last is repeated in a short block, so that one program serves all."""
    return to_device(np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge") if len(rows) < size else rows)


def fetch_block(begin: int, count: int, found: tuple[dict[str, Array], Array]) -> PredictionBlock:
    outputs, raw = jax.tree.map(lambda leaf: leaf[:, :count], jax.device_get(found))
    return PredictionBlock(begin, outputs, raw)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def forward(
    model: Model, prepare: PrepareConfig, specs: tuple[TargetSpec, ...], maps: bool, mesh: Mesh | None,
    variables: dict[str, Any], statistics: Statistics, intensity: Array,
) -> tuple[dict[str, Array], Array]:  # fmt: skip
    """Outputs and maps of all seeds for one block; seeds one after the other, which is as fast and keeps one's memory.

    One program per model and block shape, however often it is called.
    """

    def one(own: dict[str, Any], patterns: Array) -> tuple[dict[str, Array], Array]:
        outputs, aux = model.apply(own, patterns)
        values = {}
        for spec in specs:
            if spec.kind == "regression":
                values[spec.name] = outputs[spec.name][:, 0] * spec.deviation + spec.mean
            else:
                values[spec.name] = jax.nn.softmax(outputs[spec.name], axis=-1)
        # 'peak' is `vaw.max_over_keys` of the attention matrix (a test), without writing the matrix.
        return values, aux["max_over_keys"] if maps else jnp.zeros((len(patterns), 0))

    def block(variables: dict[str, Any], statistics: Statistics, intensity: Array) -> tuple[dict[str, Array], Array]:
        patterns = transform(statistics, prepare, intensity.astype(jnp.float32))
        if len(jax.tree.leaves(variables)[0]) > 1:
            return jax.lax.map(lambda own: one(own, patterns), variables)
        alone = one(jax.tree.map(lambda leaf: leaf[0], variables), patterns)
        return jax.tree.map(lambda leaf: leaf[None], alone)

    if mesh is not None:
        specs_in, specs_out = (P(), P(), P(sharding.BATCH)), P(None, sharding.BATCH)
        block = jax.shard_map(block, mesh=mesh, in_specs=specs_in, out_specs=specs_out, check_vma=False)
    return block(variables, statistics, intensity)


@functools.partial(jax.jit, static_argnums=(0, 1))
def attention_matrices(
    model: Model, prepare: PrepareConfig, variables: dict[str, Any], statistics: Statistics, intensity: Array
) -> Array:
    return model.apply(variables, transform(statistics, prepare, intensity.astype(jnp.float32)))[1]["attention"]
