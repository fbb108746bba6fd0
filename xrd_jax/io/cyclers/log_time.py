"""When the rows of a log were written: by test time, the times of steps, dates, or numbers that stand for dates."""

import dataclasses
import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import row_clock
from xrd_jax.io.cyclers.columns import split_unit
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import RowClock
from xrd_jax.io.cyclers.table import Table
from xrd_jax.io.parsing import dates, timestamps
from xrd_jax.io.parsing.timestamps import Timestamps

_DAY = 86400.0  # s
_MIN_TIME_OF_DAY = 60.0  # s: a test's own time begins earlier


@dataclasses.dataclass(frozen=True)
class LogTime:
    """The clock of a log [R], and the test's own time over which charge passes, both in s."""

    time: Float[np.ndarray, " R"]
    elapsed: Float[np.ndarray, " R"]  # stands still in a pause
    start: datetime.datetime | None  # when `time` was 0
    notes: tuple[str, ...]
    rows: RowClock | None = None
    unit_by_dates: bool = False  # the dates told the unit of the test's own time


def log_time(table: Table, path: Path, stated: Stated) -> LogTime:
    """Put the rows of a table on one clock.

    Raises:
      UserError: no column of times is known, or its dates fit no calendar.
    """
    notes: list[str] = []
    separator = "" if table.dates is None else str(table.dates["separator"][0])
    settled = timestamps.settled_order(stated.dates, separator)
    clock, elapsed = _clocks(table, settled or stated.order, notes)
    if clock is None:
        if elapsed is None:
            reason = "no column of times is known here" if table.dates is None else "the dates fit no calendar"
            remedy = "export times in seconds, or name their column: columns = { time = … }"
            raise UserError(f"{path}: {reason}; {remedy}")
        start = _stated_start(stated, "", notes)
        return LogTime(elapsed, elapsed, start, tuple(notes))
    if settled is not None:
        clock = dataclasses.replace(clock, example="")
    start = _stated_start(stated, clock.order if clock.is_order_known and not clock.example else "", notes)
    return _by_dates(table, clock, elapsed, start, notes)


def _by_dates(
    table: Table, clock: Timestamps, elapsed: np.ndarray | None, start: datetime.datetime | None, notes: list[str]
) -> LogTime:
    """Let the dates of the rows count, from when the header says that the test began if there is no test time."""
    ratio = 1.0 if elapsed is None else row_clock.unit_ratio(elapsed, clock.seconds)
    if elapsed is not None and ratio != 1.0:
        role = "time" if "time" in table.roles else "step_time"
        unit = ratio * (1.0 if role in table.duration_roles else table.roles[role].scale)
        notes.append(
            f"one unit of '{table.roles[role].name}' is {unit:g} s by the dates of the rows, which were believed"
        )
        elapsed = ratio * elapsed
    if clock.example:
        notes.append(_note_on_order(clock))
    if elapsed is not None and not clock.is_order_known and np.ptp(clock.seconds) >= _DAY:
        return LogTime(elapsed, elapsed, start, tuple(notes))  # in the wrong order their steps are wrong too
    time, begun, clock_notes = row_clock.with_dates(elapsed, clock)
    first, zero = clock.to_datetime(float(clock.seconds[0])), 0.0
    if elapsed is None and first is not None and start is not None and (start.tzinfo is None) == (first.tzinfo is None):
        zero = (first - start).total_seconds()
        time, begun = time + zero, start
    has_zone = clock.offset is not None or begun is None
    rows = None if has_zone else RowClock(clock.seconds, elapsed, zero, tuple(clock_notes))
    test_time = time if elapsed is None else elapsed
    return LogTime(time, test_time, begun or start, (*notes, *clock_notes), rows, ratio != 1.0)


