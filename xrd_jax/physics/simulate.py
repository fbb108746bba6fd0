"""A measured series of the simulated cell: counts ~ Poisson(expected counts), frame after frame."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt16

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import forward_model, profile, trajectories
from xrd_jax.physics.sessions import Session, draw_session, half_cycle_modes, random_streams
from xrd_jax.physics.windows import channel_angles, named_windows, reflection_positions
from xrd_jax.series import hdf5, lazy
from xrd_jax.series.axis import HALF_CYCLE_MODES, Axis, Target
from xrd_jax.series.record import PatternSeries

# Frames per block of a stream: two chunks, because a loop over one alone is unrolled by XLA and rounds differently.
BLOCK = 2 * forward_model.CHUNK


def simulate(cell: Cell) -> PatternSeries:
    """Measure `cell`: every frame of every rate, with Poisson noise, in time order, session by session.

    The same cell and seed give the same bits on the same machine and versions; a rate gives the same bits whether or
    not others are simulated beside it. About 4000 frames per rate and repeat.

    Returns:
      counts [T, N] (uint16) with targets 'voltage' (V), 'mode' (`HALF_CYCLE_MODES`), 'rate' (the sessions).

    Raises:
      UserError: unknown trajectory or rate, or more than 65535 counts in a channel.
    """
    sessions = [draw_session(cell, rate) for rate in cell.rates]
    fields = _fields(cell, sessions)
    intensity, first = np.empty((len(fields["time"]), cell.channels), np.uint16), 0
    for block in stream_counts(cell, sessions):
        intensity[first : first + len(block)] = block
        first += len(block)
    return PatternSeries(intensity=intensity, **fields)


def simulate_to_file(cell: Cell, path: str | os.PathLike[str]) -> PatternSeries:
    """`simulate` into a file, for more frames than memory holds, and load it: the bits of `simulate(cell).save(path)`.

    Raises:
      UserError: as `simulate`, or the file cannot be written.
    """
    sessions = [draw_session(cell, rate) for rate in cell.rates]
    hdf5.write(path, _fields(cell, sessions), stream_counts(cell, sessions), np.uint16)
    return PatternSeries.load(path)


def stream_counts(cell: Cell, sessions: Sequence[Session]) -> Iterator[UInt16[np.ndarray, "B N"]]:
    """Yield the counts of all `sessions` in blocks of at most `BLOCK` frames; the next is computed meanwhile."""
    dictionaries = profile.dictionaries(cell)
    for rate, session in zip(cell.rates, sessions, strict=True):
        rng = random_streams(cell, rate).photons
        expect = functools.partial(_expected_block, dictionaries, session)
        starts = range(0, session.trajectory.time.size, BLOCK)
        for expected in lazy.prefetch(functools.partial(expect, first) for first in starts):
            yield draw_photons(rng, expected)


def _expected_block(dictionaries: profile.Dictionaries, session: Session, first: int) -> np.ndarray:
    """Expected counts [at most BLOCK, N] of the frames from `first` on."""
    frames = session.trajectory.time.size
    # Every block has BLOCK frames, so that one program makes them all and rounds alike; the last frame repeats.
    block = np.minimum(np.arange(first, first + BLOCK), frames - 1)
    return np.asarray(forward_model.expected_series(dictionaries, session.states(block)))[: frames - first]


def draw_photons(rng: np.random.Generator, expected: Float[np.ndarray, "T N"]) -> UInt16[np.ndarray, "T N"]:
    """Draw Poisson counts around the expected counts; frame after frame, in however many calls.

    Raises:
      UserError: a count exceeds 65535.
    """
    counts = rng.poisson(expected.astype(np.float64))
    if counts.max() > np.iinfo(np.uint16).max:
        raise UserError(f"up to {counts.max()} counts per channel exceed 65535; shorten exposure_s")
    return counts.astype(np.uint16)


def _fields(cell: Cell, sessions: Sequence[Session]) -> dict[str, Any]:
    """All of the series but its counts."""
    runs = [session.trajectory for session in sessions]
    number = np.repeat(np.arange(len(runs)), [run.time.size for run in runs])
    mode = np.concatenate([half_cycle_modes(run) for run in runs])
    return {
        "axis": Axis(channel_angles(cell), "two_theta", cell.wavelength),
        "time": np.concatenate([run.time for run in runs]),
        "targets": {
            "voltage": Target(np.concatenate([run.voltage for run in runs]), "regression", "V"),
            "mode": Target(mode, "classification", "", HALF_CYCLE_MODES),
            "rate": Target(number, "classification", "", cell.rates),
        },
        "cycle": np.concatenate([run.half_cycle // 2 for run in runs]),
        "session": number,
        "session_names": cell.rates,
        "is_counts": True,
        "windows": named_windows(cell),
        "reflections": reflection_positions(cell),
        "provenance": {
            "source": "simulated operando cell",
            "cell": dataclasses.asdict(cell),
            "trajectory_sha256": trajectories.sha256(cell.trajectory),
        },
    }
