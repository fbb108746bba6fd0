"""The experiment file: which patterns, which clock, which cell, which targets; checked before any data is read."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from xrd_jax import series
from xrd_jax.errors import UserError
from xrd_jax.io import section

VERSION = 1
DEFAULT_TOLERANCE = 120.0

# Factor from a unit in a file to the unit of `series.AXIS_UNITS`.
_TO_AXIS_UNIT = {
    "two_theta": {"deg": 1.0, "rad": 180 / math.pi},
    "q": {"1/angstrom": 1.0, "1/nm": 0.1},
    "d": {"angstrom": 1.0, "nm": 10.0, "pm": 0.01},
    "energy": {"eV": 1.0, "keV": 1e3, "meV": 1e-3},
    "wavenumber": {"1/cm": 1.0, "1/m": 0.01},
    "wavelength": {"nm": 1.0, "angstrom": 0.1, "um": 1e3},
    "ppm": {"ppm": 1.0},
    "velocity": {"mm/s": 1.0},
    "channel": {"": 1.0},
}
_DIFFRACTION = ("two_theta", "q", "d")


@dataclasses.dataclass(frozen=True)
class PatternPlan:
    files: str
    number: re.Pattern[str] | None
    counts: bool
    allow_negative: bool


@dataclasses.dataclass(frozen=True)
class AxisPlan:
    """`scale` turns positions of the files into the unit of `series.AXIS_UNITS`; `wavelength` is in Å."""

    kind: str
    scale: float
    wavelength: float | None


@dataclasses.dataclass(frozen=True)
class TimePlan:
    """Seconds on the log's clock; either `step` or `table` is set."""

    exposure: float
    offset: float
    step: float | None
    first: float
    first_number: int
    table: str | None


@dataclasses.dataclass(frozen=True)
class CyclerPlan:
    file: str
    format: str | None
    tolerance: float
    start: datetime.datetime | None
    charge_sign: float


@dataclasses.dataclass(frozen=True)
class TargetPlan:
    """`column` of the log, or None for the direction and half that the half cycles give."""

    name: str
    column: str | None
    kind: str
    unit: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole experiment file; windows and reflections are in the unit of `series.AXIS_UNITS`."""

    path: Path
    title: str
    patterns: PatternPlan
    axis: AxisPlan
    time: TimePlan
    cycler: CyclerPlan
    targets: tuple[TargetPlan, ...]
    windows: dict[str, tuple[float, float]]
    reflections: dict[str, float]
    overrides: dict[str, Any]


def read_plan(path: Path) -> Plan:
    """Reads and checks an experiment file.

    Raises:
      UserError: the file is missing or not TOML, a key is unknown, missing or of the wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such experiment file; check the name") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file in UTF-8 ({error}); mend that place") from None
    top = section.Section(values, "", path)
    version = top.take("version", int)
    if version != VERSION:
        raise UserError(f"{path}: version = {version} is not known; this program reads version = {VERSION}")
    axis = _axis(top.section("axis"))
    windows, reflections = top.section("windows", {}), top.section("reflections", {})
    plan = Plan(
        path=path,
        title=top.take("title", str, path.stem),
        patterns=_patterns(top.section("patterns")),
        axis=axis,
        time=_time(top.section("time")),
        cycler=_cycler(top.section("cycler")),
        targets=_targets(top.section("targets")),
        windows={name: _window(windows, name, axis.scale) for name in list(windows.values)},
        reflections={name: axis.scale * reflections.take(name, float) for name in list(reflections.values)},
        overrides=dict(top.section("set", {}).values),
    )
    top.done()
    return plan


def _patterns(table: section.Section) -> PatternPlan:
    number = table.take("number", str, None)
    try:
        compiled = None if number is None else re.compile(number)
    except re.error as error:
        raise UserError(
            f"{table.place} number is not a regular expression ({error}); write one such as '_(\\d+)'"
        ) from None
    plan = PatternPlan(
        table.take("files", str), compiled, table.take("counts", bool), table.take("allow_negative", bool, False)
    )
    table.done()
    if plan.counts and plan.allow_negative:
        raise UserError(
            f"{table.place} counts = true and allow_negative = true exclude each other; photon counts are ≥ 0"
        )
    return plan