def _clocks(table: Table, order: str | None, notes: list[str]) -> tuple[Timestamps | None, np.ndarray | None]:
    """Return the dates of the rows and the test's own time, as far as there are such."""
    clock = table.clock or _from_epoch(table, "unix_time")
    if clock is not None and not timestamps.are_plausible(clock.seconds):
        clock = None
    if clock is None and (clock := _from_epoch(table, "time")) is not None:
        notes.append(f"'{table.roles['time'].name}' counts from a date: it was read as UTC")
        return clock, None
    elapsed = _elapsed(table, notes)
    if clock is not None or table.dates is None:
        return clock, elapsed
    has_clock = bool(table.dates["seconds"].any())
    clock = timestamps.resolve(table.dates, elapsed if has_clock else None, order)
    if clock is None or elapsed is None or has_clock or not _is_time_of_day(table, elapsed):
        return clock, elapsed
    return dataclasses.replace(clock, seconds=clock.seconds + elapsed % _DAY), None


def _from_epoch(table: Table, role: str) -> Timestamps | None:
    """Return the dates that the numbers of a column mean by their size, whatever unit it states."""
    if role not in table.roles or role in table.duration_roles or table.values(role) is None:
        return None
    values = table.numbers[table.roles[role].name]
    first = dates.from_epoch(float(values[0]))
    if first is None:
        return None
    scale = 10.0 ** round(np.log10(first / values[0]))
    seconds = values * scale + (first - values[0] * scale if scale == 1.0 else 0.0)  # 1904 is an offset, not a unit
    return Timestamps(seconds, True, 0) if timestamps.are_plausible(seconds) else None


def _is_time_of_day(table: Table, elapsed: np.ndarray) -> bool:
    """Return True where a column 'Time' of h:mm:ss goes with a column of days."""
    column = table.roles.get("time")
    is_clock = "time" in table.duration_roles and column is not None and split_unit(column.name)[0] in ("time", "t")
    return is_clock and bool(elapsed[0] > _MIN_TIME_OF_DAY)


def _elapsed(table: Table, notes: list[str]) -> np.ndarray | None:
    """Return [R] s since the test began, from its own column or from the steps', or None."""
    time, step_time, is_new_step = table.values("time"), table.values("step_time"), table.begins_step()
    if time is not None:
        steps = np.diff(time)
        falls = steps < 0
        if falls.any() and "time" in table.duration_roles and (steps[falls] < -_DAY / 2).all() and time.max() < _DAY:
            notes.append("its times are those of a clock on the wall, which starts again at midnight")
            return time + np.concatenate([[0.0], np.cumsum(np.where(falls, _DAY, 0.0))])
        # Neware's plain 'Time' starts again with every step.
        falls_with_steps = falls.any() and not (falls & ~is_new_step).any()
        if not (falls_with_steps and split_unit(table.roles["time"].name)[0] in ("time", "t", "时间")):
            return time
        step_time = time
    if step_time is None:
        return None
    notes.append("the log has the time within each step only; the steps were put one after another")
    restarts = (np.diff(step_time) < 0) | is_new_step
    return step_time + np.concatenate([[0.0], np.cumsum(np.where(restarts, step_time[:-1], 0.0))])


def _stated_start(stated: Stated, settled: str, notes: list[str]) -> datetime.datetime | None:
    """Return when the test began by the header; notes where only the program's habit, or nothing, tells the order."""
    date = dates.parse_date(stated.start)
    if date is None:
        return None
    settled = timestamps.settled_order([*stated.dates, stated.start], date.separator) or settled
    start = timestamps.read_header_date(stated.start, order=settled or stated.order)
    if settled or date.fixed or date.first == date.second:
        return start
    if stated.order is not None:
        notes.append(f"its date, {stated.start[:40]}, was read {stated.order} first, as this program writes dates")
    elif start is None:
        notes.append(f"its date, {stated.start[:40]}, can be read day first or month first, so the start is left open; "
                     "give [session.cycler] start")  # fmt: skip
    return start


def _note_on_order(clock: Timestamps) -> str:
    if clock.is_order_known:
        return f"its dates, {clock.example} for one, were read {clock.order} first, as this program writes them"
    return (f"its dates, {clock.example} for one, can be read day first or month first, so the start is left open; "
            "give [session.cycler] start")  # fmt: skip
