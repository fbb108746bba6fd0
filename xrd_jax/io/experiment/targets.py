"""The values of targets for the patterns of a session, and many sessions' values as one target."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import clock, expression, paths, side_table, stack
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.parsing import text, toml_table
from xrd_jax.series import axis

STANDARD = ("time", "voltage", "current", "capacity")  # every log has these, whatever its file calls them


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The patterns [T] of a session against its cell; `log` is None without a cycler, `half_cycles` without current.

    Attributes:
      time: [T] s on the log's clock.
      numbers: [T] numbers in the names of files, or None.
    """

    session: plans.SessionPlan
    rows: stack.Stack
    time: np.ndarray
    numbers: np.ndarray | None = None
    log: logs.CyclerLog | None = None
    match: clock.Match | None = None
    half_cycles: logs.HalfCycles | None = None

    @property
    def cycle(self) -> np.ndarray:
        return np.zeros(self.time.size, np.int32) if self.half_cycles is None else self.half_cycles.cycle(self.time)

    @property
    def found(self) -> np.ndarray:
        """[T] True where the log has a value, everywhere without a log."""
        return np.ones(self.time.size, bool) if self.match is None else self.match.found


def values(plan: plans.Plan, target: plans.TargetPlan, line: Timeline, root: Path) -> np.ndarray:
    """[T] numbers with NaN, or texts with '', where a pattern has no value.

    Raises:
      UserError: a column that is not there, with the nearest that is.
    """
    place = f"{plan.path}: [targets.{target.name}]"
    if target.source is not None:
        return _derived(target.source, line)
    if target.table is not None:
        file = paths.one_file(plan, root, target.table, f"[targets.{target.name}] table")
        texts = side_table.per_pattern(file, target.column or "", line.rows.names, line.numbers)
        numbers = side_table.numbers_or_none(texts)
        return np.array(texts) if numbers is None else numbers
    if target.column is not None:
        return _column(target.column, line, target.kind == "classification", place)
    assert target.expression is not None
    asked = expression.names(target.expression)
    columns = {name: _column(name, line, False, place) for name in asked}
    for name, column in columns.items():
        if column.dtype.kind not in "fiub":
            raise UserError(f"{place} expression: column '{name}' holds words; use columns of numbers")
    return np.broadcast_to(expression.evaluate(target.expression, columns), line.time.shape).astype(np.float64)


def _column(name: str, line: Timeline, jumps: bool, place: str) -> np.ndarray:
    """A column of the stack file, else of the log by its own name, else one of `STANDARD`."""
    if name in line.rows.columns:
        return line.rows.columns[name]
    if line.log is None or line.match is None:
        known: list[str] = list(line.rows.columns)
        where = line.session.patterns.stack or "these patterns: they have no cycler log and no stack file"
        raise UserError(f"{place} column '{name}' is not in {where}{toml_table.suggest(name, known) if known else ''}")
    if name in line.log.columns:
        column = line.log.columns[name]
    elif name in STANDARD and line.session.prefix:
        column = getattr(line.log, name)
    else:
        known = [*line.log.columns, *(STANDARD if line.session.prefix else ())]
        file = line.session.cycler.file if line.session.cycler else ""
        raise _no_column(place, name, known, file)
    taken = line.match.nearest(column) if jumps else line.match.interpolate(column)
    return np.where(line.match.found, taken, np.nan)


def refuse_column(plan: plans.Plan, target: str, column: str, known: Sequence[str], file: str) -> NoReturn:
    """Raises the error for a column that a log does not have."""
    raise _no_column(f"{plan.path}: [targets.{target}]", column, known, file)


def _no_column(place: str, name: str, known: Sequence[str], file: str) -> UserError:
    return UserError(f"{place} column '{name}' is not in {file}{toml_table.suggest(name, known)}")


def _derived(source: str, line: Timeline) -> np.ndarray:
    session = line.session
    if source == "session":
        return np.full(line.time.size, session.name)
    if source == "c_rate":
        return np.full(line.time.size, f"{session.c_rate:g}C")
    assert line.log is not None and line.match is not None and session.cycler is not None
    if source == "capacity":
        charge = session.cycler.charge_sign * line.match.interpolate(line.log.capacity)
        return np.where(line.match.found, charge, np.nan)
    assert line.half_cycles is not None
    halves, index = line.half_cycles, line.half_cycles.index(line.time)
    if source == "half cycles":
        mode = halves.mode(line.time)
        return np.where(mode < 0, "", np.array(logs.MODES)[mode])
    if source == "direction":
        return np.where(index < 0, "", np.where(halves.charge[index], "charge", "discharge"))
    if source == "half cycle":
        names = [f"{k} {'charge' if up else 'discharge'}" for k, up in enumerate(halves.charge.tolist(), 1)]
        return np.where(index < 0, "", np.array(names)[index])
    return _state_of_charge(line.log, line.match, halves, line.time)


