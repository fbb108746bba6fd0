"""What groups of channels say of the state of a frame, with flux and zero shift integrated out.

Flux f ~ N(1, σ_f²) and zero shift d ~ N(0, σ_d²) are integrated out with Laplace's method,

    log p(n | s) = max_{f, d} [a log f - f b_s(d) + c_s(d) - (f - 1)²/2σ_f² - d²/2σ_d²] - ½ log det(-Hessian),

with a = Σ n, b = Σ μ, c = Σ n log μ over the chosen channels; b and c are polynomials in d through a few shifts. All
three add up over channels, so that each group is computed once and put together for any set of groups.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from xrd_jax.physics.forward_model import CHUNK, FrameState, shift_pattern, unshifted_pattern
from xrd_jax.physics.profile import Dictionaries

NODES = np.array([-3.0, -1.5, 0.0, 1.5, 3.0])  # shifts in standard deviations, between which there are polynomials
MAX_SHIFT = 4.0  # standard deviations of the shift within which the maximum is searched
NEWTON_STEPS = 3


class Expansion(NamedTuple):
    """Patterns of candidate states (C) as polynomials in the shift, in its standard deviations."""

    levels: Float[Array, "P C N"]  # coefficients of μ - reference
    logs: Float[Array, "P C N"]  # coefficients of log(μ / reference)
    reference: Float[Array, " N"]  # mean of μ over the states


class Likelihood(NamedTuple):
    """Sums over groups of channels (G), for test frames (B) and candidate states (C); they add up over G."""

    photons: Float[Array, "G B"]  # Σ n
    levels: Float[Array, "P G C"]  # coefficients of Σ μ - reference
    matches: Float[Array, "P G B C"]  # coefficients of Σ n log(μ / reference)
    reference: Float[Array, " G"]  # Σ reference


def expand_in_shift(dictionaries: Dictionaries, states: FrameState, sigma: Array) -> Expansion:
    """Expand the patterns of `states` in the zero shift, whose standard deviation in degrees is `sigma`."""
    # In steps that are written to memory: in one program the shifts would be computed again and again.
    patterns = _unshifted_patterns(dictionaries, states)
    shifted = [_shifted_patterns(patterns, sigma * float(node), dictionaries.step) for node in NODES]
    reference = shifted[len(NODES) // 2].mean(axis=0)
    levels = _interpolating_polynomials(*(values - reference[None, :] for values in shifted))
    logs = _interpolating_polynomials(*(jnp.log(values / reference[None, :]) for values in shifted))
    return Expansion(levels, logs, reference)


@jax.jit
def _unshifted_patterns(dictionaries: Dictionaries, states: FrameState) -> Float[Array, "C M"]:
    return jax.lax.map(lambda state: unshifted_pattern(dictionaries, state), states, batch_size=CHUNK)


@jax.jit
def _shifted_patterns(patterns: Float[Array, "C M"], shift: Array, step: Array) -> Float[Array, "C N"]:
    return jax.lax.map(lambda pattern: shift_pattern(pattern, shift, step), patterns, batch_size=CHUNK)


@jax.jit
def _interpolating_polynomials(*values: Float[Array, "C N"]) -> Float[Array, "P C N"]:
    """Coefficients of the polynomials that take `values` at the nodes."""
    matrix = np.linalg.inv(np.vander(NODES, increasing=True)).tolist()
    return jnp.stack([sum((a * v for a, v in zip(row, values, strict=True)), 0.0 * values[0]) for row in matrix])


def split_groups(expansion: Expansion, groups: Bool[np.ndarray, "G N"]) -> list[Expansion]:
    """Return the channels of each group alone, so that no product runs over others."""
    return [Expansion(*(part[..., np.flatnonzero(group)] for part in expansion)) for group in groups]


@jax.jit
def group_likelihood(counts: list[Float[Array, "B _"]], expansions: list[Expansion]) -> Likelihood:
    """Return sums over the channels of each group, from the counts and the expansion of each."""
    pairs = zip(counts, expansions, strict=True)
    matches = [jnp.einsum("bn,pcn->pbc", photons, expansion.logs) for photons, expansion in pairs]
    return Likelihood(
        photons=jnp.stack([photons.sum(axis=1) for photons in counts]),
        levels=jnp.stack([expansion.levels.sum(axis=2) for expansion in expansions], axis=1),
        matches=jnp.stack(matches, axis=1),
        reference=jnp.stack([expansion.reference.sum() for expansion in expansions]),
    )


@jax.jit
def state_posterior(likelihood: Likelihood, is_chosen: Float[Array, " G"], flux_sigma: Array) -> Float[Array, "B C"]:
    """Return the posterior of the candidates, all equally likely beforehand, from some groups (1 or 0)."""
    stiff = 1.0 / flux_sigma**2
    photons = (is_chosen @ likelihood.photons)[:, None]
    # Sums, not dot products: over so short an axis those are many times slower.
    levels = (likelihood.levels * is_chosen[None, :, None]).sum(axis=1)[:, None, :]
    matches = (likelihood.matches * is_chosen[None, :, None, None]).sum(axis=1)
    base = is_chosen @ likelihood.reference
    e, x = jnp.zeros_like(matches[0]), jnp.zeros_like(matches[0])  # f = 1 + e, d = x σ_d
    for step in range(NEWTON_STEPS + 1):
        b, b1, b2 = _polynomial(levels, x)
        c, c1, c2 = _polynomial(matches, x)
        ee, xx = photons / (1 + e) ** 2 + stiff, jnp.maximum((1 + e) * b2 - c2, 0.0) + 1.0
        determinant = jnp.maximum(ee * xx - b1**2, 0.1 * ee * xx)
        if step < NEWTON_STEPS:
            by_e = photons / (1 + e) - (base + b) - stiff * e
            by_x = c1 - (1 + e) * b1 - x
            e = jnp.clip(e + (xx * by_e - b1 * by_x) / determinant, -0.5, 1.0)
            x = jnp.clip(x + (ee * by_x - b1 * by_e) / determinant, -MAX_SHIFT, MAX_SHIFT)
    value = photons * jnp.log1p(e) - e * (base + b) - b + c - 0.5 * (stiff * e**2 + x**2 + jnp.log(determinant))
    return jax.nn.softmax(value, axis=1)


def _polynomial(coefficients: Float[Array, " P #B C"], x: Float[Array, "B C"]) -> tuple[Array, Array, Array]:
    """Value and two derivatives at x (Horner)."""
    value, first, second = jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros_like(x)
    for coefficient in coefficients[::-1]:
        second = second * x + 2.0 * first
        first = first * x + value
        value = value * x + coefficient
    return value, first, second
