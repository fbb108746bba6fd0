"""The one loop over patterns: padded blocks, shared among devices, trimmed and fetched while the next one runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Float, Int

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.models import Model, Variables
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, to_device, transform
from xrd_jax.series import lazy
from xrd_jax.training import sharding

# Patterns per block and device: on a CPU the attention of a block then stays near the cache, a GPU wants enough to do.
PATTERNS_PER_DEVICE = {"cpu": 64, "gpu": 1024}


class PredictionBlock(NamedTuple):
    """What the networks say about consecutive patterns.

    Attributes:
      begin: index of the first pattern in the series.
      outputs: target -> [S, b] in its unit (regression) or [S, b, K] probabilities (classification).
      raw: [S, b, L] VAW at query index; [S, b, 0] without maps.
      distributions: target learnt as a distribution -> [b, K] probabilities of its bins, mean over seeds.
    """

    begin: int
    outputs: dict[str, np.ndarray]
    raw: np.ndarray
    distributions: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class PatternBlock:
    """Consecutive patterns on the devices.

    Attributes:
      begin, count: index of the first pattern in the series, and how many there are.
      intensity: [size, N], divided among the devices of `mesh`; a short block repeats its last pattern.
      mesh: None for the default device alone.
    """

    begin: int
    count: int
    intensity: Array
    mesh: Mesh | None


def default_size() -> int:
    """Return the patterns per block that measurements found best on this kind of device."""
    return PATTERNS_PER_DEVICE.get(jax.default_backend(), PATTERNS_PER_DEVICE["gpu"]) * jax.local_device_count()


def over_patterns(
    intensity: np.ndarray | lazy.LazyRows,
    function: Callable[[PatternBlock, Any], Any],
    constants: Any = (),
    size: int | None = None,
    indices: np.ndarray | None = None,
    pattern_axis: int = 0,
    shared: bool = True,
) -> Iterator[tuple[slice, Any]]:
    """Apply `function` to patterns in blocks of one shape, so that one program serves all of them.

    A result is fetched once the device has its next block.

    Args:
      intensity: [T, N] patterns as measured.
      function: (block, constants on the block's devices) -> tree of arrays with an axis of `size` patterns.
      constants: tree of arrays that every block needs.
      size: patterns per block; `default_size`, but no more than there are, if None.
      indices: of the patterns wanted; all of them, in order, by default.
      pattern_axis: the axis of the results that counts patterns.
      shared: divide blocks among the devices of this process.

    Yields:
      (slice of the patterns, tree of NumPy arrays without the repeated ones).
    """
    total = len(intensity) if indices is None else len(indices)
    size = size or max(min(default_size(), total), 1)
    mesh = sharding.pattern_mesh(size) if shared else None
    constants = sharding.device_put(constants, mesh, P())
    pending: tuple[PatternBlock, Any] | None = None
    for begin, rows in lazy.read_blocks(intensity, size, indices):
        padded = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge") if len(rows) < size else rows
        block = PatternBlock(begin, len(rows), sharding.device_put(to_device(padded), mesh, P(sharding.BATCH)), mesh)
        result = function(block, constants)
        if pending is not None:
            yield _fetched(*pending, pattern_axis)
        pending = block, result
    if pending is not None:
        yield _fetched(*pending, pattern_axis)


def _fetched(block: PatternBlock, result: Any, pattern_axis: int) -> tuple[slice, Any]:
    present = (slice(None),) * pattern_axis + (slice(block.count),)
    trimmed = jax.tree.map(lambda leaf: leaf[present], jax.device_get(result))
    return slice(block.begin, block.begin + block.count), trimmed


def evenly_spaced(total: int, max_count: int) -> Int[np.ndarray, " count"]:
    """Return at most `max_count` indices, the first and the last among them, of `total` patterns."""
    return np.linspace(0, total - 1, min(total, max_count)).round().astype(int)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def forward(
    model: Model, prepare: PrepareConfig, specs: tuple[TargetSpec, ...], maps: bool, mesh: Mesh | None,
    variables: Variables, statistics: Statistics, intensity: Array,
) -> tuple[dict[str, Array], Array, dict[str, Array]]:  # fmt: skip
    """Return outputs and maps of all seeds for one block, and the mean over seeds [1, B, K] of distributions.

    Seeds take turns, which is as fast and needs less memory. One program per model and block shape, however often it
    is called.
    """

    def apply_seed(seed_variables: Variables, patterns: Array) -> tuple[dict[str, Array], Array, dict[str, Array]]:
        outputs, intermediates = model.apply(seed_variables, patterns)
        values = {spec.name: spec.to_physical(outputs[spec.name]) for spec in specs}
        distributions = {spec.name: jax.nn.softmax(outputs[spec.name]) for spec in specs if spec.is_distribution}
        # The maximum over keys comes without the attention matrix, which is not written then.
        return values, intermediates["max_over_keys"] if maps else jnp.zeros((len(patterns), 0)), distributions

    def apply_seeds(variables: Variables, statistics: Statistics, intensity: Array) -> tuple[Any, Array, Any]:
        patterns = transform(statistics, prepare, intensity.astype(jnp.float32))
        if len(jax.tree.leaves(variables)[0]) > 1:
            results = jax.lax.map(lambda seed_variables: apply_seed(seed_variables, patterns), variables)
        else:
            result = apply_seed(jax.tree.map(lambda leaf: leaf[0], variables), patterns)
            results = jax.tree.map(lambda leaf: leaf[None], result)
        values, maps_of_seeds, distributions = results
        return values, maps_of_seeds, jax.tree.map(lambda leaf: leaf.mean(axis=0, keepdims=True), distributions)

    if mesh is not None:
        specs_in, specs_out = (P(), P(), P(sharding.BATCH)), P(None, sharding.BATCH)
        apply_seeds = jax.shard_map(apply_seeds, mesh=mesh, in_specs=specs_in, out_specs=specs_out, check_vma=False)
    return apply_seeds(variables, statistics, intensity)


@functools.partial(jax.jit, static_argnums=(0, 1))
def attention_matrices(
    model: Model, prepare: PrepareConfig, variables: Variables, statistics: Statistics, intensity: Array
) -> Float[Array, "B L L"]:
    """Return the attention of one seed for one block."""
    return model.apply(variables, transform(statistics, prepare, intensity.astype(jnp.float32)))[1]["attention"]
