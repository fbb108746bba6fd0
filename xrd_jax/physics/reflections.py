"""What a reflection is: a powder line of a phase, and the track of one through the frames of a series."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PAD_WIDTHS = 1.5  # a window reaches this many full widths at half maximum beyond the peak's centre


class Reflection(NamedTuple):
    """A powder line, the sum over its equivalent reflections (Rietveld, J. Appl. Crystallogr. 2, 65, 1969)."""

    phase: str  # such as 'NMC'
    hkl: str  # Miller indices, '012' or '1 0 -2'
    d: float  # spacing in Å
    intensity: float = math.nan  # integrated, the strongest line of the phase 1; NaN where it is not known

    @property
    def label(self) -> str:
        return f"{self.phase} {self.hkl}"


class Track(NamedTuple):
    """Where a reflection is in every frame (T), in axis units."""

    phase: str
    hkl: str
    centre: np.ndarray  # [T] middle of the peak
    spans: np.ndarray  # [T, G, 2] ends of its G parts (the stages of graphite); NaN for a part that is absent
    followed: bool = True  # False where no peak was found and the tabulated position stands in for it


def miller_text(hkl: Sequence[int]) -> str:
    """Return (0, 1, 2) as '012'; indices of more than one character are separated by spaces."""
    indices = [str(index) for index in hkl]
    return ("" if all(len(index) == 1 for index in indices) else " ").join(indices)
