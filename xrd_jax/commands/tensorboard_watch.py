"""What a training sends to TensorBoard while it runs: curves, held-out errors, maps, final figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.analysis.metrics import scores
from xrd_jax.analysis.run import Run
from xrd_jax.commands.report import Report
from xrd_jax.config.overrides import to_dict
from xrd_jax.config.schema import Config
from xrd_jax.figures.run import vaw_image
from xrd_jax.figures.style import read_png
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training.fit import make_model
from xrd_jax.training.tensorboard import Monitor

MAX_TEST_PATTERNS = 512  # predicted while training, about; all of them would hold the training up
MAX_MAPS = 96  # rows of the picture of attention maps, about


class TensorBoardWatch:
    """The callback of a training."""

    def __init__(self, path: Path, config: Config, prepared: Prepared):
        self._path, self._config, self._prepared = path, config, prepared
        series, test = prepared.series, prepared.test
        self._test = series.subset(test[:: max(1, test.size // MAX_TEST_PATTERNS)])
        first_session = np.flatnonzero(series.session == series.session[0])
        self._mapped = series.subset(first_session[:: max(1, first_session.size // MAX_MAPS)])
        self._monitor: Monitor | None = None
        self._run: Run | None = None

    def __call__(self, step: int, means: dict[str, np.ndarray], variables: dict[str, Any], epoch: int) -> None:
        if self._monitor is None:
            self._monitor = Monitor(self._path / "tensorboard", self._config.seed_list(), start=step)
        self._monitor.add_scalars(step, {f"train/{name}": values for name, values in means.items()})
        every = self._config.train.log_maps
        if every < 1 or (epoch % every and epoch != self._config.train.epochs):
            return
        run = self._run_with(variables)
        outputs = run.predict(self._test)
        for spec in run.specs:
            score = scores(spec, outputs[spec.name], self._test.targets[spec.name].values)
            for kind in ("mae", "rmse", "accuracy"):
                if kind in score:
                    self._monitor.add_scalars(step, {f"verify/{kind}/{spec.name}": np.asarray(score[kind]["per_seed"])})
        maps = run.vaw(self._mapped).standardised()
        self._monitor.add_images(step, "vaw", np.stack([1.0 - vaw_image(seed_map) for seed_map in maps]))

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

    def close(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
