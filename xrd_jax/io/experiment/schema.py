"""The experiment file: which patterns, which clock, which cell, which targets; checked before any data is read."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import math
import re
import tomllib
from pathlib import Path
from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import toml_table
from xrd_jax.series import record

VERSIONS = (1, 2)
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
    """Pattern files by globs, or `stack`: one file with a row per pattern.

    Attributes:
      files: globs.
      number: finds the number of a pattern in the name of its file.
      stack: a csv matrix or an HDF5 file, instead of `files`.
      columns: the csv columns that hold the spectrum, as a glob; '' takes those whose names are numbers.
      dataset: path of the intensities [T, N] in an HDF5 file; '' follows its default plot.
      exclude: names or numbers of patterns to leave out.
    """

    files: tuple[str, ...]
    number: re.Pattern[str] | None
    counts: bool
    allow_negative: bool
    stack: str = ""
    columns: str = ""
    dataset: str = ""
    exclude: tuple[str | int, ...] = ()

    @property
    def shown(self) -> str:
        return self.stack or ", ".join(self.files)


@dataclasses.dataclass(frozen=True)
class AxisPlan:
    """`scale` turns positions of the files into the unit of `series.AXIS_UNITS`; `wavelength` is in Å.

    Attributes:
      kind: None leaves it to the files.
      ends: first and last position of evenly spaced channels, for files that hold none.
      masks: ranges of channels that are left out.
      fill: keep the masked channels and draw a straight line across them instead of leaving them out.
    """

    kind: str | None
    scale: float
    wavelength: float | None
    ends: tuple[float, float] | None = None
    masks: tuple[tuple[float, float], ...] = ()
    fill: bool = False


@dataclasses.dataclass(frozen=True)
class TimePlan:
    """When patterns were taken; one of `step`, `table` or `files` says how it is known.

    Attributes:
      exposure: s, or None where the files say it themselves.
      offset: s added to every time.
      step, first, first_number: pattern number `first_number` starts at `first` s on the log's clock.
      table: csv of file,start_time.
      files: the pattern files say when they were taken.
      zone: of the patterns' clock, where it states none.
      relative: the first pattern starts at `first` s on the log's clock, whatever date the files state.
    """

    exposure: float | None
    offset: float
    step: float | None
    first: float
    first_number: int
    table: str | None
    files: bool = False
    zone: datetime.tzinfo | None = None
    relative: bool = False


@dataclasses.dataclass(frozen=True)
class CyclerPlan:
    """A cycler log; `columns` and `units` (quantity -> name, unit) say what the names of its columns do not."""

    file: str
    format: str | None
    tolerance: float
    start: datetime.datetime | None
    charge_sign: float
    zone: datetime.tzinfo | None = None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    units: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SessionPlan:
    """One cell at one rate in one place.

    Attributes:
      prefix: what stands before a table's name in this file, such as 'session 2.'.
      time, cycler: None where the file has no such table.
    """

    name: str
    prefix: str
    patterns: PatternPlan
    time: TimePlan | None
    cycler: CyclerPlan | None
    c_rate: float | None = None


@dataclasses.dataclass(frozen=True)
class TargetPlan:
    """One of `column`, `expression` and `source` says where the values come from.

    Attributes:
      column: of the cycler log, of the stack file, or of `table`.
      expression: arithmetic over such columns, parsed by `expression.parse`.
      source: one of `plan_target.SOURCES`, which half cycles or sessions give.
      table: csv with a row per pattern that holds `column`.
    """

    name: str
    column: str | None
    kind: str
    unit: str
    source: str | None = None
    expression: ast.expr | None = None
    table: str | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """A whole experiment file; windows and reflections are in the unit of `series.AXIS_UNITS`.

    Attributes:
      split: configuration that the [split] table asks for, such as {'prepare.split': 'block'}.
    """

    path: Path
    title: str
    axis: AxisPlan
    sessions: tuple[SessionPlan, ...]
    targets: tuple[TargetPlan, ...]
    windows: dict[str, tuple[float, float]]
    reflections: dict[str, float]
    split: dict[str, Any]
    overrides: dict[str, Any]


def read_plan(path: Path) -> Plan:
    """Reads and checks an experiment file of version 1 (one session) or 2.

    Raises:
      UserError: the file is missing or not TOML, a key is unknown, missing or of the wrong type.
    """
    from xrd_jax.io.experiment import (
        parse_session,  # they make the records above
        parse_targets,
    )

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such experiment file; check the name") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file in UTF-8 ({error}); mend that place") from None
    top = toml_table.Section(values, "", path)
    version = top.take("version", int)
    if version not in VERSIONS:
        raise UserError(f"{path}: version = {version} is not known; this program reads versions 1 and 2")
    title = top.take("title", str, path.stem)
    if version == 1:
        _refuse_newer(values, path)
        axis = _axis(top.section("axis"), required=True)
        sessions: tuple[SessionPlan, ...] = (parse_session.only(top, title),)
    else:
        _refuse_older(values, path)
        axis = _masked(_axis(top.section("axis", {}), required=False), top.section("mask", {}))
        sessions = parse_session.several(top, title)
    windows, reflections = top.section("windows", {}), top.section("reflections", {})
    plan = Plan(
        path=path,
        title=title,
        axis=axis,
        sessions=sessions,
        targets=parse_targets.targets(top.section("targets"), version),
        windows={name: span(windows.place, name, windows.values[name], axis.scale) for name in list(windows.values)},
        reflections={name: axis.scale * reflections.take(name, float) for name in list(reflections.values)},
        split=parse_targets.split(top.section("split", {})) if version > 1 else {},
        overrides=dict(top.section("set", {}).values),
    )
    top.done()
    parse_targets.check(plan)
    return plan


def _refuse_newer(values: dict[str, Any], path: Path) -> None:
    for key in ("session", "split", "mask"):
        if key in values:
            raise UserError(f"{path}: [{key}] came with version 2; set version = 2 and move [patterns], [time] and "
                            "[cycler] under [[session]]")  # fmt: skip


def _refuse_older(values: dict[str, Any], path: Path) -> None:
    for key in ("patterns", "time", "cycler"):
        if key in values:
            remedy = 'write [[session]] with patterns = "…"' if key == "patterns" else f"write [session.{key}]"
            raise UserError(f"{path}: [{key}] stands under a session in version 2; {remedy}, or set version = 1")


def _axis(table: toml_table.Section, required: bool) -> AxisPlan:
    kind = table.take("kind", str) if required else table.take("kind", str, None)
    if kind is not None and kind not in _TO_AXIS_UNIT:
        raise UserError(f"{table.place} kind '{kind}' is not known{toml_table.suggest(kind, _TO_AXIS_UNIT)}")
    scale = 1.0 if kind is None else _scale(table, kind)
    wavelength = table.take("wavelength", float, None)
    ends = None
    if not required and ("first" in table.values or "last" in table.values):
        ends = span(table.place, "first and last", [table.values.get("first"), table.values.get("last")], scale)
        table.take("first", float), table.take("last", float)
    table.done()
    if wavelength is None and kind in _DIFFRACTION and required:
        raise UserError(
            f"{table.place} wavelength is missing; give it in Å, such as wavelength = 1.5406: none is assumed"
        )
    if wavelength is not None and not 0.01 <= wavelength <= 20:
        raise UserError(f"{table.place} wavelength = {wavelength:g} Å is no X-ray or neutron wavelength; give it in Å")
    return AxisPlan(kind, scale, wavelength, ends)


def _scale(table: toml_table.Section, kind: str) -> float:
    units = _TO_AXIS_UNIT[kind]
    # q is written in 1/nm as often as in 1/Å: only where one unit is usual is it a default.
    usual = kind == "two_theta" or len(units) == 1
    unit = table.take("unit", str, *([record.AXIS_UNITS[kind]] if usual else []))
    if unit not in units:
        raise UserError(f"{table.place} unit '{unit}' is not known for {kind}{toml_table.suggest(unit, units)}")
    return units[unit]


def _masked(axis: AxisPlan, table: toml_table.Section) -> AxisPlan:
    ranges = table.take("channels", list, [])
    fill = table.take("fill", bool, False)
    table.done()
    masks = tuple(span(table.place, "channels", value, axis.scale) for value in ranges)
    return dataclasses.replace(axis, masks=masks, fill=fill)


def span(place: str, name: str, value: Any, scale: float) -> tuple[float, float]:
    """[low, high] on the axis, in the unit of `series.AXIS_UNITS`."""
    numbers = (
        isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    )
    if not numbers or not value[0] < value[1]:
        raise UserError(f"{place} {name} must be [low, high] on the axis, not {value!r}")
    return value[0] * scale, value[1] * scale
