"""Pattern: one measured pattern as a file states it, before anything is known about clocks or cells."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import numpy as np

# Weighted mean Kα wavelengths in Å, (2 Kα1 + Kα2) / 3; International Tables for Crystallography C, table 4.2.2.1.
KALPHA_MEAN = {"Cr": 2.2910, "Fe": 1.9374, "Co": 1.7903, "Cu": 1.5418, "Mo": 0.7107, "Ag": 0.5609}


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What one file says about one pattern; what it does not say is None, never a guess.

    Attributes:
      axis: [N] strictly increasing positions, in the unit of `series.AXIS_UNITS` where `kind` is known, else in
        whatever unit the file uses.
      intensity: [N] finite intensities.
      errors: [N] standard uncertainties of `intensity`, or None where the file has none.
      kind: one of `series.AXIS_UNITS`, or None where the file does not say what its positions are.
      wavelength: Å, as the file states it for this scan (Kα1 or the weighted mean), or None.
      start_time, end_time: of the exposure, with a zone only if the file states one, or None.
      exposure: counting time of the pattern in s (of the whole scan, not of a step), or None.
      metadata: what the header says, key -> text; 'header' holds it whole where it is text.
      notes: plain sentences about what the reader had to do, such as turning a falling axis round.
    """

    axis: np.ndarray
    intensity: np.ndarray
    errors: np.ndarray | None = None
    kind: str | None = None
    wavelength: float | None = None
    start_time: datetime.datetime | None = None
    end_time: datetime.datetime | None = None
    exposure: float | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
