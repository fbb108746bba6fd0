"""When each pattern of a session was taken, on the clock of the cycler log."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import clock, paths, time_table
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
    if time.table is not None:
        path = paths.resolve(folder, time.table, f"{place} table")
        stamps = time_table.read_time_table(path, stack.names, pattern_numbers(session, stack))
        stack = dataclasses.replace(stack, timestamps=stamps)
        if all(stamp.end is not None or stamp.exposure is not None for stamp in stamps):
            time = dataclasses.replace(time, exposure=None)  # what a row says goes before what holds for all
    if time.files or time.table is not None:
        return _from_stamps(time, stack, log_start if has_log else None, has_log, place, messages)
    assert time.exposure is not None
    return _by_number(session, time, stack, messages) + time.offset + time.exposure / 2


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


def _from_stamps(
    time: TimeTable, stack: Stack, log_start: datetime.datetime | None, has_log: bool, place: str, messages: list[str]
) -> Float[np.ndarray, " T"]:
    """Return mid-exposure from what the pattern files, or a table, say of start, end and exposure."""
    table, source = place.partition(": ")[2], "the pattern files" if time.table is None else time.table
    stamps, names = _in_utc(stack.timestamps, time.zone, place, messages), stack.names
    exposures = [_start_and_half(stamp, time, f"{name}: states no exposure; give {table} exposure in s")
                 for stamp, name in zip(stamps, names, strict=True)]  # fmt: skip
    origin, counted = log_start, ""
    if time.relative or not has_log:
        begun = [start for start, _ in exposures if start is not None]
        if len({date.tzinfo is None for date in begun}) < 2:
            origin = min(begun, default=None)
        counted = ", counted from the first of them"
    messages.append(f"Times are those in {source}{counted}.")
    seconds = []
    for stamp, (start, half), name in zip(stamps, exposures, names, strict=True):
        if stamp.seconds is not None:
            seconds.append(stamp.seconds + half)
        elif start is None:
            raise UserError(f"{name}: states no time, but {table} files = true; give step or table")
        else:
            seconds.append(clock.seconds_since(origin, start, f"{place}: {name}") + half)
    first = time.first if time.relative and time.first is not None else 0.0
    return np.array(seconds) + first + time.offset


def _in_utc(
    stamps: Sequence[Timestamp], zone: datetime.tzinfo | None, place: str, messages: list[str]
) -> list[Timestamp]:
    """Return timestamps in UTC as far as their zones are known; starts and ends together tell the repeated hour."""
    dates = clock.to_utc([date for stamp in stamps for date in (stamp.start, stamp.end)], zone, place, messages)
    return [dataclasses.replace(stamp, start=start, end=end)
            for stamp, start, end in zip(stamps, dates[::2], dates[1::2], strict=True)]  # fmt: skip


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
