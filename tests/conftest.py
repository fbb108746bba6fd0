"""Strict by default: warnings are errors (pyproject.toml), rank promotion raises, nothing touches the network."""

from __future__ import annotations

import os
import tempfile

import jax
import numpy as np
import pytest

from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

jax.config.update("jax_numpy_rank_promotion", "raise")

# Files that take minutes: begun first, so that no process is left alone with one of them at the end.
LONG = ("test_attribution", "test_training", "test_explain", "test_streaming", "test_distributed", "test_devices")


def pytest_configure(config: pytest.Config) -> None:
    """What one test compiles serves all others, in whichever process they run: half of the time is the compiler's."""
    if hasattr(config, "workerinput") or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = tempfile.TemporaryDirectory(prefix="compiled")
    config.add_cleanup(home.cleanup)
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": home.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    jax.config.update("jax_compilation_cache_dir", home.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


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


@pytest.fixture
def series() -> PatternSeries:
    return make_series()


@pytest.fixture
def config() -> Config:
    """A network small enough to compile and train in seconds."""
    return Config(
        name="tiny",
        targets=CASE_TARGETS[3],
        prepare=PrepareConfig(channels=32),
        model=ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3),
        train=TrainConfig(epochs=2, batch_size=32, log_maps=1),
    )
