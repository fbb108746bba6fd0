"""From a configuration to a finished run: series → prepare → train → report, and many of them for an ablation."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands.report import Report, markdown, report, scores
from xrd_jax.config.schema import Config, override, set_field, to_dict
from xrd_jax.errors import UserError
from xrd_jax.figures import run as figures_run
from xrd_jax.preprocessing.prepare import Prepared, TargetSpec, prepare
from xrd_jax.runtime import distributed
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit as train
from xrd_jax.training.fit import make_model
from xrd_jax.training.tensorboard import Monitor
from xrd_jax.training.workdir import start, write_bytes

Say = Callable[[str], None]


def load(path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None = None) -> PatternSeries:
    """Reads a series: an experiment file (.toml) or a series saved by `PatternSeries.save` (.h5).

    Raises:
      UserError: what is wrong, where, and how to mend it.
    """
    return _read(path, data_root)[0]


def _read(
    path: str | os.PathLike[str], data_root: str | os.PathLike[str] | None, cache: bool = True, progress: bool = False
):
    from xrd_jax.io.experiment.read import read_experiment

    if Path(path).suffix.lower() == ".toml":
        experiment = read_experiment(Path(path), Path(data_root) if data_root else None, cache, progress)
        return experiment.series, experiment.report, experiment.overrides
    if Path(path).suffix.lower() in (".h5", ".hdf5", ".nxs"):
        return PatternSeries.load(path), [], {}
    raise UserError(f"{path}: expected an experiment file (.toml) or a saved series (.h5)")


def acquire(
    config: Config, cache: bool = True, progress: bool = False
) -> tuple[PatternSeries, list[str], Mapping[str, Any]]:
    """The series of a configuration, remarks for the user, and the settings that its experiment file asks for.

    Args:
      cache: keep what many pattern files held, so that they read at once the next time.
    """
    if config.data:
        return _read(config.data, config.data_root, cache, progress)
    from xrd_jax.physics.simulate import simulate

    series = simulate(config.cell)
    sizes = ", ".join(f"{(series.session == i).sum()} at {n}" for i, n in enumerate(series.session_names))
    return series, [f"simulated {len(series)} patterns of {series.axis.values.size} channels ({sizes})"], {}


def apply_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with the `[set]` table of an experiment file applied."""
    for key, value in settings.items():
        config = set_field(config, key, value)
    return config


def fit(
    series: PatternSeries,
    config: Config,
    workdir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    say: Say = lambda line: None,
) -> Run:
    """Trains on a series, writes the run directory with report and figures, and opens it.

    Interrupted at any instant and called again, it continues from the last checkpoint and ends bit-identical.

    Args:
      workdir: the run directory; `runs/<config.name>` by default.
      overwrite: replace a run that is there; otherwise the same experiment is resumed and another one refused.
      say: takes lines for the user.

    Raises:
      UserError: data or configuration that do not fit, a directory that holds something else, a non-finite loss.
    """
    return conduct(series, config, workdir, overwrite, progress, say, time.perf_counter())[0]


def conduct(
    series: PatternSeries,
    config: Config,
    workdir: str | os.PathLike[str] | None,
    overwrite: bool,
    progress: bool,
    say: Say,
    begun: float,
) -> tuple[Run, Report]:
    """`fit` with the report; `begun` is when the work began, on the clock of `time.perf_counter`.

    Where several processes train together, only the first writes the run directory, and only it has a report.
    """
    prepared = prepare(series, config.prepare, config.split_seed)
    specs = make_model(config, prepared)[1]
    path, first = Path(workdir or Path("runs") / config.name), distributed.first()
    if first:
        start(path, config, prepared, specs, overwrite)
    distributed.wait("run directory")
    say(f"{prepared.train.size} patterns to train on, {prepared.test.size} to verify (split: {config.prepare.split})")
    data_s = time.perf_counter() - begun
    if not first:
        fitted = train(config, prepared, path / "checkpoints", lambda *_: None, progress=False)
        distributed.wait("report")
        run = Run(path, config, fitted.specs, prepared.statistics, fitted.model, fitted.variables)
        return run, Report({}, [], [])
    monitor = _Watch(path, config, prepared)
    try:
        fitted = train(config, prepared, path / "checkpoints", monitor, progress)
        for note in fitted.notes:
            say(note)
        if fitted.first_step == fitted.first_step:  # nothing may have been left to train
            say(f"first step after {fitted.first_step - begun:.1f} s, {fitted.compile_s:.1f} s of them to compile")
        say("analysing: predictions, attention maps, figures")
        run = Run(path, config, fitted.specs, prepared.statistics, fitted.model, fitted.variables)
        wall = {"data": data_s, "start": fitted.start_s, "train": fitted.train_s}
        result = report(run, series, prepared, wall, fitted.patterns_per_s)
        novelty.keep(run, prepared)  # now that the data are at hand: later they may have gone
        monitor.finish(result, specs)
    finally:
        monitor.close()
    distributed.wait("report")
    return run, result


class _Watch:
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
                self._monitor.picture(0, f"figures/{file.stem}", matplotlib.image.imread(file)[..., :3])
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


def ablate(
    variants: Mapping[str, list[str]],
    base: Config,
    workdir: Path,
    overwrite: bool = False,
    progress: bool = True,
    say: Say = lambda line: None,
) -> str:
    """Trains every variant of an ablation, each in its own run directory, and writes one table over all.

    Args:
      variants: label -> `key=value` differences from `base`.

    Returns:
      the Markdown table: a row per variant, mean ± standard deviation over seeds.
    """
    rows: list[list[str]] = []
    made: tuple[Any, PatternSeries] | None = None
    for index, (label, differences) in enumerate(variants.items()):
        config = dataclasses.replace(override(base, differences), name=_slug(label))
        say(f"[{index + 1}/{len(variants)}] {label}")
        begun = time.perf_counter()
        if made is None or made[0] != config.cell:
            made = config.cell, acquire(config)[0]
        _, result = conduct(made[1], config, workdir / config.name, overwrite, progress, say, begun)
        if not distributed.first():
            continue
        head, own = result.rows[:2]
        rows += [["variant", *head[1:]]] if not rows else []
        rows.append([label, *own[1:]])
        write_bytes(workdir / "table.md", markdown(rows).encode())
    return markdown(rows)


def _slug(label: str) -> str:
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in label).split()).lower()


__all__ = ["Say", "ablate", "acquire", "apply_settings", "conduct", "fit", "load", "open_run"]
