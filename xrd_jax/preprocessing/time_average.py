"""Expected training patterns: an average over neighbours in time and, for counts, over what patterns have in common.

A Gaussian average of raw patterns leaves photon noise in every channel. With a rank the patterns are first written as
scores on their leading principal components, of 2 √(counts + 3/8), whose noise has variance 1 in every channel whatever
the counts; the scores then follow a local quadratic in time, and what is left of the noise is that of a few scores.

Source of the transform: F. J. Anscombe, Biometrika 35, 246 (1948).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries

BLOCK_PATTERNS = 256  # patterns averaged at once, which bounds the matrix of weights
MIN_WEIGHT = 1e-8  # neighbours that weigh less in every average are not read
MAX_BASIS_PATTERNS = 4096  # evenly spaced, of which the principal components are learnt where there are more
RIDGE = 1e-6  # of the local quadratic, where a group has too few patterns for one


def smooth(
    series: PatternSeries, train: Int[np.ndarray, " n"], frames: float, rows: Int[np.ndarray, " m"] | None = None,
    rank: int = 0,
) -> Float[np.ndarray, "m N"]:  # fmt: skip
    """Return the average of training patterns with their training neighbours in time.

    Only patterns of the same session, cycle and class targets are averaged, weighted by exp(−Δ²/2σ²) with Δ the
    distance in patterns of `series`; no held-out pattern enters.

    Args:
      frames: σ, in patterns; 0 leaves every pattern as it is.
      rows: positions in `train` of the patterns whose averages are wanted; all of them, in order, by default.
      rank: principal components that are kept, of counts; their scores follow a local quadratic. 0: all channels, and
        a plain average.

    Returns:
      Expected intensities of those patterns, float32.
    """
    rows = np.arange(train.size) if rows is None else rows
    components = Components.fit(series, train, rank) if rank else None
    scores = None if components is None else components.scores(series, train)
    expected = np.empty((rows.size, series.intensity.shape[1]), np.float32)
    for members, wanted in _groups(series, train, rows):
        for block in np.array_split(wanted, max(1, wanted.size // BLOCK_PATTERNS)):
            distance = (train[rows[block]][:, None] - train[members][None, :]) / max(frames, 1e-6)
            weight = _quadratic_weights(distance) if rank else _mean_weights(distance)
            neighbours = np.flatnonzero(np.abs(weight).max(axis=0) > MIN_WEIGHT)
            weight, chosen = weight[:, neighbours].astype(np.float32), members[neighbours]
            if components is None or scores is None:
                expected[block] = weight @ series.intensity[train[chosen]].astype(np.float32)
            else:
                expected[block] = components.intensities(weight @ scores[chosen])
    return expected


def _groups(
    series: PatternSeries, train: Int[np.ndarray, " n"], rows: Int[np.ndarray, " m"]
) -> list[tuple[Int[np.ndarray, " members"], Int[np.ndarray, " wanted"]]]:
    """Return, for every session, cycle and class, its positions in `train` and those in `rows`."""
    labels = [series.session[train], series.cycle[train]]
    labels += [t.values[train] for t in series.targets.values() if t.kind == "classification"]
    _, group = np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)
    return [(np.flatnonzero(group == g), np.flatnonzero(group[rows] == g)) for g in np.unique(group[rows])]


def _mean_weights(distance: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    weight = np.exp(-0.5 * distance**2)
    return weight / weight.sum(axis=1, keepdims=True)


def _quadratic_weights(distance: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Return what gives the value, at distance 0, of the quadratic through the neighbours with Gaussian weights."""
    weight = np.exp(-0.5 * distance**2)
    powers = np.stack([np.ones_like(distance), distance, distance**2])
    moments = np.einsum("mn,imn,jmn->mij", weight, powers, powers, optimize=True) + RIDGE * np.eye(3)
    value = np.linalg.solve(moments, np.broadcast_to(np.eye(3)[:, :1], (len(distance), 3, 1)))[:, :, 0]
    return weight * np.einsum("mi,imn->mn", value, powers)


class Components(NamedTuple):
    """The leading principal components [N, K] of training patterns as 2 √(counts + 3/8), about their mean [N]."""

    mean: np.ndarray
    basis: np.ndarray

    @classmethod
    def fit(cls, series: PatternSeries, train: Int[np.ndarray, " n"], rank: int) -> "Components":
        """Learn `rank` components, or as many as there are."""
        chosen = train[np.linspace(0, train.size - 1, min(train.size, MAX_BASIS_PATTERNS)).astype(int)]
        roots = _roots(series.intensity[chosen])
        mean = roots.mean(axis=0)
        roots -= mean
        rank = min(rank, *roots.shape)
        if roots.shape[0] < roots.shape[1]:
            vectors = roots.T @ np.linalg.eigh(roots @ roots.T)[1][:, ::-1][:, :rank]
            basis = np.linalg.qr(vectors)[0]
        else:
            basis = np.linalg.eigh(roots.T @ roots)[1][:, ::-1][:, :rank]
        return cls(mean.astype(np.float32), basis.astype(np.float32))

    def scores(self, series: PatternSeries, train: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n K"]:
        blocks = lazy.read_blocks(series.intensity, rows=train)
        return np.concatenate([(_roots(rows).astype(np.float32) - self.mean) @ self.basis for _, rows in blocks])

    def intensities(self, scores: Float[np.ndarray, "m K"]) -> Float[np.ndarray, "m N"]:
        """Return expected counts; the inverse of the transform that is unbiased for many counts."""
        return np.maximum((self.mean + scores @ self.basis.T) ** 2 / 4.0 - np.float32(0.125), 0.0)


def _roots(counts: np.ndarray) -> Float[np.ndarray, "n N"]:
    return 2.0 * np.sqrt(np.maximum(counts, 0).astype(np.float64) + 0.375)