def _axis(table: section.Section) -> AxisPlan:
    kind = table.take("kind", str)
    if kind not in _TO_AXIS_UNIT:
        raise UserError(f"{table.place} kind '{kind}' is not known{section.suggest(kind, _TO_AXIS_UNIT)}")
    units = _TO_AXIS_UNIT[kind]
    # q is written in 1/nm as often as in 1/Å: only where one unit is usual is it a default.
    usual = kind == "two_theta" or len(units) == 1
    unit = table.take("unit", str, *([series.AXIS_UNITS[kind]] if usual else []))
    if unit not in units:
        raise UserError(f"{table.place} unit '{unit}' is not known for {kind}{section.suggest(unit, units)}")
    wavelength = table.take("wavelength", float, None)
    table.done()
    if wavelength is None and kind in _DIFFRACTION:
        raise UserError(
            f"{table.place} wavelength is missing; give it in Å, such as wavelength = 1.5406: none is assumed"
        )
    if wavelength is not None and not 0.01 <= wavelength <= 20:
        raise UserError(f"{table.place} wavelength = {wavelength:g} Å is no X-ray or neutron wavelength; give it in Å")
    return AxisPlan(kind, units[unit], wavelength)


def _time(table: section.Section) -> TimePlan:
    step, starts = table.take("step", float, None), table.take("table", str, None)
    plan = TimePlan(
        exposure=table.take("exposure", float),
        offset=table.take("offset", float, 0.0),
        step=step,
        first=table.take("first", float, *([0.0] if step is None else [])),
        first_number=table.take("first_number", int, 1),
        table=starts,
    )
    table.done()
    if (step is None) == (starts is None):
        raise UserError(
            f"{table.place} needs either step (constant, in s) or table (a csv of file,start_time); give one"
        )
    if plan.exposure < 0 or (step is not None and (step <= 0 or plan.exposure > step)):
        raise UserError(f"{table.place} step must be positive and exposure between 0 and step, both in s; mend them")
    if starts is not None and {"first", "first_number"} & set(table.values):
        raise UserError(f"{table.place} first and first_number go with step, not with table; remove them")
    return plan


def _cycler(table: section.Section) -> CyclerPlan:
    start = table.values.get("start")
    table.take("start", datetime.datetime if isinstance(start, datetime.datetime) else str, None)
    if isinstance(start, str):
        try:
            start = datetime.datetime.fromisoformat(start)
        except ValueError:
            raise UserError(f"{table.place} start '{start}' is not a date; write 2024-02-28T10:27:22+01:00") from None
    sign = table.take("positive_current", str, "charge")
    if sign not in ("charge", "discharge"):
        raise UserError(f"{table.place} positive_current must be 'charge' or 'discharge', not '{sign}'")
    plan = CyclerPlan(
        table.take("file", str),
        table.take("format", str, None),
        table.take("tolerance", float, DEFAULT_TOLERANCE),
        start,
        1.0 if sign == "charge" else -1.0,
    )
    table.done()
    if plan.tolerance <= 0:
        raise UserError(f"{table.place} tolerance must be above 0 s, not {plan.tolerance:g}")
    return plan


def _targets(table: section.Section) -> tuple[TargetPlan, ...]:
    if not table.values:
        raise UserError(f'{table.place} names no target; add one such as [targets.voltage] with column = "Ewe/V"')
    return tuple(_target(table.section(name), name) for name in list(table.values))


def _target(table: section.Section, name: str) -> TargetPlan:
    column, source = table.take("column", str, None), table.take("from", str, None)
    kind = table.take("kind", str, "classification" if source else "regression")
    unit = table.take("unit", str, "")
    table.done()
    if (column is None) == (source is None) or source not in (None, "half cycles"):
        raise UserError(f'{table.place} needs either column = "…" of the cycler log or from = "half cycles"; give one')
    if kind not in ("regression", "classification") or (source and kind != "classification"):
        raise UserError(f"{table.place} kind must be {'' if source else 'regression or '}classification, not '{kind}'")
    return TargetPlan(name, column, kind, unit)


def _window(table: section.Section, name: str, scale: float) -> tuple[float, float]:
    value = table.values[name]
    numbers = (
        isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    )
    if not numbers or not value[0] < value[1]:
        raise UserError(f"{table.place} {name} must be [low, high] on the axis, not {value!r}")
    return value[0] * scale, value[1] * scale
