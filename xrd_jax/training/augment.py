"""Smooth-and-redraw: fresh photon noise around the local mean of the training patterns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from xrd_jax.series.record import PatternSeries

BLOCK_PATTERNS = 256  # patterns averaged at once, which bounds the matrix of weights
MIN_WEIGHT = 1e-8  # neighbours that weigh less in every average are not read


class RedrawScales(NamedTuple):
    """Standard deviations of the redrawn nuisances: relative flux, and zero shift in axis units."""

    flux: float
    shift: float


def smooth(series: PatternSeries, train: Int[np.ndarray, " n"], frames: float) -> Float[np.ndarray, "n N"]:
    """Return the Gaussian average of each training pattern with its training neighbours in time.

    Only patterns of the same session, cycle and class targets are averaged, weighted by exp(−Δ²/2σ²) with Δ the
    distance in patterns of `series`; no held-out pattern enters.

    Args:
      frames: σ, in patterns; 0 leaves every pattern as it is.

    Returns:
      Expected intensities of the training patterns, float32.
    """
    labels = [series.session[train], series.cycle[train]]
    labels += [t.values[train] for t in series.targets.values() if t.kind == "classification"]
    _, group = np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)
    expected = np.empty((train.size, series.intensity.shape[1]), np.float32)
    for number in range(group.max() + 1):
        members = np.flatnonzero(group == number)
        for block in np.array_split(members, max(1, members.size // BLOCK_PATTERNS)):
            distance = train[block][:, None] - train[members][None, :]
            weight = np.exp(-0.5 * (distance / max(frames, 1e-6)) ** 2)
            weight /= weight.sum(axis=1, keepdims=True)
            neighbours = np.flatnonzero(weight.max(axis=0) > MIN_WEIGHT)
            patterns = series.intensity[train[members[neighbours]]].astype(np.float32)
            expected[block] = weight[:, neighbours].astype(np.float32) @ patterns
    return expected


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
