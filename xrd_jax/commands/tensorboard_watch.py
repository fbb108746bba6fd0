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
from xrd_jax.figures import run as figures_run
from xrd_jax.figures import style
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training.fit import make_model
from xrd_jax.training.tensorboard import Monitor


class TensorBoardWatch:
    """Sends a training's curves, verification errors and maps to TensorBoard."""

    def __init__(self, path: Path, config: Config, prepared: Prepared):
        self._path, self._config, self._prepared = path, config, prepared
        self._monitor: Monitor | None = None
        every = max(1, prepared.test.size // 512)
        self._sample = prepared.series.subset(prepared.test[::every])
        chosen = prepared.series.session == prepared.series.session[0]
        where = np.flatnonzero(chosen)
        self._mapped = prepared.series.subset(where[:: max(1, where.size // 96)])
        self._run: Run | None = None

    def __call__(self, step: int, means: dict[str, np.ndarray], variables: dict[str, Any], epoch: int) -> None:
        monitor = self._open(step)
        monitor.scalars(step, {f"train/{name}": values for name, values in means.items()})
        every = self._config.train.log_maps
        if every < 1 or (epoch % every and epoch != self._config.train.epochs):
            return
        run = self._look(variables)
        outputs = run.predict(self._sample)
        for spec in run.specs:
            score = scores(spec, outputs[spec.name], self._sample.targets[spec.name].values)
            for kind in ("mae", "rmse", "accuracy"):
                if kind in score:
                    monitor.scalars(step, {f"verify/{kind}/{spec.name}": np.asarray(score[kind]["per_seed"])})
        maps = run.vaw(self._mapped).standardised()
        monitor.image(step, "vaw", np.stack([1.0 - figures_run.vaw_image(one) for one in maps]))

    def _open(self, step: int) -> Monitor:
        if self._monitor is None:
            self._monitor = Monitor(self._path / "tensorboard", self._config.seed_list(), start=step)
        return self._monitor

    def _look(self, variables: dict[str, Any]) -> Run:
        if self._run is None:
            model, specs = make_model(self._config, self._prepared)
            self._run = Run(self._path, self._config, specs, self._prepared.statistics, model, variables)
        self._run = dataclasses.replace(self._run, variables=variables)
        return self._run

    def finish(self, result: Report, specs: tuple[TargetSpec, ...]) -> None:
        """The final figures, and hyper-parameters beside final errors; nothing when nothing was trained."""
        if self._monitor is None:
            return
        for file in result.figures:
            if file.suffix == ".png":
                self._monitor.picture(0, f"figures/{file.stem}", style.read_png(file))
        values = {
            f"{group}.{k}": v
            for group in ("prepare", "model", "train")
            for k, v in to_dict(self._config)[group].items()
        }
        final = []
        for seed in range(self._config.seeds):
            own = {}
            for spec in specs:
                target = result.metrics["targets"][spec.name]
                kind = "mae" if spec.kind == "regression" else "accuracy"
                own[f"final/{kind}/{spec.name}"] = target[kind]["per_seed"][seed]
            final.append(own)
        self._monitor.hparams(values, final)

    def close(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
