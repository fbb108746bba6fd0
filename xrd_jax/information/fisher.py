"""What every channel can tell: the information of a simulated cell about voltage, mode and rate, known exactly.

A frame has the expected channels y and their noise covariance C (photons, carried through the resizing). With the
derivative by the voltage along the cell's own path, y', and those by flux, zero shift, background and the place of a
decoy, Z, all whitened by the symmetric C^-1/2,

    J = |r|²,  r = (1 - Z (Zᵀ Z)⁻¹ Zᵀ) y',

is the Fisher information about the voltage when mode and rate are known and nothing else is, and r_l² is what channel
l brings to it. For a class, y' is replaced by the way to the nearest state that is of another class, y(s) - y: r_l² is
then the channel's part of the divergence that keeps the two apart. A mean absolute error of an unbiased Gaussian
estimate cannot fall below √(2/π) J^-1/2 [1].

Whitening by the symmetric root keeps every channel what it is, and changes next to nothing: bins that share a channel,
or samples of a spline, are correlated by a few percent.

Reference:
  [1] S. M. Kay, Fundamentals of Statistical Signal Processing: Estimation Theory, Prentice Hall (1993), chapter 3.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.information import state_path, whitening
from xrd_jax.information.whitening import Noise, profiled, whitened
from xrd_jax.physics import profile, simulate
from xrd_jax.physics.profile import Dictionaries
from xrd_jax.physics.simulate import FrameState
from xrd_jax.preprocessing.resize import resize_matrix

CHUNK = 250
SEARCHED = 256  # bins on which it is settled which state of another class is nearest
LEVELS = 24  # voltages that mutual information tells apart
FINENESS = 0.5  # bins of mutual information, in standard deviations of the noise


@dataclasses.dataclass(frozen=True, eq=False)
class Information:
    """What is known about every frame (T, in time order) and resized channel (L) of a simulated cell.

    Frames outside the window of the preparation have rows of zeros. A target that has only one class has no entry.

    Attributes:
      centres: [L] positions in degrees.
      used: [T] whether a frame lies in the window.
      per_frame: target -> [T, L], float32: each channel's share of the frame's information; a row sums to 1 or is 0.
      total: target -> [T]: Fisher information about 'voltage' in 1/V²; divergence, in variances of the noise, to the
        nearest state of another class.
      bound: [T] V, the least mean absolute error of the voltage, √(2/π) J^-1/2; NaN outside the window.
      mutual: target -> [L] bits that one channel alone tells of the target (of the voltage: of `LEVELS` equally
        frequent levels).
      mean: [T, L], float32: expected channels, without drifts of flux and zero.
    """

    centres: np.ndarray
    used: np.ndarray
    per_frame: dict[str, np.ndarray]
    total: dict[str, np.ndarray]
    bound: np.ndarray
    mutual: dict[str, np.ndarray]
    mean: np.ndarray


def curve(information: Information, target: str) -> Float[np.ndarray, " L"]:
    """Share of each channel, mean over the frames that carry information; sums to 1."""
    rows = information.per_frame[target][information.total[target] > 0]
    return rows.mean(axis=0, dtype=np.float64) if len(rows) else np.zeros(information.centres.size)


def carriers(information: Information, target: str, share: float = 0.9) -> np.ndarray:
    """The smallest set of channels, bool [L], whose shares of `curve` sum to at least `share`."""
    values = curve(information, target)
    order = np.argsort(-values, kind="stable")
    count = int(np.searchsorted(np.cumsum(values[order]), share * values.sum() * (1 - 1e-9))) + 1
    chosen = np.zeros(values.size, bool)
    chosen[order[:count]] = True
    return chosen


def shares(information: Information, target: str, windows: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Window -> its part of `curve`."""
    values, centres = curve(information, target), information.centres
    return {name: float(values[(centres >= low) & (centres <= high)].sum()) for name, (low, high) in windows.items()}


def nuisances(dictionaries: Dictionaries, state: FrameState) -> Float[Array, "K N"]:
    """Derivatives of the expected counts of one frame by flux, shift, background and, if there is one, the decoy."""
    names = ["flux", "shift", "background"] + ["decoy"] * (state.decoy is not None)

    def along(name: str) -> Array:
        value = getattr(state, name)
        moved = lambda v: simulate.expected_counts(dictionaries, state._replace(**{name: v}))  # noqa: E731
        return jax.jvp(moved, (value,), (jnp.ones_like(value),))[1]

    return jnp.stack([along(name) for name in names])


