"""The local mean of training patterns: a Gaussian average over their neighbours in time."""

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.series.record import PatternSeries

BLOCK_PATTERNS = 256  # patterns averaged at once, which bounds the matrix of weights
MIN_WEIGHT = 1e-8  # neighbours that weigh less in every average are not read


def smooth(
    series: PatternSeries, train: Int[np.ndarray, " n"], frames: float, rows: Int[np.ndarray, " m"] | None = None
) -> Float[np.ndarray, "m N"]:
    """Return the Gaussian average of training patterns with their training neighbours in time.

    Only patterns of the same session, cycle and class targets are averaged, weighted by exp(−Δ²/2σ²) with Δ the
    distance in patterns of `series`; no held-out pattern enters.

    Args:
      frames: σ, in patterns; 0 leaves every pattern as it is.
      rows: positions in `train` of the patterns whose averages are wanted; all of them, in order, by default.

    Returns:
      Expected intensities of those patterns, float32.
    """
    labels = [series.session[train], series.cycle[train]]
    labels += [t.values[train] for t in series.targets.values() if t.kind == "classification"]
    _, group = np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)
    rows = np.arange(train.size) if rows is None else rows
    expected = np.empty((rows.size, series.intensity.shape[1]), np.float32)
    for number in np.unique(group[rows]):
        members, wanted = np.flatnonzero(group == number), np.flatnonzero(group[rows] == number)
        for block in np.array_split(wanted, max(1, wanted.size // BLOCK_PATTERNS)):
            distance = train[rows[block]][:, None] - train[members][None, :]
            weight = np.exp(-0.5 * (distance / max(frames, 1e-6)) ** 2)
            weight /= weight.sum(axis=1, keepdims=True)
            neighbours = np.flatnonzero(weight.max(axis=0) > MIN_WEIGHT)
            patterns = series.intensity[train[members[neighbours]]].astype(np.float32)
            expected[block] = weight[:, neighbours].astype(np.float32) @ patterns
    return expected
