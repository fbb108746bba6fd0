"""Where a reflection can be on the axis: named windows and phase ticks, from Bragg's law and the cell's tables."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from xrd_jax.config.cell import SOURCES, Cell
from xrd_jax.physics import crystal, profile

END_DEG = 0.5  # width of the windows at both ends of the axis
PAD_WIDTHS = 1.5  # windows reach this many peak widths beyond the extreme positions
EMPTY_DEG = 3.0  # a stretch without reflections gets a name from this width on
EMPTY_PAD_DEG = 0.4  # and keeps this distance from the nearest reflection

Span = tuple[str, float, float]


def nmc_positions(cell: Cell, hkl: tuple[int, int, int]) -> np.ndarray:
    """2θ in degrees of an NMC reflection over the lithium contents the cell passes, discharged end last."""
    low, high = sorted(x for _, x in cell.lithium)
    a, c = crystal.lattice(cell, jnp.linspace(low, high, 101))
    d = crystal.d_hexagonal(a, c, jnp.array([hkl]))[0]
    return np.asarray(crystal.two_theta(d, cell.wavelength), np.float64)


def polymer_positions(cell: Cell) -> dict[str, float]:
    """Label -> 2θ in degrees of the polymer reflections with the cell's source."""
    spacings = {row[0]: crystal.d_spacing(row[1], SOURCES["Cu"][0]) for row in cell.polymer}
    return {label: float(crystal.two_theta(d, cell.wavelength)) for label, d in spacings.items()}


def layer_positions(cell: Cell) -> dict[str, tuple[float, float]]:
    """Stage -> 2θ in degrees of graphite's layer reflection at both ends of the stage's range."""
    rows = {row[0]: crystal.two_theta(jnp.array(row[3:5]), cell.wavelength) for row in cell.stages}
    return {stage: (float(ends[0]), float(ends[1])) for stage, ends in rows.items()}


def aluminium_position(cell: Cell) -> float:
    """2θ in degrees of Al 111."""
    return float(crystal.two_theta(jnp.array(cell.aluminium), cell.wavelength))


def decoy_positions(cell: Cell) -> np.ndarray:
    """2θ in degrees of both ends of the decoy's range."""
    d = crystal.d_spacing(jnp.array(cell.decoy_deg), SOURCES["Cu"][0])
    return np.asarray(crystal.two_theta(d, cell.wavelength), np.float64)


def windows(cell: Cell) -> dict[str, tuple[float, float]]:
    """Name -> (low, high) in degrees: regions of the axis that do not overlap; those off the axis are left out.

    Limits lie midway between channels, so that it does not matter whether they are read as inclusive.
    """
    first, last = cell.start_deg, cell.start_deg + cell.step_deg * (cell.channels - 1)
    left, right = first + END_DEG, last - END_DEG
    spans = _part(_moving(cell))
    spans = _part([("low end", first - cell.step_deg, left), *_empty(cell, spans, left, right), *spans])
    out = {}
    for name, low, high in [*spans, ("high end", right, last)]:
        if name not in ("low end", "high end"):
            low, high = max(low, left), min(high, right)
        if high - low > 4 * cell.step_deg:
            out[name] = (_between_channels(cell, low), _between_channels(cell, high))
    return out


def _moving(cell: Cell) -> list[Span]:
    """Ranges of the reflections, padded by their widths, in order of 2θ."""
    groups = {
        "NMC 003": (nmc_positions(cell, (0, 0, 3)), cell.nmc_size),
        "graphite": (np.array(list(layer_positions(cell).values())), cell.graphite_size),
        "NMC 101+006": (
            np.append(nmc_positions(cell, (1, 0, 1)), nmc_positions(cell, (0, 0, 6))),
            cell.nmc_size,
        ),
        "Al 111 + NMC 012": (np.append(nmc_positions(cell, (0, 1, 2)), aluminium_position(cell)), cell.aluminium_size),
        "NMC 104": (nmc_positions(cell, (1, 0, 4)), cell.nmc_size),
    }
    if cell.decoy:
        groups["decoy"] = (decoy_positions(cell), cell.graphite_size)
    spans = []
    for name, (positions, size) in groups.items():
        ends = np.array([positions.min(), positions.max()])
        pad = PAD_WIDTHS * np.asarray(profile.width(cell, jnp.asarray(ends, jnp.float32), size))
        spans.append((name, float(ends[0] - pad[0]), float(ends[1] + pad[1])))
    return spans


def _part(spans: list[Span]) -> list[Span]:
    """Sorts spans and parts neighbours that reach into each other in the middle of their overlap."""
    out: list[Span] = []
    for name, low, high in sorted(spans, key=lambda span: span[1:]):
        if out and low < out[-1][2]:
            before, start, end = out.pop()
            low = 0.5 * (low + end)
            out.append((before, start, low))
        out.append((name, low, high))
    return out


def _empty(cell: Cell, spans: list[Span], left: float, right: float) -> list[Span]:
    """Stretches between `left` and `right` that hold nothing but background, named by whole degrees."""
    taken = [(low, high) for _, low, high in spans] + [(p, p) for p in polymer_positions(cell).values()]
    taken = [(low - EMPTY_PAD_DEG, high + EMPTY_PAD_DEG) for low, high in taken]
    out: list[Span] = []
    reached = left
    for low, high in sorted([*taken, (right, right)]):
        low = min(low, right)
        if low - reached > EMPTY_DEG:
            out.append((f"empty {math.floor(reached)}-{math.ceil(low)}", reached, low))
        reached = max(reached, high)
    return out


def _between_channels(cell: Cell, angle: float) -> float:
    """The limit half a step above the last channel at or below `angle`."""
    channel = math.floor((angle - cell.start_deg) / cell.step_deg + 1e-3)
    return round(cell.start_deg + cell.step_deg * (channel + 0.5), 6)


def reflections(cell: Cell) -> dict[str, float]:
    """Label -> 2θ in degrees of the reflections on the axis, in order; those of NMC in the discharged cell."""
    found = {f"NMC {h}{k}{m}": float(nmc_positions(cell, (h, k, m))[-1]) for h, k, m, _, _ in cell.nmc_reflections}
    names = {"1'": "C 002", "2": "LiC12", "1": "LiC6"}
    for stage, (start, end) in layer_positions(cell).items():
        if stage in names:
            found[names[stage]] = start if stage == "1'" else 0.5 * (start + end)
    found |= {"Al 111": aluminium_position(cell)} | polymer_positions(cell)
    last = cell.start_deg + cell.step_deg * (cell.channels - 1)
    on_axis = {label: round(angle, 4) for label, angle in found.items() if cell.start_deg <= angle <= last}
    return dict(sorted(on_axis.items(), key=lambda item: item[1]))
