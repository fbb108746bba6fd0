"""Named reflections: an embedded table, Bragg's law on every axis, and where the simulated cell's peaks are in a frame.

References:
  [1] H. M. Rietveld, J. Appl. Crystallogr. 2, 65 (1969): a powder line is the sum over its equivalent reflections.
  [2] Powder Diffraction File cards 4-0787 (Al), 4-0836 (Cu), 27-1402 (Si), 41-1487 (graphite): cells, intensities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xrd_jax.config.cell import NMC532, NMC_REFLECTIONS
from xrd_jax.errors import UserError
from xrd_jax.series.axis import Axis, positions

PAD_WIDTHS = 1.5  # a window reaches this many full widths at half maximum beyond the peak's centre


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


def on_axis(lines: Iterable[Reflection], axis: Axis) -> tuple[Reflection, ...]:
    """Those reflections that lie between the first and the last channel, in the order given."""
    low, high = axis.values[[0, -1]]
    return tuple(line for line in lines if low <= positions(line.d, axis) <= high)
