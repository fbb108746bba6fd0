"""What happens in every frame of a session (one rate of a cell): its trajectory and its drifts."""

import dataclasses
import math
import zlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.signal
import scipy.special
from jaxtyping import Float, Int

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import trajectories
from xrd_jax.physics.forward_model import MAX_SHIFT_CHANNELS, FrameState


class RandomStreams(NamedTuple):
    flux: np.random.Generator
    shift: np.random.Generator
    photons: np.random.Generator
    decoy: np.random.Generator


def random_streams(cell: Cell, rate: str) -> RandomStreams:
    """Return independent streams of a session, named by its rate: the same whatever else is simulated."""
    sequence = np.random.SeedSequence([cell.seed, zlib.crc32(rate.encode())])
    return RandomStreams(*map(np.random.default_rng, sequence.spawn(len(RandomStreams._fields))))


@dataclasses.dataclass(frozen=True)
class Session:
    """One rate of a cell with its drifts drawn (T frames), before any photon is counted; fields as in `FrameState`."""

    trajectory: trajectories.Trajectory
    flux: np.ndarray
    shift: np.ndarray
    background: float
    decoy: np.ndarray | None = None

    def states(self, frames: Int[np.ndarray, " B"]) -> FrameState:
        """Return the states of the frames with these indices."""
        row = frames % len(self.trajectory.negative)
        return FrameState(
            negative=jnp.asarray(self.trajectory.negative[row]),
            positive=jnp.asarray(self.trajectory.positive[row]),
            discharge=jnp.asarray(self.trajectory.half_cycle[frames] % 2, jnp.float32),
            flux=jnp.asarray(self.flux[frames], jnp.float32),
            shift=jnp.asarray(self.shift[frames], jnp.float32),
            background=jnp.full(frames.shape, self.background, jnp.float32),
            decoy=None if self.decoy is None else jnp.asarray(self.decoy[frames], jnp.float32),
        )


def draw_session(cell: Cell, rate: str) -> Session:
    """Draw the drifts of one rate of `cell`.

    Raises:
      UserError: unknown trajectory or rate; a drift that makes the flux negative or leaves the margin of the axis.
    """
    trajectory = trajectories.load(cell.trajectory, rate, cell.repeats)
    time, streams, index = trajectory.time, random_streams(cell, rate), cell.rates.index(rate)
    offset = cell.session_offset_deg[index] if cell.session_offset_deg else 0.0
    background = cell.session_background[index] if cell.session_background else 1.0
    flux = 1.0 + draw_drift(streams.flux, time, cell.flux_sigma, cell.flux_tau_s)
    shift = offset + draw_drift(streams.shift, time, cell.shift_sigma_deg, cell.shift_tau_s)
    if flux.min() < 0:
        raise UserError(f"flux_sigma {cell.flux_sigma} makes the flux negative; choose a smaller one")
    if (reach := np.abs(shift).max()) > MAX_SHIFT_CHANNELS * cell.step_deg:
        raise UserError(f"2θ shifts reach {reach:.3f} degrees; {MAX_SHIFT_CHANNELS} channels are the limit")
    decoy = draw_decoy(streams.decoy, time.size, cell.decoy_frames) if cell.decoy else None
    return Session(trajectory, flux, shift, background, decoy)


def draw_drift(
    rng: np.random.Generator, time: Float[np.ndarray, " T"], sigma: float, tau: float
) -> Float[np.ndarray, " T"]:
    """Draw a stationary Ornstein-Uhlenbeck process at equally spaced times: variance σ², correlation exp(-|Δt|/τ)."""
    return sigma * autocorrelated(rng.standard_normal(time.size), np.exp(-(time[1] - time[0]) / tau))


def autocorrelated(noise: Float[np.ndarray, " T"], correlation: float) -> Float[np.ndarray, " T"]:
    """Return white noise of variance 1 as a stationary process of that variance with a correlation of neighbours."""
    fresh, initial = np.sqrt(1 - correlation**2), correlation * noise[0]
    later, _ = scipy.signal.lfilter([fresh], [1.0, -correlation], noise[1:], zi=[initial])
    return np.append(noise[0], later)


def draw_decoy(rng: np.random.Generator, frames: int, smooth: float) -> Float[np.ndarray, " T"]:
    """Draw a random path through 0…1 that is equally often everywhere: Φ of white noise, smoothed.

    `smooth` is the kernel's standard deviation in frames (0: independent positions), the same for slow and fast rates.
    """
    if smooth == 0:
        return scipy.special.ndtr(rng.standard_normal(frames))
    reach = math.ceil(4 * smooth)
    noise = rng.standard_normal(frames + 2 * reach)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / smooth) ** 2)
    return scipy.special.ndtr(np.convolve(noise, kernel / np.sqrt((kernel**2).sum()), mode="valid"))


def half_cycle_modes(trajectory: trajectories.Trajectory) -> Int[np.ndarray, " T"]:
    """Return the class of `HALF_CYCLE_MODES` of every frame: halves in time of each half cycle."""
    middle = 0.5 * (trajectory.edges[:-1] + trajectory.edges[1:])
    return 2 * (trajectory.half_cycle % 2) + (trajectory.time >= middle[trajectory.half_cycle])
