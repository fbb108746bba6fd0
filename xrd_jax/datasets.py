"""The series of a configuration: simulated, saved, or read from the files of an experiment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrd_jax.config.overrides import set_field
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.series.record import PatternSeries


def load(path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None) -> PatternSeries:
    """Read a series: an experiment file (.toml) or a series saved by `PatternSeries.save` (.h5).

    Raises:
      UserError: what is wrong, where, and how to mend it.
    """
    return _read(path, data_root, True, False)[0]


def load_for(
    config: Config, cache: bool = True, progress: bool = False
) -> tuple[PatternSeries, list[str], Mapping[str, Any]]:
    """Return the series of a configuration, remarks for the user, and the settings its experiment file asks for.

    Args:
      cache: keep what many pattern files held, so that they read at once the next time.
      progress: show how many files have been read.
    """
    if config.data:
        return _read(config.data, config.data_root, cache, progress)
    from xrd_jax.physics.simulate import simulate  # brings JAX, which reading does without

    series = simulate(config.cell)
    sizes = ", ".join(f"{(series.session == i).sum()} at {name}" for i, name in enumerate(series.session_names))
    return series, [f"simulated {len(series)} patterns of {series.axis.values.size} channels ({sizes})"], {}


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return `config` with the `[set]` table of an experiment file applied."""
    for key, value in settings.items():
        config = set_field(config, key, value)
    return config


def _read(
    path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None, cache: bool, progress: bool
) -> tuple[PatternSeries, list[str], Mapping[str, Any]]:
    suffix = Path(path).suffix.lower()
    if suffix == ".toml":
        experiment = read_experiment(Path(path), Path(data_root) if data_root else None, cache, progress)
        return experiment.series, experiment.report, experiment.overrides
    if suffix in (".h5", ".hdf5", ".nxs"):
        return PatternSeries.load(path), [], {}
    raise UserError(f"{path}: expected an experiment file (.toml) or a saved series (.h5)")
