"""One session of an experiment: its patterns, their clock, its cycler log and the values of its targets."""

import dataclasses
import fnmatch
import functools
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.log import CyclerLog, HalfCycles, half_cycles
from xrd_jax.io.cyclers.row_clock import in_zone
from xrd_jax.io.experiment import axes, clock, exposure_times, paths, stack_csv, targets
from xrd_jax.io.experiment.join_logs import join_logs
from xrd_jax.io.experiment.schema import ExperimentFile, SessionTable
from xrd_jax.io.experiment.stack import Stack, photon_counts, read_files
from xrd_jax.io.patterns.pattern import SIGNED_KINDS
from xrd_jax.io.reading.many_files import BatchReader
from xrd_jax.series.axis import Axis


@dataclasses.dataclass(frozen=True)
class SessionData:
    """A session as read, its patterns [T] in time order."""

    aligned: targets.AlignedPatterns
    axis: Axis
    values: dict[str, np.ndarray]  # target -> [T] `targets.target_values`
    keep: Bool[np.ndarray, " T"]  # patterns with a value for every target
    listed_rows: Int[np.ndarray, " T"]  # where each pattern stood in the list of files or rows
    listed_count: int  # how many files or rows were listed


def read_session(
    experiment: ExperimentFile, session: SessionTable, folder: Path, reader: BatchReader, messages: list[str]
) -> SessionData:
    """Read one session and match its patterns to its cycler log.

    Args:
      folder: where relative paths start.
      messages: sentences for the user are added to it.
    """
    stack = _read_patterns(experiment, session, folder, reader, messages)
    listed_count = len(stack.names)
    keep = _not_excluded(experiment, session, stack)
    if keep.size < listed_count:
        messages.append(f"{listed_count - keep.size} of {listed_count} patterns were excluded by the experiment file.")
        stack = stack.subset(keep)
    axis = axes.session_axis(experiment, stack, messages)
    if session.counts:
        stack = dataclasses.replace(stack, intensity=photon_counts(stack))
    log = _read_log(experiment, session, folder, messages)
    time = exposure_times.mid_exposures(experiment, session, folder, stack, log.start if log else None, messages)
    order = np.argsort(time, kind="stable")
    if (same := np.flatnonzero(np.diff(time[order]) <= 0)).size:
        first, second = (stack.names[i] for i in order[same[0] : same[0] + 2])
        place = experiment.place(session.label, "time")
        raise UserError(f"{place}: {first} and {second} have the same time; mend the table")
    stack, time = stack.subset(order), time[order]
    aligned = targets.AlignedPatterns(session, stack, time, exposure_times.pattern_numbers(session, stack))
    if log is not None and session.cycler is not None:
        match = clock.match_to_log(log.time, time, session.cycler.tolerance)
        aligned = dataclasses.replace(aligned, log=log, match=match, half_cycles=_half_cycles(experiment, session, log))
    values = {name: targets.target_values(experiment, target, aligned, folder)
              for name, target in experiment.targets.items()}  # fmt: skip
    kept = _with_all_values(experiment, aligned, values, messages)
    return SessionData(aligned, axis, values, kept, keep[order], listed_count)


def _read_patterns(
    experiment: ExperimentFile, session: SessionTable, folder: Path, reader: BatchReader, messages: list[str]
) -> Stack:
    # Spectra fall below zero by nature; only photon counts never do.
    allows_negative = session.allow_negative or (experiment.axis.kind in SIGNED_KINDS and not session.counts)
    if session.stack:
        path = paths.resolve(folder, session.stack, f"{experiment.place(session.label)} stack")
        glob = session.columns if isinstance(session.columns, str) else ""
        stack = stack_csv.read_stack(path, allows_negative, glob, session.dataset)
    else:
        files = paths.pattern_files(experiment, session, folder)
        columns = () if isinstance(session.columns, str) else session.columns
        stack = read_files(files, allows_negative, functools.partial(reader.read_all, columns=columns))
    count, unit = len(stack.names), "rows" if session.stack else "files"
    messages.append(f"{count} patterns of {stack.axis.size} channels were read from {session.source}.")
    messages += [f"In {occurrences} of {count} {unit} {note}." for note, occurrences in stack.notes.items()]
    return stack


