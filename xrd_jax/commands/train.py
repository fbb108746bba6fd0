"""From a configuration to a finished run: series → prepare → train → report, and many of them for an ablation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run
from xrd_jax.commands.report import Report, report
from xrd_jax.commands.tensorboard_watch import TensorBoardWatch
from xrd_jax.config.schema import Config
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.runtime import distributed
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit as train
from xrd_jax.training.fit import make_model
from xrd_jax.training.workdir import start

Echo = Callable[[str], None]


def fit(
    series: PatternSeries,
    config: Config,
    workdir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: bool = True,
    say: Echo = lambda line: None,
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
    return train_and_report(series, config, workdir, overwrite, progress, say, time.perf_counter())[0]


def train_and_report(
    series: PatternSeries,
    config: Config,
    workdir: str | os.PathLike[str] | None,
    overwrite: bool,
    progress: bool,
    say: Echo,
    begun: float,
) -> tuple[Run, Report]:
    """`fit` with the report; `begun` is when the work began, on the clock of `time.perf_counter`.

    Where several processes train together, only the first writes the run directory, and only it has a report.
    """
    prepared = prepare(series, config.prepare, config.split_seed)
    specs = make_model(config, prepared)[1]
    path, first = Path(workdir or Path("runs") / config.name), distributed.is_primary()
    if first:
        start(path, config, prepared, specs, overwrite)
    distributed.barrier("run directory")
    say(f"{prepared.train.size} patterns to train on, {prepared.test.size} to verify (split: {config.prepare.split})")
    data_s = time.perf_counter() - begun
    if not first:
        fitted = train(config, prepared, path / "checkpoints", lambda *_: None, progress=False)
        distributed.barrier("report")
        run = Run(path, config, fitted.specs, prepared.statistics, fitted.model, fitted.variables)
        return run, Report({}, [], [])
    monitor = TensorBoardWatch(path, config, prepared)
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
        novelty.save(run, prepared)  # now that the data are at hand: later they may have gone
        monitor.finish(result, specs)
    finally:
        monitor.close()
    distributed.barrier("report")
    return run, result
