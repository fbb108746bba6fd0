"""Measured channels to network channels by one matrix: cubic spline or bins."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import binning

MAX_UNRESIZED = 10_000  # channels; their square, of 8 bytes, is held in memory
SPLINE_BLOCK = 1 << 21  # elements of a block of columns, some ten of which are in memory together


def resize_matrix(
    axis: Float[np.ndarray, " N"], config: PrepareConfig, is_counts: bool = True, masked: binning.Ranges = ()
) -> tuple[Float[np.ndarray, "N L"], Float[np.ndarray, " L"]]:
    """Return the linear map from measured to resized channels, and the positions of the resized ones.

    'spline' samples the not-a-knot cubic spline through all N channels at L evenly spaced positions, ends included;
    'bin' sums counts, or averages other intensities, in L bins of equal width; 'none' is the identity. Across masked
    ranges that hold no channel both draw straight lines.

    Args:
      is_counts: intensities are counts.
      masked: ranges of the axis that may have been left out.

    Raises:
      UserError: fewer than two channels, or more than there are.
    """
    if config.resize == "none":
        if axis.size > MAX_UNRESIZED:
            raise UserError(
                f"prepare.resize=none: {axis.size} channels are more than the network's {MAX_UNRESIZED}; use bin or "
                "spline with prepare.channels"
            )
        return np.eye(axis.size), axis
    count = config.channels
    if not 2 <= count <= axis.size:
        raise UserError(f"prepare.channels={count}: must lie between 2 and the {axis.size} channels of the data")
    if config.resize == "spline":
        centres = np.linspace(axis[0], axis[-1], count)
        matrix = spline_matrix(axis, centres)
        return binning.bridge_gaps(matrix, axis, centres, masked), centres
    return binning.bin_matrix(axis, count, is_counts, masked)


def spline_matrix(axis: Float[np.ndarray, " N"], centres: Float[np.ndarray, " L"]) -> Float[np.ndarray, "N L"]:
    """Return what samples the not-a-knot cubic spline through N values at `centres`, in memory that grows as N L.

    The spline is hermite(y, s) with slopes s that solve A s = B y, A tridiagonal. A sample is h y + g s, so that its
    weights are h + Bᵀ A⁻ᵀ g: the transposed system is solved for every sample, not A for every channel.
    """
    if axis.size < 4:
        return CubicSpline(axis, np.eye(axis.size))(centres).T
    size = max(1, SPLINE_BLOCK // axis.size)
    matrix = np.empty((axis.size, centres.size))
    for begin in range(0, centres.size, size):
        matrix[:, begin : begin + size] = _spline_columns(axis, centres[begin : begin + size])
    return matrix


def _spline_columns(axis: Float[np.ndarray, " N"], centres: Float[np.ndarray, " L"]) -> Float[np.ndarray, "N L"]:
    steps, columns = np.diff(axis), np.arange(centres.size)
    left = np.clip(np.searchsorted(axis, centres, side="right") - 1, 0, axis.size - 2)
    step = steps[left]
    t = (centres - axis[left]) / step
    values, slopes = np.zeros((2, axis.size, centres.size))
    values[left, columns], values[left + 1, columns] = (1 + 2 * t) * (1 - t) ** 2, t**2 * (3 - 2 * t)
    slopes[left, columns], slopes[left + 1, columns] = t * (1 - t) ** 2 * step, t**2 * (t - 1) * step
    # Rows of A: steps[i] s[i-1] + 2 (steps[i-1] + steps[i]) s[i] + steps[i-1] s[i+1]; the ends are not-a-knot.
    first, last = axis[2] - axis[0], axis[-1] - axis[-3]
    bands = np.zeros((3, axis.size))  # of the transpose: above the diagonal stands what is below it in A
    bands[0, 1:] = np.append(steps[1:], last)
    bands[1] = np.concatenate([steps[1:2], 2 * (steps[:-1] + steps[1:]), steps[-2:-1]])
    bands[2, :-1] = np.append(first, steps[:-1])
    x = solve_banded((1, 1), bands, slopes)
    # B y is made of the slopes of chords: of both neighbours inside, of the two at either end.
    chords = np.zeros((axis.size - 1, centres.size))
    chords[:-1] += 3 * steps[1:, None] * x[1:-1]
    chords[1:] += 3 * steps[:-1, None] * x[1:-1]
    chords[0] += (steps[0] + 2 * first) * steps[1] / first * x[0]
    chords[1] += steps[0] ** 2 / first * x[0]
    chords[-1] += (steps[-1] + 2 * last) * steps[-2] / last * x[-1]
    chords[-2] += steps[-1] ** 2 / last * x[-1]
    chords /= steps[:, None]
    values[1:] += chords
    values[:-1] -= chords
    return values
