"""An experiment file and the data it names become one PatternSeries."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax import series
from xrd_jax.errors import UserError
from xrd_jax.io import clock, cyclers, locate, section, stack
from xrd_jax.io import plan as plans
from xrd_jax.io.cyclers import log as logs


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What `read_experiment` makes.

    Attributes:
      series: the patterns that were matched, in time order; `time` is mid-exposure on the cycler log's clock.
      report: plain sentences about what was read, left out or assumed.
      overrides: the [set] table as it stands, for the caller to apply to its configuration.
    """

    series: series.PatternSeries
    report: list[str]
    overrides: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Timeline:
    """The patterns [T] against the cell: `half_cycles` is None for a log without current."""

    time: np.ndarray
    log: logs.CyclerLog
    match: clock.Match
    half_cycles: logs.HalfCycles | None

    @property
    def cycle(self) -> np.ndarray:
        return np.zeros(self.time.size, np.int32) if self.half_cycles is None else self.half_cycles.cycle(self.time)

    @property
    def mode(self) -> np.ndarray:
        return np.full(self.time.size, -1) if self.half_cycles is None else self.half_cycles.mode(self.time)


def read_experiment(path: str | Path, data_root: str | Path | None = None) -> Experiment:
    """Reads an experiment file, its patterns and its cycler log, and matches their clocks.

    Relative paths in the file start at `data_root`, else at the environment's XRD_JAX_DATA, else at its own folder.

    Raises:
      UserError: naming the file, the place in it and the remedy.
    """
    plan = plans.read_plan(Path(path))
    root = locate.root(plan, data_root)
    report: list[str] = []
    files = locate.pattern_files(plan, root)
    log = cyclers.read_cycler(locate.one_file(plan, root, plan.cycler.file, "[cycler] file"), plan.cycler.format)
    log = dataclasses.replace(log, start=plan.cycler.start or log.start)
    _refuse_unknown_columns(plan, log)
    files, time = _in_time_order(files, _mid_exposures(plan, root, files, log, report), plan)
    axis, intensity = stack.load(plan, files, report)
    match = clock.match(log.time, time, plan.cycler.tolerance)
    timeline = _Timeline(time, log, match, _half_cycles(plan, log))
    keep = _kept(plan, files, timeline, report)
    targets = {target.name: _target(plan, target, timeline, keep, report) for target in plan.targets}
    report += [f"{plan.cycler.file}: {note}." for note in log.notes]
    whole = series.PatternSeries(
        intensity=intensity[keep],
        axis=axis,
        time=time[keep],
        targets=targets,
        cycle=timeline.cycle[keep],
        session=np.zeros(np.count_nonzero(keep), np.int32),
        session_names=(plan.title,),
        counts=plan.patterns.counts,
        windows=_on_axis(plan, axis),
        reflections=plan.reflections,
        provenance=_provenance(plan, files, keep, report),
    )
    return Experiment(whole, report, plan.overrides)


def _refuse_unknown_columns(plan: plans.Plan, log: logs.CyclerLog) -> None:
    for target in plan.targets:
        if target.column is not None and target.column not in log.columns:
            raise UserError(
                f"{plan.path}: [targets.{target.name}] column '{target.column}' is not in {plan.cycler.file}"
                f"{section.suggest(target.column, log.columns)}"
            )


def _mid_exposures(
    plan: plans.Plan, root: Path, files: Sequence[Path], log: logs.CyclerLog, report: list[str]
) -> np.ndarray:
    """[T] mid-exposure in s on the log's clock."""
    names = [file.name for file in files]
    if plan.time.table is not None:
        table = locate.one_file(plan, root, plan.time.table, "[time] table")
        start = clock.read_start_times(table, names, log.start)
    elif plan.time.step is not None:
        numbers = plan.time.first_number + np.arange(len(files))
        if plan.patterns.number is None:
            report.append("Patterns were numbered in the order of their names, as [patterns] number is not given.")
        else:
            numbers = clock.frame_numbers(names, plan.patterns.number)
            if missing := clock.missing_numbers(numbers):
                report.append(f"Missing pattern numbers: {_some(missing)}; times follow the numbers.")
        start = plan.time.first + (numbers - plan.time.first_number) * plan.time.step
        report.append(f"Times are not measured: a constant step of {plan.time.step:g} s between patterns is assumed.")
    return start + plan.time.offset + plan.time.exposure / 2


def _in_time_order(files: Sequence[Path], time: np.ndarray, plan: plans.Plan) -> tuple[list[Path], np.ndarray]:
    order = np.argsort(time, kind="stable")
    files, time = [files[i] for i in order], time[order]
    if (same := np.flatnonzero(np.diff(time) <= 0)).size:
        raise UserError(
            f"{plan.path}: {files[same[0]].name} and {files[same[0] + 1].name} have the same time; mend [time]"
        )
    return files, time


