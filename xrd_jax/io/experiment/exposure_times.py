"""When each pattern of a session was taken, on the clock of the cycler log."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import clock, paths, stack
from xrd_jax.io.experiment import schema as plans


def numbers(session: plans.SessionPlan, names: Sequence[str]) -> np.ndarray | None:
    """[T] what the session's `number` finds in the names; None without one."""
    return None if session.patterns.number is None else clock.frame_numbers(names, session.patterns.number)


def mid_exposures(
    plan: plans.Plan,
    session: plans.SessionPlan,
    root: Path,
    rows: stack.Stack,
    log_start: datetime.datetime | None,
    report: list[str],
) -> np.ndarray:
    """[T] mid-exposure in s on the log's clock; without a log, since the first pattern began.

    Without any time, patterns count as one per second in the order of their names.

    Raises:
      UserError: a time is missing or cannot be understood, or only one of two clocks has a zone.
    """
    time, place = session.time, f"{plan.path}: [{session.prefix}time]"
    if time is None:
        report.append("No times are given: patterns are numbered from 0 in the order of their names or rows.")
        return np.arange(len(rows.names), dtype=np.float64)
    if time.table is not None:
        table = paths.one_file(plan, root, time.table, f"[{session.prefix}time] table")
        lonely = session.cycler is None
        start = clock.read_start_times(table, rows.names, log_start, time.zone, lonely)
    elif time.files:
        return _from_files(time, rows.moments, rows.names, log_start, session.cycler is None, place, report)
    else:
        start = _by_number(session, time, rows.names, report)
    assert time.exposure is not None
    return start + time.offset + time.exposure / 2


def _by_number(session: plans.SessionPlan, time: plans.TimePlan, names: Sequence[str], report: list[str]) -> np.ndarray:
    assert time.step is not None
    found = numbers(session, names)
    if found is None:
        found = time.first_number + np.arange(len(names))
        if not session.patterns.stack:
            report.append("Patterns were numbered in the order of their names, as [patterns] number is not given.")
    elif missing := clock.missing_numbers(found):
        report.append(f"Missing pattern numbers: {some(missing)}; times follow the numbers.")
    report.append(f"Times are not measured: a constant step of {time.step:g} s between patterns is assumed.")
    return time.first + (found - time.first_number) * time.step


def _from_files(
    time: plans.TimePlan,
    moments: Sequence[stack.Timestamp],
    names: Sequence[str],
    log_start: datetime.datetime | None,
    lonely: bool,
    place: str,
    report: list[str],
) -> np.ndarray:
    """Mid-exposure from what the pattern files say of start, end and exposure."""
    origin: datetime.datetime | None = log_start
    begun = [m.start or (m.end and m.end - datetime.timedelta(seconds=_exposure(m, time, n, place)))
             for m, n in zip(moments, names, strict=True)]  # fmt: skip
    if time.relative or lonely:
        known = [moment for moment in begun if moment is not None]
        origin = min(known, default=None) if len({m.tzinfo is None for m in known}) < 2 else log_start
        report.append("Times are those in the pattern files, counted from the first of them.")
    else:
        report.append("Times are those in the pattern files.")
    shift = time.first if time.relative else 0.0
    found = []
    for moment, start, name in zip(moments, begun, names, strict=True):
        half = _half(moment, time, name, place)
        if moment.seconds is not None:
            found.append(moment.seconds + half)
        elif start is None:
            raise UserError(f"{name}: states no time, but {place.partition(': ')[2]} files = true; give step or table")
        else:
            zone = None if time.relative or lonely else time.zone
            found.append(clock.since(origin, start, zone, f"{place}: {name}") + half)
    return np.array(found) + shift + time.offset


def _half(moment: stack.Timestamp, time: plans.TimePlan, name: str, place: str) -> float:
    if moment.start is not None and moment.end is not None:
        return (moment.end - moment.start).total_seconds() / 2
    return _exposure(moment, time, name, place) / 2


def _exposure(moment: stack.Timestamp, time: plans.TimePlan, name: str, place: str) -> float:
    exposure = moment.exposure if time.exposure is None else time.exposure
    if exposure is None:
        raise UserError(f"{name}: states no exposure; give {place.partition(': ')[2]} exposure in s")
    return exposure


def some(items: Sequence[object]) -> str:
    """The first three, and how many more."""
    shown = ", ".join(str(item) for item in items[:3])
    return shown + (f" and {len(items) - 3} more" if len(items) > 3 else "")
