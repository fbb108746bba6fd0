"""From a configuration to a finished run: series → prepare → train → report."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from xrd_jax.analysis.run import Run
from xrd_jax.commands.estimate import fit_and_report
from xrd_jax.commands.report import Report, report
from xrd_jax.commands.report_intervals import save_novelty
from xrd_jax.commands.tensorboard_watch import TensorBoardWatch
from xrd_jax.config.schema import Config
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.runtime import distributed
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit as train
from xrd_jax.training.fit import make_model
from xrd_jax.training.workdir import create_or_resume, repair


def fit(
    series: PatternSeries, config: Config, workdir: str | os.PathLike[str] | None = None, overwrite: bool = False,
    progress: bool = True, say: Callable[[str], None] = lambda line: None,
) -> Run:  # fmt: skip
    """Train networks, or fit `config.train.estimator`, write the run directory with report and figures, and open it.

    Interrupted at any instant and called again, it continues from the last checkpoint and ends bit-identical.

    Args:
      workdir: the run directory; `runs/<config.name>` by default.
      overwrite: replace a run that is there; otherwise the same experiment is resumed and another one refused.
      progress: draw a progress bar on standard error.
      say: takes lines for the user.

    Raises:
      UserError: data or configuration that do not fit, a directory that holds something else, a non-finite loss.
    """
    console = Console(say, progress)
    return train_and_report(series, config, workdir, overwrite, console, time.perf_counter())[0]


def train_and_report(
    series: PatternSeries, config: Config, workdir: str | os.PathLike[str] | None, overwrite: bool, console: Console,
    started: float,
) -> tuple[Run, Report]:  # fmt: skip
    """Do what `fit` does, and return the report too.

    Where several processes train together, only the first writes the run directory, and only it has a report.

    Args:
      started: when the work began, on the clock of `time.perf_counter`.
    """
    if config.train.estimator != "network":
        return fit_and_report(series, config, workdir, overwrite, console, started)
    prepared = prepare(series, config.prepare, config.split_seed)
    path = Path(workdir or Path("runs") / config.name)
    if distributed.is_primary():
        for line in repair(path):
            console.echo(line)
        create_or_resume(path, config, prepared, make_model(config, prepared)[1], overwrite)
    distributed.barrier("run directory")
    train_count, test_count = prepared.train.size, prepared.test.size
    console.echo(f"{train_count} patterns to train on, {test_count} held out (split: {config.prepare.split})")
    if distributed.is_primary():
        run, result = _train_as_primary(path, series, prepared, config, console, started)
    else:
        fitted = train(config, prepared, path / "checkpoints", lambda *_: None, progress=False)
        run, result = Run.from_training(path, config, fitted, prepared), Report({}, [], [], [])
    distributed.barrier("report")
    return run, result


def _train_as_primary(
    path: Path, series: PatternSeries, prepared: Prepared, config: Config, console: Console, started: float
) -> tuple[Run, Report]:
    data_s = time.perf_counter() - started
    monitor = TensorBoardWatch(path, config, prepared)
    try:
        fitted = train(config, prepared, path / "checkpoints", monitor, console.progress)
        for note in fitted.notes:
            console.echo(note)
        if not math.isnan(fitted.first_step):  # nothing may have been left to train
            waited = fitted.first_step - started
            console.echo(f"first step after {waited:.1f} s, {fitted.compile_s:.1f} s of them to compile")
        console.echo("analysing: predictions, attention maps, figures")
        run = Run.from_training(path, config, fitted, prepared)
        wall = {"data": data_s, "start": fitted.start_s, "train": fitted.train_s}
        result = report(run, series, prepared, wall, fitted.patterns_per_s)
        for note in result.metrics.get("intervals", {}).get("notes", []):
            console.echo(note)
        result.figures.extend(save_novelty(run, prepared))
        monitor.write_final(result, fitted.specs)
        if monitor.is_cut:
            console.echo("the disk was full for a time: the curves in TensorBoard are cut; the run itself is whole")
    finally:
        monitor.close()
    return run, result
