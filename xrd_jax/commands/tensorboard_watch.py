"""What a training sends to TensorBoard while it runs: curves, held-out errors, maps, final figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.commands.report import Report
from xrd_jax.config.overrides import to_dict
from xrd_jax.config.schema import Config
from xrd_jax.figures.run import vaw_image
from xrd_jax.figures.style import read_png
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training.fit import make_model
from xrd_jax.training.held_out import HeldOut
from xrd_jax.training.tensorboard import Monitor

MAX_MAPS = 96  # rows of the picture of attention maps, about


class TensorBoardWatch:
    """The callback of a training."""

    def __init__(self, path: Path, config: Config, prepared: Prepared):
        self._path, self._config, self._prepared = path, config, prepared
        series = prepared.series
        first_session = np.flatnonzero(series.session == series.session[0])
        self._mapped = series.subset(first_session[:: max(1, first_session.size // MAX_MAPS)])
        self._monitor: Monitor | None = None
        self._run: Run | None = None
        network = make_model(config, prepared)
        self._parts = {"test": HeldOut(config, prepared, network, prepared.test)}
        if prepared.calibration.size:
            self._parts["calibration"] = HeldOut(config, prepared, network, prepared.calibration)

    def __call__(self, step: int, means: dict[str, np.ndarray], variables: dict[str, Any], epoch: int) -> None:
        if self._monitor is None:
            self._monitor = Monitor(self._path / "tensorboard", self._config.seed_list(), start=step)
        self._monitor.add_scalars(step, {f"train/{name}": values for name, values in means.items()})
        if self._is_due(epoch, self._config.train.log_test):
            for part, held_out in self._parts.items():
                metrics = held_out(variables)
                self._monitor.add_scalars(step, {f"{part}/{tag}": per_seed for tag, per_seed in metrics.items()})
        if self._is_due(epoch, self._config.train.log_maps):
            maps = self._run_with(variables).vaw(self._mapped).standardised()
            self._monitor.add_images(step, "vaw", np.stack([1.0 - vaw_image(seed_map) for seed_map in maps]))

    def _is_due(self, epoch: int, every: int) -> bool:
        return every > 0 and (epoch % every == 0 or epoch == self._config.train.epochs)

    def _run_with(self, variables: dict[str, Any]) -> Run:
        if self._run is None:
            model, specs = make_model(self._config, self._prepared)
            self._run = Run(self._path, self._config, specs, self._prepared.statistics, model, variables)
        self._run = dataclasses.replace(self._run, variables=variables)
        return self._run

    def write_final(self, result: Report, specs: tuple[TargetSpec, ...]) -> None:
        """Write the final figures, and hyper-parameters beside final errors; nothing when nothing was trained."""
        if self._monitor is None:
            return
        for file in result.figures:
            if file.suffix == ".png":
                self._monitor.add_figure(0, f"figures/{file.stem}", read_png(file))
        settings = to_dict(self._config)
        hyper_parameters = {
            f"{section}.{key}": value
            for section in ("prepare", "model", "train")
            for key, value in settings[section].items()
        }
        kinds = {spec.name: "mae" if spec.kind == "regression" else "accuracy" for spec in specs}
        final_errors = [
            {
                f"final/{kind}/{name}": result.metrics["targets"][name][kind]["per_seed"][seed]
                for name, kind in kinds.items()
            }
            for seed in range(self._config.seeds)
        ]
        self._monitor.add_hparams(hyper_parameters, final_errors)

    @property
    def is_cut(self) -> bool:
        """Whether curves were lost because the disk was full."""
        return self._monitor is not None and self._monitor.is_cut

    def close(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
