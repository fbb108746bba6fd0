"""From the columns of any vendor to a log in s, V, A and Ah."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import columns, log
from xrd_jax.io.cyclers.table import Table
from xrd_jax.io.parsing import dates as parsing_dates

_UNITS = {"time": "s", "step_time": "s", "voltage": "V", "current": "A"}
# Share by which the recorded charge may differ from the integral of the current before it is worth a word.
_AGREE = 0.2
# Seconds by which dates and test time may part before the log is said to have been paused.
_PAUSE = 5.0
# Charge in A h below which a log is taken for one at rest.
_NEGLIGIBLE = 1e-8


def cycler_log(
    table: Table,
    path: Path,
    start: datetime.datetime | None = None,
    order: str | None = None,
    unsigned: bool = False,
    notes: Sequence[str] = (),
) -> log.CyclerLog:
    """Makes a log of a table whose columns have roles.

    Time is the test's own, or runs on over the steps, or comes from dates; a missing current is dQ/dt and a missing
    charge ∫I dt. A current that is never negative takes its sign from the column of states, where there is one.

    Args:
      start: when `time` was 0, as the file's header states it; a column of dates goes before it.
      order: 'month' or 'day' where the program always writes dates so.
      unsigned: the program may write currents without a sign, so a log that cannot tell the direction says so.
      notes: what is to be said beside that which is found here.

    Raises:
      UserError: a quantity is missing, or time runs backwards; the text names row and remedy.
    """
    notes = list(notes)
    if table.left_out:
        notes.append(f"columns without a number in every row were left out: {', '.join(table.left_out)[:1000]}")
    if "voltage" not in table.roles:
        raise UserError(f"{path}: no column of voltages is known here; name it: columns = {{ voltage = … }}")
    time, began = _time(table, path, start, order, notes)
    fall = np.diff(time) < 0
    if fall.any():
        row = table.lines[1 + int(np.argmax(fall))]
        raise UserError(f"{path}: row {row}: time runs backwards; export one test, or the merged file, by itself")
    current = _scaled(table, "current")
    if current is not None:
        current = _signed(current, table, unsigned, notes)
    charge = _charge(table, time, current)
    if current is None:
        current = _derivative(charge, time, path)
        notes.append("the log has no current; it was derived from the charge")
    passed = _integral(current, time)
    if charge is None:
        charge = passed
    else:
        _compare(charge, passed, _changes(table), notes)
    notes += _doubts(table)
    voltage = _scaled(table, "voltage")
    assert voltage is not None
    return log.CyclerLog(time, voltage, current, charge, _half_cycle(table), table.numbers, began, tuple(notes))


def _scaled(table: Table, role: str) -> np.ndarray | None:
    """[R] the column of a role in s, V, A or Ah."""
    column = table.roles.get(role)
    if column is None or column.name not in table.numbers:
        return None
    values = table.numbers[column.name]
    return values if role in table.clock or column.scale == 1.0 else values * column.scale


def _changes(table: Table) -> np.ndarray:
    """[R-1] True where a row begins another step than the row before it."""
    step = _scaled(table, "step")
    return np.zeros(len(table.lines) - 1, bool) if step is None else np.diff(step) != 0


def _time(
    table: Table, path: Path, start: datetime.datetime | None, order: str | None, notes: list[str]
) -> tuple[np.ndarray, datetime.datetime | None]:
    """[R] time in s, and when it was 0."""
    time = _elapsed(table, notes)
    unix = _scaled(table, "unix_time")
    if unix is not None:
        clock: parsing_dates.Timestamps | None = parsing_dates.Timestamps(unix, True, 0)
    else:
        clock = None if table.dates is None else parsing_dates.resolve(table.dates, time, order)
    if time is not None:
        return time, start if clock is None else _start(clock, time, notes) or start
    if clock is None:
        what = "no column of times is known here" if table.dates is None else "the dates fit no calendar"
        raise UserError(f"{path}: {what}; export times in seconds, or name their column: columns = {{ time = … }}")
    zero = float(clock.seconds[0]) if start is None else (start - parsing_dates.EPOCH).total_seconds()
    return clock.seconds - zero, start or _start(clock, clock.seconds - zero, notes)


def _elapsed(table: Table, notes: list[str]) -> np.ndarray | None:
    """[R] s since the test began, from its own column or from the steps', or None."""
    time, step_time, changes = _scaled(table, "time"), _scaled(table, "step_time"), _changes(table)
    if time is not None:
        falls = np.diff(time) < 0
        # Neware's plain 'Time' starts again with every step.
        within = falls.any() and not (falls & ~changes).any()
        if not (within and columns.split(table.roles["time"].name)[0] in ("time", "t", "时间")):
            return time
        step_time = time
    if step_time is None:
        return None
    notes.append("the log has the time within each step only; the steps were put one after another")
    restarts = (np.diff(step_time) < 0) | changes
    return step_time + np.concatenate([[0.0], np.cumsum(np.where(restarts, step_time[:-1], 0.0))])


