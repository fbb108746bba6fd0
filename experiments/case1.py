"""Case 1: does a diffraction pattern taken at 1C tell the cell voltage?

python launch.py --case=1
"""

from __future__ import annotations

import dataclasses

from experiments import case3
from xrd_jax.config.schema import CASE_TARGETS, Config


def config() -> Config:
    """Case 3's recipe, on the 1C frames, with voltage as the only target."""
    base = case3.config()
    cell = dataclasses.replace(base.cell, rates=("1C",))
    return dataclasses.replace(base, name="case1", case=1, targets=CASE_TARGETS[1], cell=cell)
