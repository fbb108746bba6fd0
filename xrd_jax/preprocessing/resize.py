"""Measured channels to network channels by one matrix: cubic spline or bins."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import binning


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
        return np.eye(axis.size), axis
    count = config.channels
    if not 2 <= count <= axis.size:
        raise UserError(f"prepare.channels={count}: must lie between 2 and the {axis.size} channels of the data")
    if config.resize == "spline":
        centres = np.linspace(axis[0], axis[-1], count)
        matrix = CubicSpline(axis, np.eye(axis.size))(centres).T
        return binning.bridge_gaps(matrix, axis, centres, masked), centres
    return binning.bin_matrix(axis, count, is_counts, masked)