def _half_cycles(plan: plans.Plan, log: logs.CyclerLog) -> logs.HalfCycles | None:
    """None for a log without half cycles, as long as no target needs them."""
    try:
        return logs.half_cycles(log.time, plan.cycler.charge_sign * log.current, longest_gap=plan.cycler.tolerance)
    except UserError as error:
        if all(target.column is not None for target in plan.targets):
            return None
        raise UserError(f"{plan.path}: [cycler] file '{plan.cycler.file}': {error}") from None


def _kept(plan: plans.Plan, files: Sequence[Path], timeline: _Timeline, report: list[str]) -> np.ndarray:
    """[T] True for the patterns that every target has a value for."""
    time, found = timeline.time, timeline.match.found
    begin, end = timeline.log.time[[0, -1]]
    outside = (time < begin) | (time > end)
    if outside.all():
        raise UserError(
            f"{plan.path}: the patterns run from {time[0]:g} to {time[-1]:g} s, the cycler log from {begin:g} to "
            f"{end:g} s: they do not overlap; mend [time] or give [time] offset"
        )
    needs_mode = any(target.column is None for target in plan.targets)
    resting = found & (timeline.mode < 0) if needs_mode else np.zeros_like(found)
    reasons = {
        "outside the cycler log": outside,
        f"in gaps of the cycler log longer than {plan.cycler.tolerance:g} s": ~outside & ~found,
        "in rests, where there is neither charge nor discharge": resting,
    }
    for reason, which in reasons.items():
        if which.any():
            names = _some([files[i].name for i in np.flatnonzero(which).tolist()])
            count = np.count_nonzero(which)
            report.append(
                f"{count} of {len(files)} patterns {'lies' if count == 1 else 'lie'} {reason} and "
                f"{'was' if count == 1 else 'were'} left out: {names}."
            )
    keep = found & ~resting
    if not keep.any():
        raise UserError(
            f"{plan.path}: no pattern is left ({report[-1].rstrip('.')}); mend [time] or raise [cycler] tolerance"
        )
    if keep.all():
        report.append(f"All {len(files)} patterns were matched to the cycler log.")
    return keep


def _target(
    plan: plans.Plan, target: plans.TargetPlan, timeline: _Timeline, keep: np.ndarray, report: list[str]
) -> series.Target:
    """The values of one target for the patterns kept; refuses one that is the same everywhere."""
    columns = timeline.log.columns
    classes: tuple[str, ...]
    place = f"{plan.path}: [targets.{target.name}]"
    if target.kind == "regression" and target.column is not None:
        values = timeline.match.interpolate(columns[target.column])[keep]
        if np.all(values == values[0]):
            raise UserError(f"{place} is {values[0]:g} in every pattern; there is nothing to learn: remove it")
        return series.Target(values, "regression", target.unit or target.column.rpartition("/")[2])
    if target.column is None:
        values, classes = timeline.mode[keep], logs.MODES
    else:
        steps, values = np.unique(timeline.match.nearest(columns[target.column])[keep], return_inverse=True)
        if np.any(steps != np.round(steps)):
            raise UserError(
                f"{place} column '{target.column}' holds {steps[steps != np.round(steps)][0]:g}, which is no class; "
                'use kind = "regression"'
            )
        classes = tuple(f"{step:g}" for step in steps)
    counts = np.bincount(values, minlength=len(classes))
    if np.count_nonzero(counts) < 2:
        raise UserError(f"{place} is '{classes[values[0]]}' in every pattern; there is nothing to learn: remove it")
    report.append(
        f"Patterns per class of {target.name}: {', '.join(f'{c} {n}' for c, n in zip(classes, counts, strict=True))}."
    )
    return series.Target(values, "classification", "", classes)


def _on_axis(plan: plans.Plan, axis: series.Axis) -> dict[str, tuple[float, float]]:
    for name, (low, high) in plan.windows.items():
        if high < axis.values[0] or low > axis.values[-1]:
            raise UserError(
                f"{plan.path}: [windows] {name} = [{low:g}, {high:g}] lies off the axis, which runs from "
                f"{axis.values[0]:g} to {axis.values[-1]:g}; mend it"
            )
    return plan.windows


def _provenance(plan: plans.Plan, files: Sequence[Path], keep: np.ndarray, report: list[str]) -> dict[str, Any]:
    return {
        "source": "measured",
        "experiment": plan.path.name,
        "experiment_sha256": hashlib.sha256(plan.path.read_bytes()).hexdigest(),
        "title": plan.title,
        "patterns": plan.patterns.files,
        "cycler": plan.cycler.file,
        "files": [file.name for file, kept in zip(files, keep, strict=True) if kept],
        "report": list(report),
    }


def _some(items: Sequence[object]) -> str:
    shown = ", ".join(str(item) for item in items[:3])
    return shown + (f" and {len(items) - 3} more" if len(items) > 3 else "")