def by_voltage(dictionaries: Dictionaries, state: FrameState, direction: FrameState) -> Float[Array, " N"]:
    """Derivative of the expected counts of one frame along `direction`, per volt."""
    return jax.jvp(lambda s: simulate.expected_counts(dictionaries, s), (state,), (direction,))[1]


@jax.jit
def _squares(
    dictionaries: Dictionaries, noise: Noise, states: FrameState, ways: Float[Array, "B W L"]
) -> Float[Array, "B W L"]:
    """r_l² of several ways of changing each frame."""

    def one(state: FrameState, way: Array) -> Array:
        counts = simulate.expected_counts(dictionaries, state)
        free = nuisances(dictionaries, state) @ noise.matrix
        white = whitened(noise, counts, jnp.concatenate([way, free]))
        return jax.vmap(lambda vector: profiled(vector, white[len(way) :]))(white[: len(way)]) ** 2

    return jax.vmap(one)(states, ways)


@jax.jit
def _tangents(
    dictionaries: Dictionaries, noise: Noise, states: FrameState, direction: FrameState
) -> Float[Array, "B L"]:
    """Derivatives of the resized channels by the voltage."""
    return jax.vmap(lambda *frame: by_voltage(dictionaries, *frame) @ noise.matrix)(states, direction)


@jax.jit
def _moments(
    dictionaries: Dictionaries, noise: Noise, states: FrameState
) -> tuple[Float[Array, "B L"], Float[Array, "B L"]]:
    """Expected channels and the variance of their noise."""
    counts = jax.vmap(lambda state: simulate.expected_counts(dictionaries, state))(states)
    return counts @ noise.matrix, counts @ noise.bands[0]


@jax.jit
def _coordinates(
    dictionaries: Dictionaries, noise: Noise, states: FrameState
) -> tuple[Float[Array, "B L"], Float[Array, "B K L"]]:
    """Channels in which the noise is 1 (2 √counts, without the decoy), and an orthonormal basis of the nuisances."""

    def one(state: FrameState) -> tuple[Array, Array]:
        plain = state._replace(decoy=None)
        counts = simulate.expected_counts(dictionaries, plain)
        channels, variance = counts @ noise.matrix, counts @ noise.bands[0]
        free = nuisances(dictionaries, plain) @ noise.matrix / jnp.sqrt(variance)[None, :]
        return 2.0 * channels / jnp.sqrt(variance), jnp.linalg.qr(free.T)[0].T

    return jax.vmap(one)(states)


@jax.jit
def _nearest(
    here: Float[Array, "B L"], bases: Float[Array, "B K L"], own: Int[Array, "B C"], all_: Float[Array, "U L"],
    labels: Int[Array, "U C"],
) -> Int[Array, "B C"]:  # fmt: skip
    """For each labelling C the place of the state of another class that is nearest but for nuisances."""
    distance = (here**2).sum(axis=1)[:, None] + (all_**2).sum(axis=1)[None, :] - 2.0 * here @ all_.T
    along = jnp.einsum("bkl,ul->kbu", bases, all_) - jnp.einsum("bkl,bl->kb", bases, here)[:, :, None]
    distance -= (along**2).sum(axis=0)
    other = own.T[:, :, None] != labels.T[:, None, :]
    return jnp.argmin(jnp.where(other, distance[None, :, :], jnp.inf), axis=2).T


