"""Where a reflection can be on the axis: named windows and phase ticks, from Bragg's law and the cell's tables."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrd_jax.config.cell import Cell
from xrd_jax.physics import crystal, profile
from xrd_jax.physics.crystal import CU_K_ALPHA_1
from xrd_jax.physics.reflections import PAD_WIDTHS

END_DEG = 0.5  # width of the windows at both ends of the axis
EMPTY_DEG = 3.0  # a stretch without reflections gets a name from this width on
EMPTY_PAD_DEG = 0.4  # and keeps this distance from the nearest reflection

NamedRange = tuple[str, float, float]  # name, low, high in degrees


def channel_angles(cell: Cell) -> Float[np.ndarray, " N"]:
    """Return 2θ in degrees of every channel."""
    return cell.start_deg + cell.step_deg * np.arange(cell.channels)


def nmc_positions(cell: Cell, hkl: tuple[int, int, int]) -> Float[np.ndarray, " X"]:
    """Return 2θ in degrees of an NMC reflection over the lithium contents of the cell, discharged end last."""
    low, high = sorted(x for _, x in cell.lithium)
    a, c = crystal.lattice(cell, jnp.linspace(low, high, 101))
    d = crystal.d_hexagonal(a, c, jnp.array([hkl]))[0]
    return np.asarray(crystal.two_theta(d, cell.wavelength), np.float64)


def polymer_positions(cell: Cell) -> dict[str, float]:
    """Return label -> 2θ in degrees of the polymer reflections with the cell's source."""
    spacings = {row[0]: crystal.d_spacing(row[1], CU_K_ALPHA_1) for row in cell.polymer}
    return {label: float(crystal.two_theta(d, cell.wavelength)) for label, d in spacings.items()}


def layer_positions(cell: Cell) -> dict[str, tuple[float, float]]:
    """Return stage -> 2θ in degrees of graphite's layer reflection at both ends of the stage's range."""
    ends = {row[0]: crystal.two_theta(jnp.array(row[3:5]), cell.wavelength) for row in cell.stages}
    return {stage: (float(first), float(last)) for stage, (first, last) in ends.items()}


def aluminium_position(cell: Cell) -> float:
    """Return 2θ in degrees of Al 111."""
    return float(crystal.two_theta(jnp.array(cell.aluminium), cell.wavelength))


def decoy_positions(cell: Cell) -> Float[np.ndarray, " 2"]:
    """Return 2θ in degrees of both ends of the decoy's range."""
    d = crystal.d_spacing(jnp.array(cell.decoy_deg), CU_K_ALPHA_1)
    return np.asarray(crystal.two_theta(d, cell.wavelength), np.float64)


def named_windows(cell: Cell) -> dict[str, tuple[float, float]]:
    """Return name -> (low, high) in degrees: regions that do not overlap, without those off the axis.

    Limits lie midway between channels, so that it does not matter whether they are read as inclusive.
    """
    first, last = cell.start_deg, cell.start_deg + cell.step_deg * (cell.channels - 1)
    left, right = first + END_DEG, last - END_DEG
    ranges = _without_overlap(_reflection_ranges(cell))
    ranges = _without_overlap([
        ("low end", first - cell.step_deg, left), *_empty_ranges(cell, ranges, left, right), *ranges,
    ])  # fmt: skip
    windows = {}
    for name, low, high in [*ranges, ("high end", right, last)]:
        if name not in ("low end", "high end"):
            low, high = max(low, left), min(high, right)
        if high - low > 4 * cell.step_deg:
            windows[name] = (_between_channels(cell, low), _between_channels(cell, high))
    return windows


def _reflection_ranges(cell: Cell) -> list[NamedRange]:
    """Ranges of the reflections, padded by their widths."""
    nmc = {hkl: nmc_positions(cell, hkl) for hkl in ((0, 0, 3), (1, 0, 1), (0, 0, 6), (0, 1, 2), (1, 0, 4))}
    groups = {
        "NMC 003": (nmc[0, 0, 3], cell.nmc_size),
        "graphite": (np.array(list(layer_positions(cell).values())), cell.graphite_size),
        "NMC 101+006": (np.append(nmc[1, 0, 1], nmc[0, 0, 6]), cell.nmc_size),
        "Al 111 + NMC 012": (np.append(nmc[0, 1, 2], aluminium_position(cell)), cell.aluminium_size),
        "NMC 104": (nmc[1, 0, 4], cell.nmc_size),
    }
    if cell.decoy:
        groups["decoy"] = (decoy_positions(cell), cell.graphite_size)
    ranges = []
    for name, (positions, size) in groups.items():
        ends = np.array([positions.min(), positions.max()])
        pad = PAD_WIDTHS * np.asarray(profile.width(cell, jnp.asarray(ends, jnp.float32), size))
        ranges.append((name, float(ends[0] - pad[0]), float(ends[1] + pad[1])))
    return ranges


def _without_overlap(ranges: list[NamedRange]) -> list[NamedRange]:
    """Sort ranges and part neighbours that reach into each other in the middle of their overlap."""
    parted: list[NamedRange] = []
    for name, low, high in sorted(ranges, key=lambda named: named[1:]):
        if parted and low < parted[-1][2]:
            before, start, end = parted.pop()
            low = 0.5 * (low + end)
            parted.append((before, start, low))
        parted.append((name, low, high))
    return parted


def _empty_ranges(cell: Cell, ranges: list[NamedRange], left: float, right: float) -> list[NamedRange]:
    """Stretches between `left` and `right` that hold nothing but background, named by whole degrees."""
    occupied = [(low, high) for _, low, high in ranges] + [(angle, angle) for angle in polymer_positions(cell).values()]
    occupied = [(low - EMPTY_PAD_DEG, high + EMPTY_PAD_DEG) for low, high in occupied]
    empty: list[NamedRange] = []
    reached = left
    for low, high in sorted([*occupied, (right, right)]):
        low = min(low, right)
        if low - reached > EMPTY_DEG:
            empty.append((f"empty {math.floor(reached)}-{math.ceil(low)}", reached, low))
        reached = max(reached, high)
    return empty


def _between_channels(cell: Cell, angle: float) -> float:
    """The limit half a step above the last channel at or below `angle`."""
    channel = math.floor((angle - cell.start_deg) / cell.step_deg + 1e-3)
    return round(cell.start_deg + cell.step_deg * (channel + 0.5), 6)


def reflection_positions(cell: Cell) -> dict[str, float]:
    """Return label -> 2θ in degrees of the reflections on the axis, in order; those of NMC in the discharged cell."""
    angles = {f"NMC {h}{k}{m}": float(nmc_positions(cell, (h, k, m))[-1]) for h, k, m, _, _ in cell.nmc_reflections}
    layer_labels = {"1'": "C 002", "2": "LiC12", "1": "LiC6"}
    for stage, (start, end) in layer_positions(cell).items():
        if stage in layer_labels:
            angles[layer_labels[stage]] = start if stage == "1'" else 0.5 * (start + end)
    angles |= {"Al 111": aluminium_position(cell)} | polymer_positions(cell)
    last = cell.start_deg + cell.step_deg * (cell.channels - 1)
    on_axis = {label: round(angle, 4) for label, angle in angles.items() if cell.start_deg <= angle <= last}
    return dict(sorted(on_axis.items(), key=lambda item: item[1]))
