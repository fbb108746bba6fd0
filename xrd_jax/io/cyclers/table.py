"""Rows of cells to arrays, block by block, so that memory follows the numbers and not their text."""

from __future__ import annotations

import codecs
import csv
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import columns as naming
from xrd_jax.io.parsing import dates as parsing_dates
from xrd_jax.io.parsing import text

# A row of a thousand columns fits many times; a file without line ends is no table and must not fill the memory.
LONGEST_LINE = 1 << 20
_BLOCK_CELLS = 20_000
# The word for voltage, by which a Chinese export in its own code page is known.
_CHINESE = "电压"
_CORE = ("time", "voltage", "current")
_TIMES = ("time", "step_time")
# Words in the state column of any vendor: Maccor's single letters, Neware's step types, Basytec's commands.
_DISCHARGE, _CHARGE = ("dchg", "discharg", "dischg", "dis", "entlad"), ("chg", "charg", "laden")

Rows = Iterator[tuple[int, list[str]]]


@dataclasses.dataclass(frozen=True)
class Table:
    """What the rows of a file hold.

    Attributes:
      numbers: [R] every column that holds a number, or a duration, in every row, by its name; as written.
      roles: the columns that have a role.
      dates: [R] of `moments.RECORD` from the column of dates, or None.
      direction: [R] +1 charge, -1 discharge, 0 neither, from a column of states, or None.
      lines: [R] where each row stands in the file, counted from 1.
      left_out: names of the columns that do not hold a number in every row.
      clock: roles whose cells are h:mm:ss, hence already in s.
    """

    numbers: dict[str, np.ndarray]
    roles: Mapping[str, naming.Column]
    dates: np.ndarray | None
    direction: np.ndarray | None
    lines: np.ndarray
    left_out: tuple[str, ...]
    clock: frozenset[str]


