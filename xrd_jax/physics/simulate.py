"""A simulated operando experiment: expected counts of a state (JAX, differentiable) and a measured series.

    μ = W_n G_branch + W_p P + W_d D + S + b B,   λ(2θ) = flux · μ(2θ - shift),   counts ~ Poisson(λ)

W are the stoichiometry quantiles splatted on the grid of the dictionaries G (graphite), P (NMC); S static reflections;
B background; D a decoy, where the cell has one, at place W_d. μ is linear in W, so a series is one matrix product.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import Array
from jaxtyping import Float

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import profile, trajectories
from xrd_jax.physics import windows as physics_windows
from xrd_jax.physics.profile import GRID, MARGIN, Dictionaries
from xrd_jax.series import hdf5, lazy
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

MODES = ("charge 1st half", "charge 2nd half", "discharge 1st half", "discharge 2nd half")
CHUNK = 500
# Frames per block of a stream: two chunks, because a loop over one alone is unrolled by XLA and rounds differently.
BLOCK = 2 * CHUNK
SHIFT_CHANNELS = MARGIN - 2  # cubic interpolation reads two channels beyond


class FrameState(NamedTuple):
    """State of the cell and the instrument during one frame (or [T] of them, with a leading axis).

    Attributes:
      negative, positive: [Q] equally weighted stoichiometries in 0…1 of the two electrodes.
      discharge: 0 on charge, 1 on discharge; between them the branches mix.
      flux: relative flux, 1 at the reference.
      shift: zero error of 2θ in degrees; at most `SHIFT_CHANNELS` channels.
      background: factor on the diffuse background.
      decoy: place 0…1 of the decoy in its range; None: the cell has none.
    """

    negative: Float[Array, "*T Q"]
    positive: Float[Array, "*T Q"]
    discharge: Float[Array, "*T"]
    flux: Float[Array, "*T"]
    shift: Float[Array, "*T"]
    background: Float[Array, "*T"]
    decoy: Float[Array, "*T"] | None = None


def splat(stoichiometry: Float[Array, " Q"]) -> Float[Array, " G"]:
    """Weights [401] on the stoichiometry grid: each quantile is shared linearly between its two neighbours.

    At a grid point the derivative is that of the interval above it.
    """
    place = jnp.clip(stoichiometry, 0.0, 1.0) * (GRID - 1)
    below = jnp.clip(jnp.floor(place), 0, GRID - 2)
    above = (place - below)[:, None]
    offset = jnp.arange(GRID)[None, :] - below[:, None]
    return jnp.where(offset == 0, 1.0 - above, jnp.where(offset == 1, above, 0.0)).mean(axis=0)


def shifted(pattern: Float[Array, " M"], shift: Float[Array, ""], step: Float[Array, ""]) -> Float[Array, " N"]:
    """Samples pattern(2θ - shift) on the axis without margins, by cubic (Catmull-Rom) interpolation."""
    start = MARGIN - shift / step
    base = jnp.clip(jnp.floor(start), 1, 2 * MARGIN - 2)
    u = start - base
    first = base.astype(jnp.int32) - 1
    length = pattern.shape[0] - 2 * MARGIN
    weights = (
        0.5 * (-u + 2 * u**2 - u**3),
        0.5 * (2 - 5 * u**2 + 3 * u**3),
        0.5 * (u + 4 * u**2 - 3 * u**3),
        0.5 * (-(u**2) + u**3),
    )
    taps = [jax.lax.dynamic_slice(pattern, (first + tap,), (length,)) for tap in range(4)]
    return jnp.sum(jnp.stack(weights)[:, None] * jnp.stack(taps), axis=0)


def mixture(dictionaries: Dictionaries, state: FrameState) -> Float[Array, " M"]:
    """μ of one frame: expected counts at unit flux and without zero shift, margins included."""
    negative = splat(state.negative)
    weights = jnp.concatenate([(1 - state.discharge) * negative, state.discharge * negative, splat(state.positive)])
    patterns = jnp.concatenate([dictionaries.negative_charge, dictionaries.negative_discharge, dictionaries.positive])
    mean = weights @ patterns + dictionaries.static + state.background * dictionaries.background
    if dictionaries.decoy is not None and state.decoy is not None:
        mean += splat(state.decoy[None]) @ dictionaries.decoy
    return mean


def expected_counts(dictionaries: Dictionaries, state: FrameState) -> Float[Array, " N"]:
    """Expected counts per channel of one frame, differentiable in every field of `state`."""
    return state.flux * shifted(mixture(dictionaries, state), state.shift, dictionaries.step)


@jax.jit
def expected_series(dictionaries: Dictionaries, states: FrameState) -> Float[Array, "T N"]:
    """`expected_counts` of every frame of `states`, in chunks that fit in memory."""
    return jax.lax.map(lambda state: expected_counts(dictionaries, state), states, batch_size=CHUNK)


def drift(rng: np.random.Generator, time: np.ndarray, sigma: float, tau: float) -> np.ndarray:
    """A stationary Ornstein-Uhlenbeck process at equally spaced times: variance σ², correlation exp(-|Δt|/τ)."""
    noise = rng.standard_normal(time.size)
    keep = np.exp(-(time[1] - time[0]) / tau)
    out = np.empty(time.size)
    out[0] = noise[0]
    for index in range(1, time.size):
        out[index] = keep * out[index - 1] + np.sqrt(1 - keep**2) * noise[index]
    return sigma * out


def wander(rng: np.random.Generator, frames: int, smooth: float) -> np.ndarray:
    """A random path [frames] through 0…1 that is equally often everywhere: Φ of white noise, smoothed where asked.

    Its pace is counted in frames, so that it does not tell a slow session from a fast one.

    Args:
      smooth: standard deviation of the smoothing kernel in frames; 0 for places that know nothing of each other.
    """
    if smooth == 0:
        return scipy.special.ndtr(rng.standard_normal(frames))
    reach = math.ceil(4 * smooth)
    noise = rng.standard_normal(frames + 2 * reach)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / smooth) ** 2)
    path = np.convolve(noise, kernel / np.sqrt((kernel**2).sum()), mode="valid")
    return scipy.special.ndtr(path)


@dataclasses.dataclass(frozen=True)
class Session:
    """One rate of a cell with its drifts drawn: what happens in each of its T frames, not yet what is seen.

    Attributes:
      run: the trajectory that the frames follow.
      flux, shift: [T] as in `FrameState`.
      background: the same in every frame.
      decoy: [T] as in `FrameState`, or None.
    """

    run: trajectories.Trajectory
    flux: np.ndarray
    shift: np.ndarray
    background: float
    decoy: np.ndarray | None = None

    def states(self, frames: np.ndarray) -> FrameState:
        """The states of `frames`, an array of indices."""
        row = frames % len(self.run.negative)
        return FrameState(
            negative=jnp.asarray(self.run.negative[row]),
            positive=jnp.asarray(self.run.positive[row]),
            discharge=jnp.asarray(self.run.half_cycle[frames] % 2, jnp.float32),
            flux=jnp.asarray(self.flux[frames], jnp.float32),
            shift=jnp.asarray(self.shift[frames], jnp.float32),
            background=jnp.full(frames.shape, self.background, jnp.float32),
            decoy=None if self.decoy is None else jnp.asarray(self.decoy[frames], jnp.float32),
        )


def session(cell: Cell, rate: str) -> Session:
    """One rate of `cell`.

    Raises:
      UserError: unknown trajectory or rate; a drift that makes the flux negative or leaves the margin of the axis.
    """
    run = trajectories.load(cell.trajectory, rate, cell.repeats)
    flux_rng, shift_rng, _, decoy_rng = _generators(cell, rate)
    place = cell.rates.index(rate)
    offset = cell.session_offset_deg[place] if cell.session_offset_deg else 0.0
    background = cell.session_background[place] if cell.session_background else 1.0
    flux = 1.0 + drift(flux_rng, run.time, cell.flux_sigma, cell.flux_tau_s)
    shift = offset + drift(shift_rng, run.time, cell.shift_sigma_deg, cell.shift_tau_s)
    if flux.min() < 0:
        raise UserError(f"flux_sigma {cell.flux_sigma} makes the flux negative; choose a smaller one")
    if np.abs(shift).max() > SHIFT_CHANNELS * cell.step_deg:
        raise UserError(f"2θ shifts reach {np.abs(shift).max():.3f} degrees; {SHIFT_CHANNELS} channels are the limit")
    decoy = wander(decoy_rng, run.time.size, cell.decoy_frames) if cell.decoy else None
    return Session(run, flux, shift, background, decoy)


def states(cell: Cell, rate: str) -> tuple[FrameState, trajectories.Trajectory]:
    """The states of all frames of one session, and the trajectory they follow; raises as `session` does."""
    one = session(cell, rate)
    return one.states(np.arange(one.run.time.size)), one.run


def _generators(cell: Cell, rate: str) -> list[np.random.Generator]:
    """Independent streams for flux, shift, photons, decoy; named by the rate, so that a session is the same alone."""
    sequence = np.random.SeedSequence([cell.seed, zlib.crc32(rate.encode())])
    return [np.random.Generator(np.random.PCG64(child)) for child in sequence.spawn(4)]


def modes(run: trajectories.Trajectory) -> np.ndarray:
    """[T] class of `MODES`: halves in time of each half cycle."""
    middle = 0.5 * (run.edges[:-1] + run.edges[1:])
    return 2 * (run.half_cycle % 2) + (run.time >= middle[run.half_cycle])


def photons(rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
    """Poisson counts [T, N] of the expected counts, uint16; drawn frame after frame, in however many calls.

    Raises:
      UserError: a count exceeds 65535.
    """
    counts = rng.poisson(expected.astype(np.float64))
    if counts.max() > np.iinfo(np.uint16).max:
        raise UserError(f"up to {counts.max()} counts per channel exceed 65535; shorten exposure_s")
    return counts.astype(np.uint16)


def stream(cell: Cell, sessions: Sequence[Session]) -> Iterator[np.ndarray]:
    """Counts [at most BLOCK, N] of frame after frame of all `sessions` of `cell`, in memory that does not grow.

    While a block's photons are drawn the next block's expected counts are computed.
    """
    dictionaries = profile.dictionaries(cell)
    for rate, one in zip(cell.rates, sessions, strict=True):
        frames, rng = one.run.time.size, _generators(cell, rate)[2]

        def expected(begin: int, one: Session = one, frames: int = frames) -> np.ndarray:
            # Every block has BLOCK frames, so that one program makes them all and rounds alike; the last repeats.
            block = np.minimum(np.arange(begin, begin + BLOCK), frames - 1)
            return np.asarray(expected_series(dictionaries, one.states(block)))[: frames - begin]

        for mean in lazy.prefetch(functools.partial(expected, begin) for begin in range(0, frames, BLOCK)):
            yield photons(rng, mean)


def simulate(cell: Cell) -> PatternSeries:
    """Measures `cell`: every frame of every rate, with Poisson noise, in time order, session by session.

    The same cell and seed give the same bits on the same machine and versions; a rate gives the same bits whether or
    not others are simulated beside it. About 4000 frames per rate and repeat.

    Returns:
      counts [T, N] (uint16) with targets 'voltage' (V), 'mode' (`MODES`), 'rate' (the sessions).

    Raises:
      UserError: unknown trajectory or rate, or more than 65535 counts in a channel.
    """
    sessions = [session(cell, rate) for rate in cell.rates]
    fields = _fields(cell, sessions)
    intensity, begin = np.empty((len(fields["time"]), cell.channels), np.uint16), 0
    for block in stream(cell, sessions):
        intensity[begin : begin + len(block)] = block
        begin += len(block)
    return PatternSeries(intensity=intensity, **fields)


def write(cell: Cell, path: str | os.PathLike[str]) -> PatternSeries:
    """`simulate` into a file, for more frames than memory holds: the same bits as `simulate(cell).save(path)`.

    Returns:
      the series in the file, which stays there when it is large.

    Raises:
      UserError: as `simulate`, or the file cannot be written.
    """
    sessions = [session(cell, rate) for rate in cell.rates]
    hdf5.write(path, _fields(cell, sessions), stream(cell, sessions), np.uint16)
    return PatternSeries.load(path)


def _fields(cell: Cell, sessions: Sequence[Session]) -> dict[str, Any]:
    """All of the series but its counts."""
    runs = [one.run for one in sessions]
    number = np.repeat(np.arange(len(runs)), [run.time.size for run in runs])
    mode = np.concatenate([modes(run) for run in runs])
    return {
        "axis": Axis(cell.start_deg + cell.step_deg * np.arange(cell.channels), "two_theta", cell.wavelength),
        "time": np.concatenate([run.time for run in runs]),
        "targets": {
            "voltage": Target(np.concatenate([run.voltage for run in runs]), "regression", "V"),
            "mode": Target(mode, "classification", "", MODES),
            "rate": Target(number, "classification", "", cell.rates),
        },
        "cycle": np.concatenate([run.half_cycle // 2 for run in runs]),
        "session": number,
        "session_names": cell.rates,
        "is_counts": True,
        "windows": physics_windows.windows(cell),
        "reflections": physics_windows.reflections(cell),
        "provenance": {
            "source": "simulated operando cell",
            "cell": dataclasses.asdict(cell),
            "trajectory_sha256": trajectories.sha256(cell.trajectory),
        },
    }
