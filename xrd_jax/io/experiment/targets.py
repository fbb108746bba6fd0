"""The values of targets for the patterns of a session, and many sessions' values as one target."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.cyclers.log import CyclerLog, HalfCycles
from xrd_jax.io.experiment import clock, expression, paths, side_table
from xrd_jax.io.experiment.schema import ExperimentFile, SessionTable, TargetTable
from xrd_jax.io.experiment.stack import Stack
from xrd_jax.io.parsing.text import natural_key
from xrd_jax.series.axis import HALF_CYCLE_MODES, Target

# Columns that every log has, whatever its file calls them, and their units.
STANDARD_UNITS = {"time": "s", "voltage": "V", "current": "A", "capacity": "Ah"}


@dataclasses.dataclass(frozen=True)
class AlignedPatterns:
    """The patterns [T] of a session against its cell; `log` is None without a cycler, `half_cycles` without current."""

    session: SessionTable
    stack: Stack
    time: Float[np.ndarray, " T"]  # s on the log's clock
    numbers: Int[np.ndarray, " T"] | None = None  # in the names of files
    log: CyclerLog | None = None
    match: clock.LogMatch | None = None  # where the patterns fall in the log
    half_cycles: HalfCycles | None = None

    @property
    def cycle(self) -> Int[np.ndarray, " T"]:
        return np.zeros(self.time.size, np.int32) if self.half_cycles is None else self.half_cycles.cycle(self.time)


def target_values(
    experiment: ExperimentFile, target: TargetTable, aligned: AlignedPatterns, folder: Path
) -> np.ndarray:
    """Return [T] numbers with NaN, or texts with '', where a pattern has no value."""
    place = experiment.place("targets", target.name)
    if target.source is not None:
        return _source_values(target.source, aligned)
    if target.table is not None:
        file = paths.resolve(folder, target.table, f"{place} table")
        names, numbers = aligned.stack.names, aligned.numbers
        return side_table.to_array(side_table.texts_per_pattern(file, target.column or "", names, numbers))
    if target.column is not None:
        return _column(target.column, aligned, target.kind == "classification", place)
    assert target.expression is not None
    columns = {name: _column(name, aligned, False, place) for name in expression.column_names(target.expression)}
    for name, column in columns.items():
        if column.dtype.kind not in "fiub":
            raise UserError(f"{place} expression: column '{name}' holds words; use columns of numbers")
    values = expression.evaluate(target.expression, columns)
    return np.broadcast_to(values, aligned.time.shape).astype(np.float64)


def _column(name: str, aligned: AlignedPatterns, jumps: bool, place: str) -> np.ndarray:
    """Return [T] a column of the stack file, else of the log by its own name, else one that every log has."""
    if name in aligned.stack.columns:
        return aligned.stack.columns[name]
    if aligned.log is None or aligned.match is None:
        names = list(aligned.stack.columns)
        source = aligned.session.stack or "these patterns: they have no cycler log and no stack file"
        raise UserError(f"{place} column '{name}' is not in {source}{suggest(name, names) if names else ''}")
    if name not in aligned.log.columns and name not in STANDARD_UNITS:
        names = [*aligned.log.columns, *STANDARD_UNITS]
        file = aligned.session.cycler.source if aligned.session.cycler else ""
        raise UserError(f"{place} column '{name}' is not in {file}{suggest(name, names)}")
    column = aligned.log.columns[name] if name in aligned.log.columns else getattr(aligned.log, name)
    values = aligned.match.nearest(column) if jumps else aligned.match.interpolate(column)
    return np.where(aligned.match.is_matched, values, np.nan)


def _source_values(source: str, aligned: AlignedPatterns) -> np.ndarray:
    session, half_cycles = aligned.session, aligned.half_cycles
    if source == "session":
        return np.full(aligned.time.size, session.name)
    if source == "c_rate":
        return np.full(aligned.time.size, f"{session.c_rate:g}C")
    assert aligned.log is not None and aligned.match is not None and session.cycler is not None
    if source == "capacity":
        charge = session.cycler.charge_sign * aligned.match.interpolate(aligned.log.capacity)
        return np.where(aligned.match.is_matched, charge, np.nan)
    assert half_cycles is not None
    index = half_cycles.index(aligned.time)
    if source == "soc":
        return _state_of_charge(aligned.log, aligned.match, half_cycles, index)
    if source == "half cycles":
        names, index = np.array(HALF_CYCLE_MODES), half_cycles.mode(aligned.time)
    else:
        directions = ["charge" if is_charge else "discharge" for is_charge in half_cycles.is_charge.tolist()]
        names = np.array(
            directions if source == "direction" else [f"{number} {way}" for number, way in enumerate(directions, 1)]
        )
    return np.where(index < 0, "", names[index])


def _state_of_charge(
    log: CyclerLog, match: clock.LogMatch, half_cycles: HalfCycles, index: Int[np.ndarray, " T"]
) -> Float[np.ndarray, " T"]:
    """Return the share of the half cycle's charge: 0 → 1 in a charge, 1 → 0 in a discharge; NaN in neither."""
    ends = np.concatenate([half_cycles.begin, half_cycles.end])
    begin, end = np.split(clock.match_to_log(log.time, ends, np.inf).interpolate(log.capacity), 2)
    total = np.where(begin == end, np.nan, end - begin)[index]
    share = np.clip((match.interpolate(log.capacity) - begin[index]) / total, 0.0, 1.0)
    is_outside = (index < 0) | ~match.is_matched
    return np.where(is_outside, np.nan, np.where(half_cycles.is_charge[index], share, 1.0 - share))


