"""Strict: warnings are errors (pyproject.toml), ranks and dtypes are not promoted in silence, no network."""

from __future__ import annotations

import os
import tempfile

import hypothesis
import jax
import pytest

from tests.support.series import make_series
from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.series.record import PatternSeries

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# On a busy machine an example may take any time.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# Files that take long: begun first, so that no process is left alone with one of them at the end.
LONG = (
    "test_run", "test_distributed", "test_attribution", "test_study", "test_intervals", "test_watch", "test_training",
    "test_export", "test_devices",
)  # fmt: skip

# The compiler would take most of the time: it makes nothing fast here. `XLA_FLAGS= pytest` compiles as for a user.
QUICK_COMPILER = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


def pytest_configure(config: pytest.Config) -> None:
    """Compile quickly; what one test compiles serves all others, in whichever process they run."""
    os.environ.setdefault("XLA_FLAGS", QUICK_COMPILER)
    if hasattr(config, "workerinput") or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = tempfile.TemporaryDirectory(prefix="compiled")
    config.add_cleanup(home.cleanup)
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": home.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05"}
    jax.config.update("jax_compilation_cache_dir", home.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


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
