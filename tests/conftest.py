"""Strict: warnings are errors (pyproject.toml), ranks and dtypes are not promoted in silence, no network."""

from __future__ import annotations

import os
import tempfile

import jax
import pytest

from tests.support.series import make_series
from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.series.record import PatternSeries

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Files that take minutes: begun first, so that no process is left alone with one of them at the end.
LONG = ("test_attribution", "test_training", "test_study", "test_streaming", "test_distributed", "test_devices")


# Half of the time is the compiler's, so it makes nothing fast, unless JAX_DISABLE_MOST_OPTIMIZATIONS=0 says so.
COMPILER = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}


def pytest_configure(config: pytest.Config) -> None:
    """What one test compiles serves all others, in whichever process they run."""
    if not hasattr(config, "workerinput") and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = tempfile.TemporaryDirectory(prefix="compiled")
        config.add_cleanup(home.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = home.name
    os.environ |= COMPILER | os.environ  # for processes to come; this one has read them already
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    seconds = os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(seconds))
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"{name}.py": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


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
