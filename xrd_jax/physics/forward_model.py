"""Expected counts of a state of the cell and their derivatives (JAX).

    μ = W_n G_branch + W_p P + W_d D + S + b B,   λ(2θ) = flux · μ(2θ - shift)

W are the stoichiometry quantiles splatted on the grid of the dictionaries G (graphite), P (NMC); S static reflections;
B background; D a decoy, where the cell has one. μ is linear in W, so a series is one matrix product.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from xrd_jax.physics.profile import GRID, MARGIN, Dictionaries

CHUNK = 500  # frames that are computed at once
MAX_SHIFT_CHANNELS = MARGIN - 2  # cubic interpolation reads two channels beyond


class FrameState(NamedTuple):
    """State of the cell and the instrument during one frame (or [T] of them, with a leading axis)."""

    negative: Float[Array, "*T Q"]  # equally weighted stoichiometries in 0…1
    positive: Float[Array, "*T Q"]
    discharge: Float[Array, "*T"]  # 0 on charge, 1 on discharge; between them the branches mix
    flux: Float[Array, "*T"]  # relative, 1 at the reference
    shift: Float[Array, "*T"]  # zero shift of 2θ in degrees; at most `MAX_SHIFT_CHANNELS` channels
    background: Float[Array, "*T"]  # factor on the diffuse background
    decoy: Float[Array, "*T"] | None = None  # position 0…1 of the decoy in its range; None: the cell has none


def splat(stoichiometry: Float[Array, " Q"]) -> Float[Array, " G"]:
    """Return weights on the stoichiometry grid: each quantile is shared linearly between its two neighbours."""
    position = jnp.clip(stoichiometry, 0.0, 1.0) * (GRID - 1)
    below = jnp.clip(jnp.floor(position), 0, GRID - 2)  # at a grid point the derivative is that of the interval above
    above = (position - below)[:, None]
    offset = jnp.arange(GRID, dtype=jnp.float32)[None, :] - below[:, None]
    return jnp.where(offset == 0, 1.0 - above, jnp.where(offset == 1, above, 0.0)).mean(axis=0)


def shift_pattern(pattern: Float[Array, " M"], shift: Float[Array, ""], step: Float[Array, ""]) -> Float[Array, " N"]:
    """Sample pattern(2θ - shift) on the axis without margins, by cubic (Catmull-Rom) interpolation; in degrees."""
    start = MARGIN - shift / step
    base = jnp.clip(jnp.floor(start), 1, 2 * MARGIN - 2)
    u = start - base
    first = base.astype(jnp.int32) - 1
    length = pattern.shape[0] - 2 * MARGIN
    weights = (
        0.5 * (-u + 2 * u**2 - u**3),
        0.5 * (2 - 5 * u**2 + 3 * u**3),
        0.5 * (u + 4 * u**2 - 3 * u**3),
        0.5 * (-(u**2) + u**3),
    )
    taps = [jax.lax.dynamic_slice(pattern, (first + tap,), (length,)) for tap in range(4)]
    return jnp.sum(jnp.stack(weights)[:, None] * jnp.stack(taps), axis=0)


def unshifted_pattern(dictionaries: Dictionaries, state: FrameState) -> Float[Array, " M"]:
    """Return μ of one frame: expected counts at unit flux and without zero shift, margins included."""
    negative = splat(state.negative)
    weights = jnp.concatenate([(1 - state.discharge) * negative, state.discharge * negative, splat(state.positive)])
    patterns = jnp.concatenate([dictionaries.negative_charge, dictionaries.negative_discharge, dictionaries.positive])
    mean = weights @ patterns + dictionaries.static + state.background * dictionaries.background
    if dictionaries.decoy is not None and state.decoy is not None:
        mean += splat(state.decoy[None]) @ dictionaries.decoy
    return mean


def expected_counts(dictionaries: Dictionaries, state: FrameState) -> Float[Array, " N"]:
    """Return the expected counts per channel of one frame, differentiable in every field of `state`."""
    return state.flux * shift_pattern(unshifted_pattern(dictionaries, state), state.shift, dictionaries.step)


@jax.jit
def expected_series(dictionaries: Dictionaries, states: FrameState) -> Float[Array, "T N"]:
    """Return `expected_counts` of every frame of `states`, in chunks that fit in memory."""
    return jax.lax.map(lambda state: expected_counts(dictionaries, state), states, batch_size=CHUNK)


def voltage_derivative(dictionaries: Dictionaries, state: FrameState, direction: FrameState) -> Float[Array, " N"]:
    """Return the derivative of the expected counts of one frame along `direction`, per volt."""
    return jax.jvp(lambda moved: expected_counts(dictionaries, moved), (state,), (direction,))[1]


def nuisance_derivatives(dictionaries: Dictionaries, state: FrameState) -> Float[Array, "Z N"]:
    """Return the derivatives of the expected counts by flux, shift, background and, if there is one, the decoy."""

    def derivative(name: str) -> Array:
        value = getattr(state, name)
        counts = lambda moved: expected_counts(dictionaries, state._replace(**{name: moved}))  # noqa: E731
        return jax.jvp(counts, (value,), (jnp.ones_like(value),))[1]

    nuisances = ["flux", "shift", "background"] + ["decoy"] * (state.decoy is not None)
    return jnp.stack([derivative(name) for name in nuisances])
