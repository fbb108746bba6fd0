"""An experiment file and the data it names become one PatternSeries."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.config import row_ranges
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import clock, exposure_times, parse, paths, stack, stack_csv, targets
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.reading import many_files
from xrd_jax.series import axis as series_axis
from xrd_jax.series import lazy, record


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What `read_experiment` makes.

    Attributes:
      series: the patterns that were matched, in time order within each session; `time` is mid-exposure on the cycler
        log's clock.
      report: plain sentences about what was read, left out or assumed.
      overrides: the [split] and [set] tables, for the caller to apply to its configuration.
    """

    series: record.PatternSeries
    report: list[str]
    overrides: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Part:
    """A session as read: `keep` [T] are the patterns with a value for every target, `origin` their rows as listed."""

    line: targets.Timeline
    axis: series_axis.Axis
    found: dict[str, np.ndarray]
    keep: np.ndarray
    origin: np.ndarray
    listed: int


def read_experiment(
    path: str | Path, data_root: str | Path | None = None, cache: bool = False, progress: bool = False
) -> Experiment:
    """Reads an experiment file, its patterns and its cycler logs, and matches their clocks.

    Relative paths in the file start at `data_root`, else at the environment's XRD_JAX_DATA, else at its own folder.

    Args:
      cache: keep what many text files held, so that the same files read at once the next time.
      progress: draw a bar while many files are read.

    Raises:
      UserError: naming the file, the place in it and the remedy.
    """
    plan = parse.read_plan(Path(path))
    root = paths.root(plan, data_root)
    report: list[str] = []
    reading = many_files.Reading(cache, progress)
    parts = [_session(plan, session, root, reading, report) for session in plan.sessions]
    axis = _common_axis(plan, parts)
    kept = [lazy.subset(part.line.rows.intensity, part.keep) for part in parts]
    intensity = stack.joined(kept, [session.name for session in plan.sessions])
    shown, intensity = stack.masked(plan.axis, axis, intensity)
    merged = {
        target.name: targets.merge(plan, target, [part.found[target.name][part.keep] for part in parts], report)
        for target in plan.targets
    }
    report += [f"{part.line.session.cycler.file}: {note}." for part in parts
               if part.line.log and part.line.session.cycler for note in part.line.log.notes]  # fmt: skip
    whole = record.PatternSeries(
        intensity=intensity,
        axis=shown,
        time=np.concatenate([part.line.time[part.keep] for part in parts]),
        targets=merged,
        cycle=np.concatenate([part.line.cycle[part.keep] for part in parts]),
        session=np.repeat(np.arange(len(parts)), [np.count_nonzero(part.keep) for part in parts]),
        session_names=tuple(session.name for session in plan.sessions),
        is_counts=all(session.patterns.counts for session in plan.sessions),
        windows=_on_axis(plan, shown),
        reflections=plan.reflections,
        provenance=_provenance(plan, parts, report),
        timed=any(session.time is not None for session in plan.sessions),
    )
    return Experiment(whole, report, _overrides(plan, parts))


def _session(
    plan: plans.Plan, session: plans.SessionPlan, root: Path, reading: many_files.Reading, report: list[str]
) -> _Part:
    """Reads one session; its sentences start with its name where there are several."""
    said: list[str] = []
    rows = _rows(plan, session, root, reading, said)
    rows, origin, listed = _without_excluded(plan, session, rows, said)
    axis = stack.axis(plan, rows, said)
    if session.patterns.counts:
        rows = dataclasses.replace(rows, intensity=stack.whole(rows))
    log, start = _log(plan, session, root)
    _refuse_unknown_columns(plan, session, log)
    time = exposure_times.mid_exposures(plan, session, root, rows, start, said)
    order = _time_order(time, rows.names, f"{plan.path}: ", f"[{session.prefix}time]")
    rows, time, origin = rows.subset(order), time[order], origin[order]
    numbers = exposure_times.numbers(session, rows.names)
    line = targets.Timeline(session, rows, time, numbers)
    if log is not None and session.cycler is not None:
        match = clock.match(log.time, time, session.cycler.tolerance)
        line = dataclasses.replace(line, log=log, match=match, half_cycles=_half_cycles(plan, session, log))
    found = {target.name: targets.values(plan, target, line, root) for target in plan.targets}
    keep = _kept(plan, line, found, said)
    several = len(plan.sessions) > 1
    report += [f"{session.name}: {sentence}" if several else sentence for sentence in said]
    return _Part(line, axis, found, keep, origin, listed)


