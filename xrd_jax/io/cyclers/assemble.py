"""From the columns of any vendor to a log in s, V, A and A h."""

from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import charge as charges
from xrd_jax.io.cyclers.columns import ROLES, split_unit, unit_factor
from xrd_jax.io.cyclers.current_sign import signed_current
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.log_time import log_time
from xrd_jax.io.cyclers.table import Table

_UNITS = {"time": "s", "step_time": "s", "voltage": "V", "current": "A"}


def cycler_log(table: Table, path: Path, stated: Stated, notes: list[str]) -> CyclerLog:
    """Make a log of a table whose columns have roles.

    Where rows state dates, these are the clock; else time is the test's own, or runs on over the steps. A missing
    current is dQ/dt and a missing charge ∫I dt over the test's own time; both are NaN where neither is known.

    Args:
      stated: when `time` was 0, as the file's header says; dates of the rows go before it.
      notes: of the reader; those of this function follow.
    """
    notes = list(notes)
    if table.not_numeric:
        left_out = "columns without a number in every row were left out: "
        notes.append(left_out + ", ".join(table.not_numeric)[:1000])
    voltage = table.values("voltage")
    if voltage is None:
        raise UserError(f"{path}: no column of voltages is known here; name it: columns = {{ voltage = … }}")
    clock = log_time(table, path, stated)
    elapsed = clock.elapsed
    falls = np.diff(clock.time) < 0
    if falls.any():
        row = table.lines[1 + int(np.argmax(falls))]
        raise UserError(f"{path}: row {row}: time runs backwards; export one test, or the merged file, by itself")
    if (current := table.values("current")) is not None:
        current, sign_notes = signed_current(table, current, stated.unsigned)
        notes += sign_notes
    charge = charges.recorded_charge(table, elapsed, current)
    if current is None and charge is not None:
        current = charges.derivative(charge, elapsed, path)
        notes.append("the log has no current; it was derived from the charge")
    elif current is None:
        current = np.full(voltage.size, np.nan)
        notes.append("the log has neither current nor charge, so nothing can be said of half cycles")
    integral = charges.integral(current, elapsed)
    if charge is None:
        charge = current if np.isnan(current).all() else integral
    else:
        notes += charges.notes_on_disagreement(charge, integral, table.begins_step())
    notes += [*clock.notes, *_notes_on_units(table, clock.unit_by_dates), *_notes_on_other_columns(table)]
    half_cycle = table.values("half_cycle")
    if half_cycle is not None:
        half_cycle = None if (np.abs(half_cycle) > 1e9).any() else half_cycle.astype(np.int32)
    return CyclerLog(clock.time, voltage, current, charge, half_cycle, table.numbers, clock.start, tuple(notes), "",
                     clock.rows)  # fmt: skip


def _notes_on_units(table: Table, is_time_known: bool) -> list[str]:
    """Note the columns whose unit the file does not state."""
    capacities = ("charge_capacity", "discharge_capacity")
    used = [role for role in (*_UNITS, *capacities, "capacity") if role in table.roles]
    for preferred, other in (({"time"}, "step_time"), (set(capacities), "capacity")):
        if preferred <= set(used) and other in used:
            used.remove(other)
    if is_time_known:
        used = [role for role in used if role not in ("time", "step_time")]
    unstated = [role for role in used if not table.roles[role].has_unit and role not in table.duration_roles]
    if not unstated:
        return []
    assumed = ", ".join(f"'{table.roles[role].name}' as {_UNITS.get(role, 'Ah')}" for role in unstated)
    return [f"columns without a unit were read as they are: {assumed}"]


def _notes_on_other_columns(table: Table) -> list[str]:
    """Note columns that could have been taken instead: of the same name with other numbers, or another voltage."""
    notes = []
    for role in ("voltage", "current"):
        taken = table.roles.get(role)
        for name, values in table.numbers.items():
            if taken is None or name == taken.name:
                continue
            label, unit = split_unit(name)
            if label != split_unit(taken.name)[0]:
                if role == "voltage" and label in ROLES[role][1] and unit_factor(unit, role):
                    notes.append(f"'{taken.name}' was taken for the voltage; the file has '{name}' too")
                continue
            scale = unit_factor(unit, role) or 1.0
            top, other = np.abs(table.numbers[taken.name]).max() * taken.scale, np.abs(values).max() * scale
            if abs(top - other) > 0.01 * max(top, other):
                values_differ = f"column '{name}' reaches {other:.3g} but '{taken.name}', which was taken, {top:.3g}"
                notes.append(f"{values_differ}; check the units")
    return notes