def _over_frames(function: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> Any:
    """`function` of chunk after chunk of the leading axis of `arguments`: its results in numpy, joined."""
    size = min(CHUNK, count)
    # Chunks have one size, so that one program does them all; the last begins earlier and does some frames again.
    begins = [*range(0, count - size, size), count - size]
    parts = []
    for number, begin in enumerate(begins):
        own = slice(begin, begin + size)
        part = function(*jax.tree.map(operator.itemgetter(own), arguments))
        kept = slice(max(0, number * size - begin), None)
        parts.append(jax.tree.map(lambda leaf, kept=kept: np.asarray(leaf)[kept], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def nearest_others(
    cell: Cell, dictionaries: Dictionaries, states: FrameState, labels: Int[np.ndarray, "U C"]
) -> Int[np.ndarray, "U C"]:
    """For each frame of `states` the one of another class that is hardest to tell from it, for each column of labels.

    Which one that is does not depend on fine detail, and is settled on `SEARCHED` bins.
    """
    axis = cell.start_deg + cell.step_deg * np.arange(cell.channels)
    matrix, _ = resize_matrix(axis, PrepareConfig(resize="bin", channels=max(2, min(SEARCHED, cell.channels // 2))))
    count = len(states.flux)
    found = _over_frames(functools.partial(_coordinates, dictionaries, whitening.prepare(matrix)), (states,), count)
    coordinates, bases = found
    coordinates -= coordinates.mean(axis=0)  # small numbers, so that their differences keep their digits
    everyone = jnp.asarray(coordinates), jnp.asarray(labels, jnp.int32)
    return _over_frames(lambda *own: _nearest(*own, *everyone), (coordinates, bases, labels), count)


def mutual(
    channels: Float[np.ndarray, "U L"], variance: Float[np.ndarray, "U L"], labels: Int[np.ndarray, " U"]
) -> Float[np.ndarray, " L"]:
    """Information in bits of each channel alone about a label, all frames equally likely.

    I = H(label) + H(channel) - H(label, channel), with the channel as 2 √counts, whose noise is Gaussian of variance 1.
    """
    place = np.rint(2.0 * channels / np.sqrt(variance) / FINENESS).astype(np.int64)
    margin = math.ceil(5.0 / FINENESS)
    place += margin - place.min(axis=0)
    size, classes = int(place.max()) + margin + 1, int(labels.max()) + 1
    out = np.empty(channels.shape[1])
    for channel in range(out.size):
        joint = np.bincount(labels * size + place[:, channel], minlength=classes * size).reshape(classes, size)
        joint = gaussian_filter1d(joint / len(labels), 1.0 / FINENESS, axis=1, mode="constant")
        joint /= joint.sum()
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        some = joint > 0
        out[channel] = (joint[some] * np.log2(joint[some] / independent[some])).sum()
    return np.maximum(out, 0.0)


@functools.lru_cache(maxsize=4)
def information(cell: Cell, prepare: PrepareConfig) -> Information:
    """What every channel of every frame of `simulate(cell)` can tell, after the resizing of `prepare`.

    Of `prepare` only the window and the resizing count: scaling is without loss but for the flux, which is unknown
    anyway. Computed once per cell and preparation.

    Raises:
      UserError: an empty window, or channels that overlap too far.
    """
    whole = state_path.state_path(cell)
    used = np.flatnonzero(state_path.in_window(whole, prepare))
    axis = cell.start_deg + cell.step_deg * np.arange(cell.channels)
    matrix, centres = resize_matrix(axis, prepare)
    resizing, dictionaries, count = whitening.prepare(matrix), profile.dictionaries(cell), used.size
    states, direction = (jax.tree.map(lambda leaf: leaf[used], part) for part in (whole.states, whole.direction))
    classes = {"mode": whole.mode[used], "rate": whole.rate[used]}
    classes = {name: labels for name, labels in classes.items() if np.unique(labels).size > 1}

    def over(function: Callable[..., Any], *arguments: Any) -> Any:
        return _over_frames(functools.partial(function, dictionaries, resizing), arguments, count)

    ways, (mean, variance) = [over(_tangents, states, direction)], over(_moments, states)
    if classes:
        bare = over(_moments, states._replace(decoy=None))[0] if cell.decoy else mean
        others = nearest_others(cell, dictionaries, states, np.stack(list(classes.values()), axis=1))
        ways += [bare[places] - bare for places in others.T]
    squares = over(_squares, states, np.stack(ways, axis=1))
    voltage = whole.voltage[used]
    levels = np.digitize(voltage, np.quantile(voltage, np.arange(1, LEVELS) / LEVELS))
    alone = {name: mutual(mean, variance, labels) for name, labels in ({"voltage": levels} | classes).items()}
    return _gathered(centres, whole.tiles, used, squares, mean, alone)


def _gathered(
    centres: np.ndarray, tiles: np.ndarray, used: np.ndarray, squares: Float[np.ndarray, "U W L"], mean: np.ndarray,
    mutual: dict[str, np.ndarray],
) -> Information:  # fmt: skip
    """Results of the `used` frames of the passage, put in the places of all frames of the series."""
    frames = int(tiles.max()) + 1

    def spread(values: np.ndarray, empty: float = 0.0) -> np.ndarray:
        out = np.full((frames, *values.shape[1:]), empty, values.dtype)
        out[used] = values
        return out[tiles]

    per_frame, total = {}, {}
    for place, name in enumerate(mutual):
        own = squares[:, place]
        amount = own.sum(axis=1, dtype=np.float64)
        per_frame[name] = spread(own / np.maximum(amount, np.finfo(float).tiny)[:, None].astype(np.float32))
        total[name] = spread(amount)
    fisher = squares[:, 0].sum(axis=1, dtype=np.float64)
    bound = np.sqrt(2.0 / np.pi / np.maximum(fisher, np.finfo(float).tiny))
    return Information(
        centres, spread(np.ones(used.size, bool)), per_frame, total, spread(bound, np.nan), mutual, spread(mean)
    )