def _not_excluded(experiment: ExperimentFile, session: SessionTable, stack: Stack) -> Int[np.ndarray, " K"]:
    """Return the indices of the patterns that the experiment file does not exclude."""
    count, place = len(stack.names), experiment.place(session.label)
    # Without numbers in names, a whole number is a row of a stack or a place in the list, from 0.
    numbers = None
    if any(isinstance(entry, int) for entry in session.exclude):
        numbers = exposure_times.pattern_numbers(session, stack)
    is_excluded = np.zeros(count, bool)
    for entry in session.exclude:
        if isinstance(entry, int):
            is_named = (np.arange(count) if numbers is None else numbers) == entry
        else:
            is_named = np.array([fnmatch.fnmatchcase(name, entry) for name in stack.names])
        if not is_named.any():
            raise UserError(f"{place} exclude = {entry!r} is none of these patterns ('{stack.names[0]}' is one); mend "
                            "or remove it")  # fmt: skip
        is_excluded |= is_named
    if is_excluded.all():
        raise UserError(f"{place} exclude leaves no pattern; mend it")
    return np.flatnonzero(~is_excluded)


def _read_log(experiment: ExperimentFile, session: SessionTable, folder: Path, messages: list[str]) -> CyclerLog | None:
    """Read the cycler log; its start is what the experiment file says, else what the log says, in its zone."""
    cycler = session.cycler
    if cycler is None:
        return None
    place = experiment.place(session.label, "cycler")
    files = paths.matching_files(folder, cycler.globs, f"{place} file")
    has_columns = cycler.columns or cycler.units
    logs = [cyclers.read_table(file, cycler.columns, cycler.units) if has_columns
            else cyclers.read_cycler(file, cycler.format) for file in files]  # fmt: skip
    # A start in the experiment file goes before that of a header, but dates of rows tell pauses as well.
    zoned = [log if cycler.start is not None and log.clock is None else in_zone(log, cycler.zone, str(file))
             for file, log in zip(files, logs, strict=True)]  # fmt: skip
    log = join_logs(files, zoned)
    start = log.start if cycler.start is None else cycler.start
    return dataclasses.replace(log, start=clock.to_utc([start], cycler.zone, f"{place} start", messages)[0])


def _half_cycles(experiment: ExperimentFile, session: SessionTable, log: CyclerLog) -> HalfCycles | None:
    """Return None for a log without half cycles, as long as no target needs them."""
    cycler = session.cycler
    assert cycler is not None
    try:
        return half_cycles(log.time, cycler.charge_sign * log.current, longest_gap=cycler.tolerance)
    except UserError as error:
        if all(target.source in (None, "capacity", "c_rate", "session") for target in experiment.targets.values()):
            return None
        raise UserError(f"{experiment.place(session.label, 'cycler')} file '{cycler.source}': {error}") from None


def _with_all_values(
    experiment: ExperimentFile, aligned: targets.AlignedPatterns, values: dict[str, np.ndarray], messages: list[str]
) -> Bool[np.ndarray, " T"]:
    """Return which patterns have a value for every target, and say why the others are left out."""
    keep = np.ones(aligned.time.size, bool)
    for reason, is_out in targets.reasons_to_leave_out(experiment, aligned, values).items():
        if is_out.any():
            keep &= ~is_out
            names = clock.abbreviate([aligned.stack.names[i] for i in np.flatnonzero(is_out).tolist()])
            count, was = np.count_nonzero(is_out), "were"
            if count == 1:
                reason, was = reason.replace("lie ", "lies ", 1).replace("have ", "has ", 1), "was"
            messages.append(f"{count} of {keep.size} patterns {reason} and {was} left out: {names}.")
    if not keep.any():
        label = aligned.session.label
        raise UserError(f"{experiment.path}: no pattern is left ({messages[-1].rstrip('.')}); mend [{label}.time] or "
                        f"raise [{label}.cycler] tolerance")  # fmt: skip
    if keep.all() and aligned.log is not None:
        messages.append(f"All {keep.size} patterns were matched to the cycler log.")
    return keep
