"""Case 1 of the paper: which features of patterns taken at 1C carry the cell voltage?

    python launch.py --case=1

Expected on the simulated cell (random half, spline): voltage MAE 7.5 mV, median of seeds 0 to 2; 7.3 mV of seeds 0 to
7; the three nearest training patterns reach 1.9 mV; the paper, on its own measurement, 14.7 mV. Wall time 140 s on two
cores. Printed by

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
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
