"""Once through all sessions of a cell, free of drifts: its states and the direction in which the voltage moves them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.physics import simulate, trajectories
from xrd_jax.physics.simulate import FrameState

REACH = 4  # frames on either side over which the path is differentiated: one knot of the stored trajectories


class StatePath(NamedTuple):
    """Once through all sessions of a cell (P frames), free of drifts.

    Attributes:
      states: of the frames; flux 1, shift 0, background 1, the decoy where it is.
      direction: their derivatives by the voltage in 1/V; zero in all but the stoichiometries.
      voltage: [P] V; mode, rate: [P] classes.
      tiles: [T] the frame of the passage that each frame of the series repeats.
    """

    states: FrameState
    direction: FrameState
    voltage: np.ndarray
    mode: np.ndarray
    rate: np.ndarray
    tiles: np.ndarray


def state_path(cell: Cell) -> StatePath:
    """The states that `cell` passes through, with the direction in which they go.

    Raises:
      UserError: as `simulate.session`.
    """
    parts, tiles, begin = [], [], 0
    for number, rate in enumerate(cell.rates):
        run = trajectories.load(cell.trajectory, rate)
        frames = np.arange(run.time.size)
        decoy = simulate.session(cell, rate).decoy if cell.decoy else None
        steady = simulate.Session(run, np.ones(frames.size), np.zeros(frames.size), 1.0, decoy).states(frames)
        slope = [jnp.asarray(_by_voltage(run, values)) for values in (run.negative, run.positive)]
        direction = jax.tree.map(jnp.zeros_like, steady)._replace(negative=slope[0], positive=slope[1])
        parts.append((steady, direction, run.voltage, simulate.modes(run), np.full(frames.size, number)))
        tiles.append(begin + np.tile(frames, cell.repeats))
        begin += frames.size
    states, direction, voltage, mode, rates = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return StatePath(states, direction, voltage, mode, rates, np.concatenate(tiles))


def _by_voltage(run: trajectories.Trajectory, values: np.ndarray) -> np.ndarray:
    """[P, Q] -> its derivative along the path by the voltage: central differences that stay in their half cycle."""
    frames = np.arange(run.time.size)
    first = np.searchsorted(run.half_cycle, run.half_cycle, side="left")
    last = np.searchsorted(run.half_cycle, run.half_cycle, side="right") - 1
    after, before = np.minimum(frames + REACH, last), np.maximum(frames - REACH, first)
    rise = run.voltage[after] - run.voltage[before]
    # A voltage that stands still tells nothing of where the cell is on its path.
    slope = np.divide(1.0, rise, out=np.zeros_like(rise), where=rise != 0)
    return ((values[after] - values[before]) * slope[:, None]).astype(np.float32)


def in_window(passage: StatePath, prepare: PrepareConfig) -> np.ndarray:
    """Whether each frame of the passage lies in the window that is analysed, bool [P].

    Raises:
      UserError: the cell has no such target, or no frame lies in the window.
    """
    values = {"voltage": passage.voltage, "mode": passage.mode, "rate": passage.rate}
    if prepare.window_target and prepare.window_target not in values:
        raise UserError(f"prepare.window_target='{prepare.window_target}': the simulated cell has {', '.join(values)}")
    value = values[prepare.window_target or "voltage"]
    used = (value >= prepare.window_low) & (value <= prepare.window_high) | (not prepare.window_target)
    if not used.any():
        raise UserError(
            f"no frame has {prepare.window_target} within {prepare.window_low}–{prepare.window_high}: change "
            "prepare.window_low and prepare.window_high"
        )
    return used
