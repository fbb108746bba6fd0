"""The tables of an experiment file as records: every field is a key of the file, unless its metadata say otherwise."""

import ast
import dataclasses
import datetime
import math
import re
from pathlib import Path
from typing import Any, Literal

from xrd_jax.series.axis import AXIS_UNITS

DEFAULT_TOLERANCE = 120.0  # s: cyclers write a row a minute, and more often where the voltage moves

# Factor from a unit in a file to the unit of `series.axis.AXIS_UNITS`.
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
NOT_A_KEY = {"key": None}  # metadata of fields that the program fills in


@dataclasses.dataclass(frozen=True)
class AxisTable:
    """[axis]: what the positions of channels mean."""

    kind: str | None = None  # None leaves it to the files
    unit: str | None = None  # of positions in this file, and in data files that do not state it; None for the usual one
    wavelength: float | None = None  # of the radiation, Å
    first: float | None = None  # ends of evenly spaced channels in `unit`, for files that hold no positions
    last: float | None = None
    keep: tuple[float, float] | None = None  # range of the axis that is analysed, ends included; None for all of it

    @property
    def scale(self) -> float:
        """Factor from `unit` to the unit of `AXIS_UNITS`."""
        return 1.0 if self.kind is None else TO_AXIS_UNIT[self.kind][self.unit or AXIS_UNITS[self.kind]]


@dataclasses.dataclass(frozen=True)
class MaskTable:
    """[mask]: ranges of channels, ends included; `fill` draws a line across them instead of leaving them out."""

    channels: tuple[tuple[float, float], ...] = ()
    fill: bool = False


@dataclasses.dataclass(frozen=True)
class TimeTable:
    """[session.time]: when patterns were taken, by exactly one of `step`, `table` and `files`; all times in s."""

    step: float | None = None
    first: float | None = None  # on the log's clock, when pattern number `first_number` (None: 1) starts
    first_number: int | None = None
    table: str | None = None  # csv of file,start_time
    files: bool = False  # the pattern files state dates
    relative: bool = False  # dates count from the first pattern, which starts at `first` on the log's clock
    exposure: float | None = None  # None where the files state it
    offset: float = 0.0  # added to every time
    zone: datetime.tzinfo | None = None  # of dates that state none


@dataclasses.dataclass(frozen=True)
class CyclerTable:
    """[session.cycler]: a cycler log, or several that follow each other."""

    file: str | tuple[str, ...]  # names or globs
    format: str | None = None  # name of the reader; None finds it by content
    # Quantity -> name of its column, and unit, where the names in the file do not tell.
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    units: dict[str, str] = dataclasses.field(default_factory=dict)
    tolerance: float = DEFAULT_TOLERANCE  # s; no value is interpolated across longer gaps
    start: datetime.datetime | None = None  # when the log began, where it does not say so
    zone: datetime.tzinfo | None = None  # of such a date without one
    positive_current: Literal["charge", "discharge"] = "charge"

    @property
    def globs(self) -> tuple[str, ...]:
        return (self.file,) if isinstance(self.file, str) else self.file

    @property
    def source(self) -> str:
        return ", ".join(self.globs)

    @property
    def charge_sign(self) -> float:
        return 1.0 if self.positive_current == "charge" else -1.0


@dataclasses.dataclass(frozen=True)
class SessionTable:
    """[[session]]: one cell at one rate in one place; its patterns are files or the rows of a stack."""

    name: str | None = None
    patterns: str | tuple[str, ...] = ()  # globs of files
    stack: str = ""  # a csv matrix or an HDF5 file, instead of `patterns`
    # Of a csv with a row per spectrum: the columns that hold it, as a glob; '' takes those whose names are numbers. Of
    # pattern files: headings, or places from 1, of position, intensity and uncertainty; nothing leaves it to them.
    columns: str | tuple[str | int, ...] = ""
    dataset: str = ""  # path of the intensities [T, N] in an HDF5 file; '' follows its default plot
    number: re.Pattern[str] | None = None  # finds the number of a pattern in the name of its file
    # Finds in the name of a file which session it belongs to, such as 'pos(\\d+)' where positions alternate: this table
    # then stands for as many sessions as there are places, all else alike.
    place: re.Pattern[str] | None = None
    counts: bool = False
    allow_negative: bool = False
    exclude: tuple[str | int, ...] = ()  # names or numbers of patterns to leave out
    c_rate: float | None = None
    time: TimeTable | None = None
    cycler: CyclerTable | None = None
    label: str = dataclasses.field(default="", metadata=NOT_A_KEY)  # what messages call it, such as 'session 2'
    # Its patterns, where they were listed one by one.
    described: str = dataclasses.field(default="", metadata=NOT_A_KEY)

    @property
    def globs(self) -> tuple[str, ...]:
        return (self.patterns,) if isinstance(self.patterns, str) else self.patterns

    @property
    def source(self) -> str:
        return self.described or self.stack or ", ".join(self.globs)


@dataclasses.dataclass(frozen=True)
class TargetTable:
    """[targets.NAME]: exactly one of `column`, `expression` and `source` says where the values come from."""

    column: str | None = None  # of the stack file, of the cycler log, or of `table`
    table: str | None = None  # csv with a row per pattern that holds `column`
    expression: ast.expr | None = None  # arithmetic over columns, parsed by `expression.parse`
    # One of `validate.SOURCES`, which half cycles or sessions give.
    source: str | None = dataclasses.field(default=None, metadata={"key": "from"})
    kind: Literal["regression", "classification"] | None = None
    unit: str = ""
    name: str = dataclasses.field(default="", metadata=NOT_A_KEY)


@dataclasses.dataclass(frozen=True)
class SplitTable:
    """[split]: which patterns are held out; which keys go with which kind is in `validate.SPLIT_KEYS`."""

    kind: (
        Literal["random", "cycle", "block", "rows", "half_cycle", "session", "fold", "leave_block", "column"] | None
    ) = None
    train_fraction: float | None = None
    blocks: int | None = None
    seed: int | None = None
    leave_out: int | None = None
    train: str | None = None
    test: str | None = None
    part: int | None = None
    session: str | None = None
    column: str | None = None  # that says of every pattern what it is for, and a csv that holds it
    table: str | None = None


@dataclasses.dataclass(frozen=True)
class ExperimentFile:
    """A whole experiment file; masks, windows and reflections are in the unit of `AXIS_UNITS` once it is checked."""

    version: int
    targets: dict[str, TargetTable] = dataclasses.field(default_factory=dict)
    title: str | None = None
    axis: AxisTable = AxisTable()
    mask: MaskTable = MaskTable()
    sessions: tuple[SessionTable, ...] = dataclasses.field(default=(), metadata={"key": "session"})
    split: SplitTable = SplitTable()
    windows: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    reflections: dict[str, float] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict, metadata={"key": "set"})
    path: Path = dataclasses.field(default=Path(), metadata=NOT_A_KEY)

    def place(self, *tables: str) -> str:
        """Return what opens a message about a table, such as 'e.toml: [session 1.time]'."""
        return f"{self.path}: [{'.'.join(tables)}]"
