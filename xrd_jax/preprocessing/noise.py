"""Photon noise of the patterns, propagated to the network's input."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing import filters
from xrd_jax.preprocessing.transform import Statistics, darkest_sum


def input_variance(statistics: Statistics, prepare: PrepareConfig, counts: Float[Array, "B N"]) -> Float[Array, "B L"]:
    """Return the variance that Poisson noise of the counts has at the network's input.

    var(x) = Σ_n (dx/dn)² n with the counts as their own variance; the level that a pattern is scaled by (its extremes,
    its sum) is held fixed, because it averages over many channels. Baselines are held fixed as well.
    """
    signal = filters.subtract_baseline(counts, prepare.baseline)
    if prepare.scale_at == "input":
        variance = (counts * _scaling_slope(statistics, prepare, signal) ** 2) @ statistics.matrix**2
    else:
        slope = _scaling_slope(statistics, prepare, signal @ statistics.matrix)
        variance = (counts @ statistics.matrix**2) * slope**2
    return variance / statistics.deviation**2


def _scaling_slope(statistics: Statistics, prepare: PrepareConfig, x: Float[Array, "B C"]) -> Float[Array, "B C"]:
    """Return the derivative of the scaling at `x`, its level held fixed."""
    tiny = jnp.finfo(x.dtype).tiny
    if prepare.scale == "dataset":
        return jnp.broadcast_to(1.0 / jnp.maximum(statistics.high - statistics.low, tiny), x.shape)
    if prepare.scale == "none":
        return jnp.ones_like(x)
    if prepare.scale == "pattern":
        level = _inverse(x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True))
    elif prepare.scale == "snv":
        level = _inverse(x.std(axis=1, keepdims=True))
    else:
        level = 1.0 / jnp.maximum(x.sum(axis=1, keepdims=True), darkest_sum(statistics))
    if prepare.scale == "sqrt":  # d/dn of 2 √(n f + 3/8) is f / √(n f + 3/8)
        factor = level * statistics.total
        return factor / jnp.sqrt(jnp.maximum(x * factor, 0.0) + 0.375)
    return jnp.broadcast_to(level, x.shape)


def _inverse(level: Float[Array, "B one"]) -> Float[Array, "B one"]:
    """Return 1 / level; 0 of a pattern without any, which has no signal either."""
    return jnp.where(level > 0, 1.0 / jnp.where(level > 0, level, 1.0), 0.0)
