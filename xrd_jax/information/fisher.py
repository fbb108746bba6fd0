"""The information of every channel of a simulated cell about voltage, mode and rate, known exactly.

    J = |r|²,  r = (1 - Z (Zᵀ Z)⁻¹ Zᵀ) y'

is the Fisher information about the voltage when mode and rate are known, and r_l² the part of channel l. y' is the
derivative of the expected channels y by the voltage along the cell's path, Z those by flux, zero shift, background and
decoy, all whitened by the symmetric C^-1/2 of the photons' covariance C. For a class, y' is y(s) - y with the nearest
state s of another class, and J a divergence. The mean absolute error of an unbiased Gaussian estimate cannot fall below
√(2/π) J^-1/2 [1].

Reference:
  [1] S. M. Kay, Fundamentals of Statistical Signal Processing: Estimation Theory, Prentice Hall (1993), chapter 3.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.information import whitening
from xrd_jax.information.mutual_information import mutual_information, voltage_levels
from xrd_jax.information.nearest_states import nearest_of_other_class
from xrd_jax.information.state_path import cell_state_path, is_in_window, over_frames, take_frames
from xrd_jax.information.whitening import Noise, profiled, whitened
from xrd_jax.physics import profile
from xrd_jax.physics.forward_model import FrameState, expected_counts, nuisance_derivatives, voltage_derivative
from xrd_jax.physics.profile import Dictionaries
from xrd_jax.physics.windows import channel_angles
from xrd_jax.preprocessing.resize import resize_matrix

TINY = np.finfo(float).tiny  # in place of a divisor of 0


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelInformation:
    """What is known about every frame (T, in time order) and resized channel (L) of a simulated cell.

    Frames outside the window of the preparation have rows of zeros. A target that has only one class has no entry.
    """

    centres: np.ndarray  # [L] positions in degrees
    is_analysed: np.ndarray  # [T] whether a frame lies in the window
    shares: dict[str, np.ndarray]  # target -> [T, L] float32, part of the frame's information; a row sums to 1 or is 0
    total: dict[str, np.ndarray]  # target -> [T] J: in 1/V² for 'voltage', in variances of the noise for classes
    bound: np.ndarray  # [T] V, the least mean absolute error of the voltage; NaN outside the window
    bits: dict[str, np.ndarray]  # target -> [L] mutual information of one channel and the target (voltage in levels)
    expected: np.ndarray  # [T, L] float32, expected channels without drifts of flux and zero shift


def mean_shares(information: ChannelInformation, target: str) -> Float[np.ndarray, " L"]:
    """Return the share of each channel, mean over the frames that carry information; sums to 1."""
    rows = information.shares[target][information.total[target] > 0]
    return rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(information.centres.size)


def carrier_channels(information: ChannelInformation, target: str, share: float = 0.9) -> Bool[np.ndarray, " L"]:
    """Return the smallest set of channels whose `mean_shares` sum to at least `share`."""
    shares = mean_shares(information, target)
    order = np.argsort(-shares, kind="stable")
    count = int(np.searchsorted(np.cumsum(shares[order]), share * shares.sum() * (1 - 1e-9))) + 1
    return np.isin(np.arange(shares.size), order[:count])


def window_shares(
    information: ChannelInformation, target: str, windows: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Return window -> its part of `mean_shares`."""
    shares, centres = mean_shares(information, target), information.centres
    return {name: float(shares[(centres >= low) & (centres <= high)].sum()) for name, (low, high) in windows.items()}


@functools.lru_cache(maxsize=4)
def channel_information(cell: Cell, prepare: PrepareConfig) -> ChannelInformation:
    """Return what every channel of every frame of `simulate(cell)` can tell, computed once per cell and preparation.

    Of `prepare` only the window and the resizing count: scaling loses nothing but the flux, which is unknown anyway.

    Raises:
      UserError: an empty window, or channels that overlap too far.
    """
    path = cell_state_path(cell)
    frames = np.flatnonzero(is_in_window(path, prepare))
    matrix, centres = resize_matrix(channel_angles(cell), prepare)
    noise, dictionaries = whitening.prepare(matrix), profile.dictionaries(cell)
    states, direction = take_frames(path.states, frames), take_frames(path.direction, frames)
    labels = {"mode": path.mode[frames], "rate": path.rate[frames]}
    labels = {name: values for name, values in labels.items() if np.ptp(values)}

    def over(function: Callable[..., Any], *arguments: Any) -> Any:
        return over_frames(functools.partial(function, dictionaries, noise), *arguments)

    changes, (expected, variance) = [over(_tangents, states, direction)], over(_moments, states)
    if labels:
        steady = over(_moments, states._replace(decoy=None))[0] if cell.decoy else expected
        nearest = nearest_of_other_class(cell, dictionaries, states, np.stack(list(labels.values()), axis=1))
        changes += [steady[indices] - steady for indices in nearest.T]
    squares = over(_squares, states, np.stack(changes, axis=1))
    labels = {"voltage": voltage_levels(path.voltage[frames])} | labels
    bits = {name: mutual_information(expected, variance, values) for name, values in labels.items()}
    return _on_series(centres, path.path_index, frames, squares, expected, bits)


@jax.jit
def _tangents(
    dictionaries: Dictionaries, noise: Noise, states: FrameState, direction: FrameState
) -> Float[Array, "B L"]:
    """Derivatives of the resized channels by the voltage."""
    return jax.vmap(lambda *frame: voltage_derivative(dictionaries, *frame) @ noise.matrix)(states, direction)


@jax.jit
def _moments(
    dictionaries: Dictionaries, noise: Noise, states: FrameState
) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
    """Expected channels and the variance of their noise."""
    counts = jax.vmap(lambda state: expected_counts(dictionaries, state))(states)
    return counts @ noise.matrix, counts @ noise.bands[0]


@jax.jit
def _squares(
    dictionaries: Dictionaries, noise: Noise, states: FrameState, changes: Float[Array, "B W L"]
) -> Float[Array, "B W L"]:
    """r_l² of several changes of each frame."""

    def frame_squares(state: FrameState, changes: Array) -> Array:
        counts = expected_counts(dictionaries, state)
        nuisances = nuisance_derivatives(dictionaries, state) @ noise.matrix
        white = whitened(noise, counts, jnp.concatenate([changes, nuisances]))
        count = len(changes)
        return jax.vmap(lambda change: profiled(change, white[count:]))(white[:count]) ** 2

    return jax.vmap(frame_squares)(states, changes)


def _on_series(
    centres: np.ndarray, path_index: np.ndarray, frames: np.ndarray, squares: Float[np.ndarray, "U W L"],
    expected: np.ndarray, bits: dict[str, np.ndarray],
) -> ChannelInformation:  # fmt: skip
    """Results of some `frames` of the path, on all frames of the series."""

    def fill(values: np.ndarray, empty: float = 0.0) -> np.ndarray:
        on_path = np.full((int(path_index.max()) + 1, *values.shape[1:]), empty, values.dtype)
        on_path[frames] = values
        return on_path[path_index]

    totals = squares.sum(axis=2, dtype=np.float64)
    shares, total = {}, {}
    for index, target in enumerate(bits):
        divisor = np.maximum(totals[:, index], TINY)[:, None].astype(np.float32)
        shares[target] = fill(squares[:, index] / divisor)
        total[target] = fill(totals[:, index])
    bound = np.sqrt(2.0 / np.pi / np.maximum(totals[:, 0], TINY))
    is_analysed = fill(np.ones(frames.size, bool))
    return ChannelInformation(centres, is_analysed, shares, total, fill(bound, np.nan), bits, fill(expected))
