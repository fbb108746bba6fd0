"""A peak that carries nothing, added to measured patterns: an explanation that points at it is wrong."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy.special import ndtr

from xrd_jax.physics.sessions import autocorrelated
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
    axis. Its position is a stationary Gaussian process of correlation exp(-|Δ|/memory) through its own distribution,
    uniform over the region; `memory` is a share of the session. Counts get Poisson noise. Patterns must fit in memory.
    """
    axis, patterns = series.axis.values, np.asarray(series.intensity[np.arange(len(series))])
    low, high = quiet_region(axis, patterns)
    mean = patterns.mean(axis=0)
    height, width = float(mean.max() - np.median(mean)) / 3, float(axis[-1] - axis[0]) / 100
    rng = np.random.default_rng([0, 0xDEC0])
    walk = np.empty(len(series))
    for session in np.unique(series.session):
        indices = np.flatnonzero(series.session == session)
        correlation = np.exp(-1.0 / max(memory * indices.size, 1e-9))
        walk[indices] = ndtr(autocorrelated(rng.standard_normal(indices.size), correlation))
    centres = low + (high - low) * walk
    peak = height * np.exp2(-((2 * (axis[None, :] - centres[:, None]) / width) ** 2))
    intensity = patterns + (rng.poisson(peak) if series.is_counts else peak)
    dtype = np.result_type(patterns.dtype, np.float32)
    if series.is_counts:
        dtype = patterns.dtype if intensity.max() <= np.iinfo(np.uint16).max else np.dtype(np.int64)
    return Decoy(dataclasses.replace(series, intensity=intensity.astype(dtype)), centres, width)


def quiet_region(axis: np.ndarray, patterns: np.ndarray) -> tuple[float, float]:
    """Return the ends of the `QUIET_SHARE` of the axis where patterns [T, N] vary least in units of √intensity."""
    change = patterns.var(axis=0, dtype=np.float64) / np.maximum(np.abs(patterns.mean(axis=0, dtype=np.float64)), 1.0)
    size = max(2, round(QUIET_SHARE * axis.size))
    first = int(np.convolve(change, np.ones(size), mode="valid").argmin())
    return float(axis[first]), float(axis[first + size - 1])
