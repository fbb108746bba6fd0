"""The three cases of the paper: what is learnt from which patterns of the cell, and how.

What each is expected to reach, and the command that shows it: experiments/case1.py to case3.py.
"""

import dataclasses
from collections.abc import Callable, Mapping

from xrd_jax.config.schema import CASE_TARGETS, Config, PrepareConfig, TrainConfig


def case1() -> Config:
    """Case 3's recipe, on the 1C frames, with voltage as the only target."""
    base = case3()
    cell = dataclasses.replace(base.cell, rates=("1C",))
    return dataclasses.replace(base, name="case1", case=1, targets=CASE_TARGETS[1], cell=cell)


def case2() -> Config:
    """Case 1 with the charging state (four halves of half cycles) as a second target."""
    base = case1()
    # The state is the harder of the two here, and voltage has room to spare.
    train = dataclasses.replace(base.train, class_weight=3.0)
    return dataclasses.replace(base, name="case2", case=2, targets=CASE_TARGETS[2], train=train)


def case3() -> Config:
    """The paper's network and window (V ≥ 3.6 V); optimiser and epochs, which it leaves open, chosen by measurement."""
    return Config(
        name="case3",
        case=3,
        targets=CASE_TARGETS[3],
        prepare=PrepareConfig(window_target="voltage", window_low=3.6),
        train=TrainConfig(
            epochs=50,
            learning_rate=2e-3,
            regression_scale=0.3,
            class_weight=1.0,
            augment="redraw",
            redraw_frames=3.0,
            redraw_shift=0.003,
        ),
    )


CASES: Mapping[int, Callable[[], Config]] = {1: case1, 2: case2, 3: case3}
