"""Named reflections: an embedded table, Bragg's law on every axis, and where the simulated cell's peaks are in a frame.

References:
  [1] H. M. Rietveld, J. Appl. Crystallogr. 2, 65 (1969): a powder line is the sum over its equivalent reflections.
  [2] Powder Diffraction File cards 4-0787 (Al), 4-0836 (Cu), 27-1402 (Si), 41-1487 (graphite): cells, intensities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from xrd_jax.config.cell import NMC532, NMC_REFLECTIONS, SOURCES, Cell
from xrd_jax.errors import UserError
from xrd_jax.physics import crystal, profile, simulate
from xrd_jax.series.record import Axis, PatternSeries

PAD_WIDTHS = 1.5  # a window reaches this many full widths at half maximum beyond the peak's centre
LEAST_FRACTION = 0.02  # a stage of which less is present has no window
BLOCK = 4096  # frames worked on at once


class Reflection(NamedTuple):
    """A powder line.

    Attributes:
      phase: name of the phase, such as 'NMC'.
      hkl: Miller indices as text, '012' or '1 0 -2'.
      d: spacing in Å.
      intensity: integrated intensity, the strongest line of the phase 1; NaN where it is not known.
    """

    phase: str
    hkl: str
    d: float
    intensity: float = math.nan

    @property
    def label(self) -> str:
        return f"{self.phase} {self.hkl}"


class Track(NamedTuple):
    """Where a reflection is in every frame (T), in axis units.

    Attributes:
      centre: [T] middle of the peak.
      spans: [T, G, 2] lower and upper end of its G parts (the stages of graphite); NaN for a part that is absent.
      followed: False where no peak was found and the tabulated position stands in for it.
    """

    phase: str
    hkl: str
    centre: np.ndarray
    spans: np.ndarray
    followed: bool = True


class Phase(NamedTuple):
    """A cubic or hexagonal cell (a, c in Å) with its lines (h, k, l, relative intensity)."""

    system: str
    a: float
    c: float
    lines: tuple[tuple[int, int, int, float], ...]


# Cells and intensities [2]; LixC6 and NMC are those of the simulated cell's tables, NMC in the discharged state.
TABLE: dict[str, Phase] = {
    "NMC": Phase("hexagonal", *NMC532[-1][1:], tuple(row[:4] for row in NMC_REFLECTIONS)),
    "graphite": Phase("hexagonal", 2.464, 6.711, ((0, 0, 2, 1.0), (1, 0, 0, 0.02), (1, 0, 1, 0.06), (0, 0, 4, 0.04))),
    "LiC12": Phase("hexagonal", 4.288, 7.050, ((0, 0, 2, 1.0),)),
    "LiC6": Phase("hexagonal", 4.305, 3.706, ((0, 0, 1, 1.0),)),
    "Al": Phase("cubic", 4.0494, 4.0494, ((1, 1, 1, 1.0), (2, 0, 0, 0.47), (2, 2, 0, 0.22), (3, 1, 1, 0.24))),
    "Cu": Phase("cubic", 3.6150, 3.6150, ((1, 1, 1, 1.0), (2, 0, 0, 0.46), (2, 2, 0, 0.20), (3, 1, 1, 0.17))),
    "Si": Phase("cubic", 5.4309, 5.4309, ((1, 1, 1, 1.0), (2, 2, 0, 0.55), (3, 1, 1, 0.30), (4, 0, 0, 0.06))),
}


def table(phases: Iterable[str] = tuple(TABLE)) -> tuple[Reflection, ...]:
    """The embedded reflections of `phases`.

    Raises:
      UserError: a phase that the table lacks.
    """
    found = []
    for name in phases:
        if name not in TABLE:
            raise UserError(f"phase '{name}' is not in the table ({', '.join(TABLE)}); give its CIF file with --cif")
        found += [
            Reflection(name, miller((h, k, m)), _spacing(TABLE[name], h, k, m), intensity)
            for h, k, m, intensity in TABLE[name].lines
        ]
    return tuple(found)


def _spacing(phase: Phase, h: int, k: int, m: int) -> float:
    """1/d² = (h² + k² + l²)/a² (cubic) or 4/3 (h² + hk + k²)/a² + l²/c² (hexagonal)."""
    if phase.system == "cubic":
        return phase.a / math.sqrt(h * h + k * k + m * m)
    return 1.0 / math.sqrt(4.0 / 3.0 * (h * h + h * k + k * k) / phase.a**2 + (m / phase.c) ** 2)


def miller(hkl: Sequence[int]) -> str:
    """(0, 1, 2) -> '012'; indices of more than one character are parted by spaces."""
    texts = [str(index) for index in hkl]
    return ("" if all(len(text) == 1 for text in texts) else " ").join(texts)


def positions(d: np.ndarray | float, axis: Axis) -> np.ndarray:
    """Positions of spacings d (Å) on `axis`: 2θ = 2 arcsin(λ/2d) in degrees, q = 2π/d in 1/Å, or d itself.

    NaN where λ > 2 d: such planes do not diffract.

    Raises:
      UserError: an axis that is not one of diffraction, or a 2θ axis without wavelength.
    """
    d = np.asarray(d, np.float64)
    if axis.kind == "d":
        return d
    if axis.kind == "q":
        return 2.0 * np.pi / d
    if axis.kind != "two_theta":
        raise UserError(f"reflections have no place on an axis of kind '{axis.kind}'; leave --cif out")
    if axis.wavelength is None:
        raise UserError("the data have no wavelength, so reflections have no place on 2θ; give wavelength = … in Å")
    sine = axis.wavelength / (2.0 * d)
    return 2.0 * np.degrees(np.arcsin(np.where(sine <= 1.0, sine, np.nan)))


def on_axis(lines: Iterable[Reflection], axis: Axis) -> tuple[Reflection, ...]:
    """Those reflections that lie between the first and the last channel, in the order given."""
    low, high = axis.values[[0, -1]]
    return tuple(line for line in lines if low <= positions(line.d, axis) <= high)


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
