"""Case 3: voltage, charging state and C-rate together, from patterns taken at 1C and 0.2C.

python launch.py --case=3
"""

from __future__ import annotations

from xrd_jax.config.schema import CASE_TARGETS, Config, PrepareConfig, TrainConfig


def config() -> Config:
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
