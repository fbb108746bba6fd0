"""Measured channels to network channels by one matrix: cubic spline or bins."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError


def resize_matrix(axis: np.ndarray, config: PrepareConfig) -> tuple[np.ndarray, np.ndarray]:
    """The linear map [N, L] from measured to resized channels, and their L positions.

    'spline' samples the not-a-knot cubic spline through all N channels at L evenly spaced positions, ends included;
    'bin' sums channels into L bins of equal width, sharing a channel between bins by its overlap; 'none' is the
    identity.
    """
    count = axis.size if config.resize == "none" else config.channels
    if config.resize == "none":
        return np.eye(count), axis
    if not 2 <= count <= axis.size:
        raise UserError(f"prepare.channels={count}: must lie between 2 and the {axis.size} channels of the data")
    if config.resize == "spline":
        centres = np.linspace(axis[0], axis[-1], count)
        return CubicSpline(axis, np.eye(axis.size))(centres).T, centres
    inner = (axis[1:] + axis[:-1]) / 2
    edges = np.concatenate([[2 * axis[0] - inner[0]], inner, [2 * axis[-1] - inner[-1]]])
    bins = np.linspace(edges[0], edges[-1], count + 1)
    overlap = np.minimum(edges[1:, None], bins[None, 1:]) - np.maximum(edges[:-1, None], bins[None, :-1])
    return np.clip(overlap, 0.0, None) / np.diff(edges)[:, None], (bins[1:] + bins[:-1]) / 2
