"""Once through all sessions of a cell, free of drifts: its states and the direction in which the voltage moves them."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.physics import trajectories
from xrd_jax.physics.forward_model import FrameState
from xrd_jax.physics.sessions import Session, draw_session, half_cycle_modes

REACH = 4  # frames on either side over which the path is differentiated: one knot of the stored trajectories
CHUNK = 250  # frames that are computed at once


class StatePath(NamedTuple):
    """Once through all sessions of a cell (P frames), free of drifts."""

    states: FrameState  # of the frames; flux 1, shift 0, background 1, the decoy where it is
    direction: FrameState  # their derivatives by the voltage in 1/V; zero in all but the stoichiometries
    voltage: np.ndarray  # [P] V
    mode: np.ndarray  # [P] classes
    rate: np.ndarray  # [P] classes
    path_index: np.ndarray  # [T] the frame of the path that each frame of the series repeats


def cell_state_path(cell: Cell) -> StatePath:
    """Return the states that `cell` passes through, with the direction in which they go.

    Raises:
      UserError: as `sessions.draw_session`.
    """
    parts, path_index, first = [], [], 0
    for number, rate in enumerate(cell.rates):
        run = trajectories.load(cell.trajectory, rate)
        frames = np.arange(run.time.size)
        decoy = draw_session(cell, rate).decoy if cell.decoy else None
        states = Session(run, np.ones(frames.size), np.zeros(frames.size), 1.0, decoy).states(frames)
        slopes = [jnp.asarray(_slope_by_voltage(run, quantiles)) for quantiles in (run.negative, run.positive)]
        direction = jax.tree.map(jnp.zeros_like, states)._replace(negative=slopes[0], positive=slopes[1])
        parts.append((states, direction, run.voltage, half_cycle_modes(run), np.full(frames.size, number)))
        path_index.append(first + np.tile(frames, cell.repeats))
        first += frames.size
    states, direction, voltage, mode, rates = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return StatePath(states, direction, voltage, mode, rates, np.concatenate(path_index))


def _slope_by_voltage(run: trajectories.Trajectory, quantiles: np.ndarray) -> np.ndarray:
    """Derivative [P, Q] along the path by the voltage: central differences that stay in their half cycle."""
    frames = np.arange(run.time.size)
    first = np.searchsorted(run.half_cycle, run.half_cycle, side="left")
    last = np.searchsorted(run.half_cycle, run.half_cycle, side="right") - 1
    after, before = np.minimum(frames + REACH, last), np.maximum(frames - REACH, first)
    rise = run.voltage[after] - run.voltage[before]
    # A voltage that stands still does not show where the cell is on its path.
    slope = np.divide(1.0, rise, out=np.zeros_like(rise), where=rise != 0)
    return ((quantiles[after] - quantiles[before]) * slope[:, None]).astype(np.float32)


def is_in_window(path: StatePath, prepare: PrepareConfig) -> Bool[np.ndarray, " P"]:
    """Return whether each frame of the path lies in the window that is analysed.

    Raises:
      UserError: the cell has no such target, or no frame lies in the window.
    """
    targets = {"voltage": path.voltage, "mode": path.mode, "rate": path.rate}
    if prepare.window_target and prepare.window_target not in targets:
        raise UserError(f"prepare.window_target='{prepare.window_target}': the simulated cell has {', '.join(targets)}")
    values = targets[prepare.window_target or "voltage"]
    is_inside = (values >= prepare.window_low) & (values <= prepare.window_high) | (not prepare.window_target)
    if not is_inside.any():
        limits = f"{prepare.window_low}–{prepare.window_high}: change prepare.window_low and prepare.window_high"
        raise UserError(f"no frame has {prepare.window_target} within {limits}")
    return is_inside


def take_frames(states: FrameState, frames: np.ndarray | slice) -> FrameState:
    """Return the states of some frames, by their indices."""
    return jax.tree.map(operator.itemgetter(frames), states)


def over_frames(function: Callable[..., Any], *arguments: Any) -> Any:
    """Apply `function` to chunk after chunk of the leading axis of `arguments`; return its results, joined in numpy."""
    count = len(jax.tree.leaves(arguments)[0])
    size = min(CHUNK, count)
    parts = []
    # Chunks have one size, so that one program does them all; the last begins earlier and does some frames again.
    for number, first in enumerate([*range(0, count - size, size), count - size]):
        part = function(*jax.tree.map(operator.itemgetter(slice(first, first + size)), arguments))
        repeated = max(0, number * size - first)
        parts.append(jax.tree.map(lambda leaf, repeated=repeated: np.asarray(leaf)[repeated:], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