def _rows(
    plan: plans.Plan, session: plans.SessionPlan, root: Path, reading: many_files.Reading, said: list[str]
) -> stack.Stack:
    place = f"{plan.path}: [{session.prefix.rstrip('.')}] stack"
    if session.patterns.stack:
        rows = stack_csv.load(session.patterns, paths.one_file(plan, root, session.patterns.stack, place))
    else:
        files = paths.pattern_files(plan, session, root)
        rows = stack.load(files, session.patterns.allow_negative, reading.read_all)
    total = len(rows.names)
    said.append(f"{total} patterns of {rows.axis.size} channels were read from {session.patterns.shown}.")
    unit = "rows" if session.patterns.stack else "files"
    said += [f"In {count} of {total} {unit} {note}." for note, count in rows.notes.items()]
    return rows


def _without_excluded(
    plan: plans.Plan, session: plans.SessionPlan, rows: stack.Stack, said: list[str]
) -> tuple[stack.Stack, np.ndarray, int]:
    """The rows that are not excluded, where they stood in the list, and how long the list was."""
    total = len(rows.names)
    hidden = np.zeros(total, bool)
    numbers = (
        exposure_times.numbers(session, rows.names) if any(type(e) is int for e in session.patterns.exclude) else None
    )
    for entry in session.patterns.exclude:
        place = f"{plan.path}: [{session.prefix.rstrip('.')}] exclude = {entry!r}"
        if isinstance(entry, int):
            # Without numbers in names, a row of a stack or a place in the list, from 0.
            which = (np.arange(total) if numbers is None else numbers) == entry
        else:
            which = np.array([fnmatch.fnmatchcase(name, entry) for name in rows.names])
        if not which.any():
            raise UserError(f"{place} is none of these patterns ('{rows.names[0]}' is one); mend or remove it")
        hidden |= which
    keep = np.flatnonzero(~hidden)
    if not keep.size:
        raise UserError(f"{plan.path}: [{session.prefix.rstrip('.')}] exclude leaves no pattern; mend it")
    if not hidden.any():
        return rows, keep, total
    said.append(f"{np.count_nonzero(hidden)} of {total} patterns were excluded by the experiment file.")
    return rows.subset(keep), keep, total


def _log(
    plan: plans.Plan, session: plans.SessionPlan, root: Path
) -> tuple[logs.CyclerLog | None, datetime.datetime | None]:
    """The cycler log, and when it started with the zone that the experiment file gives it."""
    cycler = session.cycler
    if cycler is None:
        return None, None
    path = paths.one_file(plan, root, cycler.file, f"[{session.prefix}cycler] file")
    if cycler.columns or cycler.units:
        log = cyclers.read_table(path, cycler.columns, cycler.units)
    else:
        log = cyclers.read_cycler(path, cycler.format)
    start = cycler.start or log.start
    if start is not None and start.tzinfo is None and cycler.zone is not None:
        start = start.replace(tzinfo=cycler.zone)
    return dataclasses.replace(log, start=start), start


def _refuse_unknown_columns(plan: plans.Plan, session: plans.SessionPlan, log: logs.CyclerLog | None) -> None:
    """Before the clocks are matched: a wrong name is the commoner mistake."""
    if session.prefix or log is None or session.cycler is None:
        return
    for target in plan.targets:
        if target.column is not None and target.column not in log.columns:
            targets.refuse_column(plan, target.name, target.column, list(log.columns), session.cycler.file)


def _time_order(time: np.ndarray, names: Sequence[str], file: str, table: str) -> np.ndarray:
    order = np.argsort(time, kind="stable")
    if (same := np.flatnonzero(np.diff(time[order]) <= 0)).size:
        one, other = names[order[same[0]]], names[order[same[0] + 1]]
        raise UserError(f"{file}{one} and {other} have the same time; mend {table}")
    return order


def _half_cycles(plan: plans.Plan, session: plans.SessionPlan, log: logs.CyclerLog) -> logs.HalfCycles | None:
    """None for a log without half cycles, as long as no target needs them."""
    assert session.cycler is not None
    try:
        current = session.cycler.charge_sign * log.current
        return logs.half_cycles(log.time, current, longest_gap=session.cycler.tolerance)
    except UserError as error:
        if all(target.source in (None, "capacity", "c_rate", "session") for target in plan.targets):
            return None
        place = f"{plan.path}: [{session.prefix}cycler] file '{session.cycler.file}'"
        raise UserError(f"{place}: {error}") from None


