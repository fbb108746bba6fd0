"""A small series for tests."""

from __future__ import annotations

import numpy as np

from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries


def make_series(frames: int = 240, channels: int = 96, seed: int = 0) -> PatternSeries:
    """Two sessions of two cycles: a peak that moves with the voltage, one that stays, Poisson noise."""
    axis = np.linspace(20.0, 30.0, channels)
    per_session = frames // 2
    phase = np.tile(np.arange(per_session) / per_session * 2.0, 2)
    session = np.repeat([0, 1], per_session)
    cycle, within = phase.astype(int), phase % 1.0
    voltage = 3.6 + 0.6 * (1.0 - np.abs(2.0 * within - 1.0))
    moving = 24.0 + 4.0 * (voltage - 3.6) + 0.3 * (within > 0.5)
    width = 0.3 + 0.15 * session
    rates = 30.0 + 400.0 * np.exp(-0.5 * ((axis[None, :] - moving[:, None]) / width[:, None]) ** 2)
    rates += 300.0 * np.exp(-0.5 * ((axis[None, :] - 22.0) / 0.3) ** 2)
    return PatternSeries(
        intensity=np.random.default_rng(seed).poisson(rates).astype(np.uint16),
        axis=Axis(axis, "two_theta", 1.5418),
        time=np.tile(np.arange(per_session) * 10.0, 2),
        targets={
            "voltage": Target(voltage, "regression", "V"),
            "mode": Target((within * 4).astype(int), "classification", "", ("c1", "c2", "d1", "d2")),
            "rate": Target(session, "classification", "", ("1C", "0.2C")),
        },
        cycle=cycle,
        session=session,
        session_names=("1C", "0.2C"),
        is_counts=True,
        windows={"moving": (23.5, 27.0), "static": (21.0, 23.0)},
        reflections={"static": 22.0},
        provenance={"source": "test"},
    )
