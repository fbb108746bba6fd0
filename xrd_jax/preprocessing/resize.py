"""Measured channels to network channels by one matrix: cubic spline or bins."""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.series.axis import channel_edges


def resize_matrix(
    axis: Float[np.ndarray, " N"], config: PrepareConfig
) -> tuple[Float[np.ndarray, "N L"], Float[np.ndarray, " L"]]:
    """Return the linear map from measured to resized channels, and the positions of the resized ones.

    'spline' samples the not-a-knot cubic spline through all N channels at L evenly spaced positions, ends included;
    'bin' sums channels into L bins of equal width, sharing a channel between bins by its overlap; 'none' is the
    identity.

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
        return CubicSpline(axis, np.eye(axis.size))(centres).T, centres
    edges = channel_edges(axis)
    bins = np.linspace(edges[0], edges[-1], count + 1)
    overlap = np.minimum(edges[1:, None], bins[None, 1:]) - np.maximum(edges[:-1, None], bins[None, :-1])
    return np.clip(overlap, 0.0, None) / np.diff(edges)[:, None], (bins[1:] + bins[:-1]) / 2