def _kept(plan: plans.Plan, line: targets.Timeline, found: dict[str, np.ndarray], said: list[str]) -> np.ndarray:
    """[T] True for the patterns that every target has a value for."""
    keep = np.ones(line.time.size, bool)
    for reason, which in targets.lost(plan, line, found).items():
        if which.any():
            keep &= ~which
            names = exposure_times.some([line.rows.names[i] for i in np.flatnonzero(which).tolist()])
            count = np.count_nonzero(which)
            verb = reason if count > 1 else reason.replace("lie ", "lies ", 1).replace("have ", "has ", 1)
            said.append(
                f"{count} of {keep.size} patterns {verb} and {'was' if count == 1 else 'were'} left out: {names}."
            )
    if not keep.any():
        raise UserError(
            f"{plan.path}: no pattern is left ({said[-1].rstrip('.')}); mend [time] or raise [cycler] tolerance"
        )
    if keep.all() and line.log is not None:
        said.append(f"All {keep.size} patterns were matched to the cycler log.")
    return keep


def _common_axis(plan: plans.Plan, parts: Sequence[_Part]) -> series_axis.Axis:
    first = parts[0].axis
    for part in parts[1:]:
        own, place = part.axis, f"{plan.path}: [{part.line.session.prefix.rstrip('.')}]"
        alike = own.values.size == first.values.size and own.kind == first.kind
        if not alike or np.abs(own.values - first.values).max() > 0.01 * np.median(np.diff(first.values)):
            raise UserError(
                f"{place} '{part.line.session.name}' has {own.values.size} channels of {own.kind} from "
                f"{own.values[0]:g} to {own.values[-1]:g}, the first session {first.values.size} of {first.kind} from "
                f"{first.values[0]:g} to {first.values[-1]:g}; export all sessions on one axis"
            )
        if own.wavelength != first.wavelength and first.kind == "two_theta":
            raise UserError(f"{place} '{part.line.session.name}' was measured at another wavelength, {own.wavelength} "
                            f"Å instead of {first.wavelength} Å; export all sessions as q")  # fmt: skip
    return first


def _on_axis(plan: plans.Plan, axis: series_axis.Axis) -> dict[str, tuple[float, float]]:
    for name, (low, high) in plan.windows.items():
        if high < axis.values[0] or low > axis.values[-1]:
            raise UserError(
                f"{plan.path}: [windows] {name} = [{low:g}, {high:g}] lies off the axis, which runs from "
                f"{axis.values[0]:g} to {axis.values[-1]:g}; mend it"
            )
    return plan.windows


def _overrides(plan: plans.Plan, parts: Sequence[_Part]) -> dict[str, Any]:
    """[split] and [set]; rows of [split], which count patterns as they are listed, become rows of the series."""
    asked = dict(plan.split)
    if asked and {"split", "prepare.split"} & set(plan.overrides):
        raise UserError(f"{plan.path}: [split] kind and [set] split both choose the split; remove one")
    if asked.get("prepare.split") == "rows":
        before = np.cumsum([0, *(part.listed for part in parts)])
        listed = np.concatenate([at + part.origin[part.keep] for at, part in zip(before, parts, strict=False)])
        for key in ("train", "test"):
            place = f"{plan.path}: [split] {key}"
            wanted = row_ranges.numbers_in(asked[f"prepare.{key}_rows"], place)
            if wanted.max() >= before[-1]:
                raise UserError(
                    f"{place} names row {wanted.max()}, but the last is {before[-1] - 1}; they count from 0"
                )
            asked[f"prepare.{key}_rows"] = row_ranges.spans(np.flatnonzero(np.isin(listed, wanted)))
    return asked | plan.overrides


def _provenance(plan: plans.Plan, parts: Sequence[_Part], report: list[str]) -> dict[str, Any]:
    large = isinstance(parts[0].line.rows.intensity, lazy.LazyRows)  # a million rows are not named one by one
    names = [[part.line.rows.names[i] for i in np.flatnonzero(part.keep).tolist()] for part in parts if not large]
    logged = [part.line.session.cycler.file for part in parts if part.line.session.cycler]
    return {
        "source": "measured",
        "experiment": plan.path.name,
        "experiment_sha256": hashlib.sha256(plan.path.read_bytes()).hexdigest(),
        "title": plan.title,
        "patterns": ", ".join(session.patterns.shown for session in plan.sessions),
        "cycler": ", ".join(logged),
        "files": [name for part in names for name in part],
        "report": list(report),
    }
