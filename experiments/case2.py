"""Case 2 of the paper: do voltage and charging state, learnt together from patterns at 1C, rest on the same features?

    python launch.py --case=2

Expected on the simulated cell (random half, spline): voltage MAE 10.9 mV, state 99.3 %, medians of seeds 0 to 2; the
three nearest training patterns reach 1.9 mV and 99.7 %; the paper, on its own measurement, 18.6 mV and 97 %. Wall time
144 s on two cores. Printed by

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
"""

from __future__ import annotations

import dataclasses

from experiments import case1
from xrd_jax.config.schema import CASE_TARGETS, Config


def config() -> Config:
    """Case 1 with the charging state (four halves of half cycles) as a second target."""
    base = case1.config()
    # The state is the harder of the two here, and voltage has room to spare.
    train = dataclasses.replace(base.train, class_weight=3.0)
    return dataclasses.replace(base, name="case2", case=2, targets=CASE_TARGETS[2], train=train)
