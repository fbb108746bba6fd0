"""Fresh photon noise around expected counts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class RedrawScales(NamedTuple):
    """Standard deviations of the redrawn nuisances: relative flux, and zero shift in axis units."""

    flux: float
    shift: float


def redraw(
    key: PRNGKeyArray, rates: Float[Array, "B N"], slopes: Float[Array, "B N"], scales: RedrawScales
) -> Float[Array, "B N"]:
    """Draw counts around λ = flux · (rate − shift · slope) from the normal limit of Poisson's law, N(λ, λ).

    Args:
      rates: expected counts.
      slopes: their derivative along the axis, in counts per axis unit.
    """
    noise_key, flux_key, shift_key = jax.random.split(key, 3)
    size = (rates.shape[0], 1)
    flux = 1.0 + scales.flux * jax.random.normal(flux_key, size)
    shift = scales.shift * jax.random.normal(shift_key, size)
    expected = jnp.maximum(flux * (rates - shift * slopes), 0.0)
    return jnp.maximum(expected + jnp.sqrt(expected) * jax.random.normal(noise_key, rates.shape), 0.0)
