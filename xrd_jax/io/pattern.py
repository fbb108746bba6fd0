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
    """What one file says about one pattern.

    Attributes:
      axis: [N] strictly increasing positions, in whatever unit the file uses.
      intensity: [N] finite intensities.
      errors: [N] standard uncertainties of `intensity`, or None where the file has none.
      start_time: start of the exposure, with a zone only if the file states one, or None.
      metadata: what the header says, key -> text; 'header' holds it whole.
      notes: plain sentences about what the reader had to do, such as turning a falling axis round.
    """

    axis: np.ndarray
    intensity: np.ndarray
    errors: np.ndarray | None = None
    start_time: datetime.datetime | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
