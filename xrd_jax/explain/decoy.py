"""A peak that carries nothing, added to measured patterns: an explanation that points at it is wrong."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from xrd_jax.series.record import PatternSeries

QUIET = 0.2  # share of the axis that a decoy wanders over by default


class Decoy(NamedTuple):
    """A series with a peak that carries nothing.

    Attributes:
      centres: [T] where it stands.
      width: its full width at half maximum, on the axis.
    """

    series: PatternSeries
    centres: np.ndarray
    width: float

    def inside(self, axis: np.ndarray) -> Bool[np.ndarray, "T L"]:
        """The channels of `axis` [L] within one full width of the peak, at least the nearest."""
        reach = max(self.width, 0.5 * float(np.diff(axis).max()))
        return np.abs(axis[None, :] - self.centres[:, None]) <= reach


def inject(
    series: PatternSeries, region: tuple[float, float] | None = None, height: float | None = None,
    width: float | None = None, memory: float = 0.1, seed: int = 0,
) -> Decoy:  # fmt: skip
    """Adds to every pattern a Gaussian peak that wanders within `region` and knows nothing of any target.

    Its place is a stationary random walk, uniform over the region; where data are counts it brings Poisson noise.
    Patterns must fit in memory.

    Args:
      region: (low, high) on the axis; by default where the patterns change least (`quiet`).
      height: in intensities; by default a third of the highest mean peak above the median.
      width: full width at half maximum; by default a hundredth of the axis.
      memory: patterns over which it forgets its place, as a share of a session.
    """
    axis, patterns = series.axis.values, np.asarray(series.intensity[np.arange(len(series))])
    low, high = region or quiet(axis, patterns)
    mean = patterns.mean(axis=0)
    height = height if height is not None else float(mean.max() - np.median(mean)) / 3
    width = width or float(axis[-1] - axis[0]) / 100
    rng = np.random.default_rng([seed, 0xDEC0])
    walk = np.empty(len(series))
    for session in np.unique(series.session):
        where = np.flatnonzero(series.session == session)
        walk[where] = _walk(rng, where.size, memory * where.size)
    centres = low + (high - low) * walk
    peak = height * np.exp2(-((2 * (axis[None, :] - centres[:, None]) / width) ** 2))
    added = patterns + (rng.poisson(peak) if series.is_counts else peak)
    kind = np.result_type(patterns.dtype, np.float32)
    if series.is_counts:
        kind = patterns.dtype if added.max() <= np.iinfo(np.uint16).max else np.dtype(np.int64)
    return Decoy(dataclasses.replace(series, intensity=added.astype(kind)), centres, width)


def _walk(rng: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """[count] places in 0…1: a Gaussian process of correlation exp(-|Δ| / memory), through its own distribution."""
    from scipy.special import ndtr

    keep = np.exp(-1.0 / max(memory, 1e-9))
    noise, place = rng.standard_normal(count), np.empty(count)
    place[0] = noise[0]
    for at in range(1, count):
        place[at] = keep * place[at - 1] + np.sqrt(1 - keep**2) * noise[at]
    return ndtr(place)


def quiet(axis: np.ndarray, patterns: np.ndarray, share: float = QUIET) -> tuple[float, float]:
    """The stretch of the axis, `share` of it long, where patterns [T, N] vary least in units of √intensity."""
    change = patterns.var(axis=0, dtype=np.float64) / np.maximum(np.abs(patterns.mean(axis=0, dtype=np.float64)), 1.0)
    size = max(2, round(share * axis.size))
    sums = np.convolve(change, np.ones(size), mode="valid")
    first = int(sums.argmin())
    return float(axis[first]), float(axis[first + size - 1])
