"""When each pattern of a session was taken, on the clock of the cycler log."""

import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import clock, paths
from xrd_jax.io.experiment.schema import ExperimentFile, SessionTable, TimeTable
from xrd_jax.io.experiment.stack import Stack, Timestamp


def pattern_numbers(session: SessionTable, stack: Stack) -> Int[np.ndarray, " T"] | None:
    """Return what the session's `number` finds in the names; None without one."""
    return None if session.number is None else clock.frame_numbers(stack.names, session.number)


def mid_exposures(
    experiment: ExperimentFile, session: SessionTable, folder: Path, stack: Stack,
    log_start: datetime.datetime | None, messages: list[str],
) -> Float[np.ndarray, " T"]:  # fmt: skip
    """Return mid-exposure in s on the log's clock; without a log, since the first pattern began.

    Without any time, patterns count as one per second in the order of their names.

    Args:
      folder: where relative paths start.
      messages: sentences for the user are added to it.
    """
    time, place = session.time, experiment.place(session.label, "time")
    if time is None:
        messages.append("No times are given: patterns are numbered from 0 in the order of their names or rows.")
        return np.arange(len(stack.names), dtype=np.float64)
    has_log = session.cycler is not None
    if time.files:
        return _from_files(time, stack, log_start, has_log, place, messages)
    if time.table is not None:
        table = paths.resolve(folder, time.table, f"{place} table")
        start = clock.read_start_times(table, stack.names, log_start, time.zone, has_log)
    else:
        start = _by_number(session, time, stack, messages)
    assert time.exposure is not None
    return start + time.offset + time.exposure / 2


def _by_number(session: SessionTable, time: TimeTable, stack: Stack, messages: list[str]) -> Float[np.ndarray, " T"]:
    assert time.step is not None and time.first is not None
    first_number = 1 if time.first_number is None else time.first_number
    numbers = pattern_numbers(session, stack)
    if numbers is None:
        numbers = first_number + np.arange(len(stack.names))
        if not session.stack:
            messages.append("Patterns were numbered in the order of their names, as number = … is not given.")
    elif missing := clock.missing_numbers(numbers):
        messages.append(f"Missing pattern numbers: {clock.abbreviate(missing)}; times follow the numbers.")
    messages.append(f"Times are not measured: a constant step of {time.step:g} s between patterns is assumed.")
    return time.first + (numbers - first_number) * time.step


def _from_files(
    time: TimeTable, stack: Stack, log_start: datetime.datetime | None, has_log: bool, place: str, messages: list[str]
) -> Float[np.ndarray, " T"]:
    """Return mid-exposure from what the pattern files say of start, end and exposure."""
    table = place.partition(": ")[2]
    exposures = [_start_and_half(stamp, time, f"{name}: states no exposure; give {table} exposure in s")
                 for stamp, name in zip(stack.timestamps, stack.names, strict=True)]  # fmt: skip
    origin, zone, source = log_start, time.zone, "Times are those in the pattern files"
    if time.relative or not has_log:
        dates = [start for start, _ in exposures if start is not None]
        if len({date.tzinfo is None for date in dates}) < 2:
            origin = min(dates, default=None)
        zone, source = None, f"{source}, counted from the first of them"
    messages.append(f"{source}.")
    seconds = []
    for stamp, (start, half), name in zip(stack.timestamps, exposures, stack.names, strict=True):
        if stamp.seconds is not None:
            seconds.append(stamp.seconds + half)
        elif start is None:
            raise UserError(f"{name}: states no time, but {table} files = true; give step or table")
        else:
            seconds.append(clock.seconds_since(origin, start, zone, f"{place}: {name}") + half)
    first = time.first if time.relative and time.first is not None else 0.0
    return np.array(seconds) + first + time.offset


def _start_and_half(stamp: Timestamp, time: TimeTable, complaint: str) -> tuple[datetime.datetime | None, float]:
    """Return when an exposure began, as far as that is known, and half its length in s."""
    if stamp.start is not None and stamp.end is not None:
        return stamp.start, (stamp.end - stamp.start).total_seconds() / 2
    exposure = stamp.exposure if time.exposure is None else time.exposure
    if exposure is None:
        raise UserError(complaint)
    if stamp.end is not None:
        return stamp.end - datetime.timedelta(seconds=exposure), exposure / 2
    return stamp.start, exposure / 2