def _start(clock: parsing_dates.Timestamps, time: np.ndarray, notes: list[str]) -> datetime.datetime | None:
    """When `time` [R] was 0 by the dates beside it, or None where they cannot tell."""
    if not clock.sure:
        notes.append(
            f"its dates, {clock.example} for one, can be read day first or month first, so the start is left open; "
            "give [cycler] start"
        )
        return None
    began = clock.seconds - time
    drift = float(np.ptp(began))
    ticks = np.diff(clock.seconds)
    tick = float(ticks[ticks > 0].min(initial=np.inf))
    if 60 < tick < np.inf and drift > tick / 4:
        notes.append(f"its dates are rounded to {tick:.0f} s, so the start is left open; give [cycler] start")
        return None
    if drift > _PAUSE:
        notes.append(
            f"dates and test time part by up to {drift:.0f} s, as when a test is paused; the start fits the first row"
        )
    return clock.start(float(began[0]))


def _signed(current: np.ndarray, table: Table, unsigned: bool, notes: list[str]) -> np.ndarray:
    """[R] current with the sign of the column of states where the file has no sign of its own."""
    if (current < 0).any() or not (current > 0).any():
        return current
    if table.direction is not None and (table.direction < 0).any():
        notes.append(f"the current has no sign; it was taken from column '{table.roles['state'].name}'")
        return np.where(table.direction < 0, -current, current)
    if unsigned and table.direction is None:
        notes.append("the log does not tell charge from discharge: no current is negative and no column gives a state")
    return current


def _charge(table: Table, time: np.ndarray, current: np.ndarray | None) -> np.ndarray | None:
    """[R] charge passed since the start in Ah, positive as the current is, or None where no column has it."""
    net, increment = _scaled(table, "net"), _scaled(table, "increment")
    if net is not None:
        return net
    if increment is not None:
        return np.cumsum(increment)
    changes = _changes(table)
    passed = None if current is None else np.diff(_integral(current, time))
    into, out = _scaled(table, "charge_capacity"), _scaled(table, "discharge_capacity")
    if into is not None and out is not None:
        both = [
            _increments(np.abs(column), changes, None if passed is None else np.maximum(sign * passed, 0))
            for column, sign in ((into, 1), (out, -1))
        ]
        return abs(into[0]) - abs(out[0]) + np.concatenate([[0.0], np.cumsum(both[0] - both[1])])
    column = _scaled(table, "capacity")
    if column is None:
        return None
    if current is None or passed is None:
        return column
    signed = _increments(column, changes, passed)
    sign = np.sign(np.where(current[1:] == 0, current[:-1], current[1:]))
    counted = sign * _increments(np.abs(column), changes, np.abs(passed))
    # The file does not say whether its capacity has a sign: whichever the current agrees with.
    better = signed if np.abs(signed - passed).sum() <= np.abs(counted - passed).sum() else counted
    return np.concatenate([[0.0], np.cumsum(better)]) + (column[0] if better is signed else 0.0)


