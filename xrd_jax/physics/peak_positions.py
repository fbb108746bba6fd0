"""Where the reflections of the simulated cell are in every frame."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import crystal, profile
from xrd_jax.physics.crystal import CU_K_ALPHA_1
from xrd_jax.physics.forward_model import FrameState
from xrd_jax.physics.reflections import PAD_WIDTHS, Track, miller_text
from xrd_jax.physics.sessions import draw_session
from xrd_jax.physics.windows import aluminium_position
from xrd_jax.series.record import PatternSeries

MIN_FRACTION = 0.02  # a stage of which less is present has no window
BLOCK = 4096  # frames that are computed at once


def peak_tracks(cell: Cell, series: PatternSeries) -> tuple[Track, ...]:
    """Return where the peaks of the simulated `cell` are in every frame of `series`, which may be any part of it.

    They are computed, not searched. The separator's weak polymer reflections belong to the background.

    Raises:
      UserError: the series was not made from this cell.
    """
    frames = len(series)
    tracks: dict[tuple[str, str], Track] = {}
    for indices, state in series_states(cell, series):
        for part in _tracks(cell, state):
            key = part.phase, part.hkl
            if key not in tracks:
                spans = np.full((frames, *part.spans.shape[1:]), np.nan)
                tracks[key] = Track(*key, np.full(frames, np.nan), spans)
            tracks[key].centre[indices], tracks[key].spans[indices] = part.centre, part.spans
    low, high = series.axis.values[[0, -1]]
    return tuple(track for track in tracks.values() if np.any((track.centre >= low) & (track.centre <= high)))


def series_states(cell: Cell, series: PatternSeries) -> Iterator[tuple[np.ndarray, FrameState]]:
    """Yield indices into the series and the states of the cell in those frames, at most `BLOCK` at a time.

    Raises:
      UserError: the series was not made from this cell.
    """
    for number, name in enumerate(series.session_names):
        indices = np.flatnonzero(series.session == number)
        if not indices.size:
            continue
        if name not in cell.rates:
            raise UserError(f"session '{name}' is none of the cell's rates ({', '.join(cell.rates)}); simulate it anew")
        session = draw_session(cell, name)
        time = session.trajectory.time
        frames = np.searchsorted(0.5 * (time[1:] + time[:-1]), series.time[indices])
        if np.abs(time[frames] - series.time[indices]).max() > 1e-3 * (time[1] - time[0]):
            raise UserError(f"the times of session '{name}' are not those of the simulated cell; simulate it anew")
        for first in range(0, indices.size, BLOCK):
            yield indices[first : first + BLOCK], session.states(frames[first : first + BLOCK])


def _tracks(cell: Cell, state: FrameState) -> Iterator[Track]:
    """Tracks of all reflections through the frames of `state`."""
    shift = np.asarray(state.shift, np.float64)
    yield _graphite_track(cell, state, shift)
    frames, quantiles = state.positive.shape
    a, c = crystal.lattice(cell, crystal.lithium_content(cell, state.positive.ravel()))
    reflections = [row[:3] for row in cell.nmc_reflections]
    d = crystal.d_hexagonal(a, c, jnp.array(reflections))
    angles = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64).reshape(len(reflections), frames, quantiles)
    for hkl, angle in zip(reflections, angles + shift[None, :, None], strict=True):
        ends = np.stack([angle.min(axis=1), angle.max(axis=1)], axis=1)[:, None, :]
        yield Track("NMC", miller_text(hkl), angle.mean(axis=1), _padded(cell, ends, cell.nmc_size))
    yield _sharp_track(cell, "Al", "111", aluminium_position(cell) + shift, cell.aluminium_size)
    if state.decoy is not None:
        first, last = cell.decoy_deg
        d = crystal.d_spacing(first + (last - first) * state.decoy, CU_K_ALPHA_1)
        decoy = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64) + shift
        yield _sharp_track(cell, "decoy", "", decoy, cell.graphite_size)


def _sharp_track(cell: Cell, phase: str, hkl: str, centre: np.ndarray, size: float) -> Track:
    """Track of a reflection that has one spacing in each frame."""
    ends = np.stack([centre, centre], axis=1)[:, None, :]
    return Track(phase, hkl, centre, _padded(cell, ends, size))


def _graphite_track(cell: Cell, state: FrameState, shift: np.ndarray) -> Track:
    """Track of graphite's layer reflection '00l': a part for each stage that is present."""
    skipped = jnp.repeat(cell.hysteresis * state.discharge, state.negative.shape[1])[None, :]
    fractions, d = crystal.stages_on_branch(cell, state.negative.ravel(), skipped)
    shape = (len(cell.stages), *state.negative.shape)
    angle = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64).reshape(shape) + shift[None, :, None]
    weight = np.asarray(fractions, np.float64).reshape(shape)
    is_present = weight > MIN_FRACTION
    ends = [np.where(is_present, angle, np.inf).min(axis=2), np.where(is_present, angle, -np.inf).max(axis=2)]
    spans = np.where((weight.mean(axis=2) > MIN_FRACTION)[..., None], np.stack(ends, axis=2), np.nan)
    # A stage that strains on discharge is also wider then; its window is always as wide as that.
    extra = np.array([row[5] + cell.hysteresis_width * cell.hysteresis * (row[0] == "2") for row in cell.stages])
    padded = _padded(cell, spans.transpose(1, 0, 2), cell.graphite_size, extra)
    return Track("graphite", "00l", (weight * angle).sum(axis=(0, 2)) / weight.sum(axis=(0, 2)), padded)


def _padded(cell: Cell, ends: np.ndarray, size: float, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """Window [T, G, 2] of a peak from its extreme positions: `PAD_WIDTHS` of its width there on either side."""
    broadening = np.broadcast_to(np.asarray(extra, np.float32)[..., None], ends.shape)
    widths = profile.width(cell, jnp.asarray(ends, jnp.float32), size, jnp.asarray(broadening))
    return ends + PAD_WIDTHS * np.asarray(widths, np.float64) * np.array([-1.0, 1.0])