def open_text(path: Path) -> IO[str]:
    """The file as text with '\\n' line ends; UTF-16 by its mark, else UTF-8, else the code page that takes any byte."""
    head = text.head(path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return path.open(encoding="utf-16", errors="replace")
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            if _CHINESE in head.decode("gb18030", errors="replace"):
                return path.open(encoding="gb18030", errors="replace")
            return path.open(encoding="latin-1")
    return path.open(encoding="utf-8-sig")


def lines(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends.

    Raises:
      UserError: a line is longer than any table's.
    """
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE)
        if not line:
            return
        if len(line) >= LONGEST_LINE:
            raise UserError(f"{path}: line {number} is longer than {LONGEST_LINE} characters; this is no table of rows")
        yield number, line


def ending(path: Path) -> tuple[str, ...]:
    """A note where the file's last line has no end, as after a copy that was cut short."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 4))
        tail = file.read().rstrip(b"\x00\x1a")
    whole = tail.endswith((b"\n", b"\r"))
    return () if whole else ("the file ends within a line, so its last row may be cut",)


def cells(line: str, separator: str) -> list[str]:
    """The cells of one line, quotes taken off."""
    line = line.rstrip("\r\n\x1a")
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def rows(numbered: Iterator[tuple[int, str]], separator: str, width: int, path: Path) -> Rows:
    """Rows of `width` cells; blank rows are passed over.

    Raises:
      UserError: a row has another number of cells, or the last one ends in the middle of a number.
    """
    decimals: set[int] = set()
    last, count = "", 0
    pending: tuple[int, list[str]] | None = None
    for number, line in numbered:
        last = line
        row = cells(line, separator)
        while len(row) > width and not row[-1].strip():
            row.pop()
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != width:
            raise _cut(path, number, len(row), width)
        if pending is not None:
            yield pending
            if len(decimals) < 2:
                decimals.add(_decimals(pending[1][-1]))
        pending, count = (number, row), count + 1
    if pending is None:
        return
    # A last number with fewer decimals than all before it, and no line end behind it, was cut.
    if count >= 20 and len(decimals) == 1 and not last.endswith("\n") and _decimals(pending[1][-1]) < min(decimals):
        raise _cut(path, pending[0], width, width)
    yield pending


def _decimals(cell: str) -> int:
    return len(cell.strip().replace(",", ".").partition(".")[2])


def _cut(path: Path, number: int, found: int, width: int) -> UserError:
    return UserError(
        f"{path}: row {number} is cut or damaged ({found} of {width} columns); delete the row if it is the last, or "
        "export the file again"
    )


def unique(names: Sequence[str]) -> list[str]:
    """Names told apart by a count where the file repeats one."""
    seen: dict[str, int] = {}
    told = []
    for name in (name.strip() for name in names):
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def read(table_rows: Rows, names: Sequence[str], roles: Mapping[str, naming.Column], path: Path, comma: bool) -> Table:
    """Turns rows into arrays, 8 bytes a cell.

    Args:
      table_rows: number in the file and cells, each row as long as `names`.
      comma: numbers may be written with a decimal comma.

    Raises:
      UserError: there is no row, or a time, voltage or current holds no number; names row and column.
    """
    first = next(table_rows, None)
    if first is None:
        raise UserError(f"{path}: the header is followed by no row; export the file again")
    reader = _Blocks(names, dict(roles), first[1], path, comma)
    table_rows = itertools.chain([first], table_rows)
    rows_at_once = max(20, _BLOCK_CELLS // len(names))
    while block := list(itertools.islice(table_rows, rows_at_once)):
        reader.add(block)
    return reader.table()


class _Blocks:
    """The columns so far: a list of arrays each, or None once a cell held no number."""

    def __init__(
        self, names: Sequence[str], roles: dict[str, naming.Column], first: list[str], path: Path, comma: bool
    ):
        self.names, self.path, self.comma = names, path, comma
        time = roles.get("time")
        if time is not None and parsing_dates.is_date(first[time.index]):
            roles["date"] = roles.pop("time")
            roles.pop("step_time", None)
        self.roles = roles
        self.clock = {role for role in _TIMES if role in roles and ":" in first[roles[role].index]}
        self.durations = {roles[role].index for role in self.clock}
        words = {roles[role].index for role in ("date", "state") if role in roles}
        self.numbers: dict[int, list[np.ndarray] | None] = {i: [] for i in range(len(names)) if i not in words}
        self.core = {roles[role].index for role in _CORE if role in roles}
        self.dates: list[np.ndarray] | None = [] if "date" in roles else None
        self.states: list[np.ndarray] = []
        self.directions: dict[str, int] = {}
        self.lines: list[np.ndarray] = []

    def add(self, block: list[tuple[int, list[str]]]) -> None:
        lines = np.fromiter((number for number, _ in block), np.int64, len(block))
        self.lines.append(lines)
        for index, column in enumerate(zip(*(row for _, row in block), strict=True)):
            if index in self.numbers:
                self._add_numbers(index, column, lines)
        if self.dates is not None:
            self._add_dates([row[self.roles["date"].index] for _, row in block], lines)
        if "state" in self.roles:
            column = tuple(row[self.roles["state"].index] for _, row in block)
            self.states.append(np.fromiter((self._direction(word) for word in column), np.int8, len(block)))

    def _add_numbers(self, index: int, column: Sequence[str], lines: np.ndarray) -> None:
        kept = self.numbers[index]
        if kept is None:
            return
        values = _durations(column) if index in self.durations else _floats(column, self.comma)
        if values is not None:
            kept.append(values)
            return
        if index in self.core:
            bad = next(i for i, cell in enumerate(column) if self._value(index, cell) is None)
            raise UserError(
                f"{self.path}: row {lines[bad]}: column '{self.names[index]}' holds no number; mend or delete the row"
            )
        self.numbers[index] = None

    def _value(self, index: int, cell: str) -> np.ndarray | None:
        return _durations([cell]) if index in self.durations else _floats([cell], self.comma)

    def _add_dates(self, column: list[str], lines: np.ndarray) -> None:
        assert self.dates is not None
        parsed = [parsing_dates.parse(cell) for cell in column]
        if None not in parsed:
            self.dates.append(np.array(parsed, dtype=parsing_dates.RECORD))
            return
        if not {"time", "step_time", "unix_time"} & set(self.roles):
            bad = parsed.index(None)
            raise UserError(
                f"{self.path}: row {lines[bad]}: '{column[bad][:40].strip()}' is not a date and time; export times in "
                "seconds"
            )
        self.dates = None

    def _direction(self, word: str) -> int:
        if word not in self.directions and len(self.directions) < 10000:
            self.directions[word] = _direction(word)
        return self.directions.get(word, 0)

    def table(self) -> Table:
        words = [role for role in ("date", "state") if role in self.roles]
        if self.dates is None and "date" in words:
            words.remove("date")
        told = {self.roles[role].index for role in words}
        left_out = [name for i, name in enumerate(self.names) if i not in told and self.numbers.get(i) is None and name]
        numbers = {}
        for index, name in enumerate(self.names):
            blocks = self.numbers.pop(index, None)  # freed one by one
            if blocks is not None and name:
                numbers[name] = np.concatenate(blocks)
        return Table(
            numbers,
            {role: column for role, column in self.roles.items() if column.name in numbers or role in words},
            np.concatenate(self.dates) if self.dates is not None else None,
            np.concatenate(self.states) if self.states else None,
            np.concatenate(self.lines),
            tuple(left_out),
            frozenset(self.clock),
        )


def _floats(column: Sequence[str], comma: bool) -> np.ndarray | None:
    """[R] finite numbers, or None."""
    try:
        values = np.fromiter(map(float, column), float, len(column))
    except ValueError:
        if not comma:
            return None
        try:
            values = np.fromiter((float(cell.replace(",", ".")) for cell in column), float, len(column))
        except ValueError:
            return None
    return values if np.isfinite(values).all() else None


def _durations(column: Sequence[str]) -> np.ndarray | None:
    values = [parsing_dates.duration(cell) for cell in column]
    return None if None in values else np.array(values, float)


def _direction(word: str) -> int:
    word = word.strip().lower()
    if word in ("d", "c"):
        return 1 if word == "c" else -1
    if any(sign in word for sign in _DISCHARGE) or "放电" in word:
        return -1
    return 1 if any(sign in word for sign in _CHARGE) or "充电" in word else 0
