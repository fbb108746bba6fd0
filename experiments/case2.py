"""Case 2: does a diffraction pattern taken at 1C tell voltage and charging state together?

python launch.py --case=2
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
