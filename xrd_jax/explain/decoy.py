"""A peak that carries nothing, added to measured patterns: an explanation that points at it is wrong."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy.special import ndtr

from xrd_jax.series.record import PatternSeries

QUIET_SHARE = 0.2  # share of the axis that a decoy wanders over
MEMORY = 0.1  # share of a session over which it forgets where it was


class Decoy(NamedTuple):
    """A series with a peak that carries nothing."""

    series: PatternSeries
    centres: np.ndarray  # [T] position of the peak
    width: float  # its full width at half maximum, in axis units

    def inside(self, axis: np.ndarray) -> Bool[np.ndarray, "T L"]:
        """Return the channels of `axis` [L] within one full width of the peak, at least the nearest."""
        reach = max(self.width, 0.5 * float(np.diff(axis).max()))
        return np.abs(axis[None, :] - self.centres[:, None]) <= reach


def add_decoy(series: PatternSeries, memory: float = MEMORY) -> Decoy:
    """Add to every pattern a Gaussian peak that wanders over the quiet region and knows nothing of any target.

    Its height is a third of the highest mean peak above the median, its full width at half maximum a hundredth of the
    axis. Its position is a stationary random walk, uniform over the region; where data are counts it brings Poisson
    noise. Patterns must fit in memory.

    Args:
      memory: patterns over which it forgets its position, as a share of a session.
    """
    axis, patterns = series.axis.values, np.asarray(series.intensity[np.arange(len(series))])
    low, high = quiet_region(axis, patterns)
    mean = patterns.mean(axis=0)
    height, width = float(mean.max() - np.median(mean)) / 3, float(axis[-1] - axis[0]) / 100
    rng = np.random.default_rng([0, 0xDEC0])
    walk = np.empty(len(series))
    for session in np.unique(series.session):
        indices = np.flatnonzero(series.session == session)
        walk[indices] = _random_walk(rng, indices.size, memory * indices.size)
    centres = low + (high - low) * walk
    peak = height * np.exp2(-((2 * (axis[None, :] - centres[:, None]) / width) ** 2))
    intensity = patterns + (rng.poisson(peak) if series.is_counts else peak)
    dtype = np.result_type(patterns.dtype, np.float32)
    if series.is_counts:
        dtype = patterns.dtype if intensity.max() <= np.iinfo(np.uint16).max else np.dtype(np.int64)
    return Decoy(dataclasses.replace(series, intensity=intensity.astype(dtype)), centres, width)


def _random_walk(rng: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """[count] values in 0…1: a Gaussian process of correlation exp(-|Δ| / memory), through its own distribution."""
    correlation = np.exp(-1.0 / max(memory, 1e-9))
    noise, values = rng.standard_normal(count), np.empty(count)
    values[0] = noise[0]
    for i in range(1, count):
        values[i] = correlation * values[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    return ndtr(values)


def quiet_region(axis: np.ndarray, patterns: np.ndarray) -> tuple[float, float]:
    """Return the ends of the `QUIET_SHARE` of the axis where patterns [T, N] vary least in units of √intensity."""
    change = patterns.var(axis=0, dtype=np.float64) / np.maximum(np.abs(patterns.mean(axis=0, dtype=np.float64)), 1.0)
    size = max(2, round(QUIET_SHARE * axis.size))
    sums = np.convolve(change, np.ones(size), mode="valid")
    first = int(sums.argmin())
    return float(axis[first]), float(axis[first + size - 1])
