"""Where the reflections of the simulated cell are in every frame."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from xrd_jax.config.cell import SOURCES, Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import crystal, profile, simulate
from xrd_jax.physics.reflections import PAD_WIDTHS, Track, miller
from xrd_jax.series.record import PatternSeries

LEAST_FRACTION = 0.02  # a stage of which less is present has no window
BLOCK = 4096  # frames worked on at once


def of_cell(cell: Cell, series: PatternSeries) -> tuple[Track, ...]:
    """Where the peaks of the simulated `cell` are in every frame of `series`, which may be any part of it.

    Known, not looked for: lattice at the frame's stoichiometries, stages of which there is something, zero shift. The
    separator's weak polymer reflections are left out; they belong to the background.

    Raises:
      UserError: the series was not made from this cell.
    """
    frames = len(series)
    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for where, state in states(cell, series):
        for track in _tracks(cell, state):
            key = track.phase, track.hkl
            if key not in found:
                found[key] = np.full(frames, np.nan), np.full((frames, *track.spans.shape[1:]), np.nan)
            found[key][0][where], found[key][1][where] = track.centre, track.spans
    low, high = series.axis.values[[0, -1]]
    tracks = [Track(*key, *values) for key, values in found.items()]
    return tuple(track for track in tracks if np.any((track.centre >= low) & (track.centre <= high)))


def states(cell: Cell, series: PatternSeries) -> Iterator[tuple[np.ndarray, simulate.FrameState]]:
    """(indices into the series, the states of the cell in those frames), some thousand at a time.

    Raises:
      UserError: the series was not made from this cell.
    """
    for number, name in enumerate(series.session_names):
        where = np.flatnonzero(series.session == number)
        if not where.size:
            continue
        if name not in cell.rates:
            raise UserError(f"session '{name}' is none of the cell's rates ({', '.join(cell.rates)}); simulate it anew")
        one = simulate.session(cell, name)
        middles = 0.5 * (one.run.time[1:] + one.run.time[:-1])
        frames = np.searchsorted(middles, series.time[where])
        if np.abs(one.run.time[frames] - series.time[where]).max() > 1e-3 * (one.run.time[1] - one.run.time[0]):
            raise UserError(f"the times of session '{name}' are not those of the simulated cell; simulate it anew")
        for begin in range(0, where.size, BLOCK):
            yield where[begin : begin + BLOCK], one.states(frames[begin : begin + BLOCK])


def _tracks(cell: Cell, state: simulate.FrameState) -> Iterator[Track]:
    shift = np.asarray(state.shift, np.float64)
    yield _graphite(cell, state, shift)
    count, quantiles = state.positive.shape
    a, c = crystal.lattice(cell, crystal.lithium_content(cell, state.positive.ravel()))
    hkl = [row[:3] for row in cell.nmc_reflections]
    d = crystal.d_hexagonal(a, c, jnp.array(hkl))
    angles = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64).reshape(len(hkl), count, quantiles)
    for indices, angle in zip(hkl, angles + shift[None, :, None], strict=True):
        ends = np.stack([angle.min(axis=1), angle.max(axis=1)], axis=1)[:, None, :]
        yield Track("NMC", miller(indices), angle.mean(axis=1), _padded(cell, ends, cell.nmc_size))
    aluminium = float(crystal.two_theta(jnp.array(cell.aluminium), cell.wavelength)) + shift
    ends = np.stack([aluminium, aluminium], axis=1)[:, None, :]
    yield Track("Al", "111", aluminium, _padded(cell, ends, cell.aluminium_size))
    if state.decoy is not None:
        first, last = cell.decoy_deg
        d = crystal.d_spacing(first + (last - first) * state.decoy, SOURCES["Cu"][0])
        decoy = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64) + shift
        ends = np.stack([decoy, decoy], axis=1)[:, None, :]
        yield Track("decoy", "", decoy, _padded(cell, ends, cell.graphite_size))


def _graphite(cell: Cell, state: simulate.FrameState, shift: np.ndarray) -> Track:
    """Graphite's layer reflection '00l': a part for each stage that is present."""
    x = state.negative.ravel()
    skipped = jnp.repeat(cell.hysteresis * state.discharge, state.negative.shape[1])[None, :]
    fraction = (1.0 - skipped) * crystal.stage_fractions(cell, x)
    fraction += skipped * crystal.stage_fractions(cell, x, without="2L")
    strained = skipped * jnp.array([float(row[0] == "2") for row in cell.stages])[:, None]
    d = crystal.stage_spacings(cell, x) + cell.hysteresis_strain * strained
    shape = (len(cell.stages), *state.negative.shape)
    angle = np.asarray(crystal.two_theta(d, cell.wavelength), np.float64).reshape(shape) + shift[None, :, None]
    weight = np.asarray(fraction, np.float64).reshape(shape)
    there = weight > LEAST_FRACTION
    ends = [np.where(there, angle, np.inf).min(axis=2), np.where(there, angle, -np.inf).max(axis=2)]
    spans = np.where((weight.mean(axis=2) > LEAST_FRACTION)[..., None], np.stack(ends, axis=2), np.nan)
    # A stage that strains on discharge is also wider then; its window is always as wide as that.
    extra = np.array([row[5] + cell.hysteresis_width * cell.hysteresis * (row[0] == "2") for row in cell.stages])
    padded = _padded(cell, spans.transpose(1, 0, 2), cell.graphite_size, extra)
    return Track("graphite", "00l", (weight * angle).sum(axis=(0, 2)) / weight.sum(axis=(0, 2)), padded)


def _padded(cell: Cell, ends: np.ndarray, size: float, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """[t, G, 2] extreme positions of a peak -> its window: `PAD_WIDTHS` of its width there on either side."""
    broadening = np.broadcast_to(np.asarray(extra, np.float32)[..., None], ends.shape)
    widths = profile.width(cell, jnp.asarray(ends, jnp.float32), size, jnp.asarray(broadening))
    return ends + PAD_WIDTHS * np.asarray(widths, np.float64) * np.array([-1.0, 1.0])
