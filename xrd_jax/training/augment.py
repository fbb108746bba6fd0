"""Smooth-and-redraw: fresh photon noise around the local mean of the training frames."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from xrd_jax.config.schema import TrainConfig
from xrd_jax.series.record import PatternSeries


class Redraw(NamedTuple):
    """Scales of the redrawn nuisances: relative flux and zero shift in axis units."""

    flux: float
    shift: float


def smooth(series: PatternSeries, train: np.ndarray, frames: float) -> np.ndarray:
    """Gaussian average of each training pattern with its training neighbours in time.

    Only patterns of the same session, cycle and class targets are averaged, weighted by exp(−Δ²/2σ²) with Δ the
    distance in patterns of `series`; no verification pattern enters.

    Args:
      frames: σ, in patterns; 0 leaves every pattern as it is.

    Returns:
      [n, N] float32 expected intensities of the training patterns.
    """
    labels = [series.session[train], series.cycle[train]]
    labels += [t.values[train] for t in series.targets.values() if t.kind == "classification"]
    _, group = np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)
    result = np.empty((train.size, series.intensity.shape[1]), np.float32)
    for member in range(group.max() + 1):
        where = np.flatnonzero(group == member)
        for part in np.array_split(np.arange(where.size), max(1, where.size // 256)):
            distance = train[where[part]][:, None] - train[where][None, :]
            weight = np.exp(-0.5 * (distance / max(frames, 1e-6)) ** 2)
            weight /= weight.sum(axis=1, keepdims=True)
            near = np.flatnonzero(weight.max(axis=0) > 1e-8)
            patterns = series.intensity[train[where[near]]].astype(np.float32)
            result[where[part]] = weight[:, near].astype(np.float32) @ patterns
    return result


def redraw(
    key: PRNGKeyArray, rates: Float[Array, "B N"], slopes: Float[Array, "B N"], scales: Redraw
) -> Float[Array, "B N"]:
    """Counts around λ = flux · (rate − shift · slope), drawn from the normal limit of Poisson's law, N(λ, λ).

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


def slopes(rates: np.ndarray, axis: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Derivative [n, N] of the rates along the axis; zeros where no shift is redrawn."""
    if not config.redraw_shift:
        return np.zeros_like(rates)
    return np.gradient(rates, axis, axis=1).astype(np.float32)
