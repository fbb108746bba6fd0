"""From a configuration to a finished run of a simpler model than the network: series → prepare → choose → report."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import jax

from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands.report import Report, report
from xrd_jax.commands.report_intervals import save_novelty
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.estimators import saved
from xrd_jax.estimators.candidates import choose
from xrd_jax.estimators.methods import METHODS
from xrd_jax.files import is_whole
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.preprocessing.targets import TargetSpec, target_specs
from xrd_jax.runtime import compilation
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.workdir import create_or_resume, repair, write_preparation


def fit_and_report(
    series: PatternSeries, config: Config, workdir: str | os.PathLike[str] | None, overwrite: bool, console: Console,
    started: float,
) -> tuple[Run, Report]:  # fmt: skip
    """Choose and fit `config.train.estimator`, write the run directory with report and figures.

    An estimator that the directory holds already, undamaged, is kept, and reported anew.

    Args:
      started: when the work began, on the clock of `time.perf_counter`.

    Raises:
      UserError: data or configuration that do not fit, a directory that holds something else, several processes.
    """
    compilation.full_float32()
    config = _of_one_fit(config, console)
    prepared = prepare(series, config.prepare, config.split_seed)
    specs = target_specs(prepared, config.targets)
    path = Path(workdir or Path("runs") / config.name)
    for line in repair(path):
        console.echo(line)
    create_or_resume(path, config, prepared, specs, overwrite)
    train_count, test_count = prepared.train.size, prepared.test.size
    console.echo(f"{train_count} patterns to fit to, {test_count} held out (split: {config.prepare.split})")
    data_s, begun, is_new = time.perf_counter() - started, time.perf_counter(), not is_whole(path / saved.FILE)
    run = _choose(path, config, prepared, specs, console) if is_new else open_run(path)
    fit_s = time.perf_counter() - begun
    prepared = dataclasses.replace(prepared, statistics=run.statistics)
    wall = {"data": data_s, "start": 0.0, "train": fit_s}
    result = report(run, series, prepared, wall, train_count / fit_s if is_new else float("nan"))
    console.echo("no attention maps: vaw.npz and the figures of VAW are of networks")
    for note in result.metrics.get("intervals", {}).get("notes", []):
        console.echo(note)
    result.figures.extend(save_novelty(run, prepared))
    return run, result


def _of_one_fit(config: Config, console: Console) -> Config:
    """Return the configuration of one fit, whatever number of seeds was asked for."""
    if jax.process_count() > 1:
        raise UserError(f"train.estimator={config.train.estimator} is one fit in one process; leave --distributed out")
    if config.seeds > 1:
        console.echo(f"seeds={config.seeds} is ignored: {config.train.estimator} is fitted once, and draws nothing")
    return dataclasses.replace(config, seeds=1)


def _choose(path: Path, config: Config, prepared: Prepared, specs: tuple[TargetSpec, ...], console: Console) -> Run:
    """Choose, fit and write; the statistics of the chosen scaling first, so that no estimator is without its own."""
    names = tuple(METHODS) if config.train.estimator == "auto" else (config.train.estimator,)
    choice = choose(prepared, config.prepare, specs, names, console)
    write_preparation(path, choice.statistics)
    saved.save(path, choice)
    return Run.from_choice(path, config, choice, specs)