def _state_of_charge(log: logs.CyclerLog, match: clock.Match, halves: logs.HalfCycles, time: np.ndarray) -> np.ndarray:
    """[T] share of the half cycle's charge: 0 → 1 in a charge, 1 → 0 in a discharge; NaN in neither."""
    index = halves.index(time)
    whole = clock.match(log.time, np.concatenate([halves.begin, halves.end]), np.inf).interpolate(log.capacity)
    begin, end = np.split(whole, 2)
    moved = np.where(begin == end, np.nan, end - begin)[index]
    share = np.clip((match.interpolate(log.capacity) - begin[index]) / moved, 0.0, 1.0)
    return np.where((index < 0) | ~match.found, np.nan, np.where(halves.charge[index], share, 1.0 - share))


def known(found: np.ndarray) -> np.ndarray:
    """[T] True where `values` has a value."""
    return np.isfinite(found) if found.dtype.kind == "f" else found != "" if found.dtype.kind == "U" else found == found


def unit(target: plans.TargetPlan) -> str:
    """The unit as given, else as the column's name ends, else as the source implies."""
    if target.unit or target.kind == "classification":
        return target.unit
    if target.source == "capacity":
        return "Ah"
    column = target.column or ""
    standard = {"time": "s", "voltage": "V", "current": "A", "capacity": "Ah"}
    return standard.get(column, column.rpartition("/")[2] if "/" in column else "")


def merge(plan: plans.Plan, target: plans.TargetPlan, parts: Sequence[np.ndarray], report: list[str]) -> axis.Target:
    """One target from the kept values of every session; refuses one that is the same everywhere."""
    place = f"{plan.path}: [targets.{target.name}]"
    texts = any(part.dtype.kind == "U" for part in parts)
    found = np.concatenate([part.astype(str) if texts else part.astype(np.float64) for part in parts])
    if target.kind == "regression":
        if texts:
            if target.source == "c_rate":
                return axis.Target(np.array([float(rate[:-1]) for rate in found]), "regression", "C")
            raise UserError(f"{place} holds words such as '{found[0]}'; use kind = \"classification\"")
        if np.all(found == found[0]):
            raise UserError(f"{place} is {found[0]:g} in every pattern; there is nothing to learn: remove it")
        return axis.Target(found, "regression", unit(target))
    classes = logs.MODES if target.source == "half cycles" else _classes(found, place, target)
    labels = found if texts else np.array([f"{value:g}" for value in found])
    index = {name: at for at, name in enumerate(classes)}
    chosen = np.array([index[label] for label in labels.tolist()])
    counts = np.bincount(chosen, minlength=len(classes))
    if np.count_nonzero(counts) < 2:
        raise UserError(f"{place} is '{classes[chosen[0]]}' in every pattern; there is nothing to learn: remove it")
    report.append(
        f"Patterns per class of {target.name}: {', '.join(f'{c} {n}' for c, n in zip(classes, counts, strict=True))}."
    )
    return axis.Target(chosen, "classification", "", classes)


def _classes(found: np.ndarray, place: str, target: plans.TargetPlan) -> tuple[str, ...]:
    if found.dtype.kind == "U":
        return tuple(sorted(set(found.tolist()), key=text.natural_key))
    steps = np.unique(found)
    if np.any(steps != np.round(steps)):
        raise UserError(
            f"{place} {'expression' if target.column is None else f'column {target.column!r}'} holds "
            f'{steps[steps != np.round(steps)][0]:g}, which is no class; use kind = "regression"'
        )
    return tuple(f"{step:g}" for step in steps)


def lost(plan: plans.Plan, line: Timeline, found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Reasons for which patterns are left out -> [T] which of them; the first reason that holds is the one given.

    Args:
      found: target -> `values`.

    Raises:
      UserError: the patterns and the log do not overlap.
    """
    reasons: dict[str, np.ndarray] = {}
    done = np.zeros(line.time.size, bool)
    if line.log is not None and line.session.cycler is not None:
        begin, end = line.log.time[[0, -1]]
        outside = (line.time < begin) | (line.time > end)
        if outside.all():
            raise UserError(
                f"{plan.path}: the patterns run from {line.time[0]:g} to {line.time[-1]:g} s, the cycler log from "
                f"{begin:g} to {end:g} s: they do not overlap; mend [{line.session.prefix}time] or give it an offset"
            )
        gap = ~outside & ~line.found
        reasons["lie outside the cycler log"] = outside
        reasons[f"lie in gaps of the cycler log longer than {line.session.cycler.tolerance:g} s"] = gap
        done = outside | gap
    resting = np.zeros(line.time.size, bool)
    for target in plan.targets:
        if target.source in ("half cycles", "direction", "half cycle", "soc"):
            resting |= ~done & ~known(found[target.name])
    reasons["lie in rests, where there is neither charge nor discharge"] = resting
    done = done | resting
    for name, column in found.items():
        reasons[f"have no value of {name}"] = ~done & ~known(column)
        done = done | ~known(column)
    return reasons
