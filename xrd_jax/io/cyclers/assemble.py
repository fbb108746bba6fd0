"""From the columns of any vendor to a log in s, V, A and A h."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import charge as charges
from xrd_jax.io.cyclers.columns import split_unit, unit_factor
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.table import Table
from xrd_jax.io.parsing import timestamps
from xrd_jax.io.parsing.timestamps import Timestamps

_UNITS = {"time": "s", "step_time": "s", "voltage": "V", "current": "A"}
_MAX_PAUSE = 5.0  # s by which dates and test time may part before the log is said to have been paused
_MAX_TICK = 60.0  # s to which dates may be rounded before the start is left open


def cycler_log(
    table: Table, path: Path, start: datetime.datetime | None = None, order: str | None = None, unsigned: bool = False,
    notes: Sequence[str] = (),
) -> CyclerLog:  # fmt: skip
    """Make a log of a table whose columns have roles.

    Time is the test's own, or runs on over the steps, or comes from dates; a missing current is dQ/dt and a missing
    charge ∫I dt. A current that is never negative takes its sign from the column of states, where there is one.

    Args:
      start: when `time` was 0, as the file's header states it; a column of dates goes before it.
      order: 'month' or 'day' where the program always writes dates so.
      unsigned: the program may write currents without a sign.
    """
    left_out = "columns without a number in every row were left out: " + ", ".join(table.not_numeric)[:1000]
    notes = [*notes, left_out] if table.not_numeric else list(notes)
    voltage = table.values("voltage")
    if voltage is None:
        raise UserError(f"{path}: no column of voltages is known here; name it: columns = {{ voltage = … }}")
    time, start = _time_and_start(table, path, start, order, notes)
    falls = np.diff(time) < 0
    if falls.any():
        row = table.lines[1 + int(np.argmax(falls))]
        raise UserError(f"{path}: row {row}: time runs backwards; export one test, or the merged file, by itself")
    if (current := table.values("current")) is not None:
        current = _signed(current, table, unsigned, notes)
    charge = charges.recorded_charge(table, time, current)
    if current is None:
        current = charges.derivative(charge, time, path)
        notes.append("the log has no current; it was derived from the charge")
    integral = charges.integral(current, time)
    if charge is None:
        charge = integral
    else:
        notes += charges.notes_on_disagreement(charge, integral, table.begins_step())
    notes += [*_notes_on_units(table), *_notes_on_twins(table)]
    half_cycle = table.values("half_cycle")
    if half_cycle is not None:
        half_cycle = None if (np.abs(half_cycle) > 1e9).any() else half_cycle.astype(np.int32)
    return CyclerLog(time, voltage, current, charge, half_cycle, table.numbers, start, tuple(notes))


def _time_and_start(
    table: Table, path: Path, start: datetime.datetime | None, order: str | None, notes: list[str]
) -> tuple[np.ndarray, datetime.datetime | None]:
    """Return time [R] in s, and when it was 0."""
    time = _elapsed(table, notes)
    unix_time = table.values("unix_time")
    if unix_time is not None:
        clock: Timestamps | None = Timestamps(unix_time, True, 0)
    else:
        clock = None if table.dates is None else timestamps.resolve(table.dates, time, order)
    if time is not None:
        return time, start if clock is None else _start(clock, time, notes) or start
    if clock is None:
        reason = "no column of times is known here" if table.dates is None else "the dates fit no calendar"
        raise UserError(f"{path}: {reason}; export times in seconds, or name their column: columns = {{ time = … }}")
    zero = float(clock.seconds[0]) if start is None else (start - timestamps.EPOCH).total_seconds()
    return clock.seconds - zero, start or _start(clock, clock.seconds - zero, notes)


def _elapsed(table: Table, notes: list[str]) -> np.ndarray | None:
    """Return [R] s since the test began, from its own column or from the steps', or None."""
    time, step_time, is_new_step = table.values("time"), table.values("step_time"), table.begins_step()
    if time is not None:
        falls = np.diff(time) < 0
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


def _start(clock: Timestamps, time: np.ndarray, notes: list[str]) -> datetime.datetime | None:
    """Return when `time` [R] was 0 by the dates beside it, or None where they cannot tell."""
    if not clock.is_order_known:
        notes.append(
            f"its dates, {clock.example} for one, can be read day first or month first, so the start is left open; "
            "give [session.cycler] start"
        )
        return None
    starts = clock.seconds - time
    drift = float(np.ptp(starts))
    ticks = np.diff(clock.seconds)
    tick = float(ticks[ticks > 0].min(initial=np.inf))
    if _MAX_TICK < tick < np.inf and drift > tick / 4:
        notes.append(f"its dates are rounded to {tick:.0f} s, so the start is left open; give [session.cycler] start")
        return None
    if drift > _MAX_PAUSE:
        notes.append(
            f"dates and test time part by up to {drift:.0f} s, as when a test is paused; the start fits the first row"
        )
    return clock.to_datetime(float(starts[0]))


def _signed(current: np.ndarray, table: Table, unsigned: bool, notes: list[str]) -> np.ndarray:
    """Return [R] current with the sign of the column of states where the file has no sign of its own."""
    if (current < 0).any() or not (current > 0).any():
        return current
    if table.direction is not None and (table.direction < 0).any():
        notes.append(f"the current has no sign; it was taken from column '{table.roles['state'].name}'")
        return np.where(table.direction < 0, -current, current)
    if unsigned and table.direction is None:
        notes.append("the log does not tell charge from discharge: no current is negative and no column gives a state")
    return current


def _notes_on_units(table: Table) -> list[str]:
    """Note the columns whose unit the file does not state."""
    capacities = ("charge_capacity", "discharge_capacity")
    used = [role for role in (*_UNITS, *capacities, "capacity") if role in table.roles]
    for preferred, other in (({"time"}, "step_time"), (set(capacities), "capacity")):
        if preferred <= set(used) and other in used:
            used.remove(other)
    unstated = [role for role in used if not table.roles[role].has_unit and role not in table.duration_roles]
    if not unstated:
        return []
    assumed = ", ".join(f"'{table.roles[role].name}' as {_UNITS.get(role, 'Ah')}" for role in unstated)
    return [f"columns without a unit were read as they are: {assumed}"]


def _notes_on_twins(table: Table) -> list[str]:
    """Note columns named as the one that was taken, but with other numbers."""
    notes = []
    for role in ("voltage", "current"):
        taken = table.roles.get(role)
        for name, values in table.numbers.items():
            if taken is None or name == taken.name or split_unit(name)[0] != split_unit(taken.name)[0]:
                continue
            scale = unit_factor(split_unit(name)[1], role) or 1.0
            top, other = np.abs(table.numbers[taken.name]).max() * taken.scale, np.abs(values).max() * scale
            if abs(top - other) > 0.01 * max(top, other):
                values_differ = f"column '{name}' reaches {other:.3g} but '{taken.name}', which was taken, {top:.3g}"
                notes.append(f"{values_differ}; check the units")
    return notes
