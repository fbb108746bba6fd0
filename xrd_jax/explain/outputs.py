"""The number that is explained, and what every method needs to compute it, of one seed for one block of patterns.

A regression target: its value (of a distribution the median, or the mean where `train.point` says so), in training
deviations. A class target: the log-odds of the class that the network predicts, z_c - log Σ_{j≠c} exp z_j, which is the
logit margin for two classes. A logit alone may move with all others and change nothing; log p saturates at confident
patterns, its log-odds do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from xrd_jax.config.schema import ModelConfig, PrepareConfig
from xrd_jax.models import Model
from xrd_jax.preprocessing import noise
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, transform
from xrd_jax.training import sharding


class StaticArgs(NamedTuple):
    """What programs are compiled for."""

    model: Model
    config: ModelConfig
    specs: tuple[TargetSpec, ...]
    mesh: Mesh | None  # devices that share the patterns of a block; None for the default device alone


def shard_over_patterns(mesh: Mesh | None, function: Callable[..., Any], constants: Any, *patterns: Any) -> Any:
    """Return function(constants, *patterns), each device taking its share; all results lead with the batch axis."""
    if mesh is None:
        return function(constants, *patterns)
    into, out = (P(), *(P(sharding.BATCH) for _ in patterns)), P(sharding.BATCH)
    return jax.shard_map(function, mesh=mesh, in_specs=into, out_specs=out, check_vma=False)(constants, *patterns)


def log_odds(logits: Float[Array, "B K"], classes: Int[Array, " B"]) -> Float[Array, " B"]:
    """Return log p_c / (1 - p_c) of the class c of each pattern: its logit less the log-sum-exp of the others."""
    is_class = classes[:, None] == jnp.arange(logits.shape[1])[None, :]
    others = jax.nn.logsumexp(jnp.where(is_class, -jnp.inf, logits), axis=1)
    return jnp.where(is_class, logits, 0.0).sum(axis=1) - others


def explained_output(spec: TargetSpec, output: Float[Array, "B K"], classes: Int[Array, " B"]) -> Float[Array, " B"]:
    """Return the number that is explained: a regression output, or the log-odds of `classes`."""
    return spec.standardised(output) if spec.kind == "regression" else log_odds(output, classes)


@functools.partial(jax.jit, static_argnums=0)
def explained_outputs(
    static: StaticArgs, variables: dict[str, Any], x: Float[Array, "B L"], classes: dict[str, Array]
) -> dict[str, Float[Array, " B"]]:
    """Return `explained_output` of every target."""

    def local(variables, x, classes):
        outputs, _ = static.model.apply(variables, x)
        return {spec.name: explained_output(spec, outputs[spec.name], classes[spec.name]) for spec in static.specs}

    return shard_over_patterns(static.mesh, local, variables, x, classes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def weighted_gradients(
    static: StaticArgs, targets: tuple[str, ...], variables: dict[str, Any], x: Float[Array, "B L"],
    weight: Float[Array, "B L"], classes: dict[str, Array],
) -> dict[str, Float[Array, "B L"]]:  # fmt: skip
    """Return `weight` times the gradient of what is explained at `x`, for `targets`."""

    def local(variables, x, weight, classes):
        def explained(x):
            outputs, _ = static.model.apply(variables, x)
            chosen = [spec for spec in static.specs if spec.name in targets]
            return {s.name: explained_output(s, outputs[s.name], classes[s.name]).sum() for s in chosen}

        _, pull = jax.vjp(explained, x)
        return {name: weight * pull({t: jnp.float32(t == name) for t in targets})[0] for name in targets}

    return shard_over_patterns(static.mesh, local, variables, x, weight, classes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def network_inputs(
    prepare: PrepareConfig, is_counts: bool, statistics: Statistics, intensity: Array
) -> tuple[Float[Array, "B L"], Float[Array, "B L"], Float[Array, "B L"]]:
    """Return network inputs, the variance of their photon noise (zeros unless counts), and resized intensities.

    Args:
      intensity: [B, N] as measured, of any kind of number.
    """
    intensity = intensity.astype(jnp.float32)
    x = transform(statistics, prepare, intensity)
    variance = noise.input_variance(statistics, prepare, intensity) if is_counts else jnp.zeros_like(x)
    return x, variance, intensity @ statistics.matrix