def _has_value(values: np.ndarray) -> Bool[np.ndarray, " T"]:
    if values.dtype.kind == "f":
        return np.isfinite(values)
    return values != "" if values.dtype.kind == "U" else np.ones(values.shape, bool)


def reasons_to_leave_out(
    experiment: ExperimentFile, aligned: AlignedPatterns, values: Mapping[str, np.ndarray]
) -> dict[str, Bool[np.ndarray, " T"]]:
    """Return reasons, and which patterns [T] are left out for each; the first reason that holds is the one given."""
    time, session = aligned.time, aligned.session
    reasons: dict[str, np.ndarray] = {}
    is_out = np.zeros(time.size, bool)
    if aligned.log is not None and aligned.match is not None and session.cycler is not None:
        begin, end = aligned.log.time[[0, -1]]
        is_outside = (time < begin) | (time > end)
        if is_outside.all():
            raise UserError(
                f"{experiment.path}: the patterns run from {time[0]:g} to {time[-1]:g} s, the cycler log from "
                f"{begin:g} to {end:g} s: they do not overlap; mend [{session.label}.time] or give it an offset"
            )
        gaps = f"gaps of the cycler log longer than {session.cycler.tolerance:g} s"
        reasons["lie outside the cycler log"] = is_outside
        reasons[f"lie in {gaps}"] = ~is_outside & ~aligned.match.is_matched
        is_out = is_outside | ~aligned.match.is_matched
    is_resting = np.zeros(time.size, bool)
    for target in experiment.targets.values():
        if target.source in ("half cycles", "direction", "half cycle", "soc"):
            is_resting |= ~is_out & ~_has_value(values[target.name])
    reasons["lie in rests, where there is neither charge nor discharge"] = is_resting
    is_out = is_out | is_resting
    for name, column in values.items():
        reasons[f"have no value of {name}"] = ~is_out & ~_has_value(column)
        is_out = is_out | ~_has_value(column)
    return reasons


def merge_sessions(
    experiment: ExperimentFile, target: TargetTable, parts: Sequence[np.ndarray], messages: list[str]
) -> Target:
    """Return one target from the values of every session; one that is the same everywhere is refused."""
    place = experiment.place("targets", target.name)
    is_text = any(part.dtype.kind == "U" for part in parts)
    values = np.concatenate([part.astype(str) if is_text else part.astype(np.float64) for part in parts])
    if target.kind == "regression":
        if target.source == "c_rate":
            return Target(np.array([float(rate[:-1]) for rate in values]), "regression", "C")
        if is_text:
            raise UserError(f"{place} holds words such as '{values[0]}'; use kind = \"classification\"")
        if np.all(values == values[0]):
            raise UserError(f"{place} is {values[0]:g} in every pattern; there is nothing to learn: remove it")
        return Target(values, "regression", _unit(target))
    classes = HALF_CYCLE_MODES if target.source == "half cycles" else _classes(values, place, target)
    labels = values if is_text else np.array([f"{value:g}" for value in values])
    index_of = {name: index for index, name in enumerate(classes)}
    indices = np.array([index_of[label] for label in labels.tolist()])
    counts = np.bincount(indices, minlength=len(classes))
    if np.count_nonzero(counts) < 2:
        raise UserError(f"{place} is '{classes[indices[0]]}' in every pattern; there is nothing to learn: remove it")
    shares = ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    messages.append(f"Patterns per class of {target.name}: {shares}.")
    return Target(indices, "classification", "", classes)


def _unit(target: TargetTable) -> str:
    """Return the unit as given, else as the column's name ends, else as the source implies."""
    if target.unit:
        return target.unit
    if target.source == "capacity":
        return "Ah"
    column = target.column or ""
    return STANDARD_UNITS.get(column, column.rpartition("/")[2] if "/" in column else "")


def _classes(values: np.ndarray, place: str, target: TargetTable) -> tuple[str, ...]:
    if values.dtype.kind == "U":
        return tuple(sorted(set(values.tolist()), key=natural_key))
    classes = np.unique(values)
    if (fractions := classes[classes != np.round(classes)]).size:
        source = "expression" if target.column is None else f"column {target.column!r}"
        raise UserError(f'{place} {source} holds {fractions[0]:g}, which is no class; use kind = "regression"')
    return tuple(f"{value:g}" for value in classes)