def _increments(column: np.ndarray, changes: np.ndarray, passed: np.ndarray | None) -> np.ndarray:
    """[R-1] what a counter gained at each row, though it starts again with steps or cycles.

    Args:
      changes: [R-1] where a new step begins.
      passed: [R-1] the integral of the current over each row, which tells a restart from a small fall.
    """
    gain = np.diff(column)
    if passed is None:
        return np.where(np.abs(column[1:]) < np.abs(column[:-1]) / 2, column[1:], gain)
    may = changes | (np.abs(column[1:]) < np.abs(column[:-1]))
    return np.where(may & (np.abs(column[1:] - passed) < np.abs(gain - passed)), column[1:], gain)


def _integral(current: np.ndarray, time: np.ndarray) -> np.ndarray:
    """[R] ∫I dt in Ah, by the trapezoidal rule."""
    return np.concatenate([[0.0], np.cumsum((current[1:] + current[:-1]) / 2 * np.diff(time))]) / 3600


def _derivative(charge: np.ndarray | None, time: np.ndarray, path: Path) -> np.ndarray:
    """[R] dQ/dt in A."""
    if charge is None:
        raise UserError(f"{path}: neither a current nor a charge column is known here; export one of them, or name it")
    # A step of no length passes no charge that could be told: it keeps the current of the step before.
    steps = np.diff(time)
    real = np.flatnonzero(steps > 0)
    if not real.size:
        raise UserError(f"{path}: time does not advance; export the file again")
    last = np.maximum(np.searchsorted(real, np.arange(len(steps)), side="right") - 1, 0)
    slope = (np.diff(charge)[real] / steps[real])[last] * 3600
    return np.concatenate([slope[:1], slope])


def _compare(charge: np.ndarray, passed: np.ndarray, changes: np.ndarray, notes: list[str]) -> None:
    """Notes a charge that is not the integral of the current, as with a wrong unit or a thinned log."""
    # The current jumps where a step begins, so the integral over that one row means nothing.
    recorded, integral = np.diff(charge)[~changes], np.diff(passed)[~changes]
    sums = float(np.abs(recorded).sum()), float(np.abs(integral).sum())
    off = float(np.abs(recorded - integral).sum())
    if max(sums) > _NEGLIGIBLE and off > _AGREE * max(sums):
        notes.append(
            f"the recorded charge amounts to {sums[0]:.3g} A h but the integral of the current to {sums[1]:.3g} A h; "
            "check the units of both columns, or the log is too sparse to tell"
        )


def _doubts(table: Table) -> list[str]:
    """What the file leaves to its reader: units that it does not state, twins of a column with other numbers."""
    pair = ("charge_capacity", "discharge_capacity")
    used = [role for role in (*_UNITS, *pair, "capacity") if role in table.roles]
    for better, worse in (({"time"}, "step_time"), (set(pair), "capacity")):
        if better <= set(used) and worse in used:
            used.remove(worse)
    notes = []
    bare = [role for role in used if not table.roles[role].stated and role not in table.clock]
    if bare:
        told = ", ".join(f"'{table.roles[role].name}' as {_UNITS.get(role, 'Ah')}" for role in bare)
        notes.append(f"columns without a unit were read as they are: {told}")
    for role in ("voltage", "current"):
        chosen = table.roles.get(role)
        for name, twin in table.numbers.items():
            if chosen is None or name == chosen.name or columns.split(name)[0] != columns.split(chosen.name)[0]:
                continue
            scale = columns.factor(columns.split(name)[1], role) or 1.0
            mine, other = np.abs(table.numbers[chosen.name]).max() * chosen.scale, np.abs(twin).max() * scale
            if abs(mine - other) > 0.01 * max(mine, other):
                notes.append(
                    f"column '{name}' reaches {other:.3g} but '{chosen.name}', which was taken, {mine:.3g}; "
                    "check the units"
                )
    return notes


def _half_cycle(table: Table) -> np.ndarray | None:
    values = _scaled(table, "half_cycle")
    if values is None or (np.abs(values) > 1e9).any():
        return None
    return values.astype(np.int32)
