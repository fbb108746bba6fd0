"""The experiment file: which patterns, which clock, which cell, which targets; checked before any data is read."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import math
import re
from pathlib import Path
from typing import Any

DEFAULT_TOLERANCE = 120.0

# Factor from a unit in a file to the unit of `series.AXIS_UNITS`.
TO_AXIS_UNIT = {
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
