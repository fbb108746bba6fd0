"""Which features of a spectrum carry the information, and can that answer be trusted?

`simulate` or `load` a series, `fit` networks to it, `open_run` what was written: docs/python.md has an example.
Names are imported when first used, so that `import xrd_jax` costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrd_jax.analysis.run import Run as Run
    from xrd_jax.analysis.run import open_run as open_run
    from xrd_jax.commands.train import fit as fit
    from xrd_jax.config.schema import Config as Config
    from xrd_jax.config.schema import ModelConfig as ModelConfig
    from xrd_jax.config.schema import PrepareConfig as PrepareConfig
    from xrd_jax.config.schema import TrainConfig as TrainConfig
    from xrd_jax.datasets import load as load
    from xrd_jax.errors import UserError as UserError
    from xrd_jax.scikit_learn import SpectrumClassifier as SpectrumClassifier
    from xrd_jax.scikit_learn import SpectrumRegressor as SpectrumRegressor
    from xrd_jax.series.record import PatternSeries as PatternSeries

__version__ = "0.1.0"

_HOMES = {
    "Config": "config.schema",
    "ModelConfig": "config.schema",
    "PrepareConfig": "config.schema",
    "TrainConfig": "config.schema",
    "PatternSeries": "series.record",
    "Run": "analysis.run",
    "SpectrumClassifier": "scikit_learn",
    "SpectrumRegressor": "scikit_learn",
    "UserError": "errors",
    "fit": "commands.train",
    "load": "datasets",
    "open_run": "analysis.run",
}
__all__ = [*_HOMES, "simulate"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'xrd_jax' has no attribute '{name}'")
    return getattr(importlib.import_module(f"xrd_jax.{_HOMES[name]}"), name)


def simulate(preset: str = "default", path: str | os.PathLike[str] | None = None, **fields: Any) -> Any:
    """Simulate the operando cell: a `PatternSeries` of counts.

    With `path`, frame after frame goes into that HDF5 file, so that no number of them fills the memory:
    `simulate(path="million.h5", repeats=125)`.

    Args:
      preset: 'default', 'paper_literal', 'low_dose', 'nmc622' or 'nmc811'.
      path: the file to be written; the series that comes back reads it.
      **fields: fields of `xrd_jax.config.cell.Cell` that differ from the preset, such as seed=1 or rates=('1C',).

    Raises:
      UserError: an unknown preset or field.
    """
    from xrd_jax.config.cell import PRESETS
    from xrd_jax.config.overrides import replace_fields
    from xrd_jax.errors import UserError
    from xrd_jax.physics import simulate as simulation
    from xrd_jax.runtime import compilation

    if preset not in PRESETS:
        raise UserError(f"preset '{preset}': the presets are {', '.join(PRESETS)}")
    compilation.full_float32()
    cell = replace_fields(PRESETS[preset], fields)
    return simulation.simulate_to_file(cell, path) if path else simulation.simulate(cell)
