"""Measured channels to bins of equal width, as one matrix: counts are summed, other intensities averaged."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.series.axis import channel_edges, inside

Ranges = Sequence[tuple[float, float]]


def bin_matrix(
    axis: Float[np.ndarray, " N"], count: int, is_counts: bool = True, masked: Ranges = ()
) -> tuple[Float[np.ndarray, "N L"], Float[np.ndarray, " L"]]:
    """Return the linear map from channels to bins, and the middles of the bins.

    A channel reaches half-way to its neighbours, beside a masked range as far as to its other side, and is shared
    between bins by its overlap. Counts are summed, so that they remain counts and none is lost. Averages are weighted
    by the overlap, so that a flat spectrum stays flat on an uneven axis. A bin that no channel reaches, within a masked
    range, lies on the straight line between the nearest that are reached.
    """
    low, high = _limits(axis, masked)
    bins = np.linspace(low[0], high[-1], count + 1)
    overlap = np.clip(np.minimum(high[:, None], bins[None, 1:]) - np.maximum(low[:, None], bins[None, :-1]), 0.0, None)
    matrix, covered = overlap / (high - low)[:, None], overlap.sum(axis=0)
    if not is_counts:
        matrix = overlap / np.where(covered > 0, covered, 1.0)[None]
    centres = (bins[1:] + bins[:-1]) / 2
    is_empty = covered < 1e-9 * np.diff(bins)
    return _lines(matrix, centres, is_empty) if is_empty.any() else matrix, centres


def _limits(axis: np.ndarray, masked: Ranges) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return where channels begin and end."""
    edges = channel_edges(axis)
    low, high = edges[:-1].copy(), edges[1:].copy()
    for left in np.flatnonzero(spans_mask(axis, masked)):
        if left:
            high[left] = min(high[left], 2 * axis[left] - low[left])
        if left + 2 < axis.size:
            low[left + 1] = max(low[left + 1], 2 * axis[left + 1] - high[left + 1])
    return low, high


def spans_mask(axis: Float[np.ndarray, " N"], masked: Ranges) -> Bool[np.ndarray, " N-1"]:
    """Return whether masked channels were left out between a channel and the next."""
    gaps = np.zeros(axis.size - 1, bool)
    for low, high in masked:
        index = int(np.searchsorted(axis, low)) - 1
        if 0 <= index < gaps.size and not inside(axis, [(low, high)]).any():
            gaps[index] = True
    return gaps


def _lines(matrix: Float[np.ndarray, "N L"], centres: np.ndarray, is_empty: np.ndarray) -> Float[np.ndarray, "N L"]:
    """Return the matrix with straight lines across bins that no channel reaches."""
    known = np.flatnonzero(~is_empty)
    right = np.clip(np.searchsorted(known, np.flatnonzero(is_empty)), 1, known.size - 1)
    left, right = known[right - 1], known[right]
    share = (centres[is_empty] - centres[left]) / (centres[right] - centres[left])
    matrix[:, is_empty] = (1 - share) * matrix[:, left] + share * matrix[:, right]
    return matrix


def bridge_gaps(
    matrix: Float[np.ndarray, "N L"], axis: Float[np.ndarray, " N"], centres: Float[np.ndarray, " L"], masked: Ranges
) -> Float[np.ndarray, "N L"]:
    """Return a resampling whose channels within masked ranges lie on straight lines, not on a curve that may swing."""
    for left in np.flatnonzero(spans_mask(axis, masked)).tolist():
        is_within = (centres > axis[left]) & (centres < axis[left + 1])
        share = (centres[is_within] - axis[left]) / (axis[left + 1] - axis[left])
        matrix[:, is_within] = 0.0
        matrix[left, is_within], matrix[left + 1, is_within] = 1 - share, share
    return matrix
